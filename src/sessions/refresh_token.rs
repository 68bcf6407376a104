//! Refresh tokens as they leave us: key id, session, counter and a MAC under a root-derived key (`docs/formats.md`).

use auth_core::refresh_token::{self, RefreshToken, UnverifiedRefreshToken};
use uuid::Uuid;

use crate::keys;
use crate::platform::error::{Error, Result};

/// What the MAC key is derived for; part of the frozen format.
const PURPOSE: &str = "refresh-token";

pub fn encode(session_id: Uuid, counter: i64) -> Result<String> {
    let root = keys::root()?;
    let key = root.current();
    let token = RefreshToken { session_id: session_id.into_bytes(), counter: counter as u64 };
    Ok(token.encode(key.id(), &key.derive(PURPOSE)).to_string())
}

/// A well-formed token whose MAC was not looked at yet.
pub struct Unverified(UnverifiedRefreshToken);

pub fn parse(text: &str) -> Result<Unverified> {
    refresh_token::parse(text).map(Unverified).ok_or(Error::RefreshTokenNotFound)
}

impl Unverified {
    /// The session and the counter.
    pub fn verify(&self) -> Result<(Uuid, i64)> {
        let root = keys::root()?;
        let id = self.0.key_id();
        let Some(key) = root.find(id) else {
            // Refused as a bad token, it would sign everybody out for what is the operator's mistake.
            return Err(keys::unknown_root_key(id)?.unwrap_or(Error::RefreshTokenNotFound));
        };
        let token = self.0.verify(&key.derive(PURPOSE)).ok_or(Error::RefreshTokenNotFound)?;
        let counter = i64::try_from(token.counter).map_err(|_| Error::RefreshTokenNotFound)?;
        Ok((Uuid::from_bytes(token.session_id), counter))
    }
}
