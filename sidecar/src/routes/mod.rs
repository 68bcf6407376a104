//! One file for each family of endpoints. A handler parses, calls one SQL function and answers; no file here uses
//! another.

mod health;

use axum::Router;

use crate::server::State;

pub fn all() -> Router<State> {
    Router::new().merge(health::routes())
}
