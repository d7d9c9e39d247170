//! The form of a `*.test.yaml`. Every key is known; an unknown one is an error that names the nearest.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use palisade_model::{Reason, ResourceName, Scope, Scopes};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;
use serde_saphyr::Spanned;

use super::time;
use crate::{Diagnostic, Kind, OnError, SourceFile, World, WorldResource, diagnostic::nearest, read_catalog};

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
    #[serde(default)]
    pub(super) routes: Vec<String>,
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
    #[serde(default)]
    pub(super) at: Time,
    #[serde(default)]
    pub(super) ip: Option<std::net::IpAddr>,
    #[serde(default)]
    pub(super) host: Option<String>,
    #[serde(default)]
    pub(super) path: Option<String>,
    pub(super) expect: Expect,
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

/// One of `user`, `client` and `anonymous`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestPrincipal {
    #[serde(default)]
    pub(super) user: Option<String>,
    #[serde(default)]
    pub(super) client: Option<String>,
    #[serde(default)]
    pub(super) anonymous: bool,
    #[serde(default)]
    pub(super) roles: BTreeSet<String>,
    #[serde(default)]
    pub(super) groups: BTreeSet<String>,
    #[serde(default)]
    pub(super) tenant: Option<String>,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestToken {
    #[serde(default)]
    pub(super) scopes: Scopes,
    #[serde(default)]
    pub(super) acr: Option<String>,
    #[serde(default)]
    pub(super) amr: BTreeSet<String>,
    #[serde(default)]
    pub(super) auth_time: Option<Time>,
    #[serde(default)]
    pub(super) client: Option<String>,
    /// The current actor first.
    #[serde(default)]
    pub(super) actors: Vec<String>,
}

/// The three outcomes of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Expect {
    Permit,
    Deny,
    StepUp,
}

impl Expect {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
            Self::StepUp => "step-up",
        }
    }
}

/// A time as Cedar writes it: `2026-01-01`, `2026-01-01T08:00:00Z`, `2026-01-01T08:00:00+0200`.
#[derive(Debug, Clone, Copy)]
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
            let catalog = resource.catalog.as_ref().map(|path| SourceFile::read(&folder.join(path)));
            match catalog.map(|file| file.and_then(|file| read_catalog(&file))).transpose() {
                Ok(tools) => world.resources.push(WorldResource {
                    name: name.clone(),
                    kind: resource.kind,
                    identifier: resource.identifier.clone(),
                    tools: tools.unwrap_or_default(),
                    routes: resource.routes.clone(),
                }),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(world) } else { Err(problems) }
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
