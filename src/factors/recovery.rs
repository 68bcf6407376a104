//! Recovery codes: ten of them, each good once in place of a factor that is lost.

use auth_core::one_time::{self, Bound};
use auth_core::recovery_code;
use serde_json::{Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Given, Proof, Shown, Verifier};
use crate::platform::backend::{self, from_pg, to_pg};
use crate::platform::error::{Error, Result};
use crate::platform::query::{Query, Type};
use crate::{keys, users};

/// How many there are in a set.
const COUNT: usize = 10;
const PURPOSE: &str = "recovery_code";

pub static VERIFIER: Verifier = Verifier { takes: |shown| normalise(shown).is_some(), verify };

fn normalise(shown: Shown<'_>) -> Option<Zeroizing<String>> {
    match shown {
        Shown::Code(code) => recovery_code::normalise(code),
        Shown::Credential(_) => None,
    }
}

/// A new set; the one before it is void. They are shown once, and nowhere again.
pub fn issue(user_id: Uuid) -> Result<Value> {
    static INSERT: Query = Query::write(
        "insert into auth.recovery_codes (id, user_id, code_hash) values ($1, $2, $3)",
        &[Type::UUIDOID, Type::UUIDOID, Type::BYTEAOID],
    );
    remove(user_id)?;
    let root = keys::root()?;
    let mut codes = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        let code = recovery_code::code(&backend::random()?);
        let normal = recovery_code::normalise(&code).ok_or_else(|| Error::Internal("a new code has no form".into()))?;
        let id = backend::uuid_v4()?;
        let digest = one_time::code_digest(root.current(), &bound(&id, &user_id.to_string()), &normal);
        INSERT.execute(&[to_pg(id).into(), to_pg(user_id).into(), digest.into()])?;
        codes.push(json!(code.as_str()));
    }
    Ok(Value::Array(codes))
}

pub fn remove(user_id: Uuid) -> Result<()> {
    static REMOVE: Query = Query::write("delete from auth.recovery_codes where user_id = $1", &[Type::UUIDOID]);
    // One after the other: of two sets at once the second would not void the first.
    users::hold(user_id)?;
    REMOVE.execute(&[to_pg(user_id).into()]).map(drop)
}

/// Of how many codes the set is, used ones too; none: there is no set.
pub fn total(user_id: Uuid) -> Result<i64> {
    static TOTAL: Query =
        Query::write("select count(*) from auth.recovery_codes as c where c.user_id = $1", &[Type::UUIDOID]);
    Ok(TOTAL.first(&[to_pg(user_id).into()], |row| row.required(1))?.unwrap_or(0))
}

/// How many of them are left.
pub fn left(user_id: Uuid) -> Result<i64> {
    static LEFT: Query = Query::write(
        "select count(*) from auth.recovery_codes as c where c.user_id = $1 and c.used_at is null",
        &[Type::UUIDOID],
    );
    Ok(LEFT.first(&[to_pg(user_id).into()], |row| row.required(1))?.unwrap_or(0))
}

fn bound<'a>(row: &Uuid, user_id: &'a str) -> Bound<'a> {
    Bound { row: row.into_bytes(), purpose: PURPOSE, address: user_id }
}

fn verify(given: &Given<'_>) -> Result<Option<Proof>> {
    static CODES: Query = Query::write(
        "select c.id, c.code_hash from auth.recovery_codes as c where c.user_id = $1 and c.used_at is null",
        &[Type::UUIDOID],
    );
    static USE: Query = Query::write(
        "update auth.recovery_codes set used_at = clock_timestamp() where id = $1 and used_at is null",
        &[Type::UUIDOID],
    );
    // A factor is confirmed by a code of its own.
    if given.factor.is_some_and(|factor| !factor.is_verified) {
        return Ok(None);
    }
    let Some(code) = normalise(given.shown) else { return Ok(None) };
    let (root, user_id) = (keys::root()?, given.user_id.to_string());
    let mut found = None;
    CODES.each(&[to_pg(given.user_id).into()], |row| {
        let id = from_pg(row.required(1)?);
        // Each is looked at, whichever it is.
        if one_time::is_code(root.keyring(), &row.required::<Vec<u8>>(2)?, &bound(&id, &user_id), &code) {
            found = Some(id);
        }
        Ok(())
    })?;
    let Some(id) = found else { return Ok(None) };
    super::spend(given.attempt, id, FOREVER)?;
    match USE.execute(&[to_pg(id).into()])? {
        0 => Err(Error::MfaVerificationFailed),
        _ => Ok(Some(Proof { factor_id: None, method: "mfa/recovery_code" })),
    }
}

/// How long a code stays spent whose transaction was rolled back: a month, which is as long as the audit is asked for it.
const FOREVER: i64 = 30 * 86_400_000_000;
