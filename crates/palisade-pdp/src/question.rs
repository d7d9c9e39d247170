//! What a request asks, on the way to the policies: who may ask it, what of it can be read, and in which form the
//! policies see it.

use std::sync::Arc;

use palisade_model::{AccessRequest, Asked, Circumstances, Item, Reason, Refusal, Scopes, Timestamp};
use palisade_policy::{Query, Strength};

use crate::{Resource, Snapshot, principal::Principal};

/// What the items of one request share.
pub(crate) struct Question<'a> {
    pub(crate) resource: &'a Resource,
    pub(crate) principal: &'a Principal,
    pub(crate) scopes: &'a Scopes,
    pub(crate) circumstances: &'a Circumstances,
}

impl<'a> Question<'a> {
    /// The question about one item.
    pub(crate) fn about(&self, item: &'a Item) -> Query<'a> {
        let authority = self.principal.authority();
        Query {
            subject: self.principal.subject(),
            authority: authority.map(AsRef::as_ref),
            strength: Strength {
                scopes: self.scopes,
                acr: authority.and_then(|authority| authority.acr.as_deref()),
                auth_time: authority.and_then(|authority| authority.auth_time),
            },
            action: &item.action,
            target: &item.target,
            resource: &self.resource.name,
            arguments: item.arguments.as_ref(),
            circumstances: self.circumstances,
        }
    }
}

/// The resource the request is for, if its caller may ask about it.
pub(crate) fn permitted_resource(
    snapshot: &Snapshot,
    request: &AccessRequest,
) -> Result<Arc<Resource>, Refusal> {
    let caller = request.pep.as_ref().and_then(|name| snapshot.peps.by_name(name));
    let Some(pep) = caller else {
        return Err(Refusal::new(Reason::PepUnauthenticated, "the caller is not authenticated"));
    };
    let resource = request.resource.as_ref().and_then(|name| snapshot.resources.by_name(name.as_str()));
    let Some(resource) = resource else {
        return Err(Refusal::new(
            Reason::ResourceUnknown,
            "the request names no resource, or an unknown one",
        ));
    };
    if pep.may_ask(request.surface, &resource.name) {
        Ok(Arc::clone(resource))
    } else {
        Err(Refusal::new(Reason::PepNotAllowed, "the caller may not ask this"))
    }
}

/// What is asked, if it could be read.
pub(crate) fn readable(request: &AccessRequest, most_items: usize) -> Result<&Asked, Refusal> {
    let asked = request.asked.as_ref().map_err(Clone::clone)?;
    if asked.items.is_empty() || asked.items.len() > most_items {
        return Err(Refusal::new(Reason::RequestMalformed, "the batch is empty or has too many items"));
    }
    Ok(asked)
}

/// Arguments that fail a tool's input schema are denied before policies: what a tool would refuse is not worth a rule.
pub(crate) fn fits_catalogue(snapshot: &Snapshot, asked: &Asked) -> Result<(), Refusal> {
    let fits = |item: &Item| {
        item.arguments.as_ref().is_none_or(|arguments| snapshot.policies.accepts(&item.target, arguments))
    };
    if asked.items.iter().all(fits) {
        Ok(())
    } else {
        Err(Refusal::new(Reason::ArgumentsInvalid, "the arguments fail the tool's input schema"))
    }
}

/// What holds for the request as a whole.
pub(crate) fn circumstances(request: &AccessRequest, now: Timestamp) -> Circumstances {
    Circumstances {
        now,
        ip: request.client_ip,
        host: request.host.clone(),
        path: request.path.clone(),
        surface: request.surface,
        asserted: false,
    }
}
