//! A CEL rule of agentgateway as Cedar conditions.
//!
//! The flow: the `cel` crate parses a rule; [`Translator::translate`] gives the pair of conditions under which it is true
//! and under which it is false, for a request to a tool, a prompt or a resource. Where CEL fails, neither holds, and
//! agentgateway takes a rule that fails for one that does not match. `&&`, `||` and `!` are those of the language
//! definition: a failing operand counts only where the other does not decide.
//!
//! What has no counterpart is an [`Untranslatable`]. Claims are tags of the principal, and the first claim named `roles` or
//! `groups` that a rule looks into is where roles or groups are.
//!
//! A claim that is a text and one that is a list of this text alone look alike there, and agentgateway tells them apart:
//! `==` holds for the text only, `in` finds every part of a text, and `exists` fails for one. A refusal takes the reading
//! that refuses more, and is an [`Untranslatable`] where there is none; a permission takes the plain one (a text for `==`,
//! a list for the others), and the report says so.

use std::collections::BTreeSet;

use cel::{
    IdedExpr,
    common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, SelectExpr, operators},
    parser::Parser,
};
use palisade_model::IssuerName;

use super::operand::{Kind, Operand, operand, operand_of, root_kind, split_at_spaces};
use crate::cedar::{Condition, pattern, quoted, uid};

/// Why a rule has no exact counterpart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Untranslatable(pub(super) String);

type Translated = Result<Pair, Untranslatable>;

/// What a rule does where it holds; `Require` refuses where it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Allow,
    Deny,
    Require,
}

/// When an expression is true and when it is false; otherwise it fails.
///
/// INVARIANT: both hold at least where they should in a `deny`, and at most there in a `require`. `&&`, `||` and `!` keep
/// that, because none of them takes the opposite of a condition.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) holds: Result<Condition, Untranslatable>,
    fails: Result<Condition, Untranslatable>,
}

/// The claims that rules speak of, of all rules of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct ClaimUse {
    pub(super) roles: Option<String>,
    pub(super) groups: Option<String>,
    pub(super) tags: BTreeSet<String>,
    /// Whether a rule tests a value that may be a text or a list.
    pub(super) values: bool,
}

/// A route's MCP servers, as the names of its tools show them.
#[derive(Debug)]
pub(super) struct Targets {
    /// Their names, where they are known.
    pub(super) names: Option<Vec<String>>,
    /// Whether `<target>_` stands before the names of tools and prompts.
    pub(super) prefixed: bool,
}

#[derive(Debug)]
pub(super) struct Translator<'a> {
    pub(super) resource: &'a str,
    pub(super) issuers: &'a [(IssuerName, String)],
    pub(super) targets: &'a Targets,
    pub(super) claims: &'a mut ClaimUse,
    pub(super) kind: Kind,
    pub(super) mode: Mode,
    /// Whether the rule speaks of scopes.
    pub(super) scopes: bool,
}

/// How a rule looks for a text in a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lookup {
    /// `"a" in claim`: an element of a list, or any part of a text.
    In,
    /// `claim.exists(x, x == "a")`: an element of a list.
    Exists,
    /// `"a" in claim.split(" ")`: a word of a text.
    Words,
}

/// How deep rules may be nested.
const DEEPEST: u16 = 48;
const LONGEST: usize = 8 * 1024;
/// Why a refusal cannot rest on `==` or `!=`.
const ALONE: &str = "it tells a text from a list of this text alone, which look alike to policies";
/// Why a refusal cannot rest on `in`.
const PARTS: &str = "where the claim is a text, `in` finds parts of it, which policies cannot; for a claim that is a list, \
                     write `deny` with `claim.exists(x, x == \"a\")`";
/// Why a refusal cannot rest on `exists`.
const LISTS: &str = "it fails for a text, which looks like a list of this text alone to policies";

/// Parses a rule.
pub(super) fn parse(rule: &str) -> Result<IdedExpr, Untranslatable> {
    if rule.len() > LONGEST {
        return Err(Untranslatable("the rule is too long to be read".to_owned()));
    }
    Parser::new().max_recursion_depth(DEEPEST).parse(rule).map_err(|_| no("it is no CEL expression"))
}

fn no(why: &str) -> Untranslatable {
    Untranslatable(why.to_owned())
}

impl Pair {
    fn exact(holds: Condition, fails: Condition) -> Translated {
        Ok(Self { holds: Ok(holds), fails: Ok(fails) })
    }

    fn constant(value: bool) -> Translated {
        Self::exact(Condition::constant(value), Condition::constant(!value))
    }

    /// An expression that cannot fail.
    fn total(holds: Condition) -> Translated {
        let fails = holds.clone().negated();
        Self::exact(holds, fails)
    }

    /// An expression that always fails.
    fn error() -> Translated {
        Self::exact(Condition::Never, Condition::Never)
    }

    /// An expression of which only the truth has a counterpart.
    fn only_true(holds: Condition, why: &str) -> Translated {
        Ok(Self { holds: Ok(holds), fails: Err(no(why)) })
    }

    fn negated(self) -> Self {
        Self { holds: self.fails, fails: self.holds }
    }
}

fn both(left: Pair, right: Pair) -> Pair {
    either([left.negated(), right.negated()]).negated()
}

fn either(pairs: impl IntoIterator<Item = Pair>) -> Pair {
    let mut whole = Pair { holds: Ok(Condition::Never), fails: Ok(Condition::Always) };
    for pair in pairs {
        let holds = whole.holds.and_then(|whole| Ok(Condition::any([whole, pair.holds?])));
        let fails = whole.fails.and_then(|whole| Ok(Condition::all([whole, pair.fails?])));
        whole = Pair { holds, fails };
    }
    whole
}

impl Translator<'_> {
    pub(super) fn translate(&mut self, expression: &IdedExpr) -> Translated {
        match &expression.expr {
            Expr::Literal(LiteralValue::Boolean(value)) => Pair::constant(*value.inner()),
            Expr::Call(call) => self.call(call),
            Expr::Select(select) if select.test => self.has(select),
            Expr::Comprehension(comprehension) => self.exists(comprehension),
            Expr::Select(_) => Err(no("a claim by itself is no condition: compare it")),
            Expr::Unspecified
            | Expr::Ident(_)
            | Expr::List(_)
            | Expr::Literal(_)
            | Expr::Map(_)
            | Expr::Struct(_) => Err(no("it is no condition on claims or names")),
        }
    }

    fn call(&mut self, call: &CallExpr) -> Translated {
        match (call.func_name.as_str(), &call.target, call.args.as_slice()) {
            (operators::LOGICAL_AND, None, [left, right]) => {
                Ok(both(self.translate(left)?, self.translate(right)?))
            }
            (operators::LOGICAL_OR, None, [left, right]) => {
                Ok(either([self.translate(left)?, self.translate(right)?]))
            }
            (operators::LOGICAL_NOT, None, [inner]) => Ok(self.translate(inner)?.negated()),
            (operators::EQUALS, None, [left, right]) => self.equals(left, right),
            (operators::NOT_EQUALS, None, [left, right]) => Ok(self.equals(left, right)?.negated()),
            (operators::IN, None, [element, list]) => self.contained(element, list),
            (function @ ("startsWith" | "endsWith" | "contains"), Some(target), [argument]) => {
                self.part(function, target, argument)
            }
            (function, _, _) => Err(Untranslatable(format!("`{function}` has no exact counterpart"))),
        }
    }

    fn equals(&mut self, left: &IdedExpr, right: &IdedExpr) -> Translated {
        match (operand(left), operand(right)) {
            (Operand::Claim(path), Operand::Text(text)) | (Operand::Text(text), Operand::Claim(path)) => {
                self.claim_is(&path, text)
            }
            (Operand::Mcp(kind, field), Operand::Text(text))
            | (Operand::Text(text), Operand::Mcp(kind, field)) => self.name(kind, field, "==", text),
            (Operand::Text(left), Operand::Text(right)) => Pair::constant(left == right),
            (Operand::Text(_) | Operand::Claim(_) | Operand::Mcp(..) | Operand::Other, _) => {
                Err(no("only claims and names can be compared, and with texts only"))
            }
        }
    }

    fn claim_is(&mut self, path: &[&str], text: &str) -> Translated {
        match path {
            ["sub"] => self.subject(text),
            ["iss"] => {
                let known = self.issuers.iter().find(|(_, issuer)| issuer == text);
                match known {
                    Some((name, _)) => {
                        Pair::total(Condition::is(format!("context.issuer == {}", quoted(name.as_str()))))
                    }
                    None => Pair::constant(false),
                }
            }
            ["aud"] => {
                let equal = Condition::is(format!("context.audience == [{}]", quoted(text)));
                Ok(self.text_is(&Condition::Always, equal))
            }
            ["scope" | "scp"] => Err(no("scopes are a set: write `\"a\" in jwt.scope.split(\" \")`")),
            [] | ["rawToken"] => Err(no("the token as a whole is not known to policies")),
            _ => {
                let tag = self.tag(path);
                let equal = Condition::is(format!("{} == [{}]", get_tag(&tag), quoted(text)));
                Ok(self.text_is(&has_tag(&tag), equal))
            }
        }
    }

    /// Whether a claim that is `present` is a text. `equal` holds for the list of this text alone, too.
    fn text_is(&mut self, present: &Condition, equal: Condition) -> Pair {
        self.claims.values = true;
        let holds = Condition::all([present.clone(), equal.clone()]);
        let fails = Condition::all([present.clone(), equal.negated()]);
        match self.mode {
            Mode::Allow => Pair { holds: Ok(holds), fails: Ok(fails) },
            Mode::Deny => Pair { holds: Ok(holds), fails: Err(no(ALONE)) },
            Mode::Require => Pair { holds: Err(no(ALONE)), fails: Ok(fails) },
        }
    }

    fn subject(&mut self, text: &str) -> Translated {
        let tag = self.tag(&["sub"]);
        let equal = Condition::is(format!("{} == [{}]", get_tag(&tag), quoted(text)));
        let fails = Condition::all([has_tag(&tag), equal.clone().negated()]);
        let by_tag = Condition::all([has_tag(&tag), equal]);
        // A user's own entity is exact for users, and for clients of some profiles only: no refusal may rest on it. Without
        // an issuer that is known there is no entity to name.
        if self.mode != Mode::Allow || self.issuers.is_empty() {
            return Pair::exact(by_tag, fails);
        }
        let users =
            self.issuers.iter().map(|(issuer, _)| Condition::User(uid("User", &format!("{issuer}/{text}"))));
        let user = Condition::any(users);
        let client = Condition::all([Condition::is("principal is Client".to_owned()), by_tag]);
        Pair::exact(Condition::any([user, client]), fails)
    }

    fn contained(&mut self, element: &IdedExpr, list: &IdedExpr) -> Translated {
        if let Expr::List(literals) = &list.expr {
            let pairs: Result<Vec<Pair>, Untranslatable> =
                literals.elements.iter().map(|literal| self.equals(element, literal)).collect();
            return Ok(either(pairs?));
        }
        let Operand::Text(text) = operand(element) else { return Err(no("only a text can be looked up")) };
        if let Some(claim) = split_at_spaces(list) {
            return if matches!(claim.as_slice(), ["scope" | "scp"]) {
                self.member(&claim, text, Lookup::Words)
            } else {
                Err(no("only `scope` and `scp` are lists of words"))
            };
        }
        match operand(list) {
            Operand::Claim(path) => self.member(&path, text, Lookup::In),
            Operand::Text(_) | Operand::Mcp(..) | Operand::Other => Err(no("only claims can be looked into")),
        }
    }

    /// Whether a claim holds a text.
    fn member(&mut self, path: &[&str], text: &str, lookup: Lookup) -> Translated {
        match path {
            ["aud"] => {
                let listed = Condition::is(format!("context.audience.contains({})", quoted(text)));
                Ok(self.looked_up(listed.clone(), listed.negated(), lookup))
            }
            ["scope"] if lookup != Lookup::Words => {
                Err(no("`scope` is a text: write `\"a\" in jwt.scope.split(\" \")`"))
            }
            ["scope" | "scp"] => {
                self.scopes = true;
                let listed = Condition::is(format!("context.scopes.contains({})", quoted(text)));
                let Pair { holds, .. } = self.looked_up(listed, Condition::Never, lookup);
                Pair::only_true(
                    holds?,
                    "whether a token has a claim for scopes at all is not known to policies",
                )
            }
            [] | ["sub" | "iss" | "rawToken"] => Err(no("this is no claim that is a list")),
            _ => {
                let claim = claim_path(path);
                let holds = self.group(path, &claim, text);
                self.claims.tags.insert(claim.clone());
                let has = has_tag(&claim);
                let listed = Condition::is(format!("{}.contains({})", get_tag(&claim), quoted(text)));
                let by_tag = Condition::all([has.clone(), listed.clone()]);
                let fails = Condition::all([has, listed.negated()]);
                Ok(self.looked_up(holds.unwrap_or(by_tag), fails, lookup))
            }
        }
    }

    /// The pair for a claim that is a list. What it says of a text is what it says of the list of this text alone.
    fn looked_up(&mut self, holds: Condition, fails: Condition, lookup: Lookup) -> Pair {
        self.claims.values |= lookup != Lookup::Words;
        match (self.mode, lookup) {
            (Mode::Allow, _) | (_, Lookup::Words) | (Mode::Deny, Lookup::Exists) => {
                Pair { holds: Ok(holds), fails: Ok(fails) }
            }
            (Mode::Deny, Lookup::In) => Pair { holds: Err(no(PARTS)), fails: Ok(fails) },
            (Mode::Require, Lookup::In) => Pair { holds: Ok(holds), fails: Err(no(PARTS)) },
            (Mode::Require, Lookup::Exists) => Pair { holds: Err(no(LISTS)), fails: Err(no(LISTS)) },
        }
    }

    /// The role or group of a claim that is where roles or groups are.
    fn group(&mut self, path: &[&str], claim: &str, text: &str) -> Option<Condition> {
        let (kind, known) = match path.last() {
            Some(&"roles") => ("Role", &mut self.claims.roles),
            Some(&"groups") => ("Group", &mut self.claims.groups),
            Some(_) | None => return None,
        };
        if self.issuers.is_empty() || known.get_or_insert_with(|| claim.to_owned()) != claim {
            return None;
        }
        let member =
            |(issuer, _): &(IssuerName, String)| Condition::In(uid(kind, &format!("{issuer}/{text}")));
        Some(Condition::any(self.issuers.iter().map(member)))
    }

    fn has(&mut self, select: &SelectExpr) -> Translated {
        if let Some(kind) = root_kind(&select.operand, &select.field) {
            return Pair::constant(kind == self.kind);
        }
        let Operand::Claim(mut path) = operand_of(&select.operand) else {
            return Err(no("only the presence of claims has a counterpart"));
        };
        path.push(&select.field);
        match path.as_slice() {
            ["sub" | "iss" | "aud" | "exp"] => Pair::constant(true),
            ["scope" | "scp" | "rawToken"] => {
                Err(no("whether a token has a claim for scopes is not known to policies"))
            }
            [_] => {
                let tag = self.tag(&path);
                Pair::total(has_tag(&tag))
            }
            _ => {
                let tag = self.tag(&path);
                Pair::only_true(
                    has_tag(&tag),
                    "`has` fails where an outer claim is missing, which tags do not show",
                )
            }
        }
    }

    /// `list.exists(x, x == "a")`: the one comprehension with a counterpart.
    fn exists(&mut self, comprehension: &ComprehensionExpr) -> Translated {
        const WHY: &str = "of the functions over lists, only `exists` with `==` has an exact counterpart";
        let Operand::Claim(path) = operand(&comprehension.iter_range) else { return Err(no(WHY)) };
        let Expr::Call(step) = &comprehension.loop_step.expr else { return Err(no(WHY)) };
        let starts_false = matches!(&comprehension.accu_init.expr, Expr::Literal(LiteralValue::Boolean(value)) if !*value.inner());
        let (operators::LOGICAL_OR, true, [_, test]) =
            (step.func_name.as_str(), starts_false, step.args.as_slice())
        else {
            return Err(no(WHY));
        };
        let Expr::Call(test) = &test.expr else { return Err(no(WHY)) };
        let (operators::EQUALS, [left, right]) = (test.func_name.as_str(), test.args.as_slice()) else {
            return Err(no(WHY));
        };
        let is_variable =
            |side: &IdedExpr| matches!(&side.expr, Expr::Ident(name) if *name == comprehension.iter_var);
        match (operand(left), operand(right)) {
            (_, Operand::Text(text)) if is_variable(left) => self.member(&path, text, Lookup::Exists),
            (Operand::Text(text), _) if is_variable(right) => self.member(&path, text, Lookup::Exists),
            (Operand::Text(_) | Operand::Claim(_) | Operand::Mcp(..) | Operand::Other, _) => Err(no(WHY)),
        }
    }

    fn part(&mut self, function: &str, target: &IdedExpr, argument: &IdedExpr) -> Translated {
        match (operand(target), operand(argument)) {
            (Operand::Mcp(kind, field), Operand::Text(text)) => self.name(kind, field, function, text),
            (Operand::Claim(_), Operand::Text(_)) => Err(Untranslatable(format!(
                "`{function}` looks into the text of a claim, which is a set of whole texts here"
            ))),
            (Operand::Text(_) | Operand::Claim(_) | Operand::Mcp(..) | Operand::Other, _) => {
                Err(Untranslatable(format!("`{function}` has a counterpart for names of tools only")))
            }
        }
    }

    /// A test of `mcp.tool.name`, `mcp.tool.target` and their like.
    fn name(&mut self, kind: Kind, field: &str, test: &str, text: &str) -> Translated {
        if kind != self.kind {
            return Pair::error();
        }
        match field {
            "target" => self.target(test, text),
            "name" if kind == Kind::Resource && self.targets.prefixed => {
                Err(no("how the gateway writes URIs of several targets is not known here"))
            }
            "name" if !self.targets.prefixed => Pair::total(self.named("", test, text)),
            "name" => {
                let prefixes = self.target_names()?.iter().map(|target| format!("{target}_"));
                Pair::total(Condition::any(prefixes.map(|prefix| self.named(&prefix, test, text))))
            }
            other => Err(Untranslatable(format!(
                "`{other}` of a tool, prompt or resource is not known to policies"
            ))),
        }
    }

    fn target(&self, test: &str, text: &str) -> Translated {
        let passes = |target: &&String| match test {
            "startsWith" => target.starts_with(text),
            "endsWith" => target.ends_with(text),
            "contains" => target.contains(text),
            _ => target.as_str() == text,
        };
        let passing: Vec<&String> = self.target_names()?.iter().filter(passes).collect();
        if !self.targets.prefixed {
            return Pair::constant(!passing.is_empty());
        }
        if self.kind == Kind::Resource {
            return Err(no("how the gateway writes URIs of several targets is not known here"));
        }
        let of_target = |target: &String| {
            Condition::is(format!("resource.name like {}", pattern(&[&format!("{target}_"), ""])))
        };
        Pair::total(Condition::any(passing.into_iter().map(of_target)))
    }

    fn target_names(&self) -> Result<&[String], Untranslatable> {
        self.targets
            .names
            .as_deref()
            .ok_or_else(|| no("the names of the route's MCP targets are not known here"))
    }

    fn named(&self, prefix: &str, test: &str, text: &str) -> Condition {
        let (entity, attribute) = match self.kind {
            Kind::Tool => ("Mcp::Tool", "name"),
            Kind::Prompt => ("Mcp::Prompt", "name"),
            Kind::Resource => ("Mcp::Resource", "uri"),
        };
        let like = |pattern: String| Condition::is(format!("resource.{attribute} like {pattern}"));
        match test {
            "startsWith" => like(pattern(&[&format!("{prefix}{text}"), ""])),
            "endsWith" => like(pattern(&[prefix, text])),
            "contains" => like(pattern(&[prefix, text, ""])),
            _ => Condition::Target(uid(entity, &format!("{}/{prefix}{text}", self.resource))),
        }
    }

    fn tag(&mut self, path: &[&str]) -> String {
        let claim = claim_path(path);
        self.claims.tags.insert(claim.clone());
        claim
    }
}

fn has_tag(claim: &str) -> Condition {
    Condition::is(format!("principal.hasTag({})", quoted(claim)))
}

fn get_tag(claim: &str) -> String {
    format!("principal.getTag({})", quoted(claim))
}

/// A claim as the configuration names it: a name, or a JSON pointer (RFC 6901).
fn claim_path(path: &[&str]) -> String {
    match path {
        [name] if !name.starts_with('/') => (*name).to_owned(),
        segments => segments
            .iter()
            .map(|segment| format!("/{}", segment.replace('~', "~0").replace('/', "~1")))
            .collect(),
    }
}
