//! Findings: what is said about files that are wrong.

use super::*;
use crate::Severity;

/// The first error, or the first warning, of a set.
fn finding(sources: &Sources) -> Diagnostic {
    match Policies::load(sources, &world(), OnError::Forbid) {
        Ok(policies) => policies.warnings().first().cloned().expect("a finding"),
        Err(errors) => errors[0].clone(),
    }
}

#[test]
fn what_is_wrong_with_a_policy_is_said_with_place_and_fix() {
    for (text, place, severity, says, helps) in [
        (
            "permit (principal, action, resource",
            "set/a.cedar:1:",
            Severity::Error,
            "unexpected end of input",
            "",
        ),
        (
            "@id(\"p\")\npermit (principal is User, action, resource)\nwhen { context.scope.contains(\"a\") };",
            "set/a.cedar:3:",
            Severity::Error,
            "`scope`",
            "did you mean `scopes`?",
        ),
        (
            "@id(\"p\") permit (principal, action == Mcp::Action::\"tool/call\", resource);",
            "set/a.cedar:1:",
            Severity::Error,
            "tool/call",
            "tools/call",
        ),
        (
            "@id(\"p\") permit (principal is Users, action, resource);",
            "set/a.cedar:1:",
            Severity::Error,
            "Users",
            "User",
        ),
        (
            "@id(\"p\") permit (principal, action, resource);\n@id(\"p\") forbid (principal, action, resource);",
            "set/a.cedar:2:1",
            Severity::Error,
            "the policy id `p` is taken by set/a.cedar:1",
            "an `@id` of its own",
        ),
        (
            "\n permit (principal, action, resource);",
            "set/a.cedar:2:2",
            Severity::Warning,
            "no `@id`",
            "`a#1`",
        ),
        (
            "@id(\"p\") permit (principal, action == Mcp::Action::\"tools/call\", resource);",
            "set/a.cedar:1:1",
            Severity::Warning,
            "action of their own",
            "action in",
        ),
    ] {
        let finding = finding(&sources(text, "[]"));
        let shown = finding.to_string();
        assert!(shown.starts_with(place) && shown.contains(says), "{text}\n{shown}");
        assert!(finding.help.unwrap_or_default().contains(helps), "{text}\n{shown}");
        assert_eq!(finding.severity, severity, "{text}");
    }
}

#[test]
fn two_files_may_not_give_one_id() {
    let mut sources = sources("@id(\"p\") permit (principal, action, resource);", "[]");
    sources
        .policies
        .push(SourceFile::new("set/b.cedar", "\n@id(\"p\") permit (principal, action, resource);"));
    let shown = finding(&sources).to_string();
    assert!(
        shown.starts_with("set/b.cedar:2:1: error: the policy id `p` is taken by set/a.cedar:1"),
        "{shown}"
    );
}

#[test]
fn a_template_that_nothing_links_is_refused() {
    let sources = Sources {
        policies: vec![SourceFile::new(
            "set/a.cedar",
            "@id(\"t\") forbid (principal == ?principal, action, resource);",
        )],
        ..Sources::default()
    };
    let shown = finding(&sources).to_string();
    assert!(shown.starts_with("set/a.cedar:1:1: error: `t` is a template, and nothing links it"), "{shown}");
}

#[test]
fn what_is_wrong_with_an_entity_file_is_said_with_its_place() {
    for (entities, says) in [
        ("{}", "is no list of entities"),
        ("[", "not one JSON value"),
        (r#"[{"attrs": {}}]"#, "has no `uid`"),
        (r#"[{"uid": {"type": "Role", "id": "a"}, "atrs": {}}]"#, "did you mean `attrs`?"),
        (r#"[{"uid": {"type": "Role", "id": "a"}, "parents": {}}]"#, "`parents` is a list"),
        ("[{\"uid\": {\"type\": \"Role\", \"id\": \"a\"}, \"attrs\": {\"x\": 1}}]", "entities.json:1:"),
        (r#"[{"uid": {"type": "Roll", "id": "a"}}]"#, "Roll"),
        (r#"[{"uid": {"type": "Anonymous", "id": "anonymous"}}]"#, "made by the service"),
        (
            r#"[{"uid": {"type": "Palisade::Text", "id": "args"}, "tags": {"/path": "/w"}}]"#,
            "made by the service",
        ),
        (r#"[{"uid": {"type": "Mcp::Action", "id": "x"}}]"#, "made by the service"),
        (r#"[{"uid": {"type": "Role", "id": "a"}}, {"uid": {"type": "Role", "id": "a"}}]"#, "given twice"),
        (
            r#"[{"uid": {"type": "Role", "id": "a"}, "parents": [{"type": "Role", "id": "b"}]},
                {"uid": {"type": "Role", "id": "b"}, "parents": [{"type": "Role", "id": "a"}]}]"#,
            "cycle",
        ),
        (
            r#"[{"uid": {"type": "Role", "id": "a"}, "parents": [{"type": "User", "id": "b"}]}]"#,
            "not allowed to have",
        ),
        (
            r#"[{"uid": {"type": "Mcp::Tool", "id": "demo/echo"}, "attrs": {"read_only": "yes"}}]"#,
            "read_only",
        ),
    ] {
        let shown =
            finding(&sources("@id(\"p\") permit (principal, action, resource);", entities)).to_string();
        assert!(shown.starts_with("set/entities.json") && shown.contains(says), "{entities}\n{shown}");
    }
}

#[test]
fn a_fragment_may_not_touch_what_is_built_in() {
    for (fragment, says) in [
        ("namespace Own { entity User; }", "`Own` defines `User`, which stands in the empty namespace"),
        ("namespace Own { type Role = Long; }", "`Own` defines `Role`"),
        ("entity Device;", "in the empty namespace"),
        ("namespace Mcp { entity Extra; }", "`Mcp`, a namespace of the built-in vocabulary"),
        ("namespace Palisade { type X = Long; }", "`Palisade`"),
        ("namespace Own { entity A in [B]; }", "B"),
        ("namespace Own { entity A", "own.cedarschema:1:"),
        (
            "namespace Own { entity A;\n action \"go\" appliesTo { principal: [User], resource: [A], context: { x: Long } }; }",
            "own.cedarschema:2:",
        ),
    ] {
        let mut sources = sources("@id(\"p\") permit (principal, action, resource);", "[]");
        sources.schema.push(SourceFile::new("own.cedarschema", fragment));
        let shown = finding(&sources).to_string();
        assert!(shown.starts_with("own.cedarschema") && shown.contains(says), "{fragment}\n{shown}");
    }
}
