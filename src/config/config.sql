-- Settings: one row at most; a null column means the default in code (src/config/settings.rs).

create table auth.config (
    only_row boolean primary key default true check (only_row),
    site_url text,
    jwt_issuer text,
    environment text check (environment in ('development', 'production')),
    enable_signup boolean,
    access_token_ttl interval,
    refresh_token_ttl interval,
    session_timebox interval,
    max_active_sessions integer,
    refresh_tokens_enabled boolean,
    refresh_reuse_interval interval,
    refresh_reuse_scope text check (refresh_reuse_scope in ('user', 'session')),
    password_min_length integer,
    password_max_length integer,
    argon2_memory_kib integer,
    argon2_iterations integer,
    argon2_parallelism integer,
    claims_user_metadata boolean,
    -- Names of settings that are switched off on purpose: null in a column above means the default instead.
    no_limit text[] not null default '{}',
    updated_at timestamptz not null default pg_catalog.clock_timestamp(),
    rate_limit_enabled boolean,
    rate_limit_login text,
    rate_limit_signup text,
    rate_limit_network text,
    rate_limit_database text,
    lockout_attempts integer,
    lockout_duration interval,
    signup_mode text check (signup_mode in ('immediate', 'confirm', 'otp_first')),
    enable_anonymous boolean,
    anonymous_role text check (anonymous_role in ('anon', 'authenticated')),
    enable_magic_link boolean,
    implicit_flow boolean,
    redirect_allow_list jsonb,
    email_otp_length integer,
    email_otp_ttl interval,
    verification_ttl interval,
    recovery_ttl interval,
    magic_link_ttl interval,
    verification_resend_limit integer,
    verification_resend_interval interval,
    debug_mode boolean,
    test_codes jsonb,
    secure_email_change boolean,
    reauthentication_required boolean,
    current_password_required boolean,
    reset_returns_session boolean,
    security_notices boolean,
    notify_events boolean,
    rate_limit_mail text,
    enable_passkeys boolean,
    mfa_enabled boolean,
    mfa_totp_enabled boolean,
    mfa_sms_enabled boolean,
    mfa_enforcement text check (mfa_enforcement in ('required', 'policy')),
    mfa_required_roles jsonb,
    mfa_max_factors integer,
    mfa_challenge_ttl interval,
    totp_issuer text,
    webauthn_rp_name text,
    webauthn_rp_id text,
    webauthn_rp_origins jsonb,
    webauthn_user_verification text check (webauthn_user_verification in ('required', 'preferred', 'discouraged')),
    enable_sms boolean,
    sms_otp_length integer,
    sms_otp_ttl interval,
    sms_prefixes jsonb,
    rate_limit_sms text,
    sms_budget text,
    password_prevent_common boolean,
    password_prevent_user_info boolean,
    public_profile_fields jsonb,
    require_approval boolean,
    email_block_disposable boolean,
    email_block_subaddress boolean,
    mfa_webauthn_enabled boolean,
    webauthn_allowed_aaguids uuid[],
    webauthn_attestation_roots text
);
select pg_catalog.pg_extension_config_dump('auth.config', '');

comment on table auth.config is 'Settings, one row at most. Changed by auth.configure and auth.apply_profile; a null column means the default.';
comment on column auth.config.only_row is 'Always true: there is one row at most.';
comment on column auth.config.site_url is 'The app''s own address; default http://localhost:3000.';
comment on column auth.config.jwt_issuer is 'Claim iss of access tokens (RFC 7519 section 4.1.1); default site_url.';
comment on column auth.config.environment is 'development (default) or production; production refuses auth.test_as.';
comment on column auth.config.enable_signup is 'Whether new accounts may be made; default true. Off: 55000 signup_disabled.';
comment on column auth.config.access_token_ttl is 'Lifetime of an access token; default 15 minutes, 10 seconds to 7 days.';
comment on column auth.config.refresh_token_ttl is 'How long a session may stay idle before its refresh token is refused; default 7 days.';
comment on column auth.config.session_timebox is 'Absolute lifetime of a session from sign-in; default 30 days.';
comment on column auth.config.max_active_sessions is 'Sessions a user may have; the least recently used ends first. Default 5.';
comment on column auth.config.refresh_tokens_enabled is 'Whether sign-in answers carry a refresh token; default true. Off: 55000 refresh_disabled.';
comment on column auth.config.refresh_reuse_interval is 'How long the previous refresh token still returns its own successor; default 0 (never).';
comment on column auth.config.refresh_reuse_scope is 'What a replayed refresh token ends: every session of the user (default) or only its session.';
comment on column auth.config.password_min_length is 'Shortest password, in characters after NFC; default 8.';
comment on column auth.config.password_max_length is 'Longest password, in characters after NFC; default 72. 1,024 bytes is a hard cap.';
comment on column auth.config.argon2_memory_kib is 'Argon2id memory m in KiB for new hashes (RFC 9106); default 19456.';
comment on column auth.config.argon2_iterations is 'Argon2id passes t for new hashes (RFC 9106); default 2.';
comment on column auth.config.argon2_parallelism is 'Argon2id lanes p for new hashes (RFC 9106); default 1.';
comment on column auth.config.claims_user_metadata is 'Whether access tokens carry user_metadata; default true.';
comment on column auth.config.no_limit is 'Settings that are explicitly without a limit (null given to auth.configure).';
comment on column auth.config.updated_at is 'When a setting last changed.';
comment on column auth.config.rate_limit_enabled is 'Whether attempts are counted and limited at all, locks included; default true.';
comment on column auth.config.rate_limit_login is 'Sign-ins of one account from one network, failed ones count: how many / in how many seconds; default 5/900.';
comment on column auth.config.rate_limit_signup is 'New accounts from one network: how many / in how many seconds; default 3/3600.';
comment on column auth.config.rate_limit_network is 'Failures from one network before it is blocked for a while: how many / in how many seconds; default 100/900.';
comment on column auth.config.rate_limit_database is 'Failures of all callers whose address is not known: how many / in how many seconds; default 100/60.';
comment on column auth.config.lockout_attempts is 'Failures in a row after which an account is locked; default 5.';
comment on column auth.config.lockout_duration is 'How long the first lock lasts, and how long failures are remembered; default 30 minutes. A repetition within a day lasts longer.';
comment on column auth.config.signup_mode is 'immediate: an account and a session at once (default); confirm: the address has to be confirmed first; otp_first: no account before the mailed code.';
comment on column auth.config.enable_anonymous is 'Whether guests without an address may come in; default true. Off: 55000 anonymous_provider_disabled.';
comment on column auth.config.anonymous_role is 'Role that the tokens of guests carry: anon (default) or authenticated.';
comment on column auth.config.enable_magic_link is 'Whether mailed links sign in; default false. Off: 55000 magic_link_disabled.';
comment on column auth.config.implicit_flow is 'Whether a link may hand tokens to the browser in the fragment where the request had no PKCE challenge (RFC 7636); default true.';
comment on column auth.config.redirect_allow_list is 'Addresses that links may lead to, beside site_url and what is below it; * stands for characters other than / and the dot. A list.';
comment on column auth.config.email_otp_length is 'Digits of a mailed code; default 6, 4 to 10.';
comment on column auth.config.email_otp_ttl is 'How long a mailed code is good; default 10 minutes.';
comment on column auth.config.verification_ttl is 'How long a link that confirms an address or an invitation is good; default 24 hours.';
comment on column auth.config.recovery_ttl is 'How long a link that resets a password is good; default 1 hour.';
comment on column auth.config.magic_link_ttl is 'How long a link that signs in is good; default 1 hour.';
comment on column auth.config.verification_resend_limit is 'How often a mail may be asked for again before one was used; default 3. More: 53400 over_email_send_rate_limit.';
comment on column auth.config.verification_resend_interval is 'Time between two mails of a kind to one address; default 60 seconds.';
comment on column auth.config.debug_mode is 'Every mailed code is 1234 and no mail is written. Superusers only, refused in production; default false.';
comment on column auth.config.test_codes is 'Codes that are always right for an address, for tests of an app: {address: code}; no mail is written to it. Refused in production.';
comment on column auth.config.secure_email_change is 'Whether a change of address is confirmed at the old one too; default true.';
comment on column auth.config.reauthentication_required is 'Whether a session older than a day needs a mailed code to change the password; default false.';
comment on column auth.config.current_password_required is 'Whether changing password or address needs the current password, but for the password in a session that a recovery mail has just opened; default true.';
comment on column auth.config.reset_returns_session is 'Whether a password reset signs in; default false.';
comment on column auth.config.security_notices is 'Whether users are mailed about changes of password, address and factors and sign-ins from new devices; default true.';
comment on column auth.config.notify_events is 'Whether sign-in, sign-out, refresh and changes of a user are announced by NOTIFY auth_events; default false, because announcing makes commits wait for each other.';
comment on column auth.config.rate_limit_mail is 'Mails asked for from one network: how many / in how many seconds; default 30/3600.';
comment on column auth.config.enable_passkeys is 'Whether users may register and use passkeys; default false. Off: 55000 passkey_disabled.';
comment on column auth.config.mfa_enabled is 'Whether second factors may be enrolled; default true. Verified ones are asked for whatever it says.';
comment on column auth.config.mfa_totp_enabled is 'Whether authenticator apps (RFC 6238) may be enrolled; default true. Off: 55000 mfa_totp_enroll_not_enabled.';
comment on column auth.config.mfa_sms_enabled is 'Whether phones may be enrolled as a second factor; default true. Off: 55000 mfa_phone_enroll_not_enabled.';
comment on column auth.config.mfa_webauthn_enabled is 'Whether security keys may be enrolled as a second factor; default true. Off: 55000 mfa_webauthn_enroll_not_enabled.';
comment on column auth.config.mfa_enforcement is 'required (default): a sign-in with a verified factor is nobody''s before it is used; policy: it is an ordinary session of level aal1, and policies ask for aal2.';
comment on column auth.config.mfa_required_roles is 'Roles, as in auth.users.role and app_metadata.role or roles, whose accounts must have a second factor; default none. A list.';
comment on column auth.config.mfa_max_factors is 'Second factors that an account may have; default 10. More: 55000 too_many_enrolled_mfa_factors.';
comment on column auth.config.mfa_challenge_ttl is 'How long the second step of a sign-in may take; default 5 minutes.';
comment on column auth.config.totp_issuer is 'Name that authenticator apps show beside the account; default the host of site_url.';
comment on column auth.config.webauthn_rp_name is 'Name of the relying party that authenticators show (WebAuthn section 5.4.1); default the host of site_url.';
comment on column auth.config.webauthn_rp_id is 'Relying party id: the domain that passkeys belong to (WebAuthn section 5.1.2); default the host of site_url.';
comment on column auth.config.webauthn_rp_origins is 'Origins that may use passkeys, exactly: https://app.example.org or android:apk-key-hash:…; default that of site_url. A list.';
comment on column auth.config.webauthn_user_verification is 'Whether an authenticator has to verify its user (WebAuthn section 5.8.6); default preferred. Only a verified user is aal2.';
comment on column auth.config.webauthn_allowed_aaguids is 'Models of authenticators (AAGUID, WebAuthn section 6.5.1) that passkeys and security keys may be registered with; default none: any. Without webauthn_attestation_roots it is the authenticator''s own word.';
comment on column auth.config.webauthn_attestation_roots is 'Certificates, as PEM, that a new authenticator has to be attested by (WebAuthn section 8.2); default null: no attestation is asked for.';
comment on column auth.config.enable_sms is 'Whether codes by SMS sign in; default false. Off: 55000 phone_provider_disabled.';
comment on column auth.config.sms_otp_length is 'Digits of a code sent by SMS; default 6, 4 to 10.';
comment on column auth.config.sms_otp_ttl is 'How long a code sent by SMS is good; default 60 seconds.';
comment on column auth.config.sms_prefixes is 'Beginnings of the numbers that SMS are sent to, with country code, such as +49; default all. A list.';
comment on column auth.config.rate_limit_sms is 'SMS asked for from one network: how many / in how many seconds; default 30/3600.';
comment on column auth.config.sms_budget is 'SMS of the whole database, whoever asks: how many / in how many seconds; default 1000/86400.';
comment on column auth.config.password_prevent_common is 'Whether the most common passwords are refused; default true.';
comment on column auth.config.password_prevent_user_info is 'Whether a password that holds the name, the address or the site''s name is refused; default true.';
comment on column auth.config.public_profile_fields is 'What auth.public_profile shows of an account: username, and names of user_metadata; default username and avatar_url. A list.';
comment on column auth.config.require_approval is 'Whether an account that somebody signs up for is refused with user_banned until an administrator approves it; default false.';
comment on column auth.config.email_block_disposable is 'Whether addresses of domains that are known to be disposable are refused like those of a blocked domain, unless an allow rule of auth.email_rules names the domain; default false.';
comment on column auth.config.email_block_subaddress is 'Whether addresses with a sub-address (ada+shop@example.org, RFC 5233) are refused like those of a blocked domain; default false.';

create table auth.config_history (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    changed_by text not null default session_user,
    changes jsonb not null,
    created_at timestamptz not null default pg_catalog.clock_timestamp()
);
select pg_catalog.pg_extension_config_dump('auth.config_history', '');

comment on table auth.config_history is 'Every change of auth.config, in the transaction that made it.';
comment on column auth.config_history.id is 'Row id.';
comment on column auth.config_history.changed_by is 'The login that changed it.';
comment on column auth.config_history.changes is 'What was given: setting to value.';
comment on column auth.config_history.created_at is 'When.';

-- Backends keep the settings and keys they have read; these rows' relation cache entry carries the news of a change, to
-- other backends at commit and to standbys by replay.
create function auth.invalidate_relation()
returns trigger
language c
as 'MODULE_PATHNAME', 'invalidate_relation_wrapper';

comment on function auth.invalidate_relation() is
    'Internal: tells every backend, also on a standby, to read the table again that was changed.';

create trigger invalidate
    after insert or update or delete on auth.config
    for each row execute function auth.invalidate_relation();

create trigger invalidate_all
    after truncate on auth.config
    for each statement execute function auth.invalidate_relation();

create function auth.configure(settings jsonb)
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'configure_wrapper';

comment on function auth.configure(jsonb) is
    'Changes settings: an object of setting to value (durations as interval text or seconds; null sets the default back, or no limit where the setting may be unlimited). Returns all settings in force. For auth_admin. 22023 validation_failed for an unknown setting or a value out of range.';

create function auth.apply_profile(profile text)
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'apply_profile_wrapper';

comment on function auth.apply_profile(text) is
    'Sets the settings of a profile in one step: default, strict, or supabase (what unmodified Supabase clients expect). Returns all settings in force. For auth_admin. 22023 validation_failed for another name.';

create function auth.public_settings()
returns jsonb
language c
stable
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'public_settings_wrapper';

comment on function auth.public_settings() is
    'The settings that a page or client needs before anybody has signed in: {enable_signup, signup_mode, enable_anonymous, enable_magic_link, implicit_flow, site_url, jwt_issuer, email_otp_length, password_min_length}. For everyone.';
