//! A configuration as the tools for authors of policies need it: the resources with their catalogues and settings, and
//! where the policies are. No policy is loaded here, and nothing is fetched.

use std::{path::PathBuf, sync::Arc};

use palisade_model::Clock;
use palisade_pdp::Resource;
use palisade_policy::{Deployment, PolicySet, ResourceSettings};

use super::{
    build::{BuildError, Builder, Embedded},
    load::Loaded,
};

/// What a configuration says of policies.
#[derive(Debug, Clone)]
pub struct Authored {
    /// The resources that policies are asked about.
    pub deployment: Deployment,
    /// The folder of the policies, where they are not in sets.
    pub folder: Option<PathBuf>,
    /// The sets with their limits, which are loaded together.
    pub sets: Vec<PolicySet>,
    /// Extra schema fragments.
    pub schema: Vec<PathBuf>,
    /// Entity files.
    pub entities: Vec<PathBuf>,
}

/// Reads the resources and the catalogues of a configuration.
///
/// # Errors
/// Every problem of the resources.
pub fn authored(loaded: &Loaded, clock: &Arc<dyn Clock>) -> Result<Authored, BuildError> {
    let embedded = Embedded::default();
    let mut builder = Builder {
        config: &loaded.config,
        embedded: &embedded,
        problems: Vec::new(),
        now: clock.now(),
        observed: Vec::new(),
    };
    let (resources, world) = builder.resources();
    let sets = builder.sets();
    let Some(resources) = resources.filter(|_| builder.problems.is_empty()) else {
        return Err(BuildError(builder.problems));
    };
    let policies = &loaded.config.policies;
    Ok(Authored {
        deployment: Deployment {
            world,
            settings: resources.iter().map(|resource| (resource.name.clone(), settings(resource))).collect(),
            on_error: policies.on_error,
            complete: true,
        },
        folder: policies.path.clone(),
        sets,
        schema: policies.schema.clone(),
        entities: policies.entities.clone(),
    })
}

fn settings(resource: &Resource) -> ResourceSettings {
    let scopes = &resource.scopes;
    let implied = scopes.implies.iter().flat_map(|(scope, implied)| std::iter::once(scope).chain(implied));
    let listed = scopes.initial.iter().chain(&scopes.supported).chain(&scopes.step_up).chain(implied);
    let mut settings = ResourceSettings {
        scopes: listed.cloned().collect(),
        implies: scopes.implies.clone(),
        ..ResourceSettings::default()
    };
    if resource.step_up {
        settings.step_up.clone_from(&scopes.step_up);
        settings.acr_values.clone_from(&resource.acr_values);
        settings.max_age.clone_from(&resource.max_age);
    }
    settings
}
