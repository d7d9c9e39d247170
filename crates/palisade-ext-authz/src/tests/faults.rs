//! No input and no fault yields an allow.

use std::sync::Arc;

use envoy_types::{
    ext_authz::v3::pb::{CheckRequest, CheckResponse},
    pb::envoy::service::auth::v3::authorization_client::AuthorizationClient,
};
use futures::FutureExt as _;
use palisade_audit::Outcome;
use palisade_model::Reason;
use palisade_pdp::{Caller, run_to_end};
use proptest::prelude::*;
use prost::Message as _;
use tonic::{
    body::Body,
    codegen::{Service as _, http},
};

use super::fixture::*;
use crate::{encode, grpc};
use palisade_call::{Believed, HttpCall, decode};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// Sends bytes as the message of a `Check`, and reads the answer off the wire.
pub(super) async fn wire(fixture: &Fixture, message: &[u8]) -> CheckResponse {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let framed: Vec<u8> = [&[0][..], &length, message].concat();
    frame(fixture, CHECK, framed).await.expect("an answer, and no error")
}

async fn frame(fixture: &Fixture, path: &str, framed: Vec<u8>) -> Result<CheckResponse, String> {
    let body = Body::new(http_body_util::Full::new(framed.into()));
    let request = http::Request::builder()
        .method("POST")
        .uri(path)
        .header("content-type", "application/grpc")
        .extension(caller("edge"))
        .body(body)
        .unwrap();
    let response = grpc::server(Arc::clone(&fixture.pdp)).call(request).await.unwrap();
    let refused = response.headers().get("grpc-status").filter(|status| *status != "0");
    if let Some(status) = refused {
        return Err(format!("{status:?}"));
    }
    let body = axum::body::to_bytes(axum::body::Body::new(response.into_body()), 1 << 20).await.unwrap();
    CheckResponse::decode(&body[5..]).map_err(|error| error.to_string())
}

#[tokio::test]
async fn what_is_no_check_request_is_a_denial() {
    let fixture = fixture();
    for message in [&b""[..], b"\xff", b"\x0a\xff\xff\xff\xff\x0f", &[0x0a; 64]] {
        assert_eq!(denied(&wire(&fixture, message).await), (7, 404), "{message:?}");
    }
    for framed in
        [vec![], vec![0, 0], vec![1, 0, 0, 0, 0], vec![0, 0, 0, 0, 9, 1], vec![0, 0xff, 0xff, 0xff, 0xff]]
    {
        let response = frame(&fixture, CHECK, framed.clone()).await.unwrap();
        assert_eq!(denied(&response), (7, 404), "{framed:?}");
    }
    let too_large = vec![0_u8; 5 * 1024 * 1024];
    assert_eq!(denied(&wire(&fixture, &too_large).await), (7, 404));
    assert!(frame(&fixture, "/envoy.service.auth.v3.Authorization/Other", vec![0; 5]).await.is_err());
}

#[tokio::test]
async fn a_client_on_the_wire_gets_what_the_service_says() {
    let fixture = fixture();
    let message = Check::call("files", "list_files").request().encode_to_vec();
    assert_eq!(code(&wire(&fixture, &message).await), 0);
    let mut client = AuthorizationClient::new(grpc::server(Arc::clone(&fixture.pdp)));
    let without_caller =
        client.check(Check::call("files", "list_files").request()).await.unwrap().into_inner();
    assert_eq!(reason(&without_caller), "pep_unauthenticated");
}

#[test]
fn an_outage_of_ours_is_a_denial_too() {
    assert_eq!(denied(&encode::outage_response()), (7, 503));
}

#[tokio::test]
async fn a_call_that_is_cancelled_leaves_its_record() {
    let fixture = fixture();
    let check = Check::call("files", "list_files");
    assert!(check.answer(&fixture).now_or_never().is_none(), "dropped on its way");
    let record = fixture.recorded().await;
    assert_eq!((record.decision, record.reason), (Outcome::Permit, Reason::Permitted));
}

#[tokio::test]
async fn a_panic_anywhere_is_a_denial() {
    let panicked = run_to_end(async { panic!("anywhere") }, encode::outage_response).await;
    assert_eq!(denied(&panicked), (7, 503));
}

fn requests() -> impl Strategy<Value = Check> {
    let method = prop_oneof![Just("GET"), Just("POST"), Just("DELETE"), Just("OPTIONS"), Just("x"), Just("")];
    let path = prop_oneof![
        Just("/mcp".to_owned()),
        Just("/v1/orders/1".to_owned()),
        "[/a-z.%?2fF\\\\]{0,12}",
        "\\PC{0,8}"
    ];
    let resource = prop_oneof![Just("files"), Just("chat"), Just("orders"), Just("nope")];
    let header = (
        prop_oneof![
            Just("authorization".to_owned()),
            Just("content-type".to_owned()),
            Just("mcp-name".to_owned()),
            Just("x-forwarded-for".to_owned()),
            Just("content-length".to_owned()),
            Just("traceparent".to_owned()),
            Just("x-envoy-auth-partial-body".to_owned()),
            "[A-Za-z_-]{0,10}",
            "\\PC{0,5}"
        ],
        prop_oneof![
            Just(b"Bearer abc".to_vec()),
            Just(b"application/json".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20)
        ],
    );
    let body =
        prop_oneof![Just(call_body("list_files").to_string()), "\\PC{0,30}", "[{}\\[\\]\":,a-z0-9.]{0,40}"];
    let caller = prop_oneof![Just("edge"), Just("mesh"), Just("trusted"), Just("local"), Just("nobody")];
    let extras = (any::<i64>(), "\\PC{0,12}", "[0-9a-f.:]{0,20}");
    (method, path, resource, proptest::collection::vec(header, 0..6), body, caller, extras).prop_map(
        |(method, path, resource, headers, body, caller, (size, host, source))| {
            let check = Check::new(resource, method, &path).by(caller).body(&body).source(&source);
            let mut check = headers.iter().fold(check, |check, (name, value)| check.raw_header(name, value));
            check.http.size = size;
            if size % 2 == 0 {
                check.http.host = host;
            }
            check
        },
    )
}

/// Decodes and encodes as the service does, but for the decision, which is a denial.
fn survives(call: &HttpCall, caller: &Caller) {
    let (peps, resources) = (peps(), resources());
    let decoded = decode(call, &Believed::new(caller, &peps, &resources, 1_024, 3));
    for &reason in palisade_model::Reason::ALL {
        let denial = palisade_pdp::Denial {
            id: palisade_model::DecisionId::new(palisade_model::Timestamp::from_unix_seconds(NOW)),
            reason,
            resource: decoded.resource.clone(),
            remedy: palisade_pdp::Remedy::None,
            retry_after: None,
            policy_code: None,
            replies: Vec::new(),
            batch: false,
            told: None,
        };
        let response = encode::check_response(&palisade_pdp::Decision::Deny(denial), call, &decoded);
        assert_ne!(code(&response), 0, "{reason}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_make_decoding_panic_or_a_denial_an_allow(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(check) = CheckRequest::decode(bytes.as_slice()) {
            survives(&grpc::call(check), &caller("local"));
        }
    }

    #[test]
    fn no_fields_make_decoding_panic_or_a_denial_an_allow(check in requests()) {
        let caller = check.caller.clone();
        survives(&grpc::call(check.request()), &caller);
    }

    #[test]
    fn no_request_without_a_good_token_is_allowed(checks in proptest::collection::vec(requests(), 8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = fixture();
            for check in checks {
                let shown = format!("{check:?}");
                assert_ne!(code(&check.answer(&fixture).await), 0, "{shown}");
            }
        });
    }
}
