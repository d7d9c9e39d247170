//! Rules: each form, and the pair of conditions against CEL's own interpreter.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::{
    expression::{ClaimUse, Mode, Targets, Translator, Untranslatable, parse},
    import,
    operand::Kind,
};
use crate::{Import, Options, Outcome, cedar::Condition};

fn options() -> Options {
    Options { file: "config.yaml".to_owned(), name: "r".parse().unwrap(), identifier: None, issuer: None }
}

fn translated(rule: &str, kind: Kind, mode: Mode, targets: &Targets) -> Result<Condition, Untranslatable> {
    let issuers = [("corp".parse().unwrap(), "https://corp.example".to_owned())];
    let mut claims = ClaimUse::default();
    let mut translator = Translator {
        resource: "r",
        issuers: &issuers,
        targets,
        claims: &mut claims,
        kind,
        mode,
        scopes: false,
    };
    translator.translate(&parse(rule)?)?.holds
}

fn one_target() -> Targets {
    Targets { names: Some(vec!["t1".to_owned()]), prefixed: false }
}

#[test]
fn each_form_has_its_counterpart() {
    for (rule, expected) in [
        (r#"mcp.tool.name == "echo""#, r#"resource == Mcp::Tool::"r/echo""#),
        (r#""echo" == mcp.tool.name"#, r#"resource == Mcp::Tool::"r/echo""#),
        (r#"mcp.tool.name != "echo""#, r#"!(resource == Mcp::Tool::"r/echo")"#),
        (r#"mcp.tool.name.startsWith("a*")"#, r#"resource.name like "a\**""#),
        (r#"mcp.tool.name.contains("b")"#, r#"resource.name like "*b*""#),
        (r#"mcp.tool.target == "t1""#, "true"),
        (r#"mcp.tool.target == "t2""#, "false"),
        (r#"mcp.prompt.name == "echo""#, "false"),
        (r#"!(mcp.prompt.name == "echo")"#, "false"),
        ("has(mcp.tool)", "true"),
        ("has(mcp.prompt)", "false"),
        (r#"jwt.iss == "https://corp.example""#, r#"context.issuer == "corp""#),
        (r#"jwt.iss == "https://other.example""#, "false"),
        (r#"jwt.aud == "a""#, r#"context.audience == ["a"]"#),
        (r#""a" in jwt.aud"#, r#"context.audience.contains("a")"#),
        (r#""a" in jwt.scope.split(" ")"#, r#"context.scopes.contains("a")"#),
        (r#""a" in jwt.roles"#, r#"principal in Role::"corp/a""#),
        (r#""a" in jwt.x.groups"#, r#"principal in Group::"corp/a""#),
        (
            r#"jwt.teams.exists(t, t == "a")"#,
            r#"principal.hasTag("teams") && principal.getTag("teams").contains("a")"#,
        ),
        (
            r#"jwt["https://x/role"] == "a""#,
            r#"principal.hasTag("https://x/role") && principal.getTag("https://x/role") == ["a"]"#,
        ),
        (r#"jwt.a["b/c"] == "d""#, r#"principal.hasTag("/a/b~1c") && principal.getTag("/a/b~1c") == ["d"]"#),
        ("has(jwt.a)", r#"principal.hasTag("a")"#),
        ("!has(jwt.a)", r#"!(principal.hasTag("a"))"#),
        ("has(jwt.a.b)", r#"principal.hasTag("/a/b")"#),
        (
            r#"!("a" in jwt.groups)"#,
            r#"principal.hasTag("groups") && !(principal.getTag("groups").contains("a"))"#,
        ),
    ] {
        let condition = translated(rule, Kind::Tool, Mode::Allow, &one_target());
        assert_eq!(condition.map(|condition| condition.to_string()), Ok(expected.to_owned()), "{rule}");
    }
}

#[test]
fn what_has_no_exact_counterpart_is_refused() {
    for rule in [
        "jwt.sub",
        "jwt.admin",
        r#"jwt.email.endsWith("@example.com")"#,
        r#"jwt.scope.contains("admin")"#,
        r#"jwt.scope == "a b""#,
        r#""a" in jwt.scope"#,
        r#"jwt.scope.exists(s, s == "a")"#,
        r#"!("a" in jwt.scope.split(" "))"#,
        r#""a" in jwt.name.split(" ")"#,
        r#""a" in jwt"#,
        r#"jwt.rawToken == "x""#,
        "has(jwt.scope)",
        "!has(jwt.a.b)",
        "jwt.level > 3",
        "jwt.level == 3",
        "jwt.admin == true",
        "jwt.a == jwt.b",
        r#"jwt[""] == "x""#,
        r#"jwt.roles.exists(r, r.startsWith("a"))"#,
        r#"jwt.roles.all(r, r == "a")"#,
        r#"jwt.roles.exists_one(r, r == "a")"#,
        r#"jwt.name.matches("^a$")"#,
        r#"mcp.tool.name.matches("^a$")"#,
        r#"mcp.tool.arguments.path == "/etc""#,
        r#"mcp.methodName == "tools/call""#,
        r#"mcp.task.name == "a""#,
        r#"source.address == "10.0.0.1""#,
        r#"request.headers["x"] == "y""#,
        r#"has(jwt.a) ? true : false"#,
        "mcp",
        "((",
        "",
    ] {
        assert!(translated(rule, Kind::Tool, Mode::Allow, &one_target()).is_err(), "{rule}");
    }
    let deep = format!("{}true{}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(parse(&deep).is_err());
    assert!(
        parse(&format!("{}true", "!".repeat(7_000))).is_err()
            || translated(&"!".repeat(7_000), Kind::Tool, Mode::Allow, &one_target()).is_err()
    );
    assert!(parse(&"true && ".repeat(2_000)).is_err());
}

#[test]
fn a_refusal_by_subject_does_not_rest_on_how_clients_are_named() {
    let rule = r#"jwt.sub == "alice""#;
    let permit = translated(rule, Kind::Tool, Mode::Allow, &one_target()).unwrap().to_string();
    assert!(permit.starts_with(r#"principal == User::"corp/alice" || "#), "{permit}");
    let refusal = translated(rule, Kind::Tool, Mode::Deny, &one_target()).unwrap().to_string();
    assert_eq!(refusal, r#"principal.hasTag("sub") && principal.getTag("sub") == ["alice"]"#);
}

#[test]
fn a_refusal_takes_the_reading_of_a_text_or_list_that_refuses_more() {
    const NONE: Option<&str> = None;
    for (rule, deny, require) in [
        (r#"jwt.aud == "x""#, Some(r#"context.audience == ["x"]"#), NONE),
        (r#"jwt.aud != "x""#, NONE, Some(r#"!(context.audience == ["x"])"#)),
        (r#"!(jwt.aud == "x")"#, NONE, Some(r#"!(context.audience == ["x"])"#)),
        (r#""x" in jwt.aud"#, NONE, Some(r#"context.audience.contains("x")"#)),
        (r#"!("x" in jwt.aud)"#, Some(r#"!(context.audience.contains("x"))"#), NONE),
        (r#"jwt.aud.exists(a, a == "x")"#, Some(r#"context.audience.contains("x")"#), NONE),
        (r#"!jwt.aud.exists(a, a == "x")"#, Some(r#"!(context.audience.contains("x"))"#), NONE),
        (r#"jwt.aud in ["x", "y"]"#, Some(r#"context.audience == ["x"] || context.audience == ["y"]"#), NONE),
        (r#"jwt.a == "x""#, Some(r#"principal.hasTag("a") && principal.getTag("a") == ["x"]"#), NONE),
        (r#"jwt.a != "x""#, NONE, Some(r#"principal.hasTag("a") && !(principal.getTag("a") == ["x"])"#)),
        (r#""x" in jwt.roles"#, NONE, Some(r#"principal in Role::"corp/x""#)),
        (r#"jwt.roles.exists(r, r == "x")"#, Some(r#"principal in Role::"corp/x""#), NONE),
        (
            r#"!("x" in jwt.groups)"#,
            Some(r#"principal.hasTag("groups") && !(principal.getTag("groups").contains("x"))"#),
            NONE,
        ),
        // `in` finds a part of the text of `scp`; the words of a text are what Palisade has.
        (r#""x" in jwt.scp"#, NONE, Some(r#"context.scopes.contains("x")"#)),
        (
            r#""x" in jwt.scp.split(" ")"#,
            Some(r#"context.scopes.contains("x")"#),
            Some(r#"context.scopes.contains("x")"#),
        ),
        // What cannot be told does not matter where another part decides for every kind of claim.
        (
            r#"has(jwt.a) && mcp.tool.name == "t""#,
            Some(r#"principal.hasTag("a") && resource == Mcp::Tool::"r/t""#),
            Some(r#"principal.hasTag("a") && resource == Mcp::Tool::"r/t""#),
        ),
    ] {
        for (mode, expected) in [(Mode::Deny, deny), (Mode::Require, require)] {
            let condition = translated(rule, Kind::Tool, mode, &one_target());
            let written = condition.ok().map(|condition| condition.to_string());
            assert_eq!(written.as_deref(), expected, "{mode:?} {rule}");
        }
    }
}

#[test]
fn several_targets_prefix_the_names() {
    let targets = Targets { names: Some(vec!["a".to_owned(), "b".to_owned()]), prefixed: true };
    let text = |rule: &str, kind| {
        translated(rule, kind, Mode::Allow, &targets).map(|condition| condition.to_string())
    };
    assert_eq!(
        text(r#"mcp.tool.name == "x""#, Kind::Tool).unwrap(),
        r#"resource == Mcp::Tool::"r/a_x" || resource == Mcp::Tool::"r/b_x""#
    );
    assert_eq!(text(r#"mcp.tool.target == "b""#, Kind::Tool).unwrap(), r#"resource.name like "b_*""#);
    assert!(text(r#"mcp.resource.name == "x""#, Kind::Resource).is_err());
    let unknown = Targets { names: None, prefixed: true };
    assert!(translated(r#"mcp.tool.name == "x""#, Kind::Tool, Mode::Deny, &unknown).is_err());
}

/// The policies of a route with these rules.
fn imported(rules: &str) -> Import {
    import(&format!("mcp:\n  targets: [{{name: a, stdio: {{cmd: x}}}}]\n  policies:\n{rules}"), &options())
        .unwrap()
}

/// The ids of the policies in force.
fn in_force(import: &Import) -> Vec<&str> {
    import.policies.lines().filter_map(|line| line.strip_prefix("@id(\"")?.strip_suffix("\")")).collect()
}

#[test]
fn a_refusal_that_cannot_be_written_takes_the_permissions_out_of_force() {
    let allow = "      - 'mcp.tool.name == \"x\"'\n";
    for (rules, expected) in [
        ("", vec!["r-session", "r-all"]),
        ("    mcpAuthorization: {rules: []}\n", vec!["r-session", "r-all"]),
        ("    mcpAuthorization:\n", vec!["r-session", "r-all"]),
        ("    mcpAuthorization: {}\n", vec!["r-session"]),
        ("    mcpAuthorization: {rules: }\n", vec!["r-session"]),
        ("    mcpAuthorization: {rules: yes please}\n", vec!["r-session"]),
        (&format!("    mcpAuthorization:\n      rules:\n{allow}"), vec!["r-session", "r-line-6"]),
        // An `allow` without counterpart permits nothing, and leaves the others.
        (
            &format!("    mcpAuthorization:\n      rules:\n{allow}      - 'jwt.n > 1'\n"),
            vec!["r-session", "r-line-6"],
        ),
        // Only untranslatable allows: nothing may be permitted because of that.
        ("    mcpAuthorization:\n      rules:\n      - 'jwt.n > 1'\n", vec!["r-session"]),
        (
            &format!("    mcpAuthorization:\n      rules:\n{allow}      - deny: 'jwt.n > 1'\n"),
            vec!["r-session"],
        ),
        (
            &format!("    mcpAuthorization:\n      rules:\n{allow}      - require: 'jwt.n > 1'\n"),
            vec!["r-session"],
        ),
        (
            &format!("    mcpAuthorization:\n      rules:\n{allow}      - deny: ${{RULE}}\n"),
            vec!["r-session"],
        ),
        (&format!("    mcpAuthorization:\n      rules:\n{allow}      - forbid: 'true'\n"), vec!["r-session"]),
        (
            &format!("    mcpAuthorization:\n      rules:\n{allow}      - {{deny: 'true', allow: 'true'}}\n"),
            vec!["r-session"],
        ),
        (&format!("    mcpAuthorization:\n      mode: strict\n      rules:\n{allow}"), vec!["r-session"]),
        // A text and a list of it alone look alike, and the list is refused there.
        (
            &format!("    mcpAuthorization:\n      rules:\n{allow}      - deny: 'jwt.aud != \"x\"'\n"),
            vec!["r-session"],
        ),
        (
            &format!("    mcpAuthorization:\n      rules:\n{allow}      - require: 'jwt.aud == \"x\"'\n"),
            vec!["r-session"],
        ),
        (
            &format!("    mcpAuthorization:\n      rules:\n{allow}      - deny: '\"x\" in jwt.groups'\n"),
            vec!["r-session"],
        ),
        // What is permitted where no rule allows depends on the release.
        (
            "    mcpAuthorization:\n      rules:\n      - deny: 'mcp.tool.name == \"x\"'\n",
            vec!["r-session", "r-line-6"],
        ),
        (
            &format!("    mcpAuthorization:\n      rules:\n{allow}      - require: 'has(jwt.a)'\n"),
            vec!["r-session", "r-line-6", "r-line-7"],
        ),
    ] {
        let import = imported(rules);
        assert_eq!(in_force(&import), expected, "{rules}\n{}", import.policies);
        if !expected.contains(&"r-line-6") && !expected.contains(&"r-all") {
            let permits = import.policies.lines().filter(|line| line.starts_with("permit")).count();
            assert_eq!(permits, 1, "{rules}");
            assert!(!import.report.is_complete(), "{rules}");
        }
    }
}

#[test]
fn rules_at_other_places_take_the_permissions_out_of_force() {
    let mcp = "mcp:\n  targets: [{name: a}]\n";
    let deny = "{mcpAuthorization: {rules: [{deny: 'true'}]}}";
    let route = "[{listeners: [{routes: [{backends: [{mcp: {targets: [{name: a}]}}]}]}]}]";
    for text in [
        &format!("mcp:\n  targets: [{{name: a, policies: {deny}}}]\n"),
        &format!("{mcp}policies:\n- policy: {{mcpAuthorization: {{rules: []}}}}\n"),
        "binds: [{listeners: [{policies: {mcpAuthorization: {}}, routes: [{backends: [{mcp: {targets: [{name: a}]}}]}]}]}]\n",
        "binds: [{listeners: [{routes: [{backends: [{mcp: {targets: [{name: a}]}, policies: {mcpAuthorization: {}}}]}]}]}]\n",
        "mcp:\n  targets: [{name: a}]\n  policies: {mcpAuthentication: {issuer: 'https://a.example', newRestriction: 1}}\n",
        &format!(
            "binds: {route}\nbackends:\n- {{name: b, mcp: {{targets: [{{name: a}}]}}, policies: {deny}}}\n"
        ),
        &format!(
            "binds: {route}\nbackends:\n- {{name: b, mcp: {{targets: [{{name: a, policies: {deny}}}]}}}}\n"
        ),
        &format!(
            "binds: {route}\nrouteGroups:\n- {{name: g, routes: [{{policies: {deny}, backends: [{{mcp: {{targets: [{{name: a}}]}}}}]}}]}}\n"
        ),
        // The environment may put anything there, rules too.
        &format!("{mcp}  policies: ${{P}}\n"),
        &format!("{mcp}policies: ${{P}}\n"),
        &format!("{mcp}policies: [{{policy: '${{P}}'}}]\n"),
        &format!("{mcp}backends: ${{B}}\n"),
        &format!("{mcp}backends: ['${{B}}']\n"),
        &format!("{mcp}backends: [{{mcp: '${{B}}'}}]\n"),
        &format!("{mcp}backends: [{{mcp: {{targets: '${{B}}'}}}}]\n"),
        &format!("{mcp}backends: [{{policies: '${{B}}'}}]\n"),
        &format!("{mcp}routeGroups: ${{G}}\n"),
        "mcp:\n  targets: ${T}\n",
        "mcp:\n  targets: ['${T}']\n",
        "binds: [{listeners: [{policies: '${P}', routes: [{backends: [{mcp: {targets: [{name: a}]}}]}]}]}]\n",
        "binds: [{listeners: [{routes: [{policies: '${P}', backends: [{mcp: {targets: [{name: a}]}}]}]}]}]\n",
        "binds: [{listeners: [{routes: [{backends: [{mcp: {targets: [{name: a}]}}, '${B}']}]}]}]\n",
    ] {
        let import = import(text, &options()).unwrap();
        assert_eq!(in_force(&import), ["r-session"], "{text}");
        assert!(!import.report.is_complete(), "{text}");
    }
}

#[test]
fn backends_without_rules_leave_the_permissions() {
    let text =
        "mcp:\n  targets: [{name: a}]\nbackends:\n- {name: b, host: 'b:1', policies: {backendTLS: {}}}\n";
    let import = import(text, &options()).unwrap();
    assert_eq!(in_force(&import), ["r-session", "r-all"]);
}

#[test]
fn where_permissions_may_differ_the_report_says_so() {
    for (rule, alike, scopes) in [
        (r#"- '"x" in jwt.aud'"#, true, false),
        (r#"- '"x" in jwt.roles'"#, true, false),
        (r#"- 'jwt.aud == "x"'"#, true, false),
        (r#"- 'jwt.teams.exists(t, t == "x")'"#, true, false),
        (r#"- 'mcp.tool.name == "x"'"#, false, false),
        (r#"- '"x" in jwt.scope.split(" ")'"#, false, true),
        (r#"- require: '"x" in jwt.scope.split(" ")'"#, false, true),
        (r#"- deny: '"x" in jwt.scope.split(" ")'"#, false, false),
    ] {
        let import = imported(&format!("    mcpAuthorization:\n      rules:\n      {rule}\n"));
        let hinted = import.report.hints.iter().any(|hint| hint.contains("look alike"));
        let counted = import.report.lines.iter().any(|finding| {
            finding.line == 6 && finding.outcome == Outcome::Left && finding.detail.contains("`permissions`")
        });
        assert_eq!((hinted, counted), (alike, scopes), "{rule}\n{}", import.report);
    }
}

#[test]
fn every_route_is_a_resource_and_audiences_stay_with_their_issuer() {
    let route = |auth: &str| {
        format!(
            "    - backends: [{{mcp: {{targets: [{{name: a}}]}}}}]\n      policies: {{jwtAuth: {auth}}}\n"
        )
    };
    let text = format!(
        "binds:\n- listeners:\n  - routes:\n{}{}    - backends: [{{host: 'a:1'}}]\n",
        route("{mode: strict, issuer: 'https://a.example', audiences: [x]}"),
        route(
            "{mode: strict, providers: [{issuer: 'https://a.example', audiences: [x]}, {issuer: 'https://b.example', audiences: [y]}]}"
        ),
    );
    let import = import(&text, &options()).unwrap();
    assert_eq!(in_force(&import), ["r-session", "r-all", "r-2-audiences", "r-2-session", "r-2-all"]);
    assert!(import.policies.contains(
        r#"unless { (context.issuer == "a-example" && context.audience.containsAny(["x"])) || (context.issuer == "b-example" && context.audience.containsAny(["y"])) }"#
    ));
    let left: Vec<&str> = import
        .report
        .lines
        .iter()
        .filter(|finding| finding.outcome == Outcome::Left)
        .map(|finding| finding.what.as_str())
        .collect();
    assert_eq!(left, ["resourceMetadata.resource", "resourceMetadata.resource"]);
}

/// A token and a call.
#[derive(Debug, Clone)]
struct Situation {
    texts: BTreeMap<&'static str, String>,
    list: Option<Vec<String>>,
    /// Whether a list of one text is a text.
    alone: bool,
    tool: &'static str,
}

fn situations() -> impl Strategy<Value = Situation> {
    let text = || prop::option::of(prop::sample::select(vec!["x".to_owned(), "y".to_owned()]));
    let list = prop::option::of(prop::collection::vec(
        prop::sample::select(vec!["x".to_owned(), "y".to_owned(), "xy".to_owned()]),
        0..3,
    ));
    (text(), text(), list, any::<bool>(), prop::sample::select(vec!["t", "u"])).prop_map(
        |(a, b, list, alone, tool)| Situation {
            texts: [("a", a), ("b", b)].into_iter().filter_map(|(name, text)| Some((name, text?))).collect(),
            list,
            alone,
            tool,
        },
    )
}

fn rules() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        r#"jwt.a == "x""#,
        r#"jwt.b != "x""#,
        r#"jwt.b in ["x", "y"]"#,
        r#"jwt.l == "x""#,
        r#"jwt.l != "y""#,
        r#""x" in jwt.l"#,
        r#"jwt.l.exists(e, e == "y")"#,
        "has(jwt.a)",
        r#"mcp.tool.name == "t""#,
        r#"mcp.tool.name.startsWith("u")"#,
        r#"mcp.tool.name in ["t", "v"]"#,
        r#"mcp.prompt.name == "t""#,
        "has(mcp.prompt)",
        "true",
        "false",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} && {right})")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} || {right})")),
            inner.prop_map(|inner| format!("!({inner})")),
        ]
    })
}

/// What CEL's interpreter says of a rule; agentgateway takes a failure for no, and finds parts of a text by `in`.
fn by_cel(rule: &str, situation: &Situation) -> bool {
    let mut jwt = json!(situation.texts);
    let mut rule = rule.to_owned();
    match situation.list.as_deref() {
        Some([text]) if situation.alone => {
            jwt["l"] = json!(text);
            rule = rule.replace(r#""x" in jwt.l"#, r#"jwt.l.contains("x")"#);
        }
        Some(list) => jwt["l"] = json!(list),
        None => {}
    }
    let mut context = cel::Context::default();
    context.add_variable("jwt", jwt).unwrap();
    context.add_variable("mcp", json!({"tool": {"name": situation.tool, "target": "t1"}})).unwrap();
    matches!(cel::Program::compile(&rule).unwrap().execute(&context), Ok(cel::Value::Bool(true)))
}

/// What a condition says. It panics where Cedar would fail: at a tag that is not there.
fn by_condition(condition: &Condition, situation: &Situation) -> bool {
    let tags = |name: &str| match name {
        "l" => situation.list.clone(),
        name => situation.texts.get(name).map(|text| vec![text.clone()]),
    };
    match condition {
        Condition::Always => true,
        Condition::Never => false,
        Condition::In(_) | Condition::User(_) => panic!("no rule here speaks of roles or users"),
        Condition::Target(uid) => *uid == format!("Mcp::Tool::\"r/{}\"", situation.tool),
        Condition::Not(inner) => !by_condition(inner, situation),
        Condition::All(parts) => parts.iter().all(|part| by_condition(part, situation)),
        Condition::Any(parts) => parts.iter().any(|part| by_condition(part, situation)),
        Condition::Is(text) => {
            let words: Vec<&str> = text.split('"').collect();
            match words.as_slice() {
                ["principal.hasTag(", tag, ")"] => tags(tag).is_some(),
                ["principal.getTag(", tag, ") == [", value, "]"] => {
                    tags(tag).unwrap() == [(*value).to_owned()]
                }
                ["principal.getTag(", tag, ").contains(", value, ")"] => {
                    tags(tag).unwrap().contains(&(*value).to_owned())
                }
                ["resource.name like ", pattern, ""] => {
                    situation.tool.starts_with(pattern.strip_suffix('*').unwrap())
                }
                _ => panic!("{text}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_translated_rule_holds_exactly_where_cel_says_so(rule in rules(), situation in situations()) {
        // Lists of one text are the exception: `where_permissions_may_differ_the_report_says_so`.
        prop_assume!(situation.list.as_ref().is_none_or(|list| list.iter().any(|text| *text != list[0])));
        let holds = translated(&rule, Kind::Tool, Mode::Allow, &one_target()).unwrap();
        prop_assert_eq!(by_condition(&holds, &situation), by_cel(&rule, &situation), "{}\n{}", rule, holds);
    }

    #[test]
    fn a_refusal_that_is_written_refuses_all_that_cel_refuses(rule in rules(), situation in situations()) {
        let said = by_cel(&rule, &situation);
        if let Ok(holds) = translated(&rule, Kind::Tool, Mode::Deny, &one_target()) {
            prop_assert!(!said || by_condition(&holds, &situation), "deny {}\n{}", rule, holds);
        }
        if let Ok(holds) = translated(&rule, Kind::Tool, Mode::Require, &one_target()) {
            prop_assert!(said || !by_condition(&holds, &situation), "require {}\n{}", rule, holds);
        }
    }
}
