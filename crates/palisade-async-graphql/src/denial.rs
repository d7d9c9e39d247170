//! What a client is told in place of what it asked for.

use async_graphql::{BatchResponse, Error, ErrorExtensionValues, Response, ServerError, Value};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use palisade_client::{Decision, Outcome, StepUp, Told};

/// A denial of an operation or of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) status: StatusCode,
    message: String,
    reason: Option<String>,
    decision: Option<String>,
    /// What a stronger token would have to have: the names and values of more extensions.
    remedy: Vec<(&'static str, String)>,
    /// Header fields of the answer to the request.
    pub(crate) headers: HeaderMap,
}

impl Denial {
    /// What the decision point says of an operation.
    pub(crate) fn told(told: &Told) -> Self {
        let mut headers = told.headers.clone();
        // They are of the body that this answer does not have.
        headers.remove(header::CONTENT_TYPE);
        headers.remove(header::CONTENT_LENGTH);
        // Whatever it is told as, nothing is executed.
        let status = if told.status.is_success() { StatusCode::SERVICE_UNAVAILABLE } else { told.status };
        Self {
            reason: told.reason.as_ref().map(|reason| reason.as_str().to_owned()),
            decision: told.id.map(|id| id.to_string()),
            headers,
            ..Self::refused(status, message(status))
        }
    }

    /// What the decision point says of a field.
    pub(crate) fn of_field(decision: &Decision) -> Self {
        let status = match &decision.outcome {
            Outcome::StepUp(StepUp::Authentication { .. }) => StatusCode::UNAUTHORIZED,
            // A field has no way to do what a permit obliges to.
            Outcome::Permit(_)
            | Outcome::StepUp(StepUp::Scopes { .. })
            | Outcome::Deny(_)
            | Outcome::Observed(_) => StatusCode::FORBIDDEN,
        };
        Self {
            reason: Some(decision.reason.as_str().to_owned()),
            decision: decision.id.map(|id| id.to_string()),
            remedy: remedy(&decision.outcome),
            ..Self::refused(status, message(status))
        }
    }

    /// That nobody decides now.
    pub(crate) fn outage() -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let mut denial = Self::refused(status, message(status));
        denial.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        denial
    }

    /// That a request cannot be asked about.
    pub(crate) fn unaskable(message: &str) -> Self {
        Self::refused(StatusCode::BAD_REQUEST, message)
    }

    /// That the server is not put together as it has to be. The message says what to change.
    pub(crate) fn of_the_server(message: &str) -> Self {
        tracing::error!(message, "a request is refused");
        Self::refused(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    pub(crate) fn refused(status: StatusCode, message: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let (reason, decision, remedy) = (None, None, Vec::new());
        Self { status, message: message.to_owned(), reason, decision, remedy, headers }
    }

    fn extensions(&self) -> ErrorExtensionValues {
        let mut extensions = ErrorExtensionValues::default();
        extensions.set("code", code(self.status));
        if let Some(reason) = &self.reason {
            extensions.set("reason", reason.as_str());
        }
        if let Some(decision) = &self.decision {
            extensions.set("decision", decision.as_str());
        }
        for (name, value) in &self.remedy {
            extensions.set(name, value.as_str());
        }
        extensions
    }

    /// The error of a request of which nothing is executed. Its status is in `extensions.http.status`.
    pub(crate) fn of_request(&self) -> ServerError {
        let mut extensions = self.extensions();
        extensions.set("http", async_graphql::value!({ "status": (self.status.as_u16()) }));
        let mut error = ServerError::new(self.message.clone(), None);
        error.extensions = Some(extensions);
        error
    }

    /// The error of a field, beside which others have their values.
    pub(crate) fn of_the_field(&self) -> Error {
        let mut error = Error::new(self.message.clone());
        error.extensions = Some(self.extensions());
        error
    }
}

/// Header fields of one operation's answer, which say nothing of a batch where its answers have others.
const OF_ONE: [HeaderName; 3] =
    [header::WWW_AUTHENTICATE, header::RETRY_AFTER, HeaderName::from_static("x-palisade-decision-id")];

/// The answer to a request or to a batch, with the status of its denial and the header fields that go with it, such as `WWW-Authenticate`. A batch has the
/// status of a denial where all of it is denied so, and a challenge, a pause and the id of a decision where all of it has that one.
///
/// An answer that is no JSON is 500.
#[must_use]
pub fn into_http(response: impl Into<BatchResponse>) -> http::Response<Bytes> {
    let response = response.into();
    let (statuses, headers): (Vec<StatusCode>, HeaderMap) = match &response {
        BatchResponse::Single(one) => (vec![status(one)], one.http_headers.clone()),
        BatchResponse::Batch(all) => (all.iter().map(status).collect(), shared(all, response.http_headers())),
    };
    let first = statuses.first().copied().unwrap_or(StatusCode::OK);
    let status = if statuses.iter().all(|status| *status == first) { first } else { StatusCode::OK };
    let (status, body) = match serde_json::to_vec(&response) {
        Ok(body) => (status, Bytes::from(body)),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Bytes::new()),
    };
    let mut answer = http::Response::new(body);
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// The header fields of a batch's answer, of those of its answers.
fn shared(responses: &[Response], mut headers: HeaderMap) -> HeaderMap {
    for name in OF_ONE {
        let values = |response: &Response| -> Vec<HeaderValue> {
            response.http_headers.get_all(&name).iter().cloned().collect()
        };
        if responses.windows(2).any(|two| matches!(two, [one, other] if values(one) != values(other))) {
            headers.remove(&name);
        }
    }
    headers
}

/// The status of an answer: that of the denial of the whole, where nothing was executed.
fn status(response: &Response) -> StatusCode {
    let of_request = |error: &&ServerError| error.path.is_empty() && response.data == Value::Null;
    let told = response.errors.iter().filter(of_request).find_map(|error| {
        let Some(Value::Object(http)) = error.extensions.as_ref()?.get("http") else { return None };
        let Some(Value::Number(status)) = http.get("status") else { return None };
        StatusCode::from_u16(u16::try_from(status.as_u64()?).ok()?).ok()
    });
    told.unwrap_or(StatusCode::OK)
}

/// The code of an error, in the words that clients of GraphQL know.
fn code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "BAD_REQUEST",
        StatusCode::UNAUTHORIZED => "UNAUTHENTICATED",
        StatusCode::NOT_FOUND => "NOT_FOUND",
        StatusCode::METHOD_NOT_ALLOWED => "METHOD_NOT_ALLOWED",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "UNSUPPORTED_MEDIA_TYPE",
        StatusCode::TOO_MANY_REQUESTS => "TOO_MANY_REQUESTS",
        StatusCode::SERVICE_UNAVAILABLE => "SERVICE_UNAVAILABLE",
        StatusCode::INTERNAL_SERVER_ERROR => "INTERNAL_SERVER_ERROR",
        _ => "FORBIDDEN",
    }
}

fn message(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "the request cannot be read without guessing",
        StatusCode::UNAUTHORIZED => "not authenticated",
        StatusCode::NOT_FOUND => "there is no such resource",
        StatusCode::TOO_MANY_REQUESTS => "too many requests",
        StatusCode::SERVICE_UNAVAILABLE => "no decision can be made now",
        _ => "not permitted",
    }
}

/// What a stronger token would have to have, as a challenge says it (RFC 6750 section 3, RFC 9470 section 3).
fn remedy(outcome: &Outcome) -> Vec<(&'static str, String)> {
    match outcome {
        Outcome::StepUp(StepUp::Scopes { missing: _, ask_for }) => vec![("scope", ask_for.join(" "))],
        Outcome::StepUp(StepUp::Authentication { acr_values, max_age }) => {
            let age = max_age.map(|age| ("max_age", age.as_secs().to_string()));
            let acr = (!acr_values.is_empty()).then(|| ("acr_values", acr_values.join(" ")));
            acr.into_iter().chain(age).collect()
        }
        Outcome::Permit(_) | Outcome::Deny(_) | Outcome::Observed(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
