//! Changed files under a running service: taken whole, or refused with the old snapshot in force.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use palisade_audit::{Event, Record};
use palisade_tests::components::{OidcProvider, eventually};
use palisade_tests::service::Palisade;

const OPEN: &str = r#"@id("open")
permit (principal is User, action in Mcp::Action::"tools/call", resource in Mcp::Server::"demo");
"#;
const CLOSED: &str = r#"@id("closed")
forbid (principal, action, resource);
"#;

/// A service on a folder of policies, with the text of its decisions over the HTTP check.
struct Setup {
    palisade: Palisade,
    token: String,
}

impl Setup {
    /// `policies` is where the configuration looks for policies.
    async fn start(policies: &Path) -> Self {
        let provider = OidcProvider::start().await.unwrap();
        let configuration = format!(
            "policies: {{path: {}}}\nissuers:\n  corp: {{issuer: \"{}\", network: {{private: true}}}}\nresources:\n  demo: \
             {{identifier: https://mcp.example.com/demo, kind: mcp, issuers: [corp]}}\n",
            policies.display(),
            provider.issuer()
        );
        let palisade = Palisade::start(&configuration, "").await.unwrap();
        palisade.wait_for_readiness(200).await.unwrap();
        let token = provider.token("bob", "https://mcp.example.com/demo", "").await.unwrap();
        Self { palisade, token }
    }

    async fn status(&self) -> u16 {
        let request = reqwest::Client::new()
            .post(format!("http://127.0.0.1:{}/authz/demo", self.palisade.decision))
            .bearer_auth(&self.token)
            .header("content-type", "application/json")
            .body(crate::stories::call("echo", &serde_json::json!({"message": "hi"})));
        request.send().await.unwrap().status().as_u16()
    }

    async fn wait_for_status(&self, status: u16) {
        let what = format!("status {status}");
        eventually(&what, async || Ok((self.status().await == status).then_some(()))).await.unwrap();
    }

    fn events(&self) -> Vec<Event> {
        let event = |record| match record {
            Record::Event(event) => Some(event.event),
            Record::Decision(_) | Record::Segment(_) => None,
        };
        self.palisade.records().unwrap().into_iter().filter_map(event).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_policy_is_taken_and_a_broken_one_is_refused_visibly() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.cedar");
    fs::write(&policy, OPEN).unwrap();
    let mut setup = Setup::start(folder.path()).await;
    assert_eq!(setup.status().await, 200);

    fs::write(&policy, CLOSED).unwrap();
    setup.wait_for_status(403).await;

    fs::write(&policy, "permit (principal, action, resource) when { context.nonsense };").unwrap();
    let refused = async || {
        let ready = setup.palisade.wait_for_readiness(200).await?;
        Ok(ready["reload"]["error"].as_str().map(str::to_owned))
    };
    let error = eventually("the refusal in /readyz", refused).await.unwrap();
    assert!(error.contains("policy.cedar:1:"), "{error}");
    assert_eq!(setup.status().await, 403, "the old snapshot stays in force");
    let metrics = setup.palisade.admin("/metrics").await.unwrap();
    assert!(metrics.contains(r#"palisade_reloads_total{outcome="refused"} 1"#), "{metrics}");

    // SIGHUP looks at once; a good file ends the refusal.
    fs::write(&policy, OPEN).unwrap();
    setup.palisade.process().unwrap().signal("HUP").unwrap();
    setup.wait_for_status(200).await;

    let events = setup.events();
    let taken = events.iter().filter(|event| matches!(event, Event::ReloadTaken { .. })).count();
    let refusals: Vec<&Event> =
        events.iter().filter(|event| matches!(event, Event::ReloadRefused { .. })).collect();
    assert!(taken >= 2 && refusals.len() == 1, "{events:?}");
    let swapped = events.iter().any(|event| {
        matches!(event, Event::ReloadTaken { added, removed, .. } if added.first == ["closed"] && removed.first == ["open"])
    });
    assert!(swapped, "{events:?}");
    let revisions: Vec<_> =
        setup.palisade.decisions().unwrap().into_iter().map(|record| record.policy_revision).collect();
    assert_ne!(revisions.first(), revisions.get(revisions.len() - 2), "a decision carries its revision");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_end_is_refused_visibly_and_stops_neither_the_service_nor_its_reloads() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("policy.cedar"), OPEN).unwrap();
    let setup = Setup::start(folder.path()).await;
    let refused_for = async |what: &str| {
        let refused = async || {
            let ready = setup.palisade.wait_for_readiness(200).await?;
            Ok(ready["reload"]["error"].as_str().filter(|error| error.contains(what)).map(str::to_owned))
        };
        eventually(what, refused).await.unwrap();
        assert_eq!(setup.status().await, 200, "{what}: the old snapshot stays in force");
    };

    let made = std::process::Command::new("mkfifo").arg(at("pipe.cedar")).status().unwrap();
    assert!(made.success());
    refused_for("neither a file nor a folder").await;
    fs::remove_file(at("pipe.cedar")).unwrap();

    let nested = format!("{}true{}", "(".repeat(2_000), ")".repeat(2_000));
    fs::write(at("deep.cedar"), format!("permit (principal, action, resource) when {{ {nested} }};"))
        .unwrap();
    refused_for("nest more than 100 deep").await;
    fs::remove_file(at("deep.cedar")).unwrap();

    for name in ["a", "b"] {
        symlink(".", at(name)).unwrap();
    }
    refused_for("links form a circle").await;
    for name in ["a", "b"] {
        fs::remove_file(at(name)).unwrap();
    }

    fs::write(at("policy.cedar"), CLOSED).unwrap();
    setup.wait_for_status(403).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_swap_is_one_change() {
    // What Kubernetes does: files are links into `..data`, which is a link that is replaced in one step.
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (version, text) in [("..1", OPEN), ("..2", CLOSED)] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("policy.cedar"), text).unwrap();
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/policy.cedar", at("policy.cedar")).unwrap();
    let setup = Setup::start(folder.path()).await;
    assert_eq!(setup.status().await, 200);
    symlink("..2", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    setup.wait_for_status(403).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_configuration_is_taken_but_for_its_listeners() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("policy.cedar"), OPEN).unwrap();
    let setup = Setup::start(folder.path()).await;
    let file = setup.palisade.configuration();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("https://mcp.example.com/demo", "https://mcp.example.com/other")).unwrap();
    // The token was issued for the old identifier.
    setup.wait_for_status(401).await;
    // A refusal before a subject is known is written a second later, with its count.
    let refused = async || {
        let decisions = setup.palisade.decisions()?;
        Ok(decisions.iter().any(|record| record.reason.as_str() == "token_audience_mismatch").then_some(()))
    };
    eventually("the refusal on the record", refused).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observation_lets_policy_denials_by_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("policy.cedar"), CLOSED).unwrap();
    let setup = Setup::start(folder.path()).await;
    assert_eq!(setup.status().await, 403);
    let file = setup.palisade.configuration();
    let text = fs::read_to_string(&file).unwrap();
    let tomorrow = humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + tomorrow()).to_string();
    let day = tomorrow.split('T').next().unwrap();
    fs::write(&file, text.replace("kind: mcp", &format!("kind: mcp, observe: {{until: {day}}}"))).unwrap();
    setup.wait_for_status(200).await;
    let observed = setup.palisade.decisions().unwrap().into_iter().next_back().unwrap();
    assert_eq!((observed.decision.as_str(), observed.reason.as_str()), ("observed", "observed"));
    assert!(observed.detail.unwrap().contains("forbidden"));
    assert!(setup.events().iter().any(|event| matches!(event, Event::ObserveOn { .. })));
    // Tokens are enforced all the same.
    let bad = Setup { token: "bad".to_owned(), ..setup };
    assert_eq!(bad.status().await, 401);
}

fn tomorrow() -> std::time::Duration {
    use palisade_model::Clock;
    let now = palisade_model::SystemClock.now().unix_seconds();
    std::time::Duration::from_secs(u64::try_from(now).unwrap() + 24 * 60 * 60)
}
