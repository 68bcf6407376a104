//! Making tokens: the secrets go into a mail, their digests into a row.

use auth_core::one_time::{self, Bound};
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::Value;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Purpose, digest};
use crate::keys;
use crate::platform::backend::{self, to_pg};
use crate::platform::error::{Error, Result};
use crate::platform::query::{Query, Type};

/// What is asked for.
pub struct Request<'a> {
    pub purpose: Purpose,
    /// Key of the address that it is sent to.
    pub address_key: &'a str,
    pub has_link: bool,
    /// Given by the app's tests; none: a random one.
    pub code: Option<&'a str>,
    pub code_length: u32,
    /// In seconds.
    pub code_ttl: i64,
    pub link_ttl: i64,
    pub redirect_to: Option<&'a str>,
    pub code_challenge: Option<&'a str>,
    /// What else the purpose needs when it is spent.
    pub data: Value,
}

/// What is sent; nowhere but in the mail.
pub struct Issued {
    pub link: Option<Zeroizing<String>>,
    pub code: Zeroizing<String>,
    /// RFC 3339.
    pub code_expires_at: String,
    /// Microseconds since 2000-01-01.
    pub expires_at: i64,
}

/// The sign-up that a token completes.
pub struct Pending<'a> {
    pub email: &'a str,
    pub encrypted_password: Option<&'a str>,
    pub passkey: Option<&'a Value>,
}

/// A new token for an account. The ones before it stay where they are, void: whoever removed them here would, in a transaction
/// that stays open, hold up those who use one.
pub fn issue(user_id: Uuid, request: &Request<'_>) -> Result<Issued> {
    static INSERT: Query = Query::write(
        "insert into auth.one_time_tokens
            (id, user_id, purpose, relates_to, link_hash, code_hash, code_expires_at, expires_at, redirect_to,
            code_challenge, data, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, clock_timestamp())",
        &[
            Type::UUIDOID,
            Type::UUIDOID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::BYTEAOID,
            Type::BYTEAOID,
            Type::TIMESTAMPTZOID,
            Type::TIMESTAMPTZOID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::JSONBOID,
        ],
    );
    let (id, issued, link_hash, code_hash) = secrets(request)?;
    INSERT.execute(&[
        to_pg(id).into(),
        to_pg(user_id).into(),
        request.purpose.name().into(),
        request.address_key.into(),
        link_hash.into(),
        code_hash.into(),
        time(backend::clock() + request.code_ttl * 1_000_000)?.into(),
        time(issued.expires_at)?.into(),
        request.redirect_to.into(),
        request.code_challenge.into(),
        JsonB(request.data.clone()).into(),
    ])?;
    Ok(issued)
}

/// Remembers something about an account until a time, without a secret.
pub fn note(user_id: Uuid, purpose: Purpose, address_key: &str, data: Value, expires_at: i64) -> Result<()> {
    static INSERT: Query = Query::write(
        "insert into auth.one_time_tokens (id, user_id, purpose, relates_to, expires_at, data, created_at)
        values ($1, $2, $3, $4, $5, $6, clock_timestamp())",
        &[Type::UUIDOID, Type::UUIDOID, Type::TEXTOID, Type::TEXTOID, Type::TIMESTAMPTZOID, Type::JSONBOID],
    );
    INSERT
        .execute(&[
            to_pg(backend::uuid_v7()?).into(),
            to_pg(user_id).into(),
            purpose.name().into(),
            address_key.into(),
            time(expires_at)?.into(),
            JsonB(data).into(),
        ])
        .map(drop)
}

/// A new token for a sign-up that waits for it; `request.data` is the user's metadata.
pub fn issue_sign_up(pending: &Pending<'_>, request: &Request<'_>) -> Result<Issued> {
    static INSERT: Query = Query::write(
        "insert into auth.pending_sign_ups
            (id, email, password, data, link_hash, code_hash, code_expires_at, expires_at, redirect_to, code_challenge,
            passkey, created_at)
        values ($1, $2, $3, $10, $4, $5, $6, $7, $8, $9, $11, clock_timestamp())",
        &[
            Type::UUIDOID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::BYTEAOID,
            Type::BYTEAOID,
            Type::TIMESTAMPTZOID,
            Type::TIMESTAMPTZOID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::JSONBOID,
            Type::JSONBOID,
        ],
    );
    let (id, issued, link_hash, code_hash) = secrets(request)?;
    INSERT.execute(&[
        to_pg(id).into(),
        pending.email.into(),
        pending.encrypted_password.into(),
        link_hash.into(),
        code_hash.into(),
        time(backend::clock() + request.code_ttl * 1_000_000)?.into(),
        time(issued.expires_at)?.into(),
        request.redirect_to.into(),
        request.code_challenge.into(),
        JsonB(request.data.clone()).into(),
        pending.passkey.cloned().map(JsonB).into(),
    ])?;
    Ok(issued)
}

/// What is written down of a new token: its id, and the digests of link and code.
type Secrets = (Uuid, Issued, Option<Vec<u8>>, Vec<u8>);

fn secrets(request: &Request<'_>) -> Result<Secrets> {
    let root = keys::root()?;
    let id = backend::uuid_v7()?;
    let link = match request.has_link {
        true => Some(one_time::link(root.current(), &backend::random()?)),
        false => None,
    };
    let link_hash = link.as_ref().map(|link| digest(&root, link)).transpose()?.flatten();
    let code = match request.code {
        Some(code) => Zeroizing::new(code.to_string()),
        None => one_time::digits(request.code_length, &backend::random()?)
            .ok_or_else(|| Error::Internal("too few random digits".into()))?,
    };
    let bound = Bound { row: id.into_bytes(), purpose: request.purpose.name(), address: request.address_key };
    let code_hash = one_time::code_digest(root.current(), &bound, &code);
    let now = backend::clock();
    let issued = Issued {
        link,
        code,
        code_expires_at: backend::iso8601(now + request.code_ttl * 1_000_000),
        // The code ends with the row.
        expires_at: now + request.link_ttl.max(request.code_ttl) * 1_000_000,
    };
    Ok((id, issued, link_hash, code_hash))
}

fn time(microseconds: i64) -> Result<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(microseconds).map_err(|_| Error::Internal("a time is out of range".into()))
}
