//! `schema` of GraphQL APIs: what their requests are read with, and what policies see of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use palisade_call::{Graph, Introspection, WholeOrPart, entries};
use palisade_graphql::{Coordinate, Manifest, OperationKind, Schema, read_manifest};
use palisade_model::{IssuerName, ResourceName};
use palisade_pdp::{Grammar, Kind, MOST_ENTRIES};
use palisade_policy::{Policies, WorldGraph};

use super::{build::Builder, types};

impl Builder<'_> {
    /// What the requests to a resource are read with, and what its schema has for policies.
    pub(super) fn graph(
        &mut self,
        name: &ResourceName,
        own: &types::Resource,
        kind: Kind,
    ) -> (Grammar, Option<WorldGraph>) {
        let at = format!("resources.{name}.schema");
        let nothing = || (Grammar::default(), None);
        if own.operations.is_some() && kind != Kind::Graphql {
            self.problem(format!("resources.{name}.operations: only for kind graphql"));
        }
        if own.introspection.is_some() && kind != Kind::Graphql {
            self.problem(format!("resources.{name}.introspection: only for kind graphql"));
        }
        let configured = match (&own.schema, kind) {
            (None, Kind::Mcp | Kind::Http) => return nothing(),
            (Some(_), Kind::Mcp | Kind::Http) => {
                self.problem(format!("{at}: only for kind graphql"));
                return nothing();
            }
            (None, Kind::Graphql) => {
                self.problem(format!("{at}: kind graphql needs `schema: {{sdl: supergraph.graphql}}`"));
                return nothing();
            }
            (Some(configured), Kind::Graphql) => configured,
        };
        let schema = read_schema(&configured.sdl).map_err(|error| self.problem(format!("{at}.sdl: {error}")));
        let documents = match &configured.manifest {
            None => Ok(Manifest::default()),
            Some(path) => read_documents(path, own.issuers.as_deref().unwrap_or_default())
                .map_err(|error| self.problem(format!("{at}.manifest: {error}"))),
        };
        match (schema, documents) {
            (Ok(schema), Ok(documents)) => {
                let world = world_graph(&schema);
                let operations = match own.operations {
                    None | Some(types::Operations::Whole) => WholeOrPart::Whole,
                    Some(types::Operations::Part) => WholeOrPart::Part,
                };
                let introspection = match own.introspection {
                    None | Some(types::Introspection::Whole) => Introspection::Whole,
                    Some(types::Introspection::Permitted) => {
                        if let Err(problem) = can_be_shown(&schema) {
                            self.problem(format!("resources.{name}.introspection: {problem}"));
                        }
                        Introspection::Permitted
                    }
                };
                let grammar = Grammar::new(Graph { schema, documents, operations, introspection });
                let answers = introspection == Introspection::Permitted;
                (if answers { grammar.answering_introspection() } else { grammar }, Some(world))
            }
            (Ok(_) | Err(()), Ok(_) | Err(())) => nothing(),
        }
    }
}

/// The field by which a subgraph tells its whole schema (Apollo Federation).
const SERVICE: &str = "_service";

/// Whether somebody can be shown what they may see of it.
fn can_be_shown(schema: &Schema) -> Result<(), String> {
    let count = entries(schema);
    if count > MOST_ENTRIES {
        return Err(format!(
            "the schema has {count} fields and names of `@policy`, and at most {MOST_ENTRIES} are decided on to be shown: use `whole`"
        ));
    }
    let tells_all = |(kind, root): (OperationKind, &str)| {
        kind == OperationKind::Query && schema.has_field(&Coordinate::of_field(root, SERVICE))
    };
    if schema.roots().any(tells_all) {
        return Err(format!(
            "the schema has the field `{SERVICE}`, whose `sdl` tells all of it: leave the field out of the SDL, or use `whole`"
        ));
    }
    schema.can_be_shown().map_err(|error| format!("without what is `@inaccessible` {error}"))
}

/// Reads a supergraph or a plain SDL.
///
/// # Errors
/// When the file cannot be read, or is no valid schema, or its directives cannot be.
pub fn read_schema(path: &Path) -> Result<Schema, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    Schema::load(&text).map_err(|error| format!("{shown}: {error}"))
}

/// What policies see of a schema: `@tag` of types and fields are their labels, and of nothing else.
#[must_use]
pub fn world_graph(schema: &Schema) -> WorldGraph {
    let labelled =
        schema.elements().map(|(coordinate, element)| (coordinate.to_string(), element.labels.clone()));
    let policies: BTreeSet<String> = schema.policies().into_keys().collect();
    let mut unlabelled: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (label, places) in schema.unlabelled() {
        let shown = places
            .into_iter()
            .map(|(place, lacking)| (place.to_string(), lacking.iter().map(ToString::to_string).collect()));
        unlabelled.insert(label, shown.collect());
    }
    WorldGraph { elements: labelled.collect(), policies, unlabelled }
}

/// What hangs on names that nobody decides is denied to everybody.
pub(super) fn warnings(policies: &Policies) -> impl Iterator<Item = String> {
    policies.undecided_names().map(|target| {
        format!("no policy could ever permit `{}`, which a schema names in `@policy`", target.entity())
    })
}

fn read_documents(path: &Path, issuers: &[IssuerName]) -> Result<Manifest, String> {
    let shown = path.display();
    let text = std::fs::read(path).map_err(|error| format!("{shown}: {error}"))?;
    let manifest = read_manifest(&text).map_err(|error| format!("{shown}: {error}"))?;
    manifest.with_clients(|name| client(name, issuers)).map_err(|error| format!("{shown}: {error}"))
}

/// A client of a manifest as records and policies name it: `corp/web`. With one issuer a manifest says the `client_id` alone; with several
/// it says whose client it is, as two may have issued the same id.
fn client(name: String, issuers: &[IssuerName]) -> Result<String, String> {
    match issuers {
        [only] => Ok(format!("{only}/{name}")),
        several => {
            let of = |issuer: &IssuerName| {
                name.strip_prefix(issuer.as_str()).and_then(|rest| rest.strip_prefix('/')).is_some()
            };
            if several.iter().any(of) {
                return Ok(name);
            }
            Err(format!(
                "the client `{name}` is of none of the resource's issuers: with several, write `<issuer>/<client_id>`"
            ))
        }
    }
}

/// The files that a resource's schema is made of.
pub(super) fn files(resource: &types::Resource) -> impl Iterator<Item = PathBuf> {
    let schema = resource.schema.iter();
    schema.flat_map(|schema| std::iter::once(&schema.sdl).chain(&schema.manifest)).cloned()
}

/// The same, to be changed.
pub(super) fn files_mut(resource: &mut types::Resource) -> impl Iterator<Item = &mut PathBuf> {
    let schema = resource.schema.iter_mut();
    schema.flat_map(|schema| std::iter::once(&mut schema.sdl).chain(&mut schema.manifest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_of_a_manifest_has_the_name_that_records_have_for_it() {
        let issuers =
            |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<IssuerName>>();
        let named = |name: &str, of: &[&str]| client(name.to_owned(), &issuers(of)).ok();
        assert_eq!(named("web", &["corp"]).as_deref(), Some("corp/web"));
        assert_eq!(named("corp/web", &["corp"]).as_deref(), Some("corp/corp/web"));
        assert_eq!(named("corp/web", &["corp", "partner"]).as_deref(), Some("corp/web"));
        for name in ["web", "other/web", "corporate/web", "corp"] {
            assert_eq!(named(name, &["corp", "partner"]), None, "{name}");
        }
    }

    #[test]
    fn what_cannot_be_shown_in_part_is_a_problem() {
        let shown = |sdl: &str| can_be_shown(&Schema::load(sdl).unwrap());
        assert_eq!(shown("type Query { a: ID }"), Ok(()));
        let service = "type Query { a: ID _service: _Service! } type _Service { sdl: String }";
        assert!(shown(service).unwrap_err().contains("leave the field out of the SDL"));
        let many: String = (0..=MOST_ENTRIES).map(|field| format!("f{field}: ID ")).collect();
        assert!(shown(&format!("type Query {{ {many} }}")).unwrap_err().contains("use `whole`"));
        let argument = "directive @inaccessible on ARGUMENT_DEFINITION type Query { n: N } interface N { a(b: ID): ID } \
                        type O implements N { a(b: ID @inaccessible): ID }";
        assert!(shown(argument).unwrap_err().contains("@inaccessible"));
    }
}
