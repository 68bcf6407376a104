//! Argon2 in a backend: counted, so that a test can see that two refusals cost the same.

use std::sync::atomic::Ordering;

use auth_core::hash::{self, Cost, HashError};

use crate::platform::backend;
use crate::platform::error::{Error, Result};
use crate::platform::shared::COUNTERS;

/// A new hash of a password.
pub fn hash(password: &str, cost: Cost) -> Result<String> {
    counted()?;
    hash::hash_password(password.as_bytes(), cost, &backend::random()?).map_err(failed)
}

/// Whether the password is the stored one. Without one, and with one that cannot be verified, it costs one hash with the
/// current parameters and is wrong.
pub fn verify(password: &str, stored: Option<&str>, cost: Cost) -> Result<bool> {
    counted()?;
    let verified = stored.map(|stored| hash::verify_password(password.as_bytes(), stored));
    match verified {
        Some(Ok(is_right)) => Ok(is_right),
        Some(Err(HashError::OutOfMemory)) => Err(failed(HashError::OutOfMemory)),
        Some(Err(HashError::Malformed | HashError::TooCostly)) | None => {
            hash::hash_password(password.as_bytes(), cost, &[0; 16]).map_err(failed)?;
            Ok(false)
        }
    }
}

/// Hashes run on this server since it started.
pub fn count() -> Result<u64> {
    Ok(COUNTERS.require()?.hashes.load(Ordering::Relaxed))
}

fn counted() -> Result<()> {
    COUNTERS.require()?.hashes.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

fn failed(error: HashError) -> Error {
    Error::Internal(format!("the password cannot be hashed: {error}"))
}
