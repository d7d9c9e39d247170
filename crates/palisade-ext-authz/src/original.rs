//! The client's request as a proxy tells it in header fields, because its check is a request of its own: nginx, HAProxy,
//! Traefik, Caddy.
//!
//! Which fields to read is the configuration's to say, never the call's: every header of a call may be its client's. So
//! of the form that its PEP is configured with, each field must have come, and once: a field that is missing, or twice,
//! was not written by a proxy of that form. And a call with a field that says which request is meant in another form is
//! refused, because then the proxy is not the one that the configuration means.

use palisade_model::{Reason, Refusal};
use palisade_pdp::RequestFrom;

use palisade_call::Headers;

/// The client's request, as it came to the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Original {
    pub(crate) method: String,
    pub(crate) scheme: String,
    pub(crate) host: String,
    pub(crate) target: String,
}

/// The header fields of a form.
struct Fields {
    method: &'static str,
    proto: &'static str,
    host: &'static str,
    uri: &'static str,
}

const X_ORIGINAL: Fields = Fields {
    method: "x-original-method",
    proto: "x-original-proto",
    host: "x-original-host",
    uri: "x-original-uri",
};
const X_FORWARDED: Fields = Fields {
    method: "x-forwarded-method",
    proto: "x-forwarded-proto",
    host: "x-forwarded-host",
    uri: "x-forwarded-uri",
};
/// Fields that say which request is meant, in any form. Host and proto alone say nothing: many proxies send them.
const TELLING: [&str; 5] =
    [X_ORIGINAL.method, X_ORIGINAL.uri, "x-original-url", X_FORWARDED.method, X_FORWARDED.uri];

/// The client's request, where the form has it in header fields; nothing where it is the call itself.
///
/// # Errors
/// `request_malformed` where a field of the form did not come once, or one of another form came.
pub(crate) fn read(headers: &Headers, form: RequestFrom) -> Result<Option<Original>, Refusal> {
    let fields = match form {
        RequestFrom::Call => None,
        RequestFrom::XOriginal => Some(X_ORIGINAL),
        RequestFrom::XForwarded => Some(X_FORWARDED),
    };
    let own = |name: &str| fields.as_ref().is_some_and(|fields| name == fields.method || name == fields.uri);
    if let Some(other) = TELLING.into_iter().find(|name| headers.has(name) && !own(name)) {
        return Err(refusal(format!("`{other}` is no part of the form in `request_from`")));
    }
    let Some(fields) = fields else { return Ok(None) };
    let scheme = once(headers, fields.proto)?;
    if !matches!(scheme.as_str(), "http" | "https") {
        return Err(refusal(format!("`{}` is neither http nor https", fields.proto)));
    }
    Ok(Some(Original {
        method: once(headers, fields.method)?,
        scheme,
        host: once(headers, fields.host)?,
        target: once(headers, fields.uri)?,
    }))
}

fn once(headers: &Headers, name: &str) -> Result<String, Refusal> {
    let value = headers.only(name).filter(|value| !value.is_empty());
    value.map(str::to_owned).ok_or_else(|| {
        refusal(format!("`{name}` of the form in `request_from` did not come once, with a value"))
    })
}

fn refusal(detail: String) -> Refusal {
    Refusal::new(Reason::RequestMalformed, detail)
}
