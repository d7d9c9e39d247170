//! The body of a token request (RFC 6749 section 3.2), read in one way only.
//!
//! `application/x-www-form-urlencoded`, decoded strictly: nothing is repaired, no parameter comes twice but `audience` and
//! `resource` (RFC 8693 section 2.1), and one without a value is one that was not sent. Parameters that nobody knows are
//! passed over, as the RFC says, and may not come twice either.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

/// The most parameters, empty ones included.
const MOST: usize = 64;
/// The parameters that may come several times.
const REPEATABLE: [&str; 2] = ["audience", "resource"];

/// The parameters of a request. Nothing prints their values, and their memory is overwritten when they are dropped.
#[derive(Default)]
pub struct Form(BTreeMap<String, Vec<Zeroizing<String>>>);

impl std::fmt::Debug for Form {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Form(..)")
    }
}

impl Form {
    /// Reads a body.
    ///
    /// # Errors
    /// With what is wrong, in words that hold nothing of the body.
    pub fn read(body: &[u8]) -> Result<Self, &'static str> {
        let mut form = Self::default();
        if body.is_empty() {
            return Ok(form);
        }
        for (count, pair) in body.split(|byte| *byte == b'&').enumerate() {
            if count >= MOST {
                return Err("there are too many parameters");
            }
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let (Some(name), Some(value)) = (halves.next(), halves.next()) else {
                return Err("a parameter has no `=`");
            };
            let name = decode(name).ok_or("a parameter cannot be decoded")?;
            let value = decode(value).ok_or("a parameter cannot be decoded")?;
            if name.is_empty() {
                return Err("a parameter has no name");
            }
            let values = form.0.entry(name.to_string()).or_default();
            if !values.is_empty() && !REPEATABLE.contains(&name.as_str()) {
                return Err("a parameter came twice");
            }
            values.push(value);
        }
        Ok(form)
    }

    /// The value of a parameter that comes once; nothing where it is absent or empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of a parameter that is not empty.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let values = self.0.get(name).into_iter().flatten();
        values.map(|value| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// Decodes a name or a value. Text that is not UTF-8, has control characters, or is not encoded as it should be, is none.
pub(crate) fn decode(encoded: &[u8]) -> Option<Zeroizing<String>> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(encoded.len()));
    let mut bytes = encoded.iter();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => digit(*bytes.next()?)? * 16 + digit(*bytes.next()?)?,
            // All that an encoder leaves as it is, and what some do not encode; a second `=` can only be in a value.
            0x21..=0x7e => *byte,
            _ => return None,
        });
    }
    let text = std::str::from_utf8(&decoded).ok()?;
    (!text.chars().any(char::is_control)).then(|| Zeroizing::new(text.to_owned()))
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
