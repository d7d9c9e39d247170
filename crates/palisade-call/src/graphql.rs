//! What a request to a GraphQL API asks for (GraphQL over HTTP): each operation, and whatever hangs on it.
//!
//! [`asked`] reads the operations and makes items of them: the operation, introspection, each name of `@policy`, each field with
//! its arguments. What the policies say of them comes back to [`Operations::lacks`], which has the schema's directives judged. A proxy
//! lets a request by or does not, so that a request of which anything is denied is denied whole. Who can send on another body than came
//! says so, and gets what is left of an operation ([`Operations::left`]), where the resource has its operations cut. Introspection can
//! be answered here, from what its caller may see ([`Introspected`]). It is judged as
//! strictly as any router judges: `@skip` and `@include` change nothing, and a field of an interface is one of all that implement it.

mod left;
mod shown;

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    ops::Range,
    sync::Arc,
};

use palisade_graphql::{
    Analysis, Clients, Decisions, Denied, Dialect, Incoming, Limits, Manifest, Mode, Reading, Request,
    Schema, Why, read_request,
};
use palisade_mcp::Unread;
use palisade_model::{
    Action, Arguments, Asked, Item, Properties, Reason, Refusal, ResourceName, Scope, Scopes, Target,
};
use palisade_pdp::{EXECUTED_ROOTS, Granted, LISTED_FOR, Lack, Lacking, MOST_PARTS, Resource};
use serde_json::{Map, Value};

use crate::{
    call::{Body, HttpCall},
    decode::Believed,
    mcp::without_body,
};

pub use self::shown::{Introspected, entries};

/// How strictly operations are judged.
const STRICTEST: Dialect = Dialect::Apollo;

/// What requests to a GraphQL API are read with.
#[derive(Debug)]
pub struct Graph {
    /// The schema.
    pub schema: Schema,
    /// The documents that are known by their hashes.
    pub documents: Manifest,
    /// What becomes of an operation of which something is denied.
    pub operations: WholeOrPart,
    /// What permitted introspection shows.
    pub introspection: Introspection,
}

/// What permitted introspection shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Introspection {
    /// What the server says.
    #[default]
    Whole,
    /// What its caller is permitted to select with the token at hand. The server is not asked.
    Permitted,
}

/// What becomes of an operation of which something is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WholeOrPart {
    /// It is denied whole.
    #[default]
    Whole,
    /// It goes on without that, where its entry can send on what is left.
    Part,
}

/// The operations of a request.
#[derive(Debug, Clone)]
pub struct Operations {
    graph: Arc<Graph>,
    resource: ResourceName,
    read: Vec<Operation>,
    /// Whether what is left of the request can go on in its place.
    can_be_cut: bool,
    /// Whether it is introspection that is answered here.
    is_answered: bool,
}

/// One operation, and which of the items are its own.
#[derive(Debug, Clone)]
struct Operation {
    request: Request,
    analysis: Analysis,
    introspection: Option<usize>,
    names: Vec<(String, usize)>,
    fields: Range<usize>,
}

/// The operations of a request, and what the policies are asked about them.
pub(crate) fn asked(
    call: &HttpCall,
    believed: &Believed<'_>,
    resource: &Resource,
) -> Result<(Asked, Operations), Unread> {
    let graph = resource.grammar.get::<Graph>();
    let graph = graph.ok_or_else(|| Refusal::new(Reason::InternalError, "the resource has no schema"))?;
    let incoming = incoming(call, believed)?;
    let reading = Reading { max_batch: believed.max_batch, manifest: &graph.documents };
    let requests = read_request(&incoming, &reading).map_err(|error| error.refusal())?;
    let batch = requests.batch;
    let can_be_cut = graph.operations == WholeOrPart::Part && call.cuts && left::can_be_cut(&requests);
    let resource = resource.name.clone();
    let mut operations = Operations { graph, resource, read: Vec::new(), can_be_cut, is_answered: false };
    let (mut items, mut selections, mut bytes) = (Vec::new(), 0_usize, 0_usize);
    for request in requests.requests {
        let analysis = operations.graph.schema.analyze_request(&request).map_err(|error| error.refusal())?;
        selections = selections.saturating_add(analysis.measure.selections);
        bytes = bytes.saturating_add(analysis.argument_bytes);
        // A batch may come to as much as one operation: nobody is known yet when it is read.
        let most = Limits::default();
        // Before the arguments are copied once more.
        if selections <= most.fields && bytes <= most.arguments {
            operations.add(request, analysis, &mut items)?;
        }
        if items.len() > MOST_PARTS || selections > most.fields || bytes > most.arguments {
            let detail = "the operations of the batch come to too much together";
            return Err(Refusal::new(Reason::RequestMalformed, detail).into());
        }
    }
    operations.is_answered = operations.is_answered_here(batch, call.answers)?;
    // INVARIANT: what is answered here goes on neither whole nor in part.
    operations.can_be_cut &= !operations.is_answered;
    Ok((Asked { items, batch }, operations))
}

fn incoming<'c>(call: &'c HttpCall, believed: &Believed<'_>) -> Result<Incoming<'c>, Refusal> {
    let headers = &call.headers;
    // Of a header that came several times nobody knows which one counts: it says nothing that is understood.
    let one = |name: &str| headers.only(name).or_else(|| headers.has(name).then_some("several"));
    let body = match &call.body {
        Body::Truncated => {
            return Err(Refusal::new(Reason::RequestTruncated, "the body did not come whole"));
        }
        Body::Whole(body) if body.len() > believed.max_body => {
            return Err(Refusal::new(Reason::RequestTruncated, "the body is larger than `limits.body`"));
        }
        Body::Whole(body) => body.as_slice(),
        Body::Absent => &[],
    };
    if call.method == "GET" {
        without_body(call)?;
    }
    Ok(Incoming {
        method: &call.method,
        query: call.target.split_once('?').map(|(_, query)| query),
        content_type: one("content-type"),
        content_encoding: one("content-encoding"),
        upgrade: headers.has("upgrade"),
        body,
    })
}

impl Operations {
    /// Adds an operation, and its items.
    fn add(&mut self, request: Request, analysis: Analysis, items: &mut Vec<Item>) -> Result<(), Refusal> {
        let resource = &self.resource;
        let name = analysis.name.as_deref().unwrap_or(&analysis.hash);
        items.push(Item {
            known: self.known(&request, &analysis),
            ..item(
                analysis.kind.as_str(),
                Target::graphql_operation(resource, name),
                arguments(analysis.variables())?.map(Arc::new),
            )
        });
        let introspection = analysis.introspects.then_some(items.len());
        if analysis.introspects {
            items.push(item("introspect", Target::graphql_graph(resource), None));
        }
        let mut names = Vec::new();
        for name in self.graph.schema.requirements(&analysis, STRICTEST).policies {
            items.push(item("policy", Target::graphql_policy(resource, &name), None));
            names.push((name, items.len() - 1));
        }
        let first = items.len();
        // The fields of an interface's implementers have one field's arguments: they are read once, and shared.
        let mut read: HashMap<*const Map<String, Value>, Option<Arc<Arguments>>> = HashMap::new();
        for ask in analysis.asks() {
            let target = Target::graphql_element(resource, &ask.coordinate.to_string());
            let shared = match read.entry(Arc::as_ptr(&ask.arguments)) {
                Entry::Occupied(shared) => shared.get().clone(),
                Entry::Vacant(new) => new.insert(arguments(&ask.arguments)?.map(Arc::new)).clone(),
            };
            items.push(item("field", target, shared));
        }
        let fields = first..items.len();
        self.read.push(Operation { request, analysis, introspection, names, fields });
        Ok(())
    }

    /// What an operation comes to. Introspection that is answered here is one level deep: what is below has no place in a server.
    fn known(&self, request: &Request, analysis: &Analysis) -> Properties {
        let (depth, fields) = match self.graph.introspection {
            Introspection::Permitted if analysis.introspects => (1, 1),
            Introspection::Permitted | Introspection::Whole => {
                (analysis.measure.depth, analysis.measure.fields)
            }
        };
        let mut known = Map::new();
        known.insert("name".to_owned(), analysis.name.clone().into());
        known.insert("allowlisted".to_owned(), request.listed.is_some().into());
        if let Some(Clients::These(names)) = &request.listed {
            known.insert(LISTED_FOR.to_owned(), names.iter().cloned().collect());
        }
        known.insert("depth".to_owned(), depth.into());
        known.insert("fields".to_owned(), fields.into());
        known.insert(EXECUTED_ROOTS.to_owned(), analysis.executed_roots().into());
        Properties::new(known)
    }

    /// What of the operations is not granted. What was not asked about is not.
    #[must_use]
    pub fn lacks(&self, granted: &Granted<'_>) -> Vec<Lack> {
        self.read.iter().flat_map(|operation| self.lacks_of(operation, granted)).collect()
    }

    fn lacks_of(&self, operation: &Operation, granted: &Granted<'_>) -> Vec<Lack> {
        let Operation { request, analysis, .. } = operation;
        let decisions = operation.decisions(granted);
        let filtered = self.graph.schema.filter(analysis, &decisions, STRICTEST, Mode::Reject);
        let lacks: Vec<Lack> = filtered.denied.iter().map(|denied| self.lack(denied)).collect();
        // INVARIANT: what goes on is the request as it came, so nothing else may have been granted.
        if lacks.is_empty() && filtered.document.as_deref() != Some(request.document.as_str()) {
            return vec![Lack { target: Target::graphql_graph(&self.resource), why: Lacking::Permit }];
        }
        lacks
    }

    fn lack(&self, denied: &Denied) -> Lack {
        let why = match &denied.why {
            Why::Unauthenticated => Lacking::Authentication,
            Why::Scopes(sets) => Lacking::Scopes(sets.sets().iter().filter_map(scopes).collect()),
            Why::Policies(sets) => {
                let names: BTreeSet<&str> = sets.names().collect();
                let targets = names.into_iter().map(|name| Target::graphql_policy(&self.resource, name));
                Lacking::Names(targets.collect())
            }
            Why::Undecided | Why::Introspection => Lacking::Permit,
        };
        Lack { target: Target::graphql_element(&self.resource, &denied.coordinate.to_string()), why }
    }
}

impl Operation {
    /// What was granted of it. What was not asked about is not.
    fn decisions(&self, granted: &Granted<'_>) -> Decisions {
        let Self { request: _, analysis, introspection, names, fields } = self;
        let is_granted = |item: usize| granted.items.get(item).copied().unwrap_or(false);
        let asks = fields.clone().zip(analysis.asks()).filter(|(item, _)| is_granted(*item));
        let names = names.iter().filter(|(_, item)| is_granted(*item));
        Decisions::none()
            .authenticated(granted.authenticated)
            .scopes(granted.scopes.iter().map(Scope::as_str))
            .policies(names.map(|(name, _)| name.as_str()))
            .introspection(introspection.is_some_and(is_granted))
            .fields(asks.map(|(_, ask)| ask.clone()))
    }
}

/// A set with a name that can be no scope (RFC 6749, section 3.3) nobody can hold, and nobody is told to get it.
fn scopes(names: &BTreeSet<String>) -> Option<Scopes> {
    names.iter().map(|name| name.parse::<Scope>().ok()).collect()
}

fn item(action: &str, target: Target, arguments: Option<Arc<Arguments>>) -> Item {
    Item { arguments, ..Item::plain(Action::graphql(action), target) }
}

fn arguments(values: &Map<String, Value>) -> Result<Option<Arguments>, Refusal> {
    if values.is_empty() {
        return Ok(None);
    }
    let arguments = Arguments::from_json(&Value::Object(values.clone()));
    arguments.map(Some).map_err(|error| Refusal::new(Reason::ArgumentsInvalid, error.to_string()))
}
