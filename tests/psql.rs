//! No service and no driver: people with psql.

use std::io::Write;
use std::process::{Command, Stdio};

use auth_harness::{Cluster, Database};

fn psql(database: &Database) -> Command {
    let mut command = database.cluster().command("psql");
    command.env("PGUSER", "app").args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"]);
    command.arg(database.name());
    command
}

/// What psql prints for this script, which must run to its end.
fn run(database: &Database, script: &str) -> Vec<String> {
    let mut child = psql(database).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// N28, F001, F148, F155: sign-up, the app's first row, acting under row-level security, refresh, another device, sign-out,
/// by psql alone and as the app's own login.
#[test]
fn the_whole_flow_by_psql() {
    let database = Cluster::shared().database();
    database
        .superuser()
        .batch_execute(
            "create table notes (
                id int generated always as identity, author uuid not null default auth.uid() references auth.users (id), text text
            );
            alter table notes enable row level security;
            create policy own on notes to authenticated using (author = (select auth.uid()));
            grant select, insert on notes to authenticated;
            grant select on notes to anon",
        )
        .unwrap();
    let printed = run(
        &database,
        r#"
        select s ->> 'access_token' as ada, s ->> 'refresh_token' as ada_refresh
        from auth.sign_up('ada@example.org', 'correct horse battery', '{"name": "Ada"}') as s \gset
        select s ->> 'access_token' as eve from auth.sign_up('eve@example.org', 'correct horse battery') as s \gset

        begin;
        select auth.authenticate(:'ada') ->> 'role';
        insert into notes (text) values ('of Ada');
        select text from notes;
        commit;

        begin;
        select auth.authenticate(:'eve') ->> 'role';
        select 'Eve sees ' || count(*) from notes;
        commit;

        begin;
        select auth.authenticate(null) ->> 'role';
        select 'anon sees ' || count(*) from notes;
        commit;
        select 'nobody is ' || coalesce(auth.uid()::text, 'nobody');

        select s ->> 'access_token' as ada, s ->> 'refresh_token' as ada_refresh from auth.refresh(:'ada_refresh') as s \gset
        select s ->> 'access_token' as laptop from auth.sign_in('ADA@example.org', 'correct horse battery') as s \gset
        begin;
        select auth.authenticate(:'laptop') ->> 'email';
        select auth.get_user() -> 'user_metadata' ->> 'name';
        select count(*) || ' sessions' from auth.list_sessions();
        select auth.sign_out('others');
        select count(*) || ' session' from auth.list_sessions();
        commit;

        \set ON_ERROR_STOP 0
        \set VERBOSITY sqlstate
        \o /dev/null
        select auth.refresh(:'ada_refresh');
        \o
        select 'refresh: ' || :'LAST_ERROR_SQLSTATE';
        select auth.sign_in('ada@example.org', 'a wrong password');
        select 'sign_in: ' || :'LAST_ERROR_SQLSTATE' || ' ' || :'LAST_ERROR_MESSAGE';
        select auth.authenticate(:'laptop');
        select 'no block: ' || :'LAST_ERROR_SQLSTATE';
        "#,
    );
    assert_eq!(
        printed,
        [
            "authenticated",
            "of Ada",
            "authenticated",
            "Eve sees 0",
            "anon",
            "anon sees 0",
            "nobody is nobody",
            "ada@example.org",
            "Ada",
            "2 sessions",
            "",
            "1 session",
            "refresh: 28000",
            "sign_in: 28P01 invalid sign-in credentials",
            "no block: 25P01",
        ]
    );
}

/// N28, F284: what a person at psql reads when refused: a plain message, the code word, a hint, and an exit status.
#[test]
fn a_refusal_reads_well_in_psql() {
    let database = Cluster::shared().database();
    for (statement, expected) in [
        (
            "select auth.sign_in('ada@example.org', 'a wrong password')",
            &["ERROR:  28P01: invalid sign-in credentials", "DETAIL:  invalid_credentials"][..],
        ),
        (
            "select auth.sign_up('ada@example.org', 'short')",
            &["ERROR:  22023: password is too weak", "DETAIL:  weak_password", "HINT:  length: at least 8 characters"],
        ),
        ("select auth.authenticate('x')", &["ERROR:  25P01: ", "DETAIL:  no_transaction", "HINT:  begin"]),
    ] {
        let output = psql(&database).args(["-c", statement]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{statement}");
        for line in expected {
            assert!(said.contains(line), "{statement}: {said}");
        }
        assert!(!said.contains(".rs") || !said.contains("panicked"), "{said}");
    }
}
