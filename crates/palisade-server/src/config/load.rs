//! Configuration files as typed values, with errors that name file, line and fix.

use std::{
    collections::BTreeMap,
    fmt::Display,
    path::{Path, PathBuf},
};

use palisade_model::ExchangeName;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::{
    types::{Config, Exchange, Included, Jwks, Pep, Resource, UpstreamToken},
    values::{ListenAddress, Secret},
};

/// A configuration as read, with every relative path resolved against its file.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration, with what it includes.
    pub config: Config,
    /// The files it was read from; the first is the one that was named.
    pub files: Vec<PathBuf>,
}

/// Why a configuration cannot be read.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not a configuration.
    #[error("{path}:{line}:{column}: {message}")]
    Parse {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// The column, from 1.
        column: u64,
        /// What is wrong, and the nearest thing that would be right.
        message: String,
    },
    /// The version is not one we know.
    #[error("{path}: `version: {version}` is not supported; write `version: 1`")]
    Version {
        /// The file.
        path: String,
        /// The version.
        version: u32,
    },
    /// A name is given by two files.
    #[error("{path}: {what} `{name}` is given by another file already")]
    Twice {
        /// The second file.
        path: String,
        /// `issuer`, `resource`, `pep` or `exchange`.
        what: &'static str,
        /// The name.
        name: String,
    },
}

/// Reads a configuration file and the files it includes.
///
/// # Errors
/// When a file cannot be read, is not a configuration, or gives a name that another has given.
pub fn read(path: &Path) -> Result<Loaded, ConfigError> {
    let mut config: Config = parse(path, &text(path)?)?;
    expect_version(path, config.version)?;
    resolve_all(&mut config, &folder(path));
    let mut files = vec![path.to_owned()];
    for include in std::mem::take(&mut config.include) {
        let mut included: Included = parse(&include, &text(&include)?)?;
        expect_version(&include, included.version)?;
        let base = folder(&include);
        resolve_entries(&mut included.peps, &mut included.issuers, &mut included.resources, &base);
        resolve_exchanges(&mut included.exchanges, &base);
        merge(&include, "pep", &mut config.peps, included.peps)?;
        merge(&include, "issuer", &mut config.issuers, included.issuers)?;
        merge(&include, "resource", &mut config.resources, included.resources)?;
        merge(&include, "exchange", &mut config.exchanges, included.exchanges)?;
        files.push(include);
    }
    Ok(Loaded { config, files })
}

/// Reads a configuration from a text, as if it stood in a file of this path.
///
/// # Errors
/// When the text is not a configuration.
pub fn read_text(path: &Path, text: &str) -> Result<Loaded, ConfigError> {
    let mut config: Config = parse(path, text)?;
    expect_version(path, config.version)?;
    resolve_all(&mut config, &folder(path));
    Ok(Loaded { config, files: Vec::new() })
}

fn text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.display().to_string(), source })
}

fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |location| (location.line(), location.column()));
        let full = error.without_snippet().to_string();
        let suffix = format!(" at line {line}, column {column}");
        let message = with_suggestion(full.strip_suffix(&suffix).unwrap_or(&full));
        ConfigError::Parse { path: path.display().to_string(), line, column, message }
    })
}

/// Adds the nearest known name to a message about an unknown one.
fn with_suggestion(message: &str) -> String {
    let (Some(unknown), Some((_, expected))) =
        (message.split('`').nth(1), message.split_once("expected one of "))
    else {
        return message.to_owned();
    };
    let nearest = expected
        .split(", ")
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .min()
        .filter(|(distance, known)| *distance <= known.len().max(unknown.len()) / 2);
    match nearest {
        Some((_, known)) => format!("{message}; did you mean `{known}`?"),
        None => message.to_owned(),
    }
}

fn expect_version(path: &Path, version: u32) -> Result<(), ConfigError> {
    if version == 1 {
        Ok(())
    } else {
        Err(ConfigError::Version { path: path.display().to_string(), version })
    }
}

fn merge<K: Ord + Display, V>(
    path: &Path,
    what: &'static str,
    into: &mut BTreeMap<K, V>,
    from: BTreeMap<K, V>,
) -> Result<(), ConfigError> {
    for (name, value) in from {
        if into.contains_key(&name) {
            return Err(ConfigError::Twice {
                path: path.display().to_string(),
                what,
                name: name.to_string(),
            });
        }
        into.insert(name, value);
    }
    Ok(())
}

fn folder(path: &Path) -> PathBuf {
    path.parent().map_or_else(PathBuf::new, Path::to_owned)
}

fn resolve(path: &mut PathBuf, base: &Path) {
    if path.is_relative() {
        *path = base.join(&*path);
    }
}

fn resolve_all(config: &mut Config, base: &Path) {
    config.include.iter_mut().for_each(|path| resolve(path, base));
    let policies = &mut config.policies;
    if policies.path.is_none() && policies.sets.is_empty() {
        policies.path = Some(PathBuf::from("policies"));
    }
    let folders = policies.sets.values_mut().map(|set| &mut set.path);
    let folders =
        folders.chain(&mut policies.path).chain(policies.shadow.as_mut().map(|shadow| &mut shadow.path));
    folders.for_each(|path| resolve(path, base));
    config.policies.schema.iter_mut().for_each(|path| resolve(path, base));
    config.policies.entities.iter_mut().for_each(|path| resolve(path, base));
    resolve(&mut config.audit.path, base);
    let listen = &mut config.listen;
    for address in [&mut listen.decision.address, &mut listen.public.address, &mut listen.admin.address] {
        if let ListenAddress::Unix(path) = address {
            resolve(path, base);
        }
    }
    resolve_resource(&mut config.defaults, base);
    resolve_exchanges(&mut config.exchanges, base);
    let files = config.sts.iter_mut().flat_map(super::sts::files_mut);
    files.for_each(|path| resolve(path, base));
    for redis in [&mut config.exchange_cache.redis, &mut config.rate_limit_store.redis] {
        super::redis::files_mut(redis.as_mut()).for_each(|path| resolve(path, base));
    }
    super::handles::files_mut(&mut config.handles).for_each(|path| resolve(path, base));
    resolve_entries(&mut config.peps, &mut config.issuers, &mut config.resources, base);
}

fn resolve_entries<P, I, R>(
    peps: &mut BTreeMap<P, Pep>,
    issuers: &mut BTreeMap<I, super::types::Issuer>,
    resources: &mut BTreeMap<R, Resource>,
    base: &Path,
) {
    for pep in peps.values_mut() {
        for secret in [&mut pep.auth.key, &mut pep.auth.secret] {
            let Some(Secret::File(path)) = secret else { continue };
            resolve(path, base);
        }
    }
    for issuer in issuers.values_mut() {
        if let Some(Jwks::File(path)) = &mut issuer.jwks {
            resolve(path, base);
        }
        for file in issuer.network.ca.iter_mut().chain(&mut issuer.revocations) {
            resolve(&mut file.file, base);
        }
    }
    resources.values_mut().for_each(|resource| resolve_resource(resource, base));
}

fn resolve_exchanges(exchanges: &mut BTreeMap<ExchangeName, Exchange>, base: &Path) {
    let files = exchanges.values_mut().flat_map(super::exchanges::files_mut);
    files.for_each(|path| resolve(path, base));
}

fn resolve_resource(resource: &mut Resource, base: &Path) {
    super::static_tokens::files_mut(resource).for_each(|path| resolve(path, base));
    super::graphql::files_mut(resource).for_each(|path| resolve(path, base));
    if let Some(catalog) = resource.tools.as_mut().and_then(|tools| tools.catalog.as_mut()) {
        resolve(catalog, base);
    }
    if let Some(UpstreamToken::Static(header)) = &mut resource.upstream_token
        && let Some(path) = header.value.path_mut()
    {
        resolve(path, base);
    }
}
