//! The answer to an operation of which something was taken out: what was, is told among its errors.
//!
//! What the server answers is about what is left, so that there is nothing to take away from it. An answer in which a client could not
//! be told what is missing is withheld: it would look like all that was asked for.

use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderMap, HeaderValue, Response, header};
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use crate::{
    Body, answer,
    body::NotWhole,
    guard::{is, make_private},
};

/// The most levels of an answer.
const DEPTH: usize = 120;
/// What a GraphQL answer comes as (GraphQL over HTTP, section 6.4), as who asks accepts it: what comes in parts could not be told in.
pub(crate) const FORMS: &str = "application/graphql-response+json, application/json";
/// What is said of one body and of no other (RFC 9530, RFC 9421, RFC 9110 section 8.8.3, RFC 1864).
const OF_ONE_BODY: [&str; 7] =
    ["content-digest", "repr-digest", "digest", "content-md5", "signature", "signature-input", "etag"];

/// Takes away what is said of another body than goes on.
pub(crate) fn is_another_body(headers: &mut HeaderMap) {
    for name in OF_ONE_BODY {
        headers.remove(name);
    }
}

/// The answer with these errors among its own: the text of a JSON array. It is taken in where it has at most so many bytes, and there is
/// room for it among others.
pub(crate) async fn told_of(
    response: Response<Body>,
    errors: &str,
    (most, room): (usize, &Arc<Semaphore>),
) -> Response<Body> {
    let is_graphql = FORMS.split(", ").any(|form| is(&response, form));
    let encoded = response.headers().contains_key(header::CONTENT_ENCODING);
    // That of a gateway that fails, say: it holds nothing that was asked for.
    if !is_graphql && !response.status().is_success() {
        return response;
    }
    if !is_graphql || encoded {
        tracing::warn!(
            "a GraphQL operation is answered in no form in which its client can be told what was taken out"
        );
        return answer::unreadable();
    }
    let (mut parts, body) = response.into_parts();
    let told = match body.whole_within(most, room, || ()).await {
        // The room is held until it is written anew.
        Ok((body, _room)) => merged(&body, errors),
        Err(NotWhole::NoRoom) => {
            tracing::warn!("there is no room for the answer to a GraphQL operation, and it is withheld");
            return answer::outage();
        }
        Err(error @ (NotWhole::TooLarge(_) | NotWhole::TooSlow | NotWhole::Failed(_))) => {
            tracing::warn!(%error, "an answer of the server cannot be taken in");
            None
        }
    };
    let Some(told) = told else {
        tracing::warn!("the answer to a GraphQL operation is none, and is withheld");
        return answer::unreadable();
    };
    is_another_body(&mut parts.headers);
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(told.len()));
    make_private(&mut parts.headers);
    Response::from_parts(parts, Body::full(told))
}

/// An answer (GraphQL, section 7.1) with more errors; nothing where it is none. What it says beside stays as it was written.
fn merged(body: &[u8], errors: &str) -> Option<Vec<u8>> {
    let value = palisade_json::read(body, DEPTH).ok()?;
    value.as_object()?;
    let mut members: BTreeMap<String, &RawValue> = serde_json::from_slice(body).ok()?;
    let own: Option<Vec<&RawValue>> = match members.remove("errors") {
        Some(own) => serde_json::from_str(own.get()).ok()?,
        None => None,
    };
    let taken: Vec<&RawValue> = serde_json::from_str(errors).ok()?;
    let all: Vec<&RawValue> = own.into_iter().flatten().chain(taken).collect();
    let errors = serde_json::value::to_raw_value(&all).ok()?;
    members.insert("errors".to_owned(), &errors);
    serde_json::to_vec(&members).ok()
}

#[cfg(test)]
mod tests;
