//! agentgateway's messages through the gRPC service, to a decision point with every part of its own.
//!
//! The first byte of an input picks the method, the caller and the subject, the rest is the message. It is asked as it is, off the
//! wire, where no token can be good; and with a good token of a subject that no policy permits anything. So nothing goes on, and no list
//! goes back: whatever it is, it is answered with an error.
#![no_main]

use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use libfuzzer_sys::fuzz_target;
use palisade_front::grpc;
use palisade_fuzz::{
    RUNTIME,
    site::{SETUP, picked},
};
use palisade_mcp::Listing;
use palisade_pdp::Caller;
use palisade_proto::ext_mcp::{
    McpHeader, McpRequest, McpRequestResult, McpResponse, McpResponseResult, mcp_request_result::Result as On,
    mcp_response_result::Result as Back,
};
use prost::Message;
use prost_types::{Struct, Value, value::Kind};
use tonic::{
    body::Body,
    codegen::{Service as _, http},
};

fuzz_target!(|data: &[u8]| {
    let Some((pick, message)) = data.split_first() else { return };
    let (caller, token) = picked(*pick);
    let on: McpRequestResult = asked(&caller, "CheckRequest", message);
    assert!(matches!(on.result, Some(On::Error(_))), "{on:?}");
    let back: McpResponseResult = asked(&caller, "CheckResponse", message);
    let method = McpResponse::decode(message).map(|came| came.method).unwrap_or_default();
    goes_back(back, &method);
    if let Ok(mut request) = McpRequest::decode(message) {
        request.headers.retain(|header| !header.key.eq_ignore_ascii_case("authorization"));
        let value = format!("Bearer {token}").into_bytes();
        request.headers.push(McpHeader { key: "authorization".to_owned(), value });
        let on: McpRequestResult = asked(&caller, "CheckRequest", &request.encode_to_vec());
        assert!(matches!(on.result, Some(On::Error(_))), "{on:?}");
    }
    if let Ok(mut response) = McpResponse::decode(message) {
        let kind = Kind::StringValue(token.to_owned());
        let metadata = response.metadata_context.get_or_insert_with(Struct::default);
        metadata.fields.insert("token".to_owned(), Value { kind: Some(kind) });
        let back: McpResponseResult = asked(&caller, "CheckResponse", &response.encode_to_vec());
        goes_back(back, &response.method);
    }
});

/// What is no list may go back.
fn goes_back(back: McpResponseResult, method: &str) {
    let listed = method.is_empty() || Listing::of(method).is_some();
    match back.result {
        Some(Back::Error(_)) => {}
        Some(Back::Pass(_)) => assert!(!listed, "{method}"),
        other => panic!("{other:?}"),
    }
}

fn asked<M: Message + Default>(caller: &Caller, method: &str, message: &[u8]) -> M {
    let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    let framed = [&[0][..], &length, message].concat();
    let request = http::Request::builder()
        .method("POST")
        .uri(format!("/agentgateway.dev.ext_mcp.ExtMcp/{method}"))
        .header("content-type", "application/grpc")
        .extension(caller.clone())
        .body(Body::new(Full::new(framed.into())))
        .expect("a request");
    RUNTIME.block_on(async {
        let response = grpc::ext_mcp(Arc::clone(&SETUP.pdp)).call(request).await.expect("an answer");
        let failed = response.headers().get("grpc-status").filter(|status| *status != "0");
        assert_eq!(failed, None, "with `failOpen` an error is an allow");
        let answer = response.into_body().collect().await.expect("a body").to_bytes();
        M::decode(&answer[5..]).expect("a message")
    })
}
