//! For an app's own tests: act as a user without a password, in a transaction that the test rolls back.
//!
//! Superusers only, because it works with the caller's own rights on our tables; never where environment is production.

use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::json;

use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::sessions::{self, Opening};
use crate::{config, door, identity, users};

pgrx::extension_sql_file!("testing.sql", name = "testing", requires = ["doctor"]);

#[pg_extern(sql = false)]
fn test_as(email: Option<&str>) -> Answer<JsonB> {
    // An invoker function, because it sets the role: no SET clause guards it from the caller's path.
    let token = backend::with_safe_path(|| email.map(token_for).transpose())?;
    Ok(identity::act_as(token.as_deref())?)
}

fn token_for(email: &str) -> Result<String> {
    backend::must_write()?;
    let config = config::current()?;
    if config.is_production {
        return Err(Error::TestsRefused);
    }
    let user = users::find_by_email(&users::parse_email(email)?)?.ok_or(Error::UserNotFound)?;
    let opening =
        Opening { methods: json!([sessions::method("test")]), aal: sessions::AAL1, factor_id: None, restricted: None };
    let session_id = sessions::open(user.id, &opening, &config)?;
    let (facts, user) = sessions::facts(session_id)?.ok_or(Error::SessionNotFound)?;
    Ok(door::mint(session_id, &facts, &user, "test", &config)?.0)
}

#[pg_extern(sql = false, stable, parallel_safe)]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
