//! The page behind a mailed link. It works without scripts, loads nothing and is kept by nobody; what it spends is
//! spent by the button, because programs that look through mail follow links.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use crate::origin::origin_of;

/// What the button says, for each kind of link.
fn action(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "signup" | "email" => ("Confirm your e-mail address", "Confirm"),
        "invite" => ("Accept your invitation", "Accept"),
        "recovery" => ("Reset your password", "Continue"),
        "email_change" => ("Confirm the change of your e-mail address", "Confirm"),
        _ => ("Sign in", "Sign in"),
    }
}

/// `action="verify"` is relative, so that the page works below any path and never names a host.
pub fn confirm(token: &str, kind: &str, redirect_to: Option<&str>, leads_to: &str) -> Response {
    let (title, button) = action(kind);
    let redirect = redirect_to.map_or(String::new(), |url| hidden("redirect_to", url));
    let form = format!(
        "<form method=\"post\" action=\"verify\">{}{}{redirect}<button type=\"submit\">{button}</button></form>",
        hidden("token", token),
        hidden("type", kind),
    );
    page(StatusCode::OK, title, &form, leads_to)
}

/// Where there is nowhere to lead to.
pub fn notice(status: StatusCode, text: &str) -> Response {
    page(status, "This link", &format!("<p>{}</p>", escaped(text)), "")
}

fn page(status: StatusCode, title: &str, content: &str, leads_to: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\"></head>\
         <body><main><h1>{title}</h1>{content}</main></body></html>"
    );
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    // Browsers hold a form to this list through its redirects too.
    let policy = format!(
        "default-src 'none'; form-action 'self'{}; frame-ancestors 'none'; base-uri 'none'",
        form_target(leads_to)
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// The origin of a web address, or the scheme of an app's.
pub fn form_target(url: &str) -> String {
    let Some((scheme, _)) = url.split_once(':') else { return String::new() };
    let target = if ["http", "https"].contains(&scheme) { origin_of(url).to_owned() } else { format!("{scheme}:") };
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.:/[]".contains(&byte);
    if target.bytes().all(harmless) { format!(" {target}") } else { String::new() }
}

fn hidden(name: &str, value: &str) -> String {
    format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escaped(value))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
