//! /verify: spends a mailed link or code. GET and HEAD spend nothing: they show a page whose button does. Where a
//! browser is sent afterwards is a URL that SQL has given. One that the request names becomes a Location only for errors,
//! and only after auth.redirect_allowed says yes; else that is site_url.

use axum::extract::{FromRequest, Request, State as Shared};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer::{self, Way};
use crate::db::{Argument, Caller};
use crate::error::{Error, Result};
use crate::origin::is_form;
use crate::page;
use crate::request::{Json, Query, given, read, text_header};
use crate::server::State;
use crate::shapes;

const HALF_DONE: &str = "Confirmation link accepted. Please proceed to confirm link sent to the other email";

pub fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(show_page, verify))
}

#[derive(Deserialize, ToSchema)]
struct Proof {
    /// email, signup, invite, magiclink, recovery, email_change, sms or phone_change
    r#type: Option<String>,
    /// The code, with the `email` or `phone` that it was sent to
    token: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    /// The link's token, alone
    token_hash: Option<String>,
}

/// The page behind a mailed link. Does not spend it.
#[utoipa::path(get, path = "/verify", tag = "sign-in",
    params(("token" = String, Query, description = "of the link"), ("type" = String, Query, description = "of the link"),
        ("redirect_to" = Option<String>, Query, description = "where errors are shown, if it is allowed")),
    responses((status = 200, description = "a page with a button", content_type = "text/html"),
        (status = 303, description = "the link is spent, expired or unknown: error in the fragment"),
        (status = 400, description = "the link is not complete", content((shapes::Refusal = "application/json"),
            (String = "text/html")))))]
async fn show_page(Shared(state): Shared<State>, caller: Caller, query: Query) -> Result<Response> {
    let (Some(token), Some(kind)) = (query.get("token"), query.get("type")) else {
        return Ok(page::notice(StatusCode::BAD_REQUEST, "It is not complete. Open it again from the mail."));
    };
    let arguments = [Argument::text(token.clone()), Argument::Json(json!({"type": kind}))];
    match state.db.call(&caller, "select auth.look_up_link($1, $2)", &arguments).await {
        Ok(link) => {
            let leads_to = link["redirect_to"].as_str().unwrap_or_default();
            Ok(page::confirm(&token, &kind, query.redirect_to().as_deref(), leads_to))
        }
        Err(error) => to_error(&state, &caller, query.redirect_to(), error).await,
    }
}

/// Spend a link (`token_hash`) or a code (`email` and `token`). The page's form gets a redirect, JSON a session.
#[utoipa::path(post, path = "/verify", tag = "sign-in", request_body = Proof,
    responses((status = 200, body = shapes::Verified), (status = 303, description = "to where the link leads, with a \
        code in the query or the session in the fragment"), (status = 400, description = "the request makes no sense",
        content((shapes::Refusal = "application/json"), (String = "text/html"))), (status = 403, body = shapes::Refusal)))]
async fn verify(
    Shared(state): Shared<State>,
    caller: Caller,
    headers: HeaderMap,
    request: Request,
) -> Result<Response> {
    if text_header(&headers, "content-type").is_some_and(is_form) {
        let form = Query::parse(&read(request, &state).await?)?;
        return by_page(&state, &caller, &form).await;
    }
    let Json(proof) = Json::<Proof>::from_request(request, &state).await?;
    by_client(&state, &caller, &headers, proof).await
}

async fn by_client(state: &State, caller: &Caller, headers: &HeaderMap, proof: Proof) -> Result<Response> {
    let Some(kind) = given(proof.r#type) else {
        return Err(Error::validation("verify requires a verification type"));
    };
    let options = Argument::Json(json!({"type": kind, "mfa": answer::SECOND_STEP}));
    let answer = match (given(proof.token_hash), given(proof.email), given(proof.token)) {
        (Some(link), None, None) => {
            let arguments = [Argument::text(link), options];
            (Way::Link, state.db.call(caller, "select auth.verify_link($1, $2)", &arguments).await?)
        }
        (None, Some(email), Some(code)) => {
            let arguments = [Argument::text(email), Argument::text(code), options];
            (Way::Code, state.db.call(caller, "select auth.verify_otp($1, $2, $3)", &arguments).await?)
        }
        (None, None, Some(code)) if proof.phone.as_ref().is_some_and(|phone| !phone.is_empty()) => {
            let arguments = [Argument::Text(proof.phone), Argument::text(code), options];
            (Way::Sms, state.db.call(caller, "select auth.verify_sms_otp($1, $2, $3)", &arguments).await?)
        }
        _ => return Err(Error::validation("verify requires a token_hash alone, or a token with an email or phone")),
    };
    match answer {
        (_, half) if half["status"] == "confirmation_sent" => {
            Ok(answer::json(&json!({"msg": HALF_DONE, "code": "200"})))
        }
        (way, session) => Ok(answer::session(&state.config, headers, session, way)),
    }
}

async fn by_page(state: &State, caller: &Caller, form: &Query) -> Result<Response> {
    let (Some(token), Some(kind)) = (form.get("token"), form.get("type")) else {
        return Ok(page::notice(StatusCode::BAD_REQUEST, "It is not complete. Open it again from the mail."));
    };
    let arguments =
        [Argument::text(token), Argument::Json(json!({"type": kind, "flow": "redirect", "mfa": answer::SECOND_STEP}))];
    let answer = match state.db.call(caller, "select auth.verify_link($1, $2)", &arguments).await {
        Ok(answer) => answer,
        Err(error) => return to_error(state, caller, form.redirect_to(), error).await,
    };
    let Some(target) = answer["redirect_to"].as_str() else {
        return Ok(page::notice(StatusCode::OK, "Done. You can close this page."));
    };
    match answer["status"].as_str() {
        Some("redirect") => {
            let code = answer["code"].as_str().unwrap_or_default();
            redirect(&with_query(target, &[("code", code)]))
        }
        Some("approval_pending") => to_error(state, caller, Some(target.to_owned()), answer::approval_pending()).await,
        Some("confirmation_sent") => redirect(&with_fragment(target, &[("message", HALF_DONE)])),
        _ => {
            answer::count(Way::Link);
            redirect(&with_fragment(target, &session_pairs(&answer, &kind)))
        }
    }
}

/// Shows an error to the app it belongs to: at the URL asked for if SQL allows it and it is plain ASCII, as in a
/// header, else at site_url.
async fn to_error(state: &State, caller: &Caller, asked: Option<String>, error: Error) -> Result<Response> {
    if error.status().is_server_error() {
        return Err(error);
    }
    let statement = "select case when auth.redirect_allowed($1) then $1 else auth.public_settings() ->> 'site_url' end";
    let asked = asked.filter(|url| url.bytes().all(|byte| byte.is_ascii_graphic())).unwrap_or_default();
    let target = state.db.call(caller, statement, &[Argument::text(asked)]).await?;
    let Some(target) = target.as_str().filter(|target| !target.is_empty()) else {
        return Ok(page::notice(StatusCode::FORBIDDEN, error.message()));
    };
    let kind =
        if error.status() == StatusCode::TOO_MANY_REQUESTS { "temporarily_unavailable" } else { "access_denied" };
    let pairs = [("error", kind), ("error_code", error.code()), ("error_description", error.message())];
    redirect(&with_fragment(target, &pairs))
}

fn session_pairs<'a>(session: &'a Value, kind: &'a str) -> Vec<(&'a str, String)> {
    let names = ["access_token", "expires_at", "expires_in", "refresh_token", "token_type"];
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut pairs: Vec<_> = names.into_iter().filter_map(|name| Some((name, text(session.get(name)?)))).collect();
    pairs.push(("type", kind.to_owned()));
    pairs
}

fn with_fragment<V: AsRef<str>>(url: &str, pairs: &[(&str, V)]) -> String {
    format!("{}#{}", without_fragment(url), encoded(pairs))
}

fn with_query(url: &str, pairs: &[(&str, &str)]) -> String {
    let url = without_fragment(url);
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{}", encoded(pairs))
}

fn without_fragment(url: &str) -> &str {
    url.split('#').next().unwrap_or_default()
}

fn encoded<V: AsRef<str>>(pairs: &[(&str, V)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn redirect(target: &str) -> Result<Response> {
    let location = HeaderValue::from_str(target).map_err(|_| Error::internal("a redirect with control characters"))?;
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response())
}
