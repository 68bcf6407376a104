//! User names: what one may be, whose it is, and how it is given. They are public, and unique like addresses.

use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{AUDIENCE, INSTANCE};
use crate::platform::backend::to_pg;
use crate::platform::error::{Error, Result};
use crate::platform::query::{Query, Type};

const SHORTEST: usize = 3;
const LONGEST: usize = 32;

/// A user name as it is stored: ASCII, lower case, so that no two look alike.
pub fn parse_username(text: &str) -> Result<String> {
    let name = text.to_ascii_lowercase();
    let is_edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_good = (SHORTEST..=LONGEST).contains(&name.len())
        && name.bytes().all(|byte| is_edge(byte) || b"._-".contains(&byte))
        && name.bytes().next().is_some_and(is_edge)
        && name.bytes().last().is_some_and(is_edge);
    if !is_good {
        return Err(Error::invalid(
            "username is no user name",
            "3 to 32 letters a to z, digits, and . _ - between them",
        ));
    }
    Ok(name)
}

/// What the user with this name says of themselves; none of a guest, and of nobody who is banned.
pub fn public_metadata(name: &str) -> Result<Option<Map<String, Value>>> {
    static FIND: Query = Query::read(
        "select u.raw_user_meta_data from auth.users as u
        where u.instance_id = $1::uuid and u.aud = $2 and u.username = $3 and u.deleted_at is null
            and not u.is_anonymous and (u.banned_until is null or u.banned_until <= clock_timestamp())",
        &[Type::TEXTOID, Type::TEXTOID, Type::TEXTOID],
    );
    let found = FIND.first(&[INSTANCE.into(), AUDIENCE.into(), name.into()], |row| row.required::<JsonB>(1))?;
    Ok(found.map(|JsonB(metadata)| match metadata {
        Value::Object(metadata) => metadata,
        _ => Map::new(),
    }))
}

/// Gives the account a name, or takes it away.
pub fn set_username(id: Uuid, name: Option<&str>) -> Result<()> {
    static SET: Query = Query::write(
        "update auth.users set username = $2 where id = $1 and deleted_at is null and username is distinct from $2",
        &[Type::UUIDOID, Type::TEXTOID],
    );
    PgTryBuilder::new(std::panic::AssertUnwindSafe(|| SET.execute(&[to_pg(id).into(), name.into()])))
        .catch_when(PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION, |_| Err(Error::UsernameExists))
        .execute()
        .map(drop)
}
