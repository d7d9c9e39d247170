//! The types of all typed tools as one fragment of the Cedar schema.
//!
//! Actions and attributes keep their names, which may hold anything; names of types may not, so those are made from the
//! tool's.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{EntityId, EntityTypeName, EntityUid};
use serde_json::{Map, Value, json};

use super::{InputType, Record, Type};
use crate::World;

/// A typed tool and the names it has in the schema.
#[derive(Debug)]
pub(crate) struct TypedTool {
    /// Its action, `Mcp::Action::"tool:<server>/<name>"`.
    pub(crate) action: EntityUid,
    /// The entity that a call's input is.
    pub(crate) input: EntityUid,
    pub(crate) input_type: InputType,
}

/// Typed tools by the ids of their entities, `<server>/<name>`.
pub(crate) type TypedTools = BTreeMap<String, TypedTool>;

/// The typed tools of a world by the ids of their entities, and what they add to the schema. `built_in` is the built-in
/// vocabulary in Cedar's JSON form.
pub(crate) fn fragment(world: &World, built_in: &Value) -> Option<(TypedTools, Value)> {
    let typed = typed_tools(world)?;
    let call = built_in.pointer("/Palisade/commonTypes/Call/attributes")?.as_object()?;
    let applies = built_in.pointer("/Mcp/actions/tools~1call/appliesTo")?.as_object()?;
    let (mut entity_types, mut contexts, mut actions) = (Map::new(), Map::new(), Map::new());
    for tool in typed.values() {
        let name = tool.input.type_name().basename();
        let context = format!("Call{name}");
        let mut attributes = call.clone();
        attributes.insert("input".to_owned(), json!({ "type": "Entity", "name": name }));
        contexts.insert(context.clone(), record(attributes));
        entity_types.insert(name.to_owned(), json!({ "shape": record_type(&tool.input_type.0) }));
        let mut applies = applies.clone();
        applies.insert("context".to_owned(), json!({ "type": format!("Palisade::{context}") }));
        let parent = json!({ "type": "Mcp::Action", "id": "tools/call" });
        let action = json!({ "memberOf": [parent], "appliesTo": applies });
        actions.insert(tool.action.id().unescaped().to_owned(), action);
    }
    let schema = json!({
        "Palisade": { "entityTypes": entity_types, "commonTypes": contexts, "actions": {} },
        "Mcp": { "entityTypes": {}, "actions": actions },
    });
    Some((typed, schema))
}

/// Whether a world has typed tools.
pub(crate) fn is_used(world: &World) -> bool {
    world.resources.iter().flat_map(|resource| &resource.tools).any(|tool| tool.input.is_some())
}

fn typed_tools(world: &World) -> Option<TypedTools> {
    let mut inputs: BTreeMap<String, &InputType> = BTreeMap::new();
    for resource in &world.resources {
        let typed = resource.tools.iter().filter_map(|tool| Some((&tool.name, tool.input.as_ref()?)));
        inputs.extend(typed.map(|(name, input)| (format!("{}/{name}", resource.name), input)));
    }
    let action_type: EntityTypeName = "Mcp::Action".parse().ok()?;
    let mut taken = BTreeSet::new();
    inputs
        .into_iter()
        .map(|(id, input_type)| {
            let action_id = EntityId::new(format!("tool:{id}"));
            let entity_type = format!("Palisade::{}", name_of_type(&id, &mut taken)).parse().ok()?;
            let tool = TypedTool {
                action: EntityUid::from_type_name_and_id(action_type.clone(), action_id),
                input: EntityUid::from_type_name_and_id(entity_type, EntityId::new("input")),
                input_type: input_type.clone(),
            };
            Some((id, tool))
        })
        .collect()
}

/// A name like `Input_files_delete_file`; where two tools would have one, the later has a number.
fn name_of_type(id: &str, taken: &mut BTreeSet<String>) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
    let base = format!("Input_{}", id.chars().map(plain).collect::<String>());
    let mut name = base.clone();
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{base}_{number}");
        number += 1;
    }
    name
}

fn record(attributes: Map<String, Value>) -> Value {
    json!({ "type": "Record", "attributes": attributes })
}

fn record_type(record: &Record) -> Value {
    let attributes = record
        .iter()
        .map(|(name, member)| {
            let mut attribute = schema_type(&member.kind);
            if let Some(attribute) = attribute.as_object_mut() {
                attribute.insert("required".to_owned(), json!(member.required && !member.nullable));
            }
            (name.clone(), attribute)
        })
        .collect();
    self::record(attributes)
}

fn schema_type(kind: &Type) -> Value {
    match kind {
        Type::Text => json!({ "type": "String" }),
        Type::Long => json!({ "type": "Long" }),
        Type::Flag => json!({ "type": "Boolean" }),
        Type::Decimal => json!({ "type": "Extension", "name": "decimal" }),
        Type::Set(element) => json!({ "type": "Set", "element": schema_type(element) }),
        Type::Record(record) => record_type(record),
    }
}
