//! The hash gate: at most so many password hashes at a time over the whole server.
//!
//! A hash costs 19 MiB and all of a processor for a while. Promises: memory and processors are bounded by
//! `auth.max_concurrent_hashes`, first come first served; who waits can be cancelled and is refused after
//! `auth.hash_queue_timeout`; a place comes back however its holder ends. Threats: a storm of sign-ins that takes the
//! machine from everybody else; a place that is never given back; a newcomer who always passes those who wait.
//!
//! A place is held for one hash, and nobody waits for anything while it has one, so there is no deadlock.

use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use auth_core::gate::{self, Arrival};
use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};

use crate::platform::error::{Answer, Error, Result};
use crate::platform::settings;
use crate::platform::shared::{Area, Lock, Zeroed, with_lock};

extension_sql_file!("gate.sql", name = "gate", requires = ["ddl"]);

/// Whoever leaves wakes the next; this is only for a wake-up that is lost, and for a setting that changed.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

#[repr(C)]
pub struct Gate {
    processors: AtomicU32,
    hashes: AtomicU64,
    refused: AtomicU64,
    /// Under the lock. Those who wait are known by their latches.
    line: UnsafeCell<gate::Gate>,
}
// SAFETY: zero bytes are a gate that nobody has come to; `start` adds what is not zero.
unsafe impl Zeroed for Gate {
    fn start(&'static self) {
        let processors = std::thread::available_parallelism().map_or(1, |number| number.get() as u32);
        self.processors.store(processors, Ordering::Relaxed);
    }
}
// SAFETY: see above.
unsafe impl Sync for Gate {}

pub static GATE: Area<Gate> = Area::new(c"auth gate");

/// What this process has at the gate, for whoever has to undo it: an ERROR unwinds to `Pass`, a FATAL does not and leaves
/// it to the exit callback.
#[derive(Clone, Copy)]
enum Standing {
    Outside,
    Waiting,
    Inside,
}

struct Mine {
    standing: Cell<Standing>,
    latch: Cell<*mut pg_sys::Latch>,
}
// SAFETY: a backend has one thread.
unsafe impl Sync for Mine {}
static MINE: Mine = Mine { standing: Cell::new(Standing::Outside), latch: Cell::new(std::ptr::null_mut()) };

/// A place, given back on drop.
pub struct Pass {
    gate: &'static Gate,
}

/// Waits for a place.
pub fn enter() -> Result<Pass> {
    let gate = GATE.require()?;
    prepare();
    let limit = gate.limit();
    let patience = Duration::from_millis(settings::HASH_QUEUE_TIMEOUT.get().max(0) as u64);
    let deadline = Instant::now() + patience;
    let arrival = gate.with(|line| {
        let arrival = line.arrive(me(), limit, !patience.is_zero());
        MINE.standing.set(match arrival {
            Arrival::Inside => Standing::Inside,
            Arrival::Waiting => Standing::Waiting,
            Arrival::Refused => Standing::Outside,
        });
        arrival
    });
    // From here on whatever leaves this function gives back what was taken.
    let pass = Pass { gate };
    match arrival {
        Arrival::Inside => return Ok(pass),
        Arrival::Refused => return Err(gate.refuse()),
        Arrival::Waiting => {}
    }
    while !gate.take_turn(limit) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(gate.refuse());
        }
        sleep(left.min(LONGEST_SLEEP));
    }
    Ok(pass)
}

impl Pass {
    /// One hash was run.
    pub fn count(&self) {
        self.gate.hashes.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.go();
    }
}

impl Gate {
    fn with<T>(&self, work: impl FnOnce(&mut gate::Gate) -> T) -> T {
        // SAFETY: the lock is held, and work does not come back here.
        with_lock(Lock::Gate, || work(unsafe { &mut *self.line.get() }))
    }

    /// The setting as this backend knows it: a change reaches those who wait at their next statement.
    fn limit(&self) -> u32 {
        match settings::MAX_CONCURRENT_HASHES.get() {
            0 => self.processors.load(Ordering::Relaxed),
            limit => limit as u32,
        }
    }

    fn take_turn(&self, limit: u32) -> bool {
        self.with(|line| {
            let is_turn = line.take_turn(me(), limit);
            if is_turn {
                MINE.standing.set(Standing::Inside);
            }
            is_turn
        })
    }

    fn refuse(&self) -> Error {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Error::HashGateBusy
    }

    /// Gives back what this process has, if anything, and wakes those whose turn it is then.
    fn go(&self) {
        let limit = self.limit();
        self.with(|line| {
            match MINE.standing.replace(Standing::Outside) {
                Standing::Outside => return,
                Standing::Waiting => line.give_up(me()),
                Standing::Inside => line.leave(),
            }
            for latch in line.next(limit) {
                // SAFETY: a latch in the line is that of a living process, which takes it out before it ends.
                unsafe { pg_sys::SetLatch(*latch as *mut pg_sys::Latch) };
            }
        });
    }
}

fn me() -> usize {
    MINE.latch.get() as usize
}

/// Once for each process.
fn prepare() {
    if MINE.latch.get().is_null() {
        // SAFETY: MyLatch is set in every process with shared memory, and stays the same until after the callback.
        unsafe {
            pg_sys::before_shmem_exit(Some(on_exit), pg_sys::Datum::from(0));
            MINE.latch.set(pg_sys::MyLatch);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_exit(_code: i32, _argument: pg_sys::Datum) {
    if let Some(gate) = GATE.get() {
        gate.go();
    }
}

fn sleep(limit: Duration) {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // Not less than asked: it would wake before the deadline, and at once again.
    let milliseconds = limit.as_millis() as i64 + 1;
    // SAFETY: the latch is our own. An interrupt is an ERROR that unwinds, or the end of the process.
    unsafe {
        pg_sys::WaitLatch(MINE.latch.get(), events as i32, milliseconds, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(MINE.latch.get());
    }
    pg_sys::check_for_interrupts!();
}

#[pg_extern(sql = false)]
fn gate_status() -> Answer<JsonB> {
    let gate = GATE.require()?;
    let (running, most_running, waiting) = gate.with(|line| (line.running(), line.most_running(), line.waiting()));
    Ok(JsonB(serde_json::json!({
        "hashes": gate.hashes.load(Ordering::Relaxed),
        "limit": gate.limit(),
        "running": running,
        "most_running": most_running,
        "waiting": waiting,
        "refused": gate.refused.load(Ordering::Relaxed),
    })))
}
