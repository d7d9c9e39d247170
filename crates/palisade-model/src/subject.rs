//! Whose authority is used, and how strong the proof of it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Audience, IssuerName, Properties, Scopes, Timestamp};

/// What kind of principal a subject is. The names are those of the policy vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectKind {
    /// A person.
    User,
    /// A workload or agent that acts as itself.
    Client,
    /// Nobody: the request carried no credential, and the resource lets such requests reach policy.
    Anonymous,
    /// An entity of a type of the deployment's own schema, by the name of the type. No token gives one: a PEP asserts
    /// it.
    Own(String),
}

impl SubjectKind {
    /// The kind of an entity type. Every name is one: whether the schema has the type is for the policies to say.
    #[must_use]
    pub fn of(type_name: &str) -> Self {
        match type_name {
            "User" => Self::User,
            "Client" => Self::Client,
            "Anonymous" => Self::Anonymous,
            own => Self::Own(own.to_owned()),
        }
    }

    /// The entity type.
    #[must_use]
    pub fn type_name(&self) -> &str {
        match self {
            Self::User => "User",
            Self::Client => "Client",
            Self::Anonymous => "Anonymous",
            Self::Own(name) => name,
        }
    }
}

/// The principal of a decision: the entity, its parents and its tags, all as the token gives them. Of a subject that a
/// PEP asserts there is the entity, and what the PEP supplies of its attributes.
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
    /// What a PEP supplies of its attributes. It fills what neither token nor entity files say, and nothing else.
    pub supplied: Properties,
}

impl Subject {
    /// A subject that is named and nothing more: without parents, tags and supplied attributes.
    #[must_use]
    pub fn named(type_name: &str, id: impl Into<String>) -> Self {
        Self { kind: SubjectKind::of(type_name), id: id.into(), ..Self::anonymous() }
    }

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
            supplied: Properties::default(),
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
    /// `jti:<value>`, or `sha256:<hex>` of the token where it has none; `static:<name>` of a static token.
    pub token_id: String,
    /// When the token ends; [`Timestamp::NEVER`] for a static one.
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
