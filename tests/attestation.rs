//! Which authenticators may be registered: by what they say of themselves, and by what their makers say of them.

use auth_harness::authenticator::{Algorithm, Authenticator, Registration};
use auth_harness::{Client, Cluster, Database, json, refused, sign_up};
use serde_json::{Value, json};

use crate::mfa::as_user;
use crate::passkey::{ORIGIN, PASSWORD, code, finish_registration, start_registration, with_passkeys};
use crate::refresh::configure;
use crate::webauthn_factor::{asked, enrolled, verify};

const VECTORS: &str = include_str!("vectors/webauthn/attestation.json");
/// That of the harness's authenticators.
const MODEL: &str = "6d616465-2062-7920-7468-652074657374";

/// An authenticator that somebody has attested, and who that was.
struct Device {
    aaguid: [u8; 16],
    key: Vec<u8>,
    certificate: Vec<u8>,
    root: String,
}

fn device() -> Device {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let text = |name: &str| file["device"][name].as_str().unwrap().to_owned();
    let bytes = |name: &str| -> Vec<u8> {
        let text = text(name);
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let aaguid = bytes("aaguid").try_into().unwrap();
    Device { aaguid, key: bytes("key"), certificate: bytes("certificate"), root: text("root") }
}

/// Registers a new passkey, and a security key, as somebody who has just signed up: what comes of each.
fn registered(database: &Database, attest: impl Fn(Registration) -> Registration) -> (String, String) {
    let mut app = database.app();
    let person = sign_up(&mut app, &format!("{}@example.org", uuid::Uuid::new_v4().simple()), PASSWORD);
    let token = &person.access_token;
    let said = |result: Result<Value, _>| if result.is_ok() { "ok".to_owned() } else { code(result) };
    let make = |options: &Value| attest(Authenticator::new(Algorithm::Es256).create(options, ORIGIN)).json();
    // The key comes first: who has a passkey that verifies its user adds one in a session of level aal2 alone.
    let key = said(with_key(&mut app, token, make));
    let person = sign_up(&mut app, &format!("{}@example.org", uuid::Uuid::new_v4().simple()), PASSWORD);
    let started = start_registration(&mut app, &person.access_token);
    let passkey = finish_registration(&mut app, &person.access_token, &started, &make(&started["options"]));
    (said(passkey), key)
}

fn with_key(app: &mut Client, token: &str, make: impl Fn(&Value) -> Value) -> Result<Value, auth_harness::Refusal> {
    let factor_id = enrolled(app, token, "my key");
    let challenge = as_user(app, token, &format!("challenge_factor('{factor_id}')"));
    let made = make(asked(&challenge, "create"));
    verify(app, token, &challenge, &made)
}

fn both(passkey: &str, key: &str) -> (String, String) {
    (passkey.to_owned(), key.to_owned())
}

/// B014: a list of models refuses all others, of passkeys and of security keys; without roots it is their own word.
#[test]
fn models_that_are_allowed() {
    let database = with_passkeys(Cluster::shared()).without_limits();
    let refusal = both("webauthn_verification_failed", "mfa_verification_failed");
    for (allowed, expected) in [
        (json!([]), both("ok", "ok")),
        (json!(["00000000-0000-0000-0000-000000000000"]), refusal.clone()),
        (json!(["00000000-0000-0000-0000-000000000000", MODEL.to_uppercase()]), both("ok", "ok")),
        (json!([MODEL]), both("ok", "ok")),
    ] {
        configure(&database, json!({"webauthn_allowed_aaguids": allowed}));
        assert_eq!(registered(&database, |made| made), expected, "{allowed}");
    }
    let unnamed = |mut made: Registration| {
        made.aaguid = [0; 16];
        made
    };
    assert_eq!(registered(&database, unnamed), refusal);
}

/// B014: with roots attestation is asked for, and nothing is registered but what leads to one of them; with a list beside them,
/// what its maker says it is has to be in it.
#[test]
fn authenticators_that_are_attested() {
    let database = with_passkeys(Cluster::shared()).without_limits();
    let Device { aaguid, key, certificate, root } = device();
    let certified = |mut made: Registration| {
        made.aaguid = aaguid;
        made.certified_by(&key, &certificate)
    };
    let refusal = both("webauthn_verification_failed", "mfa_verification_failed");
    // Where nobody is trusted, a certificate is nothing that was asked for.
    assert_eq!(registered(&database, certified), refusal);

    configure(&database, json!({"webauthn_attestation_roots": root}));
    let mut app = database.app();
    let token = sign_up(&mut app, "ada@example.org", PASSWORD).access_token;
    assert_eq!(start_registration(&mut app, &token)["options"]["attestation"], "direct");
    assert_eq!(registered(&database, certified), both("ok", "ok"));
    assert_eq!(registered(&database, |made| made), refusal, "none");
    assert_eq!(registered(&database, |made| made.certified_by(&key, &certificate)), refusal, "another model");
    let tampered = |made: Registration| {
        let mut made = certified(made);
        made.sign_count += 1;
        made
    };
    assert_eq!(registered(&database, tampered), refusal, "of something else");
    let stranger = Authenticator::new(Algorithm::Es256);
    assert_eq!(registered(&database, |made| made.attested_by(&stranger, -7)), refusal, "self attestation");
    let model = uuid::Uuid::from_bytes(aaguid);
    for (allowed, expected) in
        [(json!([MODEL]), refusal.clone()), (json!([MODEL, model.to_string()]), both("ok", "ok"))]
    {
        configure(&database, json!({"webauthn_allowed_aaguids": allowed}));
        assert_eq!(registered(&database, certified), expected, "{allowed}");
    }
    let other: Value = serde_json::from_str(VECTORS).unwrap();
    let other = other["vectors"].as_array().unwrap().iter().find(|one| one["name"] == "by another root").unwrap();
    configure(&database, json!({"webauthn_attestation_roots": other["roots"]}));
    assert_eq!(registered(&database, certified), refusal, "another root");
}

/// B014: what is no list of models and no root is no setting.
#[test]
fn settings_that_are_none() {
    let database = with_passkeys(Cluster::shared());
    let mut admin = database.admin();
    for wrong in [
        json!({"webauthn_allowed_aaguids": ["x"]}),
        json!({"webauthn_allowed_aaguids": [MODEL.replace('-', "")]}),
        json!({"webauthn_allowed_aaguids": MODEL}),
        json!({"webauthn_attestation_roots": ""}),
        json!({"webauthn_attestation_roots": "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----"}),
        json!({"webauthn_attestation_roots": device().root.repeat(1000)}),
    ] {
        let refusal = refused(admin.query_one("select auth.configure($1)", &[&wrong]));
        assert_eq!(refusal.code, "validation_failed");
    }
    let kept = json(&mut admin, "select auth.configure($1)", &[&json!({"webauthn_allowed_aaguids": [MODEL]})]);
    assert_eq!(
        (&kept["webauthn_allowed_aaguids"], &kept["webauthn_attestation_roots"]),
        (&json!([MODEL]), &Value::Null)
    );
}
