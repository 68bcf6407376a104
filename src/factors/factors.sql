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
