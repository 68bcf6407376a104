//! The whole server killed again and again under load: what was acknowledged is there, what was ended stays ended.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use auth_harness::{Cluster, Database, Signal, json, rounds, signal, wait_until};
use serde_json::json as object;

use crate::fault_crowd::{Crowd, LIMIT, Memory, donors, one};
use crate::refresh::configure;

const CLIENTS: usize = 4;

/// Cheap hashes and no limits but the one that is looked at.
pub fn quick(database: &Database) {
    configure(
        database,
        object!({
            "argon2_memory_kib": 8, "argon2_iterations": 1, "rate_limit_database": null, "max_active_sessions": null,
            "lockout_attempts": LIMIT,
        }),
    );
}

/// Sends the crowd home where the test fails before the server does.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Lets a crowd in and strikes when it is busy; what its members were told by then.
fn struck(database: &Database, round: usize, strike: impl FnOnce()) -> Vec<Memory> {
    let (answered, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _over = Over(&is_over);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|index| {
                let is_careless = round % 2 == 1;
                let crowd = Crowd::new(
                    database,
                    format!("r{round}c{index}"),
                    (round * CLIENTS + index) as u64 + 1,
                    is_careless,
                );
                let (answered, is_over) = (&answered, &is_over);
                scope.spawn(move || crowd.run(answered, is_over))
            })
            .collect();
        let enough = 60 + round * 37 % 90;
        wait_until("the crowd to be busy", || {
            answered.load(Ordering::Relaxed) >= enough || clients.iter().any(|client| client.is_finished())
        });
        strike();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

/// Compares what a crowd was told with what is there, and the audit with itself.
fn compare(database: &Database, round: usize, crowd: Vec<Memory>) -> Vec<String> {
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let emails = crowd.into_iter().flat_map(|memory| memory.check(&mut app, &mut superuser)).collect();
    let audit = json(&mut database.admin(), "select auth.verify_audit()", &[]);
    assert!(audit["broken"].is_null(), "round {round}: {audit}");
    let [users, facts] = ["from auth.users", "from auth.audit_log where event_type = 'signup'"]
        .map(|from| one::<i64>(&mut superuser, &format!("select count(*) {from}"), &[]));
    assert_eq!(users, facts, "round {round}: as many accounts as the audit says");
    emails
}

/// N09, XD4, XD6: kill -9 of the whole server in the middle of sign-ups, sign-ins, refreshes, sign-outs, revocations, replays,
/// new passwords and wrong guesses, also with synchronous_commit off: nothing acknowledged is lost and nothing revoked lives.
#[test]
fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let cluster = Cluster::builder().durable().start();
    let database = cluster.database();
    quick(&database);
    donors(&mut database.app());
    let mut everybody = Vec::new();
    for round in 0..rounds(4, 200) {
        let crowd = struck(&database, round, || cluster.kill9());
        cluster.start_again();
        everybody.extend(compare(&database, round, crowd));
    }
    let found: i64 =
        one(&mut database.superuser(), "select count(*) from auth.users where email = any ($1)", &[&everybody]);
    assert_eq!(found, everybody.len() as i64, "everybody who was let in, in whatever round");
}

/// N09, XD4: kill -9 of one process, a client's backend, the worker or its launcher, after which the postmaster starts the
/// others anew: the same holds.
#[test]
fn nothing_acknowledged_is_lost_when_one_process_is_killed() {
    let cluster = Cluster::builder().durable().start();
    let database = cluster.database();
    quick(&database);
    donors(&mut database.app());
    let victims = ["postgres: app ", "postgres: auth worker", "postgres: auth launcher"];
    for (round, victim) in victims.iter().cycle().take(rounds(3, 60)).enumerate() {
        let mark = cluster.log_len();
        let crowd = struck(&database, round, || {
            let mut found = Vec::new();
            wait_until(&format!("a process, {victim}"), || {
                found = cluster.processes(victim);
                !found.is_empty()
            });
            signal(found[round % found.len()], Signal::SIGKILL);
        });
        wait_until("the server to recover", || {
            cluster.log_since(mark).contains("database system is ready to accept connections")
        });
        wait_until("the server to let clients in", || cluster.try_connect(database.name(), "app", "").is_ok());
        compare(&database, round, crowd);
    }
}
