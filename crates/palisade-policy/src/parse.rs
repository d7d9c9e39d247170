//! Policy files to one validated set.
//!
//! Every file is parsed and validated by itself, and a long one piece by piece, so that Cedar's positions are positions
//! in that piece. Policies get stable ids: `@id`, else the stem of the file and the number of the policy in it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use cedar_policy::{
    ActionConstraint, Effect as CedarEffect, EntityUid, Policy, PolicyId, PolicySet, Template,
    ValidationError, ValidationWarning,
};

use crate::{
    Diagnostic, Effect, PolicyInfo, PolicyRef, SourceFile,
    diagnostic::{Lines, nearest},
    engine::without_annotations,
    lints::Lint,
    pieces, typed,
    validate::Validation,
    vocabulary::{Vocabulary, action_of},
};

pub(crate) struct Parsed {
    /// Without their annotations, of which `infos` has those with a meaning.
    pub(crate) policies: Vec<Policy>,
    pub(crate) infos: BTreeMap<String, PolicyInfo>,
    pub(crate) warnings: Vec<Diagnostic>,
}

pub(crate) fn policies(files: &[SourceFile], vocabulary: &Vocabulary) -> Result<Parsed, Vec<Diagnostic>> {
    let mut validation = Validation::new(vocabulary);
    let groups = vocabulary.schema.action_groups();
    let mut reading = Reading {
        with_children: groups.filter(|uid| vocabulary.action(&action_of(uid)).is_some()).cloned().collect(),
        parsed: Parsed { policies: Vec::new(), infos: BTreeMap::new(), warnings: Vec::new() },
        taken: BTreeMap::new(),
        errors: Vec::new(),
        typed_tools: vocabulary.has_typed_tools(),
    };
    for file in files {
        reading.read(file, &mut validation);
    }
    if reading.errors.is_empty() { Ok(reading.parsed) } else { Err(reading.errors) }
}

/// A policy as it is written, for whatever looks at policies and asks them nothing.
pub(crate) struct Written {
    pub(crate) policy: Policy,
    pub(crate) id: String,
    /// Where its text begins in the file, in bytes.
    pub(crate) offset: usize,
    /// The same as line and column.
    pub(crate) place: (usize, usize),
}

/// The policies of a file in its order; none where the file cannot be parsed, since loading says why.
pub(crate) fn written(file: &SourceFile) -> Vec<Written> {
    if pieces::too_deep(&file.text).is_some() {
        return Vec::new();
    }
    let Ok(set) = file.text.parse::<PolicySet>() else { return Vec::new() };
    let policies = placed(&set, file, 0).into_iter().filter_map(|placed| match placed.statement {
        Statement::Policy(policy) => {
            Some(Written { policy, id: placed.id, offset: placed.offset, place: placed.place })
        }
        Statement::Template(_) => None,
    });
    policies.collect()
}

/// A statement with its id and its place in the file.
struct Placed {
    statement: Statement,
    id: String,
    /// Whether the id is its `@id`.
    named: bool,
    offset: usize,
    place: (usize, usize),
}

/// `before` is the number of statements in the pieces before this one.
fn placed(set: &PolicySet, file: &SourceFile, before: usize) -> Vec<Placed> {
    let lines = Lines::of(&file.text);
    let mut end = 0;
    let mut all = Vec::new();
    for (at, statement) in in_order(set).into_iter().enumerate() {
        let text = statement.text();
        // The text of a statement is a piece of the file, and the statements come in the file's order.
        let rest = file.text.get(end..).unwrap_or_default();
        let offset = end + rest.find(&text).unwrap_or_default();
        end = offset + text.len();
        let given = statement.annotation("id").filter(|id| !id.is_empty());
        let named = given.is_some();
        let id = given.unwrap_or_else(|| format!("{}#{}", stem(&file.path), before + at + 1));
        all.push(Placed { statement, id, named, offset, place: lines.position(offset) });
    }
    all
}

/// A policy or a template, whichever stands in the file.
enum Statement {
    Policy(Policy),
    Template(Template),
}

/// What stands before a piece in its file.
#[derive(Clone, Copy)]
struct Before {
    statements: usize,
    lines: usize,
}

struct Reading {
    parsed: Parsed,
    /// The actions that requests can have and that other actions are in.
    with_children: HashSet<EntityUid>,
    /// Every id, and where it was given.
    taken: BTreeMap<String, (String, usize)>,
    errors: Vec<Diagnostic>,
    /// Whether tools have actions of their own.
    typed_tools: bool,
}

impl Reading {
    fn read(&mut self, file: &SourceFile, validation: &mut Validation) {
        if let Some((at, what)) = pieces::too_deep(&file.text) {
            let error = Diagnostic::error(&file.path, what).at(Lines::of(&file.text).position(at));
            let help = "use `[..].contains(x)`, `in [..]` or a group, or make several policies of it";
            return self.errors.push(error.help(help));
        }
        let mut pieces = pieces::of(&file.text).into_iter();
        let (mut statements, mut lines) = (0, 0);
        while let Some(range) = pieces.next() {
            let begin = range.start;
            let mut text = file.text.get(range).unwrap_or_default();
            let mut set = text.parse::<PolicySet>();
            if set.is_err() && pieces.next().is_some() {
                // What is wrong is said of the rest as a whole.
                pieces = Vec::new().into_iter();
                text = file.text.get(begin..).unwrap_or_default();
                set = text.parse();
            }
            let piece = SourceFile::new(&*file.path, text);
            let (errors, warnings) = (self.errors.len(), self.parsed.warnings.len());
            statements += self.read_piece(set, &piece, Before { statements, lines }, validation);
            // Positions are those in the piece.
            let found = self.errors.iter_mut().skip(errors);
            for diagnostic in found.chain(self.parsed.warnings.iter_mut().skip(warnings)) {
                diagnostic.line += if diagnostic.line > 0 { lines } else { 0 };
            }
            lines += text.bytes().filter(|byte| *byte == b'\n').count();
        }
    }

    /// Gives the number of statements.
    fn read_piece(
        &mut self,
        set: Result<PolicySet, cedar_policy::ParseErrors>,
        piece: &SourceFile,
        before: Before,
        validation: &mut Validation,
    ) -> usize {
        let set = match set {
            Ok(set) => set,
            Err(errors) => {
                let found = errors.iter().map(|error| Diagnostic::from_cedar(error, piece, (1, 1)));
                self.errors.extend(found);
                return 0;
            }
        };
        let mut own = PolicySet::new();
        let placed = placed(&set, piece, before.statements);
        let statements = placed.len();
        for placed in placed {
            self.take(placed, piece, before.lines, &mut own);
        }
        self.validate(&own, piece, before.lines, validation);
        statements
    }

    fn take(&mut self, placed: Placed, file: &SourceFile, lines: usize, own: &mut PolicySet) {
        let Placed { statement, id, named, place, .. } = placed;
        if !named {
            let lint = Diagnostic::of(Lint::MissingId, &file.path, "the policy has no `@id`").at(place);
            let help = format!("give it one, or it is known as `{id}` and renamed when the file changes");
            self.parsed.warnings.push(lint.help(help));
        }
        if let Some((other, line)) = self.taken.get(&id) {
            let error =
                Diagnostic::error(&file.path, format!("the policy id `{id}` is taken by {other}:{line}"));
            return self.errors.push(error.at(place).help("give every policy an `@id` of its own"));
        }
        self.taken.insert(id.clone(), (file.path.clone(), lines + place.0));
        let added = match statement {
            Statement::Policy(policy) => {
                let policy = policy.new_id(PolicyId::new(&id));
                self.parsed.infos.insert(id.clone(), info(&policy, &id, &file.path, lines + place.0));
                if self.typed_tools {
                    self.errors.extend(passes_typed_tools_by(&policy, file, place));
                } else {
                    self.parsed.warnings.extend(lint_action(&policy, &self.with_children, file, place));
                }
                self.parsed.policies.push(without_annotations(&policy));
                own.add(policy).map_err(Box::new)
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

    fn validate(&mut self, own: &PolicySet, file: &SourceFile, lines: usize, validation: &mut Validation) {
        let result = validation.validate(own);
        let place = |taken: &BTreeMap<String, (String, usize)>, id: &PolicyId| {
            taken.get(AsRef::<str>::as_ref(id)).map_or((1, 1), |(_, line)| (line.saturating_sub(lines), 1))
        };
        for error in result.validation_errors() {
            let fallback = place(&self.taken, error.policy_id());
            let mut diagnostic = Diagnostic::from_cedar(error, file, fallback);
            if matches!(error, ValidationError::UnrecognizedActionId(_)) {
                diagnostic.help = nearest_action(&diagnostic.message, validation);
            }
            self.errors.push(diagnostic);
        }
        let mut without_request = BTreeSet::new();
        for warning in result.validation_warnings() {
            let (name, help) = lint_of(warning);
            let id: &str = warning.policy_id().as_ref();
            // What no request fits is impossible, too; once is enough.
            if name == Lint::NoRequest {
                without_request.insert(id.to_owned());
            } else if name == Lint::NeverHolds && without_request.contains(id) {
                continue;
            }
            let mut lint =
                Diagnostic::from_cedar(warning, file, place(&self.taken, warning.policy_id())).warning();
            (lint.lint, lint.help) = (Some(name), lint.help.or_else(|| Some(help.to_owned())));
            self.parsed.warnings.push(lint);
        }
    }
}

/// Cedar's warnings are lints, too.
fn lint_of(warning: &ValidationWarning) -> (Lint, &'static str) {
    if matches!(warning, ValidationWarning::InvalidActionApplication(_)) {
        (
            Lint::NoRequest,
            "compare the types in the head with what the schema's `appliesTo` says of the action",
        )
    } else if matches!(warning, ValidationWarning::ImpossiblePolicy(_)) {
        (Lint::NeverHolds, "remove the policy, or the part of its condition that contradicts the rest")
    } else {
        (Lint::ConfusableText, "write the text in one script and without control characters")
    }
}

/// Cedar's own proposal prefers the shortest action.
fn nearest_action(message: &str, validation: &Validation) -> Option<String> {
    let unknown = message.rsplit('`').nth(1)?;
    let actions: Vec<String> = validation.schema().actions().map(ToString::to_string).collect();
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

/// A tool with typed arguments has an action of its own *in* `tools/call`, which `==` passes by; today or tomorrow.
fn lint_action(
    policy: &Policy,
    with_children: &HashSet<EntityUid>,
    file: &SourceFile,
    place: (usize, usize),
) -> Option<Diagnostic> {
    let ActionConstraint::Eq(uid) = policy.action_constraint() else { return None };
    let action = action_of(&uid);
    let message = if action.namespace == "Mcp" && action.name == "tools/call" {
        "`action ==` misses the calls of tools with an action of their own"
    } else if with_children.contains(&uid) {
        "`action ==` misses the actions that are in this one"
    } else {
        return None;
    };
    let help = format!("write `action in {uid}`");
    Some(Diagnostic::of(Lint::ActionEquals, &file.path, message).at(place).help(help))
}

/// With typed tools the lint is an error: their calls would pass such a policy by today.
fn passes_typed_tools_by(policy: &Policy, file: &SourceFile, place: (usize, usize)) -> Option<Diagnostic> {
    // A policy that cannot be read as JSON is not sure to reach the calls of typed tools.
    let passes_by = policy.to_json().map_or(true, |policy| typed::passes_by(&policy));
    passes_by.then(|| {
        Diagnostic::error(
            &file.path,
            "`==` with `tools/call` misses the calls of typed tools, which have actions of their own",
        )
        .at(place)
        .help(r#"write `action in Mcp::Action::"tools/call"`"#)
    })
}

fn stem(path: &str) -> &str {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    name.strip_suffix(".cedar").unwrap_or(name)
}
