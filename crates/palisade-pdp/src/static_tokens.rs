//! Static tokens: secrets that a resource takes in place of tokens, for who cannot get one yet.
//!
//! They are kept as digests, and what comes is compared with every one of them in a time that does not depend on which it
//! is, or how far it is alike. A static token proves its subject here and to nobody else: it is never exchanged, and says
//! nothing of how somebody has logged in.

use std::{fmt, sync::Arc};

use aws_lc_rs::constant_time;
use palisade_model::{Authority, RawToken, Subject};

/// The header that OAuth's tokens come in.
const AUTHORIZATION: &str = "authorization";

/// The static tokens of a resource, and where they come.
#[derive(Debug, Clone, Default)]
pub struct StaticTokens {
    header: Option<String>,
    in_path: bool,
    all: Vec<StaticToken>,
}

/// A subject, and the secrets that prove it: one, or two while it is changed.
#[derive(Clone)]
pub struct StaticToken {
    digests: Vec<[u8; 32]>,
    subject: Arc<Subject>,
    authority: Arc<Authority>,
}

/// A digest is not told either: it is what a guess is compared with.
impl fmt::Debug for StaticToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { digests: _, subject, authority } = self;
        write!(formatter, "StaticToken({:?}, {:?}, ..)", authority.token_id, subject.id)
    }
}

impl StaticToken {
    /// A subject that these secrets prove.
    #[must_use]
    pub fn new(subject: Subject, authority: Authority, secrets: &[impl AsRef<str>]) -> Self {
        let digests = secrets.iter().map(|secret| *RawToken::new(secret.as_ref()).digest()).collect();
        Self { digests, subject: Arc::new(subject), authority: Arc::new(authority) }
    }

    pub(crate) fn subject(&self) -> &Arc<Subject> {
        &self.subject
    }

    pub(crate) fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }
}

impl StaticTokens {
    /// Tokens that come in this header, by its name in lower case, and in paths.
    #[must_use]
    pub fn new(header: Option<String>, in_path: bool, all: Vec<StaticToken>) -> Self {
        Self { header, in_path, all }
    }

    /// The header that is theirs alone.
    #[must_use]
    pub fn own_header(&self) -> Option<&str> {
        self.header.as_deref().filter(|name| *name != AUTHORIZATION)
    }

    /// Whether they come in paths.
    #[must_use]
    pub fn in_path(&self) -> bool {
        self.in_path
    }

    /// The token that comes as OAuth's come, if it is one of these and that is where they come.
    pub(crate) fn find_bearer(&self, raw: &RawToken) -> Option<&StaticToken> {
        self.header.as_deref().filter(|name| *name == AUTHORIZATION).and_then(|_| self.find(raw))
    }

    /// The token that this is.
    pub(crate) fn find(&self, raw: &RawToken) -> Option<&StaticToken> {
        let came = raw.digest();
        let mut found = None;
        for token in &self.all {
            for known in &token.digests {
                // Every one is compared, also after one has fitted.
                if constant_time::verify_slices_are_equal(known, came).is_ok() {
                    found = Some(token);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use palisade_model::{Scopes, Timestamp};

    use super::*;

    fn token(id: &str, secrets: &[&str]) -> StaticToken {
        let authority = Authority {
            issuer: "static".parse().unwrap(),
            audience: Default::default(),
            scopes: Scopes::new(),
            client: None,
            actors: Vec::new(),
            acr: None,
            amr: Default::default(),
            auth_time: None,
            groups_complete: true,
            token_id: format!("static:{id}"),
            expires_at: Timestamp::NEVER,
        };
        StaticToken::new(Subject::named("Client", format!("static/{id}")), authority, secrets)
    }

    fn found<'a>(tokens: &'a StaticTokens, text: &str) -> Option<&'a str> {
        tokens.find(&RawToken::new(text)).map(|token| token.subject.id.as_str())
    }

    #[test]
    fn each_secret_is_its_own_subject_and_nothing_else_is_any() {
        let all = vec![token("ci", &["one", "two"]), token("cron", &["three"])];
        let tokens = StaticTokens::new(None, true, all);
        for (text, expected) in
            [("one", Some("static/ci")), ("two", Some("static/ci")), ("three", Some("static/cron"))]
        {
            assert_eq!(found(&tokens, text), expected);
        }
        for text in ["", "on", "one ", "onetwo", "ONE", "thre"] {
            assert_eq!(found(&tokens, text), None, "{text}");
        }
        assert_eq!(found(&StaticTokens::default(), ""), None);
    }

    #[test]
    fn a_bearer_token_is_one_only_where_they_come_as_such() {
        let all = || vec![token("ci", &["one"])];
        let raw = RawToken::new("one");
        let header = |name: &str| StaticTokens::new(Some(name.to_owned()), false, all());
        assert!(header("authorization").find_bearer(&raw).is_some());
        assert!(header("x-api-key").find_bearer(&raw).is_none());
        assert!(StaticTokens::new(None, true, all()).find_bearer(&raw).is_none());
        assert_eq!(header("authorization").own_header(), None);
        assert_eq!(header("x-api-key").own_header(), Some("x-api-key"));
    }

    #[test]
    fn nothing_prints_a_secret_or_its_digest() {
        let printed = format!("{:?}", StaticTokens::new(None, true, vec![token("ci", &["s3cret"])]));
        assert!(!printed.contains("s3cret") && !printed.contains("digest"), "{printed}");
    }
}
