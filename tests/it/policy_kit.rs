//! The tools for authors of policies: what they print and how they exit, on sets of the test's own and on the ready-made
//! ones.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use palisade_tests::components::repository;
use palisade_tests::service::binary;
use serde_json::{Value, json};
use tempfile::TempDir;

const POLICY: &str = r#"@id("read")
permit (
  principal is User,
  action in Mcp::Action::"tools/call",
  resource == Mcp::Tool::"demo/read"
)
when { context.scopes.contains("files:read") };

@id("chiefs")
permit (
  principal in Role::"corp/chief",
  action in Mcp::Action::"tools/call",
  resource in Mcp::Server::"demo"
);
"#;

const TESTS: &str = "resources:
  demo: {kind: mcp, identifier: 'https://h/demo', catalog: tools.json, scopes: {step_up: [files:read]}}
matrix:
  personas:
    - {name: chief, principal: {user: corp/ann, roles: [corp/chief]}}
    - {name: clerk, principal: {user: corp/bob}}
cases:
  - {name: a, principal: {user: corp/bob}, token: {scopes: [files:read]}, action: tools/call, target: read, expect: permit}
";

/// A folder with the set `a`, and whatever else a test writes.
struct Sets(TempDir);

impl Sets {
    fn new() -> Self {
        let sets = Self(TempDir::new().unwrap());
        sets.set("a", POLICY);
        sets
    }

    fn set(&self, name: &str, policy: &str) {
        let folder = self.path(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("policy.cedar"), policy).unwrap();
        fs::write(folder.join("policy.test.yaml"), TESTS).unwrap();
        fs::write(folder.join("tools.json"), r#"[{"name": "read"}, {"name": "write"}]"#).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        run(self.0.path(), arguments)
    }
}

fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output: Output =
        Command::new(binary().unwrap()).arg("policy").args(arguments).current_dir(folder).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn check_names_the_lint_the_place_and_the_fix() {
    let sets = Sets::new();
    assert_eq!(sets.run(&["check", "a"]), (0, "ok: a: 2 policies\n".to_owned(), String::new()));
    sets.set("b", &POLICY.replace("files:read", "files:raed").replace("demo/read", "demo/raed"));
    let (code, printed, said) = sets.run(&["check", "b"]);
    assert_eq!((code, printed.as_str()), (0, "ok: b: 2 policies\n"), "warnings do not fail");
    assert_eq!(
        said,
        "b/policy.cedar:5:26: warning[unknown-target]: there is no `Mcp::Tool::\"demo/raed\"`\n  help: did you mean \
         `Mcp::Tool::\"demo/read\"`?\n\
         b/policy.cedar:7:32: warning[misspelt-scope]: the scope `files:raed` is known to nobody else\n  help: did you mean \
         `files:read`?\n"
    );
    assert_eq!(sets.run(&["check", "b", "--deny-warnings"]).0, 1);
    let allowed = ["check", "b", "--deny-warnings", "--allow", "unknown-target", "--allow", "misspelt-scope"];
    assert_eq!(sets.run(&allowed).0, 0);
    assert_eq!(sets.run(&["check", "b", "--allow", "everything"]).0, 2);
    let (code, printed, _) = sets.run(&["check", ".", "--json", "--deny-warnings"]);
    let found = json(&printed);
    assert_eq!((code, &found["sets"][0]["ok"], &found["sets"][1]["ok"]), (1, &json!(true), &json!(false)));
    assert_eq!(found["sets"][1]["diagnostics"][0]["lint"], "unknown-target");
    assert_eq!(found["sets"][1]["diagnostics"][0]["line"], 5);
}

#[test]
fn check_takes_resources_and_scopes_from_a_configuration() {
    let sets = Sets::new();
    let configuration = "version: 1\nissuers: {corp: {issuer: 'https://idp.example.com'}}\nresources:\n  demo: {identifier: \
        'https://mcp.example.com/demo', kind: mcp, issuers: [corp], tools: {catalog: a/tools.json}, scopes: {supported: \
        [files:list]}}\npolicies: {path: a}\n";
    fs::write(sets.path("palisade.yaml"), configuration).unwrap();
    let (code, printed, said) = sets.run(&["check", "--config", "palisade.yaml"]);
    assert!(code == 0 && printed.ends_with("a: 2 policies\n"), "{printed}{said}");
    assert!(said.contains("warning[unlisted-scope]: no resource lists the scope `files:read`"), "{said}");
    let (_, printed, _) = sets.run(&["matrix", "--config", "palisade.yaml"]);
    assert!(printed.contains("| clerk "), "{printed}");
    fs::write(sets.path("palisade.yaml"), configuration.replace("kind: mcp", "kind: mpc")).unwrap();
    assert_eq!(sets.run(&["check", "--config", "palisade.yaml"]).0, 1);
}

#[test]
fn fmt_and_test_speak_json() {
    let sets = Sets::new();
    sets.set("b", "permit(principal,action,resource);");
    let (code, printed, _) = sets.run(&["fmt", "--check", "--json", "."]);
    let states: Vec<Value> =
        json(&printed)["files"].as_array().unwrap().iter().map(|file| file["state"].clone()).collect();
    assert_eq!((code, states), (1, vec![json!("formatted"), json!("not_formatted")]));
    let (code, printed, _) = sets.run(&["test", "a", "--json"]);
    let covered: Vec<(Value, Value)> = json(&printed)["coverage"]
        .as_array()
        .unwrap()
        .iter()
        .map(|policy| (policy["policy"]["id"].clone(), policy["covered"].clone()))
        .collect();
    assert_eq!(code, 0);
    assert_eq!(covered, [(json!("chiefs"), json!(false)), (json!("read"), json!(true))]);
    let (_, printed, _) = sets.run(&["test", "a"]);
    assert!(printed.contains("a/policy.cedar:9: no case is decided by `chiefs`"), "{printed}");
}

#[test]
fn a_matrix_is_written_and_checked() {
    let sets = Sets::new();
    for file in ["matrix.txt", "matrix.csv"] {
        assert_eq!(sets.run(&["matrix", "a", "--output", file]), (0, String::new(), String::new()));
        assert_eq!(sets.run(&["matrix", "a", "--check", file]), (0, String::new(), String::new()));
    }
    sets.set("a", &POLICY.replace("principal is User", "principal is Client"));
    for file in ["matrix.txt", "matrix.csv"] {
        let (code, printed, said) = sets.run(&["matrix", "a", "--check", file]);
        assert_eq!((code, printed.as_str()), (1, "demo: clerk: read: step-up: files:read -> deny\n"));
        assert!(said.contains("1 cells are others than in"), "{said}");
        let (_, printed, _) = sets.run(&["matrix", "a", "--json", "--check", file]);
        assert_eq!(json(&printed)["differences"][0]["after"], "deny");
    }
    let (code, printed, _) = sets.run(&["matrix", "a", "--json"]);
    assert_eq!((code, &json(&printed)["tables"][0]["rows"][0]["persona"]), (0, &json!("chief")));
    assert_eq!(sets.run(&["matrix", "a", "--output", "matrix.html"]).0, 0);
    assert!(fs::read_to_string(sets.path("matrix.html")).unwrap().starts_with("<!doctype html>"));
    assert_eq!(sets.run(&["matrix", "a", "--check", "matrix.html"]).0, 2);
    assert_eq!(sets.run(&["matrix", "a", "--check", "gone.txt"]).0, 2);
    fs::remove_file(sets.path("a/policy.test.yaml")).unwrap();
    assert_eq!(sets.run(&["matrix", "a"]).0, 2, "nobody asks");
}

#[test]
fn diff_says_what_changes_and_exits_accordingly() {
    let sets = Sets::new();
    sets.set("b", &POLICY.replace("files:read", "files:list"));
    let (code, printed, _) = sets.run(&["diff", "a", "a"]);
    assert!(code == 0 && printed.starts_with("0 of "), "{printed}");
    let (code, printed, _) = sets.run(&["diff", "a", "b"]);
    assert_eq!(code, 1);
    let expected = "~ policy read (a/policy.cedar:1 -> b/policy.cedar:1)\n\
        clerk: Mcp::Action::\"tools/call\" on Mcp::Tool::\"demo/read\": step-up: files:read -> deny\n1 of ";
    assert!(printed.starts_with(expected), "{printed}");
    let (code, printed, _) = sets.run(&["diff", "a", "b", "--json"]);
    assert_eq!((code, &json(&printed)["decisions"][0]["after"]["decision"]), (1, &json!("deny")));
    sets.set("c", "permit (");
    assert_eq!(sets.run(&["diff", "a", "c"]).0, 2);
    assert_eq!(sets.run(&["diff", "a", "gone"]).0, 2);
    assert_eq!(sets.run(&["diff", "a"]).0, 2);
    assert_eq!(sets.run(&["diff", "a", "b", "--log", "gone"]).0, 2);
}

/// A line of the decision log.
fn record(principal: Option<&str>, decision: &str, reason: &str, scopes: &[&str], target: &str) -> Value {
    let mut record = json!({
        "type": "palisade.decision", "schema_version": 1, "id": "01980000-0000-7000-8000-000000000000",
        "time": "2026-01-01T00:00:00.000Z", "duration_us": 5, "decision": decision, "reason": reason, "issuer": "corp",
        "action": "Mcp::Action::\"tools/call\"", "resource": "demo", "target": target, "scopes": scopes, "count": 1
    });
    if let Some(principal) = principal {
        record["principal"] = json!(principal);
    }
    record
}

#[test]
fn diff_over_a_log_asks_what_was_asked_and_counts_what_it_cannot() {
    let sets = Sets::new();
    sets.set("b", &POLICY.replace("principal is User", "principal is Client"));
    let (bob, read) = (Some("User::\"corp/bob\""), "Mcp::Tool::\"demo/read\"");
    let permit = || record(bob, "permit", "permitted", &["files:read"], read);
    let batch = {
        let mut batch = permit();
        let item = |target: &str, decision: &str, reason: &str| json!({"action": "Mcp::Action::\"tools/call\"", "target": target, "decision": decision, "reason": reason});
        batch["items"] = json!([
            item(read, "permit", "permitted"),
            item("Mcp::Tool::\"demo/write\"", "deny", "no_permit")
        ]);
        batch
    };
    let chief = |roles: &[&str]| {
        let mut record =
            record(Some("User::\"corp/ann\""), "permit", "permitted", &[], "Mcp::Tool::\"demo/write\"");
        record["principal_in"] = json!(roles);
        record
    };
    let lines = [
        json!({"type": "palisade.segment", "schema_version": 1, "series": "decisions", "sequence": 1, "time": "2026-01-01T00:00:00.000Z"}),
        permit(),
        permit(),
        batch,
        record(None, "deny", "no_credentials", &[], read),
        record(None, "deny", "no_permit", &[], read),
        record(bob, "deny", "no_permit", &[], &format!("Mcp::Tool::\"demo/{}", "x".repeat(200))),
        chief(&["Role::\"corp/chief\""]),
        // A chief, which the record does not say.
        chief(&[]),
    ];
    fs::create_dir(sets.path("audit")).unwrap();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(sets.path("audit/decisions-0000000000000001.jsonl"), format!("{text}garbage\n")).unwrap();
    let (code, printed, said) = sets.run(&["diff", "a", "b", "--log", "audit"]);
    assert_eq!(code, 1, "{said}");
    let expected = "~ policy read (a/policy.cedar:1 -> b/policy.cedar:1)\n\
        User::\"corp/bob\": Mcp::Action::\"tools/call\" on Mcp::Tool::\"demo/read\": permit -> deny (3 times)\n    \
        before: read (a/policy.cedar:1)\n\
        3 of 5 decisions change\n\
        of 9 recorded decisions, 5 were asked again\n  \
        1 were refused before any policy was asked\n  \
        1 could not be: a recorded name is cut off or unreadable\n  \
        1 could not be: no principal is recorded\n  \
        1 could not be: A does not give the recorded answer";
    assert!(printed.starts_with(expected), "{printed}");
    assert!(printed.contains("1 lines of the log are no records"), "{printed}");
    let (code, printed, _) = sets.run(&["diff", "a", "a", "--log", "audit", "--json"]);
    let found = json(&printed);
    assert_eq!(
        (code, &found["replay"]["decisions"], &found["replay"]["not_reproduced"]),
        (0, &json!(9), &json!(1))
    );
}

/// The log of `records` beside the sets.
fn write_log(sets: &Sets, records: &[Value]) {
    fs::create_dir_all(sets.path("audit")).unwrap();
    let header = json!({"type": "palisade.segment", "schema_version": 1, "series": "decisions", "sequence": 1, "time": "2026-01-01T00:00:00.000Z"});
    let text: String = std::iter::once(&header).chain(records).map(|line| format!("{line}\n")).collect();
    fs::write(sets.path("audit/decisions-0000000000000001.jsonl"), text).unwrap();
}

#[test]
fn diff_over_a_log_compares_nothing_that_hangs_on_what_is_not_recorded() {
    let sets = Sets::new();
    let (bob, read) = (Some("User::\"corp/bob\""), "Mcp::Tool::\"demo/read\"");
    let permit = || record(bob, "permit", "permitted", &["files:read"], read);
    let forbid = |condition: &str| {
        format!(
            "{POLICY}@id(\"no\") forbid (principal, action in Mcp::Action::\"tools/call\", resource == {read}) when {{ {condition} }};"
        )
    };
    write_log(&sets, &[permit(), permit()]);
    let lacking = "2 could not be: a policy looks at the arguments, which the record does not hold";
    sets.set("b", &forbid("context.args.text.hasTag(\"/path\")"));
    for (before, after) in [("a", "b"), ("b", "a")] {
        let (code, printed, said) = sets.run(&["diff", before, after, "--log", "audit"]);
        assert_eq!(code, 2, "{printed}{said}");
        assert!(printed.contains(lacking), "{printed}");
        assert!(said.contains("no recorded decision could be compared"), "{said}");
    }

    // Of two that differ in nothing but the time, each is asked where a policy looks at the time.
    let mut later = permit();
    later["time"] = json!("2026-03-01T00:00:00.000Z");
    write_log(&sets, &[permit(), later]);
    sets.set("b", &forbid("context.now > datetime(\"2026-02-01\")"));
    let (code, printed, _) = sets.run(&["diff", "a", "b", "--log", "audit"]);
    assert_eq!(code, 1);
    assert!(printed.contains("permit -> deny\n") && printed.contains("1 of 2 decisions change"), "{printed}");

    let mut cut = permit();
    cut["detail"] = json!("principal_in cut");
    let mut counted = permit();
    counted["count"] = json!(3);
    write_log(&sets, &[cut, counted]);
    let (code, printed, _) = sets.run(&["diff", "a", "a", "--log", "audit"]);
    assert_eq!(code, 0, "{printed}");
    let expected = "of 4 recorded decisions, 1 were asked again\n  \
        2 could not be: only the first of several is recorded\n  1 could not be: the record was cut\n";
    assert!(printed.ends_with(expected), "{printed}");
}

#[test]
fn sets_of_a_configuration_are_checked_with_their_limits_and_as_one() {
    let sets = Sets::new();
    let configuration = |resources: &str| {
        format!(
            "version: 1\nissuers: {{corp: {{issuer: 'https://idp.example.com'}}}}\nresources:\n  demo: {{identifier: \
             'https://mcp.example.com/demo', kind: mcp, issuers: [corp], tools: {{catalog: a/tools.json}}, scopes: {{supported: \
             [files:read]}}}}\n  other: {{identifier: 'https://mcp.example.com/other', kind: mcp, issuers: [corp], tools: \
             {{catalog: a/tools.json}}}}\npolicies: {{sets: {{a: {{path: a, resources: [{resources}]}}, b: {{path: b, \
             resources: [other]}}}}}}\n"
        )
    };
    fs::create_dir(sets.path("b")).unwrap();
    let write = |resources: &str, other: &str| {
        fs::write(sets.path("palisade.yaml"), configuration(resources)).unwrap();
        let policy = format!(
            "@id(\"{other}\") permit (principal is User, action in Mcp::Action::\"list\", resource in Mcp::Server::\"other\");"
        );
        fs::write(sets.path("b/policy.cedar"), policy).unwrap();
    };
    let check = ["check", "--config", "palisade.yaml"];
    write("demo", "lists");
    let (code, printed, said) = sets.run(&check);
    assert!(code == 0 && printed.ends_with("b: 3 policies\n"), "{printed}{said}");
    let (code, printed, said) = sets.run(&["matrix", "--config", "palisade.yaml"]);
    assert!(code == 0 && printed.contains("| **other** "), "{printed}{said}");
    // A policy of the set `a` is about `demo`, which is no resource of it any more.
    write("other", "lists");
    for arguments in [&check[..], &["check", "a", "--config", "palisade.yaml"]] {
        let (code, _, said) = sets.run(arguments);
        assert_eq!(code, 1, "{said}");
        assert!(
            said.contains("`read` reaches beyond the policy set `a`: it is about the resource `demo`"),
            "{said}"
        );
    }
    assert_eq!(sets.run(&["matrix", "--config", "palisade.yaml"]).0, 1);
    // Ids are taken across sets, as in the service.
    write("demo", "read");
    let (code, _, said) = sets.run(&check);
    assert!(code == 1 && said.contains("the policy id `read` is taken by"), "{said}");
}

#[test]
fn a_watched_set_is_checked_after_every_change() {
    let sets = Sets::new();
    let mut child = Command::new(binary().unwrap())
        .args(["policy", "check", "a", "--watch", "--json"])
        .current_dir(sets.0.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (lines, printed) = mpsc::channel();
    let output = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
    let next = || json(&printed.recv_timeout(Duration::from_secs(20)).unwrap());
    assert_eq!(next()["sets"][0]["ok"], true);
    fs::write(sets.path("a/policy.cedar"), "permit (").unwrap();
    assert_eq!(next()["sets"][0]["ok"], false);
    fs::rename(sets.path("a/policy.cedar"), sets.path("a/other.cedar")).unwrap();
    fs::write(sets.path("a/other.cedar"), POLICY).unwrap();
    assert!((0..3).any(|_| next()["sets"][0]["ok"] == true));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_ready_made_sets_are_clean_and_their_matrices_fresh() {
    let root = repository().join("policies");
    let (code, printed, said) = run(&root, &["check", ".", "--deny-warnings"]);
    assert_eq!(code, 0, "{said}");
    let folders = fs::read_dir(&root).unwrap().flatten().filter(|entry| entry.path().is_dir());
    let sets: Vec<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert_eq!(printed.lines().count(), sets.len(), "{printed}");
    for set in &sets {
        let golden = format!("{set}/matrix.txt");
        let (code, printed, said) = run(&root, &["matrix", set, "--check", &golden]);
        assert_eq!(code, 0, "{printed}{said}");
        // As it would be written now, to the byte.
        let (_, printed, _) = run(&root, &["matrix", set]);
        assert_eq!(printed, fs::read_to_string(root.join(&golden)).unwrap(), "{set}");
    }
}
