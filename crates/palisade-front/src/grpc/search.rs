//! `Decisions/Search`: the messages as a search of the decision point, and what it found as an answer.
//!
//! Entities stand here as policies name them, so that nothing has to be guessed of what is not known yet. Reading is
//! total: what cannot be read is in the question, as the reason for a recorded refusal.

use std::sync::Arc;

use palisade_model::{
    AccessRequest, Action, Arguments, Asked, Credential, Item, Properties, RawToken, Reason, Refusal,
    Subject, SubjectKind, Surface, Target,
};
use palisade_pdp::{Kind, Pdp, Resource, Results, SearchRequest, Searched, Snapshot, Sought};
use palisade_proto::v1;
use serde_json::Value;

use super::{
    call::Call,
    decode::{self, MAX_DEPTH, Question, malformed},
};

/// Answers a search.
pub(super) async fn answer(pdp: &Pdp, call: &Call, asked: &v1::SearchRequest) -> v1::SearchResponse {
    let snapshot = pdp.snapshot();
    let resource = decode::resource(&snapshot, call, &asked.resource);
    let request = read(&snapshot, call, resource.as_deref(), asked);
    let searched = pdp.search(&snapshot, &request, call.patience).await;
    let mut answer = written(searched);
    answer.policy_revision = snapshot.revision.as_str().to_owned();
    answer
}

/// The answer where there is none, because this service failed.
pub(super) fn outage() -> v1::SearchResponse {
    refused(String::new(), Reason::InternalError)
}

fn refused(decision_id: String, reason: Reason) -> v1::SearchResponse {
    v1::SearchResponse {
        decision_id,
        outcome: v1::Outcome::Deny.into(),
        reason: reason.as_str().to_owned(),
        ..v1::SearchResponse::default()
    }
}

fn written(searched: Searched) -> v1::SearchResponse {
    let found = match searched {
        Searched::Refused(id, reason) => return refused(id.to_string(), reason),
        Searched::Found(found) => found,
    };
    let mut answer = v1::SearchResponse {
        decision_id: found.id.to_string(),
        outcome: v1::Outcome::Permit.into(),
        reason: Reason::Permitted.as_str().to_owned(),
        next_page_token: found.next.unwrap_or_default(),
        ..v1::SearchResponse::default()
    };
    let entity =
        |type_name: &str, id: String| v1::Entity { r#type: type_name.to_owned(), id, properties: None };
    match found.results {
        Results::Subjects(all) => {
            answer.subjects =
                all.into_iter().map(|subject| entity(subject.kind.type_name(), subject.id)).collect();
        }
        Results::Targets(all) => {
            answer.targets = all.into_iter().map(|target| entity(&target.type_name, target.id)).collect();
        }
        Results::Actions(all) => answer.actions = all.iter().map(Action::entity).collect(),
    }
    answer
}

fn read(
    snapshot: &Snapshot,
    call: &Call,
    resource: Option<&Resource>,
    asked: &v1::SearchRequest,
) -> SearchRequest {
    let subject = asked.subject.clone().unwrap_or_default();
    let target = asked.target.clone();
    let target_type = target.as_ref().map(|target| target.r#type.clone()).filter(|name| !name.is_empty());
    let sought = match asked.sought() {
        v1::Sought::Unspecified => None,
        v1::Sought::Subjects => Some(Sought::Subjects(SubjectKind::of(&subject.r#type))),
        v1::Sought::Targets => Some(Sought::Targets(target_type)),
        v1::Sought::Actions => Some(Sought::Actions),
    };
    let too_large = size(asked) > snapshot.limits.body;
    let refusal = || malformed("what is asked is larger than `limits.body`");
    let item = if too_large { Err(refusal()) } else { item(snapshot, resource, asked) };
    let asked_for = sought.as_ref().ok_or_else(|| malformed("nothing is sought")).and(item);
    let question = Question { asked: asked_for.map(Asked::one), path: None };
    let access = call.access_request(Surface::Decide, resource, None, question);
    let credential = if too_large { Credential::Unusable(refusal()) } else { credential(asked) };
    let page_size = usize::try_from(asked.page_size).ok().filter(|size| *size > 0);
    SearchRequest {
        access: AccessRequest { credential, ..access },
        // A request that seeks nothing is refused before anything is sought.
        sought: sought.unwrap_or(Sought::Actions),
        any_arguments: asked.arguments.is_none(),
        limit: page_size,
        token: Some(asked.page_token.clone()).filter(|token| !token.is_empty()),
    }
}

/// How long the texts are that are read, beside the token, which has a limit of its own.
fn size(asked: &v1::SearchRequest) -> usize {
    let of = |entity: &v1::Entity| {
        entity.r#type.len() + entity.id.len() + entity.properties.as_ref().map_or(0, String::len)
    };
    let entities = asked.subject.iter().chain(&asked.target).map(of).sum::<usize>();
    entities + asked.action.len() + asked.arguments.as_ref().map_or(0, String::len)
}

fn credential(asked: &v1::SearchRequest) -> Credential {
    match (&asked.token, &asked.subject) {
        (None, None) => Credential::Absent,
        (Some(token), None) => Credential::Token(RawToken::new(token.clone())),
        (None, Some(subject)) => match properties(subject) {
            Ok(supplied) => Credential::AssertedByPep(Subject {
                supplied,
                ..Subject::named(&subject.r#type, subject.id.clone())
            }),
            Err(refusal) => Credential::Unusable(refusal),
        },
        (Some(_), Some(_)) => Credential::Unusable(malformed("a token and a subject came")),
    }
}

/// What is asked about: what is sought of it is left open.
fn item(
    snapshot: &Snapshot,
    resource: Option<&Resource>,
    asked: &v1::SearchRequest,
) -> Result<Item, Refusal> {
    let target = asked.target.clone().unwrap_or_default();
    let own = |name: &str| match resource.map(|resource| resource.kind) {
        Some(Kind::Mcp) => Action::mcp(name),
        Some(Kind::Http) => Action::http(name),
        Some(Kind::Graphql) => Action::graphql(name),
        None => Action { namespace: String::new(), name: name.to_owned() },
    };
    let named = snapshot.policies.action_named(&asked.action, &target.r#type);
    let action = named.unwrap_or_else(|| own(&asked.action));
    let arguments = asked.arguments.as_deref().map(|text| object(text, "the arguments")).transpose()?;
    let arguments = arguments.map(|value| Arguments::from_json(&value)).transpose();
    let arguments = arguments.map_err(|error| Refusal::new(Reason::ArgumentsInvalid, error.to_string()))?;
    Ok(Item {
        action,
        supplied: properties(&target)?,
        target: Target { type_name: target.r#type, id: target.id },
        arguments: arguments.map(Arc::new),
        known: Properties::default(),
        reply_to: None,
    })
}

fn properties(entity: &v1::Entity) -> Result<Properties, Refusal> {
    let Some(text) = entity.properties.as_deref() else { return Ok(Properties::default()) };
    match object(text, "the properties")? {
        Value::Object(members) => Ok(Properties::new(members)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(malformed("the properties are no JSON object"))
        }
    }
}

fn object(text: &str, what: &str) -> Result<Value, Refusal> {
    palisade_json::read(text.as_bytes(), MAX_DEPTH).map_err(|error| malformed(format!("{what}: {error}")))
}
