//! Whether an answer hangs on what a record does not hold.
//!
//! Looked at are the policies that could be about a question, whatever scopes and arguments it has, since a stronger
//! token is asked about, too. One that looks at something unrecorded may have answered otherwise than it does now, on
//! either side, and even where the recorded answer comes out by chance.

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, Var};
use palisade_model::Reason;

use super::{NotRebuilt, Recorded, Side};
use crate::Inquiry;

const ARGUMENTS: &str = "the arguments";

/// What a condition looks at, of the things that a record may lack.
#[derive(Debug, Clone, Copy, Default)]
struct Looks {
    time: bool,
    unrecorded: Option<&'static str>,
}

impl Side<'_> {
    /// Whether the answer of this side to the question of a record can be another at another time.
    ///
    /// # Errors
    /// When the answer can hang on something that the record does not hold.
    pub fn hangs_on_time(&self, inquiry: &Inquiry, record: &Recorded<'_>) -> Result<bool, NotRebuilt> {
        let settings = self.deployment.settings(&inquiry.resource);
        let mut looks = Looks::default();
        for condition in inquiry.conditions(self.policies, &settings) {
            looks.add(&condition, inquiry, record);
        }
        if let Some(what) = looks.unrecorded {
            return Err(NotRebuilt::Unrecorded(what));
        }
        // Typed arguments are wanted before any policy is asked.
        if self.answer(inquiry).reason == Reason::ArgumentsInvalid {
            return Err(NotRebuilt::Unrecorded(ARGUMENTS));
        }
        Ok(looks.time)
    }
}

impl Looks {
    fn add(&mut self, condition: &Expr, inquiry: &Inquiry, record: &Recorded<'_>) {
        // How often the context is named, and how often it is asked for a member.
        let (mut named, mut asked) = (0_usize, 0_usize);
        for part in condition.subexpressions() {
            if let Some(name) = member(part) {
                asked += 1;
                self.time |= name == "now";
                self.lacks(unrecorded(name, inquiry, record));
            } else if is_context(part) {
                named += 1;
            } else if reads_unrecorded_tags(part) {
                self.lacks(Some("the claims of the token"));
            } else if names_arguments(part) {
                self.lacks(Some(ARGUMENTS));
            }
        }
        if named > asked {
            self.lacks(Some("the whole context"));
        }
    }

    fn lacks(&mut self, what: Option<&'static str>) {
        self.unrecorded = self.unrecorded.or(what);
    }
}

/// What the record lacks of a member of the context. INVARIANT: a member that is not known here is lacking.
fn unrecorded(name: &str, inquiry: &Inquiry, record: &Recorded<'_>) -> Option<&'static str> {
    match name {
        "now" | "scopes" | "issuer" | "client" | "actor" | "actors" | "delegation_depth" | "acr" => None,
        "ip" if inquiry.circumstances.ip.is_some() => None,
        "surface" if record.surface.is_some() => None,
        "args" | "input" => Some(ARGUMENTS),
        "amr" => Some("how the user logged in"),
        "auth_time" => Some("when the user logged in"),
        "audience" => Some("the audience of the token"),
        "groups_complete" => Some("whether all groups are known"),
        "host" => Some("the host"),
        "path" => Some("the path"),
        "ip" => Some("the client's address"),
        _ => Some("something else of the context"),
    }
}

/// The member that the context is asked for, or asked whether it has it.
fn member(part: &Expr) -> Option<&str> {
    if let ExprKind::GetAttr { expr, attr } | ExprKind::HasAttr { expr, attr } = part.expr_kind() {
        return is_context(expr).then_some(attr.as_str());
    }
    let ExprKind::ExtHasAttr { expr, attrs } = part.expr_kind() else { return None };
    is_context(expr).then_some(attrs.head.as_str())
}

fn is_context(part: &Expr) -> bool {
    matches!(part.expr_kind(), ExprKind::Var(Var::Context))
}

/// Tags of a resource and of what entity files name are known; those of users and clients are claims.
fn reads_unrecorded_tags(part: &Expr) -> bool {
    let ExprKind::BinaryApp { op: BinaryOp::GetTag | BinaryOp::HasTag, arg1, .. } = part.expr_kind() else {
        return false;
    };
    let mut of: &Expr = arg1;
    loop {
        if let ExprKind::Lit(Literal::EntityUID(uid)) = of.expr_kind() {
            return matches!(uid.entity_type().to_string().as_str(), "User" | "Client");
        }
        match (of.expr_kind(), member(of)) {
            (ExprKind::Var(Var::Resource), _) | (_, Some("args" | "input")) => return false,
            (ExprKind::GetAttr { expr, .. }, None) => of = expr,
            _ => return true,
        }
    }
}

/// An entity of arguments, by its name.
fn names_arguments(part: &Expr) -> bool {
    let ExprKind::Lit(Literal::EntityUID(uid)) = part.expr_kind() else { return false };
    uid.entity_type().name().as_ref().namespace() == "Palisade"
}

#[cfg(test)]
mod tests {
    use palisade_model::{IssuerName, ResourceName, Scopes, Surface, Timestamp};

    use super::*;

    #[test]
    fn what_a_condition_looks_at_is_held_against_the_record() {
        let (scopes, demo, corp): (Scopes, ResourceName, IssuerName) =
            (Scopes::new(), "demo".parse().unwrap(), "corp".parse().unwrap());
        let whole = Recorded {
            principal: Some("User::\"corp/bob\""),
            principal_in: &[],
            client: None,
            actors: &[],
            issuer: Some(&corp),
            scopes: &scopes,
            acr: None,
            action: Some("Mcp::Action::\"tools/call\""),
            target: Some("Mcp::Tool::\"demo/read\""),
            resource: Some(&demo),
            client_ip: Some("10.0.0.1"),
            path: None,
            surface: Some(Surface::Decide),
            time: Timestamp::from_unix_seconds(1_767_225_600),
            detail: None,
        };
        let looks = |condition: &str, record: &Recorded<'_>| {
            let expression: cedar_policy::Expression = condition.parse().unwrap();
            let mut looks = Looks::default();
            looks.add(expression.as_ref(), &Inquiry::recorded(record).unwrap(), record);
            (looks.time, looks.unrecorded)
        };
        for recorded in [
            "context.scopes.contains(\"a\") && context has acr && context.acr == \"mfa\"",
            "principal in Role::\"a\" && resource.getTag(\"x\").contains(\"y\") && resource.server.hasTag(\"x\")",
            "context.ip.isLoopback() || context.surface == \"decide\"",
            "context has actor && context.delegation_depth < 3 && context.issuer == \"corp\"",
            "Mcp::Server::\"demo\".hasTag(\"x\")",
        ] {
            assert_eq!(looks(recorded, &whole), (false, None), "{recorded}");
        }
        assert_eq!(looks("context.now > datetime(\"2026-01-01\")", &whole), (true, None));
        let partial = Recorded { client_ip: Some("10.0.0.0/24"), surface: None, ..whole };
        for (condition, record, lacking) in [
            ("context.args.text.hasTag(\"/a\")", &whole, ARGUMENTS),
            ("context has input.a", &whole, ARGUMENTS),
            ("Palisade::Text::\"args\".hasTag(\"/a\")", &whole, ARGUMENTS),
            ("principal.hasTag(\"team\")", &whole, "the claims of the token"),
            ("context.client.getTag(\"team\").contains(\"a\")", &whole, "the claims of the token"),
            ("User::\"corp/bob\".hasTag(\"team\")", &whole, "the claims of the token"),
            ("(if true then principal else principal).hasTag(\"t\")", &whole, "the claims of the token"),
            ("context has auth_time", &whole, "when the user logged in"),
            ("context.amr.contains(\"otp\")", &whole, "how the user logged in"),
            ("context.audience.contains(\"a\")", &whole, "the audience of the token"),
            ("context.groups_complete", &whole, "whether all groups are known"),
            ("context.host == \"h\"", &whole, "the host"),
            ("context has path", &whole, "the path"),
            ("context.asserted", &whole, "something else of the context"),
            ("context == context", &whole, "the whole context"),
            ("context has ip", &partial, "the client's address"),
            ("context.surface == \"decide\"", &partial, "something else of the context"),
        ] {
            assert_eq!(looks(condition, record).1, Some(lacking), "{condition}");
        }
    }
}
