//! What a request to an MCP server asks for (MCP, Streamable HTTP): POST, GET and DELETE, each an action.

use palisade_mcp::{Mirrors, Post, Unread, read, session_delete, stream_open};
use palisade_model::{Asked, Reason, Refusal, Surface};
use palisade_pdp::Resource;

use crate::{
    call::{Body, Headers, HttpCall},
    decode::Believed,
};

/// What the headers that mirror a tool's parameters begin with.
const PARAM_PREFIX: &str = "mcp-param-";

/// The actions of a request.
pub(crate) fn asked(call: &HttpCall, believed: &Believed<'_>, resource: &Resource) -> Result<Asked, Unread> {
    match call.method.as_str() {
        "POST" => posted(call, believed, resource),
        "GET" => Ok(without_body(call).map(|()| stream_open(&resource.name))?),
        "DELETE" => Ok(without_body(call).map(|()| session_delete(&resource.name))?),
        _ => Err(Refusal::new(Reason::MethodUnknown, "the protocol uses POST, GET and DELETE only").into()),
    }
}

fn posted(call: &HttpCall, believed: &Believed<'_>, resource: &Resource) -> Result<Asked, Unread> {
    let attributes = match &call.mcp {
        Some(attributes) if believed.mcp_metadata() => Some(attributes.as_ref().map_err(Clone::clone)?),
        Some(_) | None => None,
    };
    let mirrors = Mirrors {
        required: call.surface == Surface::Gateway,
        tools: Some(&resource.tools),
        ..mirrors(&call.headers)
    };
    let resource = &resource.name;
    let refused = |reason, why: &str| Err(Refusal::new(reason, why).into());
    let asked = match &call.body {
        Body::Truncated => return refused(Reason::RequestTruncated, "the body did not come whole"),
        Body::Whole(body) if body.len() > believed.max_body => {
            return refused(Reason::RequestTruncated, "the body is larger than `limits.body`");
        }
        Body::Whole(body) => read(&post(call, body, &mirrors, believed.max_batch), resource)?,
        Body::Absent => match attributes {
            // The proxy read the body as it was sent, the server would decode it first.
            Some(_) if call.headers.has("content-encoding") => {
                return refused(Reason::RequestMalformed, "the body has a content encoding");
            }
            Some(attributes) => return Ok(attributes.read(&mirrors, resource)?),
            None => return refused(Reason::RequestBodyMissing, "no body came"),
        },
    };
    if let Some(attributes) = attributes {
        attributes.agree(&asked, resource)?;
    }
    Ok(asked)
}

fn mirrors(headers: &Headers) -> Mirrors<'_> {
    let texts = |name: &str| headers.all(name).iter().map(String::as_str).collect();
    let params = headers.iter().filter_map(|(name, values)| Some((name.strip_prefix(PARAM_PREFIX)?, values)));
    Mirrors {
        method: texts("mcp-method"),
        name: texts("mcp-name"),
        version: texts("mcp-protocol-version"),
        params: params
            .flat_map(|(name, values)| values.iter().map(move |value| (name, value.as_str())))
            .collect(),
        required: false,
        tools: None,
    }
}

fn post<'a>(call: &'a HttpCall, body: &'a [u8], mirrors: &'a Mirrors<'a>, max_batch: usize) -> Post<'a> {
    let headers = &call.headers;
    let several = || headers.has("content-encoding").then_some("several");
    Post {
        body,
        content_type: headers.only("content-type"),
        content_encoding: headers.only("content-encoding").or_else(several),
        mirrors,
        max_batch,
    }
}

/// GET and DELETE have no body: a server that read one would act on what nobody decided. A transfer coding announces
/// one that we may just not have been sent.
pub(crate) fn without_body(call: &HttpCall) -> Result<(), Refusal> {
    let announced = call.headers.has("transfer-encoding") || call.declared_size.is_some_and(|size| size != 0);
    if call.body == Body::Absent && !announced {
        Ok(())
    } else {
        Err(Refusal::new(Reason::RequestMalformed, "a body came where none belongs"))
    }
}
