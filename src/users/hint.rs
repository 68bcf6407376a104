//! What of an account somebody may see who has not finished signing in.

use serde_json::{Value, json};

/// A user's object for somebody who has not finished signing in: who it is, and what can be used to go on.
pub fn hinted(mut user: Value) -> Value {
    for (name, empty) in [("app_metadata", json!({})), ("user_metadata", json!({})), ("identities", json!([]))] {
        user[name] = empty;
    }
    user["factors"].as_array_mut().into_iter().flatten().for_each(hint_factor);
    let own = user["phone"].as_str().filter(|phone| !phone.is_empty()).map(hint);
    if let Some(hint) = own {
        user["phone"] = hint.into();
    }
    user
}

/// A factor's number, which may also be its name, as `hint` shows it.
pub fn hint_factor(factor: &mut Value) {
    let Some(phone) = factor["phone"].as_str().map(str::to_string) else { return };
    let hint = hint(&phone);
    if factor["friendly_name"].as_str().is_some_and(|name| name.contains(&phone)) {
        factor["friendly_name"] = hint.as_str().into();
    }
    factor["phone"] = hint.into();
}

/// The end of a number, for whoever knows it.
pub fn hint(phone: &str) -> String {
    let end: String = phone.chars().skip(phone.chars().count().saturating_sub(2)).collect();
    format!("…{end}")
}
