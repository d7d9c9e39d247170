//! What a caller is told of a denial over HTTP: status, challenge, body (RFC 6750 section 3, RFC 9470, RFC 9728).
//!
//! Exhaustive over [`Reason`]. Denials that a client can do nothing about look alike, so that nobody can find out
//! which targets exist. Every URL comes from the configuration, never from the request.

use base64::{Engine, engine::general_purpose::STANDARD};
use palisade_model::{Reason, Scope};
use serde_json::json;

use crate::{Denial, Remedy, Resource};

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty for none.
    pub body: String,
}

/// The header that carries the id of the decision.
pub const DECISION_ID: &str = "x-palisade-decision-id";

/// What Entra calls it where a login must be repeated with certain claims; clients of Entra know what to do.
const INSUFFICIENT_CLAIMS: &str = "insufficient_claims";

/// How a reason is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// 400 `invalid_request`.
    Malformed,
    /// 401 without an error code: the client has not tried yet.
    Unauthenticated,
    /// 401 `invalid_token`.
    InvalidToken,
    /// 403 `insufficient_scope`.
    InsufficientScope,
    /// 401 `insufficient_user_authentication`.
    InsufficientAuthentication,
    /// 403 without a hint.
    Denied,
    /// 404.
    Unknown,
    /// 429 with `Retry-After`.
    TooMany,
    /// 503 with `Retry-After`.
    Unavailable,
}

const fn form(reason: Reason) -> Form {
    match reason {
        Reason::RequestMalformed
        | Reason::RequestTruncated
        | Reason::RequestBodyMissing
        | Reason::HeaderMismatch => Form::Malformed,
        Reason::NoCredentials => Form::Unauthenticated,
        Reason::TokenMalformed
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
        | Reason::TokenRevoked => Form::InvalidToken,
        Reason::InsufficientScope => Form::InsufficientScope,
        Reason::InsufficientUserAuthentication
        | Reason::ExchangeConsentRequired
        | Reason::ExchangeInteractionRequired => Form::InsufficientAuthentication,
        Reason::SubjectUnknown
        | Reason::NoPermit
        | Reason::Forbidden
        | Reason::PolicyError
        | Reason::TargetUnknown
        | Reason::MethodUnknown
        // Answered before policies: told apart, it would show which tools exist and what they take.
        | Reason::ArgumentsInvalid
        | Reason::ExchangeRefused
        | Reason::PepUnauthenticated
        | Reason::PepNotAllowed => Form::Denied,
        Reason::ResourceUnknown | Reason::SessionMismatch => Form::Unknown,
        Reason::RateLimited => Form::TooMany,
        // A permit is no denial. Should one be asked for in this form by mistake, it is told as an outage.
        Reason::Permitted
        | Reason::Observed
        | Reason::PoliciesUnavailable
        | Reason::IssuerKeysUnavailable
        | Reason::ExchangePending
        | Reason::ExchangeUnavailable
        | Reason::Overloaded
        | Reason::DeadlineExceeded
        | Reason::AuditUnavailable
        | Reason::InternalError => Form::Unavailable,
    }
}

/// The HTTP answer to a denial, for a browser of this origin if the request named one.
#[must_use]
pub fn http(denial: &Denial, origin: Option<&str>) -> Answer {
    let form = form(denial.reason);
    let (status, error, description) = match form {
        Form::Malformed => (400, "invalid_request", "the request cannot be read without guessing"),
        Form::Unauthenticated => (401, "unauthorized", "a bearer token is needed"),
        Form::InvalidToken => (401, "invalid_token", invalid_token_description(denial.reason)),
        Form::InsufficientScope => (403, "insufficient_scope", "the token lacks scopes for this"),
        Form::InsufficientAuthentication => {
            let error = match denial.remedy {
                Remedy::Claims(_) => INSUFFICIENT_CLAIMS,
                Remedy::None | Remedy::Scopes(_) | Remedy::Authentication { .. } => {
                    "insufficient_user_authentication"
                }
            };
            (401, error, authentication_description(denial.reason))
        }
        Form::Denied => (403, "access_denied", "this is not permitted"),
        Form::Unknown => (404, "not_found", "there is no such resource"),
        Form::TooMany => (429, "too_many_requests", "too many requests"),
        Form::Unavailable => (503, "temporarily_unavailable", "no decision can be made now"),
    };
    let mut headers = vec![("content-type", "application/json".to_owned())];
    headers.extend(always(denial.id, denial.resource.as_deref(), origin));
    if matches!(form, Form::TooMany | Form::Unavailable) {
        headers.push(("retry-after", denial.retry_after_seconds().to_string()));
    }
    if let Some(resource) = &denial.resource
        && let Some(challenge) = challenge(form, resource, &denial.remedy, description)
    {
        headers.push(("www-authenticate", challenge));
    }
    let body =
        json!({ "error": error, "error_description": description, "decision_id": denial.id.to_string() });
    Answer { status, headers, body: body.to_string() }
}

/// Whether a denial is told over HTTP also where a resource asks for JSON-RPC: every 401, and every step-up.
#[must_use]
pub fn is_http_only(reason: Reason) -> bool {
    match form(reason) {
        Form::Unauthenticated
        | Form::InvalidToken
        | Form::InsufficientScope
        | Form::InsufficientAuthentication
        | Form::Unknown
        | Form::TooMany
        | Form::Unavailable => true,
        Form::Malformed | Form::Denied => false,
    }
}

/// The answer to a CORS preflight of a resource, which is no decision.
#[must_use]
pub fn preflight(resource: &Resource, origin: &str) -> Answer {
    let mut headers = vec![("cache-control", "no-store".to_owned())];
    headers.extend(cors(resource, Some(origin)));
    if resource.cors_origins.contains(origin) {
        headers.push(("access-control-allow-methods", "GET, POST, PUT, PATCH, DELETE, OPTIONS".to_owned()));
        let own = resource.static_tokens.own_header().map(|name| format!(", {name}"));
        let allowed = format!("{ALLOWED_HEADERS}{}", own.unwrap_or_default());
        headers.push(("access-control-allow-headers", allowed));
        headers.push(("access-control-max-age", "600".to_owned()));
    }
    Answer { status: 204, headers, body: String::new() }
}

const ALLOWED_HEADERS: &str = "authorization, content-type, accept, last-event-id, mcp-protocol-version, \
     mcp-session-id, mcp-method, mcp-name";

/// What every answer of a resource carries.
#[must_use]
pub fn always(
    id: palisade_model::DecisionId,
    resource: Option<&Resource>,
    origin: Option<&str>,
) -> Vec<(&'static str, String)> {
    let mut headers = vec![("cache-control", "no-store".to_owned()), (DECISION_ID, id.to_string())];
    if let Some(resource) = resource {
        headers.extend(cors(resource, origin));
    }
    headers
}

/// The CORS header fields for an allowed origin; `vary` wherever an answer depends on the origin.
#[must_use]
pub fn cors(resource: &Resource, origin: Option<&str>) -> Vec<(&'static str, String)> {
    if resource.cors_origins.is_empty() {
        return Vec::new();
    }
    let mut headers = vec![("vary", "Origin".to_owned())];
    if let Some(origin) = origin.filter(|origin| resource.cors_origins.contains(*origin)) {
        headers.push(("access-control-allow-origin", origin.to_owned()));
        headers.push((
            "access-control-expose-headers",
            format!("WWW-Authenticate, {DECISION_ID}, Mcp-Session-Id"),
        ));
    }
    headers
}

fn challenge(form: Form, resource: &Resource, remedy: &Remedy, description: &str) -> Option<String> {
    let mut parameters: Vec<(&str, String)> = Vec::new();
    match form {
        Form::Unauthenticated => {
            if !resource.scopes.initial.is_empty() {
                parameters.push(("scope", scope_text(resource, &resource.scopes.initial)));
            }
        }
        Form::InvalidToken => {
            parameters.push(("error", "invalid_token".to_owned()));
            parameters.push(("error_description", description.to_owned()));
        }
        Form::InsufficientScope => {
            parameters.push(("error", "insufficient_scope".to_owned()));
            parameters.push(("error_description", description.to_owned()));
            if let Remedy::Scopes(scopes) = remedy {
                parameters.push(("scope", scope_text(resource, scopes)));
            }
        }
        Form::InsufficientAuthentication => {
            let claims = match remedy {
                Remedy::Claims(claims) => Some(claims),
                Remedy::None | Remedy::Scopes(_) | Remedy::Authentication { .. } => None,
            };
            let error = claims.map_or("insufficient_user_authentication", |_| INSUFFICIENT_CLAIMS);
            parameters.push(("error", error.to_owned()));
            parameters.push(("error_description", description.to_owned()));
            parameters.extend(claims.map(|claims| ("claims", STANDARD.encode(claims))));
            if let Remedy::Authentication { acr_values, max_age } = remedy {
                if !acr_values.is_empty() {
                    parameters.push(("acr_values", acr_values.join(" ")));
                }
                if let Some(max_age) = max_age {
                    parameters.push(("max_age", max_age.as_secs().to_string()));
                }
            }
        }
        Form::Malformed | Form::Denied | Form::Unknown | Form::TooMany | Form::Unavailable => return None,
    }
    parameters.push(("resource_metadata", resource.metadata.url.clone()));
    let parameters: Vec<String> =
        parameters.into_iter().map(|(name, value)| format!("{name}=\"{}\"", quotable(&value))).collect();
    Some(format!("Bearer {}", parameters.join(", ")))
}

fn scope_text<'a>(resource: &Resource, scopes: impl IntoIterator<Item = &'a Scope>) -> String {
    let prefix = &resource.scopes.request_prefix;
    scopes.into_iter().map(|scope| format!("{prefix}{scope}")).collect::<Vec<_>>().join(" ")
}

/// A text as the inside of a quoted-string (RFC 9110 section 5.6.4): escaped, and without what no header may hold.
fn quotable(text: &str) -> String {
    text.chars()
        .filter(|character| (' '..='~').contains(character))
        .flat_map(|character| {
            matches!(character, '"' | '\\').then_some('\\').into_iter().chain(std::iter::once(character))
        })
        .collect()
}

/// What the user has to do.
const fn authentication_description(reason: Reason) -> &'static str {
    if matches!(reason, Reason::ExchangeConsentRequired) {
        "the user has to consent at the identity provider"
    } else {
        "a stronger or fresher authentication is needed"
    }
}

/// What a client with a bad token is told: enough to know whether to refresh it, nothing of the token.
const fn invalid_token_description(reason: Reason) -> &'static str {
    if matches!(reason, Reason::TokenExpired) {
        "the token has expired"
    } else if matches!(reason, Reason::TokenAudienceMismatch) {
        "the token was issued for another resource"
    } else {
        "the token is not valid here"
    }
}

#[cfg(test)]
mod tests;
