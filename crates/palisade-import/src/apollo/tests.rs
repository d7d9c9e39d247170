//! Scopes, issuers, and what is not written.

use super::import;
use crate::{Finding, Import, Options, Outcome};

fn imported(auth: &str, rest: &str) -> Import {
    let options =
        Options { file: "mcp.yaml".to_owned(), name: "r".parse().unwrap(), identifier: None, issuer: None };
    let text = format!(
        "transport:\n  type: streamable_http\n  auth:\n    resource: https://r.example/mcp\n{auth}{rest}"
    );
    import(&text, &options).unwrap()
}

/// Whether the report says, in a finding that counts and in a hint, that Palisade's scopes are more than Apollo's.
fn speaks_of_permissions(import: &Import) -> bool {
    let told = |text: &str| text.contains("`permissions`");
    let counted = |finding: &Finding| finding.outcome == Outcome::Left && told(&finding.detail);
    import.report.lines.iter().any(counted) && import.report.hints.iter().any(|hint| told(hint))
}

const SERVER: &str = "    servers: [https://corp.example]\n    audiences: [a]\n";

#[test]
fn scopes_are_asked_for_as_the_mode_says() {
    for (scopes, expected) in [
        ("", Some("!(principal is Anonymous)")),
        ("    scopes: []\n", Some("!(principal is Anonymous)")),
        ("    scopes: [x]\n", Some(r#"!(principal is Anonymous) && context.scopes.contains("x")"#)),
        (
            "    scopes: [x, y]\n",
            Some(r#"!(principal is Anonymous) && context.scopes.containsAll(["x", "y"])"#),
        ),
        (
            "    scopes: [x, y]\n    scope_mode: require_any\n",
            Some(r#"!(principal is Anonymous) && context.scopes.containsAny(["x", "y"])"#),
        ),
        ("    scopes: [x, y]\n    scope_mode: disabled\n", Some("!(principal is Anonymous)")),
        ("    scopes: [x, y]\n    scope_mode: require_some\n", None),
        ("    scopes: [x, '${env.Y}']\n", None),
        ("    scopes: x y\n", None),
        ("    scopes: [x, 5]\n", None),
    ] {
        let import = imported(&format!("{SERVER}{scopes}"), "");
        let written =
            import.policies.lines().find_map(|line| line.strip_prefix("when { ")?.strip_suffix(" };"));
        assert_eq!(written, expected, "{scopes}\n{}", import.policies);
        let asked = expected.is_some_and(|written| written.contains("context.scopes"));
        assert_eq!(import.report.is_complete(), expected.is_some() && !asked, "{scopes}\n{}", import.report);
        if asked {
            assert!(speaks_of_permissions(&import), "{scopes}\n{}", import.report);
        }
    }
}

#[test]
fn only_an_issuer_that_publishes_its_own_keys_is_written() {
    for (servers, expected) in [
        ("servers: [https://corp.example]", &["https://corp.example"][..]),
        ("servers: [https://corp.example]\n    issuers: [https://corp.example/]", &["https://corp.example/"]),
        (
            "servers: [{url: https://corp.example, issuers: [https://corp.example]}]",
            &["https://corp.example"],
        ),
        ("servers: [{url: https://corp.example}]", &["https://corp.example"]),
        ("servers: [https://a.example, https://b.example]", &["https://a.example", "https://b.example"]),
        (
            "servers: [https://corp.example]\n    issuers: [https://other.example]",
            &["https://issuer.invalid"],
        ),
        ("servers: [https://corp.example]\n    issuers: ['${env.ISSUER}']", &["https://issuer.invalid"]),
        (
            "servers: [{url: https://corp.example, issuers: [https://other.example]}]",
            &["https://issuer.invalid"],
        ),
        ("servers: [http://corp.example]", &["https://issuer.invalid"]),
        ("servers: [https://login.microsoftonline.com/common]", &["https://issuer.invalid"]),
        ("servers: []", &["https://issuer.invalid"]),
    ] {
        let import = imported(&format!("    {servers}\n    audiences: [a]\n"), "");
        let written: Vec<&str> =
            import.config.lines().filter_map(|line| line.strip_prefix("    issuer: ")).collect();
        assert_eq!(written, expected, "{servers}\n{}", import.config);
        assert_eq!(import.report.is_complete(), !written.contains(&"https://issuer.invalid"), "{servers}");
    }
}

#[test]
fn permissions_are_out_of_force_where_the_source_refuses_or_cannot_be_read() {
    for (auth, rest) in [
        ("    servers: [https://corp.example]\n", ""),
        (SERVER, "overrides: {required_scopes: none}\n"),
        (SERVER, "overrides: none\n"),
    ] {
        let import = imported(auth, rest);
        assert!(!import.policies.lines().any(|line| line.starts_with("permit")), "{auth}{rest}");
        assert!(!import.report.is_complete(), "{auth}{rest}");
    }
    // A tool whose scopes cannot be read is refused to all.
    let import = imported(SERVER, "overrides: {required_scopes: {Drop: ['${env.SCOPE}']}}\n");
    assert!(import.policies.contains("resource == Mcp::Tool::\"r/Drop\");\n"), "{}", import.policies);
}

#[test]
fn tools_on_one_line_have_policies_of_their_own() {
    let import = imported(SERVER, "overrides: {required_scopes: {A: [x], B: [y]}}\n");
    for id in ["r-line-7", "r-line-7-2"] {
        assert!(import.policies.contains(&format!("@id(\"{id}\")")), "{id}");
    }
}

#[test]
fn the_report_says_where_scopes_are_asked_for() {
    for (tools, expected) in [("{A: [x]}", true), ("{A: []}", false), ("{}", false)] {
        let import = imported(SERVER, &format!("overrides: {{required_scopes: {tools}}}\n"));
        assert_eq!(speaks_of_permissions(&import), expected, "{tools}\n{}", import.report);
    }
}
