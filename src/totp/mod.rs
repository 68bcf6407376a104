//! Authenticator apps: time-based one-time passwords (RFC 6238).
//!
//! Promises: secrets of 160 bits from the operating system, sealed before they are stored and shown once; a code works once, also
//! in another challenge, after a restart and after ROLLBACK. Threats: a code that was looked over a shoulder, a window that is
//! wider than it has to be.

use auth_core::totp;
use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::audit::{self, Entry};
use crate::config::{self, Config};
use crate::factors::{self, Factor, Given, New, Proof, Shown, Verifier};
use crate::platform::backend::{self, to_pg};
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::query::{Query, Type};
use crate::platform::{log, silence};
use crate::{enrollment, keys, users};

extension_sql_file!("totp.sql", name = "totp", requires = ["mfa"]);

const METHOD: &str = "totp";

pub static VERIFIER: Verifier =
    Verifier { takes: |shown| matches!(shown, Shown::Code(code) if totp::is_code(code)), verify };

fn fault(error: totp::TotpError) -> Error {
    Error::Internal(format!("a TOTP secret cannot be used: {error}"))
}

#[pg_extern(sql = false)]
fn enroll_totp(friendly_name: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = try_enroll(friendly_name, options, &mut user_id);
    log::outcome("enroll_totp", user_id, &result);
    Ok(result?)
}

fn try_enroll(friendly_name: Option<&str>, options: JsonArgument, user_id: &mut Option<Uuid>) -> Result<JsonB> {
    backend::must_write()?;
    let options = options::only(options, &[enrollment::OPTION, "issuer"])?;
    let asking = enrollment::asking()?;
    *user_id = Some(asking.user_id);
    let config = config::current()?;
    must_be_enabled(&config)?;
    enrollment::require(&asking, &options, &config)?;
    let secret = Zeroizing::new(backend::random::<{ totp::SECRET_BYTES }>()?);
    let id = backend::uuid_v4()?;
    let new = New {
        id,
        kind: factors::TOTP,
        name: given(friendly_name, "friendly_name")?,
        phone: None,
        secret: Some(secret.as_slice()),
    };
    factors::enroll(asking.user_id, &new, &config)?;
    audit::record(
        &Entry::done("factor_enrolled", asking.user_id)
            .in_session(asking.session_id)
            .with(json!({"factor_id": id, "factor_type": factors::TOTP})),
    )?;
    let issuer = crate::mail::text(&options, "issuer")?.unwrap_or(&config.mfa.totp_issuer);
    let uri = uri(secret.as_slice(), issuer, &account_name(asking.user_id)?)?;
    Ok(JsonB(json!({
        "factor_id": id,
        "secret": totp::secret_text(secret.as_slice()).as_str(),
        "otpauth_uri": uri.as_str(),
        "qr_code": totp::qr_code(&uri).map_err(fault)?.as_str(),
    })))
}

fn must_be_enabled(config: &Config) -> Result<()> {
    match config.mfa.is_enabled && config.mfa.totp_is_enabled {
        true => Ok(()),
        false => Err(Error::MfaTotpEnrollNotEnabled),
    }
}

fn uri(secret: &[u8], issuer: &str, account: &str) -> Result<Zeroizing<String>> {
    totp::uri(secret, issuer, account)
        .map_err(|_| Error::invalid("issuer is not a name", "text without colons, such as the name of the app"))
}

/// What an authenticator app shows beside its code.
fn account_name(user_id: Uuid) -> Result<String> {
    let account = users::credentials(user_id)?.ok_or(Error::SessionNotFound)?;
    let address = account.email.map(|email| email.address().to_string()).filter(|address| !address.contains(':'));
    Ok(address.unwrap_or_else(|| user_id.to_string()))
}

#[pg_extern(sql = false)]
fn confirm_totp(factor_id: Option<pgrx::Uuid>, code: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = enrollment::confirm_by_code(factors::TOTP, factor_id, code, options, &mut user_id);
    log::outcome("confirm_totp", user_id, &result);
    Ok(result?)
}

#[pg_extern(sql = false)]
fn disable_totp(code: Option<&str>, options: JsonArgument) -> Answer<()> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = try_disable(code, options, &mut user_id);
    log::outcome("disable_totp", user_id, &result);
    Ok(result?)
}

fn try_disable(code: Option<&str>, options: JsonArgument, user_id: &mut Option<Uuid>) -> Result<()> {
    backend::must_write()?;
    options::only(options, &[])?;
    let asking = enrollment::asking()?;
    *user_id = Some(asking.user_id);
    let config = config::current()?;
    let code = given(code, "code")?;
    silence::check_literal(code)?;
    keys::root()?;
    let gone: Vec<Factor> =
        factors::verified(asking.user_id)?.into_iter().filter(|factor| factor.kind == factors::TOTP).collect();
    if gone.is_empty() {
        return Err(Error::MfaFactorNotFound);
    }
    factors::guess(asking.user_id, &config, |attempt| {
        let given = Given { user_id: asking.user_id, factor: None, challenge: None, shown: Shown::Code(code), attempt };
        let proof = factors::verify(&given)?;
        attempt.is_right();
        enrollment::accept(asking.user_id, Some(asking.session_id), &proof)?;
        enrollment::remove(asking.user_id, Some(asking.session_id), &gone, &config)
    })
}

/// Which of the account's apps shows this code now; the code is used up.
fn verify(given: &Given<'_>) -> Result<Option<Proof>> {
    static USE: Query = Query::write(
        "update auth.mfa_factors
        set last_used_step = $2, last_challenged_at = clock_timestamp(), updated_at = clock_timestamp()
        where id = $1 and coalesce(last_used_step < $2, true)",
        &[Type::UUIDOID, Type::INT8OID],
    );
    let Shown::Code(code) = given.shown else { return Ok(None) };
    let all = factors::all(given.user_id)?;
    let apps = all.iter().filter(|factor| {
        factor.kind == factors::TOTP
            && match given.factor {
                Some(chosen) => factor.id == chosen.id,
                None => factor.is_verified,
            }
    });
    for factor in apps {
        let secret = factor.secret()?;
        let now = u64::try_from(backend::clock_seconds()).unwrap_or(0);
        let Some(step) = totp::step_of(&secret, code, now).map_err(fault)? else { continue };
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        if factor.last_used_step.is_some_and(|used| used >= step) {
            continue;
        }
        factors::spend(given.attempt, Uuid::from_bytes(totp::step_id(factor.id.as_bytes(), step)), LIFETIME)?;
        return match USE.execute(&[to_pg(factor.id).into(), step.into()])? {
            0 => Err(Error::MfaVerificationFailed),
            _ => Ok(Some(Proof { factor_id: Some(factor.id), method: METHOD })),
        };
    }
    Ok(None)
}

/// Longer than any code is good, in microseconds.
const LIFETIME: i64 = 5 * 60 * 1_000_000;
