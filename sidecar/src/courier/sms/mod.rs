//! SMS: a claimed row becomes a text, and a provider is asked to send it.
//!
//! Promises: what has ended is not sent; a provider that is busy, down or does not know us is asked again, and one that
//! refuses the number is not. Nothing of the code, the number or a provider's words is in the log.
//!
//! A provider keeps no id of ours, so a courier that dies between its answer and the settlement sends a second SMS with the
//! same code.

mod aws_sns;
pub mod command;
mod hook;
pub mod settings;
mod sigv4;
mod text;
mod twilio;

use chrono::{DateTime, Utc};
use minijinja::Environment;
use serde_json::Value;

use crate::outbound::{Outbound, OutboundError};

use self::settings::{Provider, Settings};
use super::outbox::Claimed;
use super::outcome::{MAX_ERROR_CHARS, Outcome};
use super::payload::Payload;
use super::render::{Place, one_line};
use super::webhook;

/// What a provider is asked to send.
pub struct Sms<'a> {
    /// Id of the row, the same at every attempt.
    pub id: &'a str,
    /// With the plus.
    pub recipient: &'a str,
    pub text: &'a str,
    pub locale: &'a str,
    pub payload: &'a Payload,
}

/// The provider of the settings.
pub struct Gateway {
    provider: Provider,
    settings: Settings,
}

impl Gateway {
    /// None where there is no provider.
    pub fn new(settings: &Settings) -> Option<Gateway> {
        settings.provider.map(|provider| Gateway { provider, settings: settings.clone() })
    }

    pub async fn send(&self, outbound: &Outbound, sms: &Sms<'_>, now: DateTime<Utc>) -> Outcome {
        match self.provider {
            Provider::Twilio => twilio::send(outbound, &self.settings.twilio, sms).await,
            Provider::AwsSns => aws_sns::send(outbound, &self.settings.aws_sns, sms, now).await,
            Provider::Http => hook::send(outbound, &self.settings.http, sms, now).await,
        }
    }

    /// A claimed row, from its payload to what became of it.
    pub async fn deliver(
        &self,
        outbound: &Outbound,
        environment: &Environment<'_>,
        row: &Claimed,
        place: &Place<'_>,
    ) -> Outcome {
        let Ok(payload) = serde_json::from_value::<Payload>(row.payload.clone()) else {
            // A newer database may have written it; a newer courier may read it.
            return Outcome::retry("payload", "the payload is not that of an SMS");
        };
        let now = Utc::now();
        if payload.is_dead(now) {
            return Outcome::failed("expired", "expired");
        }
        let (text, note) = match text::render(environment, row, &payload, place, now) {
            Ok(rendered) => rendered,
            Err(why) => return Outcome::failed("template", payload.scrub(&why)),
        };
        let id = row.id.to_string();
        let sms = Sms { id: &id, recipient: &row.recipient, text: &text, locale: place.locale, payload: &payload };
        let mut outcome = self.send(outbound, &sms, now).await;
        let words = [note, outcome.error.take()].into_iter().flatten().collect::<Vec<_>>().join("; ");
        if !words.is_empty() {
            outcome.error = Some(one_line(&payload.scrub(&words), MAX_ERROR_CHARS));
        }
        outcome
    }
}

/// What a refusal of a provider means: asked again unless it is about the message itself. A key that it does not know is
/// the operator's to mend, and costs nobody an SMS.
fn refused(status: u16, retry_after: Option<&str>, is_about_the_message: bool, words: String) -> Outcome {
    let reason = format!("http_{status}");
    if status == 400 && is_about_the_message {
        return Outcome::failed(reason, words);
    }
    let mut outcome = Outcome::retry(reason, words);
    outcome.retry_in = webhook::seconds(retry_after);
    outcome
}

fn unreachable(error: OutboundError) -> Outcome {
    match error {
        OutboundError::Refused(why) => Outcome::failed("url", why),
        OutboundError::Failed(why) => Outcome::retry("http_connection", why),
    }
}

/// A member of an answer, as text.
fn member(answer: &[u8], name: &str) -> Option<String> {
    match serde_json::from_slice::<Value>(answer).ok()?.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
