//! Arguments of fields, with what operations leave out.

use async_graphql::{Enum, ID, InputObject, Object, OutputType};
use serde_json::json;

use super::*;

#[derive(Enum, Clone, Copy, PartialEq, Eq)]
enum Order {
    Newest,
    Oldest,
}

#[derive(InputObject)]
struct Page {
    #[graphql(default = 20)]
    first: i32,
    after: Option<String>,
    #[graphql(default_with = "Order::Newest")]
    order: Order,
}

struct Query;

#[Object]
impl Query {
    async fn orders(
        &self,
        #[graphql(default = 5)] most: i32,
        page: Option<Page>,
        ids: Option<Vec<i32>>,
        of: Option<Vec<ID>>,
    ) -> i32 {
        let most = most + i32::try_from(of.map_or(0, |of| of.len())).unwrap();
        let page = page.map_or(0, |page| page.first + page.order as i32 + i32::from(page.after.is_some()));
        most + page + ids.map_or(0, |ids| ids.iter().sum())
    }
}

fn given(text: &str) -> Vec<(Name, Value)> {
    let document = parse_query(format!("{{ orders{text} }}")).unwrap();
    let (_, operation) = document.operations.iter().next().unwrap();
    let Selection::Field(field) = &operation.node.selection_set.node.items[0].node else { panic!("a field") };
    let arguments = field.node.arguments.iter();
    arguments.map(|(name, value)| (name.node.clone(), value.node.clone().into_const().unwrap())).collect()
}

#[test]
fn arguments_are_those_that_the_resolver_gets() {
    let registry = &mut Registry::default();
    Query::create_type_info(registry);
    let registry = &*registry;
    let found = field(registry, "Query.orders").unwrap();
    let cases = [
        ("", json!({ "most": 5 })),
        ("(most: 7)", json!({ "most": 7 })),
        (
            "(page: {after: \"a\"})",
            json!({ "most": 5, "page": { "first": 20, "after": "a", "order": "NEWEST" } }),
        ),
        ("(page: null, ids: [1, 2])", json!({ "most": 5, "page": null, "ids": [1, 2] })),
        (
            "(page: {order: OLDEST}, ids: 3)",
            json!({ "most": 5, "page": { "first": 20, "order": "OLDEST" }, "ids": [3] }),
        ),
        ("(of: [7, \"a\"])", json!({ "most": 5, "of": ["7", "a"] })),
        ("(of: 7)", json!({ "most": 5, "of": ["7"] })),
    ];
    for (text, expected) in cases {
        let arguments = coerced(registry, found, if text.is_empty() { Vec::new() } else { given(text) });
        assert_eq!(serde_json::Value::Object(arguments.unwrap()), expected, "{text}");
    }
    // What the schema does not define, and what is no JSON, cannot be told.
    assert_eq!(coerced(registry, found, given("(other: 1)")), None);
    assert_eq!(coerced(registry, found, given("(page: {other: 1})")), None);
    assert!(field(registry, "Query.other").is_none() && field(registry, "Query").is_none());
}
