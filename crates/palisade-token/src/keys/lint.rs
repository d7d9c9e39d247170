//! The lint of one entry of a key set: what is left is a public key for signatures with one algorithm.
//!
//! The members that make the key are checked here and written anew, so that the library that verifies signatures sees
//! nothing else of the entry.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, EcdsaVerificationAlgorithm, ParsedPublicKey,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    DecodingKey,
    jwk::{Jwk, ThumbprintHash},
};
use serde_json::{Map, Value, json};

use super::Key;
use crate::Algorithm;

const MAX_ID: usize = 256;
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
const MAX_EXPONENT: u64 = 1 << 32;

/// Members of private and symmetric keys (RFC 7518 section 6).
const SECRET: &[&str] = &["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The `y` coordinates of the points of small order on edwards25519, in both encodings where there are two. With such a
/// point as its public key a signature can be made without a private key.
const SMALL_ORDER: &[&str] = &[
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// Why an entry is unusable.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) why: &'static str,
    pub(super) alarm: bool,
}

const fn refuse<T>(why: &'static str) -> Result<T, Refusal> {
    Err(Refusal { why, alarm: false })
}

const fn alarm<T>(why: &'static str) -> Result<T, Refusal> {
    Err(Refusal { why, alarm: true })
}

type Entry = Map<String, Value>;

pub(super) fn key(entry: &Value, accepted: &[Algorithm]) -> Result<Key, Refusal> {
    let Value::Object(entry) = entry else { return refuse("the entry is not an object") };
    let kind = text(entry, "kty", "`kty` is not a string")?;
    if kind == Some("oct") {
        return alarm("the key is symmetric: its secret is published");
    }
    if SECRET.iter().any(|member| entry.contains_key(*member)) {
        return alarm("the entry has members of a private key");
    }
    check_purpose(entry)?;
    let id = text(entry, "kid", "`kid` is not a string")?;
    if id.is_some_and(|id| id.is_empty() || id.len() > MAX_ID) {
        return refuse("`kid` is empty or too long");
    }
    let (public, algorithms) = match kind {
        Some("RSA") => (rsa(entry)?, rsa_algorithms(accepted)),
        Some("EC") => elliptic(entry)?,
        Some("OKP") => (edwards(entry)?, vec![Algorithm::EdDSA]),
        Some(_) | None => return refuse("`kty` is not RSA, EC or OKP"),
    };
    let algorithm = algorithm(entry, &algorithms)?;
    if !accepted.is_empty() && !accepted.contains(&algorithm) {
        return refuse("its algorithm is not one the issuer is configured with");
    }
    let unusable = Refusal { why: "the key cannot be used", alarm: false };
    let Ok(jwk) = serde_json::from_value::<Jwk>(public) else { return Err(unusable) };
    let (Ok(material), Ok(thumbprint)) =
        (DecodingKey::from_jwk(&jwk), jwk.thumbprint(ThumbprintHash::SHA256))
    else {
        return Err(unusable);
    };
    let issuer = text(entry, "issuer", "`issuer` is not a string")?;
    Ok(Key { id: id.map(str::to_owned), thumbprint, algorithm, issuer: issuer.map(str::to_owned), material })
}

/// `use` and `key_ops` (RFC 7517 sections 4.2 and 4.3): absent, or for signatures.
fn check_purpose(entry: &Entry) -> Result<(), Refusal> {
    match text(entry, "use", "`use` is not a string")? {
        None | Some("sig") => {}
        Some(_) => return refuse("`use` is not `sig`"),
    }
    match entry.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations)) if operations.iter().any(|operation| operation == "verify") => Ok(()),
        Some(_) => refuse("`key_ops` has no `verify`"),
    }
}

/// The algorithms of an RSA key, the one that it has without `alg` first: the only one that is configured, else RS256.
fn rsa_algorithms(accepted: &[Algorithm]) -> Vec<Algorithm> {
    let mut configured = accepted.iter().copied().filter(|algorithm| algorithm.is_rsa());
    let preset = configured.next().filter(|_| configured.next().is_none()).unwrap_or(Algorithm::RS256);
    std::iter::once(preset)
        .chain(Algorithm::ALL.iter().copied().filter(|algorithm| algorithm.is_rsa()))
        .collect()
}

fn algorithm(entry: &Entry, of_kind: &[Algorithm]) -> Result<Algorithm, Refusal> {
    const UNLIKE: &str = "`alg` is no algorithm of this kind of key";
    let named = text(entry, "alg", "`alg` is not a string")?;
    let found = match named {
        None => of_kind.first().copied(),
        Some(name) => Algorithm::from_jose(name).filter(|algorithm| of_kind.contains(algorithm)),
    };
    found.ok_or(Refusal { why: UNLIKE, alarm: false })
}

fn rsa(entry: &Entry) -> Result<Value, Refusal> {
    let modulus = number(entry, "n")?;
    let exponent = number(entry, "e")?;
    let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return refuse("the RSA modulus is not of 2048 to 8192 bits");
    }
    let odd = |bytes: &[u8]| bytes.last().is_some_and(|last| last % 2 == 1);
    let value =
        exponent.iter().fold(0_u64, |value, byte| value.saturating_mul(256).saturating_add((*byte).into()));
    if !odd(&modulus) || !odd(&exponent) || !(3..=MAX_EXPONENT).contains(&value) {
        return refuse("the RSA modulus or exponent is not one of a sound key");
    }
    let [n, e] = [modulus, exponent].map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
    Ok(json!({"kty": "RSA", "n": n, "e": e}))
}

fn elliptic(entry: &Entry) -> Result<(Value, Vec<Algorithm>), Refusal> {
    let (size, rules, algorithm): (usize, &'static EcdsaVerificationAlgorithm, Algorithm) =
        match text(entry, "crv", "`crv` is not a string")? {
            Some("P-256") => (32, &ECDSA_P256_SHA256_FIXED, Algorithm::ES256),
            Some("P-384") => (48, &ECDSA_P384_SHA384_FIXED, Algorithm::ES384),
            Some(_) | None => return refuse("`crv` is not P-256 or P-384"),
        };
    let (x, y) = (octets(entry, "x")?, octets(entry, "y")?);
    if x.len() != size || y.len() != size {
        return refuse("a coordinate has not the length of its curve");
    }
    let point: Vec<u8> = std::iter::once(4).chain(x.iter().copied()).chain(y.iter().copied()).collect();
    if ParsedPublicKey::new(rules, point).is_err() {
        return refuse("the point is not on its curve");
    }
    let [x, y] = [x, y].map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
    Ok((json!({"kty": "EC", "crv": entry.get("crv"), "x": x, "y": y}), vec![algorithm]))
}

fn edwards(entry: &Entry) -> Result<Value, Refusal> {
    if text(entry, "crv", "`crv` is not a string")? != Some("Ed25519") {
        return refuse("`crv` is not Ed25519");
    }
    let mut point = octets(entry, "x")?;
    if point.len() != 32 {
        return refuse("`x` is not of 32 bytes");
    }
    let x = URL_SAFE_NO_PAD.encode(&point);
    // The top bit is the sign of the other coordinate; `y` alone tells the points of small order.
    if let Some(last) = point.last_mut() {
        *last &= 0x7f;
    }
    if SMALL_ORDER.contains(&hex::encode(&point).as_str()) {
        return alarm("the point is of small order: anyone can sign for it");
    }
    Ok(json!({"kty": "OKP", "crv": "Ed25519", "x": x}))
}

fn text<'a>(entry: &'a Entry, member: &str, why: &'static str) -> Result<Option<&'a str>, Refusal> {
    match entry.get(member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => refuse(why),
    }
}

fn octets(entry: &Entry, member: &str) -> Result<Vec<u8>, Refusal> {
    const WHY: &str = "a member of the key is not canonical base64url without padding";
    let Some(Value::String(text)) = entry.get(member) else { return refuse(WHY) };
    URL_SAFE_NO_PAD.decode(text).or(refuse(WHY))
}

/// An integer without leading zeros: some providers write one, which would give one key two thumbprints.
fn number(entry: &Entry, member: &str) -> Result<Vec<u8>, Refusal> {
    Ok(octets(entry, member)?.into_iter().skip_while(|byte| *byte == 0).collect())
}
