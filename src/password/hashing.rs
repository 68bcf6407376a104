//! Argon2 in a backend: counted, so that a test can see that two refusals cost the same.

use std::sync::atomic::Ordering;

use auth_core::hash::{self, Cost, HashError};

use crate::platform::backend;
use crate::platform::error::{Error, Result};
use crate::platform::shared::COUNTERS;

const BCRYPT_MOST_BYTES: usize = 72;

/// A new hash of a password.
pub fn hash(password: &str, cost: Cost) -> Result<String> {
    let salt = backend::random()?;
    counted(|| hash::hash_password(password.as_bytes(), cost, &salt))
}

/// Whether the password is the stored one. Without one, and with one that cannot be verified, it costs one hash with the
/// current parameters and is wrong.
pub fn verify(password: &str, stored: Option<&str>, cost: Cost) -> Result<bool> {
    // bcrypt takes 72 bytes: a longer password is never right, and is refused without the work.
    let is_verifiable = |stored: &&str| {
        hash::check_stored(stored).is_ok() && !(stored.starts_with("$2") && password.len() > BCRYPT_MOST_BYTES)
    };
    match stored.filter(is_verifiable) {
        Some(stored) => counted(|| hash::verify_password(password.as_bytes(), stored)),
        None => counted(|| hash::hash_password(password.as_bytes(), cost, &[0; 16])).map(|_| false),
    }
}

/// Hashes run on this server since it started.
pub fn count() -> Result<u64> {
    Ok(COUNTERS.require()?.hashes.load(Ordering::Relaxed))
}

/// The only place where a password is hashed: what is counted was run.
fn counted<T>(run: impl FnOnce() -> std::result::Result<T, HashError>) -> Result<T> {
    let counters = COUNTERS.require()?;
    let result = run();
    counters.hashes.fetch_add(1, Ordering::Relaxed);
    result.map_err(|error| Error::Internal(format!("the password cannot be hashed: {error}")))
}
