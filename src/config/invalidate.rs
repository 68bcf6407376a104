//! The trigger on tables that backends keep copies of: settings, hooks and signing keys.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::platform::error::Error;

/// `after insert or update or delete` and `after truncate`.
#[pg_trigger(sql = false)]
fn invalidate_relation<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, pgrx::AllocatedByPostgres>>, ErrorReport> {
    let relation = trigger.relation().map_err(|error| Error::Internal(error.to_string()))?;
    // SAFETY: the relation is open while its trigger runs.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relation.oid()) };
    Ok(trigger.new().or(trigger.old()))
}
