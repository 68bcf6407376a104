//! What every feature stands on: refusals, settings of the server, shared memory, queries, and the silence of the log.
//!
//! Nothing here knows what a user or a session is.

pub mod backend;
pub mod error;
pub mod log;
mod memory;
pub mod options;
pub mod query;
pub mod relation;
pub mod settings;
pub mod shared;
pub mod silence;
