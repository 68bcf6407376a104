//! The answer that a policy asks for each row: kept while nothing can have changed it.
//!
//! `auth.uid()` is a V1 function by hand: pgrx's wrapper costs three times the comparison that it is used in. What is kept
//! is good within one statement of one transaction, as long as no carrier was assigned, no key changed and no second has
//! passed: a DO loop holds the statement's start still, and a session revoked meanwhile must die in it too.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pgrx::prelude::*;
use serde_json::Value;

use super::carrier::{self, Carrier};
use super::verify::{self, Identity};
use crate::platform::backend;
use crate::platform::error::{Error, Result};
use crate::platform::relation;

/// How long an answer is good inside one statement.
const RECHECK_NANOSECONDS: i64 = 1_000_000_000;

struct Fast {
    epoch: Cell<u64>,
    generation: Cell<u64>,
    transaction: Cell<u32>,
    statement: Cell<i64>,
    recheck_at: Cell<i64>,
    /// Sixteen bytes that live as long as the transaction, or null for no user.
    user_id: Cell<*mut [u8; 16]>,
    /// The transaction that `user_id` was allocated in.
    allocated_in: Cell<u32>,
}
// SAFETY: a backend has one thread.
unsafe impl Sync for Fast {}
static FAST: Fast = Fast {
    epoch: Cell::new(0),
    generation: Cell::new(0),
    transaction: Cell::new(0),
    statement: Cell::new(0),
    recheck_at: Cell::new(0),
    user_id: Cell::new(std::ptr::null_mut()),
    allocated_in: Cell::new(0),
};

thread_local! {
    static IDENTITY: RefCell<Option<Rc<Identity>>> = const { RefCell::new(None) };
}

unsafe extern "C" {
    // Unguarded on purpose, a guard costs more than the call: it reads a static and cannot raise.
    #[link_name = "GetCurrentStatementStartTimestamp"]
    fn statement_start() -> i64;
}

#[inline]
fn coarse_clock() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the struct; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

#[inline]
fn is_fresh() -> bool {
    FAST.epoch.get() == carrier::epoch()
        && FAST.generation.get() == relation::generation()
        && FAST.transaction.get() == backend::transaction()
        // SAFETY: see the declaration.
        && FAST.statement.get() == unsafe { statement_start() }
        && coarse_clock() < FAST.recheck_at.get()
}

/// Who is asking; refuses a token that is not good.
pub fn current() -> Result<Option<Rc<Identity>>> {
    if !is_fresh() {
        resolve()?;
    }
    Ok(IDENTITY.with_borrow(Option::clone))
}

fn resolve() -> Result<()> {
    // What is kept counts as stale until this is through.
    FAST.statement.set(i64::MIN);
    verify::hear_news();
    let (epoch, generation) = (carrier::epoch(), relation::generation());
    let recheck_at = coarse_clock() + RECHECK_NANOSECONDS;
    let identity = from_carriers()?;
    keep_user_id(identity.as_ref().and_then(|identity| identity.user_id()).map(|id| id.into_bytes()));
    IDENTITY.set(identity);
    FAST.epoch.set(epoch);
    FAST.generation.set(generation);
    FAST.transaction.set(backend::transaction());
    FAST.recheck_at.set(recheck_at);
    FAST.statement.set(backend::statement_time());
    Ok(())
}

fn from_carriers() -> Result<Option<Rc<Identity>>> {
    if let Some(token) = carrier::value(Carrier::Token) {
        if token.to_bytes() == carrier::NOBODY.as_bytes() {
            return Ok(None);
        }
        return verify::accept(utf8(&token)?).map(Some);
    }
    if let Some(bearer) = request_bearer()? {
        return verify::accept(&bearer).map(Some);
    }
    if let Some(claims) = carrier::value(Carrier::Claims)
        && backend::is_trusted_proxy()
    {
        return verify::trusted(utf8(&claims)?)?.map(verify::standing).transpose();
    }
    Ok(None)
}

fn utf8(text: &std::ffi::CStr) -> Result<&str> {
    text.to_str().map_err(|_| Error::BadJwt("is not well formed"))
}

/// The bearer of the request that PostgREST has described in this transaction.
pub fn request_bearer() -> Result<Option<String>> {
    match carrier::value(Carrier::Headers) {
        Some(headers) => bearer(utf8(&headers)?),
        None => Ok(None),
    }
}

/// The bearer of RFC 6750 section 2.1; other schemes say nothing about a user of ours.
fn bearer(headers: &str) -> Result<Option<String>> {
    let headers: Value =
        serde_json::from_str(headers).map_err(|_| Error::BadJwt("came in headers that are no JSON"))?;
    let authorization = headers.get("authorization").and_then(Value::as_str).unwrap_or_default();
    let (scheme, token) = authorization.split_once(' ').unwrap_or((authorization, ""));
    Ok((scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.trim().to_string()))
}

/// A pointer that is handed out must outlive the expression, even if the token changes inside it: so the bytes are never
/// overwritten, only left behind until the transaction ends.
fn keep_user_id(user_id: Option<[u8; 16]>) {
    let Some(user_id) = user_id else {
        FAST.user_id.set(std::ptr::null_mut());
        return;
    };
    let kept = FAST.user_id.get();
    let transaction = backend::transaction();
    // SAFETY: the memory is that of this transaction, so it is alive.
    if !kept.is_null() && FAST.allocated_in.get() == transaction && unsafe { *kept } == user_id {
        return;
    }
    // SAFETY: the context lives until the transaction ends, and what points here is not looked at in another one.
    let place = unsafe {
        let place = pg_sys::MemoryContextAlloc(pg_sys::TopTransactionContext, 16).cast::<[u8; 16]>();
        place.write(user_id);
        place
    };
    FAST.user_id.set(place);
    FAST.allocated_in.set(transaction);
}

#[pg_guard]
#[inline(never)]
unsafe extern "C-unwind" fn resolve_guarded() {
    if let Err(error) = resolve() {
        error.raise();
    }
}

static FINFO: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };

#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_uid() -> &'static pg_sys::Pg_finfo_record {
    &FINFO
}

/// `auth.uid()`.
///
/// # Safety
/// Postgres calls it with a valid call record.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn uid(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: as above; the guarded function turns a Rust panic into an ERROR.
    unsafe {
        if !is_fresh() {
            resolve_guarded();
        }
        let user_id = FAST.user_id.get();
        if user_id.is_null() {
            (*fcinfo).isnull = true;
        }
        pg_sys::Datum::from(user_id)
    }
}
