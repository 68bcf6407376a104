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
