//! Second factors of others: to look at them, to give one another name, and to remove one that its user has lost.

use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::audit::{self, Entry};
use crate::platform::backend::{self, from_pg};
use crate::platform::error::{Answer, Error, Result};
use crate::platform::log;
use crate::platform::options::{self, JsonArgument, given};
use crate::{config, enrollment, factors, identity, users};

#[pg_extern(sql = false, stable)]
fn admin_list_factors(user_id: Option<pgrx::Uuid>, options: JsonArgument) -> Answer<JsonB> {
    identity::require_service()?;
    options::only(options, &[])?;
    Ok(JsonB(list(from_pg(given(user_id, "user_id")?))?))
}

/// As its user sees them.
fn list(user_id: Uuid) -> Result<Value> {
    let user = users::object(user_id)?.ok_or(Error::UserNotFound)?;
    Ok(user.get("factors").cloned().unwrap_or_else(|| json!([])))
}

#[pg_extern(sql = false)]
fn admin_update_factor(
    user_id: Option<pgrx::Uuid>,
    factor_id: Option<pgrx::Uuid>,
    attributes: JsonArgument,
    options: JsonArgument,
) -> Answer<JsonB> {
    let result = update(user_id, factor_id, attributes, options);
    log::outcome("admin_update_factor", user_id.map(from_pg), &result);
    Ok(result?)
}

fn update(
    user_id: Option<pgrx::Uuid>,
    factor_id: Option<pgrx::Uuid>,
    attributes: JsonArgument,
    options: JsonArgument,
) -> Result<JsonB> {
    identity::require_service()?;
    backend::must_write()?;
    options::only(options, &[])?;
    let (user_id, factor_id) = (from_pg(given(user_id, "user_id")?), from_pg(given(factor_id, "factor_id")?));
    let attributes = options::only(attributes, &["friendly_name"])?;
    list(user_id)?;
    let factor = factors::find(user_id, factor_id)?;
    if let Some(name) = name(&attributes)? {
        factors::rename(factor.id, name)?;
    }
    audit::record(&Entry::done("user_modified", user_id).with(done_by(factor_id)))?;
    let all = list(user_id)?;
    let id = json!(factor_id);
    let found = all.as_array().into_iter().flatten().find(|factor| factor["id"] == id).cloned();
    found.map(JsonB).ok_or(Error::MfaFactorNotFound)
}

fn name(attributes: &Map<String, Value>) -> Result<Option<&str>> {
    match attributes.get("friendly_name") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) => Ok(Some(name)),
        Some(_) => Err(Error::invalid("friendly_name is no text", "a JSON string")),
    }
}

#[pg_extern(sql = false)]
fn admin_delete_factor(
    user_id: Option<pgrx::Uuid>,
    factor_id: Option<pgrx::Uuid>,
    options: JsonArgument,
) -> Answer<JsonB> {
    let result = delete(user_id, factor_id, options);
    log::outcome("admin_delete_factor", user_id.map(from_pg), &result);
    Ok(result?)
}

fn delete(user_id: Option<pgrx::Uuid>, factor_id: Option<pgrx::Uuid>, options: JsonArgument) -> Result<JsonB> {
    identity::require_service()?;
    backend::must_write()?;
    options::only(options, &[])?;
    let (user_id, factor_id) = (from_pg(given(user_id, "user_id")?), from_pg(given(factor_id, "factor_id")?));
    let config = config::current()?;
    list(user_id)?;
    let factor = factors::find(user_id, factor_id)?;
    audit::record(&Entry::done("user_modified", user_id).with(done_by(factor_id)))?;
    enrollment::remove(user_id, None, &[factor], &config)?;
    Ok(JsonB(json!({"id": factor_id})))
}

/// Who did it; what was done says the event beside it.
fn done_by(factor_id: Uuid) -> Value {
    json!({"by": backend::session_user(), "keys": ["factors"], "factor_id": factor_id})
}
