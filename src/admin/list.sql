select o.object, u.created_at, u.id
from auth.users as u
join auth.user_objects as o on o.id = u.id
where u.deleted_at is null
    and ($1 is null or u.email ilike $1 or u.phone like $1 or u.username ilike $1 or u.id::text ilike $1
        or u.raw_user_meta_data ->> 'name' ilike $1 or u.raw_user_meta_data ->> 'full_name' ilike $1)
