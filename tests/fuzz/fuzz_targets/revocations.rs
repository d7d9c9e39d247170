//! Lists of revocations through the reader of `palisade-token`.
//!
//! Somebody's program writes these files, perhaps while they are read: what is taken is a whole list, and every entry of it
//! names one thing in one way. What a lenient reader makes of the same bytes says what that must be.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_token::Revocations;
use serde_json::Value;

const NAMES: [&str; 4] = ["subject", "client", "session", "token"];

fuzz_target!(|bytes: &[u8]| {
    let Ok(_list) = Revocations::read(bytes) else { return };
    let plain: Value = serde_json::from_slice(bytes).expect("what is accepted is JSON");
    for entry in plain.as_array().expect("an array") {
        let members = entry.as_object().expect("an object");
        let named: Vec<&str> = NAMES.into_iter().filter(|name| members.contains_key(*name)).collect();
        let [what] = named[..] else { panic!("one thing, not {named:?}") };
        assert!(members[what].as_str().is_some_and(|name| !name.is_empty()));
        let before = members.get("before");
        assert_eq!(members.len(), 1 + usize::from(before.is_some()));
        assert!(before.is_none_or(|time| time.is_string() && matches!(what, "subject" | "client")));
    }
});
