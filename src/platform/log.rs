//! What extension auth decided, in the server's log, where `auth.log_level` asks for it.
//!
//! Only the log, never the client. Ids, addresses and code words; never a password, a token or a key, so a caller passes what
//! it wants to say and not the value that it was given.

use std::ffi::{CString, c_char};

use pgrx::prelude::*;
use uuid::Uuid;

use super::error::{Error, Result};
use super::settings::{LOG_LEVEL, LogLevel};

/// How a flow ended.
#[inline]
pub fn info(message: impl FnOnce() -> String) {
    if LOG_LEVEL.get() >= LogLevel::Info {
        write(message());
    }
}

/// What it was made of.
#[inline]
pub fn debug(message: impl FnOnce() -> String) {
    if LOG_LEVEL.get() >= LogLevel::Debug {
        write(message());
    }
}

/// One line for a call: the function, whose it was as far as that is known, and `ok` or the code word of the refusal.
#[inline]
pub fn outcome<T>(function: &str, user_id: Option<Uuid>, result: &Result<T>) {
    info(|| format!("{function}: user {}: {}", name(user_id), word(result)));
}

pub fn name(id: Option<Uuid>) -> String {
    id.map_or_else(|| "unknown".to_string(), |id| id.to_string())
}

pub fn word<T>(result: &Result<T>) -> &'static str {
    result.as_ref().map_or_else(Error::code, |_| "ok")
}

unsafe extern "C-unwind" {
    // pgrx keeps them to itself. Below ERROR both return.
    fn errstart(level: i32, domain: *const c_char) -> bool;
    fn errfinish(file: *const c_char, line: i32, function: *const c_char);
}

#[cold]
fn write(message: String) {
    let Ok(message) = CString::new(message) else { return };
    // SAFETY: the arguments fit the formats; below ERROR the report returns.
    unsafe {
        if errstart(PgLogLevel::LOG_SERVER_ONLY as i32, std::ptr::null()) {
            pg_sys::errmsg_internal(c"auth: %s".as_ptr(), message.as_ptr());
            pg_sys::errhidestmt(true);
            pg_sys::errhidecontext(true);
            errfinish(c"".as_ptr(), 0, c"".as_ptr());
        }
    }
}
