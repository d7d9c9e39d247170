use serde_json::json;

use super::*;

fn catalog(text: &str) -> Result<Vec<Tool>, Diagnostic> {
    read_catalog(&SourceFile::new("tools.json", text))
}

fn fetched(tools: Value) -> Catalog {
    Catalog::listed(tools.as_array().unwrap().clone()).unwrap()
}

fn written(text: &str) -> SourceFile {
    SourceFile::new("tools.json", text)
}

#[test]
fn a_list_result_and_its_bare_array_are_read_alike() {
    let array =
        r#"[{"name": "echo", "title": "Echo", "annotations": {"readOnlyHint": true}, "groups": ["open"]}]"#;
    let tools = catalog(array).unwrap();
    assert_eq!(tools, catalog(&format!(r#"{{"tools": {array}, "nextCursor": "x"}}"#)).unwrap());
    assert_eq!(tools[0].read_only, Some(true));
    assert_eq!(tools[0].destructive, None);
    assert_eq!(tools[0].groups, ["open"]);
}

#[test]
fn what_is_no_catalogue_is_refused_with_its_place() {
    for (text, says) in [
        ("{}", "no tool catalogue"),
        ("3", "no tool catalogue"),
        (
            r#"[{"name": "a"}, {"name": "a"}]"#,
            "1:11: error: tool 2 of the list: the name `a` is empty or taken",
        ),
        (r#"[{"name": ""}]"#, "empty or taken"),
        (r#"[{"title": "a"}]"#, "missing field `name`"),
        (r#"[{"name": "a", "annotations": {"readOnlyHint": "yes"}}]"#, "expected a boolean"),
        (r#"[{"name": "a", "inputSchema": true}]"#, "the input schema of `a` is no object"),
        (r#"[{"name": "a", "name": "b"}]"#, "same member twice"),
        ("[", "not one JSON value"),
    ] {
        let error = catalog(text).unwrap_err();
        assert!(error.to_string().contains(says), "{text}: {error}");
    }
}

#[test]
fn what_is_written_is_read_back_and_written_again_the_same() {
    let tools = json!([
        {"name": "b", "title": "B", "description": "says b", "icons": [1], "annotations": {"openWorldHint": false, "readOnlyHint": true},
         "inputSchema": {"type": "object", "properties": {"z": {"type": "number", "maximum": 0.1}, "a": {"const": 9_007_199_254_740_993_u64}}}},
        {"name": "a-b.c", "inputSchema": {"type": "object"}},
    ]);
    let text = fetched(tools.clone()).to_text();
    assert_eq!(Catalog::read(&written(&text)).unwrap().to_text(), text);
    let names: Vec<String> = catalog(&text).unwrap().into_iter().map(|tool| tool.name).collect();
    assert_eq!(names, ["a-b.c", "b"], "by name");
    assert!(!text.contains("icons"), "{text}");
    let mut reversed = tools.as_array().unwrap().clone();
    reversed.reverse();
    assert_eq!(Catalog::listed(reversed).unwrap().to_text(), text, "whatever order the server has");
    let other_order: Value = serde_json::from_str(
        r#"[{"name": "t", "inputSchema": {"type": "object", "properties": {"a": {}, "b": {}}}}]"#,
    )
    .unwrap();
    let one_order: Value = serde_json::from_str(
        r#"[{"inputSchema": {"properties": {"b": {}, "a": {}}, "type": "object"}, "name": "t"}]"#,
    )
    .unwrap();
    assert_eq!(fetched(other_order).to_text(), fetched(one_order).to_text());
}

#[test]
fn a_schema_that_is_not_the_one_of_its_digest_is_refused_with_line_and_fix() {
    let text = fetched(json!([{"name": "t", "inputSchema": {"type": "object"}}])).to_text();
    assert!(catalog(&text).is_ok());
    let tampered = text.replace(r#""type": "object""#, r#""type": "object", "properties": {"all": {}}"#);
    let error = catalog(&tampered).unwrap_err().to_string();
    assert!(
        error.starts_with("tools.json:8:")
            && error.contains("tool `t` is not the one its digest was made of"),
        "{error}"
    );
    assert!(error.contains("help: run `palisade tools fetch`"), "{error}");
    assert!(Catalog::read(&written(&tampered)).is_ok(), "it can be written anew");
    let gone = text.replace("\"inputSchema\"", "\"input_schema\"");
    assert!(catalog(&gone).is_err(), "a digest of nothing");
}

#[test]
fn a_list_with_a_schema_that_the_service_would_refuse_is_refused_by_the_name_of_its_tool() {
    for (schema, says) in [
        (json!({"type": "nothing"}), "is no JSON Schema"),
        (json!({"$ref": "https://example.com/other.json"}), "refers to `https://example.com/other.json`"),
        (json!({"anyOf": [{"$ref": "#"}]}), "refers to itself"),
    ] {
        let error =
            Catalog::listed(vec![json!({"name": "good"}), json!({"name": "bad", "inputSchema": schema})])
                .unwrap_err();
        assert!(error.starts_with("the input schema of tool `bad` ") && error.contains(says), "{error}");
        assert!(error.contains("ask whoever runs the server for a simpler schema"), "{error}");
    }
}

#[test]
fn groups_and_tags_are_ours_and_stay_while_the_server_changes() {
    let before = Catalog::read(&written(
        r#"[{"name": "kept", "groups": ["files"], "tags": {"team": ["a"]}, "description": "old"}, {"name": "gone", "groups": ["x"]}]"#,
    ))
    .unwrap();
    let server = fetched(json!([
        {"name": "kept", "groups": ["admin"], "tags": {"team": ["root"]}, "description": "new"},
        {"name": "new", "groups": ["admin"], "inputSchemaDigest": "sha256:of its own"},
    ]));
    let after = server.with_labels_of(&before);
    let tools = catalog(&after.to_text()).unwrap();
    assert_eq!(tools[0].groups, ["files"]);
    assert_eq!(tools[0].tags["team"], ["a".to_owned()].into());
    assert!(tools[1].groups.is_empty(), "a server does not put a tool into a group");
}

#[test]
fn what_changed_is_told_member_by_member() {
    let before = fetched(json!([
        {"name": "a", "inputSchema": {"type": "object"}},
        {"name": "b", "description": "says b", "annotations": {"readOnlyHint": true}},
        {"name": "c"}, {"name": "same", "annotations": {"x": 1, "y": 2}},
    ]));
    let after = fetched(json!([
        {"name": "a", "inputSchema": {"type": "object", "required": ["x"]}},
        {"name": "b", "description": "says B", "title": "B"},
        {"name": "d"}, {"name": "same", "annotations": {"y": 2, "x": 1}, "outputSchema": {}},
    ]));
    let changes = after.changes_since(&before);
    assert_eq!((&changes.added[..], &changes.removed[..]), (&["d".to_owned()][..], &["c".to_owned()][..]));
    assert_eq!(changes.unchanged, 1);
    let [a, b] = &changes.changed[..] else { panic!("{changes:?}") };
    assert_eq!((a.tool.as_str(), &a.members[..]), ("a", &["inputSchema"][..]));
    assert!(a.digest_before.is_some() && a.digest_after.is_some() && a.digest_before != a.digest_after);
    assert_eq!(b.members, ["title", "description", "annotations"]);
    assert_eq!((&b.digest_before, &b.digest_after), (&None, &None));
    assert!(!changes.is_empty() && after.changes_since(&after).is_empty());
}

#[test]
fn a_tool_is_found_where_it_is_named_and_not_where_it_is_mentioned() {
    let text = "[\n{\"title\": \"a\", \"name\" :\n \"a\"}\n]";
    assert_eq!(place_of_tool(text, "a"), (3, 2));
    assert_eq!(place_of_tool(text, "b"), (0, 0));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic_and_what_it_reads_is_written_the_same_again(
        text in proptest::prop_oneof!["\\PC*", r#"\[(\{"name":"[ab]"(,"(tags|groups|annotations|inputSchema)":(\{\}|\[\]|1\.5e3|null))?\},?){0,3}\]"#],
    ) {
        let file = SourceFile::new("tools.json", text);
        if let (Ok(tools), Ok(catalog)) = (read_catalog(&file), Catalog::read(&file)) {
            let again = SourceFile::new("tools.json", catalog.to_text());
            let mut sorted = tools;
            sorted.sort_by(|left, right| left.name.cmp(&right.name));
            proptest::prop_assert_eq!(read_catalog(&again).unwrap(), sorted);
            proptest::prop_assert_eq!(Catalog::read(&again).unwrap().to_text(), again.text);
        }
    }
}
