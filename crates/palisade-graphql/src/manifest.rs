//! A manifest of persisted documents: which hash stands for which document.
//!
//! Two forms are read: an object of documents by their hashes, and the manifest that Apollo's tools write. A hash is the SHA-256
//! of its document, in lower-case hex; an entry under any other name could stand for something else than what is decided on.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The most levels of JSON.
const DEPTH: usize = 8;
/// What Apollo's form says of itself.
const APOLLO: &str = "apollo-persisted-query-manifest";

/// Why a text is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// It is not strict JSON.
    #[error("the manifest is not strict JSON: {0}")]
    Json(#[from] palisade_json::JsonError),
    /// It has neither form.
    #[error(
        "the manifest is neither an object of documents by their hashes nor an `apollo-persisted-query-manifest` of version 1"
    )]
    Form,
    /// A name that is not the hash of what stands under it.
    #[error("`{0}` is not the SHA-256 of its document, in lower-case hex")]
    Hash(String),
}

/// Reads a manifest: the documents by their hashes.
///
/// # Errors
/// When the text has neither form, or a hash is not that of its document.
pub fn read_manifest(text: &[u8]) -> Result<BTreeMap<String, String>, ManifestError> {
    let Value::Object(members) = palisade_json::read(text, DEPTH)? else { return Err(ManifestError::Form) };
    let entries = if members.contains_key("format") { of_apollo(&members)? } else { plain(members)? };
    let mut manifest = BTreeMap::new();
    for (hash, document) in entries {
        if hash != hex::encode(Sha256::digest(document.as_bytes())) {
            return Err(ManifestError::Hash(hash));
        }
        manifest.insert(hash, document);
    }
    Ok(manifest)
}

fn plain(members: Map<String, Value>) -> Result<Vec<(String, String)>, ManifestError> {
    let entry = |(hash, document): (String, Value)| match document {
        Value::String(document) => Ok((hash, document)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(ManifestError::Form)
        }
    };
    members.into_iter().map(entry).collect()
}

fn of_apollo(members: &Map<String, Value>) -> Result<Vec<(String, String)>, ManifestError> {
    let version = members.get("version").and_then(Value::as_u64);
    let operations = members.get("operations").and_then(Value::as_array);
    let (Some(APOLLO), Some(1), Some(operations)) =
        (members.get("format").and_then(Value::as_str), version, operations)
    else {
        return Err(ManifestError::Form);
    };
    let text =
        |operation: &Value, member: &str| operation.get(member).and_then(Value::as_str).map(str::to_owned);
    let entry = |operation: &Value| Some((text(operation, "id")?, text(operation, "body")?));
    operations.iter().map(|operation| entry(operation).ok_or(ManifestError::Form)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn hash(document: &str) -> String {
        hex::encode(Sha256::digest(document.as_bytes()))
    }

    #[test]
    fn both_forms_say_the_same() {
        let document = "query Me { me { id } }";
        let plain = json!({ hash(document): document }).to_string();
        let operation = json!({ "id": hash(document), "body": document, "name": "Me", "type": "query" });
        let apollo = json!({ "format": APOLLO, "version": 1, "operations": [operation] }).to_string();
        let read = read_manifest(plain.as_bytes()).unwrap();
        assert_eq!(read.get(&hash(document)).map(String::as_str), Some(document));
        assert_eq!(read_manifest(apollo.as_bytes()).unwrap(), read);
        assert!(read_manifest(b"{}").unwrap().is_empty());
    }

    #[test]
    fn what_is_not_the_hash_of_its_document_is_refused() {
        let document = "{ me { id } }";
        let upper = hash(document).to_uppercase();
        for (text, error) in [
            (json!({ "me": document }), ManifestError::Hash("me".to_owned())),
            (json!({ upper.clone(): document }), ManifestError::Hash(upper)),
            (json!({ hash(document): { "body": document } }), ManifestError::Form),
            (json!([document]), ManifestError::Form),
            (json!({ "format": APOLLO, "version": 2, "operations": [] }), ManifestError::Form),
            (json!({ "format": "relay", "version": 1, "operations": [] }), ManifestError::Form),
            (
                json!({ "format": APOLLO, "version": 1, "operations": [{ "id": hash(document) }] }),
                ManifestError::Form,
            ),
        ] {
            assert_eq!(read_manifest(text.to_string().as_bytes()), Err(error), "{text}");
        }
        let twice = format!("{{\"{0}\": \"{{ a }}\", \"{0}\": \"{{ a }}\"}}", hash("{ a }"));
        assert_eq!(
            read_manifest(twice.as_bytes()),
            Err(ManifestError::Json(palisade_json::JsonError::DuplicateMember))
        );
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_under_its_own_hash(documents in proptest::collection::vec(".{0,40}", 0..5), junk in ".{0,80}") {
            let members: Map<String, Value> =
                documents.iter().map(|document| (hash(document), Value::from(document.as_str()))).collect();
            let read = read_manifest(Value::Object(members).to_string().as_bytes()).unwrap();
            prop_assert!(documents.iter().all(|document| read.get(&hash(document)) == Some(document)));
            let read = read_manifest(junk.as_bytes()).unwrap_or_default();
            prop_assert!(read.iter().all(|(name, document)| *name == hash(document)));
        }
    }
}
