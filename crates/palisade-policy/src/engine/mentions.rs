//! What a condition hangs on, of the things that differ between the questions of a list.

use cedar_policy_core::ast::{Expr, ExprKind, Literal, Var};

/// A set of such things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mentions(u8);

impl Mentions {
    /// The arguments of the call, in either form.
    pub(crate) const ARGUMENTS: Self = Self(1);
    /// The scopes of the token.
    pub(crate) const SCOPES: Self = Self(2);
    /// How and when the user logged in.
    pub(crate) const LOGIN: Self = Self(4);
    /// Anything else that is another for another item: the target, the action, whether there are arguments.
    pub(crate) const ITEM: Self = Self(8);

    /// All of these.
    pub(crate) const ALL: Self = Self::ARGUMENTS.and(Self::SCOPES).and(Self::LOGIN).and(Self::ITEM);

    /// What an expression mentions.
    ///
    /// INVARIANT: an expression without [`ARGUMENTS`](Self::ARGUMENTS) has the same value whatever the arguments are,
    /// and so for the others. Arguments are reached by `context.args` and `context.input`, or by naming one of their
    /// entities, all of which stand in the namespace `Palisade`; no stored entity refers to one.
    pub(crate) fn of(expression: &Expr) -> Self {
        let mut found = Self::default();
        // How often the context is named, and how often it is asked for a member.
        let (mut named, mut asked) = (0_usize, 0_usize);
        for part in expression.subexpressions() {
            if let Some(of_context) = Self::of_access(part) {
                found = found.and(of_context);
                asked += 1;
            } else if is_context(part) {
                named += 1;
            } else if let ExprKind::Var(Var::Resource | Var::Action) = part.expr_kind() {
                found = found.and(Self::ITEM);
            } else if names_arguments(part) {
                found = found.and(Self::ARGUMENTS);
            }
        }
        // The context as a whole, which nobody knows what is done with.
        if named > asked { Self::ALL } else { found }
    }

    /// What it is to ask the context for a member, or whether it has one.
    fn of_access(part: &Expr) -> Option<Self> {
        let (of, mentions) = match part.expr_kind() {
            ExprKind::GetAttr { expr, attr } => (expr, Self::of_member(attr)),
            ExprKind::HasAttr { expr, attr } => (expr, Self::of_presence(attr)),
            ExprKind::ExtHasAttr { expr, attrs } => {
                (expr, Self::of_presence(&attrs.head).and(Self::of_member(&attrs.head)))
            }
            ExprKind::Lit(_)
            | ExprKind::Var(_)
            | ExprKind::Slot(_)
            | ExprKind::Unknown(_)
            | ExprKind::If { .. }
            | ExprKind::And { .. }
            | ExprKind::Or { .. }
            | ExprKind::UnaryApp { .. }
            | ExprKind::BinaryApp { .. }
            | ExprKind::ExtensionFunctionApp { .. }
            | ExprKind::Like { .. }
            | ExprKind::Is { .. }
            | ExprKind::Set(_)
            | ExprKind::Record(_) => return None,
        };
        is_context(of).then_some(mentions)
    }

    fn of_member(name: &str) -> Self {
        match name {
            "args" | "input" => Self::ARGUMENTS,
            "scopes" => Self::SCOPES,
            "acr" | "auth_time" => Self::LOGIN,
            // Of an exchange, another client for another exchange.
            "requester" => Self::ITEM,
            _ => Self::default(),
        }
    }

    /// Which members there are is known where the values are not, but for those of a login.
    fn of_presence(name: &str) -> Self {
        match name {
            "args" | "input" => Self::ITEM,
            "acr" | "auth_time" => Self::LOGIN,
            _ => Self::default(),
        }
    }

    #[must_use]
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether there is anything in both.
    pub(crate) const fn any_of(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// An entity of arguments, by its name.
fn names_arguments(expression: &Expr) -> bool {
    let ExprKind::Lit(Literal::EntityUID(uid)) = expression.expr_kind() else { return false };
    uid.entity_type().name().as_ref().namespace() == "Palisade"
}

fn is_context(expression: &Expr) -> bool {
    matches!(expression.expr_kind(), ExprKind::Var(Var::Context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_of_the_context_is_what_is_mentioned() {
        let (arguments, scopes, login, item) =
            (Mentions::ARGUMENTS, Mentions::SCOPES, Mentions::LOGIN, Mentions::ITEM);
        for (condition, expected) in [
            ("principal in Role::\"a\" && context.issuer == \"corp\"", Mentions::default()),
            ("resource.listed", item),
            ("action in Mcp::Action::\"list\"", item),
            ("context.scopes.contains(\"a\") || context.asserted", scopes),
            ("context has acr && context.acr == \"mfa\"", login),
            ("context.now.durationSince(context.auth_time) > duration(\"1h\")", login),
            ("context has input", item),
            ("context has input.path", item.and(arguments)),
            ("context.args.text.hasTag(\"/a\")", arguments),
            ("context.input.path like \"/a*\"", arguments),
            ("Palisade::Text::\"args\".hasTag(\"/a\")", arguments),
            ("context == context", arguments.and(scopes).and(login).and(item)),
            (
                "(if context.asserted then context else context).args.text.hasTag(\"/a\")",
                arguments.and(scopes).and(login).and(item),
            ),
        ] {
            let expression: cedar_policy::Expression = condition.parse().unwrap();
            assert_eq!(Mentions::of(expression.as_ref()), expected, "{condition}");
        }
    }
}
