//! Health and metrics for operators.
//!
//! `/healthz` and `/readyz` tell their status to anyone. What is behind the status, and the metrics, are for callers on
//! this machine, or for whom the configuration opens them. A browser is never such a caller: a request with an
//! `Origin`, or with a host name that nobody configured, may come from a page that rebound its name to us.

use std::{fmt, net::IpAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::Value;

/// What the admin listener shows, and to whom.
#[derive(Clone)]
pub struct Admin {
    /// Whether the service can decide, and what an operator should know.
    pub readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// The metrics in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Host names beside addresses and `localhost`.
    pub names: Vec<String>,
    /// Whether the caller may see more than a status; the listener's place decides.
    pub detail_open: bool,
    /// Whether the caller may read the metrics.
    pub metrics_open: bool,
}

/// Whether the service can decide.
#[derive(Debug, Clone, PartialEq)]
pub struct Readiness {
    /// It can.
    pub ready: bool,
    /// Why, or why not: issuers, snapshot, decision log, weakened settings.
    pub detail: Value,
}

/// Serves `/healthz`, `/readyz` and `/metrics`.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

async fn ready(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let readiness = (admin.readiness)();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let no_store = (header::CACHE_CONTROL, "no-store");
    if admin.detail_open && !may_be_a_browser(&headers, &admin.names) {
        let fields = [(header::CONTENT_TYPE, "application/json"), no_store];
        return (status, fields, format!("{:#}\n", readiness.detail)).into_response();
    }
    let word = if readiness.ready { "ready\n" } else { "not ready\n" };
    (status, [no_store], word).into_response()
}

async fn metrics(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    if !admin.metrics_open || may_be_a_browser(&headers, &admin.names) {
        return (StatusCode::FORBIDDEN, "not open to this caller: see `listen.admin` in the configuration\n")
            .into_response();
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], (admin.metrics)()).into_response()
}

/// Whether a request may come from a web page: it has an `Origin`, or names a host that is neither an address, nor
/// `localhost`, nor configured. A page can rebind a name to our address, but it cannot make a browser send an address
/// as `Host` unless it was loaded from there.
fn may_be_a_browser(headers: &HeaderMap, names: &[String]) -> bool {
    if headers.contains_key(header::ORIGIN) {
        return true;
    }
    // HTTP/2 has no Host field of its own; no browser speaks it without TLS.
    let Some(host) = headers.get(header::HOST) else { return false };
    let Ok(host) = host.to_str() else { return true };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    !(name == "localhost"
        || name.parse::<IpAddr>().is_ok()
        || names.iter().any(|known| known.eq_ignore_ascii_case(name)))
}

impl fmt::Debug for Admin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Admin(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_told_from_operators() {
        let browser = |fields: &[(&'static str, &'static str)]| {
            let headers =
                fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            may_be_a_browser(&headers, &["palisade.internal".to_owned()])
        };
        for good in ["127.0.0.1:7256", "[::1]:7256", "localhost:7256", "10.0.0.1", "palisade.internal:7256"] {
            assert!(!browser(&[("host", good)]), "{good}");
        }
        assert!(browser(&[("host", "rebound.example:7256")]));
        assert!(browser(&[("host", "127.0.0.1.rebound.example")]));
        assert!(browser(&[("host", "127.0.0.1:7256"), ("origin", "https://evil.example")]));
    }
}
