//! Questions as messages of `palisade.v1`, and answers read from them.
//!
//! This is no interface for callers: it is here so that a decision point in the same process reads and writes by the same
//! code as the client. An answer is read strictly. One that lacks what every answer has, or says two things at once, is
//! [`Unreadable`] and so no answer at all.

use std::time::Duration;

use palisade_model::{DecisionId, PolicyRevision, Timestamp};
use palisade_proto::v1;
use tonic::metadata::{Ascii, MetadataValue};

use crate::{
    Batch, BatchDecision, Decision, Denial, Explanation, Item, ItemDecision, ItemOutcome, NearPermit,
    NoAnswer, Observed, Outcome, Permit, PolicyFailure, PolicyRef, Presentation, Question, ReasonCode,
    StepUp, Verification, question::Beside,
};

/// The longest that an answer is waited for.
pub(crate) const LONGEST: Duration = Duration::from_secs(3_600);

/// What of an answer cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable(pub &'static str);

impl Unreadable {
    /// That there is no answer of an endpoint.
    #[must_use]
    pub fn of(self, endpoint: &str) -> NoAnswer {
        NoAnswer::Unreadable { endpoint: endpoint.to_owned(), what: self.0 }
    }
}

/// A question that has a message, and an answer that is read from one.
pub trait Asked: Sync {
    /// The message that asks.
    type Message: Clone + Send + Sync + 'static;
    /// The message that answers.
    type Reply: Send + 'static;
    /// The answer.
    type Answer: Send;

    /// The question as a message.
    fn message(&self) -> Self::Message;

    /// Reads the answer.
    ///
    /// # Errors
    /// When it is not one that can be acted on.
    fn read(&self, reply: Self::Reply) -> Result<Self::Answer, Unreadable>;

    /// How long the answer may take, where the question says so.
    fn deadline(&self) -> Option<Duration>;

    /// The call of a message, whose answer is waited for so long.
    ///
    /// # Errors
    /// When what comes beside it cannot be sent.
    fn call(&self, message: Self::Message, left: Duration)
    -> Result<tonic::Request<Self::Message>, NoAnswer>;
}

macro_rules! asked_beside {
    () => {
        fn deadline(&self) -> Option<Duration> {
            self.beside.deadline.map(|deadline| deadline.min(LONGEST))
        }

        fn call(
            &self,
            message: Self::Message,
            left: Duration,
        ) -> Result<tonic::Request<Self::Message>, NoAnswer> {
            call(message, &self.beside, left)
        }
    };
}

mod exchange;
mod gateway;
mod search;

impl Asked for Question {
    type Message = v1::DecideRequest;
    type Reply = v1::DecideResponse;
    type Answer = Decision;

    fn message(&self) -> v1::DecideRequest {
        v1::DecideRequest {
            resource: self.resource.clone(),
            token: self.token.as_ref().map(|token| token.expose().to_owned()),
            item: Some(item(&self.item)),
            explain: self.explain,
        }
    }

    fn read(&self, reply: v1::DecideResponse) -> Result<Decision, Unreadable> {
        decision(reply)
    }

    asked_beside!();
}

impl Asked for Batch {
    type Message = v1::DecideBatchRequest;
    type Reply = v1::DecideBatchResponse;
    type Answer = BatchDecision;

    fn message(&self) -> v1::DecideBatchRequest {
        v1::DecideBatchRequest {
            resource: self.resource.clone(),
            token: self.token.as_ref().map(|token| token.expose().to_owned()),
            items: self.items.iter().map(item).collect(),
            explain: self.explain,
        }
    }

    fn read(&self, reply: v1::DecideBatchResponse) -> Result<BatchDecision, Unreadable> {
        batch(reply, self.items.len())
    }

    asked_beside!();
}

impl Asked for Presentation {
    type Message = v1::VerifyRequest;
    type Reply = v1::VerifyResponse;
    type Answer = Verification;

    fn message(&self) -> v1::VerifyRequest {
        v1::VerifyRequest { resource: self.resource.clone(), token: self.token.expose().to_owned() }
    }

    fn read(&self, reply: v1::VerifyResponse) -> Result<Verification, Unreadable> {
        verification(reply)
    }

    asked_beside!();
}

fn call<T>(message: T, beside: &Beside, left: Duration) -> Result<tonic::Request<T>, NoAnswer> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(left);
    for (name, what, value) in [
        ("x-request-id", "the request id", &beside.request_id),
        ("traceparent", "the trace", &beside.traceparent),
    ] {
        if let Some(value) = value {
            let value: MetadataValue<Ascii> = value.parse().map_err(|_| NoAnswer::Unsendable { what })?;
            request.metadata_mut().insert(name, value);
        }
    }
    Ok(request)
}

fn item(item: &Item) -> v1::Item {
    let Item { action, target, arguments } = item.clone();
    v1::Item { action, target, arguments }
}

fn decision(reply: v1::DecideResponse) -> Result<Decision, Unreadable> {
    let said = reply.outcome();
    let id = decision_id(&reply.decision_id)?;
    let outcome = match said {
        v1::Outcome::Permit => Outcome::Permit(permit(&reply)?),
        v1::Outcome::StepUp => match step_up(reply.step_up)? {
            Some(step_up) => Outcome::StepUp(step_up),
            None => Outcome::Deny(Denial { policy_code: reply.policy_code }),
        },
        v1::Outcome::Deny => Outcome::Deny(Denial { policy_code: reply.policy_code }),
        v1::Outcome::Observed => Outcome::Observed(Observed {
            subject: reply.subject.unwrap_or_default(),
            would_be: ReasonCode(reply.would_be.unwrap_or_default()),
            policy_code: reply.policy_code,
        }),
        v1::Outcome::Unspecified => return Err(Unreadable("it names no outcome that is known here")),
    };
    Ok(Decision {
        outcome,
        reason: ReasonCode(reply.reason),
        id,
        policy_revision: revision(reply.policy_revision),
        explanation: reply.explanation.map(explanation),
        remembered: false,
    })
}

/// The id of a decision; none where a service failed before there was one.
fn decision_id(text: &str) -> Result<Option<DecisionId>, Unreadable> {
    match text {
        "" => Ok(None),
        id => id.parse().map(Some).map_err(|_| Unreadable("the id of the decision is none")),
    }
}

fn revision(text: String) -> Option<PolicyRevision> {
    Some(text).filter(|text| !text.is_empty()).map(Into::into)
}

/// A permit says who it is for and where it is recorded, or it is none.
fn permit(reply: &v1::DecideResponse) -> Result<Permit, Unreadable> {
    if reply.decision_id.is_empty() {
        return Err(Unreadable("a permit has no record"));
    }
    let subject = reply.subject.clone().ok_or(Unreadable("a permit has no subject"))?;
    Ok(Permit {
        subject,
        obligations: reply.obligations.clone(),
        advice: reply.advice.clone(),
        expires_at: reply.expires_at.map(timestamp),
    })
}

fn step_up(step_up: Option<v1::StepUp>) -> Result<Option<StepUp>, Unreadable> {
    let Some(v1::StepUp { missing_scopes, scopes, acr_values, max_age }) = step_up else { return Ok(None) };
    if !scopes.is_empty() {
        return Ok(Some(StepUp::Scopes { missing: missing_scopes, ask_for: scopes }));
    }
    let max_age =
        max_age.map(Duration::try_from).transpose().map_err(|_| Unreadable("an age is negative"))?;
    Ok((!acr_values.is_empty() || max_age.is_some())
        .then_some(StepUp::Authentication { acr_values, max_age }))
}

fn batch(reply: v1::DecideBatchResponse, asked: usize) -> Result<BatchDecision, Unreadable> {
    let v1::DecideBatchResponse {
        decision_id,
        outcome,
        reason,
        subject,
        policy_code,
        step_up,
        items,
        policy_revision,
        explanation,
        would_be,
        expires_at,
    } = reply;
    // The failure of a service has no record and decides no item.
    let failed = decision_id.is_empty() && items.is_empty();
    if items.len() != asked && !failed {
        return Err(Unreadable("it decides other items than were asked about"));
    }
    let all = |of: fn(&v1::ItemOutcome) -> &Vec<String>| items.iter().flat_map(of).cloned().collect();
    let whole = decision(v1::DecideResponse {
        obligations: all(|item| &item.obligations),
        advice: all(|item| &item.advice),
        decision_id,
        outcome,
        reason,
        subject,
        policy_code,
        step_up,
        policy_revision,
        explanation,
        would_be,
        expires_at,
    })?;
    let mut items = items.into_iter().map(item_decision).collect::<Result<Vec<_>, _>>()?;
    if failed {
        let denied = ItemDecision {
            outcome: ItemOutcome::Deny(Denial { policy_code: None }),
            reason: whole.reason.clone(),
            determining: Vec::new(),
        };
        items = vec![denied; asked];
    }
    let all_permitted = items.iter().all(|item| matches!(item.outcome, ItemOutcome::Permit { .. }));
    if whole.permit().is_some() && (items.is_empty() || !all_permitted) {
        return Err(Unreadable("it permits the whole and not its items"));
    }
    Ok(BatchDecision { whole, items })
}

fn item_decision(item: v1::ItemOutcome) -> Result<ItemDecision, Unreadable> {
    let said = item.outcome();
    let denial = Denial { policy_code: item.policy_code };
    let outcome = match said {
        v1::Outcome::Permit => ItemOutcome::Permit { obligations: item.obligations, advice: item.advice },
        v1::Outcome::Deny | v1::Outcome::StepUp => ItemOutcome::Deny(denial),
        v1::Outcome::Observed => ItemOutcome::Observed(denial),
        v1::Outcome::Unspecified => return Err(Unreadable("an item has no outcome that is known here")),
    };
    let determining = item.determining_policies.into_iter().map(policy).collect();
    Ok(ItemDecision { outcome, reason: ReasonCode(item.reason), determining })
}

fn verification(reply: v1::VerifyResponse) -> Result<Verification, Unreadable> {
    let v1::VerifyResponse { accepted, reason, subject, scopes, expires_at } = reply;
    match (accepted, reason, subject) {
        (true, None, Some(subject)) => {
            Ok(Verification::Accepted { subject, scopes, expires_at: expires_at.map(timestamp) })
        }
        (false, Some(reason), _) => Ok(Verification::Refused(ReasonCode(reason))),
        (true, _, _) => Err(Unreadable("an accepted token has no subject, or a reason against it")),
        (false, None, _) => Err(Unreadable("a refused token has no reason")),
    }
}

fn explanation(told: v1::Explanation) -> Explanation {
    let failure = |failure: v1::PolicyFailure| PolicyFailure {
        policy: policy(failure.policy.unwrap_or_default()),
        message: failure.message,
    };
    let near = |near: v1::NearPermit| NearPermit {
        policy: policy(near.policy.unwrap_or_default()),
        failed: near.failed,
    };
    Explanation {
        detail: told.detail,
        determining: told.determining_policies.into_iter().map(policy).collect(),
        errors: told.policy_errors.into_iter().map(failure).collect(),
        nearest: told.nearest_permits.into_iter().map(near).collect(),
    }
}

fn policy(policy: v1::Policy) -> PolicyRef {
    let v1::Policy { id, file, line } = policy;
    PolicyRef { id, file, line }
}

fn timestamp(time: prost_types::Timestamp) -> Timestamp {
    let micros = i64::from(time.nanos / 1_000);
    Timestamp::from_unix_micros(time.seconds.saturating_mul(1_000_000).saturating_add(micros))
}

#[cfg(test)]
mod tests;
