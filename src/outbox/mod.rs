//! Outbox: mails, messages and webhook calls, written in the transaction of the fact that they announce.
//!
//! Promises: what was committed is sent, at least once and under one Message-ID; what was rolled back never is; the row holds
//! no readable secret, and none once it is sent; a copy of the database sends nothing. Threats: a courier that dies at any
//! point, a restore beside the original, somebody who reads the table.

mod courier;
mod webhooks;

use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use serde_json::Value;
use uuid::Uuid;

use auth_core::seal::Place;

pub use webhooks::announce;

use crate::config;
use crate::keys;
use crate::platform::backend::{self, to_pg};
use crate::platform::error::{Error, Result};
use crate::platform::query::{Query, Type};

extension_sql_file!("outbox.sql", name = "outbox", requires = ["tokens"]);

/// Something to be sent.
pub struct Message<'a> {
    pub channel: &'static str,
    pub kind: &'a str,
    pub recipient: &'a str,
    pub locale: Option<&'a str>,
    /// What it is filled with; sealed.
    pub payload: Value,
    /// After that it is of no use: microseconds since 2000-01-01.
    pub expires_at: Option<i64>,
}

/// Writes it; the courier is woken when the transaction commits, and only then.
pub fn write(message: &Message<'_>) -> Result<Uuid> {
    write_if(true, message)
}

/// The same work where it is not to be sent, for those whose patience must not tell a stranger which it was.
pub fn write_if(is_wanted: bool, message: &Message<'_>) -> Result<Uuid> {
    // The notification is empty: every role may listen.
    static WRITE: Query = Query::write(
        "insert into auth.outbox (id, channel, kind, recipient, locale, payload_sealed, message_id, cluster_id, expires_at)
        select $1, $2, $3, $4, $5, $6, $7, $8, $9
        where $10
        returning pg_notify('auth_outbox', '')::text",
        &[
            Type::UUIDOID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::BYTEAOID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::TIMESTAMPTZOID,
            Type::BOOLOID,
        ],
    );
    let id = backend::uuid_v7()?;
    let expires_at = message
        .expires_at
        .map(TimestampWithTimeZone::try_from)
        .transpose()
        .map_err(|_| Error::Internal("a time is out of range".into()))?;
    let sealed = keys::root()?.seal(&place(&id), message.payload.to_string().as_bytes())?;
    WRITE.execute(&[
        to_pg(id).into(),
        message.channel.into(),
        message.kind.into(),
        message.recipient.into(),
        message.locale.into(),
        sealed.into(),
        format!("<{id}@{}>", mail_host()?).into(),
        cluster_id().into(),
        expires_at.into(),
        is_wanted.into(),
    ])?;
    Ok(id)
}

/// Wakes the courier when the transaction commits.
pub fn wake() -> Result<()> {
    static WAKE: Query = Query::write("select pg_notify('auth_outbox', '')::text", &[]);
    WAKE.execute(&[]).map(drop)
}

/// The right side of a Message-ID: the host of the app.
fn mail_host() -> Result<String> {
    let config = config::current()?;
    let host = config.site_url.split("://").nth(1).and_then(|rest| rest.split(['/', ':']).next()).unwrap_or_default();
    let is_plain = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    Ok(if is_plain { host.to_string() } else { "localhost".to_string() })
}

fn place(id: &Uuid) -> Place<'_> {
    Place { table: "outbox", column: "payload_sealed", row: id.as_bytes() }
}

/// The identifier that initdb gave this cluster: a restored copy has another, a standby the same.
fn cluster_id() -> String {
    // SAFETY: reads the control file's copy in shared memory.
    unsafe { pg_sys::GetSystemIdentifier() }.to_string()
}

/// Opens what a row holds.
fn open(id: &Uuid, sealed: &[u8]) -> Result<JsonB> {
    let opened = keys::root()?.open(&place(id), sealed)?;
    serde_json::from_slice(&opened).map(JsonB).map_err(|_| Error::Internal("a row of the outbox is not JSON".into()))
}
