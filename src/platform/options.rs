//! `options jsonb`, the last parameter of every flow function: known keys only, each of its documented kind.

use std::ffi::CStr;

use pgrx::{AnyElement, direct_function_call, pg_sys};
use serde_json::{Map, Value};

use super::error::{Error, Result};

/// A jsonb argument. Not pgrx's own type: that panics on a value nested more deeply than serde reads.
pub type JsonArgument = Option<AnyElement>;

pub fn json(argument: JsonArgument) -> Result<Option<Value>> {
    json_up_to(argument, usize::MAX)
}

/// The same, refused before it is read if its text is longer than this, in bytes.
pub fn json_up_to(argument: JsonArgument, longest: usize) -> Result<Option<Value>> {
    let Some(argument) = argument else { return Ok(None) };
    // SAFETY: the SQL declarations say jsonb wherever this type stands.
    let text = unsafe { direct_function_call::<&CStr>(pg_sys::jsonb_out, &[Some(argument.datum())]) };
    let text = text.and_then(|text| text.to_str().ok()).unwrap_or_default();
    if text.len() > longest {
        return Err(Error::invalid("a JSON argument is too long", format!("at most {longest} bytes")));
    }
    serde_json::from_str(text).map(Some).map_err(|_| {
        Error::invalid("a JSON argument cannot be read", "it is nested too deeply, or has a number out of range")
    })
}

/// Refuses options that the function does not know: a misspelt one must not be ignored.
pub fn only(options: JsonArgument, known: &[&str]) -> Result<Map<String, Value>> {
    let options = match json(options)? {
        None => return Ok(Map::new()),
        Some(Value::Object(options)) => options,
        Some(_) => return Err(Error::invalid("options is not a JSON object", "options is an object such as {}")),
    };
    match options.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(options),
        Some(_) if known.is_empty() => Err(Error::invalid("unknown option", "this function has no options")),
        Some(_) => Err(Error::invalid("unknown option", format!("options are: {}", known.join(", ")))),
    }
}

/// An argument that SQL lets be null and we do not.
pub fn flag(options: &Map<String, Value>, name: &str) -> Result<Option<bool>> {
    match options.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(yes)) => Ok(Some(*yes)),
        Some(_) => Err(Error::invalid(format!("{name} is neither true nor false"), "give a JSON boolean")),
    }
}

pub fn given<T>(argument: Option<T>, name: &str) -> Result<T> {
    argument.ok_or_else(|| Error::invalid(format!("{name} is null"), format!("give {name}")))
}

/// A member of options that is text; null is none.
pub fn text<'a>(options: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>> {
    match options.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::invalid(format!("option {name} is not text"), format!("{name} is text or null"))),
    }
}
