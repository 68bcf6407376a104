//! Signing keys: made here, or imported as JSON Web Key (RFC 7517, 7518, 8037). Every key has one algorithm for life; RS256
//! only verifies, because signing with RSA leaks through time (RUSTSEC-2023-0071).

use std::fmt;

use jsonwebtoken::DecodingKey;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::base64url;
use crate::crypto::{RingSigner, RingVerifier};

mod import;

pub use import::{ImportedKey, import, thumbprint};

/// Fewest bytes of an HMAC secret (RFC 7518, section 3.2).
const MIN_SECRET_BYTES: usize = 32;
const COORDINATE_BYTES: usize = 32;

/// The algorithms that we know (RFC 7518, RFC 8037). There is no `none`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
    /// RSA PKCS#1 v1.5 with SHA-256, 2048 to 8192 bits; verifies only.
    Rs256,
    /// HMAC with SHA-256.
    Hs256,
}

impl Algorithm {
    /// The name in a token's header.
    pub fn name(&self) -> &'static str {
        match self {
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
            Algorithm::Rs256 => "RS256",
            Algorithm::Hs256 => "HS256",
        }
    }

    /// The algorithm with exactly this name; case matters.
    pub fn parse(name: &str) -> Option<Algorithm> {
        [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Hs256]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }
}

/// Why a key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// Not a key of the form asked for; says what is wrong, in lower case.
    Malformed(&'static str),
    /// A key type, curve or algorithm that we do not have, or RS256 asked to sign.
    Unsupported,
    /// An HMAC secret below 32 bytes.
    WeakSecret,
    /// Parts of the key contradict each other, or the key is of another algorithm.
    Mismatch,
}

impl fmt::Display for KeyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Malformed(reason) => write!(formatter, "malformed key: {reason}"),
            KeyError::Unsupported => formatter.write_str("unsupported kind of key"),
            KeyError::WeakSecret => formatter.write_str("an HMAC secret needs at least 32 bytes"),
            KeyError::Mismatch => formatter.write_str("the parts of the key do not belong together"),
        }
    }
}

impl std::error::Error for KeyError {}

/// What checks signatures of one algorithm. `Debug` shows the algorithm only.
#[derive(Clone)]
pub struct VerifyingKey {
    verifier: RingVerifier,
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("VerifyingKey").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

impl VerifyingKey {
    /// Reads a public JWK. Private members are not looked at. Cheap: whether a point is on the curve is found when verifying.
    ///
    /// # Errors
    /// `Mismatch` when the JWK is of another algorithm, `Unsupported` for HS256 (see `from_secret`), `Malformed`.
    pub fn from_jwk(algorithm: Algorithm, public_jwk: &Value) -> Result<Self, KeyError> {
        let jwk = public_jwk.as_object().ok_or(KeyError::Malformed("a JWK is an object"))?;
        let stated = import::algorithm_of(jwk)?;
        if algorithm == Algorithm::Hs256 && stated == algorithm {
            return Err(KeyError::Unsupported);
        }
        if stated != algorithm {
            return Err(KeyError::Mismatch);
        }
        let key = match algorithm {
            Algorithm::Es256 => DecodingKey::from_ec_der(&import::point(jwk)?),
            Algorithm::EdDsa => {
                DecodingKey::from_ed_der(import::exact(jwk, "x", "x is not 32 bytes of base64url")?.as_slice())
            }
            _ => {
                let (modulus, exponent) = import::rsa_components(jwk)?;
                DecodingKey::from_rsa_raw_components(&modulus, &exponent)
            }
        };
        VerifyingKey::new(algorithm, key)
    }

    /// An HS256 key.
    ///
    /// # Errors
    /// `WeakSecret` below 32 bytes.
    pub fn from_secret(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(KeyError::WeakSecret);
        }
        VerifyingKey::new(Algorithm::Hs256, DecodingKey::from_secret(secret))
    }

    fn new(algorithm: Algorithm, key: DecodingKey) -> Result<Self, KeyError> {
        RingVerifier::new(algorithm, key).map(|verifier| VerifyingKey { verifier }).ok_or(KeyError::Mismatch)
    }

    /// The one algorithm of this key.
    pub fn algorithm(&self) -> Algorithm {
        self.verifier.fixed_algorithm()
    }

    pub(crate) fn is_valid(&self, message: &[u8], signature: &[u8]) -> bool {
        self.verifier.is_valid(message, signature)
    }
}

/// What makes signatures of one algorithm: ES256, EdDSA or HS256. `Debug` shows the algorithm only.
pub struct SigningKey {
    signer: RingSigner,
    private_bytes: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SigningKey").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// A new key from the operating system's generator.
    ///
    /// # Errors
    /// `Unsupported` for RS256; `Malformed` if the generator fails.
    pub fn generate(algorithm: Algorithm, random: &SystemRandom) -> Result<Self, KeyError> {
        let failed = |_| KeyError::Malformed("the generator of the operating system failed");
        let bytes = match algorithm {
            Algorithm::Es256 => {
                let document =
                    EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, random).map_err(failed)?;
                Zeroizing::new(document.as_ref().to_vec())
            }
            Algorithm::EdDsa => {
                let document = Ed25519KeyPair::generate_pkcs8(random).map_err(failed)?;
                Zeroizing::new(document.as_ref().to_vec())
            }
            Algorithm::Hs256 => {
                let mut secret = Zeroizing::new(vec![0; MIN_SECRET_BYTES]);
                random.fill(&mut secret).map_err(failed)?;
                secret
            }
            Algorithm::Rs256 => return Err(KeyError::Unsupported),
        };
        SigningKey::from_private_bytes(algorithm, &bytes)
    }

    /// Reads what `private_bytes` answered: PKCS#8 DER (RFC 5958) with the public key in it for ES256, PKCS#8 DER for EdDSA,
    /// the secret itself for HS256.
    ///
    /// # Errors
    /// `Unsupported` for RS256, `WeakSecret` below 32 bytes, `Malformed`.
    pub fn from_private_bytes(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyError> {
        match algorithm {
            Algorithm::Rs256 => return Err(KeyError::Unsupported),
            Algorithm::Hs256 if bytes.len() < MIN_SECRET_BYTES => return Err(KeyError::WeakSecret),
            _ => {}
        }
        let signer = RingSigner::from_bytes(algorithm, bytes)
            .ok_or(KeyError::Malformed("not a PKCS#8 private key of this algorithm"))?;
        Ok(SigningKey { signer, private_bytes: Zeroizing::new(bytes.to_vec()) })
    }

    /// The key itself, to be sealed: see `from_private_bytes`.
    pub fn private_bytes(&self) -> &[u8] {
        &self.private_bytes
    }

    /// The JWK for the JWKS. An HS256 key has nothing public: its JWK names `kty`, `alg` and `kid` only.
    pub fn public_jwk(&self, kid: &str) -> Value {
        public_jwk(self.algorithm(), self.signer.public_bytes(), Some(kid))
    }

    /// The one algorithm of this key.
    pub fn algorithm(&self) -> Algorithm {
        self.signer.fixed_algorithm()
    }

    /// The key that checks what this one signs.
    pub fn verifying_key(&self) -> VerifyingKey {
        let key = match self.algorithm() {
            Algorithm::Es256 => DecodingKey::from_ec_der(self.signer.public_bytes()),
            Algorithm::EdDsa => DecodingKey::from_ed_der(self.signer.public_bytes()),
            Algorithm::Hs256 | Algorithm::Rs256 => DecodingKey::from_secret(&self.private_bytes),
        };
        VerifyingKey::new(self.algorithm(), key).expect("the key is made for its own algorithm")
    }

    pub(crate) fn signature(&self, message: &[u8], random: &SystemRandom) -> Option<Vec<u8>> {
        self.signer.signature(message, random)
    }
}

fn public_jwk(algorithm: Algorithm, public_bytes: &[u8], kid: Option<&str>) -> Value {
    let mut jwk = match algorithm {
        Algorithm::Es256 => {
            let (x, y) = public_bytes[1..].split_at(COORDINATE_BYTES);
            json!({"kty": "EC", "crv": "P-256", "x": base64url::encode(x), "y": base64url::encode(y)})
        }
        Algorithm::EdDsa => json!({"kty": "OKP", "crv": "Ed25519", "x": base64url::encode(public_bytes)}),
        Algorithm::Hs256 | Algorithm::Rs256 => json!({"kty": "oct"}),
    };
    complete(&mut jwk, algorithm, kid);
    jwk
}

fn complete(jwk: &mut Value, algorithm: Algorithm, kid: Option<&str>) {
    jwk["alg"] = json!(algorithm.name());
    if let Some(kid) = kid {
        jwk["kid"] = json!(kid);
    }
    if algorithm != Algorithm::Hs256 {
        jwk["use"] = json!("sig");
        jwk["key_ops"] = json!(["verify"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNING: [Algorithm; 3] = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Hs256];

    #[test]
    fn names_are_exact() {
        for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Hs256] {
            assert_eq!(Algorithm::parse(algorithm.name()), Some(algorithm));
            assert_eq!(Algorithm::parse(&algorithm.name().to_ascii_lowercase()), None);
        }
        for name in ["", "none", "EDDSA", "ES256 ", "ES384", "PS256", "HS512", "Ed25519", "ES256K"] {
            assert_eq!(Algorithm::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_made_key_comes_back_from_its_bytes_and_from_its_jwk() {
        let random = SystemRandom::new();
        for algorithm in SIGNING {
            let key = SigningKey::generate(algorithm, &random).expect("a key");
            let again = SigningKey::from_private_bytes(algorithm, key.private_bytes()).expect("the same key");
            let signature = again.signature(b"message", &random).expect("a signature");
            assert!(key.verifying_key().is_valid(b"message", &signature));
            assert!(!key.verifying_key().is_valid(b"massage", &signature));
            assert_eq!(key.public_jwk("kid"), again.public_jwk("kid"));
            assert_eq!(key.verifying_key().algorithm(), algorithm);
            let other = SigningKey::generate(algorithm, &random).expect("another key");
            assert!(!other.verifying_key().is_valid(b"message", &signature));
            if algorithm != Algorithm::Hs256 {
                let public = VerifyingKey::from_jwk(algorithm, &key.public_jwk("kid")).expect("its JWK");
                assert!(public.is_valid(b"message", &signature));
                let imported = import(&key.public_jwk("kid")).expect("its JWK");
                assert_eq!(imported.public_jwk, key.public_jwk("kid"));
                assert!(imported.signing.is_none());
            }
        }
        assert_eq!(SigningKey::generate(Algorithm::Rs256, &random).expect_err("RS256"), KeyError::Unsupported);
        assert_eq!(
            SigningKey::from_private_bytes(Algorithm::Rs256, &[0; 500]).expect_err("RS256"),
            KeyError::Unsupported
        );
    }

    #[test]
    fn weak_and_malformed_private_bytes() {
        assert_eq!(
            SigningKey::from_private_bytes(Algorithm::Hs256, &[1; 31]).expect_err("31 bytes"),
            KeyError::WeakSecret
        );
        assert!(SigningKey::from_private_bytes(Algorithm::Hs256, &[1; 32]).is_ok());
        assert_eq!(VerifyingKey::from_secret(&[1; 31]).expect_err("31 bytes"), KeyError::WeakSecret);
        let random = SystemRandom::new();
        let ecdsa = SigningKey::generate(Algorithm::Es256, &random).expect("a key");
        for bytes in [&b""[..], &[0; 138], &ecdsa.private_bytes()[..137], b"-----BEGIN PRIVATE KEY-----"] {
            for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
                let error = SigningKey::from_private_bytes(algorithm, bytes).expect_err("no key");
                assert!(matches!(error, KeyError::Malformed(_)));
            }
        }
        assert!(SigningKey::from_private_bytes(Algorithm::EdDsa, ecdsa.private_bytes()).is_err());
    }

    #[test]
    fn nothing_secret_is_shown() {
        let random = SystemRandom::new();
        for algorithm in SIGNING {
            let key = SigningKey::generate(algorithm, &random).expect("a key");
            assert_eq!(format!("{key:?}"), format!("SigningKey {{ algorithm: {algorithm:?}, .. }}"));
            assert_eq!(
                format!("{:?}", key.verifying_key()),
                format!("VerifyingKey {{ algorithm: {algorithm:?}, .. }}")
            );
            let jwk = key.public_jwk("kid").to_string();
            assert!(!jwk.contains("\"d\"") && !jwk.contains("\"k\""));
        }
        let secret = SigningKey::from_private_bytes(Algorithm::Hs256, &[1; 32]).expect("a key");
        assert_eq!(secret.public_jwk("name"), json!({"kty": "oct", "alg": "HS256", "kid": "name"}));
    }
}
