//! The arguments of a call as entities: one that stands for them all, and its bags.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use cedar_policy_core::ast::{Entity, EntityUID, Value};
use palisade_model::Arguments;
use smol_str::SmolStr;

use crate::{
    query::RequestError,
    values::{self, Record},
    vocabulary::Vocabulary,
};

/// The type of the entity that stands for all arguments.
pub(crate) const TYPE: &str = "Palisade::Arguments";
/// The id of the entities that `context.args` leads to.
pub(crate) const OF_THE_CALL: &str = "args";
/// The id of the entities that `context.sent` leads to.
pub(crate) const SENT: &str = "sent";

/// The entities of arguments, with this id; the first is the one that the context names.
pub(crate) fn entities(
    arguments: &Arguments,
    id: &str,
    vocabulary: &Vocabulary,
) -> Result<Vec<Arc<Entity>>, RequestError> {
    let text = |text: &String| Ok(values::text(text));
    let bags = [
        ("text", "Palisade::Text", bag(&arguments.text, text)?),
        ("number", "Palisade::Number", bag(&arguments.number, |number| Ok((*number).into()))?),
        ("fraction", "Palisade::Fraction", bag(&arguments.fraction, |text| values::decimal(text))?),
        ("flag", "Palisade::Flag", bag(&arguments.flag, |flag| Ok((*flag).into()))?),
        ("list", "Palisade::List", bag(&arguments.list, |list| Ok(values::texts(list)))?),
    ];
    let mut attributes = Record::from([
        (SmolStr::new_static("paths"), values::texts(&arguments.paths)),
        (SmolStr::new_static("unmapped"), values::texts(&arguments.unmapped)),
        (SmolStr::new_static("digest"), values::text(&arguments.digest)),
    ]);
    let mut entities = Vec::with_capacity(bags.len() + 1);
    for (name, type_name, tags) in bags {
        let uid = EntityUID::from(vocabulary.uid(type_name, id)?);
        attributes.insert(SmolStr::new_static(name), values::reference(&uid));
        entities.push(values::entity(uid, Record::new(), HashSet::new(), tags));
    }
    let uid = EntityUID::from(vocabulary.uid(TYPE, id)?);
    entities.insert(0, values::entity(uid, attributes, HashSet::new(), Record::new()));
    Ok(entities)
}

/// The entities of no arguments, which are those of empty ones.
pub(crate) fn none(vocabulary: &Vocabulary) -> Result<Vec<Arc<Entity>>, RequestError> {
    let empty = Arguments::from_json(&serde_json::json!({})).unwrap_or_default();
    entities(&empty, OF_THE_CALL, vocabulary)
}

fn bag<V>(
    values: &BTreeMap<String, V>,
    value: impl Fn(&V) -> Result<Value, RequestError>,
) -> Result<Record, RequestError> {
    values.iter().map(|(pointer, found)| Ok((SmolStr::from(pointer.as_str()), value(found)?))).collect()
}
