use http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const TAKEN: &str = r#"[{"message":"taken","path":["a"]}]"#;

fn text(body: &str) -> Option<String> {
    merged(body.as_bytes(), TAKEN).map(|told| String::from_utf8(told).unwrap())
}

#[test]
fn what_was_taken_is_told_behind_the_errors_of_the_server() {
    for (body, told) in [
        (r#"{"data":{"b":1.10}}"#, r#"{"data":{"b":1.10},"errors":[{"message":"taken","path":["a"]}]}"#),
        (
            r#"{ "errors": [ {"message": "own"} ], "data": null, "extensions": {"x": 1e300} }"#,
            r#"{"data":null,"errors":[{"message": "own"},{"message":"taken","path":["a"]}],"extensions":{"x": 1e300}}"#,
        ),
        (r#"{"data":{},"errors":null}"#, r#"{"data":{},"errors":[{"message":"taken","path":["a"]}]}"#),
    ] {
        assert_eq!(text(body).as_deref(), Some(told), "{body}");
    }
}

#[test]
fn what_is_no_answer_is_withheld() {
    for body in [
        "",
        "[]",
        "null",
        "{}x",
        r#"{"data":1,"data":2}"#,
        r#"{"errors":{}}"#,
        r#"{"errors":"no"}"#,
        // A number that no reader can hold is no JSON that could be read in one way.
        r#"{"data":1e400}"#,
    ] {
        assert_eq!(text(body), None, "{body}");
    }
    assert_eq!(text(&format!("{{\"data\":{}{}}}", "[".repeat(200), "]".repeat(200))), None);
}

async fn answered(
    status: u16,
    headers: &[(&'static str, &'static str)],
    body: &'static str,
) -> (StatusCode, String) {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    let told = told_of(response, TAKEN, (1_000, &Arc::new(Semaphore::new(1_000)))).await;
    let (parts, body) = told.into_parts();
    (parts.status, String::from_utf8(body.whole(10_000).await.unwrap().to_vec()).unwrap())
}

fn answer_of(headers: &[(&'static str, &'static str)]) -> Response<Body> {
    let mut response = Response::new(Body::full(r#"{"data":{}}"#));
    for (name, value) in headers {
        response.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    response
}

#[tokio::test]
async fn an_answer_for_which_there_is_no_room_is_withheld_and_its_room_is_given_back() {
    let room = Arc::new(Semaphore::new(11));
    let of_json = [("content-type", "application/json")];
    for _ in 0..3 {
        assert_eq!(told_of(answer_of(&of_json), TAKEN, (1_000, &room)).await.status(), 200);
    }
    let held = Arc::clone(&room).try_acquire_many_owned(1).unwrap();
    assert_eq!(told_of(answer_of(&of_json), TAKEN, (1_000, &room)).await.status(), 503);
    drop(held);
    assert_eq!(told_of(answer_of(&of_json), TAKEN, (1_000, &room)).await.status(), 200);
}

#[tokio::test]
async fn what_the_server_says_of_its_body_is_not_said_of_another() {
    let headers = [
        ("content-type", "application/json"),
        ("etag", "\"1\""),
        ("content-digest", "sha-256=:x:"),
        ("signature", "s=:x:"),
        ("signature-input", "s=()"),
        ("x-own", "1"),
    ];
    let told = told_of(answer_of(&headers), TAKEN, (1_000, &Arc::new(Semaphore::new(1_000)))).await;
    let (parts, body) = told.into_parts();
    let names: Vec<&str> = parts.headers.keys().map(http::HeaderName::as_str).collect();
    assert!(OF_ONE_BODY.iter().all(|name| !names.contains(name)) && names.contains(&"x-own"), "{names:?}");
    assert_eq!(parts.headers["content-length"], body.whole(1_000).await.unwrap().len().to_string());
}

#[tokio::test]
async fn an_answer_in_which_nothing_can_be_told_is_withheld_unless_it_is_a_failure() {
    let data = r#"{"data":{}}"#;
    let json = ("content-type", "application/json; charset=utf-8");
    let graphql = ("content-type", "application/graphql-response+json");
    let merged = r#"{"data":{},"errors":[{"message":"taken","path":["a"]}]}"#;
    for (status, headers, is, body) in [
        (200, &[json][..], 200, Some(merged)),
        (200, &[graphql], 200, Some(merged)),
        (400, &[graphql], 400, Some(merged)),
        (200, &[("content-type", "text/event-stream")], 502, None),
        (200, &[("content-type", "multipart/mixed")], 502, None),
        (200, &[], 502, None),
        (200, &[json, ("content-encoding", "gzip")], 502, None),
        (500, &[("content-type", "text/plain")], 500, Some(data)),
        (500, &[("content-type", "text/plain"), ("content-encoding", "gzip")], 500, Some(data)),
        // Whatever its status: a GraphQL answer holds data.
        (400, &[graphql, ("content-encoding", "gzip")], 502, None),
    ] {
        let (told, text) = answered(status, headers, data).await;
        assert_eq!(told.as_u16(), is, "{headers:?}");
        assert!(body.is_none_or(|body| body == text), "{text}");
    }
    let large: &'static str = format!(r#"{{"data":"{}"}}"#, "x".repeat(2_000)).leak();
    assert_eq!(answered(200, &[json], large).await.0, 502);
}

/// Whatever JSON there is.
fn value() -> impl Strategy<Value = Value> {
    let plain = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
        ".{0,8}".prop_map(Value::from),
    ];
    plain.prop_recursive(4, 24, 4, |inner| {
        let list = proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from);
        let object = proptest::collection::btree_map(".{0,6}", inner, 0..4);
        prop_oneof![list, object.prop_map(|members| Value::Object(members.into_iter().collect()))]
    })
}

proptest! {
    /// Whatever a server says: what is told reads as the same with the errors behind its own, or nothing is.
    #[test]
    fn nothing_is_lost_and_nothing_is_made_up(
        data in value(),
        own in proptest::option::of(proptest::collection::vec(value(), 0..4)),
        beside in value(),
        junk in any::<Vec<u8>>(),
    ) {
        let mut body = json!({ "data": data, "extensions": beside });
        body.as_object_mut().unwrap().extend(own.iter().map(|own| ("errors".to_owned(), own.clone().into())));
        let told = merged(body.to_string().as_bytes(), TAKEN).unwrap();
        let after: Value = serde_json::from_slice(&told).unwrap();
        let taken: Vec<Value> = serde_json::from_str(TAKEN).unwrap();
        body["errors"] = Value::Array([own.unwrap_or_default(), taken].concat());
        prop_assert_eq!(after, body);
        if let Some(told) = merged(&junk, TAKEN) {
            prop_assert!(palisade_json::read(&told, DEPTH + 1).is_ok());
        }
    }
}
