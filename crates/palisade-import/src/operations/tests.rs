//! What is required, written as policies and compared with a configuration.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn names(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The places: alternatives are separated by `|`.
fn required(places: &[&str]) -> Required {
    Required::new(places.iter().map(|place| place.split('|').map(names).collect()))
}

fn operation(name: &str, authenticated: bool, places: &[&str]) -> Operation {
    Operation {
        name: name.to_owned(),
        file: format!("operations/{name}.graphql"),
        kind: "query",
        authenticated,
        scopes: required(places),
        policies: Required::default(),
        asked_by: BTreeSet::from(["Order.total".to_owned(), "Query.me".to_owned()]),
    }
}

#[test]
fn what_is_required_is_told_shortly() {
    for (places, told) in [
        (vec![], ""),
        (vec![""], ""),
        (vec!["a |"], ""),
        (vec!["a", "b"], "a and b"),
        (vec!["a b | c"], "(a and b or c)"),
        // What is needed anyway is not told again, and what holds another set is not needed.
        (vec!["a", "a b | a c d"], "a and (b or c and d)"),
        (vec!["a", "a | c"], "a"),
        (vec!["b | b c"], "b"),
        (vec!["a | b", "b | a"], "(a or b)"),
        // What one place needs leaves the next one with a single set.
        (vec!["x | a y", "a", "y | x z"], "a and (x or y) and (x and z or y)"),
        (vec!["a | b c", "b", "b a | b a c"], "a and b"),
    ] {
        assert_eq!(required(&places).to_string(), told, "{places:?}");
    }
}

#[test]
fn a_tool_is_refused_without_what_its_operation_asks_for() {
    let mut third = operation("Third", true, &[]);
    third.policies = required(&["own_card | audit four_eyes"]);
    let operations = [
        operation("First", false, &["a"]),
        operation("Second", true, &["a b", "c | d e"]),
        third,
        operation("Free", false, &[]),
    ];
    let written = policies(&operations, &"shop".parse().unwrap(), "shop.graphql");
    assert_eq!(
        written,
        r#"// Written by `palisade policy generate` from shop.graphql.

// operations/First.graphql: Order.total, Query.me
@id("shop-First-requires")
forbid (principal, action in Mcp::Action::"tools/call", resource == Mcp::Tool::"shop/First")
unless { context.scopes.contains("a") };

// operations/Second.graphql: Order.total, Query.me
@id("shop-Second-requires")
forbid (principal, action in Mcp::Action::"tools/call", resource == Mcp::Tool::"shop/Second")
unless { !(principal is Anonymous) && context.scopes.containsAll(["a", "b"]) && (context.scopes.contains("c") || context.scopes.containsAll(["d", "e"])) };

// operations/Third.graphql: Order.total, Query.me
// Beside the scopes the schema asks the policies (audit and four_eyes or own_card).
@id("shop-Third-requires")
forbid (principal, action in Mcp::Action::"tools/call", resource == Mcp::Tool::"shop/Third")
unless { !(principal is Anonymous) };
"#
    );
}

#[test]
fn no_name_leaves_its_quotes_or_its_comment() {
    let mut hostile = operation("A", false, &["x\") } permit (principal)//"]);
    hostile.file = "a\npermit (principal, action, resource);.graphql".to_owned();
    let written = policies(&[hostile], &"shop".parse().unwrap(), "b\npermit");
    assert!(written.lines().all(|line| !line.starts_with("permit")), "{written}");
    assert!(written.contains(r#""x\")""#), "{written}");
}

#[test]
fn disagreements_are_found() {
    let operations = [
        operation("Cart", false, &["cart:read", "user:read | admin"]),
        operation("Me", true, &["\u{e9}"]),
        operation("Gone", true, &[]),
    ];
    let call = |who: &str, tool: &str, authenticated, scopes: &str| Permitted {
        who: who.to_owned(),
        tool: tool.to_owned(),
        authenticated,
        scopes: names(scopes),
    };
    let configured = Configured {
        scopes: names("cart:read admin"),
        tools: Some(names("Cart Me Other")),
        permitted: vec![
            call("whole", "Cart", true, "cart:read admin"),
            call("half", "Cart", true, "cart:read"),
            call("half", "Other", true, ""),
            call("nobody", "Gone", false, ""),
        ],
    };
    let told: Vec<String> = disagreements(&operations, &configured).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "the resource does not name the scope `user:read`, so that no client is asked for it: Cart",
            "`\u{e9}` is no scope, no token can hold it: Me",
            "`half` is permitted `Cart` and gets only a part of its answer: the schema asks for cart:read and (admin or user:read)",
            "`Gone` is no tool of the catalogue",
            "`nobody` is permitted `Gone` and gets only a part of its answer: the schema asks for a token",
        ]
    );
    let agreed = Configured { scopes: names("cart:read user:read admin"), ..Configured::default() };
    assert_eq!(disagreements(&operations[..1], &agreed), []);
}

proptest! {
    #[test]
    fn what_is_told_is_what_the_places_ask_for(
        places in prop::collection::vec(prop::collection::vec(prop::collection::btree_set("[a-f]", 0..4), 0..4), 0..5),
        held in prop::collection::btree_set("[a-f]", 0..6),
    ) {
        let each = |sets: &Vec<BTreeSet<String>>| sets.is_empty() || sets.iter().any(|set| set.is_subset(&held));
        let required = Required::new(places.clone());
        prop_assert_eq!(required.held(&held), places.iter().all(each), "{}", required);
        let empty = places.iter().all(|sets| sets.is_empty() || sets.iter().any(BTreeSet::is_empty));
        prop_assert_eq!(required.is_empty(), empty);
    }
}
