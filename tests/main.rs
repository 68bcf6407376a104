//! Everything that is tested over a real connection, in one binary: run it with `./dev test`.
#![allow(clippy::unwrap_used)]

mod carriers;
mod config;
mod docs;
mod dump;
mod email;
mod forged;
mod golden;
mod guard;
mod harness;
mod hooks;
mod identity;
mod independent;
mod install;
mod keys;
mod minting;
mod plans;
mod planted;
mod pooling;
mod privileges;
mod proxies;
mod refresh;
mod refresh_limits;
mod refresh_races;
mod revocation;
mod sign_in;
mod sign_up;
mod standby;
mod surface;
mod tidy;
mod upgrade;
