//! Signing in with a passkey.

use auth_core::webauthn::{Assertion, Stored};
use pgrx::JsonB;
use pgrx::prelude::*;
use ring::hmac;
use serde_json::{Value, json};
use uuid::Uuid;

use super::challenge::{self, For, Kind, Spent};
use super::stored::{self, Passkey, RolledBack};
use super::{TTL_SECONDS, credential, expected, must_be_enabled, refused};
use crate::audit::{self, Entry};
use crate::config::{self, Config};
use crate::door::{self, BeforeMfa, Way};
use crate::guard::{self, Meant};
use crate::platform::backend::{self, from_pg};
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::{log, silence};
use crate::{keys, users};

#[pg_extern(sql = false)]
fn start_passkey_sign_in(email: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    let result = start(email, options);
    log::outcome("start_passkey_sign_in", None, &result);
    Ok(result?)
}

fn start(email: Option<&str>, options: JsonArgument) -> Result<JsonB> {
    backend::must_write()?;
    options::only(options, &[])?;
    let config = config::current()?;
    must_be_enabled(&config)?;
    guard::count_ceremony(&config)?;
    let (user_id, allowed) = match email {
        None => (None, Vec::new()),
        Some(email) => {
            let who = Meant::by(email);
            let made_up = made_up(who.subject())?;
            let account = who.email.as_ref().map(users::find_by_email).transpose()?.flatten();
            match account {
                Some(account) => match stored::descriptors(account.id)? {
                    known if known.is_empty() => (Some(backend::uuid_v4()?), made_up),
                    known => (Some(account.id), known),
                },
                // Somebody who is not: any passkey is refused, as one of another account would be.
                None => (Some(backend::uuid_v4()?), made_up),
            }
        }
    };
    let rp = &config.webauthn;
    challenge::start(Kind::SignIn, For { user_id, session_id: None }, None, |challenge| {
        json!({
            "challenge": challenge,
            "timeout": TTL_SECONDS * 1000,
            "rpId": rp.rp_id,
            "allowCredentials": allowed,
            "userVerification": rp.user_verification,
        })
    })
    .map(JsonB)
}

/// What an address without passkeys answers with: the same at each time, and nothing that anybody could compute. Under the
/// oldest root key, so that a new one changes it no more than it changes passkeys.
fn made_up(subject: &str) -> Result<Vec<Value>> {
    /// Lengths and transports of the most usual authenticators.
    const USUAL: [(usize, &[&str]); 4] = [
        (20, &["hybrid", "internal"]),
        (16, &["hybrid", "internal"]),
        (32, &["internal"]),
        (16, &["hybrid", "internal"]),
    ];
    let root = keys::root()?;
    let oldest = root.keyring().iter().last().unwrap_or(root.current());
    let key = hmac::Key::new(hmac::HMAC_SHA512, oldest.derive("passkey made up").as_slice());
    let tag = hmac::sign(&key, subject.as_bytes());
    let (choice, id) = tag.as_ref().split_at(1);
    let (length, transports) = USUAL[usize::from(choice[0]) % USUAL.len()];
    Ok(vec![stored::descriptor(&id[..length], transports)])
}

#[pg_extern(sql = false)]
fn finish_passkey_sign_in(
    challenge_id: Option<pgrx::Uuid>,
    credential: JsonArgument,
    options: JsonArgument,
) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = finish(challenge_id, credential, options, &mut user_id);
    log::outcome("finish_passkey_sign_in", user_id, &result);
    Ok(result?)
}

fn finish(
    challenge_id: Option<pgrx::Uuid>,
    given_credential: JsonArgument,
    options: JsonArgument,
    user_id: &mut Option<Uuid>,
) -> Result<JsonB> {
    backend::must_write()?;
    let before_mfa = BeforeMfa::read(&options::only(options, &[door::OPTION])?)?;
    let config = config::current()?;
    must_be_enabled(&config)?;
    let challenge_id = from_pg(given(challenge_id, "challenge_id")?);
    let credential = credential(given_credential)?;
    keys::root()?;
    let attempt = guard::attempt(&guard::PASSKEY, "", json!({"method": "passkey"}), &config)?;
    let answer = challenge::spend(challenge_id, Kind::SignIn, &attempt, |_| true)
        .and_then(|spent| verify(&credential, &spent, &config, user_id))
        .inspect(|_| attempt.is_right())
        .and_then(|proved| let_in(&proved, before_mfa));
    attempt.end(answer, *user_id)
}

/// Who has proved it, with what.
struct Proved {
    passkey: Passkey,
    is_multi_factor: bool,
}

fn verify(credential: &Value, spent: &Spent, config: &Config, user_id: &mut Option<Uuid>) -> Result<Proved> {
    let assertion = Assertion::read(credential).map_err(refused)?;
    let passkey = stored::find(&assertion.credential_id)?.ok_or(Error::WebauthnVerificationFailed)?;
    let owner = passkey.user_id;
    let is_owners = match &assertion.user_handle {
        Some(handle) => handle == owner.as_bytes(),
        // Only an authenticator that was told which passkey to use may leave it out.
        None => spent.whom.user_id.is_some(),
    };
    if !is_owners || spent.whom.user_id.is_some_and(|meant| meant != owner) {
        return Err(Error::WebauthnVerificationFailed);
    }
    let known = Stored { public_key: &passkey.public_key, is_backup_eligible: passkey.is_backup_eligible };
    let asserted = assertion.verify(&known, &expected(&spent.bytes, config)).map_err(refused)?;
    *user_id = Some(owner);
    spent.remove()?;
    if let Err(RolledBack) = stored::note_use(passkey.id, asserted.sign_count, asserted.is_backed_up)? {
        // The signature is good: there may be a second authenticator with the same key.
        let data = json!({"passkey_id": passkey.id, "sign_count": asserted.sign_count});
        let code = Some(Error::WebauthnVerificationFailed.code());
        audit::refusal(&Entry { code, ..Entry::done("passkey_counter_rolled_back", owner).with(data) });
        return Err(Error::WebauthnVerificationFailed);
    }
    Ok(Proved { passkey, is_multi_factor: asserted.user_is_verified })
}

fn let_in(proved: &Proved, before_mfa: BeforeMfa) -> Result<JsonB> {
    let data = json!({"method": "passkey", "passkey_id": proved.passkey.id, "uv": proved.is_multi_factor});
    let multi_factor = proved.is_multi_factor.then_some(proved.passkey.id);
    let way = Way { multi_factor, ..Way::new("passkey", "passkey", "login_success", data) };
    door::let_in(proved.passkey.user_id, way.before_mfa(before_mfa))
}
