//! The test vectors of Web Authentication Level 3, section 16 (tests/vectors/webauthn), and bytes that are no ceremony.

use auth_core::base64url;
use auth_core::webauthn::{Assertion, Expected, Refused, Stored, register};
use ring::rand::SystemRandom;
use serde_json::{Value, json};

const LEVEL_3: &str = include_str!("../../tests/vectors/webauthn/level3.json");

const RP_ID: &str = "example.org";

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hexadecimal");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal")).collect()
}

fn encoded(value: &Value) -> Value {
    json!(base64url::encode(&hex(value)))
}

fn ceremony(id: &Value, response: Value) -> Value {
    json!({"id": encoded(id), "rawId": encoded(id), "type": "public-key", "response": response})
}

/// The object without its attestation, as a client hands it on that was asked for none.
fn unattested(object: &[u8]) -> Vec<u8> {
    let name = b"\x68authData";
    let place = object.windows(name.len()).position(|window| window == name).expect("authData") + name.len();
    let mut bytes = b"\xa3\x63fmt\x64none\x67attStmt\xa0".to_vec();
    bytes.extend(&object[place - name.len()..]);
    bytes
}

fn registration(vector: &Value, object: &[u8]) -> Value {
    let made = &vector["registration"];
    let response = json!({
        "clientDataJSON": encoded(&made["clientDataJSON"]),
        "attestationObject": base64url::encode(object),
    });
    ceremony(&vector["credential_id"], response)
}

/// F066, F067: every vector of an algorithm that is offered verifies, from registration to sign-in, and the others are refused for
/// what they are: other algorithms, other attestations than were asked for, another site's frames.
#[test]
fn level_3() {
    let file: Value = serde_json::from_str(LEVEL_3).expect("the vectors are JSON");
    let origins = ["https://example.org".to_owned()];
    let mut verified = Vec::new();
    for vector in file["vectors"].as_array().expect("vectors") {
        let name = vector["name"].as_str().expect("a name");
        let expect = |challenge| Expected {
            challenge,
            rp_id: RP_ID,
            origins: &origins,
            needs_user_verification: false,
            attested_by: None,
        };
        let challenge = hex(&vector["registration"]["challenge"]);
        let object = hex(&vector["registration"]["attestationObject"]);
        let as_it_stands = register(&registration(vector, &object), &expect(&challenge), &SystemRandom::new());
        let stripped = register(&registration(vector, &unattested(&object)), &expect(&challenge), &SystemRandom::new());
        let is_none = name.starts_with("none-") || name.starts_with("packed-self-");
        let reason = match name {
            "none-es256-crossOrigin" | "none-es256-topOrigin" => "it comes from a frame in another site's page",
            "packed-es384" | "packed-es512" | "packed-ed448" => {
                "the public key is of an algorithm that was not offered"
            }
            _ => "",
        };
        if !is_none {
            let other = "the attestation is not one of those that are asked for";
            let refusal = if name.starts_with("packed-") && !reason.is_empty() { reason } else { other };
            assert_eq!(as_it_stands.err(), Some(Refused(refusal)), "{name}");
        } else {
            assert_eq!(as_it_stands.as_ref().err().map_or("", |Refused(why)| why), reason, "{name}");
        }
        let made = match stripped {
            Ok(made) => made,
            Err(Refused(why)) => {
                assert_eq!(why, reason, "{name}");
                continue;
            }
        };
        let signed = &vector["authentication"];
        let response = json!({
            "clientDataJSON": encoded(&signed["clientDataJSON"]),
            "authenticatorData": encoded(&signed["authenticatorData"]),
            "signature": encoded(&signed["signature"]),
        });
        let assertion = Assertion::read(&ceremony(&vector["credential_id"], response)).expect(name);
        let stored = Stored { public_key: &made.public_key, is_backup_eligible: made.is_backup_eligible };
        let challenge = hex(&signed["challenge"]);
        assert_eq!(assertion.verify(&stored, &expect(&challenge)).map(|_| ()), Ok(()), "{name}");
        let other = [7; 32];
        assert!(assertion.verify(&stored, &expect(&other)).is_err(), "{name}: another challenge");
        verified.push(name);
    }
    assert_eq!(
        verified,
        [
            "none-es256",
            "packed-self-es256",
            "none-es256-long-credential-id",
            "packed-es256",
            "packed-rs256",
            "packed-eddsa",
            "tpm-es256",
            "android-key-es256",
            "apple-es256",
            "fido-u2f-es256",
        ]
    );
}

/// XH8: every prefix of a good object, and each with one byte changed in every way, is an answer and no panic; what is cut is
/// refused.
#[test]
fn nothing_but_the_whole_is_read() {
    let file: Value = serde_json::from_str(LEVEL_3).expect("the vectors are JSON");
    let origins = ["https://example.org".to_owned()];
    let vector = &file["vectors"][0];
    let challenge = hex(&vector["registration"]["challenge"]);
    let expected = Expected {
        challenge: &challenge,
        rp_id: RP_ID,
        origins: &origins,
        needs_user_verification: false,
        attested_by: None,
    };
    let object = hex(&vector["registration"]["attestationObject"]);
    for length in 0..object.len() {
        assert!(
            register(&registration(vector, &object[..length]), &expected, &SystemRandom::new()).is_err(),
            "{length} bytes"
        );
    }
    assert!(
        register(&registration(vector, &[&object[..], &[0]].concat()), &expected, &SystemRandom::new()).is_err(),
        "one more"
    );
    for place in 0..object.len() {
        for bit in 0..8 {
            let mut changed = object.clone();
            changed[place] ^= 1 << bit;
            drop(register(&registration(vector, &changed), &expected, &SystemRandom::new()));
        }
    }
}
