//! The form of a `*.test.yaml`. Every key is known; an unknown one is an error that names the nearest.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use palisade_model::{Reason, ResourceName, Scope};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;
use serde_saphyr::Spanned;

use super::principal::{TestPrincipal, TestToken};
use super::time;
use crate::{
    Decided, Diagnostic, Kind, OnError, ResourceSettings, SourceFile, Tool, World, WorldGraph, WorldResource,
    diagnostic::nearest, read_catalog, with_types,
};

/// A file of cases, and the configuration they assume.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestFile {
    /// The folder of the policies, relative to the file.
    #[serde(default = "here")]
    pub(super) policies: PathBuf,
    #[serde(default)]
    pub(super) on_error: OnError,
    pub(super) resources: BTreeMap<ResourceName, TestResource>,
    pub(super) cases: Vec<Case>,
    /// Who asks in the matrix of these resources.
    #[serde(default)]
    pub(super) matrix: TestMatrix,
}

fn here() -> PathBuf {
    PathBuf::from(".")
}

/// A resource, with the keys of the configuration that a decision depends on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestResource {
    pub(super) kind: Kind,
    pub(super) identifier: String,
    /// The catalogue, relative to the file.
    #[serde(default)]
    pub(super) catalog: Option<PathBuf>,
    /// The tools of the catalogue that are typed.
    #[serde(default)]
    pub(super) typed: Vec<String>,
    #[serde(default)]
    pub(super) routes: Vec<String>,
    /// The types and fields of its schema with their labels, and its names of `@policy`; kind graphql.
    #[serde(default)]
    pub(super) graph: Option<WorldGraph>,
    #[serde(default)]
    pub(super) scopes: TestScopes,
    #[serde(default)]
    pub(super) acr_values: Vec<String>,
    #[serde(default)]
    pub(super) max_age: Vec<Age>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestScopes {
    #[serde(default)]
    pub(super) step_up: Vec<Scope>,
    #[serde(default)]
    pub(super) implies: BTreeMap<Scope, Vec<Scope>>,
}

/// Who asks, and with which arguments where a tool needs some.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestMatrix {
    /// In the order of the rows; without any, everybody that the cases speak of.
    #[serde(default)]
    pub(super) personas: Vec<TestPersona>,
    /// By the id of the target, `demo/delete_file`.
    #[serde(default)]
    pub(super) arguments: BTreeMap<String, Value>,
}

/// Somebody with a name, whom the matrix has a row for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestPersona {
    pub(super) name: Spanned<String>,
    pub(super) principal: TestPrincipal,
    #[serde(default)]
    pub(super) token: TestToken,
    #[serde(default)]
    pub(super) at: Time,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: Spanned<String>,
    pub(super) principal: TestPrincipal,
    #[serde(default)]
    pub(super) token: TestToken,
    pub(super) action: String,
    /// The resource; the only one where there is one.
    #[serde(default)]
    pub(super) resource: Option<ResourceName>,
    /// The tool, prompt, URI or route template; an entity (`Mcp::Prompt::"demo/x"`); nothing for the server itself.
    #[serde(default)]
    pub(super) target: Option<String>,
    #[serde(default)]
    pub(super) arguments: Option<Value>,
    /// What the caller supplies of the target's attributes.
    #[serde(default)]
    pub(super) properties: serde_json::Map<String, Value>,
    /// What the caller says of the circumstances: `context.sent`.
    #[serde(default)]
    pub(super) sent: Option<Value>,
    #[serde(default)]
    pub(super) at: Time,
    #[serde(default)]
    pub(super) ip: Option<std::net::IpAddr>,
    #[serde(default)]
    pub(super) host: Option<String>,
    #[serde(default)]
    pub(super) path: Option<String>,
    pub(super) expect: Decided,
    #[serde(default)]
    pub(super) reason: Option<Reason>,
    #[serde(default)]
    pub(super) determining: Option<BTreeSet<String>>,
    #[serde(default)]
    pub(super) policy_code: Option<String>,
    #[serde(default)]
    pub(super) missing_scopes: Option<Vec<Scope>>,
    #[serde(default)]
    pub(super) acr_values: Option<Vec<String>>,
    #[serde(default)]
    pub(super) max_age: Option<Age>,
}

/// A time as Cedar writes it: `2026-01-01`, `2026-01-01T08:00:00Z`, `2026-01-01T08:00:00+0200`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(pub(super) palisade_model::Timestamp);

impl Default for Time {
    /// 2026-01-01T00:00:00Z
    fn default() -> Self {
        Self(palisade_model::Timestamp::from_unix_seconds(1_767_225_600))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        time::timestamp(&text).map(Self).ok_or_else(|| {
            D::Error::custom(format!("`{text}` is not a time: write it like `2026-01-01T08:00:00Z`"))
        })
    }
}

/// A duration as Cedar writes it: `15m`, `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Age(pub(super) Duration);

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        time::duration(&text)
            .map(Self)
            .ok_or_else(|| D::Error::custom(format!("`{text}` is not a duration: write it like `15m`")))
    }
}

impl TestResource {
    pub(super) fn settings(&self) -> ResourceSettings {
        let implies = &self.scopes.implies;
        let named = self.scopes.step_up.iter().chain(implies.keys()).chain(implies.values().flatten());
        ResourceSettings {
            scopes: named.cloned().collect(),
            step_up: self.scopes.step_up.clone(),
            implies: implies.clone(),
            acr_values: self.acr_values.clone(),
            max_age: self.max_age.iter().map(|age| age.0).collect(),
        }
    }
}

impl TestFile {
    pub(super) fn read(file: &SourceFile) -> Result<Self, Diagnostic> {
        serde_saphyr::from_str(&file.text).map_err(|error| complain(&error, file))
    }

    /// The resources as policies see them, with their catalogues.
    pub(super) fn world(&self, folder: &Path, file: &SourceFile) -> Result<World, Vec<Diagnostic>> {
        let mut world = World::default();
        let mut problems = Vec::new();
        for (name, resource) in &self.resources {
            if resource.kind == Kind::Http && resource.catalog.is_some() {
                let message = format!("the resource `{name}` is of kind http and has no catalogue");
                problems.push(Diagnostic::error(&file.path, message).help("list its `routes`"));
                continue;
            }
            if resource.kind != Kind::Graphql && resource.graph.is_some() {
                let message = format!("the resource `{name}` is not of kind graphql and has no `graph`");
                problems.push(Diagnostic::error(&file.path, message).help("remove it"));
                continue;
            }
            match resource.tools(folder, file) {
                Ok(tools) => world.resources.push(WorldResource {
                    name: name.clone(),
                    kind: resource.kind,
                    identifier: resource.identifier.clone(),
                    tools,
                    routes: resource.routes.clone(),
                    graph: resource.graph.clone(),
                }),
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() { Ok(world) } else { Err(problems) }
    }
}

impl TestResource {
    fn tools(&self, folder: &Path, file: &SourceFile) -> Result<Vec<Tool>, Vec<Diagnostic>> {
        let Some(path) = &self.catalog else {
            if self.typed.is_empty() {
                return Ok(Vec::new());
            }
            let problem =
                Diagnostic::error(&file.path, "`typed` names tools of a `catalog`, and there is none");
            return Err(vec![problem.help("add `catalog: tools.json`")]);
        };
        let catalog = SourceFile::read(&folder.join(path)).map_err(|problem| vec![problem])?;
        let tools = read_catalog(&catalog).map_err(|problem| vec![problem])?;
        with_types(tools, &self.typed, &catalog)
    }
}

fn complain(error: &serde_saphyr::Error, file: &SourceFile) -> Diagnostic {
    let mut inner = error;
    while let serde_saphyr::Error::WithSnippet { error, .. } | serde_saphyr::Error::AliasError { error, .. } =
        inner
    {
        inner = error;
    }
    let place = inner.location().map_or((0, 0), |location| {
        let number = |number: u64| usize::try_from(number).unwrap_or_default();
        (number(location.line()), number(location.column()))
    });
    if let serde_saphyr::Error::SerdeUnknownField { field, expected, .. } = inner {
        let diagnostic = Diagnostic::error(&file.path, format!("unknown key `{field}`")).at(place);
        return match nearest(field, expected.iter().copied()) {
            Some(known) => diagnostic.help(format!("did you mean `{known}`?")),
            None => diagnostic.help(format!("the keys here are {}", expected.join(", "))),
        };
    }
    let rendered = inner.render();
    let message = rendered.lines().next().unwrap_or("is not a file of policy tests").to_owned();
    Diagnostic::error(&file.path, message).at(place)
}
