//! Decisions as answers of the API.
//!
//! `"decision": true` is written in [`decided`] alone: from a permit, or from what is let by under observation. A denial
//! is an answer and has status 200. Other statuses say that there is no decision: the message cannot be read, the caller is
//! not known or may not ask, or the service cannot answer.

use palisade_model::{DecisionId, Reason};
use palisade_pdp::{Decision, Findings};
use palisade_policy::Verdict;
use serde_json::{Map, Value, json};

/// An answer without its header fields.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// The decision that the answer is about, where there is one.
    pub(crate) decision: Option<DecisionId>,
    /// In how many seconds to come back, where the status says to.
    pub(crate) retry_after: u64,
}

impl Answer {
    pub(crate) fn of(body: String, decision: Option<DecisionId>) -> Self {
        Self { status: 200, body, decision, retry_after: 1 }
    }

    /// No decision, and why. The API wants a string for a body.
    pub(crate) fn error(status: u16, message: &str, decision: Option<DecisionId>) -> Self {
        Self { status, body: Value::from(message).to_string(), decision, retry_after: 1 }
    }

    /// The same, with when to come back as a denial knows it.
    pub(crate) fn of_denial(status: u16, message: &str, decision: &Decision) -> Self {
        let retry_after = match decision {
            Decision::Deny(denial) => denial.retry_after_seconds(),
            Decision::Permit(_) | Decision::Observed(_) => 1,
        };
        Self { retry_after, ..Self::error(status, message, Some(decision.id())) }
    }

    /// This service failed.
    pub(crate) fn outage() -> Self {
        Self::error(500, "no decision can be made now", None)
    }
}

/// One decision as the API writes it.
pub(crate) fn decided(decision: &Decision, findings: &Findings) -> Value {
    let (outcome, context) = match decision {
        Decision::Permit(_) => (true, obliging(findings)),
        Decision::Observed(observed) => {
            let would_be = observed.would_be().as_str();
            (
                true,
                json!({ "observed": true, "would_be": would_be, "decision_id": observed.id().to_string() }),
            )
        }
        Decision::Deny(denial) => {
            let mut context =
                json!({ "reason": denial.reason.as_str(), "decision_id": denial.id.to_string() });
            if let (Some(code), Some(members)) = (&denial.policy_code, context.as_object_mut()) {
                members.insert("policy_code".to_owned(), json!(code));
            }
            (false, context)
        }
    };
    let nothing = context.as_object().is_none_or(Map::is_empty);
    if nothing { json!({ "decision": outcome }) } else { json!({ "decision": outcome, "context": context }) }
}

/// An item of a batch that is no question, or about which there is no decision.
pub(crate) fn failed(status: u16, message: &str, decision: DecisionId) -> Value {
    json!({
        "decision": false,
        "context": {
            "error": { "status": status, "message": message },
            "decision_id": decision.to_string(),
        },
    })
}

/// What comes with a permit: what the caller must do, and what it may.
fn obliging(findings: &Findings) -> Value {
    let verdicts = || findings.items().map(|finding| finding.verdict);
    let obligations: Vec<&String> = verdicts().flat_map(Verdict::obligations).collect();
    let advice: Vec<&String> = verdicts().flat_map(Verdict::advice).collect();
    let mut context = Map::new();
    if !obligations.is_empty() {
        let written = obligations.iter().enumerate().map(|(at, text)| obligation(at + 1, text));
        context.insert("obligations".to_owned(), written.collect());
    }
    if !advice.is_empty() {
        context.insert("advice".to_owned(), json!(advice));
    }
    Value::Object(context)
}

/// An `@obligation` in the form of the obligations profile. `step-up CLASS [METHOD ..]`, `notification ..` and
/// `session_termination ..` are those of the profile; every other text is a `custom` one.
fn obligation(number: usize, text: &str) -> Value {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim();
    let (kind, properties) = match word {
        "step-up" => {
            let mut words = rest.split_whitespace();
            let class = words.next().unwrap_or_default();
            let methods: Vec<&str> = words.collect();
            let mut properties = json!({ "acr_value": class });
            if let (false, Some(members)) = (methods.is_empty(), properties.as_object_mut()) {
                members.insert("amr_values".to_owned(), json!(methods));
            }
            ("step-up", properties)
        }
        "notification" => ("notification", json!({ "message": rest })),
        "session_termination" => ("session_termination", json!({ "message": rest })),
        _custom => ("custom", json!({ "obligation": text })),
    };
    json!({ "id": format!("obligation-{number}"), "type": kind, "properties": properties })
}

/// What is wrong where there is no decision: a status and words. Nothing where the decision is an answer.
///
/// Exhaustive over [`Reason`]: a denial of the policies, of a token or of a subject is an answer of the API.
pub(crate) const fn trouble(reason: Reason) -> Option<(u16, &'static str)> {
    match reason {
        Reason::RequestMalformed
        | Reason::RequestTruncated
        | Reason::RequestBodyMissing
        | Reason::HeaderMismatch => Some((400, "the request cannot be read")),
        Reason::PepUnauthenticated => Some((401, "the caller is not authenticated")),
        Reason::PepNotAllowed => Some((403, "the caller may not ask this")),
        Reason::RateLimited => Some((429, "too many requests")),
        Reason::PoliciesUnavailable
        | Reason::IssuerKeysUnavailable
        | Reason::Overloaded
        | Reason::DeadlineExceeded
        | Reason::AuditUnavailable => Some((503, "no decision can be made now")),
        Reason::InternalError => Some((500, "no decision can be made now")),
        Reason::Permitted
        | Reason::Observed
        | Reason::NoCredentials
        | Reason::TokenMalformed
        | Reason::TokenSignatureInvalid
        | Reason::TokenExpired
        | Reason::TokenNotYetValid
        | Reason::TokenType
        | Reason::TokenIssuerUnknown
        | Reason::TokenIssuerNotAllowed
        | Reason::TokenAudienceMismatch
        | Reason::TokenClaimsInvalid
        | Reason::TokenLifetime
        | Reason::TokenSubjectAmbiguous
        | Reason::TokenGroupsOverage
        | Reason::TokenKeyUnknown
        | Reason::TokenBinding
        | Reason::TokenRevoked
        | Reason::SubjectUnknown
        | Reason::NoPermit
        | Reason::Forbidden
        | Reason::PolicyError
        | Reason::InsufficientScope
        | Reason::InsufficientUserAuthentication
        | Reason::ResourceUnknown
        | Reason::TargetUnknown
        | Reason::MethodUnknown
        | Reason::ArgumentsInvalid
        | Reason::SessionMismatch
        | Reason::ExchangeRefused
        | Reason::ExchangePending
        | Reason::ExchangeConsentRequired
        | Reason::ExchangeInteractionRequired
        | Reason::ExchangeUnavailable => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn obligations_take_the_form_of_the_profile() {
        for (text, kind, properties) in [
            ("step-up urn:example:mfa", "step-up", json!({ "acr_value": "urn:example:mfa" })),
            ("step-up mfa otp  hwk", "step-up", json!({ "acr_value": "mfa", "amr_values": ["otp", "hwk"] })),
            ("notification tell security", "notification", json!({ "message": "tell security" })),
            ("session_termination", "session_termination", json!({ "message": "" })),
            ("redact:ssn", "custom", json!({ "obligation": "redact:ssn" })),
        ] {
            let expected = json!({ "id": "obligation-1", "type": kind, "properties": properties });
            assert_eq!(obligation(1, text), expected);
        }
    }

    #[test]
    fn what_policies_say_is_an_answer_and_no_status() {
        for reason in [Reason::NoPermit, Reason::Forbidden, Reason::SubjectUnknown, Reason::ResourceUnknown] {
            assert_eq!(trouble(reason), None);
        }
        assert_eq!(trouble(Reason::PepUnauthenticated).map(|(status, _)| status), Some(401));
    }
}
