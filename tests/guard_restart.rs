//! What the guard remembers: after the server was killed, and while others fill its table.

use auth_harness::{Client, Cluster, Database, json, refused, sign_up, storm_with, wait_until};
use serde_json::json;

use crate::guard::{RIGHT, WRONG, audited, code, guarded, locked, total, wrong};
use crate::networks::{code_from, from};
use crate::refresh::configure;

/// As if the account had been locked for the last time so many minutes ago, this often in a row.
fn plant_locks(superuser: &mut Client, email: &str, locks: i32, minutes: i32) {
    superuser
        .execute(
            "insert into auth.audit_log (id, slot, event_type, success, event_data, created_at)
            select gen_random_uuid(), (date_part('year', at)::integer * 12 + date_part('month', at)::integer - 1) % 24,
                'account_locked', true, jsonb_build_object('subject', $1::text, 'seconds', 300, 'locks', $2::integer), at
            from (select clock_timestamp() - make_interval(mins => $3) as at) as t",
            &[&email, &locks, &minutes],
        )
        .unwrap();
}

/// F217, B070, B072, N09: after a kill -9 a lock goes on for about as long as it would have, three failures and two more are
/// five, what a sign-in or an administrator forgave stays forgiven, and a network stays blocked, for whoever comes first.
#[test]
fn a_kill_makes_nobody_forget() {
    let cluster = Cluster::start();
    let settings = json!({"rate_limit_network": "3/900", "rate_limit_database": null});
    let (database, second) = (guarded(&cluster, settings.clone()), guarded(&cluster, settings));
    let people = ["locked", "three", "forgiven", "reset", "rolled", "unforgiven", "untried"];
    let email = |name: &str| format!("{name}@example.org");
    let mut app = database.app();
    for name in people {
        sign_up(&mut app, &email(name), RIGHT);
    }
    for (name, times) in
        [("locked", 5), ("nobody", 5), ("three", 3), ("forgiven", 4), ("reset", 5), ("rolled", 4), ("unforgiven", 4)]
    {
        wrong(&mut app, &email(name), times);
    }
    assert_eq!(code(&mut app, &email("forgiven"), RIGHT), "session");
    database.admin().execute("select auth.guard_reset('reset@example.org')", &[]).unwrap();
    let mut transaction = app.transaction().unwrap();
    assert_eq!(code(&mut transaction, &email("rolled"), RIGHT), "session");
    transaction.rollback().unwrap();
    for (address, database) in [("192.0.2.1", &database), ("192.0.2.2", &database), ("192.0.2.1", &second)] {
        let mut sidecar = database.sidecar();
        for number in 0..3 {
            let email = format!("{address}.{number}@example.org");
            assert_eq!(code_from(&mut sidecar, address, &email, WRONG), "invalid_credentials");
        }
        assert_eq!(code_from(&mut sidecar, address, &email("untried"), RIGHT), "over_request_rate_limit");
    }
    database.admin().execute("select auth.guard_reset('192.0.2.2')", &[]).unwrap();
    for (name, locks, minutes) in
        [("one", 1, 6), ("two", 2, 6), ("three-locks", 3, 6), ("four", 4, 6), ("five", 5, 6), ("forgotten", 3, 1500)]
    {
        plant_locks(&mut database.superuser(), &email(name), locks, minutes);
    }
    // A transaction that is open when the server dies has forgiven nothing; its attempt is not in the audit.
    let mut open = database.app();
    open.batch_execute("begin").unwrap();
    assert_eq!(code(&mut open, &email("unforgiven"), RIGHT), "session");
    wait_until("what nobody waits for to be written", || {
        total(&audited(&database, "login_failure", &email("rolled"))) == 5
    });
    let before = locked(&mut app, &email("locked"));
    cluster.kill9();
    cluster.start_again();

    let answers = storm_with(
        12,
        |_| database.app(),
        |number, mut client| code(&mut client, &email(["locked", "nobody", "rolled"][number % 3]), RIGHT),
    );
    assert!(answers.iter().all(|answer| answer == "account_locked"), "{answers:?}");
    app = database.app();
    let mut sidecar = database.sidecar();
    let after = locked(&mut app, &email("locked"));
    assert!(after <= before && after > before - 300, "{after} of {before} seconds remain");
    wrong(&mut app, &email("three"), 2);
    locked(&mut app, &email("three"));
    // Unless its backend had the time to notice that the postmaster was gone.
    assert!(["invalid_credentials", "account_locked"].contains(&code(&mut app, &email("unforgiven"), WRONG).as_str()));
    locked(&mut app, &email("unforgiven"));
    wrong(&mut app, &email("forgiven"), 4);
    assert_eq!(code(&mut app, &email("forgiven"), RIGHT), "session");
    assert_eq!(code(&mut app, &email("reset"), RIGHT), "session");
    assert_eq!(code_from(&mut sidecar, "192.0.2.1", &email("untried"), RIGHT), "over_request_rate_limit");
    assert_eq!(code_from(&mut sidecar, "192.0.2.2", &email("untried"), RIGHT), "session");

    // Three seconds, then five minutes, a quarter of an hour, an hour, a day, and never more than that.
    configure(&database, json!({"lockout_duration": 3}));
    for (name, seconds) in
        [("one", 300), ("two", 900), ("three-locks", 3600), ("four", 86_400), ("five", 86_400), ("forgotten", 3)]
    {
        wrong(&mut app, &email(name), 5);
        let remaining = locked(&mut app, &email(name));
        assert!((seconds - 20..=seconds).contains(&remaining), "{name}: {remaining} of {seconds} seconds");
    }
    // In the other database a sign-up comes first.
    let refusal = from(&mut second.sidecar(), "192.0.2.1", |client| {
        refused(client.query_one("select auth.sign_up('new@example.org', $1)", &[&RIGHT]))
    });
    assert_eq!(refusal.code, "over_request_rate_limit");
}

/// Counts attempts of many subjects, one to `times` of each, of `attempts` that it may have.
fn flood(database: &Database, subject: &str, subjects: i32, times: i32, attempts: i32) {
    let mut service = database.service();
    service
        .batch_execute(&format!(
            "set role service_role;
            do $$ begin
                for i in 1..{subjects} loop
                    for j in 0..i % {times} loop
                        begin
                            perform auth.count_attempt('flood', '{subject}' || i, {attempts}, '1 hour');
                        exception when configuration_limit_exceeded then null;
                        end;
                    end loop;
                end loop;
            end $$"
        ))
        .unwrap();
}

/// F217: in a table of 1024 counters, twenty thousand other subjects wash out neither a lock nor an account that is one
/// failure away from it.
#[test]
fn a_full_table_forgets_what_is_furthest_from_its_limit() {
    let cluster = Cluster::builder().setting("auth.guard_slots", "1024").start();
    let database = guarded(&cluster, json!({"rate_limit_database": null}));
    let mut app = database.app();
    let status = || json(&mut database.admin(), "select auth.guard_status()", &[]);
    assert_eq!(status()["slots"], 1024);
    for number in 0..8 {
        sign_up(&mut app, &format!("locked{number}@example.org"), RIGHT);
        wrong(&mut app, &format!("locked{number}@example.org"), 5);
        sign_up(&mut app, &format!("near{number}@example.org"), RIGHT);
        wrong(&mut app, &format!("near{number}@example.org"), 4);
    }
    for number in 0..300 {
        wrong(&mut app, &format!("other{}@example.org", number % 150), 1);
    }
    flood(&database, "far", 20_000, 3, 5);
    let after = status();
    assert!(after["evicted"].as_i64().unwrap() > 10_000, "the table was full: {after}");
    assert!(after["used"].as_i64().unwrap() > 900, "{after}");
    for number in 0..8 {
        assert!(locked(&mut app, &format!("locked{number}@example.org")) > 1000);
        wrong(&mut app, &format!("near{number}@example.org"), 1);
        locked(&mut app, &format!("near{number}@example.org"));
    }
    // What is at its limit goes as little as a lock; what makes room is the rest.
    flood(&database, "full", 5000, 1, 1);
    for number in 0..8 {
        assert!(locked(&mut app, &format!("locked{number}@example.org")) > 1000);
        locked(&mut app, &format!("near{number}@example.org"));
    }
    assert_eq!(status()["locked"], 16);
}
