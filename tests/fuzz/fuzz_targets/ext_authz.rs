//! `CheckRequest`s through the gRPC service, to a decision point with every part of its own.
//!
//! The first byte of an input picks the caller and the subject, the rest is the message. It is asked twice: as it is, off the
//! wire, where no token can be good; and with a good token of a subject that no policy permits anything. So no
//! answer is an allow: the status is there and not 0, and beside it is a denial.
#![no_main]

use std::sync::Arc;

use envoy_types::ext_authz::v3::pb::{Authorization as _, CheckRequest, CheckResponse, HttpResponse};
use http_body_util::{BodyExt as _, Full};
use libfuzzer_sys::fuzz_target;
use palisade_ext_authz::grpc;
use palisade_fuzz::{
    RUNTIME,
    site::{SETUP, picked},
};
use palisade_pdp::Caller;
use prost::Message as _;
use tonic::{
    body::Body,
    codegen::{Service as _, http},
};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

fuzz_target!(|data: &[u8]| {
    let Some((pick, message)) = data.split_first() else { return };
    let (caller, token) = picked(*pick);
    is_denial(&RUNTIME.block_on(off_the_wire(caller.clone(), message)));
    let Ok(mut check) = CheckRequest::decode(message) else { return };
    give_token(&mut check, token);
    is_denial(&RUNTIME.block_on(asked(caller, check)));
});

fn is_denial(response: &CheckResponse) {
    let status = response.status.as_ref().expect("an absent status is an allow");
    assert_ne!(status.code, 0, "{response:?}");
    assert!(matches!(response.http_response, Some(HttpResponse::DeniedResponse(_))), "{response:?}");
}

async fn off_the_wire(caller: Caller, message: &[u8]) -> CheckResponse {
    let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    let framed = [&[0][..], &length, message].concat();
    let request = http::Request::builder()
        .method("POST")
        .uri(CHECK)
        .header("content-type", "application/grpc")
        .extension(caller)
        .body(Body::new(Full::new(framed.into())))
        .expect("a request");
    let response = grpc::server(Arc::clone(&SETUP.pdp)).call(request).await.expect("an answer");
    let failed = response.headers().get("grpc-status").filter(|status| *status != "0");
    assert_eq!(failed, None, "with `failure_mode_allow` an error is an allow");
    let answer = response.into_body().collect().await.expect("a body").to_bytes();
    CheckResponse::decode(&answer[5..]).expect("a message")
}

async fn asked(caller: Caller, check: CheckRequest) -> CheckResponse {
    let mut request = tonic::Request::new(check);
    request.extensions_mut().insert(caller);
    let service = grpc::CheckService::new(Arc::clone(&SETUP.pdp));
    service.check(request).await.expect("an answer, and no error").into_inner()
}

/// Puts a good token in the place of whatever credential there is.
fn give_token(check: &mut CheckRequest, token: &str) {
    let request = check.attributes.get_or_insert_default().request.get_or_insert_default();
    let http = request.http.get_or_insert_default();
    http.headers.retain(|name, _| !name.eq_ignore_ascii_case("authorization"));
    if let Some(list) = &mut http.header_map {
        list.headers.retain(|header| !header.key.eq_ignore_ascii_case("authorization"));
    }
    http.headers.insert("authorization".to_owned(), format!("Bearer {token}"));
}
