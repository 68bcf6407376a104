//! Telling others of an event, at commit: webhooks by the outbox, and listeners of this database by NOTIFY.

use serde_json::{Value, json};
use uuid::Uuid;

use super::Entry;
use crate::config;
use crate::outbox;
use crate::platform::error::Result;
use crate::platform::query::{Query, Type};

/// What Supabase's clients call it; none: listeners are not told.
fn client_event(event_type: &str) -> Option<&'static str> {
    Some(match event_type {
        "login_success" | "signup" => "SIGNED_IN",
        "logout" | "session_revoked" | "sessions_revoked" => "SIGNED_OUT",
        "user_updated" | "email_changed" | "phone_changed" | "password_changed" | "password_reset" => "USER_UPDATED",
        _ => return None,
    })
}

pub fn announce(entry: &Entry<'_>) -> Result<()> {
    outbox::announce(
        entry.event_type,
        || json!({"user_id": entry.user_id, "session_id": entry.session_id, "details": entry.data}),
    )?;
    match client_event(entry.event_type) {
        Some(event) => notify(event, entry.user_id),
        None => Ok(()),
    }
}

/// Every role may listen, so it says no more than whose event it is. Off by default: transactions that notify commit one after
/// the other.
pub fn notify(event: &'static str, user_id: Option<Uuid>) -> Result<()> {
    static NOTIFY: Query = Query::write("select pg_notify('auth_events', $1)::text", &[Type::TEXTOID]);
    if !config::current()?.notify_events {
        return Ok(());
    }
    let payload: Value = json!({"event": event, "user_id": user_id});
    NOTIFY.execute(&[payload.to_string().into()]).map(drop)
}
