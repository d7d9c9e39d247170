//! `palisade token verify` on tokens of the real provider, at fixed times.

use std::io::Write;
use std::process::{Command, Stdio};

use palisade_model::Clock;
use palisade_tests::components::OidcProvider;
use palisade_tests::service::binary;
use serde_json::{Value, json};

/// What the command prints for these lines, and whether it says that all are good.
fn verify(configuration: &std::path::Path, at: i64, lines: &[&str]) -> (Vec<Value>, bool) {
    let mut command = Command::new(binary().unwrap());
    command
        .args(["token", "verify", "--resource", "files", "--at", &at.to_string(), "--config"])
        .arg(configuration);
    let mut child = command.arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    (printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_line_in_is_one_answer_out_at_the_time_that_was_asked_for() {
    let provider = OidcProvider::start_with(&json!({"token_ttl_s": 300})).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let configuration = folder.path().join("palisade.yaml");
    let text = format!(
        "version: 1\nissuers:\n  corp: {{issuer: \"{}\", network: {{private: true}}}}\nresources:\n  files: {{identifier: \
         https://mcp.example.com/files, kind: mcp, issuers: [corp]}}\n",
        provider.issuer()
    );
    std::fs::write(&configuration, text).unwrap();
    let good = provider.token("alice", "https://mcp.example.com/files", "files:read").await.unwrap();
    let other = provider.token("alice", "https://mcp.example.com/other", "files:read").await.unwrap();
    let agent = provider.client_token("https://mcp.example.com/files", "files:read").await.unwrap();
    let flipped = good.replacen('.', ".A", 1);
    let now = palisade_model::SystemClock.now().unix_seconds();

    let (answers, all) = verify(&configuration, now, &[&good, &agent]);
    assert!(all);
    assert_eq!(answers[0], json!({"accepted": true, "subject": "User::\"corp/alice\""}));
    assert_eq!(answers[1], json!({"accepted": true, "subject": "Client::\"corp/agent\""}));

    let reasons = |at: i64, lines: &[&str]| -> Vec<String> {
        let (answers, all) = verify(&configuration, at, lines);
        assert!(!all);
        answers.iter().map(|answer| answer["reason"].as_str().unwrap_or("accepted").to_owned()).collect()
    };
    let lines = [good.as_str(), "", "not a token", &flipped, &other];
    let expected =
        ["accepted", "token_malformed", "token_malformed", "token_malformed", "token_audience_mismatch"];
    assert_eq!(reasons(now, &lines), expected);
    // 300 s to live and 30 s of leeway: the second after is too late, and a minute before it was made too early.
    assert_eq!(reasons(now + 332, &[&good]), ["token_expired"]);
    assert_eq!(reasons(now - 60, &[&good]), ["token_not_yet_valid"]);
    assert!(verify(&configuration, now + 320, &[&good]).1);
}
