//! Requests to addresses that users of the service have given: webhooks. They must not reach what only this machine
//! can reach (SSRF): names are resolved here, private answers are thrown away, and the connection goes to the address
//! that was looked at, so that a second answer of the name server changes nothing. No redirect is followed, no proxy of
//! the environment is asked, and of the answer only its head is read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// For development: also http, and addresses of this machine and its networks.
    pub allow_private: bool,
    pub timeout_seconds: u64,
}

pub struct Outbound {
    client: Client,
    allow_private: bool,
}

/// What is of interest of an answer.
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<String>,
    /// Empty where it was not asked for.
    pub body: Vec<u8>,
}

/// No more of an answer is read.
const ANSWER_BYTES: usize = 64 * 1024;

pub enum OutboundError {
    /// This URL will never be asked.
    Refused(String),
    /// Another time it may work.
    Failed(String),
}

impl Default for Settings {
    fn default() -> Self {
        Settings { allow_private: false, timeout_seconds: 10 }
    }
}

impl Settings {
    /// # Errors
    /// What is wrong, in words for the operator.
    pub fn check(&self) -> Result<(), String> {
        match self.timeout_seconds {
            1..=30 => Ok(()),
            _ => Err("outbound.timeout_seconds is not between 1 and 30".into()),
        }
    }
}

impl Outbound {
    /// # Errors
    /// Why TLS cannot be set up.
    pub fn new(settings: &Settings) -> Result<Outbound, String> {
        // Somebody may have done it before; ours is the only one in this program.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let timeout = Duration::from_secs(settings.timeout_seconds);
        let client = Client::builder()
            .user_agent(concat!("auth-sidecar/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .timeout(timeout)
            .connect_timeout(timeout)
            .dns_resolver(Arc::new(Resolver { allow_private: settings.allow_private }))
            .build()
            .map_err(|error| format!("cannot set up requests: {error}"))?;
        Ok(Outbound { client, allow_private: settings.allow_private })
    }

    /// # Errors
    /// That the URL is refused, or that there was no answer. The words hold no part of URL, headers or body.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<Answer, OutboundError> {
        self.answered(url, headers, body).await.map(|(answer, _)| answer)
    }

    /// As `post`, with the answer's body, as much of it as is of interest.
    ///
    /// # Errors
    /// As `post`.
    pub async fn exchange(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<Answer, OutboundError> {
        let (mut answer, mut rest) = self.answered(url, headers, body).await?;
        // The head has said what became of the request: a body that breaks off changes nothing.
        while let Ok(Some(chunk)) = rest.chunk().await {
            answer.body.extend_from_slice(&chunk[..chunk.len().min(ANSWER_BYTES - answer.body.len())]);
            if answer.body.len() == ANSWER_BYTES {
                break;
            }
        }
        Ok(answer)
    }

    async fn answered(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<(Answer, reqwest::Response), OutboundError> {
        let url = check(url, self.allow_private).map_err(OutboundError::Refused)?;
        let mut request = self.client.post(url).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let answer = request.send().await.map_err(|error| OutboundError::Failed(describe(&error)))?;
        let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok((Answer { status: answer.status().as_u16(), retry_after, body: Vec::new() }, answer))
    }
}

impl Outbound {
    /// Whether somebody answers there, whatever the answer: a question that changes nothing.
    ///
    /// # Errors
    /// As `post`.
    pub async fn reach(&self, url: &str) -> Result<u16, OutboundError> {
        let url = check(url, self.allow_private).map_err(OutboundError::Refused)?;
        let answer = self.client.request(reqwest::Method::OPTIONS, url).send().await;
        answer.map(|answer| answer.status().as_u16()).map_err(|error| OutboundError::Failed(describe(&error)))
    }

    /// As `post`, for a service whose answer is read: at most this much of it.
    ///
    /// # Errors
    /// As `post`, and that the answer is too long.
    pub async fn ask(&self, url: &str, form: &[(&str, &str)]) -> Result<Vec<u8>, OutboundError> {
        let url = check(url, self.allow_private).map_err(OutboundError::Refused)?;
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request =
            self.client.post(url).header("content-type", "application/x-www-form-urlencoded").body(body).send();
        let mut answer = request.await.map_err(|error| OutboundError::Failed(describe(&error)))?;
        let mut read = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| OutboundError::Failed(describe(&error)))? {
            if read.len() + chunk.len() > ANSWER_BYTES {
                return Err(OutboundError::Failed("the answer is too long".into()));
            }
            read.extend_from_slice(&chunk);
        }
        Ok(read)
    }
}

/// The resolver never sees an address that is written out, so it is looked at here.
fn check(text: &str, allow_private: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "the address is not a URL")?;
    match url.scheme() {
        "https" => {}
        "http" if allow_private => {}
        _ => return Err("the address is not https".into()),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the address holds a user name".into());
    }
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(address) if !allow_private && !is_public(address) => Err("the address is not public".into()),
        _ => Ok(url),
    }
}

struct Resolver {
    allow_private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0))
                .await?
                .filter(|address| allow_private || is_public(address.ip()))
                .collect();
            if found.is_empty() {
                return Err("the name has no public address".into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the open internet: not of this machine, its networks, its cloud's metadata service, and
/// not a way to write one of those differently.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || first == 0
        || first >= 240
        || (first == 100 && (64..128).contains(&second))
        || (first == 192 && second == 0 && third == 0)
        || (first == 192 && second == 88 && third == 99)
        || (first == 198 && (second == 18 || second == 19)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        // IPv4 in other clothes: mapped, NAT64, 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            is_public_v4(embedded(high, low))
        }
        // Documentation, Teredo, benchmarks, ORCHID.
        [0x2001, 0xdb8, ..] | [0x2001, 0..=0x1ff, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // Global unicast is 2000::/3; everything else is local, reserved or multicast.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// The kind of failure without the URL, which may hold a secret.
fn describe(error: &reqwest::Error) -> String {
    let what = if error.is_timeout() {
        "the receiver did not answer in time"
    } else if error.is_connect() {
        "no connection to the receiver"
    } else {
        "the request failed"
    };
    what.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_open_internet_is_public() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.100.100.200",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "192.0.0.192",
            "::1",
            "::",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "::127.0.0.1",
            "fec0::1",
            "64:ff9b:1::1",
            "100::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in
            ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "2002:101:101::", "64:ff9b::808:808"]
        {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_written_address_is_looked_at_in_every_spelling() {
        for url in [
            "http://example.org/",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://user@example.org/",
            "file:///etc/passwd",
            "https://017700000001/",
            "",
        ] {
            assert!(check(url, false).is_err(), "{url}");
        }
        assert!(check("https://example.org/hook", false).is_ok());
        assert!(check("http://127.0.0.1:80/", true).is_ok() && check("ftp://127.0.0.1/", true).is_err());
    }
}
