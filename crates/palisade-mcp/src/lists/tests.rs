//! A list that is cut as it came is the one that is cut when it was read.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Shows the entries whose names begin with `a`.
fn cut(message: &[u8]) -> Option<String> {
    let lists = Lists::read(message)?;
    let show = |(_, names): (Listing, Vec<String>)| names.iter().map(|name| name.starts_with('a')).collect();
    let shown: Vec<Vec<bool>> = lists.names().map(show).collect();
    Some(String::from_utf8(lists.cut(&shown)).unwrap())
}

/// The same by reading all.
fn cut_whole(message: &[u8]) -> Value {
    let mut value: Value = serde_json::from_slice(message).unwrap();
    if let Some(result) = value.get_mut("result") {
        for listing in Listing::ALL {
            let Some(names) = listing.names(result) else { continue };
            let shown: Vec<bool> = names.iter().map(|name| name.starts_with('a')).collect();
            listing.keep(result, shown);
        }
    }
    value
}

#[test]
fn what_is_shown_stays_byte_for_byte_and_nothing_else_stays() {
    let message = r#"{ "jsonrpc":"2.0", "id":7,"result":{"nextCursor":"n","tools":[{"name":"a1", "n":1.0e2,"x":"\ud83d"},{"name":"b"},
        {},"a",["a"],{"name":7},{"n\u0061me":"\u0061\"2"}],"ttlMs":5}}"#
        .replace('\n', " ");
    assert_eq!(
        cut(message.as_bytes()).unwrap(),
        r#"{"jsonrpc":"2.0","id":7,"result":{"nextCursor":"n","tools":[{"name":"a1", "n":1.0e2,"x":"\ud83d"},{"n\u0061me":"\u0061\"2"}],"ttlMs":5,"cacheScope":"private"}}"#
    );
    let public = r#"{"result":{"cacheScope":"public","prompts":[{"name":"b"}],"resources":[{"uri":"a"},{"uri":"b","name":"a"}]}}"#;
    assert_eq!(
        cut(public.as_bytes()).unwrap(),
        r#"{"result":{"prompts":[],"resources":[{"uri":"a"}],"cacheScope":"private"}}"#
    );
    let other = r#"{"result":{"ttlMs":5,"contents":[]},"error":null}"#;
    assert_eq!(cut(other.as_bytes()).unwrap(), other);
    // What nobody has said anything about is not shown.
    let lists = Lists::read(br#"{"result":{"tools":[{"name":"a"}]}}"#).unwrap();
    assert_eq!(lists.cut(&[]), br#"{"result":{"tools":[]}}"#);
}

#[test]
fn what_has_two_readings_is_not_taken() {
    for message in [
        r#"{"result":{"tools":[{"name":"a","name":"b"}]}}"#,
        r#"{"result":{"tools":[{"name":"a","n\u0061me":"b"}]}}"#,
        r#"{"result":{"tools":[{"name":"\ud83d"}]}}"#,
        r#"{"result":{"tools":[],"tools":[{"name":"b"}]}}"#,
        r#"{"result":{"tools":[]},"re\u0073ult":{"tools":[{"name":"b"}]}}"#,
        r#"{"result":{"tools":{}}}"#,
        r#"{"result":[{"tools":[]}]}"#,
        r#"[{"result":{"tools":[{"name":"b"}]}}]"#,
        "{\"result\":\n{\"tools\":[]}}",
        "\u{feff}{\"result\":{\"tools\":[]}}",
        r#"{"result":{"tools":[]}} {}"#,
        "",
    ] {
        assert!(Lists::read(message.as_bytes()).is_none(), "{message}");
    }
    assert!(Lists::read(b"{\"result\":{\"tools\":[{\"name\":\"\xff\"}]}}").is_none());
    let many: Vec<String> = (0..=MOST_MEMBERS).map(|number| format!("\"{number}\":1")).collect();
    assert!(Lists::read(format!("{{{}}}", many.join(",")).as_bytes()).is_none());
}

fn entry() -> impl Strategy<Value = Value> {
    let name = prop_oneof![Just(json!("b")), "a[ -~é\"\\\\]{0,4}".prop_map(Value::from), Just(json!(1))];
    let member = prop_oneof![Just("name"), Just("uri"), Just("uriTemplate"), Just("title")];
    prop_oneof![
        proptest::collection::vec((member, name), 0..4).prop_map(|members| members.into_iter().collect()),
        Just(json!("a")),
        Just(json!([{ "name": "a" }])),
    ]
}

proptest! {
    #[test]
    fn it_is_cut_as_if_it_had_been_read(
        lists in proptest::collection::hash_map(prop_oneof![Just("tools"), Just("prompts"), Just("resources"), Just("resourceTemplates"), Just("content")],
            proptest::collection::vec(entry(), 0..6), 0..4),
        scope in proptest::option::of("public|private"),
        lifetime in proptest::option::of(0_u32..9),
    ) {
        let mut result: serde_json::Map<String, Value> = lists.into_iter().map(|(name, list)| (name.to_owned(), list.into())).collect();
        result.extend(scope.map(|scope| ("cacheScope".to_owned(), scope.into())));
        result.extend(lifetime.map(|lifetime| ("ttlMs".to_owned(), lifetime.into())));
        let message = json!({ "jsonrpc": "2.0", "id": 1, "result": result }).to_string();
        let fast: Value = serde_json::from_str(&cut(message.as_bytes()).unwrap()).unwrap();
        prop_assert_eq!(fast, cut_whole(message.as_bytes()));
    }

    #[test]
    fn whatever_comes_is_cut_or_not_taken(message in "[\\[\\]{}:,\"a-c\\\\ ]{0,60}") {
        if let Some(text) = cut(message.as_bytes()) {
            let read: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read, cut_whole(message.as_bytes()));
        }
    }
}
