//! A policy set on disk, with the deployment it is for: that of a configuration, or the one its test files describe.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::bail;
use clap::Args;
use palisade_model::{Clock, SystemClock};
use palisade_policy::{Diagnostic, Policies, Sources, TestBed, World, read_tree};
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
        let mut around =
            Surroundings { authored: None, schema: self.schema.clone(), entities: self.entities.clone() };
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

impl Surroundings {
    /// The folder that was named, or those of the configuration, or `policies`.
    pub(super) fn folders(&self, named: Option<&Path>) -> Vec<PathBuf> {
        match (named, &self.authored) {
            (Some(folder), _) => vec![folder.to_owned()],
            (None, Some(authored)) => authored.folders.clone(),
            (None, None) => vec![PathBuf::from("policies")],
        }
    }

    /// The files and folders that the configuration names for policies.
    pub(super) fn watched(&self) -> Vec<PathBuf> {
        let folders = self.authored.iter().flat_map(|authored| &authored.folders);
        folders.chain(&self.schema).chain(&self.entities).cloned().collect()
    }

    /// The same where there can be only one.
    pub(super) fn folder(&self, named: Option<&Path>) -> anyhow::Result<PathBuf> {
        match &self.folders(named)[..] {
            [folder] => Ok(folder.clone()),
            folders => bail!("name the folder: the configuration has {} policy sets", folders.len()),
        }
    }

    /// Loads the set in a folder. `tests` are its test files, if they lie elsewhere.
    pub(super) fn load(&self, folder: &Path, tests: Option<&Path>) -> Result<Set, Vec<Diagnostic>> {
        let sources = read_tree(folder, &self.schema, &self.entities)?;
        let mut bed = match tests {
            Some(tests) => TestBed::read(tests)?,
            None if folder.is_file() => TestBed::default(),
            None => TestBed::read(folder)?,
        };
        if let Some(authored) = &self.authored {
            bed.deployment = authored.deployment.clone();
            // They are asked about the resources that there are, whatever their file calls its own.
            bed.personas.iter_mut().for_each(|persona| persona.resources.clear());
        } else if !bed.deployment.complete {
            bed.deployment.world = World::assumed_by(&sources);
        }
        let policies = Policies::load(&sources, &bed.deployment.world, bed.deployment.on_error)?;
        Ok(Set { policies, sources, bed })
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
