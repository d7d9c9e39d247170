//! Building a verifier, at the start and for a reload.
//!
//! What is refused here would make a token belong to two issuers, or to nobody in particular.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::AtomicU64},
};

use palisade_model::Clock;
use tokio::sync::broadcast;

use super::{Issuer, Route, Shared, Verifier, cold::ColdChecks};
use crate::{
    IssuerSettings, SetupError,
    cache::TokenCache,
    identity::is_guid,
    keyset::{KeyStore, Origin},
    network, parse,
};

/// Stands for the tenant in the identifier of an issuer of several tenants.
pub(super) const TENANT: &str = "{tenantid}";

/// How many key changes a slow listener may be behind.
const KEY_CHANGES: usize = 256;

impl Verifier {
    /// A verifier for these issuers, of tokens of at most `max_token_bytes` (1 to 65536). Reads files, and fetches
    /// nothing: see [`Verifier::start`].
    ///
    /// # Errors
    /// When the settings contradict each other, or would accept the tokens of anybody.
    pub fn new(
        issuers: Vec<IssuerSettings>,
        max_token_bytes: usize,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Shared {
            clock,
            cache: TokenCache::new(),
            epochs: AtomicU64::new(0),
            cold: ColdChecks::new(2 * cores),
            key_changes: broadcast::Sender::new(KEY_CHANGES),
        };
        Self::build(issuers, max_token_bytes, Arc::new(shared), &[])
    }

    /// A verifier for a changed configuration. An issuer with the name, identifier and key source of one before keeps its
    /// keys, read again by the new settings (and fetched at once if the change is in how they are fetched). No token
    /// that was verified under the old configuration is known under the new one.
    ///
    /// # Errors
    /// As [`Verifier::new`]; this verifier is not changed by it.
    pub fn reconfigured(
        &self,
        issuers: Vec<IssuerSettings>,
        max_token_bytes: usize,
    ) -> Result<Self, SetupError> {
        Self::build(issuers, max_token_bytes, Arc::clone(&self.shared), &self.issuers)
    }

    fn build(
        issuers: Vec<IssuerSettings>,
        max_token_bytes: usize,
        shared: Arc<Shared>,
        before: &[Issuer],
    ) -> Result<Self, SetupError> {
        if !(1..=parse::HARD_LIMIT).contains(&max_token_bytes) {
            return Err(SetupError::TokenLimit(max_token_bytes));
        }
        let routes = routes(&issuers)?;
        let issuers: Result<Arc<[Issuer]>, SetupError> = issuers
            .into_iter()
            .map(|settings| {
                let origin = origin(&settings)?;
                let known = before.iter().find(|issuer| *issuer.keys.origin() == origin);
                let keys = match known {
                    Some(issuer) => Arc::clone(&issuer.keys),
                    None => Arc::new(KeyStore::new(
                        origin,
                        Arc::clone(&shared.clock),
                        shared.key_changes.clone(),
                        before.iter().map(|issuer| &*issuer.keys),
                    )?),
                };
                Ok(Issuer { settings, keys })
            })
            .collect();
        Ok(Self {
            issuers: issuers?,
            routes: Arc::new(routes),
            max_token_bytes,
            epoch: Self::next_epoch(&shared),
            shared,
        })
    }
}

/// Every `iss` that is accepted: a template of Entra stands for one `iss` a tenant, so that the lookup is exact.
fn routes(issuers: &[IssuerSettings]) -> Result<HashMap<String, Route>, SetupError> {
    let mut names = BTreeSet::new();
    let mut routes: HashMap<String, Route> = HashMap::new();
    for (place, settings) in issuers.iter().enumerate() {
        if !names.insert(&settings.name) {
            return Err(SetupError::DuplicateName(settings.name.clone()));
        }
        for (identifier, tenant) in identifiers(settings)? {
            if let Some(taken) = routes.insert(identifier.clone(), Route { issuer: place, tenant }) {
                let first = issuers.get(taken.issuer).unwrap_or(settings);
                return Err(SetupError::DuplicateIssuer {
                    identifier,
                    first: first.name.clone(),
                    second: settings.name.clone(),
                });
            }
        }
    }
    Ok(routes)
}

fn identifiers(settings: &IssuerSettings) -> Result<Vec<(String, Option<String>)>, SetupError> {
    let identifier = settings.issuer.as_str();
    let everybody = |segment: &str| matches!(segment, "common" | "organizations");
    if settings.profile.is_entra() && identifier.split('/').any(everybody) {
        return Err(SetupError::AnyTenant(settings.name.clone()));
    }
    let templated = settings.profile.is_entra() && identifier.matches(TENANT).count() == 1;
    if templated == settings.tenants.is_empty() {
        return Err(SetupError::Tenants(settings.name.clone()));
    }
    if !templated {
        return Ok(vec![(identifier.to_owned(), None)]);
    }
    settings
        .tenants
        .iter()
        .map(|tenant| {
            if is_guid(tenant) {
                Ok((identifier.replace(TENANT, tenant), Some(tenant.clone())))
            } else {
                Err(SetupError::TenantId { issuer: settings.name.clone(), tenant: tenant.clone() })
            }
        })
        .collect()
}

fn origin(settings: &IssuerSettings) -> Result<Origin, SetupError> {
    let unreadable = |path: &std::path::PathBuf, error: std::io::Error| SetupError::Authority {
        issuer: settings.name.clone(),
        path: path.clone(),
        why: error.to_string(),
    };
    let authorities =
        settings.network.ca.as_ref().map(|path| std::fs::read(path).map_err(|error| unreadable(path, error)));
    // Sorted: the order in which algorithms are listed means nothing.
    let algorithms: BTreeSet<_> = settings.algorithms.iter().copied().collect();
    Ok(Origin {
        name: settings.name.clone(),
        issuer: settings.issuer.clone(),
        profile: settings.profile,
        source: settings.keys.clone(),
        algorithms: algorithms.into_iter().collect(),
        route: network::Route {
            private: settings.network.private,
            authorities: authorities.transpose()?,
            proxy: settings.network.proxy.clone(),
            timeout: settings.timeout,
            identity: None,
        },
    })
}
