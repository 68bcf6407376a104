//! The settings that a token arrives in, and which transaction set them.
//!
//! A value of an earlier transaction is ignored: behind a transaction pooler it is another client's. The stamp travels
//! with the value (`extra`), so ROLLBACK TO brings back value and stamp together; stamping at assignment would let it
//! revive a stale token. A parallel worker runs the hooks again in a transaction of its own and cannot know, so it
//! compares its leader's stamp, in shared memory, with its leader's transaction.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::atomic::{AtomicU32, Ordering};

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::prelude::*;

use crate::platform::backend::{transaction, transaction_of};
use crate::platform::shared::{Area, Zeroed};
use crate::platform::{settings, silence};

#[derive(Clone, Copy)]
pub enum Carrier {
    /// `auth.token`: the token itself.
    Token,
    /// `request.headers`, as PostgREST sets it: a JSON object with the raw bearer in `authorization`.
    Headers,
    /// `request.jwt.claims`: believed only from logins in `auth.trusted_proxies`.
    Claims,
}

const CARRIERS: usize = 3;

static TOKEN: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static HEADERS: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static CLAIMS: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// MAX_BACKENDS of Postgres: MaxBackends itself is not known yet where 14 wants the size. Untouched pages cost nothing.
const MAX_BACKENDS: usize = 0x3_FFFF + 1;

#[repr(C)]
pub struct Stamps {
    leaders: [[AtomicU32; CARRIERS]; MAX_BACKENDS],
}
// SAFETY: atomics only.
unsafe impl Zeroed for Stamps {}

pub static STAMPS: Area<Stamps> = Area::new(c"auth stamps");

/// No transaction has this local id.
const NEVER: u32 = 0;
/// Set by auth.authenticate_session: good in every transaction of the connection.
const SESSION: u32 = u32::MAX;

struct Local {
    /// Bumped at every assignment of a carrier.
    epoch: Cell<u64>,
    stamps: [Cell<u32>; CARRIERS],
    /// While auth.authenticate_session assigns.
    for_session: Cell<bool>,
}
// SAFETY: a backend has one thread.
unsafe impl Sync for Local {}
static LOCAL: Local =
    Local { epoch: Cell::new(1), stamps: [const { Cell::new(NEVER) }; CARRIERS], for_session: Cell::new(false) };

/// Changes whenever a carrier was assigned, also by ROLLBACK.
#[inline]
pub fn epoch() -> u64 {
    LOCAL.epoch.get()
}

unsafe fn number_of(process: *mut pg_sys::PGPROC) -> usize {
    // SAFETY: the caller gives a live entry of shared memory.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16"))]
        return (*process).backendId as usize;
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        return (*process).vxid.procNumber as usize;
    }
}

/// Value of `auth.token` that says: nobody, whatever the other carriers hold.
pub const NOBODY: &str = "-";

/// The carrier's value, if it was set in this very transaction and is not empty.
pub fn value(carrier: Carrier) -> Option<CString> {
    let setting = match carrier {
        Carrier::Token => &TOKEN,
        Carrier::Headers => &HEADERS,
        Carrier::Claims => &CLAIMS,
    };
    is_of_this_transaction(carrier).then(|| setting.get()).flatten().filter(|value| !value.is_empty())
}

fn is_of_this_transaction(carrier: Carrier) -> bool {
    // SAFETY: MyProc and, in a worker, its leader's entry are live.
    let (stamp, transaction) = unsafe {
        if pg_sys::ParallelWorkerNumber >= 0 {
            let leader = (*pg_sys::MyProc).lockGroupLeader;
            if leader.is_null() {
                return false;
            }
            (shared_stamp(leader, carrier), transaction_of(leader))
        } else {
            (LOCAL.stamps[carrier as usize].get(), transaction())
        }
    };
    stamp == SESSION || (stamp != NEVER && stamp == transaction)
}

unsafe fn shared_stamp(process: *mut pg_sys::PGPROC, carrier: Carrier) -> u32 {
    // SAFETY: as the caller.
    let number = unsafe { number_of(process) };
    STAMPS.get().map_or(NEVER, |stamps| stamps.leaders[number][carrier as usize].load(Ordering::Acquire))
}

/// Runs `assign`; what it sets is good for the whole connection.
pub fn for_session<T>(assign: impl FnOnce() -> T) -> T {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            LOCAL.for_session.set(false);
        }
    }
    let _reset = Reset;
    LOCAL.for_session.set(true);
    assign()
}

/// The check hook accepts every text and the reader judges it: a hook that refused would turn garbage that was set before
/// the library was loaded into NULL, and in a parallel worker it would print the token in the error's context.
unsafe extern "C-unwind" fn stamp_value(
    _new: *mut *mut c_char,
    extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    let stamp = if LOCAL.for_session.get() {
        SESSION
    } else {
        // SAFETY: in the postmaster, and before a backend has its entry, there is none.
        unsafe { if pg_sys::MyProc.is_null() { NEVER } else { transaction() } }
    };
    // SAFETY: the memory is freed by the setting's machinery, with the allocator that the version uses.
    unsafe {
        let place = allocate(std::mem::size_of::<u32>()).cast::<u32>();
        if place.is_null() {
            return false;
        }
        place.write(stamp);
        *extra = place.cast();
    }
    true
}

unsafe fn allocate(size: usize) -> *mut c_void {
    // SAFETY: plain allocation; null when there is no memory.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        return libc::malloc(size);
        #[cfg(any(feature = "pg16", feature = "pg17", feature = "pg18"))]
        return pg_sys::guc_malloc(pg_sys::LOG as i32, size);
    }
}

fn assigned(carrier: Carrier, extra: *mut c_void) {
    // SAFETY: `extra` is what the check hook made, or null for the boot value.
    let stamp = if extra.is_null() { NEVER } else { unsafe { *extra.cast::<u32>() } };
    LOCAL.epoch.set(LOCAL.epoch.get() + 1);
    LOCAL.stamps[carrier as usize].set(stamp);
    if !matches!(carrier, Carrier::Claims) {
        silence::token_is_set();
    }
    // SAFETY: a worker's own stamps mean nothing; a leader writes only its own entry.
    unsafe {
        if !pg_sys::MyProc.is_null()
            && pg_sys::ParallelWorkerNumber < 0
            && let Some(stamps) = STAMPS.get()
            && let Some(mine) = stamps.leaders.get(number_of(pg_sys::MyProc))
        {
            mine[carrier as usize].store(stamp, Ordering::Release);
        }
    }
}

unsafe extern "C-unwind" fn assign_token(_value: *const c_char, extra: *mut c_void) {
    assigned(Carrier::Token, extra);
}
unsafe extern "C-unwind" fn assign_headers(_value: *const c_char, extra: *mut c_void) {
    assigned(Carrier::Headers, extra);
}
unsafe extern "C-unwind" fn assign_claims(_value: *const c_char, extra: *mut c_void) {
    assigned(Carrier::Claims, extra);
}

/// SHOW never shows a token.
unsafe extern "C-unwind" fn show_token() -> *const c_char {
    let is_set = TOKEN.get().is_some_and(|token| !token.is_empty());
    if is_set { c"<set>".as_ptr() } else { c"".as_ptr() }
}

/// From `_PG_init`, once; after every other setting of ours, because it reserves the prefix.
pub fn define_settings() {
    let define = |name: &'static CStr, summary: &'static CStr, setting, flags, assign, show| {
        // SAFETY: the hooks keep to what one may do in them.
        unsafe {
            GucRegistry::define_string_guc_with_hooks(
                name,
                summary,
                c"",
                setting,
                GucContext::Userset,
                flags,
                Some(stamp_value),
                Some(assign),
                show,
            );
        }
    };
    define(
        c"auth.token",
        c"Access token of the current transaction's user.",
        &TOKEN,
        GucFlags::NO_SHOW_ALL | GucFlags::DISALLOW_IN_FILE | GucFlags::NOT_WHILE_SEC_REST,
        assign_token as unsafe extern "C-unwind" fn(*const c_char, *mut c_void),
        Some(show_token as unsafe extern "C-unwind" fn() -> *const c_char),
    );
    define(
        c"request.headers",
        c"HTTP headers of the request, as PostgREST sets them.",
        &HEADERS,
        GucFlags::NO_SHOW_ALL | GucFlags::DISALLOW_IN_FILE,
        assign_headers,
        None,
    );
    define(
        c"request.jwt.claims",
        c"Claims of the request, as PostgREST sets them; believed only from auth.trusted_proxies.",
        &CLAIMS,
        GucFlags::NO_SHOW_ALL | GucFlags::DISALLOW_IN_FILE,
        assign_claims,
        None,
    );
    settings::define();
    #[cfg(not(feature = "pg14"))]
    // SAFETY: a C string; after all definitions.
    unsafe {
        pg_sys::MarkGUCPrefixReserved(c"auth".as_ptr());
    }
    #[cfg(feature = "pg14")]
    // SAFETY: a C string; after all definitions.
    unsafe {
        pg_sys::EmitWarningsOnPlaceholders(c"auth".as_ptr());
    }
}
