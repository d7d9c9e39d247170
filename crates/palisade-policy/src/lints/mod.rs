//! What is valid and probably not meant.
//!
//! [`lint`] looks at policies as they are written, one by one and beside each other, and at the deployment they are
//! for. It asks the policies nothing and changes no decision; loading does not wait for it. A lint that cannot be sure
//! is silent: a false alarm teaches authors to look away.

mod arguments;
mod conditions;
mod failing;
mod labels;
mod names;
mod reach;
mod scopes;
mod shadow;
mod statement;
mod targets;

use std::{collections::HashSet, fmt, str::FromStr};

use serde::Serialize;

use self::{reach::Reach, statement::Statement};
use crate::{Deployment, Diagnostic, Policies, Sources, parse};

/// A lint. The names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lint {
    /// A policy without an `@id`.
    MissingId,
    /// The head admits no request that the schema knows.
    NoRequest,
    /// The condition is false whatever is asked.
    NeverHolds,
    /// Text that looks like other text.
    ConfusableText,
    /// `action ==` where actions may be in that one.
    ActionEquals,
    /// A permit that can fail to evaluate.
    PermitMayFail,
    /// A forbid that can fail to evaluate.
    ForbidMayFail,
    /// A scope that is nearly another one, and is itself known to nobody.
    MisspeltScope,
    /// A scope that no resource lists.
    UnlistedScope,
    /// A permit for everybody, on everything, without a condition.
    UnconditionalPermit,
    /// A tool, group, server, route or service that is not there.
    UnknownTarget,
    /// A policy that changes nothing, because another one covers it.
    Shadowed,
    /// A forbid that fires only if an argument is there and of one type.
    AbsentArgument,
    /// An argument compared with the beginning of a path, and not with `..`.
    UnguardedPrefix,
    /// A policy that has to be looked at for every request.
    Unindexed,
    /// A name of `@policy` in a GraphQL schema that no policy could ever permit.
    UndecidedName,
    /// A policy on a type of a GraphQL schema alone: operations are asked about field by field.
    NeverAsked,
    /// A rule on a label of a GraphQL schema that stands on a type, and not on what is of it.
    PartlyLabelled,
}

impl Lint {
    /// Every lint.
    pub const ALL: [Self; 18] = [
        Self::MissingId,
        Self::NoRequest,
        Self::NeverHolds,
        Self::ConfusableText,
        Self::ActionEquals,
        Self::PermitMayFail,
        Self::ForbidMayFail,
        Self::MisspeltScope,
        Self::UnlistedScope,
        Self::UnconditionalPermit,
        Self::UnknownTarget,
        Self::Shadowed,
        Self::AbsentArgument,
        Self::UnguardedPrefix,
        Self::Unindexed,
        Self::UndecidedName,
        Self::NeverAsked,
        Self::PartlyLabelled,
    ];

    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingId => "missing-id",
            Self::NoRequest => "no-request",
            Self::NeverHolds => "never-holds",
            Self::ConfusableText => "confusable-text",
            Self::ActionEquals => "action-equals",
            Self::PermitMayFail => "permit-may-fail",
            Self::ForbidMayFail => "forbid-may-fail",
            Self::MisspeltScope => "misspelt-scope",
            Self::UnlistedScope => "unlisted-scope",
            Self::UnconditionalPermit => "unconditional-permit",
            Self::UnknownTarget => "unknown-target",
            Self::Shadowed => "shadowed",
            Self::AbsentArgument => "absent-argument",
            Self::UnguardedPrefix => "unguarded-prefix",
            Self::Unindexed => "unindexed",
            Self::UndecidedName => "undecided-name",
            Self::NeverAsked => "never-asked",
            Self::PartlyLabelled => "partly-labelled",
        }
    }
}

impl fmt::Display for Lint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Lint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<&str> = Self::ALL.iter().map(|lint| lint.as_str()).collect();
        let found = Self::ALL.into_iter().find(|lint| lint.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is no lint; there are {}", names.join(", ")))
    }
}

/// Everything that lints find in a set: what loading has noticed, and what its policies look like. In order of file and
/// line. `sources` are those that `policies` were loaded from.
#[must_use]
pub fn lint(policies: &Policies, sources: &Sources, deployment: &Deployment) -> Vec<Diagnostic> {
    let statements: Vec<Statement<'_>> = sources
        .policies
        .iter()
        .flat_map(|file| {
            parse::written(file).into_iter().filter_map(move |written| Statement::new(&written, file))
        })
        .collect();
    let reach = Reach::new(policies, sources, deployment);
    let unnarrowed: HashSet<&str> = policies.engine().unnarrowed().collect();
    let mut found = policies.warnings().to_vec();
    for statement in &statements {
        found.extend(conditions::lint(statement, &unnarrowed));
        found.extend(failing::lint(statement));
        found.extend(targets::lint(statement, &reach));
    }
    found.extend(arguments::lint(&statements, &reach));
    found.extend(scopes::lint(&statements, deployment));
    found.extend(shadow::lint(&statements, &reach));
    found.extend(names::lint(policies));
    found.extend(labels::lint(&statements, &deployment.world));
    found.sort_by(|left, right| {
        (&left.file, left.line, left.column, left.lint).cmp(&(
            &right.file,
            right.line,
            right.column,
            right.lint,
        ))
    });
    // The validator and this crate may both have seen that a policy never holds.
    found.dedup_by(|later, first| {
        let at = |one: &Diagnostic| (one.file.clone(), one.line, one.lint);
        later == first || (later.lint == Some(Lint::NeverHolds) && at(later) == at(first))
    });
    found
}

#[cfg(test)]
mod tests;
