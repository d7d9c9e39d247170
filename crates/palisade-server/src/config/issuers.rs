//! `issuers` as what tokens are verified with.

use std::{sync::Arc, time::Duration};

use palisade_model::IssuerName;
use palisade_token::{ClaimMap, ClaimPath, IssuerSettings, KeySource, Network, Profile, Revocations};
use url::Url;

use super::types::{self, FileRef, Jwks};

/// How far a clock may be off before it is a defect.
const LONGEST_LEEWAY: Duration = Duration::from_secs(5 * 60);

/// The settings of one issuer, or what is wrong with them.
pub(super) fn issuer_settings(name: &IssuerName, issuer: &types::Issuer) -> Result<IssuerSettings, String> {
    let url = Url::parse(&issuer.issuer.replace("{tenantid}", "tenant"))
        .map_err(|error| format!("`{}` is no URL: {error}", issuer.issuer))?;
    if url.scheme() != "https" && !is_loopback(&url) {
        return Err(format!(
            "`{}` must begin with https://: off loopback, plain http proves nothing",
            issuer.issuer
        ));
    }
    if issuer.issuer == crate::dev::ISSUER {
        return Err(
            "this is the development issuer of `palisade dev`, whose keys are in nobody's care".to_owned()
        );
    }
    if issuer.leeway.0 > LONGEST_LEEWAY {
        return Err(
            "leeway: more than 5m accepts tokens long after their end (`M` is months, `m` is minutes)"
                .to_owned(),
        );
    }
    if (issuer.profile == Profile::Palisade) == issuer.origins.is_empty() {
        return Err(
            "origins: profile `palisade` names the issuers whose subjects its tokens may speak for, and no other profile does"
                .to_owned(),
        );
    }
    if issuer.origins.contains(name) {
        return Err(
            "origins: a token service speaks for the subjects of others, and has none of its own".to_owned()
        );
    }
    let segments: Vec<&str> = url.path_segments().into_iter().flatten().collect();
    if segments.first().is_some_and(|first| matches!(*first, "common" | "organizations")) {
        return Err("an Entra issuer `common` or `organizations` accepts every tenant in the world; use {tenantid} and `tenants`".to_owned());
    }
    let keys = match &issuer.jwks {
        None => KeySource::Discovery,
        Some(Jwks::Uri(uri)) => {
            KeySource::Uri(Url::parse(uri).map_err(|error| format!("jwks: `{uri}` is no URL: {error}"))?)
        }
        Some(Jwks::File(path)) => KeySource::File(path.clone()),
    };
    let proxy = match issuer.network.proxy.as_deref() {
        None | Some("none") => None,
        Some(proxy) => {
            Some(Url::parse(proxy).map_err(|error| format!("network.proxy: `{proxy}` is no URL: {error}"))?)
        }
    };
    Ok(IssuerSettings {
        profile: issuer.profile,
        keys,
        algorithms: issuer.algorithms.clone(),
        leeway: issuer.leeway.0,
        timeout: issuer.timeout.0,
        max_lifetime: issuer.max_lifetime.0,
        subject_claim: issuer.subject.clone(),
        tenants: issuer.tenants.clone(),
        claims: claim_map(&issuer.claims)?,
        groups_overage: issuer.groups_overage,
        network: Network {
            private: issuer.network.private,
            ca: issuer.network.ca.as_ref().map(|ca| ca.file.clone()),
            proxy,
        },
        origins: issuer.origins.clone(),
        revocations: revocations(issuer.revocations.as_ref())?
            .map(|list| names_somebody(issuer, list))
            .transpose()?,
        ..IssuerSettings::new(name.clone(), issuer.issuer.as_str().into())
    })
}

/// What is revoked, where a file says so.
pub(super) fn revocations(file: Option<&FileRef>) -> Result<Option<Arc<Revocations>>, String> {
    let Some(FileRef { file }) = file else { return Ok(None) };
    let at = |why: String| format!("revocations: {}: {why}", file.display());
    let bytes = std::fs::read(file).map_err(|error| at(error.to_string()))?;
    let list = Revocations::read(&bytes).map_err(|error| at(error.to_string()))?;
    Ok(Some(Arc::new(list)))
}

/// An entry that names nobody would be passed over in silence.
fn names_somebody(issuer: &types::Issuer, list: Arc<Revocations>) -> Result<Arc<Revocations>, String> {
    if issuer.issuer.contains("{tenantid}") && !list.names_within(&issuer.tenants) {
        return Err("revocations: an entry names a subject or client without one of `tenants`: write `<tenant>/<id>`, as the issuer has several".to_owned());
    }
    if issuer.profile == Profile::Palisade { without_subjects(list) } else { Ok(list) }
}

/// A token service has no subjects of its own.
pub(super) fn without_subjects(list: Arc<Revocations>) -> Result<Arc<Revocations>, String> {
    if list.names_subjects() {
        return Err("revocations: an entry names a `subject`, and a token service has none of its own: write it into the list of the subject's issuer, and who acts there as a `client`".to_owned());
    }
    Ok(list)
}

fn claim_map(claims: &types::Claims) -> Result<ClaimMap, String> {
    let path = |text: &String| text.parse::<ClaimPath>().map_err(|error| format!("claims: {error}"));
    let paths = |texts: &[String]| texts.iter().map(path).collect::<Result<Vec<_>, _>>();
    Ok(ClaimMap {
        roles: paths(claims.roles.as_deref().unwrap_or_default())?,
        groups: paths(claims.groups.as_deref().unwrap_or_default())?,
        tenant: claims.tenant.as_ref().map(path).transpose()?,
        tags: paths(&claims.tags)?,
    })
}

/// Whether a URL is on this machine, where plain http is no risk.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
