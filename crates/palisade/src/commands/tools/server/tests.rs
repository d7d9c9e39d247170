use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Method},
    response::Response,
};

use super::*;

/// What reached a server: the method, the headers and the body.
type Heard = Arc<Mutex<Vec<(String, HeaderMap, Value)>>>;

/// Starts a server that answers with what `reply` says to a message, by the JSON-RPC method and the message.
async fn server(reply: fn(&str, &HeaderMap, &Value) -> Response<Body>) -> (String, Heard) {
    let heard = Heard::default();
    let kept = Arc::clone(&heard);
    let handler = move |verb: Method, headers: HeaderMap, body: Bytes| {
        let message: Value = serde_json::from_slice(&body).unwrap_or_default();
        let method = message["method"].as_str().unwrap_or(verb.as_str()).to_owned();
        let response = reply(&method, &headers, &message);
        kept.lock().unwrap().push((method, headers, message));
        async { response }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let service = axum::serve(listener, Router::new().fallback(handler)).into_future();
    drop(tokio::spawn(service));
    (url, heard)
}

fn whole(status: u16, body: &Value) -> Response<Body> {
    let response =
        Response::builder().status(status).header("content-type", "application/json; charset=utf-8");
    response.body(Body::from(body.to_string())).unwrap()
}

fn result(message: &Value, result: &Value) -> Response<Body> {
    whole(200, &json!({"jsonrpc": "2.0", "id": message["id"], "result": result}))
}

fn empty(status: u16) -> Response<Body> {
    Response::builder().status(status).body(Body::empty()).unwrap()
}

async fn ask(url: &str) -> Result<Vec<Value>, ListError> {
    list(url, None, Duration::from_secs(5), |_| {}).await
}

#[tokio::test]
async fn a_stateless_server_is_asked_page_by_page_without_a_greeting() {
    let (url, heard) = server(|_, _, message| match message["params"]["cursor"].as_str() {
        None => {
            result(message, &json!({"tools": [{"name": "a"}], "nextCursor": "2", "resultType": "complete"}))
        }
        Some("2") => result(message, &json!({"tools": [{"name": "b"}], "nextCursor": "3"})),
        Some(_) => result(message, &json!({"tools": [], "nextCursor": null})),
    })
    .await;
    assert_eq!(ask(&url).await.unwrap(), [json!({"name": "a"}), json!({"name": "b"})]);
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 3);
    for (method, headers, message) in heard.iter() {
        assert_eq!(method, "tools/list");
        assert_eq!(headers["mcp-protocol-version"], "2026-07-28");
        assert_eq!(headers["mcp-method"], "tools/list");
        assert_eq!(message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        assert!(!headers.contains_key("authorization"));
    }
}

#[tokio::test]
async fn a_server_with_sessions_is_greeted_and_left_and_may_answer_in_events() {
    let (url, heard) = server(|method, headers, message| match method {
        "initialize" => {
            let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": {"protocolVersion": "2025-06-18"}});
            let body = format!(": hello\n\nevent: message\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}}\n\ndata: {answer}\n\n");
            let response = Response::builder().header("content-type", "text/event-stream");
            response.header("mcp-session-id", "s-1").body(Body::from(body)).unwrap()
        }
        _ if !headers.contains_key("mcp-session-id") => {
            whole(400, &json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32000, "message": "no session"}}))
        }
        "notifications/initialized" => empty(202),
        "tools/list" => result(message, &json!({"tools": [{"name": "a"}]})),
        _ => empty(200),
    })
    .await;
    assert_eq!(ask(&url).await.unwrap(), [json!({"name": "a"})]);
    let heard = heard.lock().unwrap();
    let methods: Vec<&str> = heard.iter().map(|(method, ..)| method.as_str()).collect();
    assert_eq!(methods, ["tools/list", "initialize", "notifications/initialized", "tools/list", "DELETE"]);
    let (_, headers, message) = &heard[3];
    assert_eq!(
        (&headers["mcp-session-id"], &headers["mcp-protocol-version"]),
        (&"s-1".parse().unwrap(), &"2025-06-18".parse().unwrap())
    );
    assert!(message["params"].get("_meta").is_none());
}

#[tokio::test]
async fn an_error_in_place_of_a_result_leads_to_a_greeting_too() {
    let (url, _) = server(|method, _, message| match method {
        "initialize" => result(message, &json!({"protocolVersion": "2025-11-25"})),
        "tools/list" if message["params"].get("_meta").is_some() => {
            whole(200, &json!({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32600, "message": "not initialized"}}))
        }
        "tools/list" => result(message, &json!({"tools": []})),
        _ => empty(202),
    })
    .await;
    assert!(ask(&url).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_goes_wrong_is_named() {
    type Reply = fn(&str, &HeaderMap, &Value) -> Response<Body>;
    let cases: [(Reply, &str); 10] = [
        (
            |_, _, _| {
                Response::builder()
                    .status(401)
                    .header("www-authenticate", "Bearer resource_metadata=\"x\"")
                    .body(Body::empty())
                    .unwrap()
            },
            "give a file with one by --token-file: Bearer resource_metadata",
        ),
        (|_, _, _| empty(403), "refuses the token (403 Forbidden)"),
        (
            |_, _, _| {
                Response::builder()
                    .status(307)
                    .header("location", "https://other.example.com/mcp")
                    .body(Body::empty())
                    .unwrap()
            },
            "answers from elsewhere: give that URL, if you trust it: https://other.example.com/mcp",
        ),
        (|_, _, _| empty(404), "answers 404 Not Found: is this the URL of its MCP endpoint?"),
        (|_, _, _| empty(503), "answers 503"),
        (|_, _, _| Response::new(Body::from("<html>")), "its content type is ``"),
        (
            |_, _, message| result(message, &json!({"protocolVersion": "2099-01-01"})),
            "protocol version `2099-01-01`",
        ),
        (|_, _, message| result(message, &json!({"tools": [], "nextCursor": "again"})), "does not end"),
        (|_, _, message| result(message, &json!({"tools": "x".repeat(MAX_BYTES)})), "larger than 16 MiB"),
        (
            |method, _, message| match method {
                "initialize" => result(message, &json!({"protocolVersion": "2025-11-25"})),
                _ => Response::builder()
                    .header("content-type", "application/json")
                    .body(Body::from(r#"{"id": 3, "id": 3, "result": {}}"#))
                    .unwrap(),
            },
            "same member twice",
        ),
    ];
    for (reply, says) in cases {
        let (url, _) = server(reply).await;
        let error = ask(&url).await.unwrap_err().to_string();
        assert!(error.contains(says), "{says}: {error}");
    }
    assert!(ask("ftp://127.0.0.1/").await.unwrap_err().to_string().contains("is no URL"));
    assert!(ask("http://127.0.0.1:1/mcp").await.unwrap_err().to_string().contains("cannot be reached"));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let error = list(&url, None, Duration::from_millis(50), |_| {}).await.unwrap_err();
    assert!(matches!(error, ListError::TimedOut(_)), "{error}");
}

#[tokio::test]
async fn a_token_goes_along_but_never_over_plain_http_elsewhere() {
    let (url, heard) = server(|_, _, message| result(message, &json!({"tools": []}))).await;
    list(&url, Some("secret".to_owned()), Duration::from_secs(5), |_| {}).await.unwrap();
    assert_eq!(heard.lock().unwrap()[0].1["authorization"], "Bearer secret");
    for (url, open) in [
        ("http://mcp.example.com/", true),
        ("http://127.0.0.1.example.com/", true),
        ("https://mcp.example.com/", false),
        ("http://[::1]:9/", false),
        ("http://localhost/", false),
    ] {
        let made = Server::new(url, Some("secret".to_owned()), Duration::from_secs(1));
        assert_eq!(matches!(made, Err(ListError::TokenInTheOpen)), open, "{url}");
    }
}

#[tokio::test]
async fn a_server_that_sends_its_list_drop_by_drop_is_given_up() {
    let (url, heard) = server(|_, _, message| {
        std::thread::sleep(Duration::from_millis(30));
        let cursor = message["params"]["cursor"].as_str().map_or(0, str::len);
        result(message, &json!({"tools": [], "nextCursor": "x".repeat(cursor + 1)}))
    })
    .await;
    let error = list(&url, None, Duration::from_millis(100), |_| {}).await.unwrap_err();
    assert!(matches!(error, ListError::TookTooLong(_)), "{error}");
    assert!(heard.lock().unwrap().len() > 3, "no request took too long by itself");
}
