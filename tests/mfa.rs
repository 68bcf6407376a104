//! The second step of a sign-in: what there is before it, what meets a challenge, and what does not.

use auth_harness::{
    Client, Cluster, Database, GenericClient, Person, Totp, acting, claims, json, refused, sign_in, sign_up,
    storm_with, try_acting,
};
use serde_json::{Value, json};

use crate::guard::{RIGHT, WRONG, guarded};
use crate::otp::{answer, mailed, mailing, said};
use crate::refresh::configure;

/// Somebody with an authenticator app.
pub struct Enrolled {
    pub person: Person,
    pub app: Totp,
    pub factor_id: String,
    pub recovery_codes: Vec<String>,
}

/// Runs one function as the owner of a token.
#[track_caller]
pub fn as_user(client: &mut Client, token: &str, call: &str) -> Value {
    acting(client, token, |transaction| json(transaction, &format!("select auth.{call}"), &[]))
}

/// The status of the answer, or the code word of the refusal.
pub fn said_as(client: &mut Client, token: &str, call: &str) -> String {
    match try_acting(client, token, |transaction| transaction.query_one(&format!("select to_jsonb(auth.{call})"), &[]))
    {
        Ok(row) => {
            let answer: Option<Value> = row.get(0);
            answer.and_then(|answer| Some(answer["status"].as_str()?.to_owned())).unwrap_or_else(|| "an answer".into())
        }
        Err(error) => refused::<()>(Err(error)).code,
    }
}

/// Enrols an authenticator app and confirms it; the person's tokens are those after that.
#[track_caller]
pub fn enroll(client: &mut Client, mut person: Person) -> Enrolled {
    let enrolled = as_user(client, &person.access_token, "enroll_totp('phone')");
    let app = Totp::new(enrolled["secret"].as_str().unwrap());
    let factor_id = enrolled["factor_id"].as_str().unwrap().to_owned();
    let call = format!("confirm_totp('{factor_id}', '{}')", app.code_at(-1));
    let confirmed = as_user(client, &person.access_token, &call);
    assert_eq!(confirmed["status"], "session", "{confirmed}");
    person.access_token = confirmed["access_token"].as_str().unwrap().to_owned();
    person.refresh_token = confirmed["refresh_token"].as_str().unwrap().to_owned();
    let codes = confirmed["recovery_codes"].as_array().unwrap();
    let recovery_codes = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    Enrolled { person, app, factor_id, recovery_codes }
}

/// Somebody who has signed up and enrolled an app.
#[track_caller]
pub fn ada(database: &Database) -> Enrolled {
    let mut app = database.app();
    let person = sign_up(&mut app, "ada@example.org", RIGHT);
    enroll(&mut app, person)
}

/// The first step of a sign-in: the token of its challenge.
#[track_caller]
pub fn first_step(client: &mut impl GenericClient, email: &str) -> String {
    let answer = json(client, "select auth.sign_in($1, $2)", &[&email, &RIGHT]);
    assert_eq!(answer["status"], "mfa_required", "{answer}");
    answer["challenge_token"].as_str().unwrap().to_owned()
}

/// As if no code had been used yet.
pub fn forget_steps(database: &Database) {
    database.superuser().execute("update auth.mfa_factors set last_used_step = null", &[]).unwrap();
}

pub fn count(database: &Database, table: &str) -> i64 {
    database.superuser().query_one(&format!("select count(*) from auth.{table}"), &[]).unwrap().get(0)
}

/// F126, F128, F132, F133, XD14: an unconfirmed factor gates nothing; a verified one answers a challenge and no session, and the
/// right code makes that a session of level aal2, once.
#[test]
fn a_code_finishes_a_sign_in() {
    let database = guarded(Cluster::shared(), json!({}));
    let mut app = database.app();
    let person = sign_up(&mut app, "ada@example.org", RIGHT);
    as_user(&mut app, &person.access_token, "enroll_totp('unconfirmed')");
    sign_in(&mut app, "ada@example.org", RIGHT);
    let ada = enroll(&mut app, person);
    let sessions = count(&database, "sessions");

    let first = answer(&mut app, "sign_in('ada@example.org', $1)", &[&RIGHT]).unwrap();
    assert_eq!((&first["status"], &first["mfa_required"]), (&json!("mfa_required"), &json!(true)));
    let names: Vec<&str> = first.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["challenge_token", "expires_at", "expires_in", "factors", "mfa_required", "status"]);
    assert_eq!(first["factors"], json!([{"id": ada.factor_id, "factor_type": "totp", "friendly_name": "phone"}]));
    assert_eq!(count(&database, "sessions"), sessions, "no session before the second step");

    let token = first["challenge_token"].as_str().unwrap();
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&token, &ada.app.wrong()]), "mfa_verification_failed");
    let code = ada.app.code();
    let session = answer(&mut app, "verify_totp($1, $2)", &[&token, &code]).unwrap();
    assert_eq!(session["status"], "session");
    let claims = claims(session["access_token"].as_str().unwrap());
    assert_eq!((&claims["aal"], &claims["role"]), (&json!("aal2"), &json!("authenticated")));
    let methods: Vec<&str> =
        claims["amr"].as_array().unwrap().iter().map(|entry| entry["method"].as_str().unwrap()).collect();
    assert_eq!(methods, ["password", "totp"]);
    assert_eq!(session["user"]["factors"][0]["id"], json!(ada.factor_id));
    let token_of = session["access_token"].as_str().unwrap();
    assert_eq!(acting(&mut app, token_of, |transaction| json(transaction, "select to_jsonb(auth.aal())", &[])), "aal2");

    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&token, &code]), "mfa_challenge_expired");
    forget_steps(&database);
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&token, &ada.app.code()]), "mfa_challenge_expired");
    assert_eq!(count(&database, "mfa_challenges"), 0);
}

/// XE14, F132: whatever the first step was, the second one is asked for; whatever is done without a first step opens nothing.
#[test]
fn every_way_in_asks_for_the_second_step() {
    let database = mailing(Cluster::shared(), json!({"reset_returns_session": true, "security_notices": false}));
    let ada = ada(&database);
    let mut app = database.app();
    database.superuser().execute("update auth.users set email_confirmed_at = now()", &[]).unwrap();
    let sessions = count(&database, "sessions");
    let email = ada.person.email.as_str();
    let code = mailed(&database, "send_otp($1)", &[&email]);
    assert_eq!(said(&mut app, "verify_otp($1, $2)", &[&email, &code.code()]), "mfa_required");
    let link = mailed(&database, "send_magic_link($1)", &[&email]);
    assert_eq!(said(&mut app, "verify_link($1)", &[&link.token()]), "mfa_required");
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let options = json!({"code_challenge": challenge, "code_challenge_method": "s256"});
    let link = mailed(&database, "send_magic_link($1, null, $2)", &[&email, &options]);
    let page = answer(&mut app, "verify_link($1, '{\"flow\": \"redirect\"}')", &[&link.token()]).unwrap();
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let exchanged = said(&mut app, "exchange_code($1, $2)", &[&page["code"].as_str().unwrap(), &verifier]);
    assert_eq!(exchanged, "mfa_required");
    // XE16: a reset neither turns the second factor off nor passes it by.
    let reset = mailed(&database, "request_password_reset($1)", &[&email]);
    assert_eq!(said(&mut app, "reset_password($1, $2)", &[&reset.token(), &WRONG]), "mfa_required");
    let reset = mailed(&database, "request_password_reset($1)", &[&email]);
    assert_eq!(
        said(&mut app, "reset_password_with_code($1, $2, $3)", &[&email, &reset.code(), &RIGHT]),
        "mfa_required"
    );
    let first = first_step(&mut app, email);
    for forged in ["", "x", "00000000-0000-0000-0000-000000000000", &first[..49], &format!("{first}A")] {
        assert_eq!(
            said(&mut app, "verify_totp($1, $2)", &[&forged, &ada.app.code()]),
            "mfa_challenge_expired",
            "{forged}"
        );
    }
    // The resets have ended the session that there was.
    assert_eq!((sessions, count(&database, "sessions")), (1, 0));
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&first, &ada.app.code()]), "session");
}

/// XE15, XE18: a challenge is met by its own account's codes, and that of a session in that session only.
#[test]
fn a_challenge_is_nobody_elses() {
    let database = guarded(Cluster::shared(), json!({}));
    let mut app = database.app();
    let ada = ada(&database);
    let bob = sign_up(&mut app, "bob@example.org", RIGHT);
    let bob = enroll(&mut app, bob);
    let (of_ada, of_bob) = (first_step(&mut app, "ada@example.org"), first_step(&mut app, "bob@example.org"));
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&of_ada, &bob.app.code()]), "mfa_verification_failed");
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&of_bob, &ada.recovery_codes[0]]), "mfa_verification_failed");
    for call in ["challenge_factor", "unenroll_factor"] {
        let call = format!("{call}('{}')", ada.factor_id);
        assert_eq!(said_as(&mut app, &bob.person.access_token, &call), "mfa_factor_not_found", "{call}");
    }
    let call = format!("challenge_factor('{}')", ada.factor_id);
    let own = as_user(&mut app, &ada.person.access_token, &call);
    let call = format!("verify_totp('{}', '{}')", own["id"].as_str().unwrap(), ada.app.code());
    assert_eq!(said_as(&mut app, &bob.person.access_token, &call), "mfa_challenge_expired");
    let id = own["id"].as_str().unwrap();
    assert_eq!(
        said(&mut app, "verify_totp($1, $2)", &[&id, &ada.app.code()]),
        "mfa_challenge_expired",
        "nobody's session"
    );
    assert_eq!(said_as(&mut app, &ada.person.access_token, &call), "session");
}

/// XE19: a challenge is good for mfa_challenge_ttl.
#[test]
fn a_challenge_ends() {
    let database = guarded(Cluster::shared(), json!({"mfa_challenge_ttl": 660}));
    let ada = ada(&database);
    let mut app = database.app();
    for (age, expected) in [(650, "session"), (661, "mfa_challenge_expired")] {
        forget_steps(&database);
        let token = first_step(&mut app, "ada@example.org");
        let age = format!("update auth.mfa_challenges set expires_at = expires_at - interval '{age} s'");
        database.superuser().batch_execute(&age).unwrap();
        assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&token, &ada.app.code()]), expected);
    }
}

/// XC5, XC6, B041: five wrong codes lock the second factor of the account, in however many challenges and sessions; a right one
/// is not looked at then, the password and a new challenge change nothing, and who takes them back by ROLLBACK gains nothing.
#[test]
fn guesses_are_counted_by_account() {
    let database = guarded(Cluster::shared(), json!({"rate_limit_database": null, "lockout_attempts": null}));
    let ada = ada(&database);
    let mut app = database.app();
    let tokens: Vec<String> = (0..40).map(|_| first_step(&mut app, "ada@example.org")).collect();
    let wrong = ada.app.wrong();
    let said_each = storm_with(
        40,
        |_| database.app(),
        |number, mut client| {
            let mut transaction = client.transaction().unwrap();
            let said = said(&mut transaction, "verify_totp($1, $2)", &[&tokens[number], &wrong]);
            transaction.rollback().unwrap();
            said
        },
    );
    let looked_at = said_each.iter().filter(|said| *said == "mfa_verification_failed").count();
    assert_eq!(looked_at, 5, "{said_each:?}");
    assert!(said_each.iter().all(|said| ["mfa_verification_failed", "account_locked"].contains(&&**said)));
    let token = first_step(&mut app, "ada@example.org");
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&token, &ada.app.code()]), "account_locked");
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&token, &ada.recovery_codes[0]]), "account_locked");
    let call = format!("disable_totp('{}')", ada.app.code());
    assert_eq!(said_as(&mut app, &ada.person.access_token, &call), "account_locked");
    let seconds: i32 = database
        .superuser()
        .query_one(
            "select (event_data ->> 'seconds')::integer from auth.audit_log where event_type = 'mfa_locked'",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!(seconds, 900);
    let id = ada.person.user_id.to_string();
    database.admin().execute("select auth.guard_reset($1)", &[&id]).unwrap();
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&token, &ada.app.code()]), "session");
}

/// XE14, B041: wrong codes and a right one: what is right forgives, and only once its transaction has committed.
#[test]
fn a_right_code_forgives_at_commit() {
    let database = guarded(Cluster::shared(), json!({"rate_limit_database": null}));
    let ada = ada(&database);
    let mut app = database.app();
    let wrong = ada.app.wrong();
    for _ in 0..4 {
        let token = first_step(&mut app, "ada@example.org");
        assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&token, &wrong]), "mfa_verification_failed");
    }
    let token = first_step(&mut app, "ada@example.org");
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&token, &ada.app.code()]), "session");
    let token = first_step(&mut app, "ada@example.org");
    for _ in 0..4 {
        assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&token, &wrong]), "mfa_verification_failed");
    }
    forget_steps(&database);
    let mut transaction = app.transaction().unwrap();
    assert_eq!(said(&mut transaction, "verify_totp($1, $2)", &[&token, &ada.app.code()]), "session");
    transaction.rollback().unwrap();
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&token, &wrong]), "account_locked");
}

/// XE14: an old snapshot that has not seen the factor asks for it all the same, and one that has seen a removed one takes no code
/// of it.
#[test]
fn an_old_snapshot_passes_nobody_by() {
    let database = guarded(Cluster::shared(), json!({}));
    let (mut app, mut old) = (database.app(), database.app());
    let person = sign_up(&mut app, "ada@example.org", RIGHT);
    old.batch_execute("begin isolation level repeatable read; select 1").unwrap();
    let ada = enroll(&mut app, person);
    let said_old = said(&mut old, "sign_in('ada@example.org', $1)", &[&RIGHT]);
    assert!(["mfa_required", "conflict", "40001"].contains(&&*said_old), "{said_old}");
    old.batch_execute("rollback").unwrap();

    let token = first_step(&mut app, "ada@example.org");
    old.batch_execute("begin isolation level repeatable read; select 1").unwrap();
    as_user(&mut app, &ada.person.access_token, &format!("unenroll_factor('{}')", ada.factor_id));
    let said_old = said(&mut old, "verify_totp($1, $2)", &[&token, &ada.app.code()]);
    assert!(["40001", "conflict"].contains(&&*said_old), "{said_old}");
}

/// F139: an account of a role that needs a second factor gets a token for enrolling one, which is nobody's in policies; having
/// enrolled it is signed in.
#[test]
fn some_roles_need_a_second_factor() {
    let database = guarded(Cluster::shared(), json!({"mfa_required_roles": ["moderator"]}));
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", RIGHT);
    let bob = sign_up(&mut app, "bob@example.org", RIGHT);
    let promote =
        "update auth.users set raw_app_meta_data = raw_app_meta_data || '{\"roles\": [\"moderator\"]}' where id = $1";
    database.superuser().execute(promote, &[&ada.user_id]).unwrap();
    sign_in(&mut app, &bob.email, RIGHT);
    let first = answer(&mut app, "sign_in('ada@example.org', $1)", &[&RIGHT]).unwrap();
    assert_eq!(first["status"], "mfa_enrollment_required");
    assert!(first.get("refresh_token").is_none());
    let token = first["access_token"].as_str().unwrap();
    let claims = claims(token);
    assert_eq!((&claims["role"], &claims["token_type"]), (&json!("anon"), &json!("restricted")));
    assert!(acting(&mut app, token, |transaction| json(transaction, "select to_jsonb(auth.uid())", &[])).is_null());
    for call in [
        "list_sessions()",
        "update_password(null, 'staple correct horse')",
        "update_email('x@example.org', null)",
        "update_phone('+4915112345678')",
    ] {
        let refusal = said_as(&mut app, token, call);
        assert!(["no_authorization", ""].contains(&&*refusal), "{call}: {refusal}");
    }
    let enrolled = as_user(&mut app, token, "enroll_totp('phone')");
    let phone = Totp::new(enrolled["secret"].as_str().unwrap());
    let call = format!("confirm_totp('{}', '{}')", enrolled["factor_id"].as_str().unwrap(), phone.code());
    let session = as_user(&mut app, token, &call);
    assert_eq!(session["status"], "session");
    let token = session["access_token"].as_str().unwrap();
    let uid = acting(&mut app, token, |transaction| json(transaction, "select to_jsonb(auth.uid())", &[]));
    assert_eq!(uid, ada.user_id.to_string());
    configure(&database, json!({"mfa_required_roles": null}));
    assert_eq!(said(&mut app, "sign_in('ada@example.org', $1)", &[&RIGHT]), "mfa_required");
}
