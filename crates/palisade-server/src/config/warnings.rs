//! What in a configuration is weaker than it could be.

use std::time::Duration;

use palisade_exchange::ResultCheck;
use palisade_model::{ExchangeName, IssuerName};
use url::Url;

use super::types::{Config, Exchange, MetricsAccess, Observe, UpstreamToken};

/// Every weakened setting, each with what it means. They are printed by `config check`, logged at the start, shown in
/// `/readyz` and written into the decision log.
#[must_use]
pub fn of(config: &Config) -> Vec<String> {
    [
        of_the_service(config),
        of_the_issuers(config),
        of_the_resources(config),
        of_the_exchanges(config),
        super::sts::warnings(config),
        super::rate_limits::warnings(config),
        super::static_tokens::warnings(config),
    ]
    .concat()
}

fn of_the_service(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let listen = &config.listen;
    if listen.decision.allow_unauthenticated_callers {
        warnings.push(
            "listen.decision.allow_unauthenticated_callers: whoever reaches the listener may ask for decisions".to_owned(),
        );
    }
    if listen.admin.allow_unauthenticated_callers {
        warnings.push(
            "listen.admin.allow_unauthenticated_callers: whoever reaches the listener may read it".to_owned(),
        );
    }
    if listen.admin.metrics == MetricsAccess::Open && !listen.admin.address.is_local() {
        warnings.push("listen.admin.metrics: whoever reaches the listener may read the metrics".to_owned());
    }
    if config.limits.deadline.0.as_millis() >= 200 {
        warnings.push(format!(
            "limits.deadline: Envoy's ext_authz waits 200ms by default; set its `timeout` above {}ms, or it answers \
             before Palisade does",
            config.limits.deadline.0.as_millis()
        ));
    }
    if config.audit.on_full == palisade_audit::OnFull::Drop {
        warnings.push(
            "audit.on_full: decisions are made without a record when the disk quota is used up".to_owned(),
        );
    }
    if config.audit.durability == palisade_audit::Durability::Queued {
        warnings.push("audit.durability: records in memory are lost when the process dies".to_owned());
    }
    if config.policies.on_error == palisade_policy::OnError::Skip {
        warnings.push("policies.on_error: a forbid that fails to evaluate does not forbid".to_owned());
    }
    warnings
}

fn of_the_issuers(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, issuer) in &config.issuers {
        if issuer.leeway.0 > Duration::from_secs(60) {
            warnings
                .push(format!("issuers.{name}.leeway: tokens are accepted for that long after their end"));
        }
        if issuer.max_lifetime.0 > Duration::from_secs(24 * 60 * 60) {
            warnings.push(format!("issuers.{name}.max_lifetime: a stolen token is good for more than a day"));
        }
        if issuer.network.private {
            warnings.push(format!("issuers.{name}.network.private: keys are fetched from private addresses"));
        }
        if issuer.network.proxy.as_deref().is_some_and(|proxy| proxy != "none") {
            warnings
                .push(format!("issuers.{name}.network.proxy: the proxy decides which addresses are reached"));
        }
        if issuer.groups_overage == palisade_token::GroupsOverage::Ignore {
            warnings
                .push(format!("issuers.{name}.groups_overage: forbids by group miss users with many groups"));
        }
    }
    warnings
}

fn of_the_resources(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let all = std::iter::once(("defaults".to_owned(), &config.defaults))
        .chain(config.resources.iter().map(|(name, resource)| (format!("resources.{name}"), resource)));
    for (at, resource) in all {
        if resource.accept_any_audience == Some(true) {
            warnings.push(format!("{at}.accept_any_audience: tokens issued for other services are accepted"));
        }
        if resource.anonymous.as_ref().is_some_and(|methods| !methods.is_empty()) {
            warnings.push(format!("{at}.anonymous: these methods reach policy without a token"));
        }
        if let Some(Observe::Until(day)) = &resource.observe {
            warnings.push(format!("{at}.observe: policy denials are let by until {day}"));
        }
        if matches!(resource.upstream_token, Some(UpstreamToken::Keep)) {
            warnings.push(format!("{at}.upstream_token: clients' tokens are passed on to the upstream"));
        }
    }
    warnings
}

fn of_the_exchanges(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    warnings.extend(super::exchange_cache::warning(&config.exchange_cache));
    for (name, exchange) in &config.exchanges {
        if exchange.result == ResultCheck::Opaque {
            warnings.push(format!(
                "exchanges.{name}.result: audience and subject of the issued tokens are the provider's word"
            ));
        }
        if exchange.network.as_ref().is_some_and(|network| network.private) {
            warnings.push(format!("exchanges.{name}.network.private: tokens are sent to private addresses"));
        }
        warnings.extend(of_the_endpoints(config, name, exchange));
        if exchange.scopes.is_empty() {
            warnings.push(format!(
                "exchanges.{name}.scopes: the provider chooses; tokens with any scope are refused"
            ));
        }
    }
    warnings
}

/// Where the tokens of subjects are sent to other hosts than that of their issuer.
fn of_the_endpoints(config: &Config, name: &ExchangeName, exchange: &Exchange) -> Vec<String> {
    let issuer = exchange.issuer.as_ref().or_else(|| config.issuers.keys().next());
    let next = exchange.authorization_server.as_ref();
    let first = ("token_endpoint", issuer, exchange.token_endpoint.as_ref());
    let second = (
        "authorization_server.token_endpoint",
        next.map(|next| &next.issuer),
        next.and_then(|next| next.token_endpoint.as_ref()),
    );
    let mut warnings = Vec::new();
    for (key, issuer, endpoint) in [first, second] {
        let (Some(issuer), Some(endpoint)) = (issuer, endpoint) else { continue };
        if let Some(host) = off_site(config, issuer, endpoint) {
            warnings.push(format!(
                "exchanges.{name}.{key}: tokens and what the client proves itself with are sent to `{host}`, which is not the host of \
                 issuer `{issuer}`"
            ));
        }
    }
    warnings
}

/// The host of an endpoint, where it is not that of the issuer.
fn off_site(config: &Config, issuer: &IssuerName, endpoint: &str) -> Option<String> {
    let host = |text: &str| Some(Url::parse(text).ok()?.host_str()?.to_owned());
    let issuer = host(&config.issuers.get(issuer)?.issuer.replace("{tenantid}", "tenant"))?;
    host(endpoint).filter(|host| *host != issuer)
}

/// How long a decision may take at most: as long as the slowest exchange of a call.
fn longest(config: &Config) -> Duration {
    let exchanges = config.exchanges.values().map(|exchange| exchange.timeout.0);
    exchanges.fold(config.limits.deadline.0, Duration::max)
}

/// The timeouts each proxy needs for this configuration.
#[must_use]
pub fn proxy_timeouts(config: &Config) -> Vec<String> {
    let deadline = longest(config).as_millis();
    let needed = deadline + 50;
    vec![
        format!(
            "Envoy ext_authz (gRPC): `timeout: {:.3}s` or more; the default is 0.200s",
            needed as f64 / 1000.0
        ),
        format!(
            "Envoy ext_authz (HTTP): `timeout: {:.3}s` or more; the default is 0.200s",
            needed as f64 / 1000.0
        ),
        format!(
            "nginx `proxy_read_timeout`, Caddy `response_header_timeout`, `TIMEOUT` in HAProxy's script: {needed}ms or more; \
             the samples have 500ms"
        ),
    ]
}
