//! `/access/v1/search/{subject,resource,action}`.

use palisade_model::{AccessRequest, Asked, Credential, Subject, Target};
use palisade_pdp::{Resource, Results, SearchRequest, Searched, Sought};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    encode::{self, Answer},
    entities::{Words, placeholder},
    evaluate::Desk,
    message::{self, Malformed, Search},
};

/// The answer. The page stands first.
#[derive(Serialize)]
struct Found {
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<FoundPage>,
    results: Vec<Value>,
}

#[derive(Serialize)]
struct FoundPage {
    /// Empty at the end.
    next_token: String,
    count: usize,
}

impl Desk<'_> {
    /// One search.
    pub(crate) async fn search(&self, read: Result<Search, Malformed>) -> Answer {
        let search = match read {
            Ok(search) => search,
            Err(malformed) => return self.refuse(&malformed).await,
        };
        let asks_for_pages = search.page.is_some();
        let (request, resource) = self.search_request(&search);
        match self.pdp.search(self.snapshot, &request, self.patience()).await {
            Searched::Refused(id, reason) => {
                let (status, words) = encode::trouble(reason).unwrap_or((403, "the caller may not ask this"));
                Answer::error(status, words, Some(id))
            }
            Searched::Found(found) => {
                let results = written(&self.words(), resource, &search.sought, &found.results);
                let next = found.next.unwrap_or_default();
                let is_part = !next.is_empty() || asks_for_pages;
                let page = is_part.then_some(FoundPage { next_token: next, count: results.len() });
                // Nothing in it can fail to be written.
                let body = serde_json::to_string(&Found { page, results }).unwrap_or_default();
                Answer::of(body, Some(found.id))
            }
        }
    }

    fn search_request(&self, search: &Search) -> (SearchRequest, Option<&Resource>) {
        let words = self.words();
        let (sought, item, credential, resource) = match &search.sought {
            message::Sought::Subjects { type_name, action, resource: entity } => {
                let resource = words.resource(&entity.type_name, &entity.id).map(AsRef::as_ref);
                let kind = words.subject_kind(type_name, resource);
                let item = words.item(Some(action), entity, resource);
                (Sought::Subjects(kind), item, Credential::Absent, resource)
            }
            message::Sought::Resources { subject, action, type_name } => {
                let resource = words.only_resource().map(AsRef::as_ref);
                let target_type = words.target_type(type_name, resource);
                let item = words.item(Some(action), &placeholder(type_name), resource);
                let asserted = Credential::AssertedByPep(words.subject(subject, resource));
                (Sought::Targets(Some(target_type)), item, asserted, resource)
            }
            message::Sought::Actions { subject, resource: entity } => {
                let resource = words.resource(&entity.type_name, &entity.id).map(AsRef::as_ref);
                let item = words.item(None, entity, resource);
                let asserted = Credential::AssertedByPep(words.subject(subject, resource));
                (Sought::Actions, item, asserted, resource)
            }
        };
        let page = search.page.clone().unwrap_or_default();
        let access = AccessRequest {
            credential,
            asked: Ok(Asked::one(item)),
            sent: search.context.clone(),
            resource: resource.map(|resource| resource.name.clone()),
            ..self.unreadable("")
        };
        (
            SearchRequest { access, sought, any_arguments: false, limit: page.limit, token: page.token },
            resource,
        )
    }
}

/// What was found, in the words of the question.
fn written(
    words: &Words<'_>,
    resource: Option<&Resource>,
    sought: &message::Sought,
    results: &Results,
) -> Vec<Value> {
    match (sought, results) {
        (message::Sought::Subjects { type_name, .. }, Results::Subjects(found)) => {
            let issuer = words.issuer_of_identities(type_name, resource);
            let id = |subject: &Subject| match issuer {
                None => Some(subject.id.clone()),
                Some(issuer) => {
                    let rest = subject.id.strip_prefix(issuer.as_str())?.strip_prefix('/')?;
                    Some(rest.to_owned())
                }
            };
            found.iter().filter_map(id).map(|id| json!({ "type": type_name, "id": id })).collect()
        }
        (message::Sought::Resources { type_name, .. }, Results::Targets(found)) => {
            let id = |target: &Target| named(type_name, target, resource);
            found.iter().map(|target| json!({ "type": type_name, "id": id(target) })).collect()
        }
        (message::Sought::Actions { resource: entity, .. }, Results::Actions(found)) => {
            let target_type = words.target_type(&entity.type_name, resource);
            let name = |action: &palisade_model::Action| {
                let plain = words.action(&action.name, &target_type) == *action;
                if plain { action.name.clone() } else { action.entity() }
            };
            found.iter().map(|action| json!({ "name": name(action) })).collect()
        }
        // The decision point answers with what is sought.
        (
            message::Sought::Subjects { .. }
            | message::Sought::Resources { .. }
            | message::Sought::Actions { .. },
            Results::Subjects(_) | Results::Targets(_) | Results::Actions(_),
        ) => Vec::new(),
    }
}

/// The id of a target as the caller names it: one of the MCP profile without its server, and a server by its identifier.
fn named(type_name: &str, target: &Target, resource: Option<&Resource>) -> String {
    let Some(resource) = resource.filter(|_| target.type_name != type_name) else { return target.id.clone() };
    let within = target.id.strip_prefix(resource.name.as_str()).and_then(|rest| rest.strip_prefix('/'));
    within.map_or_else(|| resource.identifier.clone(), str::to_owned)
}
