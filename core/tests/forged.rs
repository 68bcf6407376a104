//! Tokens that somebody made to be let in: XF1 to XF5 and XF8 to XF10 of the abuse cases.

use auth_core::base64url;
use auth_core::jwk::{Algorithm, KeyError, SigningKey, VerifyingKey, thumbprint};
use auth_core::jwt::{self, Claims, JwtError};
use ring::hmac;
use ring::rand::SystemRandom;
use serde_json::{Map, Value, json};

const KID: &str = "2026-11";
const NOW: i64 = 1_800_000_000;

fn claims() -> Map<String, Value> {
    object(json!({"sub": "00112233-4455-6677-8899-aabbccddeeff", "role": "authenticated", "exp": NOW + 60}))
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

fn key(algorithm: Algorithm) -> SigningKey {
    SigningKey::generate(algorithm, &SystemRandom::new()).expect("a key")
}

fn encoded(header: &str, payload: &str) -> String {
    format!("{}.{}", base64url::encode(header.as_bytes()), base64url::encode(payload.as_bytes()))
}

/// A token with any header and payload under a right HMAC.
fn hmac_token(secret: &[u8], header: &str, payload: &str) -> String {
    let signed = encoded(header, payload);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", base64url::encode(tag.as_ref()))
}

fn verify(token: &str, key: &VerifyingKey) -> Result<Claims, JwtError> {
    jwt::parse(token)?.verify(key)
}

const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn secret_key() -> VerifyingKey {
    VerifyingKey::from_secret(SECRET).expect("32 bytes")
}

/// Verifies a token that only its payload can condemn.
fn with_payload(payload: &str) -> Result<Claims, JwtError> {
    verify(&hmac_token(SECRET, HEADER, payload), &secret_key())
}

/// Verifies a token that only its header can condemn.
fn with_header(header: &str) -> Result<Claims, JwtError> {
    verify(&hmac_token(SECRET, header, "{}"), &secret_key())
}

#[test]
fn our_own_tokens_are_read() {
    let random = SystemRandom::new();
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Hs256] {
        let signing = key(algorithm);
        let token = jwt::sign(&claims(), KID, &signing, &random).expect("a token");
        let unverified = jwt::parse(&token).expect("our own token");
        assert_eq!((unverified.algorithm(), unverified.kid()), (algorithm, Some(KID)));
        let verified = unverified.verify(&signing.verifying_key()).expect("our own token");
        assert_eq!(verified.map(), &claims());
        assert_eq!(verified.text("role"), Some("authenticated"));
        assert_eq!(verified.integer("exp"), Some(NOW + 60));
        assert_eq!((verified.text("exp"), verified.integer("role"), verified.text("none")), (None, None, None));
        assert_eq!(verified.check_times(NOW), Ok(()));
        assert_eq!(verified.into_map(), claims());
        let header = base64url::decode(token.split('.').next().expect("a header")).expect("base64url");
        let expected = format!(r#"{{"alg":"{}","typ":"JWT","kid":"{KID}"}}"#, algorithm.name());
        assert_eq!(String::from_utf8(header).expect("UTF-8"), expected);
    }
}

#[test]
fn another_key_or_a_changed_byte_is_refused() {
    let random = SystemRandom::new();
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Hs256] {
        let signing = key(algorithm);
        let token = jwt::sign(&claims(), KID, &signing, &random).expect("a token");
        assert_eq!(verify(&token, &key(algorithm).verifying_key()), Err(JwtError::BadSignature));
        for other in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Hs256] {
            if other != algorithm {
                assert_eq!(verify(&token, &key(other).verifying_key()), Err(JwtError::WrongKey));
            }
        }
        let verifying = signing.verifying_key();
        for at in 0..token.len() {
            for replacement in [b'A', b'B', b'_', b'.', b'=', b' ', b'\0'] {
                let mut bytes = token.clone().into_bytes();
                if bytes[at] == replacement {
                    continue;
                }
                bytes[at] = replacement;
                let changed = String::from_utf8(bytes).expect("ASCII");
                assert!(verify(&changed, &verifying).is_err(), "{changed}");
            }
        }
        for (from, to) in [(0, token.len() - 1), (1, token.len()), (0, token.len() - 43), (0, 0)] {
            assert!(verify(&token[from..to], &verifying).is_err());
        }
        for around in [
            format!("{token}\n"),
            format!(" {token}"),
            format!("{token}="),
            format!("{token}."),
            format!("Bearer {token}"),
        ] {
            assert!(verify(&around, &verifying).is_err(), "{around:?}");
        }
    }
}

/// XF1
#[test]
fn none_in_every_case_is_refused() {
    let keys = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Hs256].map(|algorithm| key(algorithm).verifying_key());
    for variant in 0..16u32 {
        let letters = "none".char_indices();
        let name: String = letters
            .map(|(at, letter)| if variant >> at & 1 == 1 { letter.to_ascii_uppercase() } else { letter })
            .collect();
        let signed =
            encoded(&format!(r#"{{"alg":"{name}","typ":"JWT"}}"#), r#"{"role":"service_role","exp":9999999999}"#);
        assert!(jwt::parse(&format!("{signed}.")).is_err());
        assert!(jwt::parse(&signed).is_err());
        assert_eq!(jwt::parse(&format!("{signed}.AA")).err(), Some(JwtError::UnknownAlgorithm), "{name}");
        assert_eq!(with_header(&format!(r#"{{"alg":"{name}"}}"#)), Err(JwtError::UnknownAlgorithm), "{name}");
        for key in &keys {
            assert!(verify(&format!("{signed}.AA"), key).is_err());
        }
    }
    for header in
        ["{}", r#"{"alg":null}"#, r#"{"alg":""}"#, r#"{"alg":["HS256"]}"#, r#"{"alg":"hs256"}"#, r#"{"alg":"HS256 "}"#]
    {
        assert!(with_header(header).is_err(), "{header}");
    }
    for name in [
        "HS384", "HS512", "RS384", "RS512", "PS256", "PS384", "PS512", "ES384", "ES512", "ES256K", "Ed25519", "Ed448",
        "dir",
    ] {
        assert_eq!(with_header(&format!(r#"{{"alg":"{name}"}}"#)), Err(JwtError::UnknownAlgorithm), "{name}");
    }
}

/// XF2: HS256 under what everybody can read in the JWKS.
#[test]
fn a_public_key_is_no_secret() {
    let random = SystemRandom::new();
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let signing = key(algorithm);
        let jwk = signing.public_jwk(KID);
        let coordinates = |name: &str| base64url::decode(jwk[name].as_str().unwrap_or("")).expect("base64url");
        // SubjectPublicKeyInfo (RFC 5480, RFC 8410).
        let (point, head): (Vec<u8>, &[u8]) = match algorithm {
            Algorithm::Es256 => (
                [&[4], coordinates("x").as_slice(), coordinates("y").as_slice()].concat(),
                b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00",
            ),
            _ => (coordinates("x"), b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"),
        };
        let der = [head, &point].concat();
        let standard_base64 = base64url::encode(&der).replace('-', "+").replace('_', "/");
        let padding = "=".repeat((4 - standard_base64.len() % 4) % 4);
        let lines: Vec<&str> = [standard_base64.as_str()]
            .iter()
            .flat_map(|text| (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]))
            .collect();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}{padding}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
        let ssh = format!("ssh-ed25519 {}", base64url::encode(&point));
        let jwk_text = jwk.to_string();
        let jwks_text = json!({"keys": [jwk.clone()]}).to_string();
        let print = thumbprint(&jwk).expect("a thumbprint");
        for secret in [
            pem.as_bytes(),
            pem.trim_end().as_bytes(),
            &der,
            &point,
            &point[1..],
            jwk_text.as_bytes(),
            jwks_text.as_bytes(),
            ssh.as_bytes(),
            standard_base64.as_bytes(),
            print.as_bytes(),
            b"",
        ] {
            let header = format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{KID}"}}"#);
            let token = hmac_token(secret, &header, r#"{"role":"service_role","exp":9999999999}"#);
            assert_eq!(verify(&token, &signing.verifying_key()), Err(JwtError::WrongKey));
            let header = format!(r#"{{"alg":"{}","kid":"{KID}"}}"#, algorithm.name());
            let token = hmac_token(secret, &header, r#"{"role":"service_role","exp":9999999999}"#);
            assert_eq!(verify(&token, &signing.verifying_key()), Err(JwtError::BadSignature));
        }
        assert_eq!(VerifyingKey::from_jwk(Algorithm::Hs256, &jwk).err(), Some(KeyError::Mismatch));
        assert!(jwt::sign(&claims(), KID, &signing, &random).is_ok());
    }
}

/// XF3, and every other member that could bring a key or change what is signed.
#[test]
fn a_header_brings_no_key() {
    let attacker = key(Algorithm::Es256);
    let jwk = attacker.public_jwk("attacker");
    assert!(with_header(HEADER).is_ok());
    for (name, value) in [
        ("jwk", jwk.clone()),
        ("jwk", json!(null)),
        ("jku", json!("https://attacker.example/jwks.json")),
        ("x5u", json!("https://attacker.example/x")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AA")),
        ("x5t#S256", json!("AA")),
        ("crit", json!([])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("enc", json!("A256GCM")),
        ("ALG", json!("none")),
        ("Kid", json!("a")),
        ("", json!("")),
    ] {
        let header = json!({"alg": "HS256", name: value}).to_string();
        assert!(matches!(with_header(&header), Err(JwtError::Malformed(_))), "{header}");
    }
    for typ in ["JWT", "jwt", "Jwt", "at+jwt", "AT+JWT"] {
        assert!(with_header(&json!({"alg": "HS256", "typ": typ}).to_string()).is_ok(), "{typ}");
    }
    for typ in [
        json!(""),
        json!("JOSE"),
        json!("secevent+jwt"),
        json!("dpop+jwt"),
        json!("JWT "),
        json!(1),
        json!(null),
        json!(["JWT"]),
    ] {
        assert!(with_header(&json!({"alg": "HS256", "typ": typ}).to_string()).is_err(), "{typ}");
    }
}

/// XF4
#[test]
fn kid_is_a_plain_name() {
    let random = SystemRandom::new();
    let signing = key(Algorithm::Hs256);
    let long = "a".repeat(129);
    let megabyte = "a".repeat(1 << 20);
    for kid in [
        "",
        " ",
        "' OR 1=1",
        "a'; drop table auth.users; --",
        "../../dev/null",
        "/dev/null",
        "..\\..\\x",
        "a\nb",
        "a\0b",
        "é",
        "a b",
        "a/b",
        "$(id)",
        "|id",
        "a%00",
        "\u{202e}a",
        &long,
        &megabyte,
    ] {
        let header = json!({"alg": "HS256", "kid": kid}).to_string();
        assert!(matches!(with_header(&header), Err(JwtError::Malformed(_))), "{kid:.40}");
        assert!(matches!(jwt::sign(&claims(), kid, &signing, &random), Err(KeyError::Malformed(_))), "{kid:.40}");
    }
    for kid in [json!(1), json!(null), json!(true), json!(["a"]), json!({"a": "b"})] {
        assert!(with_header(&json!({"alg": "HS256", "kid": kid}).to_string()).is_err(), "{kid}");
    }
    for kid in ["a", "2026-11_x.y:z=", &long[..128]] {
        assert!(with_header(&json!({"alg": "HS256", "kid": kid}).to_string()).is_ok(), "{kid}");
    }
}

/// XF5
#[test]
fn times_of_a_wrong_type_never_count_as_absent() {
    let check = |payload: &str| with_payload(payload).and_then(|claims| claims.check_times(NOW));
    for (payload, expected) in [
        (r#"{"exp":1800000001}"#, Ok(())),
        (r#"{"exp":1800000000}"#, Err(JwtError::Expired)),
        (r#"{"exp":1799999999}"#, Err(JwtError::Expired)),
        (r#"{"exp":0}"#, Err(JwtError::Expired)),
        (r#"{"exp":-1}"#, Err(JwtError::Expired)),
        (r#"{"exp":-9223372036854775808}"#, Err(JwtError::Expired)),
        (r#"{"exp":9223372036854775807}"#, Ok(())),
        (r#"{"exp":9223372036854775808}"#, Err(JwtError::BadClaim("exp"))),
        (r#"{"exp":99999999999999999999999}"#, Err(JwtError::BadClaim("exp"))),
        (r#"{}"#, Err(JwtError::BadClaim("exp"))),
        (r#"{"EXP":1800000001}"#, Err(JwtError::BadClaim("exp"))),
        (r#"{"exp":null}"#, Err(JwtError::BadClaim("exp"))),
        (r#"{"exp":"99999999999"}"#, Err(JwtError::BadClaim("exp"))),
        (r#"{"exp":true}"#, Err(JwtError::BadClaim("exp"))),
        (r#"{"exp":[]}"#, Err(JwtError::BadClaim("exp"))),
        (r#"{"exp":[1800000001]}"#, Err(JwtError::BadClaim("exp"))),
        (r#"{"exp":{}}"#, Err(JwtError::BadClaim("exp"))),
        (r#"{"exp":1800000001.0}"#, Err(JwtError::BadClaim("exp"))),
        (r#"{"exp":1.9e9}"#, Err(JwtError::BadClaim("exp"))),
        (r#"{"exp":1e300}"#, Err(JwtError::BadClaim("exp"))),
        (r#"{"exp":-0}"#, Err(JwtError::BadClaim("exp"))),
        (r#"{"exp":1e400}"#, Err(JwtError::Malformed("the claims are not one JSON object"))),
        (r#"{"exp":NaN}"#, Err(JwtError::Malformed("the claims are not one JSON object"))),
        (r#"{"exp":1800000001,"nbf":1800000000}"#, Ok(())),
        (r#"{"exp":1800000001,"nbf":1800000001}"#, Err(JwtError::NotYetValid)),
        (r#"{"exp":1800000001,"nbf":null}"#, Err(JwtError::BadClaim("nbf"))),
        (r#"{"exp":1800000001,"nbf":"0"}"#, Err(JwtError::BadClaim("nbf"))),
        (r#"{"exp":1800000001,"nbf":0.5}"#, Err(JwtError::BadClaim("nbf"))),
        (r#"{"exp":1800000001,"iat":1799999999}"#, Ok(())),
        (r#"{"exp":1800000001,"iat":"1799999999"}"#, Err(JwtError::BadClaim("iat"))),
        (r#"{"exp":1800000001,"iat":null}"#, Err(JwtError::BadClaim("iat"))),
        // What is no integer is named before what is over.
        (r#"{"exp":0,"nbf":null}"#, Err(JwtError::BadClaim("nbf"))),
    ] {
        assert_eq!(check(payload), expected, "{payload}");
    }
}

/// XF8
#[test]
fn json_serialisation_is_no_token() {
    let random = SystemRandom::new();
    let signing = key(Algorithm::Es256);
    let token = jwt::sign(&claims(), KID, &signing, &random).expect("a token");
    let parts: Vec<&str> = token.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    for text in [
        json!({"payload": payload, "protected": header, "signature": signature}).to_string(),
        json!({"payload": payload, "signatures": [{"protected": header, "signature": signature}]}).to_string(),
        format!("{{\"a\":\"{header}.{payload}.{signature}\"}}"),
        format!("{{{header}.{payload}.{signature}}}"),
        format!("{header}.{payload}.{signature}{{}}"),
        format!("{{}}{header}.{payload}.{signature}"),
        format!("{header}.{{}}.{signature}"),
        format!("[\"{token}\"]"),
        format!("\"{token}\""),
    ] {
        assert!(matches!(jwt::parse(&text).err(), Some(JwtError::Malformed(_))), "{text}");
    }
}

/// XF9
#[test]
fn duplicates_and_what_is_no_object_are_refused() {
    let deep = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let deepest = deep(33);
    for payload in [
        r#"{"sub":"a","sub":"b"}"#,
        r#"{"sub":"a","sub":"a"}"#,
        r#"{"sub":"a","\u0073ub":"b"}"#,
        r#"{"x":{"y":1,"y":2}}"#,
        r#"{"x":[{"y":1,"y":2}]}"#,
        "[]",
        "null",
        "\"a\"",
        "1",
        "{",
        "{} {}",
        "{}\0",
        "\u{feff}{}",
        "{\"a\":\"\\u0000\"}",
        &deepest,
    ] {
        assert_eq!(with_payload(payload), Err(JwtError::Malformed("the claims are not one JSON object")), "{payload}");
    }
    assert!(with_payload(&deep(32)).is_ok());
    for header in [
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","\u0061lg":"none"}"#,
        r#"{"alg":"HS256","kid":"a","kid":"b"}"#,
        r#"{"alg":"HS256"}{"#,
        r#"[{"alg":"HS256"}]"#,
        r#""HS256""#,
    ] {
        assert!(matches!(with_header(header), Err(JwtError::Malformed(_))), "{header}");
    }
}

/// XF10
#[test]
fn a_megabyte_costs_nothing() {
    let started = std::time::Instant::now();
    for text in [".".repeat(1 << 20), "A".repeat(1 << 20), "a.".repeat(1 << 20), "{".repeat(1 << 20)] {
        assert_eq!(jwt::parse(&text).err(), Some(JwtError::Malformed("longer than 64 KiB")));
    }
    for dots in [0, 1, 3, 4, 64 * 1024] {
        assert_eq!(jwt::parse(&".".repeat(dots)).err(), Some(JwtError::Malformed("not three parts")), "{dots}");
    }
    assert_eq!(jwt::parse("..").err(), Some(JwtError::Malformed("an empty part")));
    assert!(started.elapsed() < std::time::Duration::from_millis(200));
}

/// No token leaves that cannot come back.
#[test]
fn sign_refuses_what_parse_refuses() {
    let random = SystemRandom::new();
    let signing = key(Algorithm::Es256);
    let mut nested = json!(1);
    for _ in 0..32 {
        nested = json!([nested]);
    }
    for claim in [json!("x".repeat(60_000)), json!("a\0b"), nested.clone()] {
        let mut refused = claims();
        refused.insert("user_metadata".to_owned(), claim);
        assert!(matches!(jwt::sign(&refused, KID, &signing, &random), Err(KeyError::Malformed(_))));
    }
    for claim in [json!("x".repeat(45_000)), nested[0].clone(), json!("😀\u{7f}\"\\")] {
        let mut accepted = claims();
        accepted.insert("user_metadata".to_owned(), claim);
        let token = jwt::sign(&accepted, KID, &signing, &random).expect("a token");
        assert_eq!(verify(&token, &signing.verifying_key()).map(Claims::into_map), Ok(accepted));
    }
}

/// An independent reader and writer of tokens agrees, through the provider that `core` fills with ring.
#[test]
fn jsonwebtoken_agrees() {
    use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
    auth_core::JWT_CRYPTO_PROVIDER.install_default().expect("nobody else installs a provider in this process");
    let random = SystemRandom::new();
    for (ours, theirs) in [
        (Algorithm::Es256, jsonwebtoken::Algorithm::ES256),
        (Algorithm::EdDsa, jsonwebtoken::Algorithm::EdDSA),
        (Algorithm::Hs256, jsonwebtoken::Algorithm::HS256),
    ] {
        let signing = key(ours);
        let jwk = signing.public_jwk(KID);
        let text = |name: &str| jwk[name].as_str().unwrap_or("");
        let bytes = signing.private_bytes();
        let (decoding, encoding) = match ours {
            Algorithm::Es256 => {
                (DecodingKey::from_ec_components(text("x"), text("y")).expect("a key"), EncodingKey::from_ec_der(bytes))
            }
            Algorithm::EdDsa => {
                (DecodingKey::from_ed_components(text("x")).expect("a key"), EncodingKey::from_ed_der(bytes))
            }
            _ => (DecodingKey::from_secret(bytes), EncodingKey::from_secret(bytes)),
        };
        let mut validation = Validation::new(theirs);
        validation.validate_exp = false;
        let token = jwt::sign(&claims(), KID, &signing, &random).expect("a token");
        let decoded = jsonwebtoken::decode::<Map<String, Value>>(&token, &decoding, &validation).expect("our token");
        assert_eq!(decoded.claims, claims());
        let token = jsonwebtoken::encode(&Header::new(theirs), &claims(), &encoding).expect("their token");
        assert_eq!(verify(&token, &signing.verifying_key()).map(Claims::into_map), Ok(claims()));
        assert!(jsonwebtoken::decode::<Value>(&token, &DecodingKey::from_secret(b"x"), &validation).is_err());
    }
    let unsupported = Header::new(jsonwebtoken::Algorithm::HS512);
    assert!(jsonwebtoken::encode(&unsupported, &claims(), &EncodingKey::from_secret(SECRET)).is_err());
}
