//! What the verifier accepts, and what it keeps.

use std::collections::BTreeSet;

use palisade_model::{Audience, RawToken, Reason, SubjectKind, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::{
    ClaimMap, GroupsOverage, KeySource, Profile,
    fixtures::{
        AUDIENCE, ISSUER, NOW, Signer, changed, check, check_at, claims, clock, encode, key_set, refusal,
        settings, verifier, verifier_with,
    },
};

mod identities;
mod known_tokens;
mod reject_list;
mod revoked;
mod setups;

#[tokio::test]
async fn a_good_token_of_every_algorithm_is_accepted() {
    let signers =
        [Signer::es256("p256"), Signer::es384("p384"), Signer::ed25519("ed"), Signer::rsa("rs", "RS256")];
    let verifier = verifier_with(&signers.each_ref().map(Signer::jwk), |_| {});
    for signer in &signers {
        let verified = check(&verifier, &signer.token(json!({}))).await.unwrap();
        assert_eq!(verified.subject().entity(), "User::\"corp/alice\"", "{}", signer.algorithm);
    }
    let signer = Signer::rsa("ps", "PS256");
    let verifier = verifier_with(&[signer.jwk()], |_| {});
    assert!(check(&verifier, &signer.token(json!({}))).await.is_ok());
}

#[tokio::test]
async fn the_newer_name_of_eddsa_is_the_same_algorithm() {
    let signer = Signer::ed25519("k");
    let mut jwk = signer.jwk();
    jwk["alg"] = json!("Ed25519");
    let verifier = verifier_with(&[jwk], |_| {});
    for name in ["EdDSA", "Ed25519"] {
        let header = changed(signer.header(), json!({ "alg": name }));
        assert!(check(&verifier, &signer.sign(&header, &claims())).await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn a_token_without_key_id_has_a_key_only_where_one_fits() {
    let (one, two, other) = (Signer::es256("1"), Signer::es256("2"), Signer::es384("3"));
    let header = changed(one.header(), json!({"kid": null}));
    let token = one.sign(&header, &claims());
    assert!(check(&verifier_with(&[one.jwk(), other.jwk()], |_| {}), &token).await.is_ok());
    let verifier = verifier_with(&[one.jwk(), two.jwk()], |_| {});
    assert_eq!(refusal(&verifier, &token).await, Reason::TokenKeyUnknown);
}

#[tokio::test]
async fn no_error_holds_a_part_of_the_token() {
    let signer = Signer::es256("k");
    let verifier = verifier_with(&[signer.jwk()], |_| {});
    let marker = "zzmarkerzz";
    for token in [
        marker.to_owned(),
        signer.sign(&json!({"alg": marker, "typ": "at+jwt"}), &claims()),
        signer.sign(&changed(signer.header(), json!({"kid": marker})), &claims()),
        signer.sign(&changed(signer.header(), json!({"typ": marker})), &claims()),
        signer.token(json!({"iss": marker})),
        signer.token(json!({"aud": marker})),
        signer.token(json!({"scope": format!("{marker}\t")})),
        signer.token(json!({"sub": format!("{marker}\n")})),
        signer.token(json!({"act": {"sub": marker, "iss": marker}})),
        signer.token(json!({"exp": marker})),
    ] {
        let error = check(&verifier, &token).await.unwrap_err();
        assert!(!error.to_string().contains(marker), "{error}");
    }
}

#[test]
fn a_token_with_any_byte_changed_is_never_accepted() {
    let signer = Signer::ed25519("k");
    let verifier = verifier_with(&[signer.jwk()], |_| {});
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let token = signer.token(json!({}));
    for place in 0..token.len() {
        for bit in 0..7 {
            let mut bytes = token.clone().into_bytes();
            bytes[place] ^= 1 << bit;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(runtime.block_on(check(&verifier, &changed)).is_err(), "byte {place}, bit {bit}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn a_token_with_any_byte_replaced_is_never_accepted(place in 0_usize..1000, byte in 0_u8..128) {
        static CASE: std::sync::LazyLock<(Verifier, String)> = std::sync::LazyLock::new(|| {
            let signer = Signer::es256("k");
            (verifier_with(&[signer.jwk()], |_| {}), signer.token(json!({})))
        });
        let (verifier, token) = &*CASE;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut bytes = token.clone().into_bytes();
        let place = place % bytes.len();
        proptest::prop_assume!(bytes[place] != byte);
        bytes[place] = byte;
        let changed = String::from_utf8(bytes).unwrap();
        proptest::prop_assert!(runtime.block_on(check(verifier, &changed)).is_err());
    }

    #[test]
    fn arbitrary_text_is_refused_without_panic(token in ".{0,300}") {
        let verifier = verifier_with(&[Signer::ed25519("k").jwk()], |_| {});
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        proptest::prop_assert!(runtime.block_on(check(&verifier, &token)).is_err());
    }
}
