//! What Envoy is told: go on, go on with this, or answer that.

use envoy_types::pb::envoy::{
    config::core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction},
    service::ext_proc::v3::{
        BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeadersResponse, ImmediateResponse,
        ProcessingResponse, StreamedBodyResponse, TrailersResponse, body_mutation::Mutation,
        processing_response::Response,
    },
    r#type::v3::{HttpStatus, StatusCode},
};
use envoy_types::pb::google::protobuf::BoolValue;
use palisade_pdp::answer::Answer;

/// The most bytes of a body in one message.
const MOST: usize = 64 * 1024;

fn reply(response: Response) -> ProcessingResponse {
    ProcessingResponse { response: Some(response), ..ProcessingResponse::default() }
}

fn changed(mutation: HeaderMutation) -> HeadersResponse {
    HeadersResponse {
        response: Some(CommonResponse { header_mutation: Some(mutation), ..CommonResponse::default() }),
    }
}

/// The request's headers go on, and ask for an answer that can be read.
pub(super) fn request_headers() -> ProcessingResponse {
    let plain = vec![set("accept-encoding", "identity")];
    reply(Response::RequestHeaders(changed(HeaderMutation {
        set_headers: plain,
        remove_headers: Vec::new(),
    })))
}

/// The request's body, or a part of it, goes on.
pub(super) fn request_body() -> ProcessingResponse {
    reply(Response::RequestBody(BodyResponse { response: Some(CommonResponse::default()) }))
}

/// The request's trailers go on.
pub(super) fn request_trailers() -> ProcessingResponse {
    reply(Response::RequestTrailers(TrailersResponse::default()))
}

/// The answer's headers go on; `private` where the answer is its reader's own.
pub(super) fn response_headers(private: bool) -> ProcessingResponse {
    let mut mutation = HeaderMutation::default();
    if private {
        mutation.set_headers = vec![
            set("cache-control", "private, no-store"),
            header("vary", "Authorization", true, HeaderAppendAction::AppendIfExistsOrAdd),
        ];
        mutation.remove_headers = vec!["content-length".to_owned(), "etag".to_owned()];
    }
    reply(Response::ResponseHeaders(changed(mutation)))
}

/// A part of the answer's body, in as many messages as it takes. The last part has the end of the stream.
pub(super) fn response_body(body: &[u8], end: bool) -> Vec<ProcessingResponse> {
    let mut chunks: Vec<&[u8]> = body.chunks(MOST).collect();
    if chunks.is_empty() && end {
        chunks.push(&[]);
    }
    let last = chunks.len();
    let replies = (1..).zip(chunks).map(|(number, chunk)| {
        let streamed = StreamedBodyResponse {
            body: chunk.to_vec(),
            end_of_stream: end && number == last,
            ..StreamedBodyResponse::default()
        };
        let mutation = BodyMutation { mutation: Some(Mutation::StreamedResponse(streamed)) };
        let common = CommonResponse { body_mutation: Some(mutation), ..CommonResponse::default() };
        reply(Response::ResponseBody(BodyResponse { response: Some(common) }))
    });
    replies.collect()
}

/// The answer's trailers go on.
pub(super) fn response_trailers() -> ProcessingResponse {
    reply(Response::ResponseTrailers(TrailersResponse::default()))
}

/// An answer in place of the server's.
pub(super) fn answer(answer: &Answer, why: &str) -> ProcessingResponse {
    let status = StatusCode::try_from(i32::from(answer.status)).unwrap_or(StatusCode::ServiceUnavailable);
    let headers = answer.headers.iter().map(|(name, value)| set(name, value)).collect();
    reply(Response::ImmediateResponse(ImmediateResponse {
        status: Some(HttpStatus { code: status.into() }),
        headers: Some(HeaderMutation { set_headers: headers, remove_headers: Vec::new() }),
        body: answer.body.clone().into_bytes(),
        grpc_status: None,
        details: why.to_owned(),
    }))
}

fn set(name: &str, value: &str) -> HeaderValueOption {
    header(name, value, false, HeaderAppendAction::OverwriteIfExistsOrAdd)
}

/// Which of the two says how to append depends on Envoy's version: so both are said.
#[expect(deprecated, reason = "Envoy reads `append` before `append_action`")]
fn header(name: &str, value: &str, append: bool, action: HeaderAppendAction) -> HeaderValueOption {
    let value = value.as_bytes().to_vec();
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value: String::new(), raw_value: value }),
        append: Some(BoolValue { value: append }),
        append_action: action.into(),
        keep_empty_value: false,
    }
}
