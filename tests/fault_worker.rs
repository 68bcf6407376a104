//! The worker under attack and under bad settings: nobody without rights sends it away, and what it cannot write is not
//! acknowledged.

use auth_harness::{Client, Cluster, Database, refused, sign_up, wait_until};
use serde_json::json as object;

use crate::fault_crowd::{call, one};
use crate::faults::quick;
use crate::refresh::{configure, refreshed, refusal, standing};

const PASSWORD: &str = "correct horse battery";

fn wrong_guess(client: &mut Client, email: &str) -> String {
    call(client, "select auth.sign_in($1, 'a wrong guess')", &[&email]).expect_err("it was wrong").code
}

fn failures(database: &Database, email: &str) -> i64 {
    let mut superuser = database.superuser();
    superuser.batch_execute("set statement_timeout = 0; reset role; set role none").unwrap();
    one(
        &mut superuser,
        "select coalesce(sum(count), 0) from auth.audit_log
        where event_type = 'login_failure' and event_data ->> 'email' = $1",
        &[&email],
    )
}

/// N09, F150: a client who may not drop, rename, move or copy the database asks for it again and again. He is refused, and
/// neither the durable refusal of a guess nor the end that a replay brings is held up by it.
#[test]
fn a_refused_drop_does_not_send_the_worker_away() {
    let database = Cluster::shared().database();
    quick(&database);
    let mut app = database.app();
    let name = database.name();
    for (number, command) in [
        format!("drop database {name}"),
        format!("drop database {name} with (force)"),
        format!("alter database {name} rename to stolen"),
        format!("alter database {name} set tablespace pg_default"),
        format!("alter database {name} connection limit 5"),
        format!("create database copied template {name}"),
    ]
    .into_iter()
    .enumerate()
    {
        let person = sign_up(&mut app, &format!("user{number}@example.org"), PASSWORD);
        refreshed(&mut app, &person.refresh_token);
        // From his own database, from another one and in a transaction that cannot have it.
        for target in [name, "postgres"] {
            let mut attacker = database.cluster().connect(target, "app");
            refused(attacker.batch_execute(&command));
        }
        assert_eq!(wrong_guess(&mut app, &person.email), "invalid_credentials", "after {command}");
        assert_eq!(refusal(&mut app, &person.refresh_token), "refresh_token_already_used", "after {command}");
        assert_eq!(standing(&mut app, &person).as_deref(), Some("session_not_found"), "after {command}");
    }
}

/// N09, F150: settings that an operator gives the database or all its logins reach the worker too. None of them makes it say
/// that something is durable which it has not written.
#[test]
fn settings_of_the_database_do_not_stop_the_worker() {
    let mut wrong = Vec::new();
    let harmless = [
        "default_transaction_isolation = 'serializable'",
        "statement_timeout = '500ms'",
        "idle_in_transaction_session_timeout = '500ms'",
        "synchronous_commit = off",
        "session_replication_role = replica",
        "search_path = 'nowhere'",
        "datestyle = 'sql, dmy'",
        "intervalstyle = 'iso_8601'",
        "bytea_output = 'escape'",
        "timezone = 'Asia/Kolkata'",
        "standard_conforming_strings = off",
        "row_security = off",
        "role = 'anon'",
    ];
    for settings in [&["default_transaction_read_only = on"], &harmless[..]] {
        let database = Cluster::shared().database();
        quick(&database);
        let person = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
        refreshed(&mut database.app(), &person.refresh_token);
        // A worker that is here already would not see the setting.
        let mut superuser = database.superuser();
        wait_until("the worker to leave", || {
            one::<i64>(
                &mut superuser,
                "select count(*) from pg_stat_activity where backend_type = 'auth worker' and datname = current_database()",
                &[],
            ) == 0
        });
        for setting in settings {
            superuser.batch_execute(&format!("alter database {} set {setting}", database.name())).unwrap();
        }
        drop(superuser);
        let connect = || {
            let mut client = database.app();
            client
                .batch_execute(
                    "set default_transaction_read_only = off; set default_transaction_isolation = 'read committed';
                    set statement_timeout = 0; set idle_in_transaction_session_timeout = 0; reset role; set role none",
                )
                .unwrap();
            client
        };
        let mut app = connect();
        let codes = (wrong_guess(&mut app, &person.email), refusal(&mut app, &person.refresh_token));
        let standing = standing(&mut app, &person);
        let is_kept = standing.as_deref() == Some("session_not_found") && failures(&database, &person.email) == 1;
        if !is_kept || codes != ("invalid_credentials".to_owned(), "refresh_token_already_used".to_owned()) {
            wrong.push(format!("{settings:?}: {codes:?}, {standing:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// XC3: the longest address and the longest program name that are let in still make a refusal of the usual kind, in the audit.
#[test]
fn the_longest_facts_fit_into_an_event() {
    let database = Cluster::shared().database();
    quick(&database);
    let label = "a".repeat(62);
    let email = format!("{}@{label}.{label}.{}.org", "b".repeat(64), "c".repeat(59));
    assert_eq!(email.len(), 254);
    sign_up(&mut database.app(), &email, PASSWORD);
    let mut sidecar = database.sidecar();
    sidecar.batch_execute("begin").unwrap();
    // In JSON each of these is two bytes.
    sidecar.execute("select auth.set_request_context('2001:db8::1', $1)", &[&"\"".repeat(300)]).unwrap();
    let refusal = call(&mut sidecar, "select auth.sign_in($1, 'a wrong guess')", &[&email]).unwrap_err();
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("28P01", "invalid_credentials"));
    sidecar.batch_execute("rollback").unwrap();
    assert_eq!(failures(&database, &email), 1);
}

/// XC4, N09: an attempt that is cancelled while it waits for others to end leaves nothing behind in any counter: the network
/// that it came from is counted for what it tried and no more, and can sign in afterwards.
#[test]
fn a_cancelled_wait_leaves_nothing_open() {
    let database = Cluster::shared().database();
    quick(&database);
    configure(&database, object!({"lockout_attempts": 1, "rate_limit_login": "1/1"}));
    let person = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let mut holder = database.sidecar();
    holder.batch_execute("begin; select auth.set_request_context('192.0.2.1', 'x')").unwrap();
    assert!(call(&mut holder, "select auth.sign_in($1, $2)", &[&person.email, &PASSWORD]).is_ok());
    // The account's counter is at its limit with an attempt that may still be forgiven, so others wait.
    let mut waiting = database.sidecar();
    waiting.batch_execute("begin; select auth.set_request_context('198.51.100.1', 'x')").unwrap();
    waiting.batch_execute("set local statement_timeout = '300ms'").unwrap();
    let cancelled = call(&mut waiting, "select auth.sign_in($1, $2)", &[&person.email, &PASSWORD]).unwrap_err();
    assert_eq!(cancelled.sqlstate, "57014");
    drop(waiting);
    holder.batch_execute("commit").unwrap();
    // A second later nothing that was counted counts any more.
    wait_until("the victim to come in", || {
        let mut patient = database.sidecar();
        patient.batch_execute("begin; select auth.set_request_context('198.51.100.1', 'x')").unwrap();
        call(&mut patient, "select auth.sign_in($1, $2)", &[&person.email, &PASSWORD]).is_ok()
    });
}
