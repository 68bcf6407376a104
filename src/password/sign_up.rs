//! A new account by address and password.

use pgrx::JsonB;
use pgrx::prelude::*;
use uuid::Uuid;

use crate::config;
use crate::platform::backend;
use crate::platform::error::{Answer, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::{log, silence};
use crate::sign_up::{self, Asked, Credential};
use crate::{credential, keys};

#[pg_extern(sql = false)]
fn sign_up(email: Option<&str>, password: Option<&str>, data: JsonArgument, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = try_sign_up(email, password, data, options, &mut user_id);
    log::outcome("sign_up", user_id, &result);
    Ok(result?)
}

fn try_sign_up(
    email: Option<&str>,
    password: Option<&str>,
    data: JsonArgument,
    options: JsonArgument,
    user_id: &mut Option<Uuid>,
) -> Result<JsonB> {
    backend::must_write()?;
    let options = options::only(options, &sign_up::options())?;
    let config = config::current()?;
    let asked = Asked::read(email, options::json(data)?, &options, &config)?;
    let password = credential::acceptable(given(password, "password")?, &asked.person(), &config)?;
    // Before the hash: with a wrong keyring it fails at once.
    keys::root()?;
    sign_up::sign_up(&asked, &Credential::Password(password), &config, user_id)
}
