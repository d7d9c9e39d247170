//! What a failure is: one of five kinds, by what the provider said or what kept it from saying anything.
//!
//! A caller learns the kind and nothing else of it, but for a challenge of the provider's, which its client must hear.
//! The rest is for the record.

use std::time::Duration;

use palisade_audit::ProviderErrorRecord;
use palisade_pdp::{ExchangeFailure, FailureKind};

use crate::{
    breaker::Health,
    response::{Answer, Refused},
};

/// For how long a refusal is good: as long as a person takes to change something.
const REFUSED: Duration = Duration::from_secs(30);
/// The same for a target that the provider does not know: that is a matter of configuration.
const UNKNOWN_TARGET: Duration = Duration::from_secs(5 * 60);

/// For how long nobody asks again with what this service could not check itself, for it had no place or no keys.
pub(crate) const UNCHECKED: Duration = Duration::from_secs(2);
/// The longest that a provider can send us away for.
pub(crate) const LONGEST_AWAY: Duration = Duration::from_secs(5 * 60);

/// A failure, for how long the same question has the same answer, and what it says of the provider.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    pub(crate) failure: ExchangeFailure,
    /// `None` where the next one may ask again: that the provider is not asked in a loop is then the breaker's concern.
    pub(crate) good_for: Option<Duration>,
    pub(crate) health: Health,
}

impl Failed {
    /// The provider could not be asked, or answered nothing of use to anybody.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        let failure = failure(FailureKind::Unavailable, detail);
        Self { failure, good_for: None, health: Health::Fails }
    }

    pub(crate) fn refused(detail: impl Into<String>) -> Self {
        let failure = failure(FailureKind::Refused, detail);
        Self { failure, good_for: Some(REFUSED), health: Health::Answers }
    }

    /// What was answered is of no use. That may be this request's doing: a token too long, or a gateway in front of the
    /// provider that dislikes it. So the same is not asked again for a while, and counts once.
    pub(crate) fn unusable(status: u16, why: &str) -> Self {
        let failed = Self::unavailable(format!("the provider answered with status {status}: {why}"));
        Self { good_for: (status < 500).then_some(REFUSED), ..failed }
    }

    /// This service could not check what was issued. The provider has no part in that.
    pub(crate) fn unchecked(detail: impl Into<String>) -> Self {
        Self { good_for: Some(UNCHECKED), health: Health::Answers, ..Self::unavailable(detail) }
    }

    /// Too many requests, or a provider that says when it is back. What else it says is for the record.
    pub(crate) fn busy(retry_after: Duration, status: u16, answer: Answer) -> Self {
        let retry_after = retry_after.min(LONGEST_AWAY);
        let mut failed = Self::unavailable("the provider asks to come back later");
        failed.failure.retry_after = Some(retry_after);
        let said = match answer {
            Answer::Refused(refused) => refused.said,
            Answer::Granted(_) | Answer::Unusable(_) => {
                ProviderErrorRecord { status: Some(status), ..ProviderErrorRecord::default() }
            }
        };
        failed.failure.said = Some(Box::new(said));
        if status == 429 {
            Self { good_for: Some(retry_after), health: Health::Throttles(retry_after), ..failed }
        } else {
            Self { health: Health::SendsAway(retry_after), ..failed }
        }
    }

    /// What a provider's refusal means.
    pub(crate) fn of(refused: Refused) -> Self {
        let said = &refused.said;
        let error = said.error.as_deref().unwrap_or_default();
        let (kind, detail) = kind(error, said, refused.claims.is_some());
        let good_for = match kind {
            FailureKind::Unavailable | FailureKind::Pending => None,
            FailureKind::Refused if is_unknown_target(error, said) => Some(UNKNOWN_TARGET),
            FailureKind::Refused | FailureKind::ConsentRequired | FailureKind::InteractionRequired => {
                Some(REFUSED)
            }
        };
        let claims = match kind {
            FailureKind::InteractionRequired | FailureKind::ConsentRequired => refused.claims,
            FailureKind::Refused | FailureKind::Pending | FailureKind::Unavailable => None,
        };
        let failure = ExchangeFailure {
            kind,
            detail: detail.to_owned(),
            said: Some(Box::new(refused.said)),
            claims,
            retry_after: None,
        };
        let health = match kind {
            FailureKind::Unavailable => Health::Fails,
            FailureKind::Refused
            | FailureKind::Pending
            | FailureKind::ConsentRequired
            | FailureKind::InteractionRequired => Health::Answers,
        };
        Self { failure, good_for, health }
    }
}

pub(crate) fn failure(kind: FailureKind, detail: impl Into<String>) -> ExchangeFailure {
    ExchangeFailure { kind, detail: detail.into(), said: None, claims: None, retry_after: None }
}

fn has_code(said: &ProviderErrorRecord, codes: &[&str]) -> bool {
    said.codes.iter().any(|code| codes.contains(&code.as_str()))
}

fn is_unknown_target(error: &str, said: &ProviderErrorRecord) -> bool {
    error == "invalid_target" || has_code(said, &["500011"])
}

/// Servers send `invalid_request` and `invalid_grant` for the same thing (RFC 8693 section 2.2.2): the subject's token is
/// not accepted. Entra says what it means by numbers.
fn kind(error: &str, said: &ProviderErrorRecord, has_claims: bool) -> (FailureKind, &'static str) {
    const CONSENT: [&str; 3] = ["65001", "65004", "consent_required"];
    const INTERACTION: [&str; 6] = ["50074", "50076", "50079", "50158", "53000", "53003"];
    if error == "consent_required" || has_code(said, &CONSENT) {
        return (FailureKind::ConsentRequired, "the user has to consent at the provider");
    }
    let interaction =
        matches!(error, "interaction_required" | "login_required" | "insufficient_user_authentication");
    if interaction || has_claims || has_code(said, &INTERACTION) {
        return (FailureKind::InteractionRequired, "the user has to interact with the provider");
    }
    if has_code(said, &["500131"]) {
        return (FailureKind::Refused, "the subject's token is not for the client that exchanges it");
    }
    match error {
        "invalid_request" | "invalid_grant" => {
            (FailureKind::Refused, "the provider does not accept the subject's token")
        }
        "invalid_target" => (FailureKind::Refused, "the provider issues no token for this audience"),
        "invalid_scope" => (FailureKind::Refused, "the provider does not grant these scopes"),
        "invalid_client" | "unauthorized_client" => {
            (FailureKind::Refused, "the provider does not let this client exchange tokens")
        }
        "unsupported_grant_type" => (FailureKind::Refused, "the provider exchanges no tokens"),
        "temporarily_unavailable" | "server_error" | "slow_down" => {
            (FailureKind::Unavailable, "the provider cannot answer now")
        }
        _ if said.status.is_some_and(|status| status >= 500) => {
            (FailureKind::Unavailable, "the provider cannot answer now")
        }
        _ => (FailureKind::Refused, "the provider refuses the exchange"),
    }
}
