-- From 0.1 to 0.2.

-- When a raised assurance level falls back.
alter table auth.sessions add column aal2_until timestamptz;

comment on column auth.sessions.aal2_until is 'When a raised assurance level falls back.';

create view auth.my_account
with (security_barrier = true)
as
select
    u.id,
    u.email,
    u.phone,
    u.username,
    case when u.encrypted_password is not null then '***' end as encrypted_password,
    u.email_confirmed_at is not null as email_verified,
    u.email_confirmed_at as email_verified_at,
    u.raw_app_meta_data as app_metadata,
    u.raw_user_meta_data as user_metadata,
    u.is_anonymous,
    u.created_at,
    u.updated_at,
    u.last_sign_in_at
from auth.users as u
where u.id = auth.uid();

comment on view auth.my_account is 'The caller''s own account, secrets masked; no row without a user. Read only; for authenticated.';

create function auth.require_aal2()
returns void
language c
stable
parallel safe
as 'MODULE_PATHNAME', 'require_aal2_wrapper';

comment on function auth.require_aal2() is '28000 insufficient_aal unless the session has assurance level aal2.';

alter table auth.config
    add column rate_limit_enabled boolean,
    add column rate_limit_login text,
    add column rate_limit_signup text,
    add column rate_limit_network text,
    add column rate_limit_database text,
    add column lockout_attempts integer,
    add column lockout_duration interval;
comment on column auth.config.rate_limit_enabled is 'Whether attempts are counted and limited at all, locks included; default true.';
comment on column auth.config.rate_limit_login is 'Sign-ins of one account from one network, failed ones count: how many / in how many seconds; default 5/900.';
comment on column auth.config.rate_limit_signup is 'New accounts from one network: how many / in how many seconds; default 3/3600.';
comment on column auth.config.rate_limit_network is 'Failures from one network before it is blocked for a while: how many / in how many seconds; default 100/900.';
comment on column auth.config.rate_limit_database is 'Failures of all callers whose address is not known: how many / in how many seconds; default 100/60.';
comment on column auth.config.lockout_attempts is 'Failures in a row after which an account is locked; default 5.';
comment on column auth.config.lockout_duration is 'How long the first lock lasts, and how long failures are remembered; default 30 minutes. A repetition within a day lasts longer.';

create or replace function auth.delete_dependents()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from auth.sessions as d using deleted where d.user_id = deleted.id;
    delete from auth.one_time_tokens as d using deleted where d.user_id = deleted.id;
    delete from auth.flow_state as d using deleted where d.user_id = deleted.id;
    delete from auth.mfa_factors as d using deleted where d.user_id = deleted.id;
    delete from auth.mfa_challenges as d using deleted where d.user_id = deleted.id;
    delete from auth.recovery_codes as d using deleted where d.user_id = deleted.id;
    delete from auth.passkeys as d using deleted where d.user_id = deleted.id;
    delete from auth.webauthn_challenges as d using deleted where d.user_id = deleted.id;
    delete from auth.identities as d using deleted where d.user_id = deleted.id;
    delete from auth.email_addresses as d using deleted where d.user_id = deleted.id;
    delete from auth.password_state as d using deleted where d.user_id = deleted.id;
    -- What happened stays, without whose it was.
    update auth.audit_log as d set user_id = null from deleted where d.user_id = deleted.id;
    return null;
end
$$;

comment on function auth.gate_status() is
    'Password hashing on this server: {hashes: how many were run since start, limit: how many may run at once, running: how many do, most_running: the most that did, waiting: how many wait for a place, refused: how many were refused with 53400 hash_gate_busy since start}. For auth_admin.';

-- What happened. Rows come with the fact, in its transaction, or from the worker where the fact was a refusal; the worker
-- seals them afterwards, so that no sign-in waits for another. 24 slots, one for each month of two years, made here and
-- emptied by TRUNCATE: a partition made at run time would be no member of the extension and break a restore.

create table auth.audit_log (
    id uuid not null,
    slot smallint not null,
    user_id uuid,
    session_id uuid,
    event_type text not null,
    success boolean not null,
    code text,
    event_data jsonb not null default '{}',
    ip inet,
    user_agent text,
    count integer not null default 1,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    sequence bigint,
    seal bytea
) partition by list (slot);
create index audit_log_user_id on auth.audit_log (user_id, created_at) where user_id is not null;
create index audit_log_event_type on auth.audit_log (event_type, created_at);
create index audit_log_created_at on auth.audit_log using brin (created_at);
-- Its nulls are the rows that wait for their seal.
create index audit_log_sequence on auth.audit_log (sequence);
select pg_catalog.pg_extension_config_dump('auth.audit_log', '');

comment on table auth.audit_log is 'What happened, by whom and from where. Append only; sealed in sequence, so that auth.verify_audit() tells what was changed. Readable by auth_admin and service_role.';
comment on column auth.audit_log.id is 'Row id, UUID version 7 (RFC 9562).';
comment on column auth.audit_log.slot is 'Months since year 0, modulo 24 (UTC): the partition.';
comment on column auth.audit_log.user_id is 'Whose account; null where it is unknown, and once the account is deleted.';
comment on column auth.audit_log.session_id is 'The session that was begun or that asked.';
comment on column auth.audit_log.event_type is 'What it was: login_success, login_failure … (docs/audit.md).';
comment on column auth.audit_log.success is 'Whether it was done.';
comment on column auth.audit_log.code is 'Code word of the refusal (docs/errors.md); null where there was none.';
comment on column auth.audit_log.event_data is 'What else there is to say, such as the address that was tried. Never a secret.';
comment on column auth.audit_log.ip is 'Address that it came from: what auth.set_request_context said, else that of the connection.';
comment on column auth.audit_log.user_agent is 'Program that it came from, as it called itself.';
comment on column auth.audit_log.count is 'How many equal refusals within a second this row stands for.';
comment on column auth.audit_log.created_at is 'When it happened, by the clock.';
comment on column auth.audit_log.sequence is 'Place in the chain, without gaps; null until the worker has sealed it.';
comment on column auth.audit_log.seal is 'MAC over the row and the seal before it (docs/formats.md); null until then.';

do $slots$
declare
    slot integer;
    partition text;
begin
    for slot in 0..23 loop
        partition := pg_catalog.format('audit_log_%s', pg_catalog.lpad(slot::text, 2, '0'));
        execute pg_catalog.format('create table auth.%I partition of auth.audit_log for values in (%s)', partition, slot);
        perform pg_catalog.pg_extension_config_dump(pg_catalog.format('auth.%I', partition)::pg_catalog.regclass, '');
        execute pg_catalog.format('comment on table auth.%I is %L', partition, 'Partition of auth.audit_log.');
        execute (
            select pg_catalog.string_agg(
                pg_catalog.format('comment on column auth.%I.%I is %L', partition, a.attname, 'As in auth.audit_log.'), ';')
            from pg_catalog.pg_attribute as a
            where a.attrelid = 'auth.audit_log'::pg_catalog.regclass and a.attnum > 0
        );
    end loop;
end
$slots$;

create table auth.audit_anchors (
    first_sequence bigint not null,
    last_sequence bigint not null,
    last_seal bytea not null,
    seal bytea not null,
    created_at timestamptz not null default pg_catalog.clock_timestamp()
);
select pg_catalog.pg_extension_config_dump('auth.audit_anchors', '');

comment on table auth.audit_anchors is 'Rows of auth.audit_log that were removed after two years, so that the chain goes on without them.';
comment on column auth.audit_anchors.first_sequence is 'First of the rows.';
comment on column auth.audit_anchors.last_sequence is 'Last of the rows.';
comment on column auth.audit_anchors.last_seal is 'Seal of the last of them, which the next row''s seal covers.';
comment on column auth.audit_anchors.seal is 'MAC over this row (docs/formats.md): nobody without the keyring makes one.';
comment on column auth.audit_anchors.created_at is 'When they were removed.';

create function auth.set_request_context(ip inet, user_agent text)
returns void
language c
volatile
as 'MODULE_PATHNAME', 'set_request_context_wrapper';

comment on function auth.set_request_context(inet, text) is
    'Says where the rest of this transaction''s calls come from: the client''s address, which limits are counted by, and its program. Believed, so for auth_sidecar only. 25P01 no_transaction outside a transaction block; 22023 validation_failed for a network instead of an address.';

create function auth.verify_audit()
returns jsonb
language c
volatile
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'verify_audit_wrapper';

comment on function auth.verify_audit() is
    'Checks every seal of auth.audit_log: {sealed, first_sequence, last_sequence, last_seal, unsealed, oldest_unsealed, broken}. broken is null, or {sequence, id, reason} of the first row that was changed, removed, inserted or moved since it was sealed. Keep last_sequence and last_seal elsewhere: nothing else shows that the newest rows are gone. For auth_admin.';

-- Limits. The counters are in shared memory (docs/guard.md); what survives a restart is read back from the audit.

create table auth.blocked_networks (
    network cidr primary key,
    reason text not null default '',
    created_by text not null default session_user,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    expires_at timestamptz
);
create index blocked_networks_network on auth.blocked_networks using gist (network inet_ops);
select pg_catalog.pg_extension_config_dump('auth.blocked_networks', '');

comment on table auth.blocked_networks is 'Networks whose clients are refused with network_blocked; changed by auth.block_network and auth.unblock_network.';
comment on column auth.blocked_networks.network is 'The network (RFC 4632); a single address is its /32 or /128.';
comment on column auth.blocked_networks.reason is 'Why, for people to read.';
comment on column auth.blocked_networks.created_by is 'The login that blocked it.';
comment on column auth.blocked_networks.created_at is 'When.';
comment on column auth.blocked_networks.expires_at is 'When it ends; null: never.';

create function auth.without_mapping(ip inet)
returns inet
language sql
immutable
strict
parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select case
        when ip <<= '::ffff:0:0/96'
            then set_masklen('0.0.0.0'::inet + (set_masklen(ip, 128) - '::ffff:0:0'::inet), masklen(ip) - 96)
        else ip
    end
$$;

comment on function auth.without_mapping(inet) is
    'Internal: an IPv4-mapped IPv6 address or network (RFC 4291 section 2.5.5.2) as the IPv4 one that it is.';

create function auth.network(ip inet)
returns cidr
language sql
immutable
strict
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
    select network(set_masklen(a.address, case family(a.address) when 4 then 32 else 64 end))
    from (select auth.without_mapping(set_masklen(ip, case family(ip) when 4 then 32 else 128 end))) as a (address)
$$;

comment on function auth.network(inet) is
    'The network that limits count an address as: an IPv4 address itself, the /64 of an IPv6 one. For auth_admin, auth_sidecar and service_role.';

create function auth.count_attempt(bucket text, subject text, attempts integer, per interval)
returns void
language c
volatile
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'count_attempt_wrapper';

comment on function auth.count_attempt(text, text, integer, interval) is
    'Counts an attempt of anything for any subject (a tenant, a plan, auth.network(ip)) and refuses it when there were more than attempts (1 to 1,000,000) within per (1 second to 31 days) of the first: 53400 over_request_rate_limit, with retry_after in seconds in the HINT. No ROLLBACK uncounts it; a restart of the server does. For auth_sidecar and service_role. 22023 validation_failed.';

create function auth.guard_status()
returns jsonb
language c
volatile
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'guard_status_wrapper';

comment on function auth.guard_status() is
    'The guard: {slots, used, locked} counters of this database, {refused, evicted} in all databases since the server started, {events_written, events_waiting, events_dropped} by the worker for this database. For auth_admin.';

create function auth.guard_reset(subject text)
returns bigint
language c
volatile
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'guard_reset_wrapper';

comment on function auth.guard_reset(text) is
    'Forgets what is counted against an e-mail address, an IP address or another subject, and ends its locks; how many counters there were. At once, whatever becomes of the transaction. For auth_admin.';

create function auth.block_network(network cidr, duration interval default null, reason text default '')
returns void
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    insert into auth.blocked_networks as b (network, reason, expires_at)
    values (network(auth.without_mapping(block_network.network)), coalesce(block_network.reason, ''), clock_timestamp() + block_network.duration)
    on conflict (network) do update
    set reason = excluded.reason, expires_at = excluded.expires_at, created_by = session_user,
        created_at = clock_timestamp()
$$;

comment on function auth.block_network(cidr, interval, text) is
    'Refuses sign-up, sign-in and refresh to clients from a network, for a time or for ever: 42501 network_blocked. Only addresses that are believed count (docs/guard.md). For auth_admin.';

create function auth.unblock_network(network cidr)
returns boolean
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    with removed as (
        delete from auth.blocked_networks as b where b.network = network(auth.without_mapping(unblock_network.network)) returning 1
    )
    select exists (select from removed)
$$;

comment on function auth.unblock_network(cidr) is
    'Ends what auth.block_network began; whether there was such a block. For auth_admin.';

-- What has expired goes, in small bites.

create function auth.cleanup()
returns jsonb
language c
volatile
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'cleanup_wrapper';

comment on function auth.cleanup() is
    'Removes what has expired, at most 1,000 rows of each kind, and waits for nobody: {sessions, one_time_tokens, pending_sign_ups, sms_codes, flow_state, mfa_challenges, mfa_factors (unverified for a day), webauthn_challenges, outbox, revocations, blocked_networks} removed. The worker does the same every ten minutes while there is work; this is for whoever wants it now. For auth_admin.';

alter table auth.hooks drop constraint hooks_event_check;
alter table auth.hooks add constraint hooks_event_check
    check (event in ('before_user_created', 'after_user_created', 'custom_access_token', 'mfa_verification_attempt'));
comment on column auth.hooks.event is 'before_user_created, after_user_created, custom_access_token or mfa_verification_attempt.';

alter table auth.config
    add column signup_mode text check (signup_mode in ('immediate', 'confirm', 'otp_first')),
    add column enable_anonymous boolean,
    add column anonymous_role text check (anonymous_role in ('anon', 'authenticated')),
    add column enable_magic_link boolean,
    add column implicit_flow boolean,
    add column redirect_allow_list jsonb,
    add column email_otp_length integer,
    add column email_otp_ttl interval,
    add column verification_ttl interval,
    add column recovery_ttl interval,
    add column magic_link_ttl interval,
    add column verification_resend_limit integer,
    add column verification_resend_interval interval,
    add column debug_mode boolean,
    add column test_codes jsonb,
    add column secure_email_change boolean,
    add column reauthentication_required boolean,
    add column current_password_required boolean,
    add column reset_returns_session boolean,
    add column security_notices boolean,
    add column notify_events boolean,
    add column rate_limit_mail text,
    add column enable_passkeys boolean,
    add column mfa_enabled boolean,
    add column mfa_totp_enabled boolean,
    add column mfa_sms_enabled boolean,
    add column mfa_enforcement text check (mfa_enforcement in ('required', 'policy')),
    add column mfa_required_roles jsonb,
    add column mfa_max_factors integer,
    add column mfa_challenge_ttl interval,
    add column totp_issuer text,
    add column webauthn_rp_name text,
    add column webauthn_rp_id text,
    add column webauthn_rp_origins jsonb,
    add column webauthn_user_verification text check (webauthn_user_verification in ('required', 'preferred', 'discouraged')),
    add column enable_sms boolean,
    add column sms_otp_length integer,
    add column sms_otp_ttl interval,
    add column sms_prefixes jsonb,
    add column rate_limit_sms text,
    add column sms_budget text,
    add column password_prevent_common boolean,
    add column password_prevent_user_info boolean,
    add column public_profile_fields jsonb,
    add column require_approval boolean,
    add column email_block_disposable boolean,
    add column email_block_subaddress boolean,
    add column mfa_webauthn_enabled boolean,
    add column webauthn_allowed_aaguids uuid[],
    add column webauthn_attestation_roots text;
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

create function auth.public_settings()
returns jsonb
language c
stable
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'public_settings_wrapper';

comment on function auth.public_settings() is
    'The settings that a page or client needs before anybody has signed in: {enable_signup, signup_mode, enable_anonymous, enable_magic_link, implicit_flow, site_url, jwt_issuer, email_otp_length, password_min_length}. For everyone.';

-- Second factors. The secrets of TOTP are sealed before they get here; codes are keyed digests.

create table auth.mfa_factors (
    id uuid primary key,
    user_id uuid not null,
    friendly_name text,
    factor_type text not null check (factor_type in ('totp', 'phone', 'webauthn')),
    status text not null default 'unverified' check (status in ('unverified', 'verified')),
    secret_sealed bytea,
    phone text,
    last_used_step bigint,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    updated_at timestamptz not null default pg_catalog.clock_timestamp(),
    last_challenged_at timestamptz,
    credential_id bytea unique,
    public_key bytea,
    sign_count bigint,
    transports text[],
    aaguid uuid,
    backup_eligible boolean
);
create index mfa_factors_user_id on auth.mfa_factors (user_id);
create unique index mfa_factors_friendly_name on auth.mfa_factors (user_id, friendly_name);
select pg_catalog.pg_extension_config_dump('auth.mfa_factors', '');

comment on table auth.mfa_factors is 'Second factors of accounts. Only a verified one is asked for at sign-in.';
comment on column auth.mfa_factors.id is 'Factor id.';
comment on column auth.mfa_factors.user_id is 'Whose it is.';
comment on column auth.mfa_factors.friendly_name is 'Name that its user gave it; of an account no two factors have the same.';
comment on column auth.mfa_factors.factor_type is 'totp (RFC 6238), phone (codes by SMS) or webauthn (a security key).';
comment on column auth.mfa_factors.status is 'verified once a first code has confirmed it; before, it is asked for nowhere.';
comment on column auth.mfa_factors.secret_sealed is 'TOTP secret of 160 bits, sealed under the root key and bound to this row.';
comment on column auth.mfa_factors.phone is 'Number that codes are sent to, E.164 without the plus sign.';
comment on column auth.mfa_factors.last_used_step is 'TOTP step (30 seconds) of the last code that was used; it and the steps before it are used up.';
comment on column auth.mfa_factors.created_at is 'When it was enrolled.';
comment on column auth.mfa_factors.updated_at is 'When the row last changed.';
comment on column auth.mfa_factors.last_challenged_at is 'When a challenge of it was last met.';
comment on column auth.mfa_factors.credential_id is 'Of a security key: credential id, at most 1023 bytes (WebAuthn section 4); of one factor only.';
comment on column auth.mfa_factors.public_key is 'Of a security key: public key as the authenticator wrote it, a COSE_Key (RFC 9052 section 7).';
comment on column auth.mfa_factors.sign_count is 'Of a security key: signature counter of the last use; 0 where it has none (WebAuthn section 6.1.1).';
comment on column auth.mfa_factors.transports is 'Of a security key: how it is reached: ble, hybrid, internal, nfc, smart-card, usb.';
comment on column auth.mfa_factors.aaguid is 'Of a security key: its model, as it says itself; null: not said.';
comment on column auth.mfa_factors.backup_eligible is 'Of a security key: whether it can be copied to other devices; never changes.';

create table auth.mfa_challenges (
    id uuid primary key,
    user_id uuid not null,
    session_id uuid,
    factor_id uuid,
    purpose text not null check (purpose in ('sign_in', 'session')),
    token_hash bytea unique,
    way jsonb not null default '{}',
    ip inet,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    expires_at timestamptz not null,
    webauthn_challenge bytea,
    webauthn_expires_at timestamptz
);
create index mfa_challenges_user_id on auth.mfa_challenges (user_id);
select pg_catalog.pg_extension_config_dump('auth.mfa_challenges', '');

comment on table auth.mfa_challenges is 'Second steps that are asked for and not done. The row of a step that is done is gone.';
comment on column auth.mfa_challenges.id is 'Challenge id.';
comment on column auth.mfa_challenges.user_id is 'Who has to take the step.';
comment on column auth.mfa_challenges.session_id is 'Session that it raises; null: there is none before the step.';
comment on column auth.mfa_challenges.factor_id is 'Factor that was chosen; null: any of the account.';
comment on column auth.mfa_challenges.purpose is 'sign_in: a sign-in whose first step is done; session: a session is raised to aal2.';
comment on column auth.mfa_challenges.token_hash is 'Keyed digest of the challenge token of a sign-in.';
comment on column auth.mfa_challenges.way is 'How the first step was taken: method, provider, event_type, what the audit says, and when.';
comment on column auth.mfa_challenges.ip is 'Address that asked for it.';
comment on column auth.mfa_challenges.created_at is 'When it was made.';
comment on column auth.mfa_challenges.expires_at is 'When it ends.';
comment on column auth.mfa_challenges.webauthn_challenge is '32 random bytes that a security key is to sign; null: none was asked.';
comment on column auth.mfa_challenges.webauthn_expires_at is 'When that ends.';

create table auth.recovery_codes (
    id uuid primary key,
    user_id uuid not null,
    code_hash bytea not null,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    used_at timestamptz
);
create index recovery_codes_user_id on auth.recovery_codes (user_id);
select pg_catalog.pg_extension_config_dump('auth.recovery_codes', '');

comment on table auth.recovery_codes is 'Codes that let somebody in who has lost the second factor; each once.';
comment on column auth.recovery_codes.id is 'Row id.';
comment on column auth.recovery_codes.user_id is 'Whose it is.';
comment on column auth.recovery_codes.code_hash is 'Keyed digest of the code, bound to this row.';
comment on column auth.recovery_codes.created_at is 'When the set was made.';
comment on column auth.recovery_codes.used_at is 'When it was used; null: it is good.';

comment on column auth.sessions.factor_id is 'Second factor that was used, or passkey that has verified its user.';
alter table auth.users add column awaits_approval boolean not null default false;
comment on column auth.users.username is 'Public name, unique: 3 to 32 letters a to z, digits, and . _ - between them; auth.public_profile finds by it.';
comment on column auth.users.awaits_approval is 'Refused with user_banned until an administrator approves it (require_approval).';

create or replace view auth.admin_users
with (security_barrier = true)
as
select
    u.id,
    u.instance_id,
    u.aud,
    u.role,
    u.email,
    u.username,
    u.phone,
    case when u.encrypted_password is not null then '***' end as encrypted_password,
    u.email_confirmed_at is not null as email_verified,
    u.email_confirmed_at,
    u.phone_confirmed_at,
    u.confirmed_at,
    u.invited_at,
    u.last_sign_in_at,
    u.raw_app_meta_data,
    u.raw_user_meta_data,
    u.is_anonymous,
    u.is_sso_user,
    u.banned_until,
    u.created_at,
    u.updated_at,
    u.deleted_at,
    u.awaits_approval
from auth.users as u;


create or replace view auth.user_objects
as
select
    u.id,
    u.deleted_at,
    jsonb_build_object(
            'id', u.id,
            'aud', u.aud,
            'role', u.role,
            'email', coalesce(u.email, ''),
            'phone', coalesce(u.phone, ''),
            'app_metadata', u.raw_app_meta_data,
            'user_metadata', u.raw_user_meta_data,
            'is_anonymous', u.is_anonymous,
            'created_at', auth.rfc3339(u.created_at),
            'updated_at', auth.rfc3339(u.updated_at),
            'identities', coalesce((
                select jsonb_agg(jsonb_build_object(
                    'identity_id', i.id,
                    'id', i.provider_id,
                    'user_id', i.user_id,
                    'identity_data', i.identity_data,
                    'provider', i.provider,
                    'email', i.email,
                    'last_sign_in_at', auth.rfc3339(i.last_sign_in_at),
                    'created_at', auth.rfc3339(i.created_at),
                    'updated_at', auth.rfc3339(i.updated_at)
                ) order by i.created_at)
                from auth.identities as i
                where i.user_id = u.id
            ), '[]')
        ) || jsonb_strip_nulls(jsonb_build_object(
            'factors', (
                select jsonb_agg(jsonb_build_object(
                    'id', f.id,
                    'friendly_name', f.friendly_name,
                    'factor_type', f.factor_type,
                    'status', f.status,
                    'phone', f.phone,
                    'last_challenged_at', auth.rfc3339(f.last_challenged_at),
                    'created_at', auth.rfc3339(f.created_at),
                    'updated_at', auth.rfc3339(f.updated_at)
                ) order by f.created_at)
                from auth.mfa_factors as f
                where f.user_id = u.id
            ),
            'username', u.username,
            'email_confirmed_at', auth.rfc3339(u.email_confirmed_at),
            'phone_confirmed_at', auth.rfc3339(u.phone_confirmed_at),
            'confirmed_at', auth.rfc3339(u.confirmed_at),
            'invited_at', auth.rfc3339(u.invited_at),
            'last_sign_in_at', auth.rfc3339(u.last_sign_in_at),
            'banned_until', auth.rfc3339(u.banned_until),
            'deleted_at', auth.rfc3339(u.deleted_at),
            'awaits_approval', nullif(u.awaits_approval, false)
        )) as object
from auth.users as u;

-- Links and codes: rows are only added and deleted, so that nobody waits for anybody.
alter table auth.one_time_tokens drop constraint one_time_tokens_user_id_purpose_key;
alter table auth.one_time_tokens add column data jsonb not null default '{}';
create index one_time_tokens_user_id on auth.one_time_tokens (user_id, purpose, created_at);
create index one_time_tokens_relates_to on auth.one_time_tokens (relates_to);
comment on table auth.one_time_tokens is 'Links and codes that are out for a user. Of each purpose the newest one is good; there is no unique key, because whoever held a row in an open transaction would hold up the next request.';
comment on column auth.one_time_tokens.data is 'What else its purpose needs, such as the new address of a change.';

alter table auth.pending_sign_ups drop constraint pending_sign_ups_instance_id_aud_email_key_key;
create index pending_sign_ups_email on auth.pending_sign_ups (instance_id, aud, email_key, created_at);
alter table auth.pending_sign_ups add column passkey jsonb;
comment on column auth.pending_sign_ups.passkey is 'Row of auth.passkeys that the account gets, if any; its user_id is the account''s.';
comment on table auth.pending_sign_ups is 'Sign-ups that wait for their code: no user exists before it is verified. Of each address the newest one is good.';

create index users_created_at on auth.users (created_at, id);

-- Which addresses may have an account here.

create table auth.email_rules (
    domain text primary key,
    action text not null check (action in ('allow', 'block')),
    reason text,
    created_at timestamptz not null default pg_catalog.clock_timestamp()
);
select pg_catalog.pg_extension_config_dump('auth.email_rules', '');

comment on table auth.email_rules is 'Domains whose addresses may or may not have a new account. A block always counts; with any allow rule, only what one names is taken. Written by auth.add_email_rule; readable by auth_admin.';
comment on column auth.email_rules.domain is 'Domain as A-label in lower case; *.domain for everything below it.';
comment on column auth.email_rules.action is 'allow or block.';
comment on column auth.email_rules.reason is 'Why, for people to read.';
comment on column auth.email_rules.created_at is 'When it was added.';

create function auth.add_email_rule(domain text, action text default 'block', reason text default null)
returns void
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'add_email_rule_wrapper';

comment on function auth.add_email_rule(text, text, text) is
    'Blocks a domain for new accounts and changes of address, or with action allow admits only those that are allowed; *.domain means everything below it, and not the domain itself. Replaces an earlier rule of the domain. For auth_admin. 22023 validation_failed.';

create function auth.remove_email_rule(domain text)
returns void
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'remove_email_rule_wrapper';

comment on function auth.remove_email_rule(text) is
    'Removes the rule of a domain. For auth_admin. 22023 validation_failed where there is none.';

-- What is to be sent, written in the transaction of the fact that it announces. A courier outside the database takes rows for
-- a while (a lease), sends them and says how that ended.

create table auth.outbox (
    id uuid primary key,
    channel text not null check (channel in ('email', 'sms', 'webhook')),
    kind text not null,
    recipient text not null,
    locale text,
    payload_sealed bytea,
    message_id text not null,
    status text not null default 'pending' check (status in ('pending', 'sent', 'dead', 'expired')),
    attempts integer not null default 0,
    next_attempt_at timestamptz not null default pg_catalog.clock_timestamp(),
    claimed_until timestamptz,
    last_error text,
    -- a copy of the database on another cluster sends nothing
    cluster_id text not null,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    sent_at timestamptz,
    expires_at timestamptz
) with (fillfactor = 80);
create index outbox_due on auth.outbox (next_attempt_at) where status = 'pending';
create index outbox_created_at on auth.outbox using brin (created_at);
select pg_catalog.pg_extension_config_dump('auth.outbox', '');

comment on table auth.outbox is 'Mails, messages and webhook calls that are to be sent, and those that were. What they say is sealed, and dropped once it is sent. For auth_admin to look at.';
comment on column auth.outbox.id is 'Row id, UUID version 7 (RFC 9562).';
comment on column auth.outbox.channel is 'email, sms or webhook.';
comment on column auth.outbox.kind is 'What it says: the name of its template, or the event of a webhook.';
comment on column auth.outbox.recipient is 'Address, number or URL that it goes to.';
comment on column auth.outbox.locale is 'Language that the recipient reads (BCP 47); null: the courier''s own.';
comment on column auth.outbox.payload_sealed is 'What the template is filled with, sealed under the keyring; null once it is sent or given up.';
comment on column auth.outbox.message_id is 'Message-ID (RFC 5322 section 3.6.4); the same at every attempt.';
comment on column auth.outbox.status is 'pending, sent, dead (given up) or expired (what it holds ended before it could be sent).';
comment on column auth.outbox.attempts is 'How often it was taken.';
comment on column auth.outbox.next_attempt_at is 'When it may be taken next.';
comment on column auth.outbox.claimed_until is 'Until then the courier that took it has it.';
comment on column auth.outbox.last_error is 'Why the last attempt failed.';
comment on column auth.outbox.cluster_id is 'System identifier of the cluster that wrote it: couriers of another take it only after auth.adopt_outbox().';
comment on column auth.outbox.created_at is 'When it was written.';
comment on column auth.outbox.sent_at is 'When it was sent.';
comment on column auth.outbox.expires_at is 'After that it is of no use to the recipient and is not sent.';

create table auth.templates (
    name text not null,
    locale text not null default '',
    subject text not null check (subject !~ '[\r\n]'),
    text_body text not null,
    html_body text,
    updated_at timestamptz not null default pg_catalog.clock_timestamp(),
    primary key (name, locale)
);
select pg_catalog.pg_extension_config_dump('auth.templates', '');

comment on table auth.templates is 'Mails in your words, in place of the default ones. auth_admin inserts, updates and deletes; docs/mail.md lists the variables.';
comment on column auth.templates.name is 'Kind of mail, such as confirmation.';
comment on column auth.templates.locale is 'Language (BCP 47), such as de or pt-BR; empty: for all that have none of their own.';
comment on column auth.templates.subject is 'Subject, one line, as a template.';
comment on column auth.templates.text_body is 'Plain text, as a template.';
comment on column auth.templates.html_body is 'HTML, as a template whose variables are escaped; null: plain text only.';
comment on column auth.templates.updated_at is 'When it last changed.';

create table auth.webhooks (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    url text not null check (url ~ '^https?://'),
    -- names of events of the audit; empty: all
    events text[] not null default '{}',
    secret_sealed bytea not null,
    created_at timestamptz not null default pg_catalog.clock_timestamp()
);
select pg_catalog.pg_extension_config_dump('auth.webhooks', '');

comment on table auth.webhooks is 'Who is told of events, by a signed POST (Standard Webhooks). Made by auth.add_webhook, which shows the secret once.';
comment on column auth.webhooks.id is 'Row id.';
comment on column auth.webhooks.url is 'Where it is posted.';
comment on column auth.webhooks.events is 'Event types as in auth.audit_log; empty: all.';
comment on column auth.webhooks.secret_sealed is 'Secret that signs, sealed under the keyring.';
comment on column auth.webhooks.created_at is 'When it was made.';

create trigger invalidate
    after insert or update or delete on auth.webhooks
    for each row execute function auth.invalidate_relation();

create trigger invalidate_all
    after truncate on auth.webhooks
    for each statement execute function auth.invalidate_relation();

create function auth.add_webhook(url text, events text[] default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'add_webhook_wrapper';

comment on function auth.add_webhook(text, text[]) is
    'Has events posted to a URL, signed as Standard Webhooks says: {id, secret}; the secret is shown this once. Events are types of auth.audit_log; none given: all. For auth_admin. 22023 validation_failed for what is no http or https address.';

create function auth.remove_webhook(id uuid)
returns void
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'remove_webhook_wrapper';

comment on function auth.remove_webhook(uuid) is
    'Ends a webhook; what is in the outbox for it already is still posted. For auth_admin. 22023 validation_failed for an unknown one.';

create function auth.open_outbox(id uuid, payload_sealed bytea)
returns jsonb
language c
strict
as 'MODULE_PATHNAME', 'open_outbox_wrapper';

comment on function auth.open_outbox(uuid, bytea) is 'Internal: what a row of the outbox holds; null if it does not open.';

create function auth.claim_outbox(n integer, channels text[] default null)
returns table (
    id uuid,
    channel text,
    kind text,
    recipient text,
    locale text,
    message_id text,
    attempts integer,
    payload jsonb,
    template jsonb,
    created_at timestamptz
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    own constant text := (select s.system_identifier::text from pg_control_system() as s);
begin
    if n is null or n not between 1 and 1000 then
        raise exception 'n is out of range'
            using errcode = 'invalid_parameter_value', detail = 'validation_failed', hint = 'n is from 1 to 1,000';
    end if;

    update auth.outbox
    set status = 'expired', payload_sealed = null, claimed_until = null
    where id in (
        select o.id
        from auth.outbox as o
        where o.status = 'pending' and o.cluster_id = own and o.next_attempt_at <= clock_timestamp()
            and o.expires_at <= clock_timestamp() and (o.claimed_until is null or o.claimed_until <= clock_timestamp())
        order by o.next_attempt_at
        limit 1000
        for update skip locked
    );

    -- Taken as often as one may be, and no courier came back to say how it ended: it may be what ends them.
    update auth.outbox
    set status = 'dead', payload_sealed = null, claimed_until = null, last_error = 'no courier that took it came back'
    where id in (
        select o.id
        from auth.outbox as o
        where o.status = 'pending' and o.cluster_id = own and o.attempts >= 12
            and (o.claimed_until is null or o.claimed_until <= clock_timestamp())
        limit 1000
        for update skip locked
    );

    return query
        with due as (
            select o.id
            from auth.outbox as o
            where o.status = 'pending' and o.cluster_id = own and o.next_attempt_at <= clock_timestamp()
                and (o.claimed_until is null or o.claimed_until <= clock_timestamp())
                and (o.expires_at is null or o.expires_at > clock_timestamp())
                and (channels is null or o.channel = any (channels))
            order by o.next_attempt_at
            limit n
            for update skip locked
        ), taken as (
            update auth.outbox as o
            set claimed_until = clock_timestamp() + interval '60 seconds', attempts = o.attempts + 1
            from due
            where o.id = due.id
            returning o.*
        )
        select t.id, t.channel, t.kind, t.recipient, t.locale, t.message_id, t.attempts,
            auth.open_outbox(t.id, t.payload_sealed), to_jsonb(m.*) - 'updated_at', t.created_at
        from taken as t
        left join lateral (
            select m.*
            from auth.templates as m
            where t.channel = 'email' and m.name = t.kind and m.locale in ('', t.locale, split_part(t.locale, '-', 1))
            order by m.locale = t.locale desc nulls last, m.locale <> '' desc
            limit 1
        ) as m on true
        order by t.id;
end
$$;

comment on function auth.claim_outbox(integer, text[]) is
    'Takes up to n (1 to 1,000) rows that are due, for 60 seconds: whoever took them sends them and settles them by then, or another may. Only of these channels (email, sms, webhook), or of all. Skips what others hold. What has expired becomes expired, and what was taken 12 times without an outcome dead. template is that of auth.templates, or null. For auth_sidecar.';

create function auth.settle_outbox(results jsonb)
returns integer
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'settle_outbox_wrapper';

comment on function auth.settle_outbox(jsonb) is
    'Says how attempts ended: [{id, attempts, outcome: sent | retry | failed | expired, error, retry_in (seconds)}], attempts as auth.claim_outbox gave it. A result of a lease that is over and was taken by another since is ignored. retry waits longer each time, and is given up after 12 attempts. Returns how many were settled. For auth_sidecar. 22023 validation_failed for another form.';

create function auth.outbox_status()
returns jsonb
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select jsonb_build_object(
        'pending', count(*) filter (where o.status = 'pending' and o.is_own),
        'due', count(*) filter (where o.status = 'pending' and o.is_own and not o.is_claimed and o.next_attempt_at <= clock_timestamp()),
        'claimed', count(*) filter (where o.status = 'pending' and o.is_own and o.is_claimed),
        'sent', count(*) filter (where o.status = 'sent'),
        'dead', count(*) filter (where o.status = 'dead'),
        'expired', count(*) filter (where o.status = 'expired'),
        'foreign', count(*) filter (where o.status = 'pending' and not o.is_own),
        'oldest_pending_seconds', extract(epoch from clock_timestamp()
            - min(o.created_at) filter (where o.status = 'pending' and o.is_own))::bigint,
        'last_sent_at', auth.rfc3339(max(o.sent_at))
    )
    from (
        select o.status, o.created_at, o.sent_at, o.next_attempt_at,
            coalesce(o.claimed_until > clock_timestamp(), false) as is_claimed, o.cluster_id = s.system_identifier::text as is_own
        from auth.outbox as o, pg_control_system() as s
    ) as o
$$;

comment on function auth.outbox_status() is
    'What waits and what was sent: {pending, due, claimed, sent, dead, expired, foreign, oldest_pending_seconds, last_sent_at}; foreign rows came with a copy of another cluster. For auth_admin and auth_sidecar.';

create function auth.adopt_outbox()
returns integer
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    with adopted as (
        update auth.outbox as o
        set cluster_id = s.system_identifier::text
        from pg_control_system() as s
        where o.status = 'pending' and o.cluster_id <> s.system_identifier::text
        returning o.id
    )
    select count(*)::integer from adopted
$$;

comment on function auth.adopt_outbox() is
    'After a restore that takes the place of the original: what it had not sent is sent from here. A copy for tests leaves it. Returns how many rows. For auth_admin.';

-- Sign-ins that are under way in a browser: the code at the end of a redirect, exchanged once for a session.

create table auth.flow_state (
    id uuid primary key,
    user_id uuid,
    provider text,
    authentication_method text,
    state_hash bytea unique,
    nonce text,
    code_verifier_sealed bytea,
    code_challenge text,
    redirect_to text,
    link_user_id uuid,
    link_session_id uuid,
    browser_hash bytea,
    auth_code_hash bytea unique,
    expires_at timestamptz not null,
    created_at timestamptz not null default pg_catalog.clock_timestamp()
);
create index flow_state_user_id on auth.flow_state (user_id);
select pg_catalog.pg_extension_config_dump('auth.flow_state', '');

comment on table auth.flow_state is 'Sign-ins under way in a browser.';
comment on column auth.flow_state.id is 'Row id.';
comment on column auth.flow_state.user_id is 'Who has proved who they are; null before that.';
comment on column auth.flow_state.provider is 'By which provider; null for a mailed link.';
comment on column auth.flow_state.authentication_method is 'Method that the session will name (RFC 8176).';
comment on column auth.flow_state.state_hash is 'Keyed digest of the parameter state (RFC 6749 section 10.12).';
comment on column auth.flow_state.nonce is 'Claim nonce that the provider has to repeat (OpenID Connect Core section 2).';
comment on column auth.flow_state.code_verifier_sealed is 'Our own PKCE verifier towards the provider, sealed.';
comment on column auth.flow_state.code_challenge is 'PKCE challenge of whoever began (RFC 7636).';
comment on column auth.flow_state.redirect_to is 'Where the browser goes in the end.';
comment on column auth.flow_state.link_user_id is 'Account that an identity is to be linked to.';
comment on column auth.flow_state.link_session_id is 'Session that asked for that.';
comment on column auth.flow_state.browser_hash is 'Keyed digest of what binds it to the browser that began.';
comment on column auth.flow_state.auth_code_hash is 'Keyed digest of the code that is exchanged for a session.';
comment on column auth.flow_state.expires_at is 'When it ends.';
comment on column auth.flow_state.created_at is 'When it began.';

create function auth.redirect_allowed(url text)
returns boolean
language c
stable
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'redirect_allowed_wrapper';

comment on function auth.redirect_allowed(text) is
    'Whether a link may lead there: site_url and what is below it, and what redirect_allow_list names. For everyone. 22023 validation_failed for null.';

comment on function auth.sign_up(text, text, jsonb, jsonb) is
    'Makes an account and signs in: {status: session, access_token, token_type, expires_in, expires_at, refresh_token, user}. data is user_metadata (an object, at most 16 kB, 8 levels). For anon. 22023 email_address_invalid, weak_password, password_too_long, validation_failed; 23505 email_exists; 55000 signup_disabled.';
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

create function auth.authenticate_request()
returns void
language c
volatile
as 'MODULE_PATHNAME', 'authenticate_request_wrapper';

comment on function auth.authenticate_request() is
    'For db-pre-request of PostgREST: acts as the bearer in request.headers until the transaction ends, as auth.authenticate does; without a bearer nothing changes. For anon, authenticated and service_role. 28000 as auth.uid() refuses, before anything of the request has run.';

-- What is wrong around us: policies, grants, roles and settings that let somebody pass by. Only reads.

create or replace function auth.trusts_proxies()
returns boolean
language c
stable
as 'MODULE_PATHNAME', 'trusts_proxies_wrapper';

comment on function auth.trusts_proxies() is
    'Internal: whether auth.trusted_proxies names a login; the setting itself is shown to superusers only.';

create or replace function auth.dropped_events()
returns bigint
language c
stable
as 'MODULE_PATHNAME', 'dropped_events_wrapper';

comment on function auth.dropped_events() is
    'Internal: events_dropped of auth.guard_status(), which brings counters back into memory; this only looks.';

create or replace function auth.is_of_app(catalog oid, object oid, namespace oid)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select namespace <> all (array['pg_catalog', 'information_schema', 'auth']::regnamespace[]::oid[])
        and not exists (
            select from pg_depend as d
            where d.classid = is_of_app.catalog and d.objid = is_of_app.object and d.deptype = 'e'
        )
$$;

comment on function auth.is_of_app(oid, oid, oid) is
    'Internal: whether an object belongs to the app, and not to the server, to us or to another extension.';

create or replace function auth.findings_in_policies()
returns table (finding text, severity text, object text, hint text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with recursive policy as (
        select
            p.*,
            format('policy %I on %s', p.polname, p.polrelid::regclass) as object,
            pg_get_expr(p.polqual, p.polrelid) as condition,
            pg_get_expr(p.polwithcheck, p.polrelid) as condition_of_new
        from pg_policy as p
    ),
    -- What a policy calls, and what that calls where its body is parsed (begin atomic).
    call (policy, function) as (
        select d.objid, d.refobjid
        from pg_depend as d
        where d.classid = 'pg_policy'::regclass and d.refclassid = 'pg_proc'::regclass
        union
        select c.policy, d.refobjid
        from call as c
        join pg_depend as d
            on d.classid = 'pg_proc'::regclass and d.objid = c.function and d.refclassid = 'pg_proc'::regclass
    ),
    source as (
        select
            p.object,
            '' as place,
            concat_ws(' ', p.condition, p.condition_of_new) as code,
            -- The tree says which function is meant, whatever columns and functions of the app are called.
            concat_ws(' ', p.polqual::text, p.polwithcheck::text) ~ format(
                ' :funcid (%s|%s) ',
                'current_setting(text)'::regprocedure::oid, 'current_setting(text, boolean)'::regprocedure::oid
            ) as reads_setting
        from policy as p
        union all
        select p.object, format('in function %s: ', f.oid::regprocedure), body.code, body.code ~* '\ycurrent_setting"?\s*\('
        from policy as p
        join call as c on c.policy = p.oid
        join pg_proc as f on f.oid = c.function
        cross join lateral (
            -- Without comments; they are not looked for in text between quotes.
            select coalesce(
                pg_get_function_sqlbody(f.oid),
                regexp_replace(f.prosrc, $re$('(?:[^']|'')*')|--[^\n]*|/\*(?:[^*]|\*+[^*/])*\*+/$re$, '\1 ', 'g')
            )
        ) as body (code)
        where auth.is_of_app('pg_proc'::regclass, f.oid, f.pronamespace)
    )
    select
        'policy_reads_user_metadata', 'error', s.object,
        s.place || 'users change it themselves: use app_metadata, or a table of yours by auth.uid()'
    from source as s
    where s.code ~ '\y(user_metadata|raw_user_meta_data)\y'
    union all
    select
        'policy_reads_setting', 'error', s.object,
        s.place || 'anyone may set a setting such as request.jwt.claims: use auth.uid(), auth.role() or auth.jwt()'
    from source as s
    where s.reads_setting
    union all
    select
        'policy_allows_all_writes', 'warning', p.object,
        'its condition is true for every row: compare with auth.uid(), or revoke what is not meant'
    from policy as p
    where p.polpermissive
        and p.polcmd <> 'r'
        and 'true' in (p.condition, p.condition_of_new)
        and exists (
            select from unnest(p.polroles) as r (id)
            where r.id = 0 or r.id in (select a.oid from pg_roles as a where a.rolname in ('anon', 'authenticated'))
        )
$$;

comment on function auth.findings_in_policies() is 'Internal: what auth.doctor() finds in policies and in the functions that they call.';

create or replace function auth.findings_in_relations()
returns table (finding text, severity text, object text, hint text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with relation as (
        select
            c.*,
            c.oid::regclass::text as name,
            case c.relkind
                when 'v' then 'view ' when 'm' then 'materialized view ' when 'f' then 'foreign table ' else 'table '
            end || c.oid::regclass::text as object,
            (
                select array_agg(distinct p.privilege)
                from pg_roles as r
                cross join unnest(array['select', 'insert', 'update', 'delete', 'truncate']) as p (privilege)
                where r.rolname in ('anon', 'authenticated')
                    and has_schema_privilege(r.oid, c.relnamespace, 'usage')
                    and case
                        when p.privilege in ('delete', 'truncate') then has_table_privilege(r.oid, c.oid, p.privilege)
                        else has_any_column_privilege(r.oid, c.oid, p.privilege)
                    end
            ) as granted
        from pg_class as c
        where c.relkind in ('r', 'p', 'v', 'm', 'f')
            and c.relpersistence <> 't'
            and auth.is_of_app('pg_class'::regclass, c.oid, c.relnamespace)
    ),
    view as (
        select r.*, w.ev_action::text as tree, w.oid as rule
        from relation as r
        join pg_rewrite as w on w.ev_class = r.oid and w.ev_type = '1'
        where r.relkind = 'v' and r.granted <> '{truncate}'
    )
    select
        'table_without_row_security', case when r.relkind in ('r', 'p') then 'error' else 'warning' end, r.object,
        case
            when r.relkind in ('r', 'p') then format(
                'anon or authenticated may %s every row: alter table %s enable row level security, and create policies',
                array_to_string(array_remove(r.granted, 'truncate'), ', '), r.name)
            else format(
                'anon or authenticated may %s every row, and it can have no policies: revoke that',
                array_to_string(array_remove(r.granted, 'truncate'), ', '))
        end
    from relation as r
    where r.relkind <> 'v' and not r.relrowsecurity and r.granted <> '{truncate}'
    union all
    select
        'table_without_policies', 'note', r.object,
        'row security is on, and only its owner and roles with BYPASSRLS see a row: create a policy unless that is meant'
    from relation as r
    where r.relrowsecurity and not exists (select from pg_policy as p where p.polrelid = r.oid)
    union all
    select
        'truncate_granted', 'warning', r.object,
        format('no policy stops truncate: revoke truncate on %s from public, anon, authenticated', r.name)
    from relation as r
    where r.relkind <> 'v' and 'truncate' = any (r.granted)
    union all
    select
        'view_passes_row_security', 'error', v.object,
        format('it reads with the rights of %I, whom policies do not stop: alter view %s set (security_invoker = true)',
            o.rolname, v.name)
    from view as v
    join pg_roles as o on o.oid = v.relowner
    where not exists (
            select from pg_options_to_table(v.reloptions) as t
            where t.option_name = 'security_invoker' and t.option_value::boolean
        )
        and (
            o.rolsuper
            or o.rolbypassrls
            or exists (
                select
                from pg_depend as d
                join pg_class as c on c.oid = d.refobjid
                where d.classid = 'pg_rewrite'::regclass and d.objid = v.rule and d.refclassid = 'pg_class'::regclass
                    and c.relrowsecurity and not c.relforcerowsecurity and pg_has_role(o.oid, c.relowner, 'usage')
            )
        )
    union all
    select
        'view_reads_setting', 'warning', v.object,
        'anyone may set a setting such as request.jwt.claims: use auth.uid(), auth.role() or auth.jwt()'
    from view as v
    where v.tree ~ format(
        ' :funcid (%s|%s) ',
        'current_setting(text)'::regprocedure::oid, 'current_setting(text, boolean)'::regprocedure::oid)
$$;

comment on function auth.findings_in_relations() is
    'Internal: what auth.doctor() finds in tables and views that anon and authenticated reach.';

create or replace function auth.findings_in_roles()
returns table (finding text, severity text, object text, hint text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with role as (
        select
            r.*,
            pg_has_role(r.oid, 'anon', m.becoming) or pg_has_role(r.oid, 'authenticated', m.becoming) as may_act,
            pg_has_role(r.oid, 'service_role', m.becoming) as may_serve
        from pg_roles as r
        cross join (
            -- From 16 on somebody may be a member without SET ROLE.
            select case when current_setting('server_version_num')::integer < 160000 then 'member' else 'set' end
        ) as m (becoming)
    )
    select
        'login_passes_row_security', 'warning', format('login %I', r.rolname),
        'a request in it may leave the role of its user: ' || concat_ws('; ',
            case when r.may_serve then format('revoke service_role from %I and use another login for that', r.rolname) end,
            case when r.rolbypassrls then format('alter role %I nobypassrls', r.rolname) end)
    from role as r
    where r.rolcanlogin and not r.rolsuper and r.may_act and (r.may_serve or r.rolbypassrls)
    union all
    select
        'role_of_requests_is_mighty', 'error', format('role %I', r.rolname),
        format('what users run as is more than that: %s',
            concat_ws('; ',
                case
                    when r.rolsuper or r.rolbypassrls or r.rolcreaterole
                        then format('alter role %I nosuperuser nobypassrls nocreaterole', r.rolname)
                end,
                format('revoke %s from %I', nullif(more.roles, ''), r.rolname)))
    from role as r
    cross join lateral (
        select coalesce(string_agg(quote_ident(m.rolname), ', ' order by m.rolname), '')
        from pg_roles as m
        where m.rolname in ('service_role', 'auth_admin', 'auth_owner', 'auth_sidecar')
            and not r.rolsuper and pg_has_role(r.oid, m.oid, 'member')
    ) as more (roles)
    where r.rolname in ('anon', 'authenticated')
        and (r.rolsuper or r.rolbypassrls or r.rolcreaterole or more.roles <> '')
    union all
    select
        'auth_owner_has_members', 'error', format('role %I', r.rolname),
        format('it may read and change every table of ours: revoke auth_owner from %I', r.rolname)
    from pg_auth_members as m
    join role as r on r.oid = m.member
    where m.roleid = 'auth_owner'::regrole
    union all
    select
        'definer_without_search_path', 'warning', format('function %s', f.oid::regprocedure),
        format('its caller chooses which objects it finds: alter function %s set search_path = pg_catalog, pg_temp, and qualify names',
            f.oid::regprocedure)
    from pg_proc as f
    where f.prosecdef
        and not exists (select from unnest(f.proconfig) as c (setting) where c.setting like 'search\_path=%')
        and auth.is_of_app('pg_proc'::regclass, f.oid, f.pronamespace)
        and exists (
            select from role as r
            where r.rolname in ('anon', 'authenticated')
                and has_schema_privilege(r.oid, f.pronamespace, 'usage') and has_function_privilege(r.oid, f.oid, 'execute')
        )
$$;

comment on function auth.findings_in_roles() is
    'Internal: what auth.doctor() finds in memberships, and in functions that lend the rights of their owner.';

create or replace function auth.findings_in_settings()
returns table (finding text, severity text, object text, hint text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with config as (
        select
            coalesce(max(c.environment), 'development') = 'production' as is_production,
            coalesce(bool_and(c.rate_limit_enabled), true) as rate_limit_enabled
        from auth.config as c
    ),
    server as (
        select
            current_setting('max_worker_processes')::integer as workers,
            current_setting('max_parallel_workers')::integer as parallel_workers,
            -- Our launcher and one worker, and the launcher of logical replication.
            2 + (current_setting('max_logical_replication_workers')::integer > 0)::integer as needed
    ),
    switched as (
        select 'setting ' || s.name as object, s.name, s.setting
        from pg_settings as s
        where s.name in ('auth.session_identity', 'auth.allow_drop')
        union all
        select
            format('setting %s%s%s', split_part(c.assignment, '=', 1),
                case when r.setrole <> 0 then format(' of role %s', r.setrole::regrole) end,
                case when r.setdatabase <> 0 then format(' in database %I', d.datname) end),
            split_part(c.assignment, '=', 1),
            lower(split_part(c.assignment, '=', 2))
        from pg_db_role_setting as r
        left join pg_database as d on d.oid = r.setdatabase
        cross join unnest(r.setconfig) as c (assignment)
        where r.setdatabase = 0 or d.datname = current_database()
    )
    select
        'proxies_are_trusted', 'warning', 'setting auth.trusted_proxies',
        'whoever logs in as one of them can be anybody: empty it in postgresql.conf unless only your proxy can'
    where auth.trusts_proxies()
    union all
    select
        'session_identity_allowed', 'warning', s.object,
        'behind a transaction pooler the next client inherits an identity: switch it off except for people''s own connections'
    from switched as s
    where s.name = 'auth.session_identity' and s.setting not in ('off', 'false', 'no', '0')
    union all
    select
        'drop_allowed', 'warning', s.object,
        'drop extension auth would delete every user: switch it off'
    from switched as s
    where s.name = 'auth.allow_drop' and s.setting not in ('off', 'false', 'no', '0')
    union all
    select
        'not_crash_safe', case when c.is_production then 'error' else 'note' end, 'setting ' || s.name,
        'a crash may lose sign-outs and passwords, or the database: switch it on'
    from config as c
    cross join pg_settings as s
    where s.name in ('fsync', 'full_page_writes') and s.setting = 'off'
    union all
    select
        'limits_are_off', case when c.is_production then 'error' else 'note' end, 'setting rate_limit_enabled',
        'passwords may be guessed without end: select auth.configure(''{"rate_limit_enabled": true}'')'
    from config as c
    where not c.rate_limit_enabled
    union all
    select
        'environment_is_development', 'note', 'setting environment',
        'where people sign in for real: select auth.configure(''{"environment": "production"}'')'
    from config as c
    where not c.is_production
    union all
    select
        'statements_are_logged', 'note', 'setting ' || s.name,
        'our calls are hidden in the log, but not every other statement with a password in it (docs/security.md): bind parameters, and set auth.literal_passwords = reject'
    from pg_settings as s
    where case s.name
            when 'log_statement' then s.setting <> 'none'
            when 'log_transaction_sample_rate' then s.setting <> '0'
            when 'log_min_duration_statement' then s.setting <> '-1'
            when 'log_min_duration_sample' then s.setting <> '-1'
        end
        and current_setting('auth.literal_passwords') = 'allow'
    union all
    select
        'too_few_worker_processes', case when s.workers < s.needed then 'warning' else 'note' end,
        'setting max_worker_processes',
        case
            when s.workers < s.needed then format('no room for our worker, so sign-ins are refused: at least %s', s.needed)
            else format('parallel queries may take our worker''s place, and sign-ins wait for it: %s leaves room for both',
                s.parallel_workers + s.needed)
        end
    from server as s
    where s.workers < s.parallel_workers + s.needed
$$;

comment on function auth.findings_in_settings() is 'Internal: what auth.doctor() finds in settings of the server and in auth.config.';

create or replace function auth.findings_in_server(version integer)
returns table (finding text, severity text, object text, hint text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select
        'server_is_outdated', 'warning', format('server %s.%s', version / 10000, version % 10000),
        format('it has known security faults: update to at least %s.%s', floor.least / 10000, floor.least % 10000)
    from (
        -- As in schema.sql.
        select case version / 10000 when 15 then 150020 when 17 then 170011 when 18 then 180006 else 0 end
    ) as floor (least)
    where version < floor.least
    union all
    select
        'pgcrypto_not_needed', 'note', 'extension pgcrypto',
        'auth does not use it, and its faults are reachable from SQL: drop it if nothing else does'
    from pg_extension as e
    where e.extname = 'pgcrypto'
    union all
    select
        'audit_is_unsealed', 'warning', 'table auth.audit_log',
        format('%s rows are unsealed since %s: look for the auth worker in the server''s log, and for max_worker_processes',
            count(*), min(a.created_at))
    from auth.audit_log as a
    where a.sequence is null
    having min(a.created_at) < clock_timestamp() - interval '1 hour'
    union all
    select
        'events_were_dropped', 'warning', 'function auth.guard_status()',
        format('%s events since the server started are not in the audit: look for the auth worker in the server''s log', g.dropped)
    from (select auth.dropped_events()) as g (dropped)
    where g.dropped > 0
    union all
    select
        'mail_was_not_sent', 'warning', 'table auth.outbox',
        format('%s rows of the last day are %s, such as %s: %s', count(*), o.status, min(o.kind),
            case o.status
                when 'expired' then 'what they hold ended before a courier could send it; look whether one runs'
                else 'last_error says why'
            end)
    from auth.outbox as o
    where o.status in ('dead', 'expired') and o.created_at > clock_timestamp() - interval '1 day'
    group by o.status
$$;

comment on function auth.findings_in_server(integer) is
    'Internal: what auth.doctor() finds about a server of this version number: releases, extensions, audit and worker.';

create or replace function auth.keyring_fault()
returns text
language c
stable
as 'MODULE_PATHNAME', 'keyring_fault_wrapper';

comment on function auth.keyring_fault() is
    'Internal: what is wrong with the file of auth.root_key_file as it is now, and what to do; null: nothing.';

create or replace function auth.is_weak_key(kid text)
returns boolean
language c
stable
strict
as 'MODULE_PATHNAME', 'is_weak_key_wrapper';

comment on function auth.is_weak_key(text) is
    'Internal: whether the shared secret (HS256) with this kid may be guessed; null where there is none, or it does not open.';

create or replace function auth.findings_in_keys()
returns table (finding text, severity text, object text, hint text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select 'keyring_is_unusable', 'error', 'setting auth.root_key_file', k.fault
    from (select auth.keyring_fault()) as k (fault)
    where k.fault is not null
    union all
    select
        'signing_key_is_weak', 'error', format('signing key %s', s.kid),
        'whoever guesses the secret can be anybody: select auth.rotate_signing_key(), and revoke it once its tokens have ended'
    from auth.signing_keys as s
    where s.alg = 'HS256' and s.status <> 'revoked' and auth.is_weak_key(s.kid)
    union all
    select
        'library_is_another', 'error', 'extension auth',
        format('the script is %s and the library %s: alter extension auth update, or restart the server with the new library',
            e.extversion, auth.version())
    from pg_extension as e
    where e.extname = 'auth' and e.extversion <> substring(auth.version() from '^\d+\.\d+')
$$;

comment on function auth.findings_in_keys() is
    'Internal: what auth.doctor() and auth.sidecar_status() find about keys, and about the versions of script and library.';

create or replace function auth.sidecar_status()
returns jsonb
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select jsonb_build_object(
        'time', extract(epoch from clock_timestamp()),
        'version', auth.version(),
        'webhooks', (
            select coalesce(jsonb_agg(jsonb_build_object('id', w.id, 'url', w.url) order by w.created_at, w.id), '[]')
            from auth.webhooks as w
        ),
        'findings', (
            select coalesce(jsonb_agg(to_jsonb(f) order by f.finding, f.object), '[]')
            from auth.findings_in_keys() as f
        )
    )
$$;

comment on function auth.sidecar_status() is
    'For auth-sidecar doctor: {time (seconds since 1970), version (of the library), webhooks: [{id, url}], findings: [{finding, severity, object, hint}] about keys and versions}. For auth_sidecar and auth_admin; 42501 for others.';

create or replace function auth.doctor()
returns table (finding text, severity text, object text, hint text)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select f.finding, f.severity, f.object, f.hint
    from (
        select * from auth.findings_in_policies()
        union
        select * from auth.findings_in_relations()
        union
        select * from auth.findings_in_roles()
        union
        select * from auth.findings_in_settings()
        union
        select * from auth.findings_in_keys()
        union
        select * from auth.findings_in_server(current_setting('server_version_num')::integer)
    ) as f (finding, severity, object, hint)
    order by array_position(array['error', 'warning', 'note'], f.severity), f.finding, f.object, f.hint
$$;

comment on function auth.doctor() is
    'Looks for what would let somebody pass by policies, limits or the audit: one row for each finding, with severity error, warning or note, the object and what to do (docs/doctor.md); no row where all is well. Reads catalogs and settings and changes nothing. For auth_admin; 42501 for others.';

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

-- Codes that were sent by SMS. A row holds a digest, and no account: who has the number is asked when the code is right.

create table auth.sms_codes (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    phone text not null,
    about uuid,
    code_hash bytea not null,
    data jsonb not null default '{}',
    expires_at timestamptz not null,
    created_at timestamptz not null default pg_catalog.clock_timestamp()
);
create index sms_codes_phone on auth.sms_codes (phone, created_at);
create index sms_codes_about on auth.sms_codes (about) where about is not null;
select pg_catalog.pg_extension_config_dump('auth.sms_codes', '');

comment on table auth.sms_codes is 'Codes that are out by SMS. Of each number, and of each challenge, the newest one is good. One that signs in belongs to a number and to no account.';
comment on column auth.sms_codes.id is 'Row id.';
comment on column auth.sms_codes.phone is 'Number it was sent to, E.164 without the plus.';
comment on column auth.sms_codes.about is 'Challenge that it meets, or factor that it confirms; null: it signs in.';
comment on column auth.sms_codes.code_hash is 'Keyed digest of the code.';
comment on column auth.sms_codes.data is 'Of one that signs in: whether an account may be made, and its user metadata, {create_user, data}; of others {factor_id}.';
comment on column auth.sms_codes.expires_at is 'When the code ends.';
comment on column auth.sms_codes.created_at is 'When it was made.';

create function auth.send_sms_otp(phone text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'send_sms_otp_wrapper';

comment on function auth.send_sms_otp(text, jsonb) is
    'Sends a code by SMS that signs in, to be given to auth.verify_sms_otp within sms_otp_ttl. phone is a number with country code, such as +4915112345678 (E.164). Options: create_user (default true: a number without an account gets one when its code is verified), data (user metadata of a new account), locale, channel (sms), again (true: create_user and data as the request before it had them), type (sms; phone_change with again: the code of auth.update_phone once more). Answers {status: code_sent} whether or not anybody has the number. For everyone. 55000 phone_provider_disabled; 53400 over_sms_send_rate_limit; 22023 validation_failed for what is no such number, or one that sms_prefixes leaves out.';

create function auth.verify_sms_otp(phone text, code text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'verify_sms_otp_wrapper';

comment on function auth.verify_sms_otp(text, text, jsonb) is
    'Spends the code of an SMS and signs in (docs/sessions.md); the account is made now where the number has none. Options: type (sms; phone_change: the code of auth.update_phone, which gives the account the number; whoever is signed in confirms no change of another account), mfa (session: a restricted session in place of a challenge). For everyone. 28000 otp_expired for a code that is wrong, used, over or another number''s; 23505 phone_exists where somebody has got the number meanwhile; 53400 account_locked after too many wrong ones; 55000 phone_provider_disabled.';

create function auth.update_phone(new_phone text, current_password text default null, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'update_phone_wrapper';

comment on function auth.update_phone(text, text, jsonb) is
    'Begins a change of the caller''s number, or gives an account its first: the new one is sent a code, and once that is given to auth.verify_sms_otp with option type phone_change, it is the account''s. The current password is needed where the account has one and current_password_required is on. Options: locale, channel (sms). Answers {status: code_sent, user}, also where somebody has the number already. For authenticated, and guests. 28P01 current_password_invalid; 28000 insufficient_aal where a factor is verified and this session has used none; 55000 phone_provider_disabled, email_not_confirmed while nobody has proved the account''s address; 53400 over_sms_send_rate_limit; 22023 validation_failed for what is no number with country code, or one that sms_prefixes leaves out.';

create function auth.enroll_sms(phone text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'enroll_sms_wrapper';

comment on function auth.enroll_sms(text, jsonb) is
    'Enrols a phone as a second factor and sends it a code: {status: code_sent, factor_id, phone, friendly_name}. It is asked for nowhere before auth.confirm_sms. Options: friendly_name (default: the number), locale, send (false: no code yet, {status: enrolled}; auth.challenge_factor sends one), current_password, for a first factor in a session older than ten minutes. For authenticated users who are no guests. 28000 insufficient_aal where a factor is verified and this session has used none; 55000 mfa_phone_enroll_not_enabled, too_many_enrolled_mfa_factors; 23505 mfa_factor_name_conflict, mfa_verified_factor_exists; 53400 over_sms_send_rate_limit; 22023 validation_failed for what is no number with country code, or one that sms_prefixes leaves out.';

create function auth.confirm_sms(factor_id uuid, code text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'confirm_sms_wrapper';

comment on function auth.confirm_sms(uuid, text, jsonb) is
    'Confirms a phone by the code of auth.enroll_sms; from now on sign-ins ask for it. Answers this session, raised to aal2, with factor_id and, for the first factor, recovery_codes; other sessions of level aal1 end. For authenticated. 28000 mfa_verification_failed; 02000 mfa_factor_not_found; 53400 account_locked after too many wrong ones.';

create function auth.send_mfa_sms(challenge_token text, factor_id uuid default null, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'send_mfa_sms_wrapper';

comment on function auth.send_mfa_sms(text, uuid, jsonb) is
    'Sends a code for a second step, to be given to auth.verify_totp with the same challenge_token: that of a sign-in, or the id of auth.challenge_factor, for which one more is sent. factor_id: which phone, if there are several. Option locale. Answers {status: code_sent, factor_id, phone (its last two digits)}. For everyone. 28000 mfa_challenge_expired; 02000 mfa_factor_not_found without a confirmed phone; 53400 over_sms_send_rate_limit.';

create function auth.exchange_code(code text, code_verifier text default null, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'exchange_code_wrapper';

comment on function auth.exchange_code(text, text, jsonb) is
    'Exchanges the code at the end of a redirect for a session (docs/sessions.md), once and within five minutes; code_verifier is that of the request (RFC 7636), null where it had no challenge. For everyone. 28000 flow_state_not_found, flow_state_expired, bad_code_verifier.';

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

create function auth.list_factors(options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'list_factors_wrapper';

comment on function auth.list_factors(jsonb) is
    'The signed-in user''s second factors, the oldest first: [{id, friendly_name, factor_type, status, phone, created_at, updated_at, last_challenged_at}], never a secret. Also for a sign-in that waits for one; numbers are then hinted at only. For authenticated. 28000 no_authorization.';

create function auth.challenge_factor(factor_id uuid, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'challenge_factor_wrapper';

comment on function auth.challenge_factor(uuid, jsonb) is
    'Asks for a factor in this session: {id, factor_id, type, expires_at in seconds since 1970}. The id is given to auth.verify_totp with a code; a phone is sent one. Of a security key there is also webauthn, {type, credential_options: {publicKey}}, for navigator.credentials.create where type is create, as long as the factor is not verified, else .get; what comes back goes to auth.verify_webauthn. Options: send, false sends none, for whoever has a recovery code. For authenticated, and for a sign-in that waits for a second factor. 55000 mfa_webauthn_verify_not_enabled; 02000 mfa_factor_not_found for one that is not the caller''s.';

create function auth.verify_totp(challenge_token text, code text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'verify_totp_wrapper';

comment on function auth.verify_totp(text, text, jsonb) is
    'Takes the second step: challenge_token is that of a sign-in, which becomes a session of level aal2, or the id of auth.challenge_factor, which raises this session; its refresh token from before is void. code is one of an authenticator app (RFC 6238, six digits, a step of 30 seconds before or after is accepted), one that was sent, or a recovery code; each works once. Options: factor_id, if given it has to be the challenge''s; current_password, as in auth.enroll_totp, where the factor is not verified yet; recovery_codes, false makes none with a first factor. Answers a session (docs/sessions.md). For everyone. 28000 mfa_verification_failed, mfa_challenge_expired; 53400 account_locked after too many wrong ones.';

create function auth.verify_webauthn(challenge_token text, credential jsonb, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'verify_webauthn_wrapper';

comment on function auth.verify_webauthn(text, jsonb, jsonb) is
    'Takes the second step with a security key: challenge_token as in auth.verify_totp, credential what the browser gave for auth.challenge_webauthn or auth.challenge_factor, a RegistrationResponseJSON for a factor that is not verified yet and an AuthenticationResponseJSON else (WebAuthn Level 3). What was asked is spent, whatever comes of it. Options and answer as in auth.verify_totp. For everyone. 28000 mfa_verification_failed, mfa_challenge_expired, webauthn_challenge_expired; 23505 webauthn_credential_exists; 55000 mfa_webauthn_verify_not_enabled; 53400 account_locked after too many wrong ones.';

create function auth.unenroll_factor(factor_id uuid, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'unenroll_factor_wrapper';

comment on function auth.unenroll_factor(uuid, jsonb) is
    'Removes a factor of the signed-in user: {id}. For authenticated. Sessions that it had raised are of level aal1 at the next statement; with the last verified one the recovery codes go. 28000 insufficient_aal unless the session is of level aal2 where a factor is verified; 02000 mfa_factor_not_found.';

create function auth.regenerate_recovery_codes(options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'regenerate_recovery_codes_wrapper';

comment on function auth.regenerate_recovery_codes(jsonb) is
    'Ten new recovery codes of 80 bits, {recovery_codes}, shown once; the set before is void. Options: replace, false refuses where there is a set (23505 mfa_verified_factor_exists), true where there is none (02000 mfa_factor_not_found). For authenticated. 28000 insufficient_aal below level aal2; 55000 mfa_recovery_codes_sole_factor without a verified factor.';

create function auth.count_recovery_codes(options jsonb default '{}')
returns bigint
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'count_recovery_codes_wrapper';

comment on function auth.count_recovery_codes(jsonb) is
    'How many recovery codes of the signed-in user are left. For authenticated. 28000 no_authorization.';

create function auth.get_recovery_codes(options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'get_recovery_codes_wrapper';

comment on function auth.get_recovery_codes(jsonb) is
    'What there is of the signed-in user''s recovery codes, and never one of them: {id, total, remaining}; id is the user''s. For authenticated. 28000 no_authorization; 02000 mfa_factor_not_found where there are none.';

create function auth.delete_recovery_codes(options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'delete_recovery_codes_wrapper';

comment on function auth.delete_recovery_codes(jsonb) is
    'Removes the recovery codes of the signed-in user: {id}. For authenticated. 28000 no_authorization, insufficient_aal below level aal2; 02000 mfa_factor_not_found where there are none.';

create function auth.enroll_totp(friendly_name text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'enroll_totp_wrapper';

comment on function auth.enroll_totp(text, jsonb) is
    'Enrols an authenticator app (RFC 6238: HMAC-SHA-1, 6 digits, 30 seconds): {factor_id, secret in base32, otpauth_uri, qr_code as a data URL of SVG}, shown once. It is asked for nowhere before auth.confirm_totp. Options: issuer, the name that apps show; current_password, for a first factor in a session older than ten minutes. For authenticated users who are no guests. 28000 insufficient_aal where a factor is verified and this session has used none; 55000 mfa_totp_enroll_not_enabled, too_many_enrolled_mfa_factors; 23505 mfa_factor_name_conflict.';

create function auth.confirm_totp(factor_id uuid, code text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'confirm_totp_wrapper';

comment on function auth.confirm_totp(uuid, text, jsonb) is
    'Confirms an authenticator app by its first code; from now on sign-ins ask for it. Answers this session, raised to aal2, with factor_id and, for the first factor, recovery_codes; other sessions of level aal1 end. For authenticated. 28000 mfa_verification_failed; 02000 mfa_factor_not_found; 53400 account_locked after too many wrong ones.';

create function auth.disable_totp(code text, options jsonb default '{}')
returns void
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'disable_totp_wrapper';

comment on function auth.disable_totp(text, jsonb) is
    'Removes every authenticator app of the signed-in user, for one of their codes or a recovery code. For authenticated. Sessions that they had raised are of level aal1 at the next statement. 28000 mfa_verification_failed; 02000 mfa_factor_not_found without one; 53400 account_locked after too many wrong ones.';

-- Passkeys (WebAuthn Level 3): the public keys of accounts, and the ceremonies that are under way.

create table auth.passkeys (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    user_id uuid not null,
    credential_id bytea not null unique,
    public_key bytea not null,
    sign_count bigint not null default 0,
    transports text[] not null default '{}',
    aaguid uuid,
    backup_eligible boolean not null default false,
    backed_up boolean not null default false,
    uv boolean not null default false,
    friendly_name text,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    last_used_at timestamptz
);
create index passkeys_user_id on auth.passkeys (user_id);
select pg_catalog.pg_extension_config_dump('auth.passkeys', '');

comment on table auth.passkeys is 'Passkeys that users have registered. Nothing in it is secret; no login reads it.';
comment on column auth.passkeys.id is 'Row id.';
comment on column auth.passkeys.user_id is 'Whose it is.';
comment on column auth.passkeys.credential_id is 'Credential id, at most 1023 bytes (WebAuthn section 4); of one account only.';
comment on column auth.passkeys.public_key is 'Public key as the authenticator wrote it: a COSE_Key (RFC 9052 section 7).';
comment on column auth.passkeys.sign_count is 'Signature counter of the last use; 0 where the authenticator has none (WebAuthn section 6.1.1).';
comment on column auth.passkeys.transports is 'How the authenticator is reached: ble, hybrid, internal, nfc, smart-card, usb.';
comment on column auth.passkeys.aaguid is 'Model of the authenticator, as it says itself and nobody has attested; null: not said.';
comment on column auth.passkeys.backup_eligible is 'Whether it can be copied to other devices; never changes.';
comment on column auth.passkeys.backed_up is 'Whether it was, when it was last used.';
comment on column auth.passkeys.uv is 'Whether the authenticator verified its user when it was registered.';
comment on column auth.passkeys.friendly_name is 'Name that the user gave it, as given: escape it where it is shown.';
comment on column auth.passkeys.created_at is 'When it was registered.';
comment on column auth.passkeys.last_used_at is 'When it last signed in; null: never.';

create table auth.webauthn_challenges (
    id uuid primary key,
    user_id uuid,
    session_id uuid,
    kind text not null,
    challenge bytea not null,
    expires_at timestamptz not null,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    asked jsonb
);
create index webauthn_challenges_user_id on auth.webauthn_challenges (user_id);
create index webauthn_challenges_expires_at on auth.webauthn_challenges (expires_at);
select pg_catalog.pg_extension_config_dump('auth.webauthn_challenges', '');

comment on table auth.webauthn_challenges is 'Ceremonies under way. Rows are only added and deleted; each is used once.';
comment on column auth.webauthn_challenges.id is 'Id that the answer of the start carries.';
comment on column auth.webauthn_challenges.user_id is 'Whom it is for; null: whoever has a passkey. Of a sign-in by an address without passkeys it is nobody''s, of a sign-up that of the account that it makes.';
comment on column auth.webauthn_challenges.session_id is 'Session that registers.';
comment on column auth.webauthn_challenges.kind is 'registration, sign_in or sign_up.';
comment on column auth.webauthn_challenges.challenge is '32 random bytes that the authenticator signs.';
comment on column auth.webauthn_challenges.expires_at is 'When it ends.';
comment on column auth.webauthn_challenges.created_at is 'When it was made.';
comment on column auth.webauthn_challenges.asked is 'Of a sign-up: the email, data and options that it was begun with.';

create function auth.start_passkey_registration(options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'start_passkey_registration_wrapper';

comment on function auth.start_passkey_registration(jsonb) is
    'Begins to register a passkey of the caller: {challenge_id, options, expires_at in seconds since 1970}; options is for navigator.credentials.create (PublicKeyCredentialCreationOptionsJSON, WebAuthn Level 3). Good for 5 minutes, once, in the same session. For authenticated. 28000 no_authorization, insufficient_aal where the account has a second factor and the session is not aal2; 55000 passkey_disabled, too_many_passkeys (10); 22023 validation_failed for a guest.';

create function auth.finish_passkey_registration(challenge_id uuid, credential jsonb, name text default null, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'finish_passkey_registration_wrapper';

comment on function auth.finish_passkey_registration(uuid, jsonb, text, jsonb) is
    'Registers the passkey that the browser made: credential is its RegistrationResponseJSON, name at most 120 characters. Returns it like auth.list_passkeys. The challenge is spent, whatever comes of it. For authenticated. 28000 webauthn_challenge_expired, webauthn_verification_failed, insufficient_aal, no_authorization; 23505 webauthn_credential_exists; 55000 passkey_disabled, too_many_passkeys; 22023 validation_failed.';

create function auth.start_passkey_sign_in(email text default null, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'start_passkey_sign_in_wrapper';

comment on function auth.start_passkey_sign_in(text, jsonb) is
    'Begins to sign in with a passkey: {challenge_id, options, expires_at in seconds since 1970}; options is for navigator.credentials.get (PublicKeyCredentialRequestOptionsJSON, WebAuthn Level 3). With an address it names the passkeys of its account, and made-up ones where there are none, so that the answer does not tell; without, any passkey of this site will do. Good for 5 minutes, once. For anon, authenticated and service_role. 55000 passkey_disabled; 53400 over_request_rate_limit.';

create function auth.finish_passkey_sign_in(challenge_id uuid, credential jsonb, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'finish_passkey_sign_in_wrapper';

comment on function auth.finish_passkey_sign_in(uuid, jsonb, jsonb) is
    'Signs in with what the browser gave: credential is its AuthenticationResponseJSON. Answers like auth.sign_in; the session is aal2 where the authenticator has verified its user. The challenge is spent, whatever comes of it. For anon, authenticated and service_role. 28000 webauthn_challenge_expired, webauthn_verification_failed, user_banned; 55000 passkey_disabled, email_not_confirmed; 53400 over_request_rate_limit; 22023 validation_failed.';

create function auth.start_passkey_sign_up(email text, data jsonb default '{}', options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'start_passkey_sign_up_wrapper';

comment on function auth.start_passkey_sign_up(text, jsonb, jsonb) is
    'Begins to make an account with a passkey and without a password: {challenge_id, options, expires_at in seconds since 1970}; options is for navigator.credentials.create. data and options are those of auth.sign_up. Whether somebody has the address is not asked yet. Good for 5 minutes, once. For anon, authenticated and service_role. 22023 email_address_invalid, email_address_not_authorized, redirect_not_allowed, validation_failed; 55000 passkey_disabled, signup_disabled; 53400 over_request_rate_limit.';

create function auth.finish_passkey_sign_up(challenge_id uuid, credential jsonb, name text default null, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'finish_passkey_sign_up_wrapper';

comment on function auth.finish_passkey_sign_up(uuid, jsonb, text, jsonb) is
    'Makes the account with the passkey that the browser made, and answers and refuses like auth.sign_up; a session is aal2 where the authenticator has verified its user. credential is its RegistrationResponseJSON, name what the passkey is called, at most 120 characters. A refused answer of the authenticator spends the challenge. For anon, authenticated and service_role. 28000 webauthn_challenge_expired, webauthn_verification_failed; 23505 webauthn_credential_exists, email_exists; 55000 passkey_disabled, signup_disabled; 53400 over_request_rate_limit, over_email_send_rate_limit; 22023 validation_failed.';

create function auth.passkeys_of(user_id uuid)
returns table (
    id uuid,
    friendly_name text,
    created_at timestamptz,
    last_used_at timestamptz,
    transports text[],
    aaguid uuid,
    backup_eligible boolean,
    backed_up boolean
)
language sql
stable
set search_path = pg_catalog, pg_temp
begin atomic
    select p.id, p.friendly_name, p.created_at, p.last_used_at, p.transports, p.aaguid, p.backup_eligible, p.backed_up
    from auth.passkeys as p
    where p.user_id = passkeys_of.user_id
    order by p.created_at, p.id;
end;

comment on function auth.passkeys_of(uuid) is 'Internal: the passkeys of an account, the oldest first.';

create function auth.list_passkeys(options jsonb default '{}')
returns table (
    id uuid,
    friendly_name text,
    created_at timestamptz,
    last_used_at timestamptz,
    transports text[],
    aaguid uuid,
    backup_eligible boolean,
    backed_up boolean
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if options is distinct from '{}' and options is not null then
        raise exception 'unknown option'
            using errcode = 'invalid_parameter_value', detail = 'validation_failed',
                hint = 'this function has no options';
    end if;
    return query select * from auth.passkeys_of(auth.require_uid());
end
$$;

comment on function auth.list_passkeys(jsonb) is
    'The caller''s passkeys, the oldest first. For authenticated. 28000 no_authorization.';

create function auth.rename_passkey(id uuid, name text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'rename_passkey_wrapper';

comment on function auth.rename_passkey(uuid, text, jsonb) is
    'Names one of the caller''s passkeys, at most 120 characters, null for none, and returns it. For authenticated. 28000 no_authorization; 55000 passkey_disabled; 02000 webauthn_credential_not_found, the same for an unknown one and somebody else''s; 22023 validation_failed.';

create function auth.delete_passkey(id uuid, options jsonb default '{}')
returns void
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'delete_passkey_wrapper';

comment on function auth.delete_passkey(uuid, jsonb) is
    'Deletes one of the caller''s passkeys: it signs nobody in any more, and sessions that are aal2 by it are aal1 at the next statement. For authenticated. 28000 no_authorization, insufficient_aal where the account has a second factor and the session is not aal2; 02000 webauthn_credential_not_found, the same for an unknown one and somebody else''s.';

create function auth.admin_list_passkeys(user_id uuid, options jsonb default '{}')
returns jsonb
language c
stable
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'admin_list_passkeys_wrapper';

comment on function auth.admin_list_passkeys(uuid, jsonb) is
    'The passkeys of an account as a list of objects like the rows of auth.list_passkeys. For service_role, and for auth_sidecar with the service key: 28000 no_authorization, not_admin. 02000 user_not_found.';

create function auth.admin_delete_passkey(user_id uuid, id uuid, options jsonb default '{}')
returns void
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'admin_delete_passkey_wrapper';

comment on function auth.admin_delete_passkey(uuid, uuid, jsonb) is
    'Deletes a passkey of an account, such as one whose device is lost. For service_role, and for auth_sidecar with the service key: 28000 no_authorization, not_admin. 02000 webauthn_credential_not_found.';

create function auth.enroll_webauthn(friendly_name text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'enroll_webauthn_wrapper';

comment on function auth.enroll_webauthn(text, jsonb) is
    'Enrols a security key as a second factor: {status: enrolled, factor_id, friendly_name}. It is asked for nowhere before auth.challenge_factor and auth.verify_webauthn have confirmed it. Options: current_password, for a first factor in a session older than ten minutes. For authenticated users who are no guests. 28000 insufficient_aal where a factor is verified and this session has used none; 55000 mfa_webauthn_enroll_not_enabled, too_many_enrolled_mfa_factors; 23505 mfa_factor_name_conflict; 22023 validation_failed.';

create function auth.challenge_webauthn(challenge_token text, factor_id uuid default null, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'challenge_webauthn_wrapper';

comment on function auth.challenge_webauthn(text, uuid, jsonb) is
    'Asks for a security key in a second step: {webauthn: {type, credential_options: {publicKey}}}, for navigator.credentials.get; what comes back goes to auth.verify_webauthn with the same challenge_token, that of a sign-in or the id of auth.challenge_factor, within five minutes. Of several answers the newest is good. factor_id: which key, if there are several; without, any of them. For everyone. 28000 mfa_challenge_expired; 02000 mfa_factor_not_found without a confirmed security key, and where the first step was a passkey.';

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

-- What anybody may read of an account.

create function auth.public_profile(username text)
returns jsonb
language c
stable
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'public_profile_wrapper';

comment on function auth.public_profile(text) is
    'What anybody may read of the account with this user name: the fields of setting public_profile_fields, username and texts, numbers and booleans of user_metadata; null where nobody has the name, or its account is banned. For everyone. 22023 validation_failed for null.';

-- Administration of users, for holders of the service key.

create function auth.admin_create_user(attributes jsonb, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'admin_create_user_wrapper';

comment on function auth.admin_create_user(jsonb, jsonb) is
    'Makes an account without signing it in and returns it. attributes: email or phone, password or password_hash, email_confirm, phone_confirm, user_metadata, app_metadata, username, approved, role, id, ban_duration, ban_reason, must_change_password. For service_role, and for auth_sidecar with the service key as auth.token: 28000 no_authorization, not_admin. 22023 weak_password, email_address_invalid, validation_failed; 23505 email_exists, phone_exists, user_already_exists.';

create function auth.admin_get_user(id uuid, options jsonb default '{}')
returns jsonb
language c
stable
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'admin_get_user_wrapper';

comment on function auth.admin_get_user(uuid, jsonb) is
    'The account with this id. For service_role, and for auth_sidecar with the service key. 02000 user_not_found.';

create function auth.admin_list_users(options jsonb default '{}')
returns jsonb
language c
stable
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'admin_list_users_wrapper';

comment on function auth.admin_list_users(jsonb) is
    'Accounts that are not deleted: {users, total, next_cursor}. options: filter (part of address, number, user name, id or name), sort (created_at, email or last_sign_in_at, and asc or desc behind it), per_page (50, at most 1000), page, or cursor (next_cursor of the answer before, in the order of created_at). For service_role, and for auth_sidecar with the service key.';

create function auth.admin_update_user(id uuid, attributes jsonb, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'admin_update_user_wrapper';

comment on function auth.admin_update_user(uuid, jsonb, jsonb) is
    'Changes an account and returns it. attributes as in auth.admin_create_user without id; metadata is merged at the top level, null removes a key. A new password, and must_change_password, end every session; ban_duration is text such as 24h, and none lifts a ban. For service_role, and for auth_sidecar with the service key. 02000 user_not_found; otherwise refuses like auth.admin_create_user.';

create function auth.admin_delete_user(id uuid, soft boolean default false, options jsonb default '{}')
returns void
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'admin_delete_user_wrapper';

comment on function auth.admin_delete_user(uuid, boolean, jsonb) is
    'Deletes an account with all that belongs to it; soft: keeps the row, which nobody can sign in to, and frees its address. Ends its sessions. Foreign keys of the app decide about the app''s rows. For service_role, and for auth_sidecar with the service key. 02000 user_not_found.';

create function auth.admin_list_factors(user_id uuid, options jsonb default '{}')
returns jsonb
language c
stable
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'admin_list_factors_wrapper';

comment on function auth.admin_list_factors(uuid, jsonb) is
    'The second factors of an account as auth.list_factors answers them, never a secret. For service_role, and for auth_sidecar with the service key. 02000 user_not_found.';

create function auth.admin_update_factor(user_id uuid, factor_id uuid, attributes jsonb, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'admin_update_factor_wrapper';

comment on function auth.admin_update_factor(uuid, uuid, jsonb, jsonb) is
    'Gives a second factor of an account another name and returns it. attributes: friendly_name. For service_role, and for auth_sidecar with the service key. 02000 user_not_found, mfa_factor_not_found; 23505 mfa_factor_name_conflict; 22023 validation_failed.';

create function auth.admin_delete_factor(user_id uuid, factor_id uuid, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'admin_delete_factor_wrapper';

comment on function auth.admin_delete_factor(uuid, uuid, jsonb) is
    'Removes a second factor of an account, such as a lost one: {id}. Sessions that it had raised are of level aal1 at the next statement; with the last verified one the recovery codes go; the user is told by mail. For service_role, and for auth_sidecar with the service key. 02000 user_not_found, mfa_factor_not_found.';

create function auth.admin_list_audit(options jsonb default '{}')
returns jsonb
language c
stable
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'admin_list_audit_wrapper';

comment on function auth.admin_list_audit(jsonb) is
    'What happened, newest first: {entries: [{id, payload, created_at, ip_address}], total}. options: page, per_page (50, at most 1000), query (part of an event type, a user''s id or an address; author:… or action:… for one of them). For service_role, and for auth_sidecar with the service key.';

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

-- Owners and privileges from scratch, last in the install script and in every upgrade script. The order matters: with the
-- owner set last, pg_dump would write the installer's name into every GRANT.

do $finalize$
declare
    ours constant text[] := array['auth_owner', 'auth_admin', 'auth_sidecar', 'anon', 'authenticated', 'service_role'];
    others text[] := array[]::text[];
    member record;
    grantee record;
    other text;
begin
    for member in
        select d.classid, d.objid,
            case
                when d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                    then 'function ' || d.objid::pg_catalog.regprocedure::text
                when d.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass then 'schema auth'
                when c.relkind = 'v' then 'view ' || d.objid::pg_catalog.regclass::text
                when c.relkind in ('r', 'p') then 'table ' || d.objid::pg_catalog.regclass::text
            end as object,
            case
                when d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass then 'table ' || d.objid::pg_catalog.regclass::text
            end as grant_object,
            coalesce(p.proacl, c.relacl, n.nspacl) as acl
        from pg_catalog.pg_depend as d
        left join pg_catalog.pg_proc as p on d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and p.oid = d.objid
        left join pg_catalog.pg_class as c
            on d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and c.oid = d.objid and c.relkind in ('r', 'p', 'v')
        left join pg_catalog.pg_namespace as n
            on d.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass and n.oid = d.objid
        where d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
            and d.refobjid = (select e.oid from pg_catalog.pg_extension as e where e.extname = 'auth')
            and d.deptype = 'e'
            and coalesce(p.oid, c.oid, n.oid) is not null
    loop
        execute 'alter ' || member.object || ' owner to auth_owner';
        execute 'revoke all on ' || coalesce(member.grant_object, member.object) || ' from public';
        -- Whoever was given something by a default privilege of the installer's, or before an upgrade.
        for grantee in
            select distinct a.grantee::pg_catalog.regrole::text as name
            from pg_catalog.aclexplode(member.acl) as a
            where a.grantee <> 0 and a.grantee <> 'auth_owner'::pg_catalog.regrole
        loop
            execute 'revoke all on ' || coalesce(member.grant_object, member.object) || ' from ' || grantee.name || ' cascade';
            if grantee.name <> all (ours) and grantee.name <> all (others) then
                others := others || grantee.name;
            end if;
        end loop;
    end loop;

    -- Granting it back here would count as the extension's own grant, and pg_dump would leave it out.
    foreach other in array others loop
        raise notice 'privileges of % on schema auth were taken back', other
            using hint = pg_catalog.format('if it is an app''s login: select auth.allow_client(%L)', other);
    end loop;
end
$finalize$;

grant usage on schema auth to public;

-- Policies check the privilege of whoever runs the query.
grant execute on function
    auth.uid(), auth.role(), auth.email(), auth.jwt(), auth.session_id(), auth.aal(), auth.fresh(interval)
to public;

grant execute on function
    auth.authenticate(text), auth.authenticate_session(text), auth.verify_token(text), auth.jwks(),
    auth.require_uid(), auth.require_aal2(),
    auth.sign_up(text, text, jsonb, jsonb), auth.sign_in(text, text, jsonb), auth.refresh(text, jsonb),
    auth.send_otp(text, jsonb), auth.send_magic_link(text, text, jsonb), auth.sign_up_with_email(text, jsonb, jsonb),
    auth.verify_sign_up(text, text, text, jsonb), auth.verify_otp(text, text, jsonb), auth.verify_link(text, jsonb),
    auth.send_sms_otp(text, jsonb), auth.verify_sms_otp(text, text, jsonb),
    auth.look_up_link(text, jsonb), auth.resend(text, text, jsonb), auth.exchange_code(text, text, jsonb),
    auth.request_password_reset(text, text, jsonb), auth.reset_password(text, text, jsonb),
    auth.reset_password_with_code(text, text, text, jsonb),
    auth.start_passkey_sign_in(text, jsonb), auth.finish_passkey_sign_in(uuid, jsonb, jsonb),
    auth.start_passkey_sign_up(text, jsonb, jsonb), auth.finish_passkey_sign_up(uuid, jsonb, text, jsonb),
    auth.redirect_allowed(text), auth.public_settings(), auth.get_user(jsonb), auth.version(), auth.public_profile(text),
    auth.authenticate_request()
to anon, authenticated, service_role, auth_sidecar;

grant execute on function
    auth.update_user(jsonb, jsonb), auth.list_sessions(jsonb), auth.get_session(jsonb), auth.sign_out(text, jsonb),
    auth.revoke_session(uuid, jsonb), auth.revoke_sessions(boolean, jsonb),
    auth.update_email(text, text, jsonb), auth.reauthenticate(jsonb),
    auth.start_passkey_registration(jsonb), auth.finish_passkey_registration(uuid, jsonb, text, jsonb),
    auth.list_passkeys(jsonb), auth.rename_passkey(uuid, text, jsonb), auth.delete_passkey(uuid, jsonb)
to authenticated, auth_sidecar;
grant select on auth.my_account to authenticated;

grant execute on function
    auth.configure(jsonb), auth.apply_profile(text), auth.add_hook(text, text), auth.remove_hook(text),
    auth.create_key(text, interval), auth.rotate_signing_key(text), auth.import_signing_key(jsonb),
    auth.jwks(), auth.gate_status(), auth.guard_status(), auth.guard_reset(text), auth.network(inet),
    auth.block_network(cidr, interval, text), auth.unblock_network(cidr), auth.verify_audit(), auth.cleanup(),
    auth.doctor(), auth.add_webhook(text, text[]), auth.remove_webhook(uuid), auth.outbox_status(), auth.adopt_outbox(),
    auth.version(), auth.sidecar_status()
to auth_admin;
grant select on
    auth.config, auth.config_history, auth.hooks, auth.admin_users, auth.audit_log, auth.audit_anchors,
    auth.blocked_networks, auth.outbox, auth.webhooks
to auth_admin;
grant select, insert, update, delete on auth.templates to auth_admin;
grant references (id) on auth.users to auth_admin;
grant select on auth.admin_users, auth.audit_log to service_role;
grant execute on function auth.network(inet), auth.count_attempt(text, text, integer, interval)
to service_role, auth_sidecar;

grant execute on function
    auth.set_request_context(inet, text), auth.claim_outbox(integer, text[]), auth.settle_outbox(jsonb), auth.outbox_status(),
    auth.sidecar_status()
to auth_sidecar;

grant execute on function
    auth.admin_create_user(jsonb, jsonb), auth.admin_get_user(uuid, jsonb), auth.admin_list_users(jsonb),
    auth.admin_update_user(uuid, jsonb, jsonb), auth.admin_delete_user(uuid, boolean, jsonb),
    auth.admin_list_factors(uuid, jsonb), auth.admin_update_factor(uuid, uuid, jsonb, jsonb),
    auth.admin_delete_factor(uuid, uuid, jsonb),
    auth.admin_list_passkeys(uuid, jsonb), auth.admin_delete_passkey(uuid, uuid, jsonb),
    auth.admin_list_audit(jsonb), auth.invite_user(text, jsonb, jsonb), auth.admin_generate_link(text, text, jsonb)
to service_role, auth_sidecar;

grant execute on function auth.sign_in_anonymously(jsonb, jsonb) to anon, authenticated, service_role, auth_sidecar;
-- A guest's token, and one for a change of password alone, may act as anon; each asks for its user itself.
grant execute on function
    auth.convert_anonymous(text, text, jsonb), auth.update_phone(text, text, jsonb),
    auth.update_password(text, text, jsonb)
to anon, authenticated, auth_sidecar;
grant execute on function auth.update_user(jsonb, jsonb), auth.get_session(jsonb), auth.sign_out(text, jsonb) to anon;

grant execute on function auth.add_email_rule(text, text, text), auth.remove_email_rule(text) to auth_admin;
grant select on auth.email_rules to auth_admin;

-- Steps of a sign-in that is not finished are taken as anon; each asks for its user itself.
grant execute on function
    auth.verify_totp(text, text, jsonb), auth.list_factors(jsonb), auth.challenge_factor(uuid, jsonb),
    auth.enroll_totp(text, jsonb), auth.confirm_totp(uuid, text, jsonb),
    auth.enroll_sms(text, jsonb), auth.confirm_sms(uuid, text, jsonb), auth.send_mfa_sms(text, uuid, jsonb),
    auth.enroll_webauthn(text, jsonb), auth.challenge_webauthn(text, uuid, jsonb), auth.verify_webauthn(text, jsonb, jsonb)
to anon, authenticated, service_role, auth_sidecar;
grant execute on function
    auth.unenroll_factor(uuid, jsonb), auth.disable_totp(text, jsonb), auth.regenerate_recovery_codes(jsonb),
    auth.count_recovery_codes(jsonb), auth.get_recovery_codes(jsonb), auth.delete_recovery_codes(jsonb)
to authenticated, auth_sidecar;
