//! HTTP requests.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, uri::PathAndQuery};
use palisade_proto::v1;

use super::{Asked, LONGEST, Unreadable, call, decision_id, revision, timestamp};
use crate::{
    Bind, Check, Checked, Describe, Description, Handle, Incoming, List, Listed, NoAnswer, Passage,
    ReasonCode, Told,
};

impl Asked for Describe {
    type Message = v1::DescribeRequest;
    type Reply = v1::DescribeResponse;
    type Answer = Option<Description>;

    fn message(&self) -> v1::DescribeRequest {
        v1::DescribeRequest { resource: self.resource.clone() }
    }

    fn read(&self, reply: v1::DescribeResponse) -> Result<Option<Description>, Unreadable> {
        let v1::DescribeResponse { resource, identifier, metadata_path, metadata, origins, policy_revision } =
            reply;
        let policy_revision = revision(policy_revision);
        Ok((!resource.is_empty()).then_some(Description {
            resource,
            identifier,
            metadata_path,
            metadata,
            origins,
            policy_revision,
        }))
    }

    asked_beside!();
}

impl Asked for Check {
    type Message = v1::CheckRequest;
    type Reply = v1::CheckResponse;
    type Answer = Checked;

    fn message(&self) -> v1::CheckRequest {
        v1::CheckRequest {
            resource: self.resource.clone(),
            request: Some(incoming(&self.request)),
            body: (!self.body.is_empty()).then(|| self.body.to_vec()),
            truncated: self.truncated,
            rewrites_path: self.rewrites_path,
            cuts_operations: self.operations.cuts,
            answers_operations: self.operations.answers,
        }
    }

    fn read(&self, reply: v1::CheckResponse) -> Result<Checked, Unreadable> {
        let outcome = reply.outcome();
        let goes_on = matches!(outcome, v1::Outcome::Permit | v1::Outcome::Observed);
        let id = decision_id(&reply.decision_id)?;
        match (reply.passage, reply.answer) {
            (Some(passage), None) if goes_on && passage.graphql_errors.is_some() && !self.operations.cuts => {
                Err(Unreadable("it takes something out of an operation, which was not asked"))
            }
            (Some(passage), None)
                if goes_on && passage.graphql_errors.is_some() && passage.body.is_none() =>
            {
                Err(Unreadable("it takes something out of an operation and does not say what is left"))
            }
            (Some(passage), None) if goes_on => Ok(Checked::Pass(Box::new(Passage {
                id: id.ok_or(Unreadable("a permit has no record"))?,
                subject: reply.subject.ok_or(Unreadable("a permit has no subject"))?,
                ticket: reply.ticket,
                reason: ReasonCode(reply.reason),
                observed: outcome == v1::Outcome::Observed,
                expires_at: reply.expires_at.map(timestamp),
                policy_revision: revision(reply.policy_revision),
                remove: names(passage.remove)?,
                set: once(headers(passage.set)?)?,
                response: headers(passage.response)?,
                body: passage.body.map(Bytes::from),
                path: passage.path.map(path).transpose()?,
                graphql_errors: passage.graphql_errors,
            }))),
            (None, Some(answer))
                if outcome == v1::Outcome::Permit && self.operations.answers && id.is_some() =>
            {
                Ok(Checked::Answer(Told { id, permitted: true, ..told(answer, reply.reason)? }))
            }
            (None, Some(answer)) if !goes_on => {
                Ok(Checked::Answer(Told { id, ..told(answer, reply.reason)? }))
            }
            (Some(_), _) => Err(Unreadable("it denies and says what goes on, or says two things")),
            (None, _) => Err(Unreadable("it says neither what goes on nor what the client is told")),
        }
    }

    asked_beside!();
}

impl Asked for List {
    type Message = v1::ListRequest;
    type Reply = v1::ListResponse;
    type Answer = Listed;

    fn message(&self) -> v1::ListRequest {
        v1::ListRequest {
            resource: self.resource.clone(),
            request: Some(incoming(&self.request)),
            list: self.list.clone(),
            entries: self.entries.clone(),
        }
    }

    fn read(&self, reply: v1::ListResponse) -> Result<Listed, Unreadable> {
        let permitted = reply.outcome() == v1::Outcome::Permit;
        let id = decision_id(&reply.decision_id)?;
        match reply.answer {
            None if permitted && id.is_some() => {
                let mut shown = vec![false; self.entries.len()];
                for place in reply.shown {
                    let entry = usize::try_from(place).ok().and_then(|place| shown.get_mut(place));
                    *entry.ok_or(Unreadable("it shows an entry that the list does not have"))? = true;
                }
                Ok(Listed::Shown(shown))
            }
            Some(answer) if !permitted && reply.shown.is_empty() => {
                Ok(Listed::Refused(Told { id, ..told(answer, reply.reason)? }))
            }
            Some(_) => Err(Unreadable("it shows and refuses")),
            None => Err(Unreadable("it shows nothing and says nothing")),
        }
    }

    asked_beside!();
}

impl Asked for Bind {
    type Message = v1::BindRequest;
    type Reply = v1::BindResponse;
    type Answer = Option<String>;

    fn message(&self) -> v1::BindRequest {
        let handle = match self.handle {
            Handle::Session => v1::Handle::Session,
            Handle::Task => v1::Handle::Task,
        };
        v1::BindRequest {
            resource: self.resource.clone(),
            ticket: self.ticket.clone(),
            handle: handle.into(),
            id: self.id.clone(),
            tool: self.tool.clone(),
        }
    }

    fn read(&self, reply: v1::BindResponse) -> Result<Option<String>, Unreadable> {
        Ok(Some(reply.id).filter(|id| !id.is_empty()))
    }

    asked_beside!();
}

fn incoming(request: &Incoming) -> v1::HttpRequest {
    let header = |(name, value): (&HeaderName, &HeaderValue)| v1::Header {
        name: name.as_str().to_owned(),
        value: value.as_bytes().to_vec(),
    };
    v1::HttpRequest {
        method: request.method.as_str().to_owned(),
        scheme: request.scheme.to_owned(),
        host: request.host.clone(),
        path: request.path.clone(),
        headers: request.headers.iter().map(header).collect(),
        client_address: request.client.map(|address| address.to_string()).unwrap_or_default(),
    }
}

fn told(answer: v1::Answer, reason: String) -> Result<Told, Unreadable> {
    let status = u16::try_from(answer.status).ok().and_then(|code| StatusCode::from_u16(code).ok());
    Ok(Told {
        permitted: false,
        status: status.ok_or(Unreadable("the status of an answer is none"))?,
        headers: headers(answer.headers)?,
        body: answer.body.into(),
        reason: Some(reason).filter(|reason| !reason.is_empty()).map(ReasonCode),
        id: None,
    })
}

fn path(text: String) -> Result<PathAndQuery, Unreadable> {
    text.parse().map_err(|_| Unreadable("a path is none"))
}

fn names(all: Vec<String>) -> Result<Vec<HeaderName>, Unreadable> {
    all.iter().map(|name| name.parse().map_err(|_| Unreadable("a name of a header is none"))).collect()
}

/// Header fields of which none comes twice: a server could take either.
fn once(headers: HeaderMap) -> Result<HeaderMap, Unreadable> {
    if headers.len() == headers.keys_len() { Ok(headers) } else { Err(Unreadable("it sets a header twice")) }
}

fn headers(all: Vec<v1::Header>) -> Result<HeaderMap, Unreadable> {
    let mut map = HeaderMap::with_capacity(all.len());
    for v1::Header { name, value } in all {
        let name: HeaderName = name.parse().map_err(|_| Unreadable("a name of a header is none"))?;
        let mut value =
            HeaderValue::from_bytes(&value).map_err(|_| Unreadable("a value of a header is none"))?;
        value.set_sensitive(name == http::header::AUTHORIZATION);
        map.append(name, value);
    }
    Ok(map)
}
