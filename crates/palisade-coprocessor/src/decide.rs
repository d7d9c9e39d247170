//! From a message to what the router is told.
//!
//! A caller that may not ask, and a message that cannot be read, is a recorded denial and an HTTP error. A stage with an
//! operation is decided by the path of every HTTP request; one with names of `@policy` and no operation, name by name; one with
//! neither only has its token looked at. Each of these leaves one record.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, Request, State},
    http::request::Parts,
    response::Response,
    routing::post,
};
use palisade_call::{Believed, Decoded, HttpCall, contract, decode, denial_answer, outage};
use palisade_model::{AccessRequest, Asked, Credential, Reason, Refusal, Surface};
use palisade_pdp::{Caller, Decision, Denial, Findings, Kind, Pdp, Proven, Resource, Snapshot, run_to_end};
use serde_json::{Map, Value};

use crate::{
    call, claims, grafbase,
    message::{self, Entry, Exchange, Message, Stage},
    names::{self, Names},
    reply::{self, Told},
};

/// How much a message may hold beside a body, which is escaped in it.
const BESIDE_BODY: usize = 256 * 1024;

/// The routes of the coprocessor. Grafbase's extension asks at `policy` below the URL that it is given; at `token` a router asks who
/// somebody is before it has an operation.
pub fn router(pdp: Arc<Pdp>) -> Router {
    let at = |entry| {
        post(move |State(pdp): State<Arc<Pdp>>, Path(resource): Path<String>, request: Request| {
            answer(pdp, entry, resource, request)
        })
    };
    Router::new()
        .route("/graphql/coprocessor/{resource}", at(Entry::Stages))
        .route("/graphql/coprocessor/{resource}/policy", at(Entry::Stages))
        .route("/graphql/coprocessor/{resource}/token", at(Entry::Token))
        .with_state(pdp)
}

async fn answer(pdp: Arc<Pdp>, entry: Entry, resource: String, request: Request) -> Response {
    let outage = || Told::Refused(outage());
    let decided = run_to_end(async move { decide(&pdp, entry, &resource, request).await }, outage).await;
    reply::response(decided)
}

async fn decide(pdp: &Pdp, entry: Entry, resource: &str, request: Request) -> Told {
    let snapshot = pdp.snapshot();
    let (parts, body) = request.into_parts();
    let caller = contract::caller(&parts.headers, parts.extensions.get());
    let resource = snapshot.resources.by_name(resource).cloned();
    let way = WayIn { pdp, snapshot: &snapshot, parts: &parts, caller };
    let Some(resource) = resource else {
        return way.refuse(None, Refusal::new(Reason::ResourceUnknown, "there is no such resource")).await;
    };
    // Before anything is taken in of a caller that may not ask.
    if !way.may_ask(&resource) {
        let refusal = Refusal::new(Reason::PepNotAllowed, "the caller may not ask this");
        return way.refuse(Some(&resource), refusal).await;
    }
    if resource.kind != Kind::Graphql {
        let refusal = Refusal::new(Reason::TargetUnknown, "the resource is no GraphQL API");
        return way.refuse(Some(&resource), refusal).await;
    }
    match way.read(entry, body).await {
        Err(refusal) => way.refuse(Some(&resource), refusal).await,
        Ok(Message::Names(names)) => way.names(&resource, &names).await,
        Ok(Message::Stage(exchange)) => way.stage(&resource, &exchange).await,
    }
}

/// A message's way in.
struct WayIn<'a> {
    pdp: &'a Pdp,
    snapshot: &'a Arc<Snapshot>,
    parts: &'a Parts,
    caller: Caller,
}

impl WayIn<'_> {
    async fn read(&self, entry: Entry, body: Body) -> Result<Message, Refusal> {
        contract::plain_json(&self.parts.headers)?;
        let most = self.snapshot.limits.body.saturating_mul(2).saturating_add(BESIDE_BODY);
        message::read(entry, to_bytes(body, most).await.ok().as_deref())
    }

    /// Records a refusal of the message itself.
    async fn refuse(&self, resource: Option<&Arc<Resource>>, refusal: Refusal) -> Told {
        let name = resource.map(|resource| resource.name.clone());
        let headers = &self.parts.headers;
        let request = contract::refused(Surface::Coprocessor, headers, &self.caller, name, refusal);
        match self.pdp.decide(self.snapshot, &request).await {
            Decision::Deny(denial) => Told::refused(&denial),
            // What asks for nothing has nothing permitted.
            Decision::Permit(_) | Decision::Observed(_) => Told::Refused(outage()),
        }
    }

    async fn stage(&self, resource: &Arc<Resource>, exchange: &Exchange) -> Told {
        match exchange.stage {
            Stage::Router | Stage::Operation | Stage::Execution => {
                match call::of_stage(exchange, resource, &self.parts.headers) {
                    Ok(call) => self.decide_stage(resource, exchange, &call).await,
                    Err(refusal) => self.refuse(Some(resource), refusal).await,
                }
            }
            Stage::Subgraph | Stage::Response => Told::Message(reply::pass(exchange), None),
        }
    }

    async fn decide_stage(&self, resource: &Arc<Resource>, exchange: &Exchange, call: &HttpCall) -> Told {
        let mut decoded = self.decode(call);
        let is_nobody = decoded.request.credential == Credential::Absent;
        if is_nobody && exchange.has_claims() {
            // Nothing that could be written in their place would make them go: they count by being there.
            let detail = "the context has claims, and no token came that would prove them";
            let refusal = Refusal::new(Reason::NoCredentials, detail);
            decoded.request.credential = Credential::Unusable(refusal.clone());
            return self.deny(exchange, call, decoded, refusal).await;
        }
        if exchange.body.is_some() {
            return self.operation(resource, exchange, call, decoded).await;
        }
        if let Some(names) = &exchange.names {
            return self.names_of_stage(resource, exchange, call, (decoded, names)).await;
        }
        match self.pdp.identify(self.snapshot, &decoded.request).await {
            Ok(found) => {
                Told::Message(reply::go_on(exchange, entries(exchange, found.proven())), Some(found.id()))
            }
            Err(denial) => ended(exchange, &denial, call, &decoded),
        }
    }

    /// Decides an operation whole.
    async fn operation(
        &self,
        resource: &Resource,
        exchange: &Exchange,
        call: &HttpCall,
        decoded: Decoded,
    ) -> Told {
        let are_known = match (&exchange.names, &decoded.request.asked) {
            (Some(names), Ok(asked)) => names::are_of(names, &resource.name, asked),
            (Some(_) | None, Ok(_) | Err(_)) => Ok(()),
        };
        if let Err(refusal) = are_known {
            return self.deny(exchange, call, decoded, refusal).await;
        }
        let directives = decoded.directives();
        let (decision, findings) = self
            .pdp
            .decide_whole(self.snapshot, &decoded.request, directives.as_deref(), Duration::MAX)
            .await;
        if let Decision::Deny(denial) = &decision {
            return ended(exchange, denial, call, &decoded);
        }
        let mut entries = entries(exchange, findings.proven());
        if let (Some(names), Ok(asked)) = (&exchange.names, &decoded.request.asked) {
            let granted = names::granted(asked, &findings).unwrap_or_default();
            let answer = names::answer(names, &granted, &resource.name);
            entries.insert(names.key.to_owned(), Value::Object(answer));
        }
        Told::Message(reply::go_on(exchange, entries), Some(decision.id()))
    }

    /// Decides the names that a router asks about, where it does not send the operation.
    async fn names_of_stage(
        &self,
        resource: &Resource,
        exchange: &Exchange,
        call: &HttpCall,
        (decoded, names): (Decoded, &Names),
    ) -> Told {
        let (decoded, decision, findings) = self.decide_names(resource, decoded, names.asked.keys()).await;
        let granted = decoded.request.asked.as_ref().ok().and_then(|asked| names::granted(asked, &findings));
        let granted = match (&decision, granted) {
            (Decision::Deny(denial), None) => return ended(exchange, denial, call, &decoded),
            (Decision::Permit(_) | Decision::Observed(_), None) => return Told::Refused(outage()),
            (Decision::Deny(_) | Decision::Permit(_) | Decision::Observed(_), Some(granted)) => granted,
        };
        // What was granted when the operation was planned cannot be taken out of it any more.
        let is_lost =
            |(name, before): (&String, &bool)| *before && !names::is_granted(&granted, &resource.name, name);
        if let Decision::Deny(denial) = &decision
            && exchange.stage == Stage::Execution
            && names.asked.iter().any(is_lost)
        {
            return ended(exchange, denial, call, &decoded);
        }
        let mut entries = entries(exchange, findings.proven());
        let answer = names::answer(names, &granted, &resource.name);
        entries.insert(names.key.to_owned(), Value::Object(answer));
        Told::Message(reply::go_on(exchange, entries), Some(decision.id()))
    }

    /// Decides the names that Grafbase asks about.
    async fn names(&self, resource: &Resource, names: &[String]) -> Told {
        let call = call::of_entry(resource, &self.parts.headers);
        let (decoded, decision, findings) =
            self.decide_names(resource, self.decode(&call), names.iter()).await;
        let granted = decoded.request.asked.as_ref().ok().and_then(|asked| names::granted(asked, &findings));
        match (&decision, granted) {
            (Decision::Deny(denial), None) if Told::is_of_router(denial.reason) => Told::refused(denial),
            (Decision::Deny(denial), None) => Told::Refused(denial_answer(denial, &call, &decoded)),
            (Decision::Permit(_) | Decision::Observed(_), None) => Told::Refused(outage()),
            (Decision::Deny(_) | Decision::Permit(_) | Decision::Observed(_), Some(granted)) => {
                let of = |name: &String| names::is_granted(&granted, &resource.name, name);
                let granted: Vec<bool> = names.iter().map(of).collect();
                Told::Message(grafbase::answer(&granted).to_string(), Some(decision.id()))
            }
        }
    }

    async fn decide_names<'n>(
        &self,
        resource: &Resource,
        decoded: Decoded,
        names: impl ExactSizeIterator<Item = &'n String>,
    ) -> (Decoded, Decision, Findings) {
        let asked = names::asked(self.snapshot, &resource.name, names);
        let decoded = asking(decoded, asked);
        let (decision, findings) =
            self.pdp.decide_and_explain(self.snapshot, &decoded.request, Duration::MAX).await;
        (decoded, decision, findings)
    }

    /// Denies the call for this reason, on the record.
    async fn deny(&self, exchange: &Exchange, call: &HttpCall, decoded: Decoded, refusal: Refusal) -> Told {
        let decoded = asking(decoded, Err(refusal));
        match self.pdp.decide(self.snapshot, &decoded.request).await {
            Decision::Deny(denial) => ended(exchange, &denial, call, &decoded),
            // What asks for nothing has nothing permitted.
            Decision::Permit(_) | Decision::Observed(_) => Told::Refused(outage()),
        }
    }

    fn decode(&self, call: &HttpCall) -> Decoded {
        let Snapshot { peps, resources, limits, .. } = self.snapshot.as_ref();
        decode(call, &Believed::new(&self.caller, peps, resources, limits.body, limits.batch))
    }

    fn may_ask(&self, resource: &Resource) -> bool {
        let pep = self.caller.0.as_ref().and_then(|name| self.snapshot.peps.by_name(name));
        pep.is_some_and(|pep| pep.may_ask(Surface::Coprocessor, &resource.name))
    }
}

/// The call, with something else asked of it than its operation.
fn asking(decoded: Decoded, asked: Result<Asked, Refusal>) -> Decoded {
    Decoded { request: AccessRequest { asked, ..decoded.request }, operations: None, ..decoded }
}

/// What the router takes over into its context of who is proven.
fn entries(exchange: &Exchange, proven: Option<&Proven>) -> Map<String, Value> {
    let Some(proven) = proven else { return Map::new() };
    exchange.claims_names().into_iter().map(|name| (name.to_owned(), claims::of(proven))).collect()
}

/// A denial, as the client is told of it; one that is about the router is for the router alone.
fn ended(exchange: &Exchange, denial: &Denial, call: &HttpCall, decoded: &Decoded) -> Told {
    if Told::is_of_router(denial.reason) {
        return Told::refused(denial);
    }
    let answer = denial_answer(denial, call, decoded);
    Told::Message(reply::end(exchange, &answer, denial.id), Some(denial.id))
}
