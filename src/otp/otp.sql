create function auth.send_otp(email text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'send_otp_wrapper';

comment on function auth.send_otp(text, jsonb) is
    'Mails a code that signs in, to be given to auth.verify_otp; where enable_magic_link is on, with a link. Options: create_user (default true: an address without an account gets one when its code is verified), data (user metadata of a new account), redirect_to, code_challenge, code_challenge_method, locale. Answers {status: code_sent} whether or not anybody has the address. For everyone. 53400 over_email_send_rate_limit; 22023 email_address_invalid, redirect_not_allowed.';

create function auth.send_magic_link(email text, redirect_to text default null, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'send_magic_link_wrapper';

comment on function auth.send_magic_link(text, text, jsonb) is
    'Mails a link that signs in, with a code for those who read their mail elsewhere. Options and answer as those of auth.send_otp. For everyone. 55000 magic_link_disabled; 53400 over_email_send_rate_limit; 22023 email_address_invalid, redirect_not_allowed.';

create function auth.sign_up_with_email(email text, data jsonb default '{}', options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'sign_up_with_email_wrapper';

comment on function auth.sign_up_with_email(text, jsonb, jsonb) is
    'Mails a code that makes an account with auth.verify_sign_up; until then there is none. data is user metadata. Options: redirect_to, code_challenge, code_challenge_method, locale. Answers {status: code_sent} whether or not somebody has the address; its owner is told by mail. For everyone. 55000 signup_disabled; 53400 over_email_send_rate_limit; 22023 email_address_invalid.';

create function auth.verify_sign_up(email text, code text, password text default null, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'verify_sign_up_wrapper';

comment on function auth.verify_sign_up(text, text, text, jsonb) is
    'Makes the account that a mailed code is for and signs in (docs/sessions.md). Without a password, and none given at sign-up, the account has none and signs in by mail. For everyone. 28000 otp_expired for a code that is wrong, used or over; 22023 weak_password; 23505 email_exists.';

create function auth.verify_otp(email text, code text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'verify_otp_wrapper';

comment on function auth.verify_otp(text, text, jsonb) is
    'Spends the code of a mail and signs in (docs/sessions.md); {status: confirmation_sent} for the first of the two confirmations of a change of address. Option type: email (default: sign-in or sign-up), signup, magiclink, invite, recovery, email_change. For everyone. 28000 otp_expired for a code that is wrong, used, over or for something else, 53400 account_locked after too many wrong ones.';

create function auth.verify_link(token text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'verify_link_wrapper';

comment on function auth.verify_link(text, jsonb) is
    'Spends the link of a mail and signs in (docs/sessions.md), with type and redirect_to of the link beside. Options: type, if given it has to be the link''s; flow redirect, for a page that a browser is on: {status: redirect, code, redirect_to, type} where the request had a code_challenge or implicit_flow is off, the code for auth.exchange_code. For everyone. 28000 otp_expired.';

create function auth.look_up_link(token text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'look_up_link_wrapper';

comment on function auth.look_up_link(text, jsonb) is
    'Says what the link of a mail is for, {type, redirect_to}, and spends nothing: mail scanners follow links. For everyone. 28000 otp_expired.';

create function auth.resend(kind text, email text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'resend_wrapper';

comment on function auth.resend(text, text, jsonb) is
    'Mails again what waits to be confirmed: kind signup or email_change; the mail before is void. Options: redirect_to, code_challenge, code_challenge_method, locale. Answers {status: confirmation_sent} whether or not anything waits. For everyone. 53400 over_email_send_rate_limit.';
