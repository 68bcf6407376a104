//! A connection that LISTENs, and is made again whenever it is lost. What others say there is never believed: every role may
//! NOTIFY (XI8), and what was said while nobody listened is not heard.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, future, stream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Config as Server, Error, NoTls, Socket};

use crate::config::{Config, Tls};
use crate::db;

/// After a lost connection; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

pub enum Heard<'a> {
    /// From now on everything is heard.
    Listening,
    Word(&'a str),
    /// Nothing is heard any more.
    Lost,
}

type Ear = Arc<dyn Fn(Heard<'_>) + Send + Sync>;

/// Listens on a channel until it is told to stop.
///
/// # Errors
/// What is wrong with the settings.
pub fn start(
    config: &Config,
    name: &str,
    channel: &'static str,
    ear: Ear,
    stop: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, String> {
    // A pooler in transaction mode lets nobody listen.
    let url = if config.courier.listen_url.is_empty() { &config.database.url } else { &config.courier.listen_url };
    let mut server: Server = url.parse().map_err(|_| "courier.listen_url is not a connection string".to_owned())?;
    if server.get_application_name().is_none() {
        server.application_name(name);
    }
    server.connect_timeout(Duration::from_secs(5)).keepalives_idle(Duration::from_secs(30));
    Ok(match config.database.tls {
        Tls::Off => tokio::spawn(listen(server, NoTls, channel, ear, stop)),
        Tls::Verify => {
            server.ssl_mode(SslMode::Require);
            tokio::spawn(listen(server, db::tls(config.database.ca_file.as_deref())?, channel, ear, stop))
        }
    })
}

async fn listen<T>(server: Server, tls: T, channel: &'static str, ear: Ear, mut stop: watch::Receiver<bool>)
where
    T: MakeTlsConnect<Socket> + Clone,
    T::Stream: Unpin,
{
    let mut failures = 0;
    while !*stop.borrow() {
        tokio::select! {
            ended = listen_once(&server, tls.clone(), channel, &ear, &mut failures) => {
                ear(Heard::Lost);
                if ended.is_err() {
                    failures += 1;
                }
            }
            _ = stop.changed() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(pause(failures)) => {}
            _ = stop.changed() => {}
        }
    }
}

/// Until the connection ends.
async fn listen_once<T>(
    server: &Server,
    tls: T,
    channel: &'static str,
    ear: &Ear,
    failures: &mut u32,
) -> Result<(), Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Unpin,
{
    let (client, mut connection) = server.connect(tls).await?;
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    let hear = async {
        while let Some(message) = messages.next().await {
            if let AsyncMessage::Notification(said) = message? {
                ear(Heard::Word(said.payload()));
            }
        }
        Ok(())
    };
    let ask = async {
        client.batch_execute(&format!("listen {channel}")).await?;
        *failures = 0;
        ear(Heard::Listening);
        future::pending::<Result<(), Error>>().await
    };
    tokio::select! {
        ended = hear => ended,
        ended = ask => ended,
    }
}

pub fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE)
}
