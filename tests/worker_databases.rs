//! The worker and what is done to whole databases: it is never in the way, and comes back where it is still needed.

use auth_harness::{Cluster, Database, acting, refused, running, sign_up, wait_until};
use serde_json::json as object;

use crate::audit::{guess, happened};
use crate::minting::{PASSWORD, count};
use crate::worker::{process, status, unlimited, workers};

/// A database in which the worker is at work right now.
fn busy(cluster: &Cluster) -> Database {
    let database = cluster.database();
    unlimited(&database);
    touch(&database);
    database
}

fn touch(database: &Database) {
    assert_eq!(guess(&mut database.app(), "ada@example.org"), "invalid_credentials");
}

/// Nothing in the log but what belongs there.
#[track_caller]
fn assert_quiet(cluster: &Cluster, mark: usize) {
    let log = cluster.log_since(mark);
    let bad: Vec<&str> = log
        .lines()
        .filter(|line| ["FATAL", "PANIC", "does not exist", "drops", "cannot"].iter().any(|word| line.contains(word)))
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

/// N17: a database is renamed, moved, copied and dropped while its worker is there, which leaves for it; afterwards events
/// are written again, in the copy too, and the log has no complaint.
#[test]
fn the_worker_gives_way_to_the_database() {
    let cluster = Cluster::start();
    let tablespace = cluster.socket_dir().join("space");
    let made = cluster.server_command("/bin/mkdir").arg(&tablespace).status().unwrap();
    assert!(made.success(), "a directory of the server's user");
    cluster.maintain(&format!("create tablespace space location '{}'", tablespace.display()));
    let mark = cluster.log_len();
    let database = busy(&cluster);
    let name = database.name().to_owned();
    let mut guesses = 1;
    for round in 0..3 {
        for command in [
            format!("create database copy_of_{name}_{round} template {name}"),
            format!("alter database {name} set tablespace space"),
            format!("alter database {name} rename to {name}_new"),
            format!("alter database {name}_new rename to {name}"),
            format!("alter database {name} set tablespace pg_default"),
            format!("alter database {name} connection limit 50"),
        ] {
            cluster.maintain(&command);
            let now = if command.ends_with("_new") { format!("{name}_new") } else { name.clone() };
            let mut app = cluster.connect(&now, "app");
            assert_eq!(guess(&mut app, "ada@example.org"), "invalid_credentials", "after {command}");
            guesses += 1;
            drop(app);
            assert_eq!(happened(&mut cluster.connect(&now, "postgres"), "true"), guesses, "after {command}");
        }
        let copy = format!("copy_of_{name}_{round}");
        assert_eq!(guess(&mut cluster.connect(&copy, "app"), "ada@example.org"), "invalid_credentials");
        let rows = 2 + i64::from(round) * 6;
        assert_eq!(happened(&mut cluster.connect(&copy, "postgres"), "true"), rows, "the copy's and its own");
        cluster.maintain(&format!("drop database {copy}{}", if round == 1 { " with (force)" } else { "" }));
    }
    // Events that wait in a database that is dropped are nobody's; a new one begins at nothing.
    let mut app = cluster.connect(&name, "app");
    sign_up(&mut app, "bob@example.org", PASSWORD);
    drop(app);
    cluster.maintain(&format!("drop database {name}"));
    wait_until("no worker", || process(&cluster, "auth worker").is_none());
    let next = busy(&cluster);
    let counts = status(&next);
    assert!(counts["events_written"].as_i64().is_some_and(|written| (1..=2).contains(&written)), "{counts}");
    assert_eq!(counts["events_dropped"], 0);
    assert_quiet(&cluster, mark);
}

/// N17: a worker with nothing to do leaves by itself, and comes back for the next event.
#[test]
fn an_idle_worker_leaves() {
    let database = busy(Cluster::shared());
    for _ in 0..2 {
        wait_until("the worker to leave", || workers(&database) == 0);
        touch(&database);
    }
    let ada = sign_up(&mut database.app(), "bob@example.org", PASSWORD);
    wait_until("the worker to leave", || workers(&database) == 0);
    acting(&mut database.app(), &ada.access_token, |transaction| {
        transaction.execute("select auth.sign_out()", &[]).unwrap();
    });
    let mut superuser = database.superuser();
    let unsealed = "select count(*) from auth.audit_log where sequence is null";
    wait_until("the worker to seal the sign-out", || count(&mut superuser, unsealed) == 0);
}

/// N17: whoever has no right to drop, rename, move or copy a database does not send its worker away by trying: guesses are
/// answered, and recorded, as before.
#[test]
fn a_refused_command_sends_no_worker_away() {
    let database = busy(Cluster::shared());
    let name = database.name();
    let mut app = database.app();
    for command in [
        format!("drop database {name}"),
        format!("alter database {name} rename to mine"),
        format!("alter database {name} set tablespace pg_default"),
        format!("alter database {name} connection limit 1"),
        format!("create database mine template {name}"),
    ] {
        let other = Cluster::shared().try_connect("postgres", "app", "");
        for client in [Some(&mut app), other.ok().as_mut()].into_iter().flatten() {
            let sqlstate = refused(client.batch_execute(&command)).sqlstate;
            assert!(["42501", "55006"].contains(&sqlstate.as_str()), "{command}: {sqlstate}");
            assert_eq!(guess(&mut database.app(), "ada@example.org"), "invalid_credentials", "after {command}");
        }
    }
    // Inside a block it is refused too, whoever asks.
    let mut superuser = database.superuser();
    let mut transaction = superuser.transaction().unwrap();
    assert_eq!(refused(transaction.batch_execute(&format!("drop database {name}"))).sqlstate, "25001");
    drop(transaction);
    assert_eq!(guess(&mut app, "ada@example.org"), "invalid_credentials", "after a refused drop of the superuser");
}

/// N17: while one database is being dropped, which takes as long as somebody is connected, the events of others are
/// written as ever, and a guess that was answered has its row.
#[test]
fn a_drop_that_waits_loses_nothing_of_others() {
    let cluster = Cluster::start();
    let (dropped, other) = (busy(&cluster), cluster.database());
    wait_until("the worker to leave", || workers(&dropped) == 0);
    unlimited(&other);
    let connected = dropped.app();
    let mut superuser = other.superuser();
    std::thread::scope(|scope| {
        let mut operator = cluster.connect("postgres", "postgres");
        let pid: i32 = operator.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
        let dropping = scope.spawn({
            let sql = format!("drop database {}", dropped.name());
            move || operator.batch_execute(&sql)
        });
        let waits = "select count(*) from pg_stat_activity where pid = $1 and query like 'drop%' and state = 'active'";
        wait_until("the drop", || superuser.query_one(waits, &[&pid]).unwrap().get::<_, i64>(0) == 1);
        let mut holder = superuser.transaction().unwrap();
        holder.batch_execute("lock table auth.audit_log in row exclusive mode").unwrap();
        // Loaded before the lock is taken in earnest.
        assert_eq!(guess(&mut other.app(), "first@example.org"), "invalid_credentials");
        holder.batch_execute("lock table auth.audit_log in exclusive mode").unwrap();
        let guessing = scope.spawn(|| guess(&mut other.app(), "second@example.org"));
        wait_until("the guess to wait", || status(&other)["events_waiting"] == 1);
        drop(connected);
        dropping.join().unwrap().unwrap();
        let code = guessing.join().unwrap();
        let waiting = status(&other)["events_waiting"].clone();
        holder.rollback().unwrap();
        assert_eq!((code.as_str(), waiting), ("worker_unavailable", object!(1)), "it was not written yet");
    });
    wait_until("the second row", || happened(&mut superuser, "event_type = 'login_failure'") == 2);
    assert!(process(&cluster, "auth launcher").is_some_and(running));
}

/// N17: an extension that is dropped while events wait takes them along: the worker leaves, nothing crashes, the log has a
/// line and not a flood, and one that is made anew begins at nothing.
#[test]
fn a_dropped_extension_leaves_no_worker_behind() {
    let cluster = Cluster::start();
    let database = busy(&cluster);
    let mark = cluster.log_len();
    let mut superuser = database.superuser();
    let mut transaction = superuser.transaction().unwrap();
    transaction
        .batch_execute("set local auth.allow_drop = on; lock table auth.audit_log in access exclusive mode")
        .unwrap();
    assert_eq!(guess(&mut database.app(), "late@example.org"), "worker_unavailable");
    transaction.batch_execute("drop extension auth").unwrap();
    transaction.commit().unwrap();
    wait_until("the worker to leave", || workers(&database) == 0);
    superuser.batch_execute("create extension auth; select auth.allow_client('app')").unwrap();
    unlimited(&database);
    touch(&database);
    assert_eq!(happened(&mut superuser, "true"), 1, "only what happened since");
    let counts = status(&database);
    assert_eq!((&counts["events_waiting"], &counts["events_dropped"]), (&object!(0), &object!(1)));
    let log = cluster.log_since(mark);
    assert!(!log.contains("PANIC") && !log.contains("terminated by signal") && log.lines().count() < 30, "{log}");
}

/// N17: whoever has no right to a database does not keep its worker away either, by staying in the statement in which he was
/// refused.
#[test]
fn a_caught_refusal_keeps_no_worker_away() {
    let database = busy(Cluster::shared());
    let name = database.name();
    let mut other = Cluster::shared().connect("postgres", "app");
    let commands = [
        format!("drop database {name}"),
        format!("create database mine template {name}"),
        format!("alter database {name} rename to mine"),
    ];
    for command in commands {
        let script = format!(
            "set statement_timeout = 0;
            do $$ begin
                begin
                    execute '{command}';
                exception when others then null;
                end;
                perform pg_advisory_lock(17, 17);
            end $$"
        );
        let mut watcher = Cluster::shared().connect("postgres", "postgres");
        watcher.batch_execute("select pg_advisory_lock(17, 17)").unwrap();
        std::thread::scope(|scope| {
            let refused = scope.spawn(|| other.batch_execute(&script));
            let waits = "select from pg_locks where locktype = 'advisory' and classid = 17 and not granted";
            wait_until("the refused to stay", || watcher.query(waits, &[]).unwrap().len() == 1);
            let answers: Vec<String> =
                (0..3).map(|number| guess(&mut database.app(), &format!("{number}@example.org"))).collect();
            watcher.batch_execute("select pg_advisory_unlock(17, 17)").unwrap();
            refused.join().unwrap().unwrap();
            assert_eq!(answers, ["invalid_credentials"; 3], "{command}");
        });
        other.batch_execute("select pg_advisory_unlock_all()").unwrap();
    }
}
