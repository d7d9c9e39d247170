//! The names of `@policy` that a router asks about: what its context has of them, and what is asked of the policies.

use std::collections::{BTreeMap, BTreeSet};

use palisade_model::{Action, Asked, Item, Properties, Reason, Refusal, ResourceName, Target};
use palisade_pdp::{Findings, ItemOutcome, Snapshot};
use serde_json::{Map, Value};

use crate::message::{Protocol, malformed};

/// Where Apollo Router has the names, in its version 2.
const APOLLO: &str = "apollo::authorization::required_policies";
/// The same in its version 1.
pub(crate) const APOLLO_V1: &str = "apollo_authorization::policies::required";
/// Where Hive Router has them.
const HIVE: &str = "hive::authorization::required_policies";
/// The only stage at which Hive Router takes an answer.
pub(crate) const HIVE_STAGE: &str = "graphql.analysis";

/// The names, and where in the context they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// The entry of the context: the answer stands there, too.
    pub(crate) key: &'static str,
    /// Each name, and whether it was granted at an earlier stage.
    pub(crate) asked: BTreeMap<String, bool>,
}

/// The names in a context; nothing where it has none.
///
/// # Errors
/// `request_malformed` for an entry that is no object of `null`, `true` and `false`, and for the entries of both versions.
pub(crate) fn read(
    protocol: Protocol,
    stage: &str,
    context: Option<&Map<String, Value>>,
) -> Result<Option<Names>, Refusal> {
    let keys: &[&'static str] = match protocol {
        Protocol::Apollo => &[APOLLO, APOLLO_V1],
        Protocol::Hive if stage == HIVE_STAGE => &[HIVE],
        Protocol::Hive => &[],
    };
    let mut found = keys.iter().filter_map(|key| Some((*key, context?.get(*key)?)));
    let Some((key, value)) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(malformed("the context has the names of policies twice"));
    }
    let unreadable = || malformed("the names of policies are no object of what was decided of each");
    let mut asked = BTreeMap::new();
    for (name, granted) in value.as_object().ok_or_else(unreadable)? {
        let granted = match granted {
            Value::Null => false,
            Value::Bool(granted) => *granted,
            Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                return Err(unreadable());
            }
        };
        asked.insert(name.clone(), granted);
    }
    Ok((!asked.is_empty()).then_some(Names { key, asked }))
}

/// The question whether each of these names is granted: one item a name, in their order.
///
/// # Errors
/// `request_malformed` for more names than a batch may have, and `target_unknown` for one that the schema of the resource does not have:
/// the router's is another one then.
pub(crate) fn asked<'a>(
    snapshot: &Snapshot,
    resource: &ResourceName,
    names: impl ExactSizeIterator<Item = &'a String>,
) -> Result<Asked, Refusal> {
    if names.len() > snapshot.limits.batch {
        return Err(malformed("the router asks about more names than `limits.batch`"));
    }
    let item = |name: &String| {
        let target = Target::graphql_policy(resource, name);
        snapshot.policies.knows_target(&target).then(|| Item {
            action: Action::graphql("policy"),
            target,
            arguments: None,
            supplied: Properties::default(),
            known: Properties::default(),
            reply_to: None,
        })
    };
    let items: Option<Vec<Item>> = names.map(item).collect();
    items.map(|items| Asked { items, batch: true }).ok_or_else(unknown)
}

/// Whether every one of these names is among what is asked of an operation: what this schema does not ask about at this operation,
/// another one does.
pub(crate) fn are_of(names: &Names, resource: &ResourceName, asked: &Asked) -> Result<(), Refusal> {
    let items = asked.items.iter().filter(|item| is_name(item));
    let known: BTreeSet<&str> = items.map(|item| item.target.id.as_str()).collect();
    let has = |name: &String| known.contains(Target::graphql_policy(resource, name).id.as_str());
    if names.asked.keys().all(has) { Ok(()) } else { Err(unknown()) }
}

/// What was found of each item that is a name: by the name's target, whether it is granted. A name is granted if every item of it is.
///
/// Nothing at all where nothing was decided, or not every item.
pub(crate) fn granted<'a>(asked: &'a Asked, findings: &Findings) -> Option<BTreeMap<&'a str, bool>> {
    let outcomes: Vec<ItemOutcome> = findings.items().map(|finding| finding.outcome).collect();
    if asked.items.is_empty() || outcomes.len() != asked.items.len() {
        return None;
    }
    let mut granted: BTreeMap<&str, bool> = BTreeMap::new();
    for (item, outcome) in asked.items.iter().zip(outcomes).filter(|(item, _)| is_name(item)) {
        let is_granted = match outcome {
            ItemOutcome::Permit | ItemOutcome::Observed => true,
            ItemOutcome::Deny => false,
        };
        granted
            .entry(item.target.id.as_str())
            .and_modify(|all| *all = *all && is_granted)
            .or_insert(is_granted);
    }
    Some(granted)
}

/// Whether a name is granted. What was not decided is not.
pub(crate) fn is_granted(granted: &BTreeMap<&str, bool>, resource: &ResourceName, name: &str) -> bool {
    let target = Target::graphql_policy(resource, name);
    granted.get(target.id.as_str()).copied().unwrap_or(false)
}

/// The answer to the router's names.
pub(crate) fn answer(
    names: &Names,
    granted: &BTreeMap<&str, bool>,
    resource: &ResourceName,
) -> Map<String, Value> {
    let of = |name: &String| (name.clone(), Value::Bool(is_granted(granted, resource, name)));
    names.asked.keys().map(of).collect()
}

fn is_name(item: &Item) -> bool {
    item.action.is_part_of_operation() && item.action.name == "policy"
}

fn unknown() -> Refusal {
    let detail = "the router asks about a name of `@policy` that the schema does not have there";
    Refusal::new(Reason::TargetUnknown, detail)
}
