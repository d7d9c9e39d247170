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
        r#"{"result":{"$serde_json::private::RawValue":"{\"tools\":[{\"name\":\"b\"}]}"}}"#,
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

/// An object as it is written, in which a member may come twice.
fn written(
    names: &'static [&'static str],
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    let member = (proptest::sample::select(names), value);
    proptest::collection::vec(member, 0..4).prop_map(|members| {
        let members: Vec<String> =
            members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    })
}

/// A message with lists, as a server could write it that means ill.
fn message() -> impl Strategy<Value = String> {
    let leaf = || {
        let leaves: &[&str] = &["1", "null", "1e999", r#""a1""#, r#""b""#, r#""\u0061""#, r#""\ud83d""#];
        proptest::sample::select(leaves).prop_map(str::to_owned)
    };
    let entry = || written(&["name", "n\\u0061me", "uri", "x"], leaf());
    let list = proptest::collection::vec(prop_oneof![4 => entry(), 1 => leaf()], 0..4)
        .prop_map(|entries| format!("[{}]", entries.join(",")));
    let names = &["tools", "t\\u006fols", "resources", "ttlMs", "$serde_json::private::RawValue"];
    let result = written(names, prop_oneof![4 => list, 1 => entry(), 1 => leaf()]);
    let members = prop_oneof![3 => result, 1 => leaf()];
    let whole = written(&["result", "r\\u0065sult", "id", "x"], members);
    (whole, proptest::option::weighted(0.1, 0_usize..40)).prop_map(|(mut text, broken)| {
        text.truncate(broken.unwrap_or(usize::MAX));
        text
    })
}

#[test]
fn what_says_whom_a_message_answers_is_known_without_reading_the_rest() {
    let spoiled = r#"{"id":7,"result":{"tools":[{"name":"a","x":"\ud83d","y":1e999}]}}"#;
    assert_eq!(Lists::read(spoiled.as_bytes()).unwrap().envelope(), json!({ "id": 7 }));
    let odd = r#"{"id":{"x":1},"method":"\ud83d","result":{}}"#;
    assert_eq!(Lists::read(odd.as_bytes()).unwrap().envelope(), json!({ "id": null, "method": null }));
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
    fn whatever_comes_is_cut_or_not_taken(message in message()) {
        let message = message.as_bytes();
        let Some(text) = cut(message) else { return Ok(()) };
        // What is left is taken again, and there is nothing in it that was not shown.
        let left = Lists::read(text.as_bytes()).unwrap();
        prop_assert!(left.names().all(|(_, names)| names.iter().all(|name| name.starts_with('a'))), "{}", text);
        // What is not looked at need not be readable.
        if let Ok(whole) = crate::read_message(message) {
            prop_assert_eq!(crate::read_message(text.as_bytes()).unwrap(), cut_whole(message));
            let envelope = Lists::read(message).unwrap().envelope();
            let id = whole.get("id").map(|id| if id.is_object() { &Value::Null } else { id });
            prop_assert_eq!(envelope.get("id"), id);
        }
    }
}
