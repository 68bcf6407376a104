//! A program of yours that sends the SMS: asked by a POST that is signed like a webhook (Standard Webhooks), with the body
//! that Supabase Auth's hook `send_sms` has, and the text besides.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::outbound::Outbound;

use super::super::outcome::Outcome;
use super::super::webhook;
use super::settings::Http;
use super::{Sms, unreachable};

pub async fn send(outbound: &Outbound, settings: &Http, sms: &Sms<'_>, now: DateTime<Utc>) -> Outcome {
    let Some(key) = settings.key() else {
        return Outcome::retry("secret", "sms.http.secret is not `whsec_` and base64");
    };
    let body = body(sms).to_string();
    let now = now.timestamp();
    let headers = webhook::headers(&key, sms.id, now, &body);
    match outbound.exchange(&settings.url, &headers, body.into_bytes()).await {
        Ok(answer) => webhook::verdict(answer.status, answer.retry_after.as_deref()),
        Err(error) => unreachable(error),
    }
}

fn body(sms: &Sms<'_>) -> serde_json::Value {
    let mut user = sms.payload.user.clone().unwrap_or_default();
    user.entry("phone").or_insert_with(|| sms.recipient.trim_start_matches('+').into());
    json!({
        "user": user,
        "sms": {
            "otp": sms.payload.code, "phone": sms.recipient, "message": sms.text, "locale": sms.locale,
            "sms_type": sms.payload.verify_type,
        },
    })
}
