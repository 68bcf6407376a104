//! A disk that is full: nothing is half done, nothing acknowledged is lost, and what waited is written once there is room.

use auth_harness::{Client, Cluster, Database, json, rounds, sign_in, sign_up, wait_until};
use serde_json::Value;

use crate::fault_crowd::{call, one};
use crate::faults::quick;
use crate::refresh::{refreshed, refusal, standing};

const PASSWORD: &str = "correct horse battery";

fn failures(superuser: &mut Client, email: &str) -> i64 {
    one(
        superuser,
        "select coalesce(sum(count), 0) from auth.audit_log
        where event_type = 'login_failure' and code = 'invalid_credentials' and event_data ->> 'email' = $1",
        &[&email],
    )
}

/// Signs people up until the disk has no room for another; who was told that he has an account.
fn crowd_in(app: &mut Client, name: &str) -> Vec<String> {
    let mut acknowledged = Vec::new();
    loop {
        let email = format!("{name}{}@example.org", acknowledged.len());
        match call(app, "select auth.sign_up($1, $2)", &[&email, &PASSWORD]) {
            Ok(_) => acknowledged.push(email),
            Err(refusal) => {
                assert_eq!(refusal.sqlstate, "53100", "{email}: {refusal:?}");
                return acknowledged;
            }
        }
        assert!(acknowledged.len() < 20_000, "the disk never became full");
    }
}

/// Every account has its identity, its sessions and its audit rows, and nothing belongs to nobody.
fn nothing_is_half_done(database: &Database) {
    let mut superuser = database.superuser();
    let [users, identities, signups, strays]: [i64; 4] = [
        "select count(*) from auth.users",
        "select count(*) from auth.identities",
        "select count(*) from auth.audit_log where event_type = 'signup'",
        "select count(*) from auth.sessions as s where not exists (select from auth.users as u where u.id = s.user_id)",
    ]
    .map(|query| one(&mut superuser, query, &[]));
    assert_eq!((users, users, 0), (identities, signups, strays));
    let audit = json(&mut database.admin(), "select auth.verify_audit()", &[]);
    assert!(audit["broken"].is_null(), "{audit}");
}

/// N09: tables cannot grow. Sign-up and sign-in fail with 53100 and leave nothing; a replay and wrong guesses are either
/// acknowledged and durable, or say that they are not, and count all the same; nothing restarts. With room again all
/// that was acknowledged is there, and the events that waited are written.
#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let cluster = Cluster::builder().durable().finite_disk().start();
    let database = cluster.database();
    quick(&database);
    for round in 0..rounds(1, 20) {
        let mark = cluster.log_len();
        let (mut app, mut superuser) = (database.app(), database.superuser());
        let [victim, guessed, thief] = ["victim", "guessed", "thief"]
            .map(|name| sign_up(&mut app, &format!("{name}{round}@example.org"), PASSWORD));
        let newest = refreshed(&mut app, &thief.refresh_token);
        // So that only tables are in the way: the write-ahead log has a whole segment of room.
        superuser.batch_execute("checkpoint; select pg_switch_wal()").unwrap();
        cluster.fill_disk();
        let crowd = crowd_in(&mut app, &format!("crowd{round}-"));
        // Small rows find a place for a while; a large one does not.
        let large = serde_json::json!({"note": "x".repeat(6000)});
        let full = call(&mut app, "select auth.sign_up($1, $2, $3)", &[&"large@example.org", &PASSWORD, &large]);
        assert_eq!(full.unwrap_err().sqlstate, "53100");
        let entered = (0..200)
            .map(|_| call(&mut app, "select auth.sign_in($1, $2)", &[&victim.email, &PASSWORD]))
            .take_while(|answer| match answer {
                Ok(_) => true,
                Err(refusal) => {
                    assert_eq!(refusal.sqlstate, "53100", "{refusal:?}");
                    false
                }
            })
            .count();
        let mut acknowledged = 0;
        for _ in 0..5 {
            let refusal = call(&mut app, "select auth.sign_in($1, 'wrong')", &[&guessed.email]).unwrap_err();
            match refusal.code.as_str() {
                "invalid_credentials" => acknowledged += 1,
                other => assert_eq!(other, "worker_unavailable", "{refusal:?}"),
            }
        }
        assert!(failures(&mut superuser, &guessed.email) >= acknowledged, "what was acknowledged is written");
        let right = call(&mut app, "select auth.sign_in($1, $2)", &[&guessed.email, &PASSWORD]).unwrap_err();
        assert_eq!(right.code, "account_locked", "the counters hold");
        let replayed = refusal(&mut app, &thief.refresh_token);
        if replayed == "refresh_token_already_used" {
            assert_eq!(standing(&mut app, &thief).as_deref(), Some("session_not_found"));
        } else {
            assert_eq!(replayed, "worker_unavailable");
        }
        nothing_is_half_done(&database);

        cluster.free_disk();
        wait_until("the guesses that waited", || failures(&mut superuser, &guessed.email) == 5);
        wait_until("the revocation that waited", || standing(&mut app, &thief).as_deref() == Some("session_not_found"));
        assert_eq!(refusal(&mut app, &newest), "session_not_found");
        let right = call(&mut app, "select auth.sign_in($1, $2)", &[&guessed.email, &PASSWORD]).unwrap_err();
        assert_eq!(right.code, "account_locked");
        for email in crowd.iter().step_by(1 + crowd.len() / 20) {
            sign_in(&mut app, email, PASSWORD);
        }
        assert_eq!(standing(&mut app, &victim), None);
        let sessions: i64 =
            one(&mut superuser, "select count(*) from auth.sessions where user_id = $1", &[&victim.user_id]);
        assert_eq!(sessions, entered as i64 + 1);
        let found: i64 = one(&mut superuser, "select count(*) from auth.users where email = any ($1)", &[&crowd]);
        assert_eq!(found, crowd.len() as i64);
        nothing_is_half_done(&database);
        let status: Value = json(&mut database.admin(), "select auth.guard_status()", &[]);
        assert_eq!(status["events_dropped"], 0, "{status}");
        for word in ["PANIC", "terminated by signal"] {
            assert!(!cluster.log_since(mark).contains(word), "a full disk restarts nothing");
        }
    }
}

/// N09: the write-ahead log itself has no room, for which PostgreSQL knows nothing but to stop. Once there is room it comes up
/// again, and everybody who was told so has an account; the locked account is locked.
#[test]
fn a_full_log_stops_the_server_and_loses_nothing() {
    let cluster = Cluster::builder()
        .durable()
        .finite_disk()
        .initdb_arg("--wal-segsize=1")
        .setting("min_wal_size", "2MB")
        .setting("wal_recycle", "off")
        .setting("wal_init_zero", "on")
        .start();
    let database = cluster.database();
    quick(&database);
    let mut app = database.app();
    let guessed = sign_up(&mut app, "guessed@example.org", PASSWORD);
    for _ in 0..5 {
        let refusal = call(&mut app, "select auth.sign_in($1, 'wrong')", &[&guessed.email]).unwrap_err();
        assert_eq!(refusal.code, "invalid_credentials");
    }
    let mark = cluster.log_len();
    cluster.fill_disk();
    let mut acknowledged = Vec::new();
    loop {
        let email = format!("user{}@example.org", acknowledged.len());
        match app.query_one("select auth.sign_in($1, $2), auth.sign_up($3, $2)", &[&guessed.email, &PASSWORD, &email]) {
            Ok(_) => panic!("the locked account was let in"),
            Err(error) if error.as_db_error().is_none_or(|error| error.code().code().starts_with("57P")) => break,
            Err(_) => {}
        }
        match app.query_one("select auth.sign_up($1, $2)", &[&email, &PASSWORD]) {
            Ok(_) => acknowledged.push(email),
            // A table is full before the log is; other work still fills it.
            Err(error) if error.as_db_error().is_some_and(|error| error.code().code() == "53100") => {
                if database
                    .cluster()
                    .try_connect(database.name(), "postgres", "")
                    .and_then(|mut client| {
                        client.batch_execute("select pg_logical_emit_message(false, 'x', repeat('x', 200000))")
                    })
                    .is_err()
                {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    wait_until("PostgreSQL to stop", || cluster.log_since(mark).contains("No space left on device"));
    cluster.free_disk();
    wait_until("the server to come up again", || {
        cluster.try_connect(database.name(), "app", "").is_ok_and(|mut client| client.batch_execute("select 1").is_ok())
            || cluster.postmaster().is_none_or(|process| !auth_harness::running(process))
    });
    if cluster.postmaster().is_none_or(|process| !auth_harness::running(process)) {
        cluster.stop_fast();
        cluster.start_again();
    }
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let found: i64 = one(&mut superuser, "select count(*) from auth.users where email = any ($1)", &[&acknowledged]);
    assert_eq!(found, acknowledged.len() as i64);
    let right = call(&mut app, "select auth.sign_in($1, $2)", &[&guessed.email, &PASSWORD]).unwrap_err();
    assert_eq!(right.code, "account_locked");
    sign_up(&mut app, "after@example.org", PASSWORD);
    nothing_is_half_done(&database);
}
