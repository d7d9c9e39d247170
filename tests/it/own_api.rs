//! `palisade.v1` on the real service: decisions, explanations, tokens, reflection, health; and what its guide shows.

use palisade_proto::v1::{
    DecideBatchRequest, DecideRequest, DecideResponse, Explanation, Item, Outcome, VerifyRequest,
    decisions_client::DecisionsClient, tokens_client::TokensClient,
};
use palisade_tests::components::{eventually, repository};
use palisade_tests::service::{Palisade, run};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::stories;

mod example;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const OTHER_KEY: &str = "fedcba9876543210fedcba9876543210";

async fn channel(palisade: &Palisade) -> Channel {
    let address = format!("http://127.0.0.1:{}", palisade.decision);
    Channel::from_shared(address).unwrap().connect().await.unwrap()
}

/// The service with two PEPs beside the unnamed one: `app` may use this API, `proxy` only the HTTP check.
async fn start(issuer: &str) -> (Palisade, TempDir) {
    let keys = tempfile::tempdir().unwrap();
    let file = |name: &str, key: &str| {
        let path = keys.path().join(name);
        std::fs::write(&path, key).unwrap();
        path.display().to_string()
    };
    let configuration = format!(
        "{}peps:\n  app: {{auth: {{key: {{file: {}}}}}, surfaces: [decide, verify], resources: '*'}}\n  proxy: {{auth: {{key: {{file: {}}}}}, \
         surfaces: [http_authz], resources: '*'}}\n",
        stories::configuration(issuer),
        file("app.key", KEY),
        file("proxy.key", OTHER_KEY)
    );
    let palisade = Palisade::start(&configuration, "").await.unwrap();
    palisade.wait_for_readiness(200).await.unwrap();
    (palisade, keys)
}

fn call(tool: &str) -> Item {
    Item {
        action: "tools/call".to_owned(),
        target: Some(tool.to_owned()),
        arguments: Some(r#"{"path": "/a", "message": "hi"}"#.to_owned()),
    }
}

fn asked(tool: &str, token: &str) -> DecideRequest {
    DecideRequest {
        resource: "demo".to_owned(),
        token: Some(token.to_owned()),
        item: Some(call(tool)),
        explain: true,
    }
}

fn with_key<T>(message: T, key: &str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("x-palisade-key", key.parse().unwrap());
    request
}

/// An explanation in the form of a record.
fn recorded_form(explanation: &Explanation) -> Value {
    let policy = |policy: &palisade_proto::v1::Policy| json!({ "id": policy.id, "file": policy.file, "line": policy.line });
    let near = |near: &palisade_proto::v1::NearPermit| {
        let mut form = policy(near.policy.as_ref().unwrap());
        form["failed"] = json!(near.failed);
        form
    };
    json!({
        "detail": explanation.detail,
        "determining_policies": explanation.determining_policies.iter().map(policy).collect::<Vec<_>>(),
        "nearest_permits": explanation.nearest_permits.iter().map(near).collect::<Vec<_>>(),
    })
}

/// What `palisade why` says of the same decision. A refusal of a stranger is written within a second.
async fn why(palisade: &Palisade, answer: &DecideResponse) -> Value {
    let config = palisade.configuration().display().to_string();
    let told = async || {
        let output = run(&["why", &answer.decision_id, "--json", "--config", &config])?;
        Ok(output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap()))
    };
    eventually("the record of the decision", told).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_over_the_api_are_those_on_the_record_and_are_explained_as_why_does() {
    let provider = stories::provider().await;
    let (palisade, _keys) = start(provider.issuer()).await;
    let mut decisions = DecisionsClient::new(channel(&palisade).await);
    let demo = stories::identifier("demo");
    let bob = provider.token("bob", &demo, "").await.unwrap();
    let alice = provider.token("alice", &demo, "").await.unwrap();
    let armed = provider.token("alice", &demo, "files:delete").await.unwrap();
    for (tool, token, outcome, reason) in [
        ("delete_file", armed.as_str(), Outcome::Permit, "permitted"),
        ("delete_file", &bob, Outcome::Deny, "no_permit"),
        ("delete_file", &alice, Outcome::StepUp, "insufficient_scope"),
        ("nothing", &bob, Outcome::Deny, "no_permit"),
        ("echo", "x", Outcome::Deny, "token_malformed"),
    ] {
        let answer = decisions.decide(asked(tool, token)).await.unwrap().into_inner();
        assert_eq!((answer.outcome(), answer.reason.as_str()), (outcome, reason), "{tool}");
        let recorded = why(&palisade, &answer).await;
        assert_eq!(recorded["reason"], reason);
        assert_eq!(recorded["surface"], "decide");
        assert_eq!(recorded["policy_revision"], json!(answer.policy_revision));
        let told = recorded_form(answer.explanation.as_ref().unwrap());
        for (member, nothing) in
            [("detail", Value::Null), ("determining_policies", json!([])), ("nearest_permits", json!([]))]
        {
            let recorded = recorded.get(member).cloned().unwrap_or(nothing);
            assert_eq!(told[member], recorded, "{tool}: {member}");
        }
        let missing = answer.step_up.map(|step_up| json!(step_up.missing_scopes));
        assert_eq!(missing.as_ref(), recorded.get("missing_scopes"), "{tool}");
    }

    let batch = DecideBatchRequest {
        resource: "demo".to_owned(),
        token: Some(armed),
        items: vec![call("delete_file"), call("nothing")],
        explain: false,
    };
    let answer = decisions.decide_batch(batch).await.unwrap().into_inner();
    let items: Vec<Outcome> = answer.items.iter().map(palisade_proto::v1::ItemOutcome::outcome).collect();
    assert_eq!((answer.outcome(), items), (Outcome::Deny, vec![Outcome::Permit, Outcome::Deny]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_has_only_the_surfaces_it_is_given() {
    let provider = stories::provider().await;
    let (palisade, _keys) = start(provider.issuer()).await;
    let channel = channel(&palisade).await;
    let (mut decisions, mut tokens) = (DecisionsClient::new(channel.clone()), TokensClient::new(channel));
    let alice = provider.token("alice", &stories::identifier("demo"), "files:delete").await.unwrap();
    let delete = || asked("delete_file", &alice);
    for (key, reason) in [
        (KEY, "permitted"),
        (OTHER_KEY, "pep_not_allowed"),
        ("a key that is wrong and long enough to be one", "pep_unauthenticated"),
    ] {
        let answer = decisions.decide(with_key(delete(), key)).await.unwrap().into_inner();
        assert_eq!(answer.reason, reason);
        assert_eq!(answer.outcome() == Outcome::Permit, reason == "permitted");
    }

    let verify = || VerifyRequest { resource: "demo".to_owned(), token: alice.clone() };
    let accepted = tokens.verify(with_key(verify(), KEY)).await.unwrap().into_inner();
    assert!(accepted.accepted);
    assert_eq!(accepted.subject.as_deref(), Some("User::\"corp/alice\""));
    assert_eq!(accepted.scopes, ["files:delete"]);
    let refused = tokens.verify(verify()).await.unwrap().into_inner();
    assert_eq!((refused.accepted, refused.reason.as_deref()), (false, Some("pep_not_allowed")));
    let decided = |record: &palisade_audit::DecisionRecord| record.surface.unwrap().as_str() == "verify";
    assert!(!palisade.decisions().unwrap().iter().any(decided), "a verification is no decision");
    let metrics = palisade.admin("/metrics").await.unwrap();
    assert!(metrics.contains("palisade_token_verifications_total"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_describe_themselves_and_say_that_they_serve() {
    let provider = stories::provider().await;
    let (palisade, _keys) = start(provider.issuer()).await;
    let channel = channel(&palisade).await;
    let mut reflection = ServerReflectionClient::new(channel.clone());
    let mut ask = async |question| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        let mut answers =
            reflection.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap().message_response.unwrap()
    };
    let listed = ask(MessageRequest::ListServices(String::new())).await;
    let MessageResponse::ListServicesResponse(services) = listed else { panic!("{listed:?}") };
    let services = services.service;
    for name in ["palisade.v1.Decisions", "palisade.v1.Tokens", "grpc.health.v1.Health"] {
        assert!(services.iter().any(|service| service.name == name), "{services:?}");
    }
    let symbol = MessageRequest::FileContainingSymbol("palisade.v1.DecideRequest".to_owned());
    assert!(matches!(ask(symbol).await, MessageResponse::FileDescriptorResponse(_)));

    let mut health = HealthClient::new(channel);
    for name in ["palisade.v1.Decisions", "palisade.v1.Tokens"] {
        let request = HealthCheckRequest { service: name.to_owned() };
        assert_eq!(health.check(request).await.unwrap().into_inner().status, 1, "{name}");
    }
}

/// The status of a call of `Decide` with these bytes as its message, as it stands before any answer.
async fn status_of(palisade: &Palisade, message: &[u8]) -> Option<String> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let url = format!("http://127.0.0.1:{}/palisade.v1.Decisions/Decide", palisade.decision);
    let request = client.post(url).header("content-type", "application/grpc").header("te", "trailers");
    let answer = request.body([&[0][..], &length, message].concat()).send().await.unwrap();
    answer.headers().get("grpc-status").map(|status| status.to_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_has_no_answer() {
    let provider = stories::provider().await;
    let (palisade, _keys) = start(provider.issuer()).await;
    assert_eq!(status_of(&palisade, b"").await, None, "a message that says nothing is answered");
    let status = status_of(&palisade, b"\xff").await;
    assert!(status.is_some_and(|status| status != "0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_guide_is_this_one_and_it_runs() {
    let guide = std::fs::read_to_string(repository().join("proto/README.md")).unwrap();
    let example = include_str!("own_api/example.rs").split_once("\n\n").unwrap().1;
    let shown = guide.split("```rust\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(shown, example.replace("pub(crate) async fn", "async fn"), "the example of proto/README.md");

    let provider = stories::provider().await;
    let (palisade, _keys) = start(provider.issuer()).await;
    let address = format!("http://127.0.0.1:{}", palisade.decision);
    let token = async |scope| provider.token("alice", &stories::identifier("demo"), scope).await.unwrap();
    assert_eq!(example::may_delete(&address, &token("files:delete").await).await, Ok(()));
    let advice = "get a token with the scopes: files:delete files:read".to_owned();
    assert_eq!(example::may_delete(&address, &token("files:read").await).await, Err(advice));
    assert_eq!(example::may_delete(&address, "x").await, Err("token_malformed".to_owned()));
    let nobody = example::may_delete("http://127.0.0.1:1", "x").await.unwrap_err();
    assert!(nobody.starts_with("no decision can be had"), "{nobody}");
}
