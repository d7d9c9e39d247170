//! Messages of servers with lists, cut as they came.
//!
//! The first byte says which entries are shown. What is taken is cut as it would be if it had been read whole, lists of a message that
//! is taken are all seen, and what is shown stays as it was. What is not taken has one reading, in which plain `serde_json` reads it too,
//! or none. Nothing is left in either that is not shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_mcp::{Listing, Lists, read_message};
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let Some((mask, message)) = input.split_first() else { return };
    let Some(lists) = Lists::read(message) else {
        if let Ok(whole) = read_message(message) {
            assert_eq!(serde_json::from_slice::<Value>(message).expect("it has one reading"), whole);
        }
        return;
    };
    let names: Vec<(Listing, Vec<String>)> = lists.names().collect();
    let show = |names: &Vec<String>| (0..names.len()).map(|at| mask >> (at % 8) & 1 == 1).collect();
    let shown: Vec<Vec<bool>> = names.iter().map(|(_, names)| show(names)).collect();
    let cut = lists.cut(&shown);
    assert!(!cut.iter().any(|byte| matches!(byte, b'\n' | b'\r')), "it is the data of an event");
    // One member more, which says that it is private, may be one too many.
    if let Some(left) = Lists::read(&cut) {
        let kept = |(names, shown): (&Vec<String>, &Vec<bool>)| -> Vec<String> {
            names.iter().zip(shown).filter(|(_, shown)| **shown).map(|(name, _)| name.clone()).collect()
        };
        let kept: Vec<Vec<String>> = names.iter().map(|(_, names)| names).zip(&shown).map(kept).collect();
        assert_eq!(left.names().map(|(_, names)| names).collect::<Vec<_>>(), kept);
    }
    let envelope = lists.envelope();
    // What nobody looks at need not be readable: half of a character, a number without an end, a member that comes twice.
    let Ok(mut whole) = read_message(message) else { return };
    let scalar = |value: &&Value| !value.is_object() && !value.is_array();
    for member in ["id", "method"] {
        assert_eq!(envelope.get(member).is_some(), whole.get(member).is_some());
        assert!(whole.get(member).filter(scalar).is_none_or(|told| envelope.get(member) == Some(told)));
    }
    let mut result = whole.get_mut("result");
    for listing in Listing::ALL {
        let read = result.as_deref().and_then(|result| listing.names(result));
        let at = names.iter().position(|(known, _)| *known == listing);
        assert_eq!(read, at.map(|at| names[at].1.iter().map(String::as_str).collect()));
        if let (Some(result), Some(at)) = (result.as_deref_mut(), at) {
            listing.keep(result, shown[at].iter().copied());
        }
    }
    assert_eq!(read_message(&cut).expect("it keeps its reading"), whole);
});
