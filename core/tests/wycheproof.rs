//! Vectors of Project Wycheproof (tests/vectors/wycheproof): XF6, XF7, XF18.

use auth_core::jwk::{self, Algorithm, VerifyingKey};
use auth_core::{jws, jwt};
use ring::aead;
use serde_json::Value;

const JWS: &str = include_str!("../../tests/vectors/wycheproof/json_web_signature_test.json");
const AES_GCM: &str = include_str!("../../tests/vectors/wycheproof/aes_gcm_test.json");

fn read(text: &str) -> Value {
    serde_json::from_str(text).expect("the vectors are JSON")
}

fn tests(file: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    let groups = file["testGroups"].as_array().expect("groups");
    groups.iter().flat_map(|group| group["tests"].as_array().expect("tests").iter().map(move |test| (group, test)))
}

/// The key of a group as the extension would hold it: what `import` makes of its JWK.
fn imported(jwk: &Value) -> Option<VerifyingKey> {
    let imported = jwk::import(jwk).ok()?;
    match imported.signing {
        Some(signing) => Some(signing.verifying_key()),
        None => VerifyingKey::from_jwk(imported.algorithm, &imported.public_jwk).ok(),
    }
}

/// Valid, and with an algorithm and a header of ours. Not among them: RS384 and above, PS256 and above, ES512; an empty payload
/// (259); a `kid` with an @ (345, 349); 372 and 373, where a letter that is no base64url was signed as well.
const VALID_AND_OURS: [u64; 15] = [1, 18, 33, 260, 261, 262, 263, 348, 352, 357, 358, 359, 376, 377, 378];

/// Called invalid, and byte for byte the token that 357 calls valid (C2SP/wycheproof issue 236).
const CONTRADICTORY: [u64; 2] = [367, 370];

/// No vector carries claims, so `jwt::parse` refuses all 401: what counts is the envelope.
/// XF1, XF2, XF3, XF7: every invalid envelope is refused.
#[test]
fn json_web_signatures() {
    let file = read(JWS);
    let (mut invalid, mut valid, mut accepted_ids, mut contradictory_ids) = (0, 0, Vec::new(), Vec::new());
    let valid_mac = &tests(&file).find(|(_, test)| test["tcId"] == 357).expect("tcId 357").1["jws"];
    for (group, test) in tests(&file) {
        let token = match &test["jws"] {
            Value::String(token) => token.clone(),
            serialised => serialised.to_string(),
        };
        // A private JWK verifies as well, so each one that the group has is tried.
        let keys = ["public", "private"].iter().filter_map(|side| imported(group.get(*side)?));
        let accepted = keys.filter(|key| {
            assert!(jwt::parse(&token).is_err());
            jws::parse(&token).is_ok_and(|envelope| envelope.verify(key).is_ok())
        });
        let accepted = accepted.count() > 0;
        let id = test["tcId"].as_u64().expect("an id");
        match test["result"].as_str() {
            Some("invalid") => {
                invalid += 1;
                if test["jws"] == *valid_mac {
                    contradictory_ids.push(id);
                } else {
                    assert!(!accepted, "accepted: {test}");
                }
            }
            Some("valid") => {
                valid += 1;
                if accepted {
                    accepted_ids.push(id);
                }
            }
            other => panic!("{other:?}: {test}"),
        }
    }
    assert_eq!((invalid, valid), (355, 46));
    assert_eq!(accepted_ids, VALID_AND_OURS);
    assert_eq!(contradictory_ids, CONTRADICTORY);
}

/// tcId 379 to 401: r and s of zero, of the order and above. Their form is good: it is the signature that has to fail.
/// XF6: r and s of zero, or out of range.
#[test]
fn special_signatures_fail_at_the_signature() {
    let file = read(JWS);
    let mut refused = 0;
    for (group, test) in tests(&file).filter(|(group, _)| group["comment"] == "SpecialCaseEs256") {
        let key = imported(&group["public"]).expect("an ES256 key");
        assert_eq!(key.algorithm(), Algorithm::Es256);
        let envelope = jws::parse(test["jws"].as_str().expect("a token")).expect("a good form");
        let verified = envelope.verify(&key);
        if test["result"] == "valid" {
            assert_eq!(verified, Ok(&b"foo"[..]));
        } else {
            assert_eq!(verified, Err(jwt::JwtError::BadSignature), "{test}");
            refused += 1;
        }
    }
    assert_eq!(refused, 23);
}

/// Through ring itself, which `seal` uses with 96-bit nonces, 128-bit tags and 256-bit keys.
/// XF18
#[test]
fn aes_gcm() {
    let file = read(AES_GCM);
    let bytes = |test: &Value, name: &str| -> Vec<u8> {
        let text = test[name].as_str().expect("hexadecimal");
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal")).collect()
    };
    let (mut total, mut ours) = (0, 0);
    for (group, test) in tests(&file) {
        total += 1;
        if group["keySize"] != 256 || group["tagSize"] != 128 {
            continue;
        }
        let Ok(nonce) = <[u8; 12]>::try_from(bytes(test, "iv")) else {
            continue;
        };
        ours += 1;
        let key = || {
            aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, &bytes(test, "key")).expect("32 bytes"))
        };
        let nonce = || aead::Nonce::assume_unique_for_key(nonce);
        let mut sealed = [bytes(test, "ct"), bytes(test, "tag")].concat();
        let opened = key()
            .open_in_place(nonce(), aead::Aad::from(bytes(test, "aad")), &mut sealed)
            .map(|opened| opened.to_vec());
        if test["result"] == "valid" {
            assert_eq!(opened.ok(), Some(bytes(test, "msg")), "{test}");
            let mut text = bytes(test, "msg");
            let tag = key()
                .seal_in_place_separate_tag(nonce(), aead::Aad::from(bytes(test, "aad")), &mut text)
                .expect("sealed");
            assert_eq!((text, tag.as_ref().to_vec()), (bytes(test, "ct"), bytes(test, "tag")), "{test}");
        } else {
            assert!(opened.is_err(), "{test}");
        }
    }
    assert_eq!(total, 316);
    assert!(ours > 60, "only {ours}");
    println!("{ours} of {total}");
}
