use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::Mode;
use crate::fixtures::{analyzed, everything, schema};

const KINDS: [OperationKind; 3] =
    [OperationKind::Query, OperationKind::Mutation, OperationKind::Subscription];
/// What tools ask for.
const STANDARD: &str = r"
query IntrospectionQuery {
  __schema {
    description queryType { name } mutationType { name } subscriptionType { name }
    types { ...FullType }
    directives { name description locations args { ...InputValue } }
  }
}
fragment FullType on __Type {
  kind name description specifiedByURL
  fields(includeDeprecated: true) {
    name description args { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason
  }
  inputFields { ...InputValue } interfaces { ...TypeRef }
  enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
  possibleTypes { ...TypeRef }
}
fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue }
fragment TypeRef on __Type {
  kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } }
}";

fn whole(schema: &Schema) -> Shown {
    Shown::of(schema.elements().map(|(coordinate, _)| coordinate))
}

fn shown(schema: &Schema, decisions: &Decisions, without: &[&str]) -> Shown {
    let fields = schema.elements().map(|(coordinate, _)| coordinate);
    let permitted = Shown::of(fields.filter(|it| !without.contains(&it.to_string().as_str())));
    schema.shown(decisions, &permitted, &KINDS, Dialect::Apollo)
}

fn asked(schema: &Schema, document: &str, shown: &Shown) -> Value {
    let analysis = schema.analyze(document, None, &Map::new()).unwrap();
    serde_json::from_str(&schema.introspect(&analysis, shown).unwrap()).unwrap()
}

/// The members of each type, as introspection tells them: its fields with their arguments, values or members.
fn told(schema: &Schema, shown: &Shown) -> Map<String, Value> {
    let document = "{ __schema { types { name possibleTypes { name } interfaces { name } enumValues { name }
        inputFields { name } fields { name args { name } } } } }";
    let data = asked(schema, document, shown);
    let types = data["__schema"]["types"].as_array().unwrap();
    let is_own = |it: &&Value| {
        let name = it["name"].as_str().unwrap();
        !name.starts_with("__") && !["String", "Boolean", "Int", "ID", "Float"].contains(&name)
    };
    let members = |it: &Value| {
        let of = |key: &str| it[key].as_array().into_iter().flatten().cloned().collect::<Vec<_>>();
        let name = |of: &Value| of["name"].as_str().unwrap().to_owned();
        let field = |field: &Value| {
            let arguments: Vec<_> = field["args"].as_array().unwrap().iter().map(name).collect();
            if arguments.is_empty() {
                name(field)
            } else {
                format!("{}({})", name(field), arguments.join(" "))
            }
        };
        let mut all: Vec<String> = of("fields").iter().map(field).collect();
        all.extend(of("inputFields").iter().chain(&of("enumValues")).map(name));
        all.extend(of("possibleTypes").iter().map(|it| format!("<{}", name(it))));
        all.extend(of("interfaces").iter().map(|it| format!(">{}", name(it))));
        all.join(" ")
    };
    types
        .iter()
        .filter(is_own)
        .map(|it| (it["name"].as_str().unwrap().to_owned(), members(it).into()))
        .collect()
}

#[test]
fn whoever_is_granted_everything_is_shown_all_but_what_is_inaccessible() {
    let schema = schema();
    let told = told(&schema, &shown(&schema, &everything(), &[]));
    assert_eq!(
        Value::Object(told),
        json!({
            "Query": "me users(first filter ids) grid user(id) node(id) find secret open level needed",
            "Mutation": "remove(id)",
            "Subscription": "news(topic)",
            "News": "title text",
            "Node": "id name <User <Secret <Robot",
            "User": "id name email(mask) card strict friends >Node",
            "Secret": "id name >Node",
            "Robot": "id name >Node",
            "Needed": "deep value plain",
            "Found": "<User <Secret <Robot",
            "Level": "LOW HIGH",
            "Filter": "tag owner deep limit",
        })
    );
}

#[test]
fn what_is_not_granted_is_not_there_and_nothing_that_only_it_leads_to() {
    let schema = schema();
    // Nobody, with whatever needs nothing: no implementer's name, so none of the interface; neither `Secret` nor `Level` at all.
    assert_eq!(
        Value::Object(told(&schema, &shown(&schema, &Decisions::none(), &[]))),
        json!({
            "Query": "me users(first filter ids) grid find open needed",
            "Subscription": "news(topic)",
            "News": "text",
            "User": "id name friends",
            "Robot": "id",
            "Needed": "deep plain",
            "Found": "<User <Robot",
            "Filter": "tag owner deep limit",
        })
    );
    // With the scope of `Secret` the names of robots are still another's.
    let scoped = Decisions::none().scopes(["secret:read"]);
    let told_scoped = told(&schema, &shown(&schema, &scoped, &[]));
    assert_eq!(told_scoped["Node"], json!("id <User <Secret <Robot"));
    assert_eq!(told_scoped["Secret"], json!("id name >Node"));
}

#[test]
fn what_policies_do_not_permit_takes_along_what_cannot_be_without_it() {
    let schema = schema();
    let without = |fields: &[&str]| told(&schema, &shown(&schema, &everything(), fields));
    // An interface's field is one of all that implement it, and a type without fields is none.
    let told = without(&["Robot.name", "Needed.deep", "Needed.value", "Needed.plain"]);
    assert_eq!((&told["Node"], told.get("Needed")), (&json!("id <User <Secret <Robot"), None));
    assert!(!told["Query"].as_str().unwrap().contains("needed"));
    let told = without(&["Robot.name", "Robot.id"]);
    assert_eq!((told.get("Node"), told.get("Robot"), &told["Found"]), (None, None, &json!("<User <Secret")));
    assert_eq!(told["User"], json!("id name email(mask) card strict friends"));
    // A root of which nothing is left.
    let told = without(&["Subscription.news"]);
    assert_eq!((told.get("Subscription"), told.get("News")), (None, None));
    // A query type has to be there.
    let nothing = Shown::default();
    let document = "{ __schema { queryType { name fields { name } } mutationType { name } types { name } } }";
    let data = asked(&schema, document, &nothing);
    assert_eq!(data["__schema"]["queryType"], json!({ "name": "Query", "fields": [] }));
    assert_eq!(data["__schema"]["mutationType"], Value::Null);
    for name in ["User", "Filter", "Level", "Found"] {
        assert!(!data.to_string().contains(name), "{name}");
    }
}

#[test]
fn a_root_is_shown_to_who_may_do_its_kind_of_operation() {
    let schema = schema();
    let all = whole(&schema);
    let shown = schema.shown(&everything(), &all, &[OperationKind::Query], Dialect::Apollo);
    let roots = "{ __schema { queryType { name } mutationType { name } subscriptionType { name } } }";
    assert_eq!(
        asked(&schema, roots, &shown)["__schema"],
        json!({ "queryType": { "name": "Query" }, "mutationType": null, "subscriptionType": null })
    );
}

#[test]
fn a_type_that_is_not_shown_is_asked_for_as_one_that_is_not_there() {
    let schema = schema();
    let shown = shown(&schema, &Decisions::none(), &[]);
    let document = r#"{ secret: __type(name: "Secret") { name } none: __type(name: "None") { name } __typename
        user: __type(name: "User") { fields { name } } }"#;
    assert_eq!(
        asked(&schema, document, &shown),
        json!({
            "secret": null, "none": null, "__typename": "Query",
            "user": { "fields": [{ "name": "id" }, { "name": "name" }, { "name": "friends" }] },
        })
    );
    let analysis =
        schema.analyze("query T($n: String = \"User\") { __type(name: $n) { kind } }", None, &Map::new());
    let answer = schema.introspect(&analysis.unwrap(), &shown).unwrap();
    assert_eq!(answer, r#"{"__type":{"kind":"OBJECT"}}"#);
}

/// A supergraph with its machinery, and with something inaccessible in every place.
const SUPERGRAPH: &str = r#"
schema
  @link(url: "https://specs.apollo.dev/link/v1.0")
  @link(url: "https://specs.apollo.dev/join/v0.3", for: EXECUTION)
  @link(url: "https://specs.apollo.dev/inaccessible/v0.2", as: "hidden", for: SECURITY)
{ query: Query }
directive @link(url: String, as: String, for: link__Purpose, import: [link__Import]) repeatable on SCHEMA
directive @join__type(graph: join__Graph!, key: join__FieldSet) repeatable on OBJECT | INTERFACE
directive @hidden on FIELD_DEFINITION | OBJECT | INTERFACE | UNION | ARGUMENT_DEFINITION | SCALAR | ENUM | ENUM_VALUE | INPUT_OBJECT | INPUT_FIELD_DEFINITION
directive @audited(by: Auditor) on FIELD_DEFINITION
directive @cached(for: Period, by: Auditor @hidden) on QUERY | FIELD
scalar join__FieldSet
scalar link__Import
enum link__Purpose { SECURITY EXECUTION }
enum join__Graph { A }
enum Auditor { INTERNAL }
enum Period { HOUR DAY @hidden }
type Query @join__type(graph: A) {
  item(by: By, colour: Colour = BLUE, colours: [Colour!]! = [RED, BLUE], shape: Shape): Item
  old: String @deprecated(reason: "gone")
  secret(key: Key!): String
  at: Instant
  moded(by: By = { id: 1, order: ASC, mode: INTERNAL_ONLY }, ok: By = { id: 2, order: ASC }): String
}
type Item implements Named { id: ID! name: String secret: String @hidden other: Other }
interface Named { name: String }
type Other @hidden { id: ID }
enum Colour { RED BLUE @hidden }
enum Order { ASC BLUE }
enum Mode @hidden { INTERNAL_ONLY }
input By {
  id: ID secret: String = "x" @hidden near: Shape = { width: 1, depth: 2 } order: Order! = ASC
  mode: Mode = INTERNAL_ONLY far: Shape = { width: 7 } raw: Instant = { any: THING }
}
input Shape { width: Int depth: Int @hidden }
input Key @hidden { id: ID }
scalar Instant @specifiedBy(url: "https://example.com/instant")
"#;

#[test]
fn a_supergraph_is_shown_as_its_clients_know_it() {
    let schema = Schema::load(SUPERGRAPH).unwrap();
    schema.can_be_shown().unwrap();
    let shown = shown(&schema, &everything(), &[]);
    assert_eq!(
        Value::Object(told(&schema, &shown)),
        json!({
            "Query": "item(by colour colours shape) at moded(by ok)",
            "Item": "id name >Named",
            "Named": "name <Item",
            "Colour": "RED",
            "By": "id near order far raw",
            "Order": "ASC BLUE",
            "Shape": "width",
            "Period": "HOUR",
            "Instant": "",
        })
    );
    let data = asked(&schema, STANDARD, &shown);
    let directives: Vec<_> = data["__schema"]["directives"].as_array().unwrap().iter().collect();
    let names: BTreeSet<_> = directives.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cached", "deprecated", "include", "skip", "specifiedBy"].into());
    let cached = directives.iter().find(|it| it["name"] == "cached").unwrap();
    assert_eq!(cached["args"].as_array().unwrap().len(), 1);
    // Neither as a default.
    let blue = data.to_string().matches("BLUE").count();
    assert_eq!(blue, 1, "{data}");
    for name in ["depth", "secret", "Other", "Key", "join__", "link__", "Auditor", "DAY", "mode:", "INTERNAL"]
    {
        assert!(!data.to_string().contains(name), "{name}: {data}");
    }
    for name in [
        "{width: 7}",
        "{any: THING}",
        "{id: 2, order: ASC}",
        "https://example.com/instant",
        "gone",
        "\"old\"",
    ] {
        assert!(data.to_string().contains(name), "{name}");
    }
}

#[test]
fn a_schema_that_cannot_be_told_of_is_found_before_anybody_asks() {
    let sdl = "directive @inaccessible on ARGUMENT_DEFINITION
        type Query { node: Node } interface Node { id(a: Int): ID } type User implements Node { id(a: Int @inaccessible): ID }";
    let error = Schema::load(sdl).unwrap().can_be_shown().unwrap_err();
    assert!(error.to_string().starts_with("the schema is not valid"), "{error}");
    schema().can_be_shown().unwrap();
}

#[test]
fn only_introspection_is_answered_and_none_whose_answer_outgrows_the_schema() {
    let schema = schema();
    let check = |document: &str| schema.answers(&analyzed(document));
    for document in [
        STANDARD,
        "{ __schema { types { fields { args { type { ofType { name } } } } } } }",
        "{ __schema { queryType { fields { type { kind name ofType { name } } args { name } } } } __typename }",
        "{ __schema { directives { args { name } } } }",
        r#"{ __type(name: "User") { fields { args { type { name } } } possibleTypes { name } } }"#,
        r#"{ a: __type(name: "User") { name } ...F } fragment F on Query { b: __type(name: "Node") { name } }"#,
    ] {
        assert_eq!(check(document), Ok(()), "{document}");
    }
    for document in [
        "{ open __schema { queryType { name } } }",
        "query Q($s: Boolean = true) { open @skip(if: $s) __schema { queryType { name } } }",
        "{ __typename }",
        "{ open }",
        "subscription { news { text } }",
    ] {
        assert_eq!(check(document), Err(IntrospectionError::Mixed), "{document}");
    }
    for document in [
        "{ __schema { types { fields { type { fields { name } } } } } }",
        "{ __schema { types { possibleTypes { fields { name } } } } }",
        "{ __schema { types { fields { args { type { enumValues { name } } } } } } }",
        "{ __schema { ...S } } fragment S on __Schema { types { ...T } } fragment T on __Type { interfaces { ... { fields { name } } } }",
        "{ __schema { queryType { fields { type { fields { name } } } } } }",
        r#"{ __type(name: "User") { possibleTypes { fields { name } } } }"#,
        r#"{ __type(name: "User") { fields { type { enumValues { name } } } } }"#,
    ] {
        assert_eq!(check(document), Err(IntrospectionError::Depth), "{document}");
    }
    let aliased = |count: usize| {
        let aliases = (0..count).map(|alias| format!("a{alias}: __type(name: \"User\") {{ name }} "));
        format!("{{ {} }}", aliases.collect::<String>())
    };
    assert_eq!(check(&aliased(MOST_ALIASES)), Ok(()));
    for document in [
        aliased(MOST_ALIASES + 1).as_str(),
        "{ a: __schema { queryType { name } } }",
        "{ __schema { types { a: description } } }",
        "{ __schema { a: types { name } } }",
        "{ ...F } fragment F on Query { a: __schema { queryType { name } } }",
        r#"{ __type(name: "User") { ... { a: fields { name } } } }"#,
    ] {
        assert_eq!(check(document), Err(IntrospectionError::Aliases), "{document}");
    }
    // What cannot be answered is not.
    let analysis = analyzed("{ open __schema { queryType { name } } }");
    assert_eq!(schema.introspect(&analysis, &whole(&schema)), Err(IntrospectionError::Mixed));
}

fn fields(schema: &Schema) -> Vec<Coordinate> {
    schema.elements().map(|(coordinate, _)| coordinate).filter(|it| it.field_name().is_some()).collect()
}

/// A query of a field of the root, with what it needs, and of nothing below it that needs anything.
fn query(field: &str) -> String {
    let arguments = if ["user", "node"].contains(&field) { "(id: 1)" } else { "" };
    let leaf = ["open", "level"].contains(&field);
    format!("{{ {field}{arguments}{} }}", if leaf { "" } else { " { __typename }" })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// What is shown is a valid schema of what is permitted; shown once more it is the same; and a query of what is shown at the root
    /// is granted.
    #[test]
    fn what_is_shown_is_valid_and_granted(
        mask in proptest::collection::vec(any::<bool>(), 64),
        authenticated: bool,
        scopes in proptest::sample::subsequence(vec!["user:read", "admin", "audit", "secret:read"], 0..=4),
        policies in proptest::sample::subsequence(vec!["read_email", "read_card", "admin", "root", "robots"], 0..=5),
        likely: bool,
    ) {
        let schema = schema();
        let mut all = fields(&schema);
        all.sort();
        let permitted = Shown::of(
            all.into_iter().zip(mask.chunks(1).cycle()).enumerate()
                .filter(|(place, (_, bit))| bit[0] || (likely && place % 4 != 0))
                .map(|(_, (field, _))| field),
        );
        let decisions = Decisions::none().authenticated(authenticated).scopes(scopes).policies(policies);
        let shown = schema.shown(&decisions, &permitted, &KINDS, Dialect::Apollo);
        prop_assert!(shown.fields.iter().all(|field| permitted.shows(field)));

        let reduced = Reduced::of(&schema, &shown);
        prop_assert_eq!(&reduced.shown(), &shown);
        let reduced = reduced.into_schema();
        let something = shown.fields.iter().any(|field| field.type_name() == "Query");
        let text = reduced.to_string();
        if something {
            prop_assert!(reduced.validate().is_ok(), "{}", text);
        }
        for (coordinate, _) in schema.elements().filter(|(it, _)| it.type_name() == "Query") {
            let Some(field) = coordinate.field_name().filter(|_| shown.shows(&coordinate)) else { continue };
            let analysis = analyzed(&query(field));
            let asks = analysis.asks().iter().filter(|ask| permitted.shows(&ask.coordinate)).cloned();
            let granted = schema.filter(&analysis, &decisions.clone().fields(asks), Dialect::Apollo, Mode::Reject);
            prop_assert!(granted.denied.is_empty(), "{}: {:?}", field, granted.denied);
        }
        // Everything that is told is among what is shown.
        let told = told(&schema, &shown);
        for (name, members) in &told {
            for member in members.as_str().unwrap().split(' ').filter(|it| !it.starts_with(['<', '>'])) {
                let field = Coordinate::of_field(name, member.split('(').next().unwrap());
                let is_field = schema.field(name, field.field_name().unwrap_or_default()).is_some();
                prop_assert!(!is_field || shown.shows(&field), "{}", field);
            }
        }
    }
}
