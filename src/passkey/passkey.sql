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
