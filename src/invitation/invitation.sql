create function auth.invite_user(email text, data jsonb default '{}', options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'invite_user_wrapper';

comment on function auth.invite_user(text, jsonb, jsonb) is
    'Makes an account without a password and mails its owner a link that accepts it (auth.verify_link, auth.verify_otp with type invite); again for one that nobody has accepted. An account that is there and has no proved address becomes an invited one: its password, passkeys and sessions go, nobody has to approve it, and data and app_metadata are merged into its own. data is user metadata. Options: app_metadata (such as a role of your app), expires_in (seconds, default verification_ttl), redirect_to, locale, code_challenge, code_challenge_method. Returns the user. For service_role, and auth_sidecar with a token of that role. 23505 email_exists for an account with a proved address; 28000 not_admin.';

create function auth.admin_generate_link(kind text, email text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'admin_generate_link_wrapper';

comment on function auth.admin_generate_link(text, text, jsonb) is
    'What a mail would hold, without the mail: {hashed_token, email_otp, verification_type, redirect_to, user}; hashed_token is the link''s secret, for auth.verify_link. kind: signup (option password), invite, magiclink (a sign-in ticket), recovery, email_change_current, email_change_new (option new_email). Options: password, data, new_email, redirect_to. For service_role, and auth_sidecar with a token of that role. 02000 user_not_found where nobody has the address and the kind makes no account; 23505 email_exists; 28000 not_admin.';
