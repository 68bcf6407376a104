//! Signatures: the interface of `jsonwebtoken`, filled with ring. One algorithm is fixed when a key is made, so no header of a
//! token ever chooses how its own signature is checked (RFC 8725, section 3.1).

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result as JsonwebtokenResult};
use jsonwebtoken::jwk::ThumbprintHash;
use jsonwebtoken::signature::{Error as SignatureError, Signer, Verifier};
use jsonwebtoken::{AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use ring::{digest, hmac};

use crate::jwk::Algorithm;

/// For whoever reads foreign tokens through `jsonwebtoken` itself (`PROVIDER.install_default()`): the four algorithms of
/// `jwk::Algorithm`, everything else is refused. Tokens of ours do not go through it.
pub static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| {
        let signer = RingSigner::new(supported(*algorithm)?, key).ok_or(ErrorKind::InvalidKeyFormat)?;
        Ok(Box::new(signer))
    },
    verifier_factory: |algorithm, key| {
        let verifier = RingVerifier::new(supported(*algorithm)?, key.clone()).ok_or(ErrorKind::InvalidKeyFormat)?;
        Ok(Box::new(verifier))
    },
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |_| Err(ErrorKind::UnsupportedAlgorithm.into()),
        rsa_pub_components_from_public_key: |_| Err(ErrorKind::UnsupportedAlgorithm.into()),
        ec_pub_components_from_private_key: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
        ed_pub_components_from_private_key: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
        compute_digest: |data, hash| {
            let algorithm = match hash {
                ThumbprintHash::SHA256 => &digest::SHA256,
                ThumbprintHash::SHA384 => &digest::SHA384,
                ThumbprintHash::SHA512 => &digest::SHA512,
                _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
            };
            Ok(digest::digest(algorithm, data).as_ref().to_vec())
        },
    },
};

fn supported(algorithm: jsonwebtoken::Algorithm) -> JsonwebtokenResult<Algorithm> {
    match algorithm {
        jsonwebtoken::Algorithm::ES256 => Ok(Algorithm::Es256),
        jsonwebtoken::Algorithm::EdDSA => Ok(Algorithm::EdDsa),
        jsonwebtoken::Algorithm::RS256 => Ok(Algorithm::Rs256),
        jsonwebtoken::Algorithm::HS256 => Ok(Algorithm::Hs256),
        _ => Err(ErrorKind::UnsupportedAlgorithm.into()),
    }
}

fn theirs(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
    }
}

fn family(algorithm: Algorithm) -> AlgorithmFamily {
    match algorithm {
        Algorithm::Es256 => AlgorithmFamily::Ec,
        Algorithm::EdDsa => AlgorithmFamily::Ed,
        Algorithm::Rs256 => AlgorithmFamily::Rsa,
        Algorithm::Hs256 => AlgorithmFamily::Hmac,
    }
}

/// A key and the one algorithm that it verifies. The key wipes its bytes when it is dropped.
#[derive(Clone)]
pub(crate) struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl RingVerifier {
    /// `None` when the key is of another family than the algorithm.
    pub(crate) fn new(algorithm: Algorithm, key: DecodingKey) -> Option<RingVerifier> {
        (key.family() == family(algorithm)).then_some(RingVerifier { algorithm, key })
    }

    pub(crate) fn fixed_algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn is_valid(&self, message: &[u8], signature: &[u8]) -> bool {
        let result = match (self.algorithm, self.key.kind()) {
            (Algorithm::Es256, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            (Algorithm::EdDsa, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
            }
            (Algorithm::Hs256, DecodingKeyKind::SecretOrDer(secret)) => {
                hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), message, signature)
            }
            (Algorithm::Rs256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            (Algorithm::Rs256, DecodingKeyKind::SecretOrDer(der)) => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).verify(message, signature)
            }
            (_, DecodingKeyKind::RsaModulusExponent { .. }) => Err(ring::error::Unspecified),
        };
        result.is_ok()
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        if self.is_valid(message, signature) { Ok(()) } else { Err(SignatureError::new()) }
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> jsonwebtoken::Algorithm {
        theirs(self.algorithm)
    }
}

/// A private key, read once. RS256 is missing on purpose (RUSTSEC-2023-0071).
pub(crate) enum RingSigner {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Hs256(hmac::Key),
}

impl RingSigner {
    /// Reads PKCS#8 DER, or the secret itself for HS256. `None` when the bytes are no key of the algorithm.
    pub(crate) fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Option<RingSigner> {
        match algorithm {
            Algorithm::Es256 => {
                // ring takes a generator to blind with, not to make the key.
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes, &SystemRandom::new())
                    .ok()
                    .map(RingSigner::Es256)
            }
            Algorithm::EdDsa => Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes).ok().map(RingSigner::EdDsa),
            Algorithm::Hs256 => Some(RingSigner::Hs256(hmac::Key::new(hmac::HMAC_SHA256, bytes))),
            Algorithm::Rs256 => None,
        }
    }

    fn new(algorithm: Algorithm, key: &EncodingKey) -> Option<RingSigner> {
        (key.family() == family(algorithm)).then(|| RingSigner::from_bytes(algorithm, key.as_bytes())).flatten()
    }

    pub(crate) fn fixed_algorithm(&self) -> Algorithm {
        match self {
            RingSigner::Es256(_) => Algorithm::Es256,
            RingSigner::EdDsa(_) => Algorithm::EdDsa,
            RingSigner::Hs256(_) => Algorithm::Hs256,
        }
    }

    /// The uncompressed point for ES256, 32 bytes for EdDSA, nothing for HS256.
    pub(crate) fn public_bytes(&self) -> &[u8] {
        match self {
            RingSigner::Es256(pair) => pair.public_key().as_ref(),
            RingSigner::EdDsa(pair) => pair.public_key().as_ref(),
            RingSigner::Hs256(_) => &[],
        }
    }

    /// `None` only if the operating system's generator fails.
    pub(crate) fn signature(&self, message: &[u8], random: &SystemRandom) -> Option<Vec<u8>> {
        match self {
            RingSigner::Es256(pair) => Some(pair.sign(random, message).ok()?.as_ref().to_vec()),
            RingSigner::EdDsa(pair) => Some(pair.sign(message).as_ref().to_vec()),
            RingSigner::Hs256(key) => Some(hmac::sign(key, message).as_ref().to_vec()),
        }
    }
}

impl Signer<Vec<u8>> for RingSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        self.signature(message, &SystemRandom::new()).ok_or_else(SignatureError::new)
    }
}

impl JwtSigner for RingSigner {
    fn algorithm(&self) -> jsonwebtoken::Algorithm {
        theirs(self.fixed_algorithm())
    }
}
