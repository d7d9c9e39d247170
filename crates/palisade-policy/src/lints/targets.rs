//! Tools, groups, servers, routes and services that a policy names and that are not there.

use cedar_policy::pst::{Expr, Literal};

use super::{
    Lint,
    reach::Reach,
    statement::{Bound, Statement, Uid},
};
use crate::{Diagnostic, diagnostic::nearest};

pub(super) fn lint(statement: &Statement<'_>, reach: &Reach) -> Vec<Diagnostic> {
    let mut named: Vec<Uid> = Vec::new();
    match &statement.resource {
        Bound::In(uid) | Bound::IsIn(_, uid) | Bound::Equals(uid) => named.push(uid.clone()),
        Bound::Any | Bound::Is(_) => {}
    }
    statement.visit(|expression| {
        if let Expr::Literal(Literal::EntityUID(uid)) = expression {
            named.push(uid.into());
        }
    });
    named.sort();
    named.dedup();
    named.iter().filter(|uid| reach.misses(uid)).map(|uid| unknown(statement, uid, reach)).collect()
}

fn unknown(statement: &Statement<'_>, uid: &Uid, reach: &Reach) -> Diagnostic {
    let message = if reach.knows_resource(uid) {
        format!("there is no `{}`", uid.shown())
    } else {
        format!("there is no resource that `{}` could belong to", uid.shown())
    };
    let help = match nearest(&uid.id, reach.known(&uid.type_name)) {
        Some(known) => format!("did you mean `{}`?", Uid::new(&*uid.type_name, known).shown()),
        None => "add it to the catalogue or the configuration, or remove the policy".to_owned(),
    };
    statement.finding_at(&format!("{:?}", uid.id), Lint::UnknownTarget, message).help(help)
}
