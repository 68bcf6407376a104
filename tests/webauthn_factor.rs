//! A security key as a second factor: enrolled, confirmed, asked for, removed; and what does not meet a challenge.

use auth_harness::authenticator::{Algorithm, Authenticator, USER_PRESENT, decode};
use auth_harness::{Client, Cluster, Database, Refusal, claims, sign_up, storm_with};
use serde_json::{Value, json};

use crate::mfa::{as_user, count, enroll, first_step, said_as};
use crate::otp::{answer, said};
use crate::passkey::{ORIGIN, PASSWORD, ask, code, register, sign_in_with, with_passkeys};
use crate::refresh::configure;

const EMAIL: &str = "ada@example.org";

/// Somebody with a security key; the token is of level aal2.
pub struct Keyed {
    pub token: String,
    pub factor_id: String,
    pub key: Authenticator,
    pub recovery_codes: Vec<String>,
}

/// One that is touched, and asks for no PIN.
pub fn security_key() -> Authenticator {
    let mut key = Authenticator::new(Algorithm::Es256);
    key.flags = USER_PRESENT;
    key
}

/// What the browser is told to ask the key for.
#[track_caller]
pub fn asked<'a>(answer: &'a Value, kind: &str) -> &'a Value {
    assert_eq!(answer["webauthn"]["type"], kind, "{answer}");
    &answer["webauthn"]["credential_options"]["publicKey"]
}

#[track_caller]
pub fn enrolled(client: &mut Client, token: &str, name: &str) -> String {
    let enrolled = as_user(client, token, &format!("enroll_webauthn('{name}')"));
    assert_eq!((&enrolled["status"], &enrolled["friendly_name"]), (&json!("enrolled"), &json!(name)));
    enrolled["factor_id"].as_str().unwrap().to_owned()
}

/// Meets a challenge in a session.
pub fn verify(client: &mut Client, token: &str, challenge: &Value, credential: &Value) -> Result<Value, Refusal> {
    ask(client, token, "verify_webauthn($1, $2)", &[&challenge["id"].as_str().unwrap(), credential])
}

/// Takes the second step of a sign-in.
pub fn finish(client: &mut Client, challenge: &str, credential: &Value) -> Result<Value, Refusal> {
    answer(client, "verify_webauthn($1, $2)", &[&challenge, credential])
}

pub fn begin(client: &mut Client, challenge: &str) -> Value {
    answer(client, "challenge_webauthn($1)", &[&challenge]).unwrap()
}

/// Enrols this key and confirms it.
#[track_caller]
pub fn confirmed(client: &mut Client, token: &str, name: &str, mut key: Authenticator) -> Keyed {
    let factor_id = enrolled(client, token, name);
    let challenge = as_user(client, token, &format!("challenge_factor('{factor_id}')"));
    let made = key.create(asked(&challenge, "create"), ORIGIN).json();
    let session = verify(client, token, &challenge, &made).unwrap();
    assert_eq!((&session["status"], &session["factor_id"]), (&json!("session"), &json!(factor_id)));
    let codes = session["recovery_codes"].as_array().into_iter().flatten();
    let recovery_codes = codes.map(|code| code.as_str().unwrap().to_owned()).collect();
    Keyed { token: session["access_token"].as_str().unwrap().to_owned(), factor_id, key, recovery_codes }
}

#[track_caller]
pub fn keyed(database: &Database, email: &str) -> Keyed {
    let mut app = database.app();
    let person = sign_up(&mut app, email, PASSWORD);
    confirmed(&mut app, &person.access_token, "my key", security_key())
}

/// A sign-in up to what the key signs.
#[track_caller]
pub fn signed(client: &mut Client, email: &str, key: &mut Authenticator) -> (String, Value) {
    let challenge = first_step(client, email);
    let begun = begin(client, &challenge);
    let signed = key.get(asked(&begun, "request"), ORIGIN).json(key);
    (challenge, signed)
}

fn methods(session: &Value) -> Vec<String> {
    let claims = claims(session["access_token"].as_str().unwrap());
    assert_eq!(claims["aal"], "aal2");
    claims["amr"].as_array().unwrap().iter().map(|one| one["method"].as_str().unwrap().to_owned()).collect()
}

/// B014: a security key is asked for nowhere before it has made a key; then it finishes a sign-in, once, and raises a session; a
/// recovery code stands for it.
#[test]
fn a_security_key_finishes_a_sign_in() {
    let database = with_passkeys(Cluster::shared());
    let mut app = database.app();
    let person = sign_up(&mut app, EMAIL, PASSWORD);
    let token = &person.access_token;
    let factor_id = enrolled(&mut app, token, "my key");
    assert_eq!(said(&mut app, "sign_in($1, $2)", &[&EMAIL, &PASSWORD]), "session", "not confirmed yet");
    let challenge = as_user(&mut app, token, &format!("challenge_factor('{factor_id}')"));
    assert_eq!((&challenge["type"], &challenge["factor_id"]), (&json!("webauthn"), &json!(factor_id)));
    let options = asked(&challenge, "create");
    assert_eq!(options["rp"], json!({"id": "app.example.org", "name": "App"}));
    assert_eq!((&options["user"]["name"], &options["excludeCredentials"]), (&json!(EMAIL), &json!([])));
    // A handle of its own: with that of the account an authenticator would overwrite a passkey.
    assert_eq!(decode(&options["user"]["id"]), factor_id.parse::<uuid::Uuid>().unwrap().as_bytes());
    let wanted = json!({"authenticatorAttachment": "cross-platform", "residentKey": "discouraged", "requireResidentKey": false,
        "userVerification": "discouraged"});
    assert_eq!((&options["authenticatorSelection"], &options["attestation"]), (&wanted, &json!("none")));
    let mut key = security_key();
    let made = key.create(options, ORIGIN).json();
    let confirmed = verify(&mut app, token, &challenge, &made).unwrap();
    assert_eq!(methods(&confirmed), ["password", "mfa/webauthn"]);
    assert_eq!(confirmed["recovery_codes"].as_array().unwrap().len(), 10);
    assert_eq!(code(verify(&mut app, token, &challenge, &made)), "mfa_challenge_expired");

    let first = answer(&mut app, "sign_in($1, $2)", &[&EMAIL, &PASSWORD]).unwrap();
    let factor = json!({"id": factor_id, "factor_type": "webauthn", "friendly_name": "my key"});
    assert_eq!((&first["status"], &first["factors"]), (&json!("mfa_required"), &json!([factor])));
    let challenge = first["challenge_token"].as_str().unwrap().to_owned();
    let begun = begin(&mut app, &challenge);
    let options = asked(&begun, "request");
    assert_eq!((&options["rpId"], &options["userVerification"]), (&json!("app.example.org"), &json!("discouraged")));
    assert_eq!(decode(&options["allowCredentials"][0]["id"]), key.credential_id);
    let signed = key.get(options, ORIGIN).json(&key);
    let session = finish(&mut app, &challenge, &signed).unwrap();
    assert_eq!((methods(&session), &session["status"]), (methods(&confirmed), &json!("session")));
    assert_eq!(session["user"]["factors"][0]["factor_type"], "webauthn");
    assert_eq!(code(finish(&mut app, &challenge, &signed)), "mfa_challenge_expired");
    assert_eq!(said(&mut app, "challenge_webauthn($1)", &[&challenge]), "mfa_challenge_expired");

    let token = session["access_token"].as_str().unwrap();
    let challenge = as_user(&mut app, token, &format!("challenge_factor('{factor_id}')"));
    let signed = key.get(asked(&challenge, "request"), ORIGIN).json(&key);
    // Nothing to others, who do not have the session.
    assert_eq!(code(finish(&mut app, challenge["id"].as_str().unwrap(), &signed)), "mfa_challenge_expired");
    let raised = verify(&mut app, token, &challenge, &signed).unwrap();
    assert_eq!(methods(&raised).last().unwrap(), "mfa/webauthn");
    let token = raised["access_token"].as_str().unwrap();
    let recovery = confirmed["recovery_codes"][0].as_str().unwrap();
    let quiet = as_user(&mut app, token, &format!("challenge_factor('{factor_id}', '{{\"send\": false}}')"));
    assert_eq!(quiet.get("webauthn"), None);
    let call = format!("verify_totp('{}', '{recovery}')", quiet["id"].as_str().unwrap());
    assert_eq!(said_as(&mut app, token, &call), "session");
    let challenge = first_step(&mut app, EMAIL);
    let recovery = confirmed["recovery_codes"][1].as_str().unwrap();
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&challenge, &recovery]), "session");
}

/// B014, XE15, XH3: what a key signs is for the challenge that it was asked in: not for another sign-in of the same account, nor
/// somebody else's, nor another session, nor another factor; not an hour later; and a newer ceremony ends the one before.
#[test]
fn an_answer_is_for_one_challenge() {
    let database = with_passkeys(Cluster::shared()).without_limits();
    let mut app = database.app();
    let mut ada = keyed(&database, EMAIL);
    let mut bob = keyed(&database, "bob@example.org");
    let (one, signed_one) = signed(&mut app, EMAIL, &mut ada.key);
    let (two, _) = signed(&mut app, EMAIL, &mut ada.key);
    let (of_bob, signed_bob) = signed(&mut app, "bob@example.org", &mut bob.key);
    assert_eq!(code(finish(&mut app, &two, &signed_one)), "mfa_verification_failed");
    assert_eq!(code(finish(&mut app, &one, &signed_bob)), "mfa_verification_failed");
    assert_eq!(code(finish(&mut app, &of_bob, &signed_one)), "mfa_verification_failed");
    // Whatever came of it, it is spent; a new ceremony of the same challenge is not.
    assert_eq!(code(finish(&mut app, &one, &signed_one)), "webauthn_challenge_expired");
    for challenge in [&one, &two] {
        let old = begin(&mut app, challenge);
        let old = ada.key.get(asked(&old, "request"), ORIGIN).json(&ada.key);
        begin(&mut app, challenge);
        assert_eq!(code(finish(&mut app, challenge, &old)), "mfa_verification_failed");
    }
    // The other's key, as itself and saying that it is this one.
    let begun = begin(&mut app, &one);
    let as_itself = bob.key.get(asked(&begun, "request"), ORIGIN).json(&bob.key);
    assert_eq!(code(finish(&mut app, &one, &as_itself)), "mfa_verification_failed");
    let begun = begin(&mut app, &one);
    let mut forged = bob.key.get(asked(&begun, "request"), ORIGIN);
    forged.credential_id = ada.key.credential_id.clone();
    forged.user_handle = None;
    let forged = forged.json(&bob.key);
    assert_eq!(code(finish(&mut app, &one, &forged)), "mfa_verification_failed");
    let begun = begin(&mut app, &one);
    let good = ada.key.get(asked(&begun, "request"), ORIGIN).json(&ada.key);
    let age = "update auth.mfa_challenges set webauthn_expires_at = webauthn_expires_at - interval '5 minutes'";
    database.superuser().execute(age, &[]).unwrap();
    assert_eq!(code(finish(&mut app, &one, &good)), "webauthn_challenge_expired");

    // In a session: not that of another session, and of another factor neither.
    let second = confirmed(&mut app, &ada.token, "another key", security_key());
    let mut another = second.key;
    let call = format!("challenge_factor('{}')", ada.factor_id);
    let challenge = as_user(&mut app, &second.token, &call);
    let by_other = another.get(asked(&challenge, "request"), ORIGIN).json(&another);
    assert_eq!(code(verify(&mut app, &second.token, &challenge, &by_other)), "mfa_verification_failed");
    let challenge = as_user(&mut app, &second.token, &call);
    let good = ada.key.get(asked(&challenge, "request"), ORIGIN).json(&ada.key);
    assert_eq!(code(verify(&mut app, &bob.token, &challenge, &good)), "mfa_challenge_expired");
    let (elsewhere, signed_elsewhere) = signed(&mut app, EMAIL, &mut another);
    let elsewhere = finish(&mut app, &elsewhere, &signed_elsewhere).unwrap();
    let elsewhere = elsewhere["access_token"].as_str().unwrap();
    assert_eq!(code(verify(&mut app, elsewhere, &challenge, &good)), "mfa_challenge_expired");
    verify(&mut app, &second.token, &challenge, &good).unwrap();
}

/// B014, XH3: what makes a key confirms no other factor and takes no second step, and what a key signs confirms none.
#[test]
fn making_a_key_is_not_signing_with_it() {
    let database = with_passkeys(Cluster::shared()).without_limits();
    let mut app = database.app();
    let mut ada = keyed(&database, EMAIL);
    let (challenge, _) = signed(&mut app, EMAIL, &mut ada.key);
    let begun = begin(&mut app, &challenge);
    let mut options = json!({"rp": {"id": "app.example.org"}, "user": {"id": "AAAA"}});
    options["challenge"] = asked(&begun, "request")["challenge"].clone();
    let mut thief = security_key();
    let made = thief.create(&options, ORIGIN).json();
    assert_eq!(code(finish(&mut app, &challenge, &made)), "mfa_verification_failed");

    let new = enrolled(&mut app, &ada.token, "another");
    let call = format!("challenge_factor('{new}')");
    let asked_for = as_user(&mut app, &ada.token, &call);
    let mut options = json!({"rpId": "app.example.org"});
    options["challenge"] = asked(&asked_for, "create")["challenge"].clone();
    let signed = ada.key.get(&options, ORIGIN).json(&ada.key);
    assert_eq!(code(verify(&mut app, &ada.token, &asked_for, &signed)), "mfa_verification_failed");
    // A key that the account has, or anybody, is not made again.
    let excluded = as_user(&mut app, &ada.token, &call);
    assert_eq!(decode(&asked(&excluded, "create")["excludeCredentials"][0]["id"]), ada.key.credential_id);
    let again = ada.key.create(asked(&excluded, "create"), ORIGIN).json();
    assert_eq!(code(verify(&mut app, &ada.token, &excluded, &again)), "webauthn_credential_exists");
    let bob = sign_up(&mut app, "bob@example.org", PASSWORD).access_token;
    let of_bob = enrolled(&mut app, &bob, "hers");
    let challenge = as_user(&mut app, &bob, &format!("challenge_factor('{of_bob}')"));
    let mut stolen = thief.create(asked(&challenge, "create"), ORIGIN);
    stolen.credential_id = ada.key.credential_id.clone();
    stolen.raw_id = ada.key.credential_id.clone();
    assert_eq!(code(verify(&mut app, &bob, &challenge, &stolen.json())), "webauthn_credential_exists");
}

/// B014: a key that is a factor signs nobody in alone, and is no passkey in any list; a passkey is no factor.
#[test]
fn factors_are_no_passkeys() {
    let database = with_passkeys(Cluster::shared()).without_limits();
    let mut app = database.app();
    let mut ada = keyed(&database, EMAIL);
    assert_eq!(code(sign_in_with(&mut app, &mut ada.key, |_| ())), "webauthn_verification_failed");
    let named = answer(&mut app, "start_passkey_sign_in($1)", &[&EMAIL]).unwrap();
    assert_ne!(decode(&named["options"]["allowCredentials"][0]["id"]), ada.key.credential_id);
    assert_eq!(count(&database, "passkeys"), 0);
    let delete = format!("delete_passkey('{}')", ada.factor_id);
    assert_eq!(said_as(&mut app, &ada.token, &delete), "webauthn_credential_not_found");

    assert_eq!(code(register(&mut app, &ada.token, &mut ada.key)), "webauthn_credential_exists");
    let mut passkey = Authenticator::new(Algorithm::Es256);
    register(&mut app, &ada.token, &mut passkey).unwrap();
    let (challenge, _) = signed(&mut app, EMAIL, &mut ada.key);
    let begun = begin(&mut app, &challenge);
    let options = asked(&begun, "request");
    assert_eq!(options["allowCredentials"].as_array().unwrap().len(), 1);
    let by_passkey = passkey.get(options, ORIGIN).json(&passkey);
    assert_eq!(code(finish(&mut app, &challenge, &by_passkey)), "mfa_verification_failed");
    // What is in the device that signs in already is not enrolled as its own second factor.
    let new = enrolled(&mut app, &ada.token, "the same device");
    let challenge = as_user(&mut app, &ada.token, &format!("challenge_factor('{new}')"));
    assert_eq!(asked(&challenge, "create")["excludeCredentials"].as_array().unwrap().len(), 2);
    let made = passkey.create(asked(&challenge, "create"), ORIGIN).json();
    assert_eq!(code(verify(&mut app, &ada.token, &challenge, &made)), "webauthn_credential_exists");
}

/// XE14, B014: two things that one has are one factor: after a passkey that has verified nobody, a security key is no second
/// step; an app is.
#[test]
fn a_key_is_no_second_step_after_a_passkey() {
    let database = with_passkeys(Cluster::shared()).without_limits();
    let mut app = database.app();
    let person = sign_up(&mut app, EMAIL, PASSWORD);
    let mut touched = security_key();
    register(&mut app, &person.access_token, &mut touched).unwrap();
    let ada = enroll(&mut app, person);
    let mut key = confirmed(&mut app, &ada.person.access_token, "my key", security_key()).key;
    let first = sign_in_with(&mut app, &mut touched, |_| ()).unwrap();
    assert_eq!(first["status"], "mfa_required");
    let challenge = first["challenge_token"].as_str().unwrap().to_owned();
    assert_eq!(said(&mut app, "challenge_webauthn($1)", &[&challenge]), "mfa_factor_not_found");
    let ceremony = "update auth.mfa_challenges set webauthn_challenge = $1, webauthn_expires_at = expires_at";
    database.superuser().execute(ceremony, &[&[7_u8; 32].as_slice()]).unwrap();
    let options = json!({"rpId": "app.example.org", "challenge": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"});
    let signed = key.get(&options, ORIGIN).json(&key);
    assert_eq!(code(finish(&mut app, &challenge, &signed)), "mfa_verification_failed");
    let (with_password, signed) = self::signed(&mut app, EMAIL, &mut key);
    finish(&mut app, &with_password, &signed).unwrap();
    crate::mfa::forget_steps(&database);
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&challenge, &ada.app.code()]), "session");
}

/// XE17, B014: a session of one factor neither adds a security key nor removes one; removing one lowers what it had raised, at the
/// next statement, and leaves nothing of it.
#[test]
fn who_may_change_security_keys() {
    let database = with_passkeys(Cluster::shared()).without_limits();
    configure(&database, json!({"mfa_enforcement": "policy"}));
    let mut app = database.app();
    let ada = keyed(&database, EMAIL);
    let weak = answer(&mut app, "sign_in($1, $2)", &[&EMAIL, &PASSWORD]).unwrap();
    let weak = weak["access_token"].as_str().unwrap();
    let unenroll = format!("unenroll_factor('{}')", ada.factor_id);
    assert_eq!(said_as(&mut app, weak, "enroll_webauthn('theirs')"), "insufficient_aal");
    assert_eq!(said_as(&mut app, weak, &unenroll), "insufficient_aal");
    // One that was enrolled before is not confirmed by it either.
    let begun = enrolled(&mut app, &ada.token, "begun");
    let challenge = as_user(&mut app, weak, &format!("challenge_factor('{begun}')"));
    let made = security_key().create(asked(&challenge, "create"), ORIGIN).json();
    assert_eq!(code(verify(&mut app, weak, &challenge, &made)), "insufficient_aal");
    let bob = keyed(&database, "bob@example.org");
    assert_eq!(said_as(&mut app, &bob.token, &unenroll), "mfa_factor_not_found");

    let level = |app: &mut Client| ask(app, &ada.token, "aal()", &[]).unwrap();
    assert_eq!(level(&mut app), "aal2");
    as_user(&mut app, &ada.token, &unenroll);
    assert_eq!(level(&mut app), "aal1");
    let left = "select from auth.mfa_factors where credential_id = $1";
    assert!(database.superuser().query(left, &[&ada.key.credential_id]).unwrap().is_empty());
}

/// B014: where it is switched off none is enrolled and none confirmed; who has one uses it. Guests have none.
#[test]
fn what_may_be_enrolled() {
    let database = with_passkeys(Cluster::shared()).without_limits();
    let mut app = database.app();
    let mut ada = keyed(&database, EMAIL);
    let begun = enrolled(&mut app, &ada.token, "begun");
    let call = format!("challenge_factor('{begun}')");
    let challenge = as_user(&mut app, &ada.token, &call);
    let made = security_key().create(asked(&challenge, "create"), ORIGIN).json();
    assert_eq!(said_as(&mut app, &ada.token, "enroll_webauthn('my key')"), "mfa_factor_name_conflict");
    for wrong in ["null", "''", "repeat('x', 65)", "'x', '{\"x\": 1}'"] {
        assert_eq!(said_as(&mut app, &ada.token, &format!("enroll_webauthn({wrong})")), "validation_failed", "{wrong}");
    }
    let guest = answer(&mut app, "sign_in_anonymously()", &[]).unwrap();
    let guest = guest["access_token"].as_str().unwrap();
    assert_eq!(said_as(&mut app, guest, "enroll_webauthn('x')"), "validation_failed");
    assert_eq!(said(&mut app, "enroll_webauthn('x')", &[]), "no_authorization");
    configure(&database, json!({"mfa_max_factors": 2}));
    assert_eq!(said_as(&mut app, &ada.token, "enroll_webauthn('x')"), "too_many_enrolled_mfa_factors");
    for off in [json!({"mfa_webauthn_enabled": false}), json!({"mfa_webauthn_enabled": null, "mfa_enabled": false})] {
        configure(&database, off);
        assert_eq!(said_as(&mut app, &ada.token, "enroll_webauthn('x')"), "mfa_webauthn_enroll_not_enabled");
        assert_eq!(said_as(&mut app, &ada.token, &call), "mfa_webauthn_verify_not_enabled");
        assert_eq!(code(verify(&mut app, &ada.token, &challenge, &made)), "mfa_webauthn_verify_not_enabled");
        let (challenge, signed) = signed(&mut app, EMAIL, &mut ada.key);
        finish(&mut app, &challenge, &signed).unwrap();
    }
}

/// XE3, XH3, B014: of sixty-four uses of one answer at one moment one is let in; one that was used in a transaction that rolls
/// back, or in a savepoint, is used.
#[test]
fn an_answer_is_used_once() {
    let cluster = Cluster::start();
    let database = with_passkeys(&cluster);
    configure(&database, json!({"lockout_attempts": null}));
    let mut app = database.app();
    let mut ada = keyed(&database, EMAIL);
    let (challenge, credential) = signed(&mut app, EMAIL, &mut ada.key);
    let mut transaction = app.transaction().unwrap();
    assert_eq!(said(&mut transaction, "verify_webauthn($1, $2)", &[&challenge, &credential]), "session");
    transaction.rollback().unwrap();
    assert_eq!(code(finish(&mut app, &challenge, &credential)), "webauthn_challenge_expired");
    let begun = begin(&mut app, &challenge);
    let credential = ada.key.get(asked(&begun, "request"), ORIGIN).json(&ada.key);
    let mut transaction = app.transaction().unwrap();
    transaction.batch_execute("savepoint one").unwrap();
    assert_eq!(said(&mut transaction, "verify_webauthn($1, $2)", &[&challenge, &credential]), "session");
    transaction.batch_execute("rollback to savepoint one").unwrap();
    assert_eq!(
        said(&mut transaction, "verify_webauthn($1, $2)", &[&challenge, &credential]),
        "webauthn_challenge_expired"
    );
    transaction.rollback().unwrap();

    let begun = begin(&mut app, &challenge);
    let credential = ada.key.get(asked(&begun, "request"), ORIGIN).json(&ada.key);
    let sessions = count(&database, "sessions");
    let answers = storm_with(
        64,
        |_| database.app(),
        |_, mut client| said(&mut client, "verify_webauthn($1, $2)", &[&challenge, &credential]),
    );
    assert_eq!(answers.iter().filter(|said| *said == "session").count(), 1, "{answers:?}");
    assert_eq!(count(&database, "sessions"), sessions + 1);
}
