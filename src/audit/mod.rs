//! Audit: what happened, who did it and from where, in a table that only grows and tells when somebody changed it.
//!
//! Promises: a fact and its row commit or roll back together; a refusal has its row although it rolls back; equal refusals
//! within a second are one row with a count; a row changed or removed breaks the chain. Threats: a client that rolls back
//! after a refusal; an owner who edits what happened; a flood of refusals that fills the disk.

mod announce;
mod context;
mod seal;

use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use serde_json::{Value, json};
use uuid::Uuid;

pub use announce::notify;
pub use context::{client_address, trusted_address, user_agent};
pub use seal::{empty_next_slot, seal_some};

use crate::events::{self, Event};
use crate::platform::backend::{self, to_pg};
use crate::platform::error::Result;
use crate::platform::query::{Query, Type};

extension_sql_file!("audit.sql", name = "audit", requires = ["outbox"]);

/// One thing that happened.
pub struct Entry<'a> {
    pub event_type: &'a str,
    /// Code word of a refusal; none: it was done.
    pub code: Option<&'a str>,
    pub user_id: Option<Uuid>,
    pub session_id: Option<Uuid>,
    /// An object; never with a secret in it.
    pub data: Value,
}

impl<'a> Entry<'a> {
    pub fn done(event_type: &'a str, user_id: Uuid) -> Entry<'a> {
        Entry { event_type, code: None, user_id: Some(user_id), session_id: None, data: json!({}) }
    }

    pub fn in_session(mut self, session_id: Uuid) -> Entry<'a> {
        self.session_id = Some(session_id);
        self
    }

    pub fn with(mut self, data: Value) -> Entry<'a> {
        self.data = data;
        self
    }

    /// The same with other data.
    pub fn but(&self, data: Value) -> Entry<'a> {
        Entry { data, ..*self }
    }

    fn row(&self) -> Value {
        json!({
            "event_type": self.event_type, "success": self.code.is_none(), "code": self.code, "user_id": self.user_id,
            "session_id": self.session_id, "event_data": self.data, "ip": client_address(), "user_agent": user_agent(),
        })
    }

    /// As an event for the worker, for what the caller's ROLLBACK must not undo.
    pub fn event(&self) -> Event {
        Event { table: TABLE, row: self.row() }
    }
}

/// Name of the table in events.
pub const TABLE: &str = "audit_log";

/// Writes the row with the fact, in the caller's transaction.
pub fn record(entry: &Entry<'_>) -> Result<()> {
    insert(entry.row(), backend::clock(), 1)?;
    context::seal_after_commit();
    match entry.code {
        None => announce::announce(entry),
        Some(_) => Ok(()),
    }
}

/// Writes a row; for `record`, and for the worker.
pub fn insert(row: Value, created_at: i64, count: u32) -> Result<()> {
    static INSERT: Query = Query::write(
        "insert into auth.audit_log
            (id, slot, user_id, session_id, event_type, success, code, event_data, ip, user_agent, count, created_at)
        select
            $1,
            (date_part('year', $3 at time zone 'UTC')::integer * 12
                + date_part('month', $3 at time zone 'UTC')::integer - 1) % 24,
            e.user_id, e.session_id, e.event_type, e.success, e.code, e.event_data, e.ip, e.user_agent, $4, $3
        from jsonb_to_record($2) as e (user_id uuid, session_id uuid, event_type text, success boolean, code text,
            event_data jsonb, ip inet, user_agent text)",
        &[Type::UUIDOID, Type::JSONBOID, Type::TIMESTAMPTZOID, Type::INT4OID],
    );
    let time = TimestampWithTimeZone::try_from(created_at)
        .map_err(|_| crate::platform::error::Error::Internal("a time is out of range".into()))?;
    let id = to_pg(backend::uuid_v7()?);
    INSERT.execute(&[id.into(), JsonB(row).into(), time.into(), (count as i32).into()]).map(drop)
}

/// Whether a user who has signed in before does so with a program that has not been seen with them for 90 days. Without a
/// name of the program nothing can be said.
pub fn is_new_program(user_id: Uuid) -> Result<bool> {
    static IS_NEW: Query = Query::write(
        "select
            exists (
                select from auth.audit_log as a
                where a.user_id = $1 and a.created_at > clock_timestamp() - interval '90 days'
                    and a.event_type in ('login_success', 'signup') and a.success)
            and not exists (
                select from auth.audit_log as a
                where a.user_id = $1 and a.created_at > clock_timestamp() - interval '90 days'
                    and a.event_type in ('login_success', 'signup') and a.success and a.user_agent = $2)",
        &[Type::UUIDOID, Type::TEXTOID],
    );
    let Some(program) = user_agent() else { return Ok(false) };
    Ok(IS_NEW.first(&[to_pg(user_id).into(), program.into()], |row| row.required(1))?.unwrap_or(false))
}

/// Writes a refusal that changes nothing, without waiting for it.
pub fn refusal(entry: &Entry<'_>) {
    events::write_soon(&entry.event());
}
