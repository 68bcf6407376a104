//! Counters for Prometheus. Labels are routes' templates, methods, statuses and ways in: nothing that a client writes.

use std::time::Duration;

use http::Method;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::db::Db;

const SECONDS: &str = "http_request_duration_seconds";

/// # Errors
/// A second recorder in one process.
pub fn start() -> Result<PrometheusHandle, String> {
    let cannot = |error: BuildError| format!("cannot set up metrics: {error}");
    let buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(SECONDS.into()), &buckets)
        .map_err(cannot)?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|error| format!("cannot set up metrics: {error}"))?;
    metrics::describe_counter!("http_requests_total", "Requests, by route, method and status.");
    metrics::describe_histogram!(SECONDS, "How long requests took.");
    metrics::describe_counter!("auth_sign_ins_total", "Sessions opened, by the way in.");
    metrics::describe_counter!("auth_refreshes_total", "Sessions refreshed.");
    metrics::describe_gauge!("auth_pool_connections", "Connections to the database, by state.");
    metrics::describe_counter!("auth_deliveries_total", "Attempts to send mail and webhooks, by channel and outcome.");
    Ok(handle)
}

/// `sent`, `retry`, `failed` or `expired`.
pub fn delivery(channel: &str, outcome: &'static str) {
    let channel = match channel {
        known @ ("email" | "webhook") => known.to_owned(),
        _ => "other".to_owned(),
    };
    metrics::counter!("auth_deliveries_total", "channel" => channel, "outcome" => outcome).increment(1);
}

pub fn request(method: &Method, route: &str, status: u16, elapsed: Duration) {
    // A method may be any word.
    let method = match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known.to_owned(),
        _ => "other".to_owned(),
    };
    metrics::counter!("http_requests_total", "route" => route.to_owned(), "method" => method, "status" => status.to_string())
        .increment(1);
    metrics::histogram!(SECONDS, "route" => route.to_owned()).record(elapsed.as_secs_f64());
}

pub fn pool(db: &Db) {
    let status = db.pool_status();
    let used = status.size.saturating_sub(status.available);
    for (state, connections) in [("used", used), ("idle", status.available), ("waiting", status.waiting)] {
        metrics::gauge!("auth_pool_connections", "state" => state).set(connections as f64);
    }
}
