use palisade_model::Surface;
use proptest::prelude::*;

use super::*;
use crate::call::{Body, Headers, Named};

fn call(target: &str, headers: &[(&str, &str)], rewrites_path: bool) -> HttpCall {
    let mut all = Headers::default();
    headers.iter().for_each(|(name, value)| all.push(name, (*value).to_owned()));
    HttpCall {
        surface: Surface::ExtAuthz,
        named: Named::Route(None),
        method: "POST".to_owned(),
        scheme: "https".to_owned(),
        host: "h".to_owned(),
        target: target.to_owned(),
        headers: all,
        body: Body::Absent,
        declared_size: None,
        source: None,
        request_id: None,
        mcp: None,
        rewrites_path,
        cuts: false,
        answers: false,
        unusable: None,
    }
}

fn came(tokens: &StaticTokens, call: &HttpCall) -> Came {
    read(tokens, call, Location::parse(&call.target).ok().as_ref())
}

fn in_path() -> StaticTokens {
    StaticTokens::new(None, true, Vec::new())
}

#[test]
fn a_token_is_the_last_segment_of_a_path_and_is_taken_out_of_it() {
    for (path, token, left) in [
        ("/mcp/t-abc", "abc", "/mcp"),
        ("/mcp/t-abc/", "abc", "/mcp/"),
        ("/t-abc", "abc", "/"),
        ("/a/t-a-t-b", "a-t-b", "/a"),
        ("/mcp/t-", "", "/mcp"),
    ] {
        let came = came(&in_path(), &call(path, &[], true));
        assert_eq!(
            (came.tokens, came.path.as_deref()),
            (vec![Ok(RawToken::new(token))], Some(left)),
            "{path}"
        );
    }
    // Elsewhere it would make one path of another. It is taken out of what is recorded all the same.
    for (path, left) in [("/t-abc/mcp", "/mcp"), ("/a/t-b/c", "/a/c")] {
        let came = came(&in_path(), &call(path, &[], true));
        assert_eq!((came.tokens, came.path.as_deref()), (vec![Err(inside())], Some(left)), "{path}");
    }
    for path in ["/mcp", "/mcp/T-abc", "/mcp/tt-abc", "/mcp?x=/t-abc", "/t"] {
        let came = came(&in_path(), &call(path, &[], true));
        assert!(came.tokens.is_empty() && came.path.is_none(), "{path}");
    }
}

#[test]
fn a_path_stays_as_it_is_where_no_tokens_come_in_paths() {
    let headers_only = StaticTokens::new(Some("x-api-key".to_owned()), false, Vec::new());
    for tokens in [StaticTokens::default(), headers_only] {
        assert!(came(&tokens, &call("/mcp/t-abc", &[], true)).path.is_none());
    }
}

#[test]
fn a_token_that_nobody_would_take_out_of_the_path_is_of_no_use() {
    let came = came(&in_path(), &call("/mcp/t-abc", &[], false));
    assert_eq!(came.tokens, [Err(stays())]);
    assert_eq!(came.path.as_deref(), Some("/mcp"));
}

#[test]
fn every_value_of_the_header_is_one_and_only_where_it_is_theirs_alone() {
    let own = StaticTokens::new(Some("x-api-key".to_owned()), false, Vec::new());
    let tokens = |headers: &[(&str, &str)]| came(&own, &call("/", headers, true)).tokens;
    assert_eq!(tokens(&[("X-Api-Key", "abc")]), [Ok(RawToken::new("abc"))]);
    assert_eq!(tokens(&[("x-api-key", "")]), [Ok(RawToken::new(""))]);
    assert_eq!(tokens(&[("x-api-key", "a"), ("x-api-key", "a")]).len(), 2);
    assert_eq!(tokens(&[("x-api-key", "a,b")]), [Err(several())]);
    assert!(tokens(&[("x-api-kex", "a")]).is_empty());
    let bearer = StaticTokens::new(Some("authorization".to_owned()), false, Vec::new());
    assert!(came(&bearer, &call("/", &[("authorization", "Bearer a")], true)).tokens.is_empty());
}

#[test]
fn the_query_goes_on_with_the_path() {
    assert_eq!(target("/mcp", "/mcp/t-abc?a=b?c"), "/mcp?a=b?c");
    assert_eq!(target("/mcp", "/mcp/t-abc"), "/mcp");
}

proptest! {
    /// Whatever the path, nothing of a token is left in what goes on.
    #[test]
    fn no_token_is_left_in_a_path(path in "(/[a-z.-]{0,4}|/t-[A-Za-z0-9]{6,9}){0,5}/?", query in "(\\?[a-z=&]{0,5})?") {
        let text = format!("{path}{query}");
        let came = came(&in_path(), &call(&text, &[], true));
        let on = came.path.as_deref().map(|path| target(path, &text)).unwrap_or(text);
        let on_path = on.split('?').next().unwrap_or_default();
        if Location::parse(&on).is_ok() {
            prop_assert!(on_path.split('/').all(|segment| !segment.starts_with(MARK)), "{}", on);
        }
        for token in came.tokens.iter().filter_map(|token| token.as_ref().ok()).filter(|token| token.expose().len() > 5) {
            prop_assert!(!on_path.contains(token.expose()), "{}", on);
        }
        // What goes on is read as one path again.
        if came.path.is_some() {
            prop_assert!(Location::parse(&on).is_ok(), "{}", on);
        }
    }
}
