//! From request to response: what holds for every route. Preflights and foreign origins are answered before a handler
//! runs, time is limited, errors are written in the form that the client reads, headers are added, and one line goes to
//! the log. That line and the counters know a route by its template: a path may hold an id and a query a token.

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, header};
use tower::ServiceExt;

use crate::error::Error;
use crate::request::text_header;
use crate::server::State;
use crate::{counters, origin};

/// Since this date, errors are `{"code": word, "message": text}`.
const NEW_ERRORS_SINCE: &str = "2024-01-01";

/// A mark of answers that are for pages of this site alone, whatever `cors.origins` says.
#[derive(Clone)]
pub struct NotForOtherOrigins;

/// Which route answered, for log and counters.
#[derive(Clone)]
struct Template(String);

/// A layer of every route.
pub async fn name_route(request: Request, next: Next) -> Response {
    let template = request.extensions().get::<MatchedPath>().map(|path| Template(path.as_str().to_owned()));
    let mut response = next.run(request).await;
    if let Some(template) = template {
        response.extensions_mut().insert(template);
    }
    response
}

pub async fn respond(app: Router, state: &State, request: Request) -> Response {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let method = parts.method.clone();
    let origin_header = parts.headers.get(header::ORIGIN).cloned();
    let version = api_version(&parts.headers);

    let response = if let Some(response) = state.cors.preflight(&parts) {
        response
    } else if let Err(error) = origin::check(&parts, &state.config, &state.cors) {
        error.into_response()
    } else {
        let limit = Duration::from_secs(state.config.http.request_seconds);
        match tokio::time::timeout(limit, app.oneshot(Request::from_parts(parts, body))).await {
            Ok(Ok(response)) => response,
            Err(_) => Error::timeout("the request took longer than http.request_seconds").into_response(),
        }
    };

    let template = response.extensions().get::<Template>().map(|template| template.0.clone());
    let mut response = written(response, version.is_some());
    if let Some(version) = version {
        // Without it, clients do not look for `code`.
        response.headers_mut().insert("x-supabase-api-version", version);
    }
    if response.extensions().get::<NotForOtherOrigins>().is_none() {
        state.cors.mark(origin_header.as_ref(), response.headers_mut());
    }
    secure(response.headers_mut(), state.config.is_https());
    note(&method, template.as_deref(), &response, started);
    response
}

/// The version that the client asks for, if errors of the new form are meant.
fn api_version(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = text_header(headers, "x-supabase-api-version")?;
    let is_date = value.len() == 10
        && value
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() });
    // Dates written like this compare like text.
    (is_date && value >= NEW_ERRORS_SINCE).then(|| HeaderValue::from_static(NEW_ERRORS_SINCE))
}

/// An error becomes its body here, because only here the form is known. Headers that its handler added stay.
fn written(mut response: Response, new_form: bool) -> Response {
    let Some(error) = response.extensions_mut().remove::<Error>() else { return response };
    if let Some(cause) = error.cause() {
        tracing::error!(code = error.code(), cause, "request failed");
    }
    let mut rendered = error.render(new_form);
    for (name, value) in response.headers() {
        if name != header::CONTENT_LENGTH {
            rendered.headers_mut().append(name, value.clone());
        }
    }
    rendered
}

fn secure(headers: &mut HeaderMap, is_https: bool) {
    let mut unless_set = |name: header::HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    unless_set(header::CACHE_CONTROL, "no-store");
    unless_set(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; base-uri 'none'");
    unless_set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    unless_set(header::X_FRAME_OPTIONS, "DENY");
    unless_set(header::REFERRER_POLICY, "no-referrer");
    if is_https {
        unless_set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains");
    }
}

fn note(method: &Method, template: Option<&str>, response: &Response, started: Instant) {
    let route = template.unwrap_or("none");
    let route = route.strip_prefix("/auth/v1").unwrap_or(route);
    let status = response.status().as_u16();
    let elapsed = started.elapsed();
    let code = text_header(response.headers(), "x-sb-error-code");
    tracing::info!(%method, route, status, code, milliseconds = elapsed.as_millis() as u64, "request");
    counters::request(method, route, status, elapsed);
}
