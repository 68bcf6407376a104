with old as (
    select u.id, u.phone, u.email_confirmed_at is not null as is_mailed, u.phone_confirmed_at is null as is_new,
        u.phone_confirmed_at is null and u.email_confirmed_at is null as is_first
    from auth.users as u
    where u.id = $1 and u.phone = $2 and u.deleted_at is null
    for update
), account as (
    update auth.users as u
    set phone_confirmed_at = clock_timestamp(),
        encrypted_password = case when old.is_first then null else u.encrypted_password end
    from old
    where u.id = old.id and old.is_new
), password as (
    delete from auth.password_state as p using old where p.user_id = old.id and old.is_first
), passkeys as (
    delete from auth.passkeys as p using old where p.user_id = old.id and old.is_first
), mailed as (
    update auth.identities as i
    set identity_data = i.identity_data || '{"phone_verified": true}'
    from old
    where i.user_id = old.id and i.provider = 'email' and old.is_new
), identity as (
    -- an administrator may have given or changed the number
    insert into auth.identities as i (user_id, provider, provider_id, identity_data)
    select id, 'phone', id::text,
        jsonb_build_object('sub', id, 'phone', phone, 'email_verified', is_mailed, 'phone_verified', true)
    from old
    on conflict (user_id, provider) do update
    set identity_data = excluded.identity_data
    where i.identity_data is distinct from excluded.identity_data
)
select old.is_first from old
