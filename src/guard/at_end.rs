//! Counts that the end of a (sub)transaction decides.

use std::cell::RefCell;

use pgrx::pg_sys;

use super::table::{self, Key};

/// What becomes of a count.
#[derive(Clone, Copy, PartialEq)]
pub enum AtEnd {
    /// A commit keeps it; else it is given back.
    Keep,
    /// A commit clears it; else it stays.
    Clear,
}

struct Pending {
    subtransaction: pg_sys::SubTransactionId,
    key: Key,
    then: AtEnd,
}

thread_local! {
    static PENDING: RefCell<Vec<Pending>> = const { RefCell::new(Vec::new()) };
}

pub fn note(key: Key, then: AtEnd) {
    super::attempt::follow_transactions();
    // SAFETY: reads the transaction's state.
    let subtransaction = unsafe { pg_sys::GetCurrentSubTransactionId() };
    PENDING.with_borrow_mut(|all| all.push(Pending { subtransaction, key, then }));
}

/// How many counts of this transaction's own a commit keeps.
pub fn to_keep(key: Key) -> u32 {
    PENDING.with_borrow(|all| all.iter().filter(|own| own.key == key && own.then == AtEnd::Keep).count() as u32)
}

pub fn transaction_ends(is_commit: bool) {
    PENDING.take().iter().for_each(|own| end(own, is_commit));
}

pub fn subtransaction_commits(current: pg_sys::SubTransactionId, parent: pg_sys::SubTransactionId) {
    PENDING.with_borrow_mut(|all| {
        all.iter_mut().filter(|own| own.subtransaction == current).for_each(|own| own.subtransaction = parent);
    });
}

pub fn subtransaction_aborts(current: pg_sys::SubTransactionId) {
    let (ended, kept): (Vec<Pending>, Vec<Pending>) =
        PENDING.take().into_iter().partition(|own| own.subtransaction == current);
    PENDING.set(kept);
    ended.iter().for_each(|own| end(own, false));
}

/// Nothing may fail here any more.
fn end(own: &Pending, is_commit: bool) {
    drop(match (own.then, is_commit) {
        (AtEnd::Keep, true) => table::keep(own.key),
        (AtEnd::Keep, false) => table::take_back(own.key),
        (AtEnd::Clear, true) => table::clear(own.key),
        (AtEnd::Clear, false) => Ok(()),
    });
}
