//! Pages for those who bring no front end: signing up and in, the second step, and one's own account.
//!
//! Promises: they work without scripts, by keyboard and with screen readers, in the languages of `templates/pages`; the session
//! is in cookies that no script reads, and no token is in a URL or in a page; whoever is redirected after signing in is sent where
//! `auth.redirect_allowed` says yes, and nowhere else. Threats: a foreign page that posts to ours or frames it, a name that is
//! markup, a form that says which addresses there are. As everywhere here, a page calls SQL, and SQL decides.

mod account;
mod code;
mod factors;
mod forgotten;
mod guard;
mod passkeys;
mod render;
mod second_step;
pub mod settings;
mod sign_in;
mod sign_up;
mod visitor;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use http::header;

use crate::server::State;

const SCRIPT: &str = include_str!("../../templates/pages/passkeys.js");
const STYLE: &str = include_str!("../../templates/pages/style.css");

/// Nothing where they are switched off; nor beside a captcha, whose widget is a script of somebody else's.
pub fn routes(state: &State) -> Router<State> {
    if !state.config.pages.enabled || state.config.captcha.provider.is_some() {
        return Router::new();
    }
    Router::new()
        .merge(sign_in::routes())
        .merge(second_step::routes())
        .merge(sign_up::routes())
        .merge(forgotten::routes())
        .merge(code::routes())
        .merge(account::routes())
        .merge(factors::routes())
        .merge(passkeys::routes())
        .route("/pages/passkeys.js", get(async || file("text/javascript; charset=utf-8", SCRIPT)))
        .route("/pages/style.css", get(async || file("text/css; charset=utf-8", STYLE)))
        .route_layer(from_fn_with_state(state.clone(), guard::around))
}

fn file(kind: &'static str, text: &'static str) -> impl axum::response::IntoResponse {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=3600")], text)
}
