//! A policy set on disk, with the deployment it is for: that of a configuration, or the one its test files describe.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::bail;
use clap::Args;
use palisade_model::{Clock, ResourceName, SystemClock};
use palisade_policy::{
    Diagnostic, Kind, Policies, PolicySet, ResourceSettings, Sources, TestBed, World, WorldGraph,
    WorldResource, read_sets, read_tree,
};
use palisade_server::config::{self, author::Authored};

/// Where a set gets what its folder does not say.
#[derive(Debug, Args)]
pub(super) struct Around {
    /// The configuration with the resources that the policies are for; otherwise those of the `*.test.yaml`.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// More schema fragments.
    #[arg(long, value_name = "FILE")]
    pub(super) schema: Vec<PathBuf>,
    /// More entity files.
    #[arg(long, value_name = "FILE")]
    pub(super) entities: Vec<PathBuf>,
}

/// The same, read.
pub(super) struct Surroundings {
    authored: Option<Authored>,
    schema: Vec<PathBuf>,
    entities: Vec<PathBuf>,
    /// Schemas of GraphQL APIs in place of the configured ones.
    pub(super) graphs: Vec<Named>,
}

/// The schema of a GraphQL API: of the only one where it is not named.
pub(super) struct Named {
    pub(super) name: Option<ResourceName>,
    pub(super) graph: WorldGraph,
    pub(super) file: String,
}

/// A set that is right in every part.
pub(super) struct Set {
    pub(super) policies: Policies,
    pub(super) sources: Sources,
    pub(super) bed: TestBed,
}

impl Around {
    /// Reads the configuration, where there is one.
    pub(super) fn read(&self) -> anyhow::Result<Surroundings> {
        let mut around = Surroundings {
            authored: None,
            schema: self.schema.clone(),
            entities: self.entities.clone(),
            graphs: Vec::new(),
        };
        if let Some(file) = &self.config {
            let clock: Arc<dyn Clock> = Arc::new(SystemClock);
            let authored = config::author::authored(&config::load::read(file)?, &clock)?;
            around.schema.extend(authored.schema.iter().cloned());
            around.entities.extend(authored.entities.iter().cloned());
            around.authored = Some(authored);
        }
        Ok(around)
    }
}

/// What is loaded as one.
pub(super) enum Place {
    /// A folder, or a single file.
    Tree(PathBuf),
    /// Sets with their limits, which only show when the sets are loaded together.
    Limited(Vec<PolicySet>),
}

impl Surroundings {
    /// The folder that was named, or what the service would load with the configuration, or `policies`.
    pub(super) fn places(&self, named: Option<&Path>) -> Vec<Place> {
        match (named, &self.authored) {
            (Some(folder), _) => vec![self.place(folder)],
            (None, Some(authored)) => {
                let sets = (!authored.sets.is_empty()).then(|| Place::Limited(authored.sets.clone()));
                authored.folder.clone().map(Place::Tree).into_iter().chain(sets).collect()
            }
            (None, None) => vec![Place::Tree(PathBuf::from("policies"))],
        }
    }

    /// The same where there can be only one.
    pub(super) fn one_place(&self, named: Option<&Path>) -> anyhow::Result<Place> {
        let mut places = self.places(named);
        match (places.pop(), places.is_empty()) {
            (Some(place), true) => Ok(place),
            (Some(_) | None, _) => bail!("name the folder: the configuration has none, or several"),
        }
    }

    /// A folder that the configuration limits keeps its limit, also where it is named by itself.
    pub(super) fn place(&self, folder: &Path) -> Place {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let sets = self.authored.iter().flat_map(|authored| &authored.sets);
        match sets.into_iter().find(|set| real(&set.path) == real(folder)) {
            Some(set) => Place::Limited(vec![set.clone()]),
            None => Place::Tree(folder.to_owned()),
        }
    }

    /// The resources of the configuration.
    pub(super) fn resources(&self) -> &[WorldResource] {
        self.authored.as_ref().map_or(&[], |authored| &authored.deployment.world.resources)
    }

    /// What the configuration says of a resource beside that.
    pub(super) fn settings(&self, name: &ResourceName) -> ResourceSettings {
        let authored = self.authored.as_ref();
        authored.and_then(|authored| authored.deployment.settings.get(name)).cloned().unwrap_or_default()
    }

    pub(super) fn has_configuration(&self) -> bool {
        self.authored.is_some()
    }

    /// The files and folders that the configuration names for policies.
    pub(super) fn watched(&self) -> Vec<PathBuf> {
        let places = self.authored.iter().flat_map(|_| self.places(None));
        let folders =
            places.flat_map(|place| place.folders().into_iter().map(Path::to_owned).collect::<Vec<_>>());
        folders.chain(self.schema.iter().chain(&self.entities).cloned()).collect()
    }

    /// Loads what lies there. `tests` are its test files, if they lie elsewhere.
    pub(super) fn load(&self, place: &Place, tests: Option<&Path>) -> Result<Set, Vec<Diagnostic>> {
        let sources = match place {
            Place::Tree(folder) => read_tree(folder, &self.schema, &self.entities)?,
            Place::Limited(sets) => read_sets(sets, &self.schema, &self.entities)?,
        };
        let mut bed = match (tests, place) {
            (Some(tests), _) => TestBed::read(tests)?,
            (None, Place::Tree(path)) if path.is_file() => TestBed::default(),
            (None, Place::Tree(_) | Place::Limited(_)) => TestBed::read_all(&place.folders())?,
        };
        if let Some(authored) = &self.authored {
            bed.deployment = authored.deployment.clone();
            // They are asked about the resources that there are, whatever their file calls its own.
            bed.personas.iter_mut().for_each(|persona| persona.resources.clear());
        } else if !bed.deployment.complete {
            bed.deployment.world = World::assumed_by(&sources);
        }
        for named in &self.graphs {
            named.put_into(&mut bed.deployment.world).map_err(|problem| vec![problem])?;
        }
        let policies = Policies::load(&sources, &bed.deployment.world, bed.deployment.on_error)?;
        Ok(Set { policies, sources, bed })
    }
}

impl Named {
    fn put_into(&self, world: &mut World) -> Result<(), Diagnostic> {
        let is_meant = |known: &WorldResource| match &self.name {
            Some(name) => known.name == *name,
            None => known.kind == Kind::Graphql,
        };
        let refused = |message: String| Err(Diagnostic::error(&self.file, message));
        let mut meant = world.resources.iter_mut().filter(|known| is_meant(known));
        match (meant.next(), meant.next(), &self.name) {
            (Some(only), None, _) if only.kind == Kind::Graphql => only.graph = Some(self.graph.clone()),
            (None, _, Some(name)) => world.resources.push(WorldResource {
                name: name.clone(),
                kind: Kind::Graphql,
                identifier: String::new(),
                tools: Vec::new(),
                routes: Vec::new(),
                graph: Some(self.graph.clone()),
            }),
            (Some(_), _, Some(name)) => return refused(format!("`{name}` is not of kind graphql")),
            (Some(_) | None, _, None) => {
                return refused(
                    "there is not exactly one GraphQL API: write `--schema-sdl NAME=FILE`".to_owned(),
                );
            }
        }
        Ok(())
    }
}

impl Place {
    pub(super) fn folders(&self) -> Vec<&Path> {
        match self {
            Self::Tree(folder) => vec![folder],
            Self::Limited(sets) => sets.iter().map(|set| set.path.as_path()).collect(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folders: Vec<String> =
            self.folders().into_iter().map(|folder| folder.display().to_string()).collect();
        formatter.write_str(&folders.join(", "))
    }
}

/// The folder itself, or, where no policy lies directly in it, the folders below it that hold some.
pub(super) fn sets(folder: &Path) -> Vec<PathBuf> {
    let holds_policies = |folder: &Path| entries(folder).iter().any(|path| is_policy(path));
    if folder.is_file() || holds_policies(folder) {
        return vec![folder.to_owned()];
    }
    let below: Vec<PathBuf> = entries(folder).into_iter().filter(|path| holds_policies(path)).collect();
    if below.is_empty() { vec![folder.to_owned()] } else { below }
}

pub(super) fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    paths.sort();
    paths
}

pub(super) fn is_policy(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "cedar") && path.is_file()
}
