//! The request of a proxy's client, in the one form both entries build.
//!
//! Everything is as it came: nothing is decoded, merged or believed yet.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use palisade_mcp::Attributes;
use palisade_model::{Refusal, Surface};

/// The request that a proxy asks about.
#[derive(Clone)]
pub(crate) struct HttpCall {
    /// The entry it came in by.
    pub(crate) surface: Surface,
    /// What it says of its resource.
    pub(crate) named: Named,
    /// The method.
    pub(crate) method: String,
    /// The scheme.
    pub(crate) scheme: String,
    /// The host, perhaps with a port.
    pub(crate) host: String,
    /// The raw `:path`, with its query.
    pub(crate) target: String,
    /// The header fields.
    pub(crate) headers: Headers,
    /// The body.
    pub(crate) body: Body,
    /// The size of the body, where it is declared.
    pub(crate) declared_size: Option<u64>,
    /// The address of the proxy's downstream connection.
    pub(crate) source: Option<IpAddr>,
    /// The proxy's id of the request.
    pub(crate) request_id: Option<String>,
    /// What Envoy's MCP filter has read from the body; an error where it says that it could not read it.
    pub(crate) mcp: Option<Result<Attributes, Refusal>>,
    /// Why this call does not show the client's request, where its entry can tell.
    pub(crate) unusable: Option<Refusal>,
}

/// Prints nothing that could hold a credential or a value: headers, query and body are left out.
impl fmt::Debug for HttpCall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { surface, named, method, .. } = self;
        write!(formatter, "HttpCall({surface:?}, {named:?}, {method:?}, ..)")
    }
}

/// How a call names its resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// By the route's context extension, or not at all.
    Route(Option<String>),
    /// By the first segment behind `/authz/`.
    Segment(String),
}

/// The body of a request.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Body {
    /// None came.
    Absent,
    /// All of it came.
    Whole(Vec<u8>),
    /// Part of it came, or what came cannot be all.
    Truncated,
}

impl Body {
    /// A body that came, against what is declared of it.
    pub(crate) fn new(bytes: Vec<u8>, declared_size: Option<u64>, partial: bool) -> Self {
        let shorter = declared_size
            .is_some_and(|declared| u64::try_from(bytes.len()).is_ok_and(|size| size < declared));
        if partial || (shorter && !bytes.is_empty()) {
            Self::Truncated
        } else if bytes.is_empty() {
            Self::Absent
        } else {
            Self::Whole(bytes)
        }
    }
}

/// Header fields, every value of each, under the lower-case name.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Headers(BTreeMap<String, Vec<String>>);

impl Headers {
    /// Takes another value.
    pub(crate) fn push(&mut self, name: &str, value: String) {
        self.0.entry(name.to_ascii_lowercase()).or_default().push(value);
    }

    /// Every value of a header.
    pub(crate) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The value of a header that came once; nothing where it came several times.
    pub(crate) fn only(&self, name: &str) -> Option<&str> {
        match self.all(name) {
            [value] => Some(value),
            _ => None,
        }
    }

    /// Whether a header came.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Every header, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    /// Envoy's mark of a body that it did not send whole. Only a clear "no" is one.
    pub(crate) fn say_partial_body(&self) -> bool {
        self.all("x-envoy-auth-partial-body").iter().any(|value| value != "false")
    }
}
