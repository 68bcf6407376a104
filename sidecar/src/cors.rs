//! Which pages may call. A listed origin gets credentials; `*` is everybody and never gets them.

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use axum::response::{IntoResponse, Response};

use crate::config;
use crate::error::Error;
use crate::request::text_header;

const METHODS: &str = "GET, POST, PUT, PATCH, DELETE, OPTIONS";
/// What Supabase's clients send, and cookie mode.
const HEADERS: &str = "accept, authorization, apikey, content-type, x-client-ip, x-client-info, x-jwt-aud, x-use-cookie, \
                       x-refresh-token, x-supabase-api-version";
const EXPOSED: &str = "x-total-count, link, x-supabase-api-version, x-sb-error-code, retry-after";
const PREFLIGHT_SECONDS: &str = "600";

#[derive(Clone)]
pub struct Cors {
    origins: Vec<String>,
    everybody: bool,
    headers: HeaderValue,
}

impl Cors {
    pub fn new(config: &config::Cors) -> Result<Cors, String> {
        let headers = std::iter::once(HEADERS).chain(config.headers.iter().map(String::as_str)).collect::<Vec<_>>();
        Ok(Cors {
            everybody: config.origins.iter().any(|origin| origin == "*"),
            origins: config.origins.iter().filter(|origin| *origin != "*").cloned().collect(),
            headers: HeaderValue::from_str(&headers.join(", ")).map_err(|error| format!("cors.headers: {error}"))?,
        })
    }

    /// Named in the settings: `*` names nobody.
    pub fn is_listed(&self, origin: &str) -> bool {
        self.origins.iter().any(|listed| listed == origin)
    }

    /// The answer to a browser that asks before it sends, if this is such a question.
    pub fn preflight(&self, request: &Parts) -> Option<Response> {
        let asks = request.method == Method::OPTIONS && request.headers.contains_key("access-control-request-method");
        if !asks {
            return None;
        }
        let origin = text_header(&request.headers, "origin")?;
        if !self.everybody && !self.is_listed(origin) {
            return Some(Error::new("origin_not_allowed", "this origin is not allowed here").into_response());
        }
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_SECONDS));
        Some(response)
    }

    /// Marks a response as readable for the page that asked.
    pub fn mark(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        let Some(origin) = origin else { return };
        if origin.to_str().is_ok_and(|origin| self.is_listed(origin)) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        } else if self.everybody {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        } else {
            return;
        }
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}
