//! `peps` as the callers of a snapshot.

use std::collections::BTreeSet;

use palisade_model::PepName;
use palisade_pdp::{Pep, PepAuth, Peps};
use sha2::{Digest, Sha256};

use super::{
    build::Builder,
    types,
    values::{OneOrAll, Secret},
};
use crate::environment;

impl Builder<'_> {
    pub(super) fn peps(&mut self) -> Peps {
        let mut all = Vec::new();
        let mut proofs = BTreeSet::new();
        for (name, pep) in &self.config.peps {
            if name.as_str() == "local" {
                self.problem("peps.local: the name is reserved for unnamed callers on loopback");
            }
            let auth = match pep_auth(&pep.auth) {
                Ok(auth) => auth,
                Err(why) => {
                    self.problem(format!("peps.{name}.auth: {why}"));
                    continue;
                }
            };
            if !proofs.insert(format!("{auth:?}")) {
                self.problem(format!("peps.{name}.auth: another pep proves itself with the same"));
            }
            all.push((self.pep(name, pep), auth));
        }
        if let Ok(local) = "local".parse() {
            all.push((Pep::local(local), PepAuth::Loopback));
        }
        Peps::new(all)
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
        if pep.client_ip == palisade_pdp::ClientIp::XForwardedFor(0) {
            self.problem(format!("peps.{name}.client_ip: `x_forwarded_for` counts from 1"));
        }
        Pep {
            name: name.clone(),
            surfaces: pep.surfaces.iter().copied().collect(),
            resources,
            resource_from: pep.resource_from,
            client_ip: pep.client_ip,
            mcp_metadata: pep.mcp_metadata,
        }
    }
}

fn pep_auth(auth: &types::PepAuth) -> Result<PepAuth, String> {
    match auth {
        types::PepAuth::Unix(uid) => Ok(PepAuth::Uid(*uid)),
        types::PepAuth::Key(secret) => {
            let key = read_secret(secret)?;
            if key.len() < 32 {
                return Err(
                    "a key has at least 32 characters: make one with `openssl rand -hex 32`".to_owned()
                );
            }
            Ok(PepAuth::Key(Sha256::digest(key.as_bytes()).into()))
        }
    }
}

fn read_secret(secret: &Secret) -> Result<String, String> {
    match secret {
        Secret::File(path) => std::fs::read_to_string(path)
            .map(|text| text.trim_end().to_owned())
            .map_err(|error| format!("{}: {error}", path.display())),
        Secret::Env(name) => {
            environment::variable(name).ok_or_else(|| format!("the environment has no variable `{name}`"))
        }
    }
}
