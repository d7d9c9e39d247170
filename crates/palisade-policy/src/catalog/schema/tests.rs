use std::time::{Duration, Instant};

use serde_json::json;

use super::*;

/// `$defs` a0..a30, each of which comes from the next in the way of `link`; the root refers to a0.
fn chain(link: fn(Value) -> Value) -> Value {
    let name = |step: usize| json!({ "$ref": format!("#/$defs/a{step}") });
    let mut defs: Map<String, Value> =
        (0..30).map(|step| (format!("a{step}"), link(name(step + 1)))).collect();
    defs.insert("a30".to_owned(), json!({ "type": "object" }));
    json!({ "type": "object", "$ref": "#/$defs/a0", "$defs": defs })
}

fn says(schema: &Value) -> String {
    let began = Instant::now();
    let said = compile(schema).map_or_else(|error| error.to_string(), |_| String::new());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}: {said}", began.elapsed());
    said
}

#[test]
fn schemas_that_double_at_every_step_are_refused_at_once() {
    let links: [fn(Value) -> Value; 6] = [
        |next| json!({ "anyOf": [next, next] }),
        |next| json!({ "allOf": [next], "not": { "not": next } }),
        |next| json!({ "if": next, "then": next, "else": false }),
        |next| json!({ "unevaluatedProperties": false, "allOf": [next] }),
        |next| json!({ "properties": { "a": { "oneOf": [next, next] } } }),
        |next| json!({ "items": next, "contains": next, "additionalProperties": next, "patternProperties": { "": next } }),
    ];
    for (at, link) in links.into_iter().enumerate() {
        let said = says(&chain(link));
        assert!(said.contains("asks for too much work"), "{at}: {said}");
    }
    let recursive = json!({ "properties": { "a": { "anyOf": [{ "$ref": "#" }, { "$ref": "#" }] } } });
    assert!(says(&recursive).contains("asks for too much work"));
    let deep = (0..2 * MAX_HEIGHT).fold(json!({}), |schema, _| json!({ "not": schema }));
    assert!(says(&deep).contains("asks for too much work"));
}

#[test]
fn schemas_as_servers_have_them_pass() {
    let filter = json!({ "$ref": "#/$defs/filter" });
    let filters = json!({ "type": "array", "items": filter });
    let node =
        json!({ "type": "object", "properties": { "left": { "$ref": "#" }, "right": { "$ref": "#" } } });
    for schema in [
        json!({}),
        json!({ "type": "object", "properties": { "path": { "type": "string" } }, "additionalProperties": false }),
        json!({ "properties": { "to": { "anyOf": [{ "$ref": "#/$defs/Address" }, { "type": "null" }] } },
            "$defs": { "Address": { "type": "object", "properties": { "city": { "type": "string" } } } } }),
        json!({ "properties": { "$ref": { "type": "string" }, "$id": { "type": "string" } } }),
        json!({ "$id": "https://example.com/schema", "properties": { "a": { "$ref": "#/$defs/a" } }, "$defs": { "a": {} } }),
        // A tree, and a filter of filters.
        node,
        json!({ "properties": { "filter": filter }, "$defs": { "filter": { "anyOf": [
            { "properties": { "and": filters } }, { "properties": { "or": filters } }, { "properties": { "not": filter } },
            { "properties": { "op": { "enum": ["all", "any"] }, "of": filters } } ] } } }),
        // Members that share a schema are no alternatives, and values do not come deeper than arguments do.
        chain(|next| json!({ "properties": { "l": next, "r": next } })),
    ] {
        assert_eq!(says(&schema), "", "{schema}");
    }
}

#[test]
fn references_out_of_the_schema_and_circles_are_refused() {
    for (schema, why) in [
        (json!({ "$ref": "https://example.com/other.json" }), "refers to `https://example.com/other.json`"),
        (json!({ "$ref": "#/$defs/gone" }), "refers to `#/$defs/gone`"),
        (json!({ "$dynamicRef": "#a" }), "refers to `#a`"),
        (
            json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$id": "https://example.com/a" } } }),
            "refers to `#/$defs/a`",
        ),
        (json!({ "$ref": "#" }), "refers to itself at `#`"),
        (
            json!({ "anyOf": [{ "$ref": "#/$defs/a" }], "$defs": { "a": { "not": { "$ref": "#/$defs/a" } } } }),
            "refers to itself",
        ),
        (json!({ "type": "nothing" }), "is no JSON Schema"),
        (json!({ "pattern": "(" }), "is no JSON Schema"),
    ] {
        let said = says(&schema);
        assert!(said.contains(why), "{schema}: {said}");
    }
}
