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
    restricted text,
    aal2_until timestamptz
) with (fillfactor = 80);
create index sessions_user_id on auth.sessions (user_id);
select pg_catalog.pg_extension_config_dump('auth.sessions', '');

comment on table auth.sessions is 'One row per signed-in device. Deleting a row ends the session at the next statement of anyone who uses it.';
comment on column auth.sessions.id is 'Session id, UUID version 7 (RFC 9562); claim session_id.';
comment on column auth.sessions.user_id is 'Who signed in.';
comment on column auth.sessions.created_at is 'When they signed in.';
comment on column auth.sessions.updated_at is 'When the row last changed.';
comment on column auth.sessions.factor_id is 'Second factor that was used, or passkey that has verified its user.';
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
comment on column auth.sessions.aal2_until is 'When a raised assurance level falls back.';

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
