//! Answers of token endpoints through the reader of `palisade-exchange`.
//!
//! The first byte picks the status, the rest is the body. A provider that was taken over, or whatever stands between, can
//! answer anything: what comes out as a token must be one that a header can carry, with status 200, and as plain
//! `serde_json` reads it; what comes out as an error is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_exchange::response::{Answer, read};
use serde_json::Value;

const STATUS: [u16; 6] = [200, 400, 401, 302, 429, 500];

fuzz_target!(|input: &[u8]| {
    let Some((first, body)) = input.split_first() else { return };
    let status = STATUS[usize::from(*first) % STATUS.len()];
    match read(status, body, &["s3cret"]) {
        Answer::Granted(granted) => {
            assert_eq!(status, 200);
            let plain: Value = serde_json::from_slice(body).expect("what is accepted is JSON");
            assert_eq!(plain["access_token"], granted.token.as_str());
            assert!(plain.get("error").is_none());
            let header = |byte: u8| byte.is_ascii_graphic();
            assert!(!granted.token.is_empty() && granted.token.bytes().all(header));
        }
        Answer::Refused(refused) => {
            assert_ne!(status, 200);
            for text in [&refused.said.error, &refused.said.description].into_iter().flatten() {
                assert!(text.len() <= 256 && !text.contains("s3cret"));
            }
            assert!(refused.said.codes.len() <= 10);
            let claims = refused.claims.as_deref().unwrap_or("{}");
            assert!(matches!(serde_json::from_str(claims), Ok(Value::Object(_))));
        }
        Answer::Unusable(_) => {}
    }
});
