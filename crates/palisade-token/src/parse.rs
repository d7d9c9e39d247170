//! Reading a compact JWS (RFC 7515 section 7.1) in one way only.
//!
//! The flow: alphabet -> exactly three parts -> canonical base64url -> two JSON objects without duplicate
//! members and of bounded depth -> the header's members. Nothing is repaired and nothing is skipped. No signature is
//! checked here, so what comes out is still the attacker's text: only `verify` may hold a [`Parsed`].

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use crate::{Algorithm, TokenError};

/// No configuration may raise the size limit beyond this.
pub(crate) const HARD_LIMIT: usize = 64 * 1024;

const HEADER_DEPTH: usize = 8;
const CLAIMS_DEPTH: usize = 32;
const MAX_KEY_ID: usize = 256;

/// Header members that bring their own key, change what is signed, or belong to encryption. No provider that has a
/// profile sends any of them, so their presence is an attack or a mistake (RFC 7515 section 4.1, RFC 7516, RFC 7797).
const FORBIDDEN: &[&str] =
    &["jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "enc", "epk", "apu", "apv", "p2c", "p2s", "cty"];

/// A token that is well formed, and nothing more.
#[derive(Debug)]
pub(crate) struct Parsed<'a> {
    pub(crate) header: Header,
    pub(crate) claims: Map<String, Value>,
    /// The octets that are signed: the first two parts with their dot.
    pub(crate) signed: &'a str,
    /// The signature, in base64url.
    pub(crate) signature: &'a str,
}

/// The header members that take part in a decision.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
    /// `typ` in lower case, without a leading `application/`.
    pub(crate) media_type: Option<String>,
}

/// Checks the size of a token, before anything is computed from it.
pub(crate) fn check_length(token: &str, limit: usize) -> Result<(), TokenError> {
    if token.len() > limit {
        return Err(TokenError::malformed(format!("the token is longer than {limit} bytes")));
    }
    Ok(())
}

/// Reads a token whose length was checked.
pub(crate) fn parse_strict(token: &str) -> Result<Parsed<'_>, TokenError> {
    if !token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        return Err(TokenError::malformed("the token holds characters that no compact JWS has"));
    }
    let (signed, signature) = token.rsplit_once('.').ok_or_else(not_three_parts)?;
    let (header, claims) = signed.split_once('.').ok_or_else(not_three_parts)?;
    if claims.contains('.') || header.is_empty() || claims.is_empty() || signature.is_empty() {
        return Err(not_three_parts());
    }
    decode(signature, "signature")?;
    let header = header_of(&object(header, "header", HEADER_DEPTH)?)?;
    let claims = object(claims, "claims", CLAIMS_DEPTH)?;
    Ok(Parsed { header, claims, signed, signature })
}

fn not_three_parts() -> TokenError {
    TokenError::malformed("the token is not three parts with a dot between them")
}

fn decode(part: &str, name: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::malformed(format!("the {name} is not canonical base64url without padding")))
}

/// The first byte must open an object: a JSON array would be read by position, and white space or a mark in front of it
/// is something that only some readers skip.
fn object(part: &str, name: &str, depth: usize) -> Result<Map<String, Value>, TokenError> {
    let bytes = decode(part, name)?;
    if bytes.first() != Some(&b'{') {
        return Err(TokenError::malformed(format!("the {name} is not a JSON object")));
    }
    match palisade_json::read(&bytes, depth) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            Err(TokenError::malformed(format!("the {name} is not a JSON object")))
        }
        Err(error) => Err(TokenError::malformed(format!("the {name} cannot be read: {error}"))),
    }
}

fn header_of(members: &Map<String, Value>) -> Result<Header, TokenError> {
    if let Some(name) = FORBIDDEN.iter().find(|name| members.contains_key(**name)) {
        return Err(TokenError::malformed(format!("the header has the member `{name}`")));
    }
    let algorithm = text(members, "alg")?
        .ok_or_else(|| TokenError::malformed("the header has no `alg`"))
        .map(Algorithm::from_jose)?
        .ok_or_else(|| TokenError::malformed("the header's `alg` is no supported signature algorithm"))?;
    let key_id = text(members, "kid")?;
    if key_id.is_some_and(|id| id.is_empty() || id.len() > MAX_KEY_ID) {
        return Err(TokenError::malformed(format!("the header's `kid` is not of 1 to {MAX_KEY_ID} bytes")));
    }
    let media_type = text(members, "typ")?.map(|media_type| {
        let lower = media_type.to_ascii_lowercase();
        lower.strip_prefix("application/").map(str::to_owned).unwrap_or(lower)
    });
    Ok(Header { algorithm, key_id: key_id.map(str::to_owned), media_type })
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, TokenError> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(TokenError::malformed(format!("the header's `{name}` is not a string")))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    fn parse(header: &str, claims: &str) -> Result<Header, TokenError> {
        let token = format!("{}.{}.AAAA", encoded(header), encoded(claims));
        parse_strict(&token).map(|parsed| parsed.header)
    }

    #[test]
    fn the_media_type_is_read_as_rfc_7515_says() {
        for (given, read) in [
            ("at+jwt", "at+jwt"),
            ("AT+JWT", "at+jwt"),
            ("application/at+jwt", "at+jwt"),
            ("Application/AT+jwt", "at+jwt"),
            ("JWT", "jwt"),
        ] {
            let header = parse(&format!(r#"{{"alg":"ES256","typ":"{given}"}}"#), "{}").unwrap();
            assert_eq!(header.media_type.as_deref(), Some(read));
        }
    }

    #[test]
    fn a_thumbprint_in_the_header_is_fine() {
        assert!(parse(r#"{"alg":"RS256","typ":"JWT","x5t":"abc","kid":"k","nonce":"n"}"#, "{}").is_ok());
    }

    #[test]
    fn white_space_before_the_object_is_refused() {
        assert!(parse(r#" {"alg":"ES256"}"#, "{}").is_err());
        assert!(parse(r#"{"alg":"ES256"}"#, "\n{}").is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(token in ".{0,200}") {
            let _outcome = parse_strict(&token);
        }

        #[test]
        fn arbitrary_parts_never_panic(header in any::<Vec<u8>>(), claims in any::<Vec<u8>>(), signature in any::<Vec<u8>>()) {
            let parts = [header, claims, signature].map(|part| URL_SAFE_NO_PAD.encode(part));
            let _outcome = parse_strict(&parts.join("."));
        }

        #[test]
        fn arbitrary_members_never_panic(header in "\\{\"[a-z0-9]{1,4}\":.{0,30}\\}", claims in "\\{.{0,60}\\}") {
            let _outcome = parse(&header, &claims);
        }
    }
}
