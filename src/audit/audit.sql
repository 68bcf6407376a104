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
