//! What the policy sets of `policies/` are served with: a resource each, and tokens of the real provider.

use palisade_tests::components::{OidcProvider, repository};
use serde_json::{Value, json};

/// The claim of the provider that holds roles: a namespaced one, as providers with custom claims have it.
const ROLES: &str = "https://corp.example.com/roles";

/// The part of a configuration that serves all stories, for this provider.
pub(crate) fn configuration(issuer: &str) -> String {
    let policies = repository().join("policies");
    let catalog = |story: &str| policies.join(story).join("tools.json").display().to_string();
    format!(
        r#"
policies: {{path: {path}}}
issuers:
  corp:
    issuer: {issuer}
    network: {{private: true}}
    claims: {{roles: ["{ROLES}"], groups: [groups], tenant: tenant, tags: [mcp_allowed_tools, teams]}}
defaults: {{kind: mcp, issuers: [corp], rate_limits: off}}
resources:
  demo:
    identifier: https://mcp.example.com/demo
    tools: {{catalog: {five}}}
    scopes: {{initial: [files:read], supported: [files:read, files:delete], step_up: [files:read, files:delete]}}
  shop:
    identifier: https://mcp.example.com/shop
    tools: {{catalog: {shop}}}
    scopes:
      initial: [order:read]
      step_up: [inventory:read, order:read, "user:read:email", cart:write]
    acr_values: ["urn:example:mfa"]
    max_age: [15m]
  enterprise:
    identifier: https://mcp.example.com/enterprise
    tools: {{catalog: {enterprise}}}
    scopes:
      initial: ["mcp:tools:read"]
      step_up: ["mcp:tools", "mcp:tools:read", "mcp:tools:execute", "mcp:tools:admin"]
      implies: {{"mcp:tools:execute": ["mcp:tools:read"], "mcp:tools:admin": ["mcp:tools:execute"]}}
  team-tools:
    identifier: https://mcp.example.com/team-tools
    tools: {{catalog: {team}}}
    scopes: {{initial: [discover], step_up: [discover, tools.read, tools.execute, chat]}}
  payments:
    identifier: https://mcp.example.com/payments
    tools: {{catalog: {payments}, typed: [create-payment, get-payment]}}
    scopes: {{step_up: [payments:read, payments:write]}}
"#,
        path = policies.display(),
        five = catalog("five-tools"),
        shop = catalog("graphql-shop"),
        enterprise = catalog("enterprise-tools"),
        team = catalog("team-tools"),
        payments = catalog("typed-tools"),
    )
}

/// The provider, with the users of the stories.
pub(crate) async fn provider() -> OidcProvider {
    OidcProvider::start_with(&json!({
        "users": {
            "alice": { ROLES: ["admin"], "tenant": "acme", "mcp_allowed_tools": ["search_documents"] },
            "bob": { ROLES: ["viewer"], "tenant": "acme", "teams": ["platform"] },
            "carol": { ROLES: ["editor"], "tenant": "globex", "teams": ["platform"] },
            "dave": { ROLES: ["viewer"], "tenant": "acme", "acr": "urn:example:mfa" },
        }
    }))
    .await
    .unwrap()
}

/// The identifier of a story's resource.
pub(crate) fn identifier(resource: &str) -> String {
    format!("https://mcp.example.com/{resource}")
}

/// The tools of a story's catalogue.
pub(crate) fn tools(resource: &str) -> Value {
    let folder = match resource {
        "demo" => "five-tools",
        "shop" => "graphql-shop",
        "enterprise" => "enterprise-tools",
        other => other,
    };
    let text =
        std::fs::read_to_string(repository().join("policies").join(folder).join("tools.json")).unwrap();
    let catalog: Value = serde_json::from_str(&text).unwrap();
    catalog.get("tools").cloned().unwrap_or(catalog)
}

/// A `tools/call` message.
pub(crate) fn call(tool: &str, arguments: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}).to_string()
}
