-- A table of a million rows of a hundred owners, and one policy for each way to say whose they are.

create extension auth;

-- The usual definition: claims as JSON, in a setting that any client can write.
create function claims_uid()
returns uuid
language sql
stable
as $$ select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$;

create table owned (id int, owner_id uuid not null, body text);
insert into owned
select n, ('00000000-0000-4000-8000-' || lpad((n % 100)::text, 12, '0'))::uuid, 'a line of text ' || n
from generate_series(1, 1000000) as n;
alter table owned enable row level security;

create role by_constant;
create role by_uid;
create role by_subselect;
create role by_json;
grant select on owned to by_constant, by_uid, by_subselect, by_json;
create policy by_constant on owned to by_constant using (owner_id = '00000000-0000-4000-8000-000000000007');
create policy by_uid on owned to by_uid using (owner_id = auth.uid());
create policy by_subselect on owned to by_subselect using (owner_id = (select auth.uid()));
create policy by_json on owned to by_json using (owner_id = claims_uid());
vacuum (analyze) owned;

-- What a durable write costs at least: one row by its primary key.
create table counters (id int primary key, value bigint not null, at timestamptz) with (fillfactor = 80);
insert into counters select n, 0, clock_timestamp() from generate_series(0, 9999) as n;
vacuum (analyze) counters;

-- The chain that each client of pgbench begins with.
create table chains (client int primary key, refresh_token text not null);
