//! Cedar's plain authorizer in this process: the same rules, entities and request built for every question, no token and
//! no network. What a library costs that a service would have to add everything else to.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityUid, PolicySet, Request,
    RestrictedExpression,
};

use super::{
    latency::{Rounds, float, micros},
    matrix::{Matrix, Question, Rule, tool_name},
};

/// A rule as a policy of Palisade's vocabulary.
pub(crate) fn policy(rule: &Rule) -> String {
    let Rule { number, forbids, role, tool, scope } = rule;
    let scope_of = format!(
        "(principal in Role::\"corp/{role}\", action in Mcp::Action::\"tools/call\", resource == Mcp::Tool::\"demo/{tool}\")"
    );
    if *forbids {
        format!("@id(\"p{number}\") forbid {scope_of};")
    } else {
        format!("@id(\"p{number}\") permit {scope_of} when {{ context.scopes.contains(\"{scope}\") }};")
    }
}

/// Microseconds a decision, after every answer was found to be right.
pub(crate) fn measure(
    matrix: &Matrix,
    questions: &[Question],
    rounds: usize,
    length: Duration,
) -> Result<Rounds> {
    let text: String = matrix.rules.iter().map(policy).collect();
    let (policies, authorizer) = (text.parse::<PolicySet>()?, Authorizer::new());
    let decide = |question: &Question| -> Result<bool> {
        let (request, entities) = asked(matrix, question)?;
        Ok(authorizer.is_authorized(&request, &policies, &entities).decision() == Decision::Allow)
    };
    for question in questions {
        ensure!(decide(question)? == question.permitted, "Cedar answers otherwise to {question:?}");
    }
    let mut costs = Vec::new();
    for _ in 0..rounds {
        let (began, busy, mut decided) = (Instant::now(), super::usage::own_time(), 0);
        for question in questions.iter().cycle() {
            std::hint::black_box(decide(question)?);
            decided += 1;
            if decided % 64 == 0 && began.elapsed() >= length {
                break;
            }
        }
        costs.push(micros(super::usage::own_time().saturating_sub(busy)) / float(decided));
    }
    Ok(Rounds::of(costs))
}

fn uid(type_name: &str, id: &str) -> Result<EntityUid> {
    Ok(EntityUid::from_type_name_and_id(type_name.parse()?, EntityId::new(id)))
}

fn asked(matrix: &Matrix, question: &Question) -> Result<(Request, Entities)> {
    let holder = matrix.holder(question.subject);
    let roles = holder.roles.iter().map(|role| uid("Role", &format!("corp/{role}")));
    let principal = uid("User", &format!("corp/{}", holder.subject))?;
    let (resource, server) =
        (uid("Mcp::Tool", &format!("demo/{}", tool_name(question.tool)))?, uid("Mcp::Server", "demo")?);
    let action = uid("Mcp::Action", "tools/call")?;
    let user = Entity::new_no_attrs(principal.clone(), roles.collect::<Result<_>>()?);
    let tool = Entity::new_no_attrs(resource.clone(), [server].into());
    let scopes = holder.scopes.into_iter().map(RestrictedExpression::new_string);
    let context = Context::from_pairs([("scopes".to_owned(), RestrictedExpression::new_set(scopes))])?;
    let request = Request::new(principal, action, resource, context, None)?;
    Ok((request, Entities::from_entities([user, tool], None)?))
}
