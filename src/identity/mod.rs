//! Who is asking: the token, verified by us in this backend, judged again at every statement.
//!
//! Promises: nobody is anybody without a token that this database signed; a session ended, a user banned, is refused at the
//! next statement of anyone, in parallel workers, under an old snapshot and on a standby. Threats: every way to set a
//! setting; a value left on a pooled connection; a worker that cannot know its leader's transaction.
//!
//! `carrier` holds the settings that a token arrives in, `verify` judges a token, `current` is the cached answer that a
//! policy asks for a million times, `authenticate` acts on one.

mod authenticate;
mod carrier;
mod current;
mod verify;

use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use serde_json::Value;

pub use authenticate::act_as;
pub use carrier::{STAMPS, define_settings};
pub use current::current;
pub use verify::Identity;

use crate::platform::backend::{is_sidecar, statement_time, to_pg, unix_seconds};
use crate::platform::error::{Answer, Error, Result};
use crate::platform::log;
use crate::sessions;

extension_sql_file!("identity.sql", name = "identity", requires = ["sessions"]);

/// The signed-in user who asks, or the refusal that a flow of theirs gives.
pub fn require_user() -> Result<std::rc::Rc<Identity>> {
    let user = current()?.filter(|identity| identity.user_id().is_some()).ok_or(Error::NoAuthorization);
    if let Err(error) = &user {
        log::debug(|| format!("refused, a signed-in user is needed: {}", error.code()));
    }
    user
}

/// A user who asks, signed in or not done with it.
pub struct Asking {
    pub user_id: uuid::Uuid,
    pub session_id: uuid::Uuid,
    /// Whether the sign-in waits for something.
    pub is_unfinished: bool,
    pub is_aal2: bool,
}

/// The user who asks; one whose sign-in is not finished only where it waits for one of these.
pub fn require_asking(waiting_for: &[&'static str]) -> Result<Asking> {
    let identity = current()?.ok_or(Error::NoAuthorization)?;
    let session_id = identity.session_id.ok_or(Error::NoAuthorization)?;
    let is_aal2 = identity.text("aal").is_some_and(|aal| aal != sessions::AAL1);
    match (identity.user_id(), identity.unfinished_user_id()) {
        (Some(user_id), _) => Ok(Asking { user_id, session_id, is_unfinished: false, is_aal2 }),
        (None, Some(user_id)) => {
            for why in waiting_for {
                if sessions::is_restricted_to(session_id, why)? {
                    return Ok(Asking { user_id, session_id, is_unfinished: true, is_aal2 });
                }
            }
            Err(Error::NoAuthorization)
        }
        (None, None) => Err(Error::NoAuthorization),
    }
}

/// Refuses a sidecar that does not act with the service key: it may call what administrators may, and serves everybody.
/// Of others the right to call is asked, and nothing else.
pub fn require_service() -> Result<()> {
    if !is_sidecar() {
        return Ok(());
    }
    let result = match current()? {
        None => Err(Error::NoAuthorization),
        Some(identity) if identity.role == "service_role" => Ok(()),
        Some(_) => Err(Error::NotAdmin),
    };
    log::debug(|| format!("the service key is needed: {}", log::word(&result)));
    result
}

#[pg_extern(sql = false, stable, parallel_safe)]
fn role() -> Answer<Option<String>> {
    Ok(current()?.map(|identity| identity.role.clone()))
}

#[pg_extern(sql = false, stable, parallel_safe)]
fn email() -> Answer<Option<String>> {
    // Under a restricted token nobody has signed in yet.
    let identity = current()?.filter(|identity| identity.user_id().is_some());
    Ok(identity.and_then(|identity| identity.text("email").map(str::to_string)))
}

#[pg_extern(sql = false, stable, parallel_safe)]
fn jwt() -> Answer<Option<JsonB>> {
    Ok(current()?.map(|identity| JsonB(Value::Object(identity.claims.clone()))))
}

#[pg_extern(sql = false, stable, parallel_safe)]
fn session_id() -> Answer<Option<pgrx::Uuid>> {
    Ok(current()?.and_then(|identity| identity.session_id).map(to_pg))
}

#[pg_extern(sql = false, stable, parallel_safe)]
fn aal() -> Answer<Option<String>> {
    Ok(current()?.and_then(|identity| identity.text("aal").map(str::to_string)))
}

/// Whether the latest method in claim amr was used within this age, by statement time: workers must agree.
#[pg_extern(sql = false, stable, parallel_safe)]
fn fresh(max_age: Option<Interval>) -> Answer<bool> {
    let (Some(max_age), Some(identity)) = (max_age, current()?) else { return Ok(false) };
    let latest = identity
        .claims
        .get("amr")
        .and_then(Value::as_array)
        .and_then(|methods| methods.iter().filter_map(|method| method.get("timestamp")?.as_i64()).max());
    let age = latest.map(|latest| unix_seconds(statement_time()) - latest);
    Ok(identity.user_id().is_some() && age.is_some_and(|age| i128::from(age) * 1_000_000 <= max_age.as_micros()))
}

#[pg_extern(sql = false, stable, parallel_safe)]
fn require_uid() -> Answer<pgrx::Uuid> {
    let user_id = require_user()?.user_id().ok_or(Error::NoAuthorization)?;
    Ok(to_pg(user_id))
}

#[pg_extern(sql = false, stable, parallel_safe)]
fn require_aal2() -> Answer<()> {
    match require_user()?.text("aal") {
        Some("aal2" | "aal3") => Ok(()),
        _ => {
            log::debug(|| format!("refused, aal2 is needed: {}", Error::InsufficientAal.code()));
            Err(Error::InsufficientAal.into())
        }
    }
}

#[pg_extern(sql = false, stable)]
fn verify_token(token: Option<&str>) -> Answer<JsonB> {
    crate::platform::silence::call_is_secret();
    let identity = verify::accept(crate::platform::options::given(token, "token")?)?;
    Ok(JsonB(Value::Object(identity.claims.clone())))
}
