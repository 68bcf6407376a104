//! `auth-sidecar sms test`: one SMS through the provider of the settings, without a row in the outbox.

use chrono::Utc;
use clap::{Args, Subcommand};

use crate::config::Config;
use crate::outbound::Outbound;

use super::super::outcome::Verdict;
use super::super::render::Place;
use super::super::template::choose_locale;
use super::{Gateway, Sms, text};

#[derive(Args)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Send one SMS with a made-up code through the provider of the settings. It costs what an SMS costs.
    Test {
        /// With the country code: +4915112345678
        number: String,
        #[arg(long)]
        locale: Option<String>,
    },
}

/// # Errors
/// What went wrong, in words for the operator.
pub async fn run(command: Command, config: &Config) -> Result<(), String> {
    let Action::Test { number, locale } = command.action;
    let gateway = Gateway::new(&config.sms).ok_or("sms.provider is not set")?;
    let locale = choose_locale(locale.as_deref(), &config.courier.locale);
    let now = Utc::now();
    let place = Place { external_url: &config.external_url, locale: &locale, recipient: &number, created_at: now };
    let (text, payload) = text::sample(&number, &place, now)?;
    let id = uuid::Uuid::new_v4().to_string();
    let sms = Sms { id: &id, recipient: &number, text: &text, locale: &locale, payload: &payload };
    let outcome = gateway.send(&Outbound::new(&config.outbound)?, &sms, now).await;
    match outcome.verdict {
        Verdict::Sent => {
            println!("the provider has taken the SMS");
            Ok(())
        }
        Verdict::Retry | Verdict::Failed | Verdict::Expired => Err(outcome.error.unwrap_or_default()),
    }
}
