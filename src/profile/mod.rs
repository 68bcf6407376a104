//! Public profiles: what anybody may read of an account by its user name.
//!
//! Promises: nothing but the fields that an administrator lists (`public_profile_fields`), and never one whose name says that
//! it is an address, a number or a secret. Threats: a list that somebody copied, metadata with more in it than was thought.

use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use serde_json::{Map, Value};

use crate::config;
use crate::platform::error::{Answer, Result};
use crate::platform::options::given;
use crate::users;

extension_sql_file!("profile.sql", name = "profile", requires = ["account"]);

#[pg_extern(sql = false, stable)]
fn public_profile(username: Option<&str>) -> Answer<Option<JsonB>> {
    Ok(find(given(username, "username")?)?.map(|profile| JsonB(Value::Object(profile))))
}

fn find(username: &str) -> Result<Option<Map<String, Value>>> {
    let config = config::current()?;
    // What can be nobody's name is nobody's.
    let Ok(name) = users::parse_username(username) else { return Ok(None) };
    let Some(metadata) = users::public_metadata(&name)? else { return Ok(None) };
    let mut profile = Map::new();
    for field in config.public_profile_fields.iter().filter(|field| config::may_be_public(field)) {
        if field == "username" {
            profile.insert(field.clone(), name.clone().into());
        } else if let Some(value) = metadata.get(field).filter(|value| !value.is_object() && !value.is_array()) {
            profile.insert(field.clone(), value.clone());
        }
    }
    Ok(Some(profile))
}
