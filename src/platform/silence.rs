//! No password and no token in the server's log, whatever it is told to write, nor in the activity that others can see.
//!
//! Most lines are written before our code runs or after it: `statement:` before, `duration:` and an error's STATEMENT after.
//! So a statement is secret if one of our functions ran in it, which is remembered by its start time, or if its text names
//! one. `redact` then changes the report; what it cannot reach stands in `docs/security.md`.

use std::cell::Cell;
use std::ffi::{CStr, c_char};

use auth_core::statement;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::error::{Error, Result};
use super::settings::{self, LiteralPasswords};

mod redact;

struct State {
    secret_statement: Cell<i64>,
    is_redacting: Cell<bool>,
    previous: Cell<pg_sys::emit_log_hook_type>,
}
// SAFETY: a backend has one thread.
unsafe impl Sync for State {}
static STATE: State =
    State { secret_statement: Cell::new(i64::MIN), is_redacting: Cell::new(false), previous: Cell::new(None) };

/// Functions that take a password, a token, a code or a key.
const SECRET_TAKING: &[&[u8]] = &[
    b"sign_up",
    b"sign_in",
    b"refresh",
    b"authenticate",
    b"authenticate_session",
    b"verify_token",
    b"import_signing_key",
    b"update_password",
    b"convert_anonymous",
    b"admin_create_user",
    b"admin_update_user",
    b"admin_generate_link",
    b"verify_otp",
    b"verify_sms_otp",
    b"enroll_sms",
    b"enroll_totp",
    b"start_passkey_registration",
    b"confirm_sms",
    b"send_mfa_sms",
    b"verify_sign_up",
    b"verify_link",
    b"look_up_link",
    b"exchange_code",
    b"reset_password",
    b"reset_password_with_code",
    b"update_email",
    b"update_phone",
    b"verify_totp",
    b"confirm_totp",
    b"disable_totp",
    b"finish_passkey_sign_in",
    b"finish_passkey_sign_up",
    b"enroll_webauthn",
    b"challenge_webauthn",
    b"verify_webauthn",
];
const SECRET_SETTINGS: &[(&[u8], &[u8])] = &[(b"auth", b"token"), (b"request", b"headers")];

const HIDDEN: &CStr = c"<hidden by extension auth: it may hold a secret>";

unsafe extern "C" {
    // Unguarded on purpose: a guard allocates, and none of them raises for what it is given here.
    fn GetCurrentStatementStartTimestamp() -> i64;
    fn IsTransactionState() -> bool;
    fn pgstat_report_activity(state: pg_sys::BackendState::Type, text: *const c_char);
    fn FetchPreparedStatement(name: *const c_char, throw: bool) -> *mut pg_sys::PreparedStatement;
}

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
    STATE.secret_statement.set(super::backend::statement_time());
    // SAFETY: debug_query_string is null or a C string.
    if unsafe { text_of(pg_sys::debug_query_string) }.is_some_and(may_have_literals) {
        hide_activity();
    }
}

/// A token is being put into a setting. At the end of a transaction the earlier value comes back, which says nothing about
/// the statement that ended it.
pub fn token_is_set() {
    // SAFETY: both read statics of the backend.
    unsafe {
        if IsTransactionState() && pg_sys::ParallelWorkerNumber < 0 {
            STATE.secret_statement.set(GetCurrentStatementStartTimestamp());
        }
    }
}

/// Whether a password may stand in the statement's text, as `auth.literal_passwords` says.
pub fn check_literal(password: &str) -> Result<()> {
    const WHAT: &str = "the password is written into the statement";
    const HINT: &str = "give it as a bound parameter: select auth.sign_in($1, $2); a text is shown in more places";
    let answer = settings::LITERAL_PASSWORDS.get();
    if answer == LiteralPasswords::Allow {
        return Ok(());
    }
    // SAFETY: debug_query_string is null or a C string.
    let text = unsafe { text_of(pg_sys::debug_query_string) };
    if !text.is_some_and(|text| statement::has_literal(text, password.as_bytes())) {
        return Ok(());
    }
    if answer == LiteralPasswords::Reject {
        return Err(Error::invalid(WHAT, HINT));
    }
    ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, WHAT, "auth").set_hint(HINT).report(PgLogLevel::WARNING);
    Ok(())
}

/// Runs inside error reporting: it may not raise, allocate with Rust's allocator, or panic.
unsafe extern "C-unwind" fn on_log(report: *mut pg_sys::ErrorData) {
    // SAFETY: Postgres hands a valid report; the strings are its own or null.
    unsafe {
        if !STATE.is_redacting.replace(true) {
            let is_named = names_secret(pg_sys::debug_query_string);
            let has_run = STATE.secret_statement.get() == GetCurrentStatementStartTimestamp();
            redact::redact(&mut *report, is_named || has_run || names_secret((*report).internalquery));
            // A statement that fails before our code runs would be shown until the next one.
            if is_named && (*report).elevel >= PgLogLevel::ERROR as i32 {
                hide_activity();
            }
            STATE.is_redacting.set(false);
        }
        if let Some(previous) = STATE.previous.get() {
            previous(report);
        }
    }
}

fn hide_activity() {
    // SAFETY: the text is copied into this backend's entry, if it has one.
    unsafe { pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, HIDDEN.as_ptr()) }
}

/// A quote, or a dollar that begins no parameter.
fn may_have_literals(text: &[u8]) -> bool {
    text.contains(&b'\'') || text.windows(2).any(|pair| matches!(pair, [b'$', next] if !next.is_ascii_digit()))
}

unsafe fn text_of<'a>(text: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: the caller gives null or a C string that outlives the answer.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes())
}

unsafe fn names_secret(text: *const c_char) -> bool {
    // SAFETY: as the caller.
    let Some(text) = (unsafe { text_of(text) }) else { return false };
    names_function_or_setting(text) || statement::executes(text, is_prepared_secret)
}

fn names_function_or_setting(text: &[u8]) -> bool {
    statement::calls(text, is_secret_function)
        || SECRET_SETTINGS.iter().any(|setting| statement::names_setting(text, *setting))
}

fn is_secret_function(name: &[u8]) -> bool {
    // SAFETY: the server keeps a C string there, or null; `get` would copy it.
    let others = unsafe { text_of(*settings::SECRET_FUNCTIONS.as_ptr()) }.unwrap_or_default();
    SECRET_TAKING.iter().any(|secret| name.eq_ignore_ascii_case(secret))
        || others.split(|byte| *byte == b',').any(|other| {
            // The schema may be given and is not looked at: the caller's path can supply it.
            let other = other.rsplit(|byte| *byte == b'.').next().unwrap_or_default().trim_ascii();
            !other.is_empty() && name.eq_ignore_ascii_case(other)
        })
}

/// `execute p('…')` names nobody, but what was prepared as p does.
fn is_prepared_secret(name: &[u8]) -> bool {
    let mut written = [0; pg_sys::NAMEDATALEN as usize];
    written.iter_mut().zip(name).take(pg_sys::NAMEDATALEN as usize - 1).for_each(|(to, from)| *to = *from);
    let mut folded = written;
    folded.make_ascii_lowercase();
    [written, folded].iter().any(|name| {
        // SAFETY: the name ends with NUL; a lookup in a hash table of this backend, which has none before its first.
        unsafe {
            let prepared = FetchPreparedStatement(name.as_ptr().cast(), false);
            !prepared.is_null()
                && text_of((*(*prepared).plansource).query_string).is_some_and(names_function_or_setting)
        }
    })
}
