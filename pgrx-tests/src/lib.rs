//! Throw-away clusters for the tests.
//!
//! A test asks for a database of its own and speaks to it as a client would, over a real connection and as an
//! unprivileged login: `Cluster::shared().database().app()`. A cluster of its own (`Cluster::start()`, or
//! `Cluster::builder()` for other settings) is for what shakes the whole server: restarts, kills, standbys, logs.
//! Nothing outlives the test process, however it ends.

pub mod authenticator;
mod client;
mod cluster;
mod concurrency;
mod config;
mod database;
mod dns;
mod faults;
mod http;
mod inbox;
mod mail;
mod nginx;
mod pooler;
mod process;
mod program;
mod relay;
mod script;
mod sidecar;
mod standby;
mod totp;

pub use client::{Person, Refusal, acting, claims, json, refused, sign_in, sign_up, try_acting};
pub use cluster::Cluster;
pub use concurrency::{canary, storm, storm_with, wait_at_most, wait_until};
pub use config::{ClusterBuilder, free_port};
pub use database::Database;
pub use dns::Dns;
pub use faults::{Wire, rounds, signal};
pub use http::{Ask, Reply};
pub use inbox::Inbox;
pub use mail::{Mail, claim, mails, settle, the_mail};
pub use nginx::Nginx;
pub use nix::sys::signal::Signal;
pub use pooler::Pooler;
pub use process::{bin_directory, running};
pub use program::{Program, run_sidecar, sidecar_command};
pub use relay::{Relay, RelayOptions, Taken};
pub use script::{run_node, run_python};
pub use sidecar::Sidecar;
pub use totp::Totp;

/// What the tests need of the driver, so that they name one crate.
pub use postgres::{self, Client, GenericClient, Row, Transaction, types::ToSql};
