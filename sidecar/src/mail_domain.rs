//! Whether the domain of an address receives mail at all. Only DNS knows, and a database does not ask it.
//!
//! DNS that does not answer refuses nobody.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

use crate::courier::settings::Mail;
use crate::error::{Error, Result};
use crate::server::State;

/// How long a request waits for DNS.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks DNS; None: nobody is asked.
pub struct MailDomains(Option<TokioResolver>);

impl MailDomains {
    /// # Errors
    /// The system's resolver is not configured.
    pub fn new(settings: &Mail) -> std::result::Result<MailDomains, String> {
        if !settings.check_domains {
            return Ok(MailDomains(None));
        }
        let builder = match &settings.resolvers[..] {
            [] => TokioResolver::builder_tokio(),
            servers => {
                let servers = servers.iter().map(name_server).collect();
                let config = ResolverConfig::from_parts(None, Vec::new(), servers);
                Ok(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
            }
        };
        let cannot = |error| format!("mail.check_domains: {error}; mail.resolvers names servers");
        let mut builder = builder.map_err(cannot)?;
        builder.options_mut().timeout = PATIENCE / 2;
        builder.options_mut().attempts = 1;
        Ok(MailDomains(Some(builder.build().map_err(cannot)?)))
    }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

/// # Errors
/// `email_address_invalid`, where mail to the address can go nowhere.
pub async fn check(state: &State, email: &str) -> Result<()> {
    let (Some(resolver), Some((_, domain))) = (&state.mail_domains.0, email.trim().rsplit_once('@')) else {
        return Ok(());
    };
    let asked = tokio::time::timeout(PATIENCE, receives_mail(resolver, domain)).await;
    let answer = asked.map_err(|_| "no answer in time".to_owned()).and_then(|answer| answer.map_err(|e| e.to_string()));
    match answer {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::new("email_address_invalid", "no mail can be sent to this e-mail address")),
        Err(cause) => {
            tracing::warn!(cause, "mail.check_domains: nobody is refused");
            Ok(())
        }
    }
}

/// By MX, or where there is none by an address (RFC 5321, section 5.1); a null MX says no (RFC 7505).
async fn receives_mail(resolver: &TokioResolver, domain: &str) -> std::result::Result<bool, NetError> {
    let name = format!("{domain}.");
    match resolver.mx_lookup(name.as_str()).await {
        Ok(found) => Ok(found.answers().iter().any(|record| match &record.data {
            RData::MX(mx) => !mx.exchange.is_root(),
            _ => false,
        })),
        Err(error) if error.is_nx_domain() => Ok(false),
        Err(error) if error.is_no_records_found() => match resolver.lookup_ip(name.as_str()).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_no_records_found() => Ok(false),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    }
}
