//! Which PEP a call on the decision listener comes from.
//!
//! A call proves itself with one thing: a key, a client's secret, a token of a client, the user id of its process, or
//! nothing but its place on loopback. What came and proves nothing names nobody: a wrong key never becomes `local`.
//! `Authorization` is the caller's own at the entries of APIs alone; where proxies pass it on it is their client's.

use std::sync::Arc;

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, header::AUTHORIZATION},
    middleware::{self, Next},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use palisade_front::peers;
use palisade_model::{Clock, PepName, RawToken};
use palisade_pdp::{Caller, Pdp, Snapshot};
use palisade_token::Expectation;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::listeners::Peer;

/// The header (gRPC metadata) in which a PEP sends its key.
const KEY_HEADER: &str = "x-palisade-key";
/// The entries at which `Authorization` is the caller's own.
const OWN_AUTHORIZATION: [&str; 3] = ["/access/v1/", "/palisade.v1.", "/agentgateway.dev.ext_mcp."];

/// What the identification of callers needs.
#[derive(Clone)]
pub(crate) struct Callers {
    pub(crate) pdp: Arc<Pdp>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Callers that prove nothing are `local` wherever they are.
    pub(crate) allow_unauthenticated: bool,
}

/// What a call proves itself with beside its connection.
#[derive(Debug, PartialEq, Eq)]
enum Proof {
    Nothing,
    Key([u8; 32]),
    /// A bearer token; a key is taken for one, too.
    Bearer(String),
    Secret {
        client: String,
        digest: [u8; 32],
    },
    /// Two proofs, or something that is none.
    Unusable,
}

/// Finds out which PEP every request of a router comes from.
pub(crate) fn with_callers(router: Router, callers: Callers) -> Router {
    router.layer(middleware::from_fn_with_state(callers, identify))
}

async fn identify(
    State(callers): State<Callers>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let own = OWN_AUTHORIZATION.iter().any(|entry| path.starts_with(entry)) || peers::is_entry(path);
    let proof = Proof::of(request.headers(), own);
    request.headers_mut().remove(KEY_HEADER);
    if own {
        request.headers_mut().remove(AUTHORIZATION);
    }
    let caller = callers.caller(peer, proof).await;
    request.extensions_mut().insert(Caller(caller));
    next.run(request).await
}

impl Callers {
    async fn caller(&self, peer: Peer, proof: Proof) -> Option<PepName> {
        let snapshot = self.pdp.snapshot();
        let peps = &snapshot.peps;
        let pep = match proof {
            Proof::Unusable => None,
            Proof::Key(digest) => peps.by_key(&digest),
            Proof::Secret { client, digest } => peps.by_secret(&client, digest),
            Proof::Bearer(token) => match peps.by_key(&sha256(token.as_bytes())) {
                Some(pep) => Some(pep),
                None => return self.by_token(&snapshot, token).await,
            },
            Proof::Nothing => match peer.uid.and_then(|uid| peps.by_uid(uid)) {
                Some(pep) => Some(pep),
                None if peer.local || self.allow_unauthenticated => return "local".parse().ok(),
                None => None,
            },
        };
        pep.map(|pep| pep.name.clone())
    }

    /// The PEP whose token this is, by the same check as every other token.
    async fn by_token(&self, snapshot: &Snapshot, token: String) -> Option<PepName> {
        let (audiences, issuers) = snapshot.peps.tokens()?;
        let expected = Expectation { audiences: &audiences, any_audience: false, issuers: &issuers };
        let token = RawToken::new(token);
        let verifying = snapshot.verifier.verify(&token, &expected, self.clock.now());
        match timeout(snapshot.limits.deadline, verifying).await {
            Ok(Ok(verified)) => {
                let pep = snapshot.peps.by_token(verified.subject(), verified.authority());
                pep.map(|pep| pep.name.clone())
            }
            Ok(Err(error)) => {
                tracing::debug!(reason = %error.reason, "a caller's token is refused");
                None
            }
            Err(_elapsed) => None,
        }
    }
}

impl Proof {
    /// Reads what came; `own` says that `Authorization` is the caller's.
    fn of(headers: &HeaderMap, own: bool) -> Self {
        let mut keys = headers.get_all(KEY_HEADER).iter();
        let mut fields = headers.get_all(AUTHORIZATION).iter().filter(|_| own);
        let proof = match (keys.next(), fields.next()) {
            (None, None) => return Self::Nothing,
            (Some(key), None) => Self::Key(sha256(key.as_bytes())),
            (None, Some(field)) => field.to_str().map_or(Self::Unusable, Self::authorization),
            (Some(_), Some(_)) => Self::Unusable,
        };
        if keys.next().is_some() || fields.next().is_some() { Self::Unusable } else { proof }
    }

    /// Reads `Bearer` (RFC 6750 section 2.1) and `Basic` (RFC 7617 section 2).
    fn authorization(field: &str) -> Self {
        let Some((scheme, value)) = field.split_once(' ') else { return Self::Unusable };
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") && !value.is_empty() {
            return Self::Bearer(value.to_owned());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Self::Unusable;
        }
        let pair = STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match pair.as_deref().and_then(|pair| pair.split_once(':')) {
            Some((client, secret)) => {
                Self::Secret { client: client.to_owned(), digest: sha256(secret.as_bytes()) }
            }
            None => Self::Unusable,
        }
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(fields: &[(&'static str, &str)], own: bool) -> Proof {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        Proof::of(&headers, own)
    }

    #[test]
    fn one_proof_counts_and_two_are_none() {
        let key = Proof::Key(sha256(b"k"));
        let basic = format!("Basic {}", STANDARD.encode("app:s:t"));
        for (fields, own, expected) in [
            (&[][..], true, Proof::Nothing),
            (&[("x-palisade-key", "k")], true, key),
            (&[("x-palisade-key", "k"), ("x-palisade-key", "k")], true, Proof::Unusable),
            (&[("authorization", "bearer abc")], true, Proof::Bearer("abc".to_owned())),
            (&[("authorization", "Bearer abc")], false, Proof::Nothing),
            (&[("authorization", "Bearer ")], true, Proof::Unusable),
            (&[("authorization", "Digest abc")], true, Proof::Unusable),
            (&[("authorization", "Basic !")], true, Proof::Unusable),
            (&[("authorization", "Bearer a"), ("authorization", "Bearer b")], true, Proof::Unusable),
            (&[("authorization", "Bearer a"), ("x-palisade-key", "k")], true, Proof::Unusable),
            (
                &[("authorization", basic.as_str())],
                true,
                Proof::Secret { client: "app".to_owned(), digest: sha256(b"s:t") },
            ),
        ] {
            assert_eq!(proof(fields, own), expected, "{fields:?}");
        }
    }
}
