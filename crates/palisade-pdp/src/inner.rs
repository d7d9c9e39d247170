//! Calls inside calls: a tool that calls another is decided on as the call of both.
//!
//! A server can have one tool through which all others are called. What the policies say of that tool alone would say nothing, so
//! its configuration names where its arguments say which other tool, and with what, and the policies are asked about that
//! call, too. The outer call is permitted only where all calls inside it are.

use std::sync::Arc;

use palisade_audit::ItemRecord;
use palisade_model::{Arguments, Item, Properties, Reason, Refusal, Target, ToolForm};
use palisade_policy::{Asking, Verdict};
use serde_json::{Map, Value};

use crate::{Resource, Snapshot, question::about, record::item_record};

/// The deepest calls inside calls.
const DEEPEST: usize = 4;
/// The most bytes of a tool's name.
const MAX_NAME: usize = 256;

/// What the policies say of an item with all calls inside it.
pub(crate) struct Said {
    /// That of the item, or of the first call inside it that is denied.
    pub(crate) verdict: Verdict,
    /// The call inside it that is denied although the item itself is not.
    pub(crate) denied: Option<Item>,
    /// Each call inside it, outermost first, as records have it.
    pub(crate) inner: Vec<ItemRecord>,
}

/// Asks the policies about an item and all calls inside it.
///
/// # Errors
/// Where a tool calls another, and it cannot be read which, or the arguments fail the other's schema.
pub(crate) fn ask(
    snapshot: &Snapshot,
    asking: &Asking<'_>,
    resource: &Resource,
    item: &Item,
) -> Result<Said, Refusal> {
    let mut said = Said { verdict: asking.about(&about(item, resource)), denied: None, inner: Vec::new() };
    for call in calls(resource, item)? {
        if call
            .arguments
            .as_ref()
            .is_some_and(|arguments| !snapshot.policies.accepts(&call.target, arguments))
        {
            return Err(invalid("the arguments fail the input schema of the tool that is called inside"));
        }
        let verdict = asking.about(&about(&call, resource));
        said.inner.push(item_record(&call, &verdict));
        if said.verdict.permits() && !verdict.permits() {
            said.verdict = verdict;
            said.denied = Some(call);
        }
    }
    Ok(said)
}

/// The calls inside an item, outermost first.
pub(crate) fn calls(resource: &Resource, item: &Item) -> Result<Vec<Item>, Refusal> {
    let mut calls = Vec::new();
    if resource.tools.is_empty() {
        return Ok(calls);
    }
    while let Some(call) = inside(resource, calls.last().unwrap_or(item))? {
        if calls.len() == DEEPEST {
            return Err(invalid("calls inside calls go too deep"));
        }
        calls.push(call);
    }
    Ok(calls)
}

/// The call inside a call, if its tool calls others.
fn inside(resource: &Resource, item: &Item) -> Result<Option<Item>, Refusal> {
    let tool = item.target.id.strip_prefix(resource.name.as_str()).and_then(|id| id.strip_prefix('/'));
    let is_call = item.action == palisade_model::Action::mcp("tools/call");
    let Some(tool) = tool.filter(|_| is_call) else { return Ok(None) };
    let Some(form) = resource.tools.get(tool).and_then(|form| form.calls.as_ref()) else {
        // A server that is less strict about names would carry it out.
        let is_like = |(name, form): (&String, &ToolForm)| {
            form.calls.is_some() && name.eq_ignore_ascii_case(tool.trim())
        };
        let resembles = resource.tools.iter().any(is_like);
        return if resembles {
            Err(invalid("the tool's name resembles one that calls others"))
        } else {
            Ok(None)
        };
    };
    let sent = item.arguments.as_ref().and_then(|arguments| arguments.json.as_ref());
    let sent = sent.ok_or_else(|| invalid("the tool calls another, and its arguments did not come"))?;
    let name = sent.pointer(&form.name).and_then(Value::as_str);
    let name = name
        .filter(|name| !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control))
        .ok_or_else(|| invalid("the tool calls another, and its arguments do not say which"))?;
    let arguments = match form.arguments.as_ref().map(|pointer| sent.pointer(pointer)) {
        // Nobody says where they are: they are there, and unread.
        None => unread(),
        Some(None | Some(Value::Null)) => arguments(&Value::Object(Map::new()))?,
        // A text that a server reads as JSON could be read in more than one way.
        Some(Some(value @ Value::Object(_))) => arguments(value)?,
        Some(Some(_)) => return Err(invalid("the arguments of the call inside are no object")),
    };
    Ok(Some(Item {
        action: item.action.clone(),
        target: Target::mcp_tool(&resource.name, name),
        arguments: Some(Arc::new(arguments)),
        supplied: Properties::default(),
        known: Properties::default(),
        reply_to: item.reply_to.clone(),
    }))
}

fn arguments(value: &Value) -> Result<Arguments, Refusal> {
    Arguments::from_json(value)
        .map_err(|error| Refusal::new(Reason::ArgumentsInvalid, format!("of the call inside: {error}")))
}

/// Arguments that nobody has read: what must hold of them does not.
fn unread() -> Arguments {
    let whole = String::new();
    Arguments { paths: [whole.clone()].into(), unmapped: [whole].into(), ..Arguments::default() }
}

fn invalid(detail: &str) -> Refusal {
    Refusal::new(Reason::ArgumentsInvalid, detail)
}
