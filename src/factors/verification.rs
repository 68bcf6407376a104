//! Kinds of factors: what asking for one does, and whose a code or an answer is. Those that there are say so at the library's
//! start.

use std::sync::OnceLock;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Challenge, Factor};
use crate::config::Config;
use crate::guard::{self, Attempt};
use crate::platform::backend;
use crate::platform::error::{Error, Result};

/// What was given for a challenge.
pub struct Given<'a> {
    pub user_id: Uuid,
    /// The factor that was chosen, if one was; the only one that may be unverified yet.
    pub factor: Option<&'a Factor>,
    pub challenge: Option<&'a Challenge>,
    pub shown: Shown<'a>,
    pub attempt: &'a Attempt,
}

#[derive(Clone, Copy)]
pub enum Shown<'a> {
    Code(&'a str),
    /// What a security key has answered.
    Credential(&'a Value),
}

/// What it has proved.
pub struct Proof {
    /// None: a recovery code, which stands for any.
    pub factor_id: Option<Uuid>,
    /// As claim amr names it (RFC 8176, and Supabase Auth's words).
    pub method: &'static str,
}

/// One kind of code, or of answer. What it says is right is used up, whoever rolls back.
pub struct Verifier {
    /// Whether it has the form of those of this kind.
    pub takes: fn(Shown<'_>) -> bool,
    /// None: it is not one.
    pub verify: fn(&Given<'_>) -> Result<Option<Proof>>,
}

/// What asking for a factor does beyond writing the challenge down: a phone is sent a code, a security key is told what to sign.
/// It gives members for the answer.
pub type Asker = fn(user_id: Uuid, factor: &Factor, challenge_id: Uuid, config: &Config) -> Result<Map<String, Value>>;

struct Kinds {
    verifiers: &'static [&'static Verifier],
    askers: &'static [(&'static str, Asker)],
}

static KINDS: OnceLock<Kinds> = OnceLock::new();

/// At the library's start: verifiers in the order in which they are tried, and what asks, by kind of factor.
pub fn register(verifiers: &'static [&'static Verifier], askers: &'static [(&'static str, Asker)]) {
    KINDS.get_or_init(|| Kinds { verifiers, askers });
}

/// Asks for a factor where a challenge in a session waits.
pub fn ask(user_id: Uuid, factor: &Factor, challenge_id: Uuid, config: &Config) -> Result<Map<String, Value>> {
    let asker = KINDS.get().and_then(|kinds| kinds.askers.iter().find(|(kind, _)| *kind == factor.kind));
    match asker {
        Some((_, ask)) => ask(user_id, factor, challenge_id, config),
        None => Ok(Map::new()),
    }
}

/// Uses up what a code has proved, whoever rolls back; for so many microseconds. Refused as a wrong one where somebody was faster.
pub fn spend(attempt: &Attempt, id: Uuid, lifetime: i64) -> Result<()> {
    attempt.spend(id, backend::clock().saturating_add(lifetime)).map_err(|error| match error {
        Error::OtpExpired => Error::MfaVerificationFailed,
        other => other,
    })
}

/// One guess at a factor of this account, from before it is looked at until its transaction has ended.
pub fn guess<T>(user_id: Uuid, config: &Config, look: impl FnOnce(&Attempt) -> Result<T>) -> Result<T> {
    let attempt = guard::attempt(&guard::FACTOR, &user_id.to_string(), json!({"subject": user_id}), config)?;
    let result = look(&attempt);
    attempt.end(result, Some(user_id))
}

/// Whose it is, among all kinds that have its form.
pub fn verify(given: &Given<'_>) -> Result<Proof> {
    for verifier in KINDS.get().map(|kinds| kinds.verifiers).unwrap_or_default() {
        if (verifier.takes)(given.shown)
            && let Some(proof) = (verifier.verify)(given)?
        {
            return Ok(proof);
        }
    }
    Err(Error::MfaVerificationFailed)
}
