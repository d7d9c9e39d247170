//! A manifest of persisted documents: which hash stands for which document, and who may run it as one that is listed.
//!
//! Two forms are read: an object of documents by their hashes, and the manifest that Apollo's tools write. A hash is the SHA-256
//! of its document, in lower-case hex; an entry under any other name could stand for something else than what is decided on.
//! An entry may say for which clients it is listed; one that says nothing is listed for every client.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The most levels of JSON.
const DEPTH: usize = 8;
/// What Apollo's form says of itself.
const APOLLO: &str = "apollo-persisted-query-manifest";

/// The documents that are known by their hashes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest(BTreeMap<String, Listed>);

/// A document of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The document.
    pub document: String,
    /// For whom it is listed.
    pub clients: Clients,
}

/// For which clients a document is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clients {
    /// For every client.
    All,
    /// For these alone.
    These(Arc<BTreeSet<String>>),
}

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
    /// What says for whom a document is listed says it in no form, or twice, or names nobody.
    #[error("`{0}`: `clients` is a list of at least one name, and there is no `clientName` beside it")]
    Clients(String),
}

impl Manifest {
    /// Documents that are listed for every client.
    #[must_use]
    pub fn of<D: Into<String>>(documents: impl IntoIterator<Item = D>) -> Self {
        let listed = documents.into_iter().map(|document| {
            let document = document.into();
            (hash(&document), Listed { document, clients: Clients::All })
        });
        Self(listed.collect())
    }

    /// Whether it lists nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What stands under a hash.
    #[must_use]
    pub fn get(&self, hash: &str) -> Option<&Listed> {
        self.0.get(hash)
    }

    /// Each document with its hash.
    pub fn documents(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(hash, listed)| (hash.as_str(), listed.document.as_str()))
    }

    /// The same with other names of its clients.
    ///
    /// # Errors
    /// When a name has no other.
    pub fn with_clients<E>(self, other: impl Fn(String) -> Result<String, E>) -> Result<Self, E> {
        let named = |(hash, listed): (String, Listed)| {
            let clients = match listed.clients {
                Clients::All => Clients::All,
                Clients::These(names) => {
                    let names = names.iter().cloned().map(&other).collect::<Result<BTreeSet<_>, E>>()?;
                    Clients::These(Arc::new(names))
                }
            };
            Ok((hash, Listed { clients, ..listed }))
        };
        self.0.into_iter().map(named).collect::<Result<_, E>>().map(Self)
    }

    /// Adds an entry. A document that is listed several times is listed for all the clients together.
    fn add(&mut self, name: String, listed: Listed) -> Result<(), ManifestError> {
        if name != hash(&listed.document) {
            return Err(ManifestError::Hash(name));
        }
        let clients = match self.0.get(&name).map(|before| &before.clients) {
            None => listed.clients,
            Some(before) => before.and(&listed.clients),
        };
        self.0.insert(name, Listed { clients, ..listed });
        Ok(())
    }
}

impl Clients {
    fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::These(own), Self::These(others)) => Self::These(Arc::new(&**own | &**others)),
            (Self::All, Self::All | Self::These(_)) | (Self::These(_), Self::All) => Self::All,
        }
    }
}

fn hash(document: &str) -> String {
    hex::encode(Sha256::digest(document.as_bytes()))
}

/// Reads a manifest: the documents by their hashes.
///
/// # Errors
/// When the text has neither form, or a hash is not that of its document.
pub fn read_manifest(text: &[u8]) -> Result<Manifest, ManifestError> {
    let Value::Object(members) = palisade_json::read(text, DEPTH)? else { return Err(ManifestError::Form) };
    let entries = if members.contains_key("format") { of_apollo(&members)? } else { plain(members)? };
    let mut manifest = Manifest::default();
    for (hash, listed) in entries {
        manifest.add(hash, listed)?;
    }
    Ok(manifest)
}

/// A document by its hash, or an object of it and its clients: `{"body": "...", "clients": [...]}`.
fn plain(members: Map<String, Value>) -> Result<Vec<(String, Listed)>, ManifestError> {
    let entry = |(hash, entry): (String, Value)| match entry {
        Value::String(document) => Ok((hash, Listed { document, clients: Clients::All })),
        Value::Object(entry) if entry.len() == 2 && entry.contains_key("clients") => {
            let document = text(&entry, "body").ok_or(ManifestError::Form)?;
            Ok((hash.clone(), Listed { document, clients: clients(&hash, &entry)? }))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(ManifestError::Form)
        }
    };
    members.into_iter().map(entry).collect()
}

fn of_apollo(members: &Map<String, Value>) -> Result<Vec<(String, Listed)>, ManifestError> {
    let version = members.get("version").and_then(Value::as_u64);
    let operations = members.get("operations").and_then(Value::as_array);
    let (Some(APOLLO), Some(1), Some(operations)) =
        (members.get("format").and_then(Value::as_str), version, operations)
    else {
        return Err(ManifestError::Form);
    };
    let entry = |operation: &Value| {
        let operation = operation.as_object().ok_or(ManifestError::Form)?;
        let (hash, document) =
            text(operation, "id").zip(text(operation, "body")).ok_or(ManifestError::Form)?;
        let clients = clients(&hash, operation)?;
        Ok((hash, Listed { document, clients }))
    };
    operations.iter().map(entry).collect()
}

fn text(members: &Map<String, Value>, member: &str) -> Option<String> {
    members.get(member).and_then(Value::as_str).map(str::to_owned)
}

/// For whom an entry is listed: `clients`, or the one `clientName` of Apollo's form, which is null for all.
fn clients(hash: &str, entry: &Map<String, Value>) -> Result<Clients, ManifestError> {
    let refused = || ManifestError::Clients(hash.to_owned());
    let one = |name: &Value| name.as_str().filter(|name| !name.is_empty()).map(str::to_owned);
    let names = match (entry.get("clients"), entry.get("clientName")) {
        (None, None | Some(Value::Null)) => return Ok(Clients::All),
        (None, Some(name)) => std::iter::once(name).map(one).collect::<Option<BTreeSet<_>>>(),
        (Some(names), None | Some(Value::Null)) => {
            names.as_array().and_then(|names| names.iter().map(one).collect())
        }
        (Some(_), Some(_)) => None,
    };
    let names = names.filter(|names| !names.is_empty()).ok_or_else(refused)?;
    Ok(Clients::These(Arc::new(names)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let document = "query Me { me { id } }";
        let plain = json!({ hash(document): document }).to_string();
        let operation = json!({ "id": hash(document), "body": document, "name": "Me", "type": "query" });
        let apollo = json!({ "format": APOLLO, "version": 1, "operations": [operation] }).to_string();
        let read = read_manifest(plain.as_bytes()).unwrap();
        assert_eq!(read, Manifest::of([document]));
        assert_eq!(read.get(&hash(document)).map(|listed| &*listed.document), Some(document));
        assert_eq!(read_manifest(apollo.as_bytes()).unwrap(), read);
        assert_eq!(read_manifest(b"{}").unwrap(), Manifest::default());
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

    #[test]
    fn an_entry_says_for_which_clients_it_is_listed() {
        let document = "{ me { id } }";
        let apollo = |operations: &[Value]| {
            let all: Vec<Value> = operations
                .iter()
                .map(|more| {
                    let mut operation = json!({ "id": hash(document), "body": document });
                    operation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                    operation
                })
                .collect();
            json!({ "format": APOLLO, "version": 1, "operations": all })
        };
        let plain = |entry: Value| json!({ hash(document): entry });
        let these = |names: &[&str]| {
            Ok(Clients::These(Arc::new(names.iter().map(|name| (*name).to_owned()).collect())))
        };
        let refused = || Err(ManifestError::Clients(hash(document)));
        for (text, expected) in [
            (apollo(&[json!({})]), Ok(Clients::All)),
            (apollo(&[json!({ "clientName": null })]), Ok(Clients::All)),
            (apollo(&[json!({ "clientName": "web" })]), these(&["web"])),
            (apollo(&[json!({ "clients": ["web", "ios"] })]), these(&["ios", "web"])),
            (
                apollo(&[json!({ "clientName": "web" }), json!({ "clientName": "ios" })]),
                these(&["ios", "web"]),
            ),
            (apollo(&[json!({ "clientName": "web" }), json!({})]), Ok(Clients::All)),
            (plain(json!({ "body": document, "clients": ["web"] })), these(&["web"])),
            (apollo(&[json!({ "clients": [] })]), refused()),
            (apollo(&[json!({ "clients": null })]), refused()),
            (apollo(&[json!({ "clients": "web" })]), refused()),
            (apollo(&[json!({ "clients": ["web", 1] })]), refused()),
            (apollo(&[json!({ "clients": ["web"], "clientName": "web" })]), refused()),
            (apollo(&[json!({ "clientName": "" })]), refused()),
            (plain(json!({ "body": document, "clients": [] })), refused()),
            (plain(json!({ "clients": ["web"] })), Err(ManifestError::Form)),
            (plain(json!({ "body": document, "client": ["web"] })), Err(ManifestError::Form)),
        ] {
            let read = read_manifest(text.to_string().as_bytes());
            assert_eq!(
                read.map(|read| read.get(&hash(document)).unwrap().clients.clone()),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn names_of_clients_are_changed_all_or_not_at_all() {
        let text = json!({ hash("{ a }"): { "body": "{ a }", "clients": ["web"] }, hash("{ b }"): "{ b }" });
        let read = read_manifest(text.to_string().as_bytes()).unwrap();
        let named = read.clone().with_clients(|name| Ok::<_, ()>(format!("corp/{name}"))).unwrap();
        let names = BTreeSet::from(["corp/web".to_owned()]);
        assert_eq!(named.get(&hash("{ a }")).unwrap().clients, Clients::These(Arc::new(names)));
        assert_eq!(named.get(&hash("{ b }")).unwrap().clients, Clients::All);
        assert_eq!(read.with_clients(|_| Err(1)), Err(1));
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_under_its_own_hash(documents in proptest::collection::vec(".{0,40}", 0..5), junk in ".{0,80}") {
            let members: Map<String, Value> =
                documents.iter().map(|document| (hash(document), Value::from(document.as_str()))).collect();
            let read = read_manifest(Value::Object(members).to_string().as_bytes()).unwrap();
            prop_assert!(documents.iter().all(|document| read.get(&hash(document)).is_some_and(|listed| listed.document == *document)));
            let read = read_manifest(junk.as_bytes()).unwrap_or_default();
            prop_assert!(read.documents().all(|(name, document)| name == hash(document)));
        }
    }
}
