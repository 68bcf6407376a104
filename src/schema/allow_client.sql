create function auth.allow_client(role name)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if role is null or not exists (select 1 from pg_catalog.pg_roles as r where r.rolname = allow_client.role and r.rolcanlogin) then
        raise exception 'no login "%"', role
            using errcode = 'invalid_parameter_value', detail = 'validation_failed',
                hint = 'create role … login noinherit; first';
    end if;
    if exists (
        select 1
        from pg_catalog.pg_roles as r
        where r.rolname = allow_client.role
            and (r.rolsuper or r.rolbypassrls or pg_catalog.pg_has_role(r.oid, 'service_role', 'member'))
    ) then
        raise exception '"%" could pass by row-level security', role
            using errcode = 'invalid_parameter_value', detail = 'validation_failed',
                hint = 'an app''s own login is no superuser, has no bypassrls and is no member of service_role';
    end if;
    execute format('grant anon, authenticated to %I', role);
    execute format('grant execute on function '
        || (select string_agg(p.oid::regprocedure::text, ', ')
            from pg_catalog.pg_proc as p
            where p.pronamespace = 'auth'::regnamespace and pg_catalog.has_function_privilege('anon', p.oid, 'execute'))
        || ' to %I', role);
end
$$;

comment on function auth.allow_client(name) is
    'Lets an app''s own login act for its users: makes it a member of anon and authenticated and grants it the public flows. For superusers. 22023 validation_failed for a login that could pass by row-level security.';
