//! The example of `proto/README.md`.

use std::time::Duration;

use palisade_proto::v1::{DecideRequest, Item, Outcome, decisions_client::DecisionsClient};

/// Whether the holder of this token may delete this file; if not, what to tell them.
pub(crate) async fn may_delete(palisade: &str, token: &str) -> Result<(), String> {
    // An error is no answer, and no answer is a denial.
    let down = |error: &dyn std::fmt::Display| format!("no decision can be had: {error}");
    let mut decisions = DecisionsClient::connect(palisade.to_owned()).await.map_err(|error| down(&error))?;
    let item = Item {
        action: "tools/call".to_owned(),
        target: Some("delete_file".to_owned()),
        arguments: Some(r#"{"path": "/tmp/a"}"#.to_owned()),
    };
    let mut request = tonic::Request::new(DecideRequest {
        resource: "demo".to_owned(),
        token: Some(token.to_owned()),
        item: Some(item),
        explain: false,
    });
    request.set_timeout(Duration::from_secs(2));
    let answer = decisions.decide(request).await.map_err(|status| down(&status))?.into_inner();
    match answer.outcome() {
        Outcome::Permit => Ok(()),
        Outcome::StepUp => {
            let scopes = answer.step_up.unwrap_or_default().scopes.join(" ");
            Err(format!("get a token with the scopes: {scopes}"))
        }
        Outcome::Deny | Outcome::Observed | Outcome::Unspecified => Err(answer.reason),
    }
}
