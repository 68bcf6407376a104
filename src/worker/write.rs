//! Writing events, and what becomes of one that cannot be written.

use std::panic::AssertUnwindSafe;

use pgrx::bgworkers::BackgroundWorker;
use pgrx::prelude::*;
use serde_json::Value;

use crate::events::{RINGS, Waiting};
use crate::platform::error::{Error, Result};
use crate::platform::query::{Query, Type};
use crate::{audit, keys};

pub enum Outcome {
    Done,
    TryAgain,
    Bad,
}

/// Writes what waits: all at once, and one by one if that fails, so that one bad event does not stop the others. Whether it
/// is worth going on at once.
pub fn drain(place: usize) -> bool {
    let rings = RINGS.get().expect("workers are registered only where the library is preloaded");
    let (events, number) = rings.ring(place).take();
    if events.is_empty() {
        return true;
    }
    match in_transaction(|| insert(&events)) {
        Outcome::Done => rings.acknowledge(place, number),
        Outcome::TryAgain => return false,
        Outcome::Bad if events.len() == 1 => give_up(place, number),
        Outcome::Bad => {
            let first = number - events.len() as u64;
            for (event, number) in events.iter().zip(first + 1..) {
                match in_transaction(|| insert(std::slice::from_ref(event))) {
                    Outcome::Done => rings.acknowledge(place, number),
                    Outcome::TryAgain => return false,
                    Outcome::Bad => give_up(place, number),
                }
            }
        }
    }
    true
}

fn give_up(place: usize, number: u64) {
    log!("extension auth drops an event that cannot be written");
    if let Some(rings) = RINGS.get() {
        rings.drop_events(place, number);
    }
}

/// Runs work as auth_owner in a transaction of the worker's own.
pub fn in_transaction(work: impl FnOnce() -> Result<()>) -> Outcome {
    let work = std::cell::Cell::new(Some(work));
    PgTryBuilder::new(AssertUnwindSafe(|| {
        BackgroundWorker::transaction(AssertUnwindSafe(|| {
            act_as_owner();
            match work.take().map_or(Ok(()), |work| work()) {
                Ok(()) => Outcome::Done,
                Err(error) => error.raise(),
            }
        }))
    }))
    .catch_others(|caught| {
        let report = match &caught {
            pg_sys::panic::CaughtError::PostgresError(report)
            | pg_sys::panic::CaughtError::ErrorReport(report)
            | pg_sys::panic::CaughtError::RustPanic { ereport: report, .. } => report,
        };
        let code = report.sql_error_code();
        complain(code, report.message());
        // SAFETY: leaves the failed transaction.
        unsafe { pg_sys::AbortCurrentTransaction() };
        use PgSqlErrorCode as S;
        match code {
            // What never becomes better by itself: a row that the table does not take, a table that is gone.
            S::ERRCODE_INTERNAL_ERROR
            | S::ERRCODE_UNDEFINED_TABLE
            | S::ERRCODE_INVALID_SCHEMA_NAME
            | S::ERRCODE_UNDEFINED_COLUMN
            | S::ERRCODE_UNDEFINED_OBJECT
            | S::ERRCODE_UNDEFINED_FUNCTION
            | S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
            | S::ERRCODE_INVALID_TEXT_REPRESENTATION
            | S::ERRCODE_INVALID_PARAMETER_VALUE
            | S::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE
            | S::ERRCODE_STRING_DATA_RIGHT_TRUNCATION
            | S::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE
            | S::ERRCODE_UNTRANSLATABLE_CHARACTER
            | S::ERRCODE_CHECK_VIOLATION
            | S::ERRCODE_NOT_NULL_VIOLATION
            | S::ERRCODE_UNIQUE_VIOLATION => Outcome::Bad,
            _ => Outcome::TryAgain,
        }
    })
    .execute()
}

/// Once a minute at most: what cannot be written is tried five times a second.
fn complain(code: PgSqlErrorCode, message: &str) {
    thread_local! {
        static LAST: std::cell::Cell<Option<std::time::Instant>> = const { std::cell::Cell::new(None) };
    }
    if LAST.get().is_none_or(|at| at.elapsed().as_secs() >= 60) {
        LAST.set(Some(std::time::Instant::now()));
        log!("the worker of extension auth cannot write: {message} ({code:?})");
    }
}

fn act_as_owner() {
    // SAFETY: the owner role exists while the extension does; the transaction's end puts the user back.
    unsafe {
        let owner = pg_sys::get_role_oid(c"auth_owner".as_ptr(), false);
        pg_sys::SetUserIdAndSecContext(owner, pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32);
    }
}

fn insert(events: &[Waiting]) -> Result<()> {
    static REVOCATION: Query = Query::write(
        "insert into auth.revocations (scope, subject, not_before, reason)
        select e.scope, e.subject, e.not_before, e.reason
        from jsonb_to_record($1) as e (scope text, subject uuid, not_before timestamptz, reason text)",
        &[Type::JSONBOID],
    );
    for event in events {
        let (table, row): (String, Value) =
            serde_json::from_slice(&event.bytes).map_err(|error| Error::Internal(error.to_string()))?;
        match table.as_str() {
            "revocations" => REVOCATION.execute(&[pgrx::JsonB(row).into()]).map(drop)?,
            audit::TABLE => audit::insert(row, event.recorded_at, event.count)?,
            other if keys::make_first(other)? => {}
            other => return Err(Error::Internal(format!("no event for table {other}"))),
        };
    }
    Ok(())
}
