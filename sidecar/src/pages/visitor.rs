//! Whoever stands before a page: the language, and the session in cookies that scripts cannot read. The access token is in one,
//! the refresh token in another: where cookie mode is on, in that of cookie mode, so that an app on the same site goes on with it.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::guard::{self, Jar};
use super::render::{Look, language};
use crate::answer;
use crate::config::{Config, Cookie, SameSite};
use crate::cookies;
use crate::db::{Argument, Caller};
use crate::error::{Error, Result};
use crate::origin::is_form;
use crate::request::{Query, read, text_header};
use crate::server::State;

const OUTSIDE: &str = "select pg_catalog.jsonb_build_object('settings', auth.public_settings(),
    'leads_to', case when auth.redirect_allowed($1) then $1 end)";

/// Browsers keep no longer cookie.
const LONGEST_COOKIE: usize = 3_800;

pub struct Visitor {
    pub state: State,
    pub lang: &'static str,
    pub query: Query,
    pub flow: Flow,
    pub is_restricted: bool,
    /// Whether the page has the script for passkeys and security keys.
    pub with_script: bool,
    caller: Caller,
    headers: HeaderMap,
    jar: Jar,
    access: Option<String>,
    refresh: Option<String>,
}

/// What is remembered from one form to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    pub email: Option<String>,
    /// Where to after signing in; SQL judges it when it is used.
    pub redirect_to: Option<String>,
    /// What a sign-in waits for.
    pub step: Option<String>,
}

impl Flow {
    fn read(text: &str) -> Flow {
        let Ok(fields) = Query::parse(text.as_bytes()) else { return Flow::default() };
        Flow { email: fields.get("email"), redirect_to: fields.get("redirect_to"), step: fields.get("step") }
    }

    fn write(&self) -> String {
        let fields = [("email", &self.email), ("redirect_to", &self.redirect_to), ("step", &self.step)];
        let given = fields.iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish()
    }
}

impl FromRequestParts<State> for Visitor {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Visitor> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let headers = parts.headers.clone();
        let config = &state.config;
        let kept = |cookie: &Cookie| cookies::refresh_token(&headers, cookie);
        Ok(Visitor {
            lang: language(&headers),
            query: Query::from_request_parts(parts, state).await?,
            flow: kept(&flow_cookie(config)).map(|text| Flow::read(&text)).unwrap_or_default(),
            is_restricted: false,
            with_script: false,
            // What a header says is for programs.
            caller: Caller { bearer: None, ..caller },
            jar: parts.extensions.get::<Jar>().cloned().unwrap_or_default(),
            access: kept(&access_cookie(config)),
            refresh: kept(&refresh_cookie(config)),
            state: state.clone(),
            headers,
        })
    }
}

/// What a form has sent.
pub struct Form(pub Query);

impl FromRequest<State> for Form {
    type Rejection = Error;

    async fn from_request(request: Request, state: &State) -> Result<Form> {
        if !text_header(request.headers(), "content-type").is_some_and(is_form) {
            return Err(Error::validation("this is for a form"));
        }
        Query::parse(&read(request, state).await?).map(Form)
    }
}

impl Form {
    /// Empty where it is not given: SQL says what it thinks of that.
    pub fn text(&self, name: &str) -> String {
        self.0.get(name).unwrap_or_default()
    }

    /// What a security key has answered.
    pub fn credential(&self) -> Result<Option<Argument>> {
        let text = self.0.get("credential").filter(|text| !text.is_empty());
        let json = text.map(|text| serde_json::from_str(&text)).transpose();
        json.map(|json| json.map(Argument::Json)).map_err(|_| Error::validation("credential is not JSON"))
    }

    pub fn id(&self, name: &str) -> Result<Argument> {
        self.text(name).parse().map(Argument::Uuid).map_err(|_| Error::validation(format!("{name} is not a UUID")))
    }
}

impl Visitor {
    /// What a page for everybody shows, and whether `redirect_to` is a place to lead to.
    pub async fn outside(&self, redirect_to: Option<&str>) -> Result<Value> {
        self.call(OUTSIDE, &[Argument::text(plain(redirect_to).unwrap_or_default())]).await
    }

    /// As nobody.
    pub async fn call(&self, statement: &str, arguments: &[Argument]) -> Result<Value> {
        self.state.db.call(&self.caller, statement, arguments).await
    }

    /// As whom the cookies say, with fresh tokens where those have ended.
    pub async fn call_as_user(&mut self, statement: &str, arguments: &[Argument]) -> Result<Value> {
        let mut is_renewed = false;
        if !self.access.as_deref().is_some_and(is_current) {
            self.renew().await?;
            is_renewed = true;
        }
        loop {
            self.note_restriction();
            let caller = Caller { bearer: self.access.clone(), ..self.caller.clone() };
            match self.state.db.call(&caller, statement, arguments).await {
                // Of another clock than ours, or restricted since.
                Err(error) if error.code() == "session_expired" && !is_renewed => {
                    self.renew().await?;
                    is_renewed = true;
                }
                answer => return answer,
            }
        }
    }

    async fn renew(&mut self) -> Result<()> {
        let Some(token) = self.refresh.clone() else { return Err(Error::no_authorization()) };
        let arguments = [Argument::text(token), Argument::Json(json!({}))];
        let answer = self.call("select auth.refresh($1, $2)", &arguments).await?;
        self.keep(&answer);
        Ok(())
    }

    /// The tokens of an answer become this browser's.
    pub fn keep(&mut self, answer: &Value) {
        let config = self.state.config.clone();
        let text = |name: &str| answer[name].as_str().map(str::to_owned);
        if let Some(token) = text("access_token") {
            // Without it each request begins with a refresh.
            let kept = if token.len() > LONGEST_COOKIE { "" } else { &token };
            self.jar.put(cookies::set(kept, &self.headers, &access_cookie(&config)));
            self.access = Some(token);
        }
        if let Some(token) = text("refresh_token") {
            self.jar.put(cookies::set(&token, &self.headers, &refresh_cookie(&config)));
            self.refresh = Some(token);
        }
        self.note_restriction();
    }

    fn note_restriction(&mut self) {
        self.is_restricted =
            self.access.as_deref().and_then(unverified_claims).is_some_and(|claims| claims.token_type == "restricted");
        if self.is_restricted {
            self.jar.waits_at(match self.flow.step.as_deref() {
                Some("password") => "/account/password",
                Some("enrollment") => "/account/factors/new",
                _ => "/sign-in/second-step",
            });
        }
    }

    /// A sign-in that is not finished shows the page of what it waits for and no other.
    pub fn may_take(&self, step: &str) -> bool {
        !self.is_restricted || self.flow.step.as_deref() == Some(step)
    }

    pub fn forget_session(&mut self) {
        forget(&self.jar, &self.headers, &self.state.config);
        (self.access, self.refresh) = (None, None);
    }

    pub fn remember(&mut self, flow: Flow) {
        self.flow = flow;
        let cookie = flow_cookie(&self.state.config);
        let text = self.flow.write();
        self.jar.put(match text.is_empty() || text.len() > LONGEST_COOKIE {
            true => cookies::clear(&self.headers, &cookie),
            false => cookies::set(&text, &self.headers, &cookie),
        });
    }

    /// An answer that has a session in it: on to what is still to be done, or to where the person was going.
    pub async fn arrive(&mut self, answer: &Value) -> Result<Response> {
        self.keep(answer);
        let step = match answer["status"].as_str() {
            Some("session") if !self.is_restricted && !self.may_be_raised(answer) => return self.arrived().await,
            Some("session") => "second-step",
            Some("password_change_required") => "password",
            Some("mfa_enrollment_required") => "enrollment",
            Some("approval_pending") => return Ok(self.go("/sign-in?done=approval_pending")),
            status => return Err(Error::internal(format!("a page cannot go on from status {status:?}"))),
        };
        self.remember(Flow { step: Some(step.into()), ..self.flow.clone() });
        Ok(self.go(match step {
            "password" => "/account/password",
            "enrollment" => "/account/factors/new",
            _ => "/sign-in/second-step",
        }))
    }

    /// Where `mfa_enforcement` leaves it to policies, a session without the second step is one already; the person has a factor,
    /// and is asked for it here as anywhere.
    fn may_be_raised(&self, answer: &Value) -> bool {
        let factors = answer["user"]["factors"].as_array();
        let is_enrolled = factors.is_some_and(|factors| factors.iter().any(|factor| factor["status"] == "verified"));
        is_enrolled && self.access.as_deref().and_then(unverified_claims).is_some_and(|claims| claims.aal == "aal1")
    }

    async fn arrived(&mut self) -> Result<Response> {
        let leads_to = self.leads_to().await?;
        self.remember(Flow::default());
        match leads_to.and_then(|url| HeaderValue::from_str(&url).ok()) {
            Some(location) => Ok((StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()),
            None => Ok(self.go("/account")),
        }
    }

    /// Where this sign-in may end up, beyond this site: browsers have to know before they send the form that finishes it.
    pub async fn leads_to(&self) -> Result<Option<String>> {
        let Some(url) = plain(self.flow.redirect_to.as_deref()) else { return Ok(None) };
        let is_allowed = self.call("select auth.redirect_allowed($1)", &[Argument::text(url)]).await?;
        Ok((is_allowed == true).then(|| url.to_owned()))
    }

    pub fn go(&self, page: &str) -> Response {
        guard::go(&self.state.config, page)
    }

    /// Of a page of ours.
    pub fn address(&self, page: &str) -> String {
        format!("{}{page}", base_path(&self.state.config))
    }

    /// A refusal as a script shows it. Where the session is over, the page itself says so when it is opened again.
    pub fn tell(&self, error: Error, field: Option<&str>) -> Result<Response> {
        if error.status().is_server_error() {
            return Err(error);
        }
        let sentence = self.look(None).sentence(&error, field);
        let mut response = answer::json(&json!({"sentence": sentence, "field": field}));
        *response.status_mut() = error.status();
        Ok(response)
    }

    /// The options that every request for a mail has.
    pub fn locale(&self) -> Value {
        json!({"locale": self.lang})
    }

    /// `leads_to` is where its form may end up, beyond this site.
    pub fn page(&self, name: &str, leads_to: Option<&str>, mut context: Value) -> Result<Response> {
        context["email"] = json!(self.flow.email);
        if let Some(word) = self.query.get("done") {
            context["done"] = json!(word);
        }
        self.look(leads_to).page(name, StatusCode::OK, context)
    }

    /// The same page again, with what was wrong about `field`.
    pub fn page_again(
        &self,
        name: &str,
        leads_to: Option<&str>,
        mut context: Value,
        error: &Error,
        field: &str,
    ) -> Result<Response> {
        context["error"] = json!({"code": error.code(), "message": error.message(), "field": field});
        if context.get("email").is_none() {
            context["email"] = json!(self.flow.email);
        }
        self.look(leads_to).page(name, error.status(), context)
    }

    fn look<'a>(&'a self, leads_to: Option<&'a str>) -> Look<'a> {
        Look { config: &self.state.config, lang: self.lang, leads_to, with_script: self.with_script }
    }
}

/// What a person can mend; what is a fault, or the end of the session, is the guard's to show.
pub fn is_of_the_form(error: &Error) -> bool {
    let is_of_the_session = ["no_authorization", "bad_jwt", "session_not_found", "session_expired", "insufficient_aal"]
        .contains(&error.code());
    !error.status().is_server_error() && !is_of_the_session && !error.code().starts_with("refresh_")
}

/// An address that can be a header.
fn plain(url: Option<&str>) -> Option<&str> {
    url.filter(|url| !url.is_empty() && url.bytes().all(|byte| byte.is_ascii_graphic()))
}

pub fn forget(jar: &Jar, headers: &HeaderMap, config: &Config) {
    for cookie in [access_cookie(config), refresh_cookie(config)] {
        if cookies::is_present(headers, &cookie) {
            jar.put(cookies::clear(headers, &cookie));
        }
    }
}

/// The path below which clients reach us.
pub fn base_path(config: &Config) -> &str {
    config.external_url.get(crate::origin::origin_of(&config.external_url).len()..).unwrap_or_default()
}

fn access_cookie(config: &Config) -> Cookie {
    own_cookie(config, "auth-pages-access")
}

fn refresh_cookie(config: &Config) -> Cookie {
    if config.cookie.enabled { config.cookie.clone() } else { own_cookie(config, "auth-pages-refresh") }
}

fn flow_cookie(config: &Config) -> Cookie {
    Cookie { max_age_seconds: 3600, ..own_cookie(config, "auth-pages-flow") }
}

/// Of this host alone; browsers hold a name with the prefix to that.
fn own_cookie(config: &Config, name: &str) -> Cookie {
    let secure = config.is_https();
    let prefix = if secure { "__Host-" } else { "" };
    let max_age_seconds = config.cookie.max_age_seconds;
    Cookie {
        enabled: true,
        name: format!("{prefix}{name}"),
        secure,
        same_site: SameSite::Lax,
        max_age_seconds,
        shared_domains: Vec::new(),
    }
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    exp: i64,
    #[serde(default)]
    token_type: String,
    #[serde(default)]
    aal: String,
}

/// Unverified: they choose which page is next, and SQL judges what it shows.
fn unverified_claims(token: &str) -> Option<Claims> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?).ok()
}

fn is_current(token: &str) -> bool {
    unverified_claims(token).is_some_and(|claims| claims.exp > chrono::Utc::now().timestamp() + 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_read_back() {
        let flow = Flow {
            email: Some("ada+x=1&y@example.org".into()),
            redirect_to: Some("https://app.example.com/?a=b;c".into()),
            step: None,
        };
        assert_eq!(Flow::read(&flow.write()), flow);
        assert!(!flow.write().contains([';', ' ', '"', ',']));
        assert_eq!(Flow::read("email=a&email=b"), Flow::default());
    }
}
