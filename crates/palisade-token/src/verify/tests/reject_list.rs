//! What must be refused, one test a row: the ways in which JWT libraries have let bad tokens by.
//!
//! Every token here is signed with the right key unless its row is about keys or signatures, so that each can be refused
//! for the reason of its row only.

use palisade_model::Reason::{
    TokenAudienceMismatch, TokenBinding, TokenClaimsInvalid, TokenExpired, TokenIssuerNotAllowed,
    TokenIssuerUnknown, TokenKeyUnknown, TokenLifetime, TokenMalformed, TokenNotYetValid,
    TokenSignatureInvalid, TokenType,
};

use super::*;
use crate::IssuerSettings;

struct Case {
    verifier: Verifier,
    signer: Signer,
}

fn case() -> Case {
    let signer = Signer::es256("k");
    Case { verifier: verifier_with(&[signer.jwk()], |_| {}), signer }
}

impl Case {
    async fn refuses(&self, token: &str, reason: Reason) {
        assert_eq!(refusal(&self.verifier, token).await, reason, "{token}");
    }

    async fn refuses_claims(&self, rows: Vec<(Value, Reason)>) {
        for (changes, reason) in rows {
            let refused = check(&self.verifier, &self.signer.token(changes.clone())).await;
            assert_eq!(refused.map_err(|error| error.reason).err(), Some(reason), "{changes}");
        }
    }

    async fn refuses_header(&self, rows: Vec<(Value, Reason)>) {
        for (changes, reason) in rows {
            let token = self.signer.sign(&changed(self.signer.header(), changes.clone()), &claims());
            let refused = check(&self.verifier, &token).await;
            assert_eq!(refused.map_err(|error| error.reason).err(), Some(reason), "{changes}");
        }
    }

    /// Claims as text, where `json!` cannot write them: the good claims, with one member's text put in their place.
    fn with_raw(&self, name: &str, member: &str) -> String {
        let rest = changed(claims(), json!({ name: null })).to_string();
        self.signer
            .sign_text(&self.signer.header().to_string(), &rest.replacen('{', &format!("{{{member},"), 1))
    }
}

#[tokio::test]
async fn row_00_the_good_token_is_accepted() {
    let case = case();
    assert!(check(&case.verifier, &case.signer.token(json!({}))).await.is_ok());
}

#[tokio::test]
async fn row_01_algorithm_none_missing_or_unknown() {
    let case = case();
    for algorithm in ["none", "None", "NONE", "nOnE", "", "HS256", "es256", "ES256 ", "XX"] {
        let header = json!({"alg": algorithm, "typ": "at+jwt", "kid": "k"});
        case.refuses(&case.signer.sign(&header, &claims()), TokenMalformed).await;
        let unsigned = format!("{}.{}.", encode(header.to_string()), encode(claims().to_string()));
        case.refuses(&unsigned, TokenMalformed).await;
    }
    case.refuses_header(vec![
        (json!({"alg": null}), TokenMalformed),
        (json!({"alg": ["ES256"]}), TokenMalformed),
        (json!({"alg": 5}), TokenMalformed),
        (json!({"alg": {"ES256": true}}), TokenMalformed),
    ])
    .await;
}

#[tokio::test]
async fn row_02_hmac_with_a_public_key() {
    let rsa = Signer::rsa("k", "RS256");
    let verifier = verifier_with(&[rsa.jwk()], |_| {});
    let signed = format!(
        "{}.{}",
        encode(json!({"alg": "HS256", "typ": "at+jwt", "kid": "k"}).to_string()),
        encode(claims().to_string())
    );
    for secret in [rsa.jwk().to_string(), rsa.jwk()["n"].as_str().unwrap().to_owned()] {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
        let token = format!("{signed}.{}", encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes())));
        assert_eq!(refusal(&verifier, &token).await, TokenMalformed);
    }
}

#[tokio::test]
async fn row_03_symmetric_key_in_the_key_set() {
    let good = Signer::es256("good");
    for secret in [&b"secret"[..], b"x", b""] {
        let symmetric = json!({"kty": "oct", "k": encode(secret), "kid": "s", "alg": "HS256", "use": "sig"});
        let verifier = verifier_with(&[symmetric, good.jwk()], |_| {});
        let signed = format!(
            "{}.{}",
            encode(json!({"alg": "HS256", "typ": "at+jwt", "kid": "s"}).to_string()),
            encode(claims().to_string())
        );
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        let token = format!("{signed}.{}", encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes())));
        assert_eq!(refusal(&verifier, &token).await, TokenMalformed);
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": "s"});
        assert_eq!(refusal(&verifier, &good.sign(&header, &claims())).await, TokenKeyUnknown);
    }
}

#[tokio::test]
async fn row_04_key_brought_by_the_token() {
    let case = case();
    let own = Signer::es256("k");
    for member in ["jwk", "jku", "x5u", "x5c"] {
        for value in [own.jwk(), json!("https://evil.example/jwks"), json!([])] {
            let header = changed(own.header(), json!({ member: value }));
            case.refuses(&own.sign(&header, &claims()), TokenMalformed).await;
            case.refuses(&case.signer.sign(&header, &claims()), TokenMalformed).await;
        }
    }
}

#[tokio::test]
async fn row_05_hostile_key_ids() {
    let case = case();
    case.refuses_header(vec![
        (json!({"kid": "../../dev/null"}), TokenKeyUnknown),
        (json!({"kid": "' OR 1=1 --"}), TokenKeyUnknown),
        (json!({"kid": "K"}), TokenKeyUnknown),
        (json!({"kid": "x".repeat(257)}), TokenMalformed),
        (json!({"kid": ""}), TokenMalformed),
        (json!({"kid": 5}), TokenMalformed),
        (json!({"kid": ["k"]}), TokenMalformed),
    ])
    .await;
    let huge =
        case.signer.sign(&changed(case.signer.header(), json!({"kid": "x".repeat(100_000)})), &claims());
    case.refuses(&huge, TokenMalformed).await;
    let twin = Signer::es256("k");
    let both = verifier_with(&[case.signer.jwk(), twin.jwk(), Signer::es256("other").jwk()], |_| {});
    for signer in [&case.signer, &twin] {
        assert_eq!(refusal(&both, &signer.token(json!({}))).await, TokenKeyUnknown);
    }
}

#[tokio::test]
async fn row_06_critical_headers_and_what_belongs_to_encryption() {
    let case = case();
    let rows = [
        json!({"crit": ["exp"]}),
        json!({"crit": []}),
        json!({"crit": "x"}),
        json!({"b64": false, "crit": ["b64"]}),
        json!({"b64": true}),
        json!({"zip": "DEF"}),
        json!({"enc": "A256GCM"}),
        json!({"epk": {}}),
        json!({"apu": "x"}),
        json!({"apv": "x"}),
        json!({"p2c": 1}),
        json!({"p2s": "x"}),
        json!({"cty": "JWT"}),
    ];
    case.refuses_header(rows.into_iter().map(|row| (row, TokenMalformed)).collect()).await;
}

#[tokio::test]
async fn row_07_media_type_of_another_kind_of_token() {
    let case = case();
    let wrong =
        ["JWT", "jwt", "id+jwt", "dpop+jwt", "logout+jwt", "oauth-id-jag+jwt", "text/at+jwt", "at+jwt ", ""];
    let mut rows: Vec<_> = wrong.iter().map(|media_type| (json!({ "typ": media_type }), TokenType)).collect();
    rows.push((json!({"typ": null}), TokenType));
    rows.push((json!({"typ": 5}), TokenMalformed));
    case.refuses_header(rows).await;
    for fine in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        let header = changed(case.signer.header(), json!({ "typ": fine }));
        assert!(check(&case.verifier, &case.signer.sign(&header, &claims())).await.is_ok(), "{fine}");
    }
}

#[tokio::test]
async fn row_08_key_that_is_not_for_this() {
    let signer = Signer::es256("k");
    let other = Signer::es256("other");
    for change in [
        json!({"use": "enc"}),
        json!({"key_ops": ["encrypt"]}),
        json!({"key_ops": []}),
        json!({"alg": "ES384"}),
        json!({"alg": "RS256"}),
        json!({"crv": "P-384"}),
        json!({"crv": "secp256k1"}),
    ] {
        let verifier = verifier_with(&[changed(signer.jwk(), change.clone()), other.jwk()], |_| {});
        assert_eq!(refusal(&verifier, &signer.token(json!({}))).await, TokenKeyUnknown, "{change}");
    }
    let rsa = Signer::rsa("k", "RS256");
    let as_pss = Signer::rsa("k", "PS256");
    let verifier = verifier_with(&[rsa.jwk()], |_| {});
    assert_eq!(refusal(&verifier, &as_pss.token(json!({}))).await, TokenSignatureInvalid);
}

#[tokio::test]
async fn row_09_duplicate_members() {
    let case = case();
    for (name, text) in [
        ("exp", r#""exp":1,"exp":1700000600"#),
        ("iss", r#""iss":"https://evil.example","iss":"https://login.example.com""#),
        ("aud", r#""aud":"x","aud":"https://mcp.example.com/files""#),
        ("sub", r#""sub":"bob","sub":"alice""#),
        ("scope", r#""scope":"a","scope":"files:read""#),
        ("roles", r#""roles":[],"roles":["admin"]"#),
    ] {
        case.refuses(&case.with_raw(name, text), TokenMalformed).await;
    }
    for header in [
        r#"{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"k"}"#,
        r#"{"alg":"ES256","typ":"at+jwt","kid":"x","kid":"k"}"#,
        r#"{"alg":"ES256","typ":"JWT","typ":"at+jwt","kid":"k"}"#,
        r#"{"alg":"ES256","typ":"at+jwt","kid":"k","x":1,"x":2}"#,
    ] {
        case.refuses(&case.signer.sign_text(header, &claims().to_string()), TokenMalformed).await;
    }
}

#[tokio::test]
async fn row_10_duplicates_that_hide() {
    let case = case();
    case.refuses(&case.with_raw("act", r#""act":{"sub":"a","sub":"b"}"#), TokenMalformed).await;
    case.refuses(&case.with_raw("x", r#""x":[{"y":{"z":1,"z":2}}]"#), TokenMalformed).await;
    case.refuses(&case.with_raw("sub", r#""s\u0075b":"bob","sub":"alice""#), TokenMalformed).await;
}

#[tokio::test]
async fn row_11_other_spellings_of_base64() {
    let case = case();
    let token = case.signer.token(json!({}));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    for bad in [
        format!("{token}="),
        format!("{token}=="),
        format!("{header}=.{payload}.{signature}"),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{token}\r\n"),
        format!("{header}.{payload}\t.{signature}"),
        format!("{header}. {payload}.{signature}"),
        format!("{header}.{payload}.{}", signature.replace(['-', '_'], "+")) + "/",
        format!("{header}.{payload}.{signature}A"),
    ] {
        let reason = refusal(&case.verifier, &bad).await;
        assert!(matches!(reason, TokenMalformed | TokenSignatureInvalid), "{bad}");
    }
    // The last character of 64 bytes carries four bits that no byte uses: only one spelling is canonical.
    let (stem, last) = signature.split_at(signature.len() - 1);
    let mut accepted = 0;
    for symbol in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars() {
        let spelled = format!("{header}.{payload}.{stem}{symbol}");
        accepted += usize::from(check(&case.verifier, &spelled).await.is_ok());
    }
    assert_eq!(accepted, 1, "{last}");
    let header = encode(case.signer.header().to_string().replace(':', ": ").as_bytes());
    assert!(check(&case.verifier, &case.signer.sign_parts(&header, payload)).await.is_ok());
    case.refuses(&case.signer.sign_parts(&format!("{header}=="), payload), TokenMalformed).await;
}

#[tokio::test]
async fn row_12_not_three_parts() {
    let case = case();
    let token = case.signer.token(json!({}));
    let parts: Vec<&str> = token.split('.').collect();
    let json_serialization =
        json!({"protected": parts[0], "payload": parts[1], "signature": parts[2]}).to_string();
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        format!(".{token}"),
        format!("{token}."),
        parts[..2].join("."),
        format!("{}.{}.", parts[0], parts[1]),
        format!("..{}", parts[2]),
        format!("{token}.{}", parts[2]),
        format!("{token}.x.y"),
        json_serialization,
    ] {
        case.refuses(&bad, TokenMalformed).await;
    }
}

#[tokio::test]
async fn row_13_special_ecdsa_signatures() {
    let case = case();
    let token = case.signer.token(json!({}));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let good = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, signature).unwrap();
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    let zero = vec![0; 32];
    let der =
        [vec![0x30, 0x44, 0x02, 0x20], good[..32].to_vec(), vec![0x02, 0x20], good[32..].to_vec()].concat();
    for forged in [
        vec![0; 64],
        [order.clone(), order.clone()].concat(),
        [zero.clone(), order.clone()].concat(),
        [order, good[32..].to_vec()].concat(),
        [zero, good[32..].to_vec()].concat(),
        der,
        good[..63].to_vec(),
        [good.clone(), vec![0]].concat(),
        [vec![0], good].concat(),
        vec![0],
    ] {
        case.refuses(&format!("{signed}.{}", encode(forged)), TokenSignatureInvalid).await;
    }
}

#[tokio::test]
async fn row_14_the_second_form_of_an_ecdsa_signature_is_the_same_token_by_its_jti() {
    // Legal, so it may be accepted; the id of a token is its `jti`, and never the hash where there is one.
    let case = case();
    let verified = check(&case.verifier, &case.signer.token(json!({}))).await.unwrap();
    assert_eq!(verified.authority().token_id, "jti:id-1");
}

#[tokio::test]
async fn row_15_edwards_point_of_small_order() {
    let good = Signer::es256("good");
    for point in [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        let hostile =
            json!({"kty": "OKP", "crv": "Ed25519", "x": encode(hex::decode(point).unwrap()), "kid": "k"});
        let verifier = verifier_with(&[hostile, good.jwk()], |_| {});
        let mut signature = [0; 64];
        signature[0] = 1;
        let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "k"});
        let token =
            format!("{}.{}.{}", encode(header.to_string()), encode(claims().to_string()), encode(signature));
        assert_eq!(refusal(&verifier, &token).await, TokenKeyUnknown);
    }
}

#[tokio::test]
async fn row_16_rsa_keys_of_a_wrong_size() {
    let good = Signer::es256("good");
    for bytes in [64, 128, 255, 1025] {
        let modulus = vec![0xff; bytes];
        let key = json!({"kty": "RSA", "n": encode(modulus), "e": "AQAB", "kid": "k", "alg": "RS256"});
        let verifier = verifier_with(&[key, good.jwk()], |_| {});
        let token = Signer::rsa("k", "RS256").token(json!({}));
        assert_eq!(refusal(&verifier, &token).await, TokenKeyUnknown, "{bytes}");
    }
}

#[tokio::test]
async fn row_17_edwards_key_of_a_wrong_length() {
    let good = Signer::es256("good");
    for length in [0, 1, 31, 33, 64] {
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": encode(vec![7; length]), "kid": "k"});
        let verifier = verifier_with(&[key, good.jwk()], |_| {});
        assert_eq!(refusal(&verifier, &Signer::ed25519("k").token(json!({}))).await, TokenKeyUnknown);
    }
}

#[tokio::test]
async fn row_18_exp_that_is_no_time() {
    let case = case();
    let of_wrong_type =
        [json!("1700000600"), json!([1_700_000_600]), json!({}), json!(true), json!(-1), json!(-0.5)];
    case.refuses_claims(
        of_wrong_type.into_iter().map(|exp| (json!({ "exp": exp }), TokenClaimsInvalid)).collect(),
    )
    .await;
    case.refuses(&case.with_raw("exp", r#""x":1"#), TokenClaimsInvalid).await;
    for (text, reason) in [
        ("null", TokenClaimsInvalid),
        ("18446744073709551616", TokenClaimsInvalid),
        ("1e999", TokenMalformed),
        ("NaN", TokenMalformed),
        ("Infinity", TokenMalformed),
        ("01700000600", TokenMalformed),
        ("0x655400", TokenMalformed),
    ] {
        case.refuses(&case.with_raw("exp", &format!(r#""exp":{text}"#)), reason).await;
    }
}

#[tokio::test]
async fn row_19_lifetime_beyond_the_limit() {
    let case = case();
    case.refuses_claims(vec![
        (json!({"exp": 1_000_000_000_000_000_000_i64}), TokenClaimsInvalid),
        (json!({"exp": u64::MAX}), TokenClaimsInvalid),
        (json!({"exp": 253_402_300_799_i64}), TokenLifetime),
        (json!({"exp": NOW - 60 + 86_401}), TokenLifetime),
    ])
    .await;
    assert!(check(&case.verifier, &case.signer.token(json!({"exp": NOW - 60 + 86_400}))).await.is_ok());
    // Without `iat` the time that is left counts.
    let signer = Signer::es256("k");
    let okta = verifier_with(&[signer.jwk()], |settings| settings.profile = Profile::Okta);
    let left = |seconds: i64| json!({"iat": null, "cid": "c", "exp": NOW + seconds});
    assert_eq!(refusal(&okta, &signer.token(left(86_401))).await, TokenLifetime);
    assert!(check(&okta, &signer.token(left(86_400))).await.is_ok());
}

#[tokio::test]
async fn row_20_exp_at_its_very_second() {
    let signer = Signer::es256("k");
    let strict = verifier_with(&[signer.jwk()], |settings| settings.leeway = Duration::ZERO);
    assert_eq!(refusal(&strict, &signer.token(json!({"exp": NOW}))).await, TokenExpired);
    assert_eq!(
        refusal(&strict, &signer.token(json!({"exp": NOW - 59, "iat": NOW - 99}))).await,
        TokenExpired
    );
    assert!(check(&strict, &signer.token(json!({"exp": NOW + 1}))).await.is_ok());
    assert!(check(&strict, &signer.token(json!({"exp": 1_700_000_000.5}))).await.is_ok());
    let case = case();
    case.refuses_claims(vec![
        (json!({"exp": NOW - 30}), TokenExpired),
        (json!({"exp": NOW - 59}), TokenExpired),
    ])
    .await;
    assert!(check(&case.verifier, &case.signer.token(json!({"exp": NOW - 29}))).await.is_ok());
}

#[tokio::test]
async fn row_21_audience_missing_or_of_a_wrong_type() {
    let case = case();
    case.refuses_claims(vec![
        (json!({"aud": null}), TokenClaimsInvalid),
        (json!({"aud": 5}), TokenClaimsInvalid),
        (json!({"aud": {"a": AUDIENCE}}), TokenClaimsInvalid),
        (json!({"aud": []}), TokenClaimsInvalid),
        (json!({"aud": [AUDIENCE, 5]}), TokenClaimsInvalid),
        (json!({"aud": [AUDIENCE, null]}), TokenClaimsInvalid),
        (json!({"aud": [[AUDIENCE]]}), TokenClaimsInvalid),
        (json!({"aud": ""}), TokenAudienceMismatch),
        (json!({"aud": "https://mcp.example.com/file"}), TokenAudienceMismatch),
        (json!({"aud": "https://mcp.example.com/files/"}), TokenAudienceMismatch),
        (json!({"aud": "HTTPS://MCP.EXAMPLE.COM/files"}), TokenAudienceMismatch),
        (json!({"aud": ["x", "y"]}), TokenAudienceMismatch),
    ])
    .await;
    case.refuses(&case.with_raw("aud", r#""aud":null"#), TokenClaimsInvalid).await;
    assert!(check(&case.verifier, &case.signer.token(json!({"aud": ["x", AUDIENCE]}))).await.is_ok());
}

#[tokio::test]
async fn row_22_issuer_missing_or_unknown() {
    let case = case();
    case.refuses_claims(vec![
        (json!({"iss": null}), TokenClaimsInvalid),
        (json!({"iss": 5}), TokenClaimsInvalid),
        (json!({"iss": ""}), TokenIssuerUnknown),
        (json!({"iss": "https://login.example.com/"}), TokenIssuerUnknown),
        (json!({"iss": "https://LOGIN.example.com"}), TokenIssuerUnknown),
        (json!({"iss": "https://evil.example"}), TokenIssuerUnknown),
    ])
    .await;
    let other = IssuerSettings {
        name: "partner".parse().unwrap(),
        issuer: "https://partner.example".into(),
        ..settings(KeySource::Inline(key_set(&[case.signer.jwk()])))
    };
    let both = verifier(vec![settings(KeySource::Inline(key_set(&[case.signer.jwk()]))), other]);
    let token = case.signer.token(json!({"iss": "https://partner.example"}));
    assert_eq!(refusal(&both, &token).await, TokenIssuerNotAllowed);
}

#[tokio::test]
async fn row_23_issuer_as_an_array() {
    let case = case();
    case.refuses_claims(vec![
        (json!({"iss": ["https://evil.example", ISSUER]}), TokenClaimsInvalid),
        (json!({"iss": [ISSUER]}), TokenClaimsInvalid),
        (json!({"iss": {"0": ISSUER}}), TokenClaimsInvalid),
    ])
    .await;
}

#[tokio::test]
async fn row_24_not_before_in_the_future() {
    let case = case();
    case.refuses_claims(vec![
        (json!({"nbf": NOW + 31}), TokenNotYetValid),
        (json!({"nbf": "1700000000"}), TokenClaimsInvalid),
        (json!({"nbf": -1}), TokenClaimsInvalid),
    ])
    .await;
    assert!(check(&case.verifier, &case.signer.token(json!({"nbf": NOW + 30}))).await.is_ok());
}

#[tokio::test]
async fn row_25_issued_in_the_future_and_missing_claims() {
    let case = case();
    case.refuses_claims(vec![
        (json!({"iat": NOW + 31}), TokenNotYetValid),
        (json!({"iat": NOW.to_string()}), TokenClaimsInvalid),
        (json!({"iat": NOW + 20, "exp": NOW + 10}), TokenClaimsInvalid),
        (json!({"iat": null}), TokenClaimsInvalid),
        (json!({"jti": null}), TokenClaimsInvalid),
        (json!({"jti": 5}), TokenClaimsInvalid),
        (json!({"jti": ""}), TokenClaimsInvalid),
        (json!({"client_id": null}), TokenClaimsInvalid),
        (json!({"client_id": 5}), TokenClaimsInvalid),
        (json!({"sub": null}), TokenClaimsInvalid),
        (json!({"exp": null}), TokenClaimsInvalid),
    ])
    .await;
}

#[tokio::test]
async fn row_26_claims_that_are_no_object() {
    let case = case();
    let header = case.signer.header().to_string();
    let in_order = json!([NOW + 600, NOW - 60, "alice", ISSUER, AUDIENCE]).to_string();
    for payload in [in_order.as_str(), "[]", "null", "5", "\"x\"", "true", "", " {}", "{} {}"] {
        case.refuses(&case.signer.sign_text(&header, payload), TokenMalformed).await;
    }
    case.refuses(&case.signer.sign_text("[]", &claims().to_string()), TokenMalformed).await;
}

#[tokio::test]
async fn row_27_subject_and_scope_of_a_wrong_shape() {
    let case = case();
    case.refuses_claims(vec![
        (json!({"sub": ""}), TokenClaimsInvalid),
        (json!({"sub": "alice\u{0}admin"}), TokenClaimsInvalid),
        (json!({"sub": "alice\n"}), TokenClaimsInvalid),
        (json!({"sub": "alice\u{85}"}), TokenClaimsInvalid),
        (json!({"sub": "a".repeat(257)}), TokenClaimsInvalid),
        (json!({"sub": 5}), TokenClaimsInvalid),
        (json!({"sub": ["alice"]}), TokenClaimsInvalid),
        (json!({"scope": 5}), TokenClaimsInvalid),
        (json!({"scope": ["files:read"]}), TokenClaimsInvalid),
        (json!({"scope": {"files:read": true}}), TokenClaimsInvalid),
        (json!({"scp": 5}), TokenClaimsInvalid),
        (json!({"permissions": "files:read"}), TokenClaimsInvalid),
    ])
    .await;
    assert!(check(&case.verifier, &case.signer.token(json!({"sub": "ä".repeat(256)}))).await.is_ok());
}

#[tokio::test]
async fn row_28_depth_and_size() {
    let case = case();
    for depth in [32, 100, 127, 5_000] {
        let nested = format!(r#""x":{}1{}"#, "[".repeat(depth), "]".repeat(depth));
        case.refuses(&case.with_raw("x", &nested), TokenMalformed).await;
    }
    let shallow = format!(r#""x":{}1{}"#, "[".repeat(31), "]".repeat(31));
    assert!(check(&case.verifier, &case.with_raw("x", &shallow)).await.is_ok());
    let deep_header =
        format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"k","x":{}1{}}}"#, "[".repeat(8), "]".repeat(8));
    case.refuses(&case.signer.sign_text(&deep_header, &claims().to_string()), TokenMalformed).await;
    case.refuses(&case.signer.token(json!({"x": "x".repeat(1 << 20)})), TokenMalformed).await;
    let long_header = changed(case.signer.header(), json!({"x": "x".repeat(70 * 1024)}));
    case.refuses(&case.signer.sign(&long_header, &claims()), TokenMalformed).await;
}

#[tokio::test]
async fn row_29_other_encodings_of_text() {
    let case = case();
    let header = encode(case.signer.header().to_string());
    let good = claims().to_string();
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let invalid = [good.as_bytes()[..good.len() - 1].to_vec(), b",\"x\":\"\xff\"}".to_vec()].concat();
    let overlong = [good.as_bytes()[..good.len() - 1].to_vec(), b",\"x\":\"\xc0\xaf\"}".to_vec()].concat();
    for bytes in [
        [b"\xef\xbb\xbf", good.as_bytes()].concat(),
        utf16,
        invalid,
        overlong,
        [good.as_bytes(), b"\0"].concat(),
        [good.as_bytes(), b"x"].concat(),
        [good.as_bytes(), good.as_bytes()].concat(),
    ] {
        case.refuses(&case.signer.sign_parts(&header, &encode(bytes)), TokenMalformed).await;
    }
    case.refuses(&case.with_raw("x", r#""x":"\ud800""#), TokenMalformed).await;
}

#[tokio::test]
async fn row_30_algorithms_that_are_not_supported() {
    let case = case();
    let rows = ["ES256K", "ES512", "Ed448", "HS384", "HS512", "RSA-OAEP", "dir", "A128KW", "PS257"];
    case.refuses_header(rows.iter().map(|name| (json!({ "alg": name }), TokenMalformed)).collect()).await;
}

#[tokio::test]
async fn row_31_encrypted_tokens() {
    let case = case();
    let header = encode(json!({"alg": "RSA-OAEP", "enc": "A256GCM"}).to_string());
    case.refuses(&format!("{header}.AAAA.AAAA.AAAA.AAAA"), TokenMalformed).await;
    case.refuses(&format!("{header}..AAAA.AAAA.AAAA"), TokenMalformed).await;
    case.refuses(&format!("{header}.AAAA.AAAA"), TokenMalformed).await;
}

#[tokio::test]
async fn row_32_one_issuer_with_keys_of_two_algorithms() {
    let (rsa, elliptic) = (Signer::rsa("r", "RS256"), Signer::es256("e"));
    let verifier = verifier_with(&[rsa.jwk(), elliptic.jwk()], |_| {});
    for signer in [&rsa, &elliptic] {
        assert!(check(&verifier, &signer.token(json!({}))).await.is_ok());
    }
    let crossed = elliptic.sign(&changed(elliptic.header(), json!({"kid": "r"})), &claims());
    assert_eq!(refusal(&verifier, &crossed).await, TokenSignatureInvalid);
    let crossed = rsa.sign(&changed(rsa.header(), json!({"alg": "ES256"})), &claims());
    assert_eq!(refusal(&verifier, &crossed).await, TokenSignatureInvalid);
}

#[tokio::test]
async fn row_33_a_bad_entry_does_not_spoil_the_key_set() {
    let signer = Signer::es256("k");
    for entry in [
        json!(null),
        json!(5),
        json!([]),
        json!({}),
        json!({"kty": "EC", "kid": 5}),
        json!({"kty": "RSA", "x5c": "x"}),
        json!({"kty": "RSA", "key_ops": "verify"}),
        json!({"kty": "RSA", "alg": 3}),
        json!({"kty": "quantum", "kid": "q"}),
        json!({"kty": "EC", "crv": "P-256", "x": "!", "y": "!"}),
    ] {
        let verifier = verifier_with(&[entry.clone(), signer.jwk()], |_| {});
        assert!(check(&verifier, &signer.token(json!({}))).await.is_ok(), "{entry}");
    }
}

#[tokio::test]
async fn row_34_key_that_is_limited_to_another_issuer() {
    let signer = Signer::es256("k");
    for (limit, fits) in
        [(ISSUER, true), ("https://other.example.com", false), ("{tenantid}", false), ("", false)]
    {
        let verifier = verifier_with(&[changed(signer.jwk(), json!({ "issuer": limit }))], |_| {});
        let outcome = check(&verifier, &signer.token(json!({}))).await.map_err(|error| error.reason);
        assert_eq!(outcome.err(), (!fits).then_some(TokenSignatureInvalid), "{limit}");
    }
}

#[tokio::test]
async fn row_35_private_key_in_the_key_set() {
    let (signer, good) = (Signer::es256("k"), Signer::es256("good"));
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        let verifier = verifier_with(&[changed(signer.jwk(), json!({ member: "AAAA" })), good.jwk()], |_| {});
        assert_eq!(refusal(&verifier, &signer.token(json!({}))).await, TokenKeyUnknown, "{member}");
    }
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_key_is_refused_without_evidence() {
    let case = case();
    case.refuses_claims(vec![
        (json!({"cnf": {"jkt": "x"}}), TokenBinding),
        (json!({"cnf": {"x5t#S256": "x"}}), TokenBinding),
        (json!({"cnf": {}}), TokenBinding),
        (json!({"cnf": "x"}), TokenBinding),
    ])
    .await;
    case.refuses(&case.with_raw("cnf", r#""cnf":null"#), TokenBinding).await;
}
