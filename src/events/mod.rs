//! Events: what must be written although the caller's transaction may roll back. The worker writes them in its own.
//!
//! A ring for each database in shared memory. A slot is free again only once the worker has committed it, so an aborted
//! batch is tried again. Whoever needs durability waits for that, at most a second, and is refused otherwise; what need not
//! be waited for may stay in the ring for a second, and equal events become one with a count.

mod ring;

use std::hash::{DefaultHasher, Hash, Hasher};

use pgrx::prelude::*;
use serde_json::Value;

pub use ring::{DATABASES, RINGS, Ring, Rings, Waiting};

use crate::platform::backend;
use crate::platform::error::{Error, Result};

const LONGEST_WAIT_MICROSECONDS: i64 = 1_000_000;

/// A row for one of the tables that the worker writes, without its time and count.
pub struct Event {
    pub table: &'static str,
    pub row: Value,
}

impl Event {
    fn encoded(&self) -> Encoded {
        let bytes = serde_json::json!([self.table, self.row]).to_string().into_bytes();
        // Only compared within one ring, as a short cut before the bytes themselves.
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Encoded { hash: hasher.finish(), bytes }
    }
}

struct Encoded {
    hash: u64,
    bytes: Vec<u8>,
}

/// Writes events beside the caller's transaction and waits until they are durable.
pub fn write_durably(events: &[Event]) -> Result<()> {
    let rings = RINGS.require()?;
    // On a standby there is no worker, and an event that waited would be written after a promotion.
    backend::must_write()?;
    let mut encoded = events.iter().map(Event::encoded).peekable();
    let deadline = backend::clock() + LONGEST_WAIT_MICROSECONDS;
    let mut tickets: Vec<(usize, u64)> = Vec::new();
    // SAFETY: the condition variable is initialised; ConditionVariableTimedSleep checks for interrupts, and an ERROR cancels
    // the sleep in transaction abort.
    unsafe {
        pg_sys::ConditionVariablePrepareToSleep(rings.committed());
        loop {
            while let Some(event) = encoded.peek() {
                let Some(number) = rings.append(backend::database(), event)? else { break };
                tickets.push(number);
                encoded.next();
            }
            if let Some((place, _)) = tickets.last() {
                rings.wake(*place);
            }
            let mut outcomes = tickets.iter().map(|(place, number)| rings.ring(*place).outcome(*number));
            if encoded.peek().is_none() && outcomes.clone().all(|outcome| outcome.is_some()) {
                pg_sys::ConditionVariableCancelSleep();
                return if outcomes.all(|outcome| outcome == Some(true)) {
                    Ok(())
                } else {
                    Err(Error::WorkerUnavailable)
                };
            }
            if backend::clock() >= deadline {
                pg_sys::ConditionVariableCancelSleep();
                return Err(Error::WorkerUnavailable);
            }
            pg_sys::ConditionVariableTimedSleep(rings.committed(), 50, pg_sys::PG_WAIT_EXTENSION);
        }
    }
}

/// Writes an event beside the caller's transaction without waiting; also in a transaction that is being aborted. Lost, and
/// counted as lost, where the ring is full, and where the server dies within the next second.
pub fn write_soon(event: &Event) {
    if let Some(rings) = RINGS.get() {
        rings.append_or_count(backend::database(), &event.encoded());
    }
}

/// There is something for the worker to do besides events: the audit to seal, old rows to remove.
pub fn want_chores() {
    if let Some(rings) = RINGS.get() {
        rings.want_chores(backend::database());
    }
}
