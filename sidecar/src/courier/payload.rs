//! What a claimed row of mail says. It holds the token and the code, so there is no Debug.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Payload {
    /// What the link is for; None for a notice.
    #[serde(rename = "type")]
    pub verify_type: Option<String>,
    pub token: Option<String>,
    pub code: Option<String>,
    #[serde(deserialize_with = "time")]
    pub code_expires_at: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "time")]
    pub expires_at: Option<DateTime<Utc>>,
    pub redirect_to: Option<String>,
    pub site_url: Option<String>,
    pub email: Option<String>,
    pub new_email: Option<String>,
    /// Of an SMS, without the plus.
    pub phone: Option<String>,
    pub user: Option<Map<String, Value>>,
    pub event: Option<Map<String, Value>>,
}

impl Payload {
    /// The code, unless its time is over: a mail that waited may still carry a good link.
    pub fn live_code(&self, now: DateTime<Utc>) -> Option<&str> {
        self.code.as_deref().filter(|code| !code.is_empty() && self.code_expires_at.is_none_or(|end| end > now))
    }

    pub fn live_token(&self, now: DateTime<Utc>) -> Option<&str> {
        self.token.as_deref().filter(|token| !token.is_empty() && self.expires_at.is_none_or(|end| end > now))
    }

    /// Whether the mail would carry nothing that still works. A notice carries nothing from the beginning.
    pub fn is_dead(&self, now: DateTime<Utc>) -> bool {
        let secret = |value: &Option<String>| value.as_deref().is_some_and(|value| !value.is_empty());
        self.expires_at.is_some_and(|end| end <= now)
            || ((secret(&self.token) || secret(&self.code))
                && self.live_token(now).is_none()
                && self.live_code(now).is_none())
    }

    /// A text of others (a relay, a template engine) without what only the recipient may know.
    pub fn scrub(&self, text: &str) -> String {
        [&self.token, &self.code]
            .into_iter()
            .flatten()
            .filter(|secret| !secret.is_empty())
            .fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "…"))
    }
}

/// As jsonb has it: RFC 3339, or seconds since 1970.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    use serde::de::Error;
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) => DateTime::parse_from_rfc3339(&text)
            .map(|time| Some(time.with_timezone(&Utc)))
            .map_err(|_| D::Error::custom("a time is not RFC 3339")),
        Value::Number(number) => number
            .as_f64()
            .and_then(|seconds| DateTime::from_timestamp_millis((seconds * 1000.0) as i64))
            .map(Some)
            .ok_or_else(|| D::Error::custom("a time is out of range")),
        _ => Err(D::Error::custom("a time is neither text nor number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Payload {
        serde_json::from_value(value).ok().unwrap()
    }

    /// XI7: what waited too long is not sent.
    #[test]
    fn a_mail_is_dead_when_nothing_in_it_works() {
        let now = DateTime::from_timestamp(1_000, 0).unwrap();
        for (payload, dead) in [
            (json!({}), false),
            (json!({"token": null, "code": null, "expires_at": null}), false),
            (json!({"token": "t", "code": "1", "code_expires_at": 900, "expires_at": 1_100}), false),
            (json!({"token": "t", "code": "1", "code_expires_at": 900, "expires_at": 1_000}), true),
            (json!({"code": "1", "code_expires_at": 900}), true),
            (json!({"code": "1", "code_expires_at": "1970-01-01T00:16:41.5+00:00"}), false),
            (json!({"expires_at": "1970-01-01T01:00:00+01:00"}), true),
        ] {
            assert_eq!(read(payload.clone()).is_dead(now), dead, "{payload}");
        }
        let late = read(json!({"token": "t", "code": "1", "code_expires_at": 900, "expires_at": 1_100}));
        assert_eq!((late.live_token(now), late.live_code(now)), (Some("t"), None));
    }

    #[test]
    fn a_refusal_never_repeats_the_secrets() {
        let payload = read(json!({"token": "abc", "code": "123456"}));
        assert_eq!(payload.scrub("550 no abc, no 123456"), "550 no …, no …");
    }
}
