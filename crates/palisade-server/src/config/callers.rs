//! `peps` as the callers of a snapshot.

use std::collections::BTreeSet;

use palisade_model::{Audience, IssuerName, PepName, ResourceName, Surface};
use palisade_pdp::{ClientIp, Pep, PepAuth, Peps, RequestFrom, TokenClient};
use palisade_policy::Policies;
use sha2::{Digest, Sha256};

use super::{
    build::Builder,
    resources::with_defaults,
    types,
    values::{OneOrAll, Secret},
};

impl Builder<'_> {
    pub(super) fn peps(&mut self) -> Peps {
        let mut all = Vec::new();
        let mut proofs = BTreeSet::new();
        for (name, pep) in &self.config.peps {
            if name.as_str() == "local" {
                self.problem("peps.local: the name is reserved for unnamed callers on loopback");
            }
            if name.as_str() == Pep::GATEWAY {
                self.problem("peps.mcp-gateway: the name is reserved for the MCP gateway of this process");
            }
            let auth = match self.pep_auth(&pep.auth) {
                Ok(auth) => auth,
                Err(why) => {
                    self.problem(format!("peps.{name}.auth: {why}"));
                    continue;
                }
            };
            // A token says which client it is; for another audience it would still be that client's.
            let proof = match &auth {
                PepAuth::Token(client, _audience) => format!("{client:?}"),
                PepAuth::Key(_)
                | PepAuth::Uid(_)
                | PepAuth::Secret { .. }
                | PepAuth::Loopback
                | PepAuth::Inside => {
                    format!("{auth:?}")
                }
            };
            if !proofs.insert(proof) {
                self.problem(format!("peps.{name}.auth: another pep proves itself with the same"));
            }
            all.push((self.pep(name, pep), auth));
        }
        if let Ok(local) = "local".parse() {
            // Off loopback anybody may be the unnamed caller, and would say whose address is blocked.
            let vouches = !self.config.listen.decision.allow_unauthenticated_callers;
            all.push((Pep { vouches, ..Pep::local(local) }, PepAuth::Loopback));
        }
        if let Ok(gateway) = Pep::GATEWAY.parse() {
            let written = self.config.gateway.as_ref().and_then(|gateway| gateway.client_ip);
            if written == Some(ClientIp::XForwardedFor(0)) {
                self.problem("gateway.client_ip: `x_forwarded_for` counts from 1");
            }
            let pep = Pep::gateway(gateway, written.unwrap_or(ClientIp::Source));
            all.push((Pep { vouches: written.is_some(), ..pep }, PepAuth::Inside));
        }
        Peps::new(all)
    }

    /// A type that nobody can be is a slip of the pen, and would be found when somebody is denied.
    pub(super) fn asserted_types(&mut self, policies: &Policies) {
        for (name, pep) in &self.config.peps {
            for unknown in pep.assert.iter().filter(|type_name| !policies.has_type(type_name)) {
                let problem = format!("peps.{name}.assert: the schema has no entity type `{unknown}`");
                self.problems.push(problem);
            }
        }
    }

    fn pep(&mut self, name: &PepName, pep: &types::Pep) -> Pep {
        let resources = match &pep.resources {
            OneOrAll::All(_) => None,
            OneOrAll::These(names) => Some(names.iter().cloned().collect::<BTreeSet<_>>()),
        };
        for resource in resources.iter().flatten() {
            if !self.config.resources.contains_key(resource) {
                self.problem(format!("peps.{name}.resources: there is no resource `{resource}`"));
            }
        }
        if pep.client_ip == Some(ClientIp::XForwardedFor(0)) {
            self.problem(format!("peps.{name}.client_ip: `x_forwarded_for` counts from 1"));
        }
        if pep.surfaces.contains(&Surface::Sts) {
            self.problem(format!(
                "peps.{name}.surfaces: `sts` is for clients of the token service, which is no entry of a pep"
            ));
        }
        if pep.request_from != RequestFrom::Call && !pep.surfaces.contains(&Surface::HttpAuthz) {
            self.problem(format!(
                "peps.{name}.request_from: it says how `http_authz` is read, which is not among its `surfaces`"
            ));
        }
        for exchange in pep.exchange.iter().filter(|exchange| !self.config.exchanges.contains_key(*exchange))
        {
            self.problems.push(format!("peps.{name}.exchange: there is no exchange `{exchange}`"));
        }
        if !pep.exchange.is_empty() && !pep.surfaces.contains(&Surface::Exchange) {
            self.problem(format!("peps.{name}.exchange: it also needs the surface `exchange`"));
        }
        self.exchanged_audiences(name, pep);
        Pep {
            name: name.clone(),
            surfaces: pep.surfaces.iter().copied().collect(),
            resources,
            resource_from: pep.resource_from,
            client_ip: pep.client_ip.unwrap_or(ClientIp::Source),
            vouches: true,
            request_from: pep.request_from,
            mcp_metadata: pep.mcp_metadata,
            asserts: pep.assert.iter().cloned().collect(),
            supplies: pep.properties.iter().cloned().collect(),
            exchange: pep.exchange.iter().cloned().collect(),
        }
    }

    /// What a caller has exchanged for a resource is a token for that resource.
    fn exchanged_audiences(&mut self, name: &PepName, pep: &types::Pep) {
        let named = |resource: &ResourceName| match &pep.resources {
            OneOrAll::All(_) => true,
            OneOrAll::These(names) => names.contains(resource),
        };
        let any = |resource: &types::Resource| {
            with_defaults(resource, &self.config.defaults).accept_any_audience == Some(true)
        };
        let lax = self.config.resources.iter().find(|(name, resource)| named(name) && any(resource));
        if let Some((resource, _)) = lax.filter(|_| !pep.exchange.is_empty()) {
            let problem = format!(
                "peps.{name}.exchange: `{resource}` has `accept_any_audience`, so a token that another service was sent would be \
                 exchanged: list its own `audiences`, or name the caller's `resources` without it"
            );
            self.problems.push(problem);
        }
    }

    fn pep_auth(&self, auth: &types::PepAuth) -> Result<PepAuth, String> {
        match auth {
            types::PepAuth {
                unix: Some(uid),
                key: None,
                secret: None,
                issuer: None,
                client: None,
                audience: None,
            } => Ok(PepAuth::Uid(*uid)),
            types::PepAuth {
                key: Some(key),
                unix: None,
                secret: None,
                issuer: None,
                client: None,
                audience: None,
            } => Ok(PepAuth::Key(long_secret(key)?)),
            types::PepAuth {
                client: Some(client),
                secret: Some(secret),
                key: None,
                unix: None,
                issuer: None,
                audience: None,
            } => {
                if client.is_empty() || client.contains(':') {
                    return Err(format!("`{client}` is no client id: HTTP Basic has none with a colon"));
                }
                Ok(PepAuth::Secret { client: client.clone(), digest: long_secret(secret)? })
            }
            types::PepAuth {
                issuer: Some(issuer),
                client: Some(client),
                audience,
                key: None,
                unix: None,
                secret: None,
            } => self.token_auth(issuer, client, audience.as_deref()),
            types::PepAuth { .. } => {
                Err("give one of `{key: ..}`, `{unix: UID}`, `{client: ID, secret: ..}` and `{issuer: \
                                          NAME, client: ID}`"
                    .to_owned())
            }
        }
    }

    fn token_auth(
        &self,
        issuer: &IssuerName,
        client: &str,
        audience: Option<&str>,
    ) -> Result<PepAuth, String> {
        if !self.config.issuers.contains_key(issuer) {
            return Err(format!("there is no issuer `{issuer}`"));
        }
        let audience = audience.or(self.config.listen.decision.base_url.as_deref());
        let audience =
            audience.ok_or("give the `audience` of its tokens, or set `listen.decision.base_url`")?;
        let id = format!("{issuer}/{client}");
        Ok(PepAuth::Token(TokenClient { issuer: issuer.clone(), id }, Audience::from(audience)))
    }
}

/// The SHA-256 of a secret that is long enough not to be guessed.
fn long_secret(secret: &Secret) -> Result<[u8; 32], String> {
    let secret = secret.read()?;
    if secret.len() < 32 {
        return Err("a secret has at least 32 characters: make one with `openssl rand -hex 32`".to_owned());
    }
    Ok(Sha256::digest(secret.as_bytes()).into())
}
