//! What a request asks, on the way to the policies: who may ask it, what of it can be read, and in which form the
//! policies see it.

use std::{borrow::Cow, sync::Arc};

use palisade_model::{
    AccessRequest, Asked, Circumstances, Credential, Item, PepName, Reason, Refusal, ResourceName, Surface,
    Timestamp,
};
use palisade_policy::{About, Asking};

use crate::{Resource, Snapshot, exchange::leaves, principal::Principal};

/// What the items of one request share.
pub(crate) struct Question<'a> {
    pub(crate) resource: &'a Resource,
    pub(crate) principal: &'a Principal,
    pub(crate) asking: Asking<'a>,
}

/// What the policies are asked about an item.
pub(crate) fn about<'a>(item: &'a Item, resource: &'a Resource) -> About<'a> {
    About {
        action: &item.action,
        target: &item.target,
        resource: &resource.name,
        arguments: item.arguments.as_ref(),
        supplied: Some(&item.supplied),
    }
}

/// What is asked, with no more of the targets' attributes than the caller may supply, and all that the decoder knows.
pub(crate) fn believed<'a>(snapshot: &Snapshot, request: &AccessRequest, asked: &'a Asked) -> Cow<'a, Asked> {
    if asked.items.iter().all(|item| item.supplied.is_empty() && item.known.is_empty()) {
        return Cow::Borrowed(asked);
    }
    let pep = request.pep.as_ref().and_then(|name| snapshot.peps.by_name(name));
    let mut believed = asked.clone();
    for item in &mut believed.items {
        // INVARIANT: what an operation comes to nobody says but who has read it.
        let may =
            |name: &str| pep.is_some_and(|pep| pep.supplies.contains(name)) && !item.target.is_operation();
        item.supplied = item.supplied.only(may).with(&item.known);
    }
    Cow::Owned(believed)
}

/// The resource the request is for, if its caller may ask about it.
pub(crate) fn permitted_resource(
    snapshot: &Snapshot,
    request: &AccessRequest,
) -> Result<Arc<Resource>, Refusal> {
    permitted(snapshot, request.pep.as_ref(), request.resource.as_ref(), request.surface)
}

/// The resource of this name, if this caller may ask about it at this entry.
pub(crate) fn permitted(
    snapshot: &Snapshot,
    pep: Option<&PepName>,
    resource: Option<&ResourceName>,
    surface: Surface,
) -> Result<Arc<Resource>, Refusal> {
    let Some(pep) = pep.and_then(|name| snapshot.peps.by_name(name)) else {
        return Err(Refusal::new(Reason::PepUnauthenticated, "the caller is not authenticated"));
    };
    if !pep.surfaces.contains(&surface) {
        return Err(Refusal::new(Reason::PepNotAllowed, "the caller may not use this entry"));
    }
    let resource = resource.and_then(|name| snapshot.resources.by_name(name.as_str()));
    let Some(resource) = resource else {
        return Err(Refusal::new(
            Reason::ResourceUnknown,
            "the request names no resource, or an unknown one",
        ));
    };
    if !pep.may_ask(surface, &resource.name) {
        return Err(Refusal::new(Reason::PepNotAllowed, "the caller may not ask this"));
    }
    if pep.is_local() && leaves(surface) && resource.upstream_token.is_secret() {
        let detail =
            "calls of this resource leave with a token that they did not bring: name the proxy in `peps`";
        return Err(Refusal::new(Reason::PepNotAllowed, detail));
    }
    Ok(Arc::clone(resource))
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
        asserted: matches!(request.credential, Credential::AssertedByPep(_)),
        sent: request.sent.clone(),
    }
}
