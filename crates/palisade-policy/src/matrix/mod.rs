//! Who may what: the answers that everybody gets for everything that is known.
//!
//! [`Matrix::of`] asks the policies once for every persona and every target of the resources they are asked about. The
//! result is written as text, CSV or HTML ([`Form`]), always in the same order, so that it can lie in a repository and
//! [`Matrix::differences`] can say which cells are others now. A matrix speaks of what it asked: of the tools and routes
//! that are known, with the arguments that the test files give.

mod csv;
mod html;
mod table;

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use palisade_model::{Action, Circumstances, ResourceName, SubjectKind, Surface, Target};
use serde::Serialize;

use crate::{
    Deployment, Inquiry, Kind, Outcome, Persona, Policies, ResourceSettings, TestBed, World, WorldGraph,
    vocabulary::is_own,
};

/// The actions that a matrix has columns for. The others follow these in most sets; a difference of two sets asks all.
const SHOWN: [&str; 11] = [
    "initialize",
    "tools/list",
    "tools/call",
    "GET",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "introspect",
    "field",
    "policy",
];

/// Who may what, a table a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Matrix {
    /// In the order of the resources' names.
    pub tables: Vec<Table>,
}

/// Who may what on one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    /// The resource.
    pub resource: ResourceName,
    /// What is done to what.
    pub columns: Vec<Column>,
    /// Who does it.
    pub rows: Vec<Row>,
}

/// Something that is done to something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    /// The head: the tool, or the method and the target.
    pub name: String,
    /// The action as an entity.
    pub action: String,
    /// The target as an entity.
    pub target: String,
}

/// What one persona may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The name.
    pub persona: String,
    /// In the order of the columns.
    pub cells: Vec<Outcome>,
}

/// How a matrix is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Tables of Markdown, laid out for a terminal.
    Text,
    /// One table a resource, an empty line between them (RFC 4180).
    Csv,
    /// One page without anything beside it.
    Html,
}

/// A cell that is another than it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CellDifference {
    /// The resource.
    pub resource: String,
    /// The row.
    pub persona: String,
    /// The column.
    pub column: String,
    /// What the file says; nothing where it has no such cell.
    pub before: Option<String>,
    /// What the policies say; nothing where there is no such cell any more.
    pub after: Option<String>,
}

/// The texts of a matrix, however it was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Texts(Vec<TextTable>);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct TextTable {
    resource: String,
    columns: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
}

/// A name, and the how-manieth of its kind it is, from 1.
type Nth<'a> = (&'a str, usize);

impl Matrix {
    /// Asks everybody's questions.
    #[must_use]
    pub fn of(policies: &Policies, bed: &TestBed) -> Self {
        let deployment = &bed.deployment;
        let mut names: Vec<&ResourceName> =
            deployment.world.resources.iter().map(|resource| &resource.name).collect();
        names.sort();
        let tables = names.into_iter().map(|name| table(policies, bed, name)).collect();
        Self { tables }
    }

    /// The matrix as a text that ends in a line feed.
    #[must_use]
    pub fn written(&self, form: Form) -> String {
        match form {
            Form::Text => table::write(&self.texts()),
            Form::Csv => csv::write(&self.texts()),
            Form::Html => html::write(self),
        }
    }

    /// The cells that are others than in a text that [`Matrix::written`] made, in the order of the tables.
    ///
    /// # Errors
    /// When the text is no matrix in this form, or the form is HTML, which is for reading only.
    pub fn differences(&self, text: &str, form: Form) -> Result<Vec<CellDifference>, String> {
        let read = match form {
            Form::Text => table::read,
            Form::Csv => csv::read,
            Form::Html => return Err("a page of HTML is not read back: check a text or CSV file".to_owned()),
        };
        // What was just written is read as well, so that only cells can differ, and no way of writing them.
        Ok(read(text)?.differences(&read(&self.written(form))?))
    }

    fn texts(&self) -> Texts {
        let tables = self.tables.iter().map(|table| TextTable {
            resource: table.resource.to_string(),
            columns: table.columns.iter().map(|column| column.name.clone()).collect(),
            rows: table
                .rows
                .iter()
                .map(|row| (row.persona.clone(), row.cells.iter().map(ToString::to_string).collect()))
                .collect(),
        });
        Texts(tables.collect())
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.written(Form::Text))
    }
}

impl Texts {
    fn differences(&self, after: &Self) -> Vec<CellDifference> {
        let mut found = Vec::new();
        let (old, new) = (self.resources(), after.resources());
        let resources: BTreeSet<&Nth<'_>> = old.iter().chain(&new).collect();
        for resource in resources {
            let of = |texts: &Self, at: Option<usize>| at.and_then(|at| texts.0.get(at)).cloned();
            let before = of(self, place(&old, resource)).unwrap_or_default();
            let after = of(after, place(&new, resource)).unwrap_or_default();
            let columns = both(&before.heads(), &after.heads());
            for persona in both(&before.personas(), &after.personas()) {
                for column in &columns {
                    let (was, is) = (before.cell(&persona, column), after.cell(&persona, column));
                    if was != is {
                        found.push(CellDifference {
                            resource: resource.0.to_owned(),
                            persona: persona.0.to_owned(),
                            column: column.0.to_owned(),
                            before: was.map(str::to_owned),
                            after: is.map(str::to_owned),
                        });
                    }
                }
            }
        }
        found
    }

    fn resources(&self) -> Vec<Nth<'_>> {
        numbered(self.0.iter().map(|table| table.resource.as_str()))
    }
}

impl TextTable {
    fn heads(&self) -> Vec<Nth<'_>> {
        numbered(self.columns.iter().map(String::as_str))
    }

    fn personas(&self) -> Vec<Nth<'_>> {
        numbered(self.rows.iter().map(|(name, _)| name.as_str()))
    }

    fn cell(&self, persona: &Nth<'_>, column: &Nth<'_>) -> Option<&str> {
        let (_, cells) = self.rows.get(place(&self.personas(), persona)?)?;
        cells.get(place(&self.heads(), column)?).map(String::as_str)
    }
}

/// Names with how often each stood there before, so that of equal ones none hides another.
fn numbered<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Nth<'a>> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    names
        .map(|name| {
            let before = seen.entry(name).or_default();
            *before += 1;
            (name, *before)
        })
        .collect()
}

fn place(names: &[Nth<'_>], name: &Nth<'_>) -> Option<usize> {
    names.iter().position(|other| other == name)
}

/// The names of both, each once, those of the second first.
fn both<'a>(before: &[Nth<'a>], after: &[Nth<'a>]) -> Vec<Nth<'a>> {
    let gone = before.iter().filter(|name| !after.contains(name));
    after.iter().chain(gone).copied().collect()
}

fn table(policies: &Policies, bed: &TestBed, resource: &ResourceName) -> Table {
    let deployment = &bed.deployment;
    let asked = questions(policies, &deployment.world, resource);
    let asked: Vec<&(Action, Target)> = asked.iter().filter(|(action, _)| is_shown(action)).collect();
    let personas = bed.personas.iter().filter(|persona| persona.is_asked_about(resource));
    let settings = deployment.settings.get(resource).cloned().unwrap_or_default();
    let row = |persona: &Persona| Row {
        persona: persona.name.clone(),
        cells: asked
            .iter()
            .map(|(action, target)| {
                let inquiry = inquiry(persona, bed, resource, action, target);
                inquiry.ask(policies, &settings)
            })
            .collect(),
    };
    Table {
        resource: resource.clone(),
        columns: asked.iter().map(|(action, target)| column(resource, action, target)).collect(),
        rows: personas.map(row).collect(),
    }
}

fn is_shown(action: &Action) -> bool {
    SHOWN.contains(&action.name.as_str()) || is_own(action)
}

/// Everything that can be done to what is known of a resource: the resource first, then its tools or routes in the order
/// of the catalogue, each with the actions in order. Then what entity files have of the deployment's own types.
pub(crate) fn questions(policies: &Policies, world: &World, name: &ResourceName) -> Vec<(Action, Target)> {
    let mut found = Vec::new();
    for resource in world.resources.iter().filter(|resource| resource.name == *name) {
        let targets: Vec<Target> = match resource.kind {
            Kind::Mcp => std::iter::once(Target::mcp_server(name))
                .chain(resource.tools.iter().map(|tool| Target::mcp_tool(name, &tool.name)))
                .collect(),
            Kind::Http => resource.routes.iter().map(|template| Target::http_route(name, template)).collect(),
            Kind::Graphql => of_graph(resource.graph.as_ref(), name),
        };
        for target in targets {
            let actions = policies.vocabulary().actions_on(&target.type_name);
            found.extend(actions.into_iter().map(|action| (action, target.clone())));
        }
        for type_name in policies.vocabulary().own_types() {
            let actions = policies.vocabulary().actions_on(&type_name);
            found.extend(policies.store().ids(&type_name).flat_map(|id| {
                let target = Target { type_name: type_name.clone(), id: id.to_owned() };
                actions
                    .iter()
                    .filter(|action| is_own(action))
                    .map(move |action| (action.clone(), target.clone()))
            }));
        }
    }
    found
}

/// The graph itself, its fields and the names of `@policy`. Operations are not known before they come.
fn of_graph(graph: Option<&WorldGraph>, name: &ResourceName) -> Vec<Target> {
    let fields = graph.into_iter().flat_map(|graph| graph.fields());
    let policies = graph.into_iter().flat_map(|graph| &graph.policies);
    std::iter::once(Target::graphql_graph(name))
        .chain(fields.map(|coordinate| Target::graphql_element(name, coordinate)))
        .chain(policies.map(|policy| Target::graphql_policy(name, policy)))
        .collect()
}

/// The question that a persona asks.
pub(crate) fn inquiry(
    persona: &Persona,
    bed: &TestBed,
    resource: &ResourceName,
    action: &Action,
    target: &Target,
) -> Inquiry {
    let identifier = bed.deployment.identifier(resource);
    let mut authority = persona.authority.clone();
    if let Some(authority) = &mut authority {
        authority.audience = identifier.into_iter().map(Into::into).collect();
    }
    Inquiry {
        who: persona.name.clone(),
        subject: persona.subject.clone(),
        authority,
        action: action.clone(),
        target: target.clone(),
        resource: resource.clone(),
        arguments: bed.arguments.get(&target.id).cloned(),
        supplied: palisade_model::Properties::default(),
        circumstances: Circumstances {
            now: persona.at,
            ip: None,
            host: None,
            path: None,
            surface: Surface::Decide,
            asserted: matches!(persona.subject.kind, SubjectKind::Own(_)),
            sent: None,
        },
    }
}

fn column(resource: &ResourceName, action: &Action, target: &Target) -> Column {
    let within = target.id.strip_prefix(resource.as_str()).unwrap_or(&target.id);
    let name = match (within, action.name.as_str()) {
        ("", method) => method.to_owned(),
        (tool, "tools/call") => tool_head(tool.strip_prefix('/').unwrap_or(tool)),
        (field, "field") => field.strip_prefix('/').unwrap_or(field).to_owned(),
        (policy, "policy") => format!("policy {}", policy.strip_prefix('/').unwrap_or(policy)),
        (template, method) => format!("{method} {template}"),
    };
    Column { name, action: action.entity(), target: target.entity() }
}

/// The tool's name, which is the server's to choose: one that could be taken for another head is said to be a tool's.
fn tool_head(tool: &str) -> String {
    if SHOWN.contains(&tool) || tool.starts_with("tool ") { format!("tool {tool}") } else { tool.to_owned() }
}

impl Persona {
    pub(crate) fn is_asked_about(&self, resource: &ResourceName) -> bool {
        self.resources.is_empty() || self.resources.contains(resource)
    }
}

impl Deployment {
    /// The settings of a resource; the defaults for one that is not there.
    #[must_use]
    pub fn settings(&self, resource: &ResourceName) -> ResourceSettings {
        self.settings.get(resource).cloned().unwrap_or_default()
    }

    fn identifier(&self, resource: &ResourceName) -> Option<&str> {
        let found = self.world.resources.iter().find(|known| known.name == *resource);
        found.map(|resource| resource.identifier.as_str())
    }
}

#[cfg(test)]
mod tests;
