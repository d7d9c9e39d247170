//! The arguments of a call, in the form policies see them: one bag a type, keyed by JSON pointer (RFC 6901).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The arguments of a tool, prompt, operation, field or route.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arguments {
    /// Strings.
    pub text: BTreeMap<String, String>,
    /// Integers of 64 bits.
    pub number: BTreeMap<String, i64>,
    /// Numbers with one to four decimals, as the text of a decimal.
    pub fraction: BTreeMap<String, String>,
    /// Booleans.
    pub flag: BTreeMap<String, bool>,
    /// Arrays of strings.
    pub list: BTreeMap<String, BTreeSet<String>>,
    /// Every pointer present.
    pub paths: BTreeSet<String>,
    /// Pointers whose values fit no bag: null, object, beyond 64 bits, more than four decimals, mixed list.
    pub unmapped: BTreeSet<String>,
    /// SHA-256 of the canonical arguments, in lower-case hex.
    pub digest: String,
    /// The arguments as they came, for an input schema; nothing where a proxy said that there are some but not which.
    pub json: Option<Value>,
}

/// Why arguments are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ArgumentsError {
    /// More than [`Arguments::MAX_VALUES`] values.
    #[error("the arguments hold more than 1000 values")]
    TooManyValues,
    /// Deeper than [`Arguments::MAX_DEPTH`].
    #[error("the arguments nest deeper than 16 levels")]
    TooDeep,
    /// More than [`Arguments::MAX_BYTES`], in canonical form or in the pointers to the values.
    #[error("the arguments, or the pointers to their values, are larger than 64 KiB")]
    TooLarge,
    /// Not a JSON object.
    #[error("the arguments are not a JSON object")]
    NotAnObject,
}

impl Arguments {
    /// The most values, counting every member and element.
    pub const MAX_VALUES: usize = 1_000;
    /// The deepest nesting; the arguments object itself is level one.
    pub const MAX_DEPTH: usize = 16;
    /// The most bytes of the canonical form, and of all pointers together.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Sorts the members of a JSON object into the bags.
    ///
    /// # Errors
    /// When the value is no object or breaks a limit.
    pub fn from_json(value: &Value) -> Result<Self, ArgumentsError> {
        let Value::Object(members) = value else { return Err(ArgumentsError::NotAnObject) };
        let mut sorting = Sorting::default();
        sorting.members("", members, 1)?;
        let canonical = canonical_json(value);
        if canonical.len() > Self::MAX_BYTES {
            return Err(ArgumentsError::TooLarge);
        }
        let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
        Ok(Self { digest, json: Some(value.clone()), ..sorting.sorted })
    }
}

/// Arguments on their way into the bags.
#[derive(Default)]
struct Sorting {
    sorted: Arguments,
    /// The bytes of all pointers so far. Every pointer repeats those above it, so a long name that holds many values
    /// would otherwise cost a thousand times what was sent.
    pointer_bytes: usize,
}

impl Sorting {
    fn members(
        &mut self,
        above: &str,
        members: &Map<String, Value>,
        depth: usize,
    ) -> Result<(), ArgumentsError> {
        members.iter().try_for_each(|(name, value)| self.child(above, name, value, depth))
    }

    /// Takes the value called `name` of the value that `above` points at, which is level `depth`.
    fn child(&mut self, above: &str, name: &str, value: &Value, depth: usize) -> Result<(), ArgumentsError> {
        if depth > Arguments::MAX_DEPTH {
            return Err(ArgumentsError::TooDeep);
        }
        if self.sorted.paths.len() >= Arguments::MAX_VALUES {
            return Err(ArgumentsError::TooManyValues);
        }
        // Counted before the pointer is built.
        let escapes = name.bytes().filter(|byte| matches!(byte, b'~' | b'/')).count();
        self.pointer_bytes += above.len() + 1 + name.len() + escapes;
        if self.pointer_bytes > Arguments::MAX_BYTES {
            return Err(ArgumentsError::TooLarge);
        }
        self.insert(format!("{above}/{}", escape(name)), value, depth)
    }

    fn insert(&mut self, pointer: String, value: &Value, depth: usize) -> Result<(), ArgumentsError> {
        let sorted = &mut self.sorted;
        sorted.paths.insert(pointer.clone());
        match value {
            Value::Null => {
                sorted.unmapped.insert(pointer);
            }
            Value::Bool(flag) => {
                sorted.flag.insert(pointer, *flag);
            }
            Value::String(text) => {
                sorted.text.insert(pointer, text.clone());
            }
            Value::Number(number) => self.number(pointer, number),
            Value::Array(elements) => {
                let texts: Option<BTreeSet<String>> =
                    elements.iter().map(|element| element.as_str().map(str::to_owned)).collect();
                match texts {
                    Some(texts) => {
                        sorted.list.insert(pointer.clone(), texts);
                    }
                    None => {
                        sorted.unmapped.insert(pointer.clone());
                    }
                }
                for (at, element) in elements.iter().enumerate() {
                    self.child(&pointer, &at.to_string(), element, depth + 1)?;
                }
            }
            Value::Object(members) => {
                sorted.unmapped.insert(pointer.clone());
                self.members(&pointer, members, depth + 1)?;
            }
        }
        Ok(())
    }

    fn number(&mut self, pointer: String, number: &serde_json::Number) {
        if let Some(integer) = number.as_i64() {
            self.sorted.number.insert(pointer, integer);
        } else if let Some(fraction) = as_decimal(number) {
            self.sorted.fraction.insert(pointer, fraction);
        } else {
            self.sorted.unmapped.insert(pointer);
        }
    }
}

/// A number with one to four decimals whose scaled form fits 64 bits, else nothing: the text of a decimal.
#[must_use]
pub fn as_decimal(number: &serde_json::Number) -> Option<String> {
    if !number.is_f64() {
        return None;
    }
    let text = number.to_string();
    let (whole, decimals) = text.split_once('.')?;
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let magnitude = whole.strip_prefix('-').unwrap_or(whole);
    // INVARIANT: 14 digits before the point keep the value, scaled by 10000, within 64 bits.
    (digits(magnitude) && magnitude.len() <= 14 && digits(decimals) && decimals.len() <= 4).then_some(text)
}

/// Escapes a member name for a JSON pointer (RFC 6901 section 3).
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// JSON without white space and with members in order of their UTF-8 bytes. Integers keep every digit, which is
/// where this differs from RFC 8785: two different 64-bit integers never share a digest.
#[must_use]
pub fn canonical_json(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<&String, &Value> = members.iter().collect();
            let inner: Vec<String> = sorted
                .into_iter()
                .map(|(key, value)| format!("{}:{}", Value::String(key.clone()), canonical_json(value)))
                .collect();
            format!("{{{}}}", inner.join(","))
        }
        Value::Array(elements) => {
            format!("[{}]", elements.iter().map(canonical_json).collect::<Vec<_>>().join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_value_lands_in_one_bag_or_is_set_aside() {
        let arguments = Arguments::from_json(&json!({
            "path": "/workspace/a", "n": 5, "f": 1.25, "b": true, "l": ["x", "y"], "m": ["x", 1], "nil": null,
            "o": {"a/b": 1, "t~": "z"}, "big": 18_446_744_073_709_551_615_u64, "fine": 0.12345, "e": 1e300
        }))
        .unwrap();
        assert_eq!(arguments.text["/path"], "/workspace/a");
        assert_eq!(arguments.number["/n"], 5);
        assert_eq!(arguments.fraction["/f"], "1.25");
        assert!(arguments.flag["/b"]);
        assert_eq!(arguments.list["/l"].len(), 2);
        assert_eq!(arguments.number["/o/a~1b"], 1);
        assert_eq!(arguments.text["/o/t~0"], "z");
        let unmapped: Vec<&str> = arguments.unmapped.iter().map(String::as_str).collect();
        assert_eq!(unmapped, ["/big", "/e", "/fine", "/m", "/nil", "/o"]);
    }

    #[test]
    fn every_pointer_is_a_path_and_lists_are_of_strings_alone() {
        let arguments =
            Arguments::from_json(&json!({"l": ["x", "x"], "e": [], "n": [["a"], 1], "z": -0.5, "i": -7}))
                .unwrap();
        let paths: Vec<&str> = arguments.paths.iter().map(String::as_str).collect();
        assert_eq!(paths, ["/e", "/i", "/l", "/l/0", "/l/1", "/n", "/n/0", "/n/0/0", "/n/1", "/z"]);
        assert_eq!(arguments.list.keys().collect::<Vec<_>>(), ["/e", "/l", "/n/0"]);
        assert_eq!(arguments.list["/l"], ["x".to_owned()].into());
        assert_eq!(arguments.unmapped, ["/n".to_owned()].into());
        assert_eq!((arguments.fraction["/z"].as_str(), arguments.number["/i"]), ("-0.5", -7));
        assert_eq!(arguments.text["/l/1"], "x");
    }

    #[test]
    fn the_digest_does_not_depend_on_member_order_and_keeps_integers_apart() {
        let digest = |text: &str| Arguments::from_json(&serde_json::from_str(text).unwrap()).unwrap().digest;
        assert_eq!(digest(r#"{"a":1,"b":{"c":2,"d":3}}"#), digest(r#"{"b":{"d":3,"c":2},"a":1}"#));
        assert_ne!(digest(r#"{"a":9007199254740993}"#), digest(r#"{"a":9007199254740992}"#));
    }

    #[test]
    fn limits_hold() {
        let wide = json!({ "a": (0..1_000).collect::<Vec<_>>() });
        assert_eq!(Arguments::from_json(&wide), Err(ArgumentsError::TooManyValues));
        assert!(Arguments::from_json(&json!({ "a": (0..999).collect::<Vec<_>>() })).is_ok());
        let mut deep = json!(1);
        for _ in 0..16 {
            deep = json!({ "a": deep });
        }
        assert!(Arguments::from_json(&deep).is_ok());
        assert_eq!(Arguments::from_json(&json!({ "a": deep })), Err(ArgumentsError::TooDeep));
        let large = json!({ "a": "x".repeat(64 * 1024) });
        assert_eq!(Arguments::from_json(&large), Err(ArgumentsError::TooLarge));
        // Around the text stand 8 bytes: `{"a":""}`.
        assert!(Arguments::from_json(&json!({ "a": "x".repeat(64 * 1024 - 8) })).is_ok());
        assert!(Arguments::from_json(&json!({ "a": "x".repeat(64 * 1024 - 7) })).is_err());
        assert_eq!(Arguments::from_json(&json!([])), Err(ArgumentsError::NotAnObject));
    }

    #[test]
    fn pointers_cost_no_more_than_the_arguments_may() {
        let below = |name: &str, values: usize| json!({ name: (0..values).collect::<Vec<_>>() });
        let long = "k".repeat(60_000);
        assert_eq!(Arguments::from_json(&below(&long, 990)), Err(ArgumentsError::TooLarge));
        assert_eq!(Arguments::from_json(&below(&long, 1)), Err(ArgumentsError::TooLarge));
        assert!(Arguments::from_json(&below(&long, 0)).is_ok());
        // Escaped, a slash is two bytes: 6 * (8_001 + 2) fit, twice that do not.
        assert!(Arguments::from_json(&below(&"k".repeat(8_000), 5)).is_ok());
        assert_eq!(Arguments::from_json(&below(&"/".repeat(8_000), 5)), Err(ArgumentsError::TooLarge));
        assert!(Arguments::from_json(&below("values", 990)).is_ok());
    }
}
