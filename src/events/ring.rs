//! The rings themselves, and how their three parties meet: backends append, the worker empties, the launcher starts workers.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use pgrx::prelude::*;

use super::Encoded;
use crate::platform::backend;
use crate::platform::error::{Error, Result};
use crate::platform::shared::{Area, Lock, Zeroed, with_lock};

pub const DATABASES: usize = 64;
const RING: u64 = 256;
/// Two addresses of 254 bytes and a user agent of 256, each of which JSON may double, and the rest.
const EVENT_BYTES: usize = 2024;
/// How long an event for which nobody waits stays in the ring, for equal ones to be counted with it.
const GATHERING_MICROSECONDS: i64 = 1_000_000;

#[repr(C)]
struct Entry {
    /// When it was first recorded, and how often since.
    recorded_at: i64,
    hash: u64,
    count: u32,
    length: u32,
    bytes: [u8; EVENT_BYTES],
}

/// One database's ring. The numbers count events since the server started, or since the ring got another database.
#[repr(C)]
pub struct Ring {
    database: AtomicU32,
    head: AtomicU64,
    /// Up to here the worker has read: what comes now is no longer counted with what it has.
    taken: AtomicU64,
    acknowledged: AtomicU64,
    /// Up to here somebody waits.
    urgent: AtomicU64,
    /// The launcher has started a worker that has not left yet.
    pub has_worker: AtomicU32,
    pub failed_starts: AtomicU32,
    chores: AtomicU32,
    /// No worker until then: somebody is dropping, renaming or copying the database.
    held_until: AtomicI64,
    /// When old rows were last removed.
    pub cleaned_at: AtomicI64,
    written: AtomicU64,
    dropped: AtomicU64,
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

/// An event that waits to be written.
pub struct Waiting {
    pub bytes: Vec<u8>,
    pub recorded_at: i64,
    pub count: u32,
}

impl Rings {
    pub fn committed(&self) -> *mut pg_sys::ConditionVariable {
        self.committed.get()
    }

    pub fn ring(&self, place: usize) -> &Ring {
        &self.rings[place]
    }

    /// Under the lock: the database's ring, one that serves again, or none while all are in use.
    fn place_of(&self, database: pg_sys::Oid) -> Option<usize> {
        let oid = database.to_u32();
        let serves = |oid: u32| self.rings.iter().position(|ring| ring.database.load(Ordering::Relaxed) == oid);
        serves(oid).or_else(|| {
            let free = serves(0).or_else(|| self.rings.iter().position(Ring::is_idle))?;
            let ring = &self.rings[free];
            ring.database.store(oid, Ordering::Relaxed);
            ring.failed_starts.store(0, Ordering::Relaxed);
            ring.held_until.store(0, Ordering::Relaxed);
            ring.cleaned_at.store(0, Ordering::Relaxed);
            ring.written.store(0, Ordering::Relaxed);
            ring.dropped.store(0, Ordering::Relaxed);
            Some(free)
        })
    }

    /// The ring of this database, if it has one.
    pub fn find(&self, database: pg_sys::Oid) -> Option<usize> {
        self.rings.iter().position(|ring| ring.database.load(Ordering::Relaxed) == database.to_u32())
    }

    /// Appends an event that somebody waits for: the ring and the event's number, or None while there is no room.
    pub(super) fn append(&self, database: pg_sys::Oid, event: &Encoded) -> Result<Option<(usize, u64)>> {
        if event.bytes.len() > EVENT_BYTES {
            return Err(Error::Internal(format!("an event of {} bytes does not fit", event.bytes.len())));
        }
        Ok(with_lock(Lock::Events, || {
            let place = self.place_of(database)?;
            let number = self.rings[place].push(event)?;
            self.rings[place].urgent.store(number + 1, Ordering::Release);
            Some((place, number))
        }))
    }

    /// Appends an event that nobody waits for, or counts it with an equal one, or counts it as lost.
    pub(super) fn append_or_count(&self, database: pg_sys::Oid, event: &Encoded) {
        let place = with_lock(Lock::Events, || {
            let place = self.place_of(database)?;
            let ring = &self.rings[place];
            if ring.count_with_equal(event) {
                return None;
            }
            let was_empty = !ring.has_work();
            if event.bytes.len() > EVENT_BYTES || ring.push(event).is_none() {
                ring.dropped.fetch_add(1, Ordering::Relaxed);
            }
            (was_empty || ring.is_half_full()).then_some(place)
        });
        if let Some(place) = place {
            self.wake(place);
        }
    }

    pub(super) fn want_chores(&self, database: pg_sys::Oid) {
        // The common case takes no lock: the worker is there, or was asked already.
        let place = self.find(database).or_else(|| with_lock(Lock::Events, || self.place_of(database)));
        if let Some(place) = place
            && self.rings[place].chores.swap(1, Ordering::AcqRel) == 0
            && self.rings[place].has_worker.load(Ordering::Acquire) == 0
        {
            self.wake(place);
        }
    }

    /// Wakes the ring's worker, or the launcher to start one.
    pub fn wake(&self, place: usize) {
        let worker = self.rings[place].worker_latch.load(Ordering::Acquire);
        let latch = if worker.is_null() { self.launcher_latch.load(Ordering::Acquire) } else { worker };
        if !latch.is_null() {
            // SAFETY: latches of processes live in shared memory; setting one that is not ours any more is harmless.
            unsafe { pg_sys::SetLatch(latch) };
        }
    }

    pub fn set_launcher_latch(&self, latch: *mut pg_sys::Latch) {
        self.launcher_latch.store(latch, Ordering::Release);
    }

    /// After the worker's commit: slots up to here are free, and those who wait may go on.
    pub fn acknowledge(&self, place: usize, number: u64) {
        let ring = &self.rings[place];
        let before = ring.acknowledged.swap(number, Ordering::AcqRel);
        ring.written.fetch_add(number - before, Ordering::Relaxed);
        self.announce();
    }

    /// Gives up events that can never be written.
    pub fn drop_events(&self, place: usize, number: u64) {
        let ring = &self.rings[place];
        let before = ring.acknowledged.swap(number, Ordering::AcqRel);
        ring.dropped.fetch_add(number - before, Ordering::Relaxed);
        self.announce();
    }

    /// Wakes waiters.
    pub fn announce(&self) {
        // SAFETY: initialised at start.
        unsafe { pg_sys::ConditionVariableBroadcast(self.committed.get()) };
    }
}

impl Ring {
    /// Under the lock. The event's number, or None if the ring is full.
    fn push(&self, event: &Encoded) -> Option<u64> {
        let number = self.head.load(Ordering::Relaxed);
        if number - self.acknowledged.load(Ordering::Relaxed) >= RING {
            return None;
        }
        // SAFETY: the lock is held, and the slot is not between acknowledged and head.
        let entry = unsafe { &mut *self.entries[(number % RING) as usize].get() };
        entry.recorded_at = backend::clock();
        entry.hash = event.hash;
        entry.count = 1;
        entry.length = event.bytes.len() as u32;
        entry.bytes[..event.bytes.len()].copy_from_slice(&event.bytes);
        self.head.store(number + 1, Ordering::Release);
        Some(number)
    }

    /// Under the lock: whether an equal event that the worker has not read yet took this one in.
    fn count_with_equal(&self, event: &Encoded) -> bool {
        let from = self.taken.load(Ordering::Relaxed).max(self.acknowledged.load(Ordering::Relaxed));
        (from..self.head.load(Ordering::Relaxed)).any(|number| {
            // SAFETY: the lock is held.
            let entry = unsafe { &mut *self.entries[(number % RING) as usize].get() };
            let is_equal = entry.hash == event.hash
                && entry.bytes[..entry.length as usize] == event.bytes[..]
                && entry.count < i32::MAX as u32;
            entry.count += u32::from(is_equal);
            is_equal
        })
    }

    pub fn has_work(&self) -> bool {
        self.head.load(Ordering::Acquire) != self.acknowledged.load(Ordering::Acquire)
    }

    fn is_half_full(&self) -> bool {
        self.head.load(Ordering::Acquire) - self.acknowledged.load(Ordering::Acquire) >= RING / 2
    }

    /// Whether the events are to be written now: somebody waits, the ring fills, or the oldest has been gathering for long
    /// enough.
    pub fn is_due(&self) -> bool {
        let acknowledged = self.acknowledged.load(Ordering::Acquire);
        self.has_work()
            && (self.urgent.load(Ordering::Acquire) > acknowledged
                || self.is_half_full()
                || with_lock(Lock::Events, || {
                    // SAFETY: the lock is held, and the ring is not empty: only this worker empties it.
                    unsafe { (*self.entries[(acknowledged % RING) as usize].get()).recorded_at }
                }) <= backend::clock() - GATHERING_MICROSECONDS)
    }

    pub(super) fn is_written(&self, number: u64) -> bool {
        self.acknowledged.load(Ordering::Acquire) > number
    }

    fn is_idle(&self) -> bool {
        !self.has_work()
            && self.has_worker.load(Ordering::Acquire) == 0
            && self.chores.load(Ordering::Acquire) == 0
            && !self.is_held()
    }

    pub fn has_chores(&self) -> bool {
        self.chores.load(Ordering::Acquire) != 0
    }

    pub fn set_chores(&self, wanted: bool) {
        self.chores.store(u32::from(wanted), Ordering::Release);
    }

    /// Keeps workers out of the database, or lets them in again with 0.
    pub fn hold_until(&self, time: i64) {
        self.held_until.store(time, Ordering::Release);
    }

    pub fn is_held(&self) -> bool {
        self.held_until.load(Ordering::Acquire) > backend::clock()
    }

    /// The database is gone, and what was to be written in it.
    pub fn forget(&self) {
        with_lock(Lock::Events, || {
            self.acknowledged.store(self.head.load(Ordering::Relaxed), Ordering::Release);
            self.set_chores(false);
            self.database.store(0, Ordering::Relaxed);
        });
    }

    /// Events written, and given up, since the ring serves this database; and how many wait.
    pub fn counts(&self) -> [u64; 3] {
        let waiting = self.head.load(Ordering::Acquire) - self.acknowledged.load(Ordering::Acquire);
        [self.written.load(Ordering::Relaxed), self.dropped.load(Ordering::Relaxed), waiting]
    }

    pub fn database(&self) -> pg_sys::Oid {
        pg_sys::Oid::from(self.database.load(Ordering::Relaxed))
    }

    pub fn set_worker_latch(&self, latch: *mut pg_sys::Latch) {
        self.worker_latch.store(latch, Ordering::Release);
    }

    /// The events that wait, oldest first, and the number after the last.
    pub fn take(&self) -> (Vec<Waiting>, u64) {
        with_lock(Lock::Events, || {
            let (from, to) = (self.acknowledged.load(Ordering::Relaxed), self.head.load(Ordering::Relaxed));
            let events = (from..to)
                .map(|number| {
                    // SAFETY: the lock is held.
                    let entry = unsafe { &*self.entries[(number % RING) as usize].get() };
                    Waiting {
                        bytes: entry.bytes[..entry.length as usize].to_vec(),
                        recorded_at: entry.recorded_at,
                        count: entry.count,
                    }
                })
                .collect();
            self.taken.store(to, Ordering::Relaxed);
            (events, to)
        })
    }
}
