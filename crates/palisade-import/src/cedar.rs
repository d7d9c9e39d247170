//! Cedar text: quoting, conditions, policies.
//!
//! Policies are built from values, never by pasting text of the source: every name goes through [`uid`], [`quoted`] or
//! [`pattern`]. The one place where the source itself is shown is a comment, on one line.
//!
//! A condition of the source has three values: true, false, and "error", which permits and forbids nothing. That is why
//! an expression is translated into a pair of conditions (when it is true, when it is false), and a negation swaps them.

use std::fmt;

use crate::report::printable;

/// A Cedar string literal.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

/// A Cedar entity: `Mcp::Tool::"files/read"`.
pub(crate) fn uid(kind: &str, id: &str) -> String {
    format!("{kind}::{}", quoted(id))
}

/// A set of Cedar string literals.
pub(crate) fn set<T: AsRef<str>>(texts: &[T]) -> String {
    let members: Vec<String> = texts.iter().map(|text| quoted(text.as_ref())).collect();
    format!("[{}]", members.join(", "))
}

/// The action of a scope: `action in Mcp::Action::"tools/call"`, or `action in [..]`.
pub(crate) fn action_in<T: AsRef<str>>(kind: &str, names: &[T]) -> String {
    let actions: Vec<String> = names.iter().map(|name| uid(kind, name.as_ref())).collect();
    match actions.as_slice() {
        [one] => format!("action in {one}"),
        several => format!("action in [{}]", several.join(", ")),
    }
}

/// A pattern of `like`: the parts, with anything between them.
pub(crate) fn pattern(parts: &[&str]) -> String {
    let literal: Vec<String> = parts.iter().map(|part| escaped(part).replace('*', "\\*")).collect();
    format!("\"{}\"", literal.join("*"))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                escaped.push('\\');
                escaped.push(character);
            }
            plain if plain == ' ' || plain.is_ascii_graphic() || plain.is_alphanumeric() => {
                escaped.push(plain)
            }
            other => escaped.extend(other.escape_unicode()),
        }
    }
    escaped
}

/// A condition that cannot fail: it is true or false for every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    Always,
    Never,
    /// `principal in` this role or group.
    In(String),
    /// `principal ==` this user.
    User(String),
    /// `resource ==` this target.
    Target(String),
    /// A Cedar expression that binds stronger than `&&`.
    Is(String),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

impl Condition {
    pub(crate) fn is(text: String) -> Self {
        Self::Is(text)
    }

    pub(crate) fn constant(value: bool) -> Self {
        if value { Self::Always } else { Self::Never }
    }

    pub(crate) fn negated(self) -> Self {
        if self == Self::Always {
            Self::Never
        } else if self == Self::Never {
            Self::Always
        } else if let Self::Not(inner) = self {
            *inner
        } else {
            Self::Not(Box::new(self))
        }
    }

    pub(crate) fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let parts = unlike(parts.into_iter().flat_map(Self::conjuncts), &Self::Always);
        if parts.contains(&Self::Never) { Self::Never } else { one_or(parts, Self::Always, Self::All) }
    }

    pub(crate) fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let parts = unlike(parts.into_iter().flat_map(Self::disjuncts), &Self::Never);
        if parts.contains(&Self::Always) { Self::Always } else { one_or(parts, Self::Never, Self::Any) }
    }

    fn conjuncts(self) -> Vec<Self> {
        if let Self::All(parts) = self { parts } else { vec![self] }
    }

    fn disjuncts(self) -> Vec<Self> {
        if let Self::Any(parts) = self { parts } else { vec![self] }
    }

    /// The first conjunct that `pick` takes, and the rest.
    fn split(self, pick: impl Fn(&Self) -> Option<String>) -> (Option<String>, Self) {
        let (mut picked, mut rest) = (None, Vec::new());
        for part in self.conjuncts() {
            match pick(&part).filter(|_| picked.is_none()) {
                Some(text) => picked = Some(text),
                None => rest.push(part),
            }
        }
        (picked, Self::all(rest))
    }
}

/// The conditions, each once, without those that change nothing.
fn unlike(parts: impl Iterator<Item = Condition>, neutral: &Condition) -> Vec<Condition> {
    let mut kept: Vec<Condition> = Vec::new();
    for part in parts {
        if part != *neutral && !kept.contains(&part) {
            kept.push(part);
        }
    }
    kept
}

fn one_or(mut parts: Vec<Condition>, none: Condition, several: fn(Vec<Condition>) -> Condition) -> Condition {
    if parts.len() > 1 { several(parts) } else { parts.pop().unwrap_or(none) }
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |parts: &[Self], operator: &str| {
            let texts: Vec<String> = parts
                .iter()
                .map(|part| {
                    let compound = matches!(part, Self::All(_) | Self::Any(_));
                    if compound { format!("({part})") } else { part.to_string() }
                })
                .collect();
            texts.join(operator)
        };
        match self {
            Self::Always => formatter.write_str("true"),
            Self::Never => formatter.write_str("false"),
            Self::In(uid) => write!(formatter, "principal in {uid}"),
            Self::User(uid) => write!(formatter, "principal == {uid}"),
            Self::Target(uid) => write!(formatter, "resource == {uid}"),
            Self::Is(text) => formatter.write_str(text),
            Self::Not(inner) => write!(formatter, "!({inner})"),
            Self::All(parts) => formatter.write_str(&joined(parts, " && ")),
            Self::Any(parts) => formatter.write_str(&joined(parts, " || ")),
        }
    }
}

/// What a policy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Permit,
    Forbid,
}

/// One policy, with what it came from.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// The resource it belongs to.
    pub(crate) of: String,
    pub(crate) id: String,
    /// The lines of its comment.
    pub(crate) comment: Vec<String>,
    pub(crate) effect: Effect,
    /// The principal in the scope, where there is one: `principal is User`.
    pub(crate) principal: Option<String>,
    /// `action in [..]`, or `action`.
    pub(crate) action: String,
    /// The resource in the scope: `resource in Mcp::Server::".."`.
    pub(crate) resource: String,
    pub(crate) when: Condition,
    /// A permission that stands under the reserve that every refusal of the source could be written, too.
    pub(crate) guarded: bool,
    /// A permission that is written as a comment whatever else holds.
    pub(crate) reserved: bool,
}

impl Policy {
    /// The policy as Cedar text, or as a comment.
    pub(crate) fn text(&self, in_force: bool) -> String {
        let (principal, when) = self.principal_scope();
        let (target, when) = when.split(|part| {
            if let Condition::Target(uid) = part { Some(format!("resource == {uid}")) } else { None }
        });
        let effect = match self.effect {
            Effect::Permit => "permit",
            Effect::Forbid => "forbid",
        };
        let scope =
            [principal, self.action.clone(), target.unwrap_or_else(|| self.resource.clone())].join(", ");
        let condition = if when == Condition::Always {
            String::new()
        } else if let (Condition::Not(inner), Effect::Forbid) = (&when, self.effect) {
            format!("\nunless {{ {inner} }}")
        } else {
            format!("\nwhen {{ {when} }}")
        };
        let policy = format!("@id({})\n{effect} ({scope}){condition};\n", quoted(&self.id));
        let mut text: String = self.comment.iter().map(|line| format!("// {}\n", printable(line))).collect();
        if in_force {
            text.push_str(&policy);
        } else {
            text.extend(policy.lines().map(|line| format!("//   {line}\n")));
        }
        text
    }

    /// Everybody with a token is a user or a client; a role, a group and a user in the scope say so already.
    fn principal_scope(&self) -> (String, Condition) {
        if let Some(principal) = &self.principal {
            return (principal.clone(), self.when.clone());
        }
        let (scoped, rest) = self
            .when
            .clone()
            .split(|part| matches!(part, Condition::In(_) | Condition::User(_)).then(|| part.to_string()));
        match (scoped, self.effect) {
            (Some(scoped), _) => (scoped, rest),
            (None, Effect::Forbid) => ("principal".to_owned(), rest),
            (None, Effect::Permit) => {
                let signed_in = Condition::is("!(principal is Anonymous)".to_owned());
                ("principal".to_owned(), Condition::all([signed_in, rest]))
            }
        }
    }
}
