//! The harness itself: a test that leans on a broken one proves nothing.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use auth_harness::{
    Client, Cluster, acting, canary, claims, json, refused, running, sign_in, sign_up, storm, storm_with, wait_at_most,
    wait_until,
};

/// A cluster that does not even load the library.
fn plain() -> Cluster {
    Cluster::builder().preload(false).no_extension().start()
}

fn count(client: &mut Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).unwrap().get(0)
}

#[test]
fn a_cluster_is_gone_when_it_is_dropped() {
    let cluster = plain();
    let (directory, postmaster) = (cluster.socket_dir().to_owned(), cluster.postmaster().unwrap());
    assert!(directory.exists() && running(postmaster));
    drop(cluster);
    assert!(!directory.exists() && !running(postmaster));
}

#[test]
fn a_killed_test_process_leaves_no_server() {
    if std::env::var_os("AUTH_HARNESS_VICTIM").is_some() {
        // This is the process to be killed: it says where its server is and then waits.
        let cluster = plain();
        println!("postmaster {}", cluster.postmaster().unwrap());
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        return;
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "harness::a_killed_test_process_leaves_no_server", "--nocapture"])
        .env("AUTH_HARNESS_VICTIM", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let postmaster: u32 = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once("postmaster ")?.1.parse().ok())
        .expect("the victim names its postmaster");
    assert!(running(postmaster));
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_until("the orphaned server to end", || !running(postmaster));
}

#[test]
fn committed_rows_survive_a_kill_and_open_ones_do_not() {
    let cluster = Cluster::builder().preload(false).no_extension().durable().start();
    let database = cluster.empty_database();
    let mut client = database.superuser();
    client.batch_execute("create table kept (id int); insert into kept values (1)").unwrap();
    let mut open = client.transaction().unwrap();
    open.execute("insert into kept values (2)", &[]).unwrap();
    cluster.kill9();
    assert!(cluster.try_connect("postgres", "postgres", "").is_err());
    cluster.start_again();
    assert_eq!(count(&mut database.superuser(), "select count(*) from kept"), 1);
    cluster.restart();
    assert_eq!(count(&mut database.superuser(), "select count(*) from kept"), 1);
}

#[test]
fn a_database_is_fresh_and_dropped_while_somebody_is_connected() {
    let cluster = plain();
    let (first, second) = (cluster.empty_database(), cluster.empty_database());
    assert_ne!(first.name(), second.name());
    first.superuser().batch_execute("create table here ()").unwrap();
    assert_eq!(refused(second.superuser().execute("select from here", &[])).sqlstate, "42P01");
    let _lingering = first.superuser();
    let name = first.name().to_owned();
    drop(first);
    assert_eq!(refused(cluster.try_connect(&name, "postgres", "").map(drop)).sqlstate, "3D000");
}

#[test]
fn a_standby_follows_and_can_be_promoted() {
    let primary = plain();
    let database = primary.empty_database();
    database.superuser().batch_execute("create table t (id int); insert into t values (7)").unwrap();
    let standby = primary.standby();
    database.superuser().batch_execute("insert into t values (8)").unwrap();
    primary.wait_replay(&standby);
    let mut reader = standby.connect(database.name(), "postgres");
    assert_eq!(count(&mut reader, "select count(*) from t"), 2);
    assert_eq!(refused(reader.execute("insert into t values (9)", &[])).sqlstate, "25006");
    standby.promote();
    reader.execute("insert into t values (9)", &[]).unwrap();
    assert_eq!(count(&mut database.superuser(), "select count(*) from t"), 2);
}

#[test]
fn a_pool_hands_one_server_connection_to_many_clients() {
    let cluster = plain();
    let database = cluster.empty_database();
    let pool = cluster.pgbouncer(database.name(), "postgres", 1);
    let mut backends: Vec<i32> = storm_with(
        8,
        |index| pool.connect(&format!("client{index}")),
        |_, mut client| {
            let mut transaction = client.transaction().unwrap();
            let backend = transaction.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
            transaction.commit().unwrap();
            backend
        },
    );
    backends.dedup();
    assert_eq!(backends.len(), 1);
}

#[test]
fn a_storm_runs_everything_at_the_same_time() {
    // Each one waits for all of them: one after the other would never end.
    let arrived = AtomicUsize::new(0);
    let order = storm(16, |index| {
        arrived.fetch_add(1, Ordering::SeqCst);
        wait_until("all to arrive", || arrived.load(Ordering::SeqCst) == 16);
        index
    });
    assert_eq!(order, (0..16).collect::<Vec<_>>());
}

#[test]
#[should_panic(expected = "in vain for: the impossible")]
fn waiting_has_an_end() {
    wait_at_most(Duration::from_millis(20), "the impossible", || false);
}

#[test]
#[should_panic(expected = "not refused")]
fn an_answer_is_no_refusal() {
    refused::<u8>(Ok(1));
}

#[test]
fn a_refusal_has_all_its_parts() {
    let cluster = plain();
    let raise = "do $$ begin raise 'no' using errcode = '28P01', detail = 'a_code', hint = 'try'; end $$";
    let refusal = refused(cluster.connect("postgres", "postgres").batch_execute(raise));
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("28P01", "a_code"));
    assert_eq!((refusal.message.as_str(), refusal.hint.as_deref()), ("no", Some("try")));
}

#[test]
fn the_log_is_written_with_default_settings() {
    let cluster = plain();
    let mut client = cluster.connect("postgres", "postgres");
    let (before, failing, passing) = (canary(), canary(), canary());
    let _ = client.batch_execute(&format!("select {before}"));
    let mark = cluster.log_len();
    let _ = client.batch_execute(&format!("select {failing}"));
    client.batch_execute(&format!("select '{passing}'")).unwrap();
    let log = cluster.log_since(mark);
    assert!(log.contains(&failing) && log.contains("STATEMENT:"), "a failing statement is logged: {log}");
    assert!(!log.contains(&passing) && !log.contains(&before));
    assert!(cluster.log().contains(&before));
    let changed = count(
        &mut client,
        "select count(*) from pg_settings where category ~ '^Reporting and Logging / (When|What)'
            and source not in ('default', 'client') and name <> 'log_timezone'",
    );
    assert_eq!(changed, 0);
}

#[test]
fn programs_find_the_cluster() {
    let cluster = plain();
    let output = cluster.command("psql").args(["-XAtc", "select current_user", "postgres"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "postgres\n");
    let dump = cluster.command("pg_dump").arg("postgres").output().unwrap();
    assert!(dump.status.success());
}

#[test]
fn the_root_key_is_private_and_outside_the_data() {
    use std::os::unix::fs::MetadataExt;
    let cluster = plain();
    let (key, data) = (cluster.root_key_path(), std::fs::metadata(cluster.data_dir()).unwrap());
    let metadata = std::fs::metadata(key).unwrap();
    assert_eq!(metadata.mode() & 0o777, 0o600);
    assert_eq!(metadata.uid(), data.uid());
    assert!(!key.starts_with(cluster.data_dir()));
}

#[test]
fn the_logins_are_members_of_what_the_design_says() {
    let database = Cluster::shared().database();
    let rows = database
        .superuser()
        .query(
            "select member.rolname || ': ' || string_agg(granted.rolname, ', ' order by granted.rolname)
                || case when member.rolinherit then ' (inherit)' else '' end
            from pg_auth_members
                join pg_roles member on member.oid = pg_auth_members.member
                join pg_roles granted on granted.oid = pg_auth_members.roleid
            where member.rolname in ('app', 'service', 'admin', 'sidecar')
            group by member.rolname, member.rolinherit
            order by 1",
            &[],
        )
        .unwrap();
    let memberships: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        memberships,
        [
            "admin: auth_admin (inherit)",
            "app: anon, authenticated",
            "service: service_role",
            "sidecar: auth_sidecar (inherit)",
        ]
    );
}

#[test]
fn a_person_signs_up_signs_in_and_acts() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let person = sign_up(&mut app, "ada@example.org", "correct horse battery");
    assert_eq!(claims(&person.access_token)["sub"], person.user_id.to_string());
    let uid: uuid::Uuid =
        acting(&mut app, &person.access_token, |tx| tx.query_one("select auth.uid()", &[]).unwrap().get(0));
    assert_eq!(uid, person.user_id);
    let again = sign_in(&mut app, "ada@example.org", "correct horse battery");
    assert_eq!(again.user_id, person.user_id);
    assert_ne!(again.session_id, person.session_id);
    assert!(json(&mut app, "select to_jsonb(auth.uid())", &[]).is_null());
}
