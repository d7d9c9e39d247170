//! GraphQL introspection that is permitted, answered in place of the server with what its caller may see.

use std::time::Duration;

use palisade_call::{Introspected, Passage, denial_answer, outage, response_headers};
use palisade_model::{Reason, Refusal};
use palisade_pdp::{Granted, Listed, Permit, answer::Answer};
use palisade_proto::v1::{CheckResponse, Outcome};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use super::{Checking, told};

/// The largest answer, in bytes. What is larger is not told: it is better asked for type by type (`__type`).
const MOST_ANSWER: usize = 16 * 1024 * 1024;
/// The longest that an answer is waited for, where its caller waits so long: one of 10,000 fields takes an eighth of a second.
const LONGEST: Duration = Duration::from_secs(5);
/// The form of an answer for who asks for it (GraphQL over HTTP, section 6.4), and that of everybody else.
const OWN_FORM: &str = "application/graphql-response+json";
const JSON: &str = "application/json";

/// One answer at a time is made: it may be as large as a schema, and takes a processor while it is.
static MAKING: Semaphore = Semaphore::const_new(1);
/// So many wait for that, the one that is made among them; one more is told that too much is under way.
static WAITING: Semaphore = Semaphore::const_new(8);
/// What is left of the time of who waits, for the answer to get there.
const WAY: Duration = Duration::from_millis(50);

/// The answer to an operation that is permitted. A resource under observation is asked itself.
pub(super) async fn answered(
    checking: &Checking<'_>,
    permit: &Permit,
    mut schema: Introspected,
    response: CheckResponse,
) -> CheckResponse {
    let Checking { pdp, snapshot, http, decoded, left, .. } = checking;
    let started = Instant::now();
    let passage = Passage::from(permit);
    let narrowing = |granted: &Granted<'_>| schema.shown(granted);
    let listed = pdp.list_read(snapshot, &schema.question, Some(&narrowing), *left).await;
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
    // It is answered, and may wait for long.
    schema.question.entries = Vec::new();
    let left = left.saturating_sub(started.elapsed() + WAY).min(LONGEST);
    match made(schema, shown, left).await {
        Ok(body) => {
            let mut headers = response_headers(&passage, http);
            let accepts = http.headers.all("accept").iter().any(|value| value.contains(OWN_FORM));
            let form = if accepts { OWN_FORM } else { JSON };
            headers.extend([("content-type", form.to_owned()), ("cache-control", "no-store".to_owned())]);
            let answer = Answer { status: 200, headers, body };
            // The outcome is that of the permit.
            CheckResponse { answer: Some(told(answer)), ..response }
        }
        Err(refusal) => {
            tracing::warn!(
                reason = refusal.reason.as_str(),
                detail = refusal.detail,
                "introspection is not answered"
            );
            CheckResponse {
                outcome: Outcome::Deny.into(),
                reason: refusal.reason.as_str().to_owned(),
                answer: Some(told(outage())),
                ..response
            }
        }
    }
}

/// The answer, made beside what decides.
async fn made(schema: Introspected, shown: Vec<bool>, within: Duration) -> Result<String, Refusal> {
    let waiting = WAITING.try_acquire();
    let _waiting =
        waiting.map_err(|_| Refusal::new(Reason::Overloaded, "too many wait for introspection"))?;
    let make = async {
        let place = MAKING.acquire().await.map_err(|_| failed("there is no place to make it"))?;
        let made = tokio::task::spawn_blocking(move || {
            // Also where nobody waits any longer.
            let _place = place;
            schema.answer(&shown)
        });
        made.await.map_err(|_| failed("making it panicked"))?
    };
    let late = |_elapsed| Refusal::new(Reason::DeadlineExceeded, "the answer took too long");
    let body = timeout(within, make).await.map_err(late)??;
    if body.len() > MOST_ANSWER {
        return Err(failed(&format!("the answer has {} bytes, and may have {MOST_ANSWER}", body.len())));
    }
    Ok(body)
}

fn failed(detail: &str) -> Refusal {
    Refusal::new(Reason::InternalError, detail)
}
