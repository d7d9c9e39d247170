//! From a client through a real Envoy to a real MCP server, with tokens of a real provider and a real collector.
//!
//! `tests/cases/envoy/<resource>.yaml` holds what a client gets to see, to the byte. With `PALISADE_BLESS=1` the files
//! are written anew from what came.

use std::fs;

use palisade_audit::Outcome;
use palisade_tests::components::{
    Collector, Envoy, EnvoyPorts, EnvoySample, McpServer, OidcProvider, eventually, header_values, repository,
};
use palisade_tests::service::Palisade;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stories;

/// One request, and the answer to it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// A user of the provider; none sends no token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    scopes: String,
    /// The audience, where it is not the resource's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audience: Option<String>,
    tool: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    arguments: Value,
    /// Whether Palisade has been killed before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    killed: bool,
    answer: String,
}

/// A gateway with everything behind it.
pub(crate) struct Gateway {
    pub(crate) resource: &'static str,
    pub(crate) provider: OidcProvider,
    pub(crate) upstream: McpServer,
    pub(crate) palisade: Palisade,
    pub(crate) envoy: Envoy,
}

impl Gateway {
    pub(crate) async fn start(resource: &'static str, audit: &str, more: &str) -> Self {
        let provider = stories::provider().await;
        let upstream = McpServer::start(&stories::tools(resource)).await.unwrap();
        let configuration = format!("{}{more}", stories::configuration(provider.issuer()));
        let palisade = Palisade::start(&configuration, audit).await.unwrap();
        palisade.wait_for_readiness(200).await.unwrap();
        let ports =
            EnvoyPorts { decision: palisade.decision, public: palisade.public, upstream: upstream.port() };
        let envoy = Envoy::start(&EnvoySample::ExtAuthz.fill(resource, ports).unwrap()).await.unwrap();
        Self { resource, provider, upstream, palisade, envoy }
    }

    pub(crate) async fn token(&self, user: &str, scopes: &str) -> String {
        self.provider.token(user, &stories::identifier(self.resource), scopes).await.unwrap()
    }

    pub(crate) fn post(&self, token: Option<&str>, body: String) -> reqwest::RequestBuilder {
        let request = reqwest::Client::new()
            .post(self.envoy.url(&format!("/{}", self.resource)))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.body(body)
    }
}

/// An answer as text: the status, the headers that do not depend on time or machine, and the body of a denial.
async fn shown(answer: reqwest::Response) -> String {
    let status = answer.status();
    let id = answer.headers().get("x-palisade-decision-id").map(|id| id.to_str().unwrap().to_owned());
    let left_out = ["date", "server", "content-length", "x-envoy-upstream-service-time", "transfer-encoding"];
    let mut lines: Vec<String> = answer
        .headers()
        .iter()
        .filter(|(name, _)| !left_out.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    let body = if status.is_success() { "<the upstream's>".to_owned() } else { answer.text().await.unwrap() };
    let text = [status.to_string(), lines.join("\n"), body].join("\n");
    let text = text.trim_end().to_owned();
    match id {
        Some(id) => text.replace(&id, "<id>"),
        None => text,
    }
}

/// Sends one request, checks what reached the upstream, and gives back the answer.
async fn ask(gateway: &mut Gateway, case: &Case) -> String {
    let token = match &case.user {
        Some(user) => {
            let audience = case.audience.clone().unwrap_or_else(|| stories::identifier(gateway.resource));
            Some(gateway.provider.token(user, &audience, &case.scopes).await.unwrap())
        }
        None => None,
    };
    if case.killed {
        gateway.palisade.kill().unwrap();
    }
    gateway.upstream.forget_requests().await.unwrap();
    let arguments = if case.arguments.is_null() { serde_json::json!({}) } else { case.arguments.clone() };
    let sent = gateway.post(token.as_deref(), stories::call(&case.tool, &arguments)).send().await.unwrap();
    let permitted = sent.status().is_success();
    let answer = shown(sent).await;
    let reached = gateway.upstream.requests().await.unwrap();
    assert_eq!(reached.len(), usize::from(permitted), "{}: {answer}", case.name);
    for request in &reached {
        assert_eq!(
            header_values(request, "authorization"),
            [""; 0],
            "{}: the token went upstream",
            case.name
        );
        assert_eq!(header_values(request, "x-palisade-subject").len(), 1, "{}", case.name);
    }
    answer
}

async fn check(resource: &'static str) {
    let file = repository().join(format!("tests/cases/envoy/{resource}.yaml"));
    let mut cases: Vec<Case> = serde_saphyr::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let mut gateway = Gateway::start(resource, "", "").await;
    let mut differing = Vec::new();
    for case in &mut cases {
        let answer = ask(&mut gateway, case).await;
        if answer != case.answer {
            differing.push(format!("{}:\n--- expected\n{}\n--- came\n{answer}", case.name, case.answer));
            case.answer = answer;
        }
    }
    if std::env::var_os("PALISADE_BLESS").is_some() {
        fs::write(&file, serde_saphyr::to_string(&cases).unwrap()).unwrap();
        return;
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn five_tools() {
    check("demo").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn graphql_shop() {
    check("shop").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn enterprise_tools() {
    check("enterprise").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn team_tools() {
    check("team-tools").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_found_again_in_the_collector_by_its_trace() {
    if let Some(why) = Collector::skipped().unwrap() {
        println!("skipped: {why}");
        return;
    }
    let collector = Collector::start().await.unwrap();
    let endpoint = collector.grpc_endpoint();
    let audit = format!("otlp: {{endpoint: \"{endpoint}\"}}");
    let telemetry = format!("telemetry: {{otlp: {{endpoint: \"{endpoint}\"}}}}\n");
    let gateway = Gateway::start("demo", &audit, &telemetry).await;
    let token = gateway.token("bob", "files:read").await;
    for (tool, trace) in
        [("echo", "4bf92f3577b34da6a3ce929d0e0e4736"), ("delete_file", "0af7651916cd43dd8448eb211c80319c")]
    {
        let arguments = serde_json::json!({"message": "hi", "path": "/a"});
        let request = gateway.post(Some(&token), stories::call(tool, &arguments));
        request.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01")).send().await.unwrap();
    }
    let permit = wait_for_trace(&collector, "4bf92f3577b34da6a3ce929d0e0e4736").await;
    assert_eq!(permit["attributes"]["palisade.decision"], "permit");
    assert_eq!(permit["attributes"]["enduser.id"], "corp/bob");
    assert_eq!(permit["attributes"]["palisade.target"], "Mcp::Tool::\"demo/echo\"");
    let denial = wait_for_trace(&collector, "0af7651916cd43dd8448eb211c80319c").await;
    assert_eq!(denial["attributes"]["palisade.decision"], "deny");
    assert_eq!(denial["attributes"]["palisade.reason"], "no_permit");

    let spans = eventually("the span of the decision", async || {
        let spans = collector.spans()?;
        Ok(spans.into_iter().find(|span| span["traceId"] == "4bf92f3577b34da6a3ce929d0e0e4736"))
    });
    assert_eq!(spans.await.unwrap()["name"], "pdp.decide");

    let counted = eventually("the counter of decisions", async || {
        let metrics = collector.metrics()?;
        Ok(metrics.into_iter().find(|metric| metric["name"] == "palisade_decisions_total"))
    });
    assert!(counted.await.unwrap()["sum"].is_object());
}

async fn wait_for_trace(collector: &Collector, trace: &str) -> Value {
    let found = collector.wait_for_logs(|record| record["traceId"] == trace).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_the_same_under_a_forged_host_and_preflights_are_no_decisions() {
    let gateway = Gateway::start("demo", "", "").await;
    let url = gateway.envoy.url("/.well-known/oauth-protected-resource/demo");
    let plain = reqwest::get(&url).await.unwrap();
    assert_eq!(plain.headers()["cache-control"], "public, max-age=300");
    let plain = plain.bytes().await.unwrap();
    let document: Value = serde_json::from_slice(&plain).unwrap();
    assert_eq!(document["resource"], "https://mcp.example.com/demo");
    assert_eq!(document["authorization_servers"][0], gateway.provider.issuer());
    let forged = reqwest::Client::new()
        .get(&url)
        .header("host", "evil.example")
        .header("x-forwarded-host", "evil.example");
    assert_eq!(forged.send().await.unwrap().bytes().await.unwrap(), plain);

    let preflight = reqwest::Client::new()
        .request(reqwest::Method::OPTIONS, gateway.envoy.url("/demo"))
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "POST");
    assert_eq!(preflight.send().await.unwrap().status(), 204);
    assert!(gateway.palisade.decisions().unwrap().is_empty());
    assert!(gateway.upstream.requests().await.unwrap().iter().all(|request| request["method"] != "OPTIONS"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_under_traffic_without_a_failure_and_a_retired_key_dies() {
    let gateway = Gateway::start("demo", "", "").await;
    let old = gateway.token("bob", "").await;
    for round in 0..20 {
        if round == 5 {
            gateway.provider.rotate().await.unwrap();
        }
        let new = gateway.token("bob", "").await;
        for token in [&old, &new] {
            let answer = gateway
                .post(Some(token), stories::call("echo", &serde_json::json!({"message": "hi"})))
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), 200, "round {round}: {}", answer.text().await.unwrap());
        }
    }
    assert!(gateway.palisade.decisions().unwrap().iter().all(|record| record.decision == Outcome::Permit));

    // One more rotation, and the provider drops what it signed with before: a token of the new key makes the service
    // read the key set, and the old token is dead although it was good a moment ago.
    gateway.provider.rotate().await.unwrap();
    gateway.provider.retire().await.unwrap();
    let new = gateway.token("bob", "").await;
    let echo = stories::call("echo", &serde_json::json!({"message": "hi"}));
    assert_eq!(gateway.post(Some(&new), echo.clone()).send().await.unwrap().status(), 200);
    assert_eq!(gateway.post(Some(&old), echo).send().await.unwrap().status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_the_reference_server_works_through_the_gateway() {
    let provider = stories::provider().await;
    let upstream = McpServer::start_everything().await.unwrap();
    let palisade = Palisade::start(&stories::configuration(provider.issuer()), "").await.unwrap();
    palisade.wait_for_readiness(200).await.unwrap();
    let ports =
        EnvoyPorts { decision: palisade.decision, public: palisade.public, upstream: upstream.port() };
    let envoy = Envoy::start(&EnvoySample::ExtAuthz.fill("demo", ports).unwrap()).await.unwrap();
    let token = provider.token("bob", &stories::identifier("demo"), "").await.unwrap();
    let client = reqwest::Client::new();
    let send = async |session: Option<&str>, body: &str| {
        let mut request = client
            .post(envoy.url("/demo"))
            .bearer_auth(&token)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(session) = session {
            request = request.header("mcp-session-id", session).header("mcp-protocol-version", "2025-11-25");
        }
        request.body(body.to_owned()).send().await.unwrap()
    };
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"0"}}}"#;
    let answer = send(None, initialize).await;
    assert_eq!(answer.status(), 200);
    let session = answer.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let initialized = send(Some(&session), r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    assert_eq!(initialized.status(), 202);
    let echo = stories::call("echo", &serde_json::json!({"message": "hi"}));
    assert!(send(Some(&session), &echo).await.text().await.unwrap().contains("Echo: hi"));
    let leak = send(Some(&session), &stories::call("get-env", &serde_json::json!({}))).await;
    assert_eq!(leak.status(), 403);
    let ended = client.delete(envoy.url("/demo")).bearer_auth(&token).header("mcp-session-id", &session);
    assert_eq!(ended.send().await.unwrap().status(), 200);
    let actions: Vec<String> =
        palisade.decisions().unwrap().into_iter().filter_map(|record| record.action).collect();
    let expected = ["initialize", "notification", "tools/call", "tools/call", "session/delete"];
    assert_eq!(actions, expected.map(|action| format!("Mcp::Action::\"{action}\"")));
}

/// Envoy's MCP filter in front, with a key that makes its metadata believed.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_of_envoys_mcp_filter_is_believed_from_the_pep_with_the_key_and_from_nobody_else() {
    const KEY: &str = "0123456789abcdef0123456789abcdef";
    let provider = stories::provider().await;
    let upstream = McpServer::start(&stories::tools("demo")).await.unwrap();
    let keys = tempfile::tempdir().unwrap();
    let file = keys.path().join("edge.key");
    fs::write(&file, KEY).unwrap();
    let pep = format!(
        "peps:\n  edge: {{auth: {{key: {{file: {}}}}}, surfaces: [ext_authz], resources: [demo], mcp_metadata: true}}\n",
        file.display()
    );
    let configuration = format!("{}{pep}", stories::configuration(provider.issuer()));
    let palisade = Palisade::start(&configuration, "").await.unwrap();
    palisade.wait_for_readiness(200).await.unwrap();
    let ports =
        EnvoyPorts { decision: palisade.decision, public: palisade.public, upstream: upstream.port() };
    let filled = EnvoySample::Mcp.fill("demo", ports).unwrap();
    let token = provider.token("bob", &stories::identifier("demo"), "files:read").await.unwrap();
    let send = async |envoy: &Envoy, body: String| {
        let request = reqwest::Client::new()
            .post(envoy.url("/demo"))
            .bearer_auth(&token)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        request.body(body).send().await.unwrap()
    };
    let echo = stories::call("echo", &serde_json::json!({"message": "hi"}));
    let delete = stories::call("delete_file", &serde_json::json!({"path": "/a"}));

    let envoy = Envoy::start_with(&filled, &[("PALISADE_KEY", KEY)]).await.unwrap();
    assert_eq!(send(&envoy, echo.clone()).await.status(), 200);
    assert_eq!(send(&envoy, delete).await.status(), 403);
    // The filter refuses what two readers could read in two ways, before anybody is asked.
    let twice = echo.replace("\"method\":\"tools/call\"", "\"method\":\"tools/call\",\"method\":\"ping\"");
    assert_ne!(twice, echo);
    assert_eq!(send(&envoy, twice).await.status(), 400);
    let decisions = palisade.decisions().unwrap();
    let seen: Vec<_> = decisions
        .iter()
        .map(|record| {
            (record.pep.as_ref().unwrap().as_str(), record.decision, record.target.clone().unwrap())
        })
        .collect();
    let target = |tool: &str| format!("Mcp::Tool::\"demo/{tool}\"");
    assert_eq!(
        seen,
        [("edge", Outcome::Permit, target("echo")), ("edge", Outcome::Deny, target("delete_file"))]
    );

    // With a wrong key the caller is nobody; without one there is no key to send, and `local` is not believed.
    let wrong =
        Envoy::start_with(&filled, &[("PALISADE_KEY", "a key that is wrong and long enough")]).await.unwrap();
    assert_eq!(send(&wrong, echo.clone()).await.status(), 403);
    let keyless = Envoy::start(&filled).await.unwrap();
    assert_eq!(send(&keyless, echo).await.status(), 403);
    assert_eq!(upstream.requests().await.unwrap().len(), 1);
}
