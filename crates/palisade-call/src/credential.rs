//! The credential of a request: one bearer token in the `Authorization` header (RFC 6750 section 2.1), and nothing else.
//!
//! Two credentials are never weighed against each other, and a token in the query is refused, since queries end in logs.

use palisade_model::{Credential, RawToken, Reason, Refusal};

/// The credential among the values of `Authorization`.
pub(crate) fn read(authorization: &[String], token_in_query: bool) -> Credential {
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
        match read(&values, false) {
            Credential::Unusable(refusal) => Some(refusal.reason),
            Credential::Absent | Credential::Token(_) | Credential::AssertedByPep(_) => None,
        }
    }

    #[test]
    fn one_bearer_token_is_read_whatever_the_case_of_its_scheme() {
        for value in ["Bearer abc.def-_~+/==", "bearer abc.def-_~+/==", "BEARER  abc.def-_~+/=="] {
            let expected = Credential::Token(RawToken::new("abc.def-_~+/=="));
            assert_eq!(read(&[value.to_owned()], false), expected, "{value}");
        }
        assert_eq!(read(&[], false), Credential::Absent);
    }

    #[test]
    fn two_credentials_are_never_weighed_against_each_other() {
        for values in
            [&["Bearer a", "Bearer a"][..], &["Bearer a,Bearer b"], &["Basic eA==, Bearer b"], &["", ""]]
        {
            assert_eq!(reason(values), Some(Reason::RequestMalformed), "{values:?}");
        }
        assert!(
            matches!(read(&[], true), Credential::Unusable(refusal) if refusal.reason == Reason::RequestMalformed)
        );
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
