//! The frozen byte formats. Every value was made by Python's `cryptography` 50 from docs/formats.md, not by this crate, and stands in
//! that document: a change here breaks what users have stored.

use auth_core::jwk::{self, Algorithm, SigningKey};
use auth_core::keyring::Keyring;
use auth_core::refresh_token::{self, RefreshToken};
use auth_core::seal::{self, Place};
use auth_core::{base64url, hash, jwt};
use ring::rand::SystemRandom;
use serde_json::{Map, json};

const DOCUMENT: &str = include_str!("../../docs/formats.md");
const KEYRING: &str = "7 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const ID: [u8; 16] = [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];

const DERIVED: [(&str, &str); 4] = [
    ("", "449520fa89695ef65178e5066842f60ef50e10f1c3c014ae4c420f64b6c6b37e"),
    ("check", "273f87d95b184b7af01e0dba534ab780df038380fa35bac28f0b7691af194509"),
    ("refresh-token", "ea14866dadf4de7b2c9cc57128ce9b75be908b2c78804ceac69c3bbc8494062f"),
    ("seal/signing_keys.private_sealed", "bfc00c400c07eb432580719dd253c8f450e9d3ec5e605ad9d9bc79c5bc022537"),
];
const CHECK_VALUE: &str = "37df081150ece8c4d68f515c7b7a2aa4";
const REFRESH_TOKEN_BYTES: &str =
    "010000000700112233445566778899aabbccddeeff000000000000002a8dc5d67d2118a3f437ecfe50041ba50a";
const REFRESH_TOKEN: &str = "AQAAAAcAESIzRFVmd4iZqrvM3e7_AAAAAAAAACqNxdZ9IRij9Dfs_lAEG6UK";
const SEALED: &str = "0100000007a0a1a2a3a4a5a6a7a8a9aaabda771fb935affd4f130188681e3c8c1e674d4704d687911dd1d897a54589";
const PLACE: Place = Place { table: "signing_keys", column: "private_sealed", row: b"2026-11" };

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn keyring() -> Keyring {
    Keyring::parse(KEYRING).expect("a keyring")
}

#[test]
fn derived_keys_and_check_value() {
    let keyring = keyring();
    for (purpose, expected) in DERIVED {
        assert_eq!(hexadecimal(keyring.current().derive(purpose).as_slice()), expected, "{purpose}");
    }
    assert_eq!(hexadecimal(&keyring.current().check_value()), CHECK_VALUE);
}

#[test]
fn refresh_token() {
    let keyring = keyring();
    let key = keyring.current().derive(refresh_token::PURPOSE);
    let token = RefreshToken { session_id: ID, counter: 42 };
    assert_eq!(*token.encode(7, &key), REFRESH_TOKEN);
    let unverified = refresh_token::parse(REFRESH_TOKEN).expect("a refresh token");
    assert_eq!(unverified.key_id(), 7);
    assert_eq!(unverified.verify(&key), Some(token));
    assert_eq!(base64url::decode(REFRESH_TOKEN).map(|bytes| hexadecimal(&bytes)).as_deref(), Some(REFRESH_TOKEN_BYTES));
}

#[test]
fn sealed_value() {
    let keyring = keyring();
    let nonce = *b"\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab";
    let sealed = seal::seal(keyring.current(), &PLACE, b"attack at dawn", nonce);
    assert_eq!(hexadecimal(&sealed), SEALED);
    assert_eq!(
        seal::open(&keyring, &PLACE, &sealed).as_ref().map(|plaintext| plaintext.as_slice()),
        Ok(&b"attack at dawn"[..])
    );
}

#[test]
fn access_token_header() {
    // RFC 7515, appendix A.3; its thumbprint is the `kid`.
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"});
    let imported = jwk::import(&jwk).expect("a key");
    let kid = jwk::thumbprint(&imported.public_jwk).expect("a thumbprint");
    let signing = imported.signing.expect("a private key");
    let token = jwt::sign(&Map::new(), &kid, &signing, &SystemRandom::new()).expect("a token");
    let header = token.split('.').next().expect("a header");
    assert!(DOCUMENT.contains(&format!("    {header}\n")), "{header}");
    assert_eq!(signing.private_bytes().len(), 138);
    let edwards = SigningKey::generate(Algorithm::EdDsa, &SystemRandom::new()).expect("a key");
    assert_eq!(edwards.private_bytes().len(), 83);
}

#[test]
fn stored_password() {
    let salt = std::array::from_fn(|at| at as u8);
    let stored = hash::hash_password(b"correct horse", hash::Cost::DEFAULT, &salt).expect("a hash");
    assert!(DOCUMENT.contains(&format!("    {stored}\n")), "{stored}");
}

#[test]
fn the_document_shows_the_same_values() {
    for value in
        [KEYRING, CHECK_VALUE, REFRESH_TOKEN, REFRESH_TOKEN_BYTES, SEALED, DERIVED[1].1, DERIVED[2].1, DERIVED[3].1]
    {
        assert!(DOCUMENT.contains(value), "docs/formats.md does not show {value}");
    }
}
