//! A policy in the form that lints look at: its head, the conjuncts of its condition, and where its words stand.

use std::cell::RefCell;

use cedar_policy::pst::{
    ActionConstraint, BinaryOp, Clause, EntityOrSlot, EntityUID, Expr, Literal, PrincipalConstraint,
    ResourceConstraint, UnaryOp, Var,
};
use cedar_policy::{Effect as CedarEffect, EntityUid};

use super::Lint;
use crate::{Diagnostic, Effect, SourceFile, diagnostic::position, parse::Written};

/// Type and id of an entity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Uid {
    pub(super) type_name: String,
    pub(super) id: String,
}

/// What the head asks of the principal, or of the resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Bound {
    Any,
    Is(String),
    In(Uid),
    IsIn(String, Uid),
    Equals(Uid),
}

/// What the head asks of the action. An action is in itself and in its groups, but it equals nothing but itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Actions {
    Any,
    Equals(Uid),
    In(Vec<Uid>),
}

/// One policy.
#[derive(Debug)]
pub(super) struct Statement<'a> {
    pub(super) id: String,
    pub(super) effect: Effect,
    pub(super) principal: Bound,
    pub(super) actions: Actions,
    pub(super) resource: Bound,
    /// What has to hold beside the head: each of these. An `unless` is a negated conjunct.
    pub(super) conjuncts: Vec<Expr>,
    /// Whether it says more than permit or forbid, with an annotation that decisions carry.
    pub(super) speaks: bool,
    pub(super) file: &'a SourceFile,
    pub(super) place: (usize, usize),
    offset: usize,
    length: usize,
}

impl Uid {
    pub(super) fn new(type_name: impl Into<String>, id: impl Into<String>) -> Self {
        Self { type_name: type_name.into(), id: id.into() }
    }

    pub(super) fn shown(&self) -> String {
        format!("{}::{:?}", self.type_name, self.id)
    }
}

impl From<&EntityUID> for Uid {
    fn from(uid: &EntityUID) -> Self {
        Self::new(uid.ty.to_string(), uid.eid.as_str())
    }
}

impl From<&EntityUid> for Uid {
    fn from(uid: &EntityUid) -> Self {
        Self::new(uid.type_name().to_string(), uid.id().unescaped())
    }
}

impl<'a> Statement<'a> {
    /// Nothing for a template, which loading refuses.
    pub(super) fn new(written: &Written, file: &'a SourceFile) -> Option<Self> {
        let policy = &written.policy;
        let form = policy.to_pst().ok()?;
        let template = form.body();
        let mut conjuncts = Vec::new();
        for clause in template.clauses() {
            match clause {
                Clause::When(condition) => split(condition, &mut conjuncts),
                Clause::Unless(condition) => split_negated(condition, &mut conjuncts),
            }
        }
        let spoken = ["deny_code", "obligation", "advice"];
        Some(Self {
            id: written.id.clone(),
            effect: match policy.effect() {
                CedarEffect::Permit => Effect::Permit,
                CedarEffect::Forbid => Effect::Forbid,
            },
            principal: principal(&template.principal)?,
            actions: match &template.action {
                ActionConstraint::Any => Actions::Any,
                ActionConstraint::Eq(uid) => Actions::Equals(uid.into()),
                ActionConstraint::In(uids) => Actions::In(uids.iter().map(Uid::from).collect()),
            },
            resource: resource(&template.resource)?,
            conjuncts,
            speaks: spoken.iter().any(|name| policy.annotation(name).is_some()),
            file,
            place: written.place,
            offset: written.offset,
            length: policy.to_cedar().map_or(0, |text| text.len()),
        })
    }

    /// A finding about the policy as a whole.
    pub(super) fn finding(&self, lint: Lint, message: impl Into<String>) -> Diagnostic {
        Diagnostic::of(lint, &self.file.path, message).at(self.place)
    }

    /// A finding about something that the policy says: at the first place where it is written so.
    pub(super) fn finding_at(&self, words: &str, lint: Lint, message: impl Into<String>) -> Diagnostic {
        let text = self.file.text.get(self.offset..self.offset + self.length).unwrap_or_default();
        let place =
            text.find(words).map_or(self.place, |found| position(&self.file.text, self.offset + found));
        self.finding(lint, message).at(place)
    }

    /// Where it is written, for a finding about another.
    pub(super) fn named(&self) -> String {
        format!("`{}` ({}:{})", self.id, self.file.path, self.place.0)
    }

    /// Visits every expression of the condition, the outer before the inner.
    pub(super) fn visit(&self, mut see: impl FnMut(&Expr)) {
        for conjunct in &self.conjuncts {
            visit(conjunct, &mut see);
        }
    }
}

/// Visits an expression and all within it, the outer before the inner.
pub(super) fn visit(expression: &Expr, see: &mut dyn FnMut(&Expr)) {
    let see = RefCell::new(see);
    let look = |inner: &Expr| {
        see.borrow_mut()(inner);
        None
    };
    expression.reduce(&look, &|(), ()| (), ());
}

/// What has to hold for the expression to hold, as far as `&&` says so.
pub(super) fn split(expression: &Expr, into: &mut Vec<Expr>) {
    if let Expr::BinaryOp { op: BinaryOp::And, left, right } = expression {
        split(left, into);
        split(right, into);
    } else if let Expr::UnaryOp { op: UnaryOp::Not, expr } = expression {
        split_negated(expr, into);
    } else {
        into.push(expression.clone());
    }
}

/// What has to hold for the expression not to hold.
pub(super) fn split_negated(expression: &Expr, into: &mut Vec<Expr>) {
    if let Expr::BinaryOp { op: BinaryOp::Or, left, right } = expression {
        split_negated(left, into);
        split_negated(right, into);
    } else if let Expr::UnaryOp { op: UnaryOp::Not, expr } = expression {
        split(expr, into);
    } else {
        into.push(negated(expression));
    }
}

pub(super) fn negated(expression: &Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOp::Not, expr: expression.clone().into() }
}

/// The text of a literal.
pub(super) fn text_of(expression: &Expr) -> Option<&str> {
    let Expr::Literal(Literal::String(text)) = expression else { return None };
    Some(text)
}

/// The name in `context.name`.
pub(super) fn of_context(expression: &Expr) -> Option<&str> {
    let Expr::GetAttr { expr, attr } = expression else { return None };
    matches!(**expr, Expr::Var(Var::Context)).then_some(attr.as_str())
}

/// The bag in `context.args.bag`.
pub(super) fn bag(expression: &Expr) -> Option<&str> {
    let Expr::GetAttr { expr, attr } = expression else { return None };
    (of_context(expr) == Some("args")).then_some(attr.as_str())
}

fn principal(constraint: &PrincipalConstraint) -> Option<Bound> {
    Some(match constraint {
        PrincipalConstraint::Any => Bound::Any,
        PrincipalConstraint::Eq(entity) => Bound::Equals(fixed(entity)?),
        PrincipalConstraint::In(entity) => Bound::In(fixed(entity)?),
        PrincipalConstraint::Is(type_name) => Bound::Is(type_name.to_string()),
        PrincipalConstraint::IsIn(type_name, entity) => Bound::IsIn(type_name.to_string(), fixed(entity)?),
    })
}

fn resource(constraint: &ResourceConstraint) -> Option<Bound> {
    Some(match constraint {
        ResourceConstraint::Any => Bound::Any,
        ResourceConstraint::Eq(entity) => Bound::Equals(fixed(entity)?),
        ResourceConstraint::In(entity) => Bound::In(fixed(entity)?),
        ResourceConstraint::Is(type_name) => Bound::Is(type_name.to_string()),
        ResourceConstraint::IsIn(type_name, entity) => Bound::IsIn(type_name.to_string(), fixed(entity)?),
    })
}

fn fixed(entity: &EntityOrSlot) -> Option<Uid> {
    match entity {
        EntityOrSlot::Entity(uid) => Some(uid.into()),
        EntityOrSlot::Slot(_) => None,
    }
}
