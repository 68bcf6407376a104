//! `auth-sidecar`: HTTP in front of the extension. It has no state and decides nothing: every handler parses, calls
//! one SQL function in one round trip and answers.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod captcha;
mod client_ip;
mod config;
mod cookies;
mod cors;
mod counters;
mod courier;
mod db;
mod doctor;
mod error;
mod events;
mod inbox;
mod listen;
mod log;
mod mail_domain;
mod origin;
mod outbound;
mod page;
mod pages;
mod request;
mod respond;
mod routes;
mod server;
mod shapes;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;

#[derive(Parser)]
#[command(name = "auth-sidecar", version, about = "HTTP for the auth extension of PostgreSQL")]
struct Arguments {
    /// Settings as TOML; the environment (AUTH_…) stands over it.
    #[arg(long, short, global = true, env = "AUTH_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve HTTP until SIGTERM or SIGINT.
    Serve,
    /// Read the settings, print those in force or what is wrong with them, and exit.
    CheckConfig,
    /// Look for what is wrong: settings, database, keys, clocks, relay, webhooks. Exits with 1 if there is anything.
    Doctor(doctor::Doctor),
    /// Look at the mails, and try the relay.
    Mail(courier::command::Mail),
    /// Try the provider of SMS.
    Sms(courier::sms_command::Command),
    /// For development: receive mail and show it in a browser, on this machine only.
    Inbox(inbox::Inbox),
    /// Print the description of the HTTP API (OpenAPI 3.1, JSON).
    Openapi,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("auth-sidecar: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), String> {
    let file = arguments.config.as_deref();
    match arguments.command {
        Command::Serve => {
            let config = Config::read(file)?;
            log::start(&config.log);
            runtime(config.http.threads)?.block_on(server::serve(config))
        }
        Command::CheckConfig => {
            Config::read(file)?.lines().iter().for_each(|line| println!("{line}"));
            Ok(())
        }
        Command::Doctor(doctor) => runtime(1)?.block_on(doctor::run(doctor, file)),
        Command::Mail(mail) => {
            let config = Config::read_partly(file)?;
            runtime(1)?.block_on(courier::command::run(mail, &config))
        }
        Command::Sms(sms) => {
            let config = Config::read_partly(file)?;
            runtime(1)?.block_on(courier::sms_command::run(sms, &config))
        }
        Command::Inbox(inbox) => runtime(1)?.block_on(inbox::serve(inbox)),
        Command::Openapi => {
            println!("{}", routes::description());
            Ok(())
        }
    }
}

fn runtime(threads: usize) -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))
}
