//! Networks: what an address is counted as, which ones are blocked, and how many failures one may cause.
//!
//! Only an address that a trusted caller said, or that of the connection where the server's owner says that clients connect
//! directly, is believed. Without one the whole database shares one counter.

use std::net::{IpAddr, Ipv6Addr};

use super::table::{self, Key};
use crate::audit;
use crate::config::{Config, Limit};
use crate::platform::error::{Error, Result};
use crate::platform::query::{Query, Type};

/// The first automatic block; a repetition within a day lasts longer.
const FIRST_BLOCK_MICROSECONDS: i64 = 300_000_000;

/// The network that an address is counted as: an IPv4 address itself, the /64 of an IPv6 one, of which one customer has as
/// many addresses as he likes. Written like `auth.network`.
pub fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("{address}/32"),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// The caller's network, if its address is believed.
pub fn trusted() -> Option<String> {
    audit::trusted_address().map(network)
}

/// Refuses callers from a network that an administrator has blocked.
pub fn must_not_be_blocked() -> Result<()> {
    static BLOCKED: Query = Query::write(
        "select from auth.blocked_networks as b
        where b.network >>= $1::inet and (b.expires_at is null or b.expires_at > clock_timestamp())
        limit 1",
        &[Type::TEXTOID],
    );
    let Some(address) = audit::trusted_address() else { return Ok(()) };
    match BLOCKED.first(&[address.to_string().into()], |_| Ok(()))? {
        Some(()) => Err(Error::NetworkBlocked),
        None => Ok(()),
    }
}

/// The counter that a caller shares with others: of its network, or of the database where its address is not known.
#[derive(Clone)]
pub struct Shared {
    pub key: Key,
    pub limit: Limit,
    /// Microseconds; none where reaching the limit blocks nothing.
    pub first_block: Option<i64>,
    pub network: Option<String>,
}

pub fn shared(config: &Config) -> Result<Option<Shared>> {
    let limits = &config.limits;
    Ok(match (trusted(), limits.network, limits.database) {
        (Some(network), Some(limit), _) => Some(Shared {
            key: Key::new("network", &network, "")?,
            limit,
            first_block: Some(FIRST_BLOCK_MICROSECONDS),
            network: Some(network),
        }),
        (None, _, Some(limit)) => {
            Some(Shared { key: Key::new("database", "", "")?, limit, first_block: None, network: None })
        }
        _ => None,
    })
}

/// How long, in microseconds, the caller may cause no more failures; None: it may.
pub fn may_fail(config: &Config) -> Result<Option<i64>> {
    match shared(config)? {
        Some(shared) => table::is_reached(shared.key, &shared.limit),
        None => Ok(None),
    }
}
