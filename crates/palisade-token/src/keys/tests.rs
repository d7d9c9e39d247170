//! The lint of key sets.

use serde_json::json;

use super::*;
use crate::{
    fixtures::{Signer, changed, encode, key_set},
    install_crypto_provider,
};

fn import(keys: &[Value]) -> (KeySet, Vec<Finding>) {
    import_for(keys, &[])
}

fn import_for(keys: &[Value], accepted: &[Algorithm]) -> (KeySet, Vec<Finding>) {
    install_crypto_provider();
    KeySet::import(key_set(keys).as_bytes(), accepted).unwrap()
}

#[test]
fn a_document_that_is_no_key_set_is_refused() {
    for (document, error) in [
        ("", None),
        ("{", None),
        (r#"{"keys":[],"keys":[]}"#, None),
        ("[]", Some(KeySetError::NoKeys)),
        ("{}", Some(KeySetError::NoKeys)),
        (r#"{"keys":{}}"#, Some(KeySetError::NoKeys)),
    ] {
        let refused = KeySet::import(document.as_bytes(), &[]).unwrap_err();
        assert!(error.is_none_or(|error| error == refused), "{document}");
    }
    let entries = vec![json!({}); MAX_KEYS + 1];
    assert_eq!(KeySet::import(key_set(&entries).as_bytes(), &[]).unwrap_err(), KeySetError::TooMany);
    assert!(KeySet::import(key_set(&entries[1..]).as_bytes(), &[]).is_ok());
}

#[test]
fn an_entry_that_is_not_a_public_key_for_signatures_is_left_out() {
    let (ec, okp, rsa) =
        (Signer::es256("k").jwk(), Signer::ed25519("k").jwk(), Signer::rsa("k", "RS256").jwk());
    let point = |byte: u8| json!(encode(vec![byte; 32]));
    for (entry, alarm) in [
        (json!({"kty": "oct", "k": "AAAA"}), true),
        (changed(ec.clone(), json!({"d": "AAAA"})), true),
        (changed(rsa.clone(), json!({"p": "AAAA"})), true),
        (changed(ec.clone(), json!({"use": "enc"})), false),
        (changed(ec.clone(), json!({"use": 5})), false),
        (changed(ec.clone(), json!({"key_ops": ["sign"]})), false),
        (changed(ec.clone(), json!({"key_ops": "verify"})), false),
        (changed(ec.clone(), json!({"kid": 5})), false),
        (changed(ec.clone(), json!({"kid": ""})), false),
        (changed(ec.clone(), json!({"kid": "x".repeat(257)})), false),
        (changed(ec.clone(), json!({"alg": "ES384"})), false),
        (changed(ec.clone(), json!({"alg": "none"})), false),
        (changed(ec.clone(), json!({"alg": "HS256"})), false),
        (changed(ec.clone(), json!({"kty": "RSA"})), false),
        (changed(ec.clone(), json!({"crv": "P-521"})), false),
        (changed(ec.clone(), json!({"x": point(1)})), false),
        (changed(ec.clone(), json!({"y": encode([1; 31])})), false),
        (changed(ec.clone(), json!({"x": "====", "y": 5})), false),
        (changed(okp.clone(), json!({"crv": "Ed448"})), false),
        (changed(okp.clone(), json!({"crv": "X25519"})), false),
        (changed(okp.clone(), json!({"x": encode([9; 31])})), false),
        (changed(okp, json!({"x": point(0)})), true),
        (changed(rsa.clone(), json!({"e": "AQ"})), false),
        (changed(rsa.clone(), json!({"e": "Ag"})), false),
        (changed(rsa.clone(), json!({"e": encode([1, 0, 0, 0, 1])})), false),
        (changed(rsa.clone(), json!({"e": ""})), false),
        (changed(rsa.clone(), json!({"n": encode([0xff; 255])})), false),
        (changed(rsa.clone(), json!({"n": encode([[0x00; 128], [0xff; 128]].concat())})), false),
        (changed(rsa.clone(), json!({"n": encode([0xfe; 256])})), false),
        (changed(rsa, json!({"n": encode([0xff; 1025])})), false),
    ] {
        let (set, findings) = import(std::slice::from_ref(&entry));
        assert!(set.is_empty(), "{entry}");
        assert_eq!(findings.iter().map(|finding| finding.alarm).collect::<Vec<_>>(), [alarm], "{entry}");
    }
}

#[test]
fn members_that_are_not_used_do_not_matter() {
    let key = changed(
        Signer::es256("k").jwk(),
        json!({"x5c": "x", "x5t": 5, "nbf": 1, "key_ops": ["verify", "x"], "other": {"a": []}}),
    );
    let (set, findings) = import(&[key]);
    assert!(set.has_id("k") && findings.is_empty());
}

#[test]
fn a_key_has_one_algorithm_from_the_start() {
    let bare = |signer: Signer| changed(signer.jwk(), json!({"alg": null}));
    let algorithm = |key: Value, accepted: &[Algorithm]| {
        let (set, _) = import_for(&[key], accepted);
        set.keys.first().map(|key| key.algorithm)
    };
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, RS256};
    let rsa = || bare(Signer::rsa("k", "RS256"));
    assert_eq!(algorithm(bare(Signer::es256("k")), &[]), Some(ES256));
    assert_eq!(algorithm(bare(Signer::es384("k")), &[]), Some(ES384));
    assert_eq!(algorithm(bare(Signer::ed25519("k")), &[]), Some(EdDSA));
    assert_eq!(algorithm(rsa(), &[]), Some(RS256));
    assert_eq!(algorithm(rsa(), &[ES256, PS384]), Some(PS384));
    assert_eq!(algorithm(rsa(), &[PS256, RS256]), Some(RS256));
    assert_eq!(algorithm(rsa(), &[PS256, PS384]), None);
    assert_eq!(algorithm(rsa(), &[ES256]), None);
    assert_eq!(algorithm(Signer::rsa("k", "PS256").jwk(), &[]), Some(PS256));
    assert_eq!(algorithm(Signer::rsa("k", "PS256").jwk(), &[RS256]), None);
}

#[test]
fn keys_that_contradict_each_other_are_unusable() {
    let (one, two, three) = (Signer::es256("same"), Signer::es256("same"), Signer::es256("other"));
    let (set, findings) = import(&[one.jwk(), three.jwk(), two.jwk()]);
    assert!(!set.has_id("same") && set.has_id("other"));
    assert_eq!(findings.iter().filter(|finding| finding.alarm).count(), 2);
    let (set, _) = import(&[Signer::rsa("a", "RS256").jwk(), Signer::rsa("b", "PS256").jwk()]);
    assert!(set.is_empty(), "one key with two algorithms");
    let (set, findings) = import(&[one.jwk(), one.jwk()]);
    assert!(set.has_id("same") && findings.is_empty(), "the same entry twice");
    assert_eq!(set.keys.len(), 1);
}

#[test]
fn a_leading_zero_does_not_change_the_thumbprint() {
    let plain = Signer::rsa("k", "RS256").jwk();
    let modulus = base64::Engine::decode(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD,
        plain["n"].as_str().unwrap(),
    )
    .unwrap();
    let padded = changed(plain.clone(), json!({"n": encode([vec![0], modulus].concat())}));
    let (one, _) = import(&[plain]);
    let (other, _) = import(&[padded]);
    assert!(one.same_as(&other));
}

#[test]
fn the_thumbprint_is_that_of_rfc_7638() {
    // The example of RFC 7638 section 3.1.
    let key = json!({
        "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    });
    let (set, _) = import(&[key]);
    assert_eq!(set.keys[0].thumbprint, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

/// A signature that verifies without any private key shows that a listed point is of small order.
#[test]
fn anyone_can_sign_for_a_point_of_small_order() {
    let mut forged = [0; 64];
    forged[0] = 1;
    for point in [
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        let key = aws_lc_rs::signature::UnparsedPublicKey::new(
            &aws_lc_rs::signature::ED25519,
            hex::decode(point).unwrap(),
        );
        let forgeries =
            (0_u32..200).filter(|message| key.verify(&message.to_be_bytes(), &forged).is_ok()).count();
        assert!(forgeries > 0, "{point}");
        for sign in [0, 0x80] {
            let mut bytes = hex::decode(point).unwrap();
            bytes[31] |= sign;
            let (set, findings) = import(&[json!({"kty": "OKP", "crv": "Ed25519", "x": encode(bytes)})]);
            assert!(set.is_empty() && findings[0].alarm);
        }
    }
}
