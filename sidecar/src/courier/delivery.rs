//! One claimed row, from its payload to what became of it.

use chrono::{DateTime, Utc};
use minijinja::Environment;

use crate::counters;
use crate::outbound::Outbound;

use super::outbox::{Claimed, Settled};
use super::outcome::{MAX_ERROR_CHARS, Outcome, Verdict};
use super::payload::Payload;
use super::render::{self, Place, Rendered, one_line, render};
use super::sms::Gateway;
use super::template::{choose_locale, default_template};
use super::transport::{Letter, Transport};
use super::webhook;

/// Everything that a delivery needs and none changes.
pub struct Delivery {
    /// None where the settings name none: then no mail is claimed.
    pub transport: Option<Transport>,
    pub gateway: Option<Gateway>,
    pub outbound: Outbound,
    pub environment: Environment<'static>,
    pub external_url: String,
    pub locale: String,
}

impl Delivery {
    pub async fn deliver(&self, row: Claimed) -> Settled {
        let (id, attempts, kind, channel) = (row.id, row.attempts, row.kind.clone(), row.channel.clone());
        let outcome = match channel.as_str() {
            // It was sealed under another keyring; no later attempt opens it.
            _ if row.payload.is_null() => Outcome::failed("sealed", "what the row holds does not open"),
            "email" => match &self.transport {
                Some(transport) => self.mail(transport, row).await,
                None => Outcome::retry("channel", "this courier sends no mail"),
            },
            "sms" => match &self.gateway {
                Some(gateway) => self.sms(gateway, &row).await,
                None => Outcome::retry("channel", "this courier has no provider of SMS"),
            },
            "webhook" => webhook::post(&self.outbound, &id.to_string(), row.payload, Utc::now().timestamp()).await,
            _ => Outcome::failed("channel", "this courier delivers mail, SMS and webhooks only"),
        };
        let (outcome_word, reason) = (outcome.verdict.word(), outcome.reason.as_ref());
        counters::delivery(&channel, outcome_word);
        // Nothing else: neither to whom, nor what, nor the other side's words.
        match outcome.verdict {
            Verdict::Sent => {
                tracing::info!(%id, channel, kind, attempt = attempts, outcome = outcome_word, "delivered")
            }
            Verdict::Retry | Verdict::Failed | Verdict::Expired => {
                tracing::warn!(%id, channel, kind, attempt = attempts, outcome = outcome_word, reason, "not delivered");
            }
        }
        Settled { id, attempts, outcome }
    }

    async fn sms(&self, gateway: &Gateway, row: &Claimed) -> Outcome {
        let locale = choose_locale(row.locale.as_deref(), &self.locale);
        let place = Place {
            external_url: &self.external_url,
            locale: &locale,
            recipient: &row.recipient,
            created_at: row.created_at,
        };
        gateway.deliver(&self.outbound, &self.environment, row, &place).await
    }

    async fn mail(&self, transport: &Transport, row: Claimed) -> Outcome {
        let Ok(payload) = serde_json::from_value::<Payload>(row.payload.clone()) else {
            // A newer database may have written it; a newer courier may read it.
            return Outcome::retry("payload", "the payload is not that of a mail");
        };
        let now = Utc::now();
        if payload.is_dead(now) {
            return Outcome::expired();
        }
        let (rendered, note) = match self.render(&row, &payload, now) {
            Ok(rendered) => rendered,
            Err(outcome) => return outcome,
        };
        let letter = Letter {
            id: row.id,
            locale: choose_locale(row.locale.as_deref(), &self.locale),
            kind: row.kind,
            recipient: row.recipient,
            message_id: row.message_id,
            rendered,
            now,
        };
        let mut outcome = transport.send(letter).await;
        let words = [note, outcome.error.take()].into_iter().flatten().collect::<Vec<_>>().join("; ");
        if !words.is_empty() {
            outcome.error = Some(one_line(&payload.scrub(&words), MAX_ERROR_CHARS));
        }
        outcome
    }

    /// What the mail says, and what is to be noted with the row although it is sent. By the override if there is one and it works,
    /// else by the default: a mistake in a template costs nobody a mail.
    fn render(
        &self,
        row: &Claimed,
        payload: &Payload,
        now: DateTime<Utc>,
    ) -> Result<(Rendered, Option<String>), Outcome> {
        let locale = choose_locale(row.locale.as_deref(), &self.locale);
        let place = Place {
            external_url: &self.external_url,
            locale: &locale,
            recipient: &row.recipient,
            created_at: row.created_at,
        };
        let mut note = None;
        if let Some(template) = &row.template {
            match render(&self.environment, template, payload, &place, now) {
                Ok(rendered) => return Ok((rendered, None)),
                Err(why) => {
                    tracing::warn!(id = %row.id, kind = row.kind, "a template of auth.templates fails; the default is used");
                    note = Some(format!("the template in auth.templates fails ({why}), the default was used"));
                }
            }
        }
        let Some(template) = default_template(&row.kind, &locale) else {
            let why = note.unwrap_or_else(|| "there is no template of this kind".into());
            return Err(Outcome::failed("template", payload.scrub(&why)));
        };
        match render(&self.environment, &template, payload, &place, now) {
            Ok(rendered) => Ok((rendered, note)),
            Err(why) => Err(Outcome::retry("template", payload.scrub(&why))),
        }
    }
}

/// Renders as a delivery would, for those who write templates.
///
/// # Errors
/// What is wrong with the template.
pub fn preview(
    template: &super::template::Template,
    payload: &Payload,
    place: &Place<'_>,
    now: DateTime<Utc>,
) -> Result<Rendered, String> {
    render(&render::environment(), template, payload, place, now)
}
