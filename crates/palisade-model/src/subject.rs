//! Whose authority is used, and how strong the proof of it is.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Audience, IssuerName, Scopes, Timestamp};

/// What kind of principal a subject is. The names are those of the policy vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SubjectKind {
    /// A person.
    User,
    /// A workload or agent that acts as itself.
    Client,
    /// Nobody: the request carried no credential, and the resource lets such requests reach policy.
    Anonymous,
}

impl SubjectKind {
    /// The entity type of the policy vocabulary.
    #[must_use]
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Client => "Client",
            Self::Anonymous => "Anonymous",
        }
    }
}

/// The principal of a decision: the entity, its parents and its tags, all as the token gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// User, client or nobody.
    pub kind: SubjectKind,
    /// `<issuer>/<subject>`, with templated tenants `<issuer>/<tenant>/<subject>`; `anonymous` for nobody.
    pub id: String,
    /// `<issuer>/<role>` of every role in the token.
    pub roles: BTreeSet<String>,
    /// `<issuer>/<group>` of every group in the token.
    pub groups: BTreeSet<String>,
    /// `<issuer>/<tenant>`.
    pub tenant: Option<String>,
    /// The claims that the configuration lists as tags.
    pub tags: BTreeMap<String, BTreeSet<String>>,
}

impl Subject {
    /// The subject of a request without a credential.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            kind: SubjectKind::Anonymous,
            id: "anonymous".to_owned(),
            roles: BTreeSet::new(),
            groups: BTreeSet::new(),
            tenant: None,
            tags: BTreeMap::new(),
        }
    }

    /// `User::"corp/alice"`, the form used in records and explanations, with quotes, backslashes and what cannot be
    /// seen escaped.
    #[must_use]
    pub fn entity(&self) -> String {
        format!("{}::{:?}", self.kind.type_name(), self.id)
    }

    /// The roles, groups and the tenant in the same form.
    #[must_use]
    pub fn parents(&self) -> Vec<String> {
        let roles = self.roles.iter().map(|id| format!("Role::{id:?}"));
        let groups = self.groups.iter().map(|id| format!("Group::{id:?}"));
        roles.chain(groups).chain(self.tenant.iter().map(|id| format!("Tenant::{id:?}"))).collect()
    }
}

/// What a token says beside who its subject is. A request without a token has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The issuer's name in the configuration.
    pub issuer: IssuerName,
    /// The audiences of the token.
    pub audience: BTreeSet<Audience>,
    /// The scopes of the token, normalised to a set; scopes that a resource implies are not in it.
    pub scopes: Scopes,
    /// `<issuer>/<client_id>` of the client the token was issued to.
    pub client: Option<String>,
    /// `<issuer>/<subject>` of every actor of the `act` chain (RFC 8693 section 4.1), the current actor first.
    pub actors: Vec<String>,
    /// Authentication context class reference (RFC 9068 section 2.2.1).
    pub acr: Option<String>,
    /// Authentication methods (RFC 8176).
    pub amr: BTreeSet<String>,
    /// When the user authenticated.
    pub auth_time: Option<Timestamp>,
    /// Whether the token carried all groups of the subject.
    pub groups_complete: bool,
    /// `jti:<value>`, or `sha256:<hex>` of the token where it has none.
    pub token_id: String,
    /// When the token ends.
    pub expires_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entity_of_a_record_ends_where_its_id_ends() {
        let entity = |id: &str| {
            Subject { kind: SubjectKind::User, id: id.to_owned(), ..Subject::anonymous() }.entity()
        };
        assert_eq!(entity("corp/o'brien"), "User::\"corp/o'brien\"");
        assert_eq!(entity("corp/a\" || User::\"b\n\u{202e}"), r#"User::"corp/a\" || User::\"b\n\u{202e}""#);
    }
}
