with account as (
    update auth.users as u
    set
        phone = coalesce($2, u.phone),
        email_confirmed_at = case
            when $3 is null then u.email_confirmed_at
            when $3 and u.email is not null then coalesce(u.email_confirmed_at, clock_timestamp())
        end,
        -- another number is not proved by the old one
        phone_confirmed_at = case
            when $4 and coalesce($2, u.phone) is not null
                then case when $2 is distinct from u.phone and $2 is not null then clock_timestamp()
                    else coalesce(u.phone_confirmed_at, clock_timestamp()) end
            when $4 is null and ($2 is null or $2 = u.phone) then u.phone_confirmed_at
        end,
        role = coalesce($5, case when u.is_anonymous and $2 is not null then 'authenticated' else u.role end),
        is_anonymous = u.is_anonymous and $2 is null
    where u.id = $1 and u.deleted_at is null
    returning u.id, u.email_confirmed_at, u.phone_confirmed_at
), identity as (
    update auth.identities as i
    set identity_data = i.identity_data || jsonb_build_object(
        'email_verified', a.email_confirmed_at is not null, 'phone_verified', a.phone_confirmed_at is not null)
    from account as a
    where i.user_id = a.id and i.provider = 'email' and ($3 is not null or $4 is not null or $2 is not null)
)
select 1 from account
