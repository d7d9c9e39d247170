//! Questions out of the decision log: as much of a request as a record holds.
//!
//! A record has no tags, no arguments and no time of a login. So a question that is put together from one may be another
//! than was asked, and whoever compares answers first makes sure that no policy of either side looks at such things
//! ([`Side::hangs_on_time`](super::Side::hangs_on_time)) and that the policies of the time give the recorded answer.

use std::net::IpAddr;

use palisade_model::{
    Action, Authority, Circumstances, IssuerName, ResourceName, Scopes, Subject, SubjectKind, Surface,
    Target, Timestamp,
};
use thiserror::Error;

use crate::Inquiry;

/// What a record says of a request. Entities are texts such as `User::"corp/alice"`.
#[derive(Debug, Clone, Copy)]
pub struct Recorded<'a> {
    /// Whose authority was used.
    pub principal: Option<&'a str>,
    /// The roles, groups and the tenant that the token gave it.
    pub principal_in: &'a [String],
    /// The OAuth client.
    pub client: Option<&'a str>,
    /// The actors, the current one first.
    pub actors: &'a [String],
    /// The issuer of the token.
    pub issuer: Option<&'a IssuerName>,
    /// The scopes of the token.
    pub scopes: &'a Scopes,
    /// The authentication context class of the token.
    pub acr: Option<&'a str>,
    /// What was done.
    pub action: Option<&'a str>,
    /// What it was done to.
    pub target: Option<&'a str>,
    /// The resource.
    pub resource: Option<&'a ResourceName>,
    /// The client's address.
    pub client_ip: Option<&'a str>,
    /// The route template.
    pub path: Option<&'a str>,
    /// The entry the request came in by.
    pub surface: Option<Surface>,
    /// When.
    pub time: Timestamp,
    /// What the record says beside, such as that something of it was cut.
    pub detail: Option<&'a str>,
}

/// Why no question can be put together from a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
pub enum NotRebuilt {
    /// Nobody is named.
    #[error("no principal is recorded")]
    NoPrincipal,
    /// It is not said what was asked for.
    #[error("no action, target or resource is recorded")]
    NoQuestion,
    /// A text is cut off, or no entity.
    #[error("a recorded name is cut off or unreadable")]
    Unreadable,
    /// The record holds less than was asked.
    #[error("the record was cut")]
    Cut,
    /// The answer can hang on something that is not recorded.
    #[error("a policy looks at {0}, which the record does not hold")]
    Unrecorded(&'static str),
}

impl Inquiry {
    /// The question of a record, as far as the record holds it.
    ///
    /// # Errors
    /// When it does not say who asked for what.
    pub fn recorded(record: &Recorded<'_>) -> Result<Self, NotRebuilt> {
        if record.detail.is_some_and(says_cut) {
            return Err(NotRebuilt::Cut);
        }
        let subject = subject(record.principal.ok_or(NotRebuilt::NoPrincipal)?, record.principal_in)?;
        let (Some(action), Some(target), Some(resource)) = (record.action, record.target, record.resource)
        else {
            return Err(NotRebuilt::NoQuestion);
        };
        if action == Action::exchange().entity() {
            return Err(NotRebuilt::Unrecorded("the terms of an exchange"));
        }
        if target.starts_with("Graphql::Operation::") {
            return Err(NotRebuilt::Unrecorded("what an operation comes to"));
        }
        let (type_name, name) = entity(action)?;
        let namespace = type_name.strip_suffix("Action").ok_or(NotRebuilt::Unreadable)?;
        let (target_type, id) = entity(target)?;
        let asserted = record.issuer.is_none() && subject.kind != SubjectKind::Anonymous;
        Ok(Self {
            who: subject.entity(),
            authority: authority(record, &subject)?,
            subject,
            action: Action { namespace: namespace.trim_end_matches("::").to_owned(), name },
            target: Target { type_name: target_type, id },
            resource: resource.clone(),
            arguments: None,
            supplied: palisade_model::Properties::default(),
            circumstances: Circumstances {
                now: record.time,
                ip: record.client_ip.and_then(|ip| ip.parse::<IpAddr>().ok()),
                host: None,
                path: record.path.map(str::to_owned),
                surface: record.surface.unwrap_or(Surface::Decide),
                asserted,
                sent: None,
            },
        })
    }
}

/// `items, principal_in cut; more`, `cut to the essentials`, or a text whose own end is not there.
fn says_cut(detail: &str) -> bool {
    let is_note = |part: &str| part.ends_with(" cut") || part.starts_with("cut ");
    detail.ends_with('\u{2026}') || detail.split("; ").any(is_note)
}

fn subject(principal: &str, within: &[String]) -> Result<Subject, NotRebuilt> {
    let (type_name, id) = entity(principal)?;
    let kind = [SubjectKind::User, SubjectKind::Client, SubjectKind::Anonymous]
        .into_iter()
        .find(|kind| kind.type_name() == type_name)
        .ok_or(NotRebuilt::Unreadable)?;
    let mut subject = Subject { kind, id, ..Subject::anonymous() };
    for parent in within {
        let (type_name, id) = entity(parent)?;
        match type_name.as_str() {
            "Role" => drop(subject.roles.insert(id)),
            "Group" => drop(subject.groups.insert(id)),
            "Tenant" => subject.tenant = Some(id),
            _ => return Err(NotRebuilt::Unreadable),
        }
    }
    Ok(subject)
}

fn authority(record: &Recorded<'_>, subject: &Subject) -> Result<Option<Authority>, NotRebuilt> {
    let Some(issuer) = record.issuer.filter(|_| subject.kind != SubjectKind::Anonymous) else {
        return Ok(None);
    };
    let client = |text: &str| entity(text).map(|(_, id)| id);
    Ok(Some(Authority {
        issuer: issuer.clone(),
        audience: [].into(),
        scopes: record.scopes.clone(),
        client: record.client.map(client).transpose()?,
        actors: record.actors.iter().map(|actor| client(actor)).collect::<Result<_, _>>()?,
        acr: record.acr.map(str::to_owned),
        amr: [].into(),
        auth_time: None,
        groups_complete: true,
        token_id: "recorded".to_owned(),
        // No policy sees it, and equal questions are to be equal.
        expires_at: Timestamp::from_unix_seconds(0),
    }))
}

/// Type and id of `Type::"id"`, with the escapes of a Rust string.
fn entity(text: &str) -> Result<(String, String), NotRebuilt> {
    let (type_name, rest) = text.split_once("::\"").ok_or(NotRebuilt::Unreadable)?;
    let id = rest.strip_suffix('"').and_then(unescaped).ok_or(NotRebuilt::Unreadable)?;
    Ok((type_name.to_owned(), id))
}

/// Nothing for a text with a bare quote, or with an escape that is none.
fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '"' => return None,
            '\\' => match characters.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                '0' => '\0',
                'u' => {
                    let code: String =
                        characters.by_ref().take_while(|character| *character != '}').collect();
                    char::from_u32(u32::from_str_radix(code.strip_prefix('{')?, 16).ok()?)?
                }
                same @ ('"' | '\\' | '\'') => same,
                _ => return None,
            },
            plain => plain,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record<'a>(scopes: &'a Scopes, resource: &'a ResourceName, issuer: &'a IssuerName) -> Recorded<'a> {
        Recorded {
            principal: Some("User::\"corp/o\\\"b\\u{202e}\\n\""),
            principal_in: &[],
            client: Some("Client::\"corp/app\""),
            actors: &[],
            issuer: Some(issuer),
            scopes,
            acr: Some("high"),
            action: Some("Mcp::Action::\"tools/call\""),
            target: Some("Mcp::Tool::\"demo/read\""),
            resource: Some(resource),
            client_ip: Some("10.0.0.1"),
            path: None,
            surface: None,
            time: Timestamp::from_unix_seconds(1_767_225_600),
            detail: None,
        }
    }

    #[test]
    fn a_record_becomes_the_question_as_far_as_it_holds_it() {
        let (scopes, demo, corp) =
            (["a".parse().unwrap()].into(), "demo".parse().unwrap(), "corp".parse().unwrap());
        let within = ["Role::\"corp/chief\"", "Group::\"corp/g\"", "Tenant::\"corp/t\""].map(str::to_owned);
        let whole = Recorded { principal_in: &within, ..record(&scopes, &demo, &corp) };
        let inquiry = Inquiry::recorded(&whole).unwrap();
        assert_eq!(inquiry.subject.id, "corp/o\"b\u{202e}\n");
        assert!(inquiry.subject.roles.contains("corp/chief") && inquiry.subject.groups.contains("corp/g"));
        assert_eq!(inquiry.subject.tenant.as_deref(), Some("corp/t"));
        assert_eq!(inquiry.who, whole.principal.unwrap());
        assert_eq!(inquiry.action, Action::mcp("tools/call"));
        assert_eq!(inquiry.target, Target::mcp_tool(&demo, "read"));
        let authority = inquiry.authority.unwrap();
        assert_eq!(authority.acr.as_deref(), Some("high"));
        assert_eq!((authority.client.as_deref(), &authority.scopes), (Some("corp/app"), &scopes));
        let anonymous = Recorded { principal: Some("Anonymous::\"anonymous\""), ..whole };
        assert_eq!(Inquiry::recorded(&anonymous).unwrap().authority, None);
    }

    #[test]
    fn what_cannot_be_put_together_says_why() {
        let (scopes, demo, corp) = (Scopes::new(), "demo".parse().unwrap(), "corp".parse().unwrap());
        let odd = ["Mcp::Server::\"demo\"".to_owned()];
        let whole = record(&scopes, &demo, &corp);
        for (record, why) in [
            (Recorded { principal: None, ..whole }, NotRebuilt::NoPrincipal),
            (Recorded { target: None, ..whole }, NotRebuilt::NoQuestion),
            (Recorded { action: None, ..whole }, NotRebuilt::NoQuestion),
            (
                Recorded { action: Some("OAuth::Action::\"exchange\""), ..whole },
                NotRebuilt::Unrecorded("the terms of an exchange"),
            ),
            (Recorded { resource: None, ..whole }, NotRebuilt::NoQuestion),
            (
                Recorded { target: Some("Graphql::Operation::\"demo/Q\""), ..whole },
                NotRebuilt::Unrecorded("what an operation comes to"),
            ),
            (Recorded { target: Some("Mcp::Tool::\"demo/lo\u{2026}"), ..whole }, NotRebuilt::Unreadable),
            (Recorded { principal: Some("Robot::\"x\""), ..whole }, NotRebuilt::Unreadable),
            (Recorded { principal: Some("User::\"a\"b\""), ..whole }, NotRebuilt::Unreadable),
            (Recorded { principal: Some("User::\"a\\q\""), ..whole }, NotRebuilt::Unreadable),
            (Recorded { principal_in: &odd, ..whole }, NotRebuilt::Unreadable),
            (Recorded { client: Some("app"), ..whole }, NotRebuilt::Unreadable),
            (Recorded { detail: Some("principal_in cut"), ..whole }, NotRebuilt::Cut),
            (Recorded { detail: Some("no permit; items cut; more"), ..whole }, NotRebuilt::Cut),
            (Recorded { detail: Some("cut to the essentials; x"), ..whole }, NotRebuilt::Cut),
            (Recorded { detail: Some("so long that\u{2026}"), ..whole }, NotRebuilt::Cut),
        ] {
            assert_eq!(Inquiry::recorded(&record).unwrap_err(), why, "{record:?}");
        }
    }
}
