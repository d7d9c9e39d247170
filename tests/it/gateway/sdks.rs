//! Clients and servers of others on both sides of the gateway: what each sees of a list, a call, a denial and a step-up.

use std::{fs, process::Output};

use palisade_audit::Outcome;
use palisade_tests::components::{McpServer, OidcProvider, inspector, python_script, python_skipped};
use rmcp::{
    ClientLifecycleMode, ClientServiceExt,
    model::{CallToolRequestParams, ProtocolVersion},
    transport::{StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::Gateway;

/// Alice may use everything, but forget nothing, and add with a scope only.
const POLICIES: &str = r#"
@id("alice") permit (principal == User::"corp/alice", action, resource in Mcp::Server::"tools")
unless { resource is Mcp::Tool && ["forget", "add"].contains(resource.name) };
@id("add") permit (principal == User::"corp/alice", action in Mcp::Action::"tools/call", resource == Mcp::Tool::"tools/add")
when { context.scopes.contains("files:delete") };
"#;

async fn in_front_of_fastmcp(provider: &OidcProvider) -> (Gateway, McpServer) {
    let server = McpServer::start_fastmcp().await.unwrap();
    let gateway = Gateway::start(provider, POLICIES, &format!("{{url: \"{}\"}}", server.url()), "").await;
    (gateway, server)
}

/// Whether this machine has no Python for what is tested; says so.
fn is_skipped() -> bool {
    let skipped = python_skipped().unwrap();
    if let Some(why) = &skipped {
        println!("skipped: {why}");
    }
    skipped.is_some()
}

fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What the client on the Python SDK sees, which finds everything but the gateway's URL out by itself.
fn python_client(gateway: &Gateway, mode: &str, calls: &[&str]) -> Value {
    let mut command = python_script("client.py").unwrap();
    command.args(["--url", &gateway.url(), "--user", "alice", "--mode", mode]);
    for call in calls {
        command.args(["--call", call]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", printed(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk_finds_its_way_from_the_url_to_a_token_and_to_a_stronger_one() {
    if is_skipped() {
        return;
    }
    let provider = OidcProvider::start_with(&json!({ "registration": true })).await.unwrap();
    let (gateway, _server) = in_front_of_fastmcp(&provider).await;
    for (mode, protocol) in [("auto", "2026-07-28"), ("legacy", "2025-11-25")] {
        let calls = [r#"say={"message":"hi"}"#, r#"forget={"name":"x"}"#, r#"add={"a":1,"b":2}"#];
        let seen = python_client(&gateway, mode, &calls);
        assert_eq!(seen["protocol"], protocol, "{seen}");
        let tools: Vec<&str> = seen["tools"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(tools.contains(&"say") && tools.contains(&"add") && !tools.contains(&"forget"), "{seen}");
        assert_eq!(seen["calls"][0]["text"], "Said: hi", "{seen}");
        assert!(seen["calls"][1]["error"].is_string(), "{seen}");
        assert_eq!(seen["calls"][2]["text"], "3", "{seen}");
        // It asked for a token at first, and for one with the scope of the challenge when that was wanted.
        let asked: Vec<&str> =
            seen["authorizations"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(asked.len(), 2, "{seen}");
        assert!(!asked[0].contains("files:delete") && asked[1].contains("files:delete"), "{seen}");
    }
    let records = gateway.palisade.decisions().unwrap();
    let with = |outcome: Outcome| records.iter().filter(|record| record.decision == outcome).count();
    assert_eq!(with(Outcome::StepUp), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_tells_permits_from_denials_by_its_exit_code() {
    let provider = OidcProvider::start().await.unwrap();
    let server = McpServer::start_everything().await.unwrap();
    let policies = POLICIES.replace(r#"["forget", "add"]"#, r#"["get-env", "get-sum"]"#);
    let gateway = Gateway::start(&provider, &policies, &format!("{{url: \"{}\"}}", server.url()), "").await;
    let token = provider.token("alice", &gateway.url(), "").await.unwrap();
    let home = TempDir::new().unwrap();
    let inspect = |token: Option<&str>, arguments: &[&str]| {
        let mut command = inspector().unwrap();
        command.args([&gateway.url(), "--transport", "http"]).args(arguments);
        if let Some(token) = token {
            command.args(["--header", &format!("Authorization: Bearer {token}")]);
        }
        command.env("HOME", home.path()).output().unwrap()
    };
    let listed = inspect(Some(&token), &["--method", "tools/list"]);
    let text = printed(&listed);
    assert!(listed.status.success() && text.contains("\"echo\"") && !text.contains("get-env"), "{text}");

    let call = ["--method", "tools/call", "--tool-name"];
    let called = inspect(Some(&token), &[&call[..], &["echo", "--tool-arg", "message=hi"]].concat());
    assert!(called.status.success() && printed(&called).contains("Echo: hi"), "{}", printed(&called));
    let denied = inspect(Some(&token), &[&call[..], &["get-env"]].concat());
    assert!(!denied.status.success(), "{}", printed(&denied));
    let stranger = inspect(None, &["--method", "tools/list"]);
    assert!(!stranger.status.success(), "{}", printed(&stranger));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_rmcp_reads_the_challenges() {
    if is_skipped() {
        return;
    }
    let provider = OidcProvider::start().await.unwrap();
    let (gateway, _server) = in_front_of_fastmcp(&provider).await;
    let modern = ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
    for lifecycle in [ClientLifecycleMode::Initialize, modern] {
        let connect = |token: String| {
            let config = StreamableHttpClientTransportConfig::with_uri(gateway.url()).auth_header(token);
            ().serve_with_lifecycle(StreamableHttpClientTransport::from_config(config), lifecycle.clone())
        };
        let token = provider.token("alice", &gateway.url(), "").await.unwrap();
        let client = connect(token).await.unwrap();
        let tools: Vec<String> =
            client.list_all_tools().await.unwrap().into_iter().map(|tool| tool.name.into_owned()).collect();
        assert!(tools.contains(&"add".to_owned()) && !tools.contains(&"forget".to_owned()), "{tools:?}");

        let call = |tool: &'static str, arguments: Value| {
            CallToolRequestParams::new(tool).with_arguments(arguments.as_object().unwrap().clone())
        };
        let said = client.call_tool(call("say", json!({ "message": "hi" }))).await.unwrap();
        assert_eq!(said.content[0].as_text().unwrap().text, "Said: hi");
        let denied = client.call_tool(call("forget", json!({ "name": "x" }))).await.unwrap_err();
        assert_eq!(denied.auth_challenge(), None, "{denied}");
        let wanted = client.call_tool(call("add", json!({ "a": 1, "b": 2 }))).await.unwrap_err();
        let challenge = wanted.auth_challenge().unwrap_or_else(|| panic!("{wanted}")).to_owned();
        assert!(challenge.contains(r#"scope="files:delete""#), "{challenge}");
        drop(client);

        let stronger = provider.token("alice", &gateway.url(), "files:delete").await.unwrap();
        let client = connect(stronger).await.unwrap();
        let sum = client.call_tool(call("add", json!({ "a": 1, "b": 2 }))).await.unwrap();
        assert_eq!(sum.content[0].as_text().unwrap().text, "3");
        client.cancel().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_files_on_standard_input_and_output_keeps_to_what_is_permitted() {
    let provider = OidcProvider::start().await.unwrap();
    let files = TempDir::new().unwrap();
    fs::write(files.path().join("note.txt"), "remember the milk").unwrap();
    let command = McpServer::files_on_stdio(files.path()).unwrap();
    let policies = r#"
@id("session") permit (principal is User, action, resource in Mcp::Server::"tools") unless { resource is Mcp::Tool };
@id("read") permit (principal is User, action in Mcp::Action::"tools/call", resource in Mcp::Server::"tools")
when { resource.name like "read_*" || resource.name like "list_*" };
"#;
    let gateway = Gateway::start(&provider, policies, &format!("{{stdio: \"{command}\"}}"), "").await;
    let token = provider.token("bob", &gateway.url(), "").await.unwrap();
    let note = files.path().join("note.txt").display().to_string();
    let read = json!({ "path": note }).to_string();
    let write = json!({ "path": note, "content": "forget the milk" }).to_string();
    let seen = gateway.official_client(&token, &[("read_text_file", &read), ("write_file", &write)]).unwrap();
    let tools: Vec<&str> = seen["tools"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(tools.contains(&"read_text_file") && !tools.contains(&"write_file"), "{seen}");
    assert_eq!(seen["calls"][0]["text"], "remember the milk", "{seen}");
    assert!(seen["calls"][1]["error"].is_string(), "{seen}");
    assert_eq!(fs::read_to_string(note).unwrap(), "remember the milk");
}
