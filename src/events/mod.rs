//! Events: what must be written although the caller's transaction will roll back. The worker writes them in its own.
//!
//! A ring for each database in shared memory. A slot is free again only once the worker has committed it, so an aborted
//! batch is tried again. Whoever needs durability waits for that, at most a second, and is refused otherwise.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use pgrx::prelude::*;
use serde_json::Value;

use crate::platform::backend;
use crate::platform::error::{Error, Result};
use crate::platform::shared::{Area, Zeroed, with_lock};

pub const DATABASES: usize = 64;
const RING: u64 = 256;
const EVENT_BYTES: usize = 248;
const LONGEST_WAIT_MICROSECONDS: i64 = 1_000_000;

#[repr(C)]
struct Entry {
    length: u32,
    bytes: [u8; EVENT_BYTES],
}

/// One database's ring. `head` and `acknowledged` count events since the server started.
#[repr(C)]
pub struct Ring {
    database: AtomicU32,
    head: AtomicU64,
    acknowledged: AtomicU64,
    /// The launcher has started a worker that has not left yet.
    pub has_worker: AtomicU32,
    pub failed_starts: AtomicU32,
    worker_latch: AtomicPtr<pg_sys::Latch>,
    entries: [UnsafeCell<Entry>; RING as usize],
}

#[repr(C)]
pub struct Rings {
    launcher_latch: AtomicPtr<pg_sys::Latch>,
    committed: UnsafeCell<pg_sys::ConditionVariable>,
    rings: [Ring; DATABASES],
}
// SAFETY: zero bytes are empty rings; entries are written and read under the lock; the condition variable is initialised
// by `start`.
unsafe impl Zeroed for Rings {
    fn start(&'static self) {
        // SAFETY: runs once, before any backend exists.
        unsafe { pg_sys::ConditionVariableInit(self.committed.get()) }
    }
}
// SAFETY: see above.
unsafe impl Sync for Rings {}

pub static RINGS: Area<Rings> = Area::new(c"auth events");

/// Writes an event beside the caller's transaction and waits until it is durable.
pub fn write_durably(table: &str, row: &Value) -> Result<()> {
    let rings = RINGS.require()?;
    // On a standby there is no worker, and an event that waited would be written after a promotion.
    backend::must_write()?;
    let bytes =
        serde_json::to_vec(&serde_json::json!([table, row])).map_err(|error| Error::Internal(error.to_string()))?;
    if bytes.len() > EVENT_BYTES {
        return Err(Error::Internal(format!("an event of {} bytes does not fit", bytes.len())));
    }
    let deadline = backend::clock() + LONGEST_WAIT_MICROSECONDS;
    let mut ticket = None;
    // SAFETY: the condition variable is initialised; ConditionVariableTimedSleep checks for interrupts, and an ERROR cancels
    // the sleep in transaction abort.
    unsafe {
        pg_sys::ConditionVariablePrepareToSleep(rings.committed.get());
        loop {
            if ticket.is_none() {
                ticket = with_lock(|| rings.enqueue(backend::database(), &bytes));
                rings.wake();
            }
            if let Some((ring, number)) = ticket
                && rings.rings[ring].acknowledged.load(Ordering::Acquire) > number
            {
                pg_sys::ConditionVariableCancelSleep();
                return Ok(());
            }
            if backend::clock() >= deadline {
                pg_sys::ConditionVariableCancelSleep();
                return Err(Error::WorkerUnavailable);
            }
            pg_sys::ConditionVariableTimedSleep(rings.committed.get(), 50, pg_sys::PG_WAIT_EXTENSION);
        }
    }
}

impl Rings {
    /// Under the lock. The ring and the event's number, or None while there is no room.
    fn enqueue(&self, database: pg_sys::Oid, bytes: &[u8]) -> Option<(usize, u64)> {
        let oid = database.to_u32();
        let place = self.rings.iter().position(|ring| ring.database.load(Ordering::Relaxed) == oid).or_else(|| {
            // Rings of databases that are gone, or quiet, serve again.
            let free = self.rings.iter().position(Ring::is_idle)?;
            self.rings[free].database.store(oid, Ordering::Relaxed);
            Some(free)
        })?;
        let ring = &self.rings[place];
        let number = ring.head.load(Ordering::Relaxed);
        if number - ring.acknowledged.load(Ordering::Relaxed) >= RING {
            return None;
        }
        // SAFETY: the lock is held, and the slot is not between acknowledged and head.
        let entry = unsafe { &mut *ring.entries[(number % RING) as usize].get() };
        entry.length = bytes.len() as u32;
        entry.bytes[..bytes.len()].copy_from_slice(bytes);
        ring.head.store(number + 1, Ordering::Release);
        Some((place, number))
    }

    fn wake(&self) {
        for latch in self.rings.iter().map(|ring| &ring.worker_latch).chain([&self.launcher_latch]) {
            let latch = latch.load(Ordering::Acquire);
            if !latch.is_null() {
                // SAFETY: latches of processes live in shared memory; setting one that is not ours any more is harmless.
                unsafe { pg_sys::SetLatch(latch) };
            }
        }
    }

    pub fn set_launcher_latch(&self, latch: *mut pg_sys::Latch) {
        self.launcher_latch.store(latch, Ordering::Release);
    }

    pub fn ring(&self, place: usize) -> &Ring {
        &self.rings[place]
    }

    /// After the worker's commit: slots up to here are free, and those who wait may go on.
    pub fn acknowledge(&self, place: usize, number: u64) {
        self.rings[place].acknowledged.store(number, Ordering::Release);
        self.announce();
    }

    /// Wakes waiters and the launcher, which looks for rings with work and without a worker.
    pub fn announce(&self) {
        // SAFETY: initialised at start.
        unsafe { pg_sys::ConditionVariableBroadcast(self.committed.get()) };
        self.wake();
    }
}

impl Ring {
    pub fn has_work(&self) -> bool {
        self.head.load(Ordering::Acquire) != self.acknowledged.load(Ordering::Acquire)
    }

    fn is_idle(&self) -> bool {
        !self.has_work() && self.has_worker.load(Ordering::Acquire) == 0
    }

    pub fn database(&self) -> pg_sys::Oid {
        pg_sys::Oid::from(self.database.load(Ordering::Relaxed))
    }

    pub fn set_worker_latch(&self, latch: *mut pg_sys::Latch) {
        self.worker_latch.store(latch, Ordering::Release);
    }

    /// The events that wait, oldest first, and the number after the last.
    pub fn waiting(&self) -> (Vec<Vec<u8>>, u64) {
        with_lock(|| {
            let (from, to) = (self.acknowledged.load(Ordering::Relaxed), self.head.load(Ordering::Relaxed));
            let events = (from..to)
                .map(|number| {
                    // SAFETY: the lock is held.
                    let entry = unsafe { &*self.entries[(number % RING) as usize].get() };
                    entry.bytes[..entry.length as usize].to_vec()
                })
                .collect();
            (events, to)
        })
    }
}
