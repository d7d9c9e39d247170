//! What the harness promises, shown on the real components.

use serde_json::json;

use super::{Collector, Envoy, EnvoyPorts, EnvoySample, McpServer, OidcProvider, free_port, header_values};

const RESOURCE: &str = "https://mcp.example.com/files";

#[tokio::test]
async fn envoy_refuses_with_503_when_nobody_decides() {
    for sample in [EnvoySample::ExtAuthz, EnvoySample::Mcp, EnvoySample::ExtProc, EnvoySample::OverHttp] {
        let upstream = McpServer::start_with_sample_tools().await.unwrap();
        let ports =
            EnvoyPorts { decision: free_port().unwrap(), public: upstream.port(), upstream: upstream.port() };
        let envoy = Envoy::start(&sample.fill("stories", ports).unwrap()).await.unwrap();

        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo"}});
        let http = reqwest::Client::new();
        let request = http.post(envoy.url("/stories")).header("content-type", "application/json");
        let answer = request.body(message.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 503, "{sample:?}");
        assert!(upstream.requests().await.unwrap().is_empty(), "{sample:?}");

        let metadata = envoy.url("/.well-known/oauth-protected-resource/stories");
        reqwest::get(metadata).await.unwrap();
        let reached = upstream.requests().await.unwrap();
        assert_eq!(reached[0]["url"], "/.well-known/oauth-protected-resource/stories", "{sample:?}");

        let logged = super::eventually("the access log", async || {
            Ok(envoy.access_log()?.into_iter().find(|line| line["path"] == "/stories"))
        });
        // The first filter that asks.
        let expected = if sample == EnvoySample::ExtProc { "ext_proc_error" } else { "ext_authz_error" };
        let logged = logged.await.unwrap();
        assert!(logged["details"].as_str().unwrap().starts_with(expected), "{sample:?}: {logged}");
    }
}

#[tokio::test]
async fn envoy_takes_out_what_a_client_says_in_palisades_name() {
    let upstream = McpServer::start(&json!([])).await.unwrap();
    let ports =
        EnvoyPorts { decision: free_port().unwrap(), public: upstream.port(), upstream: upstream.port() };
    let envoy = Envoy::start(&EnvoySample::ExtAuthz.fill("files", ports).unwrap()).await.unwrap();
    let request = reqwest::Client::new()
        .get(envoy.url("/.well-known/oauth-protected-resource"))
        .header("x-palisade-subject", "mallory")
        .header("X_Palisade_Subject", "mallory")
        .header("x-palisades", "kept");
    request.send().await.unwrap();
    let reached = upstream.requests().await.unwrap();
    assert_eq!(header_values(&reached[0], "x-palisade-subject"), [""; 0]);
    assert_eq!(header_values(&reached[0], "x_palisade_subject"), [""; 0]);
    assert_eq!(header_values(&reached[0], "x-palisades"), ["kept"]);
    upstream.forget_requests().await.unwrap();
    assert!(upstream.requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_provider_issues_access_tokens_to_users_and_clients() {
    let provider = OidcProvider::start().await.unwrap();
    // {"alg":"ES256","typ":"at+jwt", and {"alg":"RS256","typ":"at+jwt", in base64url
    let (es256, rs256) =
        ("eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIs", "eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCIs");
    let token = provider.token("alice", RESOURCE, "files:read").await.unwrap();
    assert!(token.starts_with(es256), "{token}");
    assert!(provider.token("nobody", RESOURCE, "files:read").await.is_err());
    provider.set(&json!({"alg": "RS256"})).await.unwrap();
    let token = provider.client_token(RESOURCE, "files:read").await.unwrap();
    assert!(token.starts_with(rs256), "{token}");
    provider.set(&json!({"resources": {RESOURCE: ["files:read"]}})).await.unwrap();
    assert!(provider.client_token("https://other.example.com", "files:read").await.is_err());
}

#[tokio::test]
async fn the_provider_rotates_its_keys_and_keeps_them_over_a_restart() {
    let mut provider = OidcProvider::start().await.unwrap();
    let issuer = provider.issuer().to_owned();
    let published = async || {
        let keys = super::json_body(reqwest::get(format!("{issuer}/jwks")).await.unwrap()).await.unwrap();
        let ids = keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    let first = published().await;
    provider.rotate().await.unwrap();
    let both = published().await;
    assert_eq!(both.len(), 2 * first.len());
    assert!(first.iter().all(|kid| both.contains(kid)));
    provider.retire().await.unwrap();
    let second = published().await;
    assert!(first.iter().all(|kid| !second.contains(kid)));
    assert_eq!(provider.request_count("/jwks").await.unwrap(), 3);

    provider.restart().await.unwrap();
    assert_eq!(provider.issuer(), issuer);
    assert_eq!(published().await, second);
}

#[tokio::test]
async fn the_collector_keeps_what_it_acknowledged_over_a_crash() {
    // tests/run has said so.
    if Collector::skipped().unwrap().is_some() {
        return;
    }
    let mut collector = Collector::start().await.unwrap();
    let url = format!("{}/v1/logs", collector.http_endpoint());
    let send = async |trace: &str| {
        let record = json!({
            "traceId": trace,
            "body": {"stringValue": "permit"},
            "attributes": [
                {"key": "palisade.decision", "value": {"stringValue": "permit"}},
                {"key": "count", "value": {"intValue": "2"}},
                {"key": "scopes", "value": {"arrayValue": {"values": [{"stringValue": "files:read"}]}}},
            ],
        });
        let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "palisade"}}]});
        let batch =
            json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]});
        let request = reqwest::Client::new().post(&url).header("content-type", "application/json");
        assert_eq!(request.body(batch.to_string()).send().await.unwrap().status(), 200);
    };
    send("5b8efff798038103d269b633813fc60c").await;
    collector.kill().unwrap();
    collector.restart().await.unwrap();
    send("00000000000000000000000000000001").await;

    let logs = collector.wait_for_logs(|record| record["traceId"] == "00000000000000000000000000000001");
    assert_eq!(logs.await.unwrap().len(), 1);
    let logs = collector.logs().unwrap();
    assert_eq!(logs.len(), 2);
    assert_eq!(logs[0]["traceId"], "5b8efff798038103d269b633813fc60c");
    assert_eq!(logs[0]["body"], "permit");
    assert_eq!(logs[0]["resource"], json!({"service.name": "palisade"}));
    let attributes = json!({"palisade.decision": "permit", "count": 2, "scopes": ["files:read"]});
    assert_eq!(logs[0]["attributes"], attributes);
    assert!(collector.spans().unwrap().is_empty());
    assert!(collector.metrics().unwrap().is_empty());
    assert!(collector.process().terminate().await.unwrap().success());
}

#[tokio::test]
async fn the_reference_server_answers_an_initialize() {
    let server = McpServer::start_everything().await.unwrap();
    let client = json!({"name": "tests", "version": "1"});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
    let request = reqwest::Client::new()
        .post(server.url())
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream");
    let mut answer = request.body(message.to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut text = String::new();
    while !text.contains("\"protocolVersion\":\"2025-11-25\"") {
        let chunk = answer.chunk().await.unwrap().expect("the answer has the protocol version");
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
}
