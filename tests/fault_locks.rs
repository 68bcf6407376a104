//! An attacker who stays in a transaction: whatever he holds, others are answered, and what he replays ends his sessions.

use auth_harness::{Client, Cluster, Database, refused, sign_in, sign_up, try_acting};

use crate::fault_crowd::{call, one};
use crate::faults::quick;
use crate::refresh::{refresh, refusal, standing};

const PASSWORD: &str = "correct horse battery";

/// A client that gives up where it would wait for a row that is never let go.
fn impatient(database: &Database) -> Client {
    let mut client = database.app();
    client.batch_execute("set statement_timeout = '20s'; set lock_timeout = '20s'").unwrap();
    client
}

/// F150, N09: the thief has refreshed with the stolen token and commits nothing, so that he holds the session's row. The
/// replay of an older token, in a transaction that is rolled back, does not wait for him: it is acknowledged, and every
/// session of the user is dead at the next statement elsewhere, also the one that he commits afterwards.
#[test]
fn a_replay_does_not_wait_for_the_row() {
    let database = Cluster::shared().database();
    quick(&database);
    let mut app = impatient(&database);
    let phone = sign_up(&mut app, "ada@example.org", PASSWORD);
    let laptop = sign_in(&mut app, &phone.email, PASSWORD);
    let bystander = sign_up(&mut app, "bob@example.org", PASSWORD);
    let newest = refresh(&mut app, &phone.refresh_token).unwrap()["refresh_token"].as_str().unwrap().to_owned();

    let mut thief = database.app();
    let mut held = thief.transaction().unwrap();
    let stolen = refresh(&mut held, &newest).unwrap();

    let mut other = impatient(&database);
    let mut transaction = other.transaction().unwrap();
    assert_eq!(refusal(&mut transaction, &phone.refresh_token), "refresh_token_already_used");
    transaction.rollback().unwrap();

    for person in [&phone, &laptop] {
        assert_eq!(standing(&mut app, person).as_deref(), Some("session_not_found"));
        assert_eq!(refusal(&mut app, &person.refresh_token), "session_not_found");
    }
    assert_eq!(standing(&mut app, &bystander), None);
    held.commit().unwrap();
    let [access, token] = ["access_token", "refresh_token"].map(|name| stolen[name].as_str().unwrap().to_owned());
    let access = try_acting(&mut thief, &access, |_| Ok(()));
    assert_eq!(refused(access).code, "session_not_found", "what the thief committed is dead already");
    assert_eq!(refusal(&mut thief, &token), "session_not_found");
    // The owner comes in again.
    assert_eq!(standing(&mut app, &sign_in(&mut database.app(), &phone.email, PASSWORD)), None);
}

/// XJ18: an attacker who stays in the transaction of his wrong guess, or of a refusal of any other kind, holds nothing: the
/// victim signs in, is locked by nobody and signs out.
#[test]
fn an_attacker_idle_in_his_transaction_holds_nothing() {
    let database = Cluster::shared().database();
    quick(&database);
    let mut app = impatient(&database);
    let victim = sign_up(&mut app, "ada@example.org", PASSWORD);
    let mut attackers: Vec<Client> = (0..4).map(|_| database.app()).collect();
    for (attacker, guess) in attackers.iter_mut().zip([
        "select auth.sign_in('ada@example.org', 'wrong')",
        "select auth.sign_in('ada@example.org', 'wrong again')",
        "select auth.sign_up('ada@example.org', 'another password')",
        "select auth.refresh('nonsense')",
    ]) {
        attacker.batch_execute("begin; savepoint s").unwrap();
        refused(attacker.batch_execute(guess));
        attacker.batch_execute("rollback to savepoint s").unwrap();
    }
    let mut aborted = database.app();
    aborted.batch_execute("begin").unwrap();
    refused(aborted.batch_execute("select auth.sign_in('ada@example.org', 'wrong')"));

    let again = sign_in(&mut app, &victim.email, PASSWORD);
    assert_eq!(standing(&mut app, &again), None);
    try_acting(&mut app, &again.access_token, |t| t.execute("select auth.sign_out('global')", &[])).unwrap();
    assert_eq!(standing(&mut app, &victim).as_deref(), Some("session_not_found"));
}

/// N11, XC4: a sign-in, a sign-up and a refresh that are rolled back leave tokens that nobody can use, at once and after the
/// next sign-in of the same user; before the rollback they were good.
#[test]
fn what_was_rolled_back_left_tokens_that_are_refused() {
    let database = Cluster::shared().database();
    quick(&database);
    let (mut app, mut other) = (database.app(), impatient(&database));
    let person = sign_up(&mut app, "ada@example.org", PASSWORD);
    for (statement, user, token_code) in [
        (
            "select auth.sign_in('ada@example.org', 'correct horse battery')".to_owned(),
            "ada",
            Some("session_not_found"),
        ),
        (
            "select auth.sign_up('bob@example.org', 'correct horse battery')".to_owned(),
            "bob",
            Some("session_not_found"),
        ),
        // Its successor is ahead of the row, which is no replay (tests/refresh.rs); the access token is refused.
        (format!("select auth.refresh('{}')", person.refresh_token), "ada", None),
    ] {
        for savepoint in [false, true] {
            let mut transaction = app.transaction().unwrap();
            transaction.batch_execute("savepoint s").unwrap();
            let answer: serde_json::Value = transaction.query_one(&statement, &[]).unwrap().get(0);
            let [access, token] =
                ["access_token", "refresh_token"].map(|name| answer[name].as_str().unwrap().to_owned());
            transaction.execute("select auth.authenticate($1)", &[&access]).unwrap();
            assert_eq!(refused(try_acting(&mut other, &access, |_| Ok(()))).sqlstate, "28000", "not committed yet");
            if savepoint {
                transaction.batch_execute("rollback to savepoint s").unwrap();
                refused(transaction.execute("select auth.authenticate($1)", &[&access]));
            }
            transaction.rollback().unwrap();
            for client in [&mut app, &mut other] {
                assert_eq!(refused(try_acting(client, &access, |_| Ok(()))).sqlstate, "28000", "{statement}");
                if let Some(code) = token_code {
                    assert_eq!(refusal(client, &token), code, "{statement}");
                }
            }
            let users: i64 = one(
                &mut database.superuser(),
                "select count(*) from auth.users where email = $1",
                &[&format!("{user}@example.org")],
            );
            assert_eq!(users, i64::from(user == "ada"));
        }
        assert!(call(&mut app, "select auth.sign_in($1, $2)", &[&person.email, &PASSWORD]).is_ok());
    }
}
