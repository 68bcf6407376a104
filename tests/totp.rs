//! Authenticator apps: enrolment, and a code that works once.

use auth_harness::{Cluster, Totp, canary, json, refused, run_python, sign_up, storm_with, try_acting, wait_until};
use serde_json::json;

use crate::guard::{RIGHT, audited, guarded, total};
use crate::mfa::{ada, as_user, count, first_step, forget_steps, said_as};
use crate::otp::said;
use crate::refresh::configure;

/// F126, F127, F129, F137, XE8: what enrolment answers is what apps read, by implementations that know nothing of ours; a list
/// never has the secret, and neither has any table in the clear.
#[test]
fn apps_read_what_enrolment_answers() {
    let database = guarded(Cluster::shared(), json!({"totp_issuer": "Example & Söhne"}));
    let mut app = database.app();
    let person = sign_up(&mut app, "ada@example.org", RIGHT);
    let enrolled = as_user(&mut app, &person.access_token, "enroll_totp('Mein Gerät')");
    let names: Vec<&str> = enrolled.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["factor_id", "otpauth_uri", "qr_code", "secret"]);
    let text = |name: &str| enrolled[name].as_str().unwrap();
    let code = Totp::new(text("secret")).code();
    assert!(Totp::new(text("secret")).length_in_bits() >= 160);
    run_python(
        "tests/clients/authenticator.py",
        &[
            ("URI", text("otpauth_uri")),
            ("SECRET", text("secret")),
            ("QR_CODE", text("qr_code")),
            ("ISSUER", "Example & Söhne"),
            ("ACCOUNT", "ada@example.org"),
            ("CODE", &code),
        ],
    );
    let list = as_user(&mut app, &person.access_token, "list_factors()");
    assert_eq!(
        (list[0]["friendly_name"].as_str(), list[0]["status"].as_str()),
        (Some("Mein Gerät"), Some("unverified"))
    );
    assert!(!list.to_string().contains(text("secret")) && list[0].get("secret").is_none());
    let secret = Totp::new(text("secret"));
    let sealed: Vec<u8> =
        database.superuser().query_one("select secret_sealed from auth.mfa_factors", &[]).unwrap().get(0);
    assert!(!sealed.windows(20).any(|window| secret.is(window)), "the secret is sealed");
}

/// XE5, B041: a code works once: not in another challenge, not the one of a step before it, and not after ROLLBACK or SAVEPOINT.
#[test]
fn a_code_works_once() {
    let database = guarded(Cluster::shared(), json!({}));
    let ada = ada(&database);
    let mut app = database.app();
    // Enrolment has used the code of the step before this one.
    let token = first_step(&mut app, "ada@example.org");
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&token, &ada.app.code_at(-1)]), "mfa_verification_failed");
    let code = ada.app.code_at(1);
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&token, &code]), "session");
    let token = first_step(&mut app, "ada@example.org");
    for used in [code, ada.app.code()] {
        assert_eq!(
            said(&mut app, "verify_totp($1, $2)", &[&token, &used]),
            "mfa_verification_failed",
            "used, or older"
        );
    }

    forget_steps(&database);
    database.admin().execute("select auth.guard_reset($1)", &[&ada.person.user_id.to_string()]).unwrap();
    let code = ada.app.code();
    let mut transaction = app.transaction().unwrap();
    assert_eq!(said(&mut transaction, "verify_totp($1, $2)", &[&token, &code]), "session");
    transaction.rollback().unwrap();
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&token, &code]), "mfa_verification_failed", "rolled back");
    let code = ada.app.code_at(1);
    let mut transaction = app.transaction().unwrap();
    let mut savepoint = transaction.savepoint("s").unwrap();
    assert_eq!(said(&mut savepoint, "verify_totp($1, $2)", &[&token, &code]), "session");
    savepoint.rollback().unwrap();
    assert_eq!(said(&mut transaction, "verify_totp($1, $2)", &[&token, &code]), "mfa_verification_failed");
    transaction.rollback().unwrap();
}

/// XE5, XE3: sixty-four uses of one code across sixty-four challenges make one session.
#[test]
fn of_many_uses_one_succeeds() {
    let database = guarded(Cluster::shared(), json!({"rate_limit_database": null, "lockout_attempts": 100}));
    let ada = ada(&database);
    let mut app = database.app();
    let tokens: Vec<String> = (0..64).map(|_| first_step(&mut app, "ada@example.org")).collect();
    let sessions = count(&database, "sessions");
    let code = ada.app.code_at(1);
    let said_each = storm_with(
        64,
        |_| database.app(),
        |number, mut client| said(&mut client, "verify_totp($1, $2)", &[&tokens[number], &code]),
    );
    assert_eq!(said_each.iter().filter(|said| *said == "session").count(), 1, "{said_each:?}");
    assert_eq!(count(&database, "sessions"), sessions + 1);
}

/// XE5, N09: a code that was used in a transaction that the server's death undid stays used.
#[test]
fn a_kill_makes_no_code_new() {
    let cluster = Cluster::start();
    let database = guarded(&cluster, json!({}));
    let ada = ada(&database);
    let mut app = database.app();
    let (first, second) = (first_step(&mut app, "ada@example.org"), first_step(&mut app, "ada@example.org"));
    let code = ada.app.code_at(1);
    let mut transaction = app.transaction().unwrap();
    assert_eq!(said(&mut transaction, "verify_totp($1, $2)", &[&first, &code]), "session");
    transaction.rollback().unwrap();
    let subject = ada.person.user_id.to_string();
    wait_until("the failure to be written", || total(&audited(&database, "mfa_failure", &subject)) == 1);
    cluster.kill9();
    cluster.start_again();
    let mut app = database.app();
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&second, &code]), "mfa_verification_failed");
}

/// XE6: the present step and the ones beside it, and no other.
#[test]
fn a_code_ends() {
    let database = guarded(Cluster::shared(), json!({"rate_limit_database": null, "lockout_attempts": 100}));
    let ada = ada(&database);
    let mut app = database.app();
    for steps in [-3, -2, 3] {
        forget_steps(&database);
        let token = first_step(&mut app, "ada@example.org");
        let code = ada.app.code_at(steps);
        assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&token, &code]), "mfa_verification_failed", "{steps}");
        database.admin().execute("select auth.guard_reset($1)", &[&ada.person.user_id.to_string()]).unwrap();
    }
}

/// F138: switches; what is verified already is asked for whatever they say.
#[test]
fn enrolment_can_be_switched_off() {
    let database = guarded(Cluster::shared(), json!({}));
    let ada = ada(&database);
    let mut app = database.app();
    for switch in ["mfa_enabled", "mfa_totp_enabled"] {
        configure(&database, json!({switch: false}));
        let said = said_as(&mut app, &ada.person.access_token, "enroll_totp('another')");
        assert_eq!(said, "mfa_totp_enroll_not_enabled", "{switch}");
        first_step(&mut app, "ada@example.org");
        configure(&database, json!({switch: null}));
    }
}

/// F127: names and numbers of factors have bounds; a name that an unverified factor has is free.
#[test]
fn enrolments_have_bounds() {
    let database = guarded(Cluster::shared(), json!({"mfa_max_factors": 3}));
    let ada = ada(&database);
    let (mut app, token) = (database.app(), ada.person.access_token.as_str());
    let said = |app: &mut _, call: &str| said_as(app, token, call);
    assert_eq!(said(&mut app, "enroll_totp('phone')"), "mfa_factor_name_conflict");
    for name in ["''".to_owned(), "null".to_owned(), format!("'{}'", "x".repeat(65)), "E'a\\nb'".to_owned()] {
        assert_eq!(said(&mut app, &format!("enroll_totp({name})")), "validation_failed", "{name}");
    }
    assert_eq!(said(&mut app, "enroll_totp('x', '{\"issuer\": \"a:b\"}')"), "validation_failed");
    for name in ["second", "second", "third"] {
        assert_eq!(said(&mut app, &format!("enroll_totp('{name}')")), "an answer");
    }
    assert_eq!(said(&mut app, "enroll_totp('fourth')"), "too_many_enrolled_mfa_factors");
    let name = canary();
    assert_eq!(
        said_as(
            &mut app,
            &sign_up(&mut database.app(), "bob@example.org", RIGHT).access_token,
            &format!("enroll_totp('{name}')")
        ),
        "an answer"
    );
}

/// F131: one call ends it, for a right code.
#[test]
fn a_code_disables_it() {
    let database = guarded(Cluster::shared(), json!({}));
    let ada = ada(&database);
    let mut app = database.app();
    let token = ada.person.access_token.as_str();
    assert_eq!(said_as(&mut app, token, &format!("disable_totp('{}')", ada.app.wrong())), "mfa_verification_failed");
    first_step(&mut app, "ada@example.org");
    assert_eq!(said_as(&mut app, token, &format!("disable_totp('{}')", ada.app.code())), "an answer");
    assert_eq!(said(&mut app, "sign_in('ada@example.org', $1)", &[&RIGHT]), "session");
    assert_eq!(said_as(&mut app, token, "disable_totp('000000')"), "mfa_factor_not_found");
    assert_eq!((count(&database, "mfa_factors"), count(&database, "recovery_codes")), (0, 0));
    let list = as_user(&mut app, token, "list_factors()");
    assert_eq!(list, json!([]));
}

/// F128: guests have no factors, and a factor is confirmed by a code of its own alone.
#[test]
fn who_cannot_confirm() {
    let database = guarded(Cluster::shared(), json!({}));
    let mut app = database.app();
    let guest = json(&mut app, "select auth.sign_in_anonymously()", &[]);
    assert_eq!(said_as(&mut app, guest["access_token"].as_str().unwrap(), "enroll_totp('x')"), "validation_failed");
    let ada = ada(&database);
    let token = ada.person.access_token.as_str();
    let second = as_user(&mut app, token, "enroll_totp('second')");
    let id = second["factor_id"].as_str().unwrap();
    for code in [ada.app.code_at(1), ada.recovery_codes[0].clone(), "abc".to_owned()] {
        let call = format!("confirm_totp('{id}', '{code}')");
        assert_eq!(said_as(&mut app, token, &call), "mfa_verification_failed");
    }
    let bob = sign_up(&mut app, "bob@example.org", RIGHT);
    let call = format!("confirm_totp('{id}', '{}')", Totp::new(second["secret"].as_str().unwrap()).code());
    assert_eq!(said_as(&mut app, &bob.access_token, &call), "mfa_factor_not_found");
    assert_eq!(said_as(&mut app, token, &call), "session");
    assert_eq!(said_as(&mut app, token, &call), "mfa_factor_not_found", "it is verified");
    let refusal =
        refused(try_acting(&mut app, token, |transaction| transaction.execute("select * from auth.mfa_factors", &[])));
    assert_eq!(refusal.sqlstate, "42501");
}
