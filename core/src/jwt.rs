//! Access tokens: JSON Web Tokens (RFC 7519, RFC 8725), read strictly and written so that they can be read. The envelope is
//! `jws`; here are the claims.

use ring::rand::SystemRandom;
use serde_json::{Map, Value};

use crate::jwk::{Algorithm, KeyError, SigningKey, VerifyingKey};
use crate::jws::{self, UnverifiedEnvelope};
use crate::{base64url, json};

pub use crate::jws::{JwtError, MAX_TOKEN_BYTES};

/// A token whose signature is not checked yet: its header serves to find the key, its claims are out of reach.
pub struct UnverifiedToken<'a> {
    envelope: UnverifiedEnvelope<'a>,
    claims: Map<String, Value>,
}

/// Reads the form of a token: what `jws::parse` asks for, and claims that are one JSON object without duplicate names at any level, at
/// most 32 levels deep.
///
/// # Errors
/// `Malformed` and `UnknownAlgorithm`.
pub fn parse(token: &str) -> Result<UnverifiedToken<'_>, JwtError> {
    let envelope = jws::parse(token)?;
    let claims = json::parse_object(envelope.unverified_payload())
        .ok_or(JwtError::Malformed("the claims are not one JSON object"))?;
    Ok(UnverifiedToken { envelope, claims })
}

impl UnverifiedToken<'_> {
    /// What the header names; the key decides.
    pub fn algorithm(&self) -> Algorithm {
        self.envelope.algorithm()
    }

    /// Which key the header names: 1 to 128 of `[A-Za-z0-9_.:=-]`.
    pub fn kid(&self) -> Option<&str> {
        self.envelope.kid()
    }

    /// Checks the signature and gives the claims out. Their times are not checked yet: `Claims::check_times`.
    ///
    /// # Errors
    /// `WrongKey` when the key is of another algorithm, `BadSignature`.
    pub fn verify(&self, key: &VerifyingKey) -> Result<Claims, JwtError> {
        self.envelope.verify(key)?;
        Ok(Claims(self.claims.clone()))
    }
}

/// Claims under a signature that was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// The claim, if it is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// The claim, if it is written as a JSON integer of 64 bits: `1.0`, `1e3`, `"1"` and `true` are none.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.0.get(name)?.as_i64()
    }

    /// All claims.
    pub fn map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// All claims, to keep.
    pub fn into_map(self) -> Map<String, Value> {
        self.0
    }

    /// Checks the times against `now_seconds` since 1970, without leeway: `exp` has to be there and later, `nbf` not later.
    ///
    /// # Errors
    /// `BadClaim` when `exp` is missing or one of `exp`, `nbf`, `iat` is no integer; `Expired`; `NotYetValid`.
    pub fn check_times(&self, now_seconds: i64) -> Result<(), JwtError> {
        let optional = |name: &'static str| match self.0.get(name) {
            None => Ok(None),
            Some(_) => self.integer(name).map(Some).ok_or(JwtError::BadClaim(name)),
        };
        let expires = optional("exp")?.ok_or(JwtError::BadClaim("exp"))?;
        let not_before = optional("nbf")?;
        optional("iat")?;
        if expires <= now_seconds {
            return Err(JwtError::Expired);
        }
        if not_before.is_some_and(|not_before| not_before > now_seconds) {
            return Err(JwtError::NotYetValid);
        }
        Ok(())
    }
}

/// Signs claims with the header `{"alg":…,"typ":"JWT","kid":…}`.
///
/// # Errors
/// `Malformed` when `kid` is no plain name, or when `parse` would refuse the token: over 64 KiB, claims nested over 32 levels or with
/// a NUL. No token leaves that cannot come back.
pub fn sign(
    claims: &Map<String, Value>,
    kid: &str,
    key: &SigningKey,
    random: &SystemRandom,
) -> Result<String, KeyError> {
    if !jws::is_valid_kid(kid) {
        return Err(KeyError::Malformed("kid is not a plain name"));
    }
    // Written out, so that the order of the members does not depend on a feature of serde_json.
    let header = format!(r#"{{"alg":"{}","typ":"JWT","kid":"{kid}"}}"#, key.algorithm().name());
    let payload =
        serde_json::to_string(claims).map_err(|_| KeyError::Malformed("the claims cannot be written as JSON"))?;
    let mut token = format!("{}.{}", base64url::encode(header.as_bytes()), base64url::encode(payload.as_bytes()));
    let signature = key
        .signature(token.as_bytes(), random)
        .ok_or(KeyError::Malformed("the generator of the operating system failed"))?;
    token.push('.');
    token.push_str(&base64url::encode(&signature));
    parse(&token).map_err(|_| KeyError::Malformed("the claims are too long, too deep or hold a NUL"))?;
    Ok(token)
}
