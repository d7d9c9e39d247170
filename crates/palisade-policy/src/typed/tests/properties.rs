//! Properties: whatever the schema and the arguments, nothing panics, and what the schema lets by converts to what the
//! generated fragment says.

use cedar_policy::Entities;
use proptest::prelude::*;

use super::*;
use crate::vocabulary::Vocabulary;

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,3}",
        Just("a-b".to_owned()),
        Just("__entity".to_owned()),
        Just("in".to_owned()),
        "\\PC{0,4}"
    ]
}

/// A schema of exact types.
fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "string"})),
        Just(json!({"type": "integer"})),
        Just(json!({"type": "number"})),
        Just(json!({"type": "boolean"})),
        Just(json!({"enum": ["x", "y"]})),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|items| json!({"type": "array", "items": items})),
            inner.clone().prop_map(|part| json!({"allOf": [part]})),
            object(inner),
        ]
    })
}

fn object(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::btree_map(name(), (inner, prop::bool::ANY, prop::bool::ANY), 0..4).prop_map(|members| {
        let required: Vec<&String> =
            members.iter().filter(|(_, (_, required, _))| *required).map(|(name, _)| name).collect();
        let properties: serde_json::Map<String, Value> = members
            .iter()
            .map(|(name, (schema, _, nullable))| {
                let schema =
                    if *nullable { json!({"anyOf": [schema, {"type": "null"}]}) } else { schema.clone() };
                (name.clone(), schema)
            })
            .collect();
        json!({"type": "object", "properties": properties, "required": required})
    })
}

/// Any JSON, with the words of JSON Schema in it.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof!["string", "object", "array", "null", "#", "#/properties/a", "#/\\$defs/a", "\\PC{0,3}"]
            .prop_map(Value::from),
    ];
    let key = prop_oneof![
        "type",
        "properties",
        "items",
        "enum",
        "const",
        "anyOf",
        "oneOf",
        "allOf",
        "\\$ref",
        "\\$defs",
        "required",
        "[ab]"
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A value that the schema lets by, chosen by the bits of `seed`.
fn value_of(schema: &Value, seed: &mut u64) -> Value {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let dice = *seed >> 33;
    if let Some(parts) = schema.get("allOf") {
        return value_of(&parts[0], seed);
    }
    if let Some(parts) = schema.get("anyOf") {
        return if dice.is_multiple_of(2) { Value::Null } else { value_of(&parts[0], seed) };
    }
    match schema.get("type").and_then(Value::as_str) {
        None => json!("x"),
        Some("string") => json!(format!("s{dice}")),
        Some("integer") => json!(i64::try_from(dice).unwrap() - 1_000_000),
        Some("number") if dice.is_multiple_of(2) => json!(dice % 1_000),
        Some("number") => json!(0.25),
        Some("boolean") => json!(dice.is_multiple_of(2)),
        Some("array") => (0..dice % 3).map(|_| value_of(&schema["items"], seed)).collect(),
        Some(_) => {
            let required = schema["required"].as_array().unwrap();
            let mut members = serde_json::Map::new();
            for (name, member) in schema["properties"].as_object().unwrap() {
                let value = value_of(member, seed);
                if required.iter().any(|known| known == name) || !seed.is_multiple_of(3) {
                    members.insert(name.clone(), value);
                }
            }
            members.insert("not in the schema".to_owned(), Value::Null);
            Value::Object(members)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn what_a_schema_lets_by_converts_to_what_the_fragment_says(schema in object(schema()), seed in any::<u64>()) {
        let arguments = value_of(&schema, &mut seed.clone());
        prop_assert!(jsonschema::is_valid(&schema, &arguments), "{schema} {arguments}");
        let (vocabulary, _) = Vocabulary::load(&[], &world(vec![typed("t", &schema)])).unwrap();
        let asking = asking("t", &arguments);
        let tool = vocabulary.typed_tool(&asking.action, &asking.target).unwrap();
        let entity = tool.entity(asking.arguments.as_ref()).unwrap();
        let valid = Entities::from_entities([entity], Some(&vocabulary.schema));
        prop_assert!(valid.is_ok(), "{schema} {arguments}: {}", valid.unwrap_err());
        let policies = load(&policy("true"), vec![typed("t", &schema)]).unwrap();
        prop_assert!(policies.evaluate(&asking.query()).permits());
    }

    #[test]
    fn no_schema_and_no_arguments_make_it_panic(schema in any_json(), arguments in any_json()) {
        let tool = Tool { name: "t".to_owned(), input_schema: Some(schema.clone()), ..Tool::default() };
        let Ok(tools) = with_types(vec![tool], &["t".to_owned()], &catalog(&schema)) else { return Ok(()) };
        let (vocabulary, _) = Vocabulary::load(&[], &world(tools)).unwrap();
        let Ok(arguments) = Arguments::from_json(&arguments) else { return Ok(()) };
        let asking = Asking::call("t").with(|asking| asking.arguments = Some(arguments));
        let tool = vocabulary.typed_tool(&asking.action, &asking.target).unwrap();
        if let Ok(entity) = tool.entity(asking.arguments.as_ref()) {
            prop_assert!(Entities::from_entities([entity], Some(&vocabulary.schema)).is_ok(), "{schema}");
        }
    }
}
