//! A decision as an answer: exhaustive over [`Decision`], and the place that says what a caller may learn.
//!
//! `OUTCOME_PERMIT` is written in [`outcome`] from a permit, and in [`item`] from an item that the decision point says
//! is permitted. What the policies said is told where it was asked for, and only to the callers of this API, which are
//! configured to be.

use palisade_model::{Authority, PolicyRevision, Reason, Refusal, Timestamp};
use palisade_pdp::{Decision, Denial, Finding, Findings, InPart, ItemOutcome as Passed, Remedy, Upstream};
use palisade_policy::{PolicyRef, Verdict};
use palisade_proto::v1::{
    DecideBatchResponse, DecideResponse, ExchangeResponse, Explanation, ItemOutcome, NearPermit, Outcome,
    Policy, PolicyFailure, StepUp, VerifyResponse,
};
use palisade_token::VerifiedToken;

/// The answer to one item; of a batch, the part that is about the whole.
pub(super) fn decided(
    decision: &Decision,
    findings: &Findings,
    revision: &PolicyRevision,
    explain: bool,
) -> DecideResponse {
    let mut answer = DecideResponse {
        decision_id: decision.id().to_string(),
        outcome: outcome(decision).into(),
        reason: decision.reason().as_str().to_owned(),
        policy_revision: revision.as_str().to_owned(),
        explanation: explain.then(|| explanation(findings)),
        ..DecideResponse::default()
    };
    match decision {
        Decision::Permit(permit) => {
            answer.subject = Some(permit.subject().entity());
            answer.expires_at = expires_at(permit.authority().map(AsRef::as_ref));
            let verdicts = || findings.items().map(|finding| finding.verdict);
            answer.obligations = verdicts().flat_map(Verdict::obligations).cloned().collect();
            answer.advice = verdicts().flat_map(Verdict::advice).cloned().collect();
        }
        Decision::Observed(observed) => {
            answer.subject = Some(observed.subject().entity());
            answer.expires_at = expires_at(observed.authority().map(AsRef::as_ref));
            answer.policy_code = findings.deciding().and_then(Verdict::policy_code).map(str::to_owned);
            answer.would_be = Some(observed.would_be().as_str().to_owned());
        }
        Decision::Deny(denial) => {
            answer.policy_code.clone_from(&denial.policy_code);
            answer.step_up = step_up(denial, findings).filter(|_| is_step_up(denial.reason));
        }
    }
    answer
}

/// The answer to a batch: what is said of the whole, and each of so many items.
pub(super) fn batch(
    whole: DecideResponse,
    findings: &Findings,
    asked: usize,
    explain: bool,
) -> DecideBatchResponse {
    let DecideResponse { decision_id, outcome, reason, subject, policy_code, step_up, .. } = whole;
    let mut items: Vec<ItemOutcome> = findings.items().map(|finding| item(&finding, explain)).collect();
    if items.len() != asked {
        let denied =
            ItemOutcome { outcome: Outcome::Deny.into(), reason: reason.clone(), ..ItemOutcome::default() };
        items = vec![denied; asked];
    }
    DecideBatchResponse {
        decision_id,
        outcome,
        reason,
        subject,
        policy_code,
        step_up,
        items,
        policy_revision: whole.policy_revision,
        explanation: whole.explanation,
        would_be: whole.would_be,
        expires_at: whole.expires_at,
    }
}

/// The answer where there is no decision, because this service failed.
pub(super) fn outage() -> DecideResponse {
    DecideResponse {
        outcome: Outcome::Deny.into(),
        reason: Reason::InternalError.as_str().to_owned(),
        ..DecideResponse::default()
    }
}

/// The same for a batch: none of its items came out as anything.
pub(super) fn batch_outage() -> DecideBatchResponse {
    batch(outage(), &Findings::default(), 0, false)
}

/// The answer to the presentation of a token.
pub(super) fn verified(verified: &Result<VerifiedToken, Refusal>) -> VerifyResponse {
    match verified {
        Err(refusal) => {
            VerifyResponse { reason: Some(refusal.reason.as_str().to_owned()), ..VerifyResponse::default() }
        }
        Ok(token) => {
            let authority = token.authority();
            VerifyResponse {
                accepted: true,
                reason: None,
                subject: Some(token.subject().entity()),
                scopes: authority.scopes.iter().map(ToString::to_string).collect(),
                expires_at: Some(timestamp(authority.expires_at)),
            }
        }
    }
}

/// When the token ends, where one came.
pub(super) fn expires_at(authority: Option<&Authority>) -> Option<prost_types::Timestamp> {
    let end = authority.map(|authority| authority.expires_at);
    end.filter(|end| *end != Timestamp::NEVER).map(timestamp)
}

fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.unix_seconds(),
        nanos: i32::try_from(time.subsec_nanos()).unwrap_or_default(),
    }
}

/// The answer to a request for a token.
///
/// INVARIANT: the only place that writes a token, and it takes it from a permit.
pub(super) fn exchanged(decision: &Decision, revision: &PolicyRevision) -> ExchangeResponse {
    let mut answer = ExchangeResponse {
        decision_id: decision.id().to_string(),
        outcome: Outcome::Deny.into(),
        reason: decision.reason().as_str().to_owned(),
        policy_revision: revision.as_str().to_owned(),
        ..ExchangeResponse::default()
    };
    match decision {
        Decision::Permit(permit) => {
            if let Upstream::Exchanged(issued) = permit.upstream() {
                answer.outcome = outcome(decision).into();
                answer.access_token = Some(issued.token.as_str().to_owned());
                answer.scopes = issued.scopes.iter().map(ToString::to_string).collect();
                answer.expires_at = Some(timestamp(issued.good_until));
            }
        }
        // No exchange is let by that is not permitted.
        Decision::Observed(_) => {}
        Decision::Deny(denial) => {
            answer.claims = match &denial.remedy {
                Remedy::Claims(claims) => Some(claims.clone()),
                Remedy::None | Remedy::Scopes(_) | Remedy::Authentication { .. } => None,
            };
            let seconds = denial.retry_after.map(|after| after.as_millis().div_ceil(1_000));
            answer.retry_after = seconds.and_then(|seconds| seconds.try_into().ok());
        }
    }
    answer
}

/// The same where there is no decision, because this service failed.
pub(super) fn exchange_outage() -> ExchangeResponse {
    ExchangeResponse {
        outcome: Outcome::Deny.into(),
        reason: Reason::InternalError.as_str().to_owned(),
        ..ExchangeResponse::default()
    }
}

pub(super) fn outcome(decision: &Decision) -> Outcome {
    match decision {
        Decision::Permit(_) => Outcome::Permit,
        Decision::Observed(_) => Outcome::Observed,
        Decision::Deny(denial) if is_step_up(denial.reason) => Outcome::StepUp,
        Decision::Deny(_) => Outcome::Deny,
    }
}

/// The same for what is left of an operation, which goes on in place of what came.
pub(super) const fn in_part(_permit: &InPart) -> Outcome {
    Outcome::Permit
}

/// Whether a stronger token would be permitted.
const fn is_step_up(reason: Reason) -> bool {
    matches!(reason, Reason::InsufficientScope | Reason::InsufficientUserAuthentication)
}

fn item(finding: &Finding<'_>, explain: bool) -> ItemOutcome {
    let verdict = finding.verdict;
    let mut item = ItemOutcome {
        outcome: match finding.outcome {
            Passed::Permit => Outcome::Permit,
            Passed::Observed => Outcome::Observed,
            Passed::Deny => Outcome::Deny,
        }
        .into(),
        reason: verdict.reason().as_str().to_owned(),
        policy_code: verdict.policy_code().map(str::to_owned),
        ..ItemOutcome::default()
    };
    if finding.outcome == Passed::Permit {
        item.obligations = verdict.obligations().to_vec();
        item.advice = verdict.advice().to_vec();
    }
    if explain {
        item.determining_policies = verdict.determining().iter().map(policy).collect();
    }
    item
}

fn step_up(denial: &Denial, findings: &Findings) -> Option<StepUp> {
    match &denial.remedy {
        Remedy::None | Remedy::Claims(_) => None,
        Remedy::Scopes(scopes) => {
            let prefix = denial.resource.as_ref().map_or("", |resource| &resource.scopes.request_prefix);
            Some(StepUp {
                missing_scopes: findings.missing_scopes().iter().map(ToString::to_string).collect(),
                scopes: scopes.iter().map(|scope| format!("{prefix}{scope}")).collect(),
                ..StepUp::default()
            })
        }
        Remedy::Authentication { acr_values, max_age } => Some(StepUp {
            acr_values: acr_values.clone(),
            max_age: max_age.and_then(|age| age.try_into().ok()),
            ..StepUp::default()
        }),
    }
}

fn explanation(findings: &Findings) -> Explanation {
    let verdict = findings.deciding();
    let failures = verdict.map(Verdict::errors).unwrap_or_default();
    let nearest = findings.nearest().iter();
    Explanation {
        detail: findings.detail().map(str::to_owned),
        determining_policies: verdict
            .map(Verdict::determining)
            .unwrap_or_default()
            .iter()
            .map(policy)
            .collect(),
        policy_errors: failures
            .iter()
            .map(|failure| PolicyFailure {
                policy: Some(policy(&failure.policy)),
                message: failure.message.clone(),
            })
            .collect(),
        nearest_permits: nearest
            .map(|near| NearPermit { policy: Some(policy(&near.policy)), failed: near.failed.clone() })
            .collect(),
    }
}

fn policy(policy: &PolicyRef) -> Policy {
    Policy {
        id: policy.id.clone(),
        file: policy.file.clone(),
        line: u32::try_from(policy.line).unwrap_or(u32::MAX),
    }
}
