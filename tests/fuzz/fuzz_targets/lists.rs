//! Messages of servers with lists, cut as they came.
//!
//! The first byte says which entries are shown. What is taken is cut as it would be if it had been read whole by plain `serde_json`,
//! lists of a message that is taken are all seen, and what is shown stays as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_mcp::{Listing, Lists};
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let Some((mask, message)) = input.split_first() else { return };
    let Some(lists) = Lists::read(message) else { return };
    let names: Vec<(Listing, Vec<String>)> = lists.names().collect();
    let show = |names: &Vec<String>| (0..names.len()).map(|at| mask >> (at % 8) & 1 == 1).collect();
    let shown: Vec<Vec<bool>> = names.iter().map(|(_, names)| show(names)).collect();
    let cut = lists.cut(&shown);
    assert!(!cut.iter().any(|byte| matches!(byte, b'\n' | b'\r')), "it is the data of an event");
    // What nobody looks at need not be readable: half of a character, a number without an end.
    let Ok(mut whole) = serde_json::from_slice::<Value>(message) else { return };
    let mut result = whole.get_mut("result");
    for listing in Listing::ALL {
        let read = result.as_deref().and_then(|result| listing.names(result));
        let at = names.iter().position(|(known, _)| *known == listing);
        assert_eq!(read, at.map(|at| names[at].1.iter().map(String::as_str).collect()));
        if let (Some(result), Some(at)) = (result.as_deref_mut(), at) {
            listing.keep(result, shown[at].iter().copied());
        }
    }
    assert_eq!(serde_json::from_slice::<Value>(&cut).expect("it stays JSON"), whole);
});
