//! What the messages of other projects' contracts come by: plain JSON, from a caller that is no page in a browser.
//!
//! Each contract has its own words, which its entry reads. What is the same for all of them is here.

use http::{HeaderMap, HeaderValue, header};
use palisade_model::{AccessRequest, Credential, Reason, Refusal, ResourceName, Surface, TraceId};
use palisade_pdp::Caller;
use serde_json::Value;

/// Whether the header fields of a message say that its body is JSON as it stands. Look before the body is taken in.
///
/// # Errors
/// `request_malformed` for another type, several types, and any encoding.
pub fn plain_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let types: Vec<&[u8]> = headers.get_all(header::CONTENT_TYPE).iter().map(HeaderValue::as_bytes).collect();
    let is_json = matches!(types.as_slice(), [one] if one.split(|byte| *byte == b';').next().is_some_and(|essence| {
        essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
    }));
    if is_json && !headers.contains_key(header::CONTENT_ENCODING) {
        Ok(())
    } else {
        Err(Refusal::new(Reason::RequestMalformed, "the body is not plain `application/json`"))
    }
}

/// The one JSON value of a body, which nests at most `max_depth` levels. Nothing is a body that could not be taken in whole.
///
/// # Errors
/// `request_truncated` for no body, `request_malformed` for anything else than one value that has one reading.
pub fn json(body: Option<&[u8]>, max_depth: usize) -> Result<Value, Refusal> {
    let body = body.ok_or_else(|| Refusal::new(Reason::RequestTruncated, "the body did not come whole"))?;
    palisade_json::read(body, max_depth)
        .map_err(|error| Refusal::new(Reason::RequestMalformed, error.to_string()))
}

/// Who a message counts for: its caller, and nobody where it is sent by a page in a browser, whatever name that reached us by.
#[must_use]
pub fn caller(headers: &HeaderMap, known: Option<&Caller>) -> Caller {
    known.filter(|_| !headers.contains_key(header::ORIGIN)).cloned().unwrap_or_default()
}

/// A message that cannot be read or may not be asked, as a question that is refused: nobody asks for nothing, for this reason.
#[must_use]
pub fn refused(
    surface: Surface,
    headers: &HeaderMap,
    caller: &Caller,
    resource: Option<ResourceName>,
    refusal: Refusal,
) -> AccessRequest {
    AccessRequest {
        surface,
        resource,
        credential: Credential::Unusable(refusal.clone()),
        asked: Err(refusal),
        sent: None,
        handles: Vec::new(),
        client_ip: None,
        host: None,
        path: None,
        request_id: None,
        trace: only(headers, "traceparent").and_then(TraceId::parse),
        pep: caller.0.clone(),
    }
}

/// The value of a field that came once, if it is text.
#[must_use]
pub fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn one_plain_type_is_taken() {
        for (fields, is_taken) in [
            (&[("content-type", "application/json")][..], true),
            (&[("content-type", "Application/JSON ; charset=utf-8")], true),
            (&[], false),
            (&[("content-type", "text/plain")], false),
            (&[("content-type", "application/json"), ("content-type", "application/json")], false),
            (&[("content-type", "application/json"), ("content-encoding", "gzip")], false),
        ] {
            assert_eq!(plain_json(&headers(fields)).is_ok(), is_taken, "{fields:?}");
        }
    }

    #[test]
    fn a_page_in_a_browser_is_nobody_and_what_came_in_part_is_nothing() {
        let known = Caller(Some("edge".parse().unwrap()));
        assert_eq!(caller(&headers(&[]), Some(&known)).0, known.0);
        assert_eq!(caller(&headers(&[("origin", "null")]), Some(&known)).0, None);
        assert_eq!(json(None, 4).map_err(|refusal| refusal.reason), Err(Reason::RequestTruncated));
        assert_eq!(
            json(Some(br#"{"a":1,"a":1}"#), 4).map_err(|refusal| refusal.reason),
            Err(Reason::RequestMalformed)
        );
        assert!(json(Some(b"{}"), 4).is_ok());
    }

    #[test]
    fn a_trace_that_came_twice_is_none() {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let of = |fields: &[(&'static str, &'static str)]| {
            let refusal = Refusal::new(Reason::RequestMalformed, "no");
            refused(Surface::Coprocessor, &headers(fields), &Caller::default(), None, refusal).trace
        };
        assert!(of(&[("traceparent", trace)]).is_some());
        assert!(of(&[("traceparent", trace), ("traceparent", trace)]).is_none());
    }
}
