//! Where a link may lead once it was followed.
//!
//! What was checked is what is emitted: a browser, a proxy and this parser may read one text as three addresses, so the text
//! is refused where they could differ, parsed once (WHATWG URL, as browsers do), compared part by part, and written out again
//! from its parts. Threats: hosts that begin or end like a listed one (CVE-2023-6291), userinfo, backslashes, `//`, encoded
//! dots and slashes, `..;/` (CVE-2024-8883, CVE-2024-1132, CVE-2022-3782), wildcards that reach too far (CVE-2024-52289).

use url::Url;

/// Longer texts are refused unread.
const MAX_BYTES: usize = 2000;

/// Run code, read files, or speak a protocol that no page is served by.
const NEVER: [&str; 12] = [
    "about",
    "blob",
    "chrome",
    "data",
    "file",
    "filesystem",
    "ftp",
    "javascript",
    "vbscript",
    "view-source",
    "ws",
    "wss",
];

/// The address to send a browser to, normalised and without a fragment, or none if links may not lead there.
///
/// Allowed is what is at or below `site_url`, and what an entry of the list names: scheme, host, port and path; a query is
/// free unless the entry has one. In the host and the path of an http or https entry `*` stands for one or more characters
/// other than `/` and `.`; other schemes are listed exactly.
pub fn allowed(target: &str, site_url: &str, allow_list: &[String]) -> Option<String> {
    let target = read(target)?;
    if target.host_str().is_some_and(|host| host.contains('*')) {
        return None;
    }
    let is_below_site = || read(site_url).is_some_and(|site| is_at_or_below(&target, &site));
    let is_listed = || allow_list.iter().filter_map(|entry| read(entry)).any(|entry| is_named_by(&target, &entry));
    if !is_below_site() && !is_listed() {
        return None;
    }
    // Normalisation writes some characters as three.
    Some(String::from(target)).filter(|text| text.len() <= MAX_BYTES)
}

/// The address of an app as it is stored: of http or https, as browsers read it, in ASCII, without a slash at its end; none for what
/// `allowed` would not read, or what has a fragment.
pub fn site(text: &str) -> Option<String> {
    let site = read(text).filter(|site| is_web(site) && !text.contains('#'))?;
    Some(site.as_str().trim_end_matches('/').to_string())
}

/// Reads an absolute address that every reader understands in the same way.
fn read(text: &str) -> Option<Url> {
    let is_odd = |character: char| character.is_control() || character.is_whitespace() || character == '\\';
    if text.len() > MAX_BYTES || text.contains(is_odd) {
        return None;
    }
    let (scheme, rest) = text.split_once(':')?;
    let is_web = ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web));
    let rest = match rest.strip_prefix("//") {
        // A browser passes over further slashes before a host.
        Some(rest) if is_web && rest.starts_with(['/', '?', '#']) => return None,
        Some(rest) => rest,
        // `https:host` and `https:/host` are hosts to a browser.
        None if is_web || !rest.starts_with('/') => return None,
        None => rest,
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    if authority.contains(['@', '%']) || !is_plain_path(path) {
        return None;
    }
    let mut url = Url::parse(text).ok()?;
    let is_user = !url.username().is_empty() || url.password().is_some();
    if is_user || url.cannot_be_a_base() || NEVER.contains(&url.scheme()) || (is_web && !url.has_host()) {
        return None;
    }
    url.set_fragment(None);
    Some(url)
}

/// No segment is empty but the last, none climbs, and nothing encoded becomes a separator, a dot or a control character when
/// somebody decodes it, once or twice.
fn is_plain_path(path: &str) -> bool {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let is_plain = |(at, segment): (usize, &&str)| {
        // What stands behind `;` is a parameter to some servers.
        let name = segment.split(';').next().unwrap_or_default();
        let is_last = at + 1 == segments.len();
        (!segment.is_empty() || is_last) && name != "." && name != ".." && encoded(segment).all(is_harmless)
    };
    segments.iter().enumerate().all(is_plain)
}

/// The bytes that `%xx` stands for; `None` where no two hexadecimal digits follow.
fn encoded(segment: &str) -> impl Iterator<Item = Option<u8>> {
    segment.split('%').skip(1).map(|rest| {
        let digits = rest.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        u8::from_str_radix(digits, 16).ok()
    })
}

fn is_harmless(encoded: Option<u8>) -> bool {
    encoded.is_some_and(|byte| !byte.is_ascii_control() && !b"/\\.%;".contains(&byte))
}

fn is_at_or_below(target: &Url, site: &Url) -> bool {
    let base = site.path().trim_end_matches('/');
    let is_below = target.path().strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    is_web(site) && origin(target) == origin(site) && is_below
}

fn is_named_by(target: &Url, entry: &Url) -> bool {
    if entry.query().is_some_and(|query| target.query() != Some(query)) {
        return false;
    }
    if !is_web(entry) {
        return origin(target) == origin(entry) && target.path() == entry.path();
    }
    let (host, pattern) = (target.host_str().unwrap_or_default(), entry.host_str().unwrap_or_default());
    let in_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let in_segment = |byte: u8| byte != b'/' && byte != b'.';
    target.scheme() == entry.scheme()
        && target.port_or_known_default() == entry.port_or_known_default()
        && fits(host.as_bytes(), pattern.as_bytes(), in_label)
        && fits(target.path().as_bytes(), entry.path().as_bytes(), in_segment)
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

fn origin(url: &Url) -> (&str, Option<&str>, Option<u16>) {
    (url.scheme(), url.host_str(), url.port_or_known_default())
}

/// Whether the text is the pattern, where each `*` is one or more bytes that it may be. Its work is the product of both
/// lengths, whatever the pattern.
fn fits(text: &[u8], pattern: &[u8], may_be: impl Fn(u8) -> bool) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for wanted in pattern {
        let mut next = vec![false; text.len() + 1];
        for (at, byte) in text.iter().enumerate() {
            next[at + 1] = match wanted {
                b'*' => (reached[at] || next[at]) && may_be(*byte),
                _ => reached[at] && byte == wanted,
            };
        }
        reached = next;
    }
    reached[text.len()]
}

#[cfg(test)]
mod tests;
