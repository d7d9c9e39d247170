//! Searches.

use std::time::Duration;

use palisade_proto::v1;

use super::{Asked, LONGEST, Unreadable, call, decision_id, revision};
use crate::{Entity, Found, NoAnswer, Page, ReasonCode, Search, Searched, Sought, search::Asker};

impl Asked for Search {
    type Message = v1::SearchRequest;
    type Reply = v1::SearchResponse;
    type Answer = Searched;

    fn message(&self) -> v1::SearchRequest {
        let sought = match self.sought {
            Sought::Subjects => v1::Sought::Subjects,
            Sought::Targets => v1::Sought::Targets,
            Sought::Actions => v1::Sought::Actions,
        };
        let (token, subject) = match &self.asker {
            Asker::Nobody => (None, None),
            Asker::Holder(token) => (Some(token.expose().to_owned()), None),
            Asker::Named(subject) => (None, Some(entity(subject))),
        };
        v1::SearchRequest {
            resource: self.resource.clone(),
            sought: sought.into(),
            token,
            subject,
            action: self.action.clone(),
            target: self.target.as_ref().map(entity),
            arguments: self.arguments.clone(),
            page_size: self.page_size.unwrap_or_default(),
            page_token: self.page_token.clone(),
        }
    }

    fn read(&self, reply: v1::SearchResponse) -> Result<Searched, Unreadable> {
        let id = decision_id(&reply.decision_id)?;
        if reply.outcome() != v1::Outcome::Permit {
            return Ok(Searched::Refused { reason: ReasonCode(reply.reason), id });
        }
        let others = match self.sought {
            Sought::Subjects => reply.targets.len() + reply.actions.len(),
            Sought::Targets => reply.subjects.len() + reply.actions.len(),
            Sought::Actions => reply.subjects.len() + reply.targets.len(),
        };
        if others != 0 {
            return Err(Unreadable("it finds what was not sought"));
        }
        let entities = |all: Vec<v1::Entity>| all.into_iter().map(found).collect();
        let found = match self.sought {
            Sought::Subjects => Found::Subjects(entities(reply.subjects)),
            Sought::Targets => Found::Targets(entities(reply.targets)),
            Sought::Actions => Found::Actions(reply.actions),
        };
        Ok(Searched::Found(Page {
            found,
            next: Some(reply.next_page_token).filter(|token| !token.is_empty()),
            id: id.ok_or(Unreadable("what is found has no record"))?,
            policy_revision: revision(reply.policy_revision),
        }))
    }

    asked_beside!();
}

fn entity(entity: &Entity) -> v1::Entity {
    let Entity { type_name, id, properties } = entity.clone();
    v1::Entity { r#type: type_name, id, properties }
}

fn found(entity: v1::Entity) -> Entity {
    Entity { type_name: entity.r#type, id: entity.id, properties: entity.properties }
}
