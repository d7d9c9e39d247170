//! What an answer depends on, as one digest.
//!
//! SHA-256 over every field with its length before it. A delimiter would not do: two users' fields could run together into
//! the same text. A field that a request or an answer depends on and that is not here would let one user have another's
//! token; a test changes one field after the other.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};

use crate::{ExchangeSettings, wire};
use palisade_pdp::Order;

/// The digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// Everything that an answer depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// The exchange's name, with a digest of its settings and secrets.
    pub exchange: &'a str,
    /// The settings and secrets of it.
    pub fingerprint: [u8; 32],
    /// The provider's name, and with it the dialect.
    pub provider: &'a str,
    /// The text of the subject's token.
    pub subject_token: &'a str,
    /// What it is.
    pub subject_token_type: &'a str,
    /// `User::"corp/alice"`: what the token was verified as.
    pub subject: &'a str,
    /// The text of the actor's token, and what it is.
    pub actor_token: Option<(&'a str, &'a str)>,
    /// The audiences, sorted.
    pub audiences: Vec<&'a str>,
    /// The resources, sorted.
    pub resources: Vec<&'a str>,
    /// The scopes, sorted.
    pub scopes: Vec<&'a str>,
    /// What is asked for.
    pub requested_token_type: &'a str,
    /// Who asks, and how it proves itself.
    pub client: (&'a str, &'a str),
    /// For how long it may be handed out.
    pub lifetime: Duration,
}

impl Fields<'_> {
    /// The digest.
    #[must_use]
    pub fn key(&self) -> Key {
        let mut hash = Hash(Context::new(&SHA256));
        hash.text(self.exchange);
        hash.bytes(&self.fingerprint);
        hash.text(self.provider);
        hash.text(self.subject_token);
        hash.text(self.subject_token_type);
        hash.text(self.subject);
        let actor: Vec<&str> = self.actor_token.iter().flat_map(|(token, kind)| [*token, *kind]).collect();
        for list in [&actor, &self.audiences, &self.resources, &self.scopes] {
            hash.bytes(&list.len().to_be_bytes());
            list.iter().for_each(|text| hash.text(text));
        }
        hash.text(self.requested_token_type);
        hash.text(self.client.0);
        hash.text(self.client.1);
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

    /// The key of an order under these settings.
    pub(crate) fn of(settings: &ExchangeSettings, order: &Order) -> Self {
        let subject = order.subject().entity();
        let mut resources: Vec<&str> = settings.resources.iter().map(String::as_str).collect();
        resources.sort_unstable();
        Fields {
            exchange: settings.name.as_str(),
            fingerprint: settings.fingerprint,
            provider: settings.provider.as_str(),
            subject_token: order.token().expose(),
            subject_token_type: settings.subject_token_type.urn(),
            subject: &subject,
            actor_token: settings.actor.as_ref().map(|actor| (actor.token.as_str(), actor.token_type.urn())),
            audiences: vec![&settings.audience],
            resources,
            scopes: order.scopes().iter().map(palisade_model::Scope::as_str).collect(),
            requested_token_type: wire::requested_type(settings.provider),
            client: (&settings.client.id, settings.client.auth.method()),
            lifetime: order.lifetime(),
        }
        .key()
    }
}

struct Hash(Context);

impl Hash {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(&bytes.len().to_be_bytes());
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
}
