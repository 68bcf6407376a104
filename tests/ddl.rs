//! The guard: schema auth stays as pg_dump will restore it, and nobody drops it by mistake.

use auth_harness::{Cluster, Database, Transaction, refused, sign_in, sign_up};

/// An app with a table of its own that leans on ours, made by a role that is no superuser.
fn app_database() -> Database {
    let database = Cluster::shared().database();
    let owner = owner(&database);
    database
        .superuser()
        .batch_execute(&format!(
            "create role {owner} login;
            grant auth_admin to {owner};
            alter database {} owner to {owner};",
            database.name()
        ))
        .unwrap();
    database
        .connect(&owner)
        .batch_execute(
            "create table public.notes (
                id int primary key,
                owner_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
                body text
            );
            alter table public.notes enable row level security;
            create policy own on public.notes using (owner_id = auth.uid());
            create index on public.notes (owner_id);
            grant select, insert on public.notes to authenticated;",
        )
        .unwrap();
    sign_up(&mut database.app(), "ada@example.org", "correct horse battery");
    database
}

/// Roles are the cluster's, and other tests have their own.
fn owner(database: &Database) -> String {
    format!("owner_of_{}", database.name())
}

fn is_whole(database: &Database) {
    let mut client = database.superuser();
    let row = client
        .query_one(
            "select (select count(*) from pg_extension where extname = 'auth'), (select count(*) from auth.users),
                (select count(*) from pg_event_trigger where evtname like 'auth_%' and evtenabled = 'O')",
            &[],
        )
        .unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 1));
    assert!(row.get::<_, i64>(2) >= 3);
    sign_in(&mut database.app(), "ada@example.org", "correct horse battery");
}

/// XJ19, N04: what pg_dump would lose, or what would make its restore fail, is refused even to a superuser; the HINT
/// says what to do instead.
#[test]
fn ddl_from_outside_is_refused_with_a_hint() {
    let database = app_database();
    let mut client = database.superuser();
    client
        .batch_execute(
            "create function public.on_user() returns trigger language plpgsql as 'begin return new; end';
            create table public.parent (id uuid primary key); create table public.plain (a int);",
        )
        .unwrap();
    let mut wrong = Vec::new();
    for statement in [
        "create trigger t after insert on auth.users for each row execute function public.on_user()",
        "create constraint trigger t after insert on auth.users for each row execute function public.on_user()",
        "create trigger t after truncate on auth.users execute function public.on_user()",
        "create or replace trigger touch_updated_at before update on auth.users for each row execute function public.on_user()",
        "alter trigger touch_updated_at on auth.users rename to t",
        "alter table auth.users disable trigger touch_updated_at",
        "alter table auth.users enable always trigger touch_updated_at",
        "drop trigger touch_updated_at on auth.users",
        "create policy p on auth.users using (true)",
        "create rule r as on insert to auth.users do instead nothing",
        "create rule r as on insert to auth.my_account do instead nothing",
        "alter table auth.users add column mine text",
        "alter table auth.users rename column email to mail",
        "alter table auth.revocations alter column reason type varchar(100)",
        "alter table auth.users alter column email set not null",
        "alter table auth.users alter column role set default 'service_role'",
        "alter table auth.users alter column id drop default",
        "alter table auth.users alter column email set statistics 10",
        "alter table auth.users add constraint c check (email <> '')",
        "alter table auth.users add constraint c foreign key (id) references public.parent not valid",
        "alter table auth.signing_keys drop constraint signing_keys_alg_check",
        "alter table auth.users enable row level security",
        "alter table auth.users force row level security",
        "alter table auth.users owner to app",
        "alter table auth.users rename to members",
        "alter table auth.users set (fillfactor = 50)",
        "alter table auth.config set unlogged",
        "alter table auth.users set schema public",
        "alter table auth.users replica identity full",
        "alter table auth.users cluster on users_pkey",
        "alter table auth.users disable trigger all, add column mine text",
        "alter index auth.users_email_key rename to k",
        "alter index auth.users_email_key set (fillfactor = 50)",
        "create index i on auth.users (created_at)",
        "create unique index i on auth.users (phone)",
        "create index i on auth.users using hash (email)",
        "drop index auth.users_email_key",
        "create table public.child () inherits (auth.users)",
        "create view auth.v as select 1",
        "create table auth.t ()",
        "create table auth.t as select 1",
        "select 1 as a into auth.t",
        "create sequence auth.s",
        "create materialized view auth.m as select 1",
        "create function auth.f() returns int language sql as 'select 1'",
        "create or replace function auth.uid() returns uuid language sql as 'select null::uuid'",
        "alter view auth.my_account alter column email set default ''",
        "create type auth.t as (a int)",
        "create domain auth.d as text",
        "create operator auth.=== (leftarg = text, rightarg = text, function = texteq)",
        "alter function auth.uid() owner to app",
        "alter function auth.uid() immutable",
        "alter function auth.uid() leakproof",
        "alter function auth.uid() rename to u",
        "alter function auth.sign_in(text, text, jsonb) set search_path = public",
        "alter function auth.sign_in(text, text, jsonb) reset all",
        "alter function auth.sign_in(text, text, jsonb) security invoker",
        "alter view auth.my_account set (security_barrier = false)",
        "alter view auth.my_account owner to app",
        "alter view auth.my_account rename to mine",
        "alter table public.plain set schema auth",
        "alter function public.on_user() set schema auth",
        "alter schema auth rename to other",
        "alter schema auth owner to app",
        "alter extension auth drop table auth.users",
        "alter extension auth drop function auth.uid()",
        "alter extension auth drop event trigger auth_sql_drop",
        "alter extension auth add table public.plain",
    ] {
        // Undone where it was let through, so that the others are still tried.
        let mut attempt = client.transaction().unwrap();
        let Err(error) = attempt.batch_execute(statement) else {
            wrong.push(format!("accepted: {statement}"));
            continue;
        };
        let refusal = refused::<()>(Err(error));
        let told = (refusal.sqlstate.as_str(), refusal.code.as_str());
        let hint = refusal.hint.unwrap_or_default();
        if told != ("42501", "validation_failed") || hint.is_empty() {
            wrong.push(format!("{statement}: {told:?} {}, hint: {hint}", refusal.message));
        } else if statement.starts_with("create trigger") && !hint.contains("auth.add_hook") {
            wrong.push(format!("{statement}: {hint}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    drop(client);
    is_whole(&database);
}

/// XJ19, N04: what survives a dump is allowed, and so is the upkeep of an operator; DDL that is not about us is not ours.
#[test]
fn what_a_dump_keeps_is_allowed() {
    let database = app_database();
    let owner = owner(&database);
    let role = format!("reader_of_{}", database.name());
    // As the superuser.
    let mut client = database.superuser();
    for statement in [
        &format!("create role {role}"),
        &format!("grant select (id, email) on auth.users to {role}"),
        &format!("grant execute on function auth.sign_in(text, text, jsonb) to {role}"),
        &format!("revoke all on auth.users from {role}"),
        "comment on table auth.users is 'ours'",
        "comment on column auth.users.email is 'ours'",
        "comment on function auth.uid() is 'ours'",
        "create view public.people as select id, email from auth.users",
        "create materialized view public.count as select count(*) from auth.users",
        "refresh materialized view public.count",
        "create table public.copied (like auth.users including all)",
        "create function public.whole(auth.users) returns text language sql as 'select $1.email'",
        "vacuum auth.users",
        "vacuum full auth.users",
        "vacuum (analyze) auth.sessions",
        "analyze auth.users",
        "cluster auth.users using users_pkey",
        "reindex table auth.users",
        "reindex table concurrently auth.users",
        "reindex index concurrently auth.users_pkey",
        "reindex schema auth",
        "begin; lock table auth.users; rollback",
        "alter table auth.users disable trigger all",
        "alter table auth.users enable trigger all",
        "alter extension auth update",
        "begin; truncate auth.users cascade; rollback",
        "begin; truncate auth.sessions; rollback",
        "drop view public.people",
        "drop materialized view public.count",
        "drop table public.copied",
        "drop function public.whole(auth.users)",
        "create schema other; create table other.t (a int primary key); create index on other.t (a); alter table other.t add b int; drop schema other cascade",
        "create event trigger mine on ddl_command_end execute function pg_catalog.suppress_redundant_updates_trigger()",
    ] {
        // The last one is PostgreSQL's to refuse, not ours.
        match client.batch_execute(statement) {
            Err(error) if statement.contains("event trigger mine") => {
                assert_eq!(refused::<()>(Err(error)).sqlstate, "42P17")
            }
            answer => answer.unwrap_or_else(|error| panic!("{statement}: {error:?}")),
        }
    }
    // As the owner of the app's schema, who has auth_admin and is no superuser.
    let mut client = database.connect(&owner);
    for statement in [
        "create table public.profiles (user_id uuid primary key references auth.users (id) on delete cascade, bio text)",
        "alter table public.profiles add column updated_at timestamptz",
        "create function public.touch() returns trigger language plpgsql as 'begin return new; end'",
        "create trigger touch before update on public.profiles for each row execute function public.touch()",
        "alter table public.profiles enable row level security",
        "create policy own on public.profiles to authenticated using (user_id = auth.uid()) with check (user_id = auth.uid())",
        "alter policy own on public.profiles using (auth.uid() = user_id)",
        "create index profiles_updated_at on public.profiles (updated_at)",
        "create view public.mine with (security_barrier) as select * from public.profiles where user_id = auth.uid()",
        "alter table public.profiles alter column user_id set default auth.uid()",
        "drop trigger touch on public.profiles",
        "drop policy own on public.profiles",
        "drop index public.profiles_updated_at",
        "drop view public.mine",
        // These take triggers on auth.users with them that PostgreSQL made for the foreign key.
        "alter table public.profiles drop constraint profiles_user_id_fkey",
        "alter table public.profiles add foreign key (user_id) references auth.users (id)",
        "alter table public.profiles drop column bio",
        "drop table public.profiles",
        "create temporary table users (id int)",
        "create temporary table t as select 1 as a",
        "drop owned by current_user",
    ] {
        client.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    drop(client);
    is_whole(&database);
}

/// N39, XJ20, D9: every way to drop the extension or a part of it is refused, by name and by what it leans on.
#[test]
fn drops_are_refused_to_the_superuser_and_to_the_owner_of_the_database() {
    let database = app_database();
    let owner = owner(&database);
    let mut wrong = Vec::new();
    let mut client = database.superuser();
    for (statement, sqlstates) in [
        ("drop extension auth", &["42501", "2BP01"] as &[&str]),
        ("drop extension if exists auth", &["42501", "2BP01"]),
        ("drop extension auth cascade", &["42501"]),
        ("drop extension if exists nothing_like_it, auth cascade", &["42501"]),
        ("do $$ begin execute 'drop extension auth cascade'; end $$", &["42501"]),
        ("drop owned by postgres cascade", &["2BP01"]),
        ("drop owned by current_user cascade", &["2BP01"]),
        // A cascade reaches the extension from what its members lean on.
        ("drop extension plpgsql cascade", &["42501"]),
        ("alter table auth.users drop column phone cascade", &["42501", "2BP01", "55006"]),
        ("alter table auth.users drop constraint users_pkey cascade", &["42501", "2BP01"]),
        ("drop schema auth", &["2BP01"]),
        ("drop schema auth cascade", &["2BP01"]),
        ("drop table auth.users", &["2BP01"]),
        ("drop table auth.users cascade", &["2BP01"]),
        ("drop table auth.sessions, auth.users cascade", &["2BP01"]),
        ("drop view auth.my_account", &["2BP01"]),
        ("drop function auth.uid() cascade", &["2BP01"]),
        ("drop function auth.on_drop_extension() cascade", &["2BP01"]),
        ("drop event trigger auth_drop_extension", &["2BP01"]),
        ("drop event trigger auth_sql_drop", &["2BP01"]),
        ("drop event trigger auth_ddl_command_end cascade", &["2BP01"]),
        ("drop type auth.users cascade", &["2BP01"]),
        ("drop owned by auth_owner cascade", &["2BP01"]),
        ("alter table auth.users drop column phone", &["2BP01"]),
    ] {
        let mut attempt = client.transaction().unwrap();
        let Err(error) = attempt.batch_execute(statement) else {
            wrong.push(format!("accepted: {statement}"));
            continue;
        };
        let refusal = refused::<()>(Err(error));
        let hint = refusal.hint.unwrap_or_default();
        // What PostgreSQL refuses by itself says what it says.
        let says_how = refusal.sqlstate != "42501" || hint.contains("auth.allow_drop");
        if !sqlstates.contains(&refusal.sqlstate.as_str()) || !says_how {
            wrong.push(format!("{statement}: {} {}, hint: {hint}", refusal.sqlstate, refusal.message));
        }
    }
    assert_eq!(refused(client.batch_execute("drop role auth_owner")).sqlstate, "2BP01");

    // Where nothing of an app's is in the way, PostgreSQL alone would let all of them go without a word.
    let bare = Cluster::shared().database();
    let person = sign_up(&mut bare.app(), "ada@example.org", "correct horse battery");
    for statement in ["drop extension auth", "drop extension if exists auth restrict", "drop extension auth cascade"] {
        let refusal = refused(bare.superuser().batch_execute(statement));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("42501", "validation_failed"), "{statement}");
        assert!(refusal.hint.unwrap_or_default().contains("auth.allow_drop"), "{statement}");
    }
    sign_in(&mut bare.app(), &person.email, &person.password);

    // No superuser, but what stands in schema public is the owner's of the database: they may empty it, and no more.
    for (login, statement) in [("postgres", "drop schema public cascade"), (&owner, "drop schema public cascade")] {
        let mut client = database.connect(login);
        let mut attempt = client.transaction().unwrap();
        if attempt.batch_execute(statement).is_ok() && !has_extension(&mut attempt) {
            wrong.push(format!("{statement} by {login} drops the extension"));
        }
    }
    let mut client = database.connect(&owner);
    for statement in [
        "drop extension auth",
        "drop extension auth cascade",
        "drop schema auth cascade",
        "drop table auth.users cascade",
        "drop owned by pg_database_owner cascade",
        "drop event trigger auth_sql_drop",
        "alter event trigger auth_sql_drop disable",
        "alter extension auth drop table auth.users",
    ] {
        let refusal = refused(client.batch_execute(statement));
        assert!(["42501", "2BP01"].contains(&refusal.sqlstate.as_str()), "{statement}: {refusal:?}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    is_whole(&database);
}

fn has_extension(client: &mut Transaction<'_>) -> bool {
    let row = client.query_one("select count(*) from pg_extension where extname = 'auth'", &[]).unwrap();
    row.get::<_, i64>(0) == 1
}

/// N39, XJ20: the switch is a superuser's; with it the extension goes, and the database works as before it came.
#[test]
fn only_a_superuser_may_allow_the_drop() {
    let database = app_database();
    let owner = owner(&database);
    for login in ["app", "service", "admin", "sidecar", owner.as_str()] {
        let mut client = database.connect(login);
        for statement in [
            "set auth.allow_drop = on".to_owned(),
            "set local auth.allow_drop = on".to_owned(),
            "select set_config('auth.allow_drop', 'on', false)".to_owned(),
            format!("alter role {login} set auth.allow_drop = on"),
            format!("alter database {} set auth.allow_drop = on", database.name()),
            "alter system set auth.allow_drop = on".to_owned(),
            "create function pg_temp.f() returns int language sql set auth.allow_drop = on as 'select 1'".to_owned(),
        ] {
            assert_eq!(refused(client.batch_execute(&statement)).sqlstate, "42501", "{login}: {statement}");
        }
        let by_startup = database.cluster().try_connect(database.name(), login, "-c auth.allow_drop=on");
        assert_eq!(refused(by_startup.map(drop)).sqlstate, "42501", "{login}");
    }
    let mut client = database.superuser();
    client.batch_execute("begin; set local auth.allow_drop = on; drop extension auth cascade; rollback").unwrap();
    is_whole(&database);
    client.batch_execute("set auth.allow_drop = on").unwrap();
    assert_eq!(refused(client.batch_execute("drop extension auth")).sqlstate, "2BP01", "an app's policy leans on it");
    client.batch_execute("drop extension auth cascade").unwrap();
    for catalog in ["pg_event_trigger where evtname like 'auth%'", "pg_namespace where nspname = 'auth'"] {
        let row = client.query_one(&format!("select count(*) from {catalog}"), &[]).unwrap();
        assert_eq!(row.get::<_, i64>(0), 0, "{catalog}");
    }
    client
        .batch_execute(
            "create table after (id int primary key, b text); alter table after drop column b; drop table after",
        )
        .unwrap();
    // The logins are members of anon by now, and that is no obstacle.
    client.batch_execute("create extension auth; select auth.allow_client('app')").unwrap();
    sign_up(&mut database.app(), "new@example.org", "correct horse battery");
}
