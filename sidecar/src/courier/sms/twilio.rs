//! Twilio's API of messages: a form with basic authentication.
//! https://www.twilio.com/docs/messaging/api/message-resource

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::outbound::Outbound;

use super::super::outcome::Outcome;
use super::settings::Twilio;
use super::{Sms, member, refused, unreachable};

/// Codes that come with 400 and are about us or the moment, not about the message: authentication, too many at once, a full
/// queue, a number of ours that is wrong.
const NOT_THE_MESSAGE: &[&str] = &["20003", "20404", "20429", "21212", "21603", "21606", "21611", "21703", "30001"];

pub async fn send(outbound: &Outbound, settings: &Twilio, sms: &Sms<'_>) -> Outcome {
    let base = settings.base_url.trim_end_matches('/');
    let url = format!("{base}/2010-04-01/Accounts/{}/Messages.json", settings.account_sid);
    let sender = match settings.messaging_service_sid.as_str() {
        "" => ("From", settings.from.as_str()),
        service => ("MessagingServiceSid", service),
    };
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("To", sms.recipient), sender, ("Body", sms.text)])
        .finish();
    let credentials = STANDARD.encode(format!("{}:{}", settings.account_sid, settings.auth_token));
    let headers = [
        ("authorization", format!("Basic {credentials}")),
        ("content-type", "application/x-www-form-urlencoded".to_owned()),
        ("accept", "application/json".to_owned()),
    ];
    let answer = match outbound.exchange(&url, &headers, body.into_bytes()).await {
        Ok(answer) => answer,
        Err(error) => return unreachable(error),
    };
    match answer.status {
        200..=299 => Outcome::sent(),
        status => {
            let code = member(&answer.body, "code").unwrap_or_default();
            let words = format!("Twilio answered {status}, code {code}");
            let is_message = !code.is_empty() && !NOT_THE_MESSAGE.contains(&code.as_str());
            refused(status, answer.retry_after.as_deref(), is_message, words)
        }
    }
}
