-- Hooks are what triggers on auth tables would be: pg_dump loses those.

create table auth.hooks (
    event text primary key
        check (event in ('before_user_created', 'after_user_created', 'custom_access_token', 'mfa_verification_attempt')),
    function text not null,
    created_by text not null default session_user,
    created_at timestamptz not null default pg_catalog.clock_timestamp()
);
select pg_catalog.pg_extension_config_dump('auth.hooks', '');

comment on table auth.hooks is 'Which function runs at which event; changed by auth.add_hook and auth.remove_hook.';
comment on column auth.hooks.event is 'before_user_created, after_user_created, custom_access_token or mfa_verification_attempt.';
comment on column auth.hooks.function is 'Schema-qualified name of a function (event jsonb) returns jsonb; stored by name, so a restore finds it.';
comment on column auth.hooks.created_by is 'The login that added it.';
comment on column auth.hooks.created_at is 'When.';

create trigger invalidate
    after insert or update or delete on auth.hooks
    for each row execute function auth.invalidate_relation();

create trigger invalidate_all
    after truncate on auth.hooks
    for each statement execute function auth.invalidate_relation();

create function auth.add_hook(event text, function text)
returns void
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'add_hook_wrapper';

comment on function auth.add_hook(text, text) is
    'Runs schema.function(event jsonb) returns jsonb at an event, in the caller''s transaction, as the function''s own owner, who must not be a superuser. It replaces an earlier one. For auth_admin. 22023 validation_failed for an unknown event or function, 42501 for a superuser''s function.';

create function auth.remove_hook(event text)
returns void
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'remove_hook_wrapper';

comment on function auth.remove_hook(text) is
    'Runs nothing at an event any more. For auth_admin. 22023 validation_failed where no hook is set.';
