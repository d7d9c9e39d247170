//! Discovery without a token, of the methods that a resource names: through a real Envoy (ext_authz) and the gateway (the
//! tower layer).

use std::fs;

use palisade_tests::components::{
    Envoy, EnvoyPorts, EnvoySample, McpServer, OidcProvider, free_port, header_values,
};
use palisade_tests::service::Palisade;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::limits::{message, numbered};

const FILES: &str = "https://mcp.example.com/files";
const POLICY: &str = r#"
@id("discovery") permit (principal, action in [Mcp::Action::"session", Mcp::Action::"list"], resource == Mcp::Server::"files");
@id("echo") permit (principal, action in Mcp::Action::"tools/call", resource == Mcp::Tool::"files/echo");
@id("people") permit (principal is User, action, resource in Mcp::Server::"files");
"#;

struct Open {
    palisade: Palisade,
    provider: OidcProvider,
    upstream: McpServer,
    gateway: u16,
    _folder: TempDir,
}

async fn start() -> Open {
    let (provider, folder) = (OidcProvider::start().await.unwrap(), tempfile::tempdir().unwrap());
    let upstream = McpServer::start_with_sample_tools().await.unwrap();
    fs::write(folder.path().join("p.cedar"), POLICY).unwrap();
    let gateway = free_port().unwrap();
    let text = format!(
        "policies: {{path: \"{}\"}}\nissuers: {{corp: {{issuer: \"{}\", network: {{private: true}}}}}}\nlimits: {{deadline: 2s}}\ngateway: \
         {{address: \"127.0.0.1:{gateway}\", upstreams: {{files: {{url: \"{}\"}}}}}}\nresources:\n  files:\n    identifier: {FILES}\n    match: \
         [{{host: mcp.example.com, path: /files}}, {{host: \"127.0.0.1:{gateway}\", path: /files}}]\n    kind: mcp\n    issuers: [corp]\n    \
         rate_limits: off\n    anonymous: [tools/list]\n",
        folder.path().display(),
        provider.issuer(),
        upstream.url(),
    );
    let palisade = Palisade::start(&text, "").await.unwrap();
    palisade.wait_for_readiness(200).await.unwrap();
    Open { palisade, provider, upstream, gateway, _folder: folder }
}

async fn send(url: &str, token: Option<&str>, body: &Value) -> (u16, String) {
    let request = reqwest::Client::new().post(url).header("content-type", "application/json");
    let request = request.header("accept", "application/json, text/event-stream");
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let answer = request.body(body.to_string()).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn check(open: &Open, url: &str) {
    let (status, list) = send(url, None, &message("tools/list")).await;
    assert_eq!(status, 200, "{list}");
    let reached = open.upstream.requests().await.unwrap();
    assert_eq!(header_values(reached.last().unwrap(), "x-palisade-subject"), [""; 0]);
    only_what_is_named(open, url, reached.len()).await;
    let alice = open.provider.token("alice", FILES, "").await.unwrap();
    assert_eq!(send(url, Some(&alice), &message("tools/call")).await.0, 200);
}

/// Nothing else than the list reaches the server without a token, or with a bad one.
async fn only_what_is_named(open: &Open, url: &str, before: usize) {
    // What is not named asks for a token, whatever the policies say; and so does a batch with anything else in it.
    for body in [message("tools/call"), json!([message("tools/list"), numbered("tools/call", 2)]), json!([])]
    {
        assert_ne!(send(url, None, &body).await.0, 200, "{body}");
    }
    let (status, _) = send(url, None, &message("tools/call")).await;
    assert_eq!(status, 401);
    // Who brings a credential is judged by it.
    for token in ["x", "not.a.token"] {
        assert_eq!(send(url, Some(token), &message("tools/list")).await.0, 401);
    }
    assert_eq!(open.upstream.requests().await.unwrap().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn chosen_methods_need_no_token_and_everything_else_does() {
    let open = start().await;
    let (decision, public) = (open.palisade.decision, open.palisade.public);
    let ports = EnvoyPorts { decision, public, upstream: open.upstream.port() };
    let envoy = Envoy::start(&EnvoySample::ExtAuthz.fill("files", ports).unwrap()).await.unwrap();
    check(&open, &envoy.url("/files")).await;

    let gateway = format!("http://127.0.0.1:{}/files", open.gateway);
    check(&open, &gateway).await;
    // A list shows nobody what nobody may call.
    let (_, list) = send(&gateway, None, &message("tools/list")).await;
    assert!(list.contains("\"echo\"") && !list.contains("delete_file"), "{list}");
    let records = open.palisade.decisions().unwrap();
    let nobody = records.iter().find(|record| record.reason.as_str() == "permitted").unwrap();
    assert_eq!(nobody.principal.as_deref(), Some("Anonymous::\"anonymous\""));
}
