-- Who there is.

create function auth.email_key(email text)
returns text
language c
immutable
strict
parallel safe
as 'MODULE_PATHNAME', 'email_key_wrapper';

comment on function auth.email_key(text) is
    'What makes two addresses the same: NFC, ASCII letters folded to lower case and no others, the domain as IDNA A-label. 22023 email_address_invalid. The rule never changes: a stored column and a unique index rest on it.';

create table auth.users (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    instance_id uuid not null default '00000000-0000-0000-0000-000000000000',
    aud text not null default 'authenticated',
    role text not null default 'authenticated',
    email text,
    email_key text generated always as (auth.email_key(email)) stored,
    username text,
    phone text,
    encrypted_password text,
    email_confirmed_at timestamptz,
    phone_confirmed_at timestamptz,
    confirmed_at timestamptz generated always as (least(email_confirmed_at, phone_confirmed_at)) stored,
    invited_at timestamptz,
    last_sign_in_at timestamptz,
    raw_app_meta_data jsonb not null default '{}',
    raw_user_meta_data jsonb not null default '{}',
    is_anonymous boolean not null default false,
    is_sso_user boolean not null default false,
    banned_until timestamptz,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    updated_at timestamptz not null default pg_catalog.clock_timestamp(),
    deleted_at timestamptz
) with (fillfactor = 90);
create unique index users_email_key on auth.users (instance_id, aud, email_key) where deleted_at is null;
create unique index users_username_key on auth.users (instance_id, aud, username) where deleted_at is null;
create unique index users_phone_key on auth.users (instance_id, aud, phone) where deleted_at is null;
create index users_created_at on auth.users (created_at, id);
select pg_catalog.pg_extension_config_dump('auth.users', '');

comment on table auth.users is 'One row per account. Apps reference users(id); they read through auth.get_user, auth.my_account and auth.admin_users.';
comment on column auth.users.id is 'The user''s id: auth.uid() in policies, claim sub in tokens.';
comment on column auth.users.instance_id is 'Tenant; all zeros where there is one.';
comment on column auth.users.aud is 'Audience: authenticated for the app''s users. Claim aud of their tokens (RFC 7519 section 4.1.3).';
comment on column auth.users.role is 'Database role that the user''s requests run as; claim role.';
comment on column auth.users.email is 'Address that mail is sent to.';
comment on column auth.users.email_key is 'auth.email_key(email): what uniqueness and every look-up use.';
comment on column auth.users.username is 'Public name, unique: 3 to 32 letters a to z, digits, and . _ - between them; auth.public_profile finds by it.';
comment on column auth.users.phone is 'Phone number, E.164 without the plus.';
comment on column auth.users.encrypted_password is 'Argon2id string ($argon2id$v=19$…, RFC 9106) or an imported bcrypt one; null: no password. Readable by nobody but the owner.';
comment on column auth.users.email_confirmed_at is 'When the address was proved; null: not yet.';
comment on column auth.users.phone_confirmed_at is 'When the number was proved; null: not yet.';
comment on column auth.users.confirmed_at is 'The earlier of the two.';
comment on column auth.users.invited_at is 'When an invitation was sent.';
comment on column auth.users.last_sign_in_at is 'When the last session began.';
comment on column auth.users.raw_app_meta_data is 'Facts that only the back end sets; claim app_metadata.';
comment on column auth.users.raw_user_meta_data is 'Profile data that the user sets, at most 16 kB and 8 levels deep; claim user_metadata. Never a ground for access.';
comment on column auth.users.is_anonymous is 'A guest without address and password.';
comment on column auth.users.is_sso_user is 'Signs in by the organisation''s identity provider only.';
comment on column auth.users.banned_until is 'Refused with user_banned until then, from the next statement on.';
comment on column auth.users.created_at is 'When the account was made.';
comment on column auth.users.updated_at is 'When the row last changed.';
comment on column auth.users.deleted_at is 'Soft deletion: refused everywhere, the address is free again.';

create table auth.email_addresses (
    user_id uuid not null,
    instance_id uuid not null default '00000000-0000-0000-0000-000000000000',
    aud text not null default 'authenticated',
    address text not null,
    address_key text not null generated always as (auth.email_key(address)) stored,
    verified_at timestamptz,
    is_primary boolean not null default false,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    deleted_at timestamptz,
    primary key (user_id, address_key)
);
create unique index email_addresses_key on auth.email_addresses (instance_id, aud, address_key) where deleted_at is null;
create unique index email_addresses_primary on auth.email_addresses (user_id) where is_primary;
select pg_catalog.pg_extension_config_dump('auth.email_addresses', '');

comment on table auth.email_addresses is 'Every address of every user; auth.users.email mirrors the primary one.';
comment on column auth.email_addresses.user_id is 'Whose address.';
comment on column auth.email_addresses.instance_id is 'Tenant, as in auth.users.';
comment on column auth.email_addresses.aud is 'Audience, as in auth.users.';
comment on column auth.email_addresses.address is 'The address.';
comment on column auth.email_addresses.address_key is 'auth.email_key(address): one user per address and audience.';
comment on column auth.email_addresses.verified_at is 'When it was proved.';
comment on column auth.email_addresses.is_primary is 'The one that auth.users.email mirrors.';
comment on column auth.email_addresses.created_at is 'When it was added.';
comment on column auth.email_addresses.deleted_at is 'As in auth.users: the address of a deleted account is free again.';

create table auth.identities (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    user_id uuid not null,
    provider text not null,
    provider_id text not null,
    identity_data jsonb not null default '{}',
    email text generated always as (lower(identity_data ->> 'email')) stored,
    last_sign_in_at timestamptz,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    updated_at timestamptz not null default pg_catalog.clock_timestamp(),
    unique (provider, provider_id),
    unique (user_id, provider)
);
select pg_catalog.pg_extension_config_dump('auth.identities', '');

comment on table auth.identities is 'By what a user signs in: provider email for a password account, later the social providers.';
comment on column auth.identities.id is 'Row id.';
comment on column auth.identities.user_id is 'Whose identity.';
comment on column auth.identities.provider is 'email, or the provider''s name.';
comment on column auth.identities.provider_id is 'The provider''s own id of the user (claim sub); for email the user''s id.';
comment on column auth.identities.identity_data is 'What the provider said.';
comment on column auth.identities.email is 'Address that the provider said; for people to read, never a key.';
comment on column auth.identities.last_sign_in_at is 'When it was last used.';
comment on column auth.identities.created_at is 'When it was linked.';
comment on column auth.identities.updated_at is 'When the row last changed.';

create table auth.password_state (
    user_id uuid primary key,
    changed_at timestamptz not null default pg_catalog.clock_timestamp(),
    must_change boolean not null default false
);
select pg_catalog.pg_extension_config_dump('auth.password_state', '');

comment on table auth.password_state is 'When each password was last changed.';
comment on column auth.password_state.user_id is 'Whose password.';
comment on column auth.password_state.changed_at is 'When it was set.';
comment on column auth.password_state.must_change is 'Whether the next sign-in has to set a new one.';

create function auth.touch_updated_at()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.updated_at := pg_catalog.clock_timestamp();
    return new;
end
$$;

comment on function auth.touch_updated_at() is 'Internal: keeps updated_at.';

create trigger touch_updated_at
    before update on auth.users
    for each row execute function auth.touch_updated_at();

create trigger touch_updated_at
    before update on auth.identities
    for each row execute function auth.touch_updated_at();

-- In place of foreign keys between our own tables: pg_dump does not tell a parallel restore about those of an extension's
-- tables, and it would load sessions before users. Your tables reference auth.users as any other.
create function auth.delete_dependents()
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

comment on function auth.delete_dependents() is 'Internal: deletes what belongs to a deleted account.';

create trigger delete_dependents
    after delete on auth.users
    referencing old table as deleted
    for each statement execute function auth.delete_dependents();

-- Not on INSERT: there the rows of both tables come together, from sign-up and from a restore.
create function auth.mirror_primary_address()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    update auth.email_addresses as a
    set address = coalesce(new.email, a.address), verified_at = new.email_confirmed_at
    where a.user_id = new.id and a.is_primary;

    update auth.email_addresses as a
    set deleted_at = new.deleted_at
    where a.user_id = new.id and a.deleted_at is distinct from new.deleted_at;
    return null;
end
$$;

comment on function auth.mirror_primary_address() is
    'Internal: keeps auth.email_addresses as auth.users says: the primary address, and whether the account is deleted.';

create trigger mirror_primary_address
    after update of email, email_confirmed_at, deleted_at on auth.users
    for each row
    when (row (old.email, old.email_confirmed_at, old.deleted_at)
        is distinct from row (new.email, new.email_confirmed_at, new.deleted_at))
    execute function auth.mirror_primary_address();

-- Times as clients of the HTTP API read them: UTC, RFC 3339.
create function auth.rfc3339(moment timestamptz)
returns text
language sql
stable
strict
parallel safe
as $$
    select pg_catalog.to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

comment on function auth.rfc3339(timestamptz) is 'Internal: a time as RFC 3339 text in UTC.';

-- The object `user` of every answer (docs/users.md): no hash, no secret. A view and no function, because a query plans a
-- view once with itself, and a function's body anew at every call.
create view auth.user_objects
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
            'deleted_at', auth.rfc3339(u.deleted_at)
        )) as object
from auth.users as u;

comment on view auth.user_objects is 'Internal: the object user of every answer; no hash and no secret in it.';
comment on column auth.user_objects.id is 'The user''s id.';
comment on column auth.user_objects.deleted_at is 'As in auth.users.';
comment on column auth.user_objects.object is 'The object.';

create view auth.admin_users
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
    u.deleted_at
from auth.users as u;

comment on view auth.admin_users is 'Accounts for people to look at, secrets masked. Read only; for auth_admin and service_role.';
