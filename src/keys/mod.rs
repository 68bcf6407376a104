//! Keys: the keyring file that is not in the database, and the signing keys that are, sealed under it.
//!
//! Promises: a dump alone opens nothing; a wrong keyring is one clear error; rotation logs nobody out, removal is
//! effective at the next statement. Threats: a reader of tables, backups and WAL; a token signed with another database's
//! key, with our public key as an HMAC secret, or by an algorithm that the key is not for.

mod project;
mod root;
mod signing;

pub use project::find as find_project_key;
pub use root::{Root, fault, root, unknown as unknown_root_key};
pub use signing::{current as current_signing_key, verifying};

use serde_json::Value;

use crate::events::{self, Event};
use crate::platform::backend;
use crate::platform::error::Result;

pgrx::extension_sql_file!("keys.sql", name = "keys", requires = ["config"]);

/// What a new database does not have yet, and a backend asks the worker for.
#[derive(Clone, Copy)]
enum First {
    CheckValue,
    SigningKey,
}

impl First {
    fn table(self) -> &'static str {
        match self {
            First::CheckValue => "key_check",
            First::SigningKey => "signing_keys",
        }
    }

    /// Has the worker make it. Made in a client's own transaction, it would keep everybody else waiting as long as that client
    /// likes. False where it has to be done here all the same: no worker can be had, or this is it.
    fn is_made_by_the_worker(self) -> bool {
        !backend::is_worker() && events::write_durably(&[Event { table: self.table(), row: Value::Null }]).is_ok()
    }
}

/// In the worker: makes what is asked for by that name; false where it is another name.
pub fn make_first(table: &str) -> Result<bool> {
    match table {
        "key_check" => root().map(drop)?,
        "signing_keys" => current_signing_key().map(drop)?,
        _ => return Ok(false),
    }
    Ok(true)
}
