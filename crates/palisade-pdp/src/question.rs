//! What a request asks, on the way to the policies: who may ask it, what of it can be read, and in which form the
//! policies see it.

use std::{collections::BTreeMap, sync::Arc};

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
        arguments: item.arguments.as_deref(),
        supplied: Some(&item.supplied),
    }
}

/// What is asked, as far as it is believed. An operation may have thousands of items, of which one or two say anything that is to
/// be believed or not: only those are copied.
pub(crate) struct Believed<'a> {
    asked: &'a Asked,
    /// Those that differ from what came, by their places.
    instead: BTreeMap<usize, Item>,
}

impl Believed<'_> {
    /// Every item, in order.
    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> {
        let items = self.asked.items.iter().enumerate();
        items.map(|(place, item)| self.instead.get(&place).unwrap_or(item))
    }

    /// The only item, where there is one.
    pub(crate) fn only(&self) -> Option<&Item> {
        let mut items = self.items();
        items.next().filter(|_| items.next().is_none())
    }
}

/// What is asked, with no more of the targets' attributes than the caller may supply, and all that the decoder knows.
pub(crate) fn believed<'a>(snapshot: &Snapshot, request: &AccessRequest, asked: &'a Asked) -> Believed<'a> {
    let pep = request.pep.as_ref().and_then(|name| snapshot.peps.by_name(name));
    let says_something = |(_, item): &(usize, &Item)| !(item.supplied.is_empty() && item.known.is_empty());
    let said = asked.items.iter().enumerate().filter(says_something);
    let instead = said.map(|(place, item)| {
        // INVARIANT: what an operation comes to nobody says but who has read it.
        let may =
            |name: &str| pep.is_some_and(|pep| pep.supplies.contains(name)) && !item.target.is_operation();
        (place, Item { supplied: item.supplied.only(may).with(&item.known), ..item.clone() })
    });
    Believed { asked, instead: instead.collect() }
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
pub(crate) fn fits_catalogue(snapshot: &Snapshot, asked: &Believed<'_>) -> Result<(), Refusal> {
    let fits = |item: &Item| {
        item.arguments.as_ref().is_none_or(|arguments| snapshot.policies.accepts(&item.target, arguments))
    };
    if asked.items().all(fits) {
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
