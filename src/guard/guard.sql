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
