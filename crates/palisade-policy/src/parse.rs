//! Policy files to one validated set.
//!
//! Every file is parsed and validated by itself, so that Cedar's positions are positions in that file. Policies get
//! stable ids: `@id`, else the stem of the file and the number of the policy in it.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{
    ActionConstraint, Effect as CedarEffect, EntityUid, Policy, PolicyId, PolicySet, Template,
    ValidationError, ValidationMode, Validator,
};
use serde_json::Value;

use crate::{
    Diagnostic, Effect, PolicyInfo, PolicyRef, SourceFile,
    diagnostic::{Lines, nearest},
    vocabulary::{Vocabulary, action_of},
};

pub(crate) struct Parsed {
    pub(crate) set: PolicySet,
    pub(crate) infos: BTreeMap<String, PolicyInfo>,
    pub(crate) warnings: Vec<Diagnostic>,
    /// Entities that conditions look into by name.
    pub(crate) looked_into: BTreeSet<EntityUid>,
}

pub(crate) fn policies(files: &[SourceFile], vocabulary: &Vocabulary) -> Result<Parsed, Vec<Diagnostic>> {
    let validator = Validator::new(vocabulary.schema.clone());
    let mut reading = Reading {
        parsed: Parsed {
            set: PolicySet::new(),
            infos: BTreeMap::new(),
            warnings: Vec::new(),
            looked_into: BTreeSet::new(),
        },
        taken: BTreeMap::new(),
        errors: Vec::new(),
    };
    for file in files {
        reading.read(file, &validator);
    }
    if reading.errors.is_empty() { Ok(reading.parsed) } else { Err(reading.errors) }
}

/// A policy or a template, whichever stands in the file.
enum Statement {
    Policy(Policy),
    Template(Template),
}

struct Reading {
    parsed: Parsed,
    /// Every id, and where it was given.
    taken: BTreeMap<String, (String, usize)>,
    errors: Vec<Diagnostic>,
}

impl Reading {
    fn read(&mut self, file: &SourceFile, validator: &Validator) {
        let set: PolicySet = match file.text.parse() {
            Ok(set) => set,
            Err(errors) => {
                let errors: &cedar_policy::ParseErrors = &errors;
                let found = errors.iter().map(|error| Diagnostic::from_cedar(error, file, (1, 1)));
                return self.errors.extend(found);
            }
        };
        let mut own = PolicySet::new();
        let lines = Lines::of(&file.text);
        let mut offset = 0;
        for (at, statement) in in_order(&set).into_iter().enumerate() {
            let text = statement.text();
            // The text of a statement is a piece of the file, and the statements come in the file's order.
            let rest = file.text.get(offset..).unwrap_or_default();
            let begin = offset + rest.find(&text).unwrap_or_default();
            offset = begin + text.len();
            self.take(statement, at + 1, lines.position(begin), file, &mut own);
        }
        self.validate(&own, file, validator);
    }

    fn take(
        &mut self,
        statement: Statement,
        number: usize,
        place: (usize, usize),
        file: &SourceFile,
        own: &mut PolicySet,
    ) {
        let given = statement.annotation("id").filter(|id| !id.is_empty());
        let id = given.clone().unwrap_or_else(|| format!("{}#{number}", stem(&file.path)));
        if given.is_none() {
            let lint = Diagnostic::error(&file.path, "the policy has no `@id`").warning().at(place);
            let help = format!("give it one, or it is known as `{id}` and renamed when the file changes");
            self.parsed.warnings.push(lint.help(help));
        }
        if let Some((other, line)) = self.taken.get(&id) {
            let error =
                Diagnostic::error(&file.path, format!("the policy id `{id}` is taken by {other}:{line}"));
            return self.errors.push(error.at(place).help("give every policy an `@id` of its own"));
        }
        self.taken.insert(id.clone(), (file.path.clone(), place.0));
        let added = match statement {
            Statement::Policy(policy) => {
                let policy = policy.new_id(PolicyId::new(&id));
                self.parsed.infos.insert(id.clone(), info(&policy, &id, &file.path, place.0));
                self.parsed.warnings.extend(lint_action(&policy, file, place));
                looked_into(&policy, &mut self.parsed.looked_into);
                let first = own.add(policy.clone()).map_err(Box::new);
                first.and_then(|()| self.parsed.set.add(policy).map_err(Box::new))
            }
            Statement::Template(_) => {
                let error =
                    Diagnostic::error(&file.path, format!("`{id}` is a template, and nothing links it"));
                let help = "a template by itself permits and forbids nothing: write a policy instead";
                return self.errors.push(error.at(place).help(help));
            }
        };
        if let Err(error) = added {
            self.errors.push(Diagnostic::from_cedar(error.as_ref(), file, place));
        }
    }

    fn validate(&mut self, own: &PolicySet, file: &SourceFile, validator: &Validator) {
        let result = validator.validate(own, ValidationMode::Strict);
        let place = |taken: &BTreeMap<String, (String, usize)>, id: &PolicyId| {
            taken.get(AsRef::<str>::as_ref(id)).map_or((1, 1), |(_, line)| (*line, 1))
        };
        for error in result.validation_errors() {
            let fallback = place(&self.taken, error.policy_id());
            let mut diagnostic = Diagnostic::from_cedar(error, file, fallback);
            if matches!(error, ValidationError::UnrecognizedActionId(_)) {
                diagnostic.help = nearest_action(&diagnostic.message, validator);
            }
            self.errors.push(diagnostic);
        }
        for warning in result.validation_warnings() {
            let fallback = place(&self.taken, warning.policy_id());
            self.parsed.warnings.push(Diagnostic::from_cedar(warning, file, fallback).warning());
        }
    }
}

/// Cedar's own proposal prefers the shortest action.
fn nearest_action(message: &str, validator: &Validator) -> Option<String> {
    let unknown = message.rsplit('`').nth(1)?;
    let actions: Vec<String> = validator.schema().actions().map(ToString::to_string).collect();
    nearest(unknown, actions.iter().map(String::as_str)).map(|known| format!("did you mean `{known}`?"))
}

impl Statement {
    fn annotation(&self, name: &str) -> Option<String> {
        match self {
            Self::Policy(policy) => policy.annotation(name),
            Self::Template(template) => template.annotation(name),
        }
        .map(str::to_owned)
    }

    fn text(&self) -> String {
        match self {
            Self::Policy(policy) => policy.to_cedar().unwrap_or_default(),
            Self::Template(template) => template.to_cedar(),
        }
    }
}

/// The statements in the order of the file: the parser names them `policy0`, `policy1` and so on.
fn in_order(set: &PolicySet) -> Vec<Statement> {
    let number = |id: &PolicyId| {
        AsRef::<str>::as_ref(id).strip_prefix("policy").and_then(|number| number.parse::<usize>().ok())
    };
    let mut statements: Vec<(Option<usize>, Statement)> = (set.policies())
        .map(|policy| (number(policy.id()), Statement::Policy(policy.clone())))
        .chain(set.templates().map(|template| (number(template.id()), Statement::Template(template.clone()))))
        .collect();
    statements.sort_by_key(|(number, _)| *number);
    statements.into_iter().map(|(_, statement)| statement).collect()
}

fn info(policy: &Policy, id: &str, file: &str, line: usize) -> PolicyInfo {
    let annotation = |name: &str| policy.annotation(name).filter(|text| !text.is_empty()).map(str::to_owned);
    PolicyInfo {
        policy: PolicyRef { id: id.to_owned(), file: file.to_owned(), line },
        effect: match policy.effect() {
            CedarEffect::Permit => Effect::Permit,
            CedarEffect::Forbid => Effect::Forbid,
        },
        description: annotation("description"),
        deny_code: annotation("deny_code"),
        obligation: annotation("obligation"),
        advice: annotation("advice"),
    }
}

/// A tool with typed arguments has an action of its own *in* `tools/call`, which `==` passes by.
fn lint_action(policy: &Policy, file: &SourceFile, place: (usize, usize)) -> Option<Diagnostic> {
    let ActionConstraint::Eq(uid) = policy.action_constraint() else { return None };
    let action = action_of(&uid);
    (action.namespace == "Mcp" && action.name == "tools/call").then(|| {
        Diagnostic::error(&file.path, "`action ==` misses the calls of tools with an action of their own")
            .warning()
            .at(place)
            .help(r#"write `action in Mcp::Action::"tools/call"`"#)
    })
}

/// Collects the entities that a policy's conditions look into by name, so that they are there when it is evaluated.
/// An entity that is only compared, or only stands right of `in`, is not looked into.
fn looked_into(policy: &Policy, found: &mut BTreeSet<EntityUid>) {
    if !policy.has_non_scope_constraint() {
        return;
    }
    let conditions = policy.to_json().ok().and_then(|mut json| Some(json.get_mut("conditions")?.take()));
    let mut literals = BTreeSet::new();
    if let Some(conditions) = conditions {
        literals_in(&conditions, &mut literals);
    }
    found.extend(
        policy
            .entity_literals()
            .into_iter()
            .filter(|uid| literals.contains(&(uid.type_name().to_string(), uid.id().unescaped().to_owned()))),
    );
}

fn literals_in(expression: &Value, found: &mut BTreeSet<(String, String)>) {
    match expression {
        Value::Object(members) => {
            for (operator, operand) in members {
                match operator.as_str() {
                    "__entity" => found.extend(entity(expression)),
                    "==" | "!=" => {
                        ["left", "right"].into_iter().for_each(|side| unless_bare(operand, side, found))
                    }
                    "in" => {
                        unless_bare(operand, "right", found);
                        operand.get("left").into_iter().for_each(|left| literals_in(left, found));
                    }
                    _ => literals_in(operand, found),
                }
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| literals_in(element, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Descends into one side of an operator, unless it is a bare entity or a set of such.
fn unless_bare(operand: &Value, side: &str, found: &mut BTreeSet<(String, String)>) {
    let Some(operand) = operand.get(side) else { return };
    let bare = |expression: &Value| expression.get("Value").is_some_and(|value| entity(value).is_some());
    let set = operand.get("Set").and_then(Value::as_array);
    if !bare(operand) && !set.is_some_and(|elements| elements.iter().all(bare)) {
        literals_in(operand, found);
    }
}

/// `{"__entity": {"type": .., "id": ..}}`
fn entity(value: &Value) -> Option<(String, String)> {
    let entity = value.get("__entity")?;
    let text = |member: &str| entity.get(member)?.as_str().map(str::to_owned);
    Some((text("type")?, text("id")?))
}

fn stem(path: &str) -> &str {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    name.strip_suffix(".cedar").unwrap_or(name)
}
