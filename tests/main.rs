//! Everything that is tested over a real connection, in one binary: run it with `./dev test`.
#![allow(clippy::unwrap_used)]

mod harness;
mod tidy;
mod upgrade;
