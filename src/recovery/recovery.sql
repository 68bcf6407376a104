create function auth.request_password_reset(email text, redirect_to text default null, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'request_password_reset_wrapper';

comment on function auth.request_password_reset(text, text, jsonb) is
    'Mails a link and a code that set a new password, with auth.reset_password or auth.reset_password_with_code; the mail before is void. An account without a password gets a mail that signs in. Options: redirect_to, code_challenge, code_challenge_method, locale. Answers {status: code_sent} whether or not anybody has the address. For everyone. 53400 over_email_send_rate_limit; 22023 email_address_invalid, redirect_not_allowed.';

create function auth.reset_password(token text, new_password text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'reset_password_wrapper';

comment on function auth.reset_password(text, text, jsonb) is
    'Sets a new password by the link of a mail, once; every session of the user ends, and the address counts as proved. Answers {status: password_changed}, or a session (docs/sessions.md) where reset_returns_session is on. For everyone. 28000 otp_expired; 22023 weak_password, which spends nothing.';

create function auth.reset_password_with_code(email text, code text, new_password text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'reset_password_with_code_wrapper';

comment on function auth.reset_password_with_code(text, text, text, jsonb) is
    'Sets a new password by the code of a mail, as auth.reset_password does by its link. For everyone. 28000 otp_expired, 53400 account_locked after too many wrong codes; 22023 weak_password, which spends nothing.';
