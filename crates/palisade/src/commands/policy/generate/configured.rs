//! What a configuration says of the tools that operations are made into, for the comparison with the schema.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use palisade_graphql::{Schema, read_manifest};
use palisade_import::operations::{Configured, Disagreement, Operation, Permitted, disagreements};
use palisade_model::{ResourceName, SubjectKind, Target};
use palisade_policy::{Decided, Kind, Matrix, Persona, ResourceSettings, Table, WorldResource, with_implied};
use palisade_server::config::{self, types::GraphSchema};

use super::super::set::{Around, Surroundings};
use crate::commands::terminal::printable_lines;

/// A configuration, read.
pub(super) struct Deployed {
    config: config::types::Config,
    around: Surroundings,
}

impl Deployed {
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let around = Around { config: Some(PathBuf::from(file)), schema: Vec::new(), entities: Vec::new() };
        Ok(Self { config: config::load::read(file)?.config, around: around.read()? })
    }

    /// The resource of the name, or the only MCP server, with what it is.
    pub(super) fn resource(&self, named: Option<&ResourceName>) -> anyhow::Result<(ResourceName, Kind)> {
        let is_meant = |known: &&WorldResource| match named {
            Some(name) => known.name == *name,
            None => known.kind == Kind::Mcp,
        };
        let mut meant = self.around.resources().iter().filter(is_meant);
        match (meant.next(), meant.next(), named) {
            (Some(only), None, _) => Ok((only.name.clone(), only.kind)),
            (_, _, Some(name)) => bail!("the configuration has no resource `{name}`"),
            (_, _, None) => bail!("the configuration has not exactly one MCP server: give --resource NAME"),
        }
    }

    pub(super) fn disagreements(
        &self,
        operations: &[Operation],
        schema: &Schema,
        name: &ResourceName,
    ) -> anyhow::Result<Vec<Disagreement>> {
        let settings = self.around.settings(name);
        let mut configured = Configured {
            scopes: settings.scopes.iter().map(ToString::to_string).collect(),
            ..Configured::default()
        };
        let known = self.around.resources().iter().find(|known| known.name == *name);
        if let Some(server) = known.filter(|known| known.kind == Kind::Mcp) {
            // Without a catalogue there is nothing to compare with.
            let tools: BTreeSet<String> = server.tools.iter().map(|tool| tool.name.clone()).collect();
            configured.tools = (!tools.is_empty()).then_some(tools);
            configured.permitted = self.permitted(operations, name, &settings)?;
        }
        let mut found = disagreements(operations, &configured);
        if let Some(graph) = self.config.resources.get(name).and_then(|resource| resource.schema.as_ref()) {
            found.extend(of_graph(graph, schema)?);
        }
        Ok(found)
    }

    /// Every tool that a persona of the test files is permitted.
    fn permitted(
        &self,
        operations: &[Operation],
        name: &ResourceName,
        settings: &ResourceSettings,
    ) -> anyhow::Result<Vec<Permitted>> {
        let mut permitted = Vec::new();
        for place in self.around.places(None) {
            let set = self.around.load(&place, None).map_err(|diagnostics| {
                let told: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
                anyhow::anyhow!("{}", printable_lines(&told.join("\n")))
            })?;
            let matrix = Matrix::of(&set.policies, &set.bed);
            let table = matrix.tables.iter().find(|table| table.resource == *name);
            for operation in operations {
                let whom = table.into_iter().flat_map(|table| whom(table, name, &operation.name));
                let personas = whom.filter_map(|who| set.bed.personas.iter().find(|it| it.name == who));
                permitted.extend(personas.map(|persona| call(persona, &operation.name, settings)));
            }
        }
        Ok(permitted)
    }
}

/// Who is permitted a tool.
fn whom<'a>(table: &'a Table, server: &ResourceName, tool: &str) -> Vec<&'a str> {
    let target = Target::mcp_tool(server, tool).entity();
    let at = table
        .columns
        .iter()
        .position(|column| column.target == target && column.action == "Mcp::Action::\"tools/call\"");
    let is_permitted = |cells: &[palisade_policy::Outcome]| {
        at.and_then(|at| cells.get(at)).is_some_and(|cell| cell.decision == Decided::Permit)
    };
    table.rows.iter().filter(|row| is_permitted(&row.cells)).map(|row| row.persona.as_str()).collect()
}

fn call(persona: &Persona, tool: &str, settings: &ResourceSettings) -> Permitted {
    let held = persona.authority.as_ref().map(|authority| with_implied(&authority.scopes, &settings.implies));
    Permitted {
        who: persona.name.clone(),
        tool: tool.to_owned(),
        authenticated: persona.subject.kind != SubjectKind::Anonymous,
        scopes: held.into_iter().flatten().map(|scope| scope.to_string()).collect(),
    }
}

/// What a GraphQL API is read with, against the schema.
fn of_graph(graph: &GraphSchema, schema: &Schema) -> anyhow::Result<Vec<Disagreement>> {
    let mut found = Vec::new();
    let known = config::graphql::read_schema(&graph.sdl).map_err(anyhow::Error::msg)?;
    if known.hash() != schema.hash() {
        found.push(Disagreement::OtherSchema { file: graph.sdl.display().to_string() });
    }
    if let Some(file) = &graph.manifest {
        let shown = file.display().to_string();
        let text = std::fs::read(file).with_context(|| shown.clone())?;
        let documents = read_manifest(&text).with_context(|| shown.clone())?;
        found.extend(documents.documents().filter_map(|(hash, document)| {
            let why = schema.needs(document).err()?.to_string();
            Some(Disagreement::UnfitDocument { hash: hash.to_owned(), why })
        }));
    }
    Ok(found)
}
