//! What becomes of a report about a secret statement: it stays recognisable, and says nothing that the client has written.
//!
//! A report goes to the log and to the client. An ERROR's message is the same for both, its detail is not (`detail_log`); so
//! the client reads the detail of every error, and our own refusals reach both untouched.

use std::ffi::{c_char, c_void};

use pgrx::prelude::*;

use super::{HIDDEN, names_secret, text_of};

unsafe extern "C" {
    // Unguarded on purpose, as in the parent. The first answers null where there is no memory; the second frees what
    // Postgres would free otherwise.
    fn MemoryContextAllocExtended(context: pg_sys::MemoryContext, size: usize, flags: i32) -> *mut c_void;
    fn pfree(pointer: *mut c_void);
}

/// How far into a text the words stand that say what follows, such as `Failed process was running: `.
const LONGEST_LABEL: usize = 80;
/// So much of a statement is enough to find it inside a message.
const RECOGNISED_BY: usize = 64;

/// # Safety
/// The report is one that Postgres is about to emit.
pub unsafe fn redact(report: &mut pg_sys::ErrorData, is_secret: bool) {
    // SAFETY: as the caller; every string is null or a C string of the report's own.
    unsafe {
        if is_secret {
            report.hide_stmt = true;
            free(&mut report.internalquery);
            report.internalpos = 0;
        }
        // The context quotes the statement of a DO block or of a function that called us.
        report.hide_ctx |= is_secret || names_secret(report.context);
        if report.elevel >= PgLogLevel::ERROR as i32 {
            redact_error(report, is_secret);
        } else {
            redact_notice(report, is_secret);
        }
    }
}

unsafe fn redact_error(report: &mut pg_sys::ErrorData, is_secret: bool) {
    // SAFETY: as `redact`.
    unsafe {
        // A deadlock's detail for the log prints what the other backends run.
        if names_secret(report.detail_log) {
            free(&mut report.detail_log);
        }
        if !is_secret || is_code_word(text_of(report.detail)) {
            return;
        }
        // Data exceptions and syntax errors quote a piece of the statement or of a parameter.
        let class = report.sqlerrcode & 0xFFF;
        if (class == CLASS_22 || class == CLASS_42)
            && let Some((from, to)) = text_of(report.message).and_then(quoted)
        {
            hide(report.assoc_context, &mut report.message, from, to);
        }
        // A failing row has the tokens of the answer in it. The detail of a deadlock or a serialisation failure has only ids.
        if class != CLASS_40 && !report.detail.is_null() {
            free(&mut report.detail_log);
            let copy = allocate(report.assoc_context, HIDDEN.count_bytes() + 1);
            if copy.is_null() {
                *report.detail = 0;
            } else {
                copy.copy_from_nonoverlapping(HIDDEN.as_ptr(), HIDDEN.count_bytes() + 1);
                report.detail_log = copy;
            }
        }
    }
}

/// Everything below an ERROR: what the server was told to log, what it says while debugging, what other processes do.
unsafe fn redact_notice(report: &mut pg_sys::ErrorData, is_secret: bool) {
    // SAFETY: as `redact`.
    unsafe {
        let Some(message) = text_of(report.message) else { return };
        let is_named = names_secret(report.message);
        let is_detail_named = names_secret(report.detail) || names_secret(report.detail_log);
        if !is_secret && !is_named && !is_detail_named {
            return;
        }
        // `statement: execute p('…')` names nobody; its detail does.
        let cut = cut(message, is_named);
        let detail = text_of(report.detail);
        if let Some(from) = cut {
            hide(report.assoc_context, &mut report.message, from, usize::MAX);
            report.hide_stmt = true;
        }
        if let Some(detail) = detail {
            let is_tree = matches!(detail.trim_ascii_start().first(), Some(b'{' | b'('));
            if is_tree || cut.is_some() || is_detail_named {
                let from = if is_tree { 0 } else { label(detail) };
                hide(report.assoc_context, &mut report.detail, from, usize::MAX);
            }
        }
        free(&mut report.detail_log);
    }
}

/// Where the statement begins in a message that has one.
fn cut(message: &[u8], is_named: bool) -> Option<usize> {
    let label_end = |rest: &[u8]| rest.windows(2).position(|pair| pair == b": " || pair == b":\n").map(|at| at + 2);
    if let Some(rest) = message.strip_prefix(b"duration: ") {
        let after = message.len() - rest.len() + rest.windows(3).position(|unit| unit == b" ms")? + 3;
        let rest = message.get(after..).unwrap_or_default();
        return (!rest.is_empty()).then(|| after + label_end(rest).unwrap_or(0));
    }
    if message.starts_with(b"statement: ") {
        return Some(b"statement: ".len());
    }
    if [&b"parse "[..], b"bind ", b"execute "].iter().any(|prefix| message.starts_with(prefix)) {
        return label_end(message);
    }
    // In another language, or from another extension.
    // SAFETY: debug_query_string is null or a C string.
    let statement = unsafe { text_of(pg_sys::debug_query_string) }.unwrap_or_default();
    let statement = statement.get(..RECOGNISED_BY).unwrap_or(statement);
    let found = (!statement.is_empty()).then(|| message.windows(statement.len()).position(|part| part == statement));
    found.flatten().or(is_named.then(|| label(message)))
}

/// The length of the words at the beginning that say what follows.
fn label(text: &[u8]) -> usize {
    let begin = text.get(..LONGEST_LABEL).unwrap_or(text);
    begin.windows(2).position(|pair| pair == b": ").map_or(0, |at| at + 2)
}

/// What stands in quotes, of whatever language; not if it is punctuation.
fn quoted(message: &[u8]) -> Option<(usize, usize)> {
    const OTHERS: [&str; 5] = ["„", "“", "«", "»", "「"];
    if let Some(from) = message.iter().position(|byte| *byte == b'"') {
        let to = message.iter().rposition(|byte| *byte == b'"').filter(|to| from < *to).unwrap_or(message.len());
        let inside = message.get(from + 1..to).unwrap_or_default();
        let says_something = inside.iter().any(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80);
        return says_something.then_some((from + 1, to));
    }
    let from = OTHERS
        .iter()
        .filter_map(|quote| {
            let at = message.windows(quote.len()).position(|part| part == quote.as_bytes())?;
            Some(at + quote.len())
        })
        .min();
    from.map(|from| (from, usize::MAX))
}

/// Our own refusals have a code word as detail, and none of them quotes a secret.
fn is_code_word(detail: Option<&[u8]>) -> bool {
    detail.is_some_and(|detail| {
        detail.contains(&b'_')
            && detail.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_')
    })
}

const CLASS_22: i32 = class(b"22");
const CLASS_40: i32 = class(b"40");
const CLASS_42: i32 = class(b"42");

/// The first two characters of a SQLSTATE, as Postgres packs them.
const fn class(code: &[u8; 2]) -> i32 {
    (code[0] - b'0') as i32 | ((code[1] - b'0') as i32) << 6
}

/// Replaces a piece of a text. The bytes that go are overwritten.
unsafe fn hide(context: pg_sys::MemoryContext, field: &mut *mut c_char, from: usize, to: usize) {
    // SAFETY: the field is a C string in memory of the report's context.
    unsafe {
        let Some(text) = text_of(*field) else { return };
        let before = text.get(..from).unwrap_or(text);
        let after = text.get(to..).unwrap_or_default();
        let place = allocate(context, before.len() + HIDDEN.count_bytes() + after.len() + 1);
        if place.is_null() {
            (*field).add(before.len()).write(0);
            return;
        }
        let mut end = place;
        for part in [before, HIDDEN.to_bytes(), after] {
            end.copy_from_nonoverlapping(part.as_ptr().cast(), part.len());
            end = end.add(part.len());
        }
        end.write(0);
        free(field);
        *field = place;
    }
}

unsafe fn allocate(context: pg_sys::MemoryContext, size: usize) -> *mut c_char {
    // SAFETY: the context is the report's own, so what lies there lives as long as the report.
    unsafe { MemoryContextAllocExtended(context, size, pg_sys::MCXT_ALLOC_NO_OOM as i32).cast() }
}

/// Postgres frees these itself later, so every one of them was allocated.
unsafe fn free(field: &mut *mut c_char) {
    // SAFETY: null, or a C string of the report's own.
    unsafe {
        if let Some(text) = text_of(*field) {
            field.write_bytes(0, text.len());
            pfree(field.cast());
            *field = std::ptr::null_mut();
        }
    }
}
