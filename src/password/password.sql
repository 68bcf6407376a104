-- Sign-up and sign-in by address and password.

create function auth.sign_up(email text, password text, data jsonb default '{}', options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'sign_up_wrapper';

comment on function auth.sign_up(text, text, jsonb, jsonb) is
    'Makes an account and signs in: {status: session, access_token, token_type, expires_in, expires_at, refresh_token, user}. data is user_metadata (an object, at most 16 kB, 8 levels). For anon. 22023 email_address_invalid, weak_password, password_too_long, validation_failed; 23505 email_exists; 55000 signup_disabled.';

create function auth.sign_in(email text, password text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'sign_in_wrapper';

comment on function auth.sign_in(text, text, jsonb) is
    'Signs in by address and password; answers like auth.sign_up. For anon. 28P01 invalid_credentials, the same for an unknown address, an account without a password and a wrong password, at the cost of exactly one hash; 28000 user_banned only after the right password. Where the password has to be changed: {status: password_change_required, access_token …}, a token for auth.update_password alone.';

create function auth.update_password(current_password text, new_password text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'update_password_wrapper';

comment on function auth.update_password(text, text, jsonb) is
    'Changes the caller''s password, or sets the first one where current_password is null, ends their other sessions and returns the account. After status password_change_required it needs no current password and answers a session; nor does it in the first 15 minutes of a session that a recovery mail has opened. option nonce: the code that auth.reauthenticate mails. For authenticated. 28000 no_authorization, reauthentication_needed, reauthentication_not_valid; 28P01 current_password_invalid, counted like a failed sign-in; 22023 weak_password, same_password, password_too_long; 40001 conflict.';
