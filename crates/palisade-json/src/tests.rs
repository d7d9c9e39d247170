use proptest::prelude::*;

use super::*;

#[test]
fn duplicate_members_are_refused_at_any_depth_and_however_they_are_written() {
    for text in [
        r#"{"a":1,"a":2}"#,
        r#"{"a":{"b":1,"b":1}}"#,
        r#"[{"a":[{"x":0,"x":0}]}]"#,
        r#"{"sub":1,"s\u0075b":2}"#,
    ] {
        assert_eq!(read(text.as_bytes(), 8), Err(JsonError::DuplicateMember), "{text}");
    }
}

/// Built with `raw_value`, `serde_json` reads the first as `{"a":1}` and the second not at all.
#[test]
fn what_serde_json_takes_for_its_own_is_refused() {
    for text in [
        r#"{"$serde_json::private::RawValue":"{\"a\":1}"}"#,
        r#"{"params":{"$serde_json::private::RawValue":"!"}}"#,
        r#"[{"a":1,"\u0024serde_json::private::Number":"1"}]"#,
    ] {
        assert_eq!(read(text.as_bytes(), 8), Err(JsonError::PrivateMember), "{text}");
    }
    assert!(read(br#"{"a":"$serde_json::private::RawValue"}"#, 8).is_ok());
}

#[test]
fn only_one_value_in_plain_utf8_is_read() {
    assert_eq!(read(b"\xef\xbb\xbf{}", 8), Err(JsonError::Encoding));
    assert_eq!(read(b"\"\xff\"", 8), Err(JsonError::Encoding));
    for text in ["", "{} {}", "{}x", "{\"a\":}", "\"\\ud800\"", "1e999", "NaN", "'a'", "{\"a\":1,}"] {
        assert!(matches!(read(text.as_bytes(), 8), Err(JsonError::Syntax { .. })), "{text}");
    }
}

#[test]
fn depth_is_bounded() {
    assert!(read(b"[[[]]]", 3).is_ok());
    assert_eq!(read(b"[[[[]]]]", 3), Err(JsonError::TooDeep(3)));
    assert_eq!(read("[".repeat(100_000).as_bytes(), 32), Err(JsonError::TooDeep(32)));
    assert!(read(b"1", 0).is_ok());
}

#[test]
fn integers_keep_every_digit() {
    assert_eq!(read(b"9007199254740993", 1).unwrap().to_string(), "9007199254740993");
}

proptest! {
    #[test]
    fn no_bytes_panic_and_what_is_read_is_read_alike_by_serde_json(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(value) = read(&bytes, 16) {
            prop_assert_eq!(value, serde_json::from_slice::<Value>(&bytes).unwrap());
        }
    }

    #[test]
    fn what_is_read_survives_a_round_trip(text in r#"[\[\]{}:,"ab01 .e\-]{0,40}"#) {
        if let Ok(value) = read(text.as_bytes(), 16) {
            prop_assert_eq!(read(value.to_string().as_bytes(), 16), Ok(value));
        }
    }
}
