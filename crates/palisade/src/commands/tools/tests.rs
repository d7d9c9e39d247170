use super::*;

fn fetch(folder: &Path, list: &Value, check: bool) -> Fetch {
    let file = folder.join("list.json");
    std::fs::write(&file, list.to_string()).unwrap();
    Fetch {
        server: None,
        file: Some(file),
        token_file: None,
        timeout: Duration::from_secs(1),
        output: folder.join("tools.json"),
        check,
        json: false,
    }
}

#[test]
fn a_saved_list_becomes_a_catalogue_and_a_changed_tool_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let list = |kind: &str| json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "t", "inputSchema": {"type": kind}}]}});
    let run = |kind: &str, check: bool| fetch(folder.path(), &list(kind), check).run().unwrap();
    assert_eq!(run("object", true), Outcome::No, "there is no catalogue yet");
    assert!(!folder.path().join("tools.json").exists(), "a check writes nothing");
    assert_eq!(run("object", false), Outcome::Yes);
    assert_eq!(run("object", true), Outcome::Yes);
    let written = std::fs::read_to_string(folder.path().join("tools.json")).unwrap();
    assert_eq!(run("array", true), Outcome::No);
    assert_eq!(std::fs::read_to_string(folder.path().join("tools.json")).unwrap(), written);
    assert_eq!(run("array", false), Outcome::Yes);
    assert_ne!(std::fs::read_to_string(folder.path().join("tools.json")).unwrap(), written);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "nothing is left beside the list and the catalogue: {left:?}");
}

#[test]
fn the_report_says_what_changed_tool_by_tool() {
    let folder = tempfile::tempdir().unwrap();
    let fetch = fetch(folder.path(), &json!([]), true);
    let catalog = |tools: Value| Catalog::listed(tools.as_array().unwrap().clone()).unwrap();
    let before = catalog(json!([{"name": "a", "inputSchema": {}}, {"name": "gone"}, {"name": "same"}]));
    let after = catalog(
        json!([{"name": "a", "description": "x", "inputSchema": {"type": "object"}}, {"name": "n\u{1b}[2Jew"}, {"name": "same"}]),
    );
    let report = Report { fetch: &fetch, changes: after.changes_since(&before), tools: 3, differs: true };
    let text = report.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "+ n\\u{1b}[2Jew", "a name moves no cursor");
    assert_eq!(lines[1], "- gone");
    assert!(
        lines[2].starts_with("~ a: description, inputSchema (sha256:") && lines[2].contains(" -> sha256:"),
        "{}",
        lines[2]
    );
    assert!(lines[3].ends_with("tools.json: 1 added, 1 removed, 1 changed, 1 unchanged"));
    assert!(lines[4].ends_with("not up to date; run the same command without --check"));
    let json: Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(
        (&json["differs"], &json["written"], &json["tools"]),
        (&json!(true), &json!(false), &json!(3))
    );
    assert_eq!(json["changed"][0]["tool"], "a");
}

#[test]
fn what_is_no_list_is_refused_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    for (list, says) in [
        (json!({"tools": [], "nextCursor": "2"}), "is one page of several"),
        (json!({"tools": {}}), "no array `tools`"),
        (json!(3), "no array `tools`"),
        (json!([{"name": "a"}, {"name": "a"}]), "the name `a` is empty or taken"),
    ] {
        let error = format!("{:#}", fetch(folder.path(), &list, false).run().unwrap_err());
        assert!(error.contains("list.json: ") && error.contains(says), "{list}: {error}");
    }
    std::fs::write(folder.path().join("tools.json"), "{").unwrap();
    let error = fetch(folder.path(), &json!([]), false).run().unwrap_err().to_string();
    assert!(error.contains("tools.json:1:") && error.contains("not one JSON value"), "{error}");
}

#[test]
fn a_token_file_holds_one_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    for (text, fits) in [("abc.def-_\n", true), ("", false), ("Bearer abc", false), ("a\nb", false)] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(token(&path).is_ok(), fits, "{text:?}");
    }
}

#[test]
fn a_file_is_replaced_whole_and_keeps_who_may_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let (target, other) = (folder.path().join("tools.json"), folder.path().join("other"));
    std::fs::write(&target, "old").unwrap();
    std::fs::set_permissions(&target, Permissions::from_mode(0o640)).unwrap();
    std::fs::write(&other, "mine").unwrap();
    std::os::unix::fs::symlink(&other, folder.path().join("tools.json.new")).unwrap();
    replace(&target, "new").unwrap();
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "new");
    assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "mine", "a link beside it is not written through");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "nothing is left beside it");
}
