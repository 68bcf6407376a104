//! Looking after passkeys: the user's own, and an administrator's view of another's.

use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{check_name, must_be_enabled, stored};
use crate::audit::{self, Entry};
use crate::platform::backend::{self, from_pg};
use crate::platform::error::{Answer, Error, Result};
use crate::platform::log;
use crate::platform::options::{self, JsonArgument, given};
use crate::{config, enrollment, identity, mail, sessions, users};

#[pg_extern(sql = false)]
fn rename_passkey(id: Option<pgrx::Uuid>, name: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    backend::must_write()?;
    options::only(options, &[])?;
    let user_id = identity::require_user()?.user_id().ok_or(Error::NoAuthorization)?;
    must_be_enabled(&*config::current()?)?;
    let id = from_pg(given(id, "id")?);
    if !stored::rename(user_id, id, check_name(name)?)? {
        return Err(Error::WebauthnCredentialNotFound.into());
    }
    Ok(JsonB(stored::objects(user_id, Some(id))?[0].take()))
}

#[pg_extern(sql = false)]
fn delete_passkey(id: Option<pgrx::Uuid>, options: JsonArgument) -> Answer<()> {
    let mut user_id = None;
    let result = delete(id, options, &mut user_id);
    log::outcome("delete_passkey", user_id, &result);
    Ok(result?)
}

fn delete(id: Option<pgrx::Uuid>, options: JsonArgument, signed_in: &mut Option<Uuid>) -> Result<()> {
    backend::must_write()?;
    options::only(options, &[])?;
    let asking = identity::require_asking(&[])?;
    let user_id = asking.user_id;
    *signed_in = Some(user_id);
    let id = from_pg(given(id, "id")?);
    enrollment::require_level(&asking)?;
    let done = Entry::done("passkey_deleted", user_id).in_session(asking.session_id);
    remove(user_id, id, done, json!({"passkey_id": id}))
}

/// What the passkey has raised is of level aal1 again.
fn remove(user_id: Uuid, id: Uuid, done: Entry<'_>, mut data: Value) -> Result<()> {
    if !stored::remove(user_id, id)? {
        return Err(Error::WebauthnCredentialNotFound);
    }
    data["sessions"] = json!(sessions::lower(user_id, id, false)?);
    audit::record(&done.with(data))?;
    mail::notify("passkey_removed", user_id, None, json!({}), &*config::current()?)
}

#[pg_extern(sql = false, stable)]
fn admin_list_passkeys(user_id: Option<pgrx::Uuid>, options: JsonArgument) -> Answer<JsonB> {
    identity::require_service()?;
    options::only(options, &[])?;
    let user_id = from_pg(given(user_id, "user_id")?);
    if users::object(user_id)?.is_none() {
        return Err(Error::UserNotFound.into());
    }
    Ok(JsonB(stored::objects(user_id, None)?))
}

#[pg_extern(sql = false)]
fn admin_delete_passkey(user_id: Option<pgrx::Uuid>, id: Option<pgrx::Uuid>, options: JsonArgument) -> Answer<()> {
    let result = admin_delete(user_id, id, options);
    log::outcome("admin_delete_passkey", user_id.map(from_pg), &result);
    Ok(result?)
}

fn admin_delete(user_id: Option<pgrx::Uuid>, id: Option<pgrx::Uuid>, options: JsonArgument) -> Result<()> {
    identity::require_service()?;
    backend::must_write()?;
    options::only(options, &[])?;
    let (user_id, id) = (from_pg(given(user_id, "user_id")?), from_pg(given(id, "id")?));
    let data = json!({"passkey_id": id, "by": backend::session_user()});
    remove(user_id, id, Entry::done("passkey_deleted", user_id), data)
}
