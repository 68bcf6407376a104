-- What signed-in users do about themselves.

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

create function auth.get_user(options jsonb default '{}')
returns jsonb
language c
stable
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'get_user_wrapper';

comment on function auth.get_user(jsonb) is
    'The caller''s own account as an object, or null without a token; no hash, no secret. Refuses like auth.uid(). For anon and authenticated.';

create function auth.update_user(data jsonb, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'update_user_wrapper';

comment on function auth.update_user(jsonb, jsonb) is
    'Merges data into the caller''s user_metadata: top-level keys are set, null removes one. Returns the account. For authenticated. 28000 no_authorization; 22023 validation_failed past 16 kB or 8 levels.';

create function auth.list_sessions(options jsonb default '{}')
returns table (
    id uuid,
    created_at timestamptz,
    refreshed_at timestamptz,
    not_after timestamptz,
    aal text,
    ip inet,
    user_agent text,
    current boolean
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if options is distinct from '{}' and options is not null then
        raise exception 'unknown option'
            using errcode = 'invalid_parameter_value', detail = 'validation_failed',
                hint = 'this function has no options';
    end if;
    return query
        select s.id, s.created_at, s.refreshed_at, s.not_after, s.aal, s.ip, s.user_agent, s.id = auth.session_id()
        from auth.sessions as s
        where s.user_id = auth.require_uid() and auth.session_is_live(s)
        order by s.created_at desc, s.id desc;
end
$$;

comment on function auth.list_sessions(jsonb) is
    'The caller''s live sessions, newest first; current marks the one that asks. For authenticated. 28000 no_authorization.';

create function auth.get_session(options jsonb default '{}')
returns jsonb
language c
stable
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'get_session_wrapper';

comment on function auth.get_session(jsonb) is
    'The caller''s session: {id, user_id, created_at, refreshed_at, not_after, aal, amr, ip, user_agent}, or null without a token. Refuses like auth.uid(). For authenticated.';

create function auth.sign_out(scope text default 'local', options jsonb default '{}')
returns void
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'sign_out_wrapper';

comment on function auth.sign_out(text, jsonb) is
    'Ends the caller''s session (local), all others (others) or all (global), from the next statement on, for access tokens too. For authenticated. 28000 no_authorization; 22023 validation_failed for another scope.';

create function auth.revoke_session(session_id uuid, options jsonb default '{}')
returns void
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'revoke_session_wrapper';

comment on function auth.revoke_session(uuid, jsonb) is
    'Ends one of the caller''s sessions. For authenticated. 28000 session_not_found, the same for an unknown one and somebody else''s.';

create function auth.revoke_sessions(except_current boolean default true, options jsonb default '{}')
returns integer
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'revoke_sessions_wrapper';

comment on function auth.revoke_sessions(boolean, jsonb) is
    'Ends the caller''s sessions, all but the one that asks unless except_current is false; returns how many. For authenticated. 28000 no_authorization.';
