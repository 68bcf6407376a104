//! Guessing on although the limit is reached: by rolling back, cancelling, disconnecting, racing, or by all of these.

use std::process::Stdio;

use auth_harness::postgres::NoTls;
use auth_harness::{Client, Cluster, Database, json, refused, sign_up, storm_with, wait_until};
use serde_json::json;

use crate::guard::{RIGHT, WRONG, audited, code, guarded, guess, locked, total, wrong};
use crate::refresh::configure;

fn hashes(database: &Database) -> i64 {
    json(&mut database.admin(), "select auth.gate_status()", &[])["hashes"].as_i64().unwrap()
}

/// Runs a script whose guess is `{wrong}` or `{right}`, as a client that does not care what becomes of it.
fn run(client: &mut Client, script: &str, email: &str) {
    let call = |password: &str| format!("auth.sign_in('{email}', '{password}')");
    let _ = client.batch_execute(&script.replace("{wrong}", &call(WRONG)).replace("{right}", &call(RIGHT)));
    let _ = client.batch_execute("rollback");
}

/// Every way to end a transaction in which somebody guessed, without having guessed.
const EVASIONS: [&str; 19] = [
    "select {wrong}",
    "begin; select {wrong}",
    "begin isolation level serializable; select 1; select {wrong}; commit",
    "begin; savepoint s; select {wrong}",
    "prepare p as select {wrong}; begin; execute p; rollback",
    "do $$ begin perform {wrong}; exception when others then null; end $$",
    "begin; do $$ begin perform {wrong}; exception when others then null; end $$; rollback",
    "do $$ begin perform {wrong}; exception when others then raise exception 'mine'; end $$",
    "select {wrong} from generate_series(1, 1); select 1",
    "begin; select {right}; rollback",
    "begin; select {right}; select 1 / 0; commit",
    "select {right}; select 1 / 0",
    "begin; savepoint s; select {right}; rollback to s; commit",
    "begin; savepoint s; select {right}; release s; rollback",
    "begin; savepoint s; savepoint t; select {right}; release t; rollback to s; commit",
    "do $$ begin perform {right}; raise exception 'mine'; exception when others then null; end $$",
    "begin; insert into public.late values (1); select {right}; commit",
    "begin; select {right}; select pg_terminate_backend(pg_backend_pid())",
    "begin isolation level repeatable read; select {right}; rollback and chain; commit",
];

/// XC2, XC3, XC4, N09: no end of a transaction takes back a guess, wrong or right: of nine exactly five are looked at, then
/// the right password is refused on another connection, and all nine are in the audit.
#[test]
fn no_end_of_a_transaction_uncounts_a_guess() {
    let database = guarded(Cluster::shared(), json!({"rate_limit_database": null}));
    let mut app = database.app();
    database
        .superuser()
        .batch_execute(
            "create table public.late (n integer);
            grant insert on public.late to app;
            create function public.too_late() returns trigger language plpgsql as $$ begin raise 'too late'; end $$;
            create constraint trigger late after insert on public.late deferrable initially deferred
            for each row execute function public.too_late()",
        )
        .unwrap();
    let email = |number: usize| format!("user{number}@example.org");
    for (number, script) in EVASIONS.iter().enumerate() {
        sign_up(&mut app, &email(number), RIGHT);
        for _ in 0..9 {
            run(&mut database.app(), script, &email(number));
        }
        assert!(locked(&mut app, &email(number)) > 1700, "{script}");
    }
    for (number, script) in EVASIONS.iter().enumerate() {
        let expected = if script.contains("{right}") { "rolled_back" } else { "invalid_credentials" };
        let expected = [(Some("account_locked".to_owned()), 5), (Some(expected.to_owned()), 5)];
        wait_until(&format!("the audit of {script}"), || {
            total(&audited(&database, "login_failure", &email(number))) == 10
        });
        assert_eq!(audited(&database, "login_failure", &email(number)), expected, "{script}");
        assert_eq!(total(&audited(&database, "account_locked", &email(number))), 1, "{script}");
        assert_eq!(audited(&database, "login_success", &email(number)), [], "{script}");
    }
    // All of them in turn against one account.
    sign_up(&mut app, "mixed@example.org", RIGHT);
    for script in &EVASIONS {
        run(&mut database.app(), script, "mixed@example.org");
    }
    locked(&mut app, "mixed@example.org");
    wait_until("the audit of the mix", || {
        total(&audited(&database, "login_failure", "mixed@example.org")) == EVASIONS.len() as i64 + 1
    });
}

/// XC2, N09, F217: a thousand guesses in one statement, all caught, and then rolled back: five are looked at, hashed and
/// audited as such, and the other 995 are refused.
#[test]
fn a_thousand_guesses_in_one_transaction() {
    let cluster = Cluster::start();
    let database = guarded(&cluster, json!({}));
    sign_up(&mut database.app(), "ada@example.org", RIGHT);
    database
        .superuser()
        .batch_execute(
            "create function public.guesses(email text, times integer) returns jsonb language plpgsql as $$
            declare
                code text;
                counts jsonb := '{}';
            begin
                for number in 1..times loop
                    begin
                        perform auth.sign_in(email, 'guess ' || number);
                        code := 'session';
                    exception when others then
                        get stacked diagnostics code = pg_exception_detail;
                    end;
                    counts := counts || jsonb_build_object(code, coalesce((counts ->> code)::integer, 0) + 1);
                end loop;
                return counts;
            end $$",
        )
        .unwrap();
    let before = hashes(&database);
    let mut app = database.app();
    let mut transaction = app.transaction().unwrap();
    let counts = json(&mut transaction, "select public.guesses('ada@example.org', 1000)", &[]);
    transaction.rollback().unwrap();
    assert_eq!(counts, json!({"invalid_credentials": 5, "account_locked": 995}));
    locked(&mut app, "ada@example.org");
    assert_eq!(hashes(&database) - before, 5);
    wait_until("the audit", || total(&audited(&database, "login_failure", "ada@example.org")) == 1001);
    assert_eq!(
        audited(&database, "login_failure", "ada@example.org"),
        [(Some("account_locked".to_owned()), 996), (Some("invalid_credentials".to_owned()), 5)]
    );
}

/// XC1, XC5, F217: of 64 guesses at one moment five are hashed and the others refused, for a known and an unknown address;
/// of 64 right passwords at one moment all are let in.
#[test]
fn sixty_four_at_once() {
    const CALLERS: usize = 64;
    let cluster = Cluster::start();
    let database = guarded(&cluster, json!({"max_active_sessions": null, "argon2_memory_kib": 4096}));
    let storm = |email: &str, password: &str| {
        storm_with(
            CALLERS,
            |_| {
                let mut client = database.app();
                // Plans and caches are warm, so that the race is about the guess.
                assert_eq!(code(&mut client, "", ""), "account_locked");
                client
            },
            |_, mut client| code(&mut client, email, password),
        )
    };
    sign_up(&mut database.app(), "ada@example.org", RIGHT);
    wrong(&mut database.app(), "", 5);
    let before = hashes(&database);
    let answers = storm("ada@example.org", RIGHT);
    assert!(answers.iter().all(|answer| answer == "session"), "{answers:?}");
    assert_eq!(hashes(&database) - before, CALLERS as i64);
    for email in ["ada@example.org", "nobody@example.org"] {
        let before = hashes(&database);
        let answers = storm(email, WRONG);
        let count = |code: &str| answers.iter().filter(|answer| *answer == code).count();
        assert_eq!((count("invalid_credentials"), count("account_locked")), (5, CALLERS - 5), "{email}: {answers:?}");
        assert_eq!(hashes(&database) - before, 5, "{email}");
        locked(&mut database.app(), email);
    }
}

/// XC2: a right password whose transaction is prepared for a second phase costs an attempt, because nobody would notice that
/// it is rolled back there.
#[test]
fn a_prepared_transaction_forgives_nothing() {
    let cluster = Cluster::builder().setting("max_prepared_transactions", "10").start();
    let database = guarded(&cluster, json!({}));
    sign_up(&mut database.app(), "ada@example.org", RIGHT);
    for number in 0..5 {
        let mut app = database.app();
        app.batch_execute("begin").unwrap();
        assert_eq!(code(&mut app, "ada@example.org", RIGHT), "session");
        app.batch_execute(&format!("prepare transaction 'p{number}'")).unwrap();
        // Another connection ends it, when the guesser may be gone.
        drop(app);
        database.app().batch_execute(&format!("rollback prepared 'p{number}'")).unwrap();
    }
    locked(&mut database.app(), "ada@example.org");
    wait_until("the audit", || {
        audited(&database, "login_failure", "ada@example.org").contains(&(Some("rolled_back".to_owned()), 5))
    });
}

/// Whether some backend of the database is in a sign-in.
fn is_signing_in(database: &Database) -> bool {
    let active = "select from pg_stat_activity where datname = current_database() and state = 'active'
        and query like '%auth.sign\\_in%' and pid <> pg_backend_pid()";
    !database.superuser().query(active, &[]).unwrap().is_empty()
}

/// XC2, N09: a guess that is cancelled, timed out, terminated or left while it is hashed stays counted: the account is
/// locked after five that were let through, and the others were not.
#[test]
fn no_interruption_uncounts_a_guess() {
    let database = guarded(Cluster::shared(), json!({"rate_limit_database": null}));
    configure(&database, json!({"argon2_memory_kib": 32768, "argon2_iterations": 3}));
    let statement = |email: &str| format!("select auth.sign_in('{email}', '{WRONG}')");
    let end_backend = |function: &str, email: &str| {
        let (mut app, mut other) = (database.app(), database.app());
        let backend: i32 = app.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
        std::thread::scope(|scope| {
            let guess = scope.spawn(move || app.batch_execute(&statement(email)).is_err());
            wait_until("the guess to be under way", || is_signing_in(&database) || guess.is_finished());
            other.execute(&format!("select {function}({backend})"), &[]).unwrap();
            assert!(guess.join().unwrap());
        });
    };
    type Evasion<'a> = (&'a str, &'a dyn Fn(&str));
    let evasions: [Evasion<'_>; 5] = [
        ("cancel", &|email| end_backend("pg_cancel_backend", email)),
        ("terminate", &|email| end_backend("pg_terminate_backend", email)),
        ("token", &|email| {
            let mut app = database.app();
            let token = app.cancel_token();
            std::thread::scope(|scope| {
                let guess = scope.spawn(move || app.batch_execute(&statement(email)).is_err());
                wait_until("the guess to be under way", || is_signing_in(&database) || guess.is_finished());
                token.cancel_query(NoTls).unwrap();
                assert!(guess.join().unwrap());
            });
        }),
        ("timeout", &|email| {
            let mut app = database.app();
            app.batch_execute("set statement_timeout = '15ms'").unwrap();
            assert!(app.batch_execute(&statement(email)).is_err());
        }),
        ("disconnect", &|email| {
            let mut psql = database.cluster().command("psql");
            psql.args(["-X", "-q", "-U", "app", "-d", database.name(), "-c", &statement(email)]);
            let mut psql = psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            wait_until("the guess to be under way", || is_signing_in(&database) || psql.try_wait().unwrap().is_some());
            let _ = psql.kill();
            psql.wait().unwrap();
            wait_until("the guess to have ended", || !is_signing_in(&database));
        }),
    ];
    for (name, evade) in evasions {
        let email = format!("{name}@example.org");
        sign_up(&mut database.app(), &email, RIGHT);
        // One that is interrupted before it is let through is none.
        let counted = || {
            let rows = audited(&database, "login_failure", &email);
            total(&rows)
                - rows.iter().filter(|(code, _)| code.as_deref() == Some("account_locked")).map(|(_, n)| n).sum::<i64>()
        };
        let is_locked = || total(&audited(&database, "account_locked", &email)) > 0;
        for _ in 0..40 {
            evade(&email);
            if is_locked() {
                break;
            }
        }
        evade(&email);
        locked(&mut database.app(), &email);
        wait_until("the audit", || is_locked() && counted() >= 5);
        assert_eq!(counted(), 5, "{name}: {:?}", audited(&database, "login_failure", &email));
    }
}

/// XC2: whoever is interrupted while waiting for the outcome of others' guesses leaves nothing behind: he was not let
/// through.
#[test]
fn an_interrupted_wait_leaves_nothing_open() {
    let database = guarded(Cluster::shared(), json!({"rate_limit_login": "5/1"}));
    sign_up(&mut database.app(), "ada@example.org", RIGHT);
    // Five devices are signing in: one has not committed, the others wait for the row that it has written.
    let mut devices: Vec<Client> = (0..5).map(|_| database.app()).collect();
    for device in &mut devices {
        device.batch_execute("begin").unwrap();
    }
    std::thread::scope(|scope| {
        let (first, rest) = devices.split_first_mut().unwrap();
        assert_eq!(code(first, "ada@example.org", RIGHT), "session");
        let rest: Vec<_> =
            rest.iter_mut().map(|device| scope.spawn(move || code(device, "ada@example.org", RIGHT))).collect();
        let waits = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        let mut watcher = database.superuser();
        wait_until("four to wait for the first", || watcher.query(waits, &[]).unwrap().len() == 4);
        for _ in 0..5 {
            let mut sidecar = database.sidecar();
            sidecar.batch_execute("begin; set local statement_timeout = '200ms'").unwrap();
            sidecar.execute("select auth.set_request_context('192.0.2.1', 'x')", &[]).unwrap();
            assert_eq!(
                refused(sidecar.execute("select auth.sign_in('ada@example.org', $1)", &[&RIGHT])).sqlstate,
                "57014"
            );
        }
        first.batch_execute("rollback").unwrap();
        watcher.batch_execute(&waits.replace("select", "select pg_cancel_backend(pid)")).unwrap();
        rest.into_iter().for_each(|device| drop(device.join().unwrap()));
    });
    devices.clear();
    // The account is locked by what was rolled back; this is about the network's own counter.
    configure(&database, json!({"lockout_attempts": null}));
    let mut sidecar = database.sidecar();
    wait_until("the second that the limit lasts to pass", || {
        let mut transaction = sidecar.transaction().unwrap();
        transaction.execute("select auth.set_request_context('192.0.2.1', 'x')", &[]).unwrap();
        code(&mut transaction, "ada@example.org", RIGHT) == "session"
    });
}

/// F217: nobody waits for himself: one transaction may sign somebody in as often as it likes.
#[test]
fn a_transaction_does_not_wait_for_itself() {
    let database = guarded(Cluster::shared(), json!({}));
    let mut app = database.app();
    sign_up(&mut app, "ada@example.org", RIGHT);
    let mut transaction = app.transaction().unwrap();
    for number in 1..=7 {
        assert_eq!(code(&mut transaction, "ada@example.org", RIGHT), "session", "sign-in {number}");
    }
    transaction.commit().unwrap();
    assert_eq!(code(&mut app, "ada@example.org", RIGHT), "session");
}

/// XC2, XC4: behind PgBouncer, where each guess may meet another backend and a rolled-back one is the pool's, the account is
/// locked as well.
#[test]
fn a_pool_is_no_way_around() {
    let database = guarded(Cluster::shared(), json!({}));
    sign_up(&mut database.app(), "ada@example.org", RIGHT);
    let pool = database.cluster().pgbouncer(database.name(), "app", 2);
    let mut clients: Vec<Client> = (0..5).map(|_| pool.connect("app")).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let password = if number % 2 == 0 { RIGHT } else { WRONG };
        let script = format!("begin; select auth.sign_in('ada@example.org', '{password}')");
        assert_eq!(client.batch_execute(&script).is_ok(), password == RIGHT);
        client.batch_execute("rollback").unwrap();
    }
    locked(&mut database.app(), "ada@example.org");
    let script = format!("select auth.sign_in('ada@example.org', '{RIGHT}')");
    assert_eq!(refused(clients[0].batch_execute(&script)).code, "account_locked");
}

/// F217: what happens in one database counts in that one, also for the same address.
#[test]
fn databases_are_independent() {
    let (one, two) = (guarded(Cluster::shared(), json!({})), guarded(Cluster::shared(), json!({})));
    for database in [&one, &two] {
        sign_up(&mut database.app(), "ada@example.org", RIGHT);
    }
    wrong(&mut one.app(), "ada@example.org", 5);
    locked(&mut one.app(), "ada@example.org");
    wrong(&mut two.app(), "ada@example.org", 4);
    assert_eq!(code(&mut two.app(), "ada@example.org", RIGHT), "session");
    two.admin().execute("select auth.guard_reset('ada@example.org')", &[]).unwrap();
    locked(&mut one.app(), "ada@example.org");
    assert!(guess(&mut two.app(), "ada@example.org", WRONG).is_err());
}

/// XC2: a guess that is interrupted while it waits for the outcome of others was not looked at: it is counted nowhere, not
/// even for a while, and the audit has no failure of it.
#[test]
fn an_interrupted_wait_is_no_guess() {
    let database = guarded(Cluster::shared(), json!({"lockout_attempts": 1, "rate_limit_login": "5/900"}));
    sign_up(&mut database.app(), "ada@example.org", RIGHT);
    let mut device = database.app();
    let mut open = device.transaction().unwrap();
    assert_eq!(code(&mut open, "ada@example.org", RIGHT), "session");
    // The account's counter is at its limit with an attempt that may still be forgiven, so others wait.
    for _ in 0..6 {
        let mut sidecar = database.sidecar();
        sidecar.batch_execute("begin; set local statement_timeout = '200ms'").unwrap();
        sidecar.execute("select auth.set_request_context('192.0.2.1', 'x')", &[]).unwrap();
        let interrupted = refused(sidecar.execute("select auth.sign_in('ada@example.org', $1)", &[&WRONG]));
        assert_eq!(interrupted.sqlstate, "57014");
    }
    open.commit().unwrap();
    let mut sidecar = database.sidecar();
    let mut transaction = sidecar.transaction().unwrap();
    transaction.execute("select auth.set_request_context('192.0.2.1', 'x')", &[]).unwrap();
    assert_eq!(code(&mut transaction, "ada@example.org", RIGHT), "session");
    transaction.commit().unwrap();
    // Events are written in order, so nothing older than this one waits behind it.
    wrong(&mut database.app(), "nobody@example.org", 1);
    let failures = "select count(*) from auth.audit_log where code in ('aborted', 'rolled_back', 'interrupted')";
    assert_eq!(database.superuser().query_one(failures, &[]).unwrap().get::<_, i64>(0), 0);
}
