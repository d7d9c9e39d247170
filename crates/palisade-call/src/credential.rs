//! The credential of a request: one bearer token in the `Authorization` header (RFC 6750 section 2.1), or one static token
//! where the resource takes any, and nothing else.
//!
//! Two credentials are never weighed against each other, and a token in the query is refused, since queries end in logs.

use palisade_model::{Credential, RawToken, Reason, Refusal};

use crate::static_token::{Came, several};

/// The credential of a request: what is in `Authorization`, or the static token that came; nothing that came with another.
pub(crate) fn read(authorization: &[String], token_in_query: bool, came: Came) -> Credential {
    let bearer = bearer(authorization, token_in_query);
    let mut tokens = came.tokens.into_iter();
    match (tokens.next(), tokens.next(), bearer) {
        (None, _, bearer) => bearer,
        (Some(Ok(token)), None, Credential::Absent) => Credential::Static(token),
        (Some(Err(refusal)), None, Credential::Absent) => Credential::Unusable(refusal),
        (Some(_), _, _) => Credential::Unusable(several()),
    }
}

/// The credential among the values of `Authorization`.
fn bearer(authorization: &[String], token_in_query: bool) -> Credential {
    let unusable = |reason, detail: &str| Credential::Unusable(Refusal::new(reason, detail));
    if token_in_query {
        return unusable(Reason::RequestMalformed, "an access token is in the query");
    }
    let value = match authorization {
        [] => return Credential::Absent,
        [value] => value.as_str(),
        _ => return unusable(Reason::RequestMalformed, "several `authorization` headers came"),
    };
    // Envoy joins the values of a header with commas.
    if value.split(',').filter(|part| looks_like_a_credential(part)).count() > 1 {
        return unusable(Reason::RequestMalformed, "several credentials came");
    }
    match value.split_once(' ').map(|(scheme, rest)| (scheme, rest.trim_start_matches(' '))) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && is_b64token(token) => {
            Credential::Token(RawToken::new(token))
        }
        Some(_) | None => {
            unusable(Reason::TokenMalformed, "the `authorization` header is not one bearer token")
        }
    }
}

/// A scheme, a space and something: `Bearer x`, and not `realm="x y"`.
fn looks_like_a_credential(part: &str) -> bool {
    part.trim().split_once(' ').is_some_and(|(scheme, rest)| {
        let is_scheme = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        is_scheme && !rest.trim().is_empty()
    })
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
fn is_b64token(text: &str) -> bool {
    let unpadded = text.trim_end_matches('=');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    !unpadded.is_empty() && unpadded.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(values: &[&str]) -> Option<Reason> {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        match bearer(&values, false) {
            Credential::Unusable(refusal) => Some(refusal.reason),
            Credential::Absent
            | Credential::Token(_)
            | Credential::Static(_)
            | Credential::AssertedByPep(_) => None,
        }
    }

    #[test]
    fn one_bearer_token_is_read_whatever_the_case_of_its_scheme() {
        for value in ["Bearer abc.def-_~+/==", "bearer abc.def-_~+/==", "BEARER  abc.def-_~+/=="] {
            let expected = Credential::Token(RawToken::new("abc.def-_~+/=="));
            assert_eq!(bearer(&[value.to_owned()], false), expected, "{value}");
        }
        assert_eq!(bearer(&[], false), Credential::Absent);
    }

    #[test]
    fn two_credentials_are_never_weighed_against_each_other() {
        for values in
            [&["Bearer a", "Bearer a"][..], &["Bearer a,Bearer b"], &["Basic eA==, Bearer b"], &["", ""]]
        {
            assert_eq!(reason(values), Some(Reason::RequestMalformed), "{values:?}");
        }
        assert!(
            matches!(bearer(&[], true), Credential::Unusable(refusal) if refusal.reason == Reason::RequestMalformed)
        );
    }

    #[test]
    fn a_static_token_is_one_where_nothing_else_came() {
        let came = |tokens| Came { tokens, path: None };
        let token = || Ok(RawToken::new("s"));
        let refused = || Err(Refusal::new(Reason::RequestMalformed, "test"));
        assert_eq!(read(&[], false, came(vec![token()])), Credential::Static(RawToken::new("s")));
        assert!(matches!(read(&[], false, came(vec![refused()])), Credential::Unusable(_)));
        let bearer = ["Bearer a".to_owned()];
        for (authorization, query, tokens) in [
            (&bearer[..], false, vec![token()]),
            (&bearer, false, vec![refused()]),
            (&["Basic eA==".to_owned()], false, vec![token()]),
            (&[String::new()], false, vec![token()]),
            (&[], true, vec![token()]),
            (&[], false, vec![token(), token()]),
            (&[], false, vec![refused(), token()]),
        ] {
            let credential = read(authorization, query, came(tokens));
            assert_eq!(credential, Credential::Unusable(several()), "{authorization:?}");
        }
    }

    #[test]
    fn what_is_not_a_bearer_token_is_malformed_and_never_absent() {
        for value in [
            "",
            " ",
            "Bearer",
            "Bearer ",
            "abc",
            "Basic eA==",
            "DPoP abc",
            "Bearer a b",
            "Bearer a,b",
            "Bearer a,",
            "Bearer =",
            "Bearer a=b",
            "Bearer\ta",
            "Bearer !abc",
            "Bearer a\u{fffd}",
            "Bearer \"a\"",
            "Digest username=\"a\", realm=\"b c\"",
            " Bearer a",
        ] {
            assert_eq!(reason(&[value]), Some(Reason::TokenMalformed), "{value}");
        }
    }
}
