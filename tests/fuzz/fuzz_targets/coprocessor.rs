//! Messages of GraphQL routers through the coprocessor, to a decision point with every part of its own.
//!
//! The first byte of an input picks the caller and the subject, the rest is the message. It is asked as it is, where no token in it
//! can be good; and with a good token of a subject that no policy permits an operation of a name, in the place of the client's
//! headers and of the request's own. So whatever a message says: no name is granted, no claims are told but the subject's own,
//! what is no answer has an error's status, and a stage whose operation asks for any field of the schema's own never goes on.
#![no_main]

use std::sync::Arc;

use axum::{body::Body, http::Request};
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use palisade_fuzz::{
    RUNTIME,
    site::{SETUP, picked},
};
use palisade_pdp::Caller;
use serde_json::{Value, json};
use tower::ServiceExt as _;

fuzz_target!(|data: &[u8]| {
    let Some((pick, message)) = data.split_first() else { return };
    let (caller, token) = picked(*pick);
    let subject = format!("user-{}", usize::from(*pick) / palisade_fuzz::site::CALLERS.len());
    let authorization = format!("Bearer {token}");
    for path in ["graph", "graph/token"] {
        let check = |message: &[u8], authorization: Option<&str>, subject: Option<&str>| {
            let answer = asked(path, &caller, message, authorization);
            told(&answer, subject);
            if let Ok(message) = serde_json::from_slice::<Value>(message)
                && shows_field(&message)
            {
                assert!(
                    answer.0 != 200 || answer.1.get("control").is_none_or(|control| control != "continue"),
                    "{answer:?}"
                );
            }
        };
        check(message, None, None);
        check(message, Some(&authorization), Some(&subject));
        if let Ok(mut message) = serde_json::from_slice::<Value>(message)
            && let Some(headers) = message.get_mut("headers").and_then(Value::as_object_mut)
        {
            headers.retain(|name, _| !name.eq_ignore_ascii_case("authorization"));
            headers.insert("authorization".to_owned(), json!([authorization]));
            check(message.to_string().as_bytes(), None, Some(&subject));
        }
    }
});

/// Whether the message is of a stage with the client's operation, which can ask for nothing but fields of the schema: no name with two
/// underscores is in it, however it is written. The directives let nobody have any of these.
fn shows_field(message: &Value) -> bool {
    let stage = message.get("stage").and_then(Value::as_str).unwrap_or_default();
    let is_asked = [
        "RouterRequest",
        "SupergraphRequest",
        "ExecutionRequest",
        "router.request",
        "graphql.request",
        "graphql.analysis",
    ];
    let Some(body) = message.get("body").filter(|_| is_asked.contains(&stage)) else { return false };
    let path = message.get("path").and_then(Value::as_str).unwrap_or_default();
    let document = match body {
        Value::String(text) => text.as_str(),
        Value::Object(body) => body.get("query").and_then(Value::as_str).unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => return true,
    };
    // A document may be named by its hash, too, and is known to hold such fields alone.
    let is_plain = |text: &str| !text.contains("__") && !text.contains("\\u") && !text.contains("\\U");
    is_plain(document) && !path.contains('_') && !path.contains("%5")
}

fn told((status, body): &(u16, Value), subject: Option<&str>) {
    if *status != 200 {
        assert!(
            *status >= 400 && body.get("control").is_none() && body.get("granted").is_none(),
            "{status} {body}"
        );
        return;
    }
    if let Some(granted) = body.get("granted").and_then(Value::as_array) {
        assert!(granted.iter().all(|granted| granted == false), "{body}");
        return;
    }
    assert_eq!(body["version"], 1, "{body}");
    let stage = body.get("stage").and_then(Value::as_str).unwrap_or_default();
    if stage.ends_with("Response") {
        return;
    }
    if let Some(status) = body["control"]["break"].as_u64() {
        assert!(status >= 400, "{body}");
        return;
    }
    assert_eq!(body["control"], "continue", "{body}");
    let entries = body.pointer("/context/entries").or_else(|| body.get("context")).and_then(Value::as_object);
    for (name, value) in entries.into_iter().flatten() {
        if name.contains("olicies") {
            let mut granted = value.as_object().expect("an object").values();
            assert!(granted.all(|granted| granted == false), "{body}");
        } else {
            assert_eq!(
                (value["sub"].as_str(), value["scope"].as_str()),
                (subject, Some("files:read")),
                "{body}"
            );
        }
    }
}

fn asked(path: &str, caller: &Caller, message: &[u8], authorization: Option<&str>) -> (u16, Value) {
    let mut request = Request::post(format!("/graphql/coprocessor/{path}"))
        .header("content-type", "application/json")
        .extension(caller.clone());
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let request = request.body(Body::from(message.to_vec())).expect("a request");
    RUNTIME.block_on(async {
        let router = palisade_coprocessor::router(Arc::clone(&SETUP.pdp));
        let response = router.oneshot(request).await.expect("an answer");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    })
}
