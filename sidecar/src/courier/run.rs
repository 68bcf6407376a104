//! The loop: claim, deliver, settle, sleep until told or until the next look.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::db::Db;
use crate::error::Error;
use crate::listen::{self, Heard, pause};
use crate::outbound::Outbound;

use super::delivery::Delivery;
use super::outbox::{Claimed, Settled, claim, settle};
use super::outcome::Outcome;
use super::sms::Gateway;
use super::transport::Transport;
use super::{render, settings};

/// How long a courier that is to stop waits before it tries once more.
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// How often a stopping courier tries to settle what it has sent.
const LAST_ATTEMPTS: u32 = 3;

/// The courier's task, and how it is told to end.
pub struct Courier {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

struct Loop {
    db: Db,
    delivery: Arc<Delivery>,
    /// What is delivered here; the rest is another courier's.
    channels: Vec<&'static str>,
    claim_at_once: usize,
    begin_within: Duration,
    concurrency: usize,
    poll: Duration,
    wake: Arc<Notify>,
    stop: watch::Receiver<bool>,
}

/// Starts the courier; None where the settings say nowhere that mail or SMS go.
///
/// # Errors
/// What is wrong with the settings.
pub fn start(config: &Config, db: Db) -> Result<Option<Courier>, String> {
    if !config.courier.enabled {
        return Ok(None);
    }
    let mut channels = Vec::new();
    let transport = Transport::new(config)?;
    match &transport {
        Some(_) => channels.extend(["email", "webhook"]),
        None => tracing::warn!("smtp.host is not set: mail and webhooks wait in the outbox"),
    }
    let gateway = Gateway::new(&config.sms);
    channels.extend(gateway.as_ref().map(|_| "sms"));
    if channels.is_empty() {
        return Ok(None);
    }
    let of_mail = transport.as_ref().map(|transport| transport.longest(config)).unwrap_or_default();
    let longest = of_mail.max(Duration::from_secs(config.outbound.timeout_seconds));
    let delivery = Delivery {
        transport,
        gateway,
        outbound: Outbound::new(&config.outbound)?,
        environment: render::environment(),
        external_url: config.external_url.clone(),
        locale: config.courier.locale.clone(),
    };
    let (stop, stopped) = watch::channel(false);
    let wake = Arc::new(Notify::new());
    let courier = Loop {
        db,
        delivery: Arc::new(delivery),
        channels,
        claim_at_once: config.courier.claim_at_once(longest),
        begin_within: settings::begin_within(longest),
        concurrency: config.courier.concurrency,
        poll: Duration::from_secs(config.courier.poll_seconds),
        wake: Arc::clone(&wake),
        stop: stopped.clone(),
    };
    // The word says no more than that there is something: it does not matter who speaks it, or that it is missed. What was
    // committed before we listened was said to nobody.
    let ear = Arc::new(move |heard: Heard<'_>| {
        if !matches!(heard, Heard::Lost) {
            wake.notify_one();
        }
    });
    let listener = listen::start(config, "auth-courier", "auth_outbox", ear, stopped)?;
    let task = tokio::spawn(async move {
        courier.run().await;
        listener.abort();
    });
    Ok(Some(Courier { stop, task }))
}

impl Courier {
    /// Asks it to end; what is being sent is finished.
    pub fn stop(&self) {
        // It fails only if the task is gone already.
        let _ = self.stop.send(true);
    }

    pub async fn ended(self) {
        if self.task.await.is_err() {
            tracing::error!("the courier ended by a fault of the program");
        }
    }
}

impl Loop {
    async fn run(mut self) {
        tracing::info!(batch = self.claim_at_once, "the courier is ready");
        // What was delivered is remembered until the database knows it, however long it is away.
        let mut unsettled: Vec<Settled> = Vec::new();
        let mut failures = 0;
        while !self.stopping() || (!unsettled.is_empty() && failures < LAST_ATTEMPTS) {
            match self.turn(&mut unsettled).await {
                Ok(true) => failures = 0,
                Ok(false) => {
                    failures = 0;
                    self.sleep(self.poll).await;
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(
                        cause = error.cause().unwrap_or(error.code()),
                        failures,
                        "the outbox cannot be reached"
                    );
                    self.sleep(pause(failures)).await;
                }
            }
        }
        if let Some(transport) = &self.delivery.transport {
            transport.close().await;
        }
        tracing::info!("the courier has stopped");
    }

    /// Settles what is left, then claims and delivers once. Whether there was anything to do.
    async fn turn(&mut self, unsettled: &mut Vec<Settled>) -> Result<bool, Error> {
        self.settle(unsettled).await?;
        if self.stopping() {
            return Ok(true);
        }
        let rows = claim(&self.db, self.claim_at_once, &self.channels).await?;
        if rows.is_empty() {
            return Ok(false);
        }
        self.deliver(rows, unsettled).await?;
        Ok(true)
    }

    /// A few at a time, and what is done is settled at once, together with what else is done by then: between a relay's
    /// answer and the settlement a kill means a second mail, so that moment is short. Rows that were not begun when the
    /// courier is told to stop, or too late for their lease, are left to it.
    async fn deliver(&self, rows: Vec<Claimed>, unsettled: &mut Vec<Settled>) -> Result<(), Error> {
        let claimed = Instant::now();
        let deliveries = stream::iter(rows).map(|row| async move {
            if self.stopping() || claimed.elapsed() > self.begin_within {
                return None;
            }
            Some(self.deliver_apart(row).await)
        });
        let mut done = deliveries.buffer_unordered(self.concurrency).ready_chunks(self.claim_at_once);
        let mut settled = Ok(());
        while let Some(chunk) = done.next().await {
            unsettled.extend(chunk.into_iter().flatten());
            // A database that is away is not waited for while there is mail that its lease still covers.
            if settled.is_ok() {
                settled = self.settle(unsettled).await;
            }
        }
        settled
    }

    /// In a task of its own: it goes on while others are settled, and a row that trips the program keeps nobody.
    async fn deliver_apart(&self, row: Claimed) -> Settled {
        let (id, attempts) = (row.id, row.attempts);
        let delivery = Arc::clone(&self.delivery);
        tokio::spawn(async move { delivery.deliver(row).await }).await.unwrap_or_else(|_| {
            tracing::error!(%id, "a delivery ended by a fault of the program");
            Settled { id, attempts, outcome: Outcome::retry("fault", "the courier has a fault") }
        })
    }

    async fn settle(&self, unsettled: &mut Vec<Settled>) -> Result<(), Error> {
        settle(&self.db, unsettled).await?;
        unsettled.clear();
        Ok(())
    }

    fn stopping(&self) -> bool {
        *self.stop.borrow()
    }

    async fn sleep(&mut self, longest: Duration) {
        if self.stopping() {
            // Only what was sent already keeps a stopping courier.
            return tokio::time::sleep(longest.min(LAST_PAUSE)).await;
        }
        tokio::select! {
            () = self.wake.notified() => {}
            () = tokio::time::sleep(longest) => {}
            _ = self.stop.changed() => {}
        }
    }
}
