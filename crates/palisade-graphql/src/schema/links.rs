//! The names that a schema gives the directives.
//!
//! A specification is linked with `@link(url: "https://specs.apollo.dev/requiresScopes/v0.1", as: "rs")`. Its own
//! directive is then `@rs`. Of a specification with many directives, as `federation`, they are
//! `@federation__requiresScopes`, or what `import` calls them. A bare name counts wherever no link gives the directive
//! another: a schema without links is read like that, and one that links `federation` and imports nothing is not read
//! more laxly than it may have been meant.

use std::collections::{BTreeMap, BTreeSet};

use apollo_compiler::ast::{Definition, Directive, Document, Value};
use url::Url;

use super::SchemaError;

/// The directives that are understood, under their own names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Known {
    Authenticated,
    RequiresScopes,
    Policy,
    Tag,
    Inaccessible,
}

impl Known {
    pub(super) const ALL: [Self; 5] =
        [Self::Authenticated, Self::RequiresScopes, Self::Policy, Self::Tag, Self::Inaccessible];

    pub(super) fn own_name(self) -> &'static str {
        match self {
            Self::Authenticated => "authenticated",
            Self::RequiresScopes => "requiresScopes",
            Self::Policy => "policy",
            Self::Tag => "tag",
            Self::Inaccessible => "inaccessible",
        }
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.own_name() == name)
    }
}

/// Under which names each directive stands in a schema.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<Known, BTreeSet<String>>);

impl Names {
    /// Reads the links of a schema.
    pub(super) fn read(document: &Document) -> Result<Self, SchemaError> {
        let mut names = Self::default();
        let mut renamed = BTreeSet::new();
        for directive in document.definitions.iter().flat_map(of_schema) {
            if let Some(link) = Link::read(directive)? {
                link.name_directives(&mut names, &mut renamed);
            }
        }
        for known in Known::ALL.into_iter().filter(|known| !renamed.contains(known)) {
            names.add(known, known.own_name().to_owned());
        }
        Ok(names)
    }

    pub(super) fn of(&self, known: Known) -> impl Iterator<Item = &str> {
        self.0.get(&known).into_iter().flatten().map(String::as_str)
    }

    /// The names under which `@inaccessible` stands.
    pub(super) fn inaccessible(&self) -> BTreeSet<String> {
        self.of(Known::Inaccessible).map(str::to_owned).collect()
    }

    fn add(&mut self, known: Known, name: String) {
        self.0.entry(known).or_default().insert(name);
    }
}

fn of_schema(definition: &Definition) -> &[apollo_compiler::Node<Directive>] {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an enum of the library; links stand on the schema alone"
    )]
    match definition {
        Definition::SchemaDefinition(schema) => &schema.directives.0,
        Definition::SchemaExtension(schema) => &schema.directives.0,
        _ => &[],
    }
}

/// A link to a specification.
struct Link<'a> {
    /// `federation`, `requiresScopes`, ...
    specification: String,
    namespace: Option<&'a str>,
    /// Name in the specification, name here; without `@`.
    imports: Vec<(&'a str, &'a str)>,
}

impl<'a> Link<'a> {
    /// Nothing for a directive that is no link, or links to what is not Apollo's.
    fn read(directive: &'a Directive) -> Result<Option<Self>, SchemaError> {
        let text = |name: &str| directive.specified_argument_by_name(name).and_then(|value| value.as_str());
        let Some((specification, version)) = text("url").or_else(|| text("feature")).and_then(identity)
        else {
            return Ok(None);
        };
        if !is_read(&specification, &version) {
            return Err(SchemaError::Version { specification, version });
        }
        let imports = directive.specified_argument_by_name("import").and_then(|value| value.as_list());
        let imports = imports.unwrap_or_default().iter().filter_map(|value| import(value)).collect();
        Ok(Some(Self { specification, namespace: text("as"), imports }))
    }

    fn name_directives(&self, names: &mut Names, renamed: &mut BTreeSet<Known>) {
        let namespace = self.namespace.unwrap_or(&self.specification);
        if let Some(known) = Known::of(&self.specification) {
            names.add(known, namespace.to_owned());
            renamed.insert(known);
        } else if self.specification == "federation" {
            for known in Known::ALL {
                names.add(known, format!("{namespace}__{}", known.own_name()));
            }
        } else {
            return;
        }
        for (name, here) in &self.imports {
            if let Some(known) = Known::of(name) {
                names.add(known, (*here).to_owned());
                renamed.insert(known);
            }
        }
    }
}

/// The specification and its version that a URL names: `https://specs.apollo.dev/tag/v0.3`.
fn identity(url: &str) -> Option<(String, String)> {
    let url = Url::parse(url).ok().filter(|url| url.host_str() == Some("specs.apollo.dev"))?;
    let mut segments = url.path_segments()?.filter(|segment| !segment.is_empty());
    let (specification, version) = (segments.next()?, segments.next()?);
    segments.next().is_none().then(|| (specification.to_owned(), version.to_owned()))
}

/// Whether a version of a specification is one that is understood; of other specifications nothing is read.
fn is_read(specification: &str, version: &str) -> bool {
    let major = version.strip_prefix('v').and_then(|numbers| numbers.split('.').next());
    if Known::of(specification).is_some() {
        major == Some("0")
    } else {
        specification != "federation" || matches!(major, Some("1" | "2"))
    }
}

/// `"@x"` or `{name: "@x", as: "@y"}`.
fn import(value: &Value) -> Option<(&str, &str)> {
    if let Some(name) = value.as_str() {
        let name = name.strip_prefix('@')?;
        return Some((name, name));
    }
    let Value::Object(members) = value else { return None };
    let member = |wanted: &str| {
        let found = members.iter().find(|(name, _)| name == wanted)?;
        found.1.as_str()?.strip_prefix('@')
    };
    let name = member("name")?;
    Some((name, member("as").unwrap_or(name)))
}
