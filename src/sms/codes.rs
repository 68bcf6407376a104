//! The codes that are out, one row each. Of a number the newest is good. Rows are only added and deleted.

use auth_core::one_time::{self, Bound};
use auth_core::phone::Phone;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::Value;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::keys;
use crate::platform::backend::{self, from_pg, to_pg};
use crate::platform::error::{Error, Result};
use crate::platform::query::{Query, Type};

const PURPOSE: &str = "sms";

/// What is sent, and nowhere else.
pub struct Issued {
    pub code: Zeroizing<String>,
    /// Microseconds since 2000-01-01.
    pub expires_at: i64,
}

/// A code that is good now; whoever uses it spends it.
pub struct Found {
    pub id: Uuid,
    /// What the request said of a new account.
    pub data: Value,
    pub expires_at: i64,
}

/// A new code for a number; `fixed` is one of the app's tests. The ones before it stay, void, so that nobody's open
/// transaction holds up another.
pub fn issue(phone: &Phone, fixed: Option<&str>, data: Value, config: &Config) -> Result<Issued> {
    static INSERT: Query = Query::write(
        "insert into auth.sms_codes (id, phone, code_hash, data, expires_at, created_at)
        values ($1, $2, $3, $4, $5, clock_timestamp())",
        &[Type::UUIDOID, Type::TEXTOID, Type::BYTEAOID, Type::JSONBOID, Type::TIMESTAMPTZOID],
    );
    let root = keys::root()?;
    let id = backend::uuid_v7()?;
    let code = match fixed {
        Some(code) => Zeroizing::new(code.to_string()),
        None => one_time::digits(config.sms.code_length, &backend::random()?)
            .ok_or_else(|| Error::Internal("too few random digits".into()))?,
    };
    let code_hash = one_time::code_digest(root.current(), &bound(&id, phone), &code);
    let expires_at = backend::clock() + config.sms.code_ttl * 1_000_000;
    let ends =
        TimestampWithTimeZone::try_from(expires_at).map_err(|_| Error::Internal("a time is out of range".into()))?;
    INSERT.execute(&[to_pg(id).into(), phone.digits().into(), code_hash.into(), JsonB(data).into(), ends.into()])?;
    Ok(Issued { code, expires_at })
}

/// The newest code of a number, if it is this one and good now.
pub fn find(phone: &Phone, code: &str) -> Result<Option<Found>> {
    static FIND: Query = Query::write(
        "select c.id, c.data, c.expires_at, c.code_hash
        from auth.sms_codes as c
        where c.phone = $1 and c.expires_at > clock_timestamp()
            and not exists (select from auth.sms_codes as n where n.phone = c.phone and n.created_at > c.created_at)",
        &[Type::TEXTOID],
    );
    let root = keys::root()?;
    let mut found = None;
    FIND.each(&[phone.digits().into()], |row| {
        let id = from_pg(row.required(1)?);
        if one_time::is_code(root.keyring(), &row.required::<Vec<u8>>(4)?, &bound(&id, phone), code) {
            found = Some(Found {
                id,
                data: row.required::<JsonB>(2)?.0,
                expires_at: i64::from(row.required::<TimestampWithTimeZone>(3)?),
            });
        }
        Ok(())
    })?;
    Ok(found)
}

/// What the newest request for a number said of a new account, also where its code has ended.
pub fn latest_data(phone: &Phone) -> Result<Option<Value>> {
    static LATEST: Query = Query::write(
        "select c.data from auth.sms_codes as c where c.phone = $1 order by c.created_at desc limit 1",
        &[Type::TEXTOID],
    );
    Ok(LATEST.first(&[phone.digits().into()], |row| row.required::<JsonB>(1))?.map(|JsonB(data)| data))
}

/// Removes a code, with the older ones of its number; refused where somebody has done so meanwhile.
pub fn remove(code: &Found) -> Result<()> {
    static REMOVE: Query = Query::write(
        "with own as (
            delete from auth.sms_codes where id = $1 returning phone
        ), older as (
            delete from auth.sms_codes where id in (
                select c.id
                from auth.sms_codes as c
                join own on own.phone = c.phone
                where c.id <> $1
                for update of c skip locked)
        )
        select from own",
        &[Type::UUIDOID],
    );
    REMOVE.first(&[to_pg(code.id).into()], |_| Ok(()))?.ok_or(Error::OtpExpired)
}

fn bound<'a>(id: &'a Uuid, phone: &'a Phone) -> Bound<'a> {
    Bound { row: id.into_bytes(), purpose: PURPOSE, address: phone.digits() }
}
