//! Seven ways to guess and not to have guessed, for every secret that can be guessed. A new secret is a line in `SECRETS`.

use auth_harness::{Client, Cluster, Database, Wire, refused, rounds, sign_up, wait_until};
use serde_json::json as object;

use crate::fault_crowd::{call, one};
use crate::refresh::configure;

const PASSWORD: &str = "correct horse battery";
/// Few, because a guess must last long enough to be cut off.
const GUESSES: usize = 2;

/// What can be guessed: the statements of a wrong and a right guess about an account, and the two codes that refuse the first
/// and lock the account.
struct Secret {
    name: &'static str,
    wrong: fn(email: &str) -> String,
    right: fn(email: &str) -> String,
    refused: &'static str,
    locked: &'static str,
    /// Event of the lock, and of a failed guess.
    events: [&'static str; 2],
    /// Looking at it takes long enough to be cut off in the middle.
    is_slow: bool,
}

const SECRETS: &[Secret] = &[
    Secret {
        name: "password",
        wrong: |email| format!("select auth.sign_in('{email}', 'a wrong guess')"),
        right: |email| format!("select auth.sign_in('{email}', '{PASSWORD}')"),
        refused: "invalid_credentials",
        locked: "account_locked",
        events: ["account_locked", "login_failure"],
        is_slow: true,
    },
    // In debug mode every code is 1234; what is rolled back takes the new code with it.
    Secret {
        name: "code",
        wrong: |email| format!("select auth.verify_otp('{email}', '4321')"),
        right: |email| {
            format!(
                "with asked as materialized (select auth.send_otp('{email}') as answer)
                select auth.verify_otp('{email}', '1234') from asked where answer is not null"
            )
        },
        refused: "otp_expired",
        locked: "account_locked",
        events: ["otp_locked", "otp_failure"],
        is_slow: false,
    },
    Secret {
        name: "sms",
        wrong: |email| format!("select auth.verify_sms_otp('{}', '4321')", phone(email)),
        right: |email| {
            format!(
                "with asked as materialized (select auth.send_sms_otp('{0}') as answer)
                select auth.verify_sms_otp('{0}', '1234') from asked where answer is not null",
                phone(email)
            )
        },
        refused: "otp_expired",
        locked: "account_locked",
        events: ["sms_locked", "sms_failure"],
        is_slow: false,
    },
];

/// A number of the same person's.
fn phone(email: &str) -> String {
    let digest = email.bytes().fold(7_u64, |sum, byte| (sum * 131 + u64::from(byte)) % 100_000_000);
    format!("49151{digest:08}")
}

/// What the audit calls whoever is meant.
fn subject(secret: &Secret, email: &str) -> String {
    if secret.name == "sms" { phone(email) } else { email.to_owned() }
}

/// One guess that is to leave no trace. A right one is to tell the guesser what a wrong one costs, and not to let him in.
type Evasion = fn(&Database, &Secret, guess: &str, is_right: bool);

/// With whether it may come too early, before the guess was let through, and is then tried again.
const EVASIONS: &[(&str, bool, Evasion)] = &[
    ("ROLLBACK", false, |database, secret, guess, is_right| {
        let mut client = database.app();
        let mut transaction = client.transaction().unwrap();
        outcome(transaction.batch_execute(guess), secret, is_right);
        transaction.rollback().unwrap();
    }),
    ("SAVEPOINT", false, |database, secret, guess, is_right| {
        let mut client = database.app();
        client.batch_execute("begin; savepoint a; savepoint b").unwrap();
        outcome(client.batch_execute(guess), secret, is_right);
        if is_right {
            client.batch_execute("release savepoint b").unwrap();
        }
        client.batch_execute("rollback to savepoint a; commit").unwrap();
    }),
    ("disconnect", false, |database, secret, guess, is_right| {
        let mut client = database.app();
        client.batch_execute("begin").unwrap();
        outcome(client.batch_execute(guess), secret, is_right);
        drop(client);
    }),
    ("cancel", true, |database, _, guess, _| {
        let mut wire = Wire::connect(database.cluster(), database.name(), "app");
        wire.send(guess);
        when_busy(database, &wire, "pg_cancel_backend(pid)");
        wait_until("an answer", || wire.has_answer());
    }),
    ("statement_timeout", true, |database, secret, guess, is_right| {
        let mut client = database.app();
        // Plans and caches are warm, so that the time goes by while hashing.
        refused(client.batch_execute("select auth.sign_in('nobody', 'nothing')"));
        client.batch_execute("set statement_timeout = '20ms'").unwrap();
        let error = refused(client.batch_execute(guess));
        let is_settled = error.code == "account_locked" || !is_right && error.code == secret.refused;
        assert!(error.sqlstate == "57014" || is_settled, "{error:?}");
    }),
    ("client abort", true, |database, _, guess, _| {
        let mut wire = Wire::connect(database.cluster(), database.name(), "app");
        // An answer that is never read makes the kernel close with RST.
        wire.send("begin");
        wait_until("an answer to leave unread", || wire.has_answer());
        wire.send(guess);
        when_busy(database, &wire, "true");
        wire.vanish();
    }),
    ("failing constraint", false, |database, secret, guess, is_right| {
        let mut client = database.app();
        client.batch_execute("begin; insert into public.promise values (1), (1); savepoint s").unwrap();
        outcome(client.batch_execute(guess), secret, is_right);
        if !is_right {
            client.batch_execute("rollback to savepoint s").unwrap();
        }
        assert_eq!(refused(client.batch_execute("commit")).sqlstate, "23505");
    }),
];

fn outcome(result: Result<(), auth_harness::postgres::Error>, secret: &Secret, is_right: bool) {
    if is_right {
        result.unwrap();
    } else {
        assert_eq!(refused(result).code, secret.refused);
    }
}

/// Does something to a connection while it works on what it was sent, or has done so.
fn when_busy(database: &Database, wire: &Wire, act: &str) {
    let mut superuser = database.superuser();
    let acts = format!("select {act} from pg_stat_activity where pid = $1 and query not in ('', 'begin')");
    wait_until("the guess to be under way", || superuser.query_opt(&acts, &[&wire.backend]).unwrap().is_some());
}

fn is_locked(superuser: &mut Client, secret: &Secret, email: &str) -> bool {
    one(
        superuser,
        "select exists (select from auth.audit_log where event_type = $1 and coalesce(event_data ->> 'email', event_data ->> 'phone') = $2)",
        &[&secret.events[0], &subject(secret, email)],
    )
}

/// N09, XC2, XC3, XC4: as many guesses as the limit allows, each evaded in the same one of seven ways, right or wrong: afterwards
/// the account is locked for everybody, the right secret included, and each guess is in the audit.
#[test]
fn no_evasion_uncounts_a_guess() {
    let database = Cluster::shared().database();
    configure(
        &database,
        // A guess takes long enough to be met under way.
        object!({"rate_limit_database": null, "lockout_attempts": GUESSES, "argon2_memory_kib": 32768,
            "enable_sms": true, "sms_budget": null}),
    );
    let mut superuser = database.superuser();
    let free = object!({"debug_mode": true, "verification_resend_interval": 0, "verification_resend_limit": null});
    superuser.execute("select auth.configure($1)", &[&free]).unwrap();
    superuser
        .batch_execute(
            "create table public.promise (id integer unique deferrable initially deferred);
            grant insert on public.promise to app",
        )
        .unwrap();
    for round in 0..rounds(1, 20) {
        for secret in SECRETS {
            let evasions = EVASIONS.iter().enumerate().filter(|(_, (_, may_miss, _))| secret.is_slow || !may_miss);
            for (number, (evasion, may_miss, evade)) in evasions {
                for is_right in [false, true] {
                    let title = format!("{}, {evasion}, {}", secret.name, if is_right { "right" } else { "wrong" });
                    let email = format!("{}-{number}-{is_right}-{round}@example.org", secret.name);
                    sign_up(&mut database.app(), &email, PASSWORD);
                    let guess = if is_right { secret.right } else { secret.wrong }(&email);
                    for _ in 0..GUESSES {
                        evade(&database, secret, &guess, is_right);
                    }
                    let mut polls = 0;
                    wait_until(&format!("the lock after {title}"), || {
                        polls += 1;
                        if *may_miss && polls % 100 == 0 {
                            evade(&database, secret, &guess, is_right);
                        }
                        is_locked(&mut superuser, secret, &email)
                    });
                    for _ in 0..2 {
                        let refusal = call(&mut database.app(), &(secret.right)(&email), &[]).expect_err(&title);
                        assert_eq!(refusal.code, secret.locked, "{title}");
                    }
                    let failures: i64 = one(
                        &mut superuser,
                        "select sum(count) from auth.audit_log
                        where event_type = $3 and code <> $1 and coalesce(event_data ->> 'email', event_data ->> 'phone') = $2",
                        &[&secret.locked, &subject(secret, &email), &secret.events[1]],
                    );
                    assert_eq!(failures, GUESSES as i64, "{title}");
                }
            }
        }
    }
}
