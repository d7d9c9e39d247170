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
            r#"[{"uid": {"type": "Role", "id": "a"}, "parents": [{"type": "Mcp::Server", "id": "b"}]}]"#,
            "not allowed to have",
        ),
        (
            r#"[{"uid": {"type": "Role", "id": "a"}, "parents": [{"type": "User", "id": "b"}]}]"#,
            "`Role::\"a\"` is put below `User::\"b\"`",
        ),
        (
            r#"[{"uid": {"type": "Role", "id": "a"}, "parents": [{"__entity": {}, "type": "Role", "id": "b"}]}]"#,
            "a parent of `Role::\"a\"` has no `type` and `id`",
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

/// A file of several pieces: a comment and a policy, again and again, each on lines of its own.
fn long_file(last: &str) -> (Sources, usize) {
    const TIMES: usize = 2_000;
    let policy = "// \"quoted; and odd\npermit (principal is User, action in Mcp::Action::\"tools/call\", resource);\n";
    (sources(&format!("{}{last}", policy.repeat(TIMES)), "[]"), TIMES)
}

#[test]
fn a_long_file_is_read_as_if_it_were_one_piece() {
    let (long, times) = long_file("@id(\"last\") forbid (principal, action, resource);\n");
    assert!(crate::pieces::of(&long.policies[0].text).len() > 2);
    let policies = Policies::load(&long, &world(), OnError::Forbid).unwrap();
    let lines: BTreeMap<&str, usize> =
        policies.policy_ids().map(|info| (info.policy.id.as_str(), info.policy.line)).collect();
    assert_eq!(lines.len(), times + 1);
    for number in 1..=times {
        assert_eq!(lines[format!("a#{number}").as_str()], 2 * number, "policy {number}");
    }
    assert_eq!(lines["last"], 2 * times + 1);
    assert!(policies.warnings().iter().all(|warning| warning.line % 2 == 0), "{:?}", policies.warnings());
}

#[test]
fn what_is_wrong_at_the_end_of_a_long_file_is_said_with_its_place() {
    for (last, says) in [
        ("permit (principal, action, resource", "unexpected end of input"),
        ("@id(\"p\") permit (principal, action, resource) when { context.scope == 1 };", "`scope`"),
        (
            "@id(\"a#7\") permit (principal, action, resource);",
            "the policy id `a#7` is taken by set/a.cedar:14",
        ),
        ("@id(\"t\") permit (principal == ?principal, action, resource);", "is a template"),
    ] {
        let (long, times) = long_file(last);
        let errors = Policies::load(&long, &world(), OnError::Forbid).unwrap_err();
        assert!(errors.iter().all(|error| error.line == 2 * times + 1), "{}", errors[0]);
        assert!(errors[0].to_string().contains(says), "{}", errors[0]);
    }
}

#[test]
fn an_action_whose_context_not_every_request_fits_is_refused() {
    for context in [
        // No `ip`, which a request may have.
        "{ scopes: Set<String>, issuer: String, audience: Set<String>, client?: Client, actor?: Client, actors: Set<Client>,
           delegation_depth: Long, acr?: String, amr: Set<String>, auth_time?: datetime, now: datetime, host?: String,
           path?: String, surface: String, groups_complete: Bool, asserted: Bool }",
        // An empty set of scopes fits this, and no other.
        "{ scopes: Set<Long>, issuer: String, audience: Set<String>, client?: Client, actor?: Client, actors: Set<Client>,
           delegation_depth: Long, acr?: String, amr: Set<String>, auth_time?: datetime, now: datetime, ip?: ipaddr,
           host?: String, path?: String, surface: String, groups_complete: Bool, asserted: Bool }",
    ] {
        let mut sources = sources("", "[]");
        let schema = format!(
            "namespace Own {{ entity Door; action \"open\" appliesTo {{ principal: [User], resource: [Door], context: {context} }}; }}"
        );
        sources.schema.push(SourceFile::new("own.cedarschema", schema));
        let error = finding(&sources);
        assert!(error.to_string().contains("is not one that requests have"), "{error}");
    }
}
