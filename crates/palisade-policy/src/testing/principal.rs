//! Who asks in a test: a principal and a token in the words of a test file, as a verified token would give them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use palisade_model::{Audience, Authority, IssuerName, Scopes, Subject, SubjectKind, Timestamp};
use serde::Deserialize;

use super::file::Time;

/// One of `user`, `client` and `anonymous`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestPrincipal {
    #[serde(default)]
    pub(super) user: Option<String>,
    #[serde(default)]
    pub(super) client: Option<String>,
    #[serde(default)]
    pub(super) anonymous: bool,
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
        if subject.kind == SubjectKind::Anonymous {
            return Ok(None);
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
        let (kind, id) = match (&self.user, &self.client, self.anonymous) {
            (Some(id), None, false) => (SubjectKind::User, id),
            (None, Some(id), false) => (SubjectKind::Client, id),
            (None, None, true) => return Ok(Subject::anonymous()),
            (Some(_) | None, Some(_) | None, true | false) => {
                return Err("principal: give one of `user`, `client` and `anonymous: true`".to_owned());
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
        })
    }
}
