//! Cookie mode: the refresh token in a cookie that scripts cannot read, for browsers that ask for it.
//!
//! A token that came by cookie goes back by cookie, whatever the request says: otherwise a script could trade the one
//! it cannot read for one that it can. The Domain attribute is one of the configured domains or absent; the request's
//! Host only chooses among them.

use http::{HeaderMap, HeaderValue, header};

use crate::config::{Cookie, SameSite};
use crate::request::text_header;

/// Whether this request's refresh token belongs into a cookie.
pub fn is_asked(headers: &HeaderMap, config: &Cookie) -> bool {
    config.enabled && text_header(headers, "x-use-cookie").is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// The refresh token that the browser kept. Two cookies of the name are none: one of them may be planted by another
/// host of the domain.
pub fn refresh_token(headers: &HeaderMap, config: &Cookie) -> Option<String> {
    if !config.enabled {
        return None;
    }
    let mut found = None;
    for value in headers.get_all(header::COOKIE) {
        for pair in value.to_str().ok()?.split(';') {
            let Some((name, value)) = pair.trim().split_once('=') else { continue };
            if name == config.name && !value.is_empty() && found.replace(value.to_owned()).is_some() {
                return None;
            }
        }
    }
    found
}

pub fn is_present(headers: &HeaderMap, config: &Cookie) -> bool {
    let named = |pair: &str| pair.trim().split_once('=').is_some_and(|(name, _)| name == config.name);
    config.enabled
        && headers
            .get_all(header::COOKIE)
            .iter()
            .any(|value| String::from_utf8_lossy(value.as_bytes()).split(';').any(named))
}

pub fn set(token: &str, headers: &HeaderMap, config: &Cookie) -> Option<HeaderValue> {
    write(token, config.max_age_seconds, headers, config)
}

pub fn clear(headers: &HeaderMap, config: &Cookie) -> Option<HeaderValue> {
    write("", 0, headers, config)
}

fn write(value: &str, max_age: u64, headers: &HeaderMap, config: &Cookie) -> Option<HeaderValue> {
    let same_site = match config.same_site {
        SameSite::Strict => "Strict",
        SameSite::Lax => "Lax",
        SameSite::None => "None",
    };
    let mut cookie = format!("{}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite={same_site}", config.name);
    if config.secure {
        cookie.push_str("; Secure");
    }
    if let Some(domain) = shared_domain(text_header(headers, "host"), config) {
        cookie.push_str("; Domain=");
        cookie.push_str(domain);
    }
    HeaderValue::from_str(&cookie).ok()
}

/// The configured domain that the host is or is below; the longest, where domains overlap.
fn shared_domain<'a>(host: Option<&str>, config: &'a Cookie) -> Option<&'a str> {
    let host = host?.split(':').next()?.to_ascii_lowercase();
    let holds = |domain: &&String| {
        host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    config.shared_domains.iter().filter(holds).max_by_key(|domain| domain.len()).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F230, F231: a Domain where the host is in a shared domain, a host-only cookie everywhere else.
    #[test]
    fn only_hosts_of_a_shared_domain_get_it() {
        let shared_domains = vec!["example.com".to_owned(), "example.localhost".to_owned()];
        let config = Cookie { enabled: true, shared_domains, ..Cookie::default() };
        for (host, expected) in [
            ("app.example.com", Some("example.com")),
            ("APP.example.com:8443", Some("example.com")),
            ("example.com", Some("example.com")),
            ("a.b.example.localhost:3000", Some("example.localhost")),
            ("localhost:3000", None),
            ("badexample.com", None),
            ("example.com.evil.test", None),
            ("127.0.0.1:9999", None),
            ("preview-1.vercel.test", None),
        ] {
            assert_eq!(shared_domain(Some(host), &config), expected, "{host}");
        }
    }
}
