//! What a courier asks: what a row holds, and to be told how its attempt ended.

use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::keys;
use crate::platform::backend::{self, from_pg};
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::query::{Query, Type};

/// How often a message is tried before it is given up: about ten hours. `auth.claim_outbox` counts so far too.
const MOST_ATTEMPTS: i32 = 12;
const FIRST_WAIT_SECONDS: f64 = 5.0;
const LONGEST_WAIT_SECONDS: f64 = 3600.0;
const ERROR_CHARACTERS: usize = 500;

/// What a row holds; null where it does not open, which must not hold up the others: the courier gives it up.
#[pg_extern(sql = false)]
fn open_outbox(id: pgrx::Uuid, payload_sealed: &[u8]) -> Answer<Option<JsonB>> {
    // With the wrong keyring nothing would open.
    keys::root()?;
    Ok(super::open(&from_pg(id), payload_sealed).ok())
}

/// How an attempt ended.
struct Outcome {
    id: Uuid,
    attempts: i32,
    kind: Kind,
    error: Option<String>,
    retry_in: Option<f64>,
}

#[derive(PartialEq)]
enum Kind {
    Sent,
    Retry,
    Failed,
    Expired,
}

#[pg_extern(sql = false)]
fn settle_outbox(results: JsonArgument) -> Answer<i32> {
    backend::must_write()?;
    let Value::Array(results) = given(options::json(results)?, "results")? else { return Err(wrong().into()) };
    let outcomes: Vec<Outcome> = results.iter().map(parse).collect::<Result<_>>()?;
    let mut settled = 0;
    for outcome in outcomes {
        settled += settle(&outcome)?;
    }
    Ok(settled as i32)
}

fn wrong() -> Error {
    Error::invalid(
        "results has another form",
        "[{\"id\": …, \"attempts\": 1, \"outcome\": \"sent\" | \"retry\" | \"failed\" | \"expired\", \"error\": …, \"retry_in\": seconds}]",
    )
}

fn parse(result: &Value) -> Result<Outcome> {
    let result: &Map<String, Value> = result.as_object().ok_or_else(wrong)?;
    let text = |name: &str| result.get(name).and_then(Value::as_str);
    Ok(Outcome {
        id: text("id").and_then(|id| id.parse().ok()).ok_or_else(wrong)?,
        attempts: result
            .get("attempts")
            .and_then(Value::as_i64)
            .and_then(|attempts| i32::try_from(attempts).ok())
            .ok_or_else(wrong)?,
        kind: match text("outcome") {
            Some("sent") => Kind::Sent,
            Some("retry") => Kind::Retry,
            Some("failed") => Kind::Failed,
            Some("expired") => Kind::Expired,
            _ => return Err(wrong()),
        },
        error: text("error").map(|error| error.chars().take(ERROR_CHARACTERS).collect()),
        retry_in: result.get("retry_in").and_then(Value::as_f64),
    })
}

fn settle(outcome: &Outcome) -> Result<u64> {
    static END: Query = Query::write(
        "update auth.outbox
        set status = $3, last_error = $4, claimed_until = null, payload_sealed = null,
            sent_at = case when $3 = 'sent' then clock_timestamp() end
        where id = $1 and attempts = $2 and status = 'pending'",
        &[Type::UUIDOID, Type::INT4OID, Type::TEXTOID, Type::TEXTOID],
    );
    static RETRY: Query = Query::write(
        "update auth.outbox
        set last_error = $3, claimed_until = null, next_attempt_at = clock_timestamp() + make_interval(secs => $4)
        where id = $1 and attempts = $2 and status = 'pending'",
        &[Type::UUIDOID, Type::INT4OID, Type::TEXTOID, Type::FLOAT8OID],
    );
    let id = backend::to_pg(outcome.id);
    let error = outcome.error.as_deref();
    let status = match outcome.kind {
        Kind::Sent => "sent",
        Kind::Failed => "dead",
        Kind::Expired => "expired",
        Kind::Retry if outcome.attempts >= MOST_ATTEMPTS => "dead",
        Kind::Retry => {
            let backoff = FIRST_WAIT_SECONDS * 4_f64.powi(outcome.attempts.clamp(1, 16) - 1);
            let wait = outcome.retry_in.unwrap_or(0.0).max(backoff).clamp(0.0, LONGEST_WAIT_SECONDS);
            return RETRY.execute(&[id.into(), outcome.attempts.into(), error.into(), wait.into()]);
        }
    };
    END.execute(&[id.into(), outcome.attempts.into(), status.into(), error.into()])
}
