//! A tool's input schema (JSON Schema 2020-12) to the type of its arguments.
//!
//! Keywords that only narrow a type (`pattern`, `minimum`, `maxItems`) are left to the schema itself, which every call is
//! held against first. So the type read here holds every value that the schema lets by, or the schema is refused.

use serde_json::{Map, Value};
use thiserror::Error;

use super::{InputType, Member, Record, Type};

/// The most members and elements a type may have, references followed.
const MAX_PARTS: usize = 1_000;
/// The deepest nesting, as arguments may have it.
const MAX_DEPTH: usize = palisade_model::Arguments::MAX_DEPTH;

/// Why a schema has no exact type, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{pointer}` {problem}")]
pub(super) struct SchemaError {
    /// A JSON pointer into the schema; empty for the whole.
    pub(super) pointer: String,
    pub(super) problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Problem {
    #[error("has no `type`, so anything may stand there")]
    Anything,
    #[error("is of several types")]
    Several,
    #[error("may be null, which only a member of an object may be")]
    Nullable,
    #[error("has the type `{0}`, which is none of JSON Schema's that has values")]
    Unknown(String),
    #[error("is an array that does not say in `items` what its elements are")]
    Elements,
    #[error("is an object that does not say in `properties` what its members are")]
    Members,
    #[error("is no object, as arguments are")]
    Root,
    #[error("refers to `{0}`, which is not in the schema")]
    Reference(String),
    #[error("refers to itself, and Cedar has no recursive types")]
    Recursive,
    #[error("nests deeper than arguments may")]
    TooDeep,
    #[error("makes the type larger than 1000 members and elements")]
    TooLarge,
}

impl Problem {
    pub(super) fn fix(&self) -> &'static str {
        match self {
            Self::Anything | Self::Several | Self::Elements | Self::Members | Self::Unknown(_) => {
                "have the server say one type there, or take the tool out of `typed`: `context.args` needs no types"
            }
            Self::Nullable => {
                "have the server leave out what is null, or take the tool out of `typed`: `context.args` needs no types"
            }
            Self::Root => {
                "have the server say `\"type\": \"object\"`, as MCP asks for, or take the tool out of `typed`"
            }
            Self::Reference(_) => {
                "only references such as `#/$defs/name` are followed: take the tool out of `typed`"
            }
            Self::Recursive | Self::TooDeep | Self::TooLarge => {
                "take the tool out of `typed`: `context.args` needs no types"
            }
        }
    }

    fn at(self, pointer: &str) -> SchemaError {
        SchemaError { pointer: pointer.to_owned(), problem: self }
    }
}

/// Reads the input schema of a tool.
pub(super) fn read(schema: &Value) -> Result<InputType, SchemaError> {
    let mut reading = Reading { root: schema, referred: Vec::new(), parts: 0 };
    let members = schema.as_object().ok_or_else(|| Problem::Root.at(""))?;
    // Arguments are objects, so the root need not say what its members are, nor that it is an object.
    let says_nothing = ["$ref", "type", "enum", "const", "anyOf", "oneOf", "allOf"]
        .iter()
        .all(|keyword| !members.contains_key(*keyword));
    if says_nothing
        || (members.get("type").is_some_and(|name| name == "object") && !members.contains_key("properties"))
    {
        return reading.record(members, "", 1).map(InputType);
    }
    match reading.shape(schema, "", 1)? {
        Shape { kind: Type::Record(record), nullable: false } => Ok(InputType(record)),
        Shape { nullable: true, .. } => Err(Problem::Nullable.at("")),
        Shape { .. } => Err(Problem::Root.at("")),
    }
}

struct Reading<'a> {
    root: &'a Value,
    /// The references that led here.
    referred: Vec<&'a str>,
    parts: usize,
}

/// What a schema lets by.
#[derive(PartialEq)]
struct Shape {
    kind: Type,
    /// Also `null`.
    nullable: bool,
}

impl From<Type> for Shape {
    fn from(kind: Type) -> Self {
        Self { kind, nullable: false }
    }
}

impl<'a> Reading<'a> {
    /// `depth` is the level of the value: that of the arguments themselves is one.
    fn shape(&mut self, schema: &'a Value, pointer: &str, depth: usize) -> Result<Shape, SchemaError> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(Problem::TooLarge.at(pointer));
        }
        let members = schema.as_object().ok_or_else(|| Problem::Anything.at(pointer))?;
        // All keywords of a schema hold together, so the type that any of them gives holds every value.
        if let Some(reference) = members.get("$ref") {
            return self.reference(reference, pointer, depth);
        }
        if let Some(names) = members.get("type") {
            return self.named(members, names, pointer, depth);
        }
        if let Some(values) = members.get("enum").and_then(Value::as_array) {
            return listed(values).ok_or_else(|| Problem::Several.at(pointer));
        }
        if let Some(value) = members.get("const") {
            return listed(std::slice::from_ref(value)).ok_or_else(|| Problem::Several.at(pointer));
        }
        for keyword in ["anyOf", "oneOf", "allOf"] {
            if let Some(parts) = members.get(keyword).and_then(Value::as_array) {
                return self.alternatives(keyword, parts, pointer, depth);
            }
        }
        Err(Problem::Anything.at(pointer))
    }

    fn reference(&mut self, reference: &'a Value, pointer: &str, depth: usize) -> Result<Shape, SchemaError> {
        let text = reference.as_str().unwrap_or_default();
        let unknown = || Problem::Reference(text.to_owned()).at(pointer);
        let target = text.strip_prefix('#').ok_or_else(unknown)?;
        let schema = self.root.pointer(target).ok_or_else(unknown)?;
        if target.is_empty() || self.referred.contains(&target) {
            return Err(Problem::Recursive.at(pointer));
        }
        self.referred.push(target);
        let shape = self.shape(schema, target, depth);
        self.referred.pop();
        shape
    }

    /// By the keyword `type`: one name, or a list of which one may be `null`.
    fn named(
        &mut self,
        members: &'a Map<String, Value>,
        names: &Value,
        pointer: &str,
        depth: usize,
    ) -> Result<Shape, SchemaError> {
        let all: Vec<&str> = match names {
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                names.as_str().into_iter().collect()
            }
        };
        let mut others = all.iter().copied().filter(|name| *name != "null");
        let (first, second, third) = (others.next(), others.next(), others.next());
        let kind = match (first, second, third) {
            (Some(name), None, None) => self.kind(members, name, pointer, depth)?,
            (Some("integer"), Some("number"), None) | (Some("number"), Some("integer"), None) => {
                Type::Decimal
            }
            (Some(_), Some(_), _) => return Err(Problem::Several.at(pointer)),
            (None, _, _) => return Err(Problem::Unknown("null".to_owned()).at(pointer)),
            (Some(_), None, Some(_)) => return Err(Problem::Several.at(pointer)),
        };
        Ok(Shape { kind, nullable: all.contains(&"null") })
    }

    fn kind(
        &mut self,
        members: &'a Map<String, Value>,
        name: &str,
        pointer: &str,
        depth: usize,
    ) -> Result<Type, SchemaError> {
        match name {
            "string" => Ok(Type::Text),
            "integer" => Ok(Type::Long),
            "number" => Ok(Type::Decimal),
            "boolean" => Ok(Type::Flag),
            "array" => {
                let items = members.get("items").filter(|_| !members.contains_key("prefixItems"));
                let items = items.ok_or_else(|| Problem::Elements.at(pointer))?;
                let below = format!("{pointer}/items");
                self.deeper(depth, &below)?;
                match self.shape(items, &below, depth + 1)? {
                    Shape { kind, nullable: false } => Ok(Type::Set(Box::new(kind))),
                    Shape { nullable: true, .. } => Err(Problem::Nullable.at(&below)),
                }
            }
            "object" if members.contains_key("properties") => {
                self.record(members, pointer, depth).map(Type::Record)
            }
            "object" => Err(Problem::Members.at(pointer)),
            _ => Err(Problem::Unknown(name.to_owned()).at(pointer)),
        }
    }

    fn record(
        &mut self,
        members: &'a Map<String, Value>,
        pointer: &str,
        depth: usize,
    ) -> Result<Record, SchemaError> {
        let required: Vec<&str> = (members.get("required").and_then(Value::as_array).into_iter().flatten())
            .filter_map(Value::as_str)
            .collect();
        let mut record = Record::new();
        for (name, schema) in members.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let below = format!("{pointer}/properties/{}", name.replace('~', "~0").replace('/', "~1"));
            self.deeper(depth, &below)?;
            let Shape { kind, nullable } = self.shape(schema, &below, depth + 1)?;
            let member = Member { kind, required: required.contains(&name.as_str()), nullable };
            record.insert(name.clone(), member);
        }
        Ok(record)
    }

    /// Values are one level below what holds them; only what holds others is a level of its own.
    fn deeper(&self, depth: usize, pointer: &str) -> Result<(), SchemaError> {
        if depth > MAX_DEPTH { Err(Problem::TooDeep.at(pointer)) } else { Ok(()) }
    }

    /// `anyOf`, `oneOf` and `allOf`, where every part has the same type. A part that is only `null` says that `null` may
    /// stand there.
    fn alternatives(
        &mut self,
        keyword: &str,
        parts: &'a [Value],
        pointer: &str,
        depth: usize,
    ) -> Result<Shape, SchemaError> {
        let is_null = |part: &Value| part.get("type").is_some_and(|name| name == "null");
        let mut found: Option<Shape> = None;
        for (at, part) in parts.iter().enumerate().filter(|(_, part)| keyword == "allOf" || !is_null(part)) {
            let shape = self.shape(part, &format!("{pointer}/{keyword}/{at}"), depth)?;
            found = match found {
                None => Some(shape),
                Some(known) if known.kind == shape.kind => {
                    let nullable = match keyword {
                        "allOf" => known.nullable && shape.nullable,
                        _ => known.nullable || shape.nullable,
                    };
                    Some(Shape { kind: known.kind, nullable })
                }
                Some(_) => return Err(Problem::Several.at(pointer)),
            };
        }
        let found = found.ok_or_else(|| Problem::Anything.at(pointer))?;
        let nullable = found.nullable || (keyword != "allOf" && parts.iter().any(is_null));
        Ok(Shape { nullable, ..found })
    }
}

/// The type that all values of an `enum` have; `null` may be one of them.
fn listed(values: &[Value]) -> Option<Shape> {
    let all = |fits: fn(&Value) -> bool| values.iter().all(|value| value.is_null() || fits(value));
    let kind = if values.iter().all(Value::is_null) {
        return None;
    } else if all(Value::is_string) {
        Type::Text
    } else if all(Value::is_boolean) {
        Type::Flag
    } else if all(Value::is_i64) {
        Type::Long
    } else if all(Value::is_number) {
        Type::Decimal
    } else {
        return None;
    };
    Some(Shape { nullable: values.iter().any(Value::is_null), ..Shape::from(kind) })
}
