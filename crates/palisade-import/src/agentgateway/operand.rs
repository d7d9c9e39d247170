//! What stands on a side of an operator of a CEL rule: a text, a claim, or a name of a tool, prompt or resource.

use cel::{
    IdedExpr,
    common::ast::{Expr, LiteralValue, operators},
};

/// What a rule is judged for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tool,
    Prompt,
    Resource,
}

/// What stands on a side of an operator.
pub(super) enum Operand<'a> {
    Text(&'a str),
    Claim(Vec<&'a str>),
    Mcp(Kind, &'a str),
    Other,
}

pub(super) fn operand(expression: &IdedExpr) -> Operand<'_> {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => Operand::Text(text.inner()),
        Expr::Select(select) if !select.test => selected(&select.operand, &select.field),
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::INDEX, [of, key]) => match &key.expr {
                Expr::Literal(LiteralValue::String(name)) => selected(of, name.inner()),
                Expr::Unspecified
                | Expr::Call(_)
                | Expr::Comprehension(_)
                | Expr::Ident(_)
                | Expr::List(_)
                | Expr::Literal(_)
                | Expr::Map(_)
                | Expr::Select(_)
                | Expr::Struct(_) => Operand::Other,
            },
            (_, _) => Operand::Other,
        },
        Expr::Unspecified
        | Expr::Comprehension(_)
        | Expr::Ident(_)
        | Expr::List(_)
        | Expr::Literal(_)
        | Expr::Map(_)
        | Expr::Select(_)
        | Expr::Struct(_) => Operand::Other,
    }
}

fn selected<'a>(of: &'a IdedExpr, field: &'a str) -> Operand<'a> {
    if field.is_empty() {
        return Operand::Other;
    }
    if let Expr::Select(inner) = &of.expr
        && !inner.test
        && let Some(kind) = root_kind(&inner.operand, &inner.field)
    {
        return Operand::Mcp(kind, field);
    }
    match operand_of(of) {
        Operand::Claim(mut path) => {
            path.push(field);
            Operand::Claim(path)
        }
        Operand::Text(_) | Operand::Mcp(..) | Operand::Other => Operand::Other,
    }
}

/// As [`operand`], where `jwt` alone is the empty path.
pub(super) fn operand_of(expression: &IdedExpr) -> Operand<'_> {
    match &expression.expr {
        Expr::Ident(name) if name == "jwt" => Operand::Claim(Vec::new()),
        Expr::Unspecified
        | Expr::Call(_)
        | Expr::Comprehension(_)
        | Expr::Ident(_)
        | Expr::List(_)
        | Expr::Literal(_)
        | Expr::Map(_)
        | Expr::Select(_)
        | Expr::Struct(_) => operand(expression),
    }
}

/// `mcp.tool`, `mcp.prompt`, `mcp.resource`.
pub(super) fn root_kind(of: &IdedExpr, field: &str) -> Option<Kind> {
    match (&of.expr, field) {
        (Expr::Ident(root), "tool") if root == "mcp" => Some(Kind::Tool),
        (Expr::Ident(root), "prompt") if root == "mcp" => Some(Kind::Prompt),
        (Expr::Ident(root), "resource") if root == "mcp" => Some(Kind::Resource),
        (_, _) => None,
    }
}

/// The claim of `claim.split(" ")`.
pub(super) fn split_at_spaces(expression: &IdedExpr) -> Option<Vec<&str>> {
    let Expr::Call(call) = &expression.expr else { return None };
    let (Some(target), [separator]) = (&call.target, call.args.as_slice()) else { return None };
    match (call.func_name.as_str(), operand(target), operand(separator)) {
        ("split", Operand::Claim(path), Operand::Text(" ")) => Some(path),
        (_, _, _) => None,
    }
}
