//! Amazon SNS, Publish to a number.
//! https://docs.aws.amazon.com/sns/latest/api/API_Publish.html

use chrono::{DateTime, Utc};

use crate::outbound::Outbound;

use super::super::outcome::Outcome;
use super::settings::AwsSns;
use super::sigv4::{self, Signer};
use super::{Sms, refused, unreachable};

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
/// What SNS says with 400 of the message itself.
const ABOUT_THE_MESSAGE: &[&str] = &["InvalidParameter", "InvalidParameterValue", "OptedOut", "ParameterValueInvalid"];

pub async fn send(outbound: &Outbound, settings: &AwsSns, sms: &Sms<'_>, now: DateTime<Utc>) -> Outcome {
    let url = match settings.endpoint.as_str() {
        "" => format!("https://sns.{}.amazonaws.com/", settings.region),
        endpoint => format!("{}/", endpoint.trim_end_matches('/')),
    };
    // As the header Host will be: with a port that is not the scheme's own.
    let Some(host) = sigv4::host(&url) else { return Outcome::failed("url", "sms.aws_sns.endpoint is not a URL") };
    let body = body(settings, sms);
    let time = now.format("%Y%m%dT%H%M%SZ").to_string();
    let signer = Signer {
        access_key_id: &settings.access_key_id,
        secret_access_key: &settings.secret_access_key,
        region: &settings.region,
        service: "sns",
    };
    let headers = [
        ("authorization", signer.authorization(&time, FORM, &host, body.as_bytes())),
        ("content-type", FORM.to_owned()),
        ("x-amz-date", time.clone()),
    ];
    let answer = match outbound.exchange(&url, &headers, body.into_bytes()).await {
        Ok(answer) => answer,
        Err(error) => return unreachable(error),
    };
    match answer.status {
        200..=299 => Outcome::sent(),
        status => {
            let answered = String::from_utf8_lossy(&answer.body).into_owned();
            let code = answered.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
            let code = code.map_or("", |(code, _)| code);
            let words = format!("SNS answered {status}, {code}");
            refused(status, answer.retry_after.as_deref(), ABOUT_THE_MESSAGE.contains(&code), words)
        }
    }
}

fn body(settings: &AwsSns, sms: &Sms<'_>) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs([
        ("Action", "Publish"),
        ("Version", "2010-03-31"),
        ("PhoneNumber", sms.recipient),
        ("Message", sms.text),
    ]);
    // A code is worth a better route than an advertisement.
    let sender = Some(settings.sender_id.as_str()).filter(|name| !name.is_empty());
    let attributes = [("AWS.SNS.SMS.SMSType", Some("Transactional")), ("AWS.SNS.SMS.SenderID", sender)];
    for (number, (name, value)) in attributes.into_iter().filter_map(|(n, v)| Some((n, v?))).enumerate() {
        let entry = format!("MessageAttributes.entry.{}", number + 1);
        form.append_pair(&format!("{entry}.Name"), name)
            .append_pair(&format!("{entry}.Value.DataType"), "String")
            .append_pair(&format!("{entry}.Value.StringValue"), value);
    }
    form.finish()
}
