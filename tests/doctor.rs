//! auth.doctor(): every finding is found in a bad example, says what and what to do, and is gone when that is done; an app as
//! it should be gives none.

use std::collections::BTreeSet;

use auth_harness::{Client, Cluster, Database, GenericClient, json, refused, wait_until};
use serde_json::json as object;

use crate::audit::{configure, guess, wait_until_happened};
use crate::doctor_cases::{APP, CASES, Case};

/// Finding, severity, object, hint.
type Findings = BTreeSet<[String; 4]>;

/// What an administrator is told.
fn findings(client: &mut impl GenericClient) -> Findings {
    client.batch_execute("set local role auth_admin").unwrap();
    let rows = client.query("select finding, severity, object, hint from auth.doctor()", &[]).unwrap();
    client.batch_execute("reset role").unwrap();
    rows.iter().map(|row| [row.get(0), row.get(1), row.get(2), row.get(3)]).collect()
}

fn told(database: &Database) -> Vec<String> {
    let row = |row: &auth_harness::Row| {
        format!("{} {} {}", row.get::<_, String>(1), row.get::<_, String>(0), row.get::<_, String>(2))
    };
    database.admin().query("select * from auth.doctor()", &[]).unwrap().iter().map(row).collect()
}

/// F224, F189, XJ14, XJ20, XJ22, N22: a bad example of everything that is of the database is found, once, with its object and
/// what to do, and nothing is found any more when that is done.
#[test]
fn every_bad_example_is_found_until_it_is_repaired() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let mut superuser = database.superuser();
    superuser.batch_execute(APP).unwrap();
    for Case { title, bad, found, hint, repair } in CASES {
        let mut transaction = superuser.transaction().unwrap();
        let before = findings(&mut transaction);
        transaction.batch_execute(bad).unwrap_or_else(|error| panic!("{title}: {:?}", error.as_db_error()));
        let after = findings(&mut transaction);
        let new: Vec<_> = after.difference(&before).collect();
        let [[finding, severity, object, advice]] = &new[..] else { panic!("{title}: {new:?}") };
        assert_eq!(format!("{severity} {finding} {object}"), *found, "{title}");
        assert!(advice.contains(hint), "{title}: {advice}");
        transaction.batch_execute(repair).unwrap_or_else(|error| panic!("{title}: {:?}", error.as_db_error()));
        assert_eq!(findings(&mut transaction), before, "{title}, repaired");
        transaction.rollback().unwrap();
    }
    let baseline = findings(&mut superuser.transaction().unwrap());
    assert!(baseline.iter().all(|[_, severity, ..]| severity == "note"), "{baseline:?}");
}

/// What looks like a bad example and is none: other people's names, reads for everybody, what no request reaches.
#[test]
fn what_only_looks_bad_is_not_found() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let mut superuser = database.superuser();
    superuser.batch_execute(APP).unwrap();
    for harmless in [
        "alter table app.notes add \"current_setting(x)\" text;
        create policy p on app.notes for select using (\"current_setting(x)\" = 'current_setting(''request.headers'')')",
        "create function app.current_setting(text) returns text language sql as 'select $1';
        create policy p on app.notes for select using (app.current_setting('a') = body)",
        "alter table app.notes add user_metadata_of_mine text; create policy p on app.notes using (user_metadata_of_mine = '')",
        "create policy p on app.notes for select using (true)",
        "create policy p on app.notes to service_role using (true)",
        "create policy p on app.notes as restrictive for delete using (true)",
        "create table app.shared (id int); alter table app.shared enable row level security; grant select on app.shared to anon;
        create policy p on app.shared for select using (true)",
        "grant all on app.hidden to service_role",
        "create schema inner_life; create table inner_life.t (); grant all on inner_life.t to anon",
        "create temporary table t (id int); grant all on t to public",
        "create view app.all_notes as select * from app.notes",
        "create role of_doctor login superuser in role anon, service_role",
        "create role of_doctor in role anon, service_role",
        "create function app.f() returns int language sql security definer as 'select 1'; revoke execute on function app.f() from public",
        "alter role app set auth.session_identity = off",
        "insert into auth.audit_log (id, slot, event_type, success) values (gen_random_uuid(), 0, 'test', true)",
    ] {
        let mut transaction = superuser.transaction().unwrap();
        let before = findings(&mut transaction);
        transaction.batch_execute(harmless).unwrap_or_else(|error| panic!("{harmless}: {:?}", error.as_db_error()));
        assert_eq!(findings(&mut transaction), before, "{harmless}");
        transaction.rollback().unwrap();
    }
}

/// Names with quotes, semicolons and line ends come out as SQL that means them: what the hint says is done to them and to
/// nothing else.
#[test]
fn hostile_names_are_quoted() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let mut superuser = database.superuser();
    superuser.batch_execute(APP).unwrap();
    let mut transaction = superuser.transaction().unwrap();
    let before = findings(&mut transaction);
    let name = |what: &str| format!("\"{what}\"\"'; drop table app.notes; --\n$$ %I %s\"");
    let (schema, table, view, policy, function, login) =
        (name("s"), name("t"), name("v"), name("p"), name("f"), name("l"));
    transaction
        .batch_execute(&format!(
            "create schema {schema}; grant usage on schema {schema} to anon;
            create table {schema}.{table} (id int); grant all on {schema}.{table} to anon;
            create policy {policy} on {schema}.{table} using (current_setting('a.b') = 'user_metadata');
            create view {schema}.{view} as select * from {schema}.{table}; grant select on {schema}.{view} to anon;
            create function {schema}.{function}() returns int language sql security definer as 'select 1';
            create role {login} login in role auth_owner, anon, service_role;
            alter role {login} set auth.allow_drop = on;
            set local search_path = {schema}, pg_temp, public"
        ))
        .unwrap();
    let found = findings(&mut transaction);
    let new: Vec<&[String; 4]> = found.difference(&before).collect();
    let objects: BTreeSet<&str> = new.iter().map(|row| row[2].as_str()).collect();
    let expected = [
        format!("table {schema}.{table}"),
        format!("policy {policy} on {schema}.{table}"),
        format!("view {schema}.{view}"),
        format!("function {schema}.{function}()"),
        format!("login {login}"),
        format!("role {login}"),
        format!("setting auth.allow_drop of role {login}"),
    ];
    assert_eq!(objects, expected.iter().map(String::as_str).collect());
    // What can be done as it stands.
    for [finding, _, _, hint] in new {
        let statement = match finding.as_str() {
            "view_passes_row_security" | "truncate_granted" | "auth_owner_has_members" => {
                hint.split_once(": ").unwrap().1
            }
            "table_without_row_security" => hint.split_once(": ").unwrap().1.split(", and create").next().unwrap(),
            "definer_without_search_path" => hint.split_once(": ").unwrap().1.split(", and qualify").next().unwrap(),
            _ => continue,
        };
        transaction.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}: {:?}", error.as_db_error()));
    }
    let left = findings(&mut transaction);
    let left: Vec<&str> = left.difference(&before).map(|row| row[0].as_str()).collect();
    assert_eq!(
        left,
        ["drop_allowed", "login_passes_row_security", "policy_reads_setting", "policy_reads_user_metadata"],
        "the others are repaired"
    );
    transaction.execute("select from app.notes", &[]).unwrap();
}

/// XJ22: releases with known faults are warned of, by the same floors as at installation, and auth needs no pgcrypto.
#[test]
fn outdated_servers_are_warned_of() {
    let database = Cluster::shared().database();
    let mut superuser = database.superuser();
    for (version, least) in [
        (150_019, Some("15.20")),
        (150_020, None),
        (160_000, None),
        (170_010, Some("17.11")),
        (170_011, None),
        (180_005, Some("18.6")),
        (180_006, None),
        (190_000, None),
    ] {
        let sql = "select object || ': ' || hint from auth.findings_in_server($1) where finding = 'server_is_outdated'";
        let found: Vec<String> = superuser.query(sql, &[&version]).unwrap().iter().map(|row| row.get(0)).collect();
        let told = found.first().is_some_and(|row| {
            row.starts_with(&format!("server {}.{}", version / 10_000, version % 10_000))
                && row.ends_with(least.unwrap_or("nothing"))
        });
        assert_eq!((told, found.len()), (least.is_some(), usize::from(least.is_some())), "{version}: {found:?}");
    }
    let floors = |script: &str| {
        script
            .split("case ")
            .find(|part| part.contains("150020"))
            .map(|part| part[part.find("when").unwrap()..].split(" end").next().unwrap().to_owned())
    };
    let installed = floors(include_str!("../src/schema/schema.sql"));
    assert!(installed.is_some());
    assert_eq!(floors(include_str!("../src/doctor/doctor.sql")), installed);
    let needed =
        "select coalesce(array_to_string(requires, ','), '') from pg_available_extension_versions where name = 'auth'";
    assert!(superuser.query(needed, &[]).unwrap().iter().all(|row| !row.get::<_, String>(0).contains("pgcrypto")));
}

/// N22, F189: settings of the server are judged, more strictly in production; an app as it should be, that of README.md and of
/// the main job, has no finding at all then, until events are lost.
#[test]
fn a_healthy_server_and_app_have_no_findings() {
    let cluster =
        Cluster::builder().setting("max_worker_processes", "2").setting("auth.trusted_proxies", " , proxy").start();
    let database = cluster.database();
    let (dev, production) = (
        [
            "warning proxies_are_trusted setting auth.trusted_proxies",
            "warning too_few_worker_processes setting max_worker_processes",
            "note environment_is_development setting environment",
            "note limits_are_off setting rate_limit_enabled",
            "note not_crash_safe setting fsync",
            "note not_crash_safe setting full_page_writes",
        ],
        [
            "error limits_are_off setting rate_limit_enabled",
            "error not_crash_safe setting fsync",
            "error not_crash_safe setting full_page_writes",
            "warning proxies_are_trusted setting auth.trusted_proxies",
            "warning too_few_worker_processes setting max_worker_processes",
        ],
    );
    configure(&database, object!({"rate_limit_enabled": false}));
    assert_eq!(told(&database), dev);
    configure(&database, object!({"environment": "production"}));
    assert_eq!(told(&database), production, "the worst first");

    configure(&database, object!({"rate_limit_enabled": true, "lockout_attempts": null}));
    for change in ["fsync = on", "full_page_writes = on", "max_worker_processes = 8", "auth.trusted_proxies = ' , '"] {
        cluster.maintain(&format!("alter system set {change}"));
    }
    cluster.restart();
    assert_eq!(told(&database), ["note too_few_worker_processes setting max_worker_processes"], "parallel queries");
    cluster.maintain("alter system set max_worker_processes = 11");
    cluster.restart();
    assert_eq!(told(&database), [""; 0]);

    let readme = include_str!("../README.md");
    let app = readme.split("-- as superuser\n").nth(1).unwrap().split("```").next().unwrap();
    let mut superuser = database.superuser();
    superuser.batch_execute(app).unwrap();
    superuser.batch_execute(include_str!("../examples/main-job.sql")).unwrap();
    auth_harness::sign_up(&mut database.app(), "ada@example.org", "correct horse battery");
    assert_eq!(told(&database), [""; 0]);
    // It takes no transaction id, and answers where nothing may be written.
    for mode in ["read write", "read only", "isolation level serializable, read only, deferrable"] {
        let mut admin = database.admin();
        admin.batch_execute(&format!("begin transaction {mode}")).unwrap();
        assert!(admin.query("select * from auth.doctor()", &[]).unwrap().is_empty(), "{mode}");
        let id: Option<String> = admin.query_one("select pg_current_xact_id_if_assigned()::text", &[]).unwrap().get(0);
        assert_eq!(id, None, "{mode}");
    }
    let standby = cluster.standby();
    cluster.wait_replay(&standby);
    assert!(standby.connect(database.name(), "admin").query("select * from auth.doctor()", &[]).unwrap().is_empty());

    lose_events(&database, &mut superuser);
    assert_eq!(told(&database), ["warning events_were_dropped function auth.guard_status()"]);
    cluster.restart();
    assert_eq!(told(&database), [""; 0]);
}

/// More refusals than the ring holds while the worker waits for a lock.
fn lose_events(database: &Database, superuser: &mut Client) {
    let mut sidecar = database.sidecar();
    assert_eq!(guess(&mut sidecar, "first@example.org"), "invalid_credentials");
    database.admin().execute("select auth.block_network('203.0.113.0/24')", &[]).unwrap();
    let mut holder = superuser.transaction().unwrap();
    holder.batch_execute("lock table auth.audit_log in access exclusive mode").unwrap();
    for number in 0..300 {
        let mut transaction = sidecar.transaction().unwrap();
        transaction.execute("select auth.set_request_context('203.0.113.7', null)", &[]).unwrap();
        assert_eq!(guess(&mut transaction, &format!("user{number}@example.org")), "network_blocked");
    }
    holder.rollback().unwrap();
    wait_until_happened(database, "code = 'network_blocked'", 256);
    wait_until("the events to be lost", || {
        json(&mut database.admin(), "select auth.guard_status()", &[])["events_dropped"] == 44
    });
}

/// Administrators ask, and nobody else; what it is made of is for nobody.
#[test]
fn only_administrators_may_ask() {
    let database = Cluster::shared().database();
    database.admin().query("select * from auth.doctor()", &[]).unwrap();
    for login in ["app", "service", "sidecar"] {
        let refusal = refused(database.connect(login).query("select * from auth.doctor()", &[]));
        assert_eq!(refusal.sqlstate, "42501", "{login}");
    }
    for role in ["anon", "authenticated"] {
        let mut app = database.app();
        app.batch_execute(&format!("set role {role}")).unwrap();
        assert_eq!(refused(app.query("select * from auth.doctor()", &[])).sqlstate, "42501", "{role}");
    }
    let mut service = database.service();
    service.batch_execute("set role service_role").unwrap();
    assert_eq!(refused(service.query("select * from auth.doctor()", &[])).sqlstate, "42501");
    for part in [
        "auth.findings_in_policies()",
        "auth.findings_in_relations()",
        "auth.findings_in_roles()",
        "auth.findings_in_settings()",
        "auth.findings_in_server(150000)",
        "auth.trusts_proxies()",
        "auth.dropped_events()",
        "auth.is_of_app(0, 0, 0)",
    ] {
        assert_eq!(refused(database.admin().query(&format!("select {part}"), &[])).sqlstate, "42501", "{part}");
    }
}
