//! What holds for every importer: no input ends it, nothing is dropped in silence, and no name leaves its quotes.

use proptest::prelude::*;

use crate::{
    Import, Options, agentgateway, apollo,
    casbin::{self, Kind, ModelFile},
    cedar::{pattern, quoted},
    source::{self, Node, Value},
};

fn options() -> Options {
    Options { file: "source".to_owned(), name: "r".parse().unwrap(), identifier: None, issuer: None }
}

/// The paths of all keys.
fn paths(node: &Node, path: &str, found: &mut Vec<String>) {
    match &node.value {
        Value::Map(entries) => {
            for (key, node) in entries {
                let path = if path.is_empty() { key.name.clone() } else { format!("{path}.{}", key.name) };
                found.push(path.clone());
                paths(node, &path, found);
            }
        }
        Value::List(nodes) => {
            for (index, node) in nodes.iter().enumerate() {
                let path = format!("{path}[{index}]");
                paths(node, &path, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number | Value::Text(_) => {}
    }
}

/// The keys of which no finding speaks: not of them, not of what is above, and not of all that is below.
fn dropped(text: &str, import: &Import) -> Vec<String> {
    let mut keys = Vec::new();
    paths(&source::read(text).unwrap(), "", &mut keys);
    let spoken: Vec<&str> =
        import.report.lines.iter().map(|finding| finding.what.split(": ").next().unwrap()).collect();
    let below = |path: &str, other: &str| {
        other.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    keys.into_iter().filter(|key| !spoken.iter().any(|what| below(what, key) || below(key, what))).collect()
}

#[test]
fn every_key_of_the_samples_is_spoken_of() {
    let sample = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cases/import");
        std::fs::read_to_string(format!("{folder}/{name}.yaml")).unwrap()
    };
    for name in ["apollo/shop", "apollo/hard"] {
        let text = sample(name);
        assert_eq!(dropped(&text, &apollo::import(&text, &options()).unwrap()), [""; 0], "{name}");
    }
    for name in ["agentgateway/tools", "agentgateway/hard"] {
        let text = sample(name);
        assert_eq!(dropped(&text, &agentgateway::import(&text, &options()).unwrap()), [""; 0], "{name}");
    }
}

#[test]
fn quotes_hold_what_is_between_them() {
    for (text, expected) in [
        ("plain", r#""plain""#),
        (r#"a"b\c"#, r#""a\"b\\c""#),
        ("a\nb", r#""a\u{a}b""#),
        ("ä", "\"ä\""),
        ("\u{202e}", r#""\u{202e}""#),
    ] {
        assert_eq!(quoted(text), expected);
    }
    assert_eq!(pattern(&["a*", "\""]), r#""a\**\"""#);
}

/// Texts that have the shape of a source.
fn sources() -> impl Strategy<Value = String> {
    let keys = prop::sample::select(vec![
        "transport",
        "auth",
        "servers",
        "issuers",
        "url",
        "audiences",
        "scopes",
        "scope_mode",
        "overrides",
        "required_scopes",
        "cors",
        "origins",
        "enabled",
        "host_validation",
        "allowed_hosts",
        "mcp",
        "policies",
        "targets",
        "name",
        "jwtAuth",
        "mcpAuthentication",
        "mcpAuthorization",
        "rules",
        "allow",
        "deny",
        "require",
        "issuer",
        "jwks",
        "providers",
        "resource",
        "resourceMetadata",
        "binds",
        "listeners",
        "routes",
        "backends",
        "routeGroups",
        "policy",
        "tls",
    ]);
    let leaf = prop_oneof![
        Just("~".to_owned()),
        Just("true".to_owned()),
        Just("7".to_owned()),
        Just("'https://a.example/x'".to_owned()),
        Just("'mcp.tool.name == \"x\"'".to_owned()),
        Just("'jwt.n > 1'".to_owned()),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(6, 48, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec((keys.clone(), inner), 0..4).prop_map(|mut entries| {
                entries.sort_by_key(|(key, _)| *key);
                entries.dedup_by_key(|(key, _)| *key);
                let entries: Vec<String> =
                    entries.into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
                format!("{{{}}}", entries.join(", "))
            }),
        ]
    })
}

fn none_panics(text: &str) {
    let _ = apollo::import(text, &options());
    let _ = agentgateway::import(text, &options());
    for kind in [Kind::Mcp, Kind::Http] {
        let _ = casbin::import(text, None, kind, &options());
        let _ = casbin::import("p, a, b, c", Some(ModelFile { file: "m", text }), kind, &options());
    }
}

proptest! {
    #[test]
    fn no_text_ends_an_import(text in any::<String>()) {
        none_panics(&text);
    }

    #[test]
    fn no_source_ends_an_import_and_none_loses_a_key(text in sources()) {
        none_panics(&text);
        if let Ok(import) = apollo::import(&text, &options()) {
            prop_assert_eq!(dropped(&text, &import), Vec::<String>::new(), "{}\n{}", text, import.report);
        }
        if let Ok(import) = agentgateway::import(&text, &options()) {
            prop_assert_eq!(dropped(&text, &import), Vec::<String>::new(), "{}\n{}", text, import.report);
        }
    }

    #[test]
    fn no_rule_ends_an_import(rule in "[a-z.()\\[\\]\"'!&|?: =<>{},0-9-]{0,60}") {
        let rule = serde_json::to_string(&rule).unwrap();
        let _ = agentgateway::import(
            &format!("{{mcp: {{targets: [{{name: a}}], policies: {{mcpAuthorization: {{rules: [{rule}]}}}}}}}}"),
            &options(),
        );
    }
}
