//! GraphQL operations with what a schema's directives ask for them, as policies of the tools that are made of them.
//!
//! A router leaves out of an answer what the caller's scopes do not cover, so that a tool gives half an answer and nobody is asked
//! for more. [`policies`] writes what an operation asks for as a refusal of its tool, which a step-up can answer; and
//! [`disagreements`] says where a configuration and a schema do not fit together.
//!
//! What the directives say is read elsewhere; here it comes as sets of names. A refusal is written, never a permission: who may
//! use a tool is for the authors of policies.

mod required;

use std::collections::{BTreeMap, BTreeSet};

use palisade_model::{ResourceName, Scope};
use serde::Serialize;

use crate::cedar::{Condition, Effect, Policy, action_in, quoted, set, uid};
use crate::report::printable;

pub use required::Required;

/// An operation, and what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// The name, which is that of the tool.
    pub name: String,
    /// The file that it is written in.
    pub file: String,
    /// Its keyword.
    pub kind: &'static str,
    /// Whether somebody has to be authenticated. A scope needs that, too.
    pub authenticated: bool,
    /// The scopes.
    pub scopes: Required,
    /// The names of `@policy`.
    pub policies: Required,
    /// What asks for something: types and fields by their coordinates.
    pub asked_by: BTreeSet<String>,
}

/// What a configuration says of the resource that the operations are of.
#[derive(Debug, Clone, Default)]
pub struct Configured {
    /// Every scope that the resource names.
    pub scopes: BTreeSet<String>,
    /// The tools of the catalogue; nothing where there is none to compare with.
    pub tools: Option<BTreeSet<String>>,
    /// Who is permitted which tools.
    pub permitted: Vec<Permitted>,
}

/// A call that the policies permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permitted {
    /// Who.
    pub who: String,
    /// The tool.
    pub tool: String,
    /// Whether it is somebody.
    pub authenticated: bool,
    /// The scopes of the token, with those that they imply.
    pub scopes: BTreeSet<String>,
}

/// Where a configuration and a schema do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Disagreement {
    /// No token can hold a scope that the schema asks for (RFC 6749, section 3.3).
    NoScope {
        /// The name.
        scope: String,
        /// Whose operations ask for it.
        operations: BTreeSet<String>,
    },
    /// The resource does not name a scope that the schema asks for, so that no client is ever asked for it.
    UnlistedScope {
        /// The scope.
        scope: String,
        /// Whose operations ask for it.
        operations: BTreeSet<String>,
    },
    /// The catalogue has no such tool.
    NoTool {
        /// The operation.
        operation: String,
    },
    /// The resource is read with another schema.
    OtherSchema {
        /// Its file.
        file: String,
    },
    /// A document that clients may name by its hash does not fit the schema.
    UnfitDocument {
        /// The hash.
        hash: String,
        /// Why.
        why: String,
    },
    /// The policies permit a call to who gets only a part of its answer.
    Permitted {
        /// Who.
        who: String,
        /// The tool.
        tool: String,
        /// What the schema asks for.
        needs: String,
    },
}

/// The refusals, one for each operation that asks for something, as Cedar text that is not yet laid out.
#[must_use]
pub fn policies(operations: &[Operation], server: &ResourceName, schema: &str) -> String {
    let mut text = format!("// Written by `palisade policy generate` from {}.\n", printable(schema));
    for operation in operations {
        let needed = operation.condition();
        if needed == Condition::Always {
            continue;
        }
        text.push('\n');
        text.push_str(&refusal(operation, server, needed).text(true));
    }
    text
}

/// Every disagreement, scopes first, then in the order of the operations.
#[must_use]
pub fn disagreements(operations: &[Operation], configured: &Configured) -> Vec<Disagreement> {
    let mut scopes: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for operation in operations {
        for scope in operation.scopes.names() {
            scopes.entry(scope).or_default().insert(operation.name.clone());
        }
    }
    let mut found: Vec<Disagreement> = scopes
        .into_iter()
        .filter(|(scope, _)| !configured.scopes.contains(*scope))
        .map(|(scope, operations)| match scope.parse::<Scope>() {
            Ok(_) => Disagreement::UnlistedScope { scope: scope.to_owned(), operations },
            Err(_) => Disagreement::NoScope { scope: scope.to_owned(), operations },
        })
        .collect();
    for operation in operations {
        if configured.tools.as_ref().is_some_and(|tools| !tools.contains(&operation.name)) {
            found.push(Disagreement::NoTool { operation: operation.name.clone() });
        }
        let calls = configured.permitted.iter().filter(|call| call.tool == operation.name);
        found.extend(calls.filter(|call| !operation.is_answered_whole(call)).map(|call| {
            Disagreement::Permitted {
                who: call.who.clone(),
                tool: call.tool.clone(),
                needs: operation.needs(),
            }
        }));
    }
    found
}

impl Operation {
    /// What it asks of a token, in words.
    #[must_use]
    pub fn needs(&self) -> String {
        match (self.scopes.is_empty(), self.needs_somebody()) {
            (false, _) => self.scopes.to_string(),
            (true, true) => "a token".to_owned(),
            (true, false) => "nothing".to_owned(),
        }
    }

    fn needs_somebody(&self) -> bool {
        self.authenticated || !self.scopes.is_empty()
    }

    fn is_answered_whole(&self, call: &Permitted) -> bool {
        (call.authenticated || !self.needs_somebody()) && self.scopes.held(&call.scopes)
    }

    fn condition(&self) -> Condition {
        let somebody = Condition::is("!(principal is Anonymous)".to_owned());
        let token = if self.authenticated { somebody } else { Condition::Always };
        let each = self.scopes.each.iter().map(|sets| Condition::any(sets.iter().map(has_all)));
        Condition::all([token, has_all(&self.scopes.all)].into_iter().chain(each))
    }
}

fn refusal(operation: &Operation, server: &ResourceName, needed: Condition) -> Policy {
    let asked_by: Vec<&str> = operation.asked_by.iter().map(String::as_str).collect();
    let mut comment = vec![format!("{}: {}", operation.file, asked_by.join(", "))];
    if !operation.policies.is_empty() {
        comment.push(format!("Beside the scopes the schema asks the policies {}.", operation.policies));
    }
    Policy {
        of: server.to_string(),
        id: format!("{server}-{}-requires", operation.name),
        comment,
        effect: Effect::Forbid,
        principal: None,
        action: action_in("Mcp::Action", &["tools/call"]),
        resource: format!("resource == {}", uid("Mcp::Tool", &format!("{server}/{}", operation.name))),
        when: needed.negated(),
        guarded: false,
        reserved: false,
    }
}

fn has_all(scopes: &BTreeSet<String>) -> Condition {
    let names: Vec<&String> = scopes.iter().collect();
    match names.as_slice() {
        [] => Condition::Always,
        [one] => Condition::is(format!("context.scopes.contains({})", quoted(one))),
        several => Condition::is(format!("context.scopes.containsAll({})", set(several))),
    }
}

impl std::fmt::Display for Disagreement {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let listed = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
        match self {
            Self::NoScope { scope, operations } => {
                write!(formatter, "`{scope}` is no scope, no token can hold it: {}", listed(operations))
            }
            Self::UnlistedScope { scope, operations } => write!(
                formatter,
                "the resource does not name the scope `{scope}`, so that no client is asked for it: {}",
                listed(operations)
            ),
            Self::NoTool { operation } => write!(formatter, "`{operation}` is no tool of the catalogue"),
            Self::OtherSchema { file } => {
                write!(formatter, "{file}, which the resource is read with, is another schema")
            }
            Self::UnfitDocument { hash, why } => write!(formatter, "of the manifest, `{hash}`: {why}"),
            Self::Permitted { who, tool, needs } => write!(
                formatter,
                "`{who}` is permitted `{tool}` and gets only a part of its answer: the schema asks for {needs}"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
