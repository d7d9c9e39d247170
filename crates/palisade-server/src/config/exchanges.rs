//! `exchanges` as what tokens are exchanged with.
//!
//! An exchange that did not change keeps its exchanger over a reload, and with it what is in store. What it depends on is
//! hashed for that: its section, its issuers' sections, the content of every file and secret that they name, and the cache
//! behind it. Where the files are is no part of it: replicas that share a cache may keep them in different places.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use palisade_exchange::{
    Actor, AuthorizationServer, ClientAuth, ClientSettings, ExchangeSettings, FromIssuer, Provider,
    ProviderExchanger, ResultCheck, SigningKey,
};
use palisade_model::{ExchangeName, IssuerName, ResourceName};
use palisade_pdp::{Exchange, Exchanges, Fingerprint, Snapshot};
use palisade_policy::WorldExchange;
use palisade_token::network::Route;
use sha2::{Digest, Sha256};
use url::Url;
use zeroize::Zeroizing;

use super::{
    build::Builder,
    exchange_cache::Cache,
    types::{self, UpstreamToken},
    values::Secret,
};

/// The longest that a token is handed out: as long as the store keeps any.
const LONGEST_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// The longest that a call waits for a provider.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The most scopes of an exchange: the policies may be asked about each.
const MOST_SCOPES: usize = 16;

impl Builder<'_> {
    pub(super) fn exchanges(&mut self, previous: Option<&Snapshot>) -> Exchanges {
        let mut exchanges = Exchanges::new();
        let cache = match super::exchange_cache::open(&self.config.exchange_cache) {
            Ok(cache) => cache,
            Err(why) => {
                self.problems.push(format!("exchange_cache.redis.{why}"));
                return exchanges;
            }
        };
        for (name, exchange) in &self.config.exchanges {
            match self.exchange(name, exchange, cache.as_ref(), previous) {
                Ok(exchange) => {
                    exchanges.insert(name.clone(), Arc::new(exchange));
                }
                Err(why) => self.problems.push(format!("exchanges.{name}.{why}")),
            }
        }
        exchanges
    }

    /// The exchanges as policies see them.
    pub(super) fn world_exchanges(&self) -> Vec<WorldExchange> {
        let resources_of = |name: &ExchangeName| -> BTreeSet<ResourceName> {
            let leaves_by = |resource: &types::Resource| {
                let own = resource.upstream_token.as_ref().or(self.config.defaults.upstream_token.as_ref());
                matches!(own, Some(UpstreamToken::Exchange(used)) if used == name)
            };
            let all = self.config.resources.iter();
            all.filter(|(_, resource)| leaves_by(resource)).map(|(name, _)| name.clone()).collect()
        };
        let exchange = |(name, exchange): (&ExchangeName, &types::Exchange)| WorldExchange {
            name: name.clone(),
            audience: exchange.audience.clone(),
            resources: resources_of(name),
        };
        self.config.exchanges.iter().map(exchange).collect()
    }

    /// The issuer whose tokens an exchange takes: the one it names, or the only one.
    pub(super) fn issuer_of(&self, exchange: &types::Exchange) -> Result<IssuerName, String> {
        let mut names = self.config.issuers.keys();
        match (&exchange.issuer, names.next(), names.next()) {
            (Some(name), _, _) => Ok(name.clone()),
            (None, Some(only), None) => Ok(only.clone()),
            (None, _, _) => {
                Err("issuer: name the issuer whose tokens are exchanged: there is not just one".to_owned())
            }
        }
    }

    fn exchange(
        &self,
        name: &ExchangeName,
        own: &types::Exchange,
        cache: Option<&Cache>,
        previous: Option<&Snapshot>,
    ) -> Result<Exchange, String> {
        check(own)?;
        let mut settings = self.exchange_settings(name, own)?;
        settings.shared = cache.map(|cache| Arc::clone(&cache.store));
        let fingerprint = with_cache(settings.fingerprint, cache);
        let requester = format!("{}/{}", settings.issuer.name, own.client.id);
        let before = previous.and_then(|previous| previous.exchanges.get(name));
        let issuer = settings.issuer.name.clone();
        let exchanger = match before.filter(|before| before.fingerprint == fingerprint) {
            Some(before) => Arc::clone(&before.exchanger),
            None => Arc::new(ProviderExchanger::new(settings).map_err(|error| format!("provider: {error}"))?),
        };
        Ok(Exchange {
            name: name.clone(),
            issuer,
            audience: own.audience.clone(),
            scopes: Arc::new(own.scopes.iter().cloned().collect()),
            lifetime: own.lifetime.0,
            timeout: own.timeout.0,
            requester,
            fingerprint,
            exchanger,
        })
    }

    fn exchange_settings(
        &self,
        name: &ExchangeName,
        own: &types::Exchange,
    ) -> Result<ExchangeSettings, String> {
        let reading = Reading::of(own);
        let issuer = self.named_issuer(&self.issuer_of(own)?).map_err(|why| format!("issuer: {why}"))?;
        let next = own.authorization_server.as_ref().map(|next| self.authorization_server(next, &reading));
        let next = next.transpose().map_err(|why| format!("authorization_server.{why}"))?;
        let last = next.as_ref().map_or(&issuer.name, |next| &next.issuer.name).clone();
        let issued_by = own.issued_by.clone().unwrap_or_else(|| last.clone());
        let issued = self.named_issuer(&issued_by).map_err(|why| format!("issued_by: {why}"))?;
        self.check_pairwise(own, [&issuer.name, &issued_by])?;
        let actor = own.actor.as_ref().map(|actor| {
            Ok::<_, String>(Actor { token: reading.secret(&actor.token)?, token_type: actor.token_type })
        });
        let client = client(&own.client, own.provider, &reading).map_err(|why| format!("client: {why}"))?;
        let route = self.route(own, &issuer.name, &reading)?;
        Ok(ExchangeSettings {
            name: name.clone(),
            provider: own.provider,
            client,
            token_endpoint: url(own.token_endpoint.as_deref())?,
            audience: own.audience.clone(),
            token_audience: own.token_audience.clone().unwrap_or_else(|| own.audience.clone()),
            resources: own.resources.clone(),
            subject_token_type: own.subject_token_type,
            actor: actor.transpose().map_err(|why| format!("actor: {why}"))?,
            result: own.result,
            authorization_server: next,
            route,
            fingerprint: self.fingerprint(reading, [&issuer.name, &last, &issued_by])?,
            shared: None,
            issued_profile: issued.profile,
            issued_by,
            issuer,
        })
    }

    /// Entra's `sub` is another one in every application: no result of an exchange would have the subject that was asked for.
    fn check_pairwise(&self, own: &types::Exchange, issuers: [&IssuerName; 2]) -> Result<(), String> {
        let by_oid = |name: &&IssuerName| {
            let issuer = self.config.issuers.get(*name);
            issuer.is_none_or(|issuer| issuer.subject.as_deref() == Some("oid"))
        };
        let pairwise = own.provider == Provider::Entra && own.result == ResultCheck::Verified;
        match issuers.into_iter().find(|name| !by_oid(name)) {
            Some(name) if pairwise => Err(format!(
                "issuer: a user's `sub` is another one in every application of Entra, so every result would be refused: write \
                 `issuers.{name}.subject: oid`"
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn named_issuer(&self, name: &IssuerName) -> Result<FromIssuer, String> {
        let issuer = self.config.issuers.get(name);
        let issuer = issuer.ok_or_else(|| format!("there is no issuer `{name}`"))?;
        Ok(FromIssuer { name: name.clone(), identifier: issuer.issuer.clone(), profile: issuer.profile })
    }

    fn authorization_server(
        &self,
        own: &types::AuthorizationServer,
        reading: &Reading,
    ) -> Result<AuthorizationServer, String> {
        if own.client.tls.is_some() {
            return Err(
                "client.tls: the second server is reached as the first is: use `secret` or `key`".to_owned()
            );
        }
        Ok(AuthorizationServer {
            issuer: self.named_issuer(&own.issuer).map_err(|why| format!("issuer: {why}"))?,
            token_endpoint: url(own.token_endpoint.as_deref())?,
            client: client(&own.client, Provider::IdJag, reading).map_err(|why| format!("client: {why}"))?,
        })
    }

    /// How the provider is reached: as its issuer is, unless something else is said.
    fn route(&self, own: &types::Exchange, issuer: &IssuerName, reading: &Reading) -> Result<Route, String> {
        let of_issuer = self.config.issuers.get(issuer).map(|issuer| &issuer.network);
        let network = own.network.as_ref().or(of_issuer).cloned().unwrap_or_default();
        let proxy = network.proxy.as_deref().filter(|proxy| *proxy != "none");
        let proxy = proxy.map(Url::parse).transpose().map_err(|error| format!("network.proxy: {error}"))?;
        let authorities = network.ca.as_ref().map(|ca| reading.file(&ca.file)).transpose()?;
        let identity = own.client.tls.as_ref().map(|tls| {
            let mut pem = Zeroizing::new(reading.file(&tls.certificate.file)?);
            pem.extend_from_slice(b"\n");
            pem.extend_from_slice(reading.secret(&tls.key)?.as_bytes());
            Ok::<_, String>(pem)
        });
        Ok(Route {
            private: network.private,
            authorities,
            proxy,
            // Longer than any call waits: what comes late is there for the next one.
            timeout: own.timeout.0 * 3,
            identity: identity.transpose().map_err(|why| format!("client.tls: {why}"))?,
        })
    }

    /// The digest of all that it is made of: what was read, and its issuers.
    fn fingerprint(&self, reading: Reading, issuers: [&IssuerName; 3]) -> Result<Fingerprint, String> {
        for issuer in issuers.into_iter().filter_map(|issuer| self.config.issuers.get(issuer)) {
            reading.add(format!("{:?}", issuer_without_places(issuer)).as_bytes());
            let keys = match &issuer.jwks {
                Some(types::Jwks::File(path)) => Some(path),
                Some(types::Jwks::Uri(_)) | None => None,
            };
            for path in keys.into_iter().chain(issuer.network.ca.as_ref().map(|ca| &ca.file)) {
                reading.file(path)?;
            }
        }
        Ok(reading.digest())
    }
}

/// Reads what an exchange is made of, and takes every part into a digest as it was read. Another digest is another exchange,
/// with nothing in store; and none is of other secrets than those that are used, also where a file changes meanwhile.
struct Reading(RefCell<Sha256>);

impl Reading {
    fn of(own: &types::Exchange) -> Self {
        let reading = Self(RefCell::default());
        reading.add(format!("{:?}", without_places(own)).as_bytes());
        reading
    }

    fn add(&self, part: &[u8]) {
        let mut hash = self.0.borrow_mut();
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }

    fn secret(&self, secret: &Secret) -> Result<Zeroizing<String>, String> {
        let text = secret.read().map(Zeroizing::new)?;
        if text.trim().is_empty() {
            return Err("the secret is empty".to_owned());
        }
        self.add(text.as_bytes());
        Ok(text)
    }

    fn file(&self, path: &Path) -> Result<Vec<u8>, String> {
        let content = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        self.add(&content);
        Ok(content)
    }

    fn digest(self) -> Fingerprint {
        Fingerprint(self.0.into_inner().finalize().into())
    }
}

/// The digest that says whether an exchanger can be kept.
fn with_cache(fingerprint: Fingerprint, cache: Option<&Cache>) -> Fingerprint {
    let cache = cache.map_or([0; 32], |cache| cache.fingerprint);
    Fingerprint(Sha256::new().chain_update(fingerprint.0).chain_update(cache).finalize().into())
}

fn without_places(own: &types::Exchange) -> types::Exchange {
    let mut own = own.clone();
    files_mut(&mut own).into_iter().for_each(|path| *path = PathBuf::new());
    own
}

fn issuer_without_places(issuer: &types::Issuer) -> types::Issuer {
    let mut issuer = issuer.clone();
    if let Some(types::Jwks::File(path)) = &mut issuer.jwks {
        *path = PathBuf::new();
    }
    if let Some(ca) = &mut issuer.network.ca {
        ca.file = PathBuf::new();
    }
    // What is in store is held against the lists of the day whenever it is asked for.
    issuer.revocations = None;
    issuer
}

/// What does not depend on anything else.
fn check(own: &types::Exchange) -> Result<(), String> {
    if own.audience.is_empty() {
        return Err("audience: name what the tokens are for".to_owned());
    }
    if own.scopes.len() > MOST_SCOPES {
        return Err(format!("scopes: at most {MOST_SCOPES}"));
    }
    let default = own.scopes.iter().any(|scope| scope.as_str() == ".default");
    if default && (own.scopes.len() > 1 || own.result != ResultCheck::Opaque) {
        return Err(
            "scopes: `.default` stands alone, and only with `result: opaque`: what it brings is not known"
                .to_owned(),
        );
    }
    if own.provider == Provider::Entra && own.scopes.is_empty() {
        return Err("scopes: Entra takes the target from the scopes; name at least one".to_owned());
    }
    if !own.resources.is_empty() && !own.provider.takes_resources() {
        return Err(format!("resources: provider `{}` takes none", own.provider.as_str()));
    }
    if own.actor.is_some() && !own.provider.takes_actors() {
        return Err(format!(
            "actor: provider `{}` is told of no actor: take it away, or policies and records name one who never acted",
            own.provider.as_str()
        ));
    }
    if own.lifetime.0 > LONGEST_LIFETIME || own.lifetime.0 < Duration::from_secs(1) {
        return Err("lifetime: from 1s to 1h".to_owned());
    }
    if own.timeout.0 > LONGEST_TIMEOUT || own.timeout.0 < Duration::from_millis(50) {
        return Err("timeout: from 50ms to 30s".to_owned());
    }
    Ok(())
}

fn client(
    own: &types::ExchangeClient,
    provider: Provider,
    reading: &Reading,
) -> Result<ClientSettings, String> {
    let auth = match (&own.secret, &own.key, &own.tls) {
        (Some(secret), None, None) => {
            ClientAuth::Secret(reading.secret(secret)?, own.secret_in.unwrap_or(provider.secret_in()))
        }
        (None, Some(key), None) => {
            let certificate = own.certificate.as_ref();
            let thumbprint =
                certificate.map(|certificate| thumbprint(&certificate.file, reading)).transpose()?;
            let key = SigningKey::from_pem(reading.secret(key)?.as_bytes(), own.kid.clone(), thumbprint);
            ClientAuth::Key(key.map_err(|error| error.to_string())?)
        }
        (None, None, Some(_)) => ClientAuth::Certificate,
        (_, _, _) => return Err("a client has one of `secret`, `key` and `tls`".to_owned()),
    };
    Ok(ClientSettings { id: own.id.clone(), auth })
}

/// `x5t#S256` of the first certificate of a file (RFC 7515 section 4.1.8).
fn thumbprint(path: &Path, reading: &Reading) -> Result<String, String> {
    let text = String::from_utf8(reading.file(path)?).map_err(|_| format!("{}: no PEM", path.display()))?;
    let body =
        text.split_once("-----BEGIN CERTIFICATE-----").and_then(|(_, rest)| rest.split_once("-----END"));
    let base64: Option<String> = body.map(|(body, _)| body.split_whitespace().collect());
    let der = base64.and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
    let der = der.ok_or_else(|| format!("{}: no certificate in PEM", path.display()))?;
    Ok(URL_SAFE_NO_PAD.encode(Sha256::digest(der)))
}

fn url(text: Option<&str>) -> Result<Option<Url>, String> {
    let url = text
        .map(|text| Url::parse(text).map_err(|error| format!("token_endpoint: `{text}` is no URL: {error}")));
    url.transpose()
}

fn clients(own: &types::Exchange) -> impl Iterator<Item = &types::ExchangeClient> {
    std::iter::once(&own.client).chain(own.authorization_server.as_ref().map(|next| &next.client))
}

fn secrets(own: &types::Exchange) -> impl Iterator<Item = &Secret> {
    let of_clients = clients(own).flat_map(|client| {
        let key = client.tls.as_ref().map(|tls| &tls.key);
        client.secret.iter().chain(&client.key).chain(key)
    });
    of_clients.chain(own.actor.as_ref().map(|actor| &actor.token))
}

fn certificates(own: &types::Exchange) -> impl Iterator<Item = &PathBuf> {
    let of_clients = clients(own).flat_map(|client| {
        let tls = client.tls.as_ref().map(|tls| &tls.certificate);
        client.certificate.iter().chain(tls)
    });
    let ca = own.network.as_ref().and_then(|network| network.ca.as_ref());
    of_clients.chain(ca).map(|file| &file.file)
}

/// The files that an exchange is made of.
pub(super) fn files(own: &types::Exchange) -> impl Iterator<Item = PathBuf> {
    let secrets = secrets(own).filter_map(|secret| match secret {
        Secret::File(path) => Some(path.clone()),
        Secret::Env(_) => None,
    });
    secrets.chain(certificates(own).cloned())
}

/// The same, to be resolved against the file that names them.
pub(super) fn files_mut(own: &mut types::Exchange) -> Vec<&mut PathBuf> {
    let mut files = Vec::new();
    let next = own.authorization_server.as_mut().map(|next| &mut next.client);
    for client in std::iter::once(&mut own.client).chain(next) {
        let (tls_certificate, tls_key) = match &mut client.tls {
            Some(tls) => (Some(&mut tls.certificate), Some(&mut tls.key)),
            None => (None, None),
        };
        let secrets = client.secret.iter_mut().chain(&mut client.key).chain(tls_key);
        files.extend(secrets.filter_map(Secret::path_mut));
        files.extend(client.certificate.iter_mut().chain(tls_certificate).map(|file| &mut file.file));
    }
    files.extend(own.actor.as_mut().and_then(|actor| actor.token.path_mut()));
    let ca = own.network.as_mut().and_then(|network| network.ca.as_mut());
    files.extend(ca.map(|file| &mut file.file));
    files
}
