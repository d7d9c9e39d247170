//! What a client proves itself with: `client_secret_basic` or `client_secret_post` (RFC 6749 section 2.3.1), one of them.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use palisade_model::Reason;
use palisade_pdp::{Fault, Refused, Requester, Sts};
use zeroize::Zeroizing;

use crate::form::{Form, decode};

/// A client's id and secret.
struct Pair {
    id: Zeroizing<String>,
    secret: Zeroizing<String>,
}

/// The client.
pub(crate) fn identify(sts: &Sts, headers: &HeaderMap, form: &Form) -> Result<Requester, Refused> {
    let values: Vec<&HeaderValue> = headers.get_all(header::AUTHORIZATION).iter().collect();
    let in_body = form.get("client_secret").is_some();
    let pair = match (values.as_slice(), in_body) {
        ([], true) => posted(form),
        ([], false) => return Err(unproven("the client sent no secret")),
        ([only], false) => basic(only),
        ([_, ..], _) => return Err(twofold("the client proves itself twice")),
    };
    // Of an assertion nothing is believed; beside a secret, it is a second proof.
    if form.get("client_assertion").is_some() || form.get("client_assertion_type").is_some() {
        return Err(twofold("the client proves itself with an assertion, which is not supported"));
    }
    let pair = pair.ok_or_else(|| unproven("what the client proves itself with cannot be read"))?;
    if form.get("client_id").is_some_and(|id| id != pair.id.as_str()) {
        return Err(twofold("the request names two clients"));
    }
    sts.authenticate(&pair.id, &pair.secret).ok_or_else(|| unproven("the client or its secret is unknown"))
}

fn posted(form: &Form) -> Option<Pair> {
    let copy = |name: &str| form.get(name).map(|text| Zeroizing::new(text.to_owned()));
    Some(Pair { id: copy("client_id")?, secret: copy("client_secret")? })
}

/// Both halves are encoded like values of a form.
fn basic(value: &HeaderValue) -> Option<Pair> {
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(rest.trim_start_matches(' ')).ok()?);
    let mut halves = decoded.splitn(2, |byte| *byte == b':');
    let pair = Pair { id: decode(halves.next()?)?, secret: decode(halves.next()?)? };
    (!pair.id.is_empty() && !pair.secret.is_empty()).then_some(pair)
}

fn unproven(detail: &str) -> Refused {
    Refused::new(Fault::Client, Reason::PepUnauthenticated, detail)
}

fn twofold(detail: &str) -> Refused {
    Refused::new(Fault::Request, Reason::RequestMalformed, detail)
}
