//! Which address a request came from. A header says so only where the connection comes from a proxy that the operator
//! trusts; then the right-most entry that is no proxy counts, because everything left of it is the client's to write.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::HeaderMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::Http;

/// A network in CIDR notation, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix);
                u32::from(network).checked_shr(shift) == u32::from(address).checked_shr(shift)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix);
                u128::from(network).checked_shr(shift) == u128::from(address).checked_shr(shift)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let wrong = || format!("{text:?} is not a network like 10.0.0.0/8");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(longest);
        if prefix > longest { Err(wrong()) } else { Ok(Network { address, prefix }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Network, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The client's address. Only what stands right of it was written by our proxies: what is left of it is not read, and
/// where there is no address before it is found, the peer counts.
pub fn client_ip(peer: IpAddr, headers: &HeaderMap, config: &Http) -> IpAddr {
    let peer = peer.to_canonical();
    let is_proxy = |address: IpAddr| config.trusted_proxies.iter().any(|network| network.contains(address));
    if !is_proxy(peer) {
        return peer;
    }
    let mut client = peer;
    for value in headers.get_all(&config.client_ip_header).iter().rev() {
        for entry in value.as_bytes().rsplit(|byte| *byte == b',') {
            let entry = std::str::from_utf8(entry).ok().and_then(|entry| entry.trim().parse::<IpAddr>().ok());
            let Some(address) = entry else { return peer };
            client = address.to_canonical();
            if !is_proxy(client) {
                return client;
            }
        }
    }
    // All of them are ours: the first is a client inside the network.
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(proxies: &[&str]) -> Http {
        let trusted_proxies = proxies.iter().map(|network| network.parse().expect("a network")).collect();
        Http { trusted_proxies, ..Http::default() }
    }

    /// XC8: what a client writes into the header never becomes its address.
    #[test]
    fn only_what_trusted_proxies_added_counts() {
        for (proxies, peer, header, expected) in [
            (&[][..], "198.51.100.7", "203.0.113.1", "198.51.100.7"),
            (&["10.0.0.0/8"][..], "198.51.100.7", "203.0.113.1", "198.51.100.7"),
            (&["10.0.0.0/8"], "10.1.1.1", "203.0.113.1", "203.0.113.1"),
            (&["10.0.0.0/8"], "10.1.1.1", "1.2.3.4, 203.0.113.1", "203.0.113.1"),
            (&["10.0.0.0/8"], "10.1.1.1", "1.2.3.4, 203.0.113.1, 10.9.9.9", "203.0.113.1"),
            (&["10.0.0.0/8"], "10.1.1.1", "garbage, 203.0.113.1", "203.0.113.1"),
            (&["10.0.0.0/8"], "10.1.1.1", "\u{fc}, 203.0.113.1, 10.9.9.9", "203.0.113.1"),
            (&["10.0.0.0/8"], "10.1.1.1", "203.0.113.1, garbage", "10.1.1.1"),
            (&["10.0.0.0/8"], "10.1.1.1", "203.0.113.1, garbage, 10.9.9.9", "10.1.1.1"),
            (&["10.0.0.0/8"], "10.1.1.1", "garbage, 10.9.9.9", "10.1.1.1"),
            // Header lines, as of a proxy that adds one of its own.
            (&["10.0.0.0/8"], "10.1.1.1", "garbage\n203.0.113.1", "203.0.113.1"),
            (&["10.0.0.0/8"], "10.1.1.1", "1.2.3.4\n203.0.113.1, 10.8.8.8\n10.9.9.9", "203.0.113.1"),
            (&["10.0.0.0/8"], "10.1.1.1", "203.0.113.1\ngarbage", "10.1.1.1"),
            (&["10.0.0.0/8"], "10.1.1.1", "10.2.2.2\n10.3.3.3", "10.2.2.2"),
            (&["10.0.0.0/8"], "10.1.1.1", "203.0.113.1,", "10.1.1.1"),
            (&["10.0.0.0/8"], "10.1.1.1", "10.2.2.2, 10.3.3.3", "10.2.2.2"),
            (&["0.0.0.0/0"], "10.1.1.1", "203.0.113.1", "203.0.113.1"),
            (&["10.0.0.0/8"], "::ffff:10.1.1.1", "::ffff:203.0.113.1", "203.0.113.1"),
            (&["fd00::/8"], "fd00::1", "2001:db8::5", "2001:db8::5"),
            (&["10.1.1.1"], "10.1.1.2", "203.0.113.1", "10.1.1.2"),
        ] {
            let mut headers = HeaderMap::new();
            for line in header.split('\n') {
                let line = http::HeaderValue::from_bytes(line.as_bytes()).expect("a header");
                headers.append("x-forwarded-for", line);
            }
            let address = client_ip(peer.parse().expect("an address"), &headers, &config(proxies));
            assert_eq!(address, expected.parse::<IpAddr>().expect("an address"), "{proxies:?} {peer} {header}");
        }
    }
}
