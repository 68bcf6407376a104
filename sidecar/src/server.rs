//! The server: listens, bounds what a client can make it hold, answers, and drains on SIGTERM.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::cors::Cors;
use crate::courier;
use crate::db::Db;
use crate::error::Error;
use crate::events::{self, Events};
use crate::mail_domain::MailDomains;
use crate::outbound::Outbound;
use crate::{counters, pages, respond, routes};

/// What every handler can reach. There is nothing in it that a request changes.
#[derive(Clone)]
pub struct State {
    pub config: Arc<Config>,
    pub db: Db,
    pub cors: Arc<Cors>,
    pub outbound: Arc<Outbound>,
    pub mail_domains: Arc<MailDomains>,
    pub events: Events,
    pub metrics: Option<PrometheusHandle>,
}

/// The peer of the connection that a request came by.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Peer, Error> {
        parts.extensions.get().copied().ok_or_else(|| Error::internal("a request without a connection"))
    }
}

/// # Errors
/// Why it could not start, for the person who started it.
pub async fn serve(config: Config) -> Result<(), String> {
    let listener = listen(config.http.listen).await?;
    let (stop_events, events_stopped) = tokio::sync::watch::channel(false);
    let state = State {
        events: events::start(&config, events_stopped)?,
        db: Db::new(&config.database)?,
        cors: Arc::new(Cors::new(&config.cors)?),
        outbound: Arc::new(Outbound::new(&config.outbound)?),
        mail_domains: Arc::new(MailDomains::new(&config.mail)?),
        metrics: config.metrics.enabled.then(counters::start).transpose()?,
        config: Arc::new(config),
    };
    let app = router(state.clone());
    let stop = stop_signal()?;
    let courier = courier::start(&state.config, state.db.clone())?;
    let stop = async {
        stop.await;
        // Streams would go on for ever.
        stop_events.send_replace(true);
        // Mails under way are finished while requests are.
        if let Some(courier) = &courier {
            courier.stop();
        }
    };
    tracing::info!(listen = %state.config.http.listen, version = env!("CARGO_PKG_VERSION"), "ready");
    accept_until(listener, app, &state, stop).await;
    if let Some(courier) = courier {
        courier.ended().await;
    }
    state.db.close();
    tracing::info!("stopped");
    Ok(())
}

fn router(state: State) -> Router {
    let api = routes::api().merge(pages::routes(&state));
    Router::new()
        .nest("/auth/v1", api.clone())
        .merge(api)
        .merge(routes::beside(&state.config))
        .fallback(async || Error::of_route(StatusCode::NOT_FOUND, "there is no such endpoint"))
        .method_not_allowed_fallback(async || {
            Error::of_route(StatusCode::METHOD_NOT_ALLOWED, "this endpoint does not have that method")
        })
        .route_layer(axum::middleware::from_fn(respond::name_route))
        .with_state(state)
}

async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("another program listens on {address}; stop it, or set http.listen (AUTH_HTTP__LISTEN)")
        }
        _ => format!("cannot listen on {address}: {error}"),
    })
}

fn stop_signal() -> Result<impl Future<Output = ()>, String> {
    let cannot = |error| format!("cannot wait for signals: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

async fn accept_until(listener: TcpListener, app: Router, state: &State, stop: impl Future<Output = ()>) {
    let open = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => converse(stream, peer, app.clone(), state, &open),
                // Out of file descriptors: those who are connected may end meanwhile.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            () = &mut stop => break,
        }
    }
    drop(listener);
    tracing::info!("stopping");
    if tokio::time::timeout(Duration::from_secs(state.config.http.drain_seconds), open.shutdown()).await.is_err() {
        tracing::warn!("requests were cut off: they took longer than http.drain_seconds");
    }
}

/// One connection, whose head must arrive in time and within a size.
fn converse(stream: TcpStream, peer: SocketAddr, app: Router, state: &State, open: &GracefulShutdown) {
    // Small answers should leave at once.
    let _ = stream.set_nodelay(true);
    let config = state.config.clone();
    let state = state.clone();
    let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let (app, state) = (app.clone(), state.clone());
        let request = request.map(axum::body::Body::new);
        async move { Ok::<Response, Infallible>(respond::respond(app, &state, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(config.http.request_seconds))
        .max_buf_size(config.http.header_limit_bytes)
        .serve_connection(TokioIo::new(stream), service);
    let connection = open.watch(connection);
    tokio::spawn(async move {
        // A client that breaks off or sends no HTTP is its own business.
        let _ = connection.await;
    });
}
