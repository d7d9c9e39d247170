//! What an answer depends on, as one digest.
//!
//! SHA-256 over every field with its length before it. A delimiter would not do: two users' fields could run together into
//! the same text. A field that a request or an answer depends on and that is not here would let one user have another's
//! token; a test changes one field after the other. What all orders of an exchange have in common comes first, as a digest
//! of its own that is made once. A token stands there as its SHA-256, so that no text of one is copied.

use std::{fmt, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};

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
    /// The SHA-256 of the subject's token.
    pub subject_token: [u8; 32],
    /// `User`, `corp/alice`: what the token was verified as.
    pub subject: (&'a str, &'a str),
    /// The scopes, sorted.
    pub scopes: Vec<&'a str>,
    /// For how long it may be handed out.
    pub lifetime: Duration,
}

/// The beginning of every key of an exchange.
#[derive(Clone)]
pub struct Beginning([u8; 32]);

impl fmt::Debug for Beginning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Beginning(..)")
    }
}

impl Common<'_> {
    /// The beginning of the keys.
    #[must_use]
    pub fn hashed(&self) -> Beginning {
        let mut hashed = Hashed::default();
        hashed.text(self.exchange);
        hashed.bytes(&self.fingerprint.0);
        hashed.text(self.provider);
        hashed.text(self.subject_token_type);
        hashed.count(usize::from(self.actor_token.is_some()));
        if let Some((token, kind)) = self.actor_token {
            hashed.token(token);
            hashed.text(kind);
        }
        hashed.list(&self.audiences);
        hashed.list(&self.resources);
        hashed.text(self.requested_token_type);
        hashed.text(self.client.0);
        hashed.text(self.client.1);
        Beginning(hashed.digest())
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
            subject_token: *order.token().digest(),
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
        let mut hashed = Hashed::default();
        hashed.bytes(&after.0);
        hashed.bytes(&self.subject_token);
        hashed.text(self.subject.0);
        hashed.text(self.subject.1);
        hashed.list(&self.scopes);
        hashed.bytes(&self.lifetime.as_nanos().to_be_bytes());
        Key(hashed.digest())
    }
}

impl Key {
    /// The digest.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What is hashed, in one piece: in many, each costs as much as a good part of the whole.
#[derive(Default)]
struct Hashed(Vec<u8>);

impl Hashed {
    fn count(&mut self, count: usize) {
        self.0.extend(count.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn token(&mut self, text: &str) {
        self.bytes(digest(&SHA256, text.as_bytes()).as_ref());
    }

    fn list(&mut self, list: &[&str]) {
        self.count(list.len());
        list.iter().for_each(|text| self.text(text));
    }

    fn digest(&self) -> [u8; 32] {
        let mut whole = [0; 32];
        whole.copy_from_slice(digest(&SHA256, &self.0).as_ref());
        whole
    }
}
