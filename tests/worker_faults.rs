//! The worker where the server itself is in trouble: killed, stopped, short of processes, a standby, promoted.

use std::sync::atomic::{AtomicBool, Ordering};

use auth_harness::{Cluster, json, refused, running, sign_in, sign_up, wait_until};
use serde_json::json as object;

use crate::audit::{configure, guess, happened, wait_until_happened};
use crate::minting::{PASSWORD, count};
use crate::worker::{process, signal, status, unlimited, workers};

/// N17, N15: the server's restart after a SIGKILL of the worker keeps what was acknowledged, and who was locked out still is.
#[test]
fn a_killed_worker_costs_nothing_that_was_acknowledged() {
    let cluster = Cluster::builder().durable().start();
    let database = cluster.database();
    configure(&database, object!({"lockout_attempts": 3}));
    let mut app = database.app();
    for _ in 0..3 {
        assert_eq!(guess(&mut app, "locked@example.org"), "invalid_credentials");
    }
    for _ in 0..2 {
        assert_eq!(guess(&mut app, "nearly@example.org"), "invalid_credentials");
    }
    wait_until("the worker", || {
        // It may be about to leave: whoever asks again has another one.
        guess(&mut app, "locked@example.org");
        process(&cluster, "auth worker").is_some()
    });
    let (mark, worker) = (cluster.log_len(), process(&cluster, "auth worker"));
    signal(worker.expect("the worker is still there"), "-KILL");
    wait_until("the server to recover", || {
        cluster.log_since(mark).contains("database system is ready to accept connections")
    });
    wait_until("the server to let clients in", || cluster.try_connect(database.name(), "app", "").is_ok());
    let mut app = database.app();
    assert_eq!(happened(&mut database.superuser(), "code = 'invalid_credentials'"), 5);
    assert_eq!(happened(&mut database.superuser(), "event_type = 'account_locked'"), 1);
    assert_eq!(guess(&mut app, "locked@example.org"), "account_locked");
    assert_eq!(guess(&mut app, "nearly@example.org"), "invalid_credentials");
    assert_eq!(guess(&mut app, "nearly@example.org"), "account_locked");
    assert_eq!(guess(&mut app, "stranger@example.org"), "invalid_credentials");
    assert_eq!(happened(&mut database.superuser(), "code = 'invalid_credentials'"), 7);
}

/// N15, N17: where no worker can be started, a wrong guess is refused as an outage after a moment, the lock bites in memory
/// all the same, from every connection, right passwords still get in, and the log is told once and not each time.
#[test]
fn without_a_worker_limits_hold_and_the_log_is_short() {
    let cluster = Cluster::start();
    let database = cluster.database();
    configure(&database, object!({"lockout_attempts": 5}));
    let eve = sign_up(&mut database.app(), "eve@example.org", PASSWORD);
    // The launcher takes the only place.
    for setting in ["max_worker_processes = 1", "max_logical_replication_workers = 0"] {
        cluster.maintain(&format!("alter system set {setting}"));
    }
    let mark = cluster.log_len();
    cluster.restart();
    assert!(process(&cluster, "auth launcher").is_some());
    let mut codes = Vec::new();
    for _ in 0..6 {
        let mut app = database.app();
        app.batch_execute("set statement_timeout = '20s'").unwrap();
        let refusal = refused(app.query_one("select auth.sign_in('ada@example.org', 'a wrong password')", &[]));
        assert_eq!(refusal.sqlstate, "53400");
        if refusal.code == "worker_unavailable" {
            assert!(refusal.hint.unwrap().contains("max_worker_processes"));
        }
        codes.push(refusal.code);
    }
    assert_eq!(codes[..5], ["worker_unavailable"; 5]);
    assert_eq!(codes[5], "account_locked");
    assert_eq!(sign_in(&mut database.app(), &eve.email, PASSWORD).user_id, eve.user_id);
    assert_eq!(status(&database)["events_written"], 0);
    assert!(status(&database)["events_waiting"].as_i64().unwrap() >= 6, "{}", status(&database));
    let complaints = cluster.log_since(mark).matches("raise max_worker_processes").count();
    assert!((1..=2).contains(&complaints), "{complaints}");
    assert!(cluster.log_since(mark).lines().count() < 60, "{}", cluster.log_since(mark));

    // With room for it, what the memory forgot is not made up, and all is well.
    cluster.maintain("alter system reset max_worker_processes");
    cluster.restart();
    assert_eq!(guess(&mut database.app(), "ada@example.org"), "invalid_credentials");
}

/// N17: a fast shutdown under load comes to its end, and after the restart what was acknowledged is there, once.
#[test]
fn a_shutdown_under_load_keeps_what_was_acknowledged() {
    let cluster = Cluster::start();
    let database = cluster.database();
    unlimited(&database);
    let enough = AtomicBool::new(false);
    let answered: Vec<String> = std::thread::scope(|scope| {
        let guessing: Vec<_> = (0..3)
            .map(|thread| {
                let (mut app, enough) = (database.app(), &enough);
                scope.spawn(move || {
                    let mut answered = Vec::new();
                    for number in 0.. {
                        let email = format!("user{thread}-{number}@example.org");
                        let said = app.query_one("select auth.sign_in($1, 'a wrong password')", &[&email]);
                        let refusal = said.expect_err("a wrong password");
                        match refusal.as_db_error().and_then(|error| error.detail()) {
                            Some("invalid_credentials") => answered.push(email),
                            Some("worker_unavailable") => {}
                            _ => break,
                        }
                        if answered.len() == 5 {
                            enough.store(true, Ordering::Relaxed);
                        }
                    }
                    answered
                })
            })
            .collect();
        wait_until("some answers", || enough.load(Ordering::Relaxed));
        cluster.stop_fast();
        guessing.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answered.len() >= 5, "{}", answered.len());
    cluster.start_again();
    let mut superuser = database.superuser();
    let written = "select event_data ->> 'email' from auth.audit_log where code = 'invalid_credentials'";
    let mut written: Vec<String> = superuser.query(written, &[]).unwrap().into_iter().map(|row| row.get(0)).collect();
    let rows = written.len();
    written.sort();
    written.dedup();
    assert_eq!(written.len(), rows, "none twice");
    let lost: Vec<&String> = answered.iter().filter(|email| written.binary_search(email).is_err()).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(guess(&mut database.app(), "after@example.org"), "invalid_credentials");
}

/// N24, N15: on a standby nothing of the worker runs, a guess is refused before it is counted, and what was refused there is
/// not written after its promotion; then the counters are those of the audit.
#[test]
fn a_promoted_standby_goes_on_where_the_primary_was() {
    let primary = Cluster::start();
    let database = primary.database();
    configure(&database, object!({"lockout_attempts": 3}));
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    for (email, guesses) in [("locked@example.org", 3), ("nearly@example.org", 2)] {
        for _ in 0..guesses {
            assert_eq!(guess(&mut database.app(), email), "invalid_credentials");
        }
    }
    let standby = primary.standby();
    primary.wait_replay(&standby);
    let name = database.name();
    let mut app = standby.connect(name, "app");
    for email in ["nearly@example.org", "locked@example.org", "ada@example.org", "new@example.org"] {
        for _ in 0..3 {
            let refusal = refused(app.query_one("select auth.sign_in($1, 'a wrong password')", &[&email]));
            assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("25006", "read_only_replica"), "{email}");
        }
    }
    assert_eq!((process(&standby, "auth launcher"), process(&standby, "auth worker")), (None, None));
    let waiting =
        json(&mut standby.connect(name, "admin"), "select auth.guard_status()", &[])["events_waiting"].clone();
    assert_eq!(waiting, 0);
    let all = "select coalesce(sum(count), 0)::bigint from auth.audit_log";
    let before = count(&mut standby.connect(name, "postgres"), all);
    primary.stop_fast();
    standby.promote();
    wait_until("the launcher", || process(&standby, "auth launcher").is_some_and(running));

    let mut app = standby.connect(name, "app");
    assert_eq!(guess(&mut app, "locked@example.org"), "account_locked");
    assert_eq!(guess(&mut app, "nearly@example.org"), "invalid_credentials");
    assert_eq!(guess(&mut app, "nearly@example.org"), "account_locked");
    for _ in 0..3 {
        assert_eq!(guess(&mut app, "new@example.org"), "invalid_credentials", "nothing was counted on the standby");
    }
    assert_eq!(sign_in(&mut app, &ada.email, PASSWORD).user_id, ada.user_id);
    // Seven guesses, two locks that they brought, one success.
    let mut superuser = standby.connect(name, "postgres");
    wait_until("every row", || count(&mut superuser, all) >= before + 9);
    wait_until("every event", || {
        json(&mut standby.connect(name, "admin"), "select auth.guard_status()", &[])["events_waiting"] == 0
    });
    assert_eq!(count(&mut superuser, all), before + 9);
}

/// XI8: nothing is announced by NOTIFY, to which any role may listen: not by facts, not by refusals, not by the worker.
#[test]
fn nothing_is_notified() {
    let database = Cluster::shared().database();
    unlimited(&database);
    let channels = [
        "auth",
        "auth_events",
        "auth_audit",
        "audit_log",
        "auth_outbox",
        "outbox",
        "auth_worker",
        "worker",
        "auth_mail",
        "mail",
        "pgrst",
        "auth.audit_log",
        "auth.outbox",
        "auth_sessions",
        "auth_users",
        "events",
    ];
    let mut script: String = channels.iter().map(|channel| format!("listen \"{channel}\";\n")).collect();
    script += "listen control;
        select auth.sign_up('ada@example.org', 'correct horse battery') is null;
        select auth.sign_in('ada@example.org', 'correct horse battery') is null;
        select auth.sign_in('ada@example.org', 'a wrong password');
        select auth.sign_in('nobody@example.org', 'a wrong password');
        notify control, 'heard';
        select 1;";
    let file = database.cluster().socket_dir().join("listen.sql");
    std::fs::write(&file, script).unwrap();
    let mut psql = database.cluster().command("psql");
    psql.args(["-X", "-q", "-U", "app", "-d", database.name(), "-f"]).arg(&file);
    let said = String::from_utf8(psql.output().unwrap().stdout).unwrap();
    let heard: Vec<&str> = said.lines().filter(|line| line.contains("notification")).collect();
    assert_eq!(heard.len(), 1, "{said}");
    assert!(heard[0].contains("\"control\" with payload \"heard\""), "{heard:?}");
    wait_until_happened(&database, "event_type = 'login_failure'", 2);
    wait_until("the worker to leave", || workers(&database) == 0);

    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let (mut directories, mut files) = (vec![root.join("src"), root.join("core/src"), root.join("sql")], 0);
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            files += 1;
            let text = std::fs::read_to_string(&path).unwrap().to_lowercase();
            // Couriers are woken by an empty one; listeners hear ids, where that is switched on.
            for (at, call) in text.match_indices("pg_notify(") {
                let payload = &text[at + call.len()..];
                let is_harmless = payload.starts_with("'auth_outbox', '')")
                    || (path.ends_with("announce.rs") && payload.starts_with("'auth_events', $1)"));
                assert!(is_harmless, "{}", path.display());
            }
            assert!(!text.contains("async_notify"), "{}", path.display());
        }
    }
    assert!(files > 50, "{files}");
}

/// N17, F150: an event that its table does not take is given up, alone: whoever waited for it is refused and not told that it
/// is durable, and those that came with it are written.
#[test]
fn what_cannot_be_written_is_not_acknowledged() {
    let database = Cluster::shared().database();
    unlimited(&database);
    assert_eq!(guess(&mut database.app(), "first@example.org"), "invalid_credentials");
    let mut superuser = database.superuser();
    // Behind the DDL guard's back, as no user can be.
    superuser
        .batch_execute(
            "set session_replication_role = replica;
            alter table auth.audit_log add constraint planted
                check (coalesce(event_data ->> 'email', '') <> 'poison@example.org');
            reset session_replication_role",
        )
        .unwrap();
    assert_eq!(guess(&mut database.app(), "poison@example.org"), "worker_unavailable");
    assert_eq!(status(&database)["events_dropped"], 1);
    // Three in one batch, the middle one of which is bad.
    let mut holder = superuser.transaction().unwrap();
    holder.batch_execute("lock table auth.audit_log in exclusive mode").unwrap();
    let answers = std::thread::scope(|scope| {
        let mut waiting = Vec::new();
        for (number, name) in ["before", "poison", "after"].into_iter().enumerate() {
            let database = &database;
            waiting.push(scope.spawn(move || guess(&mut database.app(), &format!("{name}@example.org"))));
            wait_until("it to wait", || status(database)["events_waiting"] == number + 1);
        }
        holder.rollback().unwrap();
        waiting.into_iter().map(|waiting| waiting.join().unwrap()).collect::<Vec<String>>()
    });
    // The lock may have lasted longer than a guess waits; the bad one is never acknowledged.
    assert_eq!(answers[1], "worker_unavailable", "{answers:?}");
    wait_until_happened(&database, "event_data ->> 'email' in ('before@example.org', 'after@example.org')", 2);
    let counts = status(&database);
    assert_eq!((&counts["events_waiting"], &counts["events_dropped"]), (&object!(0), &object!(2)));
}
