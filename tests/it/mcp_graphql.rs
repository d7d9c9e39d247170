//! The whole way of an agent's call to a GraphQL API: MCP client, gateway, an MCP server whose tools are operations, router, subgraph. One
//! set of policies is asked at both doors, one token exchange leads from the one to the other, and one trace through all of it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use palisade_audit::{DecisionRecord, ExchangeSource, Outcome};
use palisade_tests::components::{
    Collector, HiveGateway, McpServer, OidcProvider, Subgraph, eventually, free_port, node_script, repository,
};
use palisade_tests::service::{Palisade, run};
use serde_json::{Value, json};
use tempfile::TempDir;

const API: &str = "https://api.example.com/graphql";
const SCOPES: [&str; 5] =
    ["customers:read", "customers:search", "support", "orders:write", "profile:pii:read"];
const OPERATIONS: [(&str, &str); 5] = [
    ("GetProducts", "query GetProducts { products { name price } }"),
    ("GetCustomer", "query GetCustomer($id: ID!) { customer(id: $id) { name } }"),
    ("GetOrders", "query GetOrders($first: Int!) { orders(first: $first) { id } }"),
    ("GetMail", "query GetMail { me { email } }"),
    ("CancelOrder", "mutation CancelOrder($id: ID!) { cancelOrder(id: $id) { id total } }"),
];
/// What the set of the GraphQL API and the policies out of its schema do not say: who may use the server, what its call leaves with.
const POLICY: &str = r#"
@id("shop") permit (principal is User, action, resource in Mcp::Server::"shop");
@id("shop-mail") forbid (principal, action in Mcp::Action::"tools/call", resource == Mcp::Tool::"shop/GetMail")
unless { context.scopes.contains("profile:pii:read") };
@id("shop-exchange") permit (principal is User, action == OAuth::Action::"exchange", resource == OAuth::Audience::"graph")
when { context.scopes.containsAll(context.requested_scopes) };
"#;

/// Which door denies a call: that of the tools, or that of the operations, and then by which policy.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Door {
    None,
    First,
    Second(&'static str),
}

struct Story {
    provider: OidcProvider,
    subgraph: Subgraph,
    palisade: Palisade,
    router: HiveGateway,
    gateway: String,
    _server: McpServer,
    _files: TempDir,
}

/// The policies of both doors in one folder: the ready-made set, those that the schema's directives make of the operations, and
/// the story's own.
fn policies(files: &Path, supergraph: &Path) -> PathBuf {
    let (policies, operations) = (files.join("policies"), files.join("operations"));
    for folder in [&policies, &operations] {
        std::fs::create_dir(folder).unwrap();
    }
    for (name, text) in OPERATIONS {
        std::fs::write(operations.join(name).with_extension("graphql"), text).unwrap();
    }
    let set = repository().join("policies/graphql-fields/policy.cedar");
    std::fs::copy(set, policies.join("graphql-fields.cedar")).unwrap();
    std::fs::write(policies.join("story.cedar"), POLICY).unwrap();
    let shown = |path: &Path| path.display().to_string();
    let (operations, sdl) = (shown(&operations), shown(supergraph));
    let generated = shown(&policies.join("generated.cedar"));
    let common = ["policy", "generate", "--operations", &operations, "--sdl", &sdl];
    let output = run(&[&common[..], &["--resource", "shop", "--output", &generated]].concat()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    policies
}

impl Story {
    async fn start(telemetry: &str, audit: &str) -> Self {
        let provider = OidcProvider::start_with(&json!({
            "users": {"bob": {}},
            "resources": {"*": SCOPES},
            "exchange": {"audiences": {API: SCOPES}},
        }))
        .await
        .unwrap();
        let subgraph = Subgraph::start().await.unwrap();
        let supergraph = subgraph.supergraph().unwrap();
        let files = tempfile::tempdir().unwrap();
        let sdl = files.path().join("supergraph.graphql");
        std::fs::write(&sdl, &supergraph).unwrap();
        let policies = policies(files.path(), &sdl);
        let tools: Vec<Value> = OPERATIONS
            .iter()
            .map(|(name, text)| json!({"name": name, "inputSchema": {"type": "object"}, "operation": text}))
            .collect();
        std::fs::write(files.path().join("tools.json"), json!({ "tools": tools }).to_string()).unwrap();
        std::fs::write(files.path().join("secret"), "gateway-secret").unwrap();
        // Who asks whom is known before any of them listens: the router asks Palisade, whose gateway sends to the server, which
        // sends to the router.
        let (port, upstream) = (free_port().unwrap(), free_port().unwrap());
        let gateway = format!("http://127.0.0.1:{port}/shop");
        let members = json!({
            "policies": {"path": policies},
            "issuers": {"corp": {"issuer": provider.issuer(), "network": {"private": true}}},
            "exchanges": {"graph": {
                "provider": "rfc8693", "audience": API, "scopes": SCOPES, "timeout": "2s",
                "client": {"id": "gateway", "secret": {"file": files.path().join("secret")}},
            }},
            "gateway": {
                "address": format!("127.0.0.1:{port}"),
                "upstreams": {"shop": {"url": format!("http://127.0.0.1:{upstream}/mcp")}},
            },
            "resources": {
                "shop": {
                    "identifier": gateway, "kind": "mcp", "issuers": ["corp"], "upstream_token": {"exchange": "graph"},
                    "tools": {"catalog": files.path().join("tools.json")},
                    "scopes": {"step_up": SCOPES},
                },
                "storefront": {
                    "identifier": API, "kind": "graphql", "issuers": ["corp"], "schema": {"sdl": sdl},
                    "scopes": {"step_up": SCOPES},
                },
            },
        });
        let members = members.as_object().unwrap().iter();
        let text: String = members.map(|(name, value)| format!("{name}: {value}\n")).collect();
        let palisade = Palisade::start(&format!("{text}{telemetry}"), audit).await.unwrap();
        palisade.wait_for_readiness(200).await.unwrap();
        let check = format!("http://127.0.0.1:{}/authz/storefront", palisade.decision);
        let router = HiveGateway::start(&supergraph, &check).await.unwrap();
        let server = McpServer::start_with_operations(&json!(tools), &router.url(), upstream).await.unwrap();
        Self { provider, subgraph, palisade, router, gateway, _server: server, _files: files }
    }

    /// What the client on the official SDK gets for a call: the text of the result, or why there is none.
    async fn call(
        &self,
        scopes: &str,
        (tool, variables): (&str, &Value),
        trace: &str,
    ) -> Result<Value, String> {
        let token = self.provider.token("bob", &self.gateway, scopes).await.unwrap();
        let mut command = node_script("mcp-client/client.mjs").unwrap();
        command.args(["--url", &self.gateway, "--token", &token]);
        command.args(["--traceparent", &format!("00-{trace}-b7ad6b7169203331-01")]);
        command.args(["--call", &format!("{tool}={variables}")]);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let seen: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        let call = &seen["calls"][0];
        match call["text"].as_str() {
            Some(text) => Ok(serde_json::from_str(text).unwrap()),
            None => Err(call["error"].as_str().unwrap().to_owned()),
        }
    }

    /// What the router itself answers to the same operation.
    async fn ask(&self, scopes: &str, (tool, variables): (&str, &Value)) -> Value {
        let token = self.provider.token("bob", API, scopes).await.unwrap();
        let (_, document) = OPERATIONS.iter().find(|(name, _)| *name == tool).unwrap();
        let body = json!({ "query": document, "operationName": tool, "variables": variables });
        let request = reqwest::Client::new().post(self.router.url()).bearer_auth(token).json(&body);
        request.send().await.unwrap().json().await.unwrap()
    }

    /// The records of calls and operations since so many.
    fn decided(&self, after: usize) -> Vec<DecisionRecord> {
        let about = |record: &DecisionRecord| {
            let action = record.action.as_deref().unwrap_or_default();
            action.ends_with("\"tools/call\"") || action.starts_with("Graphql::")
        };
        self.palisade.decisions().unwrap().into_iter().skip(after).filter(about).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_doors_give_the_same_answer_by_one_set_of_policies() {
    let story = Story::start("", "").await;
    let id = json!({ "id": "2" });
    let nothing = json!({});
    for (scopes, tool, variables, door) in [
        ("support", "GetProducts", &nothing, Door::None),
        ("support", "GetCustomer", &id, Door::First),
        ("customers:search", "GetCustomer", &id, Door::First),
        ("support customers:search", "GetCustomer", &id, Door::None),
        ("customers:read", "GetCustomer", &id, Door::None),
        ("customers:read", "CancelOrder", &json!({ "id": "10" }), Door::First),
        ("orders:write", "CancelOrder", &json!({ "id": "10" }), Door::None),
        ("customers:read", "GetMail", &nothing, Door::First),
        ("profile:pii:read", "GetMail", &nothing, Door::None),
        // No tool's policy looks at this argument; the field's does.
        ("support", "GetOrders", &json!({ "first": 101 }), Door::Second("storefront-pages")),
        ("support", "GetOrders", &json!({ "first": 1 }), Door::None),
    ] {
        let permitted = door == Door::None;
        let shown = format!("{tool} with {scopes}");
        let direct = story.ask(scopes, (tool, variables)).await;
        let reached = story.subgraph.reached().await.unwrap().len();
        assert_eq!((direct["errors"].is_null(), reached == 1), (permitted, permitted), "{shown}: {direct}");
        let before = story.palisade.decisions().unwrap().len();
        let by_agent = story.call(scopes, (tool, variables), &"ab".repeat(16)).await;
        let reached = story.subgraph.reached().await.unwrap().len();
        assert_eq!(reached == 1, permitted, "{shown}: {by_agent:?}");
        let decided = story.decided(before);
        match by_agent {
            Ok(answer) => {
                assert_ne!(door, Door::First, "{shown}");
                assert_eq!(answer, direct, "{shown}");
            }
            Err(error) => {
                assert!(door == Door::First && error.contains("insufficient_scope"), "{shown}: {error}");
                assert_eq!(decided.len(), 1, "{shown}: denied at the first door");
            }
        }
        if let Door::Second(policy) = door {
            let [call, operation] = &decided[..] else { panic!("{shown}: {decided:?}") };
            assert_eq!((call.decision, operation.decision), (Outcome::Permit, Outcome::Deny), "{shown}");
            assert!(
                operation.determining_policies.iter().any(|by| by.id == policy),
                "{shown}: {operation:?}"
            );
        }
        if permitted {
            // The call and the operation it became: of one subject, the second with the token that the first has left with.
            let [call, operation] = &decided[..] else { panic!("{shown}: {decided:?}") };
            assert_eq!(call.principal, operation.principal, "{shown}");
            assert_eq!(operation.actors, ["Client::\"corp/gateway\""], "{shown}");
            let exchange = call.exchange.as_ref().unwrap();
            let all = story.palisade.decisions().unwrap().into_iter().skip(before);
            let asked = all
                .filter_map(|record| record.exchange)
                .filter(|exchange| exchange.source == Some(ExchangeSource::Provider));
            assert_eq!(asked.count(), 1, "{shown}: one exchange, from the first message on");
            assert_eq!(exchange.token_id, operation.token_id, "{shown}");
            assert_eq!(exchange.scopes, operation.scopes, "{shown}");
        }
    }
    assert!(story.palisade.decisions().unwrap().iter().any(|record| record.decision == Outcome::StepUp));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_one_trace_from_the_client_to_the_decision_on_its_operation() {
    if let Some(why) = Collector::skipped().unwrap() {
        println!("skipped: {why}");
        return;
    }
    let collector = Collector::start().await.unwrap();
    let endpoint = collector.grpc_endpoint();
    let telemetry = format!("telemetry: {{otlp: {{endpoint: \"{endpoint}\"}}}}\n");
    let story = Story::start(&telemetry, &format!("otlp: {{endpoint: \"{endpoint}\"}}")).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let answer = story.call("customers:read", ("GetCustomer", &json!({ "id": "2" })), trace).await.unwrap();
    assert_eq!(answer["data"]["customer"]["name"], "Bob");
    let of_trace = |record: &Value| record["traceId"] == trace;
    let wanted = ["Mcp::Tool::\"shop/GetCustomer\"", "Graphql::Operation::\"storefront/GetCustomer\""];
    let records = eventually("both decisions in the collector", async || {
        let records: Vec<Value> = collector.logs()?.into_iter().filter(of_trace).collect();
        let targets: BTreeSet<&str> =
            records.iter().filter_map(|record| record["attributes"]["palisade.target"].as_str()).collect();
        Ok(wanted.iter().all(|target| targets.contains(target)).then_some(records.clone()))
    });
    let records = records.await.unwrap();
    let of = |target: &str| {
        records.iter().find(|record| record["attributes"]["palisade.target"] == target).unwrap()
    };
    for target in wanted {
        assert_eq!(of(target)["attributes"]["palisade.decision"], "permit", "{target}");
        assert_eq!(of(target)["attributes"]["enduser.id"], "corp/bob", "{target}");
    }
    // Each decision is a span of its own in the trace.
    let spans = eventually("the spans of both decisions", async || {
        let spans: Vec<Value> = collector.spans()?.into_iter().filter(of_trace).collect();
        let ids: BTreeSet<&str> = spans.iter().filter_map(|span| span["spanId"].as_str()).collect();
        Ok(wanted
            .iter()
            .all(|target| ids.contains(of(target)["spanId"].as_str().unwrap()))
            .then_some(spans.clone()))
    });
    assert!(spans.await.unwrap().iter().all(|span| span["name"] == "pdp.decide"));
}
