with account as (
    insert into auth.users
        (id, instance_id, aud, role, email, phone, encrypted_password, raw_app_meta_data, raw_user_meta_data,
            email_confirmed_at, phone_confirmed_at, is_anonymous, invited_at, awaits_approval)
    values
        ($1, $2::uuid, $3, $4, $5, $6, $7, $8, $9,
            case when $5 is not null and $10 then clock_timestamp() end,
            case when $6 is not null and $11 then clock_timestamp() end,
            $12,
            case when $13 then clock_timestamp() end,
            $14)
    on conflict do nothing
    returning id, instance_id, aud, email, phone, encrypted_password, email_confirmed_at, phone_confirmed_at
), address as (
    insert into auth.email_addresses (user_id, instance_id, aud, address, verified_at, is_primary)
    select id, instance_id, aud, email, email_confirmed_at, true from account where email is not null
), identity as (
    insert into auth.identities (user_id, provider, provider_id, identity_data)
    select id, 'email', id::text,
        jsonb_build_object('sub', id, 'email', email, 'email_verified', email_confirmed_at is not null,
            'phone_verified', phone_confirmed_at is not null)
    from account where email is not null
    union all
    select id, 'phone', id::text,
        jsonb_build_object('sub', id, 'phone', phone, 'email_verified', email_confirmed_at is not null,
            'phone_verified', phone_confirmed_at is not null)
    from account where phone is not null and phone_confirmed_at is not null
), password as (
    insert into auth.password_state (user_id)
    select id from account where encrypted_password is not null
), passkey as (
    insert into auth.passkeys
    select p.*
    from account join jsonb_populate_record(null::auth.passkeys, $15) as p on p.user_id = account.id
    on conflict do nothing
)
select 1 from account
