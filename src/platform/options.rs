//! `options jsonb`, the last parameter of every flow function: known keys only, each of its documented kind.

use pgrx::JsonB;
use serde_json::{Map, Value};

use super::error::{Error, Result};

/// Refuses options that the function does not know: a misspelt one must not be ignored.
pub fn only(options: Option<JsonB>, known: &[&str]) -> Result<Map<String, Value>> {
    let options = match options {
        None => return Ok(Map::new()),
        Some(JsonB(Value::Object(options))) => options,
        Some(_) => return Err(Error::invalid("options is not a JSON object", "options is an object such as {}")),
    };
    match options.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(options),
        Some(_) if known.is_empty() => Err(Error::invalid("unknown option", "this function has no options")),
        Some(_) => Err(Error::invalid("unknown option", format!("options are: {}", known.join(", ")))),
    }
}

/// An argument that SQL lets be null and we do not.
pub fn given<T>(argument: Option<T>, name: &str) -> Result<T> {
    argument.ok_or_else(|| Error::invalid(format!("{name} is null"), format!("give {name}")))
}
