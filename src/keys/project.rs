//! Project keys: tokens for a role without a user, revocable by their row.

use auth_core::jwt;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Map, json};

use super::signing;
use crate::config;
use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::given;
use crate::platform::query::{Query, Type};
use crate::platform::relation::Relation;

/// Clients and proxies ask for an exp; a key without an end gets one that is far away.
const TEN_YEARS_SECONDS: i64 = 3_653 * 86_400;

static API_KEYS: Relation = Relation::new(c"api_keys", c"api_keys_jti_key", &[c"jti", c"expires_at", c"revoked_at"]);

/// What the row of a project key says now; times in microseconds since 2000-01-01.
pub struct KeyRow {
    pub expires_at: Option<i64>,
    pub revoked_at: Option<i64>,
}

pub fn find(jti: &[u8; 16]) -> Result<Option<KeyRow>> {
    API_KEYS.find(jti, |row| Some(KeyRow { expires_at: row.time(1), revoked_at: row.time(2) }))
}

#[pg_extern(sql = false)]
fn create_key(role: Option<&str>, expires_in: Option<Interval>) -> Answer<JsonB> {
    Ok(create(given(role, "role")?, expires_in)?)
}

fn create(role: &str, expires_in: Option<Interval>) -> Result<JsonB> {
    static INSERT: Query = Query::write(
        "insert into auth.api_keys (id, kind, role, jti, expires_at)
        values ($1, 'project', $2, $3, to_timestamp($4))",
        &[Type::UUIDOID, Type::TEXTOID, Type::UUIDOID, Type::INT8OID],
    );
    backend::must_write()?;
    if !["anon", "service_role"].contains(&role) {
        return Err(Error::invalid("no project key for this role", "roles are: anon, service_role"));
    }
    let lifetime = match expires_in {
        None => TEN_YEARS_SECONDS,
        // A month counts thirty days, as everywhere where Postgres turns an interval into seconds.
        Some(interval) => interval.as_micros().div_euclid(1_000_000) as i64,
    };
    if !(1..=10 * TEN_YEARS_SECONDS).contains(&lifetime) {
        return Err(Error::invalid("expires_in is out of range", "a positive interval of at most 36,530 days"));
    }
    let signing = signing::current()?;
    let (id, jti) = (backend::uuid_v4()?, backend::uuid_v4()?);
    let issued_at = backend::clock_seconds();
    let expires_at = issued_at + lifetime;
    let claims = Map::from_iter([
        ("iss".to_string(), json!(config::current()?.jwt_issuer)),
        ("role".to_string(), json!(role)),
        ("token_type".to_string(), json!("key")),
        ("jti".to_string(), json!(jti)),
        ("iat".to_string(), json!(issued_at)),
        ("exp".to_string(), json!(expires_at)),
    ]);
    let key = jwt::sign(&claims, &signing.kid, &signing.key, &backend::random_source())
        .map_err(|error| Error::Internal(error.to_string()))?;
    INSERT.execute(&[backend::to_pg(id).into(), role.into(), backend::to_pg(jti).into(), expires_at.into()])?;
    Ok(JsonB(json!({"id": id, "role": role, "key": key, "expires_at": expires_at})))
}
