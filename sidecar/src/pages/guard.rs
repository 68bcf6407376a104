//! What holds for every page: only pages of our own post here, cookies that a request has changed are sent back however it ends,
//! and a refusal is a page too.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State as Shared};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::render::{self, Look};
use super::visitor::{self, base_path};
use crate::config::Config;
use crate::error::Error;
use crate::origin::origin_of;
use crate::request::text_header;
use crate::respond::NotForOtherOrigins;
use crate::server::State;

/// What a request leaves behind for the answer, whichever handler or refusal that comes from.
#[derive(Clone, Default)]
pub struct Jar(Arc<Mutex<Left>>);

#[derive(Default)]
struct Left {
    cookies: Vec<HeaderValue>,
    waits_at: Option<&'static str>,
}

impl Jar {
    pub fn put(&self, cookie: Option<HeaderValue>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).cookies.extend(cookie);
    }

    /// The page where a sign-in that is not finished goes on.
    pub fn waits_at(&self, page: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).waits_at = Some(page);
    }

    fn take(&self) -> Left {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The session is over, or there is none: there is nothing to say but to sign in.
const SIGNED_OUT: [&str; 7] = [
    "no_authorization",
    "bad_jwt",
    "session_not_found",
    "session_expired",
    "refresh_token_not_found",
    "refresh_token_already_used",
    "user_not_found",
];

pub async fn around(Shared(state): Shared<State>, mut request: Request, next: Next) -> Response {
    let jar = Jar::default();
    request.extensions_mut().insert(jar.clone());
    let headers = request.headers().clone();
    let path = request.uri().path().to_owned();
    let mut response = match is_ours(request.method(), &headers, &state.config) {
        true => next.run(request).await,
        false => Error::new("origin_not_allowed", "only pages of this site may send this").into_response(),
    };
    let left = jar.take();
    if let Some(error) = response.extensions_mut().remove::<Error>() {
        response = refusal(&state.config, &headers, &path, &jar, left.waits_at, error);
    }
    for cookie in left.cookies.into_iter().chain(jar.take().cookies) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response.extensions_mut().insert(NotForOtherOrigins);
    response
}

/// A browser says in headers that no page can write where a form comes from.
fn is_ours(method: &Method, headers: &HeaderMap, config: &Config) -> bool {
    if [Method::GET, Method::HEAD].contains(method) {
        return true;
    }
    match headers.get(header::ORIGIN) {
        Some(origin) => origin.to_str().is_ok_and(|origin| origin == origin_of(&config.external_url)),
        None => text_header(headers, "sec-fetch-site") == Some("same-origin"),
    }
}

fn refusal(
    config: &Config,
    headers: &HeaderMap,
    path: &str,
    jar: &Jar,
    waits_at: Option<&'static str>,
    error: Error,
) -> Response {
    if let Some(cause) = error.cause() {
        tracing::error!(code = error.code(), cause, "request failed");
    }
    let needs_step = error.code() == "insufficient_aal";
    if needs_step || SIGNED_OUT.contains(&error.code()) {
        let next = if needs_step { Some("/sign-in/second-step") } else { waits_at };
        let next = next.filter(|next| !path.ends_with(next)).unwrap_or_else(|| {
            visitor::forget(jar, headers, config);
            "/sign-in"
        });
        return go(config, next);
    }
    let look = Look { config, lang: render::language(headers), leads_to: None, with_script: false };
    let context = serde_json::json!({"error": {"code": error.code(), "message": error.message()}});
    look.page("refused", error.status(), context).unwrap_or_else(IntoResponse::into_response)
}

/// To another page of ours.
pub fn go(config: &Config, page: &str) -> Response {
    let location = format!("{}{page}", base_path(config));
    match HeaderValue::from_str(&location) {
        Ok(location) => (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response(),
        Err(_) => Error::internal("a page whose path cannot be a header").into_response(),
    }
}
