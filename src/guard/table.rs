//! The counters: a table of fixed size in shared memory, in sets of eight, under one lock that is held for nanoseconds.
//!
//! What makes room when a set is full is the counter that is furthest from its limit. One at its limit, or locked, never
//! goes: an attacker who could wash it out would guess on. Which set a subject falls into depends on a key that is new at
//! every start of the server, so nobody can aim at somebody's set.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use pgrx::prelude::*;
use ring::hmac;

use crate::config::Limit;
use crate::platform::backend;
use crate::platform::error::Result;
use crate::platform::settings;
use crate::platform::shared::{Area, Array, Lock, Zeroed, with_lock};

const WAYS: usize = 8;
/// How long after a lock its repetition lasts longer.
const REMEMBERED_MICROSECONDS: i64 = 86_400_000_000;

/// A counter's name: what it counts for whom, in which database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    counter: u64,
    subject: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Counter {
    key: u64,
    subject: u64,
    database: u32,
    /// Attempts counted, and how many of them have no outcome yet.
    count: u32,
    open: u32,
    most: u32,
    /// When the count is forgotten.
    ends_at: i64,
    locked_until: i64,
    /// How often in a row it was locked, and until when that is remembered.
    locks: u32,
    remembered_until: i64,
}

#[repr(transparent)]
pub struct Slot(UnsafeCell<Counter>);
// SAFETY: zero bytes are a free slot; read and written under the lock.
unsafe impl Zeroed for Slot {}
// SAFETY: as above.
unsafe impl Sync for Slot {}

pub static COUNTERS: Array<Slot> = Array::new(c"auth guard", slots);

fn slots() -> usize {
    (settings::GUARD_SLOTS.get() as usize).next_multiple_of(WAYS)
}

const LOADED: usize = 16_384;

#[repr(C)]
pub struct State {
    hash_key: UnsafeCell<[u8; 32]>,
    changed: UnsafeCell<pg_sys::ConditionVariable>,
    refused: AtomicU64,
    evicted: AtomicU64,
    /// Databases whose counters were read back from the audit since the server started, each at its oid modulo the length.
    loaded: [AtomicU32; LOADED],
    /// Since when somebody reads them back; 0: nobody.
    loading: [AtomicI64; LOADED],
}
// SAFETY: the key is written once by `start` and only read afterwards; the rest are atomics and a condition variable.
unsafe impl Zeroed for State {
    fn start(&'static self) {
        // SAFETY: runs once, before any backend exists.
        unsafe {
            pg_sys::ConditionVariableInit(self.changed.get());
            *self.hash_key.get() = backend::random().unwrap_or_else(|error| error.raise());
        }
    }
}
// SAFETY: see above.
unsafe impl Sync for State {}

pub static STATE: Area<State> = Area::new(c"auth guard state");

/// What came of asking for one more attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Counted,
    /// Locked or at its limit; how long still, in microseconds.
    Refused(i64),
    /// At its limit only while attempts are under way whose outcome may free it.
    Undecided,
}

/// A lock that has just begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Locked {
    pub microseconds: i64,
    pub locks: u32,
}

impl Key {
    pub fn new(purpose: &str, subject: &str, within: &str) -> Result<Key> {
        let state = STATE.require()?;
        // SAFETY: written before any backend existed.
        let hash_key = hmac::Key::new(hmac::HMAC_SHA256, unsafe { &*state.hash_key.get() });
        let hash = |parts: &[&str]| {
            let mut context = hmac::Context::with_key(&hash_key);
            context.update(&backend::database().to_u32().to_be_bytes());
            for part in parts {
                context.update(&(part.len() as u64).to_be_bytes());
                context.update(part.as_bytes());
            }
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&context.sign().as_ref()[..8]);
            // Zero marks a free slot.
            u64::from_be_bytes(bytes).max(1)
        };
        Ok(Key { counter: hash(&[purpose, subject, within]), subject: hash(&[subject]) })
    }
}

impl Counter {
    /// Forgets what time has settled.
    fn age(&mut self, now: i64) {
        if self.ends_at <= now && self.open == 0 {
            self.count = 0;
        }
        if self.remembered_until <= now {
            self.locks = 0;
        }
    }

    fn is_locked(&self, now: i64) -> bool {
        self.locked_until > now
    }

    fn is_free(&self, now: i64) -> bool {
        self.key == 0 || (self.count == 0 && self.locks == 0 && !self.is_locked(now))
    }

    fn may_go(&self, now: i64) -> bool {
        self.open == 0 && !self.is_locked(now) && self.count < self.most
    }

    /// In thousandths, how near it is to its limit.
    fn nearness(&self) -> u64 {
        u64::from(self.count) * 1000 / u64::from(self.most.max(1)) + u64::from(self.locks > 0)
    }

    fn is_full(&self, limit: &Limit) -> bool {
        self.count >= limit.most
    }
}

/// Works on a counter under the lock; `None` where there is none, or no room for a new one.
fn with_counter<T>(key: Key, is_wanted: bool, work: impl FnOnce(&mut Counter, i64) -> T) -> Result<Option<T>> {
    let slots = COUNTERS.require()?;
    let now = backend::clock();
    Ok(with_lock(Lock::Guard, || {
        let first = (key.counter as usize % (slots.len() / WAYS)) * WAYS;
        let mut room: Option<(u64, &mut Counter)> = None;
        for slot in &slots[first..first + WAYS] {
            // SAFETY: the lock is held, and each slot is looked at once.
            let counter = unsafe { &mut *slot.0.get() };
            if counter.key == key.counter {
                counter.age(now);
                return Some(work(counter, now));
            }
            if is_wanted {
                counter.age(now);
                let nearness = match () {
                    () if counter.is_free(now) => 0,
                    () if counter.may_go(now) => 1 + counter.nearness(),
                    () => continue,
                };
                if room.as_ref().is_none_or(|(least, _)| nearness < *least) {
                    room = Some((nearness, counter));
                }
            }
        }
        let (nearness, counter) = room?;
        if nearness > 0
            && let Some(state) = STATE.get()
        {
            state.evicted.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: zero bytes are a free counter.
        *counter = unsafe { std::mem::zeroed() };
        (counter.key, counter.subject) = (key.counter, key.subject);
        counter.database = backend::database().to_u32();
        Some(work(counter, now))
    }))
}

/// Counts an attempt before its outcome is known. `own` of those that are open are the caller's own and were right: they
/// are no reason to wait.
pub fn begin(key: Key, limit: &Limit, own: u32) -> Result<Verdict> {
    let verdict = with_counter(key, true, |counter, now| {
        counter.most = limit.most;
        if counter.is_locked(now) {
            return Verdict::Refused(counter.locked_until - now);
        }
        if counter.count.saturating_sub(own) >= limit.most {
            return match counter.open.saturating_sub(own) {
                0 => Verdict::Refused(counter.ends_at - now),
                _ => Verdict::Undecided,
            };
        }
        open(counter, now, limit);
        Verdict::Counted
    })?;
    // A set in which all eight are at their limits has no room: the newcomer waits for one of them.
    Ok(verdict.unwrap_or(Verdict::Refused(60_000_000)))
}

/// Counts what is given back where its transaction does not commit; `own` of those that are open are the caller's. Undecided where it
/// is others' open ones that reach the limit.
pub fn begin_revocable(key: Key, limit: &Limit, own: u32) -> Result<Verdict> {
    let verdict = with_counter(key, true, |counter, now| {
        counter.most = limit.most;
        if counter.is_full(limit) {
            return match counter.open > 0 && own == 0 {
                true => Verdict::Undecided,
                false => Verdict::Refused((counter.ends_at - now).max(0)),
            };
        }
        open(counter, now, limit);
        Verdict::Counted
    })?;
    Ok(verdict.unwrap_or(Verdict::Refused(60_000_000)))
}

/// As `begin_revocable`, beyond the limit.
pub fn begin_beyond(key: Key, limit: &Limit) -> Result<()> {
    with_counter(key, true, |counter, now| open(counter, now, limit)).map(drop)
}

fn open(counter: &mut Counter, now: i64, limit: &Limit) {
    if counter.count == 0 || limit.extends {
        counter.ends_at = now + limit.per;
    }
    counter.count += 1;
    counter.open += 1;
}

/// Its transaction committed: it stays counted.
pub fn keep(key: Key) -> Result<()> {
    with_counter(key, false, |counter, _| counter.open = counter.open.saturating_sub(1))?;
    wake();
    Ok(())
}

/// The attempt failed, or has no outcome: it stays counted. The lock that begins with it, if one does.
pub fn end_failed(key: Key, limit: &Limit, first_lock: Option<i64>) -> Result<Option<Locked>> {
    let locked = with_counter(key, true, |counter, now| {
        counter.open = counter.open.saturating_sub(1);
        counter.most = limit.most;
        match first_lock {
            Some(first_lock) if counter.is_full(limit) && counter.open == 0 && !counter.is_locked(now) => {
                Some(lock(counter, now, first_lock))
            }
            _ => None,
        }
    })?;
    wake();
    Ok(locked.flatten())
}

fn lock(counter: &mut Counter, now: i64, first: i64) -> Locked {
    let microseconds = lock_length(first, counter.locks);
    counter.locks += 1;
    counter.locked_until = now + microseconds;
    counter.remembered_until = counter.locked_until + REMEMBERED_MICROSECONDS;
    (counter.count, counter.ends_at) = (0, 0);
    Locked { microseconds, locks: counter.locks }
}

/// How long a lock lasts after this many before it: the first as configured, then the next longer of 5 minutes, 15 minutes,
/// an hour and a day.
fn lock_length(first: i64, before: u32) -> i64 {
    const STEPS: [i64; 4] = [300_000_000, 900_000_000, 3_600_000_000, 86_400_000_000];
    let mut length = first;
    for _ in 0..before.min(STEPS.len() as u32) {
        length = STEPS.into_iter().find(|step| *step > length).unwrap_or(length);
    }
    length
}

/// The attempt told nothing to anybody: as if it had not been.
pub fn take_back(key: Key) -> Result<()> {
    with_counter(key, false, |counter, _| {
        counter.open = counter.open.saturating_sub(1);
        counter.count = counter.count.saturating_sub(1);
    })?;
    wake();
    Ok(())
}

/// The subject has proved who they are: nothing is counted against them any more, but attempts still under way.
pub fn clear(key: Key) -> Result<()> {
    with_counter(key, false, |counter, _| {
        counter.open = counter.open.saturating_sub(1);
        counter.count = counter.open;
        (counter.locks, counter.remembered_until) = (0, 0);
    })?;
    wake();
    Ok(())
}

/// Whether a limit is reached; counts nothing.
pub fn is_reached(key: Key, limit: &Limit) -> Result<Option<i64>> {
    let wait = with_counter(key, false, |counter, now| {
        if counter.is_locked(now) {
            return Some(counter.locked_until - now);
        }
        // As long as some are under way their outcome may free it.
        (counter.is_full(limit) && counter.open == 0).then_some(counter.ends_at - now)
    })?;
    Ok(wait.flatten())
}

/// How many are counted, those under way included.
pub fn count_of(key: Key) -> Result<u32> {
    Ok(with_counter(key, false, |counter, _| counter.count)?.unwrap_or(0))
}

/// Counts something that has happened; a lock begins when the limit is reached.
pub fn add(key: Key, limit: &Limit, first_lock: Option<i64>) -> Result<Option<Locked>> {
    let locked = with_counter(key, true, |counter, now| {
        counter.most = limit.most;
        if counter.count == 0 || limit.extends {
            counter.ends_at = now + limit.per;
        }
        counter.count = counter.count.saturating_add(1);
        match first_lock {
            Some(first_lock) if counter.is_full(limit) && !counter.is_locked(now) => {
                Some(lock(counter, now, first_lock))
            }
            _ => None,
        }
    })?;
    Ok(locked.flatten())
}

/// What the audit remembers of a counter after a restart.
#[derive(Default, Clone, Copy)]
pub struct Remembered {
    pub count: u32,
    pub ends_at: i64,
    pub locked_until: i64,
    pub locks: u32,
}

/// Puts back what the audit remembers, where it is more than what is known already.
pub fn restore(key: Key, limit: &Limit, remembered: &Remembered) -> Result<()> {
    let state = STATE.require()?;
    let oid = backend::database().to_u32();
    with_counter(key, true, |counter, now| {
        // Somebody else was faster, and since then counters may have been cleared.
        if state.is_loaded(oid) {
            return;
        }
        counter.most = limit.most;
        if remembered.ends_at > now && remembered.count > counter.count {
            (counter.count, counter.ends_at) = (remembered.count, remembered.ends_at);
        }
        if remembered.locks > counter.locks {
            counter.locks = remembered.locks;
            counter.locked_until = remembered.locked_until;
            counter.remembered_until = remembered.locked_until + REMEMBERED_MICROSECONDS;
        }
    })
    .map(drop)
}

/// Forgets every counter of a subject in this database; how many there were.
pub fn reset(subject: Key) -> Result<i64> {
    let slots = COUNTERS.require()?;
    let database = backend::database().to_u32();
    let forgotten = with_lock(Lock::Guard, || {
        let mut forgotten = 0;
        for slot in slots {
            // SAFETY: the lock is held.
            let counter = unsafe { &mut *slot.0.get() };
            if counter.key != 0 && counter.subject == subject.subject && counter.database == database {
                // Attempts under way find no counter when they end, and make none where they succeed.
                // SAFETY: zero bytes are a free counter.
                *counter = unsafe { std::mem::zeroed() };
                forgotten += 1;
            }
        }
        forgotten
    });
    wake();
    Ok(forgotten)
}

/// Slots there are, and of this database: counters in use and locked ones.
pub fn usage() -> Result<[i64; 3]> {
    let slots = COUNTERS.require()?;
    let (database, now) = (backend::database().to_u32(), backend::clock());
    Ok(with_lock(Lock::Guard, || {
        let mut usage = [slots.len() as i64, 0, 0];
        for slot in slots {
            // SAFETY: the lock is held.
            let counter = unsafe { &mut *slot.0.get() };
            counter.age(now);
            if counter.database == database && !counter.is_free(now) {
                usage[1] += 1;
                usage[2] += i64::from(counter.is_locked(now));
            }
        }
        usage
    }))
}

/// Refusals, and counters that made room for others, of all databases since the server started.
pub fn totals() -> Result<[u64; 2]> {
    let state = STATE.require()?;
    Ok([state.refused.load(Ordering::Relaxed), state.evicted.load(Ordering::Relaxed)])
}

pub fn count_refusal() {
    if let Some(state) = STATE.get() {
        state.refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl State {
    fn is_loaded(&self, oid: u32) -> bool {
        self.loaded[oid as usize % LOADED].load(Ordering::Acquire) == oid
    }
}

/// Whether this database's counters were read back since the server started.
pub fn is_loaded() -> Result<bool> {
    Ok(STATE.require()?.is_loaded(backend::database().to_u32()))
}

/// Counters that this server has room for.
pub fn capacity() -> i64 {
    slots() as i64
}

/// Waits while another backend reads this database's counters back; whether it has done so.
pub fn is_loaded_by_another(microseconds: i64) -> Result<bool> {
    let state = STATE.require()?;
    let oid = backend::database().to_u32();
    let since = &state.loading[oid as usize % LOADED];
    let verdict = wait_for(microseconds, || {
        let since = since.load(Ordering::Acquire);
        // Whoever began and is gone without a word is not waited for.
        let is_waiting = since != 0 && since > backend::clock() - microseconds && !state.is_loaded(oid);
        Ok(if is_waiting { Verdict::Undecided } else { Verdict::Counted })
    })?;
    Ok(verdict == Verdict::Counted && state.is_loaded(oid))
}

/// Says that this backend reads the counters back, until it is dropped.
pub struct Loading(&'static AtomicI64);

impl Loading {
    pub fn begin() -> Result<Loading> {
        let since = &STATE.require()?.loading[backend::database().to_u32() as usize % LOADED];
        since.store(backend::clock(), Ordering::Release);
        Ok(Loading(since))
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
        wake();
    }
}

pub fn set_loaded() -> Result<()> {
    let state = STATE.require()?;
    let oid = backend::database().to_u32();
    with_lock(Lock::Guard, || state.loaded[oid as usize % LOADED].store(oid, Ordering::Release));
    Ok(())
}

fn wake() {
    if let Some(state) = STATE.get() {
        // SAFETY: initialised at start.
        unsafe { pg_sys::ConditionVariableBroadcast(state.changed.get()) };
    }
}

/// Asks again whenever some attempt has ended, for at most `microseconds`; cancellable.
pub fn wait_for(microseconds: i64, mut ask: impl FnMut() -> Result<Verdict>) -> Result<Verdict> {
    let state = STATE.require()?;
    let deadline = backend::clock() + microseconds;
    // SAFETY: the condition variable is initialised; the timed sleep checks for interrupts, and an ERROR cancels the sleep
    // in transaction abort.
    unsafe {
        pg_sys::ConditionVariablePrepareToSleep(state.changed.get());
        let verdict = loop {
            let verdict = ask();
            if !matches!(verdict, Ok(Verdict::Undecided)) || backend::clock() >= deadline {
                break verdict;
            }
            pg_sys::ConditionVariableTimedSleep(state.changed.get(), 100, pg_sys::PG_WAIT_EXTENSION);
        };
        pg_sys::ConditionVariableCancelSleep();
        verdict
    }
}
