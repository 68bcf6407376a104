with old as (
    -- what was allowed when the change was asked for may have an address by now that nobody has proved
    select u.id, u.phone
    from auth.users as u
    where u.id = $1 and u.deleted_at is null and (u.email is null or u.email_confirmed_at is not null)
    for update
), account as (
    update auth.users as u
    set
        phone = $2,
        phone_confirmed_at = clock_timestamp(),
        -- phone becomes one of the ways in, and the first where there was none
        raw_app_meta_data = '{"provider": "phone"}' || u.raw_app_meta_data || jsonb_build_object(
            'providers',
            case
                when u.raw_app_meta_data -> 'providers' @> '"phone"' then u.raw_app_meta_data -> 'providers'
                when jsonb_typeof(u.raw_app_meta_data -> 'providers') = 'array'
                    then (u.raw_app_meta_data -> 'providers') || '"phone"'
                else '["phone"]'
            end),
        role = case when u.is_anonymous then 'authenticated' else u.role end,
        is_anonymous = false
    from old
    where u.id = old.id
    returning u.id, u.phone, u.email_confirmed_at
), mailed as (
    update auth.identities as i
    set identity_data = i.identity_data || '{"phone_verified": true}'
    from account as a
    where i.user_id = a.id and i.provider = 'email'
), identity as (
    insert into auth.identities as i (user_id, provider, provider_id, identity_data)
    select a.id, 'phone', a.id::text,
        jsonb_build_object('sub', a.id, 'phone', a.phone, 'email_verified', a.email_confirmed_at is not null,
            'phone_verified', true)
    from account as a
    on conflict (user_id, provider) do update
    set identity_data = i.identity_data || excluded.identity_data
)
select old.phone from old
