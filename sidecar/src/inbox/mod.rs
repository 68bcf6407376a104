//! An inbox for development: receives mail by SMTP and SMS by POST /sms, keeps the last of them in memory, shows them in a
//! browser.
//!
//! It believes everybody, so it answers this machine only. What it shows was written by whoever signs up: text is
//! escaped, and HTML stands in a frame that may run no script and is of no origin.

mod page;
mod receive;
mod store;

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use tokio::net::TcpListener;

use self::store::Store;

#[derive(Args)]
pub struct Inbox {
    /// Where mail is taken.
    #[arg(long, default_value = "127.0.0.1:1025")]
    smtp: SocketAddr,
    /// Where it is shown.
    #[arg(long, default_value = "127.0.0.1:8025")]
    http: SocketAddr,
}

/// Until it is interrupted.
///
/// # Errors
/// Why it cannot listen.
pub async fn serve(inbox: Inbox) -> Result<(), String> {
    let store = Arc::new(Store::default());
    let smtp = listen("--smtp", inbox.smtp).await?;
    let http = listen("--http", inbox.http).await?;
    println!(
        "mail to {}, shown at http://{}/",
        smtp.local_addr().unwrap_or(inbox.smtp),
        http.local_addr().unwrap_or(inbox.http)
    );
    let receiving = receive::serve(smtp, Arc::clone(&store));
    let showing = axum::serve(http, page::router(store));
    tokio::select! {
        () = receiving => Ok(()),
        ended = showing => ended.map_err(|error| format!("cannot show the inbox: {error}")),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn listen(option: &str, address: SocketAddr) -> Result<TcpListener, String> {
    if !address.ip().is_loopback() {
        return Err(format!("{option}: the inbox is for this machine only, {address} is no loopback address"));
    }
    TcpListener::bind(address).await.map_err(|error| format!("{option}: cannot listen on {address}: {error}"))
}
