//! The request of a proxy's client, in the one form both entries build.
//!
//! Everything is as it came: nothing is decoded, merged or believed yet.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use palisade_mcp::Attributes;
use palisade_model::{Refusal, ResourceName, Surface};

/// The request that a proxy asks about.
#[derive(Clone)]
pub struct HttpCall {
    /// The entry it came in by.
    pub surface: Surface,
    /// What it says of its resource.
    pub named: Named,
    /// The method.
    pub method: String,
    /// The scheme.
    pub scheme: String,
    /// The host, perhaps with a port.
    pub host: String,
    /// The raw `:path`, with its query.
    pub target: String,
    /// The header fields.
    pub headers: Headers,
    /// The body.
    pub body: Body,
    /// The size of the body, where it is declared.
    pub declared_size: Option<u64>,
    /// The address of the proxy's downstream connection.
    pub source: Option<IpAddr>,
    /// The proxy's id of the request.
    pub request_id: Option<String>,
    /// What Envoy's MCP filter has read from the body; an error where it says that it could not read it.
    pub mcp: Option<Result<Attributes, Refusal>>,
    /// Whether whoever asks can be told to send the request on with another path.
    pub rewrites_path: bool,
    /// Whether whoever asks sends on what is left of an operation in place of what came, and tells its client what is not.
    pub cuts: bool,
    /// Whether whoever asks can be told what to answer in place of a request that is permitted.
    pub answers: bool,
    /// Why this call does not show the client's request, where its entry can tell.
    pub unusable: Option<Refusal>,
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
pub enum Named {
    /// By the route's context extension, or not at all.
    Route(Option<String>),
    /// By the first segment behind `/authz/`.
    Segment(String),
    /// By the name in the configuration, and by the host, which must be one of its own.
    Name(ResourceName),
    /// By the name that a gateway has for the MCP server.
    Service(String),
}

/// The body of a request.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// None came.
    Absent,
    /// All of it came.
    Whole(Vec<u8>),
    /// Part of it came, or what came cannot be all.
    Truncated,
}

/// Prints no more than how much came.
impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => formatter.write_str("Absent"),
            Self::Whole(bytes) => write!(formatter, "Whole({} bytes)", bytes.len()),
            Self::Truncated => formatter.write_str("Truncated"),
        }
    }
}

impl Body {
    /// A body that came, against what is declared of it.
    pub fn new(bytes: Vec<u8>, declared_size: Option<u64>, partial: bool) -> Self {
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
pub struct Headers(BTreeMap<String, Vec<String>>);

/// Prints names and no values.
impl fmt::Debug for Headers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

impl Headers {
    /// Takes another value.
    pub fn push(&mut self, name: &str, value: String) {
        self.0.entry(name.to_ascii_lowercase()).or_default().push(value);
    }

    /// Every value of a header.
    pub fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The value of a header that came once; nothing where it came several times.
    pub fn only(&self, name: &str) -> Option<&str> {
        match self.all(name) {
            [value] => Some(value),
            _ => None,
        }
    }

    /// Whether a header came.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Every header, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    /// Envoy's mark of a body that it did not send whole. Only a clear "no" is one.
    pub fn say_partial_body(&self) -> bool {
        self.all("x-envoy-auth-partial-body").iter().any(|value| value != "false")
    }
}
