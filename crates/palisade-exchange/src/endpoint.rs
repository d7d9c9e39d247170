//! Where a provider is asked: the token endpoint of the configuration, or the one that its metadata names.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use palisade_token::{network::Fetcher, token_endpoint};
use tokio::time::Instant;
use url::Url;

use crate::{FromIssuer, failure::Failed};

const TENANT: &str = "{tenantid}";
/// For how long what the metadata said is used.
const GOOD_FOR: Duration = Duration::from_secs(60 * 60);
/// The most tenants whose endpoints are kept.
const MOST_TENANTS: usize = 1_000;

/// The token endpoint of an issuer.
#[derive(Debug)]
pub(crate) struct Endpoint {
    issuer: FromIssuer,
    configured: Option<Url>,
    found: Mutex<HashMap<String, (Url, Instant)>>,
}

impl Endpoint {
    pub(crate) fn new(issuer: FromIssuer, configured: Option<Url>) -> Self {
        Self { issuer, configured, found: Mutex::default() }
    }

    /// The issuer's identifier for a subject of this tenant, `<issuer>/<tenant>`.
    pub(crate) fn identifier(&self, tenant: Option<&str>) -> String {
        let tenant = tenant.and_then(|tenant| tenant.rsplit('/').next()).unwrap_or_default();
        self.issuer.identifier.replace(TENANT, tenant)
    }

    /// The URL for a subject of this tenant.
    pub(crate) async fn url(&self, fetcher: &Fetcher, tenant: Option<&str>) -> Result<Url, Failed> {
        if let Some(url) = &self.configured {
            return Ok(url.clone());
        }
        let identifier = self.identifier(tenant);
        let known = self.found().get(&identifier).cloned();
        if let Some((url, until)) = known
            && Instant::now() < until
        {
            return Ok(url);
        }
        let asked = token_endpoint(&identifier, self.issuer.profile, fetcher).await;
        let url = asked.map_err(|error| {
            Failed::unavailable(format!(
                "issuer `{}` does not say where it is asked: {error}",
                self.issuer.name
            ))
        })?;
        let mut found = self.found();
        if found.len() >= MOST_TENANTS {
            found.clear();
        }
        found.insert(identifier, (url.clone(), Instant::now() + GOOD_FOR));
        Ok(url)
    }

    fn found(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Url, Instant)>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
