//! One file for each family of endpoints. A handler parses, calls SQL once and answers; no file here uses another.

mod admin_factors;
mod admin_users;
mod audit;
mod compat_nself;
mod compat_urbackend;
mod events;
mod exposition;
mod factors;
mod forward_auth;
mod generate_link;
mod health;
mod invite;
mod logout;
mod otp;
mod passkey;
mod profile;
mod reauthenticate;
mod recover;
mod recovery_codes;
mod resend;
mod settings;
mod signup;
mod token;
mod user;
mod verify;
mod well_known;

use axum::Router;
use axum::routing::get;
use http::header;
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, PathItem, Ref, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;

use crate::config::Config;
use crate::server::State;
use crate::shapes;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "auth",
        description = "Sign-up, sign-in and sessions, as Supabase's clients speak them.",
        license(name = "Apache-2.0")
    ),
    components(schemas(shapes::Refusal))
)]
struct Description;

/// What clients call, at `/` and at `/auth/v1`.
pub fn api() -> Router<State> {
    let (router, _) = described().split_for_parts();
    router.route("/openapi.json", get(async || ([(header::CONTENT_TYPE, "application/json")], description())))
}

/// What has its place at the root only.
pub fn beside(config: &Config) -> Router<State> {
    let mut router = profile::beside(config.compat.urbackend).merge(passkey::of_apps(config)).merge(events::beside());
    if config.metrics.enabled {
        router = router.merge(exposition::routes());
    }
    if config.compat.urbackend {
        router = router.merge(compat_urbackend::routes());
    }
    if config.compat.nself {
        router = router.merge(compat_nself::routes());
    }
    router
}

/// The OpenAPI document, made from the handlers that are served.
pub fn description() -> String {
    let (_, mut description) = described().split_for_parts();
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build());
    description.components.get_or_insert_default().add_security_scheme("bearer", bearer);
    description.paths.paths.values_mut().flat_map(operations).for_each(describe_refusals);
    description.to_pretty_json().unwrap_or_default()
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten()
}

/// What every operation may refuse, beside what its handler says: refusals are made in one place for all of them.
fn describe_refusals(operation: &mut Operation) {
    let mut statuses = vec![
        ("400", "the request makes no sense"),
        ("429", "too often; `Retry-After` says how long to wait"),
        ("503", "the database is not there now"),
        ("504", "it took too long"),
    ];
    if operation.security.is_some() {
        statuses.extend([("401", "no bearer"), ("403", "a bearer that is not good, or not for this")]);
    }
    if operation.request_body.is_some() {
        statuses.extend([("413", "the body is too long"), ("422", "not with these values, or not in this state")]);
    }
    for (status, text) in statuses {
        let content = Content::new(Some(Ref::from_schema_name("Refusal")));
        let response = ResponseBuilder::new().description(text).content("application/json", content).build();
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| response.into());
    }
}

fn described() -> OpenApiRouter<State> {
    OpenApiRouter::with_openapi(Description::openapi())
        .merge(signup::routes())
        .merge(token::routes())
        .merge(user::routes())
        .merge(logout::routes())
        .merge(otp::routes())
        .merge(verify::routes())
        .merge(recover::routes())
        .merge(resend::routes())
        .merge(reauthenticate::routes())
        .merge(factors::routes())
        .merge(recovery_codes::routes())
        .merge(settings::routes())
        .merge(health::routes())
        .merge(well_known::routes())
        .merge(forward_auth::routes())
        .merge(passkey::routes())
        .merge(invite::routes())
        .merge(admin_users::routes())
        .merge(admin_factors::routes())
        .merge(generate_link::routes())
        .merge(audit::routes())
        .merge(profile::routes())
        .merge(events::routes())
}
