//! The static token of a request, where its resource takes any: in a header of their own, or as a segment of the path,
//! `/mcp/t-{token}`.
//!
//! A token in a path is its last segment, and has to be taken out of it before the request goes on. Where nobody would do that, or
//! the path without it would be another resource's, the request is refused.

use palisade_model::{RawToken, Reason, Refusal};
use palisade_pdp::{StaticTokens, location::Location};

use crate::call::HttpCall;

/// What a segment with a token begins with.
const MARK: &str = "t-";

/// What came of a resource's static tokens.
#[derive(Debug, Default)]
pub(crate) struct Came {
    /// Each of them, or why it is of no use.
    pub(crate) tokens: Vec<Result<RawToken, Refusal>>,
    /// The path without them, where they were in it.
    pub(crate) path: Option<String>,
}

/// The static tokens among what came.
pub(crate) fn read(tokens: &StaticTokens, call: &HttpCall, location: Option<&Location>) -> Came {
    let mut came = Came::default();
    for value in tokens.own_header().map(|name| call.headers.all(name)).unwrap_or_default() {
        // Envoy joins the values of a header with commas.
        let one = if value.contains(',') { Err(several()) } else { Ok(RawToken::new(value.as_str())) };
        came.tokens.push(one);
    }
    if let Some(location) = location.filter(|_| tokens.in_path()) {
        let segments = || location.path.split('/');
        let found: Vec<&str> = segments().filter_map(|segment| segment.strip_prefix(MARK)).collect();
        let last = location.path.trim_end_matches('/').rsplit('/').next();
        let last = last.and_then(|segment| segment.strip_prefix(MARK));
        for token in &found {
            came.tokens.push(match (call.rewrites_path, last == Some(*token)) {
                (true, true) => Ok(RawToken::new(*token)),
                (true, false) => Err(inside()),
                (false, _) => Err(stays()),
            });
        }
        if !found.is_empty() {
            let left: Vec<&str> = segments().filter(|segment| !segment.starts_with(MARK)).collect();
            let path = left.join("/");
            came.path = Some(if path.is_empty() { "/".to_owned() } else { path });
        }
    }
    came
}

/// The target of a request on its new path, with its query.
pub(crate) fn target(path: &str, target: &str) -> String {
    match target.split_once('?') {
        Some((_, query)) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

pub(crate) fn several() -> Refusal {
    Refusal::new(Reason::RequestMalformed, "several credentials came")
}

fn stays() -> Refusal {
    Refusal::new(Reason::RequestMalformed, "a token is in the path, and nobody here would take it out")
}

fn inside() -> Refusal {
    Refusal::new(Reason::RequestMalformed, "a token is in the path, and not its last segment")
}

/// What is refused of a path that would be another resource's without its token.
pub(crate) fn elsewhere() -> Refusal {
    Refusal::new(Reason::RequestMalformed, "the path without its token is another resource's")
}

#[cfg(test)]
mod tests;
