//! Input schemas made ready to check arguments against.
//!
//! A schema comes from a stranger's server, and two thousand bytes of it can ask for more work than there is time:
//! references that double at every step. So [`compile`] first counts the work in the worst case and refuses what is
//! too much, then lets the library build the validator. Whoever loads or fetches a catalogue goes through here, so
//! that both refuse the same schemas.

use std::collections::{BTreeMap, HashMap};

use jsonschema::{PatternOptions, Validator};
use palisade_model::Arguments;
use serde_json::{Map, Value};
use thiserror::Error;

/// The most schemas that one value in the arguments may be held against, with all that it lies in.
const MAX_CHECKS: u64 = 10_000;
/// The most schemas within schemas, references followed: the validator needs stack for each.
const MAX_HEIGHT: usize = 256;
/// The most steps that the count itself may take.
const MAX_STEPS: usize = 200_000;

/// What to do about a schema that is refused.
pub(crate) const FIX: &str = "ask whoever runs the server for a simpler schema; or save its list, delete this `inputSchema` there \
     and run `palisade tools fetch --file`";

/// Why arguments cannot be checked against a schema; a sentence that begins with the schema.
#[derive(Debug, Error)]
pub(crate) enum SchemaError {
    #[error("is no JSON Schema: {0}")]
    Invalid(String),
    #[error("refers to `{0}`, which is not a place `#/..` in the schema itself")]
    Elsewhere(String),
    #[error("refers to itself at `{0}` without going into a member or an element")]
    Circle(String),
    #[error(
        "asks for too much work: its references and alternatives hold one value against more than {MAX_CHECKS} schemas, or nest \
         deeper than {MAX_HEIGHT}"
    )]
    TooMuch,
}

/// Makes the validator of a schema. Patterns may look around, as generated schemas do; one that backtracks too long
/// does not match. References are resolved within the schema only.
pub(crate) fn compile(schema: &Value) -> Result<Validator, SchemaError> {
    Count::new(schema).check()?;
    jsonschema::options()
        .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(20_000))
        .build(schema)
        .map_err(|error| SchemaError::Invalid(error.to_string()))
}

/// Counts the checks that a schema asks for. INVARIANT: no less than the validator makes on arguments, which nest at most
/// [`Arguments::MAX_DEPTH`] deep; recursion through members and elements ends there.
struct Count<'a> {
    root: &'a Value,
    /// How often a subschema for the same value may be gone through for each time that its parent is.
    /// `unevaluatedProperties` and `unevaluatedItems` look again at everything beside them.
    times: u64,
    /// Whether a subschema has a base of its own, which changes what references mean.
    rebased: bool,
    /// By the address of the schema and the depth that is left; nothing while it is being counted.
    known: HashMap<(*const Value, usize), Option<Checks<'a>>>,
    steps: usize,
}

/// The checks of one value by one schema.
#[derive(Debug, Clone, Default)]
struct Checks<'a> {
    /// By schemas for the value itself.
    own: u64,
    /// Of the member of this name.
    named: BTreeMap<&'a str, u64>,
    /// Of every member.
    members: u64,
    /// Of every element.
    elements: u64,
    height: usize,
}

impl Checks<'_> {
    /// The checks on the worst way from the value to one that lies in it.
    fn worst(&self) -> u64 {
        let named = self.named.values().copied().max().unwrap_or_default();
        self.own.saturating_add(named.saturating_add(self.members).max(self.elements))
    }
}

impl<'a> Count<'a> {
    fn new(root: &'a Value) -> Self {
        let looks_again = holds(root, &|member, _| member.starts_with("unevaluated"));
        let based = |member: &str, value: &Value| matches!(member, "$id" | "id") && value.is_string();
        let below = |value: &Value| holds(value, &based);
        let rebased = match root {
            Value::Object(members) => members.values().any(below),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => false,
        };
        let times = if looks_again { 3 } else { 1 };
        Self { root, times, rebased, known: HashMap::new(), steps: 0 }
    }

    fn check(mut self) -> Result<(), SchemaError> {
        let checks = self.schema(self.root, Arguments::MAX_DEPTH + 1, 0)?;
        if checks.worst() > MAX_CHECKS { Err(SchemaError::TooMuch) } else { Ok(()) }
    }

    /// The checks by a schema of a value in which others nest `depth` deep. `within` is how many schemas led here.
    fn schema(&mut self, schema: &'a Value, depth: usize, within: usize) -> Result<Checks<'a>, SchemaError> {
        let key = (std::ptr::from_ref(schema), depth);
        if let Some(known) = self.known.get(&key) {
            let known = known.clone().ok_or_else(|| SchemaError::Circle(reference(schema)))?;
            self.step(known.named.len())?;
            return Ok(known);
        }
        self.step(1)?;
        if within > MAX_HEIGHT {
            return Err(SchemaError::TooMuch);
        }
        self.known.insert(key, None);
        let mut checks = Checks { own: 1, ..Checks::default() };
        if let Value::Object(members) = schema {
            self.same_value(members, depth, within, &mut checks)?;
            if let Some(depth) = depth.checked_sub(1) {
                self.members(members, depth, within, &mut checks)?;
                self.elements(members, depth, within, &mut checks)?;
            }
        }
        checks.height += 1;
        if checks.height > MAX_HEIGHT {
            return Err(SchemaError::TooMuch);
        }
        self.known.insert(key, Some(checks.clone()));
        Ok(checks)
    }

    /// Adds the subschemas for the value itself.
    fn same_value(
        &mut self,
        schema: &'a Map<String, Value>,
        depth: usize,
        within: usize,
        checks: &mut Checks<'a>,
    ) -> Result<(), SchemaError> {
        let mut all: Vec<&'a Value> =
            ["not", "if", "then", "else"].iter().filter_map(|member| schema.get(*member)).collect();
        let lists = ["allOf", "anyOf", "oneOf"].iter().filter_map(|member| schema.get(*member)?.as_array());
        all.extend(lists.flatten());
        let maps = ["dependentSchemas", "dependencies"];
        let maps = maps.iter().filter_map(|member| schema.get(*member)?.as_object());
        all.extend(maps.flat_map(Map::values));
        all.extend(self.referred(schema)?);
        for subschema in all {
            let of = self.schema(subschema, depth, within + 1)?;
            self.step(of.named.len())?;
            let times = |count: u64| count.saturating_mul(self.times);
            checks.own = checks.own.saturating_add(times(of.own));
            for (name, count) in &of.named {
                let named = checks.named.entry(name).or_default();
                *named = named.saturating_add(times(*count));
            }
            checks.members = checks.members.saturating_add(times(of.members));
            checks.elements = checks.elements.saturating_add(times(of.elements));
            checks.height = checks.height.max(of.height);
        }
        Ok(())
    }

    /// Adds the subschemas for members; `depth` is theirs.
    fn members(
        &mut self,
        schema: &'a Map<String, Value>,
        depth: usize,
        within: usize,
        checks: &mut Checks<'a>,
    ) -> Result<(), SchemaError> {
        for (name, subschema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let count = self.inner(subschema, depth, within, checks)?;
            let named = checks.named.entry(name).or_default();
            *named = named.saturating_add(count);
        }
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        let others = ["additionalProperties", "unevaluatedProperties", "propertyNames"];
        let others = others.iter().filter_map(|member| schema.get(*member));
        for subschema in patterns.into_iter().flat_map(Map::values).chain(others) {
            let count = self.inner(subschema, depth, within, checks)?;
            checks.members = checks.members.saturating_add(count);
        }
        Ok(())
    }

    /// Adds the subschemas for elements; `depth` is theirs.
    fn elements(
        &mut self,
        schema: &'a Map<String, Value>,
        depth: usize,
        within: usize,
        checks: &mut Checks<'a>,
    ) -> Result<(), SchemaError> {
        let keywords =
            ["prefixItems", "items", "additionalItems", "unevaluatedItems", "contains"].into_iter();
        for keyword in keywords.filter_map(|member| schema.get(member)) {
            // One for each element, or one for all.
            let each = keyword.as_array().map_or(std::slice::from_ref(keyword), Vec::as_slice);
            let mut most = 0;
            for subschema in each {
                most = most.max(self.inner(subschema, depth, within, checks)?);
            }
            checks.elements = checks.elements.saturating_add(most);
        }
        Ok(())
    }

    fn inner(
        &mut self,
        subschema: &'a Value,
        depth: usize,
        within: usize,
        checks: &mut Checks<'a>,
    ) -> Result<u64, SchemaError> {
        let of = self.schema(subschema, depth, within + 1)?;
        checks.height = checks.height.max(of.height);
        Ok(of.worst())
    }

    /// The schema that a schema refers to, if it does.
    fn referred(&self, schema: &'a Map<String, Value>) -> Result<Option<&'a Value>, SchemaError> {
        if let Some(dynamic) = schema.get("$dynamicRef").or_else(|| schema.get("$recursiveRef")) {
            return Err(SchemaError::Elsewhere(text(dynamic)));
        }
        let Some(reference) = schema.get("$ref") else { return Ok(None) };
        let elsewhere = || SchemaError::Elsewhere(text(reference));
        let pointer = reference.as_str().and_then(|reference| reference.strip_prefix('#'));
        // A percent stands for another character, and a base of its own for another root.
        let pointer = pointer.filter(|pointer| !pointer.contains('%') && !self.rebased);
        let found = self.root.pointer(pointer.ok_or_else(elsewhere)?);
        found.map(Some).ok_or_else(elsewhere)
    }

    fn step(&mut self, steps: usize) -> Result<(), SchemaError> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > MAX_STEPS { Err(SchemaError::TooMuch) } else { Ok(()) }
    }
}

/// Whether a member that is meant lies anywhere in a value.
fn holds(value: &Value, meant: &impl Fn(&str, &Value) -> bool) -> bool {
    match value {
        Value::Object(members) => {
            members.iter().any(|(member, value)| meant(member, value) || holds(value, meant))
        }
        Value::Array(elements) => elements.iter().any(|element| holds(element, meant)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// What a schema in a circle refers to.
fn reference(schema: &Value) -> String {
    schema.get("$ref").map_or_else(|| "#".to_owned(), text)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests;
