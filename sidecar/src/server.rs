//! The server: listens, bounds what a client can make it hold, answers, and drains on SIGTERM.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tower::ServiceExt;

use crate::config::Config;
use crate::courier;
use crate::db::Db;
use crate::error::Error;
use crate::routes;

/// What every handler can reach. There is nothing in it that a request changes.
#[derive(Clone)]
pub struct State {
    pub config: Arc<Config>,
    pub db: Db,
}

/// The peer of the connection that a request came by.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

pub async fn serve(config: Config) -> Result<(), String> {
    let listener = listen(config.http.listen).await?;
    let db = Db::new(&config.database)?;
    let state = State { config: Arc::new(config), db };
    let app = router(state.clone());
    let stop = stop_signal()?;
    let courier = courier::start(&state.config, state.db.clone())?;
    let stop = async {
        stop.await;
        // Mails under way are finished while requests are.
        if let Some(courier) = &courier {
            courier.stop();
        }
    };
    tracing::info!(listen = %state.config.http.listen, version = env!("CARGO_PKG_VERSION"), "ready");
    accept_until(listener, app, &state.config, stop).await;
    if let Some(courier) = courier {
        courier.ended().await;
    }
    state.db.close();
    tracing::info!("stopped");
    Ok(())
}

pub fn router(state: State) -> Router {
    let routes = routes::all();
    Router::new()
        .nest("/auth/v1", routes.clone())
        .merge(routes)
        .fallback(async || Error::of_route(StatusCode::NOT_FOUND, "there is no such endpoint"))
        .method_not_allowed_fallback(async || {
            Error::of_route(StatusCode::METHOD_NOT_ALLOWED, "this endpoint does not have that method")
        })
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

async fn accept_until(listener: TcpListener, app: Router, config: &Config, stop: impl Future<Output = ()>) {
    let open = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => converse(stream, peer, app.clone(), config, &open),
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
    if tokio::time::timeout(Duration::from_secs(config.http.drain_seconds), open.shutdown()).await.is_err() {
        tracing::warn!("requests were cut off: they took longer than http.drain_seconds");
    }
}

/// One connection, whose head must arrive in time and within a size.
fn converse(stream: TcpStream, peer: SocketAddr, app: Router, config: &Config, open: &GracefulShutdown) {
    // Small answers should leave at once.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let app = app.clone();
        async move { Ok::<Response, std::convert::Infallible>(answer(app, request.map(axum::body::Body::new)).await) }
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

async fn answer(app: Router, request: Request) -> Response {
    let Ok(response) = app.oneshot(request).await;
    match response.extensions().get::<Error>() {
        Some(error) => {
            if let Some(cause) = error.cause() {
                tracing::error!(code = error.code(), cause, "request failed");
            }
            error.render(true)
        }
        None => response,
    }
}
