//! Schema `auth` itself: its roles, and the guard that keeps it as `pg_dump` will restore it.
//!
//! The guard asks the catalog in plpgsql first and Rust only when one of our tables is meant: in C alone it would stop
//! every DDL of the database where the library is missing. A user's own trigger, policy, column or index on an extension's
//! table is lost by pg_dump, and one added column makes the restore lose every user.

use pgrx::prelude::*;
use pgrx::{extension_sql_file, pg_sys};

use crate::platform::error::Error;
use crate::platform::settings;

extension_sql_file!("schema.sql", name = "schema", bootstrap);
extension_sql_file!("ddl.sql", name = "ddl");
extension_sql_file!("allow_client.sql", name = "allow_client", requires = ["testing"]);
extension_sql_file!("finalize.sql", name = "finalize", finalize);

static FINFO: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };

#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_ddl_is_harmless() -> &'static pg_sys::Pg_finfo_record {
    &FINFO
}

/// `auth.ddl_is_harmless(pg_ddl_command)`. Written by hand: pgrx knows no `pg_ddl_command`.
///
/// # Safety
/// Postgres calls it with the one argument that the SQL declaration names.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn ddl_is_harmless(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: a pg_ddl_command is a pointer to a CollectedCommand that lives as long as the event trigger runs.
    let is_harmless = unsafe {
        let command = (*fcinfo).args.as_slice(1)[0].value.cast_mut_ptr::<pg_sys::CollectedCommand>();
        let statement = (*command).parsetree;
        !statement.is_null()
            && match (*statement).type_ {
                pg_sys::NodeTag::T_CreateExtensionStmt | pg_sys::NodeTag::T_AlterExtensionStmt => true,
                pg_sys::NodeTag::T_AlterTableStmt => {
                    toggles_triggers((*statement.cast::<pg_sys::AlterTableStmt>()).cmds)
                }
                _ => false,
            }
    };
    pg_sys::Datum::from(is_harmless)
}

unsafe fn toggles_triggers(commands: *mut pg_sys::List) -> bool {
    use pg_sys::AlterTableType as T;
    const TOGGLES: [T::Type; 4] =
        [T::AT_DisableTrigAll, T::AT_EnableTrigAll, T::AT_DisableTrigUser, T::AT_EnableTrigUser];
    if commands.is_null() {
        return false;
    }
    // SAFETY: the commands of an ALTER TABLE are pointers to AlterTableCmd, alive with the statement.
    unsafe {
        std::slice::from_raw_parts((*commands).elements, (*commands).length as usize)
            .iter()
            .all(|cell| TOGGLES.contains(&(*cell.ptr_value.cast::<pg_sys::AlterTableCmd>()).subtype))
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_ddl_in_extension_script() -> &'static pg_sys::Pg_finfo_record {
    &FINFO
}

/// `auth.ddl_in_extension_script()`.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn ddl_in_extension_script(_fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: reads statics of the backend.
    pg_sys::Datum::from(unsafe { pg_sys::creating_extension || pg_sys::IsBinaryUpgrade })
}

static PREVIOUS_ACCESS_HOOK: AccessHook = AccessHook(std::cell::Cell::new(None));

struct AccessHook(std::cell::Cell<pg_sys::object_access_hook_type>);
// SAFETY: a backend has one thread.
unsafe impl Sync for AccessHook {}

/// From `_PG_init` while the postmaster preloads, once.
pub fn install_drop_guard() {
    // SAFETY: the postmaster has one thread; the hook is chained.
    unsafe {
        PREVIOUS_ACCESS_HOOK.0.set(pg_sys::object_access_hook);
        pg_sys::object_access_hook = Some(on_object_access);
    }
}

/// Sees every drop, also those that a cascade reaches.
#[pg_guard]
unsafe extern "C-unwind" fn on_object_access(
    access: pg_sys::ObjectAccessType::Type,
    class: pg_sys::Oid,
    object: pg_sys::Oid,
    part: i32,
    argument: *mut std::ffi::c_void,
) {
    // SAFETY: the previous hook is called as Postgres would; the look-up is one by a C string.
    unsafe {
        if let Some(previous) = PREVIOUS_ACCESS_HOOK.0.get() {
            previous(access, class, object, part, argument);
        }
        if access == pg_sys::ObjectAccessType::OAT_DROP
            && class == pg_sys::ExtensionRelationId
            && !settings::ALLOW_DROP.get()
            && object == pg_sys::get_extension_oid(c"auth".as_ptr(), true)
        {
            Error::DropRefused.raise();
        }
    }
}
