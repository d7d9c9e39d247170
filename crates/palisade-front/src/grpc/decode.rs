//! The messages of a call as a question. Total: what cannot be read is the reason for a denial.

use std::{collections::BTreeSet, sync::Arc};

use palisade_model::{Action, Asked, ExchangeName, Reason, Refusal, Scopes, Target};
use palisade_pdp::{AskedExchange, Resource, Snapshot};
use palisade_proto::v1::Item;

use super::call::Call;
use crate::wording::{Worded, Wording};

/// The deepest nesting of arguments that is read, as in a body.
pub(super) const MAX_DEPTH: usize = 32;

/// What is asked, and the path that it is asked about.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) asked: Result<Asked, Refusal>,
    pub(super) path: Option<String>,
}

/// The resource that a call names; where it names none, the only one of its caller.
pub(super) fn resource(snapshot: &Snapshot, call: &Call, named: &str) -> Option<Arc<Resource>> {
    if !named.is_empty() {
        return snapshot.resources.by_name(named).cloned();
    }
    let pep = call.caller.0.as_ref().and_then(|name| snapshot.peps.by_name(name))?;
    pep.only_resource(&snapshot.resources).cloned()
}

/// One item.
pub(super) fn one(snapshot: &Snapshot, resource: Option<&Resource>, item: Option<&Item>) -> Question {
    let item = item.ok_or_else(|| malformed("no item came"));
    let worded = item.and_then(|item| worded(snapshot, resource, std::slice::from_ref(item)));
    question(worded, false)
}

/// Several items.
pub(super) fn several(snapshot: &Snapshot, resource: Option<&Resource>, items: &[Item]) -> Question {
    question(worded(snapshot, resource, items), true)
}

/// An exchange by name, with these of its scopes or, where none are named, all.
pub(super) fn exchange(name: &str, scopes: &[String]) -> (Option<AskedExchange>, Question) {
    let refuse = |refusal| (None, Question { asked: Err(refusal), path: None });
    let Ok(name) = name.parse::<ExchangeName>() else {
        return refuse(Refusal::new(Reason::PepNotAllowed, "no exchange has such a name"));
    };
    let Ok(scopes) = scopes.iter().map(|scope| scope.parse()).collect::<Result<Scopes, _>>() else {
        return refuse(malformed("the scopes are none (RFC 6749 section 3.3)"));
    };
    let item = palisade_model::Item {
        action: Action::exchange(),
        target: Target::audience(&name),
        arguments: None,
        supplied: Default::default(),
        known: Default::default(),
        reply_to: None,
    };
    let scopes = (!scopes.is_empty()).then_some(scopes);
    (Some(AskedExchange { name, scopes }), Question { asked: Ok(Asked::one(item)), path: None })
}

fn question(worded: Result<Vec<Worded>, Refusal>, batch: bool) -> Question {
    let worded = match worded {
        Ok(worded) => worded,
        Err(refusal) => return Question { asked: Err(refusal), path: None },
    };
    // Policies see one path of a request: with several, a policy about one of them would not hold for its item.
    let mut paths: BTreeSet<String> = worded.iter().filter_map(|worded| worded.path.clone()).collect();
    if paths.len() > 1 {
        return Question { asked: Err(malformed("the items have more than one path")), path: None };
    }
    let items = worded.into_iter().map(|worded| worded.item).collect();
    Question { asked: Ok(Asked { items, batch }), path: paths.pop_first() }
}

fn worded(snapshot: &Snapshot, resource: Option<&Resource>, items: &[Item]) -> Result<Vec<Worded>, Refusal> {
    let Some(resource) = resource else {
        return Err(Refusal::new(Reason::ResourceUnknown, "the call names no configured resource"));
    };
    // Before anything is read of them, so that reading costs no more than a body may.
    if items.len() > snapshot.limits.batch {
        return Err(malformed("the batch has too many items"));
    }
    let size = |item: &Item| {
        item.action.len()
            + [&item.target, &item.arguments].into_iter().flatten().map(String::len).sum::<usize>()
    };
    if items.iter().map(size).sum::<usize>() > snapshot.limits.body {
        return Err(malformed("what is asked is larger than `limits.body`"));
    }
    items.iter().map(|item| read(item, resource)).collect()
}

fn read(item: &Item, resource: &Resource) -> Result<Worded, Refusal> {
    let arguments = item.arguments.as_deref().map(|text| palisade_json::read(text.as_bytes(), MAX_DEPTH));
    let arguments = arguments.transpose().map_err(|error| malformed(format!("the arguments: {error}")))?;
    let wording =
        Wording { action: &item.action, target: item.target.as_deref(), arguments: arguments.as_ref() };
    wording.read(resource)
}

pub(super) fn malformed(detail: impl Into<String>) -> Refusal {
    Refusal::new(Reason::RequestMalformed, detail)
}
