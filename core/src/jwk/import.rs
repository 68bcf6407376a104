//! JSON Web Keys as they come from elsewhere (RFC 7517, 7518, 8037): checked in every part, and written anew with nothing in
//! them that we did not check.

use ring::rand::SystemRandom;
use ring::{agreement, digest};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{Algorithm, COORDINATE_BYTES, KeyError, SigningKey, complete, public_jwk};
use crate::base64url;

/// A JWK that was read and checked.
#[derive(Debug)]
pub struct ImportedKey {
    /// By `alg`, or by the key type where that leaves one.
    pub algorithm: Algorithm,
    /// The JWK's own name for the key.
    pub kid: Option<String>,
    /// Rewritten: the public members and `alg`, `use`, `key_ops`, `kid`. Never a private one; for `oct` not even `k`.
    pub public_jwk: Value,
    /// Missing for a public JWK, and always for RSA.
    pub signing: Option<SigningKey>,
}

/// Reads a private or public JWK: EC P-256, OKP Ed25519, RSA of 2048 to 8192 bits, oct of at least 32 bytes.
///
/// # Errors
/// `Unsupported` for another type, curve or algorithm; `Mismatch` when the private part is not that of the public part;
/// `WeakSecret`; `Malformed`, also for a key that `use` or `key_ops` keeps for something else than signatures.
pub fn import(jwk: &Value) -> Result<ImportedKey, KeyError> {
    let jwk = jwk.as_object().ok_or(KeyError::Malformed("a JWK is an object"))?;
    let algorithm = algorithm_of(jwk)?;
    check_purpose(jwk)?;
    let kid = match jwk.get("kid") {
        None => None,
        Some(Value::String(kid)) if crate::jws::is_valid_kid(kid) => Some(kid.clone()),
        Some(_) => return Err(KeyError::Malformed("kid is not 1 to 128 letters, digits, '_', '.', ':', '=' or '-'")),
    };
    let (public_bytes, private_bytes) = match algorithm {
        Algorithm::Es256 => {
            let point = point(jwk)?;
            let private = exact_private(jwk, "d")?;
            check_point(&point)?;
            let private_bytes = private.map(|scalar| pkcs8_p256(&scalar, &point));
            (point, private_bytes)
        }
        Algorithm::EdDsa => {
            let public = exact(jwk, "x", "x is not 32 bytes of base64url")?.to_vec();
            let private_bytes = exact_private(jwk, "d")?.map(|seed| pkcs8_ed25519(&seed, &public));
            (public, private_bytes)
        }
        Algorithm::Hs256 => {
            let secret = Zeroizing::new(member(jwk, "k").ok_or(KeyError::Malformed("k is not base64url"))?);
            (Vec::new(), Some(secret))
        }
        Algorithm::Rs256 => {
            let (modulus, exponent) = rsa_components(jwk)?;
            let mut public_jwk = json!({
                "kty": "RSA", "n": base64url::encode(&modulus), "e": base64url::encode(&exponent),
            });
            complete(&mut public_jwk, algorithm, kid.as_deref());
            return Ok(ImportedKey { algorithm, kid, public_jwk, signing: None });
        }
    };
    let signing = match private_bytes {
        None => None,
        Some(bytes) if algorithm == Algorithm::Hs256 => Some(SigningKey::from_private_bytes(algorithm, &bytes)?),
        // Every part has the right form by now, so what ring refuses is that they do not belong together.
        Some(bytes) => Some(SigningKey::from_private_bytes(algorithm, &bytes).map_err(|_| KeyError::Mismatch)?),
    };
    let public_jwk = public_jwk(algorithm, &public_bytes, kid.as_deref());
    Ok(ImportedKey { algorithm, kid, public_jwk, signing })
}

/// The SHA-256 thumbprint of a public key (RFC 7638), in base64url: what our own keys have as `kid`.
///
/// `None` for what is no EC, OKP or RSA key. An `oct` key has none: it would publish a digest of the secret (section 7).
pub fn thumbprint(public_jwk: &Value) -> Option<String> {
    let required: &[&str] = match public_jwk.get("kty")?.as_str()? {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        _ => return None,
    };
    // In lexicographic order and without white space, as section 3.3 asks.
    let members = required
        .iter()
        .map(|name| Some(format!("\"{name}\":{}", Value::from(public_jwk.get(name)?.as_str()?))))
        .collect::<Option<Vec<_>>>()?;
    let canonical = format!("{{{}}}", members.join(","));
    Some(base64url::encode(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref()))
}

pub(super) fn algorithm_of(jwk: &Map<String, Value>) -> Result<Algorithm, KeyError> {
    let kind = jwk.get("kty").and_then(Value::as_str).ok_or(KeyError::Malformed("kty is missing"))?;
    let curve = jwk.get("crv").and_then(Value::as_str);
    let algorithm = match (kind, curve) {
        ("EC", Some("P-256")) => Algorithm::Es256,
        ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
        ("RSA", None) => Algorithm::Rs256,
        ("oct", None) => Algorithm::Hs256,
        _ => return Err(KeyError::Unsupported),
    };
    match jwk.get("alg") {
        None => Ok(algorithm),
        Some(Value::String(name)) if name == algorithm.name() => Ok(algorithm),
        // RFC 9864 gives EdDSA with this curve a name of its own.
        Some(Value::String(name)) if name == "Ed25519" && algorithm == Algorithm::EdDsa => Ok(algorithm),
        Some(Value::String(_)) => Err(KeyError::Unsupported),
        Some(_) => Err(KeyError::Malformed("alg is not a string")),
    }
}

/// RFC 7517, sections 4.2 and 4.3: a key kept for encryption signs nothing.
fn check_purpose(jwk: &Map<String, Value>) -> Result<(), KeyError> {
    if jwk.get("use").is_some_and(|usage| usage != "sig") {
        return Err(KeyError::Malformed("use is not sig"));
    }
    let Some(operations) = jwk.get("key_ops") else {
        return Ok(());
    };
    let operations = operations.as_array().ok_or(KeyError::Malformed("key_ops is not an array"))?;
    if operations.is_empty() || !operations.iter().all(|operation| operation == "sign" || operation == "verify") {
        return Err(KeyError::Malformed("key_ops is not sign and verify"));
    }
    Ok(())
}

fn member(jwk: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    base64url::decode(jwk.get(name)?.as_str()?)
}

pub(super) fn exact(
    jwk: &Map<String, Value>,
    name: &str,
    reason: &'static str,
) -> Result<Zeroizing<[u8; COORDINATE_BYTES]>, KeyError> {
    let bytes = member(jwk, name).map(Zeroizing::new).ok_or(KeyError::Malformed(reason))?;
    bytes.as_slice().try_into().map(Zeroizing::new).map_err(|_| KeyError::Malformed(reason))
}

fn exact_private(jwk: &Map<String, Value>, name: &str) -> Result<Option<Zeroizing<[u8; COORDINATE_BYTES]>>, KeyError> {
    if !jwk.contains_key(name) {
        return Ok(None);
    }
    exact(jwk, name, "the private part is not 32 bytes of base64url").map(Some)
}

/// The uncompressed point (SEC 1, section 2.3.3).
pub(super) fn point(jwk: &Map<String, Value>) -> Result<Vec<u8>, KeyError> {
    let x = exact(jwk, "x", "x is not 32 bytes of base64url")?;
    let y = exact(jwk, "y", "y is not 32 bytes of base64url")?;
    Ok([&[4], x.as_slice(), y.as_slice()].concat())
}

/// ring checks a point only when it uses it, so one key agreement is thrown away.
fn check_point(point: &[u8]) -> Result<(), KeyError> {
    let generator_failed = |_| KeyError::Malformed("the generator of the operating system failed");
    let ours = agreement::EphemeralPrivateKey::generate(&agreement::ECDH_P256, &SystemRandom::new())
        .map_err(generator_failed)?;
    agreement::agree_ephemeral(ours, &agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, point), |_| ())
        .map_err(|_| KeyError::Malformed("the point is not on the curve"))
}

/// Modulus and exponent without leading zeros: odd, 2048 to 8192 bits, and 3 to 2^32 (RFC 7518, section 6.3.1).
pub(super) fn rsa_components(jwk: &Map<String, Value>) -> Result<(Vec<u8>, Vec<u8>), KeyError> {
    let modulus = member(jwk, "n").ok_or(KeyError::Malformed("n is not base64url"))?;
    let exponent = member(jwk, "e").ok_or(KeyError::Malformed("e is not base64url"))?;
    let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    let top_byte = modulus.first().copied().unwrap_or(0);
    let bits = (8 * modulus.len()).saturating_sub(top_byte.leading_zeros() as usize);
    if top_byte == 0 || !is_odd(&modulus) || !(2048..=8192).contains(&bits) {
        return Err(KeyError::Malformed("n is not an odd number of 2048 to 8192 bits"));
    }
    if !(1..=4).contains(&exponent.len()) || exponent[0] == 0 || !is_odd(&exponent) || exponent == [1] {
        return Err(KeyError::Malformed("e is not an odd number from 3 to 2^32"));
    }
    Ok((modulus, exponent))
}

/// PKCS#8 (RFC 5958) around an ECPrivateKey (RFC 5915) with its public key, on P-256.
fn pkcs8_p256(scalar: &[u8; COORDINATE_BYTES], point: &[u8]) -> Zeroizing<Vec<u8>> {
    const HEAD: &[u8] =
        b"\x30\x81\x87\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\
        \x01\x07\x04\x6d\x30\x6b\x02\x01\x01\x04\x20";
    Zeroizing::new([HEAD, scalar, b"\xa1\x44\x03\x42\x00", point].concat())
}

/// PKCS#8 version 2 (RFC 5958, RFC 8410) with the public key, for Ed25519.
fn pkcs8_ed25519(seed: &[u8; COORDINATE_BYTES], public: &[u8]) -> Zeroizing<Vec<u8>> {
    const HEAD: &[u8] = b"\x30\x51\x02\x01\x01\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
    Zeroizing::new([HEAD, seed, b"\x81\x21\x00", public].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwk::VerifyingKey;

    /// RFC 8037, appendix A.1.
    fn ed25519() -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    }

    /// RFC 7515, appendix A.3.
    fn p256() -> Value {
        json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"})
    }

    /// RFC 7638, section 3.1.
    fn rsa() -> Value {
        json!({"kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"})
    }

    fn oct() -> Value {
        json!({"kty": "oct", "k": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "alg": "HS256", "kid": "old"})
    }

    fn with(mut jwk: Value, name: &str, value: Value) -> Value {
        jwk[name] = value;
        jwk
    }

    fn without(mut jwk: Value, name: &str) -> Value {
        jwk.as_object_mut().expect("an object").remove(name);
        jwk
    }

    #[test]
    fn thumbprints_of_the_rfcs() {
        assert_eq!(thumbprint(&rsa()).as_deref(), Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"));
        assert_eq!(thumbprint(&ed25519()).as_deref(), Some("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"));
        assert_eq!(thumbprint(&p256()).as_deref(), Some("oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"));
        for none in [json!({}), json!([]), json!({"kty": "EC"}), json!({"kty": 1}), oct()] {
            assert_eq!(thumbprint(&none), None, "{none}");
        }
    }

    #[test]
    fn private_and_public_keys_are_read_and_written_anew() {
        let random = SystemRandom::new();
        for (jwk, algorithm) in [(ed25519(), Algorithm::EdDsa), (p256(), Algorithm::Es256)] {
            let imported = import(&with(jwk.clone(), "x5u", json!("https://attacker.example"))).expect("a private key");
            assert_eq!((imported.algorithm, imported.kid), (algorithm, None));
            let signing = imported.signing.expect("a private key signs");
            let public = VerifyingKey::from_jwk(algorithm, &imported.public_jwk).expect("the public key");
            assert!(public.is_valid(b"message", &signing.signature(b"message", &random).expect("a signature")));
            assert_eq!(imported.public_jwk["x"], jwk["x"]);
            for private in ["d", "k", "x5u"] {
                assert!(imported.public_jwk.get(private).is_none());
            }
            let public = import(&without(jwk, "d")).expect("a public key");
            assert!(public.signing.is_none());
            assert_eq!(public.public_jwk, imported.public_jwk);
        }
        let rsa_private = with(rsa(), "d", json!("AQAB"));
        let imported = import(&rsa_private).expect("an RSA key");
        assert!(imported.signing.is_none());
        assert_eq!(imported.kid.as_deref(), Some("2011-04-29"));
        assert_eq!(imported.public_jwk, with(with(rsa(), "use", json!("sig")), "key_ops", json!(["verify"])));
        let imported = import(&oct()).expect("an HMAC key");
        assert_eq!(imported.public_jwk, json!({"kty": "oct", "alg": "HS256", "kid": "old"}));
        assert_eq!(imported.signing.expect("a secret signs").private_bytes(), (0..32).collect::<Vec<u8>>());
    }

    /// RFC 8037, appendix A.4: Ed25519 has no randomness, so the signature is the RFC's.
    #[test]
    fn signature_of_rfc_8037() {
        let signing = import(&ed25519()).expect("a key").signing.expect("a private key");
        let signature =
            signing.signature(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc", &SystemRandom::new());
        assert_eq!(
            signature.map(|bytes| base64url::encode(&bytes)).as_deref(),
            Some("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
        );
    }

    #[test]
    fn what_is_no_key_of_ours_is_refused() {
        let flipped = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEV"; // trailing bits
        let elsewhere = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEQ"; // another x, not on the curve
        let even = base64url::encode(&[0xfe; 256]);
        let short = base64url::encode(&[0xff; 255]);
        let bits_2047 = base64url::encode(&[&[0x7f], &[0xff; 255][..]].concat());
        let leading_zero = base64url::encode(&[&[0], &[0xff; 256][..]].concat());
        let bits_8200 = base64url::encode(&[0xff; 1025]);
        for (expected, jwk) in [
            ("malformed", json!(null)),
            ("malformed", json!([])),
            ("malformed", json!("kty")),
            ("malformed", json!({})),
            ("unsupported", json!({"kty": "ec"})),
            ("unsupported", with(p256(), "crv", json!("P-384"))),
            ("unsupported", with(p256(), "crv", json!("secp256k1"))),
            ("unsupported", with(ed25519(), "crv", json!("Ed448"))),
            ("unsupported", with(ed25519(), "crv", json!("X25519"))),
            ("unsupported", without(p256(), "crv")),
            ("unsupported", with(p256(), "alg", json!("ES512"))),
            ("unsupported", with(p256(), "alg", json!("HS256"))),
            ("unsupported", with(oct(), "alg", json!("ES256"))),
            ("unsupported", with(oct(), "alg", json!("HS512"))),
            ("unsupported", with(rsa(), "alg", json!("PS256"))),
            ("unsupported", with(rsa(), "alg", json!("none"))),
            ("malformed", with(rsa(), "alg", json!(1))),
            ("malformed", with(p256(), "x", json!(flipped))),
            ("malformed", with(p256(), "x", json!(elsewhere))),
            ("malformed", with(without(p256(), "d"), "x", json!(elsewhere))),
            ("malformed", with(p256(), "x", json!(base64url::encode(&[0; 32])))),
            ("malformed", with(p256(), "x", json!("AA"))),
            ("malformed", without(p256(), "y")),
            ("malformed", with(p256(), "d", json!("AA"))),
            ("malformed", with(p256(), "d", json!(null))),
            ("mismatch", with(p256(), "d", json!(base64url::encode(&[7; 32])))),
            ("mismatch", with(p256(), "d", json!(base64url::encode(&[0; 32])))),
            ("mismatch", with(p256(), "d", json!(base64url::encode(&[0xff; 32])))),
            ("mismatch", with(ed25519(), "d", json!(base64url::encode(&[7; 32])))),
            ("malformed", with(ed25519(), "x", json!(1))),
            ("weak", with(oct(), "k", json!(base64url::encode(&[7; 31])))),
            ("weak", with(oct(), "k", json!(""))),
            ("malformed", with(oct(), "k", json!("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="))),
            ("malformed", without(oct(), "k")),
            ("malformed", with(rsa(), "n", json!(even))),
            ("malformed", with(rsa(), "n", json!(short))),
            ("malformed", with(rsa(), "n", json!(bits_2047))),
            ("malformed", with(rsa(), "n", json!(leading_zero))),
            ("malformed", with(rsa(), "n", json!(bits_8200))),
            ("malformed", with(rsa(), "n", json!(""))),
            ("malformed", with(rsa(), "e", json!("AQ"))),
            ("malformed", with(rsa(), "e", json!("Ag"))),
            ("malformed", with(rsa(), "e", json!(""))),
            ("malformed", with(rsa(), "e", json!("AAEAAQ"))),
            ("malformed", with(rsa(), "e", json!("AQAAAAE"))),
            ("malformed", with(rsa(), "use", json!("enc"))),
            ("malformed", with(rsa(), "use", json!(1))),
            ("malformed", with(rsa(), "key_ops", json!("verify"))),
            ("malformed", with(rsa(), "key_ops", json!([]))),
            ("malformed", with(rsa(), "key_ops", json!(["verify", "decrypt"]))),
            ("malformed", with(rsa(), "kid", json!(""))),
            ("malformed", with(rsa(), "kid", json!(1))),
            ("malformed", with(rsa(), "kid", json!("a b"))),
            ("malformed", with(rsa(), "kid", json!("' or 1=1"))),
            ("malformed", with(rsa(), "kid", json!("a".repeat(129)))),
        ] {
            let error = import(&jwk).expect_err(&jwk.to_string());
            let word = match error {
                KeyError::Malformed(_) => "malformed",
                KeyError::Unsupported => "unsupported",
                KeyError::WeakSecret => "weak",
                KeyError::Mismatch => "mismatch",
            };
            assert_eq!(word, expected, "{jwk}");
        }
    }

    #[test]
    fn a_key_is_of_the_algorithm_asked_for() {
        for (jwk, own) in [
            (ed25519(), Algorithm::EdDsa),
            (p256(), Algorithm::Es256),
            (rsa(), Algorithm::Rs256),
            (oct(), Algorithm::Hs256),
        ] {
            for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Hs256] {
                let expected = match (algorithm == own, own) {
                    (true, Algorithm::Hs256) => Err(KeyError::Unsupported),
                    (true, _) => Ok(own),
                    (false, _) => Err(KeyError::Mismatch),
                };
                assert_eq!(VerifyingKey::from_jwk(algorithm, &jwk).map(|key| key.algorithm()), expected);
            }
        }
        let named = with(ed25519(), "alg", json!("Ed25519"));
        assert_eq!(import(&named).expect("RFC 9864").public_jwk["alg"], "EdDSA");
    }
}
