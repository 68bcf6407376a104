//! What CREATE EXTENSION needs, refuses and leaves behind.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use auth_harness::{Cluster, Database, Refusal, acting, refused, sign_in, sign_up, wait_until};

use crate::golden::{MEMBERS, lines};

const PASSWORD: &str = "correct horse battery";
const GOOD: &str = "1 b25lIHJvb3Qga2V5IG9mIHRoZSBkdW1wIHRlc3RzISE=\n";

pub fn count(database: &Database, sql: &str) -> i64 {
    database.superuser().query_one(sql, &[]).unwrap().get(0)
}

/// Nothing of the extension is in the database, and none of its roles in the cluster.
#[track_caller]
pub fn assert_nothing_left(database: &Database, roles: i64) {
    let objects = "select count(*) from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
        where n.nspname = 'auth' or c.relname in ('users', 'signing_keys')";
    assert_eq!(count(database, objects), 0);
    assert_eq!(count(database, "select count(*) from pg_extension where extname = 'auth'"), 0);
    assert_eq!(count(database, "select count(*) from pg_event_trigger"), 0);
    let ours = "select count(*) from pg_roles
        where rolname in ('anon', 'authenticated', 'service_role', 'auth_owner', 'auth_admin', 'auth_sidecar')";
    assert_eq!(count(database, ours), roles);
}

/// N04, XJ3: without the library in shared_preload_libraries there is no extension, and the HINT is the line to write.
#[test]
fn not_preloaded_is_refused_with_the_line_to_write() {
    let cluster = Cluster::builder().preload(false).no_extension().start();
    let database = cluster.empty_database();
    let mut client = database.superuser();
    for statement in ["create extension auth", "load 'auth'", "create extension if not exists auth cascade"] {
        let refusal = refused(client.batch_execute(statement));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("55000", "not_preloaded"), "{statement}");
        assert!(refusal.hint.unwrap_or_default().contains("shared_preload_libraries = 'auth'"));
    }
    assert_nothing_left(&database, 0);
    // The line of the HINT, and what the setting of the keyring needs, are enough.
    cluster.maintain("alter system set shared_preload_libraries = 'auth'");
    cluster.restart();
    database.superuser().batch_execute("create extension auth; create role app login in role anon").unwrap();
    let refusal =
        refused(database.connect("app").query_one("select auth.sign_up('a@example.org', 'correct horse')", &[]));
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("55000", "root_key_missing"));
    assert!(refusal.hint.unwrap_or_default().contains("auth.root_key_file = '"));
}

/// XJ3: where the library is gone later, policies refuse instead of opening, and DDL that is not about us still works.
#[test]
fn without_the_library_policies_refuse_and_other_ddl_works() {
    let cluster = Cluster::start();
    let database = cluster.database();
    database
        .superuser()
        .batch_execute(
            "create table notes (owner_id uuid); insert into notes values (null); alter table notes enable row level security;
            create policy own on notes using (owner_id = auth.uid()); create policy guests on notes using (auth.uid() is null);
            grant select on notes to anon",
        )
        .unwrap();
    sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    cluster.maintain("alter system set shared_preload_libraries = 'auto_explain'");
    cluster.restart();
    let mut app = database.app();
    for statement in ["select * from notes", "select auth.uid()", "select auth.sign_in('ada@example.org', 'x')"] {
        app.batch_execute("set role anon").unwrap();
        let refusal = refused(app.query(statement, &[]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("55000", "not_preloaded"), "{statement}");
    }
    let mut client = database.superuser();
    client
        .batch_execute(
            "create table other (id int primary key, a text); create index on other (a); alter table other drop column a;
            create function f() returns int language sql as 'select 1'; drop function f(); drop table other;
            create schema s; grant select on notes to authenticated; create extension pg_trgm",
        )
        .unwrap();
    assert_eq!(refused(client.batch_execute("alter table auth.users add column a int")).code, "not_preloaded");
    // These could reach us by a cascade, and what would refuse that is in the library.
    for statement in ["drop extension auth cascade", "drop schema public cascade", "drop extension plpgsql cascade"] {
        assert_eq!(refused(client.batch_execute(statement)).code, "not_preloaded", "{statement}");
    }
    cluster.maintain("alter system reset shared_preload_libraries");
    cluster.restart();
    sign_in(&mut database.app(), "ada@example.org", PASSWORD);
}

/// N30, D7: a keyring file that is missing, that others can read, that a base backup would hold or that is no keyring is
/// refused with a way out; no message shows a byte of it.
#[test]
fn a_bad_keyring_file_is_refused_with_a_way_out() {
    let cluster = Cluster::builder().root_key(GOOD).start();
    let database = cluster.database();
    sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let path = cluster.root_key_path();
    let owner = std::fs::metadata(path).unwrap();
    let write = |path: &Path, contents: &[u8], mode: u32| {
        let _ = std::fs::remove_file(path);
        std::fs::write(path, contents).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
    };
    let ask =
        || -> Refusal { refused(database.app().query_one("select auth.sign_in('ada@example.org', $1)", &[&PASSWORD])) };
    let key = &GOOD[2..46];
    let check = |what: &str| {
        let refusal = ask();
        let told = (refusal.sqlstate.as_str(), refusal.code.as_str());
        assert_eq!(told, ("55000", "root_key_missing"), "{what}: {}", refusal.message);
        let hint = refusal.hint.unwrap_or_default();
        assert!(!hint.is_empty(), "{what}: no hint");
        assert!(
            !refusal.message.contains(&key[..12]) && !hint.contains(&key[..12]),
            "{what}: {} {hint}",
            refusal.message
        );
    };
    for mode in [0o640, 0o604, 0o660, 0o602, 0o777, 0o644] {
        write(path, GOOD.as_bytes(), mode);
        check(&format!("mode {mode:o}"));
    }
    for (what, contents) in [
        ("empty", String::new()),
        ("only a comment", "# key\n\n".to_owned()),
        ("no id", format!("{key}\n")),
        ("id zero", format!("0 {key}\n")),
        ("a negative id", format!("-1 {key}\n")),
        ("an id of more than 32 bits", format!("4294967296 {key}\n")),
        ("an id with a leading zero", format!("01 {key}\n")),
        ("a short key", "1 c2hvcnQ=\n".to_owned()),
        ("no base64", format!("1 {}\n", key.replace('b', "!"))),
        ("no padding", format!("1 {}\n", key.trim_end_matches('='))),
        ("the same id twice", format!("{GOOD}1 {}\n", key.replace('b', "c"))),
        ("a key of zeros", format!("1 {}=\n", "A".repeat(43))),
        ("rest on the line", format!("1 {key} current\n")),
        ("a good line and a bad one", format!("{GOOD}2 {key}x\n")),
    ] {
        write(path, contents.as_bytes(), 0o600);
        check(what);
    }
    write(path, b"1 \xff\xfe\0", 0o600);
    check("not text");
    std::fs::remove_file(path).unwrap();
    std::fs::create_dir(path).unwrap();
    check("a directory");
    std::fs::remove_dir(path).unwrap();
    check("no file");

    // Every base backup would hold a file inside the data directory, however it is named.
    let inside = cluster.data_dir().join("root.key");
    write(&inside, GOOD.as_bytes(), 0o600);
    symlink(&inside, path).unwrap();
    check("a link into the data directory");
    std::fs::remove_file(path).unwrap();
    let by_a_detour = format!("{}/../data/root.key", cluster.data_dir().display());
    for setting in [inside.display().to_string(), "root.key".to_owned(), by_a_detour, String::new()] {
        cluster.maintain(&format!("alter system set auth.root_key_file = '{setting}'"));
        cluster.maintain("select pg_reload_conf()");
        wait_until("the setting to be in force", || {
            let now = "select current_setting('auth.root_key_file')";
            database.superuser().query_one(now, &[]).unwrap().get::<_, String>(0) == setting
        });
        check(&format!("auth.root_key_file = '{setting}'"));
    }
    cluster.maintain("alter system reset auth.root_key_file");
    cluster.maintain("select pg_reload_conf()");
    wait_until("the setting to be in force", || ask().hint.unwrap_or_default().contains(&path.display().to_string()));

    // The command of the HINT makes a keyring, though not the one of this database.
    let hint = ask().hint.unwrap();
    let command = hint.split_once("user: ").unwrap().1.split(" and in postgresql.conf").next().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir("/").uid(owner.uid()).gid(owner.gid());
    assert!(shell.status().unwrap().success(), "{command}");
    assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(ask().code, "root_key_mismatch");
    let fresh = cluster.database();
    sign_up(&mut fresh.app(), "ada@example.org", PASSWORD);
    write(path, GOOD.as_bytes(), 0o600);
    sign_in(&mut database.app(), "ada@example.org", PASSWORD);
    // Identity needs no keyring: what a public key verifies goes on while an operator looks for the file.
    let person = sign_in(&mut database.app(), "ada@example.org", PASSWORD);
    std::fs::remove_file(path).unwrap();
    acting(&mut database.app(), &person.access_token, |transaction| {
        let uid: uuid::Uuid = transaction.query_one("select auth.uid()", &[]).unwrap().get(0);
        assert_eq!(uid, person.user_id);
    });
}

/// N04: a row that the script inserts would make the restore's COPY fail. And a second database of the cluster is as good
/// as the first, though logins are members of anon by now.
#[test]
fn the_script_inserts_no_row_and_a_second_database_works() {
    let database = Cluster::shared().empty_database();
    database.superuser().batch_execute("create extension auth; select auth.allow_client('app')").unwrap();
    let tables = lines(
        &mut database.superuser(),
        &format!(
            "with {MEMBERS} select c.oid::regclass::text from member as m
            join pg_class as c on m.classid = 'pg_class'::regclass and c.oid = m.objid where c.relkind in ('r', 'p')"
        ),
    );
    assert!(tables.lines().count() >= 14);
    for table in tables.lines() {
        assert_eq!(count(&database, &format!("select count(*) from {table}")), 0, "{table}");
    }
    sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    // What is signed in one database is nothing in another.
    let other = Cluster::shared().database();
    let person = sign_up(&mut other.app(), "ada@example.org", PASSWORD);
    let refusal = refused(database.app().query_one("select auth.verify_token($1)", &[&person.access_token]));
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("28000", "bad_jwt"));
    let refusal = refused(database.app().query_one("select auth.refresh($1)", &[&person.refresh_token]));
    assert_eq!(refusal.sqlstate, "28000");
}

/// XM3, XJ3: superusers install it, where the control file says and nowhere else.
#[test]
fn only_a_superuser_installs_it_and_in_no_schema_of_choice() {
    let database = Cluster::shared().empty_database();
    let login = format!("owner_of_{}", database.name());
    let mut client = database.superuser();
    client
        .batch_execute(&format!("create role {login} login; alter database {} owner to {login}", database.name()))
        .unwrap();
    assert_eq!(refused(database.connect(&login).batch_execute("create extension auth")).sqlstate, "42501");
    client.batch_execute("create schema mine").unwrap();
    for statement in ["create extension auth schema mine", "create extension auth schema public"] {
        refused(client.batch_execute(statement));
    }
    client.batch_execute("create extension auth").unwrap();
    refused(client.batch_execute("alter extension auth set schema mine"));
    let row = client.query_one("select extnamespace::regnamespace::text from pg_extension where extname = 'auth'", &[]);
    assert_eq!(row.unwrap().get::<_, String>(0), "pg_catalog", "a schema that no owner of a database can drop");
}

/// XJ11, XJ12, XJ13: a server with known faults is told at install; the check reads the number of the version.
#[test]
fn the_version_floor_warns_below_and_only_below() {
    let database = Cluster::shared().empty_database();
    let install = |sql: &str| {
        let mut command = Cluster::shared().command("psql");
        let output = command.args(["-X", "-q", "-d", database.name(), "-c", sql]).output().unwrap();
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = install("create extension auth");
    assert!(said.is_empty(), "an install on a good server says nothing: {said}");
    let query =
        "select setting || '/extension/auth--' || auth.version() || '.sql' from pg_config where name = 'SHAREDIR'";
    let path: String = database.superuser().query_one(query, &[]).unwrap().get(0);
    let script = std::fs::read_to_string(path.replace(".0.sql", ".sql")).unwrap();
    let block = script.split("do $floor$").nth(1).unwrap().split("$floor$;").next().unwrap();
    let version = "pg_catalog.current_setting('server_version_num')::integer";
    assert_eq!(block.matches(version).count(), 1);
    for (number, warned) in [
        (150_019, Some("15.20")),
        (150_020, None),
        (170_010, Some("17.11")),
        (170_011, None),
        (180_005, Some("18.6")),
        (180_006, None),
        (180_010, None),
    ] {
        let said = install(&format!("do $floor${}$floor$", block.replace(version, &number.to_string())));
        match warned {
            Some(floor) => assert!(said.contains("WARNING") && said.contains(floor), "{number}: {said}"),
            None => assert!(said.is_empty(), "{number}: {said}"),
        }
    }
}
