//! Whether a person is at the other end: the provider's word about the token that came with the request.
//!
//! A provider that does not answer is no proof of a person: the request fails, as one that can be tried again.

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;
use utoipa::ToSchema;

use crate::config::{CaptchaProvider, Config};
use crate::db::{Argument, Caller};
use crate::error::{Error, Result};
use crate::origin::origin_of;
use crate::outbound::OutboundError;
use crate::server::State;

/// Where Supabase's clients put the token.
#[derive(Default, Deserialize, ToSchema)]
pub struct MetaSecurity {
    captcha_token: Option<String>,
}

/// What all three providers answer.
#[derive(Deserialize)]
struct Verdict {
    #[serde(default)]
    success: bool,
}

/// # Errors
/// `captcha_failed`, where one is asked for and this is none.
pub async fn check(state: &State, caller: &Caller, peer: SocketAddr, meta: Option<&MetaSecurity>) -> Result<()> {
    let config = &state.config.captcha;
    let Some(provider) = config.provider else { return Ok(()) };
    if is_bypassed(&state.config, peer.ip()) || is_service(state, caller).await? {
        return Ok(());
    }
    let failed = || Error::new("captcha_failed", "captcha verification process failed");
    let Some(token) = meta.and_then(|meta| meta.captcha_token.as_deref()).filter(|token| !token.is_empty()) else {
        return Err(failed());
    };
    let url = config.verify_url.as_deref().unwrap_or(match provider {
        CaptchaProvider::Turnstile => "https://challenges.cloudflare.com/turnstile/v0/siteverify",
        CaptchaProvider::Hcaptcha => "https://api.hcaptcha.com/siteverify",
        CaptchaProvider::Recaptcha => "https://www.google.com/recaptcha/api/siteverify",
    });
    let address = caller.ip.map(|ip| ip.to_string()).unwrap_or_default();
    let form = [("secret", config.secret.as_str()), ("response", token), ("remoteip", address.as_str())];
    let answer = state.outbound.ask(url, &form).await.map_err(|error| match error {
        OutboundError::Refused(cause) | OutboundError::Failed(cause) => {
            Error::unavailable(format!("the captcha provider: {cause}"))
        }
    })?;
    let verdict: Verdict = serde_json::from_slice(&answer)
        .map_err(|_| Error::unavailable("the captcha provider answered with something else"))?;
    if verdict.success { Ok(()) } else { Err(failed()) }
}

/// Only where nobody else can reach us and this request is of this machine: a flag that is left on in production does
/// nothing there. Behind a proxy on the same machine every peer is local, but then external_url is not.
fn is_bypassed(config: &Config, peer: IpAddr) -> bool {
    let host = origin_of(&config.external_url).split("://").nth(1).unwrap_or_default();
    let is_local = ["localhost", "127.0.0.1", "[::1]"]
        .iter()
        .any(|name| host.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(':')));
    let loopback_only = config.http.listen.ip().is_loopback() && peer.to_canonical().is_loopback();
    config.captcha.bypass_on_loopback && is_local && loopback_only
}

/// A trusted backend has no person to ask. The database says whether the bearer is one.
async fn is_service(state: &State, caller: &Caller) -> Result<bool> {
    let Some(bearer) = caller.bearer.clone() else { return Ok(false) };
    let arguments = [Argument::Text(Some(bearer))];
    match state.db.call(&Caller { bearer: None, ..caller.clone() }, "select auth.verify_token($1)", &arguments).await {
        Ok(claims) => Ok(claims["role"] == "service_role"),
        Err(error) if error.status().is_server_error() => Err(error),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F221: a host that others can reach ignores the flag.
    #[test]
    fn the_bypass_is_for_loopback_on_both_ends() {
        for (flag, url, listen, peer, expected) in [
            (true, "http://localhost:9999", "127.0.0.1", "127.0.0.1", true),
            (true, "http://[::1]:9999/auth/v1", "::1", "::1", true),
            (true, "http://localhost", "0.0.0.0", "127.0.0.1", false),
            (true, "http://localhost", "192.0.2.1", "127.0.0.1", false),
            (true, "http://localhost", "127.0.0.1", "192.0.2.1", false),
            (true, "https://auth.example.com", "127.0.0.1", "127.0.0.1", false),
            (true, "https://localhost.example.com", "127.0.0.1", "127.0.0.1", false),
            (false, "http://localhost:9999", "127.0.0.1", "127.0.0.1", false),
        ] {
            let address = |text: &str| text.parse::<IpAddr>().expect("an address");
            let mut config = Config { external_url: url.into(), ..Config::default() };
            config.captcha.bypass_on_loopback = flag;
            config.http.listen.set_ip(address(listen));
            assert_eq!(is_bypassed(&config, address(peer)), expected, "{flag} {url} {listen} {peer}");
        }
    }
}
