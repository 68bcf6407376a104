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
        let is_dropped = hold((*statement).utilityStmt);
        let next = PREVIOUS.0.get().unwrap_or(standard_ProcessUtility);
        next(statement, query, is_read_only, context, parameters, environment, destination, completion);
        let_go(is_dropped);
    }
}

/// The database that this backend's command keeps for itself.
struct Held(Cell<pg_sys::Oid>);
// SAFETY: a backend has one thread.
unsafe impl Sync for Held {}
static HELD: Held = Held(Cell::new(pg_sys::Oid::INVALID));

/// The ring of the database that is held: it may have been another's when the command began, and be one's own by now.
fn let_go(is_dropped: bool) {
    let database = HELD.0.replace(pg_sys::Oid::INVALID);
    if database == pg_sys::Oid::INVALID {
        return;
    }
    let Some(rings) = RINGS.get() else { return };
    if let Some(place) = rings.find(database) {
        if is_dropped {
            rings.ring(place).forget();
        }
        rings.ring(place).hold_until(0);
        rings.wake(place);
    }
}

/// A command that failed keeps nothing.
unsafe extern "C-unwind" fn on_transaction(event: pg_sys::XactEvent::Type, _argument: *mut std::ffi::c_void) {
    if event == pg_sys::XactEvent::XACT_EVENT_ABORT {
        let_go(false);
    }
}

/// Sends the worker of the database that the command means away, if this user may do it at all: a command that is going to
/// be refused must not keep others waiting. Whether the database will be gone.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn hold(statement: *mut pg_sys::Node) -> bool {
    static IS_FOLLOWED: Held = Held(Cell::new(pg_sys::Oid::INVALID));
    // SAFETY: the caller's promise; look-ups by a C string, inside a transaction.
    unsafe {
        let Some((name, is_dropped)) = database_of(statement) else { return false };
        let Some(rings) = RINGS.get().filter(|_| !name.is_null()) else { return false };
        let database = pg_sys::get_database_oid(name, true);
        if database == pg_sys::Oid::INVALID || !is_owner(database) {
            return false;
        }
        let Some(place) = rings.find(database) else { return false };
        if IS_FOLLOWED.0.replace(database) == pg_sys::Oid::INVALID {
            pg_sys::RegisterXactCallback(Some(on_transaction), std::ptr::null_mut());
        }
        HELD.0.set(database);
        rings.ring(place).hold_until(backend::clock() + HELD_MICROSECONDS);
        rings.wake(place);
        is_dropped
    }
}

unsafe fn is_owner(database: pg_sys::Oid) -> bool {
    // SAFETY: look-ups of an existing database and the current user.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        return pg_sys::pg_database_ownercheck(database, pg_sys::GetUserId());
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        return pg_sys::object_ownercheck(pg_sys::DatabaseRelationId, database, pg_sys::GetUserId());
    }
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
            T::T_AlterDatabaseStmt => {
                let alter = statement.cast::<pg_sys::AlterDatabaseStmt>();
                option((*alter).options, c"tablespace").map(|_| ((*alter).dbname, false))
            }
            T::T_CreatedbStmt => {
                option((*statement.cast::<pg_sys::CreatedbStmt>()).options, c"template").map(|name| (name, false))
            }
            _ => None,
        }
    }
}

/// The text of an option of CREATE or ALTER DATABASE.
unsafe fn option(options: *mut pg_sys::List, wanted: &CStr) -> Option<*mut c_char> {
    if options.is_null() {
        return None;
    }
    // SAFETY: these options are pointers to DefElem.
    unsafe {
        std::slice::from_raw_parts((*options).elements, (*options).length as usize)
            .iter()
            .map(|cell| cell.ptr_value.cast::<pg_sys::DefElem>())
            .find(|option| CStr::from_ptr((**option).defname) == wanted && !(**option).arg.is_null())
            .map(|option| pg_sys::defGetString(option))
    }
}
