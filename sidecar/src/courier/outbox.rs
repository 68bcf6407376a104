//! The rows of `auth.outbox`, as the two functions of the database give and take them.

use std::time::Instant;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::db::{Argument, Caller, Db};
use crate::error::Error;

use super::outcome::Outcome;
use super::template::Template;

/// A row that is ours until its lease ends. No Debug: the payload holds secrets.
pub struct Claimed {
    pub id: Uuid,
    pub channel: String,
    pub kind: String,
    pub recipient: String,
    pub locale: Option<String>,
    pub message_id: String,
    /// Which attempt this is; a result for another one is ignored by the database.
    pub attempts: i32,
    /// Null where the database could not open it.
    pub payload: Value,
    /// What stands in `auth.templates` for this kind.
    pub template: Option<Template>,
    pub created_at: DateTime<Utc>,
}

/// What is told to the database about one row.
pub struct Settled {
    pub id: Uuid,
    pub attempts: i32,
    pub outcome: Outcome,
}

/// Rows of these channels that are due, leased to us from now on.
pub async fn claim(db: &Db, most: usize, channels: &[&str]) -> Result<Vec<Claimed>, Error> {
    let most = i32::try_from(most).unwrap_or(i32::MAX);
    let channels = Argument::Json(json!(channels));
    let statement = "select * from auth.claim_outbox($1, array(select jsonb_array_elements_text($2)))";
    let rows = db.transaction(&Caller::default(), &[(statement, &[Argument::Int(most), channels])]).await?;
    rows.iter().map(read).collect()
}

pub async fn settle(db: &Db, results: &[Settled]) -> Result<(), Error> {
    if results.is_empty() {
        return Ok(());
    }
    let started = Instant::now();
    let results: Vec<Value> = results.iter().map(as_json).collect();
    let count = results.len();
    db.call(&Caller::default(), "select auth.settle_outbox($1)", &[Argument::Json(results.into())]).await?;
    tracing::debug!(count, milliseconds = started.elapsed().as_millis() as u64, "settled");
    Ok(())
}

fn as_json(settled: &Settled) -> Value {
    let outcome = &settled.outcome;
    let mut result = json!({"id": settled.id, "attempts": settled.attempts, "outcome": outcome.verdict.word()});
    if let Some(error) = &outcome.error {
        result["error"] = error.as_str().into();
    }
    if let Some(seconds) = outcome.retry_in {
        result["retry_in"] = seconds.into();
    }
    result
}

fn read(row: &Row) -> Result<Claimed, Error> {
    let template: Option<Value> = row.try_get("template")?;
    Ok(Claimed {
        id: row.try_get("id")?,
        channel: row.try_get("channel")?,
        kind: row.try_get("kind")?,
        recipient: row.try_get::<_, Option<String>>("recipient")?.unwrap_or_default(),
        locale: row.try_get("locale")?,
        message_id: row.try_get::<_, Option<String>>("message_id")?.unwrap_or_default(),
        attempts: row.try_get("attempts")?,
        payload: row.try_get::<_, Option<Value>>("payload")?.unwrap_or_default(),
        template: template.as_ref().and_then(override_template),
        created_at: row.try_get("created_at")?,
    })
}

/// An override has a subject and a text; what is written without HTML is sent without.
fn override_template(value: &Value) -> Option<Template> {
    let member = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    value.is_object().then(|| Template {
        subject: member("subject").unwrap_or_default(),
        text: member("text_body").unwrap_or_default(),
        html: member("html_body").filter(|html| !html.trim().is_empty()),
    })
}
