-- What the example brings to the database, as its owner: one table, and one policy that believes auth.uid().
create table if not exists notes (
    id bigint generated always as identity primary key,
    owner_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
    body text not null check (length(body) between 1 and 200)
);
create index if not exists notes_owner_id on notes (owner_id);
alter table notes enable row level security;
drop policy if exists owner_only on notes;
create policy owner_only on notes to authenticated using ((select auth.uid()) = owner_id);
grant select, insert on notes to authenticated;
