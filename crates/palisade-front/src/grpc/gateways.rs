//! `palisade.v1.Gateways`: HTTP requests as questions, and decisions as what to change of them or to answer.
//!
//! A request is read by the same code as that of a proxy (`palisade-call`), and a denial is told by the same. What a caller
//! gets here beside is for who stands in front of a server: when the token ends, the handles of its sessions and tasks, and
//! which entries of a list may be seen.

use std::{sync::Arc, time::Duration};

use palisade_call::{
    Believed, Body, Decoded, Headers, HttpCall, Named, Passage, decode, denial_answer, list_question, outage,
    reads_question, response_headers, unbound_body, unbound_name,
};
use palisade_mcp::Listing;
use palisade_model::{AccessRequest, HandleKind, Reason, Surface};
use palisade_pdp::{
    Decision, InPart, Listed, Parted, Pdp, Resource, Snapshot,
    answer::{self, Answer as HttpAnswer},
    run_to_end,
};
use palisade_proto::v1::{
    Answer, BindRequest, BindResponse, CheckRequest, CheckResponse, DescribeRequest, DescribeResponse,
    Handle, Header, HttpRequest, ListRequest, ListResponse, Outcome, Passage as Changes,
    gateways_server::Gateways,
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

mod introspection;

use super::{Api, call::Call, decode as read, encode};

/// What is asked about in place of a list where it is the resources themselves.
const READ: &str = "resources/read";

#[tonic::async_trait]
impl Gateways for Api {
    async fn describe(
        &self,
        request: Request<DescribeRequest>,
    ) -> Result<Response<DescribeResponse>, Status> {
        let call = Call::of(&request);
        let snapshot = self.pdp.snapshot();
        let resource = read::resource(&snapshot, &call, &request.into_inner().resource);
        let may_ask = |resource: &Arc<Resource>| {
            let pep = call.caller.0.as_ref().and_then(|name| snapshot.peps.by_name(name));
            pep.is_some_and(|pep| pep.may_ask(Surface::Gateway, &resource.name))
        };
        Ok(Response::new(
            resource.filter(may_ask).map(|found| described(&snapshot, &found)).unwrap_or_default(),
        ))
    }

    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let (pdp, call) = (Arc::clone(&self.pdp), Call::of(&request));
        let asked = request.into_inner();
        let answer = async move { check(&pdp, &call, asked).await };
        Ok(Response::new(run_to_end(answer, check_outage).await))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let (pdp, call) = (Arc::clone(&self.pdp), Call::of(&request));
        let asked = request.into_inner();
        let answer = async move { list(&pdp, &call, asked).await };
        Ok(Response::new(run_to_end(answer, list_outage).await))
    }

    async fn bind(&self, request: Request<BindRequest>) -> Result<Response<BindResponse>, Status> {
        let call = Call::of(&request);
        let asked = request.into_inner();
        let kind = match asked.handle() {
            Handle::Session => Some(HandleKind::Session),
            Handle::Task => Some(HandleKind::Task),
            Handle::Unspecified => None,
        };
        let snapshot = self.pdp.snapshot();
        let resource = read::resource(&snapshot, &call, &asked.resource);
        let bound = kind.and_then(|kind| {
            let handle = (kind, asked.id.as_str(), asked.tool.as_str());
            let name = resource.as_ref().map(|resource| &resource.name);
            self.pdp.bind(&snapshot, &call.caller, handle, name, &asked.ticket)
        });
        Ok(Response::new(BindResponse { id: bound.map(|handle| handle.text()).unwrap_or_default() }))
    }
}

fn described(snapshot: &Snapshot, resource: &Resource) -> DescribeResponse {
    DescribeResponse {
        resource: resource.name.as_str().to_owned(),
        identifier: resource.identifier.clone(),
        metadata_path: resource.metadata.path.clone(),
        metadata: resource.metadata.document.to_string(),
        origins: resource.cors_origins.iter().cloned().collect(),
        policy_revision: snapshot.revision.as_str().to_owned(),
    }
}

async fn check(pdp: &Pdp, call: &Call, asked: CheckRequest) -> CheckResponse {
    let snapshot = pdp.snapshot();
    let resource = read::resource(&snapshot, call, &asked.resource);
    let CheckRequest {
        request,
        body,
        truncated,
        rewrites_path,
        cuts_operations: cuts,
        answers_operations: answers,
        ..
    } = asked;
    let http = http_call(call, named(resource.as_deref(), &asked.resource), request.unwrap_or_default());
    let body = whole(body, http.declared_size, truncated);
    let http = HttpCall { body, rewrites_path, cuts, answers, ..http };
    let believed = believed(call, &snapshot);
    let decoded = decode(&http, &believed);
    if let Some((resource, origin)) = decoded.preflight(&http, &believed) {
        let answer = Some(told(answer::preflight(resource, origin)));
        return CheckResponse { answer, ..CheckResponse::default() };
    }
    let request = AccessRequest { request_id: call.request_id.clone(), ..decoded.request.clone() };
    let request = AccessRequest { trace: request.trace.or(call.trace), ..request };
    let (directives, cutting) = (decoded.directives(), decoded.cutting());
    let reader = (directives.as_deref(), cutting.as_deref());
    let started = Instant::now();
    let decided = pdp.decide_in_part(&snapshot, &request, reader, call.patience).await;
    let response = CheckResponse {
        decision_id: decided.id().to_string(),
        reason: decided.reason().as_str().to_owned(),
        policy_revision: snapshot.revision.as_str().to_owned(),
        ..CheckResponse::default()
    };
    let left = call.patience.saturating_sub(started.elapsed());
    let checking = Checking { pdp, snapshot: &snapshot, call, http: &http, decoded: &decoded, left };
    match &decided {
        Parted::Whole(decision) => {
            let response = CheckResponse { outcome: encode::outcome(decision).into(), ..response };
            checking.whole(decision, &request, response).await
        }
        Parted::InPart(part) => checking.in_part(part, response),
    }
}

/// A request that was decided on.
struct Checking<'a> {
    pdp: &'a Pdp,
    snapshot: &'a Arc<Snapshot>,
    call: &'a Call,
    http: &'a HttpCall,
    decoded: &'a Decoded,
    /// How long the caller still waits.
    left: Duration,
}

impl Checking<'_> {
    async fn whole(
        &self,
        decision: &Decision,
        request: &AccessRequest,
        response: CheckResponse,
    ) -> CheckResponse {
        match decision {
            Decision::Permit(permit) => match self.decoded.introspected(request) {
                Some(schema) => introspection::answered(self, permit, schema, response).await,
                None => self.passed(&Passage::from(permit), response),
            },
            Decision::Observed(observed) => self.passed(&Passage::from(observed), response),
            Decision::Deny(denial) => {
                let answer = Some(told(denial_answer(denial, self.http, self.decoded)));
                CheckResponse { answer, ..response }
            }
        }
    }

    /// What is left of an operation goes on in place of what came, and nothing else.
    fn in_part(&self, part: &InPart, response: CheckResponse) -> CheckResponse {
        let response = self.passed(&Passage::from(part), response);
        let changes = response.passage.map(|changes| Changes {
            body: Some(part.body().to_owned()),
            graphql_errors: Some(part.told().to_owned()),
            ..changes
        });
        CheckResponse { outcome: encode::in_part(part).into(), passage: changes, ..response }
    }

    /// The request goes on.
    fn passed(&self, passage: &Passage<'_>, response: CheckResponse) -> CheckResponse {
        let subject = passage.subject.entity();
        let resource = self.decoded.resource.as_ref();
        let ticket =
            resource.map(|found| self.pdp.ticket(self.snapshot, &self.call.caller, &found.name, &subject));
        CheckResponse {
            ticket: ticket.unwrap_or_default(),
            expires_at: encode::expires_at(passage.authority),
            passage: Some(changes(passage, self.http, self.decoded)),
            subject: Some(subject),
            ..response
        }
    }
}

async fn list(pdp: &Pdp, call: &Call, asked: ListRequest) -> ListResponse {
    let snapshot = pdp.snapshot();
    let resource = read::resource(&snapshot, call, &asked.resource);
    let ListRequest { request, list, entries, .. } = asked;
    let http = http_call(call, named(resource.as_deref(), &asked.resource), request.unwrap_or_default());
    let decoded = decode(&http, &believed(call, &snapshot));
    let names = entries.iter().map(String::as_str);
    let question = match Listing::of(&list) {
        Some(listing) => Some(list_question(&decoded, listing, names, None)),
        None => (list == READ).then(|| reads_question(&decoded, names)),
    };
    let (Some(question), Some(_known)) = (question, &decoded.resource) else {
        return ListResponse {
            reason: Reason::ResourceUnknown.as_str().to_owned(),
            answer: Some(told(outage())),
            outcome: Outcome::Deny.into(),
            ..ListResponse::default()
        };
    };
    match pdp.list(&snapshot, &question, call.patience).await {
        Listed::Shown { id, shown, observed: _ } => ListResponse {
            decision_id: id.to_string(),
            outcome: Outcome::Permit.into(),
            reason: Reason::Permitted.as_str().to_owned(),
            policy_revision: snapshot.revision.as_str().to_owned(),
            shown: (0_u32..).zip(shown).filter(|(_, shown)| *shown).map(|(place, _)| place).collect(),
            answer: None,
        },
        Listed::Refused(denial) => ListResponse {
            decision_id: denial.id.to_string(),
            outcome: Outcome::Deny.into(),
            reason: denial.reason.as_str().to_owned(),
            policy_revision: snapshot.revision.as_str().to_owned(),
            shown: Vec::new(),
            answer: Some(told(denial_answer(&denial, &http, &decoded))),
        },
    }
}

/// A resource by its name; an unknown name stays one.
fn named(resource: Option<&Resource>, asked: &str) -> Named {
    match resource {
        Some(resource) => Named::Name(resource.name.clone()),
        None => Named::Segment(asked.to_owned()),
    }
}

fn believed<'a>(call: &'a Call, snapshot: &'a Snapshot) -> Believed<'a> {
    let limits = &snapshot.limits;
    Believed::new(&call.caller, &snapshot.peps, &snapshot.resources, limits.body, limits.batch)
}

/// A request as a call, without its body.
fn http_call(call: &Call, named: Named, request: HttpRequest) -> HttpCall {
    let mut headers = Headers::default();
    for Header { name, value } in &request.headers {
        headers.push(name, String::from_utf8_lossy(value).into_owned());
    }
    HttpCall {
        surface: Surface::Gateway,
        named,
        declared_size: headers.only("content-length").and_then(|length| length.parse().ok()),
        method: request.method,
        scheme: request.scheme,
        host: request.host,
        target: request.path,
        headers,
        body: Body::Absent,
        source: request.client_address.parse().ok(),
        request_id: call.request_id.clone(),
        mcp: None,
        // A list has been asked for already.
        rewrites_path: true,
        cuts: false,
        answers: false,
        unusable: None,
    }
}

fn whole(body: Option<Vec<u8>>, declared_size: Option<u64>, truncated: bool) -> Body {
    Body::new(body.unwrap_or_default(), declared_size, truncated)
}

/// What a request must be changed to before it goes on.
fn changes(passage: &Passage<'_>, call: &HttpCall, decoded: &Decoded) -> Changes {
    let identity = passage.headers();
    let mut remove = passage.removals(&identity, &call.headers);
    let mut set: Vec<Header> = identity.into_iter().map(|(name, value)| header(name, &value)).collect();
    set.extend(passage.credential().map(|(name, value)| header(name, &value)));
    let handles = &decoded.request.handles;
    // There is one at most: what came twice was refused.
    let session = handles.iter().find(|handle| handle.kind == HandleKind::Session);
    set.extend(session.map(|session| header("mcp-session-id", &session.id)));
    let asked = decoded.request.asked.as_ref().ok();
    let task = asked.and_then(|asked| unbound_name(call, asked, handles));
    set.extend(task.map(|task| header("mcp-name", task)));
    remove.retain(|name| set.iter().all(|header| header.name != *name));
    let response = response_headers(passage, call);
    Changes {
        remove,
        set,
        response: response.iter().map(|(name, value)| header(name, value)).collect(),
        body: unbound_body(call, handles),
        path: decoded.target.clone(),
        graphql_errors: None,
    }
}

fn header(name: &str, value: &str) -> Header {
    Header { name: name.to_owned(), value: value.as_bytes().to_vec() }
}

fn told(answer: HttpAnswer) -> Answer {
    Answer {
        status: answer.status.into(),
        headers: answer.headers.iter().map(|(name, value)| header(name, value)).collect(),
        body: answer.body.into_bytes(),
    }
}

/// The answer where there is no decision, because this service failed.
fn check_outage() -> CheckResponse {
    CheckResponse {
        outcome: Outcome::Deny.into(),
        reason: Reason::InternalError.as_str().to_owned(),
        answer: Some(told(outage())),
        ..CheckResponse::default()
    }
}

fn list_outage() -> ListResponse {
    ListResponse {
        outcome: Outcome::Deny.into(),
        reason: Reason::InternalError.as_str().to_owned(),
        answer: Some(told(outage())),
        ..ListResponse::default()
    }
}
