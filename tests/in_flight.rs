//! Sign-ins, factors and passkeys in transactions that are still open when somebody else ends what came before: whoever is first,
//! nothing of before is left.

use auth_harness::authenticator::{Algorithm, Authenticator};
use auth_harness::{Client, Cluster, Database, Totp, Transaction, json, sign_in, sign_up, wait_until};
use serde_json::json;

use crate::admin::service;
use crate::guard::{RIGHT, guarded};
use crate::mfa::{ada, as_user, count, first_step};
use crate::otp::{answer, mailed, mailing, said};
use crate::passkey::{ORIGIN, id, start_registration};
use crate::refresh::standing;
use crate::sms::{ADA, texting};
use crate::sms_factor::{enrolled, the_sms};

/// Lets somebody act while a transaction is open, which commits when they wait for it.
#[track_caller]
fn before_commit<T: Send>(database: &Database, open: Transaction<'_>, act: impl FnOnce() -> T + Send) -> T {
    let waits = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let mut watcher = database.superuser();
    std::thread::scope(|scope| {
        let acting = scope.spawn(act);
        wait_until("them to wait or to be done", || {
            acting.is_finished() || !watcher.query(waits, &[]).unwrap().is_empty()
        });
        open.commit().unwrap();
        acting.join().unwrap()
    })
}

fn acting_in<'a>(client: &'a mut Client, token: &str) -> Transaction<'a> {
    let mut transaction = client.transaction().unwrap();
    transaction.execute("select auth.authenticate($1)", &[&token]).unwrap();
    transaction
}

/// F126, XE17: a sign-in by the password alone that was not committed when the first factor was confirmed ends with the others; one
/// that waits for that factor to be committed is asked for it.
#[test]
fn the_first_factor_ends_a_sign_in_under_way() {
    for owner_is_first in [true, false] {
        let database = guarded(Cluster::shared(), json!({}));
        let (mut app, mut other) = (database.app(), database.app());
        let owner = sign_up(&mut app, "ada@example.org", RIGHT);
        let factor = as_user(&mut app, &owner.access_token, "enroll_totp('phone')");
        let totp = Totp::new(factor["secret"].as_str().unwrap());
        let confirm = format!("confirm_totp('{}', '{}')", factor["factor_id"].as_str().unwrap(), totp.code());
        if owner_is_first {
            let mut open = acting_in(&mut other, &owner.access_token);
            assert_eq!(said(&mut open, &confirm, &[]), "session");
            let thief = before_commit(&database, open, || {
                said(&mut database.app(), "sign_in('ada@example.org', $1)", &[&RIGHT])
            });
            assert_eq!(thief, "mfa_required");
        } else {
            let mut open = other.transaction().unwrap();
            let thief = sign_in(&mut open, "ada@example.org", RIGHT);
            let confirmed =
                before_commit(&database, open, || as_user(&mut database.app(), &owner.access_token, &confirm));
            assert_eq!(confirmed["status"], "session");
            assert_eq!(standing(&mut app, &thief).as_deref(), Some("session_not_found"));
            assert_eq!(said(&mut app, "refresh($1)", &[&thief.refresh_token]), "session_not_found");
        }
    }
}

/// XA3, F032: a sign-in by the old password that began before the new one was committed comes to nothing, whoever is first.
#[test]
fn a_new_password_ends_a_sign_in_under_way() {
    for owner_is_first in [true, false] {
        let database = guarded(Cluster::shared(), json!({}));
        let (mut app, mut other) = (database.app(), database.app());
        let owner = sign_up(&mut app, "ada@example.org", RIGHT);
        let change = format!("update_password('{RIGHT}', 'staple correct horse')");
        if owner_is_first {
            let mut open = acting_in(&mut other, &owner.access_token);
            open.execute(&format!("select auth.{change}"), &[]).unwrap();
            let thief = before_commit(&database, open, || {
                said(&mut database.app(), "sign_in('ada@example.org', $1)", &[&RIGHT])
            });
            assert_eq!(thief, "invalid_credentials");
        } else {
            let mut open = other.transaction().unwrap();
            let thief = sign_in(&mut open, "ada@example.org", RIGHT);
            before_commit(&database, open, || as_user(&mut database.app(), &owner.access_token, &change));
            assert_eq!(standing(&mut app, &thief).as_deref(), Some("session_not_found"));
        }
        assert_eq!(count(&database, "sessions"), 1);
    }
}

/// Two sign-ins that both renew an old hash both succeed.
#[test]
fn two_sign_ins_renew_one_hash() {
    let database = guarded(Cluster::shared(), json!({}));
    let (mut app, mut other) = (database.app(), database.app());
    sign_up(&mut app, "ada@example.org", RIGHT);
    crate::refresh::configure(&database, json!({"argon2_memory_kib": 16}));
    let mut open = other.transaction().unwrap();
    sign_in(&mut open, "ada@example.org", RIGHT);
    let second =
        before_commit(&database, open, || said(&mut database.app(), "sign_in('ada@example.org', $1)", &[&RIGHT]));
    assert_eq!(second, "session");
}

/// XA1, B055: a passkey whose registration was not committed when the owner of the address first proved it, or was invited, is gone
/// with the others.
#[test]
fn a_first_proof_ends_a_registration_under_way() {
    for is_invited in [false, true] {
        let database = mailing(
            Cluster::shared(),
            json!({"enable_passkeys": true, "webauthn_rp_id": "app.example.org", "webauthn_rp_origins": [ORIGIN]}),
        );
        let (mut app, mut other) = (database.app(), database.app());
        let stranger = sign_up(&mut app, "ada@example.org", RIGHT);
        let started = start_registration(&mut app, &stranger.access_token);
        let credential = Authenticator::new(Algorithm::Es256).create(&started["options"], ORIGIN).json();
        let mail = mailed(&database, "send_otp('ada@example.org')", &[]);
        let mut open = acting_in(&mut other, &stranger.access_token);
        let finish = "select auth.finish_passkey_registration($1, $2, 'my key')";
        json(&mut open, finish, &[&id(&started["challenge_id"]), &credential]);
        let outcome = before_commit(&database, open, || match is_invited {
            true => said(&mut service(&database), "invite_user('ada@example.org')", &[]),
            false => said(&mut database.app(), "verify_otp('ada@example.org', $1)", &[&mail.code()]),
        });
        assert_eq!(outcome, if is_invited { "an answer" } else { "session" });
        assert_eq!(count(&database, "passkeys"), 0);
    }
}

/// F136: a set of recovery codes that was not committed when the next one was made is void with the one before.
#[test]
fn a_set_of_codes_ends_one_under_way() {
    let database = guarded(Cluster::shared(), json!({}));
    let ada = ada(&database);
    let mut other = database.app();
    for has_one_before in [true, false] {
        if !has_one_before {
            database.superuser().execute("delete from auth.recovery_codes", &[]).unwrap();
        }
        let mut open = acting_in(&mut other, &ada.person.access_token);
        open.execute("select auth.regenerate_recovery_codes()", &[]).unwrap();
        before_commit(&database, open, || {
            as_user(&mut database.app(), &ada.person.access_token, "regenerate_recovery_codes()")
        });
        assert_eq!(count(&database, "recovery_codes"), 10);
    }
}

/// XD8: the code of a phone that is being removed as a factor opens nothing.
#[test]
fn a_removed_phone_finishes_no_sign_in() {
    let database = texting(Cluster::shared(), json!({}));
    let (mut app, mut other) = (database.app(), database.app());
    let (token, factor_id) = enrolled(&database, "ada@example.org", ADA);
    let challenge = first_step(&mut app, "ada@example.org");
    answer(&mut app, "send_mfa_sms($1)", &[&challenge]).unwrap();
    let sms = the_sms(&database);
    let mut open = acting_in(&mut other, &token);
    open.execute(&format!("select auth.unenroll_factor('{factor_id}')"), &[]).unwrap();
    let outcome = before_commit(&database, open, || {
        answer(&mut database.app(), "verify_totp($1, $2)", &[&challenge, &sms.code()])
    });
    assert_eq!(outcome.unwrap_err().code, "mfa_verification_failed");
    assert_eq!(count(&database, "sessions"), 1);
}
