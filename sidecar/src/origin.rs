//! A browser sends our cookie along with whatever any page has it send. So a request that changes something and has the
//! cookie must say, in a header that no page can write, that it comes from a page of ours.

use http::Method;
use http::request::Parts;

use crate::config::Config;
use crate::cookies;
use crate::cors::Cors;
use crate::error::{Error, Result};
use crate::request::text_header;

pub fn check(request: &Parts, config: &Config, cors: &Cors) -> Result<()> {
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&request.method);
    let with_cookie =
        cookies::is_present(&request.headers, &config.cookie) || cookies::is_asked(&request.headers, &config.cookie);
    // The button of our page for mailed links: its policy of no referrer makes the browser say `Origin: null`. What it
    // sends is the link's token, and the cookie has no part in it.
    let by_link =
        request.uri.path().ends_with("/verify") && text_header(&request.headers, "content-type").is_some_and(is_form);
    if reads || !with_cookie || by_link {
        return Ok(());
    }
    let ours = text_header(&request.headers, "origin")
        .is_some_and(|origin| cors.is_listed(origin) || origin_of(&config.external_url) == origin);
    if ours { Ok(()) } else { Err(Error::new("origin_not_allowed", "this origin may not use the session cookie")) }
}

pub fn is_form(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|kind| kind.trim() == "application/x-www-form-urlencoded")
}

/// Scheme, host and port of a URL.
pub fn origin_of(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    &url[..end]
}
