//! Attributes that a PEP sends along with its question.
//!
//! They fill what the schema declares and nothing else says: a stored value and one of a token win, parents and tags are
//! never added, and what the schema does not declare is left aside. What is declared and of another type is refused
//! instead of left aside, since a rule may hang on its presence. So is an entity that lacks what its type requires: no
//! policy sees an entity that does not fit the schema.

use cedar_policy_core::{
    ast::{Entity, EntityUID, PartialValue},
    entities::{
        EntityTypeDescription as _, Schema as _,
        conformance::typecheck_value_against_schematype,
        json::{ValueParser, err::JsonDeserializationErrorContext},
    },
    evaluator::RestrictedEvaluator,
    extensions::Extensions,
    validator::{CoreSchema, EntityTypeDescription},
};
use palisade_model::Properties;
use smol_str::SmolStr;

use crate::{
    query::RequestError,
    store::is_of_a_call,
    values::{self, Record},
    vocabulary::Vocabulary,
};

/// The attributes of an entity with those that are supplied, absent and declared.
pub(crate) fn filled(
    uid: &EntityUID,
    mut attributes: Record,
    supplied: &Properties,
    vocabulary: &Vocabulary,
) -> Result<Record, RequestError> {
    let unknown = || RequestError::Type(uid.entity_type().to_string());
    let declared = describe(uid, vocabulary).ok_or_else(unknown)?;
    for (name, json) in supplied.iter() {
        let wanted = declared.attr_type(name).filter(|_| !attributes.contains_key(name));
        let Some(wanted) = wanted else { continue };
        let value = value(uid, name, json.clone(), &wanted)
            .ok_or_else(|| RequestError::Supplied(format!("{}.{name}", uid.entity_type())))?;
        attributes.insert(SmolStr::from(name), value);
    }
    let incomplete = || RequestError::Incomplete(uid.entity_type().to_string());
    let one_of = declared.enum_entity_eids().is_none_or(|ids| ids.iter().any(|id| id == uid.eid()));
    let complete = declared.required_attrs().all(|name| attributes.contains_key(&name));
    if one_of && complete { Ok(attributes) } else { Err(incomplete()) }
}

/// The names of supplied attributes that fill nothing: the schema does not declare them, or the entity has them.
pub(crate) fn left_aside<'p>(
    uid: &EntityUID,
    stored: Option<&Entity>,
    supplied: &'p Properties,
    vocabulary: &Vocabulary,
) -> Vec<&'p str> {
    let declared = describe(uid, vocabulary);
    let fills = |name: &str| {
        declared.as_ref().is_some_and(|declared| declared.attr_type(name).is_some())
            && stored.is_none_or(|stored| stored.get(name).is_none())
    };
    supplied.names().filter(|name| !fills(name)).collect()
}

/// The attributes that an entity of the store has.
pub(crate) fn attributes_of(stored: Option<&Entity>) -> Record {
    known(stored.into_iter().flat_map(Entity::attrs))
}

/// The tags that an entity of the store has.
pub(crate) fn tags_of(stored: Option<&Entity>) -> Record {
    known(stored.into_iter().flat_map(Entity::tags))
}

fn known<'e>(values: impl Iterator<Item = (&'e SmolStr, &'e PartialValue)>) -> Record {
    let known = values.filter_map(|(name, value)| match value {
        PartialValue::Value(value) => Some((name.clone(), value.clone())),
        PartialValue::Residual(_) => None,
    });
    known.collect()
}

fn describe(uid: &EntityUID, vocabulary: &Vocabulary) -> Option<EntityTypeDescription> {
    CoreSchema::new(vocabulary.schema.as_ref()).entity_type(uid.entity_type())
}

/// A value of the type that an attribute is declared with; nothing where it is of another.
fn value(
    uid: &EntityUID,
    name: &str,
    json: serde_json::Value,
    wanted: &cedar_policy_core::entities::SchemaType,
) -> Option<cedar_policy_core::ast::Value> {
    let extensions = Extensions::all_available();
    let place =
        || JsonDeserializationErrorContext::EntityAttribute { uid: uid.clone(), attr: SmolStr::from(name) };
    let expression =
        ValueParser::new(extensions).val_into_restricted_expr(json, Some(wanted), &place).ok()?;
    let value = RestrictedEvaluator::new(extensions).interpret(expression.as_borrowed()).ok()?;
    let fits =
        typecheck_value_against_schematype(&PartialValue::Value(value.clone()), wanted, extensions).is_ok();
    // The entities of a call's arguments are the service's own.
    let names_a_call = value.all_literal_uids().iter().any(is_of_a_call);
    (fits && !names_a_call).then_some(value)
}

/// An entity with other attributes than the stored one, or one that is not stored.
pub(crate) fn entity(
    uid: EntityUID,
    stored: Option<&Entity>,
    supplied: &Properties,
    vocabulary: &Vocabulary,
) -> Result<std::sync::Arc<Entity>, RequestError> {
    let attributes = filled(&uid, attributes_of(stored), supplied, vocabulary)?;
    let ancestors = stored.into_iter().flat_map(Entity::ancestors).cloned().collect();
    Ok(values::entity(uid, attributes, ancestors, tags_of(stored)))
}

#[cfg(test)]
mod tests;
