use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{Analysis, Schema};

const SDL: &str = r#"
type Query {
  take(f: F, ids: [ID!], grid: [[Int]], any: Any, id: ID): String
  node(id: ID): Node
  circle(c: Circle): String
}
interface Node { list(first: Int = 10, f: F): String, same(f: F): String }
type Small implements Node { list(first: Int = 10, f: F): String, same(f: F): String }
type Large implements Node { list(first: Int = 1000, f: F, all: Boolean = true, o: F = {}): String, same(f: F): String }
scalar Any
enum Level { LOW HIGH }
input F {
  tag: String = "all"
  owner: ID
  deep: F
  limit: Int! = 5
  inner: Inner! = {}
  ids: [ID!] = 7
  grid: [[Int]]
  any: Any
  level: Level = LOW
}
input Inner { first: Int = 1000, id: ID = 3 }
input Circle { circle: Circle = {} }
"#;

fn schema() -> Schema {
    Schema::load(SDL).unwrap()
}

fn analyze(document: &str, given: &Value) -> Result<Analysis, OperationError> {
    schema().analyze(document, None, given.as_object().unwrap())
}

fn arguments(document: &str, given: &Value) -> Value {
    let analysis = analyze(document, given).unwrap_or_else(|error| panic!("{document}: {error}"));
    json!(*analysis.asks()[0].arguments)
}

/// What an empty `F` comes to, with some members beside.
fn whole(more: &Value) -> Value {
    let mut whole = json!({
        "tag": "all", "limit": 5, "inner": {"first": 1000, "id": "3"}, "ids": ["7"], "level": "LOW",
    });
    whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    whole
}

#[test]
fn defaults_are_read_as_a_server_reads_them() {
    let empty = json!({});
    for (document, given, expected) in [
        ("query($f: F = {}) { take(f: $f) }", &empty, json!({"f": whole(&json!({}))})),
        ("query($f: F) { take(f: $f) }", &json!({"f": {}}), json!({"f": whole(&json!({}))})),
        (
            "query($f: F) { take(f: $f) }",
            &json!({"f": {"deep": {}}}),
            json!({"f": whole(&json!({"deep": whole(&json!({}))}))}),
        ),
        ("query($ids: [ID!] = 5) { take(ids: $ids) }", &empty, json!({"ids": ["5"]})),
        ("query($ids: [ID!]) { take(ids: $ids) }", &json!({"ids": 5}), json!({"ids": ["5"]})),
        ("query($g: [[Int]] = 1) { take(grid: $g) }", &empty, json!({"grid": [[1]]})),
        ("query($g: [[Int]] = [1, null]) { take(grid: $g) }", &empty, json!({"grid": [[1], null]})),
        ("query($f: F = {}) { take(f: $f) }", &json!({"f": null}), json!({"f": null})),
    ] {
        assert_eq!(arguments(document, given), expected, "{document} {given}");
    }
    let analysis = analyze("query($ids: [ID!] = 5) { take(ids: $ids) }", &empty).unwrap();
    assert_eq!(json!(*analysis.variables()), json!({"ids": ["5"]}));
}

#[test]
fn a_member_that_stands_twice_is_refused_wherever_it_stands() {
    for document in [
        r#"{ take(f: {tag: "mine", tag: "other"}) }"#,
        r#"{ take(f: {deep: {deep: {tag: "mine", tag: "mine"}}}) }"#,
        "{ take(any: {a: [{b: 1, b: 2}]}) }",
        "query($f: F = {limit: 1, limit: 2}) { take(f: $f) }",
        "{ take(ids: [1], ids: [2]) }",
        "{ take @include(if: true, if: false) }",
        "{ ... @include(if: true, if: false) { take } }",
        "{ ...A } fragment A on Query { take(f: {limit: 1, limit: 2}) }",
        "query A { take } query B { take(f: {limit: 1, limit: 2}) }",
    ] {
        let name = document.starts_with("query A").then_some("A");
        let error = schema().analyze(document, name, &Map::new()).err();
        assert!(matches!(error, Some(OperationError::Invalid(_))), "{document}: {error:?}");
    }
}

#[test]
fn a_number_that_servers_read_differently_is_refused() {
    let most = MOST_EXACT;
    for (number, taken) in [
        (most.to_string(), true),
        ((-most).to_string(), true),
        ((most + 1).to_string(), false),
        ((-most - 1).to_string(), false),
        (u64::MAX.to_string(), false),
        ("1e300".to_owned(), false),
    ] {
        let value: Value = serde_json::from_str(&number).unwrap();
        for (ty, argument, inside) in
            [("ID", "id", false), ("[ID!]", "ids", false), ("Any", "any", false), ("Any", "any", true)]
        {
            let literal = if inside { format!("{{a: [{number}]}}") } else { number.clone() };
            let json = if inside { json!({"a": [value]}) } else { value.clone() };
            for (document, given) in [
                (format!("{{ take({argument}: {literal}) }}"), json!({})),
                (format!("query($x: {ty}) {{ take({argument}: $x) }}"), json!({"x": json})),
                (format!("query($x: {ty} = {literal}) {{ take({argument}: $x) }}"), json!({})),
            ] {
                assert_eq!(analyze(&document, &given).is_ok(), taken, "{document} {given}");
            }
        }
    }
    assert!(analyze("{ take(id: -0) }", &json!({})).is_err());
}

#[test]
fn an_implementer_is_asked_about_with_its_own_arguments() {
    let analysis = analyze("{ node { list(f: {limit: 1}) same } }", &json!({})).unwrap();
    let of = |coordinate: &str| {
        let ask = analysis.asks().iter().find(|ask| ask.coordinate.to_string() == coordinate).unwrap();
        json!(*ask.arguments)
    };
    let f = whole(&json!({"limit": 1}));
    assert_eq!(of("Node.list"), json!({"first": 10, "f": f}));
    assert_eq!(of("Small.list"), json!({"first": 10, "f": f}));
    assert_eq!(of("Large.list"), json!({"first": 1000, "f": f, "all": true, "o": whole(&json!({}))}));
    assert_eq!(of("Large.same"), json!({}));
}

#[test]
fn the_arguments_of_every_implementer_are_paid_for() {
    let bytes = |document: &str| analyze(document, &json!({})).unwrap().argument_bytes;
    let text = "x".repeat(1000);
    let once = bytes(&format!("{{ take(f: {{tag: \"{text}\"}}) }}"));
    assert!((1000..1300).contains(&once), "{once}");
    let thrice = bytes(&format!("{{ node {{ same(f: {{tag: \"{text}\"}}) }} }}"));
    assert!((3000..3900).contains(&thrice), "{thrice}");
    let variable = |document: &str| {
        let given = json!({"f": {"tag": text}});
        analyze(document, &given).unwrap().argument_bytes
    };
    // The variable's own value, and each use of it.
    let used = variable("query($f: F) { take(f: $f) }");
    assert!((2000..2600).contains(&used), "{used}");
}

#[test]
fn defaults_that_go_round_in_a_circle_end() {
    for (document, given) in [
        ("{ circle(c: {}) }", json!({})),
        ("query($c: Circle) { circle(c: $c) }", json!({"c": {}})),
        ("query($c: Circle = {}) { circle(c: $c) }", json!({})),
    ] {
        let error = analyze(document, &given).err();
        assert!(
            matches!(error, Some(OperationError::TooMuch { limit: Limit::Arguments, .. })),
            "{document}: {error:?}"
        );
    }
}

/// A value as JSON and as a literal.
type Both = (Value, String);

fn both(value: Value) -> Both {
    let literal = value.to_string();
    (value, literal)
}

fn object(members: Vec<(&str, Option<Both>)>) -> Both {
    let (mut values, mut literals) = (Map::new(), Vec::new());
    for (name, member) in members {
        let Some((value, literal)) = member else { continue };
        literals.push(format!("{name}: {literal}"));
        values.insert(name.to_owned(), value);
    }
    (Value::Object(values), format!("{{{}}}", literals.join(" ")))
}

fn list(items: Vec<Both>) -> Both {
    let (values, literals): (Vec<Value>, Vec<String>) = items.into_iter().unzip();
    (Value::Array(values), format!("[{}]", literals.join(" ")))
}

fn id() -> impl Strategy<Value = Both> + Clone {
    let number = prop_oneof![-20_i64..20, MOST_EXACT - 2..MOST_EXACT + 2];
    prop_oneof![number.prop_map(|id| both(json!(id))), r#"[a-z0-9 "\\]{0,4}"#.prop_map(|id| both(json!(id)))]
}

fn any() -> impl Strategy<Value = Both> {
    let leaf = prop_oneof![Just(both(Value::Null)), id(), Just(both(json!(1.5))), Just(both(json!(true)))];
    leaf.prop_recursive(2, 8, 2, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(list),
            (proptest::option::of(inner.clone()), proptest::option::of(inner))
                .prop_map(|(a, b)| object(vec![("a", a), ("b", b)])),
        ]
    })
}

fn filter() -> impl Strategy<Value = Both> {
    let of = |strategy: BoxedStrategy<Both>| proptest::option::of(strategy);
    let ids = prop_oneof![id(), proptest::collection::vec(id(), 0..3).prop_map(list)];
    let numbers = prop_oneof![Just(Value::Null), (-9..9).prop_map(|number| json!(number))];
    let row = prop_oneof![
        numbers.clone().prop_map(both),
        proptest::collection::vec(numbers.prop_map(both), 0..3).prop_map(list)
    ];
    let grid = prop_oneof![row.clone(), proptest::collection::vec(row, 0..3).prop_map(list)];
    let level = Just((json!("HIGH"), "HIGH".to_owned()));
    let flat = (of(id().boxed()), of(ids.boxed()), of(grid.boxed()), of(any().boxed()), of(level.boxed()));
    let flat = flat.prop_map(|(owner, ids, grid, any, level)| {
        vec![("owner", owner), ("ids", ids), ("grid", grid), ("any", any), ("level", level)]
    });
    let leaf = flat.clone().prop_map(object);
    leaf.prop_recursive(2, 6, 1, move |inner| {
        (flat.clone(), proptest::option::of(inner)).prop_map(|(mut members, deep)| {
            members.push(("deep", deep));
            object(members)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_literal_a_variable_and_a_default_give_identical_arguments((value, literal) in filter()) {
        let read = |schema: &Schema, document: &str, given: &Value| {
            let analysis = schema.analyze(document, None, given.as_object().unwrap()).ok()?;
            Some(json!(*analysis.asks()[0].arguments))
        };
        let schema = schema();
        let expected = read(&schema, &format!("{{ take(f: {literal}) }}"), &json!({}));
        let supplied = read(&schema, "query($f: F) { take(f: $f) }", &json!({"f": value}));
        prop_assert_eq!(&supplied, &expected, "{}", literal);
        let default = read(&schema, &format!("query($f: F = {literal}) {{ take(f: $f) }}"), &json!({}));
        prop_assert_eq!(&default, &expected, "{}", literal);
        let sdl = SDL.replace("take(f: F,", &format!("take(f: F = {literal},"));
        let of_schema = Schema::load(&sdl).ok().and_then(|schema| read(&schema, "{ take }", &json!({})));
        prop_assert_eq!(&of_schema, &expected, "{}", literal);
    }
}
