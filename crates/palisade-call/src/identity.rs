//! What the upstream learns of a permitted call: who it is for. And what it must not get: the same from the client, and
//! what would make it another call than the one that was decided.

use std::sync::LazyLock;

use palisade_model::{Authority, DecisionId, Reason, Subject, SubjectKind};
use palisade_pdp::{InPart, Observed, Permit, Resource, Upstream, UpstreamToken};

use crate::call::Headers;

/// What the names of our own headers begin with.
const OURS: &str = "x-palisade-";
/// The identity headers that we own, by the part behind their prefix.
const OWN: [&str; 3] = ["subject", "scopes", "decision"];
/// What some upstreams take the method from, instead of the request's.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method", "x-http-method-override", "x-method-override"];
/// The most parts of a name that is spelt in every way.
const MOST_PARTS: usize = 5;
/// The most bytes of a subject in a header.
const MAX_SUBJECT: usize = 1_024;
/// The most bytes of scopes in a header.
const MAX_SCOPES: usize = 4_096;

/// A call that is let by.
#[derive(Debug, Clone, Copy)]
pub struct Passage<'a> {
    pub id: DecisionId,
    pub resource: &'a Resource,
    pub subject: &'a Subject,
    pub authority: Option<&'a Authority>,
    pub revision: &'a str,
    /// What the upstream gets in place of the client's credential.
    pub upstream: &'a Upstream,
    /// The denial that enforcement would have given, for a resource under observation.
    pub observed: Option<Reason>,
}

impl<'a> From<&'a Permit> for Passage<'a> {
    fn from(permit: &'a Permit) -> Self {
        Self {
            id: permit.id(),
            resource: permit.resource(),
            subject: permit.subject(),
            authority: permit.authority().map(AsRef::as_ref),
            revision: permit.revision().as_str(),
            upstream: permit.upstream(),
            observed: None,
        }
    }
}

impl<'a> From<&'a InPart> for Passage<'a> {
    fn from(part: &'a InPart) -> Self {
        Self {
            id: part.id(),
            resource: part.resource(),
            subject: part.subject(),
            authority: part.authority().map(AsRef::as_ref),
            revision: part.revision().as_str(),
            upstream: part.upstream(),
            observed: None,
        }
    }
}

impl<'a> From<&'a Observed> for Passage<'a> {
    fn from(observed: &'a Observed) -> Self {
        Self {
            id: observed.id(),
            resource: observed.resource(),
            subject: observed.subject(),
            authority: observed.authority().map(AsRef::as_ref),
            revision: observed.revision().as_str(),
            upstream: observed.upstream(),
            observed: Some(observed.would_be()),
        }
    }
}

impl Passage<'_> {
    /// The headers for the upstream. An anonymous call has none.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        if matches!(self.subject.kind, SubjectKind::Anonymous) {
            return Vec::new();
        }
        let mut headers = vec![("x-palisade-decision", self.id.to_string())];
        // A subject that does not fit is left out, never cut: two subjects must not become one.
        let subject = subject_text(self.subject);
        if subject.len() <= MAX_SUBJECT {
            headers.push(("x-palisade-subject", subject));
        }
        let scopes = self.authority.map(scopes_text).unwrap_or_default();
        if !scopes.is_empty() {
            headers.push(("x-palisade-scopes", scopes));
        }
        headers
    }

    /// The header that takes the place of the client's credential: name, in lower case, and value.
    pub fn credential(&self) -> Option<(&str, String)> {
        match self.upstream {
            Upstream::Strip | Upstream::Keep => None,
            Upstream::Exchanged(issued) => {
                Some(("authorization", format!("Bearer {}", issued.token.as_str())))
            }
            Upstream::Static(header) => Some((&header.name, header.value.as_str().to_owned())),
        }
    }

    /// The names of headers that the upstream must not get from the client: none that we write ourselves, which replace
    /// what the client sent.
    ///
    /// They are named also where we have not seen them: a proxy need not send us every header. And in every spelling, for readers
    /// that take `_` for `-`.
    pub fn removals(&self, set: &[(&'static str, String)], client: &Headers) -> Vec<String> {
        let mut credentials: Vec<&str> = Vec::new();
        // Wherever a token may come from, it goes no further.
        match self.upstream {
            Upstream::Keep => {}
            Upstream::Strip | Upstream::Exchanged(_) | Upstream::Static(_) => {
                credentials.push("authorization");
                credentials.extend(self.resource.static_tokens.own_header());
            }
        }
        // Nobody but us writes it, also where the call is nobody's and gets none.
        if let UpstreamToken::Static(header) = &self.resource.upstream_token {
            credentials.push(&header.name);
        }
        let is_credential = |name: &str| credentials.iter().any(|other| reads_as(other, name));
        let of_client = client.iter().map(|(name, _)| name);
        let of_client = of_client.filter(|name| is_removed(name) || is_credential(name)).map(str::to_owned);
        let mut names: Vec<String> = of_client.chain(ALWAYS_REMOVED.iter().cloned()).collect();
        names.extend(credentials.iter().flat_map(|name| spellings(name)));
        let credential = self.credential();
        let own = |name: &str| credential.as_ref().is_some_and(|(written, _)| *written == name);
        names.sort_unstable();
        names.dedup();
        names.retain(|name| !own(name) && set.iter().all(|(written, _)| written != name));
        names
    }
}

/// The names that no upstream gets from any client: ours, in every spelling, and those that override the method.
static ALWAYS_REMOVED: LazyLock<Vec<String>> = LazyLock::new(|| {
    let own = OWN.into_iter().flat_map(|own| spellings(&format!("{OURS}{own}")));
    own.chain(METHOD_OVERRIDES.map(str::to_owned)).collect()
});

/// Whether a name is in our namespace or overrides the method, or would be one of the protocol's that was decided on under its right
/// name, for readers that take `_` for `-`.
fn is_removed(name: &str) -> bool {
    let begins =
        |beginning: &str| name.get(..beginning.len()).is_some_and(|begun| reads_as(begun, beginning));
    let is_protocols = begins("mcp-") && name.contains('_');
    begins(OURS) || METHOD_OVERRIDES.iter().any(|other| reads_as(other, name)) || is_protocols
}

/// Whether readers that take `_` for `-` read two names as one.
fn reads_as(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().map(dashed_byte).eq(other.bytes().map(dashed_byte))
}

fn dashed_byte(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }
}

/// A name as readers that take `_` for `-` read it.
fn dashed(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// Every name that such readers read as this one. Of a long name, only those in which all are written alike.
fn spellings(name: &str) -> Vec<String> {
    let name = dashed(name);
    let parts: Vec<&str> = name.split('-').collect();
    if parts.len() > MOST_PARTS {
        return vec![name.replace('-', "_"), name];
    }
    let (first, rest) = parts.split_first().map_or(("", &[][..]), |(first, rest)| (*first, rest));
    let grown = |all: Vec<String>, part: &&str| {
        all.iter().flat_map(|begun| [format!("{begun}-{part}"), format!("{begun}_{part}")]).collect()
    };
    rest.iter().fold(vec![first.to_owned()], grown)
}

/// `User::"corp/alice"`, with everything but visible ASCII percent-encoded, and what delimits it too.
pub fn subject_text(subject: &Subject) -> String {
    let mut text = format!("{}::\"", subject.kind.type_name());
    for byte in subject.id.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'%' | b'"' | b'\\' | b',') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text.push('"');
    text
}

/// The scopes, separated by spaces; those that no longer fit are left out whole.
fn scopes_text(authority: &Authority) -> String {
    let mut text = String::new();
    for scope in &authority.scopes {
        if text.len() + 1 + scope.as_str().len() > MAX_SCOPES {
            break;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(scope.as_str());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_spelt_in_every_way_that_is_read_as_the_same() {
        let mut all = spellings("X-Api_Key");
        all.sort_unstable();
        assert_eq!(all, ["x-api-key", "x-api_key", "x_api-key", "x_api_key"]);
        assert_eq!(spellings("authorization"), ["authorization"]);
        assert_eq!(spellings("a-b-c-d-e").len(), 16);
        assert_eq!(spellings("a-b-c-d-e-f"), ["a_b_c_d_e_f", "a-b-c-d-e-f"]);
    }

    #[test]
    fn what_is_read_as_the_protocols_is_removed_and_the_protocols_own_is_not() {
        for name in
            ["mcp_session_id", "Mcp-Session_Id", "mcp_name", "mcp_param_x", "x_palisade-new", "x_http_method"]
        {
            assert!(is_removed(name), "{name}");
        }
        for name in ["mcp-session-id", "mcp-param-region", "mcp-name", "x_trace_id", "accept"] {
            assert!(!is_removed(name), "{name}");
        }
    }
}
