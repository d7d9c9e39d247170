//! Tokens through the verifier.
//!
//! The first byte of an input says what the rest is:
//!
//! | byte | the rest | accepted |
//! |---|---|---|
//! | `e`, `p` | a line with a header, then claims; signed with the issuers' EdDSA or ES256 key | where every claim holds |
//! | `s` | the same, signed with a key that no issuer has | never |
//! | `t` | three bytes, then the same; signed with EdDSA, then one character of the token is changed | never |
//! | else | a token | never |
//!
//! What is accepted is held against a second reading of the same claims, by plain `serde_json`.
#![no_main]

use std::{collections::BTreeSet, sync::Arc, sync::LazyLock, time::Duration};

use libfuzzer_sys::fuzz_target;
use palisade_fuzz::{RUNTIME, Signer, key_set};
use palisade_model::{Audience, Issuer, IssuerName, RawToken, Reason, SystemClock, Timestamp};
use palisade_token::{
    Expectation, IssuerSettings, KeySource, Profile, TokenError, VerifiedToken, Verifier,
    install_crypto_provider,
};
use serde_json::{Map, Value};

const NOW: i64 = 1_700_000_000;
const LEEWAY: Duration = Duration::from_secs(30);
const AUDIENCE: &str = "https://mcp.example.com/files";
const TENANT: &str = "11111111-2222-3333-4444-555555555555";
/// Every profile, an identifier, and the `iss` that it accepts.
const ISSUERS: [(&str, Profile, &str, &str); 8] = [
    ("corp", Profile::Rfc9068, "https://corp.test", "https://corp.test"),
    ("entra", Profile::EntraV2, "https://entra.test/{tenantid}/v2.0", ENTRA),
    ("old-entra", Profile::EntraV1, "https://sts.test/{tenantid}/", OLD_ENTRA),
    ("okta", Profile::Okta, "https://okta.test", "https://okta.test"),
    ("auth0", Profile::Auth0, "https://auth0.test/", "https://auth0.test/"),
    ("keycloak", Profile::Keycloak, "https://kc.test/realms/r", "https://kc.test/realms/r"),
    ("google", Profile::Google, "https://google.test", "https://google.test"),
    // The resource does not accept it.
    (ELSEWHERE, Profile::Rfc9068, "https://elsewhere.test", "https://elsewhere.test"),
];
const ENTRA: &str = "https://entra.test/11111111-2222-3333-4444-555555555555/v2.0";
const OLD_ENTRA: &str = "https://sts.test/11111111-2222-3333-4444-555555555555/";
const ELSEWHERE: &str = "elsewhere";

struct Setup {
    edwards: Signer,
    p256: Signer,
    stranger: Signer,
    verifier: Verifier,
    audiences: BTreeSet<Audience>,
    allowed: Vec<IssuerName>,
}

static SETUP: LazyLock<Setup> = LazyLock::new(|| {
    install_crypto_provider();
    let (edwards, p256) = (Signer::ed25519("e"), Signer::es256("p"));
    let keys = KeySource::Inline(key_set(&[&edwards, &p256]));
    let issuers = ISSUERS.map(|(name, profile, identifier, _)| IssuerSettings {
        profile,
        keys: keys.clone(),
        leeway: LEEWAY,
        tenants: if identifier.contains('{') { vec![TENANT.to_owned()] } else { Vec::new() },
        ..IssuerSettings::new(name.parse().expect("a name"), Issuer::from(identifier))
    });
    Setup {
        edwards,
        p256,
        stranger: Signer::ed25519("e"),
        verifier: Verifier::new(issuers.into(), 16 * 1024, Arc::new(SystemClock)).expect("a verifier"),
        audiences: BTreeSet::from([Audience::from(AUDIENCE)]),
        allowed: ISSUERS
            .iter()
            .filter(|(name, ..)| *name != ELSEWHERE)
            .map(|(name, ..)| name.parse().expect("a name"))
            .collect(),
    }
});

fuzz_target!(|data: &[u8]| {
    let setup = &*SETUP;
    match data {
        [b'e', rest @ ..] => signed(&setup.edwards, rest),
        [b'p', rest @ ..] => signed(&setup.p256, rest),
        [b's', rest @ ..] => {
            let Some((header, claims)) = parts(rest) else { return };
            refused(&setup.stranger.token(header, claims));
        }
        [b't', high, low, other, rest @ ..] => {
            let Some((header, claims)) = parts(rest) else { return };
            let mut token = setup.edwards.token(header, claims).into_bytes();
            let place = usize::from(u16::from_be_bytes([*high, *low])) % token.len();
            if token[place] == *other || !other.is_ascii() {
                return;
            }
            token[place] = *other;
            refused(&String::from_utf8(token).expect("ASCII"));
        }
        _ => {
            if let Ok(token) = std::str::from_utf8(data) {
                refused(token);
            }
        }
    }
});

fn parts(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    Some((&rest[..end], &rest[end + 1..]))
}

fn verify(token: &str, now: Timestamp) -> Result<VerifiedToken, TokenError> {
    let setup = &*SETUP;
    let expected = Expectation { audiences: &setup.audiences, any_audience: false, issuers: &setup.allowed };
    RUNTIME.block_on(setup.verifier.verify(&RawToken::new(token), &expected, now))
}

fn refused(token: &str) {
    let error = verify(token, Timestamp::from_unix_seconds(NOW)).expect_err("nobody we know signed it");
    assert_ne!(error.reason, Reason::InternalError);
}

fn signed(signer: &Signer, rest: &[u8]) {
    let Some((header, claims)) = parts(rest) else { return };
    let token = signer.token(header, claims);
    match verify(&token, Timestamp::from_unix_seconds(NOW)) {
        Ok(verified) => {
            holds(signer, header, claims, &verified);
            known(&token, &verified);
        }
        Err(error) => assert_ne!(error.reason, Reason::InternalError),
    }
}

/// The second time it comes from the cache, and only as long as it lives.
fn known(token: &str, verified: &VerifiedToken) {
    let again = verify(token, Timestamp::from_unix_seconds(NOW)).expect("it was accepted before");
    assert_eq!((again.subject(), again.authority()), (verified.subject(), verified.authority()));
    let end = verified.authority().expires_at.plus(LEEWAY);
    let late = verify(token, end).expect_err("it is past its `exp`");
    assert_eq!(late.reason, Reason::TokenExpired);
}

/// Holds what was accepted against a plain reading of what was signed.
fn holds(signer: &Signer, header: &[u8], claims: &[u8], verified: &VerifiedToken) {
    let (header, claims) = (object(header), object(claims));
    assert!(signer.has_algorithm(header["alg"].as_str().expect("a string")));
    for forbidden in ["crit", "b64", "jku", "jwk", "x5u", "x5c", "enc", "zip"] {
        assert!(!header.contains_key(forbidden), "{forbidden}");
    }
    let (subject, authority) = (verified.subject(), verified.authority());
    let (name, ..) = ISSUERS.iter().find(|(.., iss)| claims["iss"] == *iss).expect("a known `iss`");
    assert_eq!(authority.issuer.as_str(), *name);
    assert_ne!(*name, ELSEWHERE);
    let audience = match &claims["aud"] {
        Value::Array(many) => many.iter().any(|one| one == AUDIENCE),
        one => one == AUDIENCE,
    };
    assert!(audience, "the audience is ours");
    check_times(&claims);
    assert!(!claims.contains_key("cnf"), "no request here proves a binding");
    assert!(subject.id.starts_with(&format!("{name}/")), "{}", subject.id);
    let granted = scopes(&claims);
    assert!(authority.scopes.iter().all(|scope| granted.contains(scope.as_str())), "no scope from nowhere");
}

fn object(text: &[u8]) -> Map<String, Value> {
    serde_json::from_slice(text).expect("what was accepted is a JSON object")
}

fn check_times(claims: &Map<String, Value>) {
    // Half a millisecond is what rounding to microseconds may cost, and more.
    let (now, leeway, rounding) = (NOW as f64, LEEWAY.as_secs_f64(), 5e-4);
    let time = |name: &str| claims.get(name).map(|time| time.as_f64().expect("a number"));
    let expires = time("exp").expect("a token ends");
    assert!(expires + leeway + rounding > now, "not past its `exp`");
    for name in ["nbf", "iat"] {
        assert!(time(name).is_none_or(|time| time <= now + leeway + rounding), "{name} is not ahead");
    }
    let day = 24.0 * 60.0 * 60.0;
    assert!(expires - time("iat").unwrap_or(now) <= day + rounding, "it lives a day at most");
}

fn scopes(claims: &Map<String, Value>) -> BTreeSet<&str> {
    let words = |value: &Value| match value {
        Value::String(_) | Value::Array(_) => true,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    };
    let values = ["scope", "scp", "permissions"].into_iter().filter_map(|name| claims.get(name));
    values
        .filter(|value| words(value))
        .flat_map(|value| match value {
            Value::Array(many) => many.iter().filter_map(Value::as_str).collect::<Vec<_>>(),
            one => one.as_str().into_iter().flat_map(|text| text.split(' ')).collect(),
        })
        .collect()
}
