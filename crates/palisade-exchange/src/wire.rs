//! The requests, in the dialects of the providers.
//!
//! ```text
//! token exchange   subject_token, audience, scope              -> access_token         RFC 8693 section 2.1
//! on behalf of     assertion, scope with the audience before   -> access_token         Entra
//! ID-JAG           subject_token, audience: the next server    -> an assertion, N_A    step 1, at the user's provider
//!                  assertion, scope                            -> access_token         step 2, at the upstream's server
//! ```
//!
//! A form has the secrets of a request in it: nothing prints it, and its memory is overwritten when it is dropped. What the
//! HTTP client sends of it is a copy of its own.

use palisade_model::{Scope, Scopes};
use palisade_pdp::Order;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use crate::{
    ExchangeSettings, TokenType,
    provider::{Dialect, Provider},
};

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The type of an ID-JAG.
pub(crate) const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// The body of a request (`application/x-www-form-urlencoded`).
pub(crate) struct Form(Zeroizing<String>);

impl Form {
    fn of(grant_type: &str) -> Self {
        let mut form = Self(Zeroizing::new(String::with_capacity(48 * 1_024)));
        form.add("grant_type", grant_type);
        form
    }

    pub(crate) fn add(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        byte_serialize(value.as_bytes()).for_each(|piece| self.0.push_str(piece));
    }

    fn add_scopes(&mut self, scopes: &Scopes, prefix: &str) {
        let scopes: Vec<String> = scopes.iter().map(|scope| format!("{prefix}{scope}")).collect();
        if !scopes.is_empty() {
            self.add("scope", &scopes.join(" "));
        }
    }

    pub(crate) fn into_body(self) -> Zeroizing<String> {
        self.0
    }
}

/// The type of token that is asked for, as a part of the key of what is in store.
pub(crate) fn requested_type(provider: Provider) -> &'static str {
    match provider.dialect() {
        Dialect::TokenExchange | Dialect::OnBehalfOf => TokenType::AccessToken.urn(),
        Dialect::IdJag => ID_JAG,
    }
}

/// The request for what is asked for; of an ID-JAG, for the assertion.
pub(crate) fn first(settings: &ExchangeSettings, order: &Order) -> Form {
    match settings.provider.dialect() {
        Dialect::TokenExchange => {
            token_exchange(settings, order, &settings.audience, TokenType::AccessToken.urn())
        }
        Dialect::OnBehalfOf => on_behalf_of(settings, order),
        Dialect::IdJag => {
            let next = settings.authorization_server.as_ref();
            let audience = next.map_or(settings.audience.as_str(), |next| &next.issuer.identifier);
            token_exchange(settings, order, audience, ID_JAG)
        }
    }
}

/// The request with an ID-JAG at the authorization server of the upstream (RFC 7523 section 2.1).
pub(crate) fn second(order: &Order, assertion: &str) -> Form {
    let mut form = Form::of(JWT_BEARER);
    form.add("assertion", assertion);
    form.add_scopes(order.scopes(), "");
    form
}

fn token_exchange(settings: &ExchangeSettings, order: &Order, audience: &str, requested: &str) -> Form {
    let mut form = Form::of(TOKEN_EXCHANGE);
    form.add("subject_token", order.token().expose());
    form.add("subject_token_type", settings.subject_token_type.urn());
    if let Some(actor) = &settings.actor {
        form.add("actor_token", &actor.token);
        form.add("actor_token_type", actor.token_type.urn());
    }
    form.add("requested_token_type", requested);
    form.add("audience", audience);
    if settings.provider.takes_resources() {
        settings.resources.iter().for_each(|resource| form.add("resource", resource));
    }
    form.add_scopes(order.scopes(), "");
    form
}

/// Entra takes the target from the scopes: `api://orders/orders.read`.
fn on_behalf_of(settings: &ExchangeSettings, order: &Order) -> Form {
    let mut form = Form::of(JWT_BEARER);
    form.add("requested_token_use", "on_behalf_of");
    form.add("assertion", order.token().expose());
    form.add_scopes(order.scopes(), &scope_prefix(settings));
    form
}

fn scope_prefix(settings: &ExchangeSettings) -> String {
    match settings.provider.dialect() {
        Dialect::OnBehalfOf => format!("{}/", settings.audience.trim_end_matches('/')),
        Dialect::TokenExchange | Dialect::IdJag => String::new(),
    }
}

/// A scope of a response by the name it has in the configuration.
pub(crate) fn unprefixed(settings: &ExchangeSettings, scope: &Scope) -> Option<Scope> {
    let prefix = scope_prefix(settings);
    match scope.as_str().strip_prefix(&prefix) {
        Some(name) => name.parse().ok(),
        None => Some(scope.clone()),
    }
}
