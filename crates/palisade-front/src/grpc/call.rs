//! What comes beside the message of a call: who calls, how long it waits, and what it is a part of.

use std::time::Duration;

use palisade_model::{AccessRequest, Credential, RawToken, Surface, TraceId};
use palisade_pdp::{Caller, Resource};
use tonic::{Request, metadata::MetadataMap};

use super::decode::Question;

/// The most bytes of a request id.
const MAX_REQUEST_ID: usize = 256;

/// A call without its message.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) caller: Caller,
    /// How long the caller waits; the deadline of a decision holds beside it.
    pub(super) patience: Duration,
    pub(super) request_id: Option<String>,
    pub(super) trace: Option<TraceId>,
}

impl Call {
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        let metadata = request.metadata();
        // A page in a browser on this machine is not the caller `local`, whatever name it reached us by.
        let is_browser = metadata.contains_key("origin");
        let caller = request.extensions().get::<Caller>().filter(|_| !is_browser).cloned();
        Self {
            caller: caller.unwrap_or_default(),
            patience: only(metadata, "grpc-timeout").and_then(timeout).unwrap_or(Duration::MAX),
            request_id: only(metadata, "x-request-id").and_then(request_id),
            trace: only(metadata, "traceparent").and_then(TraceId::parse),
        }
    }

    /// The question that this call asks.
    pub(super) fn access_request(
        &self,
        surface: Surface,
        resource: Option<&Resource>,
        token: Option<&str>,
        question: Question,
    ) -> AccessRequest {
        AccessRequest {
            pep: self.caller.0.clone(),
            surface,
            resource: resource.map(|resource| resource.name.clone()),
            credential: token.map_or(Credential::Absent, |token| Credential::Token(RawToken::new(token))),
            asked: question.asked,
            sent: None,
            handles: Vec::new(),
            client_ip: None,
            host: None,
            path: question.path,
            request_id: self.request_id.clone(),
            trace: self.trace,
        }
    }
}

/// The value of an entry that came once.
fn only<'m>(metadata: &'m MetadataMap, name: &str) -> Option<&'m str> {
    let mut values = metadata.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn request_id(text: &str) -> Option<String> {
    let fits =
        !text.is_empty() && text.len() <= MAX_REQUEST_ID && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| text.to_owned())
}

/// `TimeoutValue TimeoutUnit` of gRPC over HTTP/2: up to eight digits and a unit. Anything else is no timeout.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3_600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("99999999S", Some(Duration::from_secs(99_999_999))),
            ("50m", Some(Duration::from_millis(50))),
            ("0u", Some(Duration::ZERO)),
            ("7n", Some(Duration::from_nanos(7))),
            ("", None),
            ("S", None),
            ("5", None),
            ("5s", None),
            ("+5S", None),
            ("-5S", None),
            ("100000000S", None),
            ("5é", None),
        ] {
            assert_eq!(timeout(text), expected, "{text}");
        }
    }

    #[test]
    fn what_came_twice_or_is_no_id_did_not_come() {
        let mut request = Request::new(());
        request.metadata_mut().append("x-request-id", "a".parse().unwrap());
        assert_eq!(Call::of(&request).request_id.as_deref(), Some("a"));
        request.metadata_mut().append("x-request-id", "b".parse().unwrap());
        assert_eq!(Call::of(&request).request_id, None);
        assert_eq!(request_id("a b"), None);
        assert_eq!(request_id(&"a".repeat(257)), None);
        assert_eq!(Call::of(&request).caller, Caller(None));
    }

    #[test]
    fn a_browser_is_nobody() {
        let local = Caller("local".parse().ok());
        let mut request = Request::new(());
        request.extensions_mut().insert(local.clone());
        assert_eq!(Call::of(&request).caller, local);
        request.metadata_mut().insert("origin", "null".parse().unwrap());
        assert_eq!(Call::of(&request).caller, Caller(None));
    }
}
