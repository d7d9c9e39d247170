//! `/access/v1/evaluation` and `/access/v1/evaluations`.
//!
//! Every question is a decision and a record of its own, also in a batch: their subjects may differ. All of a batch use
//! one snapshot and share one deadline. What is no question is recorded as a refusal and answered as one.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use palisade_model::{AccessRequest, Asked, Credential, Reason, Refusal, Surface};
use palisade_pdp::{Decision, Findings, Pdp, Snapshot};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    encode::{self, Answer},
    entities::Words,
    http::Call,
    message::{Evaluation, Evaluations, Malformed, Semantic},
};

/// What one request decides with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Desk<'a> {
    pub(crate) pdp: &'a Pdp,
    pub(crate) snapshot: &'a Arc<Snapshot>,
    pub(crate) call: &'a Call,
    /// By when the whole request is to be decided.
    pub(crate) deadline: Instant,
}

impl<'a> Desk<'a> {
    pub(crate) fn words(&self) -> Words<'a> {
        let pep = self.call.pep.as_ref().and_then(|name| self.snapshot.peps.by_name(name));
        Words { snapshot: self.snapshot, pep }
    }

    /// How long is left.
    pub(crate) fn patience(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    async fn decide(&self, request: &AccessRequest) -> (Decision, Findings) {
        self.pdp.decide_and_explain(self.snapshot, request, self.patience()).await
    }

    /// A question that was asked.
    fn question(&self, evaluation: &Evaluation) -> AccessRequest {
        let words = self.words();
        let named = &evaluation.resource;
        let resource = words.resource(&named.type_name, &named.id).map(AsRef::as_ref);
        AccessRequest {
            credential: Credential::AssertedByPep(words.subject(&evaluation.subject, resource)),
            asked: Ok(Asked::one(words.item(Some(&evaluation.action), named, resource))),
            sent: evaluation.context.clone(),
            resource: resource.map(|resource| resource.name.clone()),
            ..self.unreadable("")
        }
    }

    /// A question that cannot be read.
    pub(crate) fn unreadable(&self, why: &str) -> AccessRequest {
        let refusal = Refusal::new(Reason::RequestMalformed, why);
        AccessRequest {
            pep: self.call.pep.clone(),
            surface: Surface::Authzen,
            resource: self.words().only_resource().map(|resource| resource.name.clone()),
            credential: Credential::Unusable(refusal.clone()),
            asked: Err(refusal),
            sent: None,
            handles: Vec::new(),
            client_ip: None,
            host: None,
            path: None,
            request_id: self.call.recorded_id(),
            trace: self.call.trace,
        }
    }

    /// Records a message that cannot be read, and says what is wrong with it, to a caller who may ask at all.
    pub(crate) async fn refuse(&self, Malformed(why): &Malformed) -> Answer {
        let (decision, _) = self.decide(&self.unreadable(why)).await;
        let id = Some(decision.id());
        let reason = decision.reason();
        let of_the_caller = matches!(reason, Reason::PepUnauthenticated | Reason::PepNotAllowed);
        match encode::trouble(reason).filter(|_| of_the_caller) {
            Some((status, words)) => Answer::error(status, words, id),
            None => Answer::error(400, why, id),
        }
    }

    /// One evaluation.
    pub(crate) async fn evaluate(&self, read: Result<Evaluation, Malformed>) -> Answer {
        let evaluation = match read {
            Ok(evaluation) => evaluation,
            Err(malformed) => return self.refuse(&malformed).await,
        };
        let (decision, findings) = self.decide(&self.question(&evaluation)).await;
        let id = Some(decision.id());
        match encode::trouble(decision.reason()) {
            Some((status, words)) => Answer::of_denial(status, words, &decision),
            None => Answer::of(encode::decided(&decision, &findings).to_string(), id),
        }
    }

    /// Several evaluations.
    pub(crate) async fn evaluate_several(&self, read: Result<Evaluations, Malformed>) -> Answer {
        let (items, semantic) = match read {
            Ok(Evaluations::One(one)) => return self.evaluate(Ok(*one)).await,
            Ok(Evaluations::Several(items, semantic)) => (items, semantic),
            Err(malformed) => return self.refuse(&malformed).await,
        };
        let mut answered = match semantic {
            // Together, so that their records are written together.
            Semantic::ExecuteAll => join_all(items.iter().map(|item| self.item(item))).await,
            Semantic::DenyOnFirstDeny => self.until(&items, false).await,
            Semantic::PermitOnFirstPermit => self.until(&items, true).await,
        };
        // The caller is the same for all of them.
        if let Some(refused) = answered.iter().find_map(|item| item.whole.as_ref()) {
            return Answer::error(refused.0, refused.1, None);
        }
        let evaluations: Vec<Value> = answered.drain(..).map(|item| item.written).collect();
        Answer::of(json!({ "evaluations": evaluations }).to_string(), None)
    }

    /// The items in order up to the first that comes out like this.
    async fn until(&self, items: &[Result<Evaluation, Malformed>], trigger: bool) -> Vec<Item> {
        let mut answered = Vec::new();
        for item in items {
            let item = self.item(item).await;
            let ends = item.permitted == trigger;
            answered.push(item);
            if ends {
                break;
            }
        }
        answered
    }

    async fn item(&self, item: &Result<Evaluation, Malformed>) -> Item {
        let request = match item {
            Ok(evaluation) => self.question(evaluation),
            Err(Malformed(why)) => self.unreadable(why),
        };
        let (decision, findings) = self.decide(&request).await;
        let trouble = encode::trouble(decision.reason());
        let may_ask = self.words().pep.is_some_and(|pep| pep.surfaces.contains(&Surface::Authzen));
        let whole = trouble.filter(|_| !may_ask);
        let (written, permitted) = match (item, trouble) {
            (Err(Malformed(why)), _) => (encode::failed(400, why, decision.id()), false),
            (Ok(_), Some((status, words))) => (encode::failed(status, words, decision.id()), false),
            (Ok(_), None) => {
                let let_by = matches!(decision, Decision::Permit(_) | Decision::Observed(_));
                (encode::decided(&decision, &findings), let_by)
            }
        };
        Item { written, permitted, whole }
    }
}

/// An answered item of a batch.
struct Item {
    written: Value,
    permitted: bool,
    /// Why there is no answer at all.
    whole: Option<(u16, &'static str)>,
}
