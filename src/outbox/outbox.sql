-- What is to be sent, written in the transaction of the fact that it announces. A courier outside the database takes rows for
-- a while (a lease), sends them and says how that ended.

create table auth.outbox (
    id uuid primary key,
    channel text not null check (channel in ('email', 'sms', 'webhook')),
    kind text not null,
    recipient text not null,
    locale text,
    payload_sealed bytea,
    message_id text not null,
    status text not null default 'pending' check (status in ('pending', 'sent', 'dead', 'expired')),
    attempts integer not null default 0,
    next_attempt_at timestamptz not null default pg_catalog.clock_timestamp(),
    claimed_until timestamptz,
    last_error text,
    -- a copy of the database on another cluster sends nothing
    cluster_id text not null,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    sent_at timestamptz,
    expires_at timestamptz
) with (fillfactor = 80);
create index outbox_due on auth.outbox (next_attempt_at) where status = 'pending';
create index outbox_created_at on auth.outbox using brin (created_at);
select pg_catalog.pg_extension_config_dump('auth.outbox', '');

comment on table auth.outbox is 'Mails, messages and webhook calls that are to be sent, and those that were. What they say is sealed, and dropped once it is sent. For auth_admin to look at.';
comment on column auth.outbox.id is 'Row id, UUID version 7 (RFC 9562).';
comment on column auth.outbox.channel is 'email, sms or webhook.';
comment on column auth.outbox.kind is 'What it says: the name of its template, or the event of a webhook.';
comment on column auth.outbox.recipient is 'Address, number or URL that it goes to.';
comment on column auth.outbox.locale is 'Language that the recipient reads (BCP 47); null: the courier''s own.';
comment on column auth.outbox.payload_sealed is 'What the template is filled with, sealed under the keyring; null once it is sent or given up.';
comment on column auth.outbox.message_id is 'Message-ID (RFC 5322 section 3.6.4); the same at every attempt.';
comment on column auth.outbox.status is 'pending, sent, dead (given up) or expired (what it holds ended before it could be sent).';
comment on column auth.outbox.attempts is 'How often it was taken.';
comment on column auth.outbox.next_attempt_at is 'When it may be taken next.';
comment on column auth.outbox.claimed_until is 'Until then the courier that took it has it.';
comment on column auth.outbox.last_error is 'Why the last attempt failed.';
comment on column auth.outbox.cluster_id is 'System identifier of the cluster that wrote it: couriers of another take it only after auth.adopt_outbox().';
comment on column auth.outbox.created_at is 'When it was written.';
comment on column auth.outbox.sent_at is 'When it was sent.';
comment on column auth.outbox.expires_at is 'After that it is of no use to the recipient and is not sent.';

create table auth.templates (
    name text not null,
    locale text not null default '',
    subject text not null check (subject !~ '[\r\n]'),
    text_body text not null,
    html_body text,
    updated_at timestamptz not null default pg_catalog.clock_timestamp(),
    primary key (name, locale)
);
select pg_catalog.pg_extension_config_dump('auth.templates', '');

comment on table auth.templates is 'Mails in your words, in place of the default ones. auth_admin inserts, updates and deletes; docs/mail.md lists the variables.';
comment on column auth.templates.name is 'Kind of mail, such as confirmation.';
comment on column auth.templates.locale is 'Language (BCP 47), such as de or pt-BR; empty: for all that have none of their own.';
comment on column auth.templates.subject is 'Subject, one line, as a template.';
comment on column auth.templates.text_body is 'Plain text, as a template.';
comment on column auth.templates.html_body is 'HTML, as a template whose variables are escaped; null: plain text only.';
comment on column auth.templates.updated_at is 'When it last changed.';

create table auth.webhooks (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    url text not null check (url ~ '^https?://'),
    -- names of events of the audit; empty: all
    events text[] not null default '{}',
    secret_sealed bytea not null,
    created_at timestamptz not null default pg_catalog.clock_timestamp()
);
select pg_catalog.pg_extension_config_dump('auth.webhooks', '');

comment on table auth.webhooks is 'Who is told of events, by a signed POST (Standard Webhooks). Made by auth.add_webhook, which shows the secret once.';
comment on column auth.webhooks.id is 'Row id.';
comment on column auth.webhooks.url is 'Where it is posted.';
comment on column auth.webhooks.events is 'Event types as in auth.audit_log; empty: all.';
comment on column auth.webhooks.secret_sealed is 'Secret that signs, sealed under the keyring.';
comment on column auth.webhooks.created_at is 'When it was made.';

create trigger invalidate
    after insert or update or delete on auth.webhooks
    for each row execute function auth.invalidate_relation();

create trigger invalidate_all
    after truncate on auth.webhooks
    for each statement execute function auth.invalidate_relation();

create function auth.add_webhook(url text, events text[] default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'add_webhook_wrapper';

comment on function auth.add_webhook(text, text[]) is
    'Has events posted to a URL, signed as Standard Webhooks says: {id, secret}; the secret is shown this once. Events are types of auth.audit_log; none given: all. For auth_admin. 22023 validation_failed for what is no http or https address.';

create function auth.remove_webhook(id uuid)
returns void
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'remove_webhook_wrapper';

comment on function auth.remove_webhook(uuid) is
    'Ends a webhook; what is in the outbox for it already is still posted. For auth_admin. 22023 validation_failed for an unknown one.';

create function auth.open_outbox(id uuid, payload_sealed bytea)
returns jsonb
language c
strict
as 'MODULE_PATHNAME', 'open_outbox_wrapper';

comment on function auth.open_outbox(uuid, bytea) is 'Internal: what a row of the outbox holds; null if it does not open.';

create function auth.claim_outbox(n integer, channels text[] default null)
returns table (
    id uuid,
    channel text,
    kind text,
    recipient text,
    locale text,
    message_id text,
    attempts integer,
    payload jsonb,
    template jsonb,
    created_at timestamptz
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    own constant text := (select s.system_identifier::text from pg_control_system() as s);
begin
    if n is null or n not between 1 and 1000 then
        raise exception 'n is out of range'
            using errcode = 'invalid_parameter_value', detail = 'validation_failed', hint = 'n is from 1 to 1,000';
    end if;

    update auth.outbox
    set status = 'expired', payload_sealed = null, claimed_until = null
    where id in (
        select o.id
        from auth.outbox as o
        where o.status = 'pending' and o.cluster_id = own and o.next_attempt_at <= clock_timestamp()
            and o.expires_at <= clock_timestamp() and (o.claimed_until is null or o.claimed_until <= clock_timestamp())
        order by o.next_attempt_at
        limit 1000
        for update skip locked
    );

    -- Taken as often as one may be, and no courier came back to say how it ended: it may be what ends them.
    update auth.outbox
    set status = 'dead', payload_sealed = null, claimed_until = null, last_error = 'no courier that took it came back'
    where id in (
        select o.id
        from auth.outbox as o
        where o.status = 'pending' and o.cluster_id = own and o.attempts >= 12
            and (o.claimed_until is null or o.claimed_until <= clock_timestamp())
        limit 1000
        for update skip locked
    );

    return query
        with due as (
            select o.id
            from auth.outbox as o
            where o.status = 'pending' and o.cluster_id = own and o.next_attempt_at <= clock_timestamp()
                and (o.claimed_until is null or o.claimed_until <= clock_timestamp())
                and (o.expires_at is null or o.expires_at > clock_timestamp())
                and (channels is null or o.channel = any (channels))
            order by o.next_attempt_at
            limit n
            for update skip locked
        ), taken as (
            update auth.outbox as o
            set claimed_until = clock_timestamp() + interval '60 seconds', attempts = o.attempts + 1
            from due
            where o.id = due.id
            returning o.*
        )
        select t.id, t.channel, t.kind, t.recipient, t.locale, t.message_id, t.attempts,
            auth.open_outbox(t.id, t.payload_sealed), to_jsonb(m.*) - 'updated_at', t.created_at
        from taken as t
        left join lateral (
            select m.*
            from auth.templates as m
            where t.channel = 'email' and m.name = t.kind and m.locale in ('', t.locale, split_part(t.locale, '-', 1))
            order by m.locale = t.locale desc nulls last, m.locale <> '' desc
            limit 1
        ) as m on true
        order by t.id;
end
$$;

comment on function auth.claim_outbox(integer, text[]) is
    'Takes up to n (1 to 1,000) rows that are due, for 60 seconds: whoever took them sends them and settles them by then, or another may. Only of these channels (email, sms, webhook), or of all. Skips what others hold. What has expired becomes expired, and what was taken 12 times without an outcome dead. template is that of auth.templates, or null. For auth_sidecar.';

create function auth.settle_outbox(results jsonb)
returns integer
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'settle_outbox_wrapper';

comment on function auth.settle_outbox(jsonb) is
    'Says how attempts ended: [{id, attempts, outcome: sent | retry | failed | expired, error, retry_in (seconds)}], attempts as auth.claim_outbox gave it. A result of a lease that is over and was taken by another since is ignored. retry waits longer each time, and is given up after 12 attempts. Returns how many were settled. For auth_sidecar. 22023 validation_failed for another form.';

create function auth.outbox_status()
returns jsonb
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select jsonb_build_object(
        'pending', count(*) filter (where o.status = 'pending' and o.is_own),
        'due', count(*) filter (where o.status = 'pending' and o.is_own and not o.is_claimed and o.next_attempt_at <= clock_timestamp()),
        'claimed', count(*) filter (where o.status = 'pending' and o.is_own and o.is_claimed),
        'sent', count(*) filter (where o.status = 'sent'),
        'dead', count(*) filter (where o.status = 'dead'),
        'expired', count(*) filter (where o.status = 'expired'),
        'foreign', count(*) filter (where o.status = 'pending' and not o.is_own),
        'oldest_pending_seconds', extract(epoch from clock_timestamp()
            - min(o.created_at) filter (where o.status = 'pending' and o.is_own))::bigint,
        'last_sent_at', auth.rfc3339(max(o.sent_at))
    )
    from (
        select o.status, o.created_at, o.sent_at, o.next_attempt_at,
            coalesce(o.claimed_until > clock_timestamp(), false) as is_claimed, o.cluster_id = s.system_identifier::text as is_own
        from auth.outbox as o, pg_control_system() as s
    ) as o
$$;

comment on function auth.outbox_status() is
    'What waits and what was sent: {pending, due, claimed, sent, dead, expired, foreign, oldest_pending_seconds, last_sent_at}; foreign rows came with a copy of another cluster. For auth_admin and auth_sidecar.';

create function auth.adopt_outbox()
returns integer
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    with adopted as (
        update auth.outbox as o
        set cluster_id = s.system_identifier::text
        from pg_control_system() as s
        where o.status = 'pending' and o.cluster_id <> s.system_identifier::text
        returning o.id
    )
    select count(*)::integer from adopted
$$;

comment on function auth.adopt_outbox() is
    'After a restore that takes the place of the original: what it had not sent is sent from here. A copy for tests leaves it. Returns how many rows. For auth_admin.';
