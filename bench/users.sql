-- Grows the user table to :users accounts with an identity and a session each. Foreign keys hold by
-- construction, and checking them row by row would take most of the time.

set session_replication_role = replica;
set synchronous_commit = off;

insert into auth.users (id, email, encrypted_password)
select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'user' || n || '@example.org', :'hash'
from generate_series(:first::int, :users::int) as n;

insert into auth.identities (user_id, provider, provider_id, identity_data)
select u.id, 'email', u.id, jsonb_build_object('sub', u.id, 'email', 'user' || n || '@example.org')
from generate_series(:first::int, :users::int) as n,
    lateral (select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid as id) as u;

insert into auth.sessions (id, user_id, amr, not_after)
select gen_random_uuid(), ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid,
    '[{"method": "password", "timestamp": 0}]', clock_timestamp() + interval '30 days'
from generate_series(:first::int, :users::int) as n;

reset session_replication_role;
vacuum (analyze) auth.users;
vacuum (analyze) auth.identities;
vacuum (analyze) auth.sessions;
checkpoint;
