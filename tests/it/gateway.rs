//! `palisade mcp gateway`, as real clients meet it, in front of real MCP servers.

mod client;
mod conformance;
mod sdks;

use std::{fs, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use palisade_audit::{DecisionRecord, Outcome};
use palisade_tests::components::{McpServer, OidcProvider, eventually, header_values};
use serde_json::{Value, json};
use tokio::time::Instant;

use client::{Answer, Gateway};

const POLICIES: &str = r#"
@id("basics") permit (principal is User, action, resource in Mcp::Server::"tools")
unless { resource is Mcp::Tool || action in Mcp::Action::"tools/call" };
@id("alice") permit (principal == User::"corp/alice", action in Mcp::Action::"tools/call", resource in Mcp::Server::"tools")
unless { ["get-env", "get-sum", "delete_file"].contains(resource.name) };
@id("sum") permit (principal == User::"corp/alice", action in Mcp::Action::"tools/call", resource == Mcp::Tool::"tools/get-sum")
when { context.scopes.contains("files:delete") };
@id("bob") permit (principal == User::"corp/bob", action in Mcp::Action::"tools/call", resource in Mcp::Server::"tools")
when { resource.name == "echo" };
"#;

/// The names of the tools of a list.
fn names(answer: &Answer) -> Vec<String> {
    let tools = answer.result["tools"].as_array().cloned().unwrap_or_default();
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

async fn in_front_of_everything() -> (Gateway, OidcProvider, McpServer) {
    let provider = OidcProvider::start().await.unwrap();
    let server = McpServer::start_everything().await.unwrap();
    let upstream = format!("{{url: \"{}\"}}", server.url());
    let gateway = Gateway::start(&provider, POLICIES, &upstream, "").await;
    (gateway, provider, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_with_the_reference_server_shows_each_user_their_own_tools() {
    let (gateway, provider, mut server) = in_front_of_everything().await;
    let alice = provider.token("alice", &gateway.url(), "").await.unwrap();
    let bob = provider.token("bob", &gateway.url(), "").await.unwrap();

    let stranger = gateway.send(None, None, &client::initialize()).await;
    assert_eq!(stranger.status, 401);
    let challenge = stranger.header("www-authenticate");
    let metadata = challenge.split("resource_metadata=\"").nth(1).unwrap().trim_end_matches('"');
    let document: Value =
        serde_json::from_str(&reqwest::get(metadata).await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(document["resource"], gateway.url());

    let session = gateway.begin(&alice).await;
    let list = gateway.send(Some(&alice), Some(&session), &client::request("tools/list", json!({}))).await;
    let shown = names(&list);
    assert!(shown.contains(&"echo".to_owned()) && !shown.contains(&"get-env".to_owned()), "{shown:?}");
    assert_eq!(list.header("cache-control"), "private, no-store");

    let said = gateway.call(&alice, &session, "echo", json!({ "message": "hi" })).await;
    assert_eq!(said.result["content"][0]["text"], "Echo: hi");
    let denied = gateway.call(&alice, &session, "get-env", json!({})).await;
    assert_eq!((denied.status, denied.result), (403, Value::Null));

    // A session is its subject's, whoever has learnt its id, and no id is made by hand.
    assert_eq!(gateway.call(&bob, &session, "echo", json!({ "message": "hi" })).await.status, 404);
    let forged = format!("{}..forged", "0".repeat(32));
    assert_eq!(gateway.call(&alice, &forged, "echo", json!({ "message": "hi" })).await.status, 404);
    let own = session.rsplit('.').next().unwrap();
    assert_eq!(gateway.call(&alice, own, "echo", json!({ "message": "hi" })).await.status, 404);
    let session_of_bob = gateway.begin(&bob).await;
    let list =
        gateway.send(Some(&bob), Some(&session_of_bob), &client::request("tools/list", json!({}))).await;
    assert_eq!(names(&list), ["echo"]);

    // Every answer is on the record, the list with what it showed.
    let records: Vec<DecisionRecord> = gateway.palisade.decisions().unwrap();
    let listed = records.iter().find(|record| record.found == Some(1)).unwrap();
    assert_eq!(listed.items[0].target, r#"Mcp::Tool::"tools/echo""#);
    assert!(records.iter().any(|record| record.reason.as_str() == "session_mismatch"));

    let ended = gateway.delete(&alice, &session).await;
    assert!(ended.is_success(), "{ended}");
    // The server itself no longer knows it.
    assert_eq!(gateway.call(&alice, &session, "echo", json!({ "message": "hi" })).await.status, 400);
    server.process().kill().unwrap();
    assert_eq!(gateway.call(&bob, &session_of_bob, "echo", json!({ "message": "hi" })).await.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_keep_their_order_and_their_time_and_a_stream_ends_with_its_permission() {
    let (gateway, provider, _server) = in_front_of_everything().await;
    let alice = provider.token("alice", &gateway.url(), "").await.unwrap();
    let session = gateway.begin(&alice).await;
    let arguments = json!({ "duration": 2, "steps": 4 });
    let call = client::request(
        "tools/call",
        json!({ "name": "trigger-long-running-operation", "arguments": arguments, "_meta": { "progressToken": 7 } }),
    );
    let events = gateway.events(&alice, &session, &call).await;
    let progress: Vec<u64> =
        events.iter().filter_map(|(_, event)| event["params"]["progress"].as_u64()).collect();
    assert_eq!(progress, [1, 2, 3, 4], "{events:?}");
    let (first, last) = (events.first().unwrap().0, events.last().unwrap().0);
    assert!(last - first >= Duration::from_secs(1), "the events came together");

    // A stream that was permitted ends when the policies no longer permit it.
    let mut stream = gateway.listen(&alice, &session).await;
    assert_eq!(stream.status(), 200);
    fs::write(gateway.folder.path().join("policies/p.cedar"), "forbid (principal, action, resource);\n")
        .unwrap();
    let began = Instant::now();
    let end = async { while let Ok(Some(_)) = stream.chunk().await {} };
    tokio::time::timeout(Duration::from_secs(30), end).await.expect("the stream goes on");
    assert!(began.elapsed() > Duration::from_millis(400), "it ended before the policies changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_gets_who_it_is_for_and_never_the_token() {
    let provider = OidcProvider::start().await.unwrap();
    let server = McpServer::start_with_sample_tools().await.unwrap();
    let upstream = format!("{{url: \"{}\"}}", server.url());
    let gateway = Gateway::start(&provider, POLICIES, &upstream, "").await;
    let alice = provider.token("alice", &gateway.url(), "").await.unwrap();

    let list = gateway.send(Some(&alice), None, &client::request("tools/list", json!({}))).await;
    let shown = names(&list);
    assert!(shown.contains(&"echo".to_owned()) && !shown.contains(&"delete_file".to_owned()), "{shown:?}");
    let reached = server.requests().await.unwrap();
    let [request] = reached.as_slice() else { panic!("{reached:?}") };
    assert!(!request.to_string().contains(alice.rsplit('.').next().unwrap()));
    assert_eq!(header_values(request, "x-palisade-subject"), [r#"User::"corp/alice""#]);
    assert_eq!(header_values(request, "accept-encoding"), ["identity"]);

    // What the body does not say is nobody's name, and what must be there is.
    let cases = [(Some("tools/call"), Some("delete_file")), (Some("tools/list"), None), (None, Some("echo"))];
    for (method, name) in cases {
        let arguments = json!({ "name": "echo", "arguments": { "message": "hi" } });
        let answer = gateway.mirrored("tools/call", arguments, &alice, (method, name)).await;
        assert_eq!((answer.status, &answer.error["code"]), (400, &json!(-32020)), "{method:?} {name:?}");
    }
    let call = client::request("tools/call", json!({ "name": "echo", "arguments": { "message": "hi" } }));
    assert_eq!(gateway.send(Some(&alice), None, &call).await.status, 200);
    assert_eq!(server.requests().await.unwrap().len(), 2);

    // Another host, or a page of another origin, gets nothing through.
    let foreign = reqwest::Client::new().post(gateway.url()).bearer_auth(&alice);
    let body = client::request("ping", json!({})).to_string();
    let foreign = |name: &'static str, value: &'static str| {
        let request = foreign.try_clone().unwrap().header("content-type", "application/json");
        request.header(name, value).body(body.clone()).send()
    };
    assert_eq!(foreign("host", "evil.example").await.unwrap().status(), 404);
    assert_eq!(foreign("origin", "https://evil.example").await.unwrap().status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_inside_a_call_is_decided_on_and_so_is_what_a_header_mirrors() {
    let (gateway, provider, _server) = in_front_of_everything().await;
    let alice = provider.token("alice", &gateway.url(), "").await.unwrap();
    let session = gateway.begin(&alice).await;
    // The server has no such tool, and says so itself: the call has reached it.
    let inside = |tool: &str| json!({ "tool": tool, "with": { "message": "hi" } });
    let said = gateway.call(&alice, &session, "run_tool", inside("echo")).await;
    assert_eq!(said.status, 200, "{said:?}");
    // That no call inside can be read is not told apart.
    for (arguments, status) in [(inside("get-env"), 403), (json!({}), 403)] {
        let said = gateway.call(&alice, &session, "run_tool", arguments).await;
        assert_eq!((said.status, &said.result), (status, &Value::Null), "{said:?}");
    }
    let records = gateway.palisade.decisions().unwrap();
    let denied = records.iter().find(|record| record.reason.as_str() == "no_permit").unwrap();
    assert_eq!(denied.target.as_deref(), Some(r#"Mcp::Tool::"tools/get-env""#));
    assert_eq!(denied.items[0].target, r#"Mcp::Tool::"tools/run_tool""#);

    // The catalogue says that a header mirrors what is said, and the revision that it must be there.
    let call = |said: Option<&'static str>| {
        let arguments = json!({ "name": "echo", "arguments": { "message": "hi" } });
        let params = said.map(|said| ("mcp-param-said", said));
        gateway.with_header("tools/call", arguments, &alice, (Some("tools/call"), Some("echo")), params)
    };
    for said in [None, Some("ho")] {
        let answer = call(said).await;
        assert_eq!((answer.status, &answer.error["code"]), (400, &json!(-32020)), "{said:?}");
    }
    assert_ne!(call(Some("hi")).await.error["code"], json!(-32020));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_gets_a_token_of_its_own_for_the_same_user_and_nobody_elses() {
    const LEDGER: &str = "https://ledger.example.com";
    let provider = OidcProvider::start().await.unwrap();
    let server = McpServer::start_with_sample_tools().await.unwrap();
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "gateway-secret\n").unwrap();
    let exchange = format!(
        "    upstream_token: {{exchange: ledger}}\nexchanges:\n  ledger: {{provider: rfc8693, client: {{id: gateway, secret: {{file: \"{}\"}}}}, audience: \
         \"{LEDGER}\", scopes: [\"ledger:read\"]}}\n",
        secret.path().display()
    );
    let policies = format!(
        "{POLICIES}@id(\"ledger\") permit (principal == User::\"corp/alice\", action == OAuth::Action::\"exchange\", resource == \
         OAuth::Audience::\"ledger\");\n"
    );
    let upstream = format!("{{url: \"{}\"}}", server.url());
    let gateway = Gateway::start(&provider, &policies, &upstream, &exchange).await;
    let alice = provider.token("alice", &gateway.url(), "files:read").await.unwrap();
    let bob = provider.token("bob", &gateway.url(), "files:read").await.unwrap();
    let call = client::request("tools/call", json!({ "name": "echo", "arguments": { "message": "hi" } }));
    let said = gateway.send(Some(&alice), None, &call).await;
    assert_eq!(said.status, 200, "{said:?}");
    let refused = gateway.send(Some(&bob), None, &call).await;
    assert_eq!((refused.status, &refused.result), (403, &Value::Null), "{refused:?}");

    let reached = server.requests().await.unwrap();
    let [request] = reached.as_slice() else { panic!("{reached:?}") };
    let sent = header_values(request, "authorization");
    let [token] = sent.as_slice() else { panic!("{sent:?}") };
    let token = token.strip_prefix("Bearer ").unwrap();
    assert_ne!(token, alice);
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!((&claims["aud"], &claims["sub"]), (&json!(LEDGER), &json!("alice")));
    let records = gateway.palisade.decisions().unwrap();
    let called = records.iter().find(|record| record.exchange.is_some()).unwrap();
    assert!(called.exchange.as_ref().unwrap().token_id.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_standard_input_and_output_has_a_process_for_each_session() {
    let provider = OidcProvider::start().await.unwrap();
    let command = McpServer::everything_on_stdio().unwrap();
    let upstream = format!("{{stdio: \"{command}\"}}");
    let gateway = Gateway::start(&provider, POLICIES, &upstream, "").await;
    let alice = provider.token("alice", &gateway.url(), "").await.unwrap();
    let bob = provider.token("bob", &gateway.url(), "").await.unwrap();
    let session = gateway.begin(&alice).await;
    let list = gateway.send(Some(&alice), Some(&session), &client::request("tools/list", json!({}))).await;
    assert!(names(&list).contains(&"echo".to_owned()), "{list:?}");
    assert!(!names(&list).contains(&"get-env".to_owned()));
    let said = gateway.call(&alice, &session, "echo", json!({ "message": "hi" })).await;
    assert_eq!(said.result["content"][0]["text"], "Echo: hi");
    assert_eq!(gateway.call(&bob, &session, "echo", json!({ "message": "hi" })).await.status, 404);

    let other = gateway.begin(&bob).await;
    assert_eq!(gateway.processes(&command).await, 2);
    assert!(gateway.delete(&alice, &session).await.is_success());
    eventually("the end of the process", async || Ok((gateway.processes(&command).await == 1).then_some(())))
        .await
        .unwrap();
    assert_eq!(gateway.call(&alice, &session, "echo", json!({ "message": "hi" })).await.status, 404);
    assert_eq!(gateway.call(&bob, &other, "echo", json!({ "message": "hi" })).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_on_the_official_sdk_sees_a_list_a_call_a_denial_and_a_step_up() {
    let (gateway, provider, _server) = in_front_of_everything().await;
    let alice = provider.token("alice", &gateway.url(), "").await.unwrap();
    let seen = gateway
        .official_client(
            &alice,
            &[("echo", "{\"message\":\"hi\"}"), ("get-env", "{}"), ("get-sum", "{\"a\":1,\"b\":2}")],
        )
        .unwrap();
    assert_eq!(seen["calls"][0]["text"], "Echo: hi", "{seen}");
    for (call, tool) in [(1, "get-env"), (2, "get-sum")] {
        assert!(seen["calls"][call]["error"].is_string(), "{tool}: {seen}");
    }
    let tools: Vec<&str> = seen["tools"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(tools.contains(&"get-sum") && !tools.contains(&"get-env"), "{tools:?}");
    let stronger = provider.token("alice", &gateway.url(), "files:delete").await.unwrap();
    let seen = gateway.official_client(&stronger, &[("get-sum", "{\"a\":1,\"b\":2}")]).unwrap();
    assert!(seen["calls"][0]["text"].as_str().unwrap().contains('3'), "{seen}");

    // What was listed and could not be called is exactly what a step-up would bring.
    let records = gateway.palisade.decisions().unwrap();
    let step_up = records.iter().filter(|record| record.decision == Outcome::StepUp).count();
    assert_eq!(step_up, 1);
}
