//! The answer to an operation of which something was taken out: what was, is told among its errors.
//!
//! What the server answers is about what is left, so that there is nothing to take away from it. An answer in which a client could not
//! be told what is missing is withheld: it would look like all that was asked for.

use std::collections::BTreeMap;

use http::{HeaderValue, Response, header};
use serde_json::value::RawValue;

use crate::{
    Body, answer,
    guard::{is, make_private},
};

/// The most levels of an answer.
const DEPTH: usize = 120;
/// What a GraphQL answer comes as (GraphQL over HTTP, section 6.4).
const FORMS: [&str; 2] = ["application/json", "application/graphql-response+json"];

/// The answer with these errors among its own: the text of a JSON array.
pub(crate) async fn told_of(response: Response<Body>, errors: &str, most: usize) -> Response<Body> {
    let is_graphql = FORMS.iter().any(|form| is(&response, form));
    let encoded = response.headers().contains_key(header::CONTENT_ENCODING);
    if !is_graphql || encoded {
        // That of a gateway that fails, say: it holds nothing that was asked for.
        if !response.status().is_success() {
            return response;
        }
        tracing::warn!(
            "a GraphQL operation is answered in no form in which its client can be told what was taken out"
        );
        return answer::unreadable();
    }
    let (mut parts, body) = response.into_parts();
    let told = match body.whole(most).await {
        Ok(body) => merged(&body, errors),
        Err(error) => {
            tracing::warn!(%error, "an answer of the server cannot be taken in");
            None
        }
    };
    let Some(told) = told else {
        tracing::warn!("the answer to a GraphQL operation is none, and is withheld");
        return answer::unreadable();
    };
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
