//! GraphQL introspection that is permitted, answered in place of the server with what its caller may see.

use palisade_call::{Introspected, Passage, denial_answer, outage, response_headers};
use palisade_model::Reason;
use palisade_pdp::{Granted, Listed, Permit, answer::Answer};
use palisade_proto::v1::{CheckResponse, Outcome};

use super::{Checking, told};

/// The largest answer, in bytes. What is larger is not told: it is better asked for type by type (`__type`).
const MOST_ANSWER: usize = 16 * 1024 * 1024;
/// The form of an answer for who asks for it (GraphQL over HTTP, section 6.4), and that of everybody else.
const OWN_FORM: &str = "application/graphql-response+json";
const JSON: &str = "application/json";

/// The answer to an operation that is permitted. A resource under observation is asked itself.
pub(super) async fn answered(
    checking: &Checking<'_>,
    permit: &Permit,
    schema: &Introspected<'_>,
    response: CheckResponse,
) -> CheckResponse {
    let Checking { pdp, snapshot, call, http, decoded } = checking;
    let passage = Passage::from(permit);
    let narrowing = |granted: &Granted<'_>| schema.shown(granted);
    let listed = pdp.list_read(snapshot, &schema.question, Some(&narrowing), call.patience).await;
    let shown = match listed {
        Listed::Shown { observed: true, .. } => return checking.passed(&passage, response),
        Listed::Shown { shown, .. } => shown,
        Listed::Refused(denial) => {
            return CheckResponse {
                decision_id: denial.id.to_string(),
                outcome: Outcome::Deny.into(),
                reason: denial.reason.as_str().to_owned(),
                answer: Some(told(denial_answer(&denial, http, decoded))),
                ..response
            };
        }
    };
    match schema.answer(&shown) {
        Ok(body) if body.len() <= MOST_ANSWER => {
            let mut headers = response_headers(&passage, http);
            let accepts = http.headers.all("accept").iter().any(|value| value.contains(OWN_FORM));
            let form = if accepts { OWN_FORM } else { JSON };
            headers.extend(
                [("content-type", form), ("cache-control", "no-store")]
                    .map(|(name, value)| (name, value.to_owned())),
            );
            let answer = Answer { status: 200, headers, body };
            CheckResponse { outcome: Outcome::Answered.into(), answer: Some(told(answer)), ..response }
        }
        Ok(body) => {
            tracing::error!(
                bytes = body.len(),
                most = MOST_ANSWER,
                "the answer to introspection is too large to be told"
            );
            unanswered(response)
        }
        Err(refusal) => {
            tracing::error!(detail = refusal.detail, "introspection is not answered");
            unanswered(response)
        }
    }
}

/// The operation is permitted, and there is nothing to tell.
fn unanswered(response: CheckResponse) -> CheckResponse {
    CheckResponse {
        outcome: Outcome::Deny.into(),
        reason: Reason::InternalError.as_str().to_owned(),
        answer: Some(told(outage())),
        ..response
    }
}
