//! What Apollo Router learns of a subject: the claims that its directives and its plans read.
//!
//! They are written from what was proven, never from what came. The scopes are one text, as `@requiresScopes` reads them, with
//! those that others imply.

use palisade_model::{Authority, Scope, Subject, Timestamp};
use palisade_pdp::Proven;
use serde_json::{Map, Value};

/// The claims of a subject.
pub(crate) fn of(proven: &Proven) -> Value {
    let (subject, authority) = (proven.subject(), proven.authority());
    let mut claims = Map::new();
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    match proven.party() {
        Some(party) => {
            put("iss", party.issuer.as_str().into());
            put("sub", party.id.as_str().into());
        }
        // A static token has no issuer, and its subject no other name.
        None => {
            put("sub", subject.id.as_str().into());
        }
    }
    if authority.expires_at != Timestamp::NEVER {
        put("exp", authority.expires_at.unix_seconds().into());
    }
    if let Some(client) = client(subject, authority) {
        put("client_id", client.into());
    }
    let scopes: Vec<&str> = proven.scopes().iter().map(Scope::as_str).collect();
    put("scope", scopes.join(" ").into());
    Value::Object(claims)
}

/// The client's id as its issuer has it: without the issuer's name, and without the tenant.
fn client<'a>(subject: &Subject, authority: &'a Authority) -> Option<&'a str> {
    let client = authority.client.as_deref()?;
    let behind = |prefix: &str| client.strip_prefix(prefix)?.strip_prefix('/');
    subject.tenant.as_deref().and_then(behind).or_else(|| behind(authority.issuer.as_str()))
}
