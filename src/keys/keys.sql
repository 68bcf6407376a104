-- Keys. Nothing here opens anything by itself: private parts are sealed under the keyring file, which is not in the
-- database, and api_keys holds no secret.

create table auth.key_check (
    key_id bigint primary key,
    check_value bytea not null
);
select pg_catalog.pg_extension_config_dump('auth.key_check', '');

comment on table auth.key_check is 'For each root key that this database was used with, a value that only the same key gives: a wrong keyring is one clear error.';
comment on column auth.key_check.key_id is 'Id of the root key in the keyring file.';
comment on column auth.key_check.check_value is '16 bytes derived from the root key (docs/formats.md); tells nothing about it.';

create table auth.signing_keys (
    kid text primary key,
    alg text not null check (alg in ('ES256', 'EdDSA', 'RS256', 'HS256')),
    status text not null check (status in ('standby', 'current', 'previous', 'revoked')),
    public_jwk jsonb not null,
    -- null for a key that only verifies
    private_sealed bytea,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    retired_at timestamptz
);
create unique index signing_keys_current on auth.signing_keys (status) where status = 'current';
select pg_catalog.pg_extension_config_dump('auth.signing_keys', '');

comment on table auth.signing_keys is 'Keys that sign and verify access tokens (RFC 7517). The first is made at first use; auth.rotate_signing_key makes the next.';
comment on column auth.signing_keys.kid is 'Key id, in the header of every token (RFC 7515 section 4.1.4).';
comment on column auth.signing_keys.alg is 'The one algorithm that this key is used with (RFC 7518, RFC 8037).';
comment on column auth.signing_keys.status is 'current signs; standby is published but does not sign yet; previous verifies tokens issued until retired_at; revoked verifies nothing.';
comment on column auth.signing_keys.public_jwk is 'Public part as a JWK; for HS256 it holds no key material.';
comment on column auth.signing_keys.private_sealed is 'Private part sealed under the keyring file (docs/formats.md); null for a key that only verifies.';
comment on column auth.signing_keys.created_at is 'When it was made or imported.';
comment on column auth.signing_keys.retired_at is 'When it stopped signing: tokens issued later than that are refused.';

create trigger invalidate
    after insert or update or delete on auth.signing_keys
    for each row execute function auth.invalidate_relation();

create trigger invalidate_all
    after truncate on auth.signing_keys
    for each statement execute function auth.invalidate_relation();

create table auth.api_keys (
    id uuid primary key,
    kind text not null check (kind in ('project', 'personal')),
    role text,
    user_id uuid,
    org_id uuid,
    name text,
    prefix text,
    key_hash bytea,
    jti uuid unique,
    scopes text[] not null default '{}',
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz
);
select pg_catalog.pg_extension_config_dump('auth.api_keys', '');

comment on table auth.api_keys is 'Keys of programs. A project key is a token with a role and no user; the row can revoke it at once.';
comment on column auth.api_keys.id is 'Row id.';
comment on column auth.api_keys.kind is 'project: a signed token for a role (auth.create_key). personal: a user''s own key.';
comment on column auth.api_keys.role is 'Role that the key''s requests run as.';
comment on column auth.api_keys.user_id is 'Owner of a personal key.';
comment on column auth.api_keys.org_id is 'Organisation that the key belongs to.';
comment on column auth.api_keys.name is 'Name given by people.';
comment on column auth.api_keys.prefix is 'First characters of a personal key, to tell keys apart.';
comment on column auth.api_keys.key_hash is 'Keyed digest of a personal key.';
comment on column auth.api_keys.jti is 'Claim jti of a project key (RFC 7519 section 4.1.7).';
comment on column auth.api_keys.scopes is 'What the key may do; empty: all that its role may.';
comment on column auth.api_keys.created_at is 'When it was made.';
comment on column auth.api_keys.expires_at is 'When it ends.';
comment on column auth.api_keys.last_used_at is 'When it was last used.';
comment on column auth.api_keys.revoked_at is 'Set to revoke it at the next statement.';

create function auth.create_key(role text, expires_in interval default null)
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'create_key_wrapper';

comment on function auth.create_key(text, interval) is
    'Makes a project key for role anon or service_role: a token without a user. Returns {id, role, key, expires_at}; the key is shown once. Without expires_in it ends after ten years. For auth_admin. 22023 validation_failed for another role.';

create function auth.rotate_signing_key(alg text default null)
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'rotate_signing_key_wrapper';

comment on function auth.rotate_signing_key(text) is
    'Makes a new current signing key of ES256 (default) or EdDSA; the old one verifies until its tokens expire. Returns the new public JWK. For auth_admin. 22023 validation_failed for another algorithm.';

create function auth.import_signing_key(jwk jsonb)
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'import_signing_key_wrapper';

comment on function auth.import_signing_key(jsonb) is
    'Imports a JWK (RFC 7517): a private ES256, EdDSA or HS256 key (at least 32 bytes, RFC 7518 section 3.2) becomes the current key; a public one, and RS256 always, only verifies. Returns the public JWK. For auth_admin. 22023 validation_failed.';

create function auth.jwks()
returns jsonb
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select jsonb_build_object('keys', coalesce(jsonb_agg(k.public_jwk order by k.created_at), '[]'))
    from auth.signing_keys as k
    where k.status <> 'revoked' and k.alg <> 'HS256'
$$;

comment on function auth.jwks() is
    'The public keys that verify our tokens, as a JWK Set (RFC 7517 section 5); never a symmetric key. For anon and authenticated.';
