//! Who asks in a test: a principal and a token in the words of a test file, as a verified token would give them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use palisade_model::{Audience, Authority, IssuerName, Properties, Scopes, Subject, SubjectKind, Timestamp};
use serde::Deserialize;

use super::file::Time;

/// One of `user`, `client`, `anonymous` and `entity`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestPrincipal {
    #[serde(default)]
    pub(super) user: Option<String>,
    #[serde(default)]
    pub(super) client: Option<String>,
    #[serde(default)]
    pub(super) anonymous: bool,
    /// Somebody whom a PEP asserts: `Own::Person::"alice"`.
    #[serde(default)]
    pub(super) entity: Option<String>,
    /// What the PEP supplies of the attributes.
    #[serde(default)]
    pub(super) properties: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    pub(super) roles: BTreeSet<String>,
    #[serde(default)]
    pub(super) groups: BTreeSet<String>,
    #[serde(default)]
    pub(super) tenant: Option<String>,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestToken {
    #[serde(default)]
    pub(super) scopes: Scopes,
    #[serde(default)]
    pub(super) acr: Option<String>,
    #[serde(default)]
    pub(super) amr: BTreeSet<String>,
    #[serde(default)]
    pub(super) auth_time: Option<Time>,
    #[serde(default)]
    pub(super) client: Option<String>,
    /// The current actor first.
    #[serde(default)]
    pub(super) actors: Vec<String>,
}

impl TestToken {
    /// What the token says to the resource with this identifier; nothing where nobody asks.
    pub(super) fn authority(
        &self,
        subject: &Subject,
        identifier: &str,
        now: Timestamp,
    ) -> Result<Option<Authority>, String> {
        match subject.kind {
            SubjectKind::Anonymous | SubjectKind::Own(_) => return Ok(None),
            SubjectKind::User | SubjectKind::Client => {}
        }
        let issuer = subject.id.split('/').next().unwrap_or_default();
        let issuer: IssuerName = issuer.parse().map_err(|error| format!("principal: {error}"))?;
        Ok(Some(Authority {
            issuer,
            audience: [Audience::from(identifier)].into(),
            scopes: self.scopes.clone(),
            client: self.client.clone(),
            actors: self.actors.clone(),
            acr: self.acr.clone(),
            amr: self.amr.clone(),
            auth_time: self.auth_time.map(|time| time.0),
            groups_complete: true,
            token_id: "jti:test".to_owned(),
            expires_at: now.plus(Duration::from_secs(3_600)),
        }))
    }
}

impl TestPrincipal {
    pub(super) fn subject(&self) -> Result<Subject, String> {
        if let Some(entity) = &self.entity {
            return self.asserted(entity);
        }
        if !self.properties.is_empty() {
            return Err("principal: `properties` are of an `entity` that is asserted".to_owned());
        }
        let (kind, id) = match (&self.user, &self.client, self.anonymous) {
            (Some(id), None, false) => (SubjectKind::User, id),
            (None, Some(id), false) => (SubjectKind::Client, id),
            (None, None, true) => return Ok(Subject::anonymous()),
            (Some(_) | None, Some(_) | None, true | false) => {
                return Err(
                    "principal: give one of `user`, `client`, `anonymous: true` and `entity`".to_owned()
                );
            }
        };
        let named = self.roles.iter().chain(&self.groups).chain(&self.tenant).chain([id]);
        if let Some(bare) = named.into_iter().find(|name| !name.contains('/')) {
            return Err(format!("principal: `{bare}` has no issuer: tokens give `<issuer>/{bare}`"));
        }
        Ok(Subject {
            kind,
            id: id.clone(),
            roles: self.roles.clone(),
            groups: self.groups.clone(),
            tenant: self.tenant.clone(),
            tags: self.tags.clone(),
            supplied: Properties::default(),
        })
    }

    /// Somebody who has no token.
    fn asserted(&self, entity: &str) -> Result<Subject, String> {
        let named = entity.strip_suffix('"').and_then(|text| text.split_once("::\""));
        let (type_name, id) = named.ok_or_else(|| format!("principal: `{entity}` is no entity"))?;
        let subject = Subject::named(type_name, id);
        let alone = Self { entity: None, properties: serde_json::Map::new(), ..self.clone() };
        let bare = matches!(subject.kind, SubjectKind::Own(_)) && alone == Self::default();
        let supplied = Properties::new(self.properties.clone());
        bare.then_some(Subject { supplied, ..subject }).ok_or_else(|| {
            "principal: an `entity` is of a type of your own, and has `properties` and nothing else"
                .to_owned()
        })
    }
}
