//! What a condition begins by demanding of the context.
//!
//! `context.scopes.contains("a") && ..` is false, and errs in nothing, for whoever has not the scope `a`; so is
//! `context.surface == "ext_authz" && ..` on another surface. Such a policy may be filed under what it demands. That
//! holds of the first conjunct alone: whatever stands before a conjunct could err. And it holds while the context has
//! the member: to ask for a member that is not there, or for an element of what is no set, is an error, which has to be
//! found. So a context without such a member fulfils every demand on it.

use cedar_policy::Policy;
use cedar_policy_core::ast::{self, BinaryOp, Expr, ExprKind, Literal, Value, ValueKind, Var};
use rustc_hash::FxHashMap;
use smol_str::SmolStr;

use super::{Atom, Mentions, index::ANY};
use crate::values::Record;

/// What policies demand of the members of a context.
#[derive(Debug, Default)]
pub(crate) struct Demands {
    members: FxHashMap<SmolStr, Demanded>,
    atoms: Atom,
}

/// What policies demand of one member.
#[derive(Debug, Default)]
struct Demanded {
    /// That it is this.
    equal: FxHashMap<Literal, Atom>,
    /// That it is a set that has this.
    contained: FxHashMap<Literal, Atom>,
}

/// One of these has to be fulfilled for a policy to hold.
struct Alternatives<'p> {
    member: &'p SmolStr,
    within_set: bool,
    values: Vec<&'p Literal>,
}

impl Demands {
    /// What stands for the demands of a policy; one of these has to be true of a request for which it holds.
    pub(super) fn of(&mut self, policy: &Policy) -> Vec<Atom> {
        let policy: &ast::Policy = policy.as_ref();
        let Some(alternatives) = policy.non_scope_constraints().and_then(first_demand) else {
            return vec![ANY];
        };
        let demanded = self.members.entry(alternatives.member.clone()).or_default();
        let known = if alternatives.within_set { &mut demanded.contained } else { &mut demanded.equal };
        let atom = |value: &Literal| {
            *known.entry(value.clone()).or_insert_with(|| {
                self.atoms += 1;
                self.atoms
            })
        };
        alternatives.values.into_iter().map(atom).collect()
    }

    /// Whether the members of the token are all that policies demand anything of.
    pub(crate) fn are_all_on(&self, of_token: &Record) -> bool {
        self.members.keys().all(|name| of_token.contains_key(name))
    }

    /// What is true of a context whose members of the token are these, and the rest of which comes later.
    pub(crate) fn of_token(&self, record: &Record) -> Vec<Atom> {
        let mut truths = vec![ANY];
        for (name, demanded) in &self.members {
            if let Some(value) = record.get(name) {
                demanded.add_truths(Some(value), &mut truths);
            }
        }
        truths
    }

    /// Adds what is true of the rest.
    pub(crate) fn add_rest(&self, of_token: &Record, whole: &Record, truths: &mut Vec<Atom>) {
        for (name, demanded) in &self.members {
            if !of_token.contains_key(name) {
                demanded.add_truths(whole.get(name), truths);
            }
        }
    }
}

impl Demanded {
    fn add_truths(&self, value: Option<&Value>, truths: &mut Vec<Atom>) {
        match value.map(Value::value_kind) {
            None => truths.extend(self.equal.values().chain(self.contained.values())),
            Some(ValueKind::Lit(literal)) => {
                truths.extend(self.equal.get(literal));
                truths.extend(self.contained.values());
            }
            Some(ValueKind::Set(set)) => truths.extend(set.iter().filter_map(|element| {
                let ValueKind::Lit(literal) = element.value_kind() else { return None };
                self.contained.get(literal)
            })),
            Some(ValueKind::Record(_) | ValueKind::ExtensionValue(_)) => {
                truths.extend(self.contained.values())
            }
        }
    }
}

fn first_demand(condition: &Expr) -> Option<Alternatives<'_>> {
    let first = conjuncts(condition).last()?;
    let ExprKind::BinaryApp { op, arg1, arg2 } = first.expr_kind() else { return None };
    if *op == BinaryOp::Eq {
        let of = |one, other| Some((member(one)?, vec![literal(other)?]));
        let (member, values) = of(arg1, arg2).or_else(|| of(arg2, arg1))?;
        return Some(Alternatives { member, within_set: false, values });
    }
    let member = member(arg1)?;
    let values = if *op == BinaryOp::Contains {
        vec![literal(arg2)?]
    } else if *op == BinaryOp::ContainsAny {
        literals(arg2)?
    } else if *op == BinaryOp::ContainsAll {
        // Whoever lacks one of them lacks them all together.
        literals(arg2)?.into_iter().take(1).collect()
    } else {
        return None;
    };
    // Of an empty set nothing is asked for: the policy keeps no key of its own.
    (!values.is_empty()).then_some(Alternatives { member, within_set: true, values })
}

/// The scopes without any one of which a condition does not hold: those that its conjuncts ask for.
pub(crate) fn needed_scopes(condition: &Expr) -> impl Iterator<Item = &SmolStr> {
    conjuncts(condition).flat_map(all_asked_for).filter_map(|value| match value {
        Literal::String(scope) => Some(scope),
        Literal::Bool(_) | Literal::Long(_) | Literal::EntityUID(_) => None,
    })
}

fn all_asked_for(conjunct: &Expr) -> Vec<&Literal> {
    let ExprKind::BinaryApp { op, arg1, arg2 } = conjunct.expr_kind() else { return Vec::new() };
    if !is_scopes(arg1) {
        Vec::new()
    } else if *op == BinaryOp::Contains {
        literal(arg2).into_iter().collect()
    } else if *op == BinaryOp::ContainsAll {
        literals(arg2).unwrap_or_default()
    } else {
        Vec::new()
    }
}

/// Whether this is `context.scopes`.
pub(crate) fn is_scopes(expression: &Expr) -> bool {
    of_context(expression).is_some_and(|name| name == "scopes")
}

/// The operands of a chain of `&&`, the last one first. The parser nests them to the left.
fn conjuncts(condition: &Expr) -> impl Iterator<Item = &Expr> {
    let mut next = Some(condition);
    std::iter::from_fn(move || {
        let ExprKind::And { left, right } = next?.expr_kind() else { return next.take() };
        next = Some(left);
        Some(right.as_ref())
    })
}

/// The member of the context that this is, if it is one that stays as it is from the index on: arguments are looked
/// at later, and the login of a token may be another for a stronger one.
fn member(expression: &Expr) -> Option<&SmolStr> {
    let name = of_context(expression)?;
    (!Mentions::of(expression).any_of(Mentions::ARGUMENTS.and(Mentions::LOGIN))).then_some(name)
}

fn of_context(expression: &Expr) -> Option<&SmolStr> {
    let ExprKind::GetAttr { expr, attr } = expression.expr_kind() else { return None };
    matches!(expr.expr_kind(), ExprKind::Var(Var::Context)).then_some(attr)
}

fn literals(expression: &Expr) -> Option<Vec<&Literal>> {
    let ExprKind::Set(elements) = expression.expr_kind() else { return None };
    elements.iter().map(literal).collect()
}

fn literal(expression: &Expr) -> Option<&Literal> {
    let ExprKind::Lit(literal) = expression.expr_kind() else { return None };
    Some(literal)
}
