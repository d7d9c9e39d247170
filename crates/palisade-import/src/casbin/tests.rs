//! Models, effects, and what is not written.

use super::{Kind, ModelFile, import};
use crate::{Import, Options, Outcome};

const BOTH: &str = "some(where (p.eft == allow)) && !some(where (p.eft == deny))";
const STANDARD: &str = "g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act";

fn model(effect: &str, matcher: &str) -> String {
    format!(
        "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act, eft\n[role_definition]\n\
         g = _, _\ng2 = _, _\n[policy_effect]\ne = {effect} # comment\n[matchers]\nm = {matcher}\n"
    )
}

fn imported(text: &str, model: Option<&str>, kind: Kind) -> Import {
    let options = Options {
        file: "policy.csv".to_owned(),
        name: "r".parse().unwrap(),
        identifier: Some("https://r.example/".to_owned()),
        issuer: Some("https://corp.example".to_owned()),
    };
    let model = model.map(|text| ModelFile { file: "model.conf", text });
    import(text, model, kind, &options).unwrap()
}

/// The ids of the policies in force, but for the session.
fn in_force(import: &Import) -> Vec<&str> {
    import
        .policies
        .lines()
        .filter_map(|line| line.strip_prefix("@id(\"")?.strip_suffix("\")"))
        .filter(|id| *id != "r-session")
        .collect()
}

#[test]
fn the_effect_of_the_model_counts() {
    let rows = "p, alice, a, call, allow\np, bob, a, call, deny\np, eve, a, call, maybe\n";
    for (effect, expected) in [
        ("some(where (p.eft == allow))", vec!["r-line-1"]),
        ("!some(where (p.eft == deny))", vec!["r-not-denied", "r-line-2"]),
        (BOTH, vec!["r-line-1", "r-line-2"]),
        ("priority(p.eft) || deny", vec![]),
        ("subjectPriority(p.eft) || deny", vec![]),
    ] {
        let import = imported(rows, Some(&model(effect, STANDARD)), Kind::Mcp);
        assert_eq!(in_force(&import), expected, "{effect}");
        assert!(!import.report.is_complete(), "`maybe` is neither allow nor deny");
    }
}

#[test]
fn matchers_that_are_not_understood_leave_every_line() {
    for (matcher, understood) in [
        (STANDARD, true),
        ("r.act == p.act && p.obj == r.obj && g(r.sub,p.sub)", true),
        ("r.sub == p.sub && r.obj == p.obj && r.act == p.act", true),
        ("g(r.sub, p.sub) && keyMatch(r.obj, p.obj) && r.act == p.act", true),
        ("g(r.sub, p.sub) && g2(r.obj, p.obj) && r.act == p.act", true),
        ("g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act || r.sub == \"root\"", false),
        ("g(r.sub, p.sub) && r.obj == p.obj", false),
        ("g(r.sub, p.sub, r.dom) && r.obj == p.obj && r.act == p.act", false),
        ("g(r.sub, p.sub) && r.sub == p.sub && r.obj == p.obj && r.act == p.act", false),
        ("eval(p.sub) && r.obj == p.obj && r.act == p.act", false),
        ("g(r.sub, p.sub) && my(r.obj, p.obj) && r.act == p.act", false),
        ("", false),
    ] {
        let import = imported("p, alice, a, call, allow\n", Some(&model(BOTH, matcher)), Kind::Mcp);
        assert_eq!(!in_force(&import).is_empty(), understood, "{matcher}");
        assert_eq!(import.report.is_complete(), understood, "{matcher}");
    }
    let domains = model(BOTH, STANDARD).replace("sub, obj, act", "sub, dom, obj, act");
    assert!(in_force(&imported("p, alice, d, a, call, allow\n", Some(&domains), Kind::Mcp)).is_empty());
    let second = format!("{}m2 = r.sub == p.sub\n", model(BOTH, STANDARD));
    assert!(in_force(&imported("p, alice, a, call, allow\n", Some(&second), Kind::Mcp)).is_empty());
    let twice = format!("{}m = r.sub == p.sub\n", model(BOTH, STANDARD));
    assert!(in_force(&imported("p, alice, a, call, allow\n", Some(&twice), Kind::Mcp)).is_empty());
}

#[test]
fn a_denial_that_cannot_be_written_takes_the_permissions_out_of_force() {
    let allow = "p, alice, /a, GET, allow\n";
    let keys = "g(r.sub, p.sub) && keyMatch(r.obj, p.obj) && r.act == p.act";
    for (rows, matcher) in [
        ("p, alice, /a/*, GET, deny\n", keys),
        ("p, alice, /a, get, deny\n", STANDARD),
        ("p, alice, a, GET, deny\n", STANDARD),
        ("p, alice, /a, GET, deny, more\n", STANDARD),
        ("p, alice, /a , GET, deny\n", STANDARD),
        ("g, alice, staff, domain\n", STANDARD),
        ("g, alice, staff\ng, staff, alice\n", STANDARD),
        ("p, alice, .*, GET, deny\n", "g(r.sub, p.sub) && regexMatch(r.obj, p.obj) && r.act == p.act"),
    ] {
        let import = imported(&format!("{allow}{rows}"), Some(&model(BOTH, matcher)), Kind::Http);
        assert!(
            !import.policies.lines().any(|line| line.starts_with("permit")),
            "{rows}\n{}",
            import.policies
        );
        assert!(!import.report.is_complete(), "{rows}");
        // Without denials in the model, the same line takes nothing away.
        let without = model("some(where (p.eft == allow))", matcher);
        let import = imported(&format!("{allow}{rows}"), Some(&without), Kind::Http);
        let regex = matcher.contains("regexMatch");
        assert_eq!(import.policies.lines().any(|line| line.starts_with("permit")), !regex, "{rows}");
    }
}

#[test]
fn patterns_are_left_and_texts_that_stand_for_themselves_are_not() {
    for (matcher, object, literal) in [
        ("keyMatch(r.obj, p.obj)", "/a", true),
        ("keyMatch(r.obj, p.obj)", "/a.b", true),
        ("keyMatch(r.obj, p.obj)", "/a/*", false),
        ("keyMatch2(r.obj, p.obj)", "/a/b", true),
        ("keyMatch2(r.obj, p.obj)", "/a/:id", false),
        // The dot of a regular expression matches any character.
        ("keyMatch2(r.obj, p.obj)", "/a.b", false),
        ("regexMatch(r.obj, p.obj)", "/a", false),
    ] {
        let model = model(BOTH, &format!("g(r.sub, p.sub) && {matcher} && r.act == p.act"));
        let import = imported(&format!("p, alice, {object}, GET, allow\n"), Some(&model), Kind::Http);
        assert_eq!(in_force(&import).len(), usize::from(literal), "{matcher} {object}");
    }
}

#[test]
fn no_role_of_a_policy_can_come_from_a_token() {
    let import = imported("p, corp-example/admin, a, call\ng, alice, corp-example/admin\n", None, Kind::Mcp);
    assert!(import.policies.contains(r#"principal in Role::"corp-example%2Fadmin""#));
    let entities: serde_json::Value = serde_json::from_str(import.entities.as_deref().unwrap()).unwrap();
    for entity in entities.as_array().unwrap() {
        let (kind, id) = (entity["uid"]["type"].as_str().unwrap(), entity["uid"]["id"].as_str().unwrap());
        assert!(kind != "Role" || !id.contains('/'), "{id}");
    }
}

#[test]
fn links_that_the_matcher_does_not_ask_for_are_not_needed() {
    let direct = model(BOTH, "r.sub == p.sub && r.obj == p.obj && r.act == p.act");
    let import = imported("p, staff, a, call, allow\ng, alice, staff\n", Some(&direct), Kind::Mcp);
    assert!(import.policies.contains(r#"principal == User::"corp-example/staff""#));
    assert_eq!(import.entities, None);
    assert!(
        import.report.lines.iter().any(|finding| finding.line == 2 && finding.outcome == Outcome::NotNeeded)
    );
}

#[test]
fn what_the_user_does_not_say_can_let_nobody_in() {
    let options =
        Options { file: "p".to_owned(), name: "r".parse().unwrap(), identifier: None, issuer: None };
    let import = import("p, alice, a, call\n", None, Kind::Mcp, &options).unwrap();
    assert!(import.config.contains("https://r.invalid/") && import.config.contains("https://issuer.invalid"));
    assert!(!import.report.is_complete());
    for bad in ["http://corp.example", "corp", "https://login.microsoftonline.com/common/v2.0"] {
        let options = Options { issuer: Some(bad.to_owned()), ..options.clone() };
        assert!(super::import("", None, Kind::Mcp, &options).is_err(), "{bad}");
    }
}
