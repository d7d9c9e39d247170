//! The configuration that is written: those keys of `palisade.yaml` that an importer can know.
//!
//! Every value is serialized by the YAML library, so no text of the source can leave its scalar.

use std::{collections::BTreeMap, net::IpAddr};

use palisade_model::{IssuerName, ResourceName};
use serde::Serialize;
use serde_json::Value;
use url::{Host, Url};

use crate::ImportError;

/// What stands in for what the source does not say. The domain can never resolve (RFC 2606), so nothing is let in.
const UNKNOWN_HOST: &str = "invalid";

#[derive(Debug, Serialize)]
pub(crate) struct Config {
    version: u32,
    pub(crate) issuers: BTreeMap<IssuerName, Issuer>,
    pub(crate) resources: BTreeMap<ResourceName, Resource>,
    policies: Policies,
}

#[derive(Debug, Serialize)]
struct Policies {
    path: &'static str,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Issuer {
    pub(crate) issuer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jwks: Option<Jwks>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<String>,
    #[serde(skip_serializing_if = "Claims::is_empty")]
    pub(crate) claims: Claims,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) network: Option<Network>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Jwks {
    Uri(String),
    File(String),
}

/// Which claims policies speak of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Claims {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) roles: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
}

impl Claims {
    fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.groups.is_empty() && self.tags.is_empty()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Network {
    pub(crate) ca: FileRef,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FileRef {
    pub(crate) file: String,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Resource {
    pub(crate) identifier: String,
    pub(crate) kind: &'static str,
    pub(crate) issuers: Vec<IssuerName>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) audiences: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Scopes::is_empty")]
    pub(crate) scopes: Scopes,
    #[serde(rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub(crate) places: Vec<Place>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) routes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) anonymous: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cors: Option<Cors>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upstream_token: Option<&'static str>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Scopes {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) initial: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) supported: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) step_up: Vec<String>,
}

impl Scopes {
    fn is_empty(&self) -> bool {
        self.initial.is_empty() && self.supported.is_empty() && self.step_up.is_empty()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) path: String,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cors {
    pub(crate) origins: Vec<String>,
}

impl Config {
    pub(crate) fn new() -> Self {
        Self {
            version: 1,
            issuers: BTreeMap::new(),
            resources: BTreeMap::new(),
            policies: Policies { path: "policies" },
        }
    }

    /// The name of an issuer: the one it has, or a new one made from its host.
    ///
    /// `None` where the same issuer is there with other settings: two sets of keys for one `iss` cannot be.
    pub(crate) fn add_issuer(&mut self, issuer: Issuer) -> Option<IssuerName> {
        if let Some((name, known)) = self.issuers.iter().find(|(_, known)| known.issuer == issuer.issuer) {
            return (*known == issuer).then(|| name.clone());
        }
        let wanted = name_of_host(&issuer.issuer);
        let name = free(&wanted, |name| {
            name.parse::<IssuerName>().ok().filter(|name| !self.issuers.contains_key(name))
        })?;
        self.issuers.insert(name.clone(), issuer);
        Some(name)
    }

    pub(crate) fn text(&self, source: &str) -> Result<String, ImportError> {
        // Through a value without keys that are empty, so that the text is the same whatever the library writes for them.
        let value: Value =
            serde_json::to_value(self).map_err(|error| ImportError::Unwritable(error.to_string()))?;
        let text =
            serde_saphyr::to_string(&value).map_err(|error| ImportError::Unwritable(error.to_string()))?;
        Ok(format!(
            "# Written by `palisade import` from {}.\n# Check it: palisade config check palisade.yaml\n{text}",
            crate::report::printable(source)
        ))
    }
}

/// The first of `wanted`, `wanted-2`, `wanted-3`... that `take` accepts.
pub(crate) fn free<T>(wanted: &str, take: impl Fn(&str) -> Option<T>) -> Option<T> {
    let numbered = (2..1000).map(|number| format!("{wanted}-{number}"));
    std::iter::once(wanted.to_owned()).chain(numbered).find_map(|name| take(&name))
}

/// A name for what is behind a URL: `https://auth.example.com/x` is `auth-example-com`.
fn name_of_host(url: &str) -> String {
    let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let name: String = host
        .chars()
        .map(
            |character| {
                if character.is_ascii_lowercase() || character.is_ascii_digit() { character } else { '-' }
            },
        )
        .take(56)
        .collect();
    let name = name.trim_matches('-');
    if name.starts_with(|first: char| first.is_ascii_lowercase()) {
        name.to_owned()
    } else if name.is_empty() {
        "issuer".to_owned()
    } else {
        format!("issuer-{name}")
    }
}

/// The identifier of a resource that the source does not name.
pub(crate) fn unknown_identifier(name: &ResourceName) -> String {
    format!("https://{name}.{UNKNOWN_HOST}/")
}

/// An issuer that the source does not name.
pub(crate) fn unknown_issuer() -> String {
    format!("https://issuer.{UNKNOWN_HOST}")
}

/// Why a URL can be no identifier of a resource.
pub(crate) fn check_identifier(text: &str) -> Result<Url, &'static str> {
    let url = check_url(text)?;
    let plain = |character: char| character.is_ascii_alphanumeric() || "-._~/".contains(character);
    if url.query().is_some() {
        Err("an identifier has no query")
    } else if !url.path().chars().all(plain) || url.path().contains("//") {
        Err("its path holds what no path of a request may hold")
    } else {
        Ok(url)
    }
}

/// Why a URL can be no issuer.
pub(crate) fn check_issuer(text: &str) -> Result<Url, &'static str> {
    let url = check_url(text)?;
    let first = url.path_segments().and_then(|mut segments| segments.next().map(str::to_owned));
    match first.as_deref() {
        Some("common" | "organizations") => {
            Err("it stands for every tenant in the world; name the tenant's own issuer")
        }
        Some(_) | None if text.contains(['{', '}']) => Err("a template is no issuer"),
        Some(_) | None => Ok(url),
    }
}

/// Why a URL is none that what it gives can be believed.
pub(crate) fn check_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "it is no absolute URL")?;
    if !url.has_host() || url.fragment().is_some() {
        return Err("it is no absolute URL without fragment");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a user name or password");
    }
    if url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url)) {
        Ok(url)
    } else {
        Err("it must begin with https:// off loopback")
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}
