//! Recovery codes: what there is of them, and that each lets in once.

use auth_harness::{Cluster, sign_up, storm_with};
use serde_json::json;

use crate::guard::{RIGHT, guarded};
use crate::mfa::{ada, as_user, count, first_step, said_as};
use crate::otp::{answer, said};

/// F135, F134, XE2: ten codes of 80 bits, shown once and kept as digests; one does what a code of the app does, once, however it is
/// typed.
#[test]
fn a_code_lets_in_once() {
    let database = guarded(Cluster::shared(), json!({}));
    let ada = ada(&database);
    let mut app = database.app();
    let codes = &ada.recovery_codes;
    assert_eq!(codes.len(), 10);
    for code in codes {
        let groups: Vec<&str> = code.split('-').collect();
        assert!(groups.len() == 4 && groups.iter().all(|group| group.len() == 4), "{code}");
        assert!(code.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit() || byte.is_ascii_lowercase()), "{code}");
    }
    let all: String = database
        .superuser()
        .query_one("select string_agg(c::text, '') from auth.recovery_codes as c", &[])
        .unwrap()
        .get(0);
    for code in codes {
        assert!(!all.contains(code) && !all.contains(&code.replace('-', "")), "no code in the clear");
    }
    let typed = [codes[0].clone(), codes[1].to_uppercase(), codes[2].replace('-', ""), codes[3].replace('-', " ")];
    for (code, used) in typed.iter().zip(codes) {
        let token = first_step(&mut app, "ada@example.org");
        let session = answer(&mut app, "verify_totp($1, $2)", &[&token, &code]).unwrap();
        assert_eq!(session["status"], "session", "{code}");
        let token = first_step(&mut app, "ada@example.org");
        assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&token, &used]), "mfa_verification_failed", "used");
    }
    let left = as_user(&mut app, &ada.person.access_token, "count_recovery_codes()::text::jsonb");
    assert_eq!(left, 6);
}

/// XE1: sixty-four uses of one code at once make one session, and take one code.
#[test]
fn of_many_uses_one_succeeds() {
    let database = guarded(Cluster::shared(), json!({"rate_limit_database": null, "lockout_attempts": 100}));
    let ada = ada(&database);
    let mut app = database.app();
    let tokens: Vec<String> = (0..64).map(|_| first_step(&mut app, "ada@example.org")).collect();
    let sessions = count(&database, "sessions");
    let said_each = storm_with(
        64,
        |_| database.app(),
        |number, mut client| said(&mut client, "verify_totp($1, $2)", &[&tokens[number], &ada.recovery_codes[0]]),
    );
    assert_eq!(said_each.iter().filter(|said| *said == "session").count(), 1, "{said_each:?}");
    assert_eq!(count(&database, "sessions"), sessions + 1);
    assert_eq!(count(&database, "recovery_codes where used_at is null"), 9);
}

/// XE2: used in a transaction that is rolled back, a code is used.
#[test]
fn a_rollback_gives_no_code_back() {
    let database = guarded(Cluster::shared(), json!({}));
    let ada = ada(&database);
    let mut app = database.app();
    let token = first_step(&mut app, "ada@example.org");
    let code = &ada.recovery_codes[0];
    let mut transaction = app.transaction().unwrap();
    let mut savepoint = transaction.savepoint("s").unwrap();
    assert_eq!(said(&mut savepoint, "verify_totp($1, $2)", &[&token, code]), "session");
    savepoint.rollback().unwrap();
    assert_eq!(said(&mut transaction, "verify_totp($1, $2)", &[&token, code]), "mfa_verification_failed");
    transaction.rollback().unwrap();
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&token, code]), "mfa_verification_failed");
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&token, &ada.recovery_codes[1]]), "session");
}

/// F136, XE17: a new set makes the old one void; there is none without a factor, nor for a session that has used none.
#[test]
fn a_new_set_replaces_the_old_one() {
    let database = guarded(Cluster::shared(), json!({"mfa_enforcement": "policy"}));
    let ada = ada(&database);
    let mut app = database.app();
    let weak = answer(&mut app, "sign_in('ada@example.org', $1)", &[&RIGHT]).unwrap();
    let weak = weak["access_token"].as_str().unwrap();
    assert_eq!(said_as(&mut app, weak, "regenerate_recovery_codes()"), "insufficient_aal");
    let bob = sign_up(&mut app, "bob@example.org", RIGHT);
    assert_eq!(said_as(&mut app, &bob.access_token, "regenerate_recovery_codes()"), "mfa_recovery_codes_sole_factor");
    let new = as_user(&mut app, &ada.person.access_token, "regenerate_recovery_codes()");
    assert_eq!((new["recovery_codes"].as_array().unwrap().len(), count(&database, "recovery_codes")), (10, 10));
    let challenge = as_user(&mut app, weak, &format!("challenge_factor('{}')", ada.factor_id));
    let id = challenge["id"].as_str().unwrap();
    let verify = |code: &str| format!("verify_totp('{id}', '{code}')");
    assert_eq!(said_as(&mut app, weak, &verify(&ada.recovery_codes[0])), "mfa_verification_failed");
    assert_eq!(said_as(&mut app, weak, &verify(new["recovery_codes"][0].as_str().unwrap())), "session");
}
