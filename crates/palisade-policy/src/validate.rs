//! Strict validation, at a cost that does not grow with the schema.
//!
//! Cedar checks every policy against every combination of principal, action and resource that the schema allows, also
//! those that the policy's head rules out. Where many policies have the same actions in their heads, they are checked
//! against the part of the schema that speaks of these actions: in every other combination the head is false, and what
//! stands behind it is never looked at. Making a part costs as much as checking some thousand policies, so that actions
//! which few policies name share one. Only a policy that passes there without a warning is spared; whatever is found,
//! the whole schema is asked, so that errors and warnings are always those of the whole.

use std::collections::{BTreeMap, HashMap, HashSet};

use cedar_policy::{
    ActionConstraint, Entities, EntityUid, Policy, PolicyId, PolicySet, Schema, SchemaFragment,
    ValidationMode, ValidationResult, Validator,
};
use palisade_model::Action;
use serde_json::{Map, Value};

use crate::vocabulary::{Vocabulary, action_of};

/// So many checks of one policy against one combination cost more than the part of a schema.
const WORTH_A_PART: usize = 3_000;
/// So many policies with the same actions in their heads have a part to themselves.
const MANY: usize = 500;
/// The actions of so many heads share a part where fewer have them.
const SHARED: usize = 16;

/// Validates the policies of a set.
pub(crate) struct Validation {
    whole: Validator,
    /// How many combinations the whole schema has.
    combinations: usize,
    fragments: Vec<Value>,
    hierarchy: Entities,
    /// Which part speaks of the actions in a head.
    part_of: HashMap<Vec<EntityUid>, usize>,
    parts: Vec<Part>,
}

/// A part of the schema, and what is known of the policies that are checked against it.
#[derive(Default)]
struct Part {
    heads: Vec<Vec<EntityUid>>,
    /// Whether it is for the actions of several heads.
    shared: bool,
    /// How many policies there were.
    seen: usize,
    /// None while it is not worth its cost.
    validator: Option<Validator>,
}

impl Validation {
    pub(crate) fn new(vocabulary: &Vocabulary) -> Self {
        let schema = &vocabulary.schema;
        let of = |action: &EntityUid| {
            let principals = schema.principals_for_action(action).map_or(0, Iterator::count);
            principals * schema.resources_for_action(action).map_or(0, Iterator::count)
        };
        let json = |fragment: &SchemaFragment| fragment.clone().to_json_value().ok();
        Self {
            whole: Validator::new(schema.clone()),
            combinations: schema.actions().map(of).sum(),
            fragments: vocabulary.fragments.iter().filter_map(json).collect(),
            hierarchy: schema.action_entities().unwrap_or_else(|_| Entities::empty()),
            part_of: HashMap::new(),
            parts: Vec::new(),
        }
    }

    pub(crate) fn schema(&self) -> &Schema {
        self.whole.schema()
    }

    /// What strict validation against the whole schema says of these policies.
    pub(crate) fn validate(&mut self, policies: &PolicySet) -> ValidationResult {
        let mut by_actions: HashMap<Vec<EntityUid>, Vec<&Policy>> = HashMap::new();
        let mut rest = Vec::new();
        for policy in policies.policies() {
            match policy.action_constraint() {
                ActionConstraint::Any => rest.push(policy),
                ActionConstraint::Eq(action) => by_actions.entry(vec![action]).or_default().push(policy),
                ActionConstraint::In(actions) => by_actions.entry(actions).or_default().push(policy),
            }
        }
        let mut by_part: BTreeMap<usize, Vec<&Policy>> = BTreeMap::new();
        for (actions, policies) in by_actions {
            by_part.entry(self.assign(actions, policies.len())).or_default().extend(policies);
        }
        for (part, policies) in by_part {
            match self.validator(part, policies.len()) {
                Some(validator) => rest.extend(not_flawless(validator, &policies)),
                None => rest.extend(policies),
            }
        }
        self.whole.validate(&set(&rest), ValidationMode::Strict)
    }

    /// The part that speaks of these actions. Those that few policies have are added to one that is not made yet.
    fn assign(&mut self, actions: Vec<EntityUid>, policies: usize) -> usize {
        if let Some(part) = self.part_of.get(&actions) {
            return *part;
        }
        let shared = policies < MANY;
        let has_room = |part: &Part| part.shared && part.validator.is_none() && part.heads.len() < SHARED;
        let room = self.parts.iter().rposition(has_room).filter(|_| shared);
        let at = room.unwrap_or(self.parts.len());
        if room.is_none() {
            self.parts.push(Part { shared, ..Part::default() });
        }
        if let Some(part) = self.parts.get_mut(at) {
            part.heads.push(actions.clone());
        }
        self.part_of.insert(actions, at);
        at
    }

    /// The validator of a part, if it is worth its cost.
    fn validator(&mut self, part: usize, policies: usize) -> Option<&Validator> {
        let part = self.parts.get_mut(part)?;
        part.seen += policies;
        if part.validator.is_none() && part.seen.saturating_mul(self.combinations) >= WORTH_A_PART {
            let actions: Vec<&EntityUid> = part.heads.iter().flatten().collect();
            part.validator =
                part_of(&self.fragments, &self.hierarchy, self.whole.schema(), &actions).map(Validator::new);
        }
        part.validator.as_ref()
    }
}

/// The policies of which a validator has anything to say.
fn not_flawless<'p>(validator: &Validator, policies: &[&'p Policy]) -> Vec<&'p Policy> {
    let result = validator.validate(&set(policies), ValidationMode::Strict);
    if result.validation_passed_without_warnings() {
        return Vec::new();
    }
    let errors = result.validation_errors().map(cedar_policy::ValidationError::policy_id);
    let flawed: HashSet<&PolicyId> =
        errors.chain(result.validation_warnings().map(cedar_policy::ValidationWarning::policy_id)).collect();
    policies.iter().filter(|policy| flawed.contains(policy.id())).copied().collect()
}

/// The policies are of one set, so that no id stands twice.
fn set(policies: &[&Policy]) -> PolicySet {
    PolicySet::from_policies(policies.iter().copied().cloned()).unwrap_or_default()
}

/// The schema without the actions that are neither these, nor in them, nor around them.
fn part_of(
    fragments: &[Value],
    hierarchy: &Entities,
    schema: &Schema,
    actions: &[&EntityUid],
) -> Option<Schema> {
    let related = |one: &EntityUid, other: &EntityUid| {
        one == other || hierarchy.is_ancestor_of(one, other) || hierarchy.is_ancestor_of(other, one)
    };
    let wanted = schema.actions().filter(|action| actions.iter().any(|named| related(named, action)));
    let wanted: HashSet<Action> = wanted.map(action_of).collect();
    let parts = fragments.iter().map(|fragment| {
        let namespaces = fragment.as_object()?.iter();
        let namespaces =
            namespaces.map(|(name, content)| Some((name.clone(), only(content, name, &wanted)?)));
        SchemaFragment::from_json_value(Value::Object(namespaces.collect::<Option<_>>()?)).ok()
    });
    Schema::from_schema_fragments(parts.collect::<Option<Vec<_>>>()?).ok()
}

/// A namespace with none but the wanted actions.
fn only(content: &Value, namespace: &str, wanted: &HashSet<Action>) -> Option<Value> {
    let keep =
        |name: &str| wanted.contains(&Action { namespace: namespace.to_owned(), name: name.to_owned() });
    let members = content.as_object()?.iter().map(|(member, value)| {
        let value = match value.as_object() {
            Some(actions) if member == "actions" => {
                let kept = actions.iter().filter(|(name, _)| keep(name));
                Value::Object(kept.map(|(name, action)| (name.clone(), action.clone())).collect())
            }
            Some(_) | None => value.clone(),
        };
        (member.clone(), value)
    });
    Some(Value::Object(members.collect::<Map<_, _>>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::World;

    /// Validates policies together, and each by itself against the whole.
    fn compare(policies: &str) {
        let (vocabulary, _) = Vocabulary::load(&[], &World::default()).unwrap();
        let set: PolicySet = policies.parse().unwrap();
        let told = |result: &ValidationResult| {
            let errors = result.validation_errors().map(ToString::to_string);
            let mut all: Vec<String> =
                errors.chain(result.validation_warnings().map(ToString::to_string)).collect();
            all.sort();
            all
        };
        let mut validation = Validation::new(&vocabulary);
        let in_parts = told(&validation.validate(&set));
        assert!(validation.parts.iter().all(|part| part.validator.is_some()), "the parts are not tried");
        let whole = Validator::new(vocabulary.schema.clone()).validate(&set, ValidationMode::Strict);
        assert_eq!(in_parts, told(&whole));
    }

    #[test]
    fn a_part_finds_what_the_whole_finds() {
        let mut text = String::new();
        for head in [
            "principal, action in Mcp::Action::\"tools/call\", resource",
            "principal is User, action in [Http::Action::\"read\", Http::Action::\"POST\"], resource is Http::Route",
            "principal == Client::\"c\", action == Mcp::Action::\"tools/list\", resource in Mcp::Server::\"s\"",
            "principal, action == OAuth::Action::\"exchange\", resource",
            "principal in Role::\"r\", action in Mcp::Action::\"session\", resource == Mcp::Tool::\"s/t\"",
        ] {
            for condition in [
                "true",
                "false",
                "context.scopes.contains(\"a\")",
                "context.scopes.contains(1)",
                "context.args.paths.isEmpty()",
                "context.nothing",
                "principal has tenant && principal.tenant == Tenant::\"t\"",
                "principal.tenant == Tenant::\"t\"",
                "action == Http::Action::\"GET\" && resource has template",
                "action in Http::Action::\"write\"",
                "action == Nothing::Action::\"x\"",
                "resource is Mcp::Tool && resource.read_only",
                "context.requested_scopes.isEmpty()",
                "principal == Anonymous::\"anonymous\" || principal == User::\"u\"",
                "context.scopes == [\"\u{202e}a\"]",
            ] {
                for effect in ["permit", "forbid"] {
                    text.push_str(&format!("{effect} ({head}) when {{ {condition} }};\n"));
                }
            }
        }
        compare(&text);
    }
}
