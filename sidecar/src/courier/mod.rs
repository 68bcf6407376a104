//! The courier: takes rows from `auth.outbox`, sends mail and SMS, posts webhooks, and tells the database what
//! became of them.
//!
//! Promises: what was committed is sent, at least once, and what was rolled back never was a row. A mail goes to the
//! stored address byte for byte, with links from the settings only; the same mail sent twice has the same Message-ID.
//! A courier that dies loses nothing: its rows come back when their lease ends. It keeps no state of its own.
//!
//! Threats: a sidecar killed between DATA and the relay's answer, a relay in the middle of the network, headers and
//! commands in somebody's name, templates in somebody's name, webhooks into our own network, secrets in the log.

mod delivery;
mod message;
mod outbox;
mod outcome;
mod payload;
mod relay;
mod render;
mod run;
mod sms;
mod template;
mod transport;
mod webhook;

pub mod command;
pub mod settings;

pub use run::start;
pub use sms::{command as sms_command, settings as sms_settings};
pub use transport::Transport;
