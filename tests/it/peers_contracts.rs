//! ToolHive and ContextForge ask in their own words: the cases of `cases/peers` on the real service, each with its record.

use std::fs;

use palisade_tests::components::{eventually, repository};
use palisade_tests::service::Palisade;
use reqwest::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

const POLICY: &str = r#"
@id("list") permit (principal is User, action in Mcp::Action::"tools/call", resource in Mcp::Server::"files")
when { resource.name == "list_files" };
@id("status") permit (principal in Role::"admin", action in Mcp::Action::"tools/call", resource in Mcp::Server::"files")
when { resource.name == "system_status" };
@id("delete") permit (principal in Role::"admin", action in Mcp::Action::"tools/call", resource in Mcp::Server::"files")
when { resource.name == "delete_file" && context.asserted && context.args.unmapped.isEmpty()
  && context.args.text.hasTag("/path") && context.args.text.getTag("/path") like "/tmp/*" };
"#;

/// One message of a gateway, and what it is answered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// The PEP; none comes without a secret, and `stranger` with a wrong one.
    #[serde(default)]
    by: Option<String>,
    #[serde(default)]
    body: Value,
    /// The body, where it is no JSON of one reading.
    #[serde(default)]
    text: Option<String>,
    status: u16,
    answer: Value,
    reason: String,
    #[serde(default)]
    principal: Option<String>,
}

fn secret(pep: &str) -> String {
    format!("{pep}-0123456789abcdef0123456789abcdef")
}

async fn start(files: &TempDir) -> Palisade {
    let path = |name: &str| files.path().join(name);
    fs::create_dir(path("policies")).unwrap();
    fs::write(path("policies/p.cedar"), POLICY).unwrap();
    let entity = |kind: &str, id: &str, parents: Value| json!({ "uid": { "type": kind, "id": id }, "attrs": {}, "parents": parents });
    let alice = entity("User", "corp/alice", json!([{ "type": "Role", "id": "admin" }]));
    let entities = json!([alice, entity("Role", "admin", json!([]))]);
    fs::write(path("policies/entities.json"), entities.to_string()).unwrap();
    fs::write(path("jwks.json"), r#"{"keys":[]}"#).unwrap();
    let mut peps = String::new();
    for (name, surface, resources, assert) in [
        ("toolhive", "toolhive", "'*'", "[User]"),
        ("forge", "contextforge", "[files]", "[User]"),
        ("shy", "toolhive", "'*'", "[]"),
    ] {
        fs::write(path(name), secret(name)).unwrap();
        peps.push_str(&format!(
            "  {name}: {{auth: {{client: {name}, secret: {{file: \"{}\"}}}}, surfaces: [{surface}], resources: {resources}, assert: {assert}}}\n",
            path(name).display()
        ));
    }
    let configuration = format!(
        "policies: {{path: \"{folder}/policies\"}}\npeps:\n{peps}issuers:\n  corp: {{issuer: \"https://corp.example.com\", jwks: {{file: \
         \"{folder}/jwks.json\"}}}}\n  other: {{issuer: \"https://other.example.com\", jwks: {{file: \"{folder}/jwks.json\"}}}}\n\
         defaults: {{kind: mcp, tools: {{catalog: \"{catalog}\"}}}}\nresources:\n  files: {{identifier: https://mcp.example.com/files, \
         issuers: [corp]}}\n  shared: {{identifier: https://mcp.example.com/shared, issuers: [corp, other]}}\n",
        folder = files.path().display(),
        catalog = repository().join("policies/five-tools/tools.json").display(),
    );
    Palisade::start(&configuration, "").await.unwrap()
}

async fn check(file: &str, entry: &str, surface: &str) {
    let files = tempfile::tempdir().unwrap();
    let palisade = start(&files).await;
    let text = fs::read_to_string(repository().join("tests/cases/peers").join(file)).unwrap();
    let cases: Vec<Case> = serde_saphyr::from_str(&text).unwrap();
    for case in cases {
        let mut request = Client::new().post(format!("http://127.0.0.1:{}{entry}", palisade.decision));
        // As in the URL that a gateway is given: http://name:secret@host
        if let Some(pep) = &case.by {
            request = request.basic_auth(pep, Some(secret(pep)));
        }
        let body = case.text.clone().unwrap_or_else(|| case.body.to_string());
        let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), case.status, "{}", case.name);
        assert_eq!(answer.headers()["cache-control"], "no-store", "{}", case.name);
        let id = answer.headers()["x-palisade-decision-id"].to_str().unwrap().to_owned();
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(answer, case.answer, "{}", case.name);
        let record = eventually("the record", async || {
            Ok(palisade.decisions()?.into_iter().find(|record| record.id.to_string() == id))
        })
        .await
        .unwrap();
        assert_eq!(record.reason.as_str(), case.reason, "{}: {:?}", case.name, record.detail);
        assert_eq!(record.principal, case.principal, "{}", case.name);
        assert_eq!(record.surface.map(|surface| surface.as_str()), Some(surface), "{}", case.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn toolhive_is_answered_and_every_answer_is_on_the_record() {
    check("toolhive.yaml", "/decision", "toolhive").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contextforge_is_answered_and_every_answer_is_on_the_record() {
    check("contextforge.yaml", "/v1/authorize", "contextforge").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_else_is_served_at_these_entries() {
    let files = tempfile::tempdir().unwrap();
    let palisade = start(&files).await;
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", palisade.decision);
    for path in ["/decision", "/v1/authorize"] {
        let got = Client::new()
            .get(url(path))
            .basic_auth("toolhive", Some(secret("toolhive")))
            .send()
            .await
            .unwrap();
        assert_eq!(got.status(), 405, "{path}");
    }
    let message = json!({ "principal": { "sub": "bob" }, "operation": "mcp:tool:call", "resource": "mrn:mcp:files:tool:list_files" });
    let post = || {
        Client::new()
            .post(url("/decision?probe=true"))
            .basic_auth("toolhive", Some(secret("toolhive")))
            .body(message.to_string())
    };
    let json = "application/json";
    assert_eq!(
        post().header("content-type", json).send().await.unwrap().text().await.unwrap(),
        r#"{"allow":true}"#
    );
    // A page in a browser, an encoded body, another type.
    for (name, value) in [("origin", "https://evil.example"), ("content-encoding", "gzip")] {
        let refused = post().header("content-type", json).header(name, value).send().await.unwrap();
        assert!(refused.status().is_client_error(), "{name}: {}", refused.status());
    }
    assert_eq!(post().header("content-type", "text/plain").send().await.unwrap().status(), 400);
}
