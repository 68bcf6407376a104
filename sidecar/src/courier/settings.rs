//! The courier's part of the settings: `[smtp]` and `[courier]`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How the connection to the relay is protected. Certificates are verified always; there is no setting that says not to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// STARTTLS, and no mail where the relay does not offer it.
    Starttls,
    /// TLS from the first byte (port 465).
    Implicit,
    /// In the clear, for a relay on this machine.
    None,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Smtp {
    /// The relay. Empty: nothing is sent, and mail waits in the outbox.
    pub host: String,
    /// 587 with STARTTLS, 465 with implicit TLS, 25 without.
    pub port: Option<u16>,
    pub tls: Tls,
    pub user: String,
    pub password: String,
    /// `Name <address>`: the From of every mail, and its envelope.
    pub sender: String,
    /// Certificates (PEM) of a private authority, believed besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long one mail may take, from the connection to the relay's last answer.
    pub timeout_seconds: u64,
}

/// Where mails go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// To the relay of `[smtp]`.
    Smtp,
    /// To a program of the operator's, as a signed POST.
    Http,
    /// Into a directory.
    File,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    pub transport: Kind,
    /// Of transport http: where each mail is posted.
    pub url: String,
    /// Of transport http: `whsec_` and base64; signs as Standard Webhooks says.
    pub secret: String,
    /// Of transport file: where each mail becomes a file.
    pub directory: PathBuf,
    /// Whether who signs up or changes an address over HTTP is refused where its domain receives no mail.
    pub check_domains: bool,
    /// DNS servers to ask, as `192.0.2.53:53`; none: those of the system.
    pub resolvers: Vec<SocketAddr>,
}

impl Default for Mail {
    fn default() -> Self {
        Mail {
            transport: Kind::Smtp,
            url: String::new(),
            secret: String::new(),
            directory: PathBuf::new(),
            check_domains: false,
            resolvers: Vec::new(),
        }
    }
}

/// It holds a secret.
impl std::fmt::Debug for Mail {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Mail").field("transport", &self.transport).finish_non_exhaustive()
    }
}

impl Mail {
    pub fn configured(&self, smtp: &Smtp) -> bool {
        match self.transport {
            Kind::Smtp => smtp.configured(),
            Kind::Http | Kind::File => true,
        }
    }

    /// # Errors
    /// What is wrong, in words for the operator.
    pub fn check(&self, smtp: &Smtp) -> Result<(), String> {
        match self.transport {
            Kind::Smtp => return Ok(()),
            Kind::Http => {
                let url: Option<http::Uri> = self.url.parse().ok();
                let (scheme, host) = url.as_ref().map_or((None, None), |url| (url.scheme_str(), url.host()));
                let is_here = host.is_some_and(|host| is_loopback(host.trim_start_matches('[').trim_end_matches(']')));
                if host.is_none() || !(scheme == Some("https") || scheme == Some("http") && is_here) {
                    return Err("mail.url is no https address, nor an http one of this machine".into());
                }
                if super::webhook::key(&self.secret).is_none() {
                    return Err("mail.secret is not `whsec_` and base64".into());
                }
            }
            Kind::File if self.directory.as_os_str().is_empty() => return Err("mail.directory is not set".into()),
            Kind::File => {}
        }
        super::message::sender(&smtp.sender).map(|_| ())
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Courier {
    pub enabled: bool,
    /// A connection that LISTEN works on, which is not so through a pooler; empty: `database.url`.
    pub listen_url: String,
    /// How often the outbox is looked at without being told.
    pub poll_seconds: u64,
    /// Rows claimed at once, at most: never more than can be sent within the lease.
    pub batch: usize,
    /// Mails and webhooks under way at the same time.
    pub concurrency: usize,
    /// The language of a mail whose row names none that there is.
    pub locale: String,
}

/// How long the database leaves a claimed row alone (`auth.claim_outbox`).
const LEASE: Duration = Duration::from_secs(60);
/// What is left of the lease for settling.
const MARGIN: Duration = Duration::from_secs(5);

impl Default for Smtp {
    fn default() -> Self {
        Smtp {
            host: String::new(),
            port: None,
            tls: Tls::Starttls,
            user: String::new(),
            password: String::new(),
            sender: String::new(),
            ca_file: None,
            timeout_seconds: 25,
        }
    }
}

impl Default for Courier {
    fn default() -> Self {
        Courier {
            enabled: true,
            listen_url: String::new(),
            poll_seconds: 5,
            batch: 20,
            concurrency: 4,
            locale: "en".into(),
        }
    }
}

/// It holds a password.
impl std::fmt::Debug for Smtp {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Smtp").field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// Its URL may hold a password.
impl std::fmt::Debug for Courier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Courier").field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

impl Smtp {
    pub fn configured(&self) -> bool {
        !self.host.is_empty()
    }

    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            Tls::Starttls => 587,
            Tls::Implicit => 465,
            Tls::None => 25,
        })
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }

    /// # Errors
    /// What is wrong, in words for the operator.
    pub fn check(&self) -> Result<(), String> {
        if !self.configured() {
            return Ok(());
        }
        if self.tls == Tls::None && !is_loopback(&self.host) {
            return Err(
                "smtp.tls = \"none\" is for a relay on this machine: smtp.host must be a loopback address".into()
            );
        }
        if self.user.is_empty() != self.password.is_empty() {
            return Err("smtp.user and smtp.password go together".into());
        }
        if self.timeout_seconds == 0 || self.timeout() > LEASE - MARGIN {
            return Err(format!("smtp.timeout_seconds is not between 1 and {}", (LEASE - MARGIN).as_secs()));
        }
        super::message::sender(&self.sender).map(|_| ())
    }
}

impl Courier {
    /// # Errors
    /// What is wrong, in words for the operator.
    pub fn check(&self) -> Result<(), String> {
        for (name, zero) in [
            ("courier.poll_seconds", self.poll_seconds == 0),
            ("courier.batch", self.batch == 0),
            ("courier.concurrency", self.concurrency == 0),
        ] {
            if zero {
                return Err(format!("{name} is 0"));
            }
        }
        if !super::template::has_locale(&self.locale) {
            return Err(format!("courier.locale: there are no templates in {:?}", self.locale));
        }
        Ok(())
    }

    /// How many rows may be claimed so that each is sent before another courier may claim it, even if each takes as
    /// long as one may. Otherwise a slow relay would get mails twice.
    pub fn claim_at_once(&self, longest: Duration) -> usize {
        let rounds = ((LEASE - MARGIN).as_secs() / longest.as_secs().max(1)).max(1);
        self.batch.min(self.concurrency.saturating_mul(usize::try_from(rounds).unwrap_or(usize::MAX)))
    }
}

/// A row that was claimed longer ago than this is not begun any more: its lease may end before it is settled.
pub fn begin_within(longest: Duration) -> Duration {
    (LEASE - MARGIN).saturating_sub(longest).max(Duration::from_secs(1))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_elsewhere_has_tls() {
        let smtp = |host: &str, tls| Smtp { host: host.into(), tls, sender: "a@example.org".into(), ..Smtp::default() };
        for (host, tls, good) in [
            ("mail.example.org", Tls::Starttls, true),
            ("mail.example.org", Tls::None, false),
            ("10.0.0.1", Tls::None, false),
            ("127.0.0.1", Tls::None, true),
            ("::1", Tls::None, true),
            ("localhost", Tls::None, true),
            ("localhost.example.org", Tls::None, false),
        ] {
            assert_eq!(smtp(host, tls).check().is_ok(), good, "{host} {tls:?}");
        }
        assert!(Smtp { sender: String::new(), ..smtp("localhost", Tls::None) }.check().is_err());
        assert!(Smtp { user: "u".into(), ..smtp("localhost", Tls::None) }.check().is_err());
        assert!(Smtp { timeout_seconds: 56, ..smtp("localhost", Tls::None) }.check().is_err());
    }

    #[test]
    fn no_more_is_claimed_than_the_lease_has_time_for() {
        let courier = Courier::default();
        for (timeout, claimed) in [(25, 8), (55, 4), (11, 20), (1, 20)] {
            assert_eq!(courier.claim_at_once(Duration::from_secs(timeout)), claimed, "{timeout}");
        }
    }
}
