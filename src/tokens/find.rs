//! Looking tokens up: by the secret that somebody gives, and by what waits for whom. Nothing is locked and nothing spent.

use auth_core::one_time::{self, Bound};
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::Value;
use uuid::Uuid;

use super::{Purpose, link_digest};
use crate::keys;
use crate::platform::backend::{self, from_pg, to_pg};
use crate::platform::error::Result;
use crate::platform::query::{Query, Row, Type};

/// A token that is good now; whoever uses it spends it.
pub struct Found {
    pub id: Uuid,
    pub purpose: Purpose,
    /// None for a sign-up: there is no account yet.
    pub user_id: Option<Uuid>,
    /// Key of the address that it was sent to.
    pub address_key: String,
    pub redirect_to: Option<String>,
    pub code_challenge: Option<String>,
    pub data: Value,
    /// Microseconds since 2000-01-01.
    pub expires_at: i64,
    /// Of a sign-up: its address, and what it is to be signed in to by.
    pub email: Option<String>,
    pub encrypted_password: Option<String>,
    /// A row of auth.passkeys with the id that the account gets.
    pub passkey: Option<Value>,
    code_hash: Option<Vec<u8>>,
}

/// The token of a link, if it is good now.
pub fn find_by_link(link: &str) -> Result<Option<Found>> {
    static FIND: Query = Query::write(
        "select t.id, t.purpose, t.user_id, t.relates_to, t.redirect_to, t.code_challenge, t.data, t.expires_at,
            null::text, null::text, t.code_hash, null::jsonb
        from auth.one_time_tokens as t
        where t.link_hash = $1 and t.expires_at > clock_timestamp()
            and not exists (
                select from auth.one_time_tokens as n
                where n.user_id = t.user_id and n.purpose = t.purpose and n.created_at > t.created_at)
        union all
        select p.id, 'sign_up', null, p.email_key, p.redirect_to, p.code_challenge, p.data, p.expires_at,
            p.email, p.password, p.code_hash, p.passkey
        from auth.pending_sign_ups as p
        where p.link_hash = $1 and p.expires_at > clock_timestamp()
            and not exists (
                select from auth.pending_sign_ups as n
                where n.instance_id = p.instance_id and n.aud = p.aud and n.email_key = p.email_key
                    and n.created_at > p.created_at)",
        &[Type::BYTEAOID],
    );
    let Some(digest) = link_digest(link)? else { return Ok(None) };
    FIND.first(&[digest.into()], read)
}

/// The token among those of these purposes whose code this is, if it is good now.
pub fn find_by_code(
    user_id: Option<Uuid>,
    address_key: &str,
    purposes: &[Purpose],
    code: &str,
) -> Result<Option<Found>> {
    static FIND: Query = Query::write(
        "select t.id, t.purpose, t.user_id, t.relates_to, t.redirect_to, t.code_challenge, t.data, t.expires_at,
            null::text, null::text, t.code_hash, null::jsonb
        from auth.one_time_tokens as t
        where t.relates_to = $2 and (t.user_id = $1 or t.purpose in ('email_change', 'phone_change'))
            and t.code_expires_at > clock_timestamp()
            and not exists (
                select from auth.one_time_tokens as n
                where n.user_id = t.user_id and n.purpose = t.purpose and n.created_at > t.created_at)
        union all
        select p.id, 'sign_up', null, p.email_key, p.redirect_to, p.code_challenge, p.data, p.expires_at,
            p.email, p.password, p.code_hash, p.passkey
        from auth.pending_sign_ups as p
        where p.instance_id = '00000000-0000-0000-0000-000000000000' and p.aud = 'authenticated'
            and p.email_key = $2 and p.code_expires_at > clock_timestamp()
            and not exists (
                select from auth.pending_sign_ups as n
                where n.instance_id = p.instance_id and n.aud = p.aud and n.email_key = p.email_key
                    and n.created_at > p.created_at)",
        &[Type::UUIDOID, Type::TEXTOID],
    );
    let root = keys::root()?;
    let mut found = None;
    FIND.each(&[user_id.map(to_pg).into(), address_key.into()], |row| {
        let token = read(row)?;
        let bound = Bound { row: token.id.into_bytes(), purpose: token.purpose.name(), address: &token.address_key };
        let is_right = purposes.contains(&token.purpose)
            && token.code_hash.as_ref().is_some_and(|hash| one_time::is_code(root.keyring(), hash, &bound, code));
        if is_right {
            found = Some(token);
        }
        Ok(())
    })?;
    Ok(found)
}

/// The newest live token of a purpose, whoever holds its secret.
pub fn find_by_purpose(user_id: Uuid, purpose: Purpose) -> Result<Option<Found>> {
    static FIND: Query = Query::write(
        "select t.id, t.purpose, t.user_id, t.relates_to, t.redirect_to, t.code_challenge, t.data, t.expires_at,
            null::text, null::text, t.code_hash, null::jsonb
        from auth.one_time_tokens as t
        where t.user_id = $1 and t.purpose = $2 and t.expires_at > clock_timestamp()
        order by t.created_at desc
        limit 1",
        &[Type::UUIDOID, Type::TEXTOID],
    );
    FIND.first(&[to_pg(user_id).into(), purpose.name().into()], read)
}

/// What the newest token of a purpose holds, also one that has ended; none where the caller's snapshot may be older than it.
pub fn latest_data(user_id: Uuid, purpose: Purpose) -> Result<Option<Value>> {
    static LATEST: Query = Query::write(
        "select t.data from auth.one_time_tokens as t
        where t.user_id = $1 and t.purpose = $2 order by t.created_at desc limit 1",
        &[Type::UUIDOID, Type::TEXTOID],
    );
    let arguments = [to_pg(user_id).into(), purpose.name().into()];
    // An old snapshot does not show the latest.
    if backend::snapshot_is_fixed() {
        return Ok(None);
    }
    Ok(LATEST.first(&arguments, |row| row.required::<JsonB>(1))?.map(|JsonB(data)| data))
}

/// Whose token of a purpose for this address is the newest, also where it has ended, and what it holds.
pub fn latest_by_address(purpose: Purpose, address_key: &str) -> Result<Option<(Uuid, Value)>> {
    static LATEST: Query = Query::write(
        "select t.user_id, t.data from auth.one_time_tokens as t
        where t.relates_to = $1 and t.purpose = $2 order by t.created_at desc limit 1",
        &[Type::TEXTOID, Type::TEXTOID],
    );
    let arguments = [address_key.into(), purpose.name().into()];
    LATEST.first(&arguments, |row| Ok((from_pg(row.required(1)?), row.required::<JsonB>(2)?.0)))
}

/// The newest sign-up that waits for an address; without its password and passkey where the caller's snapshot may be older than another.
pub fn find_sign_up(address_key: &str) -> Result<Option<Found>> {
    static FIND: Query = Query::write(
        "select p.id, 'sign_up', null::uuid, p.email_key, p.redirect_to, p.code_challenge, p.data, p.expires_at,
            p.email, p.password, p.code_hash, p.passkey
        from auth.pending_sign_ups as p
        where p.instance_id = '00000000-0000-0000-0000-000000000000' and p.aud = 'authenticated'
            and p.email_key = $1 and p.expires_at > clock_timestamp()
        order by p.created_at desc
        limit 1",
        &[Type::TEXTOID],
    );
    let found = FIND.first(&[address_key.into()], read)?;
    Ok(found.map(|found| match backend::snapshot_is_fixed() {
        true => Found { encrypted_password: None, passkey: None, ..found },
        false => found,
    }))
}

fn read(row: &Row<'_>) -> Result<Found> {
    Ok(Found {
        id: from_pg(row.required(1)?),
        purpose: Purpose::from_name(&row.required::<String>(2)?)?,
        user_id: row.optional(3)?.map(from_pg),
        address_key: row.required(4)?,
        redirect_to: row.optional(5)?,
        code_challenge: row.optional(6)?,
        data: row.optional::<JsonB>(7)?.map_or(Value::Null, |JsonB(data)| data),
        expires_at: i64::from(row.required::<TimestampWithTimeZone>(8)?),
        email: row.optional(9)?,
        encrypted_password: row.optional(10)?,
        code_hash: row.optional(11)?,
        passkey: row.optional::<JsonB>(12)?.map(|JsonB(passkey)| passkey),
    })
}
