-- Who is asking. The readers carry no SET clause and are parallel safe: policies call them for every row.

create function auth.uid()
returns uuid
language c
stable
parallel safe
as 'MODULE_PATHNAME', 'uid';

comment on function auth.uid() is
    'Id of the signed-in user, or null without a token, under a project key and under a restricted token. 28000 with bad_jwt, session_not_found, session_expired or user_banned when the token given is not good. For everyone.';

create function auth.role()
returns text
language c
stable
parallel safe
as 'MODULE_PATHNAME', 'role_wrapper';

comment on function auth.role() is 'Claim role of the verified token, or null without one. Refuses like auth.uid(). For everyone.';

create function auth.email()
returns text
language c
stable
parallel safe
as 'MODULE_PATHNAME', 'email_wrapper';

comment on function auth.email() is 'Claim email of the verified token, or null. Refuses like auth.uid(). For everyone.';

create function auth.jwt()
returns jsonb
language c
stable
parallel safe
as 'MODULE_PATHNAME', 'jwt_wrapper';

comment on function auth.jwt() is 'All claims of the verified token, or null (RFC 7519). Refuses like auth.uid(). For everyone.';

create function auth.session_id()
returns uuid
language c
stable
parallel safe
as 'MODULE_PATHNAME', 'session_id_wrapper';

comment on function auth.session_id() is 'Id of the session that the verified token belongs to, or null. Refuses like auth.uid(). For everyone.';

create function auth.aal()
returns text
language c
stable
parallel safe
as 'MODULE_PATHNAME', 'aal_wrapper';

comment on function auth.aal() is 'Authenticator assurance level of the session (NIST SP 800-63B): aal1 or aal2, or null. Refuses like auth.uid(). For everyone.';

create function auth.fresh(max_age interval)
returns boolean
language c
stable
parallel safe
as 'MODULE_PATHNAME', 'fresh_wrapper';

comment on function auth.fresh(interval) is 'Whether the user proved who they are within max_age before this statement (claim amr); false without a user or with a null age. Refuses like auth.uid(). For everyone.';

create function auth.require_uid()
returns uuid
language c
stable
parallel safe
as 'MODULE_PATHNAME', 'require_uid_wrapper';

comment on function auth.require_uid() is 'auth.uid(), and 28000 no_authorization instead of null.';

create function auth.require_aal2()
returns void
language c
stable
parallel safe
as 'MODULE_PATHNAME', 'require_aal2_wrapper';

comment on function auth.require_aal2() is '28000 insufficient_aal unless the session has assurance level aal2.';

create function auth.authenticate(token text)
returns jsonb
language c
volatile
as 'MODULE_PATHNAME', 'authenticate_wrapper';

comment on function auth.authenticate(text) is
    'Acts as the token''s user and role until the transaction ends (SET LOCAL); null acts as anon. Returns the claims. 25P01 no_transaction outside a transaction block; 28000 like auth.uid(); 42501 where the login may not take the role.';

create function auth.authenticate_request()
returns void
language c
volatile
as 'MODULE_PATHNAME', 'authenticate_request_wrapper';

comment on function auth.authenticate_request() is
    'For db-pre-request of PostgREST: acts as the bearer in request.headers until the transaction ends, as auth.authenticate does; without a bearer nothing changes. For anon, authenticated and service_role. 28000 as auth.uid() refuses, before anything of the request has run.';

create function auth.authenticate_session(token text)
returns jsonb
language c
volatile
as 'MODULE_PATHNAME', 'authenticate_session_wrapper';

comment on function auth.authenticate_session(text) is
    'Acts as the token''s user and role until the connection ends, for psql and session pooling. Only where a superuser has set auth.session_identity = on: behind a transaction pooler the next client would inherit it. Otherwise 55000 no_authorization.';

create function auth.verify_token(token text)
returns jsonb
language c
stable
as 'MODULE_PATHNAME', 'verify_token_wrapper';

comment on function auth.verify_token(text) is 'The claims of a token that would be accepted, without acting on it. Refuses like auth.uid().';
