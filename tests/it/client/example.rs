//! The example of the documentation of `palisade-client`.

use palisade_client::{Client, DecisionPoint, Item, Outcome, Question};

/// Deletes a file for the holder of a token, or says why not. `palisade` is `Client::to("http://127.0.0.1:7254")?`.
pub(crate) async fn delete(palisade: &Client, token: &str) -> Result<(), String> {
    let item = Item::new("tools/call").on("delete_file").with(r#"{"path": "/tmp/a"}"#);
    let question = Question::new("demo", item).token(token);
    let decision = palisade.decide(&question).await.map_err(|no_answer| no_answer.to_string())?;
    match decision.outcome {
        Outcome::Permit(_) => Ok(()), // here it is done
        Outcome::StepUp(step_up) => Err(format!("get a stronger token: {step_up}")),
        Outcome::Deny(_) | Outcome::Observed(_) => Err(format!("denied: {}", decision.reason)),
    }
}
