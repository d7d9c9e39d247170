//! Configurations of Envoy that differ in what decides before the upstream is asked, and in nothing else.

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    matrix::{Matrix, Rule},
    tokens::{AUDIENCE, ISSUER},
    world::World,
};

const TYPES: &str = "type.googleapis.com/envoy.extensions.filters";

/// What decides.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Decider<'a> {
    Nobody,
    /// An ext_authz server on this port, asked as `deploy/envoy.yaml` has it.
    ExtAuthz(u16),
    /// Envoy's own `jwt_authn` and `rbac`, with these rules.
    Own(&'a Matrix),
}

/// The configuration with an upstream on this port that takes everything.
pub(crate) fn configuration(world: &World, decider: Decider<'_>, upstream: u16) -> Result<String> {
    let mut clusters = vec![cluster("upstream", upstream)];
    let mut filters = Vec::new();
    match decider {
        Decider::Nobody => {}
        Decider::ExtAuthz(port) => {
            clusters.push(cluster("decision", port));
            filters.push(ext_authz());
        }
        Decider::Own(matrix) => {
            filters.push(jwt_authn(world)?);
            let (forbids, permits): (Vec<&Rule>, Vec<&Rule>) =
                matrix.rules.iter().partition(|rule| rule.forbids);
            filters.push(rbac("forbids", "DENY", &forbids));
            filters.push(rbac("permits", "ALLOW", &permits));
        }
    }
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": format!("{TYPES}.http.router.v3.Router") },
    }));
    let mut route = json!({ "match": { "path": "/demo" }, "route": { "cluster": "upstream" } });
    if let (Decider::ExtAuthz(_), Some(route)) = (decider, route.as_object_mut()) {
        let per_route = json!({ "envoy.filters.http.ext_authz": {
            "@type": format!("{TYPES}.http.ext_authz.v3.ExtAuthzPerRoute"),
            "check_settings": { "context_extensions": { "palisade.resource": "demo" } },
        } });
        route.insert("typed_per_filter_config".to_owned(), per_route);
    }
    let manager = json!({
        "@type": format!("{TYPES}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "ingress", "use_remote_address": true, "normalize_path": true, "merge_slashes": true,
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
        "http_filters": filters,
    });
    let listener = json!({
        "name": "ingress", "address": address(0),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager", "typed_config": manager,
        }] }],
    });
    let whole = json!({
        "admin": { "address": address(0) },
        "static_resources": { "listeners": [listener], "clusters": clusters },
    });
    Ok(whole.to_string())
}

fn address(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}

fn cluster(name: &str, port: u16) -> Value {
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    json!({
        "name": name, "type": "STATIC", "connect_timeout": "1s",
        "typed_extension_protocol_options": { options: {
            "@type": format!("type.googleapis.com/{options}"),
            "explicit_http_config": { "http2_protocol_options": {} },
        } },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(port) } }] }],
        },
    })
}

fn ext_authz() -> Value {
    json!({
        "name": "envoy.filters.http.ext_authz",
        "typed_config": {
            "@type": format!("{TYPES}.http.ext_authz.v3.ExtAuthz"),
            "transport_api_version": "V3",
            "grpc_service": { "envoy_grpc": { "cluster_name": "decision" }, "timeout": "0.2s" },
            "failure_mode_allow": false,
            "status_on_error": { "code": "ServiceUnavailable" },
            "encode_raw_headers": true,
            "with_request_body": { "max_request_bytes": 65536, "allow_partial_message": false, "pack_as_bytes": true },
            "validate_mutations": true,
            "clear_route_cache": false,
        },
    })
}

fn jwt_authn(world: &World) -> Result<Value> {
    Ok(json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": format!("{TYPES}.http.jwt_authn.v3.JwtAuthentication"),
            "providers": { "corp": {
                "issuer": ISSUER, "audiences": [AUDIENCE], "payload_in_metadata": "payload",
                "local_jwks": { "inline_string": world.issuer.key_set()?.to_string() },
                "jwt_cache_config": { "jwt_cache_size": 10_000 },
            } },
            "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "corp" } }],
        },
    }))
}

/// A rule a policy. The tool is read from the header that mirrors the body, since this filter reads no bodies.
fn rbac(name: &str, action: &str, rules: &[&Rule]) -> Value {
    let claim = |claim: &str, value: Value| {
        let path = json!([{ "key": "payload" }, { "key": claim }]);
        json!({ "metadata": { "filter": "envoy.filters.http.jwt_authn", "path": path, "value": value } })
    };
    let policy = |rule: &&Rule| {
        let one_of = json!({ "string_match": { "exact": rule.role } });
        let mut all = vec![claim("roles", json!({ "list_match": { "one_of": one_of } }))];
        if !rule.forbids {
            all.push(claim("scope", json!({ "string_match": { "contains": rule.scope } })));
        }
        let tool = json!({ "header": { "name": "mcp-name", "string_match": { "exact": rule.tool } } });
        let policy = json!({ "permissions": [tool], "principals": [{ "and_ids": { "ids": all } }] });
        (format!("p{}", rule.number), policy)
    };
    let policies: serde_json::Map<_, _> = rules.iter().map(policy).collect();
    json!({
        "name": format!("envoy.filters.http.rbac.{name}"),
        "typed_config": {
            "@type": format!("{TYPES}.http.rbac.v3.RBAC"),
            "rules": { "action": action, "policies": policies },
        },
    })
}
