//! `static_tokens` of resources, with what is in their files.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use axum::http::HeaderName;
use palisade_model::{Audience, Authority, IssuerName, ResourceName, StaticTokenName, Subject, Timestamp};
use palisade_pdp::{Kind, StaticToken, StaticTokens};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    build::Builder,
    types::{self, Config},
    values::Secret,
};

/// What stands in place of an issuer's name in the ids of those that no issuer knows.
const LOCAL: &str = "static";
/// The least bytes of a secret.
const SHORTEST: usize = 32;
/// The most bytes of a secret.
const LONGEST: usize = 1_024;
/// Headers that say something else already.
const TAKEN: [&str; 10] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "origin",
    "te",
    "transfer-encoding",
    "upgrade",
];

impl Builder<'_> {
    /// The static tokens of a resource; none where something is wrong with them.
    pub(super) fn static_tokens(
        &mut self,
        name: &ResourceName,
        own: Option<&types::StaticTokens>,
        kind: Kind,
        audiences: &BTreeSet<Audience>,
    ) -> StaticTokens {
        let Some(own) = own else { return StaticTokens::default() };
        match self.read_static_tokens(own, kind, audiences) {
            Ok(tokens) => tokens,
            Err(why) => {
                self.problem(format!("resources.{name}.static_tokens.{why}"));
                StaticTokens::default()
            }
        }
    }

    fn read_static_tokens(
        &self,
        own: &types::StaticTokens,
        kind: Kind,
        audiences: &BTreeSet<Audience>,
    ) -> Result<StaticTokens, String> {
        let header = own.header.as_deref().map(header).transpose().map_err(|why| format!("header: {why}"))?;
        if header.is_none() && !own.path {
            return Err("header: say where they come: `header: x-api-key`, or `path: true`".to_owned());
        }
        if own.path && kind != Kind::Mcp {
            return Err("path: only for kind mcp".to_owned());
        }
        if own.tokens.is_empty() {
            return Err("tokens: at least one is needed".to_owned());
        }
        let in_bearer = header.as_deref() == Some("authorization");
        let fits = |byte: u8| match (own.path, in_bearer) {
            (true, _) => byte.is_ascii_alphanumeric() || b"-._~".contains(&byte),
            (false, true) => byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte),
            (false, false) => byte.is_ascii_graphic() && byte != b',',
        };
        let (mut all, mut known) = (Vec::new(), BTreeMap::new());
        for (name, token) in &own.tokens {
            let at = |why: String| format!("tokens.{name}.{why}");
            let secrets = secrets(token, fits).map_err(at)?;
            for secret in &secrets {
                let digest: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
                if let Some(other) = known.insert(digest, name) {
                    return Err(at(format!("secrets: the same stands under `{other}`")));
                }
            }
            let (subject, authority) = self.static_subject(name, token, audiences).map_err(at)?;
            all.push(StaticToken::new(
                subject,
                authority,
                &secrets.iter().map(|s| s.as_str()).collect::<Vec<_>>(),
            ));
        }
        Ok(StaticTokens::new(header, own.path, all))
    }

    /// Whose it is, and what it may.
    fn static_subject(
        &self,
        name: &StaticTokenName,
        token: &types::StaticToken,
        audiences: &BTreeSet<Audience>,
    ) -> Result<(Subject, Authority), String> {
        let (type_name, id) = match (&token.client, &token.user) {
            (Some(client), None) => ("Client", client),
            (None, Some(user)) => ("User", user),
            (Some(_), Some(_)) | (None, None) => {
                return Err("client: give either `client` or `user`".to_owned());
            }
        };
        let (issuer, _) = id
            .split_once('/')
            .filter(|(_, id)| !id.is_empty() && !id.chars().any(char::is_control))
            .ok_or_else(|| format!("client: `{id}` is not like corp/ci, or {LOCAL}/ci"))?;
        let issuer: IssuerName = issuer.parse().map_err(|error| format!("client: {error}"))?;
        match (issuer.as_str() == LOCAL, self.has_issuer(&issuer)) {
            (true, true) => {
                return Err(format!(
                    "client: an issuer is called `{LOCAL}`, which is for those that no issuer knows"
                ));
            }
            (false, false) => return Err(format!("client: there is no issuer `{issuer}`")),
            (true, false) | (false, true) => {}
        }
        let of_issuer = |names: &[String]| names.iter().map(|name| format!("{issuer}/{name}")).collect();
        let subject = Subject {
            roles: of_issuer(&token.roles),
            groups: of_issuer(&token.groups),
            ..Subject::named(type_name, id.clone())
        };
        let authority = Authority {
            audience: audiences.clone(),
            scopes: token.scopes.iter().cloned().collect(),
            client: token.client.clone(),
            actors: Vec::new(),
            acr: None,
            amr: BTreeSet::new(),
            auth_time: None,
            groups_complete: true,
            token_id: format!("{LOCAL}:{name}"),
            expires_at: Timestamp::NEVER,
            issuer,
        };
        Ok((subject, authority))
    }
}

/// The name of a header that can carry a token.
fn header(text: &str) -> Result<String, String> {
    let name = HeaderName::from_bytes(text.as_bytes());
    let name = name.map_err(|_| format!("`{text}` is no name of a header"))?;
    let name = name.as_str();
    if TAKEN.contains(&name)
        || ["x-palisade-", "x-envoy-", "mcp-"].iter().any(|taken| name.starts_with(taken))
    {
        return Err(format!("`{name}` is not for this"));
    }
    Ok(name.to_owned())
}

/// The secrets of one: the one in use, and the one before or after it.
fn secrets(token: &types::StaticToken, fits: impl Fn(u8) -> bool) -> Result<Vec<Zeroizing<String>>, String> {
    if token.secrets.is_empty() || token.secrets.len() > 2 {
        return Err("secrets: one, or two while they are changed".to_owned());
    }
    let read = |(place, secret): (usize, &Secret)| {
        let at = |why: &str| format!("secrets.{place}: {why}");
        let text = Zeroizing::new(secret.read().map_err(|why| at(&why))?);
        if text.len() < SHORTEST || text.len() > LONGEST {
            return Err(at("a secret has 32 to 1024 characters: make one with `openssl rand -hex 32`"));
        }
        if !text.bytes().all(&fits) {
            return Err(at(
                "it holds a character that cannot stand where it comes: make one with `openssl rand -hex 32`",
            ));
        }
        Ok(text)
    };
    token.secrets.iter().enumerate().map(read).collect()
}

/// What is weak about them.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let all = std::iter::once(("defaults".to_owned(), &config.defaults))
        .chain(config.resources.iter().map(|(name, resource)| (format!("resources.{name}"), resource)));
    let mut warnings = Vec::new();
    for (at, tokens) in all.filter_map(|(at, resource)| Some((at, resource.static_tokens.as_ref()?))) {
        let paths = if tokens.path { ", and what is in paths ends in the logs of proxies" } else { "" };
        warnings
            .push(format!("{at}.static_tokens: whoever has seen one can use it until it is changed{paths}"));
    }
    warnings
}

fn all_secrets(own: &types::Resource) -> impl Iterator<Item = &Secret> {
    own.static_tokens.iter().flat_map(|tokens| tokens.tokens.values()).flat_map(|token| &token.secrets)
}

/// The files that they are in.
pub(super) fn files(own: &types::Resource) -> impl Iterator<Item = PathBuf> {
    all_secrets(own).filter_map(|secret| match secret {
        Secret::File(path) => Some(path.clone()),
        Secret::Env(_) => None,
    })
}

/// The same, to be resolved against the file that names them.
pub(super) fn files_mut(own: &mut types::Resource) -> impl Iterator<Item = &mut PathBuf> {
    let tokens = own.static_tokens.iter_mut().flat_map(|tokens| tokens.tokens.values_mut());
    tokens.flat_map(|token| &mut token.secrets).filter_map(Secret::path_mut)
}
