-- Frozen: the script of release 0.1, as people have it installed.

-- Roles and the schema itself. Everything later in the script lives in schema auth; it is created here with a plain
-- `create schema`, so a schema that somebody planted beforehand is refused.

do $roles$
declare
    wanted record;
    existing record;
    remark text;
    members text;
begin
    for wanted in
        select *
        from (values
            ('anon', false, 'auth: what a request without a signed-in user runs as'),
            ('authenticated', false, 'auth: what a signed-in user''s request runs as'),
            ('service_role', true, 'auth: trusted back ends; bypasses row-level security'),
            ('auth_owner', false, 'auth: owns the tables and functions of schema auth; nobody is a member'),
            ('auth_admin', false, 'auth: may change settings, hooks and keys and read the masked views'),
            ('auth_sidecar', false, 'auth: the sidecar''s login is granted this')
        ) as role (name, bypasses_rls, remark)
    loop
        select r.oid, r.rolcanlogin, r.rolsuper, r.rolbypassrls, r.rolcreaterole, r.rolcreatedb, r.rolreplication
        into existing
        from pg_catalog.pg_roles as r
        where r.rolname = wanted.name;

        if not found then
            execute pg_catalog.format(
                'create role %I nologin noinherit %s', wanted.name,
                case when wanted.bypasses_rls then 'bypassrls' else '' end);
            execute pg_catalog.format('comment on role %I is %L', wanted.name, wanted.remark);
            continue;
        end if;

        if existing.rolcanlogin or existing.rolsuper or existing.rolcreaterole or existing.rolcreatedb
            or existing.rolreplication or (existing.rolbypassrls and not wanted.bypasses_rls) then
            raise exception 'role "%" exists and has rights that extension auth does not give it', wanted.name
                using errcode = 'duplicate_object',
                    detail = 'validation_failed',
                    hint = pg_catalog.format(
                        'drop or rename it, or: alter role %I nologin nosuperuser nocreaterole nocreatedb noreplication%s',
                        wanted.name, case when wanted.bypasses_rls then '' else ' nobypassrls' end);
        end if;

        -- A role that an earlier install of ours made (in another database of this cluster, or restored from
        -- `pg_dumpall --globals-only`) carries our remark and may have members by now. One without it was made by
        -- somebody else, and its members would get what we grant.
        remark := pg_catalog.shobj_description(existing.oid, 'pg_authid');
        select pg_catalog.string_agg(pg_catalog.quote_ident(m.rolname), ', ' order by m.rolname)
        into members
        from pg_catalog.pg_auth_members as am
        join pg_catalog.pg_roles as m on m.oid = am.member
        where am.roleid = existing.oid;

        if members is not null and (wanted.name = 'auth_owner' or remark is distinct from wanted.remark) then
            raise exception 'role "%" exists and has members', wanted.name
                using errcode = 'duplicate_object',
                    detail = 'validation_failed',
                    hint = pg_catalog.format('revoke %I from %s; grant it again after create extension', wanted.name, members);
        end if;

        -- What the role itself is a member of, everybody whom we grant it would get.
        select pg_catalog.string_agg(pg_catalog.quote_ident(g.rolname), ', ' order by g.rolname)
        into members
        from pg_catalog.pg_auth_members as am
        join pg_catalog.pg_roles as g on g.oid = am.roleid
        where am.member = existing.oid;

        if members is not null and (wanted.name = 'auth_owner' or remark is distinct from wanted.remark) then
            raise exception 'role "%" exists and is a member of other roles', wanted.name
                using errcode = 'duplicate_object',
                    detail = 'validation_failed',
                    hint = pg_catalog.format('revoke %s from %I', members, wanted.name);
        end if;

        if wanted.bypasses_rls and not existing.rolbypassrls then
            execute pg_catalog.format('alter role %I bypassrls', wanted.name);
        end if;
        execute pg_catalog.format('comment on role %I is %L', wanted.name, wanted.remark);
    end loop;
end
$roles$;

-- Older minor releases have faults that row-level security and extensions suffer from.
do $floor$
declare
    server integer := pg_catalog.current_setting('server_version_num')::integer;
    least integer;
begin
    least := case server / 10000 when 15 then 150020 when 17 then 170011 when 18 then 180006 else 0 end;
    if server < least then
        raise warning 'PostgreSQL % has known security faults', pg_catalog.current_setting('server_version')
            using hint = pg_catalog.format('update to at least %s.%s', least / 10000, least % 10000);
    end if;
end
$floor$;

create schema auth;

comment on schema auth is
    'Authentication inside Postgres: users, sessions, keys and the functions that policies trust. Owned by extension auth.';

-- What keeps the tables of schema auth as pg_dump will restore them. A user's own column, trigger, policy or index on an
-- extension's table is lost by pg_dump, and one added column makes the restore lose every user.

-- Internal. These two are reached only from the event triggers below.
create function auth.ddl_is_harmless(command pg_ddl_command)
returns boolean
language c
stable
strict
as 'MODULE_PATHNAME', 'ddl_is_harmless';

comment on function auth.ddl_is_harmless(pg_ddl_command) is
    'Internal: whether a command that names one of our objects leaves it as it is: an ALTER TABLE that only disables or enables triggers, as pg_restore --disable-triggers does, or CREATE and ALTER EXTENSION … UPDATE.';

create function auth.ddl_in_extension_script()
returns boolean
language c
stable
as 'MODULE_PATHNAME', 'ddl_in_extension_script';

comment on function auth.ddl_in_extension_script() is
    'Internal: whether an install or upgrade script of an extension, or pg_upgrade, is running.';

create function auth.on_ddl_command_end()
returns event_trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    command record;
begin
    for command in
        select c.*, coalesce(t.tgrelid, p.polrelid, i.indrelid, r.ev_class, d.adrelid, c.objid) as table_id
        from pg_catalog.pg_event_trigger_ddl_commands() as c
        left join pg_catalog.pg_trigger as t on c.classid = 'pg_catalog.pg_trigger'::regclass and t.oid = c.objid
        left join pg_catalog.pg_policy as p on c.classid = 'pg_catalog.pg_policy'::regclass and p.oid = c.objid
        left join pg_catalog.pg_index as i on c.classid = 'pg_catalog.pg_class'::regclass and i.indexrelid = c.objid
        left join pg_catalog.pg_rewrite as r on c.classid = 'pg_catalog.pg_rewrite'::regclass and r.oid = c.objid
        left join pg_catalog.pg_attrdef as d on c.classid = 'pg_catalog.pg_attrdef'::regclass and d.oid = c.objid
        where not c.in_extension
            and c.command_tag not in ('GRANT', 'REVOKE', 'COMMENT', 'REINDEX', 'SECURITY LABEL', 'REFRESH MATERIALIZED VIEW')
    loop
        -- The catalog is asked first: DDL that is not about us never needs the library.
        if not exists (
            select 1
            from pg_catalog.pg_extension as e
            join pg_catalog.pg_depend as m
                on m.refclassid = 'pg_catalog.pg_extension'::regclass and m.refobjid = e.oid and m.deptype = 'e'
            where e.extname = 'auth'
                and (
                    (m.classid = command.classid and m.objid = command.objid)
                    or (command.classid = 'pg_catalog.pg_extension'::regclass and command.objid = e.oid)
                    -- what hangs on one of our tables: a trigger, a policy, an index, a rule, a child
                    or (m.classid = 'pg_catalog.pg_class'::regclass and (
                        m.objid = command.table_id
                        or m.objid in (
                            select h.inhparent
                            from pg_catalog.pg_inherits as h
                            where command.classid = 'pg_catalog.pg_class'::regclass and h.inhrelid = command.objid)
                    ))
                    -- something new inside our schema
                    or (m.classid = 'pg_catalog.pg_namespace'::regclass
                        and command.schema_name = (select n.nspname from pg_catalog.pg_namespace as n where n.oid = m.objid))
                )
        ) then
            continue;
        end if;
        -- After ALTER SCHEMA … RENAME the functions below have another name.
        if command.command_tag <> 'ALTER SCHEMA' then
            if auth.ddl_in_extension_script() or auth.ddl_is_harmless(command.command) then
                continue;
            end if;
        end if;
        raise exception '% on % is refused: extension auth owns it', command.command_tag, command.object_identity
            using errcode = 'insufficient_privilege',
                detail = 'validation_failed',
                hint = case
                    when command.command_tag like '%TRIGGER' then
                        'pg_dump would lose it; use a hook: select auth.add_hook(''after_user_created'', ''your_schema.your_function'')'
                    else
                        'pg_dump would lose it; keep your columns in a table of your own that references auth.users(id)'
                end;
    end loop;
end
$$;

comment on function auth.on_ddl_command_end() is
    'Internal: refuses DDL from outside on what extension auth owns. GRANT, COMMENT, REINDEX and foreign keys of other tables pass.';

create function auth.on_sql_drop()
returns event_trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    dropped record;
begin
    for dropped in
        select d.*
        from pg_catalog.pg_event_trigger_dropped_objects() as d
        where d.original
            and d.object_type in ('trigger', 'policy', 'rule', 'index', 'table constraint', 'table column', 'default value')
            and coalesce(d.schema_name, d.address_names[1]) = 'auth'
    loop
        if auth.ddl_in_extension_script() or pg_catalog.current_setting('auth.allow_drop', true) = 'on' then
            continue;
        end if;
        raise exception 'dropping % % is refused: extension auth owns it', dropped.object_type, dropped.object_identity
            using errcode = 'insufficient_privilege',
                detail = 'validation_failed',
                hint = 'alter extension auth update changes these; a superuser may set auth.allow_drop = on';
    end loop;
end
$$;

comment on function auth.on_sql_drop() is
    'Internal: refuses to drop what hangs on the tables of extension auth.';

-- What refuses to drop the extension, however it is reached (a cascade from another extension or a schema, DROP OWNED), is a
-- hook of the loaded library. This asks for the library, so that without it nothing is dropped unguarded.
create function auth.on_drop_extension()
returns event_trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform auth.version();
end
$$;

comment on function auth.on_drop_extension() is
    'Internal: 55000 not_preloaded where the library is not there to refuse DROP EXTENSION auth, which would delete every user.';

create event trigger auth_ddl_command_end on ddl_command_end
    execute function auth.on_ddl_command_end();

create event trigger auth_sql_drop on sql_drop
    execute function auth.on_sql_drop();

create event trigger auth_drop_extension on ddl_command_start
    when tag in ('DROP EXTENSION', 'DROP OWNED', 'DROP SCHEMA')
    execute function auth.on_drop_extension();

comment on event trigger auth_ddl_command_end is 'Refuses DDL on the tables of extension auth.';
comment on event trigger auth_sql_drop is 'Refuses drops of what hangs on the tables of extension auth.';
comment on event trigger auth_drop_extension is 'Asks for the library that refuses DROP EXTENSION auth unless auth.allow_drop is on.';

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
    updated_at timestamptz not null default pg_catalog.clock_timestamp()
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

-- Hooks are what triggers on auth tables would be: pg_dump loses those.

create table auth.hooks (
    event text primary key check (event in ('before_user_created', 'after_user_created', 'custom_access_token')),
    function text not null,
    created_by text not null default session_user,
    created_at timestamptz not null default pg_catalog.clock_timestamp()
);
select pg_catalog.pg_extension_config_dump('auth.hooks', '');

comment on table auth.hooks is 'Which function runs at which event; changed by auth.add_hook and auth.remove_hook.';
comment on column auth.hooks.event is 'before_user_created, after_user_created or custom_access_token.';
comment on column auth.hooks.function is 'Schema-qualified name of a function (event jsonb) returns jsonb; stored by name, so a restore finds it.';
comment on column auth.hooks.created_by is 'The login that added it.';
comment on column auth.hooks.created_at is 'When.';

create trigger invalidate
    after insert or update or delete on auth.hooks
    for each row execute function auth.invalidate_relation();

create trigger invalidate_all
    after truncate on auth.hooks
    for each statement execute function auth.invalidate_relation();

create function auth.add_hook(event text, function text)
returns void
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'add_hook_wrapper';

comment on function auth.add_hook(text, text) is
    'Runs schema.function(event jsonb) returns jsonb at an event, in the caller''s transaction, as the function''s own owner, who must not be a superuser. It replaces an earlier one. For auth_admin. 22023 validation_failed for an unknown event or function, 42501 for a superuser''s function.';

create function auth.remove_hook(event text)
returns void
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'remove_hook_wrapper';

comment on function auth.remove_hook(text) is
    'Runs nothing at an event any more. For auth_admin. 22023 validation_failed where no hook is set.';

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
select pg_catalog.pg_extension_config_dump('auth.users', '');

comment on table auth.users is 'One row per account. Apps reference users(id); they read through auth.get_user, auth.my_account and auth.admin_users.';
comment on column auth.users.id is 'The user''s id: auth.uid() in policies, claim sub in tokens.';
comment on column auth.users.instance_id is 'Tenant; all zeros where there is one.';
comment on column auth.users.aud is 'Audience: authenticated for the app''s users. Claim aud of their tokens (RFC 7519 section 4.1.3).';
comment on column auth.users.role is 'Database role that the user''s requests run as; claim role.';
comment on column auth.users.email is 'Address that mail is sent to.';
comment on column auth.users.email_key is 'auth.email_key(email): what uniqueness and every look-up use.';
comment on column auth.users.username is 'Sign-in name other than an address.';
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
    delete from auth.identities as d using deleted where d.user_id = deleted.id;
    delete from auth.email_addresses as d using deleted where d.user_id = deleted.id;
    delete from auth.password_state as d using deleted where d.user_id = deleted.id;
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

-- Secrets that are spent once. A row holds two digests: of the link and of the short-lived code of the same mail.

create table auth.one_time_tokens (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    user_id uuid not null,
    purpose text not null,
    relates_to text not null,
    link_hash bytea unique,
    code_hash bytea,
    code_expires_at timestamptz,
    expires_at timestamptz not null,
    redirect_to text,
    code_challenge text,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    unique (user_id, purpose)
);
select pg_catalog.pg_extension_config_dump('auth.one_time_tokens', '');

comment on table auth.one_time_tokens is 'Links and codes that are out for a user: at most one of each purpose.';
comment on column auth.one_time_tokens.id is 'Row id.';
comment on column auth.one_time_tokens.user_id is 'Whom it was made for.';
comment on column auth.one_time_tokens.purpose is 'The only thing it may be spent on.';
comment on column auth.one_time_tokens.relates_to is 'Address it was sent to; only that address is confirmed by it.';
comment on column auth.one_time_tokens.link_hash is 'Keyed digest of the link''s secret.';
comment on column auth.one_time_tokens.code_hash is 'Keyed digest of the code.';
comment on column auth.one_time_tokens.code_expires_at is 'When the code ends; earlier than the link.';
comment on column auth.one_time_tokens.expires_at is 'When the link ends.';
comment on column auth.one_time_tokens.redirect_to is 'Where the link leads.';
comment on column auth.one_time_tokens.code_challenge is 'PKCE challenge of the request (RFC 7636).';
comment on column auth.one_time_tokens.created_at is 'When it was made.';

create table auth.pending_sign_ups (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    instance_id uuid not null default '00000000-0000-0000-0000-000000000000',
    aud text not null default 'authenticated',
    email text not null,
    email_key text not null generated always as (auth.email_key(email)) stored,
    -- an Argon2id string, never the password
    password text,
    data jsonb not null default '{}',
    link_hash bytea unique,
    code_hash bytea,
    code_expires_at timestamptz,
    expires_at timestamptz not null,
    redirect_to text,
    code_challenge text,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    unique (instance_id, aud, email_key)
);
select pg_catalog.pg_extension_config_dump('auth.pending_sign_ups', '');

comment on table auth.pending_sign_ups is 'Sign-ups that wait for their code: no user exists before it is verified.';
comment on column auth.pending_sign_ups.id is 'Row id.';
comment on column auth.pending_sign_ups.instance_id is 'Tenant, as in auth.users.';
comment on column auth.pending_sign_ups.aud is 'Audience, as in auth.users.';
comment on column auth.pending_sign_ups.email is 'Address to be confirmed.';
comment on column auth.pending_sign_ups.email_key is 'What makes two addresses the same, as in auth.users.';
comment on column auth.pending_sign_ups.password is 'Argon2id string of the password given at sign-up, if any.';
comment on column auth.pending_sign_ups.data is 'User metadata given at sign-up.';
comment on column auth.pending_sign_ups.link_hash is 'Keyed digest of the link''s secret.';
comment on column auth.pending_sign_ups.code_hash is 'Keyed digest of the code.';
comment on column auth.pending_sign_ups.code_expires_at is 'When the code ends.';
comment on column auth.pending_sign_ups.expires_at is 'When the link, and so the sign-up, ends.';
comment on column auth.pending_sign_ups.redirect_to is 'Where the link leads.';
comment on column auth.pending_sign_ups.code_challenge is 'PKCE challenge of the request (RFC 7636).';
comment on column auth.pending_sign_ups.created_at is 'When it was made.';

-- Who is signed in. A refresh is one HOT update of one row: no index is on a column that it writes, and pages keep room.

create table auth.sessions (
    id uuid primary key,
    user_id uuid not null,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    updated_at timestamptz not null default pg_catalog.clock_timestamp(),
    factor_id uuid,
    -- no check constraint on this table: it would be parsed and planned again at every refresh
    aal text not null default 'aal1',
    amr jsonb not null default '[]',
    not_after timestamptz,
    refreshed_at timestamptz not null default pg_catalog.clock_timestamp(),
    user_agent text,
    ip inet,
    tag text,
    refresh_token_counter bigint not null default 0,
    org_id uuid,
    restricted text
) with (fillfactor = 80);
create index sessions_user_id on auth.sessions (user_id);
select pg_catalog.pg_extension_config_dump('auth.sessions', '');

comment on table auth.sessions is 'One row per signed-in device. Deleting a row ends the session at the next statement of anyone who uses it.';
comment on column auth.sessions.id is 'Session id, UUID version 7 (RFC 9562); claim session_id.';
comment on column auth.sessions.user_id is 'Who signed in.';
comment on column auth.sessions.created_at is 'When they signed in.';
comment on column auth.sessions.updated_at is 'When the row last changed.';
comment on column auth.sessions.factor_id is 'Second factor that was used.';
comment on column auth.sessions.aal is 'Authenticator assurance level (NIST SP 800-63B): aal1, aal2 or aal3.';
comment on column auth.sessions.amr is 'Methods used and when: [{"method", "timestamp" in seconds}] (RFC 8176).';
comment on column auth.sessions.not_after is 'Absolute end; null: none.';
comment on column auth.sessions.refreshed_at is 'When tokens were last issued; idle time counts from here.';
comment on column auth.sessions.user_agent is 'Program that signed in.';
comment on column auth.sessions.ip is 'Address that it came from.';
comment on column auth.sessions.tag is 'Kind of client.';
comment on column auth.sessions.refresh_token_counter is 'Counter of the refresh token that is good now; older ones were used.';
comment on column auth.sessions.org_id is 'Organisation that the session acts for.';
comment on column auth.sessions.restricted is 'Why the session may only finish signing in; null: it may do all.';

create table auth.revocations (
    scope text not null check (scope in ('user', 'session')),
    subject uuid not null,
    not_before timestamptz not null,
    reason text not null,
    created_at timestamptz not null default pg_catalog.clock_timestamp()
);
create index revocations_subject on auth.revocations (subject);
select pg_catalog.pg_extension_config_dump('auth.revocations', '');

comment on table auth.revocations is 'Sessions that were ended by something that no ROLLBACK may undo. Insert only: the worker never waits for a row that a client holds.';
comment on column auth.revocations.scope is 'user: every session of the user; session: that one.';
comment on column auth.revocations.subject is 'Id of the user or of the session.';
comment on column auth.revocations.not_before is 'Sessions begun before this are dead.';
comment on column auth.revocations.reason is 'Code word, such as refresh_token_reuse.';
comment on column auth.revocations.created_at is 'When it was written.';

-- What sessions are alive, for lists: the same conditions that a reader applies at every statement.
create function auth.session_is_live(session auth.sessions)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select (session.not_after is null or session.not_after > clock_timestamp())
        and not exists (
            select 1
            from auth.revocations as r
            where r.subject in (session.id, session.user_id) and session.created_at < r.not_before
        )
$$;

comment on function auth.session_is_live(auth.sessions) is 'Internal: whether a session has neither reached its end nor been revoked.';

-- Who is asking. The readers carry no SET clause and are parallel safe: policies call them for every row.

create function auth.uid()
returns uuid
language c
stable
parallel safe
as 'MODULE_PATHNAME', 'uid';

comment on function auth.uid() is
    'Id of the signed-in user, or null without a token, under a project key and under a restricted token. 28000 with bad_jwt, session_not_found, session_expired or user_banned when the token given is not good. For everyone.';

create function auth.role()
returns text
language c
stable
parallel safe
as 'MODULE_PATHNAME', 'role_wrapper';

comment on function auth.role() is 'Claim role of the verified token, or null without one. Refuses like auth.uid(). For everyone.';

create function auth.email()
returns text
language c
stable
parallel safe
as 'MODULE_PATHNAME', 'email_wrapper';

comment on function auth.email() is 'Claim email of the verified token, or null. Refuses like auth.uid(). For everyone.';

create function auth.jwt()
returns jsonb
language c
stable
parallel safe
as 'MODULE_PATHNAME', 'jwt_wrapper';

comment on function auth.jwt() is 'All claims of the verified token, or null (RFC 7519). Refuses like auth.uid(). For everyone.';

create function auth.session_id()
returns uuid
language c
stable
parallel safe
as 'MODULE_PATHNAME', 'session_id_wrapper';

comment on function auth.session_id() is 'Id of the session that the verified token belongs to, or null. Refuses like auth.uid(). For everyone.';

create function auth.aal()
returns text
language c
stable
parallel safe
as 'MODULE_PATHNAME', 'aal_wrapper';

comment on function auth.aal() is 'Authenticator assurance level of the session (NIST SP 800-63B): aal1 or aal2, or null. Refuses like auth.uid(). For everyone.';

create function auth.fresh(max_age interval)
returns boolean
language c
stable
parallel safe
as 'MODULE_PATHNAME', 'fresh_wrapper';

comment on function auth.fresh(interval) is 'Whether the user proved who they are within max_age before this statement (claim amr); false without a user or with a null age. Refuses like auth.uid(). For everyone.';

create function auth.require_uid()
returns uuid
language c
stable
parallel safe
as 'MODULE_PATHNAME', 'require_uid_wrapper';

comment on function auth.require_uid() is 'auth.uid(), and 28000 no_authorization instead of null.';


create function auth.authenticate(token text)
returns jsonb
language c
volatile
as 'MODULE_PATHNAME', 'authenticate_wrapper';

comment on function auth.authenticate(text) is
    'Acts as the token''s user and role until the transaction ends (SET LOCAL); null acts as anon. Returns the claims. 25P01 no_transaction outside a transaction block; 28000 like auth.uid(); 42501 where the login may not take the role.';

create function auth.authenticate_session(token text)
returns jsonb
language c
volatile
as 'MODULE_PATHNAME', 'authenticate_session_wrapper';

comment on function auth.authenticate_session(text) is
    'Acts as the token''s user and role until the connection ends, for psql and session pooling. Only where a superuser has set auth.session_identity = on: behind a transaction pooler the next client would inherit it. Otherwise 55000 no_authorization.';

create function auth.verify_token(token text)
returns jsonb
language c
stable
as 'MODULE_PATHNAME', 'verify_token_wrapper';

comment on function auth.verify_token(text) is 'The claims of a token that would be accepted, without acting on it. Refuses like auth.uid().';

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
    'Signs in by address and password; answers like auth.sign_up. For anon. 28P01 invalid_credentials, the same for an unknown address, an account without a password and a wrong password, at the cost of exactly one hash; 28000 user_banned only after the right password.';

create function auth.gate_status()
returns jsonb
language c
volatile
as 'MODULE_PATHNAME', 'gate_status_wrapper';

comment on function auth.gate_status() is
    'Password hashing on this server: {hashes: how many were run since start}. For auth_admin.';

-- New tokens for a session that goes on.

create function auth.refresh(refresh_token text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'refresh_wrapper';

comment on function auth.refresh(text, jsonb) is
    'Exchanges a refresh token for new tokens of the same session; answers like auth.sign_in. A token that was used before ends every session of the user at once (refresh_reuse_scope), even if this transaction is rolled back. For anon. 28000 refresh_token_not_found, refresh_token_already_used, session_not_found, session_expired, user_banned; 55000 refresh_disabled.';

-- What signed-in users do about themselves.


create function auth.get_user(options jsonb default '{}')
returns jsonb
language c
stable
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'get_user_wrapper';

comment on function auth.get_user(jsonb) is
    'The caller''s own account as an object, or null without a token; no hash, no secret. Refuses like auth.uid(). For anon and authenticated.';

create function auth.update_user(data jsonb, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'update_user_wrapper';

comment on function auth.update_user(jsonb, jsonb) is
    'Merges data into the caller''s user_metadata: top-level keys are set, null removes one. Returns the account. For authenticated. 28000 no_authorization; 22023 validation_failed past 16 kB or 8 levels.';

create function auth.list_sessions(options jsonb default '{}')
returns table (
    id uuid,
    created_at timestamptz,
    refreshed_at timestamptz,
    not_after timestamptz,
    aal text,
    ip inet,
    user_agent text,
    current boolean
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if options is distinct from '{}' and options is not null then
        raise exception 'unknown option'
            using errcode = 'invalid_parameter_value', detail = 'validation_failed',
                hint = 'this function has no options';
    end if;
    return query
        select s.id, s.created_at, s.refreshed_at, s.not_after, s.aal, s.ip, s.user_agent, s.id = auth.session_id()
        from auth.sessions as s
        where s.user_id = auth.require_uid() and auth.session_is_live(s)
        order by s.created_at desc, s.id desc;
end
$$;

comment on function auth.list_sessions(jsonb) is
    'The caller''s live sessions, newest first; current marks the one that asks. For authenticated. 28000 no_authorization.';

create function auth.get_session(options jsonb default '{}')
returns jsonb
language c
stable
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'get_session_wrapper';

comment on function auth.get_session(jsonb) is
    'The caller''s session: {id, user_id, created_at, refreshed_at, not_after, aal, amr, ip, user_agent}, or null without a token. Refuses like auth.uid(). For authenticated.';

create function auth.sign_out(scope text default 'local', options jsonb default '{}')
returns void
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'sign_out_wrapper';

comment on function auth.sign_out(text, jsonb) is
    'Ends the caller''s session (local), all others (others) or all (global), from the next statement on, for access tokens too. For authenticated. 28000 no_authorization; 22023 validation_failed for another scope.';

create function auth.revoke_session(session_id uuid, options jsonb default '{}')
returns void
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'revoke_session_wrapper';

comment on function auth.revoke_session(uuid, jsonb) is
    'Ends one of the caller''s sessions. For authenticated. 28000 session_not_found, the same for an unknown one and somebody else''s.';

create function auth.revoke_sessions(except_current boolean default true, options jsonb default '{}')
returns integer
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'revoke_sessions_wrapper';

comment on function auth.revoke_sessions(boolean, jsonb) is
    'Ends the caller''s sessions, all but the one that asks unless except_current is false; returns how many. For authenticated. 28000 no_authorization.';

-- For an app's own tests of its policies.

create function auth.test_as(email text)
returns jsonb
language c
volatile
as 'MODULE_PATHNAME', 'test_as_wrapper';

comment on function auth.test_as(text) is
    'In a test: acts as the user with this address until the transaction ends, without a password; null acts as anon. Returns the claims. For superusers only; 55000 where environment is production; 02000 user_not_found; 25P01 outside a transaction block.';

create function auth.version()
returns text
language c
stable
parallel safe
as 'MODULE_PATHNAME', 'version_wrapper';

comment on function auth.version() is 'Version of the loaded library; the version of the installed script is pg_extension.extversion.';

create function auth.allow_client(role name)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if role is null or not exists (select 1 from pg_catalog.pg_roles as r where r.rolname = allow_client.role and r.rolcanlogin) then
        raise exception 'no login "%"', role
            using errcode = 'invalid_parameter_value', detail = 'validation_failed',
                hint = 'create role … login noinherit; first';
    end if;
    if exists (
        select 1
        from pg_catalog.pg_roles as r
        where r.rolname = allow_client.role
            and (r.rolsuper or r.rolbypassrls or pg_catalog.pg_has_role(r.oid, 'service_role', 'member'))
    ) then
        raise exception '"%" could pass by row-level security', role
            using errcode = 'invalid_parameter_value', detail = 'validation_failed',
                hint = 'an app''s own login is no superuser, has no bypassrls and is no member of service_role';
    end if;
    execute format('grant anon, authenticated to %I', role);
    execute format('grant execute on function '
        || (select string_agg(p.oid::regprocedure::text, ', ')
            from pg_catalog.pg_proc as p
            where p.pronamespace = 'auth'::regnamespace and pg_catalog.has_function_privilege('anon', p.oid, 'execute'))
        || ' to %I', role);
end
$$;

comment on function auth.allow_client(name) is
    'Lets an app''s own login act for its users: makes it a member of anon and authenticated and grants it the public flows. For superusers. 22023 validation_failed for a login that could pass by row-level security.';

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

-- Skipped due to `#[pgrx(sql = false)]`

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
    auth.require_uid(),
    auth.sign_up(text, text, jsonb, jsonb), auth.sign_in(text, text, jsonb), auth.refresh(text, jsonb),
    auth.get_user(jsonb), auth.version()
to anon, authenticated, service_role;

grant execute on function
    auth.update_user(jsonb, jsonb), auth.list_sessions(jsonb), auth.get_session(jsonb), auth.sign_out(text, jsonb),
    auth.revoke_session(uuid, jsonb), auth.revoke_sessions(boolean, jsonb)
to authenticated;

grant execute on function
    auth.configure(jsonb), auth.apply_profile(text), auth.add_hook(text, text), auth.remove_hook(text),
    auth.create_key(text, interval), auth.rotate_signing_key(text), auth.import_signing_key(jsonb),
    auth.jwks(), auth.gate_status(), auth.version()
to auth_admin;
grant select on auth.config, auth.config_history, auth.hooks, auth.admin_users to auth_admin;
grant references (id) on auth.users to auth_admin;
grant select on auth.admin_users to service_role;

grant execute on function
    auth.authenticate(text), auth.verify_token(text), auth.jwks(),
    auth.sign_up(text, text, jsonb, jsonb), auth.sign_in(text, text, jsonb), auth.refresh(text, jsonb), auth.version()
to auth_sidecar;
