//! Administration of users: to make, find, change, ban and delete accounts, and to read what happened.
//!
//! Promises: nobody but a holder of the service key does any of it, through SQL or through the sidecar, which may call these
//! functions and serves everybody; every change is in the audit with the login that made it; a new password, a ban and a
//! deletion are effective at the next statement. Threats: a request of a user that the sidecar passes on; a role or a hash
//! that gives more than an account.

mod attributes;
mod factors;
mod list;

use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use serde_json::{Value, json};
use uuid::Uuid;

use attributes::{Attributes, Ban};

use crate::audit::{self, Entry};
use crate::credential::Person;
use crate::platform::backend::{self, from_pg, to_pg};
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::query::{Query, Type};
use crate::platform::{log, silence};
use crate::sessions::{self, Which};
use crate::users::{self, Metadata, NewUser};
use crate::{addresses, config, credential, identity, tokens};

extension_sql_file!("admin.sql", name = "admin", requires = ["email_change"]);

#[pg_extern(sql = false)]
fn admin_create_user(attributes: JsonArgument, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = create(attributes, options, &mut user_id);
    log::outcome("admin_create_user", user_id, &result);
    Ok(result?)
}

fn create(attributes: JsonArgument, options: JsonArgument, user_id: &mut Option<Uuid>) -> Result<JsonB> {
    identity::require_service()?;
    backend::must_write()?;
    options::only(options, &[])?;
    let config = config::current()?;
    let mut attributes = attributes::read(attributes, true)?;
    if attributes.email.is_none() && attributes.phone.is_none() {
        return Err(Error::invalid("neither email nor phone is given", "an account needs one of them"));
    }
    let hash = attributes.hash(Person::unknown(), &config)?;
    let id = users::create(NewUser {
        id: attributes.id,
        email: attributes.email.as_ref(),
        phone: attributes.phone.clone(),
        encrypted_password: hash.as_deref(),
        is_email_confirmed: attributes.email_confirm == Some(true),
        is_phone_confirmed: attributes.phone_confirm == Some(true),
        role: attributes.role.as_deref(),
        app_metadata: attributes.app_metadata.take().unwrap_or_default(),
        user_metadata: attributes.user_metadata.take().unwrap_or_default(),
        ..NewUser::default()
    })?;
    *user_id = Some(id);
    attributes.username.as_deref().map_or(Ok(()), |name| users::set_username(id, Some(name)))?;
    if attributes.must_change_password == Some(true) {
        credential::demand_change(id, true)?;
    }
    audit::record(&Entry::done("user_created", id).with(done_by(&attributes)))?;
    ban(id, &attributes)?;
    answer(id)
}

#[pg_extern(sql = false)]
fn admin_update_user(id: Option<pgrx::Uuid>, attributes: JsonArgument, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let result = update(id, attributes, options);
    log::outcome("admin_update_user", id.map(from_pg), &result);
    Ok(result?)
}

fn update(id: Option<pgrx::Uuid>, attributes: JsonArgument, options: JsonArgument) -> Result<JsonB> {
    static UPDATE: Query = Query::write(
        include_str!("update.sql"),
        &[Type::UUIDOID, Type::TEXTOID, Type::BOOLOID, Type::BOOLOID, Type::TEXTOID],
    );
    identity::require_service()?;
    backend::must_write()?;
    options::only(options, &[])?;
    let config = config::current()?;
    let id = from_pg(given(id, "id")?);
    let mut attributes = attributes::read(attributes, false)?;
    if users::object(id)?.is_none() {
        return Err(Error::UserNotFound);
    }
    let hash = attributes.hash(Person::of(id)?, &config)?;
    let current = users::address_key(id)?;
    let new_address = attributes.email.as_ref().filter(|email| current.as_deref() != Some(email.key()));
    let is_moved = new_address.is_some();
    if let Some(email) = new_address {
        addresses::give(id, email, attributes.email_confirm == Some(true))?;
    }
    let arguments = [
        to_pg(id).into(),
        attributes.phone.as_deref().into(),
        attributes.email_confirm.into(),
        attributes.phone_confirm.into(),
        attributes.role.as_deref().into(),
    ];
    PgTryBuilder::new(std::panic::AssertUnwindSafe(|| UPDATE.first(&arguments, |_| Ok(()))))
        .catch_when(PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION, |_| Err(Error::PhoneExists))
        .execute()?
        .ok_or(Error::UserNotFound)?;
    for (kind, changes) in
        [(Metadata::User, attributes.user_metadata.take()), (Metadata::App, attributes.app_metadata.take())]
    {
        if let Some(changes) = changes {
            users::merge_metadata(id, kind, changes)?;
        }
    }
    attributes.username.as_deref().map_or(Ok(()), |name| users::set_username(id, Some(name)))?;
    if let Some(hash) = &hash {
        credential::set(id, hash)?;
    }
    if let Some(must_change) = attributes.must_change_password {
        credential::demand_change(id, must_change)?;
    }
    // Whoever had the old address, or knew a password that is no longer to be trusted, may be signed in or wait with a link.
    if is_moved || hash.is_some() || attributes.must_change_password == Some(true) {
        sessions::end(id, Which::All)?;
        tokens::remove_all(id)?;
    }
    audit::record(&Entry::done("user_modified", id).with(done_by(&attributes)))?;
    ban(id, &attributes)?;
    answer(id)
}

/// Begins or lifts a ban; why stands in the audit.
fn ban(id: Uuid, attributes: &Attributes) -> Result<()> {
    static BAN: Query = Query::write(
        "update auth.users set banned_until = clock_timestamp() + make_interval(secs => $2) where id = $1
        returning auth.rfc3339(banned_until)",
        &[Type::UUIDOID, Type::FLOAT8OID],
    );
    let seconds = match attributes.ban {
        None => return Ok(()),
        Some(Ban::Lift) => None,
        Some(Ban::For(seconds)) => Some(seconds),
    };
    let until = BAN.first(&[to_pg(id).into(), seconds.into()], |row| row.optional::<String>(1))?.flatten();
    let event_type = if until.is_some() { "user_banned" } else { "user_unbanned" };
    let data = json!({"by": backend::session_user(), "until": until, "reason": attributes.ban_reason});
    audit::record(&Entry::done(event_type, id).with(data))
}

/// Who did it and what was given, by name only.
fn done_by(attributes: &Attributes) -> Value {
    json!({"by": backend::session_user(), "keys": attributes.keys})
}

fn answer(id: Uuid) -> Result<JsonB> {
    users::object(id)?.map(JsonB).ok_or(Error::UserNotFound)
}

#[pg_extern(sql = false, stable)]
fn admin_get_user(id: Option<pgrx::Uuid>, options: JsonArgument) -> Answer<JsonB> {
    identity::require_service()?;
    options::only(options, &[])?;
    Ok(answer(from_pg(given(id, "id")?))?)
}

#[pg_extern(sql = false)]
fn admin_delete_user(id: Option<pgrx::Uuid>, soft: Option<bool>, options: JsonArgument) -> Answer<()> {
    let result = delete(id, soft, options);
    log::outcome("admin_delete_user", id.map(from_pg), &result);
    Ok(result?)
}

fn delete(id: Option<pgrx::Uuid>, soft: Option<bool>, options: JsonArgument) -> Result<()> {
    static SOFTLY: Query = Query::write(
        "update auth.users set deleted_at = clock_timestamp() where id = $1 and deleted_at is null",
        &[Type::UUIDOID],
    );
    static WHOLLY: Query = Query::write("delete from auth.users where id = $1", &[Type::UUIDOID]);
    identity::require_service()?;
    backend::must_write()?;
    options::only(options, &[])?;
    let id = from_pg(given(id, "id")?);
    let is_soft = given(soft, "soft")?;
    let delete = if is_soft { &SOFTLY } else { &WHOLLY };
    if delete.execute(&[to_pg(id).into()])? == 0 {
        return Err(Error::UserNotFound);
    }
    sessions::end(id, Which::All)?;
    tokens::remove_all(id)?;
    audit::record(&Entry {
        event_type: "user_deleted",
        code: None,
        user_id: Some(id).filter(|_| is_soft),
        session_id: None,
        data: json!({"by": backend::session_user(), "user_id": id, "soft": is_soft}),
    })
}
