//! Keys: the keyring file that is not in the database, and the signing keys that are, sealed under it.
//!
//! Promises: a dump alone opens nothing; a wrong keyring is one clear error; rotation logs nobody out, removal is
//! effective at the next statement. Threats: a reader of tables, backups and WAL; a token signed with another database's
//! key, with our public key as an HMAC secret, or by an algorithm that the key is not for.

mod project;
mod root;
mod signing;

pub use project::find as find_project_key;
pub use root::{Root, root, unknown as unknown_root_key};
pub use signing::{current as current_signing_key, verifying};

pgrx::extension_sql_file!("keys.sql", name = "keys", requires = ["config"]);
