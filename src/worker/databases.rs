//! DROP, RENAME, SET TABLESPACE and CREATE … TEMPLATE want a database without connections: the worker leaves at once, and
//! none comes while the command runs.

use std::cell::Cell;
use std::ffi::{CStr, c_char};

use pgrx::pg_sys;

use crate::events::RINGS;
use crate::platform::backend;

/// Longer than Postgres itself waits for others to leave.
const HELD_MICROSECONDS: i64 = 6_000_000;

struct Previous(Cell<pg_sys::ProcessUtility_hook_type>);
// SAFETY: a backend has one thread.
unsafe impl Sync for Previous {}
static PREVIOUS: Previous = Previous(Cell::new(None));

/// From `_PG_init` while the postmaster preloads, once.
pub fn follow_databases() {
    // SAFETY: the postmaster has one thread; the hook is chained.
    unsafe {
        PREVIOUS.0.set(pg_sys::ProcessUtility_hook);
        pg_sys::ProcessUtility_hook = Some(on_utility);
    }
}

unsafe extern "C-unwind" {
    // Unguarded on purpose: an ERROR passes through the frame below, which owns nothing, as it would without us.
    fn standard_ProcessUtility(
        statement: *mut pg_sys::PlannedStmt,
        query: *const c_char,
        is_read_only: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        parameters: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        destination: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}

unsafe extern "C-unwind" fn on_utility(
    statement: *mut pg_sys::PlannedStmt,
    query: *const c_char,
    is_read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    parameters: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    destination: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: Postgres's own arguments are handed on as they came.
    unsafe {
        let held = hold((*statement).utilityStmt);
        let next = PREVIOUS.0.get().unwrap_or(standard_ProcessUtility);
        next(statement, query, is_read_only, context, parameters, environment, destination, completion);
        if let Some(rings) = RINGS.get().filter(|_| held.is_meant) {
            if held.is_dropped {
                rings.ring(held.place).forget();
            }
            rings.ring(held.place).hold_until(0);
            rings.wake(held.place);
        }
    }
}

/// A ring whose worker was sent away.
#[repr(C)]
#[derive(Default)]
struct Held {
    is_meant: bool,
    is_dropped: bool,
    place: usize,
}

/// Sends the worker of the database that the command means away.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn hold(statement: *mut pg_sys::Node) -> Held {
    // SAFETY: the caller's promise.
    unsafe { database_of(statement) }.and_then(|(name, is_dropped)| held(name, is_dropped)).unwrap_or_default()
}

/// The name of the database that the command wants for itself, and whether it will be gone.
unsafe fn database_of(statement: *mut pg_sys::Node) -> Option<(*mut c_char, bool)> {
    use pg_sys::NodeTag as T;
    // SAFETY: the node is what its tag says; names are null or C strings.
    unsafe {
        match (*statement).type_ {
            T::T_DropdbStmt => Some(((*statement.cast::<pg_sys::DropdbStmt>()).dbname, true)),
            T::T_RenameStmt => {
                let rename = statement.cast::<pg_sys::RenameStmt>();
                let is_database = (*rename).renameType == pg_sys::ObjectType::OBJECT_DATABASE;
                is_database.then_some(((*rename).subname, false))
            }
            T::T_AlterDatabaseStmt => Some(((*statement.cast::<pg_sys::AlterDatabaseStmt>()).dbname, false)),
            T::T_CreatedbStmt => Some((template_of((*statement.cast::<pg_sys::CreatedbStmt>()).options), false)),
            _ => None,
        }
    }
}

fn held(name: *mut c_char, is_dropped: bool) -> Option<Held> {
    let rings = RINGS.get().filter(|_| !name.is_null())?;
    // SAFETY: a look-up by a C string, inside a transaction.
    let database = unsafe { pg_sys::get_database_oid(name, true) };
    let place = rings.find(database).filter(|_| database != pg_sys::Oid::INVALID)?;
    rings.ring(place).hold_until(backend::clock() + HELD_MICROSECONDS);
    rings.wake(place);
    Some(Held { is_meant: true, is_dropped, place })
}

unsafe fn template_of(options: *mut pg_sys::List) -> *mut c_char {
    if options.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: options of CREATE DATABASE are pointers to DefElem, and the template's argument is a string.
    unsafe {
        for cell in std::slice::from_raw_parts((*options).elements, (*options).length as usize) {
            let option = cell.ptr_value.cast::<pg_sys::DefElem>();
            if CStr::from_ptr((*option).defname) == c"template" && !(*option).arg.is_null() {
                return pg_sys::defGetString(option);
            }
        }
    }
    std::ptr::null_mut()
}
