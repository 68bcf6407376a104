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
