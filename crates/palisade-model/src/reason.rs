//! Why a decision came out as it did: the closed list of codes used in responses, records and metrics.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident => $code:literal,)*) => {
        /// A reason code. The text forms are stable within a major version.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of the contract.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                }
            }
        }
    };
}

reasons! {
    /// The policies permit it.
    Permitted => "permitted",
    /// The policies deny it, and the resource is under observation: recorded and let by.
    Observed => "observed",
    /// No credential came where one is needed.
    NoCredentials => "no_credentials",
    /// The token is not a JWS compact serialization we accept.
    TokenMalformed => "token_malformed",
    /// The signature does not verify.
    TokenSignatureInvalid => "token_signature_invalid",
    /// The token is past its `exp`.
    TokenExpired => "token_expired",
    /// The token is before its `nbf`, or issued in the future.
    TokenNotYetValid => "token_not_yet_valid",
    /// The `typ` is not an access token's.
    TokenType => "token_type",
    /// No configured issuer has this `iss`.
    TokenIssuerUnknown => "token_issuer_unknown",
    /// The issuer is known, and this resource does not accept it.
    TokenIssuerNotAllowed => "token_issuer_not_allowed",
    /// The token was issued for somebody else.
    TokenAudienceMismatch => "token_audience_mismatch",
    /// A required claim is missing or has the wrong shape.
    TokenClaimsInvalid => "token_claims_invalid",
    /// The token lives longer than the issuer's `max_lifetime`.
    TokenLifetime => "token_lifetime",
    /// The profile cannot tell whether the token is a user's or a client's.
    TokenSubjectAmbiguous => "token_subject_ambiguous",
    /// The token says that its groups are elsewhere.
    TokenGroupsOverage => "token_groups_overage",
    /// No key of the issuer has this `kid`.
    TokenKeyUnknown => "token_key_unknown",
    /// The token is bound to a key that the request does not prove.
    TokenBinding => "token_binding",
    /// The token, its subject or its session was revoked.
    TokenRevoked => "token_revoked",
    /// The issuer's keys cannot be had.
    IssuerKeysUnavailable => "issuer_keys_unavailable",
    /// An asserted subject is not known.
    SubjectUnknown => "subject_unknown",
    /// No policy permits it.
    NoPermit => "no_permit",
    /// A policy forbids it.
    Forbidden => "forbidden",
    /// A policy failed to evaluate, and `on_error` makes that a denial.
    PolicyError => "policy_error",
    /// No valid policy snapshot is loaded.
    PoliciesUnavailable => "policies_unavailable",
    /// More scopes would turn it into a permit.
    InsufficientScope => "insufficient_scope",
    /// A stronger or fresher authentication would turn it into a permit.
    InsufficientUserAuthentication => "insufficient_user_authentication",
    /// The request names no configured resource.
    ResourceUnknown => "resource_unknown",
    /// The resource has no such tool, route or field.
    TargetUnknown => "target_unknown",
    /// The protocol has no such method.
    MethodUnknown => "method_unknown",
    /// The arguments fail the input schema or the limits.
    ArgumentsInvalid => "arguments_invalid",
    /// The request cannot be read without guessing.
    RequestMalformed => "request_malformed",
    /// The proxy sent only part of the body.
    RequestTruncated => "request_truncated",
    /// The decision needs a body, and none came.
    RequestBodyMissing => "request_body_missing",
    /// A header that mirrors the body differs from it.
    HeaderMismatch => "header_mismatch",
    /// The session belongs to somebody else.
    SessionMismatch => "session_mismatch",
    /// The exchange was refused.
    ExchangeRefused => "exchange_refused",
    /// The exchange is still under way.
    ExchangePending => "exchange_pending",
    /// The user has to consent at the identity provider.
    ExchangeConsentRequired => "exchange_consent_required",
    /// The user has to interact with the identity provider.
    ExchangeInteractionRequired => "exchange_interaction_required",
    /// The identity provider cannot be reached for the exchange.
    ExchangeUnavailable => "exchange_unavailable",
    /// The caller of the decision service is not who it must be.
    PepUnauthenticated => "pep_unauthenticated",
    /// The caller may not ask this.
    PepNotAllowed => "pep_not_allowed",
    /// Too many requests.
    RateLimited => "rate_limited",
    /// The service sheds load.
    Overloaded => "overloaded",
    /// The decision took longer than the deadline.
    DeadlineExceeded => "deadline_exceeded",
    /// The decision could not be recorded.
    AuditUnavailable => "audit_unavailable",
    /// A defect of the service itself.
    InternalError => "internal_error",
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = String;

    fn from_str(code: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.as_str() == code)
            .ok_or_else(|| format!("`{code}` is not a reason code"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_serialized_form_is_the_code() {
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
            assert_eq!(reason.as_str().parse(), Ok(*reason));
        }
    }
}
