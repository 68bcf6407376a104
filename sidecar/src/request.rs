//! What handlers take out of a request. Each extractor refuses with the error that clients expect, so that a handler
//! never sees a half-good request.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::response::IntoResponse;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::client_ip::client_ip;
use crate::db::Caller;
use crate::error::{Error, Result};
use crate::server::{Peer, State};

/// Who asks, signed in or not.
impl FromRequestParts<State> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Caller> {
        let peer = parts.extensions.get::<Peer>().map(|peer| peer.0.ip());
        Ok(Caller {
            ip: peer.map(|peer| client_ip(peer, &parts.headers, &state.config.http)),
            user_agent: text_header(&parts.headers, "user-agent").map(str::to_owned),
            bearer: bearer(&parts.headers).map(str::to_owned),
        })
    }
}

/// A caller who brings a token: whose it is, SQL judges.
pub struct Bearer(pub Caller);

impl FromRequestParts<State> for Bearer {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Bearer> {
        let caller = Caller::from_request_parts(parts, state).await?;
        if caller.bearer.is_none() { Err(Error::no_authorization()) } else { Ok(Bearer(caller)) }
    }
}

/// A caller who brings a user's token. The same text in `apikey` makes it the project's key, which is nobody's.
pub struct SignedIn(pub Caller);

impl FromRequestParts<State> for SignedIn {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<SignedIn> {
        let Bearer(caller) = Bearer::from_request_parts(parts, state).await?;
        if caller.bearer.as_deref() == text_header(&parts.headers, "apikey") {
            return Err(Error::no_authorization());
        }
        Ok(SignedIn(caller))
    }
}

/// Exactly one `Authorization: Bearer x`; anything else is no token.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let is_token = !token.is_empty() && !token.contains(|character: char| character.is_ascii_whitespace());
    (scheme.eq_ignore_ascii_case("bearer") && is_token).then_some(token)
}

pub fn text_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The query string. A name given twice is refused: two readers would take different ones.
#[derive(Default)]
pub struct Query(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query> {
        Query::parse(parts.uri.query().unwrap_or_default().as_bytes())
    }
}

impl Query {
    pub fn parse(text: &[u8]) -> Result<Query> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(text) {
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(Error::validation("a parameter is given twice"));
            }
            if name.contains('\0') || value.contains('\0') {
                return Err(Error::validation("a parameter holds U+0000"));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Query(pairs))
    }

    /// An empty value is none, as Supabase's clients mean it.
    pub fn get(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.clone())
    }

    pub fn number(&self, name: &str) -> Result<Option<i64>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Error::validation(format!("{name} is not a number")))
    }

    pub fn redirect_to(&self) -> Option<String> {
        self.get("redirect_to")
    }
}

/// A JSON body of a known shape. What it has beyond that is ignored; a key given twice is not.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<State> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &State) -> Result<Json<T>> {
        let bytes = read(request, state).await?;
        // Some clients send nothing where they mean an empty object.
        parse(if bytes.is_empty() { b"{}" } else { &bytes }).map(Json)
    }
}

pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let body = serde_json::from_slice(bytes).map_err(|error| {
        if error.is_data() {
            // Its words name a type and a place; a value would be somebody's password.
            Error::validation(format!("the body has a member of the wrong kind or twice, at column {}", error.column()))
        } else {
            Error::new("bad_json", "the body is not JSON")
        }
    })?;
    if bytes.windows(6).any(|window| window == b"\\u0000") {
        let value: Value = serde_json::from_slice(bytes).map_err(|_| Error::new("bad_json", "the body is not JSON"))?;
        if holds_nul(&value) {
            return Err(Error::validation("a text holds U+0000, which cannot be stored"));
        }
    }
    Ok(body)
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(holds_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        _ => false,
    }
}

/// The whole body. One that says that it is too long is refused before it is read.
pub async fn read(request: Request, state: &State) -> Result<Vec<u8>> {
    let limit = state.config.http.body_limit_bytes;
    let length = text_header(request.headers(), "content-length").and_then(|length| length.parse::<usize>().ok());
    let mut body = request.into_body();
    let mut bytes = Vec::new();
    if length.is_some_and(|length| length > limit) {
        return Err(too_large(body, limit).await);
    }
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Error::new("bad_json", "the body did not arrive"))?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > limit {
                return Err(too_large(body, limit).await);
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}

/// A client that is still writing when the connection closes never sees the answer. So a body that is not much too long
/// is let through to nowhere first.
async fn too_large(body: Body, limit: usize) -> Error {
    let at_most = limit.saturating_mul(4);
    if body.size_hint().lower() <= at_most as u64 {
        // Who stops in the middle is not waited for.
        let _ = tokio::time::timeout(Duration::from_secs(1), discard(body, at_most)).await;
    }
    Error::new("request_entity_too_large", "the body is too large")
}

async fn discard(mut body: Body, mut left: usize) {
    while let Some(Ok(frame)) = body.frame().await {
        let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, |data| data.len())) else { return };
        left = rest;
    }
}

/// A user's id in the path: a UUID or nobody's.
pub struct UserId(pub Uuid);

impl FromRequestParts<State> for UserId {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<UserId> {
        let id = Path::<String>::from_request_parts(parts, state).await.ok().and_then(|id| id.0.parse().ok());
        id.map(UserId).ok_or_else(|| Error::new("user_not_found", "user_id is not a UUID"))
    }
}

/// A factor's id in the path: a UUID or that of none.
pub struct FactorId(pub Uuid);

impl FromRequestParts<State> for FactorId {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<FactorId> {
        let id = Path::<String>::from_request_parts(parts, state).await.ok().and_then(|id| id.0.parse().ok());
        id.map(FactorId).ok_or_else(no_factor)
    }
}

/// Both, of somebody else's factor.
pub struct UserAndFactor(pub Uuid, pub Uuid);

impl FromRequestParts<State> for UserAndFactor {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<UserAndFactor> {
        let ids = Path::<(String, String)>::from_request_parts(parts, state).await.ok().map(|ids| ids.0);
        let (user_id, factor_id) = ids.unwrap_or_default();
        let user_id = user_id.parse().map_err(|_| Error::new("user_not_found", "user_id is not a UUID"))?;
        Ok(UserAndFactor(user_id, factor_id.parse().map_err(|_| no_factor())?))
    }
}

fn no_factor() -> Error {
    Error::new("mfa_factor_not_found", "factor_id is not a UUID")
}

/// Options of a SQL function: only what the request has.
#[derive(Default)]
pub struct Options(Map<String, Value>);

impl Options {
    pub fn with(mut self, name: &str, value: Option<impl Into<Value>>) -> Options {
        if let Some(value) = value {
            self.0.insert(name.into(), value.into());
        }
        self
    }

    pub fn challenge(self, challenge: Challenge) -> Options {
        self.with("code_challenge", challenge.code_challenge)
            .with("code_challenge_method", challenge.code_challenge_method)
    }

    pub fn value(self) -> Value {
        Value::Object(self.0)
    }
}

/// What a client that will exchange a code sends along (RFC 7636).
#[derive(Default, Deserialize, ToSchema)]
pub struct Challenge {
    pub code_challenge: Option<String>,
    pub code_challenge_method: Option<String>,
}

/// The language that mails to this caller are to be written in: the first that the browser names.
pub struct Locale(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for Locale {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Locale, Self::Rejection> {
        let first = text_header(&parts.headers, "accept-language").and_then(|value| value.split([',', ';']).next());
        let is_tag = |tag: &str| {
            (2..=35).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        Ok(Locale(first.map(str::trim).filter(|tag| is_tag(tag)).map(str::to_owned)))
    }
}

/// An empty text is none: Supabase's clients send `""` for an address that is not given.
pub fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// A number signs in by a code of POST /otp and by nothing else.
pub fn no_phone() -> Error {
    Error::new("phone_provider_disabled", "phone numbers are for codes by SMS only")
}

/// An answer of `{}`: the same for every address, known or not.
pub fn nothing() -> axum::response::Response {
    (StatusCode::OK, axum::Json(Value::Object(Map::new()))).into_response()
}
