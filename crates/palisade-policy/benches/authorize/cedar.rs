//! Cedar by itself, as an application uses it: entities, context and request built for every question.

use cedar_policy::{Context, Entities, Entity, EntityUid, Request, RestrictedExpression, Schema};

use crate::{Failure, sets::Asked};

type Pairs = Vec<(String, RestrictedExpression)>;

fn uid(type_name: &str, id: &str) -> Result<EntityUid, Failure> {
    Ok(EntityUid::from_type_name_and_id(type_name.parse()?, cedar_policy::EntityId::new(id)))
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> RestrictedExpression {
    RestrictedExpression::new_set(texts.map(text))
}

fn named(pairs: impl IntoIterator<Item = (&'static str, RestrictedExpression)>) -> Pairs {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The question as request and entities.
pub(crate) fn question(asked: &Asked, schema: &Schema) -> Result<(Request, Entities), Failure> {
    let mut entities = vec![user(asked)?];
    let resource = uid(&asked.target.type_name, &asked.target.id)?;
    let action = uid(&format!("{}::Action", asked.action.namespace), &asked.action.name)?;
    entities.push(Entity::with_uid(action.clone()));
    let mut context = context(asked)?;
    if asked.target.type_name == "Mcp::Tool" {
        entities.extend(tool(asked, &resource)?);
        entities.extend(arguments()?);
        let arguments = RestrictedExpression::new_entity_uid(uid("Palisade::Arguments", "args")?);
        context.push(("args".to_owned(), arguments));
    } else {
        entities.push(Entity::with_uid(resource.clone()));
    }
    let principal = uid("User", &asked.subject.id)?;
    let request = Request::new(principal, action, resource, Context::from_pairs(context)?, Some(schema))?;
    Ok((request, Entities::from_entities(entities, None)?))
}

fn user(asked: &Asked) -> Result<Entity, Failure> {
    let subject = &asked.subject;
    let tenant = uid("Tenant", subject.tenant.as_deref().unwrap_or_default())?;
    let roles = subject.roles.iter().map(|role| uid("Role", role));
    let parents = roles.chain([Ok(tenant.clone())]).collect::<Result<Vec<_>, Failure>>()?;
    let tenant = named([("tenant", RestrictedExpression::new_entity_uid(tenant))]);
    Ok(Entity::new_with_tags(uid("User", &subject.id)?, tenant, parents, [])?)
}

fn tool(asked: &Asked, resource: &EntityUid) -> Result<[Entity; 2], Failure> {
    let server = uid("Mcp::Server", asked.resource.as_str())?;
    let name = asked.target.id.rsplit('/').next().unwrap_or_default();
    let flag = RestrictedExpression::new_bool;
    let attributes = named([
        ("name", text(name)),
        ("server", RestrictedExpression::new_entity_uid(server.clone())),
        ("listed", flag(true)),
        ("read_only", flag(false)),
        ("destructive", flag(true)),
        ("idempotent", flag(false)),
        ("open_world", flag(true)),
    ]);
    let identifier = named([("identifier", text(&format!("https://{}.example.com", asked.resource)))]);
    Ok([
        Entity::new_with_tags(resource.clone(), attributes, [server.clone()], [])?,
        Entity::new_with_tags(server, identifier, [], [])?,
    ])
}

fn arguments() -> Result<Vec<Entity>, Failure> {
    let none = || RestrictedExpression::new_set([]);
    let mut attributes = named([("paths", none()), ("unmapped", none()), ("digest", text(""))]);
    let mut entities = Vec::new();
    for (name, type_name) in [
        ("text", "Palisade::Text"),
        ("number", "Palisade::Number"),
        ("fraction", "Palisade::Fraction"),
        ("flag", "Palisade::Flag"),
        ("list", "Palisade::List"),
    ] {
        let uid = uid(type_name, "args")?;
        entities.push(Entity::with_uid(uid.clone()));
        attributes.push((name.to_owned(), RestrictedExpression::new_entity_uid(uid)));
    }
    entities.push(Entity::new_with_tags(uid("Palisade::Arguments", "args")?, attributes, [], [])?);
    Ok(entities)
}

fn context(asked: &Asked) -> Result<Pairs, Failure> {
    let authority = &asked.authority;
    let client = uid("Client", authority.client.as_deref().unwrap_or_default())?;
    Ok(named([
        ("scopes", texts(asked.scopes.iter().map(palisade_model::Scope::as_str))),
        ("issuer", text(authority.issuer.as_str())),
        ("audience", texts(authority.audience.iter().map(palisade_model::Audience::as_str))),
        ("client", RestrictedExpression::new_entity_uid(client)),
        ("actors", RestrictedExpression::new_set([])),
        ("delegation_depth", RestrictedExpression::new_long(0)),
        ("amr", RestrictedExpression::new_set([])),
        ("now", RestrictedExpression::new_datetime(asked.circumstances.now.to_string())),
        ("surface", text(asked.circumstances.surface.as_str())),
        ("groups_complete", RestrictedExpression::new_bool(true)),
        ("asserted", RestrictedExpression::new_bool(false)),
    ]))
}
