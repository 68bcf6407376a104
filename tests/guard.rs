//! Limits on guessing: what is counted, what a lock is and ends with, and who may do what about it.

use auth_harness::{Cluster, Database, GenericClient, Refusal, acting, json, refused, sign_up, wait_until};
use serde_json::{Value, json};

use crate::minting::uid;
use crate::refresh::{configure, refreshed};

pub const RIGHT: &str = "correct horse battery";
pub const WRONG: &str = "a wrong password";

/// A database where a hash costs next to nothing, with these settings.
pub fn guarded(cluster: &Cluster, settings: Value) -> Database {
    let database = cluster.database();
    configure(&database, json!({"argon2_memory_kib": 8, "argon2_iterations": 1}));
    configure(&database, settings);
    database
}

pub fn guess(client: &mut impl GenericClient, email: &str, password: &str) -> Result<Value, Refusal> {
    match client.query_one("select auth.sign_in($1, $2)", &[&email, &password]) {
        Ok(row) => Ok(row.get(0)),
        Err(error) => Err(refused::<()>(Err(error))),
    }
}

/// The code word of the refusal, or `session`.
pub fn code(client: &mut impl GenericClient, email: &str, password: &str) -> String {
    match guess(client, email, password) {
        Ok(answer) => answer["status"].as_str().unwrap().to_owned(),
        Err(refusal) => refusal.code,
    }
}

/// So many guesses that are looked at and wrong.
#[track_caller]
pub fn wrong(client: &mut impl GenericClient, email: &str, times: usize) {
    for number in 1..=times {
        assert_eq!(code(client, email, WRONG), "invalid_credentials", "{email}, wrong guess {number} of {times}");
    }
}

/// The right password is refused because the account is locked; for how many seconds still.
#[track_caller]
pub fn locked(client: &mut impl GenericClient, email: &str) -> i64 {
    let refusal = guess(client, email, RIGHT).expect_err("not locked");
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("53400", "account_locked"), "{email}: {refusal:?}");
    retry_after(&refusal)
}

#[track_caller]
pub fn retry_after(refusal: &Refusal) -> i64 {
    let hint = refusal.hint.as_deref().unwrap_or_default();
    let seconds = hint.strip_prefix("retry_after=").and_then(|rest| rest.split(' ').next()?.parse().ok());
    seconds.unwrap_or_else(|| panic!("no retry_after in {refusal:?}"))
}

/// All that a client sees of it, without the seconds.
fn without_seconds(mut refusal: Refusal) -> Refusal {
    let hint = refusal.hint.take();
    refusal.hint = hint.map(|hint| hint.replace(|character: char| character.is_ascii_digit(), ""));
    refusal
}

/// The rows of an event type: code word and how many it stands for, in order.
pub fn audited(database: &Database, event_type: &str, subject: &str) -> Vec<(Option<String>, i64)> {
    database
        .superuser()
        .query(
            "select code, sum(count) from auth.audit_log where event_type = $1 and event_data ->> 'subject' = $2
            group by code order by code",
            &[&event_type, &subject],
        )
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect()
}

pub fn total(rows: &[(Option<String>, i64)]) -> i64 {
    rows.iter().map(|(_, count)| count).sum()
}

/// F217, F215, XC3, XC5: five wrong guesses, each refused by an error, lock the account for half an hour, whoever asks and
/// however the address is written; right and wrong, known and unknown are then refused in the same words, and refusals do
/// not make the lock longer. Another account goes on.
#[test]
fn five_failures_lock_the_account() {
    let database = guarded(Cluster::shared(), json!({}));
    let (mut app, mut other) = (database.app(), database.app());
    for name in ["ada", "bob"] {
        sign_up(&mut app, &format!("{name}@example.org"), RIGHT);
    }
    let mut seen = Vec::new();
    for (email, variant) in [
        ("ada@example.org", "ADA@EXAMPLE.ORG"),
        ("nobody@example.org", "Nobody@example.ORG"),
        ("no address at all", "no address at all"),
    ] {
        // A new connection for each, as somebody would who thinks that it is the connection that counts.
        for _ in 0..5 {
            wrong(&mut database.app(), email, 1);
        }
        let first = guess(&mut app, email, RIGHT).expect_err(email);
        assert!((1790..=1800).contains(&retry_after(&first)), "{first:?}");
        let mut before = retry_after(&first);
        for number in 0..20 {
            let (client, password) = if number % 2 == 0 { (&mut app, WRONG) } else { (&mut other, RIGHT) };
            let refusal = guess(client, [email, variant][number % 2], password).expect_err(email);
            assert!(retry_after(&refusal) <= before, "{email}: a refusal made the lock longer: {refusal:?}");
            before = retry_after(&refusal);
            seen.push(without_seconds(refusal));
        }
        assert_eq!(code(&mut app, "bob@example.org", RIGHT), "session");
    }
    assert_eq!(seen.len(), 60);
    assert!(seen.iter().all(|refusal| *refusal == seen[0]), "all are refused in the same words: {seen:?}");
    assert_eq!((seen[0].sqlstate.as_str(), seen[0].code.as_str()), ("53400", "account_locked"));
}

/// F217, B072: a lock ends by itself and the count is then zero; the next one is longer, five minutes after three seconds.
#[test]
fn a_lock_ends_and_the_next_is_longer() {
    let database = guarded(Cluster::shared(), json!({"lockout_duration": 3}));
    let mut app = database.app();
    for email in ["ada@example.org", "bob@example.org"] {
        sign_up(&mut app, email, RIGHT);
        wrong(&mut app, email, 4);
    }
    // One of them proves who she is once the lock is over, the other goes on guessing.
    for email in ["ada@example.org", "bob@example.org"] {
        wrong(&mut app, email, 1);
        assert!(locked(&mut app, email) <= 3);
    }
    wait_until("the lock to end", || code(&mut app, "ada@example.org", RIGHT) == "session");
    wait_until("the lock to end", || code(&mut app, "bob@example.org", WRONG) == "invalid_credentials");
    wrong(&mut app, "bob@example.org", 4);
    assert!((290..=300).contains(&locked(&mut app, "bob@example.org")), "the second lock in a row is longer");
    wrong(&mut app, "ada@example.org", 5);
    assert!(locked(&mut app, "ada@example.org") <= 3, "after a sign-in the next lock is a first one");
    let locks = audited(&database, "account_locked", "bob@example.org");
    assert_eq!(total(&locks), 2);
    let rows = database
        .superuser()
        .query(
            "select (event_data ->> 'seconds')::integer, (event_data ->> 'locks')::integer, success, user_id is not null
            from auth.audit_log where event_type = 'account_locked' and event_data ->> 'subject' = 'bob@example.org'
            order by created_at",
            &[],
        )
        .unwrap();
    let rows: Vec<(i32, i32, bool, bool)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    assert_eq!(rows, [(3, 1, true, true), (300, 2, true, true)]);
}

/// F217, XC4: a success forgives the failures before it when it commits and not before.
#[test]
fn a_success_resets_the_count_at_commit() {
    let database = guarded(Cluster::shared(), json!({}));
    let mut app = database.app();
    for email in ["ada@example.org", "bob@example.org"] {
        sign_up(&mut app, email, RIGHT);
        wrong(&mut app, email, 4);
        let mut transaction = app.transaction().unwrap();
        assert_eq!(code(&mut transaction, email, RIGHT), "session");
        if email.starts_with("ada") {
            transaction.commit().unwrap();
            wrong(&mut app, email, 4);
            assert_eq!(code(&mut app, email, RIGHT), "session");
        } else {
            transaction.rollback().unwrap();
            assert!(locked(&mut app, email) > 1790, "it was the fifth attempt");
        }
    }
}

/// F217, N11: a lock stops the guessing of the password and nothing else: whoever is in stays in and refreshes.
#[test]
fn a_lock_leaves_sessions_alone() {
    let database = guarded(Cluster::shared(), json!({}));
    let mut app = database.app();
    let person = sign_up(&mut app, "ada@example.org", RIGHT);
    wrong(&mut app, &person.email, 5);
    locked(&mut app, &person.email);
    let refresh_token = refreshed(&mut app, &person.refresh_token);
    refreshed(&mut app, &refresh_token);
    acting(&mut app, &person.access_token, |transaction| {
        assert_eq!(uid(transaction).unwrap(), Some(person.user_id));
        assert_eq!(json(transaction, "select auth.get_user()", &[])["email"], person.email);
    });
    locked(&mut app, &person.email);
}

/// F214, F217: with rate_limit_enabled off nothing is refused for its number, and with lockout_attempts null nothing is
/// locked; strict locks after three.
#[test]
fn limits_are_switched_off_and_set() {
    let database = guarded(Cluster::shared(), json!({"rate_limit_database": null}));
    let mut app = database.app();
    for (number, (settings, most)) in [
        (json!({"rate_limit_enabled": false, "rate_limit_database": "1/60"}), None),
        (json!({"rate_limit_enabled": true, "rate_limit_database": null, "lockout_attempts": null}), None),
        (json!({"lockout_attempts": 1}), Some(1)),
        (json!({"lockout_attempts": 3}), Some(3)),
        (json!({"lockout_attempts": 8}), Some(8)),
    ]
    .into_iter()
    .enumerate()
    {
        configure(&database, settings.clone());
        let email = format!("user{number}@example.org");
        sign_up(&mut app, &email, RIGHT);
        wrong(&mut app, &email, most.unwrap_or(20));
        match most {
            Some(_) => assert!(locked(&mut app, &email) > 0, "{settings}"),
            None => assert_eq!(code(&mut app, &email, RIGHT), "session", "{settings}"),
        }
    }
    database.admin().execute("select auth.apply_profile('strict')", &[]).unwrap();
    configure(&database, json!({"argon2_memory_kib": 8, "rate_limit_database": null}));
    wrong(&mut app, "strict@example.org", 3);
    locked(&mut app, "strict@example.org");
}

/// F214 to F217: settings that are no limit are refused, with what one looks like; each way to write a rate is one.
#[test]
fn settings_of_limits_are_checked() {
    let database = guarded(Cluster::shared(), json!({}));
    let mut admin = database.admin();
    let rates = ["rate_limit_login", "rate_limit_signup", "rate_limit_network", "rate_limit_database"];
    for name in rates {
        for value in [
            json!("5"),
            json!(""),
            json!("/"),
            json!("5/"),
            json!("/900"),
            json!("0/900"),
            json!("-5/900"),
            json!("5/0"),
            json!("5/-1"),
            json!("five/900"),
            json!("5/900/1"),
            json!("5.5/900"),
            json!("1000001/900"),
            json!("5/2678401"),
            json!("5/a while"),
            json!(5),
            json!(true),
            json!([5, 900]),
            json!({"most": 5}),
            json!("99999999999999999999/900"),
            json!("5/99999999999999999999"),
        ] {
            let settings = json!({name: value});
            let refusal = refused(admin.execute("select auth.configure($1)", &[&settings]));
            assert_eq!(
                (refusal.sqlstate.as_str(), refusal.code.as_str()),
                ("22023", "validation_failed"),
                "{settings}"
            );
            assert!(refusal.hint.unwrap().contains(name), "{settings}");
        }
        for (written, meant) in
            [("5/900", "5/900"), ("1/1", "1/1"), ("5/15 minutes", "5/900"), (" 5 / 15 min ", "5/900")]
        {
            let settings = json(&mut admin, "select auth.configure($1)", &[&json!({name: written})]);
            assert_eq!(settings[name], meant, "{name} as {written:?}");
        }
    }
    for (name, values) in [
        ("lockout_attempts", vec![json!(0), json!(101), json!("many"), json!(2.5), json!(-1)]),
        ("lockout_duration", vec![json!(0), json!(-1), json!("a while"), json!(2_678_401), json!(true)]),
        ("rate_limit_enabled", vec![json!(1), json!("on"), json!([])]),
    ] {
        for value in values {
            let settings = json!({name: value});
            let refusal = refused(admin.execute("select auth.configure($1)", &[&settings]));
            assert_eq!(
                (refusal.sqlstate.as_str(), refusal.code.as_str()),
                ("22023", "validation_failed"),
                "{settings}"
            );
        }
    }
    let unset = json!({"rate_limit_login": null, "rate_limit_network": null, "lockout_attempts": null, "lockout_duration": null});
    let settings = json(&mut admin, "select auth.configure($1)", &[&unset]);
    assert_eq!(settings["rate_limit_login"], "5/900", "null is the default where there must be a limit");
    assert_eq!(settings["lockout_duration"], 1800);
    assert_eq!((&settings["rate_limit_network"], &settings["lockout_attempts"]), (&Value::Null, &Value::Null));
}

/// F217, XC5: however an address is written, it is one account with one count.
#[test]
fn every_spelling_of_an_address_is_one_account() {
    let database = guarded(Cluster::shared(), json!({}));
    let mut app = database.app();
    sign_up(&mut app, "ada@b\u{fc}cher.example", RIGHT);
    for spelling in [
        "ADA@b\u{fc}cher.example",
        "ada@B\u{dc}CHER.EXAMPLE",
        "ada@xn--bcher-kva.example",
        "Ada@XN--BCHER-KVA.example",
        "ada@bu\u{308}cher.example",
    ] {
        wrong(&mut app, spelling, 1);
    }
    locked(&mut app, "ada@b\u{fc}cher.example");
}
