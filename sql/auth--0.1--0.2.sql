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
    auth.version()
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
