//! The signed envelope of a token: JSON Web Signature in compact form (RFC 7515), whatever it carries.
//!
//! One envelope has one spelling: canonical base64url, no duplicate names, no header member that could point to a key or change
//! what is signed. A header never chooses the algorithm; it only has to name the one that the key has (RFC 8725).

use std::fmt;

use serde_json::{Map, Value};

use crate::jwk::{Algorithm, VerifyingKey};
use crate::{base64url, json};

/// Longest token in bytes; anything above is refused before it is looked at.
pub const MAX_TOKEN_BYTES: usize = 64 * 1024;
const MAX_KID_BYTES: usize = 128;

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtError {
    /// Not a token of the form that we read; says what is wrong, in lower case.
    Malformed(&'static str),
    /// The header names `none` or another algorithm that we do not have.
    UnknownAlgorithm,
    /// The key is of another algorithm than the header names.
    WrongKey,
    /// The signature is not that of the key.
    BadSignature,
    /// `exp` is now or in the past.
    Expired,
    /// `nbf` is in the future.
    NotYetValid,
    /// A claim is missing or not of its type; names it.
    BadClaim(&'static str),
}

impl fmt::Display for JwtError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JwtError::Malformed(reason) => write!(formatter, "malformed token: {reason}"),
            JwtError::UnknownAlgorithm => formatter.write_str("the token names an algorithm that is not supported"),
            JwtError::WrongKey => formatter.write_str("the token names another algorithm than its key has"),
            JwtError::BadSignature => formatter.write_str("the signature of the token is wrong"),
            JwtError::Expired => formatter.write_str("the token has expired"),
            JwtError::NotYetValid => formatter.write_str("the token is not valid yet"),
            JwtError::BadClaim(name) => write!(formatter, "the claim {name} is missing or of the wrong type"),
        }
    }
}

impl std::error::Error for JwtError {}

/// A signed envelope whose signature is not checked yet: its header serves to find the key, its payload is out of reach.
pub struct UnverifiedEnvelope<'a> {
    signed: &'a str,
    algorithm: Algorithm,
    kid: Option<String>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// Reads the form of an envelope: at most 64 KiB, three parts of canonical base64url, none empty, a header with `alg`, `kid` and
/// `typ` only.
///
/// # Errors
/// `Malformed` and `UnknownAlgorithm`.
pub fn parse(token: &str) -> Result<UnverifiedEnvelope<'_>, JwtError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(JwtError::Malformed("longer than 64 KiB"));
    }
    if token.bytes().filter(|byte| *byte == b'.').count() != 2 {
        return Err(JwtError::Malformed("not three parts"));
    }
    let (signed, signature) = token.rsplit_once('.').expect("two dots were counted");
    let (header, payload) = signed.split_once('.').expect("two dots were counted");
    let header = decode(header)?;
    let payload = decode(payload)?;
    let signature = decode(signature)?;
    let header = json::parse_object(&header).ok_or(JwtError::Malformed("the header is not one JSON object"))?;
    let (algorithm, kid) = read_header(&header)?;
    Ok(UnverifiedEnvelope { signed, algorithm, kid, payload, signature })
}

impl UnverifiedEnvelope<'_> {
    /// What the header names; the key decides.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Which key the header names: 1 to 128 of `[A-Za-z0-9_.:=-]`.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Checks the signature and gives the payload out.
    ///
    /// # Errors
    /// `WrongKey` when the key is of another algorithm, `BadSignature`.
    pub fn verify(&self, key: &VerifyingKey) -> Result<&[u8], JwtError> {
        if key.algorithm() != self.algorithm {
            return Err(JwtError::WrongKey);
        }
        if !key.is_valid(self.signed.as_bytes(), &self.signature) {
            return Err(JwtError::BadSignature);
        }
        Ok(&self.payload)
    }

    /// For `jwt::parse`, which refuses a form that it does not know before any key is asked for.
    pub(crate) fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }
}

fn decode(part: &str) -> Result<Vec<u8>, JwtError> {
    if part.is_empty() {
        return Err(JwtError::Malformed("an empty part"));
    }
    base64url::decode(part).ok_or(JwtError::Malformed("a part is not canonical base64url"))
}

fn read_header(header: &Map<String, Value>) -> Result<(Algorithm, Option<String>), JwtError> {
    let mut algorithm = None;
    let mut kid = None;
    for (name, value) in header {
        let text = value.as_str().ok_or(JwtError::Malformed("a header member is not a string"))?;
        match name.as_str() {
            "alg" => algorithm = Some(Algorithm::parse(text).ok_or(JwtError::UnknownAlgorithm)?),
            "kid" if is_valid_kid(text) => kid = Some(text.to_owned()),
            "kid" => return Err(JwtError::Malformed("kid is not a plain name")),
            // RFC 7519, section 5.1, and RFC 9068, section 2.1.
            "typ" if text.eq_ignore_ascii_case("JWT") || text.eq_ignore_ascii_case("at+jwt") => {}
            "typ" => return Err(JwtError::Malformed("typ is not JWT")),
            // `jwk`, `jku`, `x5u` and `x5c` bring their own key, `crit` and `b64` change what is signed, `zip` what it says.
            _ => return Err(JwtError::Malformed("a header member other than alg, kid and typ")),
        }
    }
    Ok((algorithm.ok_or(JwtError::Malformed("alg is missing"))?, kid))
}

/// A `kid` goes into queries and logs, so it is 1 to 128 letters, digits, `_`, `.`, `:`, `=` or `-`.
pub(crate) fn is_valid_kid(kid: &str) -> bool {
    (1..=MAX_KID_BYTES).contains(&kid.len())
        && kid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:=-".contains(&byte))
}
