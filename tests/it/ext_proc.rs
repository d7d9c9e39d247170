//! Lists of MCP servers behind a real Envoy, cut to their readers by `ext_proc`, with `ext_authz` for the calls.

use std::{collections::BTreeSet, time::Duration};

use palisade_audit::Outcome;
use palisade_model::Surface;
use palisade_tests::components::{Envoy, EnvoyPorts, EnvoySample, McpServer, OidcProvider};
use palisade_tests::service::Palisade;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
    time::timeout,
};

use crate::stories;

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
/// Long enough for anything that is not held back, and short enough for a test.
const SOON: Duration = Duration::from_secs(5);

/// Envoy before an upstream, with both filters.
struct Edge {
    provider: OidcProvider,
    palisade: Palisade,
    envoy: Envoy,
}

impl Edge {
    async fn start(upstream: u16) -> Self {
        Self::start_with(upstream, |sample| sample).await
    }

    async fn start_with(upstream: u16, change: impl FnOnce(String) -> String) -> Self {
        let provider = stories::provider().await;
        let palisade = Palisade::start(&stories::configuration(provider.issuer()), "").await.unwrap();
        palisade.wait_for_readiness(200).await.unwrap();
        let ports = EnvoyPorts { decision: palisade.decision, public: palisade.public, upstream };
        let sample = EnvoySample::ExtProc.fill("demo", ports).unwrap();
        let envoy = Envoy::start(&change(sample)).await.unwrap();
        Self { provider, palisade, envoy }
    }

    async fn token(&self, user: &str, scopes: &str) -> String {
        self.provider.token(user, &stories::identifier("demo"), scopes).await.unwrap()
    }

    fn request(&self, method: reqwest::Method, token: &str) -> reqwest::RequestBuilder {
        reqwest::Client::new()
            .request(method, self.envoy.url("/demo"))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("accept-encoding", "gzip")
            .bearer_auth(token)
    }

    fn post(&self, token: &str, body: &str) -> reqwest::RequestBuilder {
        self.request(reqwest::Method::POST, token).body(body.to_owned())
    }
}

/// The names of the tools in a result.
fn names(message: &Value) -> BTreeSet<String> {
    let tools = message["result"]["tools"].as_array().unwrap_or_else(|| panic!("{message}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

/// The message in a stream of one.
fn message_in(stream: &str) -> Value {
    let mut data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    let data = data.find(|data| !data.is_empty()).unwrap_or_else(|| panic!("{stream}"));
    serde_json::from_str(data).unwrap()
}

async fn json_of(answer: reqwest::Response) -> Value {
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// An upstream that answers its one request with the bytes that the test sends, as they come.
async fn scripted() -> (u16, mpsc::UnboundedSender<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, mut script) = mpsc::unbounded_channel::<Vec<u8>>();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut came = vec![0; 16 * 1024];
        let read = socket.read(&mut came).await.unwrap();
        assert!(read > 0);
        while let Some(bytes) = script.recv().await {
            if socket.write_all(&bytes).await.is_err() {
                return;
            }
            socket.flush().await.unwrap();
        }
    });
    (port, sender)
}

fn head(kind: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n").into_bytes()
}

fn event(message: &Value) -> Vec<u8> {
    format!("event: message\ndata: {message}\n\n").into_bytes()
}

fn list_of(id: &Value, tools: &[&str], filling: usize) -> Value {
    let tool = |name: &&str| json!({"name": name, "description": "x".repeat(filling), "inputSchema": {}});
    json!({"jsonrpc": "2.0", "id": id, "result": {"tools": tools.iter().map(tool).collect::<Vec<_>>()}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_to_each_user_what_that_user_can_call_or_can_reach() {
    let upstream = McpServer::start(&stories::tools("demo")).await.unwrap();
    let edge = Edge::start(upstream.port()).await;
    for (user, scopes, expected) in [
        ("bob", "files:read", &["echo", "get_user_info", "list_files"][..]),
        ("bob", "", &["echo", "get_user_info", "list_files"]),
        ("alice", "files:read", &["echo", "get_user_info", "list_files", "delete_file", "system_status"]),
    ] {
        let token = edge.token(user, scopes).await;
        let answer = edge.post(&token, LIST).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["cache-control"], "private, no-store");
        assert_eq!(answer.headers()["vary"], "Authorization");
        assert!(!answer.headers().contains_key("content-encoding"));
        let shown = names(&json_of(answer).await);
        assert_eq!(shown, set(expected), "{user} {scopes}");
        for tool in stories::tools("demo").as_array().unwrap() {
            let name = tool["name"].as_str().unwrap();
            let call = stories::call(name, &json!({"message": "hi", "path": "/a"}));
            let called = edge.post(&token, &call).send().await.unwrap();
            let reachable = match called.status().as_u16() {
                200 => true,
                403 => called.headers().contains_key("www-authenticate"),
                other => panic!("{other}"),
            };
            assert_eq!(shown.contains(name), reachable, "{user} {scopes} {name}");
        }
    }
    let records = edge.palisade.decisions().unwrap();
    let lists: Vec<_> = records.iter().filter(|record| record.surface == Some(Surface::ExtProc)).collect();
    assert_eq!(lists.len(), 3);
    let first = lists.first().unwrap();
    assert_eq!((first.decision, first.found), (Outcome::Permit, Some(3)));
    assert_eq!(first.action.as_deref(), Some("Mcp::Action::\"tools/list\""));
    assert_eq!(first.client_ip, "127.0.0.1".parse().ok());

    // Nobody without a token gets to the server at all, and an answer without a list goes by as it came.
    let anonymous = reqwest::Client::new().post(edge.envoy.url("/demo")).body(LIST);
    let anonymous = anonymous.header("content-type", "application/json").send().await.unwrap();
    assert_eq!(anonymous.status(), 401);
    assert!(anonymous.headers().contains_key("www-authenticate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_the_reference_server_gets_its_list_as_events() {
    let upstream = McpServer::start_everything().await.unwrap();
    let edge = Edge::start(upstream.port()).await;
    let token = edge.token("bob", "").await;
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"0"}}}"#;
    let answer = edge.post(&token, initialize).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let session = answer.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let send = async |body: &str| {
        let request = edge.post(&token, body).header("mcp-session-id", &session);
        request.header("mcp-protocol-version", "2025-11-25").send().await.unwrap()
    };
    assert_eq!(send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await.status(), 202);
    let answer = send(LIST).await;
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    assert_eq!(answer.headers()["cache-control"], "private, no-store");
    let text = answer.text().await.unwrap();
    assert_eq!(names(&message_in(&text)), set(&["echo"]));
    // The server shows its other lists, and nothing of them is permitted.
    for (method, member) in [("prompts/list", "prompts"), ("resources/list", "resources")] {
        let asked = json!({"jsonrpc": "2.0", "id": 2, "method": method}).to_string();
        let text = send(&asked).await.text().await.unwrap();
        assert_eq!(message_in(&text)["result"][member], json!([]), "{method}");
    }
    let echo = send(&stories::call("echo", &json!({"message": "hi"}))).await.text().await.unwrap();
    assert!(echo.contains("Echo: hi"), "{echo}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_on_one_by_one_and_a_list_among_them_is_cut() {
    let (port, script) = scripted().await;
    let edge = Edge::start(port).await;
    let token = edge.token("bob", "").await;
    let answer = tokio::spawn(edge.post(&token, LIST).send());
    script.send(head("text/event-stream")).unwrap();
    let mut answer = timeout(SOON, answer).await.unwrap().unwrap().unwrap();
    let progress = event(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}}));
    script.send(progress.clone()).unwrap();
    let chunk = timeout(SOON, answer.chunk()).await.unwrap().unwrap().unwrap();
    assert_eq!(chunk, progress);
    // In pieces, the first of them in the middle of a name; and larger than one message of the protocol.
    let list = event(&list_of(&json!(1), &["delete_file", "echo", "system_status"], 300_000));
    let (first, second) = list.split_at(40);
    script.send(first.to_vec()).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    script.send(second.to_vec()).unwrap();
    // The id of another request, and none that is known: what looks like a list is one.
    script.send(event(&list_of(&json!("1"), &["delete_file", "echo"], 0))).unwrap();
    script.send(b": the end\n\ndata: {\"no\":\"end\"}".to_vec()).unwrap();
    drop(script);
    let mut text = String::new();
    while let Some(chunk) = timeout(SOON, answer.chunk()).await.unwrap().unwrap() {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let data: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(data.len(), 2, "{} bytes", text.len());
    for data in data {
        assert_eq!(names(&serde_json::from_str(data).unwrap()), set(&["echo"]));
    }
    assert!(text.ends_with(": the end\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_palisade_no_list_gets_through() {
    // It dies when the request has passed, before the answer comes: once as JSON, once in the midst of a stream.
    for kind in ["application/json", "text/event-stream"] {
        let (port, script) = scripted().await;
        let mut edge = Edge::start(port).await;
        let token = edge.token("alice", "files:read").await;
        let answer = tokio::spawn(edge.post(&token, LIST).send());
        script.send(head(kind)).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        edge.palisade.kill().unwrap();
        let list = list_of(&json!(1), &["delete_file", "echo"], 0);
        let sent = if kind == "application/json" { list.to_string().into_bytes() } else { event(&list) };
        script.send(sent).ok();
        drop(script);
        let answer = timeout(SOON, answer).await.unwrap().unwrap();
        let text = match answer {
            Ok(answer) => {
                let status = answer.status().as_u16();
                assert!(kind == "text/event-stream" || status >= 500, "{kind}: {status}");
                answer.text().await.unwrap_or_default()
            }
            Err(_reset) => String::new(),
        };
        assert!(!text.contains("echo") && !text.contains("delete_file"), "{kind}: {text}");
        // Nor does anything begin without it.
        let refused = edge.post(&token, LIST).send().await.unwrap();
        assert_eq!(refused.status(), 503, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_withheld() {
    for (answer, expected) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: br\r\nconnection: close\r\n\r\nx",
            502,
        ),
        ("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n{\"result\":{}}", 502),
        (
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"result\":{\"tools\":[",
            502,
        ),
        (
            "HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\nno such session",
            404,
        ),
    ] {
        let (port, script) = scripted().await;
        let edge = Edge::start(port).await;
        let token = edge.token("bob", "").await;
        script.send(answer.as_bytes().to_vec()).unwrap();
        drop(script);
        let came = timeout(SOON, edge.post(&token, LIST).send()).await.unwrap().unwrap();
        assert_eq!(came.status(), expected, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_is_configured_otherwise_shows_no_list() {
    let upstream = McpServer::start(&stories::tools("demo")).await.unwrap();
    // Without the request's body, what looks like a list is one.
    let blind = |sample: String| sample.replace("request_body_mode: BUFFERED", "request_body_mode: NONE");
    let edge = Edge::start_with(upstream.port(), blind).await;
    let token = edge.token("bob", "").await;
    let answer = edge.post(&token, LIST).send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "private, no-store");
    assert_eq!(names(&json_of(answer).await), set(&["echo", "get_user_info", "list_files"]));

    type Change = fn(String) -> String;
    let others: [(Change, u16); 3] = [
        // Another mode, a resource that nobody knows, and none.
        (
            |sample| {
                sample
                    .replace("FULL_DUPLEX_STREAMED\n                response_trailer_mode: SEND", "STREAMED")
            },
            503,
        ),
        (|sample| sample.replace("palisade-resource, value: demo", "palisade-resource, value: nobodys"), 404),
        (|sample| sample.replace("key: palisade-resource", "key: x-other"), 404),
    ];
    for (change, expected) in others {
        let edge = Edge::start_with(upstream.port(), change).await;
        let token = edge.token("bob", "").await;
        let answer = edge.post(&token, LIST).send().await.unwrap();
        assert_eq!(answer.status(), expected);
        assert!(!answer.text().await.unwrap().contains("echo"));
    }
}
