//! The guard in rmcp's own HTTP service, before a decision point that says what it is told to.

use std::{
    collections::HashSet,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use palisade_client::{
    Answering, Bind, Check, Checked, Describe, Description, List, Listed, NoAnswer,
    wire::{Asked, Unreadable},
};
use palisade_model::{DecisionId, Timestamp};
use palisade_proto::v1;
use palisade_tower::Caller;
use rmcp::{
    model::{CallToolResult, ContentBlock, ServerCapabilities},
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
    },
};
use serde_json::Value;

use super::*;

/// What the decision point answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Yes,
    No,
    StepUp,
    Nothing,
}

#[derive(Debug)]
struct Point {
    says: Says,
    asked: Mutex<Vec<Value>>,
}

fn answer(status: u32, challenge: Option<&str>) -> v1::Answer {
    let header =
        |value: &str| v1::Header { name: "www-authenticate".to_owned(), value: value.as_bytes().to_vec() };
    v1::Answer { status, headers: challenge.map(header).into_iter().collect(), body: Vec::new() }
}

impl GatewayPoint for Point {
    fn describe<'a>(&'a self, _describe: &'a Describe) -> Answering<'a, Option<Description>> {
        Box::pin(async { Ok(None) })
    }

    fn check<'a>(&'a self, check: &'a Check) -> Answering<'a, Checked> {
        self.asked.lock().unwrap().push(serde_json::from_slice(&check.body).unwrap());
        let denied = |reason: &str, answer| v1::CheckResponse {
            outcome: v1::Outcome::Deny.into(),
            reason: reason.to_owned(),
            answer: Some(answer),
            ..v1::CheckResponse::default()
        };
        let reply = match self.says {
            Says::Yes => v1::CheckResponse {
                decision_id: DecisionId::new(Timestamp::from_unix_seconds(1_000)).to_string(),
                outcome: v1::Outcome::Permit.into(),
                subject: Some("User::\"corp/alice\"".to_owned()),
                passage: Some(v1::Passage {
                    remove: vec!["authorization".to_owned()],
                    body: Some(String::from_utf8_lossy(&check.body).replace("bound..7", "7").into_bytes()),
                    ..v1::Passage::default()
                }),
                ..v1::CheckResponse::default()
            },
            Says::StepUp => {
                denied("insufficient_scope", answer(403, Some("Bearer error=\"insufficient_scope\"")))
            }
            Says::No | Says::Nothing => denied("no_permit", answer(403, None)),
        };
        let read = check.read(reply).map_err(|unreadable: Unreadable| unreadable.of("test"));
        let silent = Err(NoAnswer::Unreadable { endpoint: "test".to_owned(), what: "it is silent" });
        let answered = if self.says == Says::Nothing { silent } else { read };
        Box::pin(async move { answered })
    }

    fn list<'a>(&'a self, list: &'a List) -> Answering<'a, Listed> {
        let shown = list.entries.iter().map(|entry| entry.starts_with('a')).collect();
        Box::pin(async move { Ok(Listed::Shown(shown)) })
    }

    fn bind<'a>(&'a self, bind: &'a Bind) -> Answering<'a, Option<String>> {
        let bound = format!("bound.{}.{}", bind.tool, bind.id);
        Box::pin(async move { Ok(Some(bound)) })
    }
}

/// A handler that counts what reaches it.
#[derive(Debug, Clone, Default)]
struct Files {
    reached: Arc<AtomicUsize>,
}

impl ServerHandler for Files {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(
            ServerCapabilities::builder().enable_tools().enable_prompts().enable_resources().build(),
        )
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: Context,
    ) -> Result<ListToolsResult, ErrorData> {
        self.reached.fetch_add(1, Ordering::SeqCst);
        let tool = |name: &'static str| Tool::new(name, "", Arc::new(serde_json::Map::new()));
        Ok(ListToolsResult::with_all_items(vec![tool("a1"), tool("b"), tool("a2")]))
    }

    async fn call_tool(
        &self,
        _call: CallToolRequestParams,
        context: Context,
    ) -> Result<CallToolResponse, ErrorData> {
        self.reached.fetch_add(1, Ordering::SeqCst);
        let parts = context.extensions.get::<http::request::Parts>().unwrap();
        let caller = context.extensions.get::<Caller>().unwrap();
        assert_eq!(parts.extensions.get::<Caller>(), Some(caller));
        let has_token = parts.headers.contains_key("authorization");
        let text = format!("{} {has_token}", caller.subject);
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _context: Context,
    ) -> Result<CustomResult, ErrorData> {
        self.reached.fetch_add(1, Ordering::SeqCst);
        let task = request.params.as_ref().and_then(|params| params.get("taskId"));
        let related = json!({ "io.modelcontextprotocol/related-task": { "taskId": task } });
        Ok(CustomResult(match (request.method.as_str(), task) {
            ("tasks/list", None) => json!({ "tasks": [{ "taskId": "7" }, { "taskId": "8" }] }),
            ("tasks/list", Some(_)) => json!({ "tasks": [], "taskId": "8" }),
            ("tasks/result", Some(task)) if task != "7" => json!({ "taskId": "7" }),
            ("tasks/result", _) => json!({ "content": [], "_meta": related }),
            (method, _) => json!({ "tools": [{ "name": "b" }], "method": method }),
        }))
    }
}

/// Asks for each of these, and gives the answers, what was asked about, and how much reached the handler.
async fn ask(says: Says, requests: &[(&str, Value)]) -> (Vec<Value>, Vec<Value>, usize) {
    let point = Arc::new(Point { says, asked: Mutex::default() });
    let files = Files::default();
    let (shared, own) = (Arc::clone(&point) as Arc<dyn GatewayPoint>, files.clone());
    let settings =
        StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_json_response(true);
    let service = StreamableHttpService::new(
        move || Ok(Guarded::with(own.clone(), Arc::clone(&shared), "files")),
        Arc::new(NeverSessionManager::default()),
        settings,
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let router = axum::Router::new().nest_service("/mcp", service);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut answers = Vec::new();
    for (method, params) in requests {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let request = reqwest::Client::new()
            .post(&url)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .header("mcp-protocol-version", "2025-11-25")
            .bearer_auth("secret")
            .body(body.to_string());
        let text = request.send().await.unwrap().text().await.unwrap();
        let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or(&text);
        answers.push(serde_json::from_str(data).unwrap_or_else(|_| panic!("{method}: {text}")));
    }
    let asked = std::mem::take(&mut *point.asked.lock().unwrap());
    (answers, asked, files.reached.load(Ordering::SeqCst))
}

fn every_method() -> Vec<(&'static str, Value)> {
    let reference = json!({ "type": "ref/prompt", "name": "p" });
    vec![
        ("ping", json!({})),
        ("completion/complete", json!({ "ref": reference, "argument": { "name": "a", "value": "x" } })),
        ("logging/setLevel", json!({ "level": "debug" })),
        ("prompts/get", json!({ "name": "p" })),
        ("prompts/list", json!({})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("resources/read", json!({ "uri": "file:///a" })),
        ("resources/subscribe", json!({ "uri": "file:///a" })),
        ("resources/unsubscribe", json!({ "uri": "file:///a" })),
        ("tools/call", json!({ "name": "a1", "arguments": { "x": 1 } })),
        ("tools/list", json!({})),
        ("tasks/list", json!({})),
        ("tasks/result", json!({ "taskId": "bound..7" })),
    ]
}

#[tokio::test]
async fn every_method_is_asked_about_and_reaches_the_handler_only_with_a_permit() {
    let methods = every_method();
    for says in [Says::No, Says::StepUp, Says::Nothing] {
        let (answers, asked, reached) = ask(says, &methods).await;
        assert_eq!(reached, 0, "{says:?}");
        assert!(answers.iter().all(|answer| answer["error"].is_object()), "{answers:?}");
        let asked: HashSet<&str> = asked.iter().map(|body| body["method"].as_str().unwrap()).collect();
        assert_eq!(asked, methods.iter().map(|(method, _)| *method).collect::<HashSet<_>>(), "{says:?}");
    }
    let (_answers, asked, reached) = ask(Says::Yes, &methods).await;
    assert_eq!((asked.len(), reached), (methods.len(), 4));
    let call = asked.iter().find(|body| body["method"] == "tools/call").unwrap();
    assert_eq!(call["params"]["arguments"], json!({ "x": 1 }));
}

#[tokio::test]
async fn a_denied_tool_is_unknown_and_a_challenge_says_what_would_help() {
    let call = [("tools/call", json!({ "name": "b" }))];
    let (denied, _, _) = ask(Says::No, &call).await;
    assert_eq!(denied[0]["error"], json!({ "code": -32602, "message": "Unknown tool" }));
    let (challenged, _, _) = ask(Says::StepUp, &call).await;
    assert_eq!(challenged[0]["error"]["code"], 403);
    assert_eq!(challenged[0]["error"]["data"]["www_authenticate"], "Bearer error=\"insufficient_scope\"");
}

#[tokio::test]
async fn a_list_is_cut_and_a_handler_knows_whom_it_is_for_and_never_the_token() {
    let (answers, _, _) =
        ask(Says::Yes, &[("tools/list", json!({})), ("tools/call", json!({ "name": "a1" }))]).await;
    let tools = answers[0]["result"]["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a1", "a2"]);
    assert_eq!(answers[1]["result"]["content"][0]["text"], "User::\"corp/alice\" false");
}

#[tokio::test]
async fn tasks_of_former_revisions_are_told_by_their_handles_and_nobody_elses_are() {
    let task = |id: &str| json!({ "taskId": id });
    let requests = [
        ("tasks/list", json!({})),
        ("tasks/result", task("bound..7")),
        ("tasks/result", task("bound..9")),
        ("tasks/list", task("bound..7")),
        // In a form that its own method does not have it would be answered by nobody that the guard stands before.
        ("tools/call", json!({ "name": 7 })),
    ];
    let (answers, asked, _) = ask(Says::Yes, &requests).await;
    assert_eq!(asked.len(), requests.len());
    assert_eq!(answers[0]["result"]["tasks"], json!([]));
    let related = &answers[1]["result"]["_meta"]["io.modelcontextprotocol/related-task"];
    assert_eq!(related["taskId"], "bound..7", "{answers:?}");
    for answer in &answers[2..] {
        assert!(answer["error"].is_object() && answer["result"].is_null(), "{answer}");
    }
}
