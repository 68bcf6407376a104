-- Guests: an account without address and password, and how it becomes a permanent one.

create function auth.sign_in_anonymously(data jsonb default '{}', options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'sign_in_anonymously_wrapper';

comment on function auth.sign_in_anonymously(jsonb, jsonb) is
    'Makes a guest and signs in; answers like auth.sign_up. data is user_metadata. The role of its tokens is setting anonymous_role; claim is_anonymous is true. For anon. 55000 anonymous_provider_disabled, signup_disabled; 22023 validation_failed.';

create function auth.convert_anonymous(email text, password text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'convert_anonymous_wrapper';

comment on function auth.convert_anonymous(text, text, jsonb) is
    'Makes the calling guest a permanent account of the same id and returns it; its other sessions end. Where signup_mode is not immediate it mails a confirmation, after which it is one: {status: confirmation_sent, user}. options as in auth.sign_up. For authenticated guests; refresh for a token without is_anonymous. 28000 no_authorization; 22023 validation_failed for an account that is no guest, weak_password, email_address_invalid; 23505 email_exists; 55000 signup_disabled.';
