//! Where mails go: to an SMTP relay, to a program of the operator's by signed HTTP, or into a directory, one file each.
//!
//! Whichever it is, a mail is one that SMTP could carry: the same recipient's check, the same Message-ID at each attempt.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use lettre::message::Mailbox;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::config::Config;
use crate::outbound::{self, Outbound, OutboundError};

use super::message::{self, Mail, compose};
use super::outcome::Outcome;
use super::relay::Relay;
use super::render::Rendered;
use super::settings::Kind;
use super::webhook;

/// A mail before it is what the transport carries.
pub struct Letter {
    pub id: Uuid,
    pub kind: String,
    pub locale: String,
    pub recipient: String,
    pub message_id: String,
    pub rendered: Rendered,
    pub now: DateTime<Utc>,
}

pub enum Transport {
    Smtp(Box<Relay>),
    Http { outbound: Outbound, url: String, key: Vec<u8>, sender: Mailbox },
    File { directory: PathBuf, sender: Mailbox },
}

impl Transport {
    /// None where the settings name none: mail waits in the outbox.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(config: &Config) -> Result<Option<Transport>, String> {
        if !config.mail.configured(&config.smtp) {
            return Ok(None);
        }
        let sender = || message::sender(&config.smtp.sender);
        Ok(Some(match config.mail.transport {
            Kind::Smtp => Transport::Smtp(Box::new(Relay::new(&config.smtp)?)),
            Kind::Http => Transport::Http {
                // The operator's own address, which may well be private.
                outbound: Outbound::new(&outbound::Settings { allow_private: true, ..config.outbound.clone() })?,
                url: config.mail.url.clone(),
                key: webhook::key(&config.mail.secret).ok_or("mail.secret is not `whsec_` and base64")?,
                sender: sender()?,
            },
            Kind::File => Transport::File { directory: config.mail.directory.clone(), sender: sender()? },
        }))
    }

    /// How long one mail may take.
    pub fn longest(&self, config: &Config) -> Duration {
        match self {
            Transport::Smtp(_) => config.smtp.timeout(),
            Transport::Http { .. } | Transport::File { .. } => Duration::from_secs(config.outbound.timeout_seconds),
        }
    }

    pub async fn send(&self, letter: Letter) -> Outcome {
        match self {
            Transport::Smtp(relay) => match composed(relay.sender(), letter) {
                Ok(mail) => relay.send(&mail).await,
                Err(outcome) => outcome,
            },
            Transport::Http { outbound, url, key, sender } => post(outbound, url, key, sender, letter).await,
            Transport::File { directory, sender } => {
                let (id, directory) = (letter.id, directory.clone());
                match composed(sender, letter) {
                    Ok(mail) => tokio::task::spawn_blocking(move || keep(&directory, id, &mail.bytes))
                        .await
                        .unwrap_or_else(|_| Outcome::retry("fault", "the courier has a fault")),
                    Err(outcome) => outcome,
                }
            }
        }
    }

    /// Whether it takes mail, as far as that can be seen without sending one.
    ///
    /// # Errors
    /// Why not, in words for the operator.
    pub async fn try_out(&self) -> Result<(), String> {
        match self {
            Transport::Smtp(relay) => relay.try_out().await,
            Transport::Http { outbound, url, .. } => match outbound.reach(url).await {
                Ok(_) => Ok(()),
                Err(OutboundError::Refused(why) | OutboundError::Failed(why)) => Err(why),
            },
            Transport::File { directory, .. } => match std::fs::metadata(directory) {
                Ok(found) if found.is_dir() && !found.permissions().readonly() => Ok(()),
                Ok(_) => Err("mail.directory is no directory that takes files".into()),
                Err(error) => Err(format!("mail.directory: {error}")),
            },
        }
    }

    pub async fn close(&self) {
        if let Transport::Smtp(relay) = self {
            relay.close().await;
        }
    }
}

fn composed(sender: &Mailbox, letter: Letter) -> Result<Mail, Outcome> {
    compose(sender, &letter.recipient, &letter.message_id, letter.rendered, SystemTime::from(letter.now))
        .map_err(|why| Outcome::failed("message", why))
}

/// As a webhook is posted (Standard Webhooks): the receiver checks the signature, and sees by the id that it has the mail already.
async fn post(outbound: &Outbound, url: &str, key: &[u8], sender: &Mailbox, letter: Letter) -> Outcome {
    if let Err(why) = message::recipient(&letter.recipient) {
        return Outcome::failed("message", why);
    }
    let body = json!({
        "type": "mail",
        "timestamp": letter.now.to_rfc3339(),
        "data": {
            "id": letter.id, "kind": letter.kind, "locale": letter.locale, "message_id": letter.message_id,
            "from": sender.to_string(), "to": letter.recipient, "subject": letter.rendered.subject,
            "text": letter.rendered.text, "html": letter.rendered.html,
        },
    });
    let payload =
        webhook::Payload { url: url.to_owned(), secret: String::new(), body: Value::String(body.to_string()) };
    webhook::post_signed(outbound, &letter.id.to_string(), payload, key, letter.now.timestamp()).await
}

/// One file, whole or not there, named by its row: written twice it is the same file.
fn keep(directory: &Path, id: Uuid, bytes: &[u8]) -> Outcome {
    let unfinished = directory.join(format!(".{id}.tmp"));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        // It holds a link that signs in.
        .mode(0o600)
        .open(&unfinished)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&unfinished, directory.join(format!("{id}.eml"))))
        .and_then(|()| std::fs::File::open(directory)?.sync_all());
    match written {
        Ok(()) => Outcome::sent(),
        Err(error) => Outcome::retry("file", format!("mail.directory: {error}")),
    }
}
