//! A denial explained: by `palisade why` from its record, by `palisade decide` before it happens; and policies in shadow.

use std::io::Write;
use std::process::{Command, Stdio};

use palisade_audit::{Event, Record};
use palisade_tests::components::eventually;
use palisade_tests::service::{Palisade, binary, run};
use serde_json::{Value, json};

use crate::stories;

/// What the HTTP check answers, as its status and the id of the decision.
async fn call(palisade: &Palisade, token: &str, tool: &str) -> (u16, String) {
    let request = reqwest::Client::new()
        .post(format!("http://127.0.0.1:{}/authz/demo", palisade.decision))
        .bearer_auth(token)
        .header("content-type", "application/json")
        .body(stories::call(tool, &json!({"path": "/a", "message": "hi"})));
    let answer = request.send().await.unwrap();
    let id = answer.headers()["x-palisade-decision-id"].to_str().unwrap().to_owned();
    (answer.status().as_u16(), id)
}

fn decide(palisade: &Palisade, token: &str, tool: &str) -> (Value, bool) {
    let mut command = Command::new(binary().unwrap());
    command.args([
        "decide",
        "--resource",
        "demo",
        "--action",
        "tools/call",
        "--json",
        "--token",
        "-",
        "--target",
        tool,
    ]);
    command.args(["--input", r#"{"path": "/a", "message": "hi"}"#, "--config"]).arg(palisade.configuration());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (serde_json::from_slice(&output.stdout).unwrap(), output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_is_explained_from_its_record_and_the_same_before_it_happens() {
    let provider = stories::provider().await;
    let palisade = Palisade::start(&stories::configuration(provider.issuer()), "").await.unwrap();
    palisade.wait_for_readiness(200).await.unwrap();
    let config = palisade.configuration().display().to_string();
    let bob = provider.token("bob", &stories::identifier("demo"), "").await.unwrap();
    let alice = provider.token("alice", &stories::identifier("demo"), "").await.unwrap();

    let (status, id) = call(&palisade, &bob, "delete_file").await;
    assert_eq!(status, 403);
    let output = run(&["why", &id, "--config", &config]).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for line in [
        "decision     deny (no_permit)",
        "subject      User::\"corp/bob\"",
        "is in        Role::\"corp/viewer\", Tenant::\"corp/acme\"",
        "target       Mcp::Tool::\"demo/delete_file\"",
        "               principal in Role::\"admin\"",
        "               context.scopes.contains(\"files:delete\")",
    ] {
        assert!(text.lines().any(|found| found == line), "`{line}` is missing:\n{text}");
    }
    let near = text.lines().find(|line| line.contains("demo-delete-file")).unwrap();
    assert!(near.contains("policies/five-tools/policy.cedar:"), "{near}");

    // One scope short: the record says which.
    let (status, id) = call(&palisade, &alice, "delete_file").await;
    assert_eq!(status, 403);
    let text = String::from_utf8(run(&["why", &id, "--config", &config]).unwrap().stdout).unwrap();
    assert!(text.contains("helps        a token that has also the scopes: files:delete"), "{text}");

    for (token, tool) in [(&bob, "delete_file"), (&alice, "delete_file"), (&bob, "echo"), (&bob, "nothing")] {
        let (_, id) = call(&palisade, token, tool).await;
        let recorded = palisade.decisions().unwrap().into_iter().find(|record| record.id.to_string() == id);
        let recorded = serde_json::to_value(recorded.unwrap()).unwrap();
        let (decided, permitted) = decide(&palisade, token, tool);
        assert_eq!(permitted, recorded["decision"] == "permit", "{decided}");
        for field in [
            "decision",
            "reason",
            "principal",
            "target",
            "determining_policies",
            "nearest_permits",
            "missing_scopes",
        ] {
            assert_eq!(decided[field], recorded[field], "{tool}: {field}");
        }
    }
    // Nothing that was asked offline is in the log of the service.
    assert!(
        palisade.decisions().unwrap().iter().all(|record| record.pep.as_ref().unwrap().as_str() == "local")
    );

    let unknown = run(&["why", "01a1fbe7-369a-7e09-8aaa-cbed1b0b92ef", "--config", &config]).unwrap();
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("has no decision 01a1fbe7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_in_shadow_are_compared_on_live_traffic_and_a_broken_shadow_hurts_nobody() {
    let provider = stories::provider().await;
    let next = tempfile::tempdir().unwrap();
    let policy = next.path().join("next.cedar");
    std::fs::write(
        &policy,
        "@id(\"nobody\") forbid (principal, action in Mcp::Action::\"tools/call\", resource);",
    )
    .unwrap();
    let configuration = stories::configuration(provider.issuer()).replace(
        "policies: {path:",
        &format!("policies: {{shadow: {{path: {}}}, path:", next.path().display()),
    );
    let mut palisade = Palisade::start(&configuration, "").await.unwrap();
    palisade.wait_for_readiness(200).await.unwrap();
    let bob = provider.token("bob", &stories::identifier("demo"), "").await.unwrap();
    let (status, id) = call(&palisade, &bob, "echo").await;
    assert_eq!(status, 200, "the shadow forbids, and nobody listens");
    let differs = async || {
        let found = palisade.records()?.into_iter().find_map(|record| match record {
            Record::Event(event) => {
                let Event::ShadowDiffers { decision, shadow_policies, .. } = event.event else { return None };
                Some((decision.to_string(), shadow_policies.first))
            }
            Record::Decision(_) | Record::Segment(_) => None,
        });
        Ok(found)
    };
    let (decision, policies) = eventually("the difference on the record", differs).await.unwrap();
    assert_eq!((decision, policies), (id, vec!["nobody".to_owned()]));
    let found = run(&[
        "audit",
        "query",
        "--event",
        "shadow_differs",
        "--config",
        &palisade.configuration().display().to_string(),
    ])
    .unwrap();
    assert!(String::from_utf8(found.stdout).unwrap().contains("\"shadow_reason\":\"forbidden\""));
    assert!(palisade.admin("/metrics").await.unwrap().contains("palisade_shadow_comparisons_total"));

    // A shadow that cannot be loaded is said, and the service goes on.
    std::fs::write(&policy, "permit (").unwrap();
    palisade.process().unwrap().signal("HUP").unwrap();
    let said = async || {
        let detail = palisade.wait_for_readiness(200).await?;
        let weakened = detail["weakened"].to_string();
        Ok(weakened.contains("policies.shadow: nothing is compared").then_some(()))
    };
    eventually("the broken shadow in /readyz", said).await.unwrap();
    assert_eq!(call(&palisade, &bob, "echo").await.0, 200);
}

#[test]
fn a_set_that_reaches_beyond_its_resources_is_no_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    std::fs::create_dir(root.join("team")).unwrap();
    let policy = |server: &str| {
        format!(
            "@id(\"team\") permit (principal is User, action in Mcp::Action::\"tools/call\", resource in Mcp::Server::\"{server}\");\n"
        )
    };
    std::fs::write(root.join("jwks.json"), r#"{"keys":[]}"#).unwrap();
    let resource = |name: &str| {
        format!("  {name}: {{identifier: \"https://mcp.example.com/{name}\", kind: mcp, issuers: [corp]}}\n")
    };
    let text = format!(
        "version: 1\npolicies: {{sets: {{team: {{path: team, resources: [files]}}}}}}\nissuers:\n  corp: {{issuer: \"https://corp.example.com\", \
         jwks: {{file: jwks.json}}}}\nresources:\n{}{}",
        resource("files"),
        resource("mail")
    );
    let config = root.join("palisade.yaml");
    std::fs::write(&config, text).unwrap();
    let check = || run(&["config", "check", &config.display().to_string()]).unwrap();
    std::fs::write(root.join("team/p.cedar"), policy("files")).unwrap();
    assert!(check().status.success(), "{}", String::from_utf8(check().stderr).unwrap());
    std::fs::write(root.join("team/p.cedar"), policy("mail")).unwrap();
    let refused = check();
    assert_eq!(refused.status.code(), Some(1));
    let errors = String::from_utf8(refused.stderr).unwrap();
    assert!(
        errors.contains("team/p.cedar:1:1: error: `team` reaches beyond the policy set `team`"),
        "{errors}"
    );
}
