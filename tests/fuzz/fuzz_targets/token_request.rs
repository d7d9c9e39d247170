//! Bodies of token requests through the reader of `palisade-sts`.
//!
//! What is read has every parameter once, but for those of RFC 8693 that may repeat, and decodes as a lenient reader
//! decodes it: two readers of one body see the same request.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use palisade_sts::form::Form;

fuzz_target!(|body: &[u8]| {
    let Ok(form) = Form::read(body) else { return };
    let mut lenient: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(body) {
        lenient.entry(name.into_owned()).or_default().push(value.into_owned());
    }
    for (name, values) in &lenient {
        assert!(values.len() == 1 || matches!(name.as_str(), "audience" | "resource"));
        let there: Vec<&str> = values.iter().map(String::as_str).filter(|value| !value.is_empty()).collect();
        assert_eq!(form.all(name).collect::<Vec<_>>(), there);
        assert!(there.iter().all(|value| !value.chars().any(char::is_control)));
    }
});
