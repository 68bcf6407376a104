//! Guests: a session without address and password, and how its account becomes a permanent one.
//!
//! Promises: a guest is an account like any other, so what it owns stays its own under the same id; where guests are not
//! allowed none is made. Threats: floods of guests; a guest who takes an address that has an account.

mod convert;

use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use serde_json::json;
use uuid::Uuid;

use crate::config;
use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::log;
use crate::platform::options::{self, JsonArgument};
use crate::users::{self, NewUser};
use crate::{door, guard, keys};

extension_sql_file!("anonymous.sql", name = "anonymous", requires = ["recovery"]);

const METHOD: &str = "anonymous";

#[pg_extern(sql = false)]
fn sign_in_anonymously(data: JsonArgument, options: JsonArgument) -> Answer<JsonB> {
    let mut user_id = None;
    let result = try_sign_in(data, options, &mut user_id);
    log::outcome("sign_in_anonymously", user_id, &result);
    Ok(result?)
}

fn try_sign_in(data: JsonArgument, options: JsonArgument, user_id: &mut Option<Uuid>) -> Result<JsonB> {
    backend::must_write()?;
    options::only(options, &[])?;
    let config = config::current()?;
    // A guest is somebody whom nobody knows.
    if !config.enable_anonymous || config.require_approval {
        return Err(Error::AnonymousProviderDisabled);
    }
    if !config.enable_signup {
        return Err(Error::SignupDisabled);
    }
    let data = users::check_metadata(options::json(data)?)?;
    keys::root()?;
    guard::must_not_be_blocked()?;
    guard::count_guest(&config)?;
    let id = users::create(NewUser {
        role: Some(&config.anonymous_role),
        user_metadata: data,
        is_anonymous: true,
        ..NewUser::default()
    })?;
    *user_id = Some(id);
    let data = json!({"is_anonymous": true});
    door::let_in(id, door::Way::new(METHOD, METHOD, "signup", data))
}
