//! What operations ask for, and that an analysis with variables never finds more.

use proptest::prelude::*;
use serde_json::Map;

use crate::fixtures::{SDL, schema};
use crate::{Coordinate, Dialect, OperationError, Schema};

/// The coordinates that ask for something, of the only operation.
fn asked_by(document: &str) -> Vec<String> {
    let needs = schema().needs(document).unwrap();
    assert_eq!(needs.len(), 1, "{document}");
    needs[0].rules.keys().map(Coordinate::to_string).collect()
}

#[test]
fn what_asks_for_something_is_named() {
    for (document, asked) in [
        ("{ open }", vec![]),
        ("{ me { id name } __typename }", vec![]),
        ("query($id: ID!) { user(id: $id) { email } }", vec!["Query.user", "User.email"]),
        ("mutation { remove(id: 1) }", vec!["Mutation"]),
        ("{ secret { id } }", vec!["Secret"]),
        ("{ level }", vec!["Level"]),
        // An interface's field is every implementer's.
        ("{ node(id: 1) { name } }", vec!["Secret", "Robot.name"]),
        ("{ node(id: 1) { __typename ... on Robot { id } } }", vec![]),
        ("{ find { ... on Robot { name } } }", vec!["Robot.name"]),
        // What may be left out counts, and a fragment counts wherever it is spread.
        (
            "{ me { ...A @skip(if: true) } } fragment A on User { card ...B } fragment B on User { strict }",
            vec!["User.card", "User.strict"],
        ),
    ] {
        assert_eq!(asked_by(document), asked, "{document}");
    }
}

#[test]
fn every_operation_of_a_document_is_told_by_itself() {
    let document = "query A { me { ...F } } subscription B { news { title } } fragment F on User { email }";
    let needs = schema().needs(document).unwrap();
    let told: Vec<(Option<&str>, &str, usize)> =
        needs.iter().map(|needs| (needs.name.as_deref(), needs.kind.as_str(), needs.rules.len())).collect();
    assert_eq!(told, [(Some("A"), "query", 1), (Some("B"), "subscription", 1)]);
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let refused = |document: &str| schema().needs(document).unwrap_err();
    assert!(matches!(refused("{ me { "), OperationError::Syntax(_)));
    assert!(matches!(refused("{ nothing }"), OperationError::Invalid(_)));
    assert!(matches!(refused("{ hidden }"), OperationError::Inaccessible { .. }));
    assert!(matches!(
        refused("fragment F on User { id }"),
        OperationError::Invalid(_) | OperationError::NoOperation
    ));
    let mut bomb = "{ me { ...F0 } } fragment F40 on User { id }".to_owned();
    for at in 0..40 {
        bomb.push_str(&format!(" fragment F{at} on User {{ ...F{next} ...F{next} }}", next = at + 1));
    }
    assert!(matches!(refused(&bomb), OperationError::TooMuch { .. }));
}

#[test]
fn directives_are_found_under_the_names_that_links_give_them() {
    let linked = format!(
        "schema @link(url: \"https://specs.apollo.dev/link/v1.0\") \
         @link(url: \"https://specs.apollo.dev/requiresScopes/v0.1\", as: \"needs\") {{ query: Query }} \
         {} directive @needs(scopes: [[needs__Scope!]!]!) on FIELD_DEFINITION | OBJECT scalar needs__Scope",
        "directive @link(url: String!, as: String, import: [link__Import]) repeatable on SCHEMA scalar link__Import \
         type Query { open: String @needs(scopes: [[\"a\"]]) }"
    );
    let needs = Schema::load(&linked).unwrap().needs("{ open }").unwrap();
    let rule = needs[0].rules.values().next().unwrap();
    assert_eq!(rule.scopes.names().collect::<Vec<_>>(), ["a"]);
    assert!(SDL.contains("@requiresScopes"));
}

/// Operations over a part of the schema, without arguments.
fn operation() -> impl Strategy<Value = String> {
    let field = prop_oneof![
        Just("open"),
        Just("me { id email }"),
        Just("me @include(if: $on) { card }"),
        Just("secret { name }"),
        Just("find { ... on Robot { name } ...S }"),
        Just("needed { deep { value } }"),
    ];
    let fields = prop::collection::vec(field, 1..6);
    fields.prop_map(|fields| {
        let used =
            if fields.iter().any(|field| field.contains("$on")) { "($on: Boolean = false)" } else { "" };
        let fragment = "fragment S on Secret { id }";
        let spread = if fields.iter().any(|field| field.contains("...S")) { fragment } else { "" };
        format!("query{used} {{ {} }} {spread}", fields.join(" "))
    })
}

proptest! {
    #[test]
    fn an_analysis_asks_for_nothing_that_is_not_told(document in operation()) {
        let schema = schema();
        let Ok(needs) = schema.needs(&document) else {
            // Fields of one name that differ: neither reads it.
            prop_assert!(schema.analyze(&document, None, &Map::new()).is_err());
            return Ok(());
        };
        let analysis = schema.analyze(&document, None, &Map::new()).unwrap();
        for dialect in [Dialect::Apollo, Dialect::Hive, Dialect::Cosmo] {
            let asked = schema.requirements(&analysis, dialect);
            let rules = || needs[0].rules.values();
            prop_assert!(asked.scopes.iter().all(|scope| rules().any(|rule| rule.scopes.names().any(|name| name == scope))));
            prop_assert!(asked.policies.iter().all(|policy| rules().any(|rule| rule.policies.names().any(|name| name == policy))));
            prop_assert!(!asked.authenticated || rules().any(|rule| rule.authenticated || !rule.scopes.is_empty()));
        }
    }
}
