//! Who asks, in the form in which the policies of a snapshot see it: prepared once for a verified token and a resource.
//!
//! The token cache hands out the same subject and authority for the same token, so their addresses say which token it
//! is. What is kept here goes with its snapshot; it says nothing about whether the token is still accepted, which is
//! found out on every request before anybody looks here.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use palisade_policy::{Policies, PreparedSubject, Strength, with_implied};

use crate::{Resource, principal::Principal};

/// How much the prepared subjects of a snapshot may weigh, roughly, in bytes.
const CAPACITY_BYTES: u64 = 64 * 1024 * 1024;
/// For how long one is kept that nobody asks for.
const IDLE: Duration = Duration::from_secs(10 * 60);

/// The prepared subjects of a snapshot.
#[derive(Debug)]
pub struct Askers(Cache<Addresses, Arc<Asker>>);

/// A proven principal at one resource.
#[derive(Debug)]
pub(crate) struct Asker {
    principal: Principal,
    resource: Arc<Resource>,
    /// With the scopes of the token, and those the resource adds.
    pub(crate) subject: PreparedSubject,
}

/// Where subject, authority and resource lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Addresses([usize; 3]);

impl Default for Askers {
    fn default() -> Self {
        let cache = Cache::builder()
            .max_capacity(CAPACITY_BYTES)
            .weigher(|_, asker: &Arc<Asker>| u32::try_from(asker.subject.size()).unwrap_or(u32::MAX))
            .time_to_idle(IDLE)
            .build();
        Self(cache)
    }
}

impl Askers {
    /// The principal as these policies see it. `policies` are always those of the snapshot that holds this.
    pub(crate) fn get(
        &self,
        policies: &Policies,
        resource: &Arc<Resource>,
        principal: &Principal,
    ) -> Arc<Asker> {
        let Some(authority) = principal.authority() else {
            return Arc::new(Asker::new(policies, resource, principal));
        };
        let addresses = Addresses([
            Arc::as_ptr(principal.subject()).addr(),
            Arc::as_ptr(authority).addr(),
            Arc::as_ptr(resource).addr(),
        ]);
        // INVARIANT: an asker holds what lies at the addresses it is found by, so that nothing else can come to lie
        // there while it is found.
        if let Some(asker) = self.0.get(&addresses).filter(|asker| asker.is(resource, principal)) {
            return asker;
        }
        let asker = Arc::new(Asker::new(policies, resource, principal));
        self.0.insert(addresses, Arc::clone(&asker));
        asker
    }
}

impl Asker {
    /// Prepares a principal.
    pub(crate) fn new(policies: &Policies, resource: &Arc<Resource>, principal: &Principal) -> Self {
        let authority = principal.authority().map(AsRef::as_ref);
        let scopes = authority
            .map(|authority| with_implied(&authority.scopes, &resource.scopes.implies))
            .unwrap_or_default();
        let strength = Strength {
            scopes: &scopes,
            acr: authority.and_then(|authority| authority.acr.as_deref()),
            auth_time: authority.and_then(|authority| authority.auth_time),
        };
        let subject = policies.prepare(principal.subject(), authority, strength);
        Self { principal: principal.clone(), resource: Arc::clone(resource), subject }
    }

    fn is(&self, resource: &Arc<Resource>, principal: &Principal) -> bool {
        Arc::ptr_eq(&self.resource, resource) && self.principal.is(principal)
    }
}

#[cfg(test)]
mod tests;
