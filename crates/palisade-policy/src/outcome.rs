//! What the service would answer: the verdict of the policies, and what would help where that is a denial.
//!
//! Tests, matrices and differences all compare these, so that they speak of what a caller meets and not of policies
//! alone. An [`Inquiry`] owns everything a [`Query`] borrows.

use std::{collections::BTreeMap, fmt, time::Duration};

use cedar_policy_core::ast::Expr;
use palisade_model::{
    Action, Arguments, Authority, Circumstances, Properties, Reason, ResourceName, Scope, Scopes, Subject,
    Target,
};
use serde::{Deserialize, Serialize, Serializer};

use crate::{Offer, Policies, PolicyRef, Query, StepUp, Strength, Verdict, step_up, with_implied};

/// One question, with all it speaks of.
#[derive(Debug, Clone)]
pub struct Inquiry {
    /// What the one who asks is called in reports.
    pub who: String,
    /// Whose authority is used.
    pub subject: Subject,
    /// What the token says; none without a token. Its scopes are those before the implied ones are added.
    pub authority: Option<Authority>,
    /// What is to be done.
    pub action: Action,
    /// What it is done to.
    pub target: Target,
    /// The resource the target belongs to.
    pub resource: ResourceName,
    /// The arguments.
    pub arguments: Option<Arguments>,
    /// What the caller supplies of the target's attributes.
    pub supplied: Properties,
    /// What holds for the request as a whole.
    pub circumstances: Circumstances,
}

/// What a configuration says of one resource beside what policies see of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceSettings {
    /// Every scope that the resource names anywhere.
    pub scopes: Scopes,
    /// What a step-up may ask for, weakest first.
    pub step_up: Vec<Scope>,
    /// What a scope brings with it.
    pub implies: BTreeMap<Scope, Vec<Scope>>,
    /// Authentication context classes, weakest first.
    pub acr_values: Vec<String>,
    /// Ages of an authentication, laxest first.
    pub max_age: Vec<Duration>,
}

/// The three outcomes of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decided {
    /// Permitted.
    Permit,
    /// Denied.
    Deny,
    /// Denied, and a stronger token would be permitted.
    StepUp,
}

/// An answer of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// How it came out.
    pub decision: Decided,
    /// Why.
    pub reason: Reason,
    /// The scopes that are missing.
    pub missing_scopes: Vec<Scope>,
    /// The authentication context classes one of which is missing.
    pub acr_values: Vec<String>,
    /// How old the login may be, where it is too old.
    #[serde(serialize_with = "in_seconds")]
    pub max_age: Option<Duration>,
    /// The `@deny_code` of the forbid that decided.
    pub policy_code: Option<String>,
    /// The obligations of a permit.
    pub obligations: Vec<String>,
    /// The advice of the policies that decided.
    pub advice: Vec<String>,
    /// The policies that decided.
    pub determining: Vec<PolicyRef>,
}

impl Decided {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
            Self::StepUp => "step-up",
        }
    }
}

impl Inquiry {
    /// Asks the policies, and what would help.
    #[must_use]
    pub fn ask(&self, policies: &Policies, settings: &ResourceSettings) -> Outcome {
        self.verdict(policies, settings).0
    }

    /// The same with the verdict it came from.
    pub(crate) fn verdict(&self, policies: &Policies, settings: &ResourceSettings) -> (Outcome, Verdict) {
        let scopes = self.scopes(settings);
        let query = self.query(&scopes);
        // As the service does it: what the catalogue refuses, no policy is asked about.
        if self.arguments.as_ref().is_some_and(|arguments| !policies.accepts(&self.target, arguments)) {
            let says = "the arguments fail the tool's input schema";
            let verdict = Verdict::refusal(Reason::ArgumentsInvalid, says);
            return (Outcome::new(&verdict, StepUp::None), verdict);
        }
        let verdict = policies.evaluate(&query);
        // As the service does it: where a policy could not be evaluated, no other token is offered as a way in.
        let offered = if matches!(verdict.reason(), Reason::NoPermit | Reason::Forbidden) {
            step_up(policies, &query, &settings.offer(), || true)
        } else {
            StepUp::None
        };
        (Outcome::new(&verdict, offered), verdict)
    }

    /// The conditions of all policies that could be about this with whatever scopes and arguments.
    pub(crate) fn conditions(&self, policies: &Policies, settings: &ResourceSettings) -> Vec<Expr> {
        let scopes = self.scopes(settings);
        let query = self.query(&scopes);
        let subject = policies.prepare(query.subject, query.authority, query.strength);
        // What cannot be put to the policies is refused whatever they look at.
        let Ok(put) = policies.ask(&subject, query.circumstances).put_open(&query.about(), None) else {
            return Vec::new();
        };
        let candidates = policies.engine().policies(&put.candidates);
        candidates.filter_map(|(_, policy)| policy.non_scope_constraints().cloned()).collect()
    }

    fn scopes(&self, settings: &ResourceSettings) -> Scopes {
        let held = self.authority.as_ref().map(|held| held.scopes.clone()).unwrap_or_default();
        with_implied(&held, &settings.implies)
    }

    fn query<'a>(&'a self, scopes: &'a Scopes) -> Query<'a> {
        let held = self.authority.as_ref();
        Query {
            subject: &self.subject,
            authority: held,
            strength: Strength {
                scopes,
                acr: held.and_then(|held| held.acr.as_deref()),
                auth_time: held.and_then(|held| held.auth_time),
            },
            action: &self.action,
            target: &self.target,
            resource: &self.resource,
            arguments: self.arguments.as_ref(),
            supplied: Some(&self.supplied),
            circumstances: &self.circumstances,
        }
    }
}

impl ResourceSettings {
    fn offer(&self) -> Offer<'_> {
        Offer {
            step_up: &self.step_up,
            implies: &self.implies,
            acr_values: &self.acr_values,
            max_age: &self.max_age,
        }
    }
}

impl Outcome {
    fn new(verdict: &Verdict, offered: StepUp) -> Self {
        let (missing_scopes, acr_values, max_age) = match &offered {
            StepUp::Scopes(scopes) => (scopes.clone(), Vec::new(), None),
            StepUp::Authentication { acr_values, max_age } => (Vec::new(), acr_values.clone(), *max_age),
            StepUp::None | StepUp::Exhausted => (Vec::new(), Vec::new(), None),
        };
        let (decision, reason) = match (verdict.permits(), &offered) {
            (true, _) => (Decided::Permit, Reason::Permitted),
            (false, StepUp::Scopes(_)) => (Decided::StepUp, Reason::InsufficientScope),
            (false, StepUp::Authentication { .. }) => {
                (Decided::StepUp, Reason::InsufficientUserAuthentication)
            }
            (false, StepUp::None | StepUp::Exhausted) => (Decided::Deny, verdict.reason()),
        };
        Self {
            decision,
            reason,
            missing_scopes,
            acr_values,
            max_age,
            policy_code: verdict.policy_code().map(str::to_owned),
            obligations: verdict.obligations().to_vec(),
            advice: verdict.advice().to_vec(),
            determining: verdict.determining().to_vec(),
        }
    }

    /// Whether a caller would notice no difference.
    #[must_use]
    pub fn same_for_a_caller(&self, other: &Self) -> bool {
        self.decision == other.decision
            && self.missing_scopes == other.missing_scopes
            && self.acr_values == other.acr_values
            && self.max_age == other.max_age
            && self.policy_code == other.policy_code
            && self.obligations == other.obligations
            && self.advice == other.advice
    }
}

/// `permit`, `deny`, `step-up: files:read files:write`, `step-up: acr=urn:example:mfa max_age=900s`.
impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.decision.as_str())?;
        if self.decision == Decided::StepUp {
            formatter.write_str(":")?;
        }
        for scope in &self.missing_scopes {
            write!(formatter, " {scope}")?;
        }
        for acr in &self.acr_values {
            write!(formatter, " acr={acr}")?;
        }
        if let Some(age) = self.max_age {
            write!(formatter, " max_age={}s", age.as_secs())?;
        }
        Ok(())
    }
}

fn in_seconds<S: Serializer>(age: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    age.map(|age| age.as_secs()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{Matrix, SourceFile, Sources, TestBed};

    const TESTS: &str = "resources:
  demo: {kind: mcp, identifier: x, catalog: tools.json, scopes: {step_up: [files:read]}}
matrix:
  personas: [{name: bob, principal: {user: corp/bob}}]
  arguments: {demo/read: {n: 9223372036854775807}}
cases: []
";

    /// A stronger token would be let in by the other forbid; the service does not look for one where a policy failed.
    #[test]
    fn a_stronger_token_is_offered_where_the_service_offers_one() {
        let cell = |limit: &str| {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("tools.json"), r#"[{"name": "read"}]"#).unwrap();
            fs::write(folder.path().join("a.test.yaml"), TESTS).unwrap();
            let policies = format!(
                "@id(\"all\") permit (principal is User, action in Mcp::Action::\"tools/call\", resource in Mcp::Server::\"demo\");\n\
                 @id(\"limit\") forbid (principal, action in Mcp::Action::\"tools/call\", resource in Mcp::Server::\"demo\")\n\
                 when {{ !context.scopes.contains(\"files:read\") && context.args.number.hasTag(\"/n\")\n\
                 && context.args.number.getTag(\"/n\"){limit} > 3 }};"
            );
            let bed = TestBed::read(folder.path()).unwrap();
            let sources =
                Sources { policies: vec![SourceFile::new("a.cedar", policies)], ..Sources::default() };
            let policies = Policies::load(&sources, &bed.deployment.world, bed.deployment.on_error).unwrap();
            let column =
                |table: &crate::Table| table.columns.iter().position(|column| column.name == "read").unwrap();
            let table = Matrix::of(&policies, &bed).tables.remove(0);
            let at = column(&table);
            table.rows[0].cells[at].clone()
        };
        assert_eq!(cell("").to_string(), "step-up: files:read");
        let failed = cell(" + 1");
        assert_eq!((failed.decision, failed.reason), (Decided::Deny, Reason::PolicyError));
    }
}
