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
extension_sql_file!("guard.sql", name = "guard");
extension_sql_file!("allow_client.sql", name = "allow_client", requires = ["testing"]);
extension_sql_file!("finalize.sql", name = "finalize", finalize);

static FINFO: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };

#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_ddl_only_toggles_triggers() -> &'static pg_sys::Pg_finfo_record {
    &FINFO
}

/// `auth.ddl_only_toggles_triggers(pg_ddl_command)`. Written by hand: pgrx knows no `pg_ddl_command`.
///
/// # Safety
/// Postgres calls it with the one argument that the SQL declaration names.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn ddl_only_toggles_triggers(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: a pg_ddl_command is a pointer to a CollectedCommand that lives as long as the event trigger runs.
    let only_toggles = unsafe {
        let command = (*fcinfo).args.as_slice(1)[0].value.cast_mut_ptr::<pg_sys::CollectedCommand>();
        let statement = (*command).parsetree;
        !statement.is_null()
            && (*statement).type_ == pg_sys::NodeTag::T_AlterTableStmt
            && elements::<pg_sys::AlterTableCmd>((*statement.cast::<pg_sys::AlterTableStmt>()).cmds).all(|command| {
                use pg_sys::AlterTableType as T;
                [T::AT_DisableTrigAll, T::AT_EnableTrigAll, T::AT_DisableTrigUser, T::AT_EnableTrigUser]
                    .contains(&(*command).subtype)
            })
    };
    pg_sys::Datum::from(only_toggles)
}

#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_ddl_in_extension_script() -> &'static pg_sys::Pg_finfo_record {
    &FINFO
}

/// `auth.ddl_in_extension_script()`.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn ddl_in_extension_script(_fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: reads a static of the backend.
    pg_sys::Datum::from(unsafe { pg_sys::creating_extension })
}

#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_on_drop_extension() -> &'static pg_sys::Pg_finfo_record {
    &FINFO
}

/// The event trigger for DROP EXTENSION and DROP OWNED.
///
/// # Safety
/// Postgres calls it as an event trigger.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn on_drop_extension(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the context is checked to be that of an event trigger before it is read as one.
    let meant = unsafe {
        let context = (*fcinfo).context;
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_EventTriggerData {
            Error::Internal("on_drop_extension is an event trigger".into()).raise();
        }
        let statement = (*context.cast::<pg_sys::EventTriggerData>()).parsetree;
        match (*statement).type_ {
            pg_sys::NodeTag::T_DropStmt => drops_extension(statement.cast()),
            pg_sys::NodeTag::T_DropOwnedStmt => drops_owner(statement.cast()),
            _ => false,
        }
    };
    if meant && !settings::ALLOW_DROP.get() {
        Error::DropRefused.raise();
    }
    // SAFETY: an event trigger returns null.
    unsafe { (*fcinfo).isnull = true };
    pg_sys::Datum::from(0)
}

unsafe fn drops_extension(statement: *mut pg_sys::DropStmt) -> bool {
    // SAFETY: the objects of a DROP EXTENSION are its names, as string nodes.
    unsafe {
        (*statement).removeType == pg_sys::ObjectType::OBJECT_EXTENSION
            && elements::<pg_sys::Node>((*statement).objects).any(|name| string_value(name) == c"auth")
    }
}

/// DROP OWNED of the role that owns the extension drops it too.
unsafe fn drops_owner(statement: *mut pg_sys::DropOwnedStmt) -> bool {
    // SAFETY: the catalog look-ups take valid nodes of the statement.
    unsafe {
        let extension = pg_sys::get_extension_oid(c"auth".as_ptr(), true);
        extension != pg_sys::Oid::INVALID
            && elements::<pg_sys::RoleSpec>((*statement).roles).any(|role| {
                let role = pg_sys::get_rolespec_oid(role, true);
                role != pg_sys::Oid::INVALID && extension_owner(extension) == Some(role)
            })
    }
}

unsafe fn extension_owner(extension: pg_sys::Oid) -> Option<pg_sys::Oid> {
    Spi::connect(|client| {
        client
            .select("select extowner from pg_catalog.pg_extension where oid = $1", None, &[extension.into()])
            .ok()?
            .first()
            .get_one::<pg_sys::Oid>()
            .ok()?
    })
}

/// The pointers of a list; a null list is empty.
unsafe fn elements<T>(list: *mut pg_sys::List) -> impl Iterator<Item = *mut T> {
    let cells = if list.is_null() {
        &[]
    } else {
        // SAFETY: the caller gives a list that outlives the iteration.
        unsafe { std::slice::from_raw_parts((*list).elements, (*list).length as usize) }
    };
    // SAFETY: its cells are pointers to T.
    cells.iter().map(|cell| unsafe { cell.ptr_value }.cast::<T>())
}

unsafe fn string_value<'a>(node: *mut pg_sys::Node) -> &'a std::ffi::CStr {
    // SAFETY: a string node holds a C string as long as the statement.
    unsafe {
        #[cfg(feature = "pg14")]
        let text = (*node.cast::<pg_sys::Value>()).val.str_;
        #[cfg(not(feature = "pg14"))]
        let text = (*node.cast::<pg_sys::String>()).sval;
        std::ffi::CStr::from_ptr(text)
    }
}
