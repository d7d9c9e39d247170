//! The engine: the one place where policies meet a request.
//!
//! Everything around it asks [`Engine::answer`] and reads an [`Answer`]; how the policies that matter are found is
//! known only here.

use std::fmt;

use cedar_policy::{AuthorizationError, Authorizer, Decision, Entities, EvaluationError, PolicySet, Request};

pub(crate) struct Engine {
    authorizer: Authorizer,
    policies: PolicySet,
}

/// What Cedar says, with ids in place of policies. The ids are in no order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) allowed: bool,
    /// The permits, or where there are any the forbids, that hold.
    pub(crate) determining: Vec<String>,
    /// The policies that could not be evaluated, and why.
    pub(crate) errors: Vec<(String, String)>,
    /// How many policies were evaluated.
    pub(crate) candidates: usize,
}

impl Engine {
    pub(crate) fn new(policies: PolicySet) -> Self {
        Self { authorizer: Authorizer::new(), policies }
    }

    pub(crate) fn answer(&self, request: &Request, entities: &Entities) -> Answer {
        let response = self.authorizer.is_authorized(request, &self.policies, entities);
        let diagnostics = response.diagnostics();
        Answer {
            allowed: response.decision() == Decision::Allow,
            determining: diagnostics.reason().map(ToString::to_string).collect(),
            errors: diagnostics.errors().map(failure).collect(),
            candidates: self.policies.num_of_policies(),
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Engine({} policies)", self.policies.num_of_policies())
    }
}

/// The policy and the cause. Messages of arithmetic and of extension functions quote values of the request, which
/// no record may hold.
fn failure(error: &AuthorizationError) -> (String, String) {
    let AuthorizationError::PolicyEvaluationError(error) = error;
    let inner = error.inner();
    let message = if matches!(inner, EvaluationError::IntegerOverflow(_)) {
        "integer overflow".to_owned()
    } else if matches!(inner, EvaluationError::FailedExtensionFunctionExecution(_)) {
        "an extension function refused its argument".to_owned()
    } else {
        inner.to_string()
    };
    (error.policy_id().to_string(), message)
}
