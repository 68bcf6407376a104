//! No password in the server's log: a refusal at default settings would print the whole statement, literals included.
//!
//! The hook runs when the ERROR has already left our code, so a statement that entered one of our functions is remembered
//! by its start time; one that failed before (a typo in an argument) is known by naming such a function.

use std::cell::Cell;
use std::ffi::{CStr, c_char};

use pgrx::prelude::*;

struct State {
    secret_statement: Cell<i64>,
    previous: Cell<pg_sys::emit_log_hook_type>,
}
// SAFETY: a backend has one thread.
unsafe impl Sync for State {}
static STATE: State = State { secret_statement: Cell::new(i64::MIN), previous: Cell::new(None) };

/// Functions that take a password, a token or a code.
const SECRET_TAKING: &[&[u8]] = &[
    b"sign_up",
    b"sign_in",
    b"refresh",
    b"authenticate",
    b"verify_token",
    b"import_signing_key",
    b"auth.token",
    b"request.headers",
];

/// From `_PG_init` while the postmaster preloads, once.
pub fn install() {
    // SAFETY: the postmaster has one thread; the hook is chained.
    unsafe {
        STATE.previous.set(pg_sys::emit_log_hook);
        pg_sys::emit_log_hook = Some(on_log);
    }
}

/// First thing in every function that takes a secret: the current statement is neither for the log nor, with a secret
/// written into it, for pg_stat_activity, where every connection of the same login reads it.
pub fn call_is_secret() {
    statement_is_secret();
    // SAFETY: debug_query_string is null or a C string; the report copies what it is given.
    unsafe {
        let text = pg_sys::debug_query_string;
        if !text.is_null() && CStr::from_ptr(text).to_bytes().contains(&b'\'') {
            pg_sys::pgstat_report_activity(
                pg_sys::BackendState::STATE_RUNNING,
                c"<hidden by extension auth: it may hold a secret>".as_ptr(),
            );
        }
    }
}

/// The current statement has set a token, or may have: it is not for the log.
pub fn statement_is_secret() {
    STATE.secret_statement.set(super::backend::statement_time());
}

/// Runs inside error reporting: it may not raise, allocate or panic.
unsafe extern "C-unwind" fn on_log(report: *mut pg_sys::ErrorData) {
    // SAFETY: Postgres hands a valid report; the strings are its own or null.
    unsafe {
        if is_secret(report) {
            (*report).hide_stmt = true;
            // The context quotes the statement of a DO block or of a function that called us.
            (*report).hide_ctx = true;
            // The QUERY line of an error inside a function's own statement.
            (*report).internalquery = std::ptr::null_mut();
            (*report).internalpos = 0;
        }
        if let Some(previous) = STATE.previous.get() {
            previous(report);
        }
    }
}

unsafe fn is_secret(report: *mut pg_sys::ErrorData) -> bool {
    unsafe extern "C" {
        // Unguarded on purpose: it only reads a static, and a guard would allocate.
        fn GetCurrentStatementStartTimestamp() -> i64;
    }
    // SAFETY: as above; debug_query_string is null or a C string.
    unsafe {
        STATE.secret_statement.get() == GetCurrentStatementStartTimestamp()
            || names_secret(pg_sys::debug_query_string)
            || names_secret((*report).internalquery)
    }
}

unsafe fn names_secret(text: *const c_char) -> bool {
    if text.is_null() {
        return false;
    }
    // SAFETY: not null, ends with NUL.
    let text = unsafe { CStr::from_ptr(text) }.to_bytes();
    SECRET_TAKING.iter().any(|name| text.windows(name.len()).any(|window| window.eq_ignore_ascii_case(name)))
}
