//! GET /v1/events: the four auth state events of the caller's own account, as Server-Sent Events (HTML, section 9.2). They hold
//! ids only. The stream ends when its session or its token does, and the client comes again with a good one.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header;
use serde_json::json;
use tokio::sync::mpsc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::db::Caller;
use crate::error::{Error, Result};
use crate::events::Stream;
use crate::request::SignedIn;
use crate::server::State;
use crate::shapes;

pub fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(events))
}

/// The same by its versioned name.
pub fn beside() -> Router<State> {
    Router::new().route("/v1/events", axum::routing::get(events))
}

/// Sign-ins, sign-outs, refreshes and changes of the caller's own account, as they happen.
#[utoipa::path(get, path = "/events", tag = "user", security(("bearer" = [])),
    responses((status = 200, description = "Server-Sent Events: SIGNED_IN, SIGNED_OUT, TOKEN_REFRESHED, USER_UPDATED",
        content_type = "text/event-stream"), (status = 401, body = shapes::Refusal), (status = 422, body = shapes::Refusal)))]
async fn events(Shared(state): Shared<State>, SignedIn(caller): SignedIn) -> Result<Response> {
    if !state.events.is_on() {
        return Err(Error::new("events_disabled", "events.max_streams of this sidecar is 0"));
    }
    let user_id = whose(&state, &caller).await?;
    let settings = state.db.call(&caller, "select auth.public_settings()", &[]).await?;
    if settings["notify_events"] != true {
        return Err(Error::new("events_disabled", "setting notify_events is off"));
    }
    let stream = state.events.open(user_id).await?;
    // What ended while the place was looked for is heard by nobody.
    whose(&state, &caller).await?;
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(follow(state, caller, user_id, stream, sender));
    let chunks = stream::unfold(receiver, async |mut receiver| {
        let chunk: String = receiver.recv().await?;
        Some((Ok::<_, Infallible>(chunk), receiver))
    });
    let headers = [(header::CONTENT_TYPE.as_str(), "text/event-stream"), ("x-accel-buffering", "no")];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

/// The user of the bearer, as long as its session lives.
async fn whose(state: &State, caller: &Caller) -> Result<Uuid> {
    let user = state.db.call(caller, "select auth.get_user()", &[]).await?;
    user["id"].as_str().and_then(|id| id.parse().ok()).ok_or_else(Error::no_authorization)
}

/// Until the client, the session, the token or the connection is gone. Dropping the sender ends the answer.
async fn follow(state: State, caller: Caller, user_id: Uuid, mut stream: Stream, sender: mpsc::Sender<String>) {
    let heartbeat = Duration::from_secs(state.config.events.heartbeat_seconds);
    if sender.send(": listening\n\n".into()).await.is_err() {
        return;
    }
    loop {
        let chunk = tokio::select! {
            said = stream.next() => match said {
                Some(name) => format!("event: {name}\ndata: {}\n\n", json!({"event": name, "user_id": user_id})),
                None => return,
            },
            () = tokio::time::sleep(heartbeat) => ": still here\n\n".to_owned(),
            () = sender.closed() => return,
        };
        let is_over = match whose(&state, &caller).await {
            Ok(_) => false,
            // The database is away, or busy: the next one will tell.
            Err(error) => !error.is_passing(),
        };
        let is_event = chunk.starts_with("event");
        if ((is_event || !is_over) && sender.send(chunk).await.is_err()) || is_over {
            return;
        }
    }
}
