//! Numbers that are written again as they came.
//!
//! A number is read as one of 64 bits. What such a one does not hold, or holds and is written otherwise, would reach a server as
//! another number than its client has sent, once it is written anew.

use serde_json::Number;

/// Whether each number of a JSON text is written again as it stands there. The text has been read as JSON before.
pub(super) fn are_exact(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            b'"' => behind_string(after),
            b'-' | b'0'..=b'9' => {
                let ends = |byte: &u8| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                let (number, after) = rest.split_at(rest.iter().position(ends).unwrap_or(rest.len()));
                if !is_exact(number) {
                    return false;
                }
                after
            }
            _ => after,
        };
    }
    true
}

fn is_exact(number: &[u8]) -> bool {
    serde_json::from_slice::<Number>(number).is_ok_and(|read| read.to_string().as_bytes() == number)
}

/// What stands behind the end of a string, whose begin is before this.
fn behind_string(mut rest: &[u8]) -> &[u8] {
    loop {
        rest = match rest {
            [] => return rest,
            [b'"', after @ ..] => return after,
            [b'\\', _, after @ ..] | [_, after @ ..] => after,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_number_that_would_be_written_otherwise_is_found_wherever_it_stands() {
        for (number, exact) in [
            ("0", true),
            ("-7", true),
            ("18446744073709551615", true),
            ("-9223372036854775808", true),
            ("1.5", true),
            ("1e+300", true),
            ("18446744073709551616", false),
            ("-9223372036854775809", false),
            ("12345678901234567890123", false),
            ("0.10000000000000000555", false),
            ("1.10", false),
            ("1e300", false),
            ("1E3", false),
            ("-0", false),
        ] {
            for text in [
                number.to_owned(),
                format!("[1,{number}]"),
                format!(r#"{{"a\\":"\"","b":{{"c":[{number} ]}}}}"#),
            ] {
                assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
                assert_eq!(are_exact(text.as_bytes()), exact, "{text}");
            }
            // In a string it is none.
            let texts = [json!([number]), json!(format!("\"{number}")), json!({ format!("\\{number}"): 1 })];
            assert!(texts.iter().all(|text| are_exact(text.to_string().as_bytes())), "{number}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_before_is_exact(eighths in any::<i32>(), whole in any::<i64>(), text in ".*") {
            let value = json!({ &text: [f64::from(eighths) / 8.0, whole, &text, { "a": whole }] });
            prop_assert!(are_exact(value.to_string().as_bytes()));
        }

        #[test]
        fn no_text_is_too_strange(text in any::<Vec<u8>>()) {
            are_exact(&text);
        }
    }
}
