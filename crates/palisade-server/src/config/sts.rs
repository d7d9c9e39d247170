//! `sts` as our own token service.
//!
//! Its tokens are those of an issuer of this configuration, whose keys are known without a fetch: a resource takes them by
//! naming that issuer.

use std::{collections::BTreeSet, os::unix::fs::MetadataExt, path::PathBuf, sync::Arc, time::Duration};

use palisade_model::{Audience, IssuerName, ResourceName};
use palisade_pdp::{Sts, StsClient, StsSettings, StsTarget};
use palisade_policy::WorldExchange;
use palisade_token::{Algorithm, GroupsOverage, IssuerSettings, KeySource, Profile, SigningKey, SigningKeys};
use sha2::{Digest, Sha256};
use url::Url;
use zeroize::Zeroizing;

use super::{
    build::{Builder, is_https_origin},
    issuers::{is_loopback, revocations, without_subjects},
    resources::with_defaults,
    types::{self, Config},
    values::Secret,
};

/// The shortest secret of a client.
const SHORTEST_SECRET: usize = 32;
/// The longest that a token lives.
const LONGEST_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// Of built-in issuers.
const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);
/// The most scopes of a target: the policies may be asked about each.
const MOST_SCOPES: usize = 64;

impl Builder<'_> {
    /// The token service, and the issuer of its tokens.
    pub(super) fn sts(&mut self) -> (Option<Arc<Sts>>, Option<IssuerSettings>) {
        let Some(own) = &self.config.sts else { return (None, None) };
        match self.settings(own) {
            Ok((sts, issuer)) => (Some(Arc::new(sts)), Some(issuer)),
            Err(why) => {
                self.problem(format!("sts.{why}"));
                (None, None)
            }
        }
    }

    /// Whether there is an issuer of this name: configured, built in, or our own.
    pub(super) fn has_issuer(&self, name: &IssuerName) -> bool {
        let own = self.config.sts.as_ref().is_some_and(|sts| sts.name == *name);
        own || self.has_other_issuer(name)
    }

    fn has_other_issuer(&self, name: &IssuerName) -> bool {
        let embedded = self.embedded.issuers.iter().any(|known| known.name == *name);
        embedded || self.config.issuers.contains_key(name)
    }

    /// What tokens can be asked for, as policies see it: a limited set reaches what the tokens of its resources are for.
    pub(super) fn world_audiences(&self) -> Vec<WorldExchange> {
        let resources_of = |audience: &String| -> BTreeSet<ResourceName> {
            let all = self.config.resources.iter();
            let own = all.filter(|(_, resource)| {
                let resource = with_defaults(resource, &self.config.defaults);
                resource.accept_any_audience == Some(true)
                    || resource.identifier.as_ref() == Some(audience)
                    || resource.audiences.iter().flatten().any(|own| own == audience)
            });
            own.map(|(name, _)| name.clone()).collect()
        };
        let audiences = self.config.sts.iter().flat_map(|sts| &sts.audiences);
        let exchange = |(name, target): (&_, &types::StsAudience)| WorldExchange {
            name: Clone::clone(name),
            audience: target.audience.clone(),
            resources: resources_of(&target.audience),
        };
        audiences.map(exchange).collect()
    }

    fn settings(&self, own: &types::Sts) -> Result<(Sts, IssuerSettings), String> {
        let base_url = self.base_url()?;
        if self.has_other_issuer(&own.name) {
            return Err(format!("name: `{}` is the name of another issuer", own.name));
        }
        if own.issuers.is_empty() {
            return Err("issuers: name at least one whose tokens can be exchanged".to_owned());
        }
        if let Some(unknown) = own.issuers.iter().find(|name| !self.has_other_issuer(name)) {
            return Err(format!("issuers: there is no issuer `{unknown}`"));
        }
        // Who chooses a name there would choose whose `sub` the token service speaks of.
        let by_other = |name: &&IssuerName| {
            let subject = self.config.issuers.get(*name).and_then(|issuer| issuer.subject.as_deref());
            subject.is_some_and(|claim| claim != "sub")
        };
        if let Some(name) = own.issuers.iter().find(by_other) {
            return Err(format!(
                "issuers: `{name}` has a `subject` other than `sub`, which is what `sub_id` names"
            ));
        }
        if let Some((taken, _)) =
            own.audiences.iter().find(|(name, _)| self.config.exchanges.contains_key(*name))
        {
            return Err(format!("audiences.{taken}: the name is taken by an exchange"));
        }
        let keys = signing_keys(own)?;
        let issuer = IssuerSettings {
            profile: Profile::Palisade,
            keys: KeySource::Inline(keys.document().to_owned()),
            algorithms: vec![Algorithm::ES256],
            origins: own.issuers.clone(),
            // Whether such tokens are taken was decided where they came in; policies are told that groups are missing.
            groups_overage: GroupsOverage::Ignore,
            leeway: self.shortest_leeway(own),
            revocations: revocations(own.revocations.as_ref())?.map(without_subjects).transpose()?,
            ..IssuerSettings::new(own.name.clone(), base_url.as_str().into())
        };
        let clients = own.clients.iter().map(|(id, client)| Self::client(own, id, client));
        let targets = own.audiences.iter().map(|(name, target)| {
            check(target).map_err(|why| format!("audiences.{name}.{why}"))?;
            Ok::<_, String>(StsTarget {
                name: name.clone(),
                audience: target.audience.clone(),
                scopes: target.scopes.iter().cloned().collect(),
                implies: target.implies.clone(),
                lifetime: target.lifetime.0,
            })
        });
        let sts = Sts::new(StsSettings {
            name: own.name.clone(),
            base_url,
            issuers: own.issuers.clone(),
            clients: clients.collect::<Result<_, _>>()?,
            targets: targets.collect::<Result<_, _>>()?,
            keys,
        });
        Ok((sts.map_err(|error| format!("audiences: {error}"))?, issuer))
    }

    /// A token is taken no longer after its end than the tokens that it may be issued for.
    fn shortest_leeway(&self, own: &types::Sts) -> Duration {
        let leeways = own.issuers.iter().filter_map(|name| self.config.issuers.get(name));
        leeways.map(|issuer| issuer.leeway.0).min().unwrap_or(DEFAULT_LEEWAY)
    }

    /// What the service is called by, and reached at.
    fn base_url(&self) -> Result<String, String> {
        let Some(url) = &self.config.listen.public.base_url else {
            return Err("needs `listen.public.base_url`, which is its issuer identifier".to_owned());
        };
        let on_loopback = Url::parse(url)
            .is_ok_and(|parsed| is_loopback(&parsed) && parsed.origin().ascii_serialization() == *url);
        if is_https_origin(url) || on_loopback {
            Ok(url.clone())
        } else {
            Err(format!(
                "needs a `listen.public.base_url` like https://auth.example.com, without path, query and slash at the end, not `{url}`"
            ))
        }
    }

    fn client(sts: &types::Sts, id: &str, own: &types::StsClient) -> Result<StsClient, String> {
        let at = |why: &str| format!("clients.{id}.{why}");
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if id.is_empty() || id.len() > 128 || !id.bytes().all(plain) {
            return Err(format!(
                "clients: `{id}` is no client id: use up to 128 letters, digits, `-`, `.`, `_` and `~`"
            ));
        }
        let secret = own.secret.read().map(Zeroizing::new).map_err(|why| at(&format!("secret: {why}")))?;
        if secret.chars().count() < SHORTEST_SECRET {
            return Err(at("secret: at least 32 characters"));
        }
        if let Some(unknown) = own.exchange.iter().find(|name| !sts.audiences.contains_key(*name)) {
            return Err(at(&format!("exchange: `sts.audiences` has no `{unknown}`")));
        }
        let audiences: BTreeSet<Audience> = match own.audiences.as_slice() {
            [] => BTreeSet::from([id.into()]),
            some => some.iter().map(|audience| audience.as_str().into()).collect(),
        };
        Ok(StsClient {
            id: id.to_owned(),
            secret: Sha256::digest(secret.as_bytes()).into(),
            audiences,
            targets: own.exchange.iter().cloned().collect(),
        })
    }
}

fn signing_keys(own: &types::Sts) -> Result<SigningKeys, String> {
    let read = |(place, secret): (usize, &Secret)| {
        let text = secret.read().map(Zeroizing::new).map_err(|why| format!("keys.{place}: {why}"))?;
        SigningKey::from_pem(&text).map_err(|error| format!("keys.{place}: {error}"))
    };
    let keys = own.keys.iter().enumerate().map(read).collect::<Result<_, _>>()?;
    SigningKeys::new(keys).map_err(|error| format!("keys: {error}"))
}

fn check(target: &types::StsAudience) -> Result<(), &'static str> {
    if target.audience.is_empty() {
        return Err("audience: name what the tokens are for");
    }
    if target.scopes.len() > MOST_SCOPES {
        return Err("scopes: at most 64");
    }
    if target.lifetime.0 < Duration::from_secs(1) || target.lifetime.0 > LONGEST_LIFETIME {
        return Err("lifetime: from 1s to 1h");
    }
    Ok(())
}

/// What is weaker than it could be.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let Some(own) = &config.sts else { return Vec::new() };
    let mut warnings = Vec::new();
    let named = own.keys.iter().enumerate().map(|(place, key)| (format!("keys.{place}"), key));
    let of_clients = own.clients.iter().map(|(id, client)| (format!("clients.{id}.secret"), &client.secret));
    for (at, secret) in named.chain(of_clients) {
        let Secret::File(path) = secret else { continue };
        if std::fs::metadata(path).is_ok_and(|found| found.mode() & 0o007 != 0) {
            warnings
                .push(format!("sts.{at}: everybody on this machine may read or write {}", path.display()));
        }
    }
    warnings
}

fn secrets(own: &types::Sts) -> impl Iterator<Item = &Secret> {
    own.keys.iter().chain(own.clients.values().map(|client| &client.secret))
}

/// The files that it is made of.
pub(super) fn files(own: &types::Sts) -> impl Iterator<Item = PathBuf> {
    let of_secrets = secrets(own).filter_map(|secret| match secret {
        Secret::File(path) => Some(path.clone()),
        Secret::Env(_) => None,
    });
    of_secrets.chain(own.revocations.as_ref().map(|list| list.file.clone()))
}

/// The same, to be resolved against the file that names them.
pub(crate) fn files_mut(own: &mut types::Sts) -> impl Iterator<Item = &mut PathBuf> {
    own.keys
        .iter_mut()
        .chain(own.clients.values_mut().map(|client| &mut client.secret))
        .filter_map(Secret::path_mut)
        .chain(own.revocations.as_mut().map(|list| &mut list.file))
}
