//! What a request asks, on the way to the policies: who may ask it, what of it can be read, and in which form the
//! policies see it.

use std::{collections::BTreeMap, sync::Arc};

use palisade_model::{
    AccessRequest, Asked, Circumstances, Credential, Item, PepName, Properties, Reason, Refusal,
    ResourceName, Surface, Timestamp,
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

    /// What came.
    pub(crate) fn came(&self) -> &Asked {
        self.asked
    }

    /// The only item, where there is one.
    pub(crate) fn only(&self) -> Option<&Item> {
        let mut items = self.items();
        items.next().filter(|_| items.next().is_none())
    }
}

/// For which clients the document of an operation is listed, among what its decoder knows of it: a list of `<issuer>/<client_id>`. Where
/// it is not there, it is listed for all. It is no attribute, and no policy sees it.
pub const LISTED_FOR: &str = "listedFor";
/// What says of an operation whether its document is listed.
const ALLOWLISTED: &str = "allowlisted";

/// What the decoder knows of an operation, for the client that the token was issued to.
///
/// INVARIANT: what is listed for some clients is listed for nobody else, and nobody says by a header who it is.
fn known_for(known: &Properties, principal: Option<&Principal>) -> Properties {
    let listed_for = known.iter().find_map(|(name, value)| (name == LISTED_FOR).then_some(value));
    let Some(clients) = listed_for else { return known.clone() };
    let client = principal.and_then(Principal::authority).and_then(|authority| authority.client.as_deref());
    let named = |client: &str| {
        clients.as_array().is_some_and(|names| names.iter().any(|name| name.as_str() == Some(client)))
    };
    let listed = known.only(|name| name != LISTED_FOR);
    if client.is_some_and(named) {
        return listed;
    }
    let not_listed = serde_json::Map::from_iter([(ALLOWLISTED.to_owned(), false.into())]);
    listed.with(&Properties::new(not_listed))
}

/// What is asked, with no more of the targets' attributes than the caller may supply, and all that the decoder knows.
pub(crate) fn believed<'a>(
    snapshot: &Snapshot,
    request: &AccessRequest,
    asked: &'a Asked,
    principal: Option<&Principal>,
) -> Believed<'a> {
    let pep = request.pep.as_ref().and_then(|name| snapshot.peps.by_name(name));
    let says_something = |(_, item): &(usize, &Item)| !(item.supplied.is_empty() && item.known.is_empty());
    let said = asked.items.iter().enumerate().filter(says_something);
    let instead = said.map(|(place, item)| {
        // INVARIANT: what an operation comes to nobody says but who has read it.
        let may =
            |name: &str| pep.is_some_and(|pep| pep.supplies.contains(name)) && !item.target.is_operation();
        let known = known_for(&item.known, principal);
        (place, Item { supplied: item.supplied.only(may).with(&known), ..item.clone() })
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use palisade_model::{Audience, Authority, Scopes, Subject};
    use serde_json::json;

    use super::*;

    fn of_client(client: Option<&str>) -> Principal {
        let authority = Authority {
            issuer: "corp".parse().unwrap(),
            audience: [Audience::from("https://api.example.com")].into(),
            scopes: Scopes::new(),
            client: client.map(str::to_owned),
            actors: Vec::new(),
            acr: None,
            amr: BTreeSet::new(),
            auth_time: None,
            groups_complete: true,
            token_id: "jti:1".to_owned(),
            expires_at: Timestamp::from_unix_seconds(1),
        };
        Principal::for_tests(Subject::named("User", "corp/alice"), authority)
    }

    #[test]
    fn what_is_listed_for_some_clients_is_listed_for_no_other() {
        let properties = |value: serde_json::Value| Properties::new(value.as_object().unwrap().clone());
        let known = |listed: bool| properties(json!({ "allowlisted": listed, "depth": 1 }));
        let of = |clients: serde_json::Value| {
            properties(json!({ "allowlisted": true, "depth": 1, LISTED_FOR: clients }))
        };
        let (web, ios) = (of_client(Some("corp/web")), of_client(Some("corp/ios")));
        for (clients, principal, listed) in [
            (json!(["corp/web"]), Some(&web), true),
            (json!(["corp/tv", "corp/web"]), Some(&web), true),
            (json!(["corp/web"]), Some(&ios), false),
            (json!(["corp/web"]), Some(&of_client(None)), false),
            (json!(["corp/web"]), None, false),
            (json!([]), Some(&web), false),
            (json!("corp/web"), Some(&web), false),
        ] {
            assert_eq!(known_for(&of(clients.clone()), principal), known(listed), "{clients} {principal:?}");
        }
        // Where no clients are named it is for all, and for nobody where it is not listed at all.
        assert_eq!(known_for(&known(true), None), known(true));
        let unlisted = properties(json!({ "allowlisted": false, "depth": 1, LISTED_FOR: ["corp/web"] }));
        assert_eq!(known_for(&unlisted, Some(&web)), known(false));
    }
}
