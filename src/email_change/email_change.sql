create function auth.update_email(new_email text, current_password text default null, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'update_email_wrapper';

comment on function auth.update_email(text, text, jsonb) is
    'Begins a change of the caller''s address, which takes effect once it is confirmed at the new address, and with secure_email_change at the old one too (auth.verify_link, auth.verify_otp). The current password is needed where the account has one and current_password_required is on. Options: redirect_to, code_challenge, code_challenge_method, locale. Answers {status: confirmation_sent, user}, also where somebody has the address already; {status: unchanged, user}, without a mail or a password, for the caller''s own proved address. For authenticated. 28P01 current_password_invalid; 53400 over_email_send_rate_limit; 22023 email_address_invalid.';

create function auth.reauthenticate(options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'reauthenticate_wrapper';

comment on function auth.reauthenticate(jsonb) is
    'Mails the caller a code, to be given as option nonce to auth.update_password. Option: locale. Answers {status: code_sent}. For authenticated. 53400 over_email_send_rate_limit; 22023 validation_failed for an account without an address.';
