//! From an earlier release to this one: by ALTER EXTENSION UPDATE, and by restoring that release's dump.
//!
//! `sql/auth--0.1.sql` and `tests/dumps/` are frozen: what they hold is out there in other people's databases.

use std::io::Write;
use std::process::Stdio;

use auth_harness::{Client, Cluster, json, refused, sign_in, sign_up};

/// Everything that the catalogs say about the objects of the extension, one line each.
const CATALOG: &str = "
    with member as (
        select d.classid, d.objid
        from pg_depend as d
        where d.refclassid = 'pg_extension'::regclass and d.deptype = 'e'
            and d.refobjid = (select oid from pg_extension where extname = 'auth')
    )
    select 'function ' || pg_get_functiondef(p.oid) || coalesce(p.proacl::text, '') || p.proowner::regrole::text
    from pg_proc as p join member on classid = 'pg_proc'::regclass and objid = p.oid
    union all
    select 'relation ' || c.relname || ' ' || c.relkind::text || coalesce(c.reloptions::text, '') || c.relowner::regrole::text
        || coalesce((select string_agg(a::text, ' ' order by a::text) from unnest(c.relacl) as a), '')
        || coalesce(pg_get_viewdef(c.oid), '')
    from pg_class as c join member on classid = 'pg_class'::regclass and objid = c.oid
    union all
    select 'column ' || c.relname || ' ' || a.attnum || ' ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
        || ' ' || a.attnotnull || ' ' || a.attgenerated::text || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
        || coalesce(a.attacl::text, '') || coalesce(col_description(c.oid, a.attnum), 'NO COMMENT')
    from pg_class as c join member on classid = 'pg_class'::regclass and objid = c.oid
    join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_attrdef as d on d.adrelid = c.oid and d.adnum = a.attnum
    union all
    select 'index ' || pg_get_indexdef(i.indexrelid)
    from pg_index as i join member on classid = 'pg_class'::regclass and objid = i.indrelid
    union all
    select 'constraint ' || k.conname || ' ' || pg_get_constraintdef(k.oid)
    from pg_constraint as k join member on classid = 'pg_class'::regclass and objid = k.conrelid
    union all
    select 'trigger ' || pg_get_triggerdef(t.oid)
    from pg_trigger as t join member on classid = 'pg_class'::regclass and objid = t.tgrelid
    where not t.tgisinternal
    union all
    select 'event trigger ' || e.evtname || ' ' || e.evtevent || ' ' || e.evtfoid::regproc || coalesce(e.evttags::text, '')
    from pg_event_trigger as e join member on classid = 'pg_event_trigger'::regclass and objid = e.oid
    union all
    select 'comment ' || pg_identify_object(member.classid, member.objid, 0)::text || ' '
        || coalesce(obj_description(member.objid, member.classid::regclass::name), 'none')
    from member
    union all
    select 'dumped ' || string_agg(x.config::regclass::text, ' ' order by x.config::regclass::text)
    from pg_extension, unnest(extconfig) as x (config) where extname = 'auth'
    order by 1";

fn catalog(client: &mut Client) -> Vec<String> {
    client.query(CATALOG, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

fn version(client: &mut Client) -> String {
    client.query_one("select extversion from pg_extension where extname = 'auth'", &[]).unwrap().get(0)
}

const PASSWORD: &str = "correct horse";

/// An account as the first release left it; its functions ask for the update.
fn early_user(superuser: &mut Client, email: &str) {
    superuser
        .execute(
            "insert into auth.users (email, encrypted_password)
            values ($1, '$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e')",
            &[&email],
        )
        .unwrap();
}

/// N39, F273, XM2: an upgraded database is the same as a fresh one, to the last comment and privilege; accounts, sessions
/// and keys go on; there is no way back down, and the guard does not stand in the upgrade's way.
#[test]
fn an_upgraded_database_equals_a_fresh_one() {
    let cluster = Cluster::shared();
    let old = cluster.empty_database();
    let mut superuser = old.superuser();
    superuser.batch_execute("create extension auth version '0.1'").unwrap();
    assert_eq!(version(&mut superuser), "0.1");
    early_user(&mut superuser, "early@example.com");
    let refusal = refused(superuser.execute("select auth.sign_in('early@example.com', 'x')", &[]));
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("55000", "update_needed"), "{refusal:?}");
    superuser.batch_execute("create table notes (owner_id uuid references auth.users (id) on delete cascade)").unwrap();
    superuser.execute("insert into notes select id from auth.users", &[]).unwrap();

    superuser.batch_execute("alter extension auth update").unwrap();

    assert_eq!(version(&mut superuser), "0.2");
    let new = cluster.empty_database();
    new.superuser().batch_execute("create extension auth").unwrap();
    let (upgraded, fresh) = (catalog(&mut superuser), catalog(&mut new.superuser()));
    let missing: Vec<_> = fresh.iter().filter(|line| !upgraded.contains(line)).collect();
    let extra: Vec<_> = upgraded.iter().filter(|line| !fresh.contains(line)).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing after the upgrade: {missing:#?}\nonly there: {extra:#?}");
    assert!(fresh.len() > 200, "the catalog query sees the extension");

    let person = sign_in(&mut superuser, "early@example.com", PASSWORD);
    json(&mut superuser, "select auth.refresh($1)", &[&person.refresh_token]);
    let library: String = superuser.query_one("select auth.version()", &[]).unwrap().get(0);
    assert!(library.starts_with("0.2"), "{library}");

    let down = refused(superuser.execute("alter extension auth update to '0.1'", &[]));
    assert_eq!(down.sqlstate, "22023", "there is no way down: {down:?}");
    assert_eq!(version(&mut superuser), "0.2");
}

/// N39: the upgrade is a transaction like any other.
#[test]
fn an_upgrade_rolls_back() {
    let database = Cluster::shared().empty_database();
    let mut superuser = database.superuser();
    superuser.batch_execute("create extension auth version '0.1'").unwrap();
    let before = catalog(&mut superuser);
    superuser.batch_execute("begin; alter extension auth update; rollback").unwrap();
    assert_eq!(version(&mut superuser), "0.1");
    assert_eq!(catalog(&mut superuser), before);
}

/// N03, N04, N39: a dump that the first release made is restored into this one, with the keyring of that day, and its
/// people sign in, its refresh tokens refresh, its access tokens' keys and its anon key still verify.
#[test]
fn a_dump_of_the_first_release_is_restored() {
    let dump = include_str!("dumps/auth-0.1.sql");
    let secrets: serde_json::Value = serde_json::from_str(include_str!("dumps/auth-0.1.json")).unwrap();
    let text = |name: &str| secrets[name].as_str().unwrap().to_string();
    let cluster = Cluster::builder().root_key(&text("keyring")).start();
    let database = cluster.empty_database();
    let mut psql = cluster
        .command("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database.name()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    psql.stdin.take().unwrap().write_all(dump.as_bytes()).unwrap();
    assert!(psql.wait().unwrap().success(), "the dump of 0.1 restores without an error");

    let mut superuser = database.superuser();
    assert_eq!(version(&mut superuser), "0.2");
    let person = sign_in(&mut superuser, &text("email"), &text("password"));
    assert_eq!(person.user_id.to_string(), text("user_id"));
    json(&mut superuser, "select auth.refresh($1)", &[&text("refresh_token")]);
    let key = json(&mut superuser, "select auth.verify_token($1)", &[&text("anon_key")]);
    assert_eq!(key["role"], "anon");
}

/// N39: privileges are set from scratch by an upgrade too, so an app's login is allowed again in the same transaction; pg_dump
/// then carries what it was granted.
#[test]
fn a_login_is_allowed_again_with_the_upgrade() {
    let cluster = Cluster::shared();
    let database = cluster.empty_database();
    let mut superuser = database.superuser();
    superuser.batch_execute("create extension auth version '0.1'; select auth.allow_client('app')").unwrap();
    early_user(&mut superuser, "a@example.com");

    superuser.batch_execute("begin; alter extension auth update; select auth.allow_client('app'); commit").unwrap();

    sign_in(&mut database.app(), "a@example.com", PASSWORD);
    let dump = cluster.command("pg_dump").args(["--schema-only", "-d", database.name()]).output().unwrap();
    let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
    assert!(dump.contains("GRANT ALL ON FUNCTION auth.sign_in") && dump.contains("TO app"), "{dump}");
}

/// N04, N39: pg_upgrade, which makes the members of an extension one by one, is let through by the guard, and loads the library
/// only to look at it. Accounts and sessions go on.
#[test]
fn pg_upgrade_keeps_everything() {
    let keyring = "1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
    let old = Cluster::builder().root_key(keyring).no_extension().start();
    let database = old.empty_database();
    let mut superuser = database.superuser();
    superuser
        .batch_execute(
            "create extension auth;
            create table notes (owner_id uuid not null default auth.uid() references auth.users (id), body text);
            alter table notes enable row level security;
            create policy own on notes using (owner_id = auth.uid())",
        )
        .unwrap();
    let person = sign_up(&mut superuser, "first@example.com", "correct horse battery");
    superuser.execute("insert into notes values ($1, 'kept')", &[&person.user_id]).unwrap();
    let name = database.name().to_owned();
    drop(superuser);
    // The database goes with the old cluster; here it must not be dropped from it.
    std::mem::forget(database);

    let new = Cluster::builder().root_key(keyring).no_extension().start();
    old.stop_fast();
    new.stop_fast();
    let programs = auth_harness::bin_directory();
    let output = new
        .server_command("pg_upgrade")
        .arg("-b")
        .arg(&programs)
        .arg("-B")
        .arg(&programs)
        .arg("-d")
        .arg(old.data_dir())
        .arg("-D")
        .arg(new.data_dir())
        .args(["-U", "postgres", "-s"])
        .arg(new.socket_dir())
        .args(["-p", &old.port().to_string(), "-P", &new.port().to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    new.start_again();

    let mut superuser = new.connect(&name, "postgres");
    sign_in(&mut superuser, "first@example.com", "correct horse battery");
    json(&mut superuser, "select auth.refresh($1)", &[&person.refresh_token]);
    let body: String =
        superuser.query_one("select body from notes join auth.users on id = owner_id", &[]).unwrap().get(0);
    assert_eq!(body, "kept");
    let guarded = refused(superuser.execute("alter table auth.users add column x int", &[]));
    assert_eq!(guarded.sqlstate, "42501");
}

/// XM2: the newest upgrade script ends as an install does: owners and privileges from scratch.
#[test]
fn an_upgrade_ends_like_an_install() {
    let upgrade = include_str!("../sql/auth--0.1--0.2.sql");
    let finalize = include_str!("../src/schema/finalize.sql");
    assert!(upgrade.ends_with(finalize), "src/schema/finalize.sql is the end of the newest upgrade script");
}
