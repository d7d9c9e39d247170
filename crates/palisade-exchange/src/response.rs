//! The answers of token endpoints, read strictly.
//!
//! Total: whatever comes is a token, a refusal in the provider's words, or unusable. A body is JSON with no member twice;
//! a token is of the characters that a header may carry (RFC 6750 section 2.1). What a provider says of an error is kept
//! for the record, cut and without what looks like a token.

use std::{fmt, time::Duration};

use palisade_audit::ProviderErrorRecord;
use palisade_model::{Scope, Scopes};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// The longest token that is taken.
const LONGEST_TOKEN: usize = 16 * 1024;
/// The longest that a token is taken to live, whatever its provider says: nobody keeps one longer, and a time far beyond
/// is none that records can hold.
pub(crate) const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest claims challenge that is passed on.
const LONGEST_CLAIMS: usize = 4 * 1024;
/// The longest text of an error.
const LONGEST_TEXT: usize = 256;
const DEPTH: usize = 16;

/// What a token endpoint answered.
#[derive(Debug)]
pub enum Answer {
    /// A token (RFC 6749 section 5.1, RFC 8693 section 2.2.1).
    Granted(Granted),
    /// An error (RFC 6749 section 5.2).
    Refused(Refused),
    /// Nothing that could be read.
    Unusable(&'static str),
}

/// A token, before it is checked. Nothing prints it.
pub struct Granted {
    /// `access_token`.
    pub token: Zeroizing<String>,
    /// `token_type`.
    pub token_type: String,
    /// `issued_token_type`.
    pub issued_token_type: Option<String>,
    /// `expires_in`, in seconds: at most a day.
    pub expires_in: Option<u64>,
    /// `scope`, as a set.
    pub scopes: Option<Scopes>,
}

impl fmt::Debug for Granted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token: _, token_type, issued_token_type, expires_in, scopes } = self;
        write!(formatter, "Granted({token_type:?}, {issued_token_type:?}, {expires_in:?}, {scopes:?}, ..)")
    }
}

/// A refusal in the provider's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// For the record.
    pub said: ProviderErrorRecord,
    /// What the next login must bring: a JSON object as text.
    pub claims: Option<String>,
}

/// Reads an answer. `secrets` are those of the request, which nothing that is kept of the answer holds.
#[must_use]
pub fn read(status: u16, body: &[u8], secrets: &[&str]) -> Answer {
    let members = match palisade_json::read(body, DEPTH) {
        Ok(Value::Object(members)) => members,
        Ok(_) | Err(_) => return Answer::Unusable("the answer is no JSON object without duplicate members"),
    };
    if status == 200 { granted(members) } else { refused(status, &members, secrets) }
}

fn granted(mut members: Map<String, Value>) -> Answer {
    if members.contains_key("error") {
        return Answer::Unusable("the answer is a success and an error at once");
    }
    let token = match members.remove("access_token") {
        Some(Value::String(token)) => Zeroizing::new(token),
        Some(_) | None => return Answer::Unusable("the answer has no `access_token`"),
    };
    if !is_token(&token) {
        return Answer::Unusable("the `access_token` is none that a header can carry, or too long");
    }
    let Some(token_type) = text(&members, "token_type") else {
        return Answer::Unusable("the answer has no `token_type`");
    };
    let expires_in = match members.get("expires_in") {
        None | Some(Value::Null) => None,
        Some(value) => match seconds(value) {
            Some(seconds) => Some(seconds),
            None => return Answer::Unusable("`expires_in` is no number of seconds"),
        },
    };
    let scopes = match members.get("scope") {
        None | Some(Value::Null) => None,
        Some(Value::String(scopes)) => match read_scopes(scopes) {
            Some(scopes) => Some(scopes),
            None => return Answer::Unusable("`scope` is no list of scopes"),
        },
        Some(_) => return Answer::Unusable("`scope` is no list of scopes"),
    };
    Answer::Granted(Granted {
        token,
        token_type,
        issued_token_type: text(&members, "issued_token_type"),
        expires_in,
        scopes,
    })
}

fn refused(status: u16, members: &Map<String, Value>, secrets: &[&str]) -> Answer {
    let Some(error) = text(members, "error") else {
        return Answer::Unusable("the answer is neither a token nor an error");
    };
    let codes = members.get("error_codes").and_then(Value::as_array).into_iter().flatten();
    let codes = codes.filter_map(Value::as_u64).map(|code| code.to_string());
    let said = ProviderErrorRecord {
        status: Some(status),
        error: Some(without(&error, secrets)),
        description: text(members, "error_description").map(|text| without(&text, secrets)),
        codes: codes.chain(text(members, "suberror").map(|text| without(&text, secrets))).take(10).collect(),
    };
    let passed_on = |claims: &String| is_claims(claims) && !quotes(claims, secrets);
    Answer::Refused(Refused { said, claims: text(members, "claims").filter(passed_on) })
}

fn text(members: &Map<String, Value>, name: &str) -> Option<String> {
    members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// `b64token` (RFC 6750 section 2.1).
pub(crate) fn is_token(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    !text.is_empty() && text.len() <= LONGEST_TOKEN && text.bytes().all(known)
}

/// A number, or as some providers have it a text of digits.
fn seconds(value: &Value) -> Option<u64> {
    let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = value.as_u64().or_else(|| value.as_str().filter(digits)?.parse().ok())?;
    Some(seconds.min(LONGEST_LIFE.as_secs()))
}

fn read_scopes(text: &str) -> Option<Scopes> {
    text.split(' ').filter(|name| !name.is_empty()).map(|name| name.parse::<Scope>().ok()).collect()
}

/// A challenge is passed on only as what it must be: an object, and no longer than a header carries.
fn is_claims(text: &str) -> bool {
    let object = || matches!(palisade_json::read(text.as_bytes(), DEPTH), Ok(Value::Object(_)));
    text.len() <= LONGEST_CLAIMS && object()
}

fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(LONGEST_TEXT)).unwrap_or_default().to_owned()
}

/// As it is, and as it stands in a form.
fn spellings<'a>(secrets: &[&'a str]) -> impl Iterator<Item = Zeroizing<String>> {
    let known: Vec<&'a str> = secrets.iter().copied().filter(|secret| !secret.is_empty()).collect();
    known.into_iter().flat_map(|secret| {
        let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        [Zeroizing::new(secret.to_owned()), Zeroizing::new(encoded)]
    })
}

fn quotes(text: &str, secrets: &[&str]) -> bool {
    spellings(secrets).any(|secret| text.contains(secret.as_str()))
}

/// What a provider says of an error may quote the request. Its secrets are left out wherever they stand, and words that are as
/// long as tokens.
fn without(text: &str, secrets: &[&str]) -> String {
    const LONGEST_WORD: usize = 60;
    const LEFT_OUT: &str = "[..]";
    let text =
        spellings(secrets).fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), LEFT_OUT));
    let word = |word: &str| if word.len() > LONGEST_WORD { LEFT_OUT.to_owned() } else { word.to_owned() };
    cut(&text.split(' ').map(word).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests;
