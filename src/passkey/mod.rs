//! Passkeys: registering them while signed in, signing in and up with them, and looking after them (WebAuthn Level 3).
//!
//! Promises: an answer of an authenticator is good for one challenge, once, by one caller, although that one rolls back; only
//! for our relying party, from our origins, with the key of the passkey's owner; aal2 only where the authenticator has
//! verified its user. Asking with an address does not tell whether it has an account. Threats: a replayed, forged or relayed
//! answer; a registration in somebody else's session; a cloned authenticator; a stolen session that adds a passkey of its
//! own; an authenticator of a model that is not trusted.
//!
//! `challenge` holds what was asked, `stored` the rows, `register`, `sign_in` and `sign_up` are the ceremonies, `manage` the
//! rest, `factor` security keys as second factors; the bytes are verified in `core/src/webauthn.rs`.

mod challenge;
pub mod factor;
mod manage;
mod register;
mod sign_in;
mod sign_up;
mod stored;

use auth_core::webauthn::{self, Expected, LONGEST_RESPONSE, Refused, Registered, Trusted};
use pgrx::extension_sql_file;
use serde_json::Value;
use uuid::Uuid;

use crate::config::Config;
use crate::platform::backend;
use crate::platform::error::{Error, Result};
use crate::platform::log;
use crate::platform::options::{self, JsonArgument, given};

extension_sql_file!("passkey.sql", name = "passkey", requires = ["refresh"]);

/// How many passkeys an account has at most.
const MOST: i64 = 10;

/// How long a ceremony may take, in seconds (WebAuthn section 15.1 recommends five minutes).
const TTL_SECONDS: i64 = 300;

const LONGEST_NAME: usize = 120;

fn must_be_enabled(config: &Config) -> Result<()> {
    if config.webauthn.is_enabled { Ok(()) } else { Err(Error::PasskeyDisabled) }
}

/// What the browser gave: bounded before it is read.
fn credential(argument: JsonArgument) -> Result<Value> {
    given(options::json_up_to(argument, LONGEST_RESPONSE)?, "credential")
}

fn expected<'a>(challenge: &'a [u8], config: &'a Config) -> Expected<'a> {
    Expected {
        challenge,
        rp_id: &config.webauthn.rp_id,
        origins: &config.webauthn.origins,
        needs_user_verification: config.webauthn.user_verification == "required",
        attested_by: config
            .webauthn
            .attestation_roots
            .as_ref()
            .map(|roots| Trusted { roots, now: u64::try_from(backend::clock_seconds()).unwrap_or(0) }),
    }
}

/// What is asked of browsers, as WebAuthn spells it.
fn attestation(config: &Config) -> &'static str {
    if config.webauthn.attestation_roots.is_some() { "direct" } else { "none" }
}

/// Verifies what a new authenticator gave, and that those of its model may be registered.
fn made(credential: &Value, expected: &Expected<'_>, config: &Config) -> std::result::Result<Registered, Refused> {
    let made = webauthn::register(credential, expected, &backend::random_source())?;
    let allowed = &config.webauthn.allowed_aaguids;
    match allowed.is_empty() || allowed.contains(&Uuid::from_bytes(made.aaguid)) {
        true => Ok(made),
        false => Err(Refused("authenticators of this model may not be registered")),
    }
}

/// The caller hears that it was refused; why is for the log.
fn refused(Refused(why): Refused) -> Error {
    log::debug(|| format!("passkey refused: {why}"));
    Error::WebauthnVerificationFailed
}

/// A name as it may be kept; whoever shows it escapes it.
fn check_name(name: Option<&str>) -> Result<Option<&str>> {
    match name {
        Some(name) if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) => {
            Err(Error::invalid(
                "the name of a passkey is not one",
                format!("1 to {LONGEST_NAME} characters without control characters, or null"),
            ))
        }
        name => Ok(name),
    }
}
