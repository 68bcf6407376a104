//! What the browser sees, and the same as JSON for tests.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;

use super::store::{Received, Store};

/// The frame needs its own style attributes; a script can run nowhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; frame-ancestors 'self'; \
    base-uri 'none'; form-action 'self'";

pub fn router(store: Arc<Store>) -> Router {
    Router::new()
        .route("/", get(list))
        .route("/messages/{id}", get(show))
        .route("/messages/{id}/html", get(show_html))
        .route("/sms", post(take_sms))
        .route("/api/messages", get(api_list).delete(api_clear))
        .route("/api/messages/{id}", get(api_show))
        .with_state(store)
        .layer(from_fn(guard))
}

/// Only for this machine: a page of the internet that makes its own name point here (DNS rebinding) is refused by the
/// Host that its browser sends, and nobody is told where one came from.
async fn guard(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    if !["localhost", "127.0.0.1", "[::1]"].contains(&name) {
        return (StatusCode::FORBIDDEN, "this is for localhost\n").into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    response
}

/// As the courier's provider `http` posts it; whoever can reach this machine may write here, as by SMTP.
#[derive(Deserialize)]
struct Posted {
    sms: Sms,
}

#[derive(Deserialize)]
struct Sms {
    phone: String,
    message: String,
}

async fn take_sms(State(store): State<Arc<Store>>, Json(posted): Json<Posted>) -> StatusCode {
    store.add_sms(posted.sms.phone, posted.sms.message);
    StatusCode::NO_CONTENT
}

async fn api_list(State(store): State<Arc<Store>>) -> Json<Vec<Received>> {
    Json(store.all())
}

async fn api_show(State(store): State<Arc<Store>>, Path(id): Path<u64>) -> Result<Json<Received>, StatusCode> {
    store.get(id).map(Json).ok_or(StatusCode::NOT_FOUND)
}

async fn api_clear(State(store): State<Arc<Store>>) -> StatusCode {
    store.clear();
    StatusCode::NO_CONTENT
}

async fn list(State(store): State<Arc<Store>>) -> Html<String> {
    let mut rows = String::new();
    for mail in store.all() {
        let _ = write!(
            rows,
            "<tr><td>{time}</td><td>{to}</td><td><a href=\"/messages/{id}\">{subject}</a></td></tr>",
            time = escape(mail.received_at.get(11..19).unwrap_or_default()),
            to = escape(&mail.recipients.join(", ")),
            id = mail.id,
            subject = escape(if mail.subject.is_empty() { "(no subject)" } else { &mail.subject }),
        );
    }
    let table = format!(
        "<h1>Inbox</h1><table><thead><tr><th>Time (UTC)</th><th>To</th><th>Subject</th></tr></thead>\
         <tbody>{rows}</tbody></table>"
    );
    Html(document("Inbox", "<meta http-equiv=\"refresh\" content=\"5\">", &table))
}

async fn show(State(store): State<Arc<Store>>, Path(id): Path<u64>) -> Result<Html<String>, StatusCode> {
    let mail = store.get(id).ok_or(StatusCode::NOT_FOUND)?;
    let mut headers = String::new();
    for (name, value) in &mail.headers {
        let _ = writeln!(headers, "{}: {}", escape(name), escape(value));
    }
    let html = match mail.html {
        // Links open outside; nothing else is allowed to whatever is in there.
        Some(_) => format!(
            "<h2>HTML</h2><iframe title=\"the mail as HTML\" src=\"/messages/{id}/html\" \
             sandbox=\"allow-popups allow-popups-to-escape-sandbox\"></iframe>"
        ),
        None => String::new(),
    };
    let body = format!(
        "<p><a href=\"/\">Inbox</a></p><h1>{subject}</h1><p>To {to}</p><h2>Text</h2><pre>{text}</pre>{html}\
         <details><summary>Headers</summary><pre>{headers}</pre></details>",
        subject = escape(&mail.subject),
        to = escape(&mail.recipients.join(", ")),
        text = with_links(&mail.text),
    );
    Ok(Html(document(&mail.subject, "", &body)))
}

/// The frame's content: sandboxed by its own header too, for who opens it directly.
async fn show_html(State(store): State<Arc<Store>>, Path(id): Path<u64>) -> Result<Response, StatusCode> {
    let html = store.get(id).and_then(|mail| mail.html).ok_or(StatusCode::NOT_FOUND)?;
    let policy = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; \
        base-uri 'none'; form-action 'none'; frame-ancestors 'self'";
    let html = format!("<base target=\"_blank\">{html}");
    Ok(([(header::CONTENT_SECURITY_POLICY, policy)], Html(html)).into_response())
}

fn document(title: &str, head: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{}</title>{head}<style>\
         body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}\
         table{{border-collapse:collapse;width:100%}}td,th{{text-align:left;padding:.4rem;border-bottom:1px solid #ccc}}\
         pre{{white-space:pre-wrap;overflow-wrap:anywhere}}iframe{{width:100%;height:32rem;border:1px solid #ccc}}\
         </style></head><body>{body}</body></html>",
        escape(title)
    )
}

/// Escaped text in which web addresses can be clicked.
fn with_links(text: &str) -> String {
    let mut linked = String::new();
    for word in text.split_inclusive(char::is_whitespace) {
        let bare = word.trim_end();
        if bare.starts_with("https://") || bare.starts_with("http://") {
            let address = escape(bare);
            let _ = write!(linked, "<a href=\"{address}\" target=\"_blank\" rel=\"noreferrer\">{address}</a>");
            linked.push_str(&escape(&word[bare.len()..]));
        } else {
            linked.push_str(&escape(word));
        }
    }
    linked
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_its_links_can_be_clicked() {
        assert_eq!(
            with_links("<b> http://x/?a=1&b=\"2\n"),
            "&lt;b&gt; <a href=\"http://x/?a=1&amp;b=&quot;2\" target=\"_blank\" rel=\"noreferrer\">\
             http://x/?a=1&amp;b=&quot;2</a>\n"
        );
        assert_eq!(with_links("javascript:alert(1)"), "javascript:alert(1)");
    }
}
