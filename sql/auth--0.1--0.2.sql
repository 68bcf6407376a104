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
    'Removes what has expired, at most 1,000 rows of each kind, and waits for nobody: {sessions, one_time_tokens, pending_sign_ups, revocations, blocked_networks} removed. The worker does the same every ten minutes while there is work; this is for whoever wants it now. For auth_admin.';

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
$$;

comment on function auth.findings_in_server(integer) is
    'Internal: what auth.doctor() finds about a server of this version number: releases, extensions, audit and worker.';

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
        select * from auth.findings_in_server(current_setting('server_version_num')::integer)
    ) as f (finding, severity, object, hint)
    order by array_position(array['error', 'warning', 'note'], f.severity), f.finding, f.object, f.hint
$$;

comment on function auth.doctor() is
    'Looks for what would let somebody pass by policies, limits or the audit: one row for each finding, with severity error, warning or note, the object and what to do (docs/doctor.md); no row where all is well. Reads catalogs and settings and changes nothing. For auth_admin; 42501 for others.';

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
    auth.get_user(jsonb), auth.version()
to anon, authenticated, service_role;

grant execute on function
    auth.update_user(jsonb, jsonb), auth.list_sessions(jsonb), auth.get_session(jsonb), auth.sign_out(text, jsonb),
    auth.revoke_session(uuid, jsonb), auth.revoke_sessions(boolean, jsonb)
to authenticated;
grant select on auth.my_account to authenticated;

grant execute on function
    auth.configure(jsonb), auth.apply_profile(text), auth.add_hook(text, text), auth.remove_hook(text),
    auth.create_key(text, interval), auth.rotate_signing_key(text), auth.import_signing_key(jsonb),
    auth.jwks(), auth.gate_status(), auth.guard_status(), auth.guard_reset(text), auth.network(inet),
    auth.block_network(cidr, interval, text), auth.unblock_network(cidr), auth.verify_audit(), auth.cleanup(),
    auth.doctor(), auth.version()
to auth_admin;
grant select on
    auth.config, auth.config_history, auth.hooks, auth.admin_users, auth.audit_log, auth.audit_anchors,
    auth.blocked_networks
to auth_admin;
grant references (id) on auth.users to auth_admin;
grant select on auth.admin_users, auth.audit_log to service_role;
grant execute on function auth.network(inet), auth.count_attempt(text, text, integer, interval)
to service_role, auth_sidecar;

grant execute on function
    auth.set_request_context(inet, text), auth.authenticate(text), auth.verify_token(text), auth.jwks(),
    auth.sign_up(text, text, jsonb, jsonb), auth.sign_in(text, text, jsonb), auth.refresh(text, jsonb), auth.version()
to auth_sidecar;
