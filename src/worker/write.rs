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
        // SAFETY: leaves the failed transaction.
        unsafe { pg_sys::AbortCurrentTransaction() };
        use PgSqlErrorCode as S;
        match code {
            S::ERRCODE_LOCK_NOT_AVAILABLE
            | S::ERRCODE_T_R_DEADLOCK_DETECTED
            | S::ERRCODE_T_R_SERIALIZATION_FAILURE
            | S::ERRCODE_OUT_OF_MEMORY
            | S::ERRCODE_DISK_FULL
            | S::ERRCODE_IO_ERROR
            | S::ERRCODE_INSUFFICIENT_RESOURCES
            | S::ERRCODE_TOO_MANY_CONNECTIONS
            | S::ERRCODE_QUERY_CANCELED => Outcome::TryAgain,
            _ => Outcome::Bad,
        }
    })
    .execute()
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
            keys::FIRST => keys::make_first()?,
            audit::TABLE => audit::insert(row, event.recorded_at, event.count)?,
            other => return Err(Error::Internal(format!("no event for table {other}"))),
        };
    }
    Ok(())
}
