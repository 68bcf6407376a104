//! `auth-sidecar mail`: look at a mail, and try the relay, without a row in the outbox.

use std::path::PathBuf;

use chrono::{Duration, Utc};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::config::Config;

use super::delivery::preview;
use super::outcome::Verdict;
use super::payload::Payload;
use super::render::{Place, Rendered};
use super::template::{KINDS, Template, choose_locale, default_template, parse};
use super::transport::{Letter, Transport};

#[derive(Args)]
pub struct Mail {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print a mail as it would be sent, made from sample data.
    Preview {
        /// confirmation, invite, magiclink, otp, recovery …
        kind: String,
        #[arg(long)]
        locale: Option<String>,
        /// A template to try: its subject, a line `--- text`, its text, a line `--- html`, its HTML.
        #[arg(long)]
        template: Option<PathBuf>,
    },
    /// Send one mail through the relay of the settings.
    Test {
        address: String,
        #[arg(long)]
        locale: Option<String>,
    },
}

/// # Errors
/// What went wrong, in words for the operator.
pub async fn run(mail: Mail, config: &Config) -> Result<(), String> {
    match mail.command {
        Command::Preview { kind, locale, template } => {
            let template = match template {
                Some(file) => {
                    let source = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
                    Some(parse(&source)?)
                }
                None => None,
            };
            let rendered = sample(&kind, locale.as_deref(), template, "ada@example.org", config)?;
            println!("Subject: {}\n\n{}", rendered.subject, rendered.text);
            if let Some(html) = rendered.html {
                println!("--- html\n{html}");
            }
            Ok(())
        }
        Command::Test { address, locale } => test(&address, locale.as_deref(), config).await,
    }
}

async fn test(address: &str, locale: Option<&str>, config: &Config) -> Result<(), String> {
    let transport = Transport::new(config)?.ok_or("smtp.host is not set")?;
    let mut rendered = sample("confirmation", locale, None, address, config)?;
    rendered.subject = format!("[test] {}", rendered.subject);
    let id = uuid::Uuid::new_v4();
    let domain = super::message::sender(&config.smtp.sender)?.email.domain().to_owned();
    let letter = Letter {
        id,
        kind: "confirmation".into(),
        locale: choose_locale(locale, &config.courier.locale),
        recipient: address.to_owned(),
        message_id: format!("test-{id}@{domain}"),
        rendered,
        now: Utc::now(),
    };
    let outcome = transport.send(letter).await;
    transport.close().await;
    match outcome.verdict {
        Verdict::Sent => {
            println!("the relay has taken the mail");
            Ok(())
        }
        Verdict::Retry | Verdict::Failed | Verdict::Expired => Err(outcome.error.unwrap_or_default()),
    }
}

/// Made-up values of every variable; the link and the code lead nowhere.
fn sample(
    kind: &str,
    locale: Option<&str>,
    template: Option<Template>,
    recipient: &str,
    config: &Config,
) -> Result<Rendered, String> {
    let (_, verify_type) = KINDS
        .iter()
        .find(|(name, _)| *name == kind)
        .ok_or_else(|| format!("there is no kind {kind:?}; there are {}", KINDS.map(|(name, _)| name).join(", ")))?;
    let locale = choose_locale(locale, &config.courier.locale);
    let template = template
        .or_else(|| default_template(kind, &locale))
        .ok_or_else(|| format!("there is no template of {kind} in {locale}"))?;
    let now = Utc::now();
    let mut payload = json!({
        "site_url": "https://app.example.org",
        "email": recipient,
        "new_email": "ada@example.net",
        "redirect_to": "https://app.example.org/welcome",
        "user": {"id": "00000000-0000-4000-8000-000000000000", "email": recipient, "user_metadata": {"name": "Ada"}},
        "event": {"ip": "198.51.100.7", "user_agent": "Firefox on Linux",
            "provider": "github", "factor_type": "totp"},
    });
    if !verify_type.is_empty() {
        payload["type"] = (*verify_type).into();
        payload["code"] = "123456".into();
        payload["code_expires_at"] = (now + Duration::minutes(10)).to_rfc3339().into();
        payload["expires_at"] = (now + Duration::hours(24)).to_rfc3339().into();
        if *verify_type != "reauthentication" {
            payload["token"] = "a-token-that-opens-nothing".into();
        }
    }
    let payload: Payload = serde_json::from_value(payload).map_err(|error| error.to_string())?;
    let place = Place { external_url: &config.external_url, locale: &locale, recipient, created_at: now };
    preview(&template, &payload, &place, now)
}
