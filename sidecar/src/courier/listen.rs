//! Wakes the courier when the database says that there is something. The word says no more than that, so that it does
//! not matter who else hears it or speaks it (XI8), or that it is missed: the courier looks from time to time anyway.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, future, stream};
use tokio::sync::{Notify, watch};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Config, Error, Socket};

use super::run::pause;

pub async fn listen<T>(mut server: Config, tls: T, wake: Arc<Notify>, mut stop: watch::Receiver<bool>)
where
    T: MakeTlsConnect<Socket> + Clone,
    T::Stream: Unpin,
{
    if server.get_application_name().is_none() {
        server.application_name("auth-courier");
    }
    server.connect_timeout(Duration::from_secs(5)).keepalives_idle(Duration::from_secs(30));
    let mut failures = 0;
    while !*stop.borrow() {
        if listen_once(&server, tls.clone(), &wake, &mut failures).await.is_err() {
            failures += 1;
        }
        tokio::select! {
            () = tokio::time::sleep(pause(failures)) => {}
            _ = stop.changed() => {}
        }
    }
}

/// Until the connection ends.
async fn listen_once<T>(server: &Config, tls: T, wake: &Notify, failures: &mut u32) -> Result<(), Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Unpin,
{
    let (client, mut connection) = server.connect(tls).await?;
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    let hear = async {
        while let Some(message) = messages.next().await {
            if let AsyncMessage::Notification(_) = message? {
                wake.notify_one();
            }
        }
        Ok(())
    };
    let ask = async {
        client.batch_execute("listen auth_outbox").await?;
        *failures = 0;
        // What was committed before we listened was said to nobody.
        wake.notify_one();
        future::pending::<Result<(), Error>>().await
    };
    tokio::select! {
        ended = hear => ended,
        ended = ask => ended,
    }
}
