//! What a client could read otherwise is not told, and what nobody has decided about is not missed in silence.

use super::*;

/// Messages in which a client could find what was not looked at.
const TWICE: [&str; 6] = [
    r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"secret"}]},"result":{}}"#,
    r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"secret"}],"tools":0}}"#,
    r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"secret","n\u0061me":"a"}]}}"#,
    r#"{"jsonrpc":"2.0","id":1,"re\u0073ult":{"tools":[{"name":"secret"}]},"result":0}"#,
    r#"{"jsonrpc":"2.0","id":1,"result":{"$serde_json::private::RawValue":"{\"tools\":[{\"name\":\"secret\"}]}"}}"#,
    r#"[{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"secret"}],"tools":0}}]"#,
];

async fn told(
    point: &Arc<Point>,
    kind: &'static str,
    body: &str,
    request: Request<Body>,
) -> (StatusCode, String) {
    let (answer, _) = ask(point, Says(kind, body.to_owned(), Vec::new()), request).await;
    (answer.status(), answer.into_body())
}

#[tokio::test]
async fn what_has_two_readings_is_told_in_none() {
    let point = Arc::new(Point::default());
    let task =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "t", "task": {} } });
    let made = r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"secret"},"task":0}}"#;
    let list = rpc(json!(1), "tools/list");
    for (message, request) in TWICE.iter().map(|message| (*message, &list)).chain([(made, &task)]) {
        let (status, body) = told(&point, "application/json", message, post(request)).await;
        assert_eq!((status, body.contains("secret")), (StatusCode::BAD_GATEWAY, false), "{message}: {body}");
        let events = format!("data: {message}\n\n");
        let (_, body) = told(&point, "text/event-stream", &events, post(request)).await;
        assert!(!body.contains("secret"), "{message}: {body}");
    }
    let updated = r#"{"method":"notifications/resources/updated","params":{"uri":"secret"},"method":"notifications/message"}"#;
    let (_, body) = told(&point, "text/event-stream", &format!("data: {updated}\n\n"), stream()).await;
    assert_eq!(body, "");
}

#[tokio::test]
async fn what_is_withheld_of_a_list_that_was_not_read_whole_is_an_error_all_the_same() {
    let whole = tools(json!(1)).to_string();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for entry in ["\"\\ud83d\"", "1e999", &deep] {
        let request = post(&rpc(json!(1), "tools/list"));
        let spoiled = whole.replace("{}", &format!("{{\"n\":{entry}}}"));
        let mute = Arc::new(Point { without: Without::Lists, ..Point::default() });
        let (_, body) = told(&mute, "text/event-stream", &format!("data: {spoiled}\n\n"), request).await;
        let error: Value = serde_json::from_str(body.trim().strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!((&error["id"], &error["error"]["code"]), (&json!(1), &json!(-32_603)), "{body}");
    }
}

#[tokio::test]
async fn a_stream_ends_with_what_cannot_be_read_where_something_is_listened_for() {
    let point = Arc::new(Point::default());
    let log = notification("notifications/message", json!({ "data": "after" }));
    for lost in ["{\"method\":\"notifications/resources/updated\"", "{\"resource\":\"\\ud83d\"}"] {
        let events = format!("data: {lost}\n\ndata: {log}\n\n");
        let filter = json!({ "resourceSubscriptions": ["a"] });
        let listen = json!({ "jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": { "notifications": filter } });
        for request in [stream(), post(&listen)] {
            assert_eq!(told(&point, "text/event-stream", &events, request).await.1, "", "{lost}");
        }
        // One that answers goes on.
        let list = post(&rpc(json!(1), "tools/list"));
        assert!(told(&point, "text/event-stream", &events, list).await.1.contains("after"), "{lost}");
    }
}

fn updated(uri: &str) -> Value {
    notification("notifications/resources/updated", json!({ "uri": uri }))
}

#[tokio::test]
async fn a_stream_ends_where_the_decision_point_refuses_because_it_fails() {
    let log = notification("notifications/message", json!({}));
    for (status, ends) in [(503, true), (500, true), (429, true), (403, false), (401, false)] {
        let point = Arc::new(Point { refuses: Some(status), ..Point::default() });
        let heard = heard(&point, stream(), &[updated("a1"), log.clone()]).await;
        assert_eq!(heard, if ends { Vec::new() } else { vec![log.clone()] }, "{status}");
    }
}

#[tokio::test]
async fn a_stream_ends_that_tells_of_more_resources_than_are_asked_about() {
    let point = Arc::new(Point::default());
    let many: Vec<Value> = (0..200).map(|number| updated(&format!("a{}", number / 2))).collect();
    let told = heard(&point, stream(), &many).await;
    let asked = point.lists.lock().unwrap().clone();
    assert_eq!((told.len(), asked.len()), (128, 64));
    assert!(asked.iter().all(|(list, entries)| list == "resources/read" && entries.len() == 1));
}
