use palisade_model::{Action, Arguments, Reason};
use serde_json::{Value, json};

use super::*;
use crate::{Kind, OnError, Policies, Sources, World, WorldResource, policies::tests::Asking};

mod properties;

/// A catalogue whose one tool is `t`.
fn catalog(schema: &Value) -> SourceFile {
    SourceFile::new("tools.json", json!([{ "name": "t", "inputSchema": schema }]).to_string())
}

fn typed(name: &str, schema: &Value) -> Tool {
    let tool = Tool { name: name.to_owned(), input_schema: Some(schema.clone()), ..Tool::default() };
    let mut tools = with_types(vec![tool], &[name.to_owned()], &catalog(schema)).unwrap();
    tools.remove(0)
}

/// The server `demo` with these tools.
fn world(tools: Vec<Tool>) -> World {
    World {
        resources: vec![WorldResource {
            name: "demo".parse().unwrap(),
            kind: Kind::Mcp,
            identifier: "https://mcp.example.com/demo".to_owned(),
            tools,
            routes: Vec::new(),
            graph: None,
        }],
        ..World::default()
    }
}

fn load(policies: &str, tools: Vec<Tool>) -> Result<Policies, Vec<Diagnostic>> {
    let sources = Sources { policies: vec![SourceFile::new("p.cedar", policies)], ..Sources::default() };
    Policies::load(&sources, &world(tools), OnError::Forbid)
}

fn policy(condition: &str) -> String {
    format!(
        r#"@id("p") permit (principal, action == Mcp::Action::"tool:demo/t", resource) when {{ {condition} }};"#
    )
}

fn asking(tool: &str, arguments: &Value) -> Asking {
    Asking::call(tool).with(|asking| asking.arguments = Some(Arguments::from_json(arguments).unwrap()))
}

/// Whether the condition holds for a call of the typed tool `t`.
#[track_caller]
fn check(schema: &Value, condition: &str, arguments: &Value) -> Result<bool, Reason> {
    let policies = load(&policy(condition), vec![typed("t", schema)]).unwrap();
    let verdict = policies.evaluate(&asking("t", arguments).query());
    let reason = verdict.reason();
    if matches!(reason, Reason::Permitted | Reason::NoPermit) {
        Ok(reason == Reason::Permitted)
    } else {
        Err(reason)
    }
}

fn one(name: &str, schema: Value) -> Value {
    json!({ "type": "object", "properties": { name: schema }, "required": [name] })
}

#[test]
fn every_type_reaches_policies_as_its_own() {
    for (schema, condition, arguments) in [
        (
            one("path", json!({"type": "string"})),
            r#"context.input.path like "/w/*""#,
            json!({"path": "/w/a"}),
        ),
        (one("n", json!({"type": "integer"})), "context.input.n + 1 == 6", json!({"n": 5})),
        (one("n", json!({"type": "integer"})), "context.input.n == 5", json!({"n": 5.0})),
        (
            one("x", json!({"type": "number"})),
            r#"context.input.x.lessThan(decimal("1.6"))"#,
            json!({"x": 1.5}),
        ),
        (one("x", json!({"type": "number"})), r#"context.input.x == decimal("-3.0")"#, json!({"x": -3})),
        (one("b", json!({"type": "boolean"})), "context.input.b", json!({"b": true})),
        (one("e", json!({"enum": ["r", "w"]})), r#"context.input.e == "w""#, json!({"e": "w"})),
        (one("e", json!({"const": 3})), "context.input.e == 3", json!({"e": 3})),
        (
            one("l", json!({"type": "array", "items": {"type": "string"}})),
            r#"context.input.l == ["b", "a"]"#,
            json!({"l": ["a", "b", "a"]}),
        ),
        (
            one(
                "o",
                json!({"type": "object", "properties": {"in-side": {"type": "integer"}}, "required": ["in-side"]}),
            ),
            r#"context.input.o["in-side"] == 1 && context.input.o == {"in-side": 1}"#,
            json!({"o": {"in-side": 1, "more": null}}),
        ),
        (
            one(
                "l",
                json!({"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}}, "required": ["k"]}}),
            ),
            r#"context.input.l.contains({"k": "v"})"#,
            json!({"l": [{"k": "w"}, {"k": "v"}]}),
        ),
        (
            one("a.b c/~\"", json!({"type": "string"})),
            r#"context.input["a.b c/~\""] == "x""#,
            json!({"a.b c/~\"": "x"}),
        ),
        (
            one("path", json!({"type": "string"})),
            r#"context.args.text.hasTag("/path") && context.input.path == "x""#,
            json!({"path": "x"}),
        ),
    ] {
        assert_eq!(check(&schema, condition, &arguments), Ok(true), "{schema}: {condition}");
    }
}

#[test]
fn what_is_not_required_is_optional_and_null_is_absent() {
    let optional = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let nullable = [
        one("a", json!({"type": ["string", "null"]})),
        one("a", json!({"anyOf": [{"type": "string"}, {"type": "null"}], "default": null})),
        one("a", json!({"oneOf": [{"type": "null"}, {"enum": ["x"]}]})),
        one("a", json!({"enum": ["x", null]})),
    ];
    for (schema, arguments, expected) in [
        (&optional, json!({"a": "x"}), Ok(true)),
        (&optional, json!({}), Ok(false)),
        (&optional, json!({"a": null}), Err(Reason::ArgumentsInvalid)),
    ] {
        let condition = r#"context.input has a && context.input.a == "x""#;
        assert_eq!(check(schema, condition, &arguments), expected, "{schema} {arguments}");
    }
    for schema in &nullable {
        let condition = "context.input has a";
        assert_eq!(check(schema, condition, &json!({"a": "x"})), Ok(true), "{schema}");
        assert_eq!(check(schema, condition, &json!({"a": null})), Ok(false), "{schema}");
        assert_eq!(check(schema, condition, &json!({})), Err(Reason::ArgumentsInvalid), "required: {schema}");
    }
    let errors = load(&policy(r#"context.input.a == "x""#), vec![typed("t", &optional)]).unwrap_err();
    assert!(errors[0].message.contains("optional attribute `a`"), "{errors:?}");
}

#[test]
fn references_and_parts_of_one_type_are_that_type() {
    let path = json!({"type": "string", "minLength": 1});
    for schema in [
        json!({"$defs": {"p": path}, "type": "object", "properties": {"a": {"$ref": "#/$defs/p"}}, "required": ["a"]}),
        json!({"$ref": "#/$defs/all", "$defs": {"all": one("a", json!({"allOf": [path, {"maxLength": 9, "type": "string"}]}))}}),
        one("a", json!({"anyOf": [{"const": "x"}, {"const": "y"}]})),
        one("a", json!({"type": "string", "oneOf": [{"format": "uri"}, {"format": "uuid"}]})),
    ] {
        assert_eq!(check(&schema, r#"context.input.a == "x""#, &json!({"a": "x"})), Ok(true), "{schema}");
    }
    let twice =
        json!({"$defs": {"p": path}, "properties": {"a": {"$ref": "#/$defs/p"}, "b": {"$ref": "#/$defs/p"}}});
    assert_eq!(
        check(&twice, "context.input has b", &json!({"b": "x"})),
        Ok(true),
        "the root need not say `object`"
    );
}

#[test]
fn a_tool_without_arguments_has_an_empty_input() {
    for schema in
        [json!({"type": "object"}), json!({}), json!({"type": "object", "additionalProperties": true})]
    {
        assert_eq!(check(&schema, "context.args.paths.isEmpty()", &json!({})), Ok(true), "{schema}");
    }
    let policies = load(&policy("true"), vec![typed("t", &json!({"type": "object"}))]).unwrap();
    assert!(policies.evaluate(&Asking::call("t").query()).permits(), "no arguments are empty ones");
}

#[test]
fn what_does_not_convert_is_denied_before_policies() {
    let deep = json!({"type": "object", "properties": {"o": {"type": "object", "properties": {"l": {"type": "array",
        "items": {"type": "integer"}}}, "required": ["l"]}}, "required": ["o"]});
    for (schema, arguments) in [
        (one("a", json!({"type": "string"})), json!({})),
        (one("a", json!({"type": "string"})), json!({"a": 1})),
        (one("a", json!({"type": "boolean"})), json!({"a": "true"})),
        (one("a", json!({"type": "integer"})), json!({"a": 18_446_744_073_709_551_615_u64})),
        (one("a", json!({"type": "integer"})), json!({"a": 1.5})),
        (one("a", json!({"type": "integer"})), json!({"a": 1e300})),
        (one("a", json!({"type": "number"})), json!({"a": 0.12345})),
        (one("a", json!({"type": "number"})), json!({"a": 123_456_789_012_345_i64})),
        (one("a", json!({"type": "array", "items": {"type": "string"}})), json!({"a": ["x", null]})),
        (one("a", json!({"type": "array", "items": {"type": "string"}})), json!({"a": "x"})),
        (deep.clone(), json!({"o": {"l": [1, "2"]}})),
        (deep, json!({"o": {}})),
    ] {
        assert_eq!(check(&schema, "true", &arguments), Err(Reason::ArgumentsInvalid), "{schema} {arguments}");
    }
    let policies = load(&policy("true"), vec![typed("t", &json!({"type": "object"}))]).unwrap();
    let unread = Asking::call("t").with(|asking| asking.arguments = Some(Arguments::default()));
    assert_eq!(policies.evaluate(&unread.query()).reason(), Reason::ArgumentsInvalid, "nobody read them");
}

#[test]
fn a_refusal_names_the_argument_and_no_value() {
    let policies = load(&policy("true"), vec![typed("t", &one("a/b", json!({"type": "integer"})))]).unwrap();
    let verdict = policies.evaluate(&asking("t", &json!({"a/b": "secret"})).query());
    assert_eq!(verdict.detail(), Some("the argument `/a~1b` is not an integer"));
}

#[test]
fn a_schema_without_an_exact_type_is_refused_with_tool_pointer_and_fix() {
    let circle = json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}},
        "$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}}}});
    let mut deep = json!({"type": "string"});
    for _ in 0..17 {
        deep = one("d", deep);
    }
    let bomb: serde_json::Map<String, Value> = (0..10)
        .map(|at| {
            let next = json!({"$ref": format!("#/$defs/{}", at + 1)});
            (at.to_string(), json!({"type": "object", "properties": {"a": next, "b": next, "c": next}}))
        })
        .chain([("10".to_owned(), json!({"type": "string"}))])
        .collect();
    for (schema, says) in [
        (one("a", json!({})), "`/properties/a` has no `type`"),
        (one("a", json!(true)), "`/properties/a` has no `type`"),
        (one("a/b", json!({"type": ["string", "integer"]})), "`/properties/a~1b` is of several types"),
        (
            one("a", json!({"anyOf": [{"type": "string"}, {"type": "integer"}]})),
            "`/properties/a` is of several types",
        ),
        (
            one("a", json!({"oneOf": [one("k", json!({"const": "x"})), one("l", json!({"const": "y"}))]})),
            "is of several types",
        ),
        (one("a", json!({"enum": ["x", 1]})), "is of several types"),
        (one("a", json!({"type": "array"})), "`/properties/a` is an array that does not say in `items`"),
        (
            one("a", json!({"type": "array", "prefixItems": [{"type": "string"}], "items": false})),
            "does not say in `items`",
        ),
        (
            one("a", json!({"type": "array", "items": {"type": ["string", "null"]}})),
            "`/properties/a/items` may be null",
        ),
        (one("a", json!({"type": "object"})), "does not say in `properties`"),
        (
            one("a", json!({"type": "object", "additionalProperties": {"type": "string"}})),
            "does not say in `properties`",
        ),
        (one("a", json!({"type": "null"})), "has the type `null`"),
        (one("a", json!({"type": "money"})), "has the type `money`"),
        (one("a", json!({"$ref": "https://example.com/s.json"})), "refers to `https://example.com/s.json`"),
        (one("a", json!({"$ref": "#/$defs/gone"})), "refers to `#/$defs/gone`"),
        (one("a", json!({"$ref": "#"})), "refers to itself"),
        (circle, "`/$defs/n/properties/next` refers to itself"),
        (deep, "nests deeper"),
        (json!({"$ref": "#/$defs/0", "$defs": bomb}), "larger than 1000"),
        (json!({"type": "string"}), "`` is no object"),
        (json!({"type": ["object", "null"], "properties": {}}), "`` may be null"),
    ] {
        let tool = Tool { name: "t".to_owned(), input_schema: Some(schema.clone()), ..Tool::default() };
        let errors = with_types(vec![tool], &["t".to_owned()], &catalog(&schema)).unwrap_err();
        let text = errors[0].to_string();
        assert!(text.starts_with("tools.json:1:"), "{text}");
        assert!(text.contains("the tool `t` cannot be typed") && text.contains(says), "{schema}: {text}");
        assert!(text.contains("\n  help: "), "{text}");
    }
}

#[test]
fn a_name_that_the_catalogue_does_not_list_is_an_error_with_the_nearest() {
    let file = SourceFile::new("tools.json", r#"[{"name": "delete_file"}]"#);
    let tools = || vec![Tool { name: "delete_file".to_owned(), ..Tool::default() }];
    let errors = |name: &str| with_types(tools(), &[name.to_owned()], &file).unwrap_err()[0].to_string();
    assert_eq!(
        errors("delete_fil"),
        "tools.json: error: lists no tool `delete_fil`, which is to be typed\n  help: did you mean `delete_file`?"
    );
    assert!(errors("zzz").contains("palisade tools fetch"));
    assert!(
        errors("delete_file").contains(
            "tools.json:1:11: error: the tool `delete_file` cannot be typed: it has no input schema"
        )
    );
}

#[test]
fn policies_on_the_input_are_validated_strictly() {
    let schema = one("path", json!({"type": "string"}));
    for (condition, says) in [
        ("context.input.pth == \"x\"", "pth"),
        ("context.input.path == 3", "type"),
        ("context.input.path.lessThan(decimal(\"1.0\"))", "type"),
    ] {
        let errors = load(&policy(condition), vec![typed("t", &schema)]).unwrap_err();
        assert!(
            errors[0].to_string().contains("p.cedar:1:") && errors[0].message.contains(says),
            "{errors:?}"
        );
    }
    let of_all = r#"@id("p") permit (principal, action in Mcp::Action::"tools/call", resource) when { context.input.path == "x" };"#;
    assert!(load(of_all, vec![typed("t", &schema)]).is_err(), "other tools have no input");
}

#[test]
fn names_of_every_kind_have_types_of_their_own() {
    let schema = |name: &str| one(name, json!({"type": "string"}));
    let tools = vec![
        typed("get-sum", &schema("a")),
        typed("get_sum", &schema("b")),
        typed("get.sum", &schema("c")),
        typed("ünï \"quoted\"/x", &schema("d")),
    ];
    let text = r#"
        @id("1") permit (principal, action == Mcp::Action::"tool:demo/get-sum", resource) when { context.input.a == "x" };
        @id("2") permit (principal, action == Mcp::Action::"tool:demo/get_sum", resource) when { context.input.b == "x" };
        @id("3") permit (principal, action == Mcp::Action::"tool:demo/get.sum", resource) when { context.input.c == "x" };
        @id("4") permit (principal, action == Mcp::Action::"tool:demo/ünï \"quoted\"/x", resource) when { context.input.d == "x" };"#;
    let policies = load(text, tools).unwrap();
    for (tool, argument, id) in
        [("get-sum", "a", "1"), ("get_sum", "b", "2"), ("get.sum", "c", "3"), ("ünï \"quoted\"/x", "d", "4")]
    {
        let verdict = policies.evaluate(&asking(tool, &json!({ argument: "x" })).query());
        assert_eq!(verdict.determining().iter().map(|policy| policy.id.as_str()).collect::<Vec<_>>(), [id]);
    }
}

#[test]
fn a_typed_tool_is_still_called_and_others_are_as_before() {
    let text = r#"@id("p") permit (principal, action in Mcp::Action::"tools/call", resource) when { context.args.text.hasTag("/a") };
        @id("q") permit (principal, action in [Mcp::Action::"tools/call"], resource == Mcp::Tool::"demo/u");"#;
    let untyped = Tool { name: "u".to_owned(), ..Tool::default() };
    let policies = load(text, vec![typed("t", &one("a", json!({"type": "string"}))), untyped]).unwrap();
    for (tool, arguments, permits) in
        [("t", json!({"a": "x"}), true), ("u", json!({}), true), ("v", json!({}), false)]
    {
        assert_eq!(policies.evaluate(&asking(tool, &arguments).query()).permits(), permits, "{tool}");
    }
}

#[test]
fn the_action_of_a_tool_is_no_method_that_a_client_can_send() {
    let text = r#"@id("p") permit (principal, action, resource);"#;
    let policies = load(text, vec![typed("t", &json!({"type": "object"}))]).unwrap();
    let sent = Asking::call("t").with(|asking| asking.action = Action::mcp("tool:demo/t"));
    assert_eq!(policies.evaluate(&sent.query()).reason(), Reason::MethodUnknown);
}

#[test]
fn an_action_that_passes_typed_tools_by_is_an_error_once_there_is_one() {
    let conditions = [
        r#"permit (principal, action == Mcp::Action::"tools/call", resource);"#,
        r#"forbid (principal, action, resource) when { action == Mcp::Action::"tools/call" };"#,
        r#"forbid (principal, action, resource) unless { Mcp::Action::"tools/call" != action };"#,
    ];
    for text in conditions {
        let text = format!("@id(\"p\")\n{text}");
        let errors = load(&text, vec![typed("t", &json!({"type": "object"}))]).unwrap_err();
        let shown = errors[0].to_string();
        assert!(shown.starts_with("p.cedar:1:1: error: ") && shown.contains("typed"), "{text}: {shown}");
        assert!(shown.contains(r#"action in Mcp::Action::"tools/call""#), "{shown}");
        assert!(load(&text, Vec::new()).is_ok(), "without typed tools nothing is passed by: {text}");
    }
    for text in [
        r#"permit (principal, action, resource) when { action in Mcp::Action::"tools/call" };"#,
        r#"permit (principal, action, resource) when { action in [Mcp::Action::"tools/call", Mcp::Action::"ping"] };"#,
        r#"permit (principal, action == Mcp::Action::"ping", resource);"#,
    ] {
        assert!(
            load(&format!("@id(\"p\") {text}"), vec![typed("t", &json!({"type": "object"}))]).is_ok(),
            "{text}"
        );
    }
}

#[test]
fn the_revision_says_whether_a_tool_is_typed() {
    let schema = json!({"type": "object"});
    let untyped = Tool { name: "t".to_owned(), input_schema: Some(schema.clone()), ..Tool::default() };
    let revision = |tool: Tool| load("", vec![tool]).unwrap().revision().clone();
    assert_ne!(revision(untyped), revision(typed("t", &schema)));
}
