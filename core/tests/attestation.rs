//! Attested authenticators, as another library makes them (tests/vectors/webauthn/attestation.py), good and bad.

use auth_core::base64url;
use auth_core::webauthn::{Expected, Refused, Registered, Roots, Trusted, register};
use ring::rand::SystemRandom;
use serde_json::{Value, json};

const VECTORS: &str = include_str!("../../tests/vectors/webauthn/attestation.json");

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hexadecimal");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal")).collect()
}

fn made(vector: &Value, object: &[u8], roots: Option<&Roots>, now: u64) -> Result<Registered, Refused> {
    let id = base64url::encode(&hex(&vector["credential_id"]));
    let response = json!({"clientDataJSON": base64url::encode(&hex(&vector["clientDataJSON"])),
        "attestationObject": base64url::encode(object)});
    let credential = json!({"id": id, "rawId": id, "type": "public-key", "response": response});
    let (challenge, origins) = (hex(&vector["challenge"]), ["https://example.org".to_owned()]);
    let attested_by = roots.map(|roots| Trusted { roots, now });
    let expected = Expected {
        challenge: &challenge,
        rp_id: "example.org",
        origins: &origins,
        needs_user_verification: false,
        attested_by,
    };
    register(&credential, &expected, &SystemRandom::new())
}

/// B014: where roots are trusted, what leads to one is taken and nothing else; where none are, no certificate is.
#[test]
fn what_leads_to_a_root() {
    let file: Value = serde_json::from_str(VECTORS).expect("the vectors are JSON");
    let now = file["now"].as_u64().expect("a time");
    let vectors = file["vectors"].as_array().expect("vectors");
    assert_eq!(vectors.len(), 30);
    for vector in vectors {
        let (name, object) = (&vector["name"], hex(&vector["attestationObject"]));
        let roots = Roots::read(vector["roots"].as_str().expect("PEM")).expect("roots");
        let answer = made(vector, &object, Some(&roots), now);
        assert_eq!(answer.is_ok(), vector["is_good"] == true, "{name}: {:?}", answer.err());
        let is_without = ["self attestation", "none"].contains(&name.as_str().expect("a name"));
        assert_eq!(made(vector, &object, None, now).is_ok(), is_without, "{name}");
        if vector["is_good"] == true {
            let years = |count: u64| now + count * 366 * 86_400;
            assert!(made(vector, &object, Some(&roots), years(60)).is_err(), "{name}, when it is over");
        }
    }
}

/// B014, XH8: each byte of a good object changed is an answer and no panic, and none of the statement may be.
#[test]
fn nothing_of_it_may_be_changed() {
    let file: Value = serde_json::from_str(VECTORS).expect("the vectors are JSON");
    let now = file["now"].as_u64().expect("a time");
    let vector = &file["vectors"][1];
    let roots = Roots::read(vector["roots"].as_str().expect("PEM")).expect("roots");
    let object = hex(&vector["attestationObject"]);
    for place in 0..object.len() {
        let mut changed = object.clone();
        changed[place] ^= 1;
        assert!(made(vector, &changed, Some(&roots), now).is_err(), "byte {place}");
    }
}

#[test]
fn what_are_roots() {
    let file: Value = serde_json::from_str(VECTORS).expect("the vectors are JSON");
    let root = file["device"]["root"].as_str().expect("PEM");
    assert!(Roots::read(root).is_some() && Roots::read(&format!("{root}\n{root}")).is_some());
    let broken = root.replacen("MII", "MIJ", 1);
    for pem in ["", "x", &root[..200], &broken, &root.replace("CERTIFICATE", "PUBLIC KEY")] {
        assert!(Roots::read(pem).is_none(), "{pem}");
    }
}
