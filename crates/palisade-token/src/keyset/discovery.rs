//! Where the key set and the token endpoint of an issuer are, by its own metadata.
//!
//! Three places are asked, in this order: the RFC 8414 one (`/.well-known/oauth-authorization-server` put between host and
//! path), the OpenID one put there too, and the OpenID one appended to the issuer. A place is passed by only when it
//! answers 4xx: an outage must not make a later, perhaps less guarded place count.
//!
//! The metadata must name the very issuer that is configured (RFC 8414 section 3.3), and its key set must be on the
//! issuer's host, on a subdomain of it, or on a domain it is a subdomain of. Google and Entra publish keys elsewhere, and
//! are exceptions by name; for any other provider the configuration names the URL. An issuer of several tenants of Entra
//! is asked for at `common`, whose metadata names the template itself.

use serde_json::{Map, Value};
use thiserror::Error;
use url::{Host, Url};

use super::Origin;
use crate::{
    Profile, SetupError,
    network::{self, FetchError, Fetched, Fetcher},
};

const TENANT: &str = "{tenantid}";
const DEPTH: usize = 32;

/// Why discovery found nothing.
#[derive(Debug, Error)]
pub enum DiscoveryError {
    /// The identifier leads nowhere.
    #[error("the issuer identifier is not a URL: {0}")]
    Issuer(#[from] url::ParseError),
    /// The metadata cannot be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The metadata is not what it must be.
    #[error("the metadata at `{0}` is not a JSON object without duplicate members")]
    Json(Url),
    /// The metadata is somebody else's.
    #[error("the metadata at `{0}` names another issuer than the one that is configured")]
    OtherIssuer(Url),
    /// The metadata has no key set.
    #[error("the metadata names no key set that may be used")]
    NoKeySet,
    /// The metadata has no token endpoint.
    #[error("the metadata names no token endpoint that may be used")]
    NoTokenEndpoint,
    /// What the metadata names is on another site.
    #[error("`{0}` is not on the issuer's site; name it in the configuration if it is the right one")]
    Elsewhere(Url),
}

/// Checks that the identifier of an issuer can be discovered at all.
pub(super) fn check(origin: &Origin) -> Result<(), SetupError> {
    let base = base(origin).map_err(|source| SetupError::IssuerUrl {
        issuer: origin.name.clone(),
        identifier: origin.issuer.as_str().to_owned(),
        source,
    })?;
    network::check_url(&base, origin.route.private).map_err(|why| SetupError::Url {
        issuer: origin.name.clone(),
        url: Box::new(base),
        why,
    })
}

/// Asks the metadata where the key set is.
pub(super) async fn key_set_url(origin: &Origin, fetcher: &Fetcher) -> Result<Url, DiscoveryError> {
    let base = base(origin)?;
    let metadata = metadata(origin.issuer.as_str(), &base, fetcher).await?;
    let keys = metadata.get("jwks_uri").and_then(Value::as_str).ok_or(DiscoveryError::NoKeySet)?;
    let keys = Url::parse(keys).map_err(|_| DiscoveryError::NoKeySet)?;
    on_site(origin.profile, &base, keys)
}

/// Asks the metadata of an issuer where its token endpoint is (RFC 8414 section 2). `identifier` is a whole one, without
/// a placeholder.
///
/// # Errors
/// When the metadata cannot be had, is not the issuer's, or names a token endpoint on another site.
pub async fn token_endpoint(
    identifier: &str,
    profile: Profile,
    fetcher: &Fetcher,
) -> Result<Url, DiscoveryError> {
    let base = Url::parse(identifier)?;
    let metadata = metadata(identifier, &base, fetcher).await?;
    let endpoint = metadata.get("token_endpoint").and_then(Value::as_str);
    let endpoint = endpoint.and_then(|endpoint| Url::parse(endpoint).ok());
    on_site(profile, &base, endpoint.ok_or(DiscoveryError::NoTokenEndpoint)?)
}

/// The metadata, from the first of the three places that has any.
async fn metadata(
    identifier: &str,
    base: &Url,
    fetcher: &Fetcher,
) -> Result<Map<String, Value>, DiscoveryError> {
    let mut refused = DiscoveryError::NoKeySet;
    for place in places(base) {
        match fetcher.get(&place, None).await {
            Ok(Fetched::Document { body, .. }) => return read(identifier, place, &body),
            Ok(Fetched::Unchanged { .. }) => return Err(DiscoveryError::NoKeySet),
            Err(error) if error.is_client_error() => refused = error.into(),
            Err(error) => return Err(error.into()),
        }
    }
    Err(refused)
}

fn base(origin: &Origin) -> Result<Url, url::ParseError> {
    Url::parse(&origin.issuer.as_str().replace(TENANT, "common"))
}

/// The three places. Of a path that ends with `/` exactly one slash is taken away (RFC 8414 section 3.1).
fn places(base: &Url) -> Vec<Url> {
    let path = base.path();
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut places = Vec::new();
    for place in [
        format!("/.well-known/oauth-authorization-server{path}"),
        format!("/.well-known/openid-configuration{path}"),
        format!("{path}/.well-known/openid-configuration"),
    ] {
        let mut url = base.clone();
        url.set_path(&place);
        url.set_query(None);
        url.set_fragment(None);
        // An issuer without a path has the OpenID document in one place, not two.
        if !places.contains(&url) {
            places.push(url);
        }
    }
    places
}

fn read(identifier: &str, place: Url, body: &[u8]) -> Result<Map<String, Value>, DiscoveryError> {
    let Ok(Value::Object(metadata)) = palisade_json::read(body, DEPTH) else {
        return Err(DiscoveryError::Json(place));
    };
    if metadata.get("issuer").and_then(Value::as_str) == Some(identifier) {
        Ok(metadata)
    } else {
        Err(DiscoveryError::OtherIssuer(place))
    }
}

fn on_site(profile: Profile, base: &Url, named: Url) -> Result<Url, DiscoveryError> {
    if same_site(base, &named) || is_known_pair(profile, base, &named) {
        Ok(named)
    } else {
        Err(DiscoveryError::Elsewhere(named))
    }
}

/// The same host, or one is a subdomain of the other. An address is only on its own site.
fn same_site(issuer: &Url, keys: &Url) -> bool {
    match (issuer.host(), keys.host()) {
        (Some(Host::Domain(issuer)), Some(Host::Domain(keys))) => {
            let below = |one: &str, other: &str| {
                one.strip_suffix(other).is_some_and(|rest| rest.ends_with('.')) && other.contains('.')
            };
            issuer == keys || below(issuer, keys) || below(keys, issuer)
        }
        (issuer, keys) => issuer.is_some() && issuer == keys,
    }
}

fn is_known_pair(profile: Profile, issuer: &Url, keys: &Url) -> bool {
    const MICROSOFT: &[&str] = &["login.microsoftonline.com", "login.windows.net", "sts.windows.net"];
    let (Some(issuer), Some(keys)) = (issuer.host_str(), keys.host_str()) else { return false };
    match profile {
        Profile::Google => issuer == "accounts.google.com" && keys == "www.googleapis.com",
        Profile::EntraV1 | Profile::EntraV2 => MICROSOFT.contains(&issuer) && MICROSOFT.contains(&keys),
        Profile::Rfc9068 | Profile::Okta | Profile::Auth0 | Profile::Keycloak | Profile::Palisade => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_places_are_asked_in_order() {
        let places = |issuer: &str| {
            let found = places(&Url::parse(issuer).unwrap());
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let of_path = [
            "https://h.example/.well-known/oauth-authorization-server/p/q",
            "https://h.example/.well-known/openid-configuration/p/q",
            "https://h.example/p/q/.well-known/openid-configuration",
        ];
        assert_eq!(places("https://h.example/p/q"), of_path);
        assert_eq!(places("https://h.example/p/q/"), of_path);
        let of_root = [
            "https://h.example/.well-known/oauth-authorization-server",
            "https://h.example/.well-known/openid-configuration",
        ];
        assert_eq!(places("https://h.example"), of_root);
        assert_eq!(places("https://h.example/"), of_root);
    }

    #[test]
    fn a_key_set_is_on_the_site_of_its_issuer() {
        for (profile, issuer, keys, good) in [
            (Profile::Rfc9068, "https://login.example.com", "https://login.example.com/jwks", true),
            (Profile::Rfc9068, "https://login.example.com", "https://keys.login.example.com/jwks", true),
            (Profile::Rfc9068, "https://login.example.com", "https://example.com/jwks", true),
            (Profile::Rfc9068, "https://login.example.com", "https://evilexample.com/jwks", false),
            (Profile::Rfc9068, "https://login.example.com", "https://evil.com/jwks", false),
            (Profile::Rfc9068, "https://login.example.com", "https://com/jwks", false),
            (Profile::Rfc9068, "http://127.0.0.1:1", "http://127.0.0.1:2/jwks", true),
            (Profile::Rfc9068, "http://127.0.0.1:1", "http://127.0.0.2:1/jwks", false),
            (
                Profile::Google,
                "https://accounts.google.com",
                "https://www.googleapis.com/oauth2/v3/certs",
                true,
            ),
            (
                Profile::Rfc9068,
                "https://accounts.google.com",
                "https://www.googleapis.com/oauth2/v3/certs",
                false,
            ),
            (Profile::EntraV1, "https://sts.windows.net/x/", "https://login.windows.net/common/keys", true),
            (
                Profile::EntraV2,
                "https://login.microsoftonline.com/x/v2.0",
                "https://www.googleapis.com/",
                false,
            ),
        ] {
            let (issuer, keys) = (Url::parse(issuer).unwrap(), Url::parse(keys).unwrap());
            let found = same_site(&issuer, &keys) || is_known_pair(profile, &issuer, &keys);
            assert_eq!(found, good, "{issuer} {keys}");
        }
    }
}
