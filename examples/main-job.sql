-- What the app itself brings: one table, and one policy that believes auth.uid().

create table if not exists notes (
    id bigint generated always as identity primary key,
    owner_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
    body text not null,
    created_at timestamptz not null default clock_timestamp()
);
create index if not exists notes_owner_id on notes (owner_id);

alter table notes enable row level security;

drop policy if exists owner_only on notes;
create policy owner_only on notes
    to authenticated
    using (auth.uid() = owner_id);

grant select, insert, update, delete on notes to authenticated;
grant select on notes to anon;

-- The people of an earlier run; their notes go with them.
delete from auth.users
where email in ('ada@main-job.example', 'grace@main-job.example');
