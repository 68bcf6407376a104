-- What is wrong around us: policies, grants, roles and settings that let somebody pass by. Only reads.

create function auth.trusts_proxies()
returns boolean
language c
stable
as 'MODULE_PATHNAME', 'trusts_proxies_wrapper';

comment on function auth.trusts_proxies() is
    'Internal: whether auth.trusted_proxies names a login; the setting itself is shown to superusers only.';

create function auth.dropped_events()
returns bigint
language c
stable
as 'MODULE_PATHNAME', 'dropped_events_wrapper';

comment on function auth.dropped_events() is
    'Internal: events_dropped of auth.guard_status(), which brings counters back into memory; this only looks.';

create function auth.is_of_app(catalog oid, object oid, namespace oid)
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

create function auth.findings_in_policies()
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

create function auth.findings_in_relations()
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

create function auth.findings_in_roles()
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

create function auth.findings_in_settings()
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

create function auth.findings_in_server(version integer)
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

create function auth.keyring_fault()
returns text
language c
stable
as 'MODULE_PATHNAME', 'keyring_fault_wrapper';

comment on function auth.keyring_fault() is
    'Internal: what is wrong with the file of auth.root_key_file as it is now, and what to do; null: nothing.';

create function auth.is_weak_key(kid text)
returns boolean
language c
stable
strict
as 'MODULE_PATHNAME', 'is_weak_key_wrapper';

comment on function auth.is_weak_key(text) is
    'Internal: whether the shared secret (HS256) with this kid may be guessed; null where there is none, or it does not open.';

create function auth.findings_in_keys()
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

create function auth.sidecar_status()
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

create function auth.doctor()
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
