//! The worker: writes events in transactions of its own, so that no client's ROLLBACK undoes them.
//!
//! A static launcher without a database starts one worker for each database that has events and lets it leave when idle.
//! For events it only inserts: an UPDATE could wait for a row that some client holds, and with it everybody's ring. Its
//! chores (sealing the audit, removing what has expired) are transactions of their own, between events, and wait for nobody.

mod databases;
mod write;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pgrx::bgworkers::{
    BackgroundWorker, BackgroundWorkerBuilder, BackgroundWorkerStatus, BgWorkerStartTime, DynamicBackgroundWorker,
    SignalWakeFlags,
};
use pgrx::prelude::*;

pub use databases::follow_databases;
use write::{Outcome, drain, in_transaction};

use crate::events::{DATABASES, RINGS, Ring, Rings};
use crate::platform::backend;
use crate::{audit, cleanup};

/// How long a worker stays without work: DROP DATABASE waits for it.
const IDLE: Duration = Duration::from_secs(2);
/// How long the launcher sleeps: it is woken for every event, so this only bounds what a lost wake-up costs.
const QUIET: Duration = Duration::from_secs(60);
const PAUSE_WITH_WORK: Duration = Duration::from_millis(200);
/// How long a worker with something to do waits for more of it.
const GATHERING: Duration = Duration::from_secs(1);
const CLEANING_MICROSECONDS: i64 = 600_000_000;
/// The log is told this often at most that no worker can be started.
const REMINDER: Duration = Duration::from_secs(60);
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
    let mut complained: Option<Instant> = None;
    while BackgroundWorker::wait_latch(Some(pause)) {
        pause = QUIET;
        for (place, worker) in workers.iter_mut().enumerate() {
            let ring = rings.ring(place);
            if !ring.has_work() && !ring.has_chores() {
                continue;
            }
            if ring.is_held() {
                pause = PAUSE_WITH_WORK;
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
                    if complained.is_none_or(|at| at.elapsed() > REMINDER) {
                        complained = Some(Instant::now());
                        log!("extension auth cannot start its worker: raise max_worker_processes");
                    }
                }
            }
        }
    }
    // Exit status 0 would tell the postmaster never to start it again.
    // SAFETY: ends this process as Postgres expects.
    unsafe { pg_sys::proc_exit(1) };
}

fn start_worker(place: usize) -> Option<DynamicBackgroundWorker> {
    BackgroundWorkerBuilder::new(&format!("auth worker {}", rings().ring(place).database().to_u32()))
        .set_type("auth worker")
        .set_library("auth")
        .set_function("auth_worker")
        .enable_spi_access()
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_argument(Some(pg_sys::Datum::from(place)))
        .set_restart_time(None)
        // SAFETY: our own process id, so that the handle tells when the worker has stopped.
        .set_notify_pid(unsafe { pg_sys::MyProcPid })
        .load_dynamic()
        .ok()
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
        let (events, number) = ring.take();
        log!("extension auth drops {} events of a database that cannot be connected to", events.len());
        rings().drop_events(place, number);
        ring.set_chores(false);
        ring.failed_starts.store(0, Ordering::Release);
        return;
    }
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(ring.database()), None);
    ring.failed_starts.store(0, Ordering::Release);
    ring.set_worker_latch(my_latch());
    settings_of_worker();
    let mut idle_since = Instant::now();
    let mut goes_on = true;
    while goes_on && idle_since.elapsed() < IDLE && !ring.is_held() {
        let mut pause = IDLE;
        if ring.is_due() {
            pause = if drain(place) { Duration::ZERO } else { PAUSE_WITH_WORK };
            // What it has written is to be sealed, too.
            ring.set_chores(true);
            idle_since = Instant::now();
        } else if ring.has_work() {
            pause = GATHERING;
            idle_since = Instant::now();
        } else if ring.has_chores() {
            ring.set_chores(false);
            pause = if do_chores(ring) { Duration::ZERO } else { GATHERING };
            idle_since = Instant::now();
        }
        goes_on = match pause {
            Duration::ZERO => !BackgroundWorker::sigterm_received(),
            pause => BackgroundWorker::wait_latch(Some(pause)),
        };
    }
    // What came with the shutdown is still written; what came with DROP DATABASE waits to see what becomes of it.
    if !ring.is_held() {
        drain(place);
    }
}

/// Seals what is committed, and from time to time removes what has expired; whether there is more to do at once.
fn do_chores(ring: &Ring) -> bool {
    let mut goes_on = false;
    let sealed = in_transaction(|| {
        goes_on = audit::seal_some()?;
        Ok(())
    });
    let now = backend::clock();
    let mut cleaned = Outcome::Done;
    if matches!(sealed, Outcome::Done) && ring.cleaned_at.load(Ordering::Relaxed) < now - CLEANING_MICROSECONDS {
        cleaned = in_transaction(|| {
            if cleanup::remove_expired(cleanup::GRACE_SECONDS)?.is_partial {
                goes_on = true;
            } else {
                audit::empty_next_slot()?;
                ring.cleaned_at.store(now, Ordering::Relaxed);
            }
            Ok(())
        });
    }
    for outcome in [sealed, cleaned] {
        match outcome {
            Outcome::Done => {}
            // A lock, a full disk: what is not sealed can be changed unseen, so it is tried until it works.
            Outcome::TryAgain => {
                ring.set_chores(true);
                return false;
            }
            Outcome::Bad => {
                log!(
                    "extension auth cannot seal its audit or remove what has expired; auth.verify_audit() may say why"
                );
                return false;
            }
        }
    }
    if goes_on {
        ring.set_chores(true);
    }
    goes_on
}

unsafe extern "C-unwind" fn on_exit(_code: i32, argument: pg_sys::Datum) {
    let ring = rings().ring(argument.value());
    ring.set_worker_latch(std::ptr::null_mut());
    ring.has_worker.store(0, Ordering::Release);
    rings().announce();
    // The launcher looks whether there is more to do.
    rings().wake(argument.value());
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
