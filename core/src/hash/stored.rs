//! The stored strings: every field in the one form that its scheme writes, and every cost within our bounds.

use argon2::{Algorithm, Version};
use base64::Engine;
use base64::alphabet::BCRYPT;
use base64::engine::GeneralPurpose;

use super::{CANONICAL, Cost, HashError, PHC_BASE64};

const BCRYPT_BASE64: GeneralPurpose = GeneralPurpose::new(&BCRYPT, CANONICAL);
/// Longest stored string that is looked at.
const MAX_STORED_BYTES: usize = 256;
const BCRYPT_MAX_COST: u32 = 15;

/// A stored string that is safe to work on.
pub(super) enum Stored {
    Argon2 { algorithm: Algorithm, version: Version, cost: Cost, salt: Vec<u8>, digest: Vec<u8> },
    Bcrypt { cost: u32, salt: [u8; 16], digest: [u8; 23] },
}

impl Stored {
    pub(super) fn parse(stored: &str) -> Result<Stored, HashError> {
        if stored.len() > MAX_STORED_BYTES || !stored.is_ascii() {
            return Err(HashError::Malformed);
        }
        let mut fields = stored.split('$');
        if fields.next() != Some("") {
            return Err(HashError::Malformed);
        }
        let scheme = fields.next().ok_or(HashError::Malformed)?;
        let fields: Vec<&str> = fields.collect();
        let algorithm = match scheme {
            "argon2id" => Algorithm::Argon2id,
            "argon2i" => Algorithm::Argon2i,
            "argon2d" => Algorithm::Argon2d,
            "2a" | "2b" | "2y" => return Stored::parse_bcrypt(&fields),
            _ => return Err(HashError::Malformed),
        };
        Stored::parse_argon2(algorithm, &fields)
    }

    /// `v=19`, `m=…,t=…,p=…`, salt, digest; without a version it is 16 (the PHC string format).
    fn parse_argon2(algorithm: Algorithm, fields: &[&str]) -> Result<Stored, HashError> {
        let (version, parameters, salt, digest) = match fields {
            ["v=19", parameters, salt, digest] => (Version::V0x13, parameters, salt, digest),
            ["v=16", parameters, salt, digest] | [parameters, salt, digest] => {
                (Version::V0x10, parameters, salt, digest)
            }
            _ => return Err(HashError::Malformed),
        };
        let parameters: Vec<&str> = parameters.split(',').collect();
        let [memory, iterations, parallelism] = parameters.as_slice() else {
            return Err(HashError::Malformed);
        };
        let cost = Cost {
            memory_kib: parameter(memory, "m=")?,
            iterations: parameter(iterations, "t=")?,
            parallelism: parameter(parallelism, "p=")?,
        };
        let salt = PHC_BASE64.decode(salt).map_err(|_| HashError::Malformed)?;
        let digest = PHC_BASE64.decode(digest).map_err(|_| HashError::Malformed)?;
        // A short digest would let many passwords in.
        if !(argon2::MIN_SALT_LEN..=64).contains(&salt.len()) || !(16..=64).contains(&digest.len()) {
            return Err(HashError::Malformed);
        }
        cost.check()?;
        Ok(Stored::Argon2 { algorithm, version, cost, salt, digest })
    }

    /// Two digits of cost, then 22 letters of salt and 31 of digest.
    fn parse_bcrypt(fields: &[&str]) -> Result<Stored, HashError> {
        let [cost, salt_and_digest] = fields else {
            return Err(HashError::Malformed);
        };
        if cost.len() != 2 || !cost.bytes().all(|byte| byte.is_ascii_digit()) || salt_and_digest.len() != 53 {
            return Err(HashError::Malformed);
        }
        let cost: u32 = cost.parse().map_err(|_| HashError::Malformed)?;
        let (salt, digest) = salt_and_digest.split_at(22);
        let salt = BCRYPT_BASE64.decode(salt).map_err(|_| HashError::Malformed)?;
        let digest = BCRYPT_BASE64.decode(digest).map_err(|_| HashError::Malformed)?;
        match cost {
            4..=BCRYPT_MAX_COST => Ok(Stored::Bcrypt {
                cost,
                salt: salt.try_into().map_err(|_| HashError::Malformed)?,
                digest: digest.try_into().map_err(|_| HashError::Malformed)?,
            }),
            16..=31 => Err(HashError::TooCostly),
            _ => Err(HashError::Malformed),
        }
    }
}

/// A decimal without leading zeros after its name. What does not fit in 32 bits is too costly, not malformed.
fn parameter(text: &str, name: &str) -> Result<u32, HashError> {
    let digits = text.strip_prefix(name).ok_or(HashError::Malformed)?;
    if digits.is_empty()
        || !digits.bytes().all(|byte| byte.is_ascii_digit())
        || (digits.len() > 1 && digits.starts_with('0'))
    {
        return Err(HashError::Malformed);
    }
    digits.parse().map_err(|_| HashError::TooCostly)
}
