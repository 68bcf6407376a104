//! What an SMS says: a template in the reader's language. The last line is the one by which browsers and phones find the code
//! and the site that it is for (WebOTP, https://wicg.github.io/sms-one-time-codes/).

use chrono::{DateTime, Duration, Utc};
use minijinja::Environment;
use serde_json::json;

use super::super::outbox::Claimed;
use super::super::payload::Payload;
use super::super::render::{self, Place};
use super::super::template::Template;

/// More than ten parts; every part is paid for.
const MOST_CHARS: usize = 1600;

const DEFAULTS: [(&str, &str); 2] = [
    ("en", include_str!("../../../templates/en/sms_otp.txt")),
    ("de", include_str!("../../../templates/de/sms_otp.txt")),
];

fn default(locale: &str) -> Template {
    let text = DEFAULTS.iter().find(|(name, _)| *name == locale).map_or(DEFAULTS[0].1, |(_, text)| text);
    template(text.to_owned())
}

/// An SMS has no subject; the engine wants one.
fn template(text: String) -> Template {
    Template { subject: "SMS".into(), text, html: None }
}

/// By the override of `auth.templates` if there is one and it works, else by the default; and what is to be noted with the
/// row.
///
/// # Errors
/// What is wrong with the default.
pub fn render(
    environment: &Environment<'_>,
    row: &Claimed,
    payload: &Payload,
    place: &Place<'_>,
    now: DateTime<Utc>,
) -> Result<(String, Option<String>), String> {
    let mut note = None;
    if let Some(own) = &row.template {
        match fill(environment, &template(own.text.clone()), payload, place, now) {
            Ok(text) => return Ok((text, None)),
            Err(why) => {
                tracing::warn!(id = %row.id, kind = row.kind, "a template of auth.templates fails; the default is used");
                note = Some(format!("the template in auth.templates fails ({why}), the default was used"));
            }
        }
    }
    Ok((fill(environment, &default(place.locale), payload, place, now)?, note))
}

fn fill(
    environment: &Environment<'_>,
    template: &Template,
    payload: &Payload,
    place: &Place<'_>,
    now: DateTime<Utc>,
) -> Result<String, String> {
    let text = render::render(environment, template, payload, place, now)?.text.trim().to_owned();
    match text.chars().count() {
        1..=MOST_CHARS => Ok(text),
        _ => Err(format!("an SMS has 1 to {MOST_CHARS} characters")),
    }
}

/// A made-up code, for those who try their provider.
///
/// # Errors
/// What is wrong with the default.
pub fn sample(recipient: &str, place: &Place<'_>, now: DateTime<Utc>) -> Result<(String, Payload), String> {
    let ends = (now + Duration::minutes(1)).to_rfc3339();
    let payload = json!({"type": "sms", "code": "123456", "code_expires_at": ends, "expires_at": ends,
        "phone": recipient.trim_start_matches('+'), "site_url": place.external_url});
    let payload: Payload = serde_json::from_value(payload).map_err(|error| error.to_string())?;
    let text = fill(&render::environment(), &default(place.locale), &payload, place, now)?;
    Ok((text, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_for_the_browser_and_it_is_one_sms() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        for (locale, word) in [("en", "Never"), ("de", "nie")] {
            let place =
                Place { external_url: "https://app.example.org:8443/x", locale, recipient: "+1", created_at: now };
            let (text, _) = sample("+4915112345678", &place, now).unwrap();
            assert!(text.starts_with("123456 ") && text.contains(word), "{text}");
            assert!(text.ends_with("\n\n@app.example.org #123456"), "{text}");
            assert!(text.chars().count() <= 160, "{text}");
        }
    }
}
