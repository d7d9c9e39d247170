//! The scopes of a token, as a set.
//!
//! Providers write them in three ways: `scope`, a string (RFC 6749 section 3.3); `scp`, a string or an array; and
//! `permissions`, an array. The set is the union. Nothing may ever test a scope by searching in a string:
//! `files:readall` does not hold `files:read`.

use palisade_model::{Scope, Scopes};
use serde_json::{Map, Value};

use crate::TokenError;

/// The scopes that a token's claims grant.
pub(crate) fn scopes(claims: &Map<String, Value>) -> Result<Scopes, TokenError> {
    let mut scopes = Scopes::new();
    for (name, forms) in [("scope", Forms::Text), ("scp", Forms::Both), ("permissions", Forms::List)] {
        let Some(value) = claims.get(name) else { continue };
        for entry in entries(name, value, forms)? {
            let scope: Scope =
                entry.parse().map_err(|_| TokenError::claims(format!("an entry of `{name}` is no scope")))?;
            scopes.insert(scope);
        }
    }
    Ok(scopes)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Forms {
    Text,
    List,
    Both,
}

fn entries<'a>(name: &str, value: &'a Value, forms: Forms) -> Result<Vec<&'a str>, TokenError> {
    match value {
        // Two spaces in a row, or none at all (the empty string), add no entry.
        Value::String(text) if forms != Forms::List => {
            Ok(text.split(' ').filter(|entry| !entry.is_empty()).collect())
        }
        Value::Array(elements) if forms != Forms::Text => elements
            .iter()
            .map(|element| {
                element
                    .as_str()
                    .ok_or_else(|| TokenError::claims(format!("an entry of `{name}` is not a string")))
            })
            .collect(),
        Value::String(_)
        | Value::Array(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Object(_) => Err(TokenError::claims(format!("`{name}` has the wrong type"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(claims: Value) -> Result<Vec<String>, TokenError> {
        let Value::Object(claims) = claims else { panic!("an object") };
        scopes(&claims).map(|scopes| scopes.into_iter().map(String::from).collect())
    }

    #[test]
    fn files_readall_never_satisfies_files_read() {
        for claims in [
            json!({"scope": "files:readall"}),
            json!({"scp": "files:readall x"}),
            json!({"scp": ["files:readall"]}),
            json!({"permissions": ["files:readall"]}),
        ] {
            let Value::Object(claims) = claims else { panic!("an object") };
            let scopes = scopes(&claims).unwrap();
            assert!(scopes.contains("files:readall"));
            assert!(!scopes.contains("files:read"));
        }
    }

    #[test]
    fn the_set_is_the_union_of_every_form() {
        let all = json!({"scope": "b a  a", "scp": ["c"], "permissions": ["d:e"]});
        assert_eq!(read(all).unwrap(), ["a", "b", "c", "d:e"]);
        assert_eq!(read(json!({"scp": "a b"})).unwrap(), ["a", "b"]);
        assert_eq!(read(json!({"scope": ""})).unwrap(), [""; 0]);
        assert_eq!(read(json!({})).unwrap(), [""; 0]);
    }

    #[test]
    fn wrong_types_and_wrong_grammar_are_refused() {
        for claims in [
            json!({"scope": ["a"]}),
            json!({"scope": null}),
            json!({"scope": 5}),
            json!({"scope": "a\tb"}),
            json!({"scope": "a \"b\""}),
            json!({"scope": "ä"}),
            json!({"scp": {"a": 1}}),
            json!({"scp": ["a", 5]}),
            json!({"scp": ["a b"]}),
            json!({"scp": [""]}),
            json!({"permissions": "a"}),
            json!({"permissions": [["a"]]}),
            json!({"permissions": ["read files"]}),
        ] {
            assert!(read(claims.clone()).is_err(), "{claims}");
        }
    }
}
