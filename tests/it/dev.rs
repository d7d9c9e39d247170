//! The first five minutes: `palisade dev`, and what it prints.

use std::process::Command;

use palisade_tests::components::Process;
use palisade_tests::service::binary;

/// What a shell command prints.
fn shell(command: &str) -> String {
    let output = Command::new("bash").args(["-c", command]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_commands_show_a_permit_a_denial_and_a_step_up() {
    let state = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = Command::new(binary().unwrap());
        command.arg("dev").env("XDG_RUNTIME_DIR", state.path());
        command
    };
    let mut dev = Process::start("dev", start()).unwrap();
    dev.wait_for_line("audit query").await.unwrap();
    let guide = dev.log().unwrap();
    let commands: Vec<&str> = guide.lines().filter(|line| line.starts_with("curl ")).collect();
    let [permit, denial, step_up, list, exchange] = commands.as_slice() else {
        panic!("five commands: {guide}")
    };
    assert!(shell(permit).starts_with("HTTP/1.1 200"), "{permit}");
    assert!(shell(denial).starts_with("HTTP/1.1 403"), "{denial}");
    let stronger = shell(step_up);
    assert!(stronger.starts_with("HTTP/1.1 403"), "{stronger}");
    assert!(
        stronger.contains(r#"error="insufficient_scope""#) && stronger.contains(r#"scope="files:delete""#),
        "{stronger}"
    );

    // Through the gateway a client sees what its user may call.
    let listed: serde_json::Value = serde_json::from_str(&shell(list)).unwrap();
    let tools = listed["result"]["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().filter_map(|tool| tool["name"].as_str()).collect();
    assert_eq!(names, ["echo", "get_user_info", "list_files"], "{listed}");

    // The token service has a key that was made on the first start, and gives no more than was there.
    let issued: serde_json::Value = serde_json::from_str(&shell(exchange)).unwrap();
    assert_eq!(
        (&issued["token_type"], &issued["scope"]),
        (&"Bearer".into(), &"files:read".into()),
        "{issued}"
    );
    let keys = shell("curl -s http://127.0.0.1:7255/.well-known/jwks.json");
    assert!(keys.contains("ES256") && !keys.contains("\"d\""), "{keys}");

    let query = guide.lines().find(|line| line.contains("audit query")).unwrap();
    let records = shell(query);
    for word in ["permitted", "no_permit", "insufficient_scope", "missing: files:delete", "demo-open-tools"] {
        assert!(records.contains(word), "{word} is missing in:\n{records}");
    }

    // A second one on the same ports says which is taken, and what to do.
    let second = start().output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(error.contains("127.0.0.1:7254 is taken by another program: stop that one"), "{error}");

    let mint = Command::new(binary().unwrap())
        .args(["token", "mint", "--user", "root", "--role", "admin", "--scope", "files:delete"])
        .env("XDG_RUNTIME_DIR", state.path())
        .output()
        .unwrap();
    let token = String::from_utf8(mint.stdout).unwrap();
    let minted = step_up.split("Bearer ").nth(1).unwrap().split('\'').next().unwrap();
    let with_scope = step_up.replace(minted, token.trim());
    assert!(shell(&with_scope).starts_with("HTTP/1.1 200"), "{with_scope}");
}
