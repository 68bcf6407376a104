//! The worker: writes events in transactions of its own, so that no client's ROLLBACK undoes them.
//!
//! A static launcher without a database starts one worker for each database that has events and lets it leave when idle.
//! The worker only inserts: an UPDATE could wait for a row that some client holds, and with it everybody's ring.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pgrx::bgworkers::{
    BackgroundWorker, BackgroundWorkerBuilder, BackgroundWorkerStatus, BgWorkerStartTime, DynamicBackgroundWorker,
    SignalWakeFlags,
};
use pgrx::prelude::*;

use crate::events::{DATABASES, RINGS, Rings};
use crate::platform::error::Error;
use crate::platform::query::{Query, Type};

/// How long a worker stays without work: DROP DATABASE waits for it.
const IDLE: Duration = Duration::from_secs(2);
/// How long the launcher sleeps: it is woken for every event, so this only bounds what a lost wake-up costs.
const QUIET: Duration = Duration::from_secs(60);
const PAUSE_WITH_WORK: Duration = Duration::from_millis(200);
/// A database that cannot be connected to this often is gone.
const MOST_FAILED_STARTS: u32 = 10;

/// From `_PG_init` while the postmaster preloads, once.
pub fn register_launcher() {
    BackgroundWorkerBuilder::new("auth launcher")
        .set_library("auth")
        .set_function("auth_launcher")
        .enable_shmem_access(None)
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_restart_time(Some(Duration::from_secs(1)))
        .load();
}

fn rings() -> &'static Rings {
    RINGS.get().expect("workers are registered only where the library is preloaded")
}

fn my_latch() -> *mut pg_sys::Latch {
    // SAFETY: set for every process with shared memory.
    unsafe { pg_sys::MyLatch }
}

#[unsafe(no_mangle)]
#[pg_guard]
pub extern "C-unwind" fn auth_launcher(_argument: pg_sys::Datum) {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    let rings = rings();
    rings.set_launcher_latch(my_latch());
    let mut workers: [Option<DynamicBackgroundWorker>; DATABASES] = [const { None }; DATABASES];
    let mut pause = QUIET;
    while BackgroundWorker::wait_latch(Some(pause)) {
        pause = QUIET;
        for (place, worker) in workers.iter_mut().enumerate() {
            let ring = rings.ring(place);
            if !ring.has_work() {
                continue;
            }
            // A worker clears its mark when it leaves; one that never got to run cannot.
            if worker.as_ref().is_some_and(|worker| matches!(worker.pid(), Err(BackgroundWorkerStatus::Stopped))) {
                *worker = None;
                ring.has_worker.store(0, Ordering::Release);
            }
            pause = PAUSE_WITH_WORK;
            if ring.has_worker.swap(1, Ordering::AcqRel) == 0 {
                *worker = start_worker(place);
                if worker.is_none() {
                    ring.has_worker.store(0, Ordering::Release);
                }
            }
        }
    }
    // Exit status 0 would tell the postmaster never to start it again.
    // SAFETY: ends this process as Postgres expects.
    unsafe { pg_sys::proc_exit(1) };
}

fn start_worker(place: usize) -> Option<DynamicBackgroundWorker> {
    let started = BackgroundWorkerBuilder::new(&format!("auth worker {}", rings().ring(place).database().to_u32()))
        .set_type("auth worker")
        .set_library("auth")
        .set_function("auth_worker")
        .enable_spi_access()
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_argument(Some(pg_sys::Datum::from(place)))
        .set_restart_time(None)
        // SAFETY: our own process id, so that the handle tells when the worker has stopped.
        .set_notify_pid(unsafe { pg_sys::MyProcPid })
        .load_dynamic();
    if started.is_err() {
        log!("extension auth cannot start its worker: raise max_worker_processes");
    }
    started.ok()
}

#[unsafe(no_mangle)]
#[pg_guard]
pub extern "C-unwind" fn auth_worker(argument: pg_sys::Datum) {
    let place = argument.value();
    let ring = rings().ring(place);
    // SAFETY: the callback takes the ring's number; registered before anything can fail.
    unsafe { pg_sys::before_shmem_exit(Some(on_exit), argument) };
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    if ring.failed_starts.fetch_add(1, Ordering::AcqRel) >= MOST_FAILED_STARTS {
        let (events, number) = ring.waiting();
        log!("extension auth drops {} events of a database that cannot be connected to", events.len());
        rings().acknowledge(place, number);
        ring.failed_starts.store(0, Ordering::Release);
        return;
    }
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(ring.database()), None);
    ring.failed_starts.store(0, Ordering::Release);
    ring.set_worker_latch(my_latch());
    settings_of_worker();
    let mut idle_since = Instant::now();
    let mut goes_on = true;
    while goes_on && idle_since.elapsed() < IDLE {
        if ring.has_work() {
            drain(place);
            idle_since = Instant::now();
        } else {
            goes_on = BackgroundWorker::wait_latch(Some(IDLE));
        }
    }
    // What came with the shutdown is still written.
    drain(place);
}

unsafe extern "C-unwind" fn on_exit(_code: i32, argument: pg_sys::Datum) {
    let ring = rings().ring(argument.value());
    ring.set_worker_latch(std::ptr::null_mut());
    ring.has_worker.store(0, Ordering::Release);
    rings().announce();
}

fn settings_of_worker() {
    for (name, value) in [
        // A lock that a client holds must not stop the shutdown.
        (c"lock_timeout", c"500"),
        (c"synchronous_commit", c"on"),
        (c"search_path", c"pg_catalog, pg_temp"),
    ] {
        // SAFETY: both are C strings.
        unsafe {
            pg_sys::SetConfigOption(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_SUSET,
                pg_sys::GucSource::PGC_S_OVERRIDE,
            )
        };
    }
}

/// Writes what waits: all at once, and one by one if that fails, so that one bad event does not stop the others.
fn drain(place: usize) {
    let ring = rings().ring(place);
    let (events, number) = ring.waiting();
    if events.is_empty() {
        return;
    }
    match write(&events) {
        Outcome::Written => rings().acknowledge(place, number),
        Outcome::TryAgain => {
            BackgroundWorker::wait_latch(Some(Duration::from_millis(200)));
        }
        Outcome::Bad if events.len() == 1 => {
            log!("extension auth drops an event that cannot be written");
            rings().acknowledge(place, number);
        }
        Outcome::Bad => {
            let first = number - events.len() as u64;
            for (offset, event) in events.iter().enumerate() {
                match write(std::slice::from_ref(event)) {
                    Outcome::TryAgain => return,
                    Outcome::Bad => log!("extension auth drops an event that cannot be written"),
                    Outcome::Written => {}
                }
                rings().acknowledge(place, first + offset as u64 + 1);
            }
        }
    }
}

enum Outcome {
    Written,
    TryAgain,
    Bad,
}

fn write(events: &[Vec<u8>]) -> Outcome {
    PgTryBuilder::new(AssertUnwindSafe(|| {
        BackgroundWorker::transaction(AssertUnwindSafe(|| match insert(events) {
            Ok(()) => Outcome::Written,
            Err(error) => error.raise(),
        }))
    }))
    .catch_others(|caught| {
        let code = match &caught {
            pg_sys::panic::CaughtError::PostgresError(report)
            | pg_sys::panic::CaughtError::ErrorReport(report)
            | pg_sys::panic::CaughtError::RustPanic { ereport: report, .. } => report.sql_error_code(),
        };
        // SAFETY: leaves the failed transaction.
        unsafe { pg_sys::AbortCurrentTransaction() };
        use PgSqlErrorCode as S;
        match code {
            S::ERRCODE_LOCK_NOT_AVAILABLE
            | S::ERRCODE_T_R_DEADLOCK_DETECTED
            | S::ERRCODE_T_R_SERIALIZATION_FAILURE
            | S::ERRCODE_OUT_OF_MEMORY
            | S::ERRCODE_DISK_FULL
            | S::ERRCODE_INSUFFICIENT_RESOURCES
            | S::ERRCODE_QUERY_CANCELED => Outcome::TryAgain,
            _ => Outcome::Bad,
        }
    })
    .execute()
}

fn insert(events: &[Vec<u8>]) -> crate::platform::error::Result<()> {
    static REVOCATION: Query = Query::write(
        "insert into auth.revocations (scope, subject, not_before, reason)
        select e.scope, e.subject, e.not_before, e.reason
        from jsonb_to_record($1) as e (scope text, subject uuid, not_before timestamptz, reason text)",
        &[Type::JSONBOID],
    );
    // SAFETY: the owner role exists while the extension does; the transaction's end puts the user back.
    unsafe {
        let owner = pg_sys::get_role_oid(c"auth_owner".as_ptr(), false);
        pg_sys::SetUserIdAndSecContext(owner, pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32);
    }
    for event in events {
        let (table, row): (String, serde_json::Value) =
            serde_json::from_slice(event).map_err(|error| Error::Internal(error.to_string()))?;
        match table.as_str() {
            "revocations" => REVOCATION.execute(&[pgrx::JsonB(row).into()])?,
            other => return Err(Error::Internal(format!("no event for table {other}"))),
        };
    }
    Ok(())
}
