//! What an answer depends on, as one digest.
//!
//! SHA-256 over every field with its length before it. A delimiter would not do: two users' fields could run together into
//! the same text. A field that a request or an answer depends on and that is not here would let one user have another's
//! token; a test changes one field after the other. What all orders of an exchange have in common comes first, and is
//! hashed once.

use std::{fmt, time::Duration};

use aws_lc_rs::digest::{Context, SHA256};

use crate::{ExchangeSettings, wire};
use palisade_pdp::{Fingerprint, Order};

/// The digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// What the answers to all orders of an exchange depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Common<'a> {
    /// The exchange's name, with a digest of its settings and secrets.
    pub exchange: &'a str,
    /// The settings and secrets of it.
    pub fingerprint: Fingerprint,
    /// The provider's name, and with it the dialect.
    pub provider: &'a str,
    /// What the subject's token is.
    pub subject_token_type: &'a str,
    /// The text of the actor's token, and what it is.
    pub actor_token: Option<(&'a str, &'a str)>,
    /// The audiences, sorted.
    pub audiences: Vec<&'a str>,
    /// The resources, sorted.
    pub resources: Vec<&'a str>,
    /// What is asked for.
    pub requested_token_type: &'a str,
    /// Who asks, and how it proves itself.
    pub client: (&'a str, &'a str),
}

/// What the answer to one order depends on beside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// The text of the subject's token.
    pub subject_token: &'a str,
    /// `User`, `corp/alice`: what the token was verified as.
    pub subject: (&'a str, &'a str),
    /// The scopes, sorted.
    pub scopes: Vec<&'a str>,
    /// For how long it may be handed out.
    pub lifetime: Duration,
}

/// The beginning of every key of an exchange.
#[derive(Clone)]
pub struct Beginning(Hash);

impl fmt::Debug for Beginning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Beginning(..)")
    }
}

impl Common<'_> {
    /// The beginning of the keys.
    #[must_use]
    pub fn hashed(&self) -> Beginning {
        let mut hash = Hash(Context::new(&SHA256));
        hash.text(self.exchange);
        hash.bytes(&self.fingerprint.0);
        hash.text(self.provider);
        hash.text(self.subject_token_type);
        let actor: Vec<&str> = self.actor_token.iter().flat_map(|(token, kind)| [*token, *kind]).collect();
        for list in [&actor, &self.audiences, &self.resources] {
            hash.list(list);
        }
        hash.text(self.requested_token_type);
        hash.text(self.client.0);
        hash.text(self.client.1);
        Beginning(hash)
    }
}

impl Beginning {
    /// Of the orders under these settings.
    pub(crate) fn of(settings: &ExchangeSettings) -> Self {
        let mut resources: Vec<&str> = settings.resources.iter().map(String::as_str).collect();
        resources.sort_unstable();
        let common = Common {
            exchange: settings.name.as_str(),
            fingerprint: settings.fingerprint,
            provider: settings.provider.as_str(),
            subject_token_type: settings.subject_token_type.urn(),
            actor_token: settings.actor.as_ref().map(|actor| (actor.token.as_str(), actor.token_type.urn())),
            audiences: vec![&settings.audience],
            resources,
            requested_token_type: wire::requested_type(settings.provider),
            client: (&settings.client.id, settings.client.auth.method()),
        };
        common.hashed()
    }

    /// The key of an order.
    pub(crate) fn key(&self, order: &Order) -> Key {
        let subject = order.subject();
        let fields = Fields {
            subject_token: order.token().expose(),
            subject: (subject.kind.type_name(), &subject.id),
            scopes: order.scopes().iter().map(palisade_model::Scope::as_str).collect(),
            lifetime: order.lifetime(),
        };
        fields.key(self)
    }
}

impl Fields<'_> {
    /// The digest.
    #[must_use]
    pub fn key(&self, after: &Beginning) -> Key {
        let mut hash = after.0.clone();
        hash.text(self.subject_token);
        hash.text(self.subject.0);
        hash.text(self.subject.1);
        hash.list(&self.scopes);
        hash.bytes(&self.lifetime.as_nanos().to_be_bytes());
        let mut digest = [0; 32];
        digest.copy_from_slice(hash.0.finish().as_ref());
        Key(digest)
    }
}

impl Key {
    /// The digest.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[derive(Clone)]
struct Hash(Context);

impl Hash {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(&bytes.len().to_be_bytes());
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn list(&mut self, list: &[&str]) {
        self.0.update(&list.len().to_be_bytes());
        list.iter().for_each(|text| self.text(text));
    }
}
