-- Grows the user table to :users accounts with an address, an identity and a session each. Foreign keys hold by
-- construction, and checking them row by row would take most of the time.

set session_replication_role = replica;
set synchronous_commit = off;

insert into auth.users (id, email, encrypted_password)
select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'user' || n || '@example.org', :'hash'
from generate_series(:first::int, :users::int) as n;

insert into auth.email_addresses (user_id, address, is_primary)
select id, email, true from auth.users as u
where not exists (select from auth.email_addresses as a where a.user_id = u.id);

insert into auth.identities (user_id, provider, provider_id, identity_data)
select id, 'email', id::text, jsonb_build_object('sub', id, 'email', email) from auth.users as u
where not exists (select from auth.identities as i where i.user_id = u.id);

insert into auth.sessions (id, user_id, amr, not_after)
select gen_random_uuid(), id, '[{"method": "password", "timestamp": 0}]', clock_timestamp() + interval '30 days'
from auth.users as u
where not exists (select from auth.sessions as s where s.user_id = u.id);

reset session_replication_role;
vacuum (analyze) auth.users;
vacuum (analyze) auth.email_addresses;
vacuum (analyze) auth.identities;
vacuum (analyze) auth.sessions;
checkpoint;
