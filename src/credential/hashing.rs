//! Argon2 in a backend: behind the gate, and counted, so that a test can see that two refusals cost the same.

use auth_core::hash::{self, Cost, HashError};

use crate::gate;
use crate::platform::backend;
use crate::platform::error::{Error, Result};

/// A new hash of a password.
pub fn hash(password: &str, cost: Cost) -> Result<String> {
    let salt = backend::random()?;
    one_hash(|| hash::hash_password(password.as_bytes(), cost, &salt))
}

/// Whether the password is the stored one. Without one, and with one that is refused without the work of a hash, it costs
/// one hash with the current parameters and is wrong.
pub fn verify(password: &str, stored: Option<&str>, cost: Cost) -> Result<bool> {
    let password = password.as_bytes();
    // One way through the gate whatever is stored: who queued twice would be known by it.
    one_hash(|| match stored.map(|stored| hash::verify_password(password, stored)) {
        Some(Err(HashError::Malformed | HashError::TooCostly | HashError::CannotMatch)) | None => {
            hash::hash_password(password, cost, &[0; 16]).map(|_| false)
        }
        Some(verified) => verified,
    })
}

/// The only place where a password is hashed: what is counted was run.
fn one_hash<T>(run: impl FnOnce() -> std::result::Result<T, HashError>) -> Result<T> {
    let pass = gate::enter()?;
    let result = run().map_err(|error| Error::Internal(format!("the password cannot be hashed: {error}")))?;
    pass.count();
    drop(pass);
    // It takes a while and listens to nobody: who was cancelled meanwhile is not let in.
    pgrx::check_for_interrupts!();
    Ok(result)
}
