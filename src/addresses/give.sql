with old as (
    select u.id, u.email from auth.users as u where u.id = $1 and u.deleted_at is null for update
), account as (
    update auth.users as u
    set
        email = $2,
        email_confirmed_at = case when $3 then clock_timestamp() end,
        -- email becomes one of the ways in, and the first where there was none
        raw_app_meta_data = '{"provider": "email"}' || u.raw_app_meta_data || jsonb_build_object(
            'providers',
            case
                when u.raw_app_meta_data -> 'providers' @> '"email"' then u.raw_app_meta_data -> 'providers'
                when jsonb_typeof(u.raw_app_meta_data -> 'providers') = 'array'
                    then (u.raw_app_meta_data -> 'providers') || '"email"'
                else '["email"]'
            end),
        role = case when u.is_anonymous then 'authenticated' else u.role end,
        is_anonymous = false
    from old
    where u.id = old.id
    returning u.id, u.instance_id, u.aud, u.email, u.email_confirmed_at, u.phone_confirmed_at
), address as (
    -- one that is there already follows auth.users by its trigger
    insert into auth.email_addresses (user_id, instance_id, aud, address, verified_at, is_primary)
    select a.id, a.instance_id, a.aud, a.email, a.email_confirmed_at, true
    from account as a
    where not exists (select from auth.email_addresses as e where e.user_id = a.id and e.is_primary)
), identity as (
    insert into auth.identities (user_id, provider, provider_id, identity_data)
    select a.id, 'email', a.id::text,
        jsonb_build_object('sub', a.id, 'email', a.email, 'email_verified', a.email_confirmed_at is not null,
            'phone_verified', a.phone_confirmed_at is not null)
    from account as a
    on conflict (user_id, provider) do update
    set identity_data = identities.identity_data || excluded.identity_data
)
select old.email from old
