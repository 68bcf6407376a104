//! Second factors: what an account has enrolled, the challenges that wait to be met, and who can say whether a code is right.
//!
//! Promises: an unverified factor is asked for nowhere; every kind of code is verified behind one prompt and one budget of
//! guesses. Threats: a challenge of one account met by another, a set of codes that grows by asking for more challenges.

pub mod recovery;
mod verification;

use pgrx::JsonB;
use pgrx::extension_sql_file;
use pgrx::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

pub use verification::{Asker, Given, Proof, Shown, Verifier, ask, guess, register, spend, verify};

use crate::audit;
use crate::config::Config;
use crate::keys;
use crate::platform::backend::{self, from_pg, to_pg};
use crate::platform::error::{Error, Result};
use crate::platform::query::{Query, Row, Type};
use crate::platform::relation::Relation;
use crate::{tokens, users};
use auth_core::seal::Place;

extension_sql_file!("factors.sql", name = "factors", requires = ["email_rules"]);

pub const TOTP: &str = "totp";
pub const PHONE: &str = "phone";
pub const WEBAUTHN: &str = "webauthn";

/// Longest name of a factor, in characters.
const LONGEST_NAME: usize = 64;

pub struct Factor {
    pub id: Uuid,
    pub kind: String,
    pub name: Option<String>,
    pub is_verified: bool,
    pub phone: Option<String>,
    pub last_used_step: Option<i64>,
    secret_sealed: Option<Vec<u8>>,
}

impl Factor {
    /// What somebody may see of it who has taken the first step alone.
    pub fn hinted(&self) -> Value {
        let mut object = json!({"id": self.id, "factor_type": self.kind, "friendly_name": self.name});
        if let Some(phone) = &self.phone {
            object["phone"] = phone.as_str().into();
        }
        users::hint_factor(&mut object);
        object
    }

    /// The secret of an authenticator app.
    pub fn secret(&self) -> Result<Zeroizing<Vec<u8>>> {
        let sealed = self.secret_sealed.as_deref().ok_or(Error::MfaVerificationFailed)?;
        keys::root()?.open(&place(&self.id), sealed)
    }
}

fn place(id: &Uuid) -> Place<'_> {
    Place { table: "mfa_factors", column: "secret_sealed", row: id.as_bytes() }
}

fn read(row: &Row<'_>) -> Result<Factor> {
    Ok(Factor {
        id: from_pg(row.required(1)?),
        kind: row.required(2)?,
        name: row.optional(3)?,
        is_verified: row.required(4)?,
        phone: row.optional(5)?,
        last_used_step: row.optional(6)?,
        secret_sealed: row.optional(7)?,
    })
}

/// All of an account, the oldest first.
pub fn all(user_id: Uuid) -> Result<Vec<Factor>> {
    static ALL: Query = Query::write(
        "select f.id, f.factor_type, f.friendly_name, f.status = 'verified', f.phone, f.last_used_step, f.secret_sealed
        from auth.mfa_factors as f
        where f.user_id = $1
        order by f.created_at, f.id",
        &[Type::UUIDOID],
    );
    let mut found = Vec::new();
    ALL.each(&[to_pg(user_id).into()], |row| {
        found.push(read(row)?);
        Ok(())
    })?;
    Ok(found)
}

static FACTORS: Relation = Relation::new(c"mfa_factors", c"mfa_factors_user_id", &[c"user_id", c"status"]);

/// Whether a sign-in has to use one, as it is committed now (or in this transaction), whatever snapshot the caller holds.
pub fn is_needed(user_id: Uuid) -> Result<bool> {
    let verified =
        FACTORS.find(user_id.as_bytes(), |row| row.get::<String>(1).filter(|status| status == "verified"))?;
    Ok(verified.is_some())
}

/// Whether somebody can show more than one factor for the account: a verified one, or a passkey that verifies its user.
pub fn is_guarded(user_id: Uuid) -> Result<bool> {
    static PASSKEYS: Relation = Relation::new(c"passkeys", c"passkeys_user_id", &[c"user_id", c"uv"]);
    let multi_factor = || PASSKEYS.find(user_id.as_bytes(), |row| row.get::<bool>(1).filter(|verified| *verified));
    Ok(is_needed(user_id)? || multi_factor()?.is_some())
}

/// Those that a sign-in has to use one of.
pub fn verified(user_id: Uuid) -> Result<Vec<Factor>> {
    Ok(all(user_id)?.into_iter().filter(|factor| factor.is_verified).collect())
}

/// A factor of this account; somebody else's is not found.
pub fn find(user_id: Uuid, id: Uuid) -> Result<Factor> {
    all(user_id)?.into_iter().find(|factor| factor.id == id).ok_or(Error::MfaFactorNotFound)
}

/// What is enrolled.
pub struct New<'a> {
    pub id: Uuid,
    pub kind: &'static str,
    pub name: &'a str,
    pub phone: Option<&'a str>,
    pub secret: Option<&'a [u8]>,
}

/// A factor that is not verified yet. An unverified one of the same name gives way.
pub fn enroll(user_id: Uuid, new: &New<'_>, config: &Config) -> Result<()> {
    static REPLACE: Query = Query::write(
        "delete from auth.mfa_factors where user_id = $1 and friendly_name = $2 and status = 'unverified'",
        &[Type::UUIDOID, Type::TEXTOID],
    );
    static INSERT: Query = Query::write(
        "insert into auth.mfa_factors (id, user_id, friendly_name, factor_type, phone, secret_sealed)
        values ($1, $2, $3, $4, $5, $6)
        on conflict do nothing",
        &[Type::UUIDOID, Type::UUIDOID, Type::TEXTOID, Type::TEXTOID, Type::TEXTOID, Type::BYTEAOID],
    );
    check_name(new.name)?;
    REPLACE.execute(&[to_pg(user_id).into(), new.name.into()])?;
    if all(user_id)?.len() as i64 >= config.mfa.max_factors {
        return Err(Error::TooManyEnrolledMfaFactors);
    }
    let sealed = new.secret.map(|secret| keys::root()?.seal(&place(&new.id), secret)).transpose()?;
    let inserted = INSERT.execute(&[
        to_pg(new.id).into(),
        to_pg(user_id).into(),
        new.name.into(),
        new.kind.into(),
        new.phone.into(),
        sealed.into(),
    ])?;
    if inserted == 0 { Err(Error::MfaFactorNameConflict) } else { Ok(()) }
}

/// Another name for one that is there.
pub fn rename(id: Uuid, name: &str) -> Result<()> {
    static RENAME: Query = Query::write(
        "update auth.mfa_factors set friendly_name = $2, updated_at = clock_timestamp() where id = $1
        and not exists (select from auth.mfa_factors as o where o.user_id = mfa_factors.user_id
            and o.friendly_name = $2 and o.id <> $1)",
        &[Type::UUIDOID, Type::TEXTOID],
    );
    check_name(name)?;
    match RENAME.execute(&[to_pg(id).into(), name.into()])? {
        0 => Err(Error::MfaFactorNameConflict),
        _ => Ok(()),
    }
}

fn check_name(name: &str) -> Result<()> {
    match (1..=LONGEST_NAME).contains(&name.chars().count()) && !name.contains(char::is_control) {
        true => Ok(()),
        false => Err(Error::invalid(
            "friendly_name is not a name",
            format!("1 to {LONGEST_NAME} characters, none of them a control character"),
        )),
    }
}

/// A first code was right: from now on it is asked for.
pub fn confirm(id: Uuid) -> Result<()> {
    static CONFIRM: Query = Query::write(
        "update auth.mfa_factors set status = 'verified', updated_at = clock_timestamp()
        where id = $1 and status = 'unverified'",
        &[Type::UUIDOID],
    );
    match CONFIRM.execute(&[to_pg(id).into()])? {
        0 => Err(Error::MfaFactorNotFound),
        _ => Ok(()),
    }
}

pub fn remove_unverified(user_id: Uuid) -> Result<()> {
    static REMOVE: Query =
        Query::write("delete from auth.mfa_factors where user_id = $1 and status = 'unverified'", &[Type::UUIDOID]);
    REMOVE.execute(&[to_pg(user_id).into()]).map(drop)
}

pub fn remove(id: Uuid) -> Result<()> {
    static REMOVE: Query = Query::write("delete from auth.mfa_factors where id = $1", &[Type::UUIDOID]);
    static CHALLENGES: Query = Query::write("delete from auth.mfa_challenges where factor_id = $1", &[Type::UUIDOID]);
    CHALLENGES.execute(&[to_pg(id).into()])?;
    REMOVE.execute(&[to_pg(id).into()]).map(drop)
}

/// What waits for a second step.
pub struct Challenge {
    pub id: Uuid,
    pub user_id: Uuid,
    pub session_id: Option<Uuid>,
    pub factor_id: Option<Uuid>,
    /// How the first step was taken, as the door has written it.
    pub way: Value,
}

/// A new challenge, and where it is for a sign-in the secret that names it.
pub struct Asked {
    pub id: Uuid,
    pub token: Option<Zeroizing<String>>,
    /// Microseconds since 2000-01-01.
    pub expires_at: i64,
}

/// Asks for the second step of a sign-in that is no session yet.
pub fn challenge_sign_in(user_id: Uuid, way: Value, config: &Config) -> Result<Asked> {
    let (token, hash) = tokens::new_link()?;
    let asked = insert(user_id, None, None, way, Some(hash), config)?;
    Ok(Asked { token: Some(token), ..asked })
}

/// Asks for a factor in a session.
pub fn challenge_session(user_id: Uuid, session_id: Uuid, factor_id: Uuid, config: &Config) -> Result<Asked> {
    insert(user_id, Some(session_id), Some(factor_id), Value::Object(serde_json::Map::new()), None, config)
}

fn insert(
    user_id: Uuid,
    session_id: Option<Uuid>,
    factor_id: Option<Uuid>,
    way: Value,
    token_hash: Option<Vec<u8>>,
    config: &Config,
) -> Result<Asked> {
    static INSERT: Query = Query::write(
        "insert into auth.mfa_challenges (id, user_id, session_id, factor_id, purpose, token_hash, way, ip, expires_at)
        values ($1, $2, $3, $4, case when $3 is null then 'sign_in' else 'session' end, $5, $6, $7::inet, $8)",
        &[
            Type::UUIDOID,
            Type::UUIDOID,
            Type::UUIDOID,
            Type::UUIDOID,
            Type::BYTEAOID,
            Type::JSONBOID,
            Type::TEXTOID,
            Type::TIMESTAMPTZOID,
        ],
    );
    let id = backend::uuid_v4()?;
    let expires_at = backend::clock() + config.mfa.challenge_ttl * 1_000_000;
    INSERT.execute(&[
        to_pg(id).into(),
        to_pg(user_id).into(),
        session_id.map(to_pg).into(),
        factor_id.map(to_pg).into(),
        token_hash.into(),
        JsonB(way).into(),
        audit::client_address().map(|address| address.to_string()).into(),
        time(expires_at)?.into(),
    ])?;
    Ok(Asked { id, token: None, expires_at })
}

fn time(microseconds: i64) -> Result<TimestampWithTimeZone> {
    microseconds.try_into().map_err(|_| Error::Internal("a time is out of range".into()))
}

/// The challenge of a sign-in by its token, or of a session by its id. One that is over is none.
pub fn find_challenge(token: &str) -> Result<Option<Challenge>> {
    static BY_TOKEN: Query = Query::write(
        "select c.id, c.user_id, c.session_id, c.factor_id, c.way
        from auth.mfa_challenges as c
        where c.token_hash = $1 and c.expires_at > clock_timestamp()",
        &[Type::BYTEAOID],
    );
    static BY_ID: Query = Query::write(
        "select c.id, c.user_id, c.session_id, c.factor_id, c.way
        from auth.mfa_challenges as c
        where c.id = $1 and c.session_id is not null and c.expires_at > clock_timestamp()",
        &[Type::UUIDOID],
    );
    let read = |row: &Row<'_>| {
        Ok(Challenge {
            id: from_pg(row.required(1)?),
            user_id: from_pg(row.required(2)?),
            session_id: row.optional(3)?.map(from_pg),
            factor_id: row.optional(4)?.map(from_pg),
            way: row.required::<JsonB>(5)?.0,
        })
    };
    if let Ok(id) = Uuid::parse_str(token) {
        return BY_ID.first(&[to_pg(id).into()], read);
    }
    match tokens::link_digest(token)? {
        Some(digest) => BY_TOKEN.first(&[digest.into()], read),
        None => Ok(None),
    }
}

/// A challenge is met once: refused where somebody has met it meanwhile.
pub fn meet(challenge: &Challenge) -> Result<()> {
    static MEET: Query = Query::write("delete from auth.mfa_challenges where id = $1", &[Type::UUIDOID]);
    match MEET.execute(&[to_pg(challenge.id).into()])? {
        0 => Err(Error::MfaChallengeExpired),
        _ => Ok(()),
    }
}
