//! The layer around a server that says what it is told to, before a decision point that does the same.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use palisade_client::wire;
use palisade_client::{
    Answering, Bind, Check, Checked, Describe, Description, GatewayPoint, List, Listed, NoAnswer, wire::Asked,
};
use palisade_model::{DecisionId, Timestamp};
use palisade_proto::v1;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};

use super::*;

mod part;
mod readings;
mod slow;

/// What a decision point answers.
#[derive(Debug, Default)]
struct Point {
    /// Whether it answers at all.
    silent: bool,
    /// Whether requests go on.
    denies: bool,
    /// What it does not answer for.
    without: Without,
    /// What it answers a list with where it refuses it.
    refuses: Option<u32>,
    /// Whether what goes on is a part.
    in_part: bool,
    /// The lists that it was asked about.
    lists: Mutex<Vec<(String, Vec<String>)>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Without {
    #[default]
    Nothing,
    Lists,
    Handles,
}

fn silent<T>() -> Result<T, NoAnswer> {
    Err(NoAnswer::Unreadable { endpoint: "test".to_owned(), what: "it is silent" })
}

fn header(name: &str, value: &str) -> v1::Header {
    v1::Header { name: name.to_owned(), value: value.as_bytes().to_vec() }
}

fn id() -> String {
    DecisionId::new(Timestamp::from_unix_seconds(1_000)).to_string()
}

impl GatewayPoint for Point {
    fn describe<'a>(&'a self, _describe: &'a Describe) -> Answering<'a, Option<Description>> {
        Box::pin(async move {
            if self.silent {
                return silent();
            }
            Ok(Some(Description {
                resource: "files".to_owned(),
                identifier: "https://mcp.example.com/files".to_owned(),
                metadata_path: "/.well-known/oauth-protected-resource/files".to_owned(),
                metadata: "{}".to_owned(),
                origins: Vec::new(),
                policy_revision: None,
            }))
        })
    }

    fn check<'a>(&'a self, check: &'a Check) -> Answering<'a, Checked> {
        let reply = if self.denies || check.truncated {
            v1::CheckResponse {
                outcome: v1::Outcome::Deny.into(),
                reason: "no_permit".to_owned(),
                answer: Some(v1::Answer { status: 403, headers: Vec::new(), body: b"no".to_vec() }),
                ..v1::CheckResponse::default()
            }
        } else {
            v1::CheckResponse {
                decision_id: id(),
                outcome: v1::Outcome::Permit.into(),
                subject: Some("User::\"corp/alice\"".to_owned()),
                passage: Some(v1::Passage {
                    remove: vec!["authorization".to_owned()],
                    set: vec![header("x-palisade-subject", "alice")],
                    response: vec![header("x-palisade-decision-id", "d"), header("vary", "Origin")],
                    body: self.in_part.then(|| b"left".to_vec()),
                    path: check.request.path.contains("/t-").then(|| "/mcp?x=1".to_owned()),
                    graphql_errors: self.in_part.then(|| r#"[{"message":"taken"}]"#.to_owned()),
                }),
                ..v1::CheckResponse::default()
            }
        };
        let answer = check.read(reply).map_err(|unreadable: wire::Unreadable| unreadable.of("test"));
        Box::pin(async move { if self.silent { silent() } else { answer } })
    }

    /// Shows what begins with `a`.
    fn list<'a>(&'a self, list: &'a List) -> Answering<'a, Listed> {
        self.lists.lock().unwrap().push((list.list.clone(), list.entries.clone()));
        let shown = list.entries.iter().map(|entry| entry.starts_with('a')).collect();
        let answer = match self.refuses {
            Some(status) => {
                let answer = Some(v1::Answer { status, headers: Vec::new(), body: Vec::new() });
                let refused = v1::ListResponse { answer, ..v1::ListResponse::default() };
                list.read(refused).map_err(|unreadable: wire::Unreadable| unreadable.of("test"))
            }
            None => Ok(Listed::Shown(shown)),
        };
        Box::pin(async move { if self.without == Without::Lists { silent() } else { answer } })
    }

    fn bind<'a>(&'a self, bind: &'a Bind) -> Answering<'a, Option<String>> {
        let bound = format!("bound.{}.{}", bind.tool, bind.id);
        Box::pin(async move {
            if self.without == Without::Handles {
                silent()
            } else {
                Ok((bind.id != "unbindable").then_some(bound))
            }
        })
    }
}

/// What a server answers: media type, body, and more headers.
#[derive(Debug, Clone)]
struct Says(&'static str, String, Vec<(&'static str, &'static str)>);

type Server = tower::util::BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

fn server(says: Says, seen: Arc<Mutex<Vec<Request<()>>>>) -> Server {
    let answer = move |request: Request<Body>| -> BoxFuture<'static, Result<Response<Body>, Infallible>> {
        let (parts, _body) = request.into_parts();
        seen.lock().unwrap().push(Request::from_parts(parts, ()));
        let Says(kind, body, headers) = says.clone();
        Box::pin(async move {
            let mut response = Response::new(Body::full(body));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            for (name, value) in headers {
                response.headers_mut().append(name, HeaderValue::from_static(value));
            }
            Ok(response)
        })
    };
    Server::new(service_fn(answer))
}

/// A request through the layer: the answer with its body, and what reached the server.
async fn ask(point: &Arc<Point>, says: Says, request: Request<Body>) -> (Response<String>, Vec<Request<()>>) {
    let seen = Arc::default();
    let guarded =
        PalisadeLayer::with(Arc::clone(point) as Arc<dyn GatewayPoint>, "files", Settings::default())
            .layer(server(says, Arc::clone(&seen)));
    let response = guarded.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.whole(1 << 20).await.unwrap_or_default();
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    (Response::from_parts(parts, String::from_utf8(body.to_vec()).unwrap()), seen)
}

fn post(body: &Value) -> Request<Body> {
    let request = Request::post("https://mcp.example.com/files").header("authorization", "Bearer secret");
    request.body(Body::full(body.to_string())).unwrap()
}

fn rpc(id: Value, method: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": {} })
}

fn tools(id: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": { "tools": [{ "name": "a1" }, { "name": "b" }, {}, { "name": "a2" }] } })
}

fn json_of(says: &Value) -> Says {
    Says("application/json", says.to_string(), Vec::new())
}

#[tokio::test]
async fn a_request_goes_on_as_it_is_permitted_and_else_not_at_all() {
    let point = Arc::new(Point::default());
    let call = rpc(json!(1), "ping");
    let (answer, seen) = ask(&point, json_of(&json!({ "result": {} })), post(&call)).await;
    assert_eq!((answer.status(), seen.len()), (StatusCode::OK, 1));
    assert!(seen[0].headers().get("authorization").is_none());
    assert_eq!(seen[0].headers()["x-palisade-subject"], "alice");
    assert_eq!(seen[0].extensions().get::<Caller>().unwrap().subject, "User::\"corp/alice\"");
    assert_eq!(
        (&answer.headers()["x-palisade-decision-id"], &answer.headers()["vary"]),
        (&"d".parse().unwrap(), &"Origin".parse().unwrap())
    );
    for (point, status) in [
        (Point { denies: true, ..Point::default() }, StatusCode::FORBIDDEN),
        (Point { silent: true, ..Point::default() }, StatusCode::SERVICE_UNAVAILABLE),
    ] {
        let (answer, seen) = ask(&Arc::new(point), json_of(&json!({})), post(&call)).await;
        assert_eq!((answer.status(), seen.len()), (status, 0));
    }
    // No client can name what the server must get as its connection's own.
    let mut named = post(&call);
    named.headers_mut().insert("connection", HeaderValue::from_static("close, X-Palisade-Subject, x-own"));
    named.headers_mut().insert("x-own", HeaderValue::from_static("1"));
    let (_, seen) = ask(&point, json_of(&json!({ "result": {} })), named).await;
    assert_eq!(seen[0].headers()["x-palisade-subject"], "alice");
    assert!(!seen[0].headers().contains_key("connection") && !seen[0].headers().contains_key("x-own"));
    let large = Request::post("https://mcp.example.com/files").body(Body::full(vec![b' '; 2 << 20])).unwrap();
    assert_eq!(ask(&point, json_of(&json!({})), large).await.0.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_request_whose_path_holds_a_token_goes_on_by_the_path_that_is_said() {
    let point = Arc::new(Point::default());
    for (uri, on) in [
        ("https://mcp.example.com/files/t-secret?x=1", "https://mcp.example.com/mcp?x=1"),
        ("/files/t-secret?x=1", "/mcp?x=1"),
    ] {
        let mut request = post(&rpc(json!(1), "ping"));
        *request.uri_mut() = uri.parse().unwrap();
        let (_, seen) = ask(&point, json_of(&json!({ "result": {} })), request).await;
        assert_eq!(seen[0].uri(), on);
    }
}

#[tokio::test]
async fn lists_are_cut_in_json_in_batches_and_in_streams() {
    let point = Arc::new(Point::default());
    let (answer, _) = ask(&point, json_of(&tools(json!(1))), post(&rpc(json!(1), "tools/list"))).await;
    let cut: Value = serde_json::from_str(answer.body()).unwrap();
    assert_eq!(cut["result"]["tools"], json!([{ "name": "a1" }, { "name": "a2" }]));
    assert_eq!(answer.headers()["content-length"], answer.body().len().to_string());
    assert_eq!(answer.headers()["cache-control"], "private, no-store");
    assert_eq!(
        *point.lists.lock().unwrap(),
        [("tools/list".to_owned(), vec!["a1".to_owned(), "b".to_owned(), "a2".to_owned()])]
    );

    let batch = json!([rpc(json!("x"), "tools/list"), rpc(json!(2), "ping")]);
    let says =
        json!([{ "jsonrpc": "2.0", "id": 2, "result": { "tools": [{ "name": "b" }] } }, tools(json!("x"))]);
    let (answer, _) = ask(&point, json_of(&says), post(&batch)).await;
    let cut: Value = serde_json::from_str(answer.body()).unwrap();
    assert_eq!(cut[1]["result"]["tools"], json!([{ "name": "a1" }, { "name": "a2" }]));
    // Whatever has the form of a list is one.
    assert_eq!(cut[0]["result"]["tools"], json!([]));

    let events = format!(
        ": ping\n\nid: 1\nevent: message\ndata: {}\n\ndata: {{\"method\":\"x\"}}\n\n",
        tools(json!(1))
    );
    let (answer, _) =
        ask(&point, Says("text/event-stream", events, Vec::new()), post(&rpc(json!(1), "tools/list"))).await;
    assert!(answer.body().starts_with(": ping\n\nid: 1\nevent: message\ndata: {"), "{}", answer.body());
    assert!(answer.body().ends_with("data: {\"method\":\"x\"}\n\n"));
    assert!(!answer.body().contains("\"b\"") && answer.body().contains("a2"));

    // A stream beside may repeat answers to whatever was asked.
    let get = Request::get("https://mcp.example.com/files").header("accept", "Text/Event-Stream");
    let replay = format!("data: {}\n\n", tools(json!(77)));
    let (answer, seen) =
        ask(&point, Says("text/event-stream", replay, Vec::new()), get.body(Body::full("")).unwrap()).await;
    assert!(!answer.body().contains("\"b\"") && answer.body().contains("a2"));
    assert_eq!(seen[0].headers()["accept-encoding"], "identity");
}

#[tokio::test]
async fn a_list_that_cannot_be_cut_is_withheld() {
    let list = rpc(json!(1), "tools/list");
    let whole = tools(json!(1)).to_string();
    let point = Arc::new(Point::default());
    for says in [
        Says("text/plain", whole.clone(), Vec::new()),
        Says("application/json", whole.clone(), vec![("content-encoding", "gzip")]),
    ] {
        let (answer, _) = ask(&point, says, post(&list)).await;
        assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
        assert!(!answer.body().contains("a1"));
    }
    // What is no JSON to us may be some to others.
    for spoiled in
        [whole.replace("a1", "\\ud83d"), format!("\u{feff}{whole}"), whole.replace("{}", "{\"n\": 1e999}")]
    {
        let (answer, _) =
            ask(&point, Says("application/json", spoiled.clone(), Vec::new()), post(&list)).await;
        assert!(!answer.body().contains("\"b\""), "{}", answer.body());
        let events = format!("data: {spoiled}\n\n");
        let (answer, _) = ask(&point, Says("text/event-stream", events, Vec::new()), post(&list)).await;
        assert!(!answer.body().contains("\"b\""), "{}", answer.body());
    }
    let marked = format!("\u{feff}data: {whole}\n\n");
    let (answer, _) = ask(&point, Says("text/event-stream", marked, Vec::new()), post(&list)).await;
    assert!(!answer.body().contains("\"b\""), "{}", answer.body());
    let other_id = tools(json!("1")).to_string();
    let (answer, _) = ask(&point, Says("application/json", other_id, Vec::new()), post(&list)).await;
    assert!(!answer.body().contains("\"b\""), "{}", answer.body());
    let mute = Arc::new(Point { without: Without::Lists, ..Point::default() });
    let (answer, _) = ask(&mute, json_of(&tools(json!(1))), post(&list)).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let events = format!("data: {whole}\n\n");
    let (answer, _) = ask(&mute, Says("text/event-stream", events, Vec::new()), post(&list)).await;
    assert!(answer.body().contains("-32603") && !answer.body().contains("a1"), "{}", answer.body());
    // An escape hides no member.
    let escaped = whole.replace("result", "re\\u0073ult").replace("tools", "t\\u006fols");
    let (answer, _) = ask(&point, Says("application/json", escaped, Vec::new()), post(&list)).await;
    assert!(!answer.body().contains("\"b\"") && answer.body().contains("a1"), "{}", answer.body());
}

#[tokio::test]
async fn sessions_and_tasks_are_bound_on_their_way_out() {
    let point = Arc::new(Point::default());
    let says = |body: Value, session: &'static str| {
        Says("application/json", body.to_string(), vec![("mcp-session-id", session)])
    };
    let call =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "t", "task": {} } });
    let made = json!({ "jsonrpc": "2.0", "id": 1, "result": { "task": { "taskId": "7" },
        "_meta": { "io.modelcontextprotocol/related-task": { "taskId": "7" } } } });
    let (answer, _) = ask(&point, says(made.clone(), "s"), post(&call)).await;
    assert_eq!(answer.headers()["mcp-session-id"], "bound..s");
    let bound: Value = serde_json::from_str(answer.body()).unwrap();
    assert_eq!(bound["result"]["task"]["taskId"], "bound.t.7");
    assert_eq!(bound["result"]["_meta"]["io.modelcontextprotocol/related-task"]["taskId"], "bound.t.7");
    let (answer, _) = ask(&point, says(made, "unbindable"), post(&call)).await;
    assert_eq!(
        (answer.status(), answer.headers().get("mcp-session-id")),
        (StatusCode::SERVICE_UNAVAILABLE, None)
    );
    let unbindable =
        json!({ "jsonrpc": "2.0", "id": 1, "result": { "resultType": "task", "taskId": "unbindable" } });
    let (answer, _) = ask(&point, json_of(&unbindable), post(&call)).await;
    assert!(answer.status() == StatusCode::SERVICE_UNAVAILABLE && !answer.body().contains("unbindable"));
    // Whose tasks they are, nobody knows.
    let listed = json!({ "jsonrpc": "2.0", "id": 1, "result": { "tasks": [{ "taskId": "7" }] } });
    let (answer, _) = ask(&point, json_of(&listed), post(&rpc(json!(1), "tasks/list"))).await;
    let listed: Value = serde_json::from_str(answer.body()).unwrap();
    assert_eq!(listed["result"]["tasks"], json!([]));
}

#[tokio::test]
async fn who_listens_for_a_task_hears_of_it_by_its_handle_and_of_no_other() {
    let point = Arc::new(Point::default());
    let handle = format!("{}.{}.7", "0".repeat(32), "74");
    let listen = json!({ "jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen",
        "params": { "notifications": { "taskIds": [handle] } } });
    let event = |method: &str, params: Value| {
        format!("data: {}\n\n", json!({ "jsonrpc": "2.0", "method": method, "params": params }))
    };
    let acknowledged = json!({ "notifications": { "taskIds": ["7", "8"], "toolsListChanged": true } });
    let events = event("notifications/subscriptions/acknowledged", acknowledged)
        + &event("notifications/tasks", json!({ "taskId": "7", "status": "working" }))
        + &event("notifications/tasks", json!({ "taskId": "8", "status": "working" }))
        + &event("notifications/tools/list_changed", json!({}));
    let (answer, _) = ask(&point, Says("text/event-stream", events, Vec::new()), post(&listen)).await;
    let heard: Vec<Value> = answer
        .body()
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .collect();
    assert_eq!(heard.len(), 3, "{heard:?}");
    assert_eq!(
        heard[0]["params"]["notifications"],
        json!({ "taskIds": ["bound.t.7"], "toolsListChanged": true })
    );
    assert_eq!(heard[1]["params"]["taskId"], "bound.t.7");
    assert_eq!(heard[2]["method"], "notifications/tools/list_changed");
}

/// The messages of a stream that is an answer to this request.
async fn heard(point: &Arc<Point>, request: Request<Body>, messages: &[Value]) -> Vec<Value> {
    let events: String = messages.iter().map(|message| format!("data: {message}\n\n")).collect();
    let (answer, _) = ask(point, Says("text/event-stream", events, Vec::new()), request).await;
    let data = answer.body().lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn stream() -> Request<Body> {
    let get = Request::get("https://mcp.example.com/files").header("accept", "text/event-stream");
    get.body(Body::full("")).unwrap()
}

fn notification(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

#[tokio::test]
async fn what_may_not_be_told_is_an_error_where_it_answers_and_else_is_left_out() {
    let point = Arc::new(Point::default());
    // A request of the server with a task that nobody knows is not answered in its client's place.
    let asked = json!({ "jsonrpc": "2.0", "id": 9, "method": "elicitation/create",
        "params": { "_meta": { "io.modelcontextprotocol/related-task": { "taskId": "strange" } } } });
    let log = notification("notifications/message", json!({ "level": "info", "data": "task" }));
    assert_eq!(heard(&point, stream(), &[asked.clone(), log.clone()]).await, std::slice::from_ref(&log));
    let answer = json!({ "jsonrpc": "2.0", "id": 3, "result": { "taskId": "strange" } });
    let refused = heard(&point, stream(), std::slice::from_ref(&answer)).await;
    assert_eq!((&refused[0]["id"], &refused[0]["error"]["code"]), (&json!(3), &json!(-32_603)));
    // Of several in one event each is told for itself.
    let batch = heard(&point, stream(), &[json!([asked, log, answer, [tools(json!(1))]])]).await;
    let batch = batch[0].as_array().unwrap();
    assert_eq!((batch.len(), &batch[0]), (2, &log));
    assert_eq!((&batch[1]["id"], &batch[1]["error"]["code"]), (&json!(3), &json!(-32_603)));
    assert!(heard(&point, stream(), &[json!([asked])]).await.is_empty());
    // So it is where they are one body.
    let call = |id: u32| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": "t", "task": {} } });
    let made =
        |id: u32, task: &str| json!({ "jsonrpc": "2.0", "id": id, "result": { "task": { "taskId": task } } });
    let says = json_of(&json!([made(1, "unbindable"), made(2, "7")]));
    let (answer, _) = ask(&point, says, post(&json!([call(1), call(2)]))).await;
    let both: Value = serde_json::from_str(answer.body()).unwrap();
    assert_eq!(both[0]["error"]["code"], -32_603);
    assert_eq!(both[1]["result"]["task"]["taskId"], "bound.t.7");
}

#[tokio::test]
async fn a_change_of_a_resource_is_told_to_who_has_subscribed_or_may_read_it() {
    let point = Arc::new(Point::default());
    let updated = |uri: Value| notification("notifications/resources/updated", json!({ "uri": uri }));
    let listen = |uris: Value| {
        let filter = json!({ "resourceSubscriptions": uris, "resourcesListChanged": true });
        post(
            &json!({ "jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": { "notifications": filter } }),
        )
    };
    let acknowledged = notification(
        "notifications/subscriptions/acknowledged",
        json!({ "notifications": { "resourceSubscriptions": ["b", "a-other"], "resourcesListChanged": true } }),
    );
    let changed = notification("notifications/resources/list_changed", json!({}));
    let of_other = notification("notifications/resources/list_changed", json!({ "uri": "a-other" }));
    let escaped = "notifications/resources/updated".replace("res", "r\\u0065s");
    let spelt = format!("data: {{\"method\":\"{escaped}\",\"params\":{{\"uri\":\"a-other\"}}}}\n\n");
    let messages = [
        acknowledged,
        updated(json!("b")),
        updated(json!("a-other")),
        updated(json!(["b"])),
        notification("notifications/resources/updated", json!({})),
        of_other,
        changed.clone(),
        json!([updated(json!("a-other")), updated(json!("b"))]),
    ];
    let told = heard(&point, listen(json!(["b"])), &messages).await;
    assert_eq!(told.len(), 4, "{told:?}");
    assert_eq!(told[0]["params"]["notifications"]["resourceSubscriptions"], json!(["b"]));
    assert_eq!(told[1..], [updated(json!("b")), changed, json!([updated(json!("b"))])]);
    let (answer, _) = ask(&point, Says("text/event-stream", spelt, Vec::new()), listen(json!(["b"]))).await;
    assert_eq!(answer.body(), "");
    assert!(heard(&point, listen(json!([])), &[updated(json!("b"))]).await.is_empty());
    // A stream beside the requests does not say what was subscribed: its client hears of what it may read.
    let (may, may_not) = (updated(json!("a1")), updated(json!("b")));
    let told = heard(&point, stream(), &[may.clone(), may_not, may.clone()]).await;
    assert_eq!(told, [may.clone(), may.clone()]);
    let asked = point.lists.lock().unwrap().clone();
    assert_eq!(asked.len(), 2, "each is asked about once in a while: {asked:?}");
    assert!(asked.iter().all(|(list, _)| list == "resources/read"));
    let mute = Arc::new(Point { without: Without::Lists, ..Point::default() });
    assert!(heard(&mute, stream(), &[may]).await.is_empty());
}

#[tokio::test]
async fn a_stream_that_tells_of_more_resources_than_are_asked_about_ends() {
    let point = Arc::new(Point::default());
    let updated = |number: usize| {
        notification("notifications/resources/updated", json!({ "uri": format!("a{number}") }))
    };
    let messages: Vec<Value> = (0..=crate::readable::MOST)
        .map(updated)
        .chain([notification("notifications/message", json!({ "level": "info", "data": "later" }))])
        .collect();
    // Its client would take what is left out for what has not happened.
    let told = heard(&point, stream(), &messages).await;
    assert_eq!(told, messages[..crate::readable::MOST]);
}

#[tokio::test]
async fn a_stream_ends_whose_beginning_cannot_be_told() {
    let handle = |id: &str| format!("{}.{}.{id}", "0".repeat(32), "74");
    let listen = |id: &str| {
        let filter = json!({ "taskIds": [handle(id)], "toolsListChanged": true });
        post(
            &json!({ "jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": { "notifications": filter } }),
        )
    };
    let acknowledged = |id: &str| {
        notification(
            "notifications/subscriptions/acknowledged",
            json!({ "notifications": { "taskIds": [id] } }),
        )
    };
    let changed = notification("notifications/tools/list_changed", json!({}));
    let told = |point: Point, id: &'static str, first: Value| {
        let (point, listen, changed) = (Arc::new(point), listen(id), changed.clone());
        async move { heard(&point, listen, &[first, changed]).await }
    };
    assert_eq!(told(Point::default(), "7", acknowledged("7")).await.len(), 2);
    let silent = || Point { without: Without::Handles, ..Point::default() };
    for (point, id) in [(silent(), "7"), (Point::default(), "unbindable")] {
        assert!(told(point, id, acknowledged(id)).await.is_empty(), "{id}");
    }
    let told_batch = told(silent(), "7", json!([changed, acknowledged("7")])).await;
    assert!(told_batch.is_empty(), "{told_batch:?}");
    // What is told of a task is missed, too.
    let status = notification("notifications/tasks", json!({ "taskId": "7", "status": "working" }));
    assert!(told(silent(), "7", status).await.is_empty());
}

#[tokio::test]
async fn the_metadata_document_is_told_at_its_path_and_nowhere_else() {
    let point = Arc::new(Point::default());
    let get = |path: &str| Request::get(path.to_owned()).body(Body::full("")).unwrap();
    let (answer, seen) =
        ask(&point, json_of(&json!({})), get("/.well-known/oauth-protected-resource/files")).await;
    assert_eq!((answer.status(), answer.body().as_str(), seen.len()), (StatusCode::OK, "{}", 0));
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    let (answer, _) = ask(&point, json_of(&json!({})), get("/.well-known/oauth-protected-resource")).await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}
