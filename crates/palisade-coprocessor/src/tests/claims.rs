//! Which claims a subject has.

use palisade_pdp::Proven;
use serde_json::{Value, json};

use super::fixture::*;
use crate::{
    claims,
    message::{self, Entry, Message},
};

async fn proven(changes: Value) -> Proven {
    let fixture = fixture();
    let snapshot = fixture.pdp.snapshot();
    let message = json!({ "version": 1, "stage": "RouterRequest", "id": "1", "control": "continue",
        "headers": { "authorization": [bearer("storefront", changes)] } });
    let message = message.to_string();
    let message = message::read(Entry::Token, Some(message.as_bytes()));
    let Ok(Message::Stage(exchange)) = message else { panic!("{message:?}") };
    let resource = snapshot.resources.by_name("storefront").unwrap();
    let call = crate::call::of_stage(&exchange, resource, &Default::default()).unwrap();
    let caller = palisade_pdp::Caller(Some("router".parse().unwrap()));
    let believed = palisade_call::Believed::new(&caller, &snapshot.peps, &snapshot.resources, 1, 1);
    let decoded = palisade_call::decode(&call, &believed);
    fixture.pdp.identify(&snapshot, &decoded.request).await.unwrap().proven().unwrap().clone()
}

#[tokio::test]
async fn scopes_are_one_text_with_what_they_imply_and_nothing_is_as_it_came() {
    let told = claims::of(
        &proven(json!({ "scope": "b customers:admin a", "roles": ["admin"], "extra": "x" })).await,
    );
    assert_eq!(
        told,
        json!({ "iss": "https://login.example.com", "sub": "alice", "client_id": "app", "exp": NOW + 600,
            "scope": "a b customers:admin customers:read" })
    );
    let told = claims::of(&proven(json!({ "sub": "a/b", "scope": "" })).await);
    assert_eq!((&told["sub"], &told["scope"]), (&json!("a/b"), &json!("")));
}
