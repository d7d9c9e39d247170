//! Introspection that is answered in place of the server, from what of the schema its caller may see.
//!
//! The operation is decided on as any is. Once it is permitted, every field of the schema, every name of `@policy` and every kind of
//! operation is an entry of a list: the policies say what of them is permitted, with whatever arguments, the directives what of that is
//! granted, and the answer has nothing else. So the schema and the calls never disagree, and both are on the record.

use std::sync::Arc;

use palisade_graphql::{Coordinate, Decisions, OperationKind, Schema, Shown};
use palisade_model::{
    AccessRequest, Action, Arguments, Item, Properties, Reason, Refusal, ResourceName, Scope, Target,
};
use palisade_pdp::{Granted, ListOf, ListRequest};
use serde_json::json;

use super::{EXECUTED_ROOTS, Graph, Introspection, Operations, STRICTEST};

/// What stands for an operation that nobody has written yet. It is no name of GraphQL.
const ANY: &str = "*";

/// A schema as a list, of what its reader may be shown.
#[derive(Debug)]
pub struct Introspected {
    operations: Operations,
    asks: Asks,
    /// What the policies are asked.
    pub question: ListRequest,
}

/// What is asked about a schema, in order.
#[derive(Debug)]
struct Asks {
    fields: Vec<Coordinate>,
    names: Vec<String>,
    kinds: Vec<OperationKind>,
}

impl Asks {
    fn of(schema: &Schema) -> Self {
        let coordinates = schema.elements().map(|(coordinate, _)| coordinate);
        let mut fields: Vec<_> = coordinates.filter(|it| it.field_name().is_some()).collect();
        fields.sort();
        let names = schema.policies().into_keys().collect();
        let kinds = schema.roots().map(|(kind, _)| kind).collect();
        Self { fields, names, kinds }
    }

    /// What has no arguments is asked about without them, and all else with whatever arguments.
    fn items(&self, Graph { schema, documents, .. }: &Graph, resource: &ResourceName) -> Vec<Item> {
        let none = Some(Arc::new(Arguments::default()));
        let without = |item: Item| Item { arguments: none.clone(), ..item };
        let plain = |action: &str, target| Item::plain(Action::graphql(action), target);
        let field = |field: &Coordinate| {
            let item = plain("field", Target::graphql_element(resource, &field.to_string()));
            if schema.has_arguments(field) { item } else { without(item) }
        };
        let name = |name: &String| without(plain("policy", Target::graphql_policy(resource, name)));
        let kind = |kind: &OperationKind| Item {
            supplied: smallest(!documents.is_empty()),
            ..plain(kind.as_str(), Target::graphql_operation(resource, ANY))
        };
        let fields = self.fields.iter().map(field);
        fields.chain(self.names.iter().map(name)).chain(self.kinds.iter().map(kind)).collect()
    }
}

/// What the smallest operation comes to, with a name, and in a document that is listed, where any is: what is not permitted so is not
/// permitted to who writes operations.
fn smallest(has_documents: bool) -> Properties {
    let known = json!({
        "name": ANY, "allowlisted": has_documents, "depth": 1, "fields": 1, EXECUTED_ROOTS: 1,
    });
    known.as_object().cloned().map(Properties::new).unwrap_or_default()
}

/// How many entries a schema has as a list.
#[must_use]
pub fn entries(schema: &Schema) -> usize {
    let Asks { fields, names, kinds } = Asks::of(schema);
    fields.len() + names.len() + kinds.len()
}

impl Operations {
    /// Whether it is introspection that is answered here.
    ///
    /// INVARIANT: where a schema is shown in part, no introspection gets past: what cannot be answered here is refused.
    pub(super) fn is_answered_here(&self, batch: bool, answers: bool) -> Result<bool, Refusal> {
        match self.graph.introspection {
            Introspection::Whole => return Ok(false),
            Introspection::Permitted => {}
        }
        if !self.read.iter().any(|operation| operation.analysis.introspects) {
            return Ok(false);
        }
        if !answers {
            let detail = "introspection of this resource is answered with what its caller may see (`introspection: permitted`), and \
                          not at this entry: send it through the adapter or the gateway";
            return Err(Refusal::new(Reason::MethodUnknown, detail));
        }
        let malformed = |detail: String| Err(Refusal::new(Reason::RequestMalformed, detail));
        let (false, [operation]) = (batch, self.read.as_slice()) else {
            return malformed("introspection is asked for in a batch: ask for it alone".to_owned());
        };
        match self.graph.schema.answers(&operation.analysis) {
            Ok(()) => Ok(true),
            Err(error) => malformed(error.to_string()),
        }
    }

    /// The schema as a list for whoever sent the request, where it is answered here.
    pub(crate) fn introspected(&self, access: &AccessRequest) -> Option<Introspected> {
        if !self.is_answered {
            return None;
        }
        let asks = Asks::of(&self.graph.schema);
        let entries = asks.items(&self.graph, &self.resource);
        let question = ListRequest { access: access.clone(), entries, of: ListOf::Fields };
        Some(Introspected { operations: self.clone(), asks, question })
    }
}

impl Introspected {
    /// What is shown of what the policies permit: what the directives grant, and what that leads to.
    #[must_use]
    pub fn shown(&self, granted: &Granted<'_>) -> Vec<bool> {
        let Asks { fields, names, kinds } = &self.asks;
        let mut permitted = granted.items.iter().copied();
        let of_fields: Vec<bool> = permitted.by_ref().take(fields.len()).collect();
        let of_names: Vec<bool> = permitted.by_ref().take(names.len()).collect();
        let of_kinds: Vec<bool> = permitted.collect();
        let decisions = Decisions::none()
            .authenticated(granted.authenticated)
            .scopes(granted.scopes.iter().map(Scope::as_str))
            .policies(those(names, &of_names).map(String::as_str));
        let kinds: Vec<OperationKind> = those(kinds, &of_kinds).copied().collect();
        let permitted = Shown::of(those(fields, &of_fields).cloned());
        let shown = self.operations.graph.schema.shown(&decisions, &permitted, &kinds, STRICTEST);
        fields.iter().map(|field| shown.shows(field)).chain(of_names).chain(of_kinds).collect()
    }

    /// The answer to the operation, of what is shown (GraphQL, section 7.1).
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn answer(&self, shown: &[bool]) -> Result<String, Refusal> {
        let failed = |detail: String| Refusal::new(Reason::InternalError, detail);
        let [operation] = self.operations.read.as_slice() else {
            return Err(failed("there is no operation".to_owned()));
        };
        let shown = Shown::of(those(&self.asks.fields, shown).cloned());
        let data = self.operations.graph.schema.introspect(&operation.analysis, &shown);
        let data = data.map_err(|error| failed(error.to_string()))?;
        Ok(format!(r#"{{"data":{data}}}"#))
    }
}

/// Those of which it is said.
fn those<'a, T>(all: &'a [T], said: &'a [bool]) -> impl Iterator<Item = &'a T> {
    all.iter().zip(said).filter(|(_, said)| **said).map(|(one, _)| one)
}
