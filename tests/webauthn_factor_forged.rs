//! A security key as a second factor: what is forged is refused, and the honest answer beside it is not.

use auth_harness::authenticator::{Algorithm, Authenticator, USER_PRESENT};
use auth_harness::{Cluster, sign_up, wait_until};
use serde_json::{Value, json};

use crate::mfa::{as_user, first_step};
use crate::passkey::{ORIGIN, PASSWORD, code, with_passkeys};
use crate::passkey_forged::{ASSERTION, CREDENTIAL, REGISTRATION, flip};
use crate::webauthn_factor::{asked, begin, confirmed, enrolled, finish, keyed, security_key, verify};

const EMAIL: &str = "ada@example.org";

/// XH1, XH2, XH3, XH7, B014: of a good key that is made each single change is refused, and the factor stays unconfirmed.
#[test]
fn a_changed_registration() {
    let database = with_passkeys(Cluster::shared()).without_limits();
    let mut app = database.app();
    let token = sign_up(&mut app, EMAIL, PASSWORD).access_token;
    let factor_id = enrolled(&mut app, &token, "my key");
    let mut key = security_key();
    let mut check =
        |name: &str, change: &dyn Fn(&mut auth_harness::authenticator::Registration), tamper: &dyn Fn(&mut Value)| {
            let challenge = as_user(&mut app, &token, &format!("challenge_factor('{factor_id}')"));
            let mut made = key.create(asked(&challenge, "create"), ORIGIN);
            change(&mut made);
            let mut credential = made.json();
            tamper(&mut credential);
            assert_eq!(code(verify(&mut app, &token, &challenge, &credential)), "mfa_verification_failed", "{name}");
        };
    for (name, change) in REGISTRATION {
        check(name, change, &|_| ());
    }
    for (name, tamper) in CREDENTIAL {
        check(name, &|_| (), tamper);
    }
    for origin in [
        "https://badapp.example.org",
        "https://app.example.org.evil",
        "null",
        "http://app.example.org",
        "https://app.example.org:444",
    ] {
        check(origin, &|made| made.client_data["origin"] = json!(origin), &|_| ());
    }
    let mut app = database.app();
    assert_eq!(as_user(&mut app, &token, "list_factors()")[0]["status"], "unverified");
    confirmed(&mut app, &token, "my key", key);
}

/// XH1, XH2, XH5, XH7, B014: of a good answer each single change is refused, signed or made on the way, and the honest one is not.
#[test]
fn a_changed_answer() {
    let database = with_passkeys(Cluster::shared()).without_limits();
    let mut app = database.app();
    let mut ada = keyed(&database, EMAIL);
    let challenge = first_step(&mut app, EMAIL);
    let mut check =
        |name: &str, change: &dyn Fn(&mut auth_harness::authenticator::Assertion), tamper: &dyn Fn(&mut Value)| {
            let begun = begin(&mut app, &challenge);
            let mut signed = ada.key.get(asked(&begun, "request"), ORIGIN);
            change(&mut signed);
            let mut credential = signed.json(&ada.key);
            tamper(&mut credential);
            assert_eq!(code(finish(&mut app, &challenge, &credential)), "mfa_verification_failed", "{name}");
        };
    // A key that was told which one it is need not say whose.
    for (name, change) in ASSERTION.iter().filter(|(name, _)| *name != "no user") {
        check(name, change, &|_| ());
    }
    for (name, tamper) in CREDENTIAL {
        check(name, &|_| (), tamper);
    }
    for name in ["signature", "authenticatorData", "clientDataJSON", "userHandle"] {
        check(name, &|_| (), &|credential| flip(&mut credential["response"][name]));
        check(name, &|_| (), &|credential| credential["response"][name] = json!(7));
    }
    let mut app = database.app();
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        let mut other = Authenticator::new(algorithm);
        other.credential_id = ada.key.credential_id.clone();
        (other.sign_count, other.flags) = (1000, USER_PRESENT);
        let begun = begin(&mut app, &challenge);
        let signed = other.get(asked(&begun, "request"), ORIGIN).json(&other);
        assert_eq!(code(finish(&mut app, &challenge, &signed)), "mfa_verification_failed");
    }
    let begun = begin(&mut app, &challenge);
    let mut signed = ada.key.get(asked(&begun, "request"), ORIGIN);
    signed.user_handle = None;
    finish(&mut app, &challenge, &signed.json(&ada.key)).unwrap();
}

/// XH7, B014: a counter that does not go on is refused and in the audit; a key that has none always says zero.
#[test]
fn a_counter_goes_on() {
    let database = with_passkeys(Cluster::shared()).without_limits();
    let mut app = database.app();
    let mut ada = keyed(&database, EMAIL);
    for (count, is_good) in [(5, true), (5, false), (4, false), (0, false), (u32::MAX, true), (u32::MAX, false)] {
        let challenge = first_step(&mut app, EMAIL);
        let begun = begin(&mut app, &challenge);
        let mut signed = ada.key.get(asked(&begun, "request"), ORIGIN);
        signed.sign_count = count;
        let said = finish(&mut app, &challenge, &signed.json(&ada.key));
        match is_good {
            true => drop(said.unwrap()),
            false => assert_eq!(code(said), "mfa_verification_failed", "{count}"),
        }
    }
    let audited =
        "select coalesce(sum(count), 0)::bigint from auth.audit_log where event_type = 'factor_counter_rolled_back'
        and event_data ->> 'factor_id' = $1";
    wait_until("the rows are written", || {
        database.superuser().query_one(audited, &[&ada.factor_id]).unwrap().get::<_, i64>(0) == 4
    });
    let bob = sign_up(&mut app, "bob@example.org", PASSWORD);
    let mut without = security_key();
    without.sign_count = 0;
    let mut bob = confirmed(&mut app, &bob.access_token, "no counter", without);
    for _ in 0..2 {
        let challenge = first_step(&mut app, "bob@example.org");
        let begun = begin(&mut app, &challenge);
        let signed = bob.key.get(asked(&begun, "request"), ORIGIN).json(&bob.key);
        finish(&mut app, &challenge, &signed).unwrap();
    }
}

/// XC5, XC7, B014: wrong answers and wrong codes are one budget of the account: the fifth locks the second step, for the right
/// answer too; and who has the right one gets in with what is left of a set of recovery codes after the lock only.
#[test]
fn wrong_answers_lock_the_second_step() {
    let database = with_passkeys(Cluster::shared());
    let mut app = database.app();
    let mut ada = keyed(&database, EMAIL);
    let mut said = Vec::new();
    for number in 0..7 {
        let challenge = first_step(&mut app, EMAIL);
        let begun = begin(&mut app, &challenge);
        let mut signed = ada.key.get(asked(&begun, "request"), ORIGIN).json(&ada.key);
        if number < 6 {
            flip(&mut signed["response"]["signature"]);
        }
        said.push(match number {
            2 => crate::otp::said(&mut app, "verify_totp($1, '000000')", &[&challenge]),
            _ => code(finish(&mut app, &challenge, &signed)),
        });
    }
    assert_eq!(said, [["mfa_verification_failed"; 5].as_slice(), &["account_locked"; 2]].concat());
    let challenge = first_step(&mut app, EMAIL);
    let recovery = &ada.recovery_codes[0];
    assert_eq!(crate::otp::said(&mut app, "verify_totp($1, $2)", &[&challenge, &recovery]), "account_locked");
}

/// XH8, B014: what is too large is refused before it is read, and what is nothing is told from what is wrong.
#[test]
fn input_is_bounded() {
    let database = with_passkeys(Cluster::shared()).without_limits();
    let mut app = database.app();
    let ada = keyed(&database, EMAIL);
    let challenge = first_step(&mut app, EMAIL);
    begin(&mut app, &challenge);
    let long = json!({"id": "x".repeat(70_000)});
    assert_eq!(code(finish(&mut app, &challenge, &long)), "validation_failed");
    for call in
        ["verify_webauthn($1, null)", "verify_webauthn(null, to_jsonb($1::text))", "challenge_webauthn(nullif($1, $1))"]
    {
        assert_eq!(crate::otp::said(&mut app, call, &[&challenge]), "validation_failed", "{call}");
    }
    for forged in ["", "x", "00000000-0000-0000-0000-000000000000", &challenge[1..], &ada.factor_id] {
        assert_eq!(
            crate::otp::said(&mut app, "challenge_webauthn($1)", &[&forged]),
            "mfa_challenge_expired",
            "{forged}"
        );
        assert_eq!(code(finish(&mut app, forged, &json!({}))), "mfa_challenge_expired", "{forged}");
    }
    let nobodys = "challenge_webauthn($1, gen_random_uuid())";
    assert_eq!(crate::otp::said(&mut app, nobodys, &[&challenge]), "mfa_factor_not_found");
}
