//! The client of the decision service on real services: what they answer, in the process and over the network, and what
//! happens when they die, hang and flap.

use std::{sync::Arc, time::Duration};

use palisade_client::{CacheSettings, Cached, Client, Decision, DecisionPoint, Item, Question};
use palisade_model::SystemClock;
use palisade_server::{Service, StartSettings, config, telemetry::Telemetry};
use palisade_tests::components::{OidcProvider, eventually, repository};
use palisade_tests::service::Palisade;
use serde::Deserialize;

use crate::stories;

mod example;
mod outages;

/// The service, and a client of it as the unnamed caller.
async fn started(provider: &OidcProvider) -> (Palisade, Client) {
    let palisade = Palisade::start(&stories::configuration(provider.issuer()), "").await.unwrap();
    palisade.wait_for_readiness(200).await.unwrap();
    let client = Client::to(endpoint(&palisade)).unwrap();
    (palisade, client)
}

fn endpoint(palisade: &Palisade) -> String {
    format!("http://127.0.0.1:{}", palisade.decision)
}

fn tool(name: &str) -> Item {
    Item::new("tools/call").on(name).with(r#"{"message": "hi"}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_documentation_is_this_one_and_it_runs() {
    let documented = std::fs::read_to_string(repository().join("crates/palisade-client/src/lib.rs")).unwrap();
    let block = documented.split("//! ```no_run\n").nth(1).unwrap().split("//! ```").next().unwrap();
    let shown: String =
        block.lines().map(|line| format!("{}\n", line.strip_prefix("//! ").unwrap_or_default())).collect();
    let example = include_str!("example.rs").split_once("\n\n").unwrap().1;
    assert_eq!(shown, example.replace("pub(crate) async fn", "async fn"), "the example of palisade-client");
    let body = shown.split_once("async fn").unwrap().1;
    assert!(body.lines().count() <= 10, "{body}");

    let provider = stories::provider().await;
    let (_palisade, client) = started(&provider).await;
    let token = async |scope| provider.token("alice", &stories::identifier("demo"), scope).await.unwrap();
    assert_eq!(example::delete(&client, &token("files:delete").await).await, Ok(()));
    let advice = "get a stronger token: scopes files:delete files:read".to_owned();
    assert_eq!(example::delete(&client, &token("files:read").await).await, Err(advice));
    assert_eq!(example::delete(&client, "x").await, Err("denied: token_malformed".to_owned()));
    let nobody = Client::to("http://127.0.0.1:1").unwrap();
    let no_answer = example::delete(&nobody, "x").await.unwrap_err();
    assert!(no_answer.starts_with("http://127.0.0.1:1 cannot be reached"), "{no_answer}");
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    resource: String,
    user: Option<String>,
    audience: Option<String>,
    #[serde(default)]
    scopes: String,
    action: String,
    target: Option<String>,
    arguments: Option<String>,
    answer: String,
}

impl Case {
    async fn question(&self, provider: &OidcProvider) -> Question {
        let item = Item {
            action: self.action.clone(),
            target: self.target.clone(),
            arguments: self.arguments.clone(),
        };
        let question = Question::new(&self.resource, item).explained();
        let Some(user) = &self.user else { return question };
        let audience = stories::identifier(self.audience.as_ref().unwrap_or(&self.resource));
        question.token(provider.token(user, &audience, &self.scopes).await.unwrap())
    }
}

/// A service in this process, with the configuration of another but for what it listens on and writes to.
pub(crate) async fn in_this_process(palisade: &Palisade, folder: &std::path::Path) -> Service {
    let mut text = std::fs::read_to_string(palisade.configuration()).unwrap();
    for port in [palisade.decision, palisade.public, palisade.admin] {
        text = text.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:0");
    }
    let path = folder.join("palisade.yaml");
    std::fs::write(&path, text).unwrap();
    let loaded = config::load::read(&path).unwrap();
    let telemetry = Arc::new(Telemetry::install(&loaded.config.telemetry).unwrap());
    let (embedded, clock) = (config::build::Embedded::default(), Arc::new(SystemClock));
    let service = Service::start(StartSettings { loaded, embedded, clock, telemetry }).await.unwrap();
    let ready = async || Ok(service.pdp().snapshot().verifier.ready().then_some(()));
    eventually("the keys of the provider", ready).await.unwrap();
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_and_a_decision_point_in_the_process_answer_the_same() {
    let provider = stories::provider().await;
    let (palisade, remote) = started(&provider).await;
    let folder = tempfile::tempdir().unwrap();
    let service = in_this_process(&palisade, folder.path()).await;
    let local = service.decision_point("local".parse().unwrap());
    let points: [&dyn DecisionPoint; 2] = [&remote, &local];
    let cases = std::fs::read_to_string(repository().join("tests/cases/client/questions.yaml")).unwrap();
    let cases: Vec<Case> = serde_saphyr::from_str(&cases).unwrap();
    for case in &cases {
        let question = case.question(&provider).await;
        let mut answers = Vec::new();
        for point in points {
            let decision = point.decide(&question).await.unwrap();
            assert_eq!(decision.reason.as_str(), case.answer, "{question:?}");
            assert_eq!(decision.permit().is_some(), case.answer == "permitted");
            assert!(decision.id.is_some() && decision.policy_revision.is_some());
            // The two listen on different ports, so their configurations have different revisions.
            answers.push(Decision { id: None, policy_revision: None, ..decision });
        }
        assert_eq!(answers[0], answers[1], "{question:?}");
    }
    assert!(cases.len() > 10);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_is_on_no_record_and_ends_with_its_policies() {
    let provider = stories::provider().await;
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    let policy = |text: &str| std::fs::write(policies.join("policy.cedar"), text).unwrap();
    policy("@id(\"open\") permit (principal is User, action, resource);");
    let configuration = stories::configuration(provider.issuer());
    let own = repository().join("policies").display().to_string();
    let configuration =
        configuration.replace(&format!("path: {own}}}"), &format!("path: {}}}", policies.display()));
    let palisade = Palisade::start(&configuration, "").await.unwrap();
    palisade.wait_for_readiness(200).await.unwrap();
    let settings = CacheSettings { ttl: Duration::from_secs(60), ..CacheSettings::default() };
    let cached = Cached::new(Client::to(endpoint(&palisade)).unwrap(), settings).unwrap();
    let token = provider.token("bob", &stories::identifier("demo"), "").await.unwrap();
    let question = Question::new("demo", tool("echo")).token(&token);
    let first = cached.decide(&question).await.unwrap();
    assert!(first.permit().unwrap().expires_at().is_some() && !first.remembered);
    for _ in 0..5 {
        let again = cached.decide(&question).await.unwrap();
        assert!(again.permit().is_some() && again.remembered);
        assert_eq!(again.id, first.id);
    }
    assert_eq!((cached.report().remembered, cached.report().asked), (5, 1));
    assert_eq!(palisade.decisions().unwrap().len(), 1, "what is remembered is on no record");

    policy("@id(\"shut\") forbid (principal, action, resource);");
    // The first answer of the new revision is enough, whatever was asked. One that is to be explained is never remembered.
    let other = Question::new("demo", tool("get_user_info")).token(&token).explained();
    let changed = async || Ok(cached.decide(&other).await?.permit().is_none().then_some(()));
    eventually("the changed policies", changed).await.unwrap();
    let now = cached.decide(&question).await.unwrap();
    assert!(now.permit().is_none() && !now.remembered);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_keeps_the_deadline_too_and_records_what_was_late() {
    let provider = stories::provider().await;
    let (palisade, client) = started(&provider).await;
    let token = provider.token("bob", &stories::identifier("demo"), "").await.unwrap();
    let question = Question::new("demo", tool("echo")).token(&token);
    assert!(client.decide(&question).await.unwrap().permit().is_some());
    let late = async || {
        let hurried = question.clone().within(Duration::from_micros(100));
        let answer = client.decide(&hurried).await;
        assert!(answer.is_err() || answer.is_ok_and(|decision| decision.permit().is_none()));
        let decisions = palisade.decisions()?;
        Ok(decisions.iter().any(|record| record.reason.as_str() == "deadline_exceeded").then_some(()))
    };
    eventually("the record of a decision that was too late", late).await.unwrap();
}
