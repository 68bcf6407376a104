//! The limit on guesses as a new user would try it: in a transaction that is rolled back, from many connections, across a kill,
//! without a worker, in a crowd.

use auth_harness::{
    Cluster, Database, Signal, json, refused, rounds, sign_in, sign_up, signal, storm_with, wait_until,
};
use serde_json::json as object;

use crate::fault_crowd::{call, one};
use crate::faults::quick;
use crate::refresh::configure;

const PASSWORD: &str = "correct horse battery";
const EMAIL: &str = "ada@example.org";

/// The code word of a wrong guess.
fn guess(client: &mut impl auth_harness::GenericClient, email: &str) -> String {
    refused(client.query_one("select auth.sign_in($1, 'a wrong guess')", &[&email])).code
}

/// What somebody with the right password is told, on a connection of his own.
fn knock(database: &Database) -> Option<String> {
    call(&mut database.app(), "select auth.sign_in($1, $2)", &[&EMAIL, &PASSWORD]).err().map(|refusal| refusal.code)
}

fn failures(database: &Database, condition: &str) -> i64 {
    one(
        &mut database.superuser(),
        &format!(
            "select coalesce(sum(count), 0)::bigint from auth.audit_log where event_type = 'login_failure' and {condition}"
        ),
        &[],
    )
}

fn hashes(database: &Database) -> i64 {
    json(&mut database.admin(), "select auth.gate_status()", &[])["hashes"].as_i64().unwrap()
}

/// N09, XC2, XC3: five wrong guesses inside one transaction that is rolled back, and the sixth attempt is refused from another
/// connection although its password is right; the audit has five failures and one lock. Nobody else is locked.
#[test]
fn guesses_in_a_rolled_back_transaction_count() {
    let database = Cluster::shared().database();
    quick(&database);
    let mut app = database.app();
    sign_up(&mut app, EMAIL, PASSWORD);
    let other = sign_up(&mut app, "bob@example.org", PASSWORD);
    assert_eq!(knock(&database), None);
    let mut transaction = app.transaction().unwrap();
    for _ in 0..5 {
        let mut nested = transaction.transaction().unwrap();
        assert_eq!(guess(&mut nested, EMAIL), "invalid_credentials");
        nested.rollback().unwrap();
    }
    let mut nested = transaction.transaction().unwrap();
    assert_eq!(guess(&mut nested, EMAIL), "account_locked");
    nested.rollback().unwrap();
    transaction.rollback().unwrap();
    assert_eq!(knock(&database).as_deref(), Some("account_locked"));
    assert_eq!(failures(&database, "code = 'invalid_credentials'"), 5);
    assert_eq!(
        one::<i64>(
            &mut database.superuser(),
            "select count(*) from auth.audit_log where event_type = 'account_locked'",
            &[]
        ),
        1
    );
    sign_in(&mut app, &other.email, PASSWORD);
}

/// N09: a lock, and guesses that have not become one yet, outlive a kill -9 of the postmaster, again and again; a sign-in that
/// was committed has forgiven what was before it.
#[test]
fn guesses_outlive_a_kill() {
    let cluster = Cluster::builder().durable().start();
    let database = cluster.database();
    quick(&database);
    let mut app = database.app();
    for email in [EMAIL, "bob@example.org", "eve@example.org"] {
        sign_up(&mut app, email, PASSWORD);
    }
    for email in [EMAIL, "bob@example.org", "eve@example.org", "nobody@example.org"] {
        (0..3).for_each(|_| assert_eq!(guess(&mut app, email), "invalid_credentials"));
    }
    sign_in(&mut app, "eve@example.org", PASSWORD);
    cluster.kill9();
    cluster.start_again();
    let mut app = database.app();
    for email in [EMAIL, "nobody@example.org"] {
        (0..2).for_each(|_| assert_eq!(guess(&mut app, email), "invalid_credentials", "{email}"));
        assert_eq!(guess(&mut app, email), "account_locked", "{email}: three before the kill and two after it");
    }
    (0..4).for_each(|_| assert_eq!(guess(&mut app, "eve@example.org"), "invalid_credentials"));
    sign_in(&mut app, "eve@example.org", PASSWORD);
    sign_in(&mut app, "bob@example.org", PASSWORD);
    for _ in 0..rounds(2, 20) {
        cluster.kill9();
        cluster.start_again();
        assert_eq!(knock(&database).as_deref(), Some("account_locked"));
        let mut app = database.app();
        assert_eq!(guess(&mut app, "nobody@example.org"), "account_locked");
        sign_in(&mut app, "bob@example.org", PASSWORD);
    }
}

/// N09, XC1: sixty-four connections guess at once: exactly five guesses are looked at, all others are refused without a hash,
/// and so is the right password afterwards. The sum of the audit is the number of attempts.
#[test]
fn guesses_from_many_connections_are_five() {
    let cluster = Cluster::start();
    let database = cluster.database();
    quick(&database);
    sign_up(&mut database.app(), EMAIL, PASSWORD);
    for round in 0..rounds(2, 30) {
        database.admin().query_one("select auth.guard_reset($1)", &[&EMAIL]).unwrap();
        let (before, audited) = (hashes(&database), failures(&database, "true"));
        let codes = storm_with(
            64,
            |_| database.app(),
            |index, mut client| {
                let mut transaction = client.transaction().unwrap();
                let code = guess(&mut transaction, EMAIL);
                if index % 2 == 0 {
                    transaction.rollback().unwrap();
                }
                code
            },
        );
        let count = |code: &str| codes.iter().filter(|found| *found == code).count();
        assert_eq!(count("invalid_credentials") + count("worker_unavailable"), 5, "round {round}: {codes:?}");
        assert_eq!(count("account_locked"), 59, "round {round}: {codes:?}");
        assert_eq!(hashes(&database) - before, 5, "round {round}: no more than five were looked at");
        assert_eq!(knock(&database).as_deref(), Some("account_locked"));
        assert_eq!(hashes(&database) - before, 5, "round {round}");
        wait_until("the audit to have every attempt", || failures(&database, "true") - audited == 65);
        assert_eq!(failures(&database, "code = 'account_locked'"), 60 * (round as i64 + 1));
    }
}

/// Lets stopped processes go on, also where the test fails: nothing could end them otherwise.
struct Stopped(Vec<i32>);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.iter().for_each(|process| signal(*process, Signal::SIGCONT));
    }
}

/// N09: launcher and worker are stopped. The first five guesses are told that their refusal could not be written, and count
/// nevertheless: the sixth attempt is refused. Once the worker goes on, the audit has all of them.
#[test]
fn guesses_count_without_a_worker() {
    let cluster = Cluster::start();
    let database = cluster.database();
    quick(&database);
    let mut app = database.app();
    sign_up(&mut app, EMAIL, PASSWORD);
    for has_worker in [true, false] {
        let before = failures(&database, "true");
        let email = format!("bob{has_worker}@example.org");
        sign_up(&mut app, &email, PASSWORD);
        if has_worker {
            assert_eq!(guess(&mut app, "nobody@example.org"), "invalid_credentials");
        }
        // Once all is sealed the worker sleeps, or goes: stopped in the middle of something it might keep a lock for ever.
        let sealed = "select not exists (select from auth.audit_log where sequence is null)";
        let mut root = database.superuser();
        wait_until("the worker to have nothing to do", || root.query_one(sealed, &[]).unwrap().get(0));
        drop(root);
        if !has_worker {
            wait_until("the worker to leave", || cluster.processes("auth worker").is_empty());
        }
        let [launcher, worker] = ["auth launcher", "auth worker"].map(|title| cluster.processes(title));
        assert_eq!((launcher.len(), worker.len()), (1, usize::from(has_worker)));
        let stopped = Stopped([launcher, worker].concat());
        stopped.0.iter().for_each(|process| signal(*process, Signal::SIGSTOP));
        for number in 0..5 {
            assert_eq!(guess(&mut app, &email), "worker_unavailable", "guess {number}, worker: {has_worker}");
        }
        let right = call(&mut database.app(), "select auth.sign_in($1, $2)", &[&email, &PASSWORD]);
        assert_eq!(right.unwrap_err().code, "account_locked", "worker: {has_worker}");
        // Others come in as ever.
        sign_in(&mut app, EMAIL, PASSWORD);
        drop(stopped);
        let counted = format!("code = 'invalid_credentials' and event_data ->> 'email' = '{email}'");
        wait_until("the guesses to be written", || failures(&database, &counted) == 5);
        wait_until("the refusal to be written", || failures(&database, "true") - before == 6 + i64::from(has_worker));
    }
}

/// N09: every worker slot of the server is taken by others. Guesses are refused, not written and not forgotten.
#[test]
fn guesses_count_without_a_slot_for_the_worker() {
    // Our launcher and that of logical replication take the two there are.
    let cluster = Cluster::builder().setting("max_worker_processes", "2").start();
    let database = cluster.database();
    quick(&database);
    let mut app = database.app();
    sign_up(&mut app, EMAIL, PASSWORD);
    for number in 0..5 {
        let refusal = refused(app.query_one("select auth.sign_in($1, 'a wrong guess')", &[&EMAIL]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("53400", "worker_unavailable"), "{number}");
        assert!(refusal.hint.is_some_and(|hint| hint.contains("max_worker_processes")));
    }
    assert_eq!(knock(&database).as_deref(), Some("account_locked"));
    assert!(cluster.log().contains("raise max_worker_processes"));
    assert_eq!(failures(&database, "true"), 0);
}

/// N09, XC2: while thousands of other addresses are guessed at, many more than there are counters, the victim's four guesses
/// stay counted: one more is looked at, and then it is locked. The sum of the audit is the number of guesses.
#[test]
fn a_crowd_of_others_washes_nothing_out() {
    let cluster = Cluster::builder().setting("auth.guard_slots", "1024").start();
    let database = cluster.database();
    quick(&database);
    configure(&database, object!({"rate_limit_database": null}));
    let mut app = database.app();
    sign_up(&mut app, EMAIL, PASSWORD);
    (0..4).for_each(|_| assert_eq!(guess(&mut app, EMAIL), "invalid_credentials"));
    const CLIENTS: usize = 16;
    let each = rounds(200, 62_500);
    let told = storm_with(
        CLIENTS,
        |_| database.app(),
        |index, mut client| {
            (0..each)
                .filter(|number| {
                    guess(&mut client, &format!("other{index}-{number}@example.org")) == "invalid_credentials"
                })
                .count()
        },
    );
    let told = told.into_iter().sum::<usize>();
    assert_eq!(guess(&mut app, EMAIL), "invalid_credentials");
    assert_eq!(guess(&mut app, EMAIL), "account_locked");
    assert_eq!(knock(&database).as_deref(), Some("account_locked"));
    let others = "event_data ->> 'email' like 'other%'";
    wait_until("the audit to have everything", || failures(&database, others) == (CLIENTS * each) as i64);
    assert!(told * 10 >= CLIENTS * each * 9, "{told}: nearly all of them were told that they were wrong");
    assert_eq!(failures(&database, "code = 'invalid_credentials' and event_data ->> 'email' = 'ada@example.org'"), 5);
    let status = json(&mut database.admin(), "select auth.guard_status()", &[]);
    assert_eq!(status["events_dropped"], 0, "{status}");
}
