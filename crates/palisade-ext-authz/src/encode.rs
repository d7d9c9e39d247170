//! A decision as an answer: exhaustive over [`Decision`], and the place that says what a caller may learn.
//!
//! [`allowed`] is the only place that writes status code 0, and takes a [`Passage`], which only a permit and an
//! observed denial give. [`denied`] is the only place that builds a denial, and its code cannot be 0.

use std::collections::HashMap;

use envoy_types::{
    ext_authz::v3::pb::{
        CheckResponse, DeniedHttpResponse, HeaderAppendAction, HeaderValue, HeaderValueOption, HttpResponse,
        HttpStatusCode, OkHttpResponse,
    },
    pb::{
        envoy::r#type::v3::HttpStatus,
        google::{
            protobuf::{BoolValue, Struct, Value, value::Kind as ValueKind},
            rpc,
        },
    },
};
use palisade_call::{Decoded, HttpCall, Passage, denial_answer, outage, response_headers, subject_text};
use palisade_model::Reason;
use palisade_pdp::{Decision, Denial, answer::Answer};

/// The code of a denial (`google.rpc.Code`). There is no variant for 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    PermissionDenied = 7,
    Unauthenticated = 16,
}

/// A decision as Envoy's answer.
pub(crate) fn check_response(decision: &Decision, call: &HttpCall, decoded: &Decoded) -> CheckResponse {
    match decision {
        Decision::Permit(permit) => allowed(&Passage::from(permit), call, decoded.target.as_deref()),
        Decision::Observed(observed) => allowed(&Passage::from(observed), call, decoded.target.as_deref()),
        Decision::Deny(denial) => denied(denial_answer(denial, call, decoded), Some(denial_metadata(denial))),
    }
}

/// A denial's answer without a decision: a CORS preflight, which the client gets from us.
pub(crate) fn preflight_response(answer: Answer) -> CheckResponse {
    denied(answer, None)
}

/// [`outage`] as Envoy's answer.
pub(crate) fn outage_response() -> CheckResponse {
    denied(outage(), None)
}

/// An answer that lets a call by, on another path where it must not go on to its own.
///
/// INVARIANT: the only place that writes status code 0.
pub(crate) fn allowed(passage: &Passage<'_>, call: &HttpCall, target: Option<&str>) -> CheckResponse {
    let headers = passage.headers();
    let credential = passage.credential().map(|(name, value)| overwrite(name, value));
    let target = target.map(|target| overwrite(":path", target.to_owned()));
    let set = headers.iter().map(|(name, value)| overwrite(name, value.clone()));
    let ok = OkHttpResponse {
        headers_to_remove: passage.removals(&headers, &call.headers),
        headers: set.chain(credential).chain(target).collect(),
        response_headers_to_add: response_headers(passage, call).into_iter().map(for_response).collect(),
        ..OkHttpResponse::default()
    };
    CheckResponse {
        status: Some(rpc::Status { code: 0, ..rpc::Status::default() }),
        dynamic_metadata: Some(passage_metadata(passage)),
        http_response: Some(HttpResponse::OkResponse(ok)),
    }
}

/// An answer that ends a call.
///
/// INVARIANT: the only place that builds a denial; its code is never 0.
fn denied(answer: Answer, metadata: Option<Struct>) -> CheckResponse {
    let code = if answer.status == 401 { Code::Unauthenticated } else { Code::PermissionDenied };
    // Envoy reads an unknown status as 403.
    let status = HttpStatusCode::try_from(i32::from(answer.status)).unwrap_or(HttpStatusCode::Forbidden);
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus { code: status.into() }),
        headers: answer.headers.into_iter().map(|(name, value)| overwrite(name, value)).collect(),
        body: answer.body,
    };
    CheckResponse {
        status: Some(rpc::Status { code: code as i32, ..rpc::Status::default() }),
        dynamic_metadata: metadata,
        http_response: Some(HttpResponse::DeniedResponse(denied)),
    }
}

/// A header that replaces what is there. Envoy up to 1.36 reads `append`, later versions read it before
/// `append_action`, whose default appends: so both are said.
fn overwrite(name: &str, value: String) -> HeaderValueOption {
    header(name, value, false, HeaderAppendAction::OverwriteIfExistsOrAdd)
}

/// A header of the upstream's answer: `vary` joins what the upstream says, all others are ours.
fn for_response((name, value): (&'static str, String)) -> HeaderValueOption {
    if name == "vary" {
        header(name, value, true, HeaderAppendAction::AppendIfExistsOrAdd)
    } else {
        overwrite(name, value)
    }
}

#[expect(deprecated, reason = "Envoy up to 1.36 reads `append` alone")]
fn header(name: &str, value: String, append: bool, action: HeaderAppendAction) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value, raw_value: Vec::new() }),
        append: Some(BoolValue { value: append }),
        append_action: action.into(),
        keep_empty_value: false,
    }
}

fn passage_metadata(passage: &Passage<'_>) -> Struct {
    let (decision, reason) = match passage.observed {
        None => ("permit", Reason::Permitted),
        Some(would_be) => ("observed", would_be),
    };
    metadata([
        ("decision", decision.to_owned()),
        ("decision_id", passage.id.to_string()),
        ("reason", reason.as_str().to_owned()),
        ("resource", passage.resource.name.as_str().to_owned()),
        ("subject", subject_text(passage.subject)),
        ("policy_revision", passage.revision.to_owned()),
    ])
}

fn denial_metadata(denial: &Denial) -> Struct {
    let known = [
        ("decision", Some("deny".to_owned())),
        ("decision_id", Some(denial.id.to_string())),
        ("reason", Some(denial.reason.as_str().to_owned())),
        ("resource", denial.resource.as_ref().map(|resource| resource.name.as_str().to_owned())),
        ("policy_code", denial.policy_code.clone()),
    ];
    metadata(known.into_iter().filter_map(|(name, value)| Some((name, value?))))
}

/// Metadata for access logs and rate limits, under the namespace of Envoy's filter.
fn metadata(fields: impl IntoIterator<Item = (&'static str, String)>) -> Struct {
    let value = |text: String| Value { kind: Some(ValueKind::StringValue(text)) };
    let fields: HashMap<String, Value> =
        fields.into_iter().map(|(name, text)| (name.to_owned(), value(text))).collect();
    Struct { fields }
}
