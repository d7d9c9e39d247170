//! One decision without a service: `palisade decide`.
//!
//! The question goes the way of every request - the same token check, the same reading of messages, the same
//! [`Pdp::decide`] - with a decision log of its own, which is thrown away. What comes back is its record.

use std::{collections::BTreeSet, ops::ControlFlow, sync::Arc, time::Duration};

use palisade_audit::{
    AuditError, AuditLog, AuditSettings, DecisionRecord, Durability, OnFull, Record, query,
};
use palisade_front::wording::{Worded, Wording};
use palisade_model::{
    AccessRequest, Action, Asked, Clock, Credential, ExchangeName, Item, PepName, RawToken, Surface, Target,
    Timestamp,
};
use palisade_pdp::{
    AskedExchange, ClientIp, Pdp, PdpSettings, Pep, PepAuth, Peps, RequestFrom, Resource, ResourceFrom,
    Snapshot,
};
use serde_json::Value;
use thiserror::Error;

use crate::config::{self, build::Embedded, load::Loaded};

/// Who asks, on the record.
const OPERATOR: &str = "operator";
/// How long to wait for the keys of the issuers.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked.
#[derive(Debug)]
pub struct SingleQuestion {
    /// The resource's name in the configuration.
    pub resource: String,
    /// The token; none asks as nobody.
    pub token: Option<RawToken>,
    /// `tools/call`, or with kind http the method.
    pub action: String,
    /// The tool, prompt, URI or path.
    pub target: Option<String>,
    /// The arguments.
    pub input: Option<Value>,
    /// When it is asked; now where nothing else is said.
    pub at: Option<Timestamp>,
    /// Instead of an action: an exchange of the token, which is tried.
    pub exchange: Option<ExchangeName>,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum SingleError {
    /// The configuration, the policies or a catalogue are wrong.
    #[error(transparent)]
    Build(#[from] config::BuildError),
    /// There is no such resource.
    #[error("there is no resource `{name}`; the configuration has {known}")]
    Resource {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// There is no such exchange.
    #[error("there is no exchange `{name}`; the configuration has {known}")]
    Exchange {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The decision log of this one decision failed.
    #[error("the decision cannot be recorded in the folder for temporary files")]
    Folder(#[source] std::io::Error),
    /// The same.
    #[error("the decision cannot be recorded in the folder for temporary files")]
    Audit(#[from] AuditError),
    /// The same.
    #[error("the record of the decision cannot be read")]
    Query(#[from] query::QueryError),
    /// The decision has no record.
    #[error("the decision left no record")]
    NoRecord,
}

/// Decides one question.
///
/// # Errors
/// When it cannot be asked. A denial is no error.
pub async fn decide(
    loaded: &Loaded,
    clock: &Arc<dyn Clock>,
    question: SingleQuestion,
) -> Result<DecisionRecord, SingleError> {
    let mut snapshot = config::build::snapshot(loaded, &Embedded::default(), None, clock)?.snapshot;
    let Some(resource) = snapshot.resources.by_name(&question.resource).map(Arc::clone) else {
        let known: Vec<&str> = snapshot.resources.iter().map(|resource| resource.name.as_str()).collect();
        return Err(SingleError::Resource { name: question.resource, known: known.join(", ") });
    };
    if let Some(exchange) = question.exchange.as_ref().filter(|name| !snapshot.exchanges.contains_key(*name))
    {
        let known: Vec<&str> = snapshot.exchanges.keys().map(|name| name.as_str()).collect();
        return Err(SingleError::Exchange { name: exchange.to_string(), known: known.join(", ") });
    }
    let operator = operator(snapshot.exchanges.keys());
    let name = operator.as_ref().map(|pep| pep.name.clone());
    snapshot.peps = Peps::new(operator.map(|pep| (pep, PepAuth::Loopback)));
    // Nobody waits behind this question, and keys that were fetched a moment ago have cold caches.
    snapshot.limits.deadline = snapshot.limits.deadline.max(Duration::from_secs(2));
    let _refreshers = snapshot.verifier.start();
    if question.token.is_some() && !snapshot.verifier.wait_ready(PATIENCE).await {
        tracing::warn!("not every issuer's keys could be had within {} s", PATIENCE.as_secs());
    }
    let request = access_request(&question, &resource, name);
    let asked = question.exchange.map(|name| AskedExchange { name, scopes: None });
    record_of(
        snapshot,
        &request,
        asked,
        question.at.map_or_else(|| Arc::clone(clock), |at| Arc::new(Still(at))),
    )
    .await
}

async fn record_of(
    snapshot: Snapshot,
    request: &AccessRequest,
    exchange: Option<AskedExchange>,
    clock: Arc<dyn Clock>,
) -> Result<DecisionRecord, SingleError> {
    let folder = tempfile::tempdir().map_err(SingleError::Folder)?;
    let path = folder.path().join("audit");
    let settings = AuditSettings {
        path: path.clone(),
        durability: Durability::Written,
        on_full: OnFull::Deny,
        quota: AuditSettings::MIN_QUOTA,
        otlp: None,
    };
    let audit = AuditLog::open(settings, Arc::clone(&clock))?;
    let pdp = Pdp::new(PdpSettings { snapshot, audit, clock, most_concurrent: 1 });
    match exchange {
        // What is issued is thrown away: what is of interest is that it was, and how.
        Some(asked) => drop(pdp.exchange(&pdp.snapshot(), request, Some(&asked), Duration::MAX).await),
        None => drop(pdp.decide(&pdp.snapshot(), request).await),
    }
    pdp.audit().shutdown().await;
    let mut found = None;
    query::run(&path, &query::Filter::default(), |record| match record {
        Record::Decision(record) => {
            found = Some(*record);
            ControlFlow::Break(())
        }
        Record::Event(_) | Record::Segment(_) => ControlFlow::Continue(()),
    })?;
    found.ok_or(SingleError::NoRecord)
}

/// A caller that may ask about every resource. None only if its name were no name.
fn operator<'a>(exchanges: impl Iterator<Item = &'a ExchangeName>) -> Option<Pep> {
    Some(Pep {
        name: OPERATOR.parse().ok()?,
        surfaces: BTreeSet::from([Surface::Decide, Surface::Exchange]),
        resources: None,
        resource_from: ResourceFrom::Route,
        client_ip: ClientIp::Source,
        vouches: false,
        request_from: RequestFrom::Call,
        mcp_metadata: false,
        asserts: BTreeSet::new(),
        supplies: BTreeSet::new(),
        exchange: exchanges.cloned().collect(),
    })
}

fn access_request(question: &SingleQuestion, resource: &Resource, pep: Option<PepName>) -> AccessRequest {
    let exchange = question.exchange.as_ref().map(|name| Item {
        action: Action::exchange(),
        target: Target::audience(name),
        arguments: None,
        supplied: Default::default(),
        known: Default::default(),
        reply_to: None,
    });
    let wording = Wording {
        action: &question.action,
        target: question.target.as_deref(),
        arguments: question.input.as_ref(),
    };
    let surface = if exchange.is_some() { Surface::Exchange } else { Surface::Decide };
    let (asked, path) =
        match exchange.map_or_else(|| wording.read(resource), |item| Ok(Worded { item, path: None })) {
            Ok(Worded { item, path }) => (Ok(Asked::one(item)), path),
            Err(refusal) => (Err(refusal), None),
        };
    AccessRequest {
        pep,
        surface,
        resource: Some(resource.name.clone()),
        asked,
        sent: None,
        credential: question.token.clone().map_or(Credential::Absent, Credential::Token),
        handles: Vec::new(),
        client_ip: None,
        host: None,
        path,
        request_id: None,
        trace: None,
    }
}

/// A clock that stands still.
#[derive(Debug)]
struct Still(Timestamp);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        self.0
    }
}
