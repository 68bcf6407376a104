//! Webhooks by Standard Webhooks: the receiver checks a signature over id, time and body, and sees by the id that it
//! had the event already. The body is sent exactly as it was queued.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde::Deserialize;
use serde_json::Value;

use crate::outbound::{Outbound, OutboundError};

use super::outcome::Outcome;

/// A claimed row of a webhook. No Debug: it holds the secret.
#[derive(Deserialize)]
pub struct Payload {
    pub url: String,
    /// `whsec_` and base64.
    pub secret: String,
    pub body: Value,
}

const MAX_RETRY_SECONDS: u64 = 3600;

pub async fn post(outbound: &Outbound, id: &str, payload: Value, now: i64) -> Outcome {
    let Ok(payload) = serde_json::from_value::<Payload>(payload) else {
        return Outcome::failed("payload", "the payload is not that of a webhook");
    };
    let Some(key) = key(&payload.secret) else {
        return Outcome::failed("secret", "the secret is not `whsec_` and base64");
    };
    post_signed(outbound, id, payload, &key, now).await
}

pub async fn post_signed(outbound: &Outbound, id: &str, payload: Payload, key: &[u8], now: i64) -> Outcome {
    // A body that was queued as text is that text: its bytes are what the receiver checks.
    let body = match &payload.body {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let headers = headers(key, id, now, &body);
    match outbound.post(&payload.url, &headers, body.into_bytes()).await {
        Ok(answer) => verdict(answer.status, answer.retry_after.as_deref()),
        Err(OutboundError::Refused(why)) => Outcome::failed("url", why),
        Err(OutboundError::Failed(why)) => Outcome::retry("http_connection", why),
    }
}

pub fn key(secret: &str) -> Option<Vec<u8>> {
    STANDARD.decode(secret.strip_prefix("whsec_")?).ok().filter(|key| !key.is_empty())
}

pub fn headers(key: &[u8], id: &str, now: i64, body: &str) -> [(&'static str, String); 4] {
    [
        ("content-type", "application/json".to_owned()),
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", now.to_string()),
        ("webhook-signature", signature(key, id, now, body)),
    ]
}

pub fn signature(key: &[u8], id: &str, timestamp: i64, body: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag.as_ref()))
}

pub fn verdict(status: u16, retry_after: Option<&str>) -> Outcome {
    let reason = format!("http_{status}");
    let error = format!("the receiver answered {status}");
    match status {
        200..=299 => Outcome::sent(),
        408 | 429 => {
            let mut outcome = Outcome::retry(reason, error);
            outcome.retry_in = seconds(retry_after);
            outcome
        }
        400..=499 => Outcome::failed(reason, error),
        _ => {
            let mut outcome = Outcome::retry(reason, error);
            outcome.retry_in = seconds(retry_after);
            outcome
        }
    }
}

pub fn seconds(retry_after: Option<&str>) -> Option<u64> {
    retry_after?.trim().parse::<u64>().ok().map(|seconds| seconds.min(MAX_RETRY_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::super::outcome::Verdict;
    use super::*;

    /// The example of the Standard Webhooks specification's own libraries.
    #[test]
    fn the_signature_is_the_specifications() {
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = r#"{"test": 2432232314}"#;
        assert_eq!(
            signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn an_answer_says_whether_to_come_again() {
        for (status, after, verdict_of, retry_in) in [
            (200, None, Verdict::Sent, None),
            (204, Some("5"), Verdict::Sent, None),
            (301, None, Verdict::Retry, None),
            (400, None, Verdict::Failed, None),
            (410, Some("5"), Verdict::Failed, None),
            (408, None, Verdict::Retry, None),
            (429, Some("30"), Verdict::Retry, Some(30)),
            (503, Some("999999"), Verdict::Retry, Some(3600)),
            (503, Some("soon"), Verdict::Retry, None),
        ] {
            let outcome = verdict(status, after);
            assert_eq!((outcome.verdict, outcome.retry_in), (verdict_of, retry_in), "{status}");
        }
    }

    #[test]
    fn a_secret_has_its_prefix() {
        assert!(key("MfKQ").is_none() && key("whsec_").is_none() && key("whsec_!!").is_none());
    }
}
