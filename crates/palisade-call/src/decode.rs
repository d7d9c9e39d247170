//! A call as an access request: which resource, which credential, which action on what.
//!
//! Total and without I/O. What cannot be read becomes a refusal inside the request. What a caller says beside the
//! request itself (addresses, metadata, the resource's name) is believed only as far as its PEP section goes.

use std::{net::IpAddr, sync::Arc};

use palisade_mcp::{Reply, Unread};
use palisade_model::{AccessRequest, Asked, Credential, Reason, Refusal, Surface, TraceId};
use palisade_pdp::{
    Caller, ClientIp, Cutting, Directives, Granted, Kind, Pep, Peps, RequestFrom, Resource, ResourceFrom,
    Resources,
    location::{self, Location},
};

use crate::{
    call::{Body, HttpCall, Named},
    credential,
    graphql::{self, Operations},
    handles, mcp,
    static_token::{self, Came},
};

/// The most bytes of a request id.
const MAX_REQUEST_ID: usize = 256;

/// Who calls, what it is believed, and what may be asked for.
#[derive(Debug)]
pub struct Believed<'a> {
    pub caller: &'a Caller,
    pub pep: Option<&'a Pep>,
    pub resources: &'a Resources,
    pub max_body: usize,
    pub max_batch: usize,
}

impl<'a> Believed<'a> {
    /// What a caller is believed by a configuration.
    pub fn new(
        caller: &'a Caller,
        peps: &'a Peps,
        resources: &'a Resources,
        max_body: usize,
        max_batch: usize,
    ) -> Self {
        let pep = caller.0.as_ref().and_then(|name| peps.by_name(name));
        Self { caller, pep, resources, max_body, max_batch }
    }

    /// Where its HTTP checks say what the client's request is.
    pub fn request_from(&self) -> RequestFrom {
        self.pep.map(|pep| pep.request_from).unwrap_or_default()
    }

    pub fn mcp_metadata(&self) -> bool {
        self.pep.is_some_and(|pep| pep.mcp_metadata)
    }
}

/// A call, decoded.
#[derive(Debug)]
pub struct Decoded {
    /// The question.
    pub request: AccessRequest,
    /// The resource it is about, where it is known.
    pub resource: Option<Arc<Resource>>,
    /// The JSON-RPC messages of a body that was not read.
    pub replies: Vec<Reply>,
    /// Whether that body was a batch.
    pub batch: bool,
    /// What the request goes on to in place of its own path and query, where its path held a token.
    pub target: Option<String>,
    /// The GraphQL operations of the request, where it has any.
    pub operations: Option<Operations>,
}

/// Decodes a call.
pub fn decode(call: &HttpCall, believed: &Believed<'_>) -> Decoded {
    let location = Location::parse(&call.target);
    let host = location::host(&call.host, &call.scheme);
    let resource = resource(call, believed, host.as_deref().ok(), location.as_ref().ok());
    let token_in_query = location.as_ref().is_ok_and(|location| location.token_in_query);
    let came = resource.as_deref().map_or_else(Came::default, |resource| {
        static_token::read(&resource.static_tokens, call, location.as_ref().ok())
    });
    // What was decided about one resource must not go on to another.
    let at = |path: &str| Some(believed.resources.at(host.as_deref().ok()?, path)?.name.clone());
    let moved = came
        .path
        .as_deref()
        .is_some_and(|path| location.as_ref().is_ok_and(|location| at(&location.path) != at(path)));
    let path = came.path.clone().or_else(|| location.as_ref().ok().map(|location| location.path.clone()));
    let target = came.path.as_deref().map(|path| static_token::target(path, &call.target));
    let asked = match (&resource, &call.unusable, &host, &location) {
        (None, _, _, _) => {
            Err(Refusal::new(Reason::ResourceUnknown, "the call names no configured resource").into())
        }
        (Some(_), Some(refusal), _, _)
        | (Some(_), None, Err(refusal), _)
        | (Some(_), None, Ok(_), Err(refusal)) => Err(refusal.clone().into()),
        (Some(_), None, Ok(_), Ok(_)) if moved => Err(static_token::elsewhere().into()),
        (Some(resource), None, Ok(_), Ok(location)) => asked(call, believed, resource, location),
    };
    let (asked, operations) = match asked {
        Ok(Read { asked, operations }) => (Ok(asked), operations),
        Err(unread) => (Err(unread), None),
    };
    let asked = match (&resource, asked) {
        (Some(resource), Ok(asked)) if call.surface == Surface::Gateway => {
            handles::read(call, asked, (resource.kind, &resource.name))
        }
        (_, asked) => asked.map(|asked| (asked, Vec::new())),
    };
    let (asked, handles, replies, batch) = match asked {
        Ok((asked, handles)) => (Ok(asked), handles, Vec::new(), false),
        Err(Unread { refusal, replies, batch }) => (Err(refusal), Vec::new(), replies, batch),
    };
    let request = AccessRequest {
        pep: believed.caller.0.clone(),
        surface: call.surface,
        resource: resource.as_ref().map(|resource| resource.name.clone()),
        credential: credential::read(call.headers.all("authorization"), token_in_query, came),
        asked,
        sent: None,
        handles,
        client_ip: client_ip(call, believed),
        host: host.ok(),
        path,
        request_id: request_id(call),
        trace: call.headers.only("traceparent").and_then(TraceId::parse),
    };
    Decoded { request, resource, replies, batch, target, operations }
}

/// What was read of a request.
struct Read {
    asked: Asked,
    operations: Option<Operations>,
}

impl From<Asked> for Read {
    fn from(asked: Asked) -> Self {
        Self { asked, operations: None }
    }
}

impl Decoded {
    /// What becomes of the operations of the request, for [`Pdp::decide_whole`](palisade_pdp::Pdp::decide_whole).
    pub fn directives(&self) -> Option<Box<Directives<'_>>> {
        let operations = self.operations.as_ref()?;
        Some(Box::new(|granted: &Granted<'_>| operations.lacks(granted)))
    }

    /// What is left of the operation of the request without what is not granted, where its resource has operations cut and its caller
    /// sends on what is left: for [`Pdp::decide_in_part`](palisade_pdp::Pdp::decide_in_part).
    pub fn cutting(&self) -> Option<Box<Cutting<'_>>> {
        let operations = self.operations.as_ref().filter(|operations| operations.can_be_cut())?;
        Some(Box::new(|granted: &Granted<'_>| operations.left(granted)))
    }

    /// What of its schema the sender of the request may see, where it is introspection that is answered in place of the server. `access`
    /// is the request as it was decided on.
    pub fn introspected(&self, access: &AccessRequest) -> Option<graphql::Introspected> {
        self.operations.as_ref()?.introspected(access)
    }

    /// The origin of a CORS preflight that is answered without a decision: of a known resource, by a caller that may
    /// ask about it.
    pub fn preflight<'a>(
        &'a self,
        call: &'a HttpCall,
        believed: &Believed<'_>,
    ) -> Option<(&'a Resource, &'a str)> {
        let resource = self.resource.as_deref()?;
        let may_ask = believed.pep.is_some_and(|pep| pep.may_ask(call.surface, &resource.name));
        let is_preflight = call.method == "OPTIONS" && call.headers.has("access-control-request-method");
        let origin = call.headers.only("origin")?;
        // A browser asks without its credentials; a token in the path it cannot leave out.
        let without = matches!(self.request.credential, Credential::Absent | Credential::Static(_));
        let is_usable = call.unusable.is_none() && without;
        (may_ask && is_preflight && is_usable).then_some((resource, origin))
    }
}

fn resource(
    call: &HttpCall,
    believed: &Believed<'_>,
    host: Option<&str>,
    location: Option<&Location>,
) -> Option<Arc<Resource>> {
    let resources = believed.resources;
    let by_place = || resources.at(host?, &location?.path);
    let found = match &call.named {
        Named::Segment(name) => resources.by_name(name),
        Named::Name(name) => host.and_then(|host| resources.at_host(name, host)),
        Named::Service(service) => resources.by_service(service).filter(|found| found.kind == Kind::Mcp),
        Named::Route(extension) => {
            let by_extension = || resources.by_name(extension.as_deref()?);
            match believed.pep.map(|pep| pep.resource_from).unwrap_or_default() {
                ResourceFrom::Route => by_extension(),
                ResourceFrom::Host => by_place(),
                ResourceFrom::Either if extension.is_some() => by_extension(),
                ResourceFrom::Either => by_place(),
            }
        }
    };
    found.cloned()
}

fn asked(
    call: &HttpCall,
    believed: &Believed<'_>,
    resource: &Resource,
    location: &Location,
) -> Result<Read, Unread> {
    if call.surface == Surface::Gateway && !is_own_origin(call, resource) {
        return Err(Refusal::new(
            Reason::Forbidden,
            "the `origin` is neither the resource's own nor allowed",
        )
        .into());
    }
    // What did not come whole cannot go on whole.
    if call.surface == Surface::Gateway && call.body == Body::Truncated {
        return Err(Refusal::new(Reason::RequestTruncated, "the body did not come whole").into());
    }
    match resource.kind {
        Kind::Mcp => Ok(mcp::asked(call, believed, resource)?.into()),
        Kind::Http => Ok(Asked::one(resource.http_item(&call.method, &location.path)?).into()),
        Kind::Graphql => {
            let (asked, operations) = graphql::asked(call, believed, resource)?;
            Ok(Read { asked, operations: Some(operations) })
        }
    }
}

/// Whether no page of another origin has sent the request (MCP 2026-07-28, Streamable HTTP: servers validate `Origin`).
fn is_own_origin(call: &HttpCall, resource: &Resource) -> bool {
    match call.headers.all("origin") {
        [] => true,
        [origin] => resource.cors_origins.contains(origin) || *origin == resource.origin(),
        _ => false,
    }
}

/// The client's address, from where the PEP is believed to know it. IPv4 in IPv6 is IPv4.
fn client_ip(call: &HttpCall, believed: &Believed<'_>) -> Option<IpAddr> {
    let address = match believed.pep?.client_ip {
        ClientIp::Source => call.source,
        ClientIp::XForwardedFor(from_right) => {
            let skipped = usize::from(from_right).checked_sub(1)?;
            let values = call.headers.all("x-forwarded-for");
            let mut elements = values.iter().rev().flat_map(|value| value.rsplit(','));
            elements.nth(skipped)?.trim().parse().ok()
        }
    };
    address.map(|address| address.to_canonical())
}

fn request_id(call: &HttpCall) -> Option<String> {
    let id = call
        .request_id
        .as_deref()
        .filter(|id| !id.is_empty())
        .or_else(|| call.headers.only("x-request-id"))?;
    (id.len() <= MAX_REQUEST_ID && id.bytes().all(|byte| byte.is_ascii_graphic())).then(|| id.to_owned())
}
