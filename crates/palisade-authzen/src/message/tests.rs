use proptest::prelude::*;
use serde_json::json;

use super::*;

fn body(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn one() -> Value {
    json!({
        "subject": { "type": "user", "id": "ann" },
        "action": { "name": "open" },
        "resource": { "type": "door", "id": "front" },
    })
}

/// The question with one member in place of another.
fn with(pointer: &str, value: Value) -> Value {
    let mut changed = one();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    changed.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.to_owned(), value);
    changed
}

#[test]
fn a_question_needs_its_members_and_takes_no_other_type() {
    assert!(Evaluation::read(&body(&one())).is_ok());
    for (pointer, value, says) in [
        ("/subject", Value::Null, "`subject` is missing"),
        ("/subject", json!("ann"), "`subject` is no object"),
        ("/subject/id", json!(""), "`subject.id` is empty"),
        ("/subject/id", json!(7), "`subject.id` is no string"),
        ("/subject/type", json!("x".repeat(3_000)), "`subject.type` is longer than it may be"),
        ("/subject/properties", json!([]), "`subject.properties` is no object"),
        ("/action", json!({}), "`action.name` is missing"),
        ("/action/properties", json!("soft"), "`action.properties` is no object"),
        ("/resource/id", Value::Null, "`resource.id` is missing"),
        ("/context", json!([]), "`context` is no object"),
    ] {
        let read = Evaluation::read(&body(&with(pointer, value)));
        assert_eq!(read, Err(Malformed(says.to_owned())), "{pointer}");
    }
    for text in ["", "{", "[]", "null", "{} {}", r#"{"subject":{},"subject":{}}"#] {
        assert!(Evaluation::read(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn what_nobody_knows_is_left_alone() {
    let mut more = with("/subject/later", json!({ "a": [1] }));
    more["later"] = json!(true);
    more["resource"]["later"] = json!(null);
    more["action"]["later"] = json!("x");
    assert_eq!(Evaluation::read(&body(&more)), Evaluation::read(&body(&one())));
}

fn several(batch: &Value) -> Vec<Result<Evaluation, Malformed>> {
    match Evaluations::read(&body(batch), 50).unwrap() {
        Evaluations::Several(items, _) => items,
        Evaluations::One(_) => panic!("a batch"),
    }
}

#[test]
fn an_item_takes_what_it_leaves_out_from_beside_the_batch() {
    let mut batch = with("/subject/properties", json!({ "role": "admin" }));
    batch["evaluations"] = json!([
        {},
        { "subject": { "type": "user", "id": "bo" } },
        { "subject": { "id": "bo", "properties": { "role": "guest" } } },
        { "action": { "name": "shut" }, "context": { "a": 1 } },
        { "resource": "front" },
    ]);
    let items = several(&batch);
    let whole = Evaluation::read(&body(&with("/subject/properties", json!({ "role": "admin" })))).unwrap();
    assert_eq!(items[0].as_ref().unwrap(), &whole);
    // A member of an item replaces the default whole: the role is not taken over.
    assert_eq!(items[1].as_ref().unwrap().subject.properties, Properties::default());
    // What it must have and lacks comes from the default, and nothing else does.
    let third = &items[2].as_ref().unwrap().subject;
    assert_eq!((third.type_name.as_str(), third.id.as_str()), ("user", "bo"));
    assert_eq!(third.properties.iter().collect::<Vec<_>>(), [("role", &json!("guest"))]);
    assert_eq!(items[3].as_ref().unwrap().action.name, "shut");
    assert!(items[4].is_err(), "of another type is not left out");
}

#[test]
fn a_batch_is_read_whole_or_not_at_all() {
    let batch = |change: &dyn Fn(&mut Value)| {
        let mut batch = one();
        batch["evaluations"] = json!([{}, {}]);
        change(&mut batch);
        Evaluations::read(&body(&batch), 2)
    };
    assert!(
        matches!(batch(&|_| ()), Ok(Evaluations::Several(items, Semantic::ExecuteAll)) if items.len() == 2)
    );
    assert!(matches!(batch(&|batch| batch["evaluations"] = json!([])), Ok(Evaluations::One(_))));
    assert!(matches!(batch(&|batch| batch["evaluations"] = json!(null)), Ok(Evaluations::One(_))));
    let wrong: [&dyn Fn(&mut Value); 6] = [
        &|batch| batch["evaluations"] = json!({}),
        &|batch| batch["evaluations"] = json!([[]]),
        &|batch| batch["evaluations"] = json!([{}, {}, {}]),
        &|batch| batch["options"] = json!([]),
        &|batch| batch["options"] = json!({ "evaluations_semantic": "all" }),
        &|batch| batch["subject"] = json!("ann"),
    ];
    for change in wrong {
        assert!(batch(change).is_err());
    }
}

#[test]
fn of_what_is_sought_only_the_type_is_read() {
    let mut search = with("/subject/id", json!(7));
    search["page"] = json!({ "limit": 2, "token": "t", "later": 1 });
    let found = Search::read(&body(&search), Kind::Subject).unwrap();
    assert!(matches!(found.sought, Sought::Subjects { type_name, .. } if type_name == "user"));
    assert_eq!(found.page, Some(Page { token: Some("t".to_owned()), limit: Some(2) }));
    assert!(Search::read(&body(&search), Kind::Resource).is_err(), "there the subject is given");
    let action = with("/action", json!("open"));
    assert!(Search::read(&body(&action), Kind::Action).is_ok(), "an action is not looked at");
    for page in [json!([]), json!({ "limit": -1 }), json!({ "limit": "2" }), json!({ "token": 2 })] {
        search["page"] = page;
        search["subject"] = json!({ "type": "user" });
        assert!(Search::read(&body(&search), Kind::Subject).is_err(), "{search}");
    }
}

/// JSON of any kind, with the members of messages among others.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z]{0,4}".prop_map(Value::from),
    ];
    let name = prop::sample::select(vec![
        "subject",
        "action",
        "resource",
        "context",
        "evaluations",
        "options",
        "page",
        "type",
        "id",
        "name",
        "properties",
        "evaluations_semantic",
        "limit",
        "token",
        "other",
    ]);
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Every body is read or refused. What is read says exactly what the body says: reading permits nothing.
    #[test]
    fn reading_is_total_and_adds_nothing(value in json_value()) {
        let bytes = body(&value);
        if let Ok(read) = Evaluation::read(&bytes) {
            prop_assert_eq!(value.pointer("/subject/id"), Some(&json!(read.subject.id)));
            prop_assert_eq!(value.pointer("/resource/type"), Some(&json!(read.resource.type_name)));
            prop_assert_eq!(value.pointer("/action/name"), Some(&json!(read.action.name)));
        }
        if let Ok(Evaluations::Several(items, _)) = Evaluations::read(&bytes, 50) {
            prop_assert_eq!(Some(items.len()), value["evaluations"].as_array().map(Vec::len));
        }
        for kind in [Kind::Subject, Kind::Resource, Kind::Action] {
            let _ = Search::read(&bytes, kind);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Evaluation::read(&bytes);
        let _ = Evaluations::read(&bytes, 50);
    }
}
