//! `palisade tools fetch` on the real reference server and on one whose tools change.

use std::fs;
use std::path::Path;
use std::process::Command;

use palisade_tests::components::McpServer;
use palisade_tests::service::{binary, run};
use serde_json::{Value, json};

/// Fetches into `tools.json` of the folder; what was printed, and whether the answer is yes.
fn fetch(url: &str, folder: &Path, more: &[&str]) -> (String, bool) {
    let output = folder.join("tools.json");
    let mut arguments = vec!["tools", "fetch", "--server", url, "--output", output.to_str().unwrap()];
    arguments.extend(more);
    let output = run(&arguments).unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (String::from_utf8(printed).unwrap(), output.status.success())
}

fn catalog(folder: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join("tools.json")).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tools_of_the_reference_server_become_a_catalogue_that_a_configuration_can_type() {
    let server = McpServer::start_everything().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (printed, done) = fetch(&server.url(), folder.path(), &[]);
    assert!(done && printed.contains("+ get-sum\n"), "{printed}");
    let tools = catalog(folder.path());
    let tools = tools["tools"].as_array().unwrap();
    assert!(tools.len() >= 12, "{printed}");
    for tool in tools {
        assert!(tool["inputSchemaDigest"].as_str().unwrap().starts_with("sha256:"), "{tool}");
    }
    let (printed, same) = fetch(&server.url(), folder.path(), &["--check"]);
    assert!(same && !printed.contains('~'), "{printed}");

    let policy = r#"@id("sum") permit (principal is User, action == Mcp::Action::"tool:everything/get-sum", resource)
        when { context.input.a.lessThan(decimal("10.0")) };"#;
    fs::create_dir(folder.path().join("policies")).unwrap();
    fs::write(folder.path().join("policies/p.cedar"), policy).unwrap();
    let check = |typed: &str| {
        let configuration = folder.path().join("palisade.yaml");
        let text = format!(
            "version: 1\nissuers:\n  corp: {{issuer: https://login.example.com}}\nresources:\n  everything: {{identifier: \
             https://mcp.example.com/x, kind: mcp, issuers: [corp], tools: {{catalog: tools.json, typed: [{typed}]}}}}\n"
        );
        fs::write(&configuration, text).unwrap();
        let output = run(&["config", "check", configuration.to_str().unwrap()]).unwrap();
        (String::from_utf8([output.stdout, output.stderr].concat()).unwrap(), output.status.success())
    };
    let (printed, good) = check("get-sum, echo");
    assert!(good, "{printed}");
    let (printed, good) = check("get-sun");
    assert!(!good && printed.contains("did you mean `get-sum`?"), "{printed}");
    let (printed, good) = check("");
    assert!(
        !good && printed.contains("tool:everything/get-sum"),
        "the policy names an untyped tool: {printed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_notices_a_changed_tool_and_what_we_wrote_stays() {
    let tool = |kind: &str| {
        json!({"name": "read", "annotations": {"readOnlyHint": true}, "groups": ["admin"],
            "inputSchema": {"type": "object", "properties": {"path": {"type": kind}}}})
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tools.json");
    let before =
        McpServer::start(&json!([tool("string"), {"name": "old", "inputSchema": {"type": "object"}}]))
            .await
            .unwrap();
    assert!(fetch(&before.url(), folder.path(), &[]).1);
    let mut ours = catalog(folder.path());
    assert!(ours["tools"][1].get("groups").is_none(), "a server gives its tools no groups of ours: {ours}");
    ours["tools"][1]["groups"] = json!(["files"]);
    fs::write(&file, ours.to_string()).unwrap();

    let after =
        McpServer::start(&json!([tool("integer"), {"name": "new", "inputSchema": {"type": "object"}}]))
            .await
            .unwrap();
    let (printed, same) = fetch(&after.url(), folder.path(), &["--check"]);
    assert!(!same, "{printed}");
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[..2], ["+ new", "- old"]);
    assert!(
        lines[2].starts_with("~ read: inputSchema (sha256:") && lines[2].contains(" -> sha256:"),
        "{printed}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), ours.to_string(), "a check writes nothing");

    let (printed, done) = fetch(&after.url(), folder.path(), &["--json"]);
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert!(
        done && report["written"] == true && report["changed"][0]["members"] == json!(["inputSchema"]),
        "{printed}"
    );
    let now = catalog(folder.path());
    assert_eq!(now["tools"][1]["groups"], json!(["files"]));
    assert_ne!(now["tools"][1]["inputSchemaDigest"], ours["tools"][1]["inputSchemaDigest"]);
    assert!(fetch(&after.url(), folder.path(), &["--check"]).1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_does_not_go_to_a_proxy_of_the_environment() {
    let server = McpServer::start(&json!([{"name": "t", "inputSchema": {"type": "object"}}])).await.unwrap();
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "secret").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let output = Command::new(binary().unwrap())
        .args(["tools", "fetch", "--token-file", "token", "--timeout", "5s", "--server", &server.url()])
        .current_dir(folder.path())
        .envs(["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"].map(|name| (name, &address)))
        .env_remove("no_proxy")
        .env_remove("NO_PROXY")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(proxy.accept().is_err(), "the proxy was not asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_doubles_at_every_step_is_refused_by_the_name_of_its_tool() {
    let next = |step: usize| json!({"$ref": format!("#/$defs/a{}", step + 1)});
    let mut defs: serde_json::Map<String, Value> =
        (0..30).map(|step| (format!("a{step}"), json!({"anyOf": [next(step), next(step)]}))).collect();
    defs.insert("a30".to_owned(), json!({"type": "string"}));
    let bomb = json!({"type": "object", "anyOf": [{"$ref": "#/$defs/a0"}], "$defs": defs});
    let server = McpServer::start(&json!([{"name": "bo\u{202e}mb", "inputSchema": bomb}])).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (printed, done) = fetch(&server.url(), folder.path(), &[]);
    assert!(!done && printed.contains("tool `bo\\u{202e}mb` asks for too much work"), "{printed}");
    assert!(!folder.path().join("tools.json").exists());
}

#[test]
fn what_cannot_be_asked_is_misuse_and_not_a_no() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bad.yaml"), "version: 1\nnonsense: true\n").unwrap();
    for (line, status) in [
        ("tools fetch --server http://127.0.0.1:1/mcp", 2),
        ("tools fetch --file gone.json", 2),
        ("decide --config gone.yaml --resource x --action GET", 2),
        ("token verify --config gone.yaml --resource x", 2),
        ("config check gone.yaml", 2),
        ("config check gone.yaml --json", 2),
        ("config check bad.yaml", 1),
        ("config check bad.yaml --json", 1),
        ("serve --config gone.yaml", 2),
        ("policy check gone", 2),
        ("policy check --config gone.yaml", 2),
        ("policy check --config bad.yaml", 1),
        ("policy test gone", 2),
        ("policy fmt gone.cedar", 2),
    ] {
        let output = Command::new(binary().unwrap())
            .args(line.split(' '))
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(status), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
