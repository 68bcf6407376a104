//! Wakes the courier when the database says that there is something. The word says no more than that, so that it does
//! not matter who else hears it or speaks it (XI8), or that it is missed: the courier looks from time to time anyway.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, future, stream};
use tokio::sync::{Notify, watch};
use tokio_postgres::{AsyncMessage, Config, Error, NoTls};

use super::run::pause;

pub async fn listen(mut server: Config, wake: Arc<Notify>, mut stop: watch::Receiver<bool>) {
    if server.get_application_name().is_none() {
        server.application_name("auth-courier");
    }
    server.connect_timeout(Duration::from_secs(5)).keepalives_idle(Duration::from_secs(30));
    let mut failures = 0;
    while !*stop.borrow() {
        if listen_once(&server, &wake, &mut failures).await.is_err() {
            failures += 1;
        }
        tokio::select! {
            () = tokio::time::sleep(pause(failures)) => {}
            _ = stop.changed() => {}
        }
    }
}

/// Until the connection ends.
async fn listen_once(server: &Config, wake: &Notify, failures: &mut u32) -> Result<(), Error> {
    let (client, mut connection) = server.connect(NoTls).await?;
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
