//! Values of all forms, with floats in them.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;

#[derive(Serialize)]
enum Form {
    Unit,
    Newtype(f32),
    Tuple(i8, f64),
    Struct { size: f64 },
}

#[derive(Serialize)]
struct Pair(u8, f64);

#[test]
fn a_float_that_is_no_number_is_no_json_wherever_it_stands() {
    assert_eq!(json(&None::<f64>), Some(Value::Null));
    assert_eq!(json(&1.5), Some(json!(1.5)));
    assert_eq!(json(&(1, "a", 'b', [0.5], Some(true), ())), Some(json!([1, "a", "b", [0.5], true, null])));
    assert_eq!(
        json(&BTreeMap::from([("a", Form::Struct { size: 1.0 })])),
        Some(json!({ "a": { "Struct": { "size": 1.0 } } }))
    );
    assert_eq!(json(&[Form::Unit, Form::Newtype(1.0), Form::Tuple(1, 2.0)]).unwrap()[0], "Unit");
    assert_eq!(json(&Pair(1, 2.0)), Some(json!([1, 2.0])));
}

#[test]
fn what_is_no_number_makes_all_of_a_value_no_json() {
    for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(json(&wrong), None);
        assert_eq!(json(&Some(vec![wrong])), None);
        assert_eq!(json(&(1, wrong)), None);
        assert_eq!(json(&Pair(1, wrong)), None);
        assert_eq!(json(&BTreeMap::from([("a", wrong)])), None);
        assert_eq!(json(&Form::Struct { size: wrong }), None);
        assert_eq!(json(&Form::Tuple(1, wrong)), None);
    }
    assert_eq!(json(&Form::Newtype(f32::NAN)), None);
    // A key of a map is text.
    assert_eq!(json(&BTreeMap::from([(vec![1], 1)])), None);
}
