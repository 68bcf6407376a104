//! The codes that are out, one row each. Of a number the newest is good. Rows are only added and deleted.

use auth_core::one_time::{self, Bound};
use auth_core::phone::Phone;
use pgrx::JsonB;
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use serde_json::Value;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::keys;
use crate::platform::backend::{self, from_pg, to_pg};
use crate::platform::error::{Error, Result};
use crate::platform::query::{Query, Type};

/// What a code may be spent on: signing in, or a second step.
fn purpose(about: Option<Uuid>) -> &'static str {
    if about.is_none() { "sms" } else { "mfa/phone" }
}

/// What is sent, and nowhere else.
pub struct Issued {
    pub code: Zeroizing<String>,
    /// Microseconds since 2000-01-01.
    pub expires_at: i64,
}

/// A code that is good now; whoever uses it spends it.
pub struct Found {
    pub id: Uuid,
    /// Number that it was sent to, as it is stored.
    pub phone: String,
    /// What the request said of a new account, or which factor it is.
    pub data: Value,
    pub expires_at: i64,
}

/// A new code for a number: for a sign-in, or about a challenge or factor; `fixed` is one of the app's tests. The ones before it stay, void, so that nobody's open
/// transaction holds up another.
pub fn issue(phone: &Phone, about: Option<Uuid>, fixed: Option<&str>, data: Value, config: &Config) -> Result<Issued> {
    static INSERT: Query = Query::write(
        "insert into auth.sms_codes (id, phone, about, code_hash, data, expires_at, created_at)
        values ($1, $2, $3, $4, $5, $6, clock_timestamp())",
        &[Type::UUIDOID, Type::TEXTOID, Type::UUIDOID, Type::BYTEAOID, Type::JSONBOID, Type::TIMESTAMPTZOID],
    );
    let root = keys::root()?;
    let id = backend::uuid_v7()?;
    let code = match fixed {
        Some(code) => Zeroizing::new(code.to_string()),
        None => one_time::digits(config.sms.code_length, &backend::random()?)
            .ok_or_else(|| Error::Internal("too few random digits".into()))?,
    };
    let bound = Bound { row: id.into_bytes(), purpose: purpose(about), address: phone.digits() };
    let code_hash = one_time::code_digest(root.current(), &bound, &code);
    let expires_at = backend::clock() + config.sms.code_ttl * 1_000_000;
    let ends =
        TimestampWithTimeZone::try_from(expires_at).map_err(|_| Error::Internal("a time is out of range".into()))?;
    INSERT.execute(&[
        to_pg(id).into(),
        phone.digits().into(),
        about.map(to_pg).into(),
        code_hash.into(),
        JsonB(data).into(),
        ends.into(),
    ])?;
    Ok(Issued { code, expires_at })
}

/// The newest code of a number that signs in, if it is this one and good now.
pub fn find(phone: &Phone, code: &str) -> Result<Option<Found>> {
    static FIND: Query = Query::write(
        "select c.id, c.phone, c.data, c.expires_at, c.code_hash
        from auth.sms_codes as c
        where c.phone = $1 and c.about is null and c.expires_at > clock_timestamp()
            and not exists (
                select from auth.sms_codes as n
                where n.phone = c.phone and n.about is null and n.created_at > c.created_at)",
        &[Type::TEXTOID],
    );
    look(&FIND, phone.digits().into(), None, code)
}

/// The newest code of a challenge, or of a factor that waits to be confirmed, if it is this one and good now.
pub fn find_about(about: Uuid, code: &str) -> Result<Option<Found>> {
    static FIND: Query = Query::write(
        "select c.id, c.phone, c.data, c.expires_at, c.code_hash
        from auth.sms_codes as c
        where c.about = $1 and c.expires_at > clock_timestamp()
            and not exists (
                select from auth.sms_codes as n where n.about = c.about and n.created_at > c.created_at)",
        &[Type::UUIDOID],
    );
    look(&FIND, to_pg(about).into(), Some(about), code)
}

fn look(query: &'static Query, by: DatumWithOid<'_>, about: Option<Uuid>, code: &str) -> Result<Option<Found>> {
    let root = keys::root()?;
    let mut found = None;
    query.each(&[by], |row| {
        let (id, phone) = (from_pg(row.required(1)?), row.required::<String>(2)?);
        let bound = Bound { row: id.into_bytes(), purpose: purpose(about), address: &phone };
        if one_time::is_code(root.keyring(), &row.required::<Vec<u8>>(5)?, &bound, code) {
            let data = row.required::<JsonB>(3)?.0;
            let expires_at = i64::from(row.required::<TimestampWithTimeZone>(4)?);
            found = Some(Found { id, phone, data, expires_at });
        }
        Ok(())
    })?;
    Ok(found)
}

/// What the newest request for a number said of a new account, also where its code has ended.
pub fn latest_data(phone: &Phone) -> Result<Option<Value>> {
    static LATEST: Query = Query::write(
        "select c.data from auth.sms_codes as c where c.phone = $1 and c.about is null order by c.created_at desc limit 1",
        &[Type::TEXTOID],
    );
    Ok(LATEST.first(&[phone.digits().into()], |row| row.required::<JsonB>(1))?.map(|JsonB(data)| data))
}

/// Removes a code, with the older ones of its kind; refused where somebody has done so meanwhile.
pub fn remove(code: &Found) -> Result<()> {
    static REMOVE: Query = Query::write(
        "with own as (
            delete from auth.sms_codes where id = $1 returning phone, about
        ), older as (
            delete from auth.sms_codes where id in (
                select c.id
                from auth.sms_codes as c
                join own on own.phone = c.phone and own.about is not distinct from c.about
                where c.id <> $1
                for update of c skip locked)
        )
        select from own",
        &[Type::UUIDOID],
    );
    REMOVE.first(&[to_pg(code.id).into()], |_| Ok(()))?.ok_or(Error::OtpExpired)
}
