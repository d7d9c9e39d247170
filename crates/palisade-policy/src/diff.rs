//! What a change of policies changes: which policies came, went and became others, and which decisions come out
//! differently.
//!
//! Both sides are asked the same questions: everybody of both sides about everything that either knows
//! ([`matrix_questions`]), or whatever else [`Difference::of`] is given, such as recorded decisions. What neither side
//! was asked is not said to be the same.

mod recorded;
mod unrecorded;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use palisade_model::ResourceName;
use serde::Serialize;

use crate::{
    Deployment, Inquiry, Outcome, Persona, Policies, PolicyRef, Sources, TestBed,
    matrix::{inquiry, questions},
    parse,
};

pub use recorded::{NotRebuilt, Recorded};

/// One of the two sets that are compared.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// The policies.
    pub policies: &'a Policies,
    /// What they were loaded from.
    pub sources: &'a Sources,
    /// What they are asked about.
    pub deployment: &'a Deployment,
}

/// What differs between two sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The policies that differ, in order of id.
    pub policies: Vec<PolicyChange>,
    /// The decisions that differ, in the order they were asked for.
    pub decisions: Vec<DecisionChange>,
    /// How many decisions were compared.
    pub compared: u64,
}

/// What became of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyChange {
    /// Where it was; nothing for one that came.
    pub before: Option<PolicyRef>,
    /// Where it is; nothing for one that went.
    pub after: Option<PolicyRef>,
}

/// A decision that comes out differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecisionChange {
    /// Who asks.
    pub who: String,
    /// What is done, as an entity.
    pub action: String,
    /// What it is done to, as an entity.
    pub target: String,
    /// The resource.
    pub resource: ResourceName,
    /// How it came out.
    pub before: Outcome,
    /// How it comes out.
    pub after: Outcome,
    /// How many decisions this one stands for.
    pub times: u64,
}

impl Difference {
    /// Puts every question to both sides. Each question stands for a number of decisions.
    #[must_use]
    pub fn of(before: Side<'_>, after: Side<'_>, asked: impl IntoIterator<Item = (Inquiry, u64)>) -> Self {
        let mut difference =
            Self { policies: policies(before.sources, after.sources), decisions: Vec::new(), compared: 0 };
        for (inquiry, times) in asked {
            let (was, is) = (before.answer(&inquiry), after.answer(&inquiry));
            difference.compared += times;
            if !was.same_for_a_caller(&is) {
                difference.decisions.push(DecisionChange {
                    who: inquiry.who,
                    action: inquiry.action.entity(),
                    target: inquiry.target.entity(),
                    resource: inquiry.resource,
                    before: was,
                    after: is,
                    times,
                });
            }
        }
        difference
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty() && self.decisions.is_empty()
    }

    /// How many decisions come out differently.
    #[must_use]
    pub fn changed(&self) -> u64 {
        self.decisions.iter().map(|change| change.times).sum()
    }
}

impl Side<'_> {
    /// How this side answers.
    #[must_use]
    pub fn answer(&self, inquiry: &Inquiry) -> Outcome {
        inquiry.ask(self.policies, &self.deployment.settings(&inquiry.resource))
    }
}

/// Everybody of both sides, asked about everything that either side knows.
#[must_use]
pub fn matrix_questions(before: (Side<'_>, &TestBed), after: (Side<'_>, &TestBed)) -> Vec<Inquiry> {
    let sides = [after, before];
    let mut personas: Vec<&Persona> = Vec::new();
    for persona in sides.iter().flat_map(|(_, bed)| &bed.personas) {
        if !personas.contains(&persona) {
            personas.push(persona);
        }
    }
    let worlds = || sides.iter().map(|(side, _)| &side.deployment.world);
    let resources: BTreeSet<&ResourceName> =
        worlds().flat_map(|world| &world.resources).map(|resource| &resource.name).collect();
    let mut inquiries = Vec::new();
    for resource in resources {
        let mut asked = Vec::new();
        for (side, bed) in sides {
            for question in questions(side.policies, &side.deployment.world, resource) {
                if !asked.iter().any(|(known, _)| *known == question) {
                    asked.push((question, bed));
                }
            }
        }
        for persona in personas.iter().filter(|persona| persona.is_asked_about(resource)) {
            for ((action, target), bed) in &asked {
                inquiries.push(inquiry(persona, bed, resource, action, target));
            }
        }
    }
    inquiries
}

fn policies(before: &Sources, after: &Sources) -> Vec<PolicyChange> {
    let (before, after) = (written(before), written(after));
    let ids: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    ids.into_iter()
        .filter_map(|id| {
            let (was, is) = (before.get(id), after.get(id));
            let same = was.map(|(_, form)| form) == is.map(|(_, form)| form);
            let place = |side: Option<&(PolicyRef, String)>| side.map(|(place, _)| place.clone());
            (!same).then(|| PolicyChange { before: place(was), after: place(is) })
        })
        .collect()
}

/// Every policy with its place and its form: what it says, however it is laid out.
fn written(sources: &Sources) -> BTreeMap<String, (PolicyRef, String)> {
    let mut found = BTreeMap::new();
    for file in &sources.policies {
        for policy in parse::written(file) {
            let place = PolicyRef { id: policy.id.clone(), file: file.path.clone(), line: policy.place.0 };
            let form = policy.policy.to_json().map(|form| form.to_string()).unwrap_or_default();
            found.insert(policy.id, (place, form));
        }
    }
    found
}

/// The policies, then the decisions, then how many were compared.
impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.policies {
            writeln!(formatter, "{change}")?;
        }
        for change in &self.decisions {
            write!(formatter, "{change}")?;
        }
        writeln!(formatter, "{} of {} decisions change", self.changed(), self.compared)
    }
}

/// `+ policy id (file:line)`, with `-` for one that went and `~` for one that says something else now.
impl fmt::Display for PolicyChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |policy: &PolicyRef| format!("{}:{}", policy.file, policy.line);
        match (&self.before, &self.after) {
            (None, Some(after)) => write!(formatter, "+ policy {} ({})", after.id, place(after)),
            (Some(before), None) => write!(formatter, "- policy {} ({})", before.id, place(before)),
            (Some(before), Some(after)) => {
                write!(formatter, "~ policy {} ({} -> {})", after.id, place(before), place(after))
            }
            (None, None) => Ok(()),
        }
    }
}

/// `who: action on target: before -> after`, then who decided on either side.
impl fmt::Display for DecisionChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}: {} on {}: {} -> {}",
            self.who, self.action, self.target, self.before, self.after
        )?;
        if self.times > 1 {
            write!(formatter, " ({} times)", self.times)?;
        }
        writeln!(formatter)?;
        for (when, outcome) in [("before", &self.before), ("after", &self.after)] {
            if let Some(code) = &outcome.policy_code {
                writeln!(formatter, "    {when}: code {code}")?;
            }
            for policy in &outcome.determining {
                writeln!(formatter, "    {when}: {} ({}:{})", policy.id, policy.file, policy.line)?;
            }
            for obligation in &outcome.obligations {
                writeln!(formatter, "    {when}: obligation {obligation}")?;
            }
            for advice in &outcome.advice {
                writeln!(formatter, "    {when}: advice {advice}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
