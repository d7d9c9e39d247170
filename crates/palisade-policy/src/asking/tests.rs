use palisade_model::{Action, Arguments, Reason, Target};
use serde_json::json;

use crate::{
    About, Strength,
    policies::tests::{Asking, load},
};

const POLICIES: &str = r#"
@id("echo") permit (principal is User, action in Mcp::Action::"tools/call", resource == Mcp::Tool::"demo/echo")
when { context.scopes.contains("a") && context.args.paths.isEmpty() };
@id("delete") permit (principal in Role::"corp/admin", action in Mcp::Action::"tools/call", resource == Mcp::Tool::"demo/delete")
when { context.args.text.hasTag("/path") };
@id("list") permit (principal, action in Mcp::Action::"tools/list", resource);
"#;

/// Tools with and without arguments, and what has none.
fn items() -> Vec<Asking> {
    let demo = "demo".parse().unwrap();
    let arguments = |value| Some(Arguments::from_json(&value).unwrap());
    vec![
        Asking::call("echo"),
        Asking::call("delete"),
        Asking::call("delete").with(|item| item.arguments = arguments(json!({"path": "/a", "f": 1.5}))),
        Asking::call("echo").with(|item| item.arguments = arguments(json!({"n": 1}))),
        Asking::call("echo").with(|item| item.arguments = arguments(json!({}))),
        Asking::call("unlisted"),
        Asking::call("").with(|item| {
            item.action = Action::mcp("tools/list");
            item.target = Target::mcp_server(&demo);
        }),
        Asking::call("").with(|item| item.action = Action::mcp("no/such")),
    ]
}

fn about(item: &Asking) -> About<'_> {
    item.query().about()
}

#[test]
fn every_item_of_a_request_is_answered_as_if_it_came_alone() {
    let policies = load(POLICIES);
    for role in [None, Some("corp/admin")] {
        for scopes in [&[][..], &["a"]] {
            let with = |item: Asking| {
                item.scopes(scopes)
                    .with(|item| item.subject.roles = role.map(str::to_owned).into_iter().collect())
            };
            let first = with(Asking::call("echo"));
            let query = first.query();
            let subject = policies.prepare(query.subject, query.authority, query.strength);
            let asking = policies.ask(&subject, query.circumstances);
            for item in items().into_iter().map(with) {
                let alone = policies.evaluate(&item.query());
                assert_eq!(asking.about(&about(&item)), alone, "{item:?}");
                assert_eq!(asking.about(&about(&item)), alone, "asked again: {item:?}");
            }
        }
    }
}

#[test]
fn a_stronger_token_is_answered_as_if_it_had_come() {
    let policies = load(POLICIES);
    let weak = Asking::call("echo");
    let strong = weak.clone().scopes(&["a"]);
    let query = weak.query();
    let subject = policies.prepare(query.subject, query.authority, query.strength);
    let asking = policies.ask(&subject, query.circumstances);
    assert!(!asking.about(&about(&weak)).permits());
    assert!(asking.what_if(strong.query().strength, &about(&weak)).would_permit());
    assert!(!asking.about(&about(&weak)).permits(), "a question that nobody asked leaves nothing behind");
    let none = Strength { scopes: &Default::default(), ..strong.query().strength };
    assert!(!asking.what_if(none, &about(&weak)).would_permit());
}

#[test]
fn what_one_policy_set_has_prepared_is_no_key_to_another() {
    let permits = "@id(\"p\") permit (principal, action, resource);";
    let (one, other) = (load(permits), load(permits));
    let item = Asking::call("echo");
    let query = item.query();
    let subject = one.prepare(query.subject, query.authority, query.strength);
    assert!(one.ask(&subject, query.circumstances).about(&about(&item)).permits());
    let verdict = other.ask(&subject, query.circumstances).about(&about(&item));
    assert_eq!(verdict.reason(), Reason::InternalError);
}

#[test]
fn only_the_candidates_are_evaluated_and_a_set_of_any_size_has_as_many() {
    let many: String = (0..300)
        .map(|n| format!("@id(\"p{n}\") permit (principal, action in Mcp::Action::\"tools/call\", resource == Mcp::Tool::\"demo/t{n}\");\n"))
        .collect();
    let policies = load(&format!("{POLICIES}{many}"));
    let verdict = policies.evaluate(&Asking::call("echo").scopes(&["a"]).query());
    assert_eq!((verdict.permits(), verdict.candidates()), (true, 1));
    assert_eq!(policies.evaluate(&Asking::call("t7").query()).candidates(), 1);
    assert_eq!(policies.evaluate(&Asking::call("gone").query()).candidates(), 0);
}
