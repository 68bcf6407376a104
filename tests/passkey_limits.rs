//! Passkeys among other people: floods, races, old snapshots, and accounts that were made for somebody else.

use auth_harness::authenticator::{Algorithm, Authenticator, USER_PRESENT};
use auth_harness::{Cluster, acting, mails, sign_up, storm_with};
use serde_json::{Value, json};

use crate::networks::from;
use crate::passkey::{
    ORIGIN, PASSWORD, ada, answer, ask, code, finish_registration, finish_sign_in, id, register, sign_in_with,
    standing_count, start_registration, start_sign_in, with_passkeys,
};
use crate::refresh::configure;

/// XC7: wrong answers count against the network that they come from, like wrong links; right ones do not.
#[test]
fn wrong_answers_are_counted() {
    let database = with_passkeys(Cluster::shared());
    configure(&database, json!({"rate_limit_database": "3/60"}));
    let mut app = database.app();
    let (_, mut authenticator) = ada(&database);
    for _ in 0..5 {
        sign_in_with(&mut app, &mut authenticator, |_| ()).unwrap();
    }
    let said: Vec<String> = (0..5)
        .map(|_| code(sign_in_with(&mut app, &mut authenticator, |signed| signed.rp_id = "evil.test".into())))
        .collect();
    assert_eq!(said[..3], ["webauthn_verification_failed"; 3]);
    assert_eq!(said[3..], ["over_request_rate_limit"; 2]);
}

/// B014: who begins sign-ins without end from one network is refused for a while, and nobody else is.
#[test]
fn beginnings_are_counted() {
    let database = with_passkeys(Cluster::shared());
    let mut sidecar = database.sidecar();
    let mut begin = |address: &str| -> String {
        from(&mut sidecar, address, |transaction| {
            transaction.batch_execute("savepoint s").unwrap();
            match answer(transaction, "start_passkey_sign_in()", &[]) {
                Ok(_) => "begun".to_owned(),
                Err(refusal) => {
                    transaction.batch_execute("rollback to s").unwrap();
                    refusal.code
                }
            }
        })
    };
    let said: Vec<String> = (0..61).map(|_| begin("192.0.2.7")).collect();
    assert!(said[..60].iter().all(|said| said == "begun"), "{said:?}");
    assert_eq!(said[60], "over_request_rate_limit");
    assert_eq!(begin("198.51.100.7"), "begun");
}

/// XA1: a passkey that was registered before anybody had proved the address does not survive that proof.
#[test]
fn an_account_made_in_advance() {
    let database = with_passkeys(Cluster::shared());
    let mut app = database.app();
    let (ada, mut authenticator) = ada(&database);
    sign_in_with(&mut app, &mut authenticator, |_| ()).unwrap();
    answer(&mut app, "send_otp($1)", &[&ada.email]).unwrap();
    let mail = mails(&database).pop().unwrap();
    answer(&mut app, "verify_otp($1, $2)", &[&ada.email, &mail.code()]).unwrap();
    assert_eq!(code(sign_in_with(&mut app, &mut authenticator, |_| ())), "webauthn_verification_failed");
    let left: i64 = database.superuser().query_one("select count(*) from auth.passkeys", &[]).unwrap().get(0);
    assert_eq!(left, 0);
}

/// F066, F070: the owner hears of each passkey that comes and goes, where the address is proved.
#[test]
fn the_owner_is_told() {
    let database = with_passkeys(Cluster::shared());
    configure(&database, json!({"security_notices": true}));
    let mut app = database.app();
    let person = sign_up(&mut app, "ada@example.org", PASSWORD);
    database.superuser().execute("update auth.users set email_confirmed_at = now()", &[]).unwrap();
    let mut authenticator = Authenticator::new(Algorithm::Es256);
    authenticator.flags = USER_PRESENT;
    let made = register(&mut app, &person.access_token, &mut authenticator).unwrap();
    ask(&mut app, &person.access_token, "delete_passkey($1)", &[&id(&made["id"])]).unwrap();
    let told: Vec<(String, String)> = mails(&database).into_iter().map(|mail| (mail.kind, mail.recipient)).collect();
    let expected = ["passkey_added", "passkey_removed"].map(|kind| (kind.to_owned(), person.email.clone()));
    assert_eq!(told, expected);
}

/// XH3: a transaction that holds an old snapshot neither answers a challenge again nor signs in with a passkey that is gone.
#[test]
fn an_old_snapshot() {
    let database = with_passkeys(Cluster::shared()).without_limits();
    let (mut app, mut old) = (database.app(), database.app());
    let (_, mut authenticator) = ada(&database);
    let session = sign_in_with(&mut app, &mut authenticator, |_| ()).unwrap();
    let token = session["access_token"].as_str().unwrap();
    let passkey: uuid::Uuid = database.superuser().query_one("select id from auth.passkeys", &[]).unwrap().get(0);

    let started = start_sign_in(&mut app, None);
    let credential = authenticator.get(&started["options"], ORIGIN).json(&authenticator);
    old.batch_execute("begin isolation level repeatable read; select 1 from pg_class limit 1").unwrap();
    finish_sign_in(&mut app, &started, &credential).unwrap();
    let before = standing_count(&database);
    let refusal = finish_sign_in(&mut old, &started, &credential).unwrap_err();
    assert!(["40001", "28000"].contains(&refusal.sqlstate.as_str()), "{refusal:?}");
    old.batch_execute("rollback").unwrap();

    let started = start_sign_in(&mut app, None);
    let credential = authenticator.get(&started["options"], ORIGIN).json(&authenticator);
    old.batch_execute("begin isolation level repeatable read; select 1 from pg_class limit 1").unwrap();
    ask(&mut app, token, "delete_passkey($1)", &[&passkey]).unwrap();
    let refusal = finish_sign_in(&mut old, &started, &credential).unwrap_err();
    assert!(["40001", "28000"].contains(&refusal.sqlstate.as_str()), "{refusal:?}");
    old.batch_execute("rollback").unwrap();
    assert_eq!(standing_count(&database), before);
}

/// B014: of many registrations at once no more than ten are done; of many of one credential, one.
#[test]
fn registrations_at_once() {
    let database = with_passkeys(Cluster::shared()).without_limits();
    let person = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let token = &person.access_token;
    let count = || -> i64 { database.superuser().query_one("select count(*) from auth.passkeys", &[]).unwrap().get(0) };
    let at_once = |credential_id: Option<Vec<u8>>| -> Vec<Result<Value, String>> {
        storm_with(
            16,
            |_| {
                let mut app = database.app();
                let started = start_registration(&mut app, token);
                let mut authenticator = Authenticator::new(Algorithm::EdDsa);
                authenticator.flags = USER_PRESENT;
                authenticator.credential_id = credential_id.clone().unwrap_or(authenticator.credential_id);
                let credential = authenticator.create(&started["options"], ORIGIN).json();
                (app, started, credential)
            },
            |_, (mut app, started, credential)| {
                finish_registration(&mut app, token, &started, &credential).map_err(|refusal| refusal.code)
            },
        )
    };
    let said = at_once(Some(vec![3; 32]));
    assert_eq!((said.iter().filter(|said| said.is_ok()).count(), count()), (1, 1), "{said:?}");
    assert!(
        said.iter().flat_map(|said| said.as_ref().err()).all(|code| code == "webauthn_credential_exists"),
        "{said:?}"
    );
    let said = at_once(None);
    assert_eq!((said.iter().filter(|said| said.is_ok()).count(), count()), (9, 10), "{said:?}");
    assert!(said.iter().flat_map(|said| said.as_ref().err()).all(|code| code == "too_many_passkeys"), "{said:?}");
}

/// XJ18: a sign-in in somebody's open transaction holds up nobody else's.
#[test]
fn an_open_transaction_holds_up_nobody() {
    let database = with_passkeys(Cluster::shared());
    let (mut app, mut other) = (database.app(), database.app());
    let (_, mut hers) = ada(&database);
    let bob = sign_up(&mut app, "bob@example.org", PASSWORD);
    let mut his = Authenticator::new(Algorithm::EdDsa);
    register(&mut app, &bob.access_token, &mut his).unwrap();
    app.batch_execute("begin").unwrap();
    sign_in_with(&mut app, &mut his, |_| ()).unwrap();
    other.batch_execute("set lock_timeout = '5s'").unwrap();
    sign_in_with(&mut other, &mut hers, |_| ()).unwrap();
    acting(&mut other, &bob.access_token, |transaction| {
        transaction.query("select * from auth.list_passkeys()", &[]).unwrap();
    });
    app.batch_execute("rollback").unwrap();
    sign_in_with(&mut other, &mut his, |_| ()).unwrap();
}

/// XE17: an account with an authenticator app gets and loses a passkey only by a session that has used the app; a passkey that
/// verifies nobody is one factor, and then the app is the second.
#[test]
fn an_app_guards_passkeys_too() {
    let database = with_passkeys(Cluster::shared());
    let mut app = database.app();
    let enrolled = crate::mfa::ada(&database);
    let mut authenticator = Authenticator::new(Algorithm::Es256);
    authenticator.flags = USER_PRESENT;
    let made = register(&mut app, &enrolled.person.access_token, &mut authenticator).unwrap();
    let first = sign_in_with(&mut app, &mut authenticator, |_| ()).unwrap();
    assert_eq!((&first["status"], first.get("access_token")), (&json!("mfa_required"), None));
    configure(&database, json!({"mfa_enforcement": "policy"}));
    let weak = sign_in_with(&mut app, &mut authenticator, |_| ()).unwrap();
    let token = weak["access_token"].as_str().unwrap();
    assert_eq!(code(ask(&mut app, token, "start_passkey_registration()", &[])), "insufficient_aal");
    assert_eq!(code(ask(&mut app, token, "delete_passkey($1)", &[&id(&made["id"])])), "insufficient_aal");
    ask(&mut app, &enrolled.person.access_token, "delete_passkey($1)", &[&id(&made["id"])]).unwrap();
}
