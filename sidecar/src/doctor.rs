//! `auth-sidecar doctor`: everything that this process needs, tried once: settings, database, keys, clocks, relay and webhooks.
//! It changes nothing and sends nothing. What it prints holds no secret, and no URL of a webhook, which may hold one.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use serde::Deserialize;

use crate::config::{Config, Database};
use crate::courier::Transport;
use crate::courier::settings::Kind;
use crate::db::{Caller, Db};
use crate::error::{Error, describe};
use crate::outbound::{Outbound, OutboundError};

#[derive(Args)]
pub struct Doctor {
    /// A connection string of an administrator (a member of auth_admin), for what auth.doctor() finds in the database.
    #[arg(long, env = "AUTH_DOCTOR_URL", hide_env_values = true)]
    admin_url: Option<String>,
}

/// A clock that is further off than this makes tokens look ended, or webhooks look replayed.
const MOST_SKEW: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Status {
    /// Seconds since 1970.
    time: f64,
    version: String,
    webhooks: Vec<Webhook>,
    findings: Vec<Finding>,
}

#[derive(Deserialize)]
struct Webhook {
    id: uuid::Uuid,
    url: String,
}

#[derive(Clone, PartialEq, Deserialize)]
struct Finding {
    finding: String,
    severity: String,
    object: String,
    hint: String,
}

fn finding(severity: &str, finding: &str, object: impl Into<String>, hint: impl Into<String>) -> Finding {
    Finding { finding: finding.into(), severity: severity.into(), object: object.into(), hint: hint.into() }
}

/// # Errors
/// That something is wrong; what has been printed.
pub async fn run(doctor: Doctor, file: Option<&Path>) -> Result<(), String> {
    let findings = match Config::read(file) {
        Ok(config) => look(&config, doctor.admin_url.as_deref()).await,
        Err(why) => vec![finding("error", "settings_are_wrong", "settings", why)],
    };
    for Finding { finding, severity, object, hint } in &findings {
        println!("{severity:7} {finding}: {object}: {hint}");
    }
    match findings.iter().filter(|finding| finding.severity != "note").count() {
        0 => {
            println!("nothing is wrong");
            Ok(())
        }
        wrong => Err(format!("{wrong} things are wrong")),
    }
}

async fn look(config: &Config, admin_url: Option<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !config.is_https() && !is_local(&config.external_url) {
        let hint = "tokens and cookies travel in the clear: begin it with https://";
        findings.push(finding("warning", "external_url_is_not_https", "setting external_url", hint));
    }
    match status(config).await {
        Ok((status, skew)) => {
            if skew > MOST_SKEW {
                let hint = format!("it differs from the database's by {} seconds: run NTP on both", skew.as_secs());
                findings.push(finding("error", "clock_is_off", "clock of this machine", hint));
            }
            if status.version != env!("CARGO_PKG_VERSION") {
                let hint = format!("the library is {}: use the sidecar of the same release", status.version);
                let object = concat!("auth-sidecar ", env!("CARGO_PKG_VERSION"));
                findings.push(finding("warning", "sidecar_is_of_another_release", object, hint));
            }
            findings.extend(webhooks(config, &status.webhooks).await);
            findings.extend(status.findings);
        }
        Err(found) => findings.push(found),
    }
    findings.extend(relay(config).await);
    match admin_url {
        Some(url) => findings.extend(in_the_database(config, url).await),
        None => {
            let hint = "auth.doctor() looks for policies, grants and settings: give --admin-url, or ask it with psql";
            findings.push(finding("note", "database_was_not_looked_at", "function auth.doctor()", hint));
        }
    }
    let known = findings.clone();
    let mut place = 0;
    findings.retain(|found| {
        place += 1;
        !known[..place - 1].contains(found)
    });
    findings.sort_by_key(|found| ["error", "warning", "note"].iter().position(|known| *known == found.severity));
    findings
}

fn is_local(url: &str) -> bool {
    let host = url.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// What the database says to its sidecar, and how far its clock is from ours at the least.
async fn status(config: &Config) -> Result<(Status, Duration), Finding> {
    let db =
        Db::new(&config.database).map_err(|why| finding("error", "settings_are_wrong", "section database", why))?;
    let (asked, sent_at) = (Instant::now(), SystemTime::now());
    let answer =
        db.call(&Caller::default(), "select auth.sidecar_status()", &[]).await.map_err(|error| unusable(&error))?;
    let took = asked.elapsed();
    db.close();
    let status: Status = serde_json::from_value(answer)
        .map_err(|error| finding("error", "database_is_of_another_release", "extension auth", error.to_string()))?;
    let sent_at = sent_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    // Somewhere between question and answer the database has looked at its clock.
    let early = (sent_at - status.time).max(0.0);
    let late = (status.time - sent_at - took.as_secs_f64()).max(0.0);
    let skew = Duration::try_from_secs_f64(early.max(late)).unwrap_or(Duration::MAX);
    Ok((status, skew))
}

fn unusable(error: &Error) -> Finding {
    let cause = error.cause().unwrap_or(error.code()).to_owned();
    finding("error", "database_cannot_be_used", "setting database.url", cause)
}

async fn relay(config: &Config) -> Option<Finding> {
    if !config.courier.enabled {
        return None;
    }
    let transport = match Transport::new(config) {
        Ok(transport) => transport,
        Err(why) => return Some(finding("error", "relay_cannot_be_used", "section smtp", why)),
    };
    let Some(transport) = transport else {
        let hint =
            "mail and webhooks wait in the outbox: set it, or courier.enabled = false where another process sends";
        return Some(finding("warning", "mail_is_not_sent", "setting smtp.host", hint));
    };
    let object = if config.mail.transport == Kind::Smtp { "section smtp" } else { "section mail" };
    transport.try_out().await.err().map(|why| finding("error", "relay_cannot_be_used", object, why))
}

async fn webhooks(config: &Config, webhooks: &[Webhook]) -> Vec<Finding> {
    let outbound = match Outbound::new(&config.outbound) {
        Ok(outbound) => outbound,
        Err(why) => return vec![finding("error", "settings_are_wrong", "section outbound", why)],
    };
    let mut findings = Vec::new();
    for webhook in webhooks {
        if let Err(OutboundError::Refused(why) | OutboundError::Failed(why)) = outbound.reach(&webhook.url).await {
            findings.push(finding("error", "webhook_cannot_be_reached", format!("webhook {}", webhook.id), why));
        }
    }
    findings
}

/// All that auth.doctor() finds, by a login that may ask it.
async fn in_the_database(config: &Config, url: &str) -> Vec<Finding> {
    let settings = Database { url: url.to_owned(), ..config.database.clone() };
    let cannot = |why: String| vec![finding("error", "database_was_not_looked_at", "option --admin-url", why)];
    let rows = match Db::new(&settings) {
        Ok(db) => db.read("select finding, severity, object, hint from auth.doctor()").await,
        Err(why) => return cannot(why),
    };
    let read = |row: &tokio_postgres::Row| {
        Ok(Finding {
            finding: row.try_get(0)?,
            severity: row.try_get(1)?,
            object: row.try_get(2)?,
            hint: row.try_get(3)?,
        })
    };
    match rows {
        Ok(rows) => rows
            .iter()
            .map(read)
            .collect::<Result<_, tokio_postgres::Error>>()
            .unwrap_or_else(|error| cannot(describe(&error))),
        Err(error) => cannot(error.cause().unwrap_or(error.code()).to_owned()),
    }
}
