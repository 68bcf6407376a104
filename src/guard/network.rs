//! Networks: what an address is counted as, which ones are blocked, and how many failures one may cause.
//!
//! Only an address that a trusted caller said, or that of the connection where the server's owner says that clients connect
//! directly, is believed. Without one the whole database shares one counter.

use std::net::{IpAddr, Ipv6Addr};

use serde_json::json;

use super::table::{self, Key};
use crate::audit::{self, Entry};
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

fn counter(config: &Config) -> Result<Option<(Key, Limit, Option<i64>, Option<String>)>> {
    let limits = &config.limits;
    Ok(match (trusted(), limits.network, limits.database) {
        (Some(network), Some(limit), _) => {
            Some((Key::new("network", &network, "")?, limit, Some(FIRST_BLOCK_MICROSECONDS), Some(network)))
        }
        (None, _, Some(limit)) => Some((Key::new("database", "", "")?, limit, None, None)),
        _ => None,
    })
}

/// How long, in microseconds, the caller's network (or the database) may cause no more failures; None: it may.
pub fn may_fail(config: &Config) -> Result<Option<i64>> {
    match counter(config)? {
        Some((key, limit, ..)) => table::is_reached(key, &limit),
        None => Ok(None),
    }
}

/// Counts a failure; the audit row of the block that begins with it.
pub fn note_failure(config: &Config) -> Result<Option<Entry<'static>>> {
    if !config.limits.are_enabled {
        return Ok(None);
    }
    let Some((key, limit, first_block, network)) = counter(config)? else { return Ok(None) };
    let blocked = table::add(key, &limit, first_block)?;
    Ok(blocked.map(|blocked| Entry {
        event_type: "network_blocked",
        code: None,
        user_id: None,
        session_id: None,
        data: json!({
            "network": network, "seconds": blocked.microseconds / 1_000_000, "locks": blocked.locks,
        }),
    }))
}
