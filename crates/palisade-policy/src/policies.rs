//! A policy set in force: loaded whole, never changed, shared by reference.
//!
//! [`Policies::load`] parses every file, validates it strictly against the schema, merges the entities and gives back
//! either a set that is right in every part or everything that is wrong with it. [`Policies::prepare`] and
//! [`Policies::ask`] lead to verdicts in steps of which the longer-lived are shared; [`Policies::evaluate`] takes all at
//! once. All are pure, synchronous and total: whatever is asked, there is a verdict, and what cannot be answered is
//! denied.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use cedar_policy_core::ast::{Entity, EntityUIDEntry, Request};
use jsonschema::Validator;
use palisade_model::{
    Action, Arguments, Authority, Circumstances, PolicyRevision, Properties, Reason, Subject, Target,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Asking, Diagnostic, Effect, PolicyFailure, PolicyInfo, PolicyRef, PreparedSubject, Query, SourceFile,
    Sources, Strength, Verdict, World, arguments,
    asking::Put,
    catalog::schema,
    engine::{self, Answer, Engine},
    parse::{self, Parsed},
    sets,
    store::Store,
    subject::Workshop,
    supplied,
    verdict::by_id,
    vocabulary::{Carries, VOCABULARY, Vocabulary},
};

/// What becomes of a decision in which a policy could not be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// An erroring forbid turns a permit into a denial; an erroring permit permits nothing.
    #[default]
    Forbid,
    /// Any error turns a permit into a denial.
    Any,
    /// Plain Cedar: an erroring policy does not take part.
    Skip,
}

/// An immutable policy set with its schema, its entities and the configuration's resources.
#[derive(Debug)]
pub struct Policies {
    engine: Engine,
    vocabulary: Vocabulary,
    store: Store,
    /// In the order of the engine's policies.
    infos: Vec<PolicyInfo>,
    /// The entities of a call without arguments.
    no_arguments: Vec<Arc<Entity>>,
    /// What this set has prepared bears this mark.
    mark: Arc<()>,
    input_schemas: HashMap<Target, Validator>,
    /// The names of `@policy` that the schemas use and nothing decides.
    undecided: BTreeSet<Target>,
    on_error: OnError,
    revision: PolicyRevision,
    source: String,
    warnings: Vec<Diagnostic>,
}

impl Policies {
    /// Loads a policy set: strict validation of every policy, every entity and every fragment.
    ///
    /// # Errors
    /// Everything that is wrong, with its place and fix.
    pub fn load(sources: &Sources, world: &World, on_error: OnError) -> Result<Self, Vec<Diagnostic>> {
        let (vocabulary, mut warnings) = Vocabulary::load(&sources.schema, world)?;
        let parsed = parse::policies(&sources.policies, &vocabulary);
        let stored = Store::load(world, &sources.entities, &vocabulary);
        let (parsed, (store, notes)) = match (parsed, stored) {
            (Ok(parsed), Ok(stored)) => (parsed, stored),
            (parsed, stored) => {
                return Err([parsed.err(), stored.err()].into_iter().flatten().flatten().collect());
            }
        };
        let beyond = sets::violations(&parsed, sources, world);
        if !beyond.is_empty() {
            return Err(beyond);
        }
        let input_schemas = input_schemas(world)?;
        let no_arguments = arguments::none(&vocabulary)
            .map_err(|error| vec![Diagnostic::error("palisade.cedarschema", error.to_string())])?;
        let Parsed { policies, mut infos, warnings: lints, .. } = parsed;
        let engine = Engine::new(&policies);
        warnings.extend(lints);
        warnings.extend(notes);
        let mut policies = Self {
            infos: engine.ids().map(|id| infos.remove(id).unwrap_or_else(|| unknown(id))).collect(),
            engine,
            no_arguments,
            mark: Arc::new(()),
            input_schemas,
            undecided: BTreeSet::new(),
            revision: revision(sources, world, on_error),
            source: common_folder(&sources.policies),
            vocabulary,
            store,
            on_error,
            warnings,
        };
        policies.undecided = policies.find_undecided(world);
        Ok(policies)
    }

    /// What is probably not meant, though it is valid.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The first 16 hex digits of a SHA-256 over all contents that can change a decision. Where the files lie does
    /// not count, so replicas agree.
    #[must_use]
    pub fn revision(&self) -> &PolicyRevision {
        &self.revision
    }

    /// The folder that holds the policies.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Every policy, in order of id.
    pub fn policy_ids(&self) -> impl Iterator<Item = &PolicyInfo> {
        self.infos.iter()
    }

    /// Whether the target is in the catalogue, the routes or the entity files.
    #[must_use]
    pub fn knows_target(&self, target: &Target) -> bool {
        self.vocabulary
            .uid(&target.type_name, &target.id)
            .is_ok_and(|uid| self.store.get(uid.as_ref()).is_some())
    }

    /// Whether the schema has an entity type of this name.
    #[must_use]
    pub fn has_type(&self, type_name: &str) -> bool {
        self.vocabulary.has_type(type_name)
    }

    /// The action that a name means which is done to a target of this type: `Own::Action::"read"`, or `read` where one
    /// action of that name is done to the type, or one of the type's own namespace is.
    #[must_use]
    pub fn action_named(&self, name: &str, type_name: &str) -> Option<Action> {
        if let Some(whole) = Action::from_entity(name) {
            return self.vocabulary.action(&whole).map(|_| whole);
        }
        self.vocabulary.action_named(name, type_name).cloned()
    }

    /// Whether policies see the arguments of this action.
    #[must_use]
    pub fn takes_arguments(&self, action: &Action) -> bool {
        self.vocabulary.action(action).is_some_and(|act| act.carries == Carries::Arguments)
    }

    /// The names of supplied attributes that fill nothing: the schema does not declare them, or entity files have them.
    #[must_use]
    pub fn left_aside<'p>(&self, type_name: &str, id: &str, supplied: &'p Properties) -> Vec<&'p str> {
        match self.vocabulary.uid(type_name, id) {
            Err(_) => supplied.names().collect(),
            Ok(uid) => {
                let stored = self.store.get(uid.as_ref()).map(AsRef::as_ref);
                supplied::left_aside(uid.as_ref(), stored, supplied, &self.vocabulary)
            }
        }
    }

    /// Whether the arguments of a call are what the tool's catalogue says they must be. True for a target without an
    /// input schema, and for arguments that nobody has read: those are for policies to judge.
    #[must_use]
    pub fn accepts(&self, target: &Target, arguments: &Arguments) -> bool {
        match (self.input_schemas.get(target), &arguments.json) {
            (Some(schema), Some(arguments)) => schema.is_valid(arguments),
            (Some(_) | None, Some(_) | None) => true,
        }
    }

    /// The names of `@policy` that the schemas use and that no policy could ever permit.
    pub fn undecided_names(&self) -> impl Iterator<Item = &Target> {
        self.undecided.iter()
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn leaves_undecided(&self, name: &Target) -> bool {
        self.undecided.contains(name)
    }

    /// Prepares a subject with what its token says. Worth keeping as long as the token and this policy set are in
    /// use: every question of the subject shares it.
    #[must_use]
    pub fn prepare(
        &self,
        subject: &Subject,
        authority: Option<&Authority>,
        strength: Strength<'_>,
    ) -> PreparedSubject {
        let Self { vocabulary, store, no_arguments, mark, .. } = self;
        let workshop = Workshop { vocabulary, store, index: self.engine.index(), no_arguments, mark };
        PreparedSubject::new(workshop, subject, authority, strength)
    }

    /// Begins a request of a prepared subject; its items are then asked about one by one.
    #[must_use]
    pub fn ask<'a>(&'a self, subject: &'a PreparedSubject, circumstances: &'a Circumstances) -> Asking<'a> {
        Asking::new(self, subject, circumstances)
    }

    /// Answers a single question. Total: what cannot be put to the policies is denied.
    #[must_use]
    pub fn evaluate(&self, query: &Query<'_>) -> Verdict {
        let subject = self.prepare(query.subject, query.authority, query.strength);
        self.ask(&subject, query.circumstances).about(&query.about())
    }

    /// Whether this set prepared the subject.
    pub(crate) fn made(&self, subject: &PreparedSubject) -> bool {
        Arc::ptr_eq(&self.mark, &subject.made_by)
    }

    /// Evaluates what [`Asking`] has put together.
    pub(crate) fn decide(&self, put: Put<'_>) -> Verdict {
        self.verdict(self.engine.answer(&put.candidates, put.request, &put.entities))
    }

    fn verdict(&self, answer: Answer) -> Verdict {
        let mut determining: Vec<&PolicyInfo> =
            answer.determining.iter().filter_map(|number| self.info(*number)).collect();
        determining.sort_by(|left, right| by_id(&left.policy, &right.policy));
        let reason = self.reason(&answer);
        // A permit that an error has undone determines nothing.
        if reason == Reason::PolicyError {
            determining.clear();
        }
        let mut errors: Vec<PolicyFailure> = answer
            .errors
            .iter()
            .filter_map(|(number, error)| {
                let policy = self.info(*number)?.policy.clone();
                Some(PolicyFailure { policy, message: engine::told(error) })
            })
            .collect();
        errors.sort_by(|left, right| by_id(&left.policy, &right.policy));
        let values = |of: fn(&PolicyInfo) -> &Option<String>| {
            determining.iter().filter_map(|info| of(info).clone()).collect::<Vec<String>>()
        };
        Verdict {
            reason,
            policy_code: values(|info| &info.deny_code)
                .into_iter()
                .next()
                .filter(|_| reason == Reason::Forbidden),
            obligations: values(|info| &info.obligation),
            advice: values(|info| &info.advice),
            determining: determining.iter().map(|info| info.policy.clone()).collect(),
            errors,
            candidates: answer.candidates,
            detail: None,
        }
    }

    /// INVARIANT: `Permitted` comes out only where Cedar allows, and `on_error` lets no error stand in the way.
    fn reason(&self, answer: &Answer) -> Reason {
        if !answer.allowed {
            return if answer.determining.is_empty() { Reason::NoPermit } else { Reason::Forbidden };
        }
        let undone = match self.on_error {
            // A policy nobody knows counts as a forbid.
            OnError::Forbid => answer
                .errors
                .iter()
                .any(|(number, _)| self.info(*number).is_none_or(|info| info.effect == Effect::Forbid)),
            OnError::Any => !answer.errors.is_empty(),
            OnError::Skip => false,
        };
        if undone { Reason::PolicyError } else { Reason::Permitted }
    }

    /// A policy by the engine's number for it.
    pub(crate) fn policy(&self, number: u32) -> Option<&PolicyRef> {
        self.info(number).map(|info| &info.policy)
    }

    fn info(&self, number: u32) -> Option<&PolicyInfo> {
        self.infos.get(usize::try_from(number).ok()?)
    }

    pub(crate) fn on_error(&self) -> OnError {
        self.on_error
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn no_arguments(&self) -> &[Arc<Entity>] {
        &self.no_arguments
    }

    /// Whether a request fits the schema.
    pub(crate) fn is_valid(&self, request: &Request) -> bool {
        let uid = |entry: &EntityUIDEntry| entry.uid().cloned().map(cedar_policy::EntityUid::from);
        let parts =
            (uid(request.principal()), uid(request.action()), uid(request.resource()), request.context());
        let (Some(principal), Some(action), Some(resource), Some(context)) = parts else { return false };
        let schema = Some(&self.vocabulary.schema);
        cedar_policy::Request::new(principal, action, resource, context.clone().into(), schema).is_ok()
    }

    /// The vocabulary, for what reads tests.
    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }
}

/// A policy that no file is known to hold. INVARIANT: it counts as a forbid, so that its error lets nothing by.
fn unknown(id: &str) -> PolicyInfo {
    PolicyInfo {
        policy: PolicyRef { id: id.to_owned(), file: String::new(), line: 0 },
        effect: Effect::Forbid,
        description: None,
        deny_code: None,
        obligation: None,
        advice: None,
    }
}

/// The input schemas of all tools, compiled.
fn input_schemas(world: &World) -> Result<HashMap<Target, Validator>, Vec<Diagnostic>> {
    let (mut compiled, mut problems) = (HashMap::new(), Vec::new());
    for resource in &world.resources {
        for tool in &resource.tools {
            match tool.input_schema.as_ref().map(schema::compile) {
                None => {}
                Some(Ok(validator)) => {
                    compiled.insert(Target::mcp_tool(&resource.name, &tool.name), validator);
                }
                Some(Err(error)) => {
                    let message = format!("the input schema of tool `{}` {error}", tool.name);
                    let catalog = format!("the catalogue of `{}`", resource.name);
                    problems.push(Diagnostic::error(catalog, message).help(schema::FIX));
                }
            }
        }
    }
    if problems.is_empty() { Ok(compiled) } else { Err(problems) }
}

/// Hashes names of files and contents, each with its length before it, so that no two sets run together.
fn revision(sources: &Sources, world: &World, on_error: OnError) -> PolicyRevision {
    let mut hash = Sha256::new();
    let mut add = |part: &str| {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    };
    add(env!("CARGO_PKG_VERSION"));
    add(VOCABULARY);
    for (kind, files) in
        [("policies", &sources.policies), ("schema", &sources.schema), ("entities", &sources.entities)]
    {
        add(kind);
        for file in files {
            add(file_name(&file.path));
            add(&file.text);
        }
    }
    add(&format!("{on_error:?}"));
    add(&serde_json::to_string(world).unwrap_or_default());
    let digest = hex::encode(hash.finalize());
    PolicyRevision::from(digest.chars().take(16).collect::<String>())
}

fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

fn common_folder(files: &[SourceFile]) -> String {
    let mut folders = files.iter().map(|file| {
        let mut parts: Vec<&str> = file.path.split('/').collect();
        parts.pop();
        parts
    });
    let first = folders.next().unwrap_or_default();
    let common = folders.fold(first, |common, folder| {
        common
            .into_iter()
            .zip(folder)
            .take_while(|(left, right)| left == right)
            .map(|(part, _)| part)
            .collect()
    });
    common.join("/")
}

#[cfg(test)]
pub(crate) mod tests;
