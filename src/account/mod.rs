//! The signed-in user's own account and sessions.
//!
//! Everything acts on `auth.uid()` and `auth.session_id()`, never on an id that the caller gives without checking whose it
//! is: somebody else's session is "not found", like one that does not exist.

use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use serde_json::{Value, json};

use crate::audit::{self, Entry};
use crate::identity::{self, Identity};
use crate::platform::backend::{self, from_pg, to_pg};
use crate::platform::error::{Answer, Error, Result};
use crate::platform::log;
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::query::{Query, Type};
use crate::sessions::{self, Which};
use crate::tokens;
use crate::users::{self, Metadata};

extension_sql_file!("account.sql", name = "account", requires = ["passkey"]);

fn user_and_session(identity: &Identity) -> Result<(uuid::Uuid, uuid::Uuid)> {
    Ok((identity.user_id().ok_or(Error::NoAuthorization)?, identity.session_id.ok_or(Error::NoAuthorization)?))
}

#[pg_extern(sql = false, stable)]
fn get_user(options: JsonArgument) -> Answer<Option<JsonB>> {
    options::only(options, &[])?;
    match identity::require_asking(&[sessions::MFA, sessions::MFA_ENROLLMENT]) {
        Ok(asking) if asking.is_unfinished => Ok(users::object(asking.user_id)?.map(users::hinted).map(JsonB)),
        Ok(asking) => Ok(users::object(asking.user_id)?.map(JsonB)),
        Err(Error::NoAuthorization) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[pg_extern(sql = false)]
fn update_user(data: JsonArgument, options: JsonArgument) -> Answer<JsonB> {
    backend::must_write()?;
    let options = options::only(options, &["username"])?;
    let (user_id, session_id) = user_and_session(&*identity::require_user()?)?;
    let Value::Object(changes) = given(options::json(data)?, "data")? else {
        return Err(Error::invalid("data is not a JSON object", "data is an object such as {}").into());
    };
    let mut keys: Vec<String> = changes.keys().cloned().collect();
    users::merge_metadata(user_id, Metadata::User, changes)?;
    if options.contains_key("username") {
        let name = options::text(&options, "username")?.map(users::parse_username).transpose()?;
        users::set_username(user_id, name.as_deref())?;
        keys.push("username".into());
    }
    audit::record(&Entry::done("user_updated", user_id).in_session(session_id).with(json!({"keys": keys})))?;
    Ok(JsonB(users::object(user_id)?.ok_or(Error::SessionNotFound)?))
}

#[pg_extern(sql = false, stable)]
fn get_session(options: JsonArgument) -> Answer<Option<JsonB>> {
    static SESSION: Query = Query::read(
        "select jsonb_build_object(
            'id', s.id, 'user_id', s.user_id, 'created_at', auth.rfc3339(s.created_at),
            'refreshed_at', auth.rfc3339(s.refreshed_at), 'not_after', auth.rfc3339(s.not_after),
            'aal', s.aal, 'amr', s.amr, 'ip', host(s.ip), 'user_agent', s.user_agent)
        from auth.sessions as s where s.id = $1",
        &[Type::UUIDOID],
    );
    options::only(options, &[])?;
    let Some(identity) = identity::current()?.filter(|identity| identity.user_id().is_some()) else { return Ok(None) };
    let (_, session_id) = user_and_session(&identity)?;
    Ok(SESSION.first(&[to_pg(session_id).into()], |row| row.required(1))?)
}

#[pg_extern(sql = false)]
fn sign_out(scope: Option<&str>, options: JsonArgument) -> Answer<()> {
    let mut user_id = None;
    let result = try_sign_out(scope, options, &mut user_id);
    log::outcome("sign_out", user_id, &result);
    Ok(result?)
}

fn try_sign_out(scope: Option<&str>, options: JsonArgument, signed_in: &mut Option<uuid::Uuid>) -> Result<()> {
    backend::must_write()?;
    options::only(options, &[])?;
    let asking = identity::require_asking(&[sessions::MFA, sessions::MFA_ENROLLMENT])?;
    let (user_id, session_id) = (asking.user_id, asking.session_id);
    *signed_in = Some(user_id);
    let scope = given(scope, "scope")?;
    let which = match scope {
        // Whoever has not finished signing in ends what there is of it, and nobody else's session.
        "local" | "global" if asking.is_unfinished => Which::This(session_id),
        "others" if asking.is_unfinished => return Err(Error::NoAuthorization),
        "local" => Which::This(session_id),
        "others" => Which::AllBut(session_id),
        "global" => Which::All,
        _ => return Err(Error::invalid("unknown scope", "scopes are: local, others, global")),
    };
    let ended = sessions::end(user_id, which)?;
    if scope != "local" && !asking.is_unfinished {
        tokens::remove_changes(user_id)?;
    }
    let data = json!({"scope": scope, "sessions": ended});
    audit::record(&Entry::done("logout", user_id).in_session(session_id).with(data))
}

#[pg_extern(sql = false)]
fn revoke_session(session_id: Option<pgrx::Uuid>, options: JsonArgument) -> Answer<()> {
    backend::must_write()?;
    options::only(options, &[])?;
    let (user_id, own) = user_and_session(&*identity::require_user()?)?;
    let meant = from_pg(given(session_id, "session_id")?);
    if sessions::end(user_id, Which::This(meant))? == 0 {
        return Err(Error::SessionNotFound.into());
    }
    Ok(audit::record(&Entry::done("session_revoked", user_id).in_session(own).with(json!({"session_id": meant})))?)
}

#[pg_extern(sql = false)]
fn revoke_sessions(except_current: Option<bool>, options: JsonArgument) -> Answer<i32> {
    backend::must_write()?;
    options::only(options, &[])?;
    let (user_id, session_id) = user_and_session(&*identity::require_user()?)?;
    let which = if given(except_current, "except_current")? { Which::AllBut(session_id) } else { Which::All };
    let ended = sessions::end(user_id, which)?;
    tokens::remove_changes(user_id)?;
    let data = json!({"sessions": ended});
    audit::record(&Entry::done("sessions_revoked", user_id).in_session(session_id).with(data))?;
    Ok(ended as i32)
}
