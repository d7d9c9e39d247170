//! HTTP requests, lists and handles.

use std::collections::BTreeSet;

use palisade_proto::v1::{
    BindRequest, CheckRequest, CheckResponse, DescribeRequest, Handle, Header, HttpRequest, ListRequest,
    ListResponse, Outcome, gateways_server::Gateways as _,
};
use serde_json::{Value, json};

use super::fixture::*;

const TASK: &str = "task-1";

fn headers(pairs: &[(&str, &str)]) -> Vec<Header> {
    let header =
        |(name, value): &(&str, &str)| Header { name: (*name).to_owned(), value: value.as_bytes().to_vec() };
    pairs.iter().map(header).collect()
}

/// A POST to `files` with this token and these headers beside.
fn post(token: &str, more: &[(&str, &str)]) -> HttpRequest {
    let bearer = format!("Bearer {token}");
    let mut all = headers(&[("authorization", &bearer), ("content-type", "application/json")]);
    all.extend(headers(more));
    HttpRequest {
        method: "POST".to_owned(),
        scheme: "https".to_owned(),
        host: "files.example.com".to_owned(),
        path: "/mcp".to_owned(),
        headers: all,
        client_address: String::new(),
    }
}

async fn check(fixture: &Fixture, request: HttpRequest, body: &Value) -> CheckResponse {
    let asked = CheckRequest {
        resource: "files".to_owned(),
        request: Some(request),
        body: Some(body.to_string().into_bytes()),
        truncated: false,
        rewrites_path: false,
        cuts_operations: false,
        answers_operations: false,
    };
    fixture.api().check(call("gate", asked)).await.unwrap().into_inner()
}

async fn list(fixture: &Fixture, by: &str, token: &str, entries: &[&str]) -> ListResponse {
    list_of("tools/list", fixture, by, token, entries).await
}

async fn list_of(list: &str, fixture: &Fixture, by: &str, token: &str, entries: &[&str]) -> ListResponse {
    let asked = ListRequest {
        resource: "files".to_owned(),
        request: Some(post(token, &[])),
        list: list.to_owned(),
        entries: entries.iter().map(|entry| (*entry).to_owned()).collect(),
    };
    fixture.api().list(call(by, asked)).await.unwrap().into_inner()
}

async fn bind(fixture: &Fixture, ticket: &str, handle: Handle, tool: &str) -> String {
    let asked = BindRequest {
        resource: "files".to_owned(),
        ticket: ticket.to_owned(),
        handle: handle.into(),
        id: TASK.to_owned(),
        tool: tool.to_owned(),
    };
    fixture.api().bind(call("gate", asked)).await.unwrap().into_inner().id
}

fn rpc(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

/// The status and the reason of a request that does not go on.
fn told(answer: &CheckResponse) -> (u32, &str) {
    assert!(answer.passage.is_none() && answer.subject.is_none() && answer.ticket.is_empty(), "{answer:?}");
    (answer.answer.as_ref().unwrap().status, &answer.reason)
}

#[tokio::test]
async fn a_list_shows_what_a_call_would_permit_or_challenge_and_nothing_else() {
    let fixture = Fixture::new();
    for scopes in ["", "files:read", "files:delete", "files:read files:delete"] {
        let token = token("files", scopes);
        let entries = ["list_files", "delete_file", "wipe", "old_tool", "pay", "unheard-of"];
        let shown = list(&fixture, "gate", &token, &entries).await;
        assert_eq!(shown.outcome(), Outcome::Permit, "{shown:?}");
        let shown: BTreeSet<usize> = shown.shown.iter().map(|place| *place as usize).collect();
        for (place, tool) in entries.iter().enumerate() {
            let paying = json!({ "name": tool, "arguments": { "n": 9_007_199_254_740_993_i64 } });
            let called = check(&fixture, post(&token, &[]), &rpc("tools/call", paying)).await;
            let reachable = matches!(called.outcome(), Outcome::Permit | Outcome::StepUp);
            assert_eq!(shown.contains(&place), reachable, "{tool} with `{scopes}`: {called:?}");
        }
    }
    let records = fixture.recorded().await;
    let record = records.iter().find(|record| record.found.is_some()).unwrap();
    assert_eq!(record.items.len() as u64, record.found.unwrap());
    assert_eq!(record.action.as_deref(), Some(r#"Mcp::Action::"tools/list""#));
}

#[tokio::test]
async fn what_may_be_read_now_is_what_a_read_would_be_permitted_whoever_may_list() {
    let fixture = Fixture::new();
    let uris = ["file:///open/a", "file:///pay"];
    for (scopes, shown) in [("files:read", [0].as_slice()), ("", &[])] {
        let token = token("files", scopes);
        let answer = list_of("resources/read", &fixture, "gate", &token, &uris).await;
        assert_eq!((answer.outcome(), answer.shown.as_slice()), (Outcome::Permit, shown), "{scopes}");
        for (place, uri) in (0..).zip(uris) {
            let read =
                check(&fixture, post(&token, &[]), &rpc("resources/read", json!({ "uri": uri }))).await;
            assert_eq!(read.outcome() == Outcome::Permit, shown.contains(&place), "{uri}: {read:?}");
        }
        let listed = list_of("resources/list", &fixture, "gate", &token, &uris).await;
        assert_eq!((listed.outcome(), listed.shown.len()), (Outcome::Deny, 0));
    }
    let records = fixture.recorded().await;
    let record = records.iter().find(|record| record.found.is_some()).unwrap();
    assert_eq!(record.action.as_deref(), Some(r#"Mcp::Action::"resources/read""#));
}

#[tokio::test]
async fn a_list_is_refused_whole_where_its_reader_or_its_caller_may_not_have_it() {
    let fixture = Fixture::new();
    let own = token("files", "files:read");
    for (by, token, reason) in [
        ("gate", token("watched", "files:read"), "token_audience_mismatch"),
        ("proxy", own.clone(), "pep_not_allowed"),
        ("", own.clone(), "pep_unauthenticated"),
    ] {
        let answer = list(&fixture, by, &token, &["list_files"]).await;
        assert_eq!((answer.outcome(), answer.reason.as_str()), (Outcome::Deny, reason), "{by}");
        assert!(answer.shown.is_empty() && answer.answer.unwrap().status >= 400);
    }
    let unknown = ListRequest { list: "tools/call".to_owned(), ..ListRequest::default() };
    let answer = fixture.api().list(call("gate", unknown)).await.unwrap().into_inner();
    assert_eq!((answer.outcome(), answer.shown.len()), (Outcome::Deny, 0));
    fixture.close_log().await;
    let answer = list(&fixture, "gate", &own, &["list_files"]).await;
    assert_eq!((answer.outcome(), answer.reason.as_str()), (Outcome::Deny, "audit_unavailable"));
}

#[tokio::test]
async fn a_request_goes_on_without_its_token_and_only_from_its_own_place() {
    let fixture = Fixture::new();
    let token = token("files", "files:read");
    let call = rpc("tools/call", json!({ "name": "list_files" }));
    let spoofed = post(&token, &[("x-palisade-subject", "User::\"corp/root\""), ("x_palisade_scopes", "x")]);
    let answer = check(&fixture, spoofed, &call).await;
    assert_eq!(answer.outcome(), Outcome::Permit);
    let passage = answer.passage.unwrap();
    for name in ["authorization", "x_palisade_scopes"] {
        assert!(passage.remove.iter().any(|removed| removed == name), "{name}: {passage:?}");
    }
    let subject = passage.set.iter().find(|header| header.name == "x-palisade-subject").unwrap();
    assert_eq!(subject.value, b"User::\"corp/alice\"");
    assert!(answer.expires_at.is_some() && passage.body.is_none());

    let elsewhere = HttpRequest { host: "evil.example".to_owned(), ..post(&token, &[]) };
    assert_eq!(told(&check(&fixture, elsewhere, &call).await), (404, "resource_unknown"));
    let page = post(&token, &[("origin", "https://evil.example")]);
    assert_eq!(told(&check(&fixture, page, &call).await), (403, "forbidden"));
    let own = post(&token, &[("origin", "https://files.example.com")]);
    assert_eq!(check(&fixture, own, &call).await.outcome(), Outcome::Permit);
    let nothing = CheckRequest { resource: "files".to_owned(), ..CheckRequest::default() };
    let answer = fixture.api().check(super::fixture::call("gate", nothing)).await.unwrap().into_inner();
    assert_eq!(told(&answer).0, 404);
}

#[tokio::test]
async fn a_handle_is_bound_to_whom_a_ticket_names_and_to_nobody_else() {
    let fixture = Fixture::new();
    let alice = token("files", "files:read");
    let bob = signed(&json!({
        "iss": "https://login.example.com", "sub": "bob", "aud": identifier("files"), "client_id": "app",
        "jti": "t2", "iat": NOW - 60, "exp": NOW + 600, "scope": "files:read"
    }));
    let call = rpc("tools/call", json!({ "name": "list_files" }));
    let ticket = check(&fixture, post(&alice, &[]), &call).await.ticket;
    for forged in ["", "User::\"corp/alice\"", &ticket.replace("alice", "bob"), &format!("0{ticket}")] {
        assert_eq!(bind(&fixture, forged, Handle::Session, "").await, "", "{forged}");
    }
    let session = bind(&fixture, &ticket, Handle::Session, "").await;
    let with = |token: &str, session: &str| post(token, &[("mcp-session-id", session)]);
    let answer = check(&fixture, with(&alice, &session), &call).await;
    let set = answer.passage.unwrap().set;
    assert!(set.iter().any(|header| header.name == "mcp-session-id" && header.value == TASK.as_bytes()));
    // Neither another's, nor the server's own, nor a task's.
    let task = bind(&fixture, &ticket, Handle::Task, "list_files").await;
    for (token, session) in [(&bob, session.as_str()), (&alice, TASK), (&alice, task.as_str()), (&alice, "")]
    {
        let answer = check(&fixture, with(token, session), &call).await;
        assert_eq!(told(&answer), (404, "session_mismatch"), "{session}");
    }

    let get = |task: &str| rpc("tasks/get", json!({ "taskId": task }));
    let answer = check(&fixture, post(&alice, &[("mcp-name", &task)]), &get(&task)).await;
    let passage = answer.passage.unwrap();
    let body: Value = serde_json::from_slice(&passage.body.unwrap()).unwrap();
    assert_eq!(body["params"]["taskId"], TASK);
    assert!(passage.set.iter().any(|header| header.name == "mcp-name" && header.value == TASK.as_bytes()));
    // What names a tool stays the tool's name, whatever task the call belongs to; and there is one name.
    let related = json!({ "io.modelcontextprotocol/related-task": { "taskId": task } });
    let within = rpc("tools/call", json!({ "name": "list_files", "_meta": related }));
    let passage =
        check(&fixture, post(&alice, &[("mcp-name", "list_files")]), &within).await.passage.unwrap();
    assert!(passage.body.is_some() && passage.set.iter().all(|header| header.name != "mcp-name"));
    let both = rpc("tasks/get", json!({ "taskId": task, "_meta": related }));
    let passage = check(&fixture, post(&alice, &[("mcp-name", &task)]), &both).await.passage.unwrap();
    assert_eq!(passage.set.iter().filter(|header| header.name == "mcp-name").count(), 1);
    let doubled = post(&alice, &[("mcp-name", &task), ("mcp-name", &task)]);
    assert_eq!(told(&check(&fixture, doubled, &get(&task)).await).1, "header_mismatch");
    for (token, task) in [(&bob, task.as_str()), (&alice, TASK), (&alice, session.as_str())] {
        assert_eq!(told(&check(&fixture, post(token, &[]), &get(task)).await), (404, "session_mismatch"));
    }
    // Policies decide on the tool that made the task.
    let of_other = bind(&fixture, &ticket, Handle::Task, "old_tool").await;
    assert_eq!(told(&check(&fixture, post(&alice, &[]), &get(&of_other)).await), (403, "no_permit"));
}

#[tokio::test]
async fn a_subscription_is_decided_on_with_each_thing_that_it_names() {
    let fixture = Fixture::new();
    let alice = token("files", "files:read");
    let call = rpc("tools/call", json!({ "name": "list_files" }));
    let ticket = check(&fixture, post(&alice, &[]), &call).await.ticket;
    let (own, of_other) = (
        bind(&fixture, &ticket, Handle::Task, "list_files").await,
        bind(&fixture, &ticket, Handle::Task, "old_tool").await,
    );
    let listen = |resources: &[&str], tasks: &[&str]| {
        let filter =
            json!({ "toolsListChanged": true, "resourceSubscriptions": resources, "taskIds": tasks });
        rpc("subscriptions/listen", json!({ "notifications": filter }))
    };
    let answer = check(&fixture, post(&alice, &[]), &listen(&["file:///open/a"], &[&own, &own])).await;
    let body: Value = serde_json::from_slice(&answer.passage.unwrap().body.unwrap()).unwrap();
    assert_eq!(body["params"]["notifications"]["taskIds"], json!([TASK, TASK]));
    assert_eq!(body["params"]["notifications"]["resourceSubscriptions"], json!(["file:///open/a"]));
    // One that is denied is a denial of all: nobody listens for less than they believe.
    for (resources, tasks, expected) in [
        (&["file:///open/a", "file:///shut"][..], &[own.as_str()][..], (403, "no_permit")),
        (&["file:///open/a"], &[own.as_str(), of_other.as_str()], (403, "no_permit")),
        (&[], &[own.as_str(), TASK], (404, "session_mismatch")),
    ] {
        let answer = check(&fixture, post(&alice, &[]), &listen(resources, tasks)).await;
        assert_eq!(told(&answer), expected, "{resources:?} {tasks:?}");
    }
    let bob = signed(&json!({
        "iss": "https://login.example.com", "sub": "bob", "aud": identifier("files"), "client_id": "app",
        "jti": "t2", "iat": NOW - 60, "exp": NOW + 600, "scope": "files:read"
    }));
    let answer = check(&fixture, post(&bob, &[]), &listen(&[], &[&own])).await;
    assert_eq!(told(&answer), (404, "session_mismatch"));
    let records = fixture.recorded().await;
    let denied = records.iter().find(|record| record.items.len() == 4).unwrap();
    let targets: Vec<&str> = denied.items.iter().map(|item| item.target.as_str()).collect();
    assert!(targets.contains(&"Mcp::Tool::\"files/list_files\""), "{targets:?}");
}

#[tokio::test]
async fn who_may_not_ask_about_a_resource_is_not_told_what_it_is() {
    let fixture = Fixture::new();
    let describe = |by: &str, resource: &str| {
        let asked = DescribeRequest { resource: resource.to_owned() };
        let asked = call(by, asked);
        let api = fixture.api().clone();
        async move { api.describe(asked).await.unwrap().into_inner() }
    };
    let files = describe("gate", "files").await;
    assert_eq!((files.resource.as_str(), files.policy_revision.as_str()), ("files", "r1"));
    assert_eq!(files.identifier, identifier("files"));
    for (by, resource) in [("proxy", "files"), ("", "files"), ("gate", "unheard-of")] {
        assert!(describe(by, resource).await.resource.is_empty(), "{by} {resource}");
    }
}
