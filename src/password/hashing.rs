//! Argon2 in a backend: counted, so that a test can see that two refusals cost the same.

use std::sync::atomic::Ordering;

use auth_core::hash::{self, Cost, HashError};

use crate::platform::backend;
use crate::platform::error::{Error, Result};
use crate::platform::shared::COUNTERS;

/// A new hash of a password.
pub fn hash(password: &str, cost: Cost) -> Result<String> {
    let salt = backend::random()?;
    counted(|| hash::hash_password(password.as_bytes(), cost, &salt))?.map_err(failed)
}

/// Whether the password is the stored one. Without one, and with one that is refused without the work of a hash, it costs
/// one hash with the current parameters and is wrong.
pub fn verify(password: &str, stored: Option<&str>, cost: Cost) -> Result<bool> {
    let verified = stored.map(|stored| counted(|| hash::verify_password(password.as_bytes(), stored))).transpose()?;
    match verified {
        Some(Ok(is_right)) => Ok(is_right),
        Some(Err(HashError::OutOfMemory)) => Err(failed(HashError::OutOfMemory)),
        Some(Err(HashError::Malformed | HashError::TooCostly | HashError::CannotMatch)) | None => {
            counted(|| hash::hash_password(password.as_bytes(), cost, &[0; 16]))?.map_err(failed)?;
            Ok(false)
        }
    }
}

/// Hashes run on this server since it started.
pub fn count() -> Result<u64> {
    Ok(COUNTERS.require()?.hashes.load(Ordering::Relaxed))
}

/// The only place where a password is hashed: what is counted was run.
fn counted<T>(run: impl FnOnce() -> std::result::Result<T, HashError>) -> Result<std::result::Result<T, HashError>> {
    let counters = COUNTERS.require()?;
    let result = run();
    if result.is_ok() {
        counters.hashes.fetch_add(1, Ordering::Relaxed);
    }
    Ok(result)
}

fn failed(error: HashError) -> Error {
    Error::Internal(format!("the password cannot be hashed: {error}"))
}
