//! A security key as a second factor: confirmed by the key that it makes, and asked to sign where a challenge waits.
//!
//! What it makes stands with the factor and not among the passkeys, under a user handle of its own: it signs nobody in alone.

use auth_core::webauthn::{Assertion, Expected, Refused, Stored};
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{TTL_SECONDS, expected, made, register, stored};
use crate::audit::{self, Entry};
use crate::config::{self, Config};
use crate::factors::{self, Challenge, Factor, Given, New, Proof, Shown, Verifier};
use crate::guard::Attempt;
use crate::platform::backend::{self, from_pg, to_pg};
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::query::{Query, Type};
use crate::platform::{log, silence};
use crate::{door, enrollment, keys, users};

const METHOD: &str = "mfa/webauthn";

pub static VERIFIER: Verifier = Verifier { takes: |shown| matches!(shown, Shown::Credential(_)), verify };

fn is_enabled(config: &Config) -> bool {
    config.mfa.is_enabled && config.mfa.webauthn_is_enabled
}

#[pg_extern(sql = false)]
fn enroll_webauthn(friendly_name: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = enroll(friendly_name, options, &mut user_id);
    log::outcome("enroll_webauthn", user_id, &result);
    Ok(result?)
}

fn enroll(name: Option<&str>, options: JsonArgument, user_id: &mut Option<Uuid>) -> Result<JsonB> {
    backend::must_write()?;
    let options = options::only(options, &[enrollment::OPTION])?;
    let asking = enrollment::asking()?;
    *user_id = Some(asking.user_id);
    let config = config::current()?;
    if !is_enabled(&config) {
        return Err(Error::MfaWebauthnEnrollNotEnabled);
    }
    enrollment::require(&asking, &options, &config)?;
    let (id, name) = (backend::uuid_v4()?, given(name, "friendly_name")?);
    factors::enroll(asking.user_id, &New { id, kind: factors::WEBAUTHN, name, phone: None, secret: None }, &config)?;
    let data = json!({"factor_id": id, "factor_type": factors::WEBAUTHN});
    audit::record(&Entry::done("factor_enrolled", asking.user_id).in_session(asking.session_id).with(data))?;
    Ok(JsonB(json!({"status": "enrolled", "factor_id": id, "friendly_name": name})))
}

#[pg_extern(sql = false)]
fn challenge_webauthn(
    challenge_token: Option<&str>,
    factor_id: Option<pgrx::Uuid>,
    options: JsonArgument,
) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = challenge(challenge_token, factor_id, options, &mut user_id);
    log::outcome("challenge_webauthn", user_id, &result);
    Ok(result?)
}

fn challenge(
    token: Option<&str>,
    factor_id: Option<pgrx::Uuid>,
    options: JsonArgument,
    user_id: &mut Option<Uuid>,
) -> Result<JsonB> {
    backend::must_write()?;
    options::only(options, &[])?;
    let config = config::current()?;
    let token = given(token, "challenge_token")?;
    silence::check_literal(token)?;
    keys::root()?;
    let challenge = enrollment::find_challenge(token, &config)?;
    *user_id = Some(challenge.user_id);
    door::must_be_welcome(challenge.user_id)?;
    let wanted = factor_id.map(from_pg);
    let (mut security_keys, is_first) = (factors::all(challenge.user_id)?, was_first_step(&challenge)?);
    security_keys.retain(|factor| {
        factor.kind == factors::WEBAUTHN
            && wanted.is_none_or(|id| id == factor.id)
            && match challenge.factor_id {
                Some(chosen) => factor.id == chosen,
                None => factor.is_verified,
            }
            && !(factor.is_verified && is_first)
    });
    begin(challenge.user_id, &security_keys, challenge.id, &config).map(|webauthn| JsonB(webauthn.into()))
}

/// What `auth.challenge_factor` does for a security key.
pub fn ask(user_id: Uuid, factor: &Factor, challenge_id: Uuid, config: &Config) -> Result<Map<String, Value>> {
    begin(user_id, std::slice::from_ref(factor), challenge_id, config)
}

/// What a browser is told to ask one of these keys for. Of a challenge the newest ceremony is good.
fn begin(user_id: Uuid, of: &[Factor], challenge_id: Uuid, config: &Config) -> Result<Map<String, Value>> {
    static BEGIN: Query = Query::write(
        "update auth.mfa_challenges
        set webauthn_challenge = $2, webauthn_expires_at = clock_timestamp() + make_interval(secs => $3)
        where id = $1",
        &[Type::UUIDOID, Type::BYTEAOID, Type::FLOAT8OID],
    );
    let challenge = backend::random::<32>()?;
    let encoded = auth_core::base64url::encode(&challenge);
    let (kind, public_key) = match of {
        [] => return Err(Error::MfaFactorNotFound),
        [new] if !new.is_verified => ("create", creation(user_id, new, encoded, config)?),
        known => ("request", request(user_id, known, &encoded, config)?),
    };
    BEGIN.execute(&[to_pg(challenge_id).into(), challenge.as_slice().into(), (TTL_SECONDS as f64).into()])?;
    let webauthn = json!({"type": kind, "credential_options": {"publicKey": public_key}});
    Ok(Map::from_iter([("webauthn".to_string(), webauthn)]))
}

/// PublicKeyCredentialCreationOptionsJSON. An authenticator keeps one discoverable key for each user handle: with that of the
/// account it would overwrite a passkey.
fn creation(user_id: Uuid, new: &Factor, challenge: String, config: &Config) -> Result<Value> {
    must_be_enabled_to_verify(config)?;
    let user = users::object(user_id)?.ok_or(Error::SessionNotFound)?;
    let mut existing = stored::descriptors(user_id)?;
    existing.extend(descriptors(user_id, |_| true)?);
    let mut user = register::describe(user_id, &user);
    user["id"] = auth_core::base64url::encode(new.id.as_bytes()).into();
    let mut options = register::creation(challenge, user, existing, config);
    options["authenticatorSelection"] = json!({
        "authenticatorAttachment": "cross-platform",
        "residentKey": "discouraged",
        "requireResidentKey": false,
        "userVerification": "discouraged",
    });
    Ok(options)
}

/// PublicKeyCredentialRequestOptionsJSON.
fn request(user_id: Uuid, of: &[Factor], challenge: &str, config: &Config) -> Result<Value> {
    Ok(json!({
        "challenge": challenge,
        "timeout": TTL_SECONDS * 1000,
        "rpId": config.webauthn.rp_id,
        "allowCredentials": descriptors(user_id, |id| of.iter().any(|factor| factor.id == id))?,
        "userVerification": "discouraged",
    }))
}

fn must_be_enabled_to_verify(config: &Config) -> Result<()> {
    if is_enabled(config) { Ok(()) } else { Err(Error::MfaWebauthnVerifyNotEnabled) }
}

/// Whether the first step of this sign-in was a passkey: two things that one has are one factor.
fn was_first_step(challenge: &Challenge) -> Result<bool> {
    Ok(enrollment::first_method(challenge)?.as_deref() == Some("passkey"))
}

/// Which key has answered the ceremony of this challenge; the ceremony is used up, whatever comes of it.
fn verify(given: &Given<'_>) -> Result<Option<Proof>> {
    let (Shown::Credential(credential), Some(challenge)) = (given.shown, given.challenge) else { return Ok(None) };
    let new = given.factor.filter(|factor| !factor.is_verified);
    if given.factor.is_some_and(|factor| factor.kind != factors::WEBAUTHN)
        || (new.is_none() && was_first_step(challenge)?)
    {
        return Ok(None);
    }
    let config = config::current()?;
    let asked = spend(challenge, given.attempt)?;
    let expected = Expected { needs_user_verification: false, ..expected(&asked, &config) };
    let factor_id = match new {
        Some(new) => {
            must_be_enabled_to_verify(&config)?;
            keep(new, credential, &expected, &config)?;
            new.id
        }
        None => sign(given, credential, &expected)?,
    };
    Ok(Some(Proof { factor_id: Some(factor_id), method: METHOD }))
}

/// The bytes that were to be signed: nobody else answers them.
fn spend(challenge: &Challenge, attempt: &Attempt) -> Result<Vec<u8>> {
    static FIND: Query = Query::write(
        "select c.webauthn_challenge, c.webauthn_expires_at
        from auth.mfa_challenges as c
        where c.id = $1 and c.webauthn_expires_at > clock_timestamp()",
        &[Type::UUIDOID],
    );
    let found = FIND.first(&[to_pg(challenge.id).into()], |row| {
        Ok((row.required::<Vec<u8>>(1)?, i64::from(row.required::<TimestampWithTimeZone>(2)?)))
    })?;
    let (bytes, expires_at) = found.ok_or(Error::WebauthnChallengeExpired)?;
    // Half of them are as good as all to tell one ceremony from another.
    let id = bytes.first_chunk().copied().map(Uuid::from_bytes).ok_or(Error::WebauthnChallengeExpired)?;
    attempt.spend(id, expires_at).map_err(|error| match error {
        Error::OtpExpired => Error::WebauthnChallengeExpired,
        other => other,
    })?;
    Ok(bytes)
}

/// The caller hears that it was refused, as of a wrong code; why is for the log.
fn refused(Refused(why): Refused) -> Error {
    log::debug(|| format!("security key refused: {why}"));
    Error::MfaVerificationFailed
}

/// Keeps what a new security key has made; refused where anybody has something with its id.
fn keep(new: &Factor, credential: &Value, expected: &Expected<'_>, config: &Config) -> Result<()> {
    static KEEP: Query = Query::write(
        "update auth.mfa_factors
        set credential_id = $2, public_key = $3, sign_count = $4, transports = $5,
            aaguid = nullif($6, '00000000-0000-0000-0000-000000000000'), backup_eligible = $7,
            last_challenged_at = clock_timestamp(), updated_at = clock_timestamp()
        where id = $1
        and not exists (select from auth.mfa_factors as o where o.credential_id = $2)
        and not exists (select from auth.passkeys as p where p.credential_id = $2)",
        &[
            Type::UUIDOID,
            Type::BYTEAOID,
            Type::BYTEAOID,
            Type::INT8OID,
            Type::TEXTARRAYOID,
            Type::UUIDOID,
            Type::BOOLOID,
        ],
    );
    let made = made(credential, expected, config).map_err(refused)?;
    let arguments = [
        to_pg(new.id).into(),
        made.credential_id.as_slice().into(),
        made.public_key.as_slice().into(),
        i64::from(made.sign_count).into(),
        made.transports.clone().into(),
        to_pg(Uuid::from_bytes(made.aaguid)).into(),
        made.is_backup_eligible.into(),
    ];
    // Of two at one instant the index refuses the second.
    let kept = PgTryBuilder::new(std::panic::AssertUnwindSafe(|| KEEP.execute(&arguments)))
        .catch_when(PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION, |_| Err(Error::WebauthnCredentialExists))
        .execute()?;
    if kept == 1 { Ok(()) } else { Err(Error::WebauthnCredentialExists) }
}

/// Whose signature it is, among the verified keys of the account that may be used.
fn sign(given: &Given<'_>, credential: &Value, expected: &Expected<'_>) -> Result<Uuid> {
    static FIND: Query = Query::write(
        "select f.id, f.public_key, f.backup_eligible
        from auth.mfa_factors as f
        where f.user_id = $1 and f.credential_id = $2 and f.status = 'verified' and f.id = coalesce($3, f.id)",
        &[Type::UUIDOID, Type::BYTEAOID, Type::UUIDOID],
    );
    static USE: Query = Query::write(
        "update auth.mfa_factors
        set sign_count = $2, last_challenged_at = clock_timestamp(), updated_at = clock_timestamp()
        where id = $1 and (sign_count < $2 or (sign_count = 0 and $2 = 0))",
        &[Type::UUIDOID, Type::INT8OID],
    );
    let assertion = Assertion::read(credential).map_err(refused)?;
    let arguments = [
        to_pg(given.user_id).into(),
        assertion.credential_id.as_slice().into(),
        given.factor.map(|factor| to_pg(factor.id)).into(),
    ];
    let found =
        FIND.first(&arguments, |row| Ok((from_pg(row.required(1)?), row.required::<Vec<u8>>(2)?, row.required(3)?)))?;
    let (id, public_key, is_backup_eligible) = found.ok_or(Error::MfaVerificationFailed)?;
    if assertion.user_handle.as_deref().is_some_and(|handle| handle != id.as_bytes()) {
        return Err(Error::MfaVerificationFailed);
    }
    let known = Stored { public_key: &public_key, is_backup_eligible };
    let asserted = assertion.verify(&known, expected).map_err(refused)?;
    if USE.execute(&[to_pg(id).into(), i64::from(asserted.sign_count).into()])? == 0 {
        // The signature is good: there may be a second key with the same secret.
        let data = json!({"factor_id": id, "sign_count": asserted.sign_count});
        let code = Some(Error::MfaVerificationFailed.code());
        audit::refusal(&Entry { code, ..Entry::done("factor_counter_rolled_back", given.user_id).with(data) });
        return Err(Error::MfaVerificationFailed);
    }
    Ok(id)
}

/// Security keys of an account as browsers are told of them.
fn descriptors(user_id: Uuid, is_one: impl Fn(Uuid) -> bool) -> Result<Vec<Value>> {
    static KEYS: Query = Query::write(
        "select f.id, f.credential_id, f.transports
        from auth.mfa_factors as f
        where f.user_id = $1 and f.credential_id is not null
        order by f.created_at, f.id",
        &[Type::UUIDOID],
    );
    let mut descriptors = Vec::new();
    KEYS.each(&[to_pg(user_id).into()], |row| {
        if is_one(from_pg(row.required(1)?)) {
            let transports: Vec<String> = row.required(3)?;
            descriptors.push(stored::descriptor(&row.required::<Vec<u8>>(2)?, &transports));
        }
        Ok(())
    })?;
    Ok(descriptors)
}
