//! Which exchange a request ends in, if it ends in one: the one that its resource's calls leave by, or the one that it
//! asks for by name.

use std::{sync::Arc, time::Duration};

use palisade_model::{AccessRequest, Credential, ExchangeName, Reason, Refusal, Scopes, Surface};

use super::Exchange;
use crate::{Cutting, Directives, Resource, Snapshot, UpstreamToken};

/// What is asked: about a call, or for an exchange.
pub(crate) struct Asking<'a> {
    pub(crate) request: &'a AccessRequest,
    pub(crate) exchange: Option<&'a AskedExchange>,
    /// What becomes of an operation, from what is said of its items.
    pub(crate) directives: Option<&'a Directives<'a>>,
    /// What takes from an operation what is not granted, of an entry that sends on what is left.
    pub(crate) cutting: Option<&'a Cutting<'a>>,
}

impl Asking<'_> {
    /// The exchange that this ends in, if it ends in one.
    pub(crate) fn wanted(&self, snapshot: &Snapshot, resource: &Resource) -> Result<Option<Wanted>, Refusal> {
        match self.exchange {
            Some(asked) => Wanted::by_name(snapshot, self.request, asked).map(Some),
            None => Wanted::by_call(snapshot, self.request, resource),
        }
    }

    /// How long it may take: where it may wait for a provider, as long as that exchange says.
    pub(crate) fn time(&self, snapshot: &Snapshot) -> Duration {
        let resource =
            self.request.resource.as_ref().and_then(|name| snapshot.resources.by_name(name.as_str()));
        let wanted = resource.and_then(|resource| self.wanted(snapshot, resource).ok().flatten());
        let timeout = wanted.map_or(Duration::ZERO, |wanted| wanted.exchange.timeout);
        timeout.max(snapshot.limits.deadline)
    }
}

/// The exchange that a request ends in.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) scopes: Arc<Scopes>,
    /// Whether the token is all that is asked for. Else a call leaves with it.
    pub(crate) alone: bool,
}

impl Wanted {
    /// The exchange that a call to this resource leaves by, where it leaves by one.
    fn by_call(
        snapshot: &Snapshot,
        request: &AccessRequest,
        resource: &Resource,
    ) -> Result<Option<Self>, Refusal> {
        let UpstreamToken::Exchange(name) = &resource.upstream_token else { return Ok(None) };
        let anonymous = request.credential == Credential::Absent;
        if anonymous || !leaves(request.surface) {
            return Ok(None);
        }
        let exchange = snapshot.exchanges.get(name).map(Arc::clone);
        let exchange =
            exchange.ok_or_else(|| Refusal::new(Reason::InternalError, "the exchange is not configured"))?;
        Ok(Some(Self { scopes: Arc::clone(&exchange.scopes), exchange, alone: false }))
    }

    /// The exchange that is asked for by name, with these scopes of it or all.
    fn by_name(snapshot: &Snapshot, request: &AccessRequest, asked: &AskedExchange) -> Result<Self, Refusal> {
        let pep = request.pep.as_ref().and_then(|name| snapshot.peps.by_name(name));
        let listed = pep.is_some_and(|pep| pep.exchange.contains(&asked.name));
        let exchange = snapshot.exchanges.get(&asked.name).filter(|_| listed).map(Arc::clone);
        let exchange = exchange
            .ok_or_else(|| Refusal::new(Reason::PepNotAllowed, "the caller may not ask for this exchange"))?;
        let scopes = asked.scopes.clone().map_or_else(|| Arc::clone(&exchange.scopes), Arc::new);
        if !scopes.is_subset(&exchange.scopes) {
            let detail = "scopes are asked for that are none of the exchange's";
            return Err(Refusal::new(Reason::ExchangeRefused, detail));
        }
        Ok(Self { exchange, scopes, alone: true })
    }
}

/// What a caller asks of [`Pdp::exchange`](crate::Pdp::exchange).
#[derive(Debug, Clone)]
pub struct AskedExchange {
    /// The exchange's name.
    pub name: ExchangeName,
    /// Some of its scopes; all of them where nothing is said.
    pub scopes: Option<Scopes>,
}

/// Whether the call goes on to an upstream if it is permitted: a decision about it alone moves no token.
pub(crate) const fn leaves(surface: Surface) -> bool {
    match surface {
        Surface::ExtAuthz | Surface::HttpAuthz | Surface::Gateway | Surface::ExtMcp => true,
        Surface::ExtProc
        | Surface::Decide
        | Surface::Verify
        | Surface::Exchange
        | Surface::Authzen
        | Surface::Search
        | Surface::Toolhive
        | Surface::Contextforge
        | Surface::Coprocessor
        | Surface::Sts => false,
    }
}
