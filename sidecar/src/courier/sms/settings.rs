//! The part of the settings that is about SMS: `[sms]`, and a section for each provider.

use serde::{Deserialize, Serialize};

use super::super::webhook;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    Twilio,
    AwsSns,
    /// A program of yours, asked as a webhook.
    Http,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Without one SMS wait in the outbox until they expire.
    pub provider: Option<Provider>,
    pub twilio: Twilio,
    pub aws_sns: AwsSns,
    pub http: Http,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Twilio {
    pub account_sid: String,
    pub auth_token: String,
    /// A number or name of yours there; not needed with a messaging service.
    pub from: String,
    pub messaging_service_sid: String,
    /// Another place where their API is, such as a proxy or a test's.
    pub base_url: String,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AwsSns {
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    /// The name that phones show, where the country allows one.
    pub sender_id: String,
    /// Another place where their API is; empty: `https://sns.{region}.amazonaws.com/`.
    pub endpoint: String,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    pub url: String,
    /// `whsec_` and base64, as Standard Webhooks has it; `v1,whsec_…` as Supabase writes it is the same.
    pub secret: String,
}

impl Default for Twilio {
    fn default() -> Self {
        Twilio {
            account_sid: String::new(),
            auth_token: String::new(),
            from: String::new(),
            messaging_service_sid: String::new(),
            base_url: "https://api.twilio.com".into(),
        }
    }
}

/// It holds secrets.
impl std::fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Sms").field("provider", &self.provider).finish_non_exhaustive()
    }
}

impl Provider {
    pub fn name(self) -> &'static str {
        match self {
            Provider::Twilio => "twilio",
            Provider::AwsSns => "aws_sns",
            Provider::Http => "http",
        }
    }
}

impl Settings {
    /// # Errors
    /// What is wrong, in words for the operator.
    pub fn check(&self) -> Result<(), String> {
        let needed: &[(&str, &str)] = match self.provider {
            None => &[],
            Some(Provider::Twilio) => &[
                ("sms.twilio.account_sid", &self.twilio.account_sid),
                ("sms.twilio.auth_token", &self.twilio.auth_token),
                ("sms.twilio.base_url", &self.twilio.base_url),
            ],
            Some(Provider::AwsSns) => &[
                ("sms.aws_sns.region", &self.aws_sns.region),
                ("sms.aws_sns.access_key_id", &self.aws_sns.access_key_id),
                ("sms.aws_sns.secret_access_key", &self.aws_sns.secret_access_key),
            ],
            Some(Provider::Http) => &[("sms.http.url", &self.http.url), ("sms.http.secret", &self.http.secret)],
        };
        if let Some((name, _)) = needed.iter().find(|(_, value)| value.is_empty()) {
            return Err(format!("{name} is not set"));
        }
        match self.provider {
            Some(Provider::Twilio) if self.twilio.from.is_empty() == self.twilio.messaging_service_sid.is_empty() => {
                Err("either sms.twilio.from or sms.twilio.messaging_service_sid is set".into())
            }
            // They become part of an address.
            Some(Provider::Twilio) if !is_word(&self.twilio.account_sid) => {
                Err("sms.twilio.account_sid: letters and digits only".into())
            }
            Some(Provider::AwsSns) if !is_word(&self.aws_sns.region) => {
                Err("sms.aws_sns.region is not one such as eu-central-1".into())
            }
            Some(Provider::Http) if self.http.key().is_none() => {
                Err("sms.http.secret is not `whsec_` and base64".into())
            }
            _ => Ok(()),
        }
    }
}

impl Http {
    pub fn key(&self) -> Option<Vec<u8>> {
        webhook::key(self.secret.strip_prefix("v1,").unwrap_or(&self.secret))
    }
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_has_what_it_needs() {
        let twilio = |from: &str, service: &str, sid: &str| Settings {
            provider: Some(Provider::Twilio),
            twilio: Twilio {
                account_sid: sid.into(),
                auth_token: "t".into(),
                from: from.into(),
                messaging_service_sid: service.into(),
                ..Twilio::default()
            },
            ..Settings::default()
        };
        let http = |secret: &str| Settings {
            provider: Some(Provider::Http),
            http: Http { url: "https://example.org/".into(), secret: secret.into() },
            ..Settings::default()
        };
        let sns = |region: &str, key: &str| Settings {
            provider: Some(Provider::AwsSns),
            aws_sns: AwsSns {
                region: region.into(),
                access_key_id: key.into(),
                secret_access_key: "s".into(),
                ..AwsSns::default()
            },
            ..Settings::default()
        };
        for (settings, is_good) in [
            (Settings::default(), true),
            (twilio("+15555550123", "", "AC1"), true),
            (twilio("", "MG1", "AC1"), true),
            (twilio("", "", "AC1"), false),
            (twilio("+15555550123", "MG1", "AC1"), false),
            (twilio("+15555550123", "", ""), false),
            (twilio("+15555550123", "", "AC1/../x"), false),
            (sns("eu-central-1", "AKID"), true),
            (sns("eu-central-1", ""), false),
            (sns("evil.example.org/", "AKID"), false),
            (http("whsec_c2VjcmV0"), true),
            (http("v1,whsec_c2VjcmV0"), true),
            (http("secret"), false),
        ] {
            assert_eq!(settings.check().is_ok(), is_good, "{:?}", settings.check());
        }
    }
}
