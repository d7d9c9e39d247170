//! The schema that policies are validated against: the built-in vocabulary and a deployment's own fragments.
//!
//! A fragment brings namespaces of its own. It may not touch the built-in ones, because these grow with minor
//! releases, nor define one of the six names of the empty namespace, which Cedar forbids to shadow. In the empty
//! namespace it may define entity types whose names begin with a small letter, such as the `user` of other systems: no
//! built-in name ever does. Typed tools add to
//! the schema, too: the service writes that fragment itself. Their actions stand for `tools/call` of one tool, so no
//! request can name them.

use std::collections::{BTreeSet, HashMap};

use cedar_policy::{
    Context, EntityId, EntityTypeName, EntityUid, RestrictedExpression, Schema, SchemaFragment,
};
use cedar_policy_core::extensions::Extensions;
use palisade_model::{Action, Target};
use serde_json::Value;

use crate::{
    Diagnostic, SourceFile, World, arguments,
    diagnostic::position,
    query::{RequestError, is_of_protocol},
    typed::{self, TypedTool, TypedTools},
};

/// The built-in vocabulary, `schemas/palisade.cedarschema`.
pub const VOCABULARY: &str = include_str!("../../../schemas/palisade.cedarschema");

/// The names that stand in the empty namespace.
const RESERVED: [&str; 6] = ["Tenant", "Group", "Role", "User", "Client", "Anonymous"];

/// The namespaces of the built-in vocabulary.
const BUILT_IN: [&str; 5] = ["Palisade", "Mcp", "Graphql", "Http", "OAuth"];

/// The schema, and what of it a request needs to look up.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    pub(crate) schema: Schema,
    types: HashMap<String, EntityTypeName>,
    actions: HashMap<Action, Act>,
    /// Typed tools, by the ids of their entities.
    typed: TypedTools,
    /// What the schema is made of.
    pub(crate) fragments: Vec<SchemaFragment>,
}

/// An action that applies to something.
#[derive(Debug)]
pub(crate) struct Act {
    pub(crate) uid: EntityUid,
    pub(crate) principals: BTreeSet<String>,
    pub(crate) resources: BTreeSet<String>,
    pub(crate) carries: Carries,
}

/// What the context of an action holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carries {
    /// `Palisade::Context`.
    Circumstances,
    /// `Palisade::Call`: the same and the arguments.
    Arguments,
    /// `Palisade::Exchange`: the circumstances and the terms of an exchange.
    Terms,
    /// Something this crate does not build.
    Other,
}

impl Vocabulary {
    /// `world` has the typed tools.
    pub(crate) fn load(
        files: &[SourceFile],
        world: &World,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let built_in = SourceFile::new("palisade.cedarschema", VOCABULARY);
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        let mut fragments = Vec::new();
        for (at, file) in std::iter::once(&built_in).chain(files).enumerate() {
            match SchemaFragment::from_cedarschema_str(&file.text) {
                Ok((fragment, notes)) => {
                    warnings.extend(notes.map(|note| Diagnostic::from_cedar(&note, file, (1, 1)).warning()));
                    if at > 0 {
                        errors.extend(trespasses(&fragment, file));
                    }
                    fragments.push(fragment);
                }
                Err(error) => errors.push(Diagnostic::from_cedar(&error, file, (1, 1))),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let (typed, generated) = typed_fragment(world, fragments.first())?;
        fragments.extend(generated);
        let schema = Schema::from_schema_fragments(fragments.iter().cloned())
            .map_err(|error| vec![place_in_fragments(&error, files.iter().chain([&built_in]))])?;
        let vocabulary = Self::index(schema, typed, fragments);
        errors.extend(vocabulary.undecidable(files));
        if errors.is_empty() { Ok((vocabulary, warnings)) } else { Err(errors) }
    }

    fn index(schema: Schema, typed: TypedTools, fragments: Vec<SchemaFragment>) -> Self {
        let types = schema.entity_types().map(|name| (name.to_string(), name.clone())).collect();
        let of_typed: BTreeSet<&str> = typed.values().map(|tool| tool.action.id().unescaped()).collect();
        let is_typed = |action: &Action| action.namespace == "Mcp" && of_typed.contains(action.name.as_str());
        let mut vocabulary =
            Self { schema, types, actions: HashMap::new(), typed: TypedTools::new(), fragments };
        vocabulary.actions = vocabulary
            .schema
            .actions()
            // INVARIANT: the action of a typed tool is reached through the tool alone, with its input.
            .filter(|uid| !is_typed(&action_of(uid)))
            .filter_map(|uid| {
                let names = |types: &mut dyn Iterator<Item = &EntityTypeName>| {
                    types.map(ToString::to_string).collect::<BTreeSet<String>>()
                };
                let principals = names(&mut vocabulary.schema.principals_for_action(uid)?);
                let resources = names(&mut vocabulary.schema.resources_for_action(uid)?);
                // An action that applies to nothing is a group; no request carries it.
                (!resources.is_empty()).then(|| {
                    let act =
                        Act { uid: uid.clone(), principals, resources, carries: vocabulary.carries(uid) };
                    (action_of(uid), act)
                })
            })
            .collect();
        vocabulary.typed = typed;
        vocabulary
    }

    /// Finds out by trying, because the public schema does not tell the type of a context.
    fn carries(&self, action: &EntityUid) -> Carries {
        let fits = |kind: Carries| {
            let valid = |optional: bool| {
                probe(self, kind, optional)
                    .is_some_and(|context| context.validate(&self.schema, action).is_ok())
            };
            // INVARIANT: a context with everything and one with the least fit, so every one between them does, and
            // requests need not be validated one by one.
            valid(true) && valid(false)
        };
        let kinds = [Carries::Arguments, Carries::Circumstances, Carries::Terms];
        kinds.into_iter().find(|kind| fits(*kind)).unwrap_or(Carries::Other)
    }

    /// A deployment's own actions whose context nobody can fill.
    fn undecidable(&self, files: &[SourceFile]) -> Vec<Diagnostic> {
        let own = |action: &&Action| is_own(action);
        let mut actions: Vec<&Action> = self
            .actions
            .iter()
            .filter(|(_, act)| matches!(act.carries, Carries::Other | Carries::Terms))
            .map(|(action, _)| action)
            .filter(own)
            .collect();
        actions.sort();
        actions
            .into_iter()
            .map(|action| {
                let message = format!("the context of `{}` is not one that requests have", action.entity());
                place_of_name(message, &format!("\"{}\"", action.name), files)
                    .help("declare `context: Palisade::Context`, or `context: Palisade::Call` for actions with arguments")
            })
            .collect()
    }

    pub(crate) fn action(&self, action: &Action) -> Option<&Act> {
        self.actions.get(action)
    }

    /// The typed tool that is called, if it is one.
    pub(crate) fn typed_tool(&self, action: &Action, target: &Target) -> Option<&TypedTool> {
        let called =
            action.namespace == "Mcp" && action.name == "tools/call" && target.type_name == "Mcp::Tool";
        self.typed.get(&target.id).filter(|_| called)
    }

    /// Whether any tool is typed.
    pub(crate) fn has_typed_tools(&self) -> bool {
        !self.typed.is_empty()
    }

    /// The actions that are done to a type, in order.
    pub(crate) fn actions_on(&self, type_name: &str) -> Vec<Action> {
        let done = self.actions.iter().filter(|(_, act)| act.resources.contains(type_name));
        let mut actions: Vec<Action> = done.map(|(action, _)| action.clone()).collect();
        actions.sort();
        actions
    }

    /// The one action of this name that is done to a type: where several have it, that of the type's own namespace.
    pub(crate) fn action_named(&self, name: &str, type_name: &str) -> Option<&Action> {
        let named = |action: &&Action| action.name == name;
        let done = self.actions.iter().filter(|(_, act)| act.resources.contains(type_name));
        let mut found = done.map(|(action, _)| action).filter(named);
        let (first, second) = (found.next()?, found.next());
        if second.is_none() {
            return Some(first);
        }
        let namespace = type_name.rsplit_once("::").map_or("", |(namespace, _)| namespace);
        let own = Action { namespace: namespace.to_owned(), name: name.to_owned() };
        self.actions
            .get_key_value(&own)
            .filter(|(_, act)| act.resources.contains(type_name))
            .map(|(own, _)| own)
    }

    /// The types that actions of the deployment's own are done to, in order.
    pub(crate) fn own_types(&self) -> BTreeSet<String> {
        let own = self.actions.iter().filter(|(action, _)| is_own(action));
        let types = own.flat_map(|(_, act)| act.resources.iter().cloned());
        types.filter(|name| !is_of_protocol(name)).collect()
    }

    /// Whether the schema has this type.
    pub(crate) fn has_type(&self, type_name: &str) -> bool {
        self.types.contains_key(type_name)
    }

    pub(crate) fn uid(&self, type_name: &str, id: &str) -> Result<EntityUid, RequestError> {
        let name = self.types.get(type_name).ok_or_else(|| RequestError::Type(type_name.to_owned()))?;
        Ok(EntityUid::from_type_name_and_id(name.clone(), EntityId::new(id)))
    }
}

/// Whether an action is none of the built-in vocabulary.
pub(crate) fn is_own(action: &Action) -> bool {
    !BUILT_IN.contains(&action.namespace.as_str())
}

/// The typed tools of a world, and the fragment for them if there are any.
fn typed_fragment(
    world: &World,
    built_in: Option<&SchemaFragment>,
) -> Result<(TypedTools, Option<SchemaFragment>), Vec<Diagnostic>> {
    let Some(built_in) = built_in.filter(|_| typed::is_used(world)) else {
        return Ok((TypedTools::new(), None));
    };
    let wrong = |why: String| vec![Diagnostic::error("palisade.cedarschema", format!("typed tools: {why}"))];
    let built_in = built_in.clone().to_json_value().map_err(|error| wrong(error.to_string()))?;
    let (typed, schema) =
        typed::fragment(world, &built_in).ok_or_else(|| wrong("no `tools/call`".to_owned()))?;
    let fragment = SchemaFragment::from_json_value(schema).map_err(|error| wrong(error.to_string()))?;
    Ok((typed, Some(fragment)))
}

/// A context of one of the vocabulary's three kinds: the smallest, or one with every optional attribute and no empty set,
/// which would fit any type of elements.
fn probe(vocabulary: &Vocabulary, kind: Carries, everything: bool) -> Option<Context> {
    let text = || RestrictedExpression::new_string(String::new());
    let client = || Some(RestrictedExpression::new_entity_uid(vocabulary.uid("Client", "").ok()?));
    let texts = || RestrictedExpression::new_set(everything.then(text));
    let mut pairs = vec![
        ("scopes", texts()),
        ("issuer", text()),
        ("audience", texts()),
        ("actors", RestrictedExpression::new_set(client().filter(|_| everything))),
        ("delegation_depth", RestrictedExpression::new_long(0)),
        ("amr", texts()),
        ("now", RestrictedExpression::new_datetime("1970-01-01")),
        ("surface", text()),
        ("groups_complete", RestrictedExpression::new_bool(true)),
        ("asserted", RestrictedExpression::new_bool(false)),
    ];
    if everything {
        pairs.extend([
            ("client", client()?),
            ("actor", client()?),
            ("acr", text()),
            ("auth_time", RestrictedExpression::new_datetime("1970-01-01")),
            ("ip", RestrictedExpression::new_ip("127.0.0.1")),
            ("host", text()),
            ("path", text()),
            ("sent", RestrictedExpression::new_entity_uid(vocabulary.uid(arguments::TYPE, "").ok()?)),
        ]);
    }
    match kind {
        Carries::Circumstances => {}
        Carries::Arguments => {
            let uid = vocabulary.uid("Palisade::Arguments", "").ok()?;
            pairs.push(("args", RestrictedExpression::new_entity_uid(uid)));
        }
        Carries::Terms => pairs.extend([
            ("requested_scopes", texts()),
            ("requested_lifetime", RestrictedExpression::new_duration("1s")),
            ("requester", client()?),
        ]),
        Carries::Other => return None,
    }
    Context::from_pairs(pairs.into_iter().map(|(name, value)| (name.to_owned(), value))).ok()
}

pub(crate) fn action_of(uid: &EntityUid) -> Action {
    let type_name = uid.type_name().to_string();
    let namespace = type_name.strip_suffix("::Action").unwrap_or_default();
    Action { namespace: namespace.to_owned(), name: uid.id().unescaped().to_owned() }
}

/// What a fragment defines that is not its own to define.
fn trespasses(fragment: &SchemaFragment, file: &SourceFile) -> Vec<Diagnostic> {
    let Ok(Value::Object(namespaces)) = fragment.clone().to_json_value() else {
        return vec![Diagnostic::error(&file.path, "cannot be read back as a schema")];
    };
    let mut errors = Vec::new();
    for (namespace, content) in &namespaces {
        let refuse = |name: &str, message: String| place_of_name(message, name, std::slice::from_ref(file));
        if namespace.is_empty() {
            errors.extend(not_small(content).map(|name| {
                let message = format!("defines `{name}` in the empty namespace");
                let help = "put it into a namespace of your own, `namespace Own { .. }`; in the empty one only entity \
                            types may stand whose names begin with a small letter and are no type of Cedar";
                refuse(&name, message).help(help)
            }));
        } else if let Some(root) = namespace.split("::").next().filter(|root| BUILT_IN.contains(root)) {
            let message = format!("defines names in `{root}`, a namespace of the built-in vocabulary");
            errors.push(
                refuse(root, message)
                    .help("use a namespace of your own, which may refer to the built-in names"),
            );
        }
        for section in ["entityTypes", "commonTypes"] {
            let defined = content.get(section).and_then(Value::as_object).into_iter().flatten();
            for (name, _) in defined.filter(|(name, _)| RESERVED.contains(&name.as_str())) {
                let message = format!("`{namespace}` defines `{name}`, which stands in the empty namespace");
                errors.push(refuse(name, message).help("choose another name"));
            }
        }
    }
    errors
}

/// What a fragment defines in the empty namespace and may not.
fn not_small(content: &Value) -> impl Iterator<Item = String> {
    let of = |section: &str| content.get(section).and_then(Value::as_object).into_iter().flatten();
    let taken: BTreeSet<String> =
        Extensions::all_available().ext_types().map(ToString::to_string).chain(["bool".to_owned()]).collect();
    let fits =
        move |name: &str| name.starts_with(|first: char| first.is_ascii_lowercase()) && !taken.contains(name);
    let types = of("entityTypes").map(|(name, _)| name.clone()).filter(move |name| !fits(name));
    let others = of("commonTypes").chain(of("actions")).map(|(name, _)| name.clone());
    types.chain(others).collect::<Vec<_>>().into_iter()
}

/// An error about all fragments together is shown where a name it quotes is written.
fn place_in_fragments<'a>(
    error: &dyn miette::Diagnostic,
    files: impl Iterator<Item = &'a SourceFile>,
) -> Diagnostic {
    let text = error.to_string();
    let quoted: Vec<&str> =
        text.split(['`', '"']).skip(1).step_by(2).filter(|name| !name.is_empty()).collect();
    let files: Vec<&SourceFile> = files.collect();
    let found = files.iter().find_map(|file| {
        quoted
            .iter()
            .find_map(|name| file.text.find(name).map(|offset| (*file, position(&file.text, offset))))
    });
    match (found, files.first()) {
        (Some((file, place)), _) => Diagnostic::from_cedar(error, file, place),
        (None, Some(file)) => Diagnostic::from_cedar(error, file, (1, 1)),
        (None, None) => Diagnostic::error("palisade.cedarschema", text),
    }
}

fn place_of_name(message: String, name: &str, files: &[SourceFile]) -> Diagnostic {
    let found = files.iter().find_map(|file| file.text.find(name).map(|offset| (file, offset)));
    match found {
        Some((file, offset)) => Diagnostic::error(&file.path, message).at(position(&file.text, offset)),
        None => Diagnostic::error("palisade.cedarschema", message),
    }
}
