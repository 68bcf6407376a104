-- A stand-in for the outbox, for what the real one would not write: webhooks to a test's own receiver, payloads by hand,
-- time that has passed. The two functions do what docs say of the real ones; `tests/courier_flows.rs` has those.
create schema auth;
grant usage on schema auth to sidecar;

create table auth.outbox (
    id uuid primary key default gen_random_uuid(),
    channel text not null default 'email',
    kind text not null default 'otp',
    recipient text default 'ada@example.org',
    locale text,
    message_id text not null default gen_random_uuid() || '@example.org',
    payload jsonb,
    template jsonb,
    status text not null default 'pending',
    attempts int not null default 0,
    error text,
    retry_in int,
    claims int not null default 0,
    next_attempt_at timestamptz not null default clock_timestamp(),
    claimed_until timestamptz,
    created_at timestamptz not null default clock_timestamp()
);

-- How long a lease is and how a retry waits here, so that no test waits a minute.
create table auth.pace (lease interval not null default '60 s', retry interval not null default '100 ms');
insert into auth.pace default values;

create function auth.set_request_context(ip inet, user_agent text) returns void language sql as '';

create function auth.claim_outbox(n int, channels text[])
returns table (id uuid, channel text, kind text, recipient text, locale text, message_id text, attempts int,
    payload jsonb, template jsonb, created_at timestamptz)
language sql security definer set search_path = pg_catalog, pg_temp as $$
    update auth.outbox o
    set claimed_until = clock_timestamp() + (select lease from auth.pace), attempts = o.attempts + 1, claims = o.claims + 1
    where o.id in (
        select due.id from auth.outbox due
        where due.status = 'pending' and due.channel = any (channels) and due.next_attempt_at <= clock_timestamp()
            and coalesce(due.claimed_until, '-infinity') <= clock_timestamp()
        order by due.created_at limit n for update skip locked)
    returning o.id, o.channel, o.kind, o.recipient, o.locale, o.message_id, o.attempts, o.payload, o.template, o.created_at
$$;

create function auth.settle_outbox(results jsonb) returns int
language sql security definer set search_path = pg_catalog, pg_temp as $$
    with settled as (
        update auth.outbox o
        set status = case r.outcome when 'sent' then 'sent' when 'failed' then 'dead' when 'expired' then 'expired'
                else case when o.attempts >= 12 then 'dead' else 'pending' end end,
            error = r.error, retry_in = r.retry_in, claimed_until = null,
            next_attempt_at = clock_timestamp() + (select retry from auth.pace)
        from jsonb_to_recordset(results) as r(id uuid, attempts int, outcome text, error text, retry_in int)
        where o.id = r.id and o.attempts = r.attempts and o.status = 'pending'
        returning 1)
    select count(*)::int from settled
$$;

revoke all on function auth.claim_outbox(int, text[]), auth.settle_outbox(jsonb) from public;
grant execute on function auth.claim_outbox(int, text[]), auth.settle_outbox(jsonb) to sidecar;
