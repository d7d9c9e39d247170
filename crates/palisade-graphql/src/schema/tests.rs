use std::collections::BTreeSet;

use super::*;
use crate::fixtures;

/// The rule of a coordinate, as text: `auth`, then scopes, then policies.
fn rule(schema: &Schema, coordinate: &str) -> String {
    let coordinate: Coordinate = coordinate.parse().unwrap();
    let (_, element) = schema.elements().find(|(of, _)| *of == coordinate).unwrap();
    let sets = |alternatives: &crate::Alternatives| {
        let one = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join("+");
        alternatives.sets().iter().map(one).collect::<Vec<_>>().join("|")
    };
    let auth = if element.rule.authenticated { "auth" } else { "" };
    format!("{auth} {} {}", sets(&element.rule.scopes), sets(&element.rule.policies)).trim().to_owned()
}

#[test]
fn the_rules_of_each_place_are_read() {
    let schema = fixtures::schema();
    for (coordinate, expected) in [
        ("Query.user", "user:read|admin+audit"),
        ("Mutation", "auth"),
        ("User.card", "admin+read_card|root"),
        ("Secret", "secret:read"),
        ("Level", "auth"),
        ("Query.me", ""),
    ] {
        assert_eq!(rule(&schema, coordinate), expected, "{coordinate}");
    }
    assert_eq!(schema.implementers("Node").collect::<BTreeSet<_>>(), ["User", "Secret", "Robot"].into());
    let (_, email) = schema.elements().find(|(of, _)| of.to_string() == "User.email").unwrap();
    assert_eq!(email.labels, &BTreeSet::from(["pii".to_owned()]));
}

const LABELLED: &str = r#"
type Query { card: Card, cards: [Card!]! @tag(name: "card"), level: Level!, plain: String, vault: Vault, known: Known, unreleased: [Product!]! }
type Mutation { deleteProduct(id: ID!): Product }
type Product @tag(name: "public") { name: String }
interface Named @tag(name: "named") { name: String @tag(name: "name") }
interface Person implements Named { name: String, email: String @tag(name: "pii") }
interface Secret @tag(name: "secret") { id: ID }
type Customer implements Person & Named { name: String, email: String, age: Int @tag(name: "age") }
type Clerk implements Person & Named @tag(name: "pii") { name: String @tag(name: "named") @tag(name: "name"), email: String @tag(name: "named") }
type Vault implements Secret { id: ID, combination: String }
type Known implements Secret @tag(name: "secret") { id: ID, card: Card @tag(name: "card") }
scalar Card @tag(name: "card")
enum Level @tag(name: "level") { LOW }
union Found @tag(name: "found") = Customer | Product
"#;

/// A permit on a label is about what the label stands on, and never about what only leads there.
#[test]
fn a_label_is_only_on_what_it_stands_on() {
    let schema = Schema::load(LABELLED).unwrap();
    for (at, expected) in [
        ("Product", "public"),
        ("Product.name", ""),
        ("Mutation.deleteProduct", ""),
        ("Query.unreleased", ""),
        ("Query.card", ""),
        ("Query.cards", "card"),
        ("Named.name", "name"),
        ("Customer.name", ""),
        ("Customer.email", ""),
        ("Vault", ""),
        ("Vault.id", ""),
        ("Card", "card"),
    ] {
        let (_, element) = schema.elements().find(|(of, _)| of.to_string() == at).unwrap();
        assert_eq!(element.labels.iter().cloned().collect::<Vec<_>>().join(" "), expected, "{at}");
    }
}

#[test]
fn where_a_label_does_not_reach_is_told() {
    let mut told = BTreeSet::new();
    for (label, places) in Schema::load(LABELLED).unwrap().unlabelled() {
        for (place, lacking) in places {
            let lacking: Vec<String> = lacking.iter().map(ToString::to_string).collect();
            told.insert(format!("{label} of {place}: {}", lacking.join(" ")));
        }
    }
    let expected = [
        "card of Card: Query.card",
        "found of Found: Customer Product",
        "level of Level: Query.level",
        "name of Named.name: Customer.name",
        "named of Named: Customer",
        "pii of Person.email: Customer.email",
        "secret of Secret: Vault",
    ];
    assert_eq!(told, expected.map(str::to_owned).into());
}

#[test]
fn every_policy_and_scope_is_told_with_its_places() {
    let schema = fixtures::schema();
    let policies = schema.policies();
    assert_eq!(policies.keys().collect::<Vec<_>>(), ["admin", "read_card", "read_email", "robots", "root"]);
    assert_eq!(policies["robots"], BTreeSet::from([Coordinate::of_field("Robot", "name")]));
    assert_eq!(schema.scopes()["secret:read"], BTreeSet::from([Coordinate::of_type("Secret")]));
}

#[test]
fn the_directives_are_found_under_the_names_that_links_give_them() {
    let federation = "https://specs.apollo.dev/federation/v2.5";
    for (link, applied) in [
        (String::new(), "@policy(policies: [[\"p\"]])"),
        ("extend schema @link(url: \"https://specs.apollo.dev/policy/v0.1\")".to_owned(), "@policy(policies: [[\"p\"]])"),
        (
            "extend schema @link(url: \"https://specs.apollo.dev/policy/v0.1\", as: \"pol\")".to_owned(),
            "@pol(policies: [[\"p\"]])",
        ),
        (
            "extend schema @link(url: \"https://specs.apollo.dev/policy/v0.1\", import: [{name: \"@policy\", as: \"@pl\"}])"
                .to_owned(),
            "@pl(policies: [[\"p\"]])",
        ),
        (format!("extend schema @link(url: \"{federation}\", import: [\"@policy\"])"), "@policy(policies: [[\"p\"]])"),
        (
            format!("extend schema @link(url: \"{federation}\", import: [{{name: \"@policy\", as: \"@mine\"}}])"),
            "@mine(policies: [[\"p\"]])",
        ),
        (format!("extend schema @link(url: \"{federation}\")"), "@federation__policy(policies: [[\"p\"]])"),
        (format!("extend schema @link(url: \"{federation}\", as: \"fed\")"), "@fed__policy(policies: [[\"p\"]])"),
        (format!("extend schema @link(url: \"{federation}\")"), "@policy(policies: [[\"p\"]])"),
    ] {
        let sdl = format!("{link} type Query {{ a: Int {applied} }}");
        let schema = Schema::load(&sdl).unwrap_or_else(|error| panic!("{sdl}: {error}"));
        assert_eq!(rule(&schema, "Query.a"), "p", "{sdl}");
    }
}

#[test]
fn a_name_that_a_link_has_given_away_is_not_ours() {
    let sdl = r#"extend schema @link(url: "https://specs.apollo.dev/policy/v0.1", as: "pol")
        directive @policy(name: String) on FIELD_DEFINITION
        type Query { a: Int @policy(name: "x") }"#;
    assert_eq!(rule(&Schema::load(sdl).unwrap(), "Query.a"), "");
}

#[test]
fn a_supergraph_that_defines_what_it_uses_is_read() {
    let sdl = r#"
        schema @link(url: "https://specs.apollo.dev/link/v1.0") @link(url: "https://specs.apollo.dev/join/v0.3", for: EXECUTION)
          @link(url: "https://specs.apollo.dev/requiresScopes/v0.1", for: SECURITY) { query: Query }
        directive @link(url: String, as: String, for: link__Purpose, import: [link__Import]) repeatable on SCHEMA
        directive @join__type(graph: join__Graph!) repeatable on OBJECT
        directive @requiresScopes(scopes: [[requiresScopes__Scope!]!]!) on FIELD_DEFINITION | OBJECT | INTERFACE | SCALAR | ENUM
        enum join__Graph { A }
        scalar link__Import
        enum link__Purpose { SECURITY EXECUTION }
        scalar requiresScopes__Scope
        type Query @join__type(graph: A) { a: Int @requiresScopes(scopes: [["x", "y"], ["z"]]) }"#;
    assert_eq!(rule(&Schema::load(sdl).unwrap(), "Query.a"), "x+y|z");
}

#[test]
fn an_empty_requirement_asks_for_nothing() {
    for scopes in ["[]", "[[]]", "[[\"a\"], []]"] {
        let schema =
            Schema::load(&format!("type Query {{ a: Int @requiresScopes(scopes: {scopes}) }}")).unwrap();
        assert_eq!(rule(&schema, "Query.a"), "", "{scopes}");
    }
}

#[test]
fn what_cannot_be_read_is_an_error_and_never_no_requirement() {
    let directive = |sdl: &str| matches!(Schema::load(sdl), Err(SchemaError::Directive { .. }));
    assert!(directive(
        "directive @policy(name: String) on FIELD_DEFINITION type Query { a: Int @policy(name: \"p\") }"
    ));
    assert!(directive("directive @tag(name: Int) on OBJECT type Query @tag(name: 1) { a: Int }"));
    let version = r#"extend schema @link(url: "https://specs.apollo.dev/policy/v1.0") type Query { a: Int }"#;
    assert!(matches!(Schema::load(version), Err(SchemaError::Version { .. })));
    for sdl in [
        "type Query { a: Int @unknown }",
        "type Query { a: Int @policy }",
        "type Query { a: Missing }",
        "type Query { a: Int ",
        "type Query { a: Int @policy(policies: [[\"a\"]]) @policy(policies: [[\"b\"]]) }",
    ] {
        assert!(Schema::load(sdl).is_err(), "{sdl}");
    }
}

#[test]
fn a_rule_on_an_extension_is_the_types_own() {
    let sdl = "type Query { a: Int } extend type Query @authenticated { b: Int @tag(name: \"t\") }";
    let schema = Schema::load(sdl).unwrap();
    assert_eq!(rule(&schema, "Query"), "auth");
    let twice = "directive @authenticated repeatable on OBJECT type Query @authenticated { a: Int } \
                 extend type Query @authenticated";
    assert!(matches!(Schema::load(twice), Err(SchemaError::Repeated { .. })));
}

#[test]
fn a_coordinate_is_read_as_it_is_written() {
    for text in ["Query", "Query.me", "_A.b_1"] {
        assert_eq!(text.parse::<Coordinate>().unwrap().to_string(), text);
    }
    for text in ["", ".", "a.", ".a", "a.b.c", "a b", "1a", "a.1", "Query.me\n"] {
        assert!(text.parse::<Coordinate>().is_err(), "{text}");
    }
}
