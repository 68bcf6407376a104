//! Part of `./dev bench`: what verifying a passkey's sign-in costs beside the bare signature that is in it, on vectors of the
//! standard (tests/vectors/webauthn), and a code of an authenticator app beside the three HMACs that are in it. Rounds of both take turns; printed are the medians a second and the median of the ratios.

use std::hint::black_box;
use std::time::{Duration, Instant};

use auth_core::base64url;
use auth_core::totp;
use auth_core::webauthn::{Assertion, Expected, Stored, register};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

const LEVEL_3: &str = include_str!("../../tests/vectors/webauthn/level3.json");

fn hex(value: &Value) -> Result<Vec<u8>, Failure> {
    let text = value.as_str().ok_or("hexadecimal")?;
    Ok((0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16)).collect::<Result<_, _>>()?)
}

const ROUNDS: usize = 9;

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// How often a second.
fn rate(mut act: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let (started, mut times) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_millis(400) {
        for _ in 0..100 {
            act()?;
        }
        times += 100;
    }
    Ok(f64::from(times) / started.elapsed().as_secs_f64())
}

fn main() -> Result<(), Failure> {
    let file: Value = serde_json::from_str(LEVEL_3)?;
    let origins = ["https://example.org".to_owned()];
    let kinds: [(&str, &str, &dyn VerificationAlgorithm); 2] =
        [("none-es256", "ES256", &ECDSA_P256_SHA256_ASN1), ("packed-eddsa", "EdDSA", &ED25519)];
    for (name, title, algorithm) in kinds {
        let vectors = file["vectors"].as_array().ok_or("vectors")?;
        let vector = vectors.iter().find(|vector| vector["name"] == name).ok_or("a vector")?;
        let (made, signed) = (&vector["registration"], &vector["authentication"]);
        let text = |value: &Value| hex(value).map(|bytes| base64url::encode(&bytes));
        let id = text(&vector["credential_id"])?;
        let credential = |response: Value| json!({"id": id, "rawId": id, "type": "public-key", "response": response});
        let expected = |challenge| Expected {
            challenge,
            rp_id: "example.org",
            origins: &origins,
            needs_user_verification: false,
            attested_by: None,
        };
        // As a client hands it on that was asked for no attestation: authData is the last member.
        let object = hex(&made["attestationObject"])?;
        let place = object.windows(9).position(|window| window == b"\x68authData").ok_or("authData")?;
        let object = [b"\xa3\x63fmt\x64none\x67attStmt\xa0", &object[place..]].concat();
        let response = json!({
            "clientDataJSON": text(&made["clientDataJSON"])?, "attestationObject": base64url::encode(&object),
        });
        let challenge = hex(&made["challenge"])?;
        let registered = register(&credential(response), &expected(&challenge), &SystemRandom::new());
        let registered = registered.map_err(|refused| format!("{refused:?}"))?;
        let signed_json = credential(json!({
            "clientDataJSON": text(&signed["clientDataJSON"])?,
            "authenticatorData": text(&signed["authenticatorData"])?,
            "signature": text(&signed["signature"])?,
        }));
        let challenge = hex(&signed["challenge"])?;
        let stored = Stored { public_key: &registered.public_key, is_backup_eligible: registered.is_backup_eligible };
        let ours = || {
            rate(|| {
                let assertion = Assertion::read(black_box(&signed_json)).map_err(|refused| format!("{refused:?}"))?;
                assertion.verify(&stored, &expected(&challenge)).map_err(|refused| format!("{refused:?}"))?;
                Ok(())
            })
        };
        let client_data = ring::digest::digest(&ring::digest::SHA256, &hex(&signed["clientDataJSON"])?);
        let message = [&hex(&signed["authenticatorData"])?, client_data.as_ref()].concat();
        let signature = hex(&signed["signature"])?;
        let key = bare_key(&registered.public_key);
        let bare = || {
            rate(|| {
                let key = UnparsedPublicKey::new(algorithm, black_box(&key));
                key.verify(&message, &signature).map_err(|_| "the signature is wrong".into())
            })
        };
        compare(&format!("passkey sign-in, {title}"), ours, "its bare signature", bare)?;
    }
    codes()
}

/// A wrong code, for which all three steps are looked at.
fn codes() -> Result<(), Failure> {
    let (secret, now) = ([7; totp::SECRET_BYTES], 1_800_000_000);
    let ours = || {
        rate(|| match totp::step_of(black_box(&secret), "000000", now) {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}").into()),
        })
    };
    let bare = || {
        rate(|| {
            for step in 0..3_u64 {
                let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, black_box(&secret));
                black_box(hmac::sign(&key, &(now / totp::STEP_SECONDS + step).to_be_bytes()));
            }
            Ok(())
        })
    };
    compare("TOTP code", ours, "three HMACs of ring", bare)
}

fn compare(
    what: &str,
    ours: impl Fn() -> Result<f64, Failure>,
    yardstick: &str,
    bare: impl Fn() -> Result<f64, Failure>,
) -> Result<(), Failure> {
    let rounds = (0..ROUNDS).map(|_| Ok((ours()?, bare()?))).collect::<Result<Vec<_>, Failure>>()?;
    let [mine, its, ratio] = [
        median(rounds.iter().map(|round| round.0)),
        median(rounds.iter().map(|round| round.1)),
        median(rounds.iter().map(|round| round.0 / round.1)),
    ];
    println!("{what}: {mine:.0}/s, {yardstick} {its:.0}/s, ratio {ratio:.2}");
    Ok(())
}

/// The key's bytes at the places where these two vectors have them.
fn bare_key(cose: &[u8]) -> Vec<u8> {
    match cose.len() {
        77 => [&[4], &cose[10..42], &cose[45..77]].concat(),
        _ => cose[cose.len() - 32..].to_vec(),
    }
}
