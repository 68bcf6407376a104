//! `auth-sidecar`: HTTP in front of the extension. It has no state and decides nothing: every handler parses, calls
//! one SQL function in one round trip and answers.

mod config;
mod db;
mod error;
mod log;
mod routes;
mod server;

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
    /// Read the settings, say what is wrong with them, and exit.
    CheckConfig,
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
    let config = Config::read(arguments.config.as_deref())?;
    match arguments.command {
        Command::Serve => {
            log::start(&config.log);
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(config.http.threads)
                .enable_all()
                .build()
                .map_err(|error| format!("cannot start the runtime: {error}"))?;
            runtime.block_on(server::serve(config))
        }
        Command::CheckConfig => {
            println!("the settings are good");
            Ok(())
        }
    }
}
