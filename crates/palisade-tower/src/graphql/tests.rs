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
            r#"{ "errors": [ {"message": "own"} ], "data": null, "extensions": {"x": 1e400} }"#,
            r#"{"data":null,"errors":[{"message": "own"},{"message":"taken","path":["a"]}],"extensions":{"x": 1e400}}"#,
        ),
        (r#"{"data":{},"errors":null}"#, r#"{"data":{},"errors":[{"message":"taken","path":["a"]}]}"#),
    ] {
        // A number that no reader can hold is no JSON that could be read in one way.
        let expected = (!body.contains("1e400")).then(|| told.to_owned());
        assert_eq!(text(body), expected, "{body}");
    }
}

#[test]
fn what_is_no_answer_is_withheld() {
    for body in ["", "[]", "null", "{}x", r#"{"data":1,"data":2}"#, r#"{"errors":{}}"#, r#"{"errors":"no"}"#]
    {
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
    let told = told_of(response, TAKEN, 1_000).await;
    let (parts, body) = told.into_parts();
    (parts.status, String::from_utf8(body.whole(10_000).await.unwrap().to_vec()).unwrap())
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
    ] {
        let (told, text) = answered(status, headers, data).await;
        assert_eq!(told.as_u16(), is, "{headers:?}");
        assert!(body.is_none_or(|body| body == text), "{text}");
    }
    let large: &'static str = format!(r#"{{"data":"{}"}}"#, "x".repeat(2_000)).leak();
    assert_eq!(answered(200, &[json], large).await.0, 502);
}

proptest! {
    /// Whatever a server says: what is told reads as the same with the errors behind its own, or nothing is.
    #[test]
    fn nothing_is_lost_and_nothing_is_made_up(
        data in "[a-z0-9\\[\\]{}:,\" ]{0,40}",
        own in proptest::collection::vec("[a-z]{0,8}", 0..4),
        junk in any::<Vec<u8>>(),
    ) {
        let errors: Vec<Value> = own.iter().map(|message| json!({ "message": message })).collect();
        let body = format!(r#"{{"data":{data},"errors":{}}}"#, Value::Array(errors.clone()));
        if let Some(told) = merged(body.as_bytes(), TAKEN) {
            let (before, after): (Value, Value) =
                (serde_json::from_str(&body).unwrap(), serde_json::from_slice(&told).unwrap());
            prop_assert_eq!(&before["data"], &after["data"]);
            let taken: Vec<Value> = serde_json::from_str(TAKEN).unwrap();
            prop_assert_eq!(&after["errors"], &Value::Array([errors, taken].concat()));
        }
        if let Some(told) = merged(&junk, TAKEN) {
            prop_assert!(palisade_json::read(&told, DEPTH + 1).is_ok());
        }
    }
}
