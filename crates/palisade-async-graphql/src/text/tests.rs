//! Texts as they are read before they are parsed.

use async_graphql::parser::parse_query;
use proptest::prelude::*;

use super::*;

#[test]
fn block_strings_are_found_where_they_are_and_nowhere_else() {
    for text in [
        "{ f(a: \"\"\"x\"\"\") }",
        "{ f(a: \"\"\"\"\"\") }",
        "query($a: String = \"\"\"x\n y\"\"\") { f(a: $a) }",
        "{ f(a: \"\\\"\", b: \"\"\" x \"\"\") }",
        "# \"\n{ f(a: \"\"\"x\"\"\") }",
        "# \"\r{ f(a: [\"#\" \"\"\"x\"\"\"]) }",
    ] {
        assert!(parse_query(text).is_ok(), "{text}");
        assert_eq!(read(text), Err(Unreadable::Block), "{text}");
    }
    for text in [
        "{ f(a: \"x\", b: \"\") }",
        "{ f(a: \"\\\"\\\"\\\"\") }",
        "{ f # \"\"\"\n }",
        "{ f(a: \"\\\\\") }",
        "{ f(a: \"#\") g }",
    ] {
        assert!(parse_query(text).is_ok(), "{text}");
        assert_eq!(read(text), Ok(()), "{text}");
    }
}

#[test]
fn what_is_nested_too_deeply_is_found_and_a_string_nests_nothing() {
    let nested = |open: &str, close: &str, deep: usize| {
        format!("{{ f(a: {}1{}) }}", open.repeat(deep), close.repeat(deep))
    };
    assert_eq!(read(&nested("[", "]", DEEPEST - 2)), Ok(()));
    assert_eq!(read(&nested("[", "]", DEEPEST - 1)), Err(Unreadable::Deep));
    assert_eq!(read(&nested("{a:", "}", 100_000)), Err(Unreadable::Deep));
    assert_eq!(read(&"{a".repeat(DEEPEST + 1)), Err(Unreadable::Deep));
    assert_eq!(read(&format!("{{ f(a: \"{}\") }} # {}", "[".repeat(1_000), "{".repeat(1_000))), Ok(()));
    assert_eq!(read(&"{ a } ".repeat(1_000)), Ok(()));
}

/// A part of a text.
fn part() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["\"", "\\", "#", "\n", "\r", "x", " ", "\"\"\"", "\\\"", "\"a\""])
}

proptest! {
    /// What the parser takes for a block string is never overlooked: without block strings, no string has a line end in it.
    #[test]
    fn no_block_string_is_overlooked(parts in prop::collection::vec(part(), 0..12)) {
        let text = format!("{{ f(a: [{}]) }}", parts.concat());
        let block = format!("{{ f(a: [\"\"\"\n\"\"\" {}]) }}", parts.concat());
        prop_assert_eq!(read(&block), Err(Unreadable::Block));
        if let (Ok(document), Ok(())) = (parse_query(&text), read(&text)) {
            let json = serde_json::to_string(&document).unwrap();
            prop_assert!(!json.contains("\\n") && !json.contains("\\r"), "{}", json);
        }
    }
}
