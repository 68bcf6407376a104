//! Foreign bytes never panic (XF17, XB5): valid inputs of every parser, damaged in a hundred thousand ways that a seed repeats.

use auth_core::email::Email;
use auth_core::jwk::{self, Algorithm, SigningKey, VerifyingKey};
use auth_core::keyring::Keyring;
use auth_core::seal::{self, Place};
use auth_core::{base64url, hash, jws, jwt, password, refresh_token};
use ring::rand::SystemRandom;
use serde_json::{Value, json};

const ROUNDS: usize = 20_000;

/// xorshift64*: enough to choose where to damage, and the same on every machine.
struct Damage(u64);

impl Damage {
    fn next(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }

    /// One to four changes: a byte replaced, inserted or removed, a piece doubled or cut off.
    fn apply(&mut self, bytes: &mut Vec<u8>) {
        const INTERESTING: &[u8] = b"\0\n .$=,@-_/+\"{}[]:\\09aZ\x7f\x80\xc3\xa9\xe2\xf0\xff";
        for _ in 0..=self.next(4) {
            let at = self.next(bytes.len() + 1);
            let byte = if self.next(2) == 0 { INTERESTING[self.next(INTERESTING.len())] } else { self.next(256) as u8 };
            match self.next(6) {
                0 => bytes.truncate(at),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 => bytes.insert(at, byte),
                3 => {
                    let end = (at + self.next(16)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
                _ if at < bytes.len() => bytes[at] = byte,
                _ => bytes.push(byte),
            }
        }
    }

    fn text(&mut self, seed: &str) -> String {
        let mut bytes = seed.as_bytes().to_vec();
        self.apply(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn each(seed: u64, seeds: &[&str], check: impl Fn(&str)) {
    let mut damage = Damage(seed);
    for _ in 0..ROUNDS {
        let text = damage.text(seeds[damage.0 as usize % seeds.len()]);
        check(&text);
    }
}

/// XF17
#[test]
fn addresses_and_passwords() {
    let seeds = ["mike@example.com", "jose\u{301}@bücher.example", "a.b+c@xn--bcher-kva.example", "用户@例子.广告"];
    each(1, &seeds, |text| {
        if let Ok(email) = Email::parse(text) {
            let again = Email::parse(email.address()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!(again.key(), email.key(), "{text:?}");
            assert_eq!(format!("{}@{}", email.local(), email.domain()), email.key());
        }
        let once = password::normalise(text);
        assert_eq!(password::normalise(&once), once);
    });
}

/// XF17
#[test]
fn stored_passwords() {
    let seeds = [
        "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$dNZzNIjCXmyE+5ODMC5cS0rq5W8whTxc",
        "$argon2i$v=16$m=8,t=1,p=1$AAECAwQFBgcICQoLDA0ODw$Dq4kBKszDmppkKxZAT1TY+8kyd+30Awd/IOFRJLGr4g",
        "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
        "$2a$31$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
    ];
    each(2, &seeds, |text| {
        let checked = hash::check_stored(text);
        assert_eq!(hash::is_known_scheme(text), checked != Err(hash::HashError::Malformed));
        hash::needs_rehash(text, hash::Cost::DEFAULT);
        match checked {
            Err(error) => assert_eq!(hash::verify_password(b"password", text), Err(error), "{text:?}"),
            // What is cheap is run: a digit may have become a cost that is allowed but slow.
            Ok(()) if text.contains("$04$") || text.contains("m=64,t=1,p=1$") => {
                assert!(hash::verify_password(b"password", text).is_ok(), "{text:?}");
            }
            Ok(()) => {}
        }
    });
}

/// XF17
#[test]
fn tokens() {
    let random = SystemRandom::new();
    let claims = json!({"sub": "a", "exp": 1_800_000_000, "x": {"y": [1, 2.5, null, "é"]}});
    let keys = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Hs256].map(|algorithm| {
        let key = SigningKey::generate(algorithm, &random).expect("a key");
        let token = jwt::sign(claims.as_object().expect("claims"), "kid", &key, &random).expect("a token");
        (key.verifying_key(), token)
    });
    for (seed, (key, token)) in keys.iter().enumerate() {
        each(3 + seed as u64, &[token], |text| {
            if text != token {
                let _ = jws::parse(text).and_then(|envelope| envelope.verify(key).map(<[u8]>::to_vec));
                assert!(jwt::parse(text).and_then(|token| token.verify(key)).is_err(), "{text}");
            }
        });
    }
    // Under the encoding as well: damaged JSON in a good envelope.
    let header = r#"{"alg":"HS256","typ":"JWT","kid":"kid"}"#;
    let payload = claims.to_string();
    let mut damage = Damage(7);
    for _ in 0..ROUNDS {
        let (mut header, mut payload) = (header.as_bytes().to_vec(), payload.as_bytes().to_vec());
        let damaged = if damage.next(2) == 0 { &mut header } else { &mut payload };
        damage.apply(damaged);
        let _ = jwt::parse(&format!("{}.{}.AA", base64url::encode(&header), base64url::encode(&payload)));
    }
}

/// XF17
#[test]
fn refresh_tokens_and_base64url() {
    let token = refresh_token::RefreshToken { session_id: [7; 16], counter: 42 }.encode(1, &[7; 32]);
    each(8, &[&token], |text| {
        if let Some(bytes) = base64url::decode(text) {
            assert_eq!(base64url::encode(&bytes), text);
        }
        if text != *token {
            assert!(refresh_token::parse(text).and_then(|token| token.verify(&[7; 32])).is_none(), "{text}");
        }
    });
}

/// XF17
#[test]
fn keyrings_and_sealed_values() {
    let text =
        "# keys\n7 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n8 /wECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
    each(9, &[text], |text| {
        if let Ok(keyring) = Keyring::parse(text) {
            assert!(keyring.find(keyring.current().id()).is_some());
        }
    });
    let keyring = Keyring::parse(text).expect("a keyring");
    let place = Place { table: "table", column: "column", row: b"row" };
    let sealed = seal::seal(keyring.current(), &place, b"secret", [7; 12]);
    let mut damage = Damage(10);
    for _ in 0..ROUNDS {
        let mut changed = sealed.clone();
        damage.apply(&mut changed);
        assert!(changed == sealed || seal::open(&keyring, &place, &changed).is_err());
    }
}

/// XF17
#[test]
fn keys() {
    let random = SystemRandom::new();
    let seeds: Vec<String> = [Algorithm::Es256, Algorithm::EdDsa]
        .map(|algorithm| SigningKey::generate(algorithm, &random).expect("a key").public_jwk("kid").to_string())
        .into_iter()
        .chain([
            json!({"kty": "oct", "k": base64url::encode(&[7; 32])}).to_string(),
            json!({"kty": "RSA", "n": base64url::encode(&[0xff; 256]), "e": "AQAB"}).to_string(),
            json!({"kty": "OKP", "crv": "Ed25519", "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
            .to_string(),
        ])
        .collect();
    let seeds: Vec<&str> = seeds.iter().map(String::as_str).collect();
    each(11, &seeds, |text| {
        let Ok(jwk) = serde_json::from_str::<Value>(text) else { return };
        if let Ok(imported) = jwk::import(&jwk) {
            assert!(imported.public_jwk.get("d").is_none() && imported.public_jwk.get("k").is_none());
            if imported.algorithm != Algorithm::Hs256 {
                assert!(VerifyingKey::from_jwk(imported.algorithm, &imported.public_jwk).is_ok());
            }
        }
        jwk::thumbprint(&jwk);
    });
    let mut damage = Damage(12);
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let key = SigningKey::generate(algorithm, &random).expect("a key");
        for _ in 0..2_000 {
            let mut bytes = key.private_bytes().to_vec();
            damage.apply(&mut bytes);
            let _ = SigningKey::from_private_bytes(algorithm, &bytes);
        }
    }
}
