//! A schema without what is not shown.
//!
//! What is taken out takes other things with it, until nothing more goes: a field whose type is gone; an argument whose type is gone, and
//! the field with it that cannot do without; an interface's field that an implementer is not shown with; a type of which nothing is left.
//! Then goes what no root leads to, and with it what only directives on definitions name. What is left is a valid schema, but for a query
//! type of which nothing is shown: a schema has to have one, and so it is there without a field.

use std::collections::{HashMap, HashSet};

use apollo_compiler::{
    Name, Node,
    ast::{
        DirectiveDefinition, DirectiveList, DirectiveLocation, FieldDefinition, InputValueDefinition, Value,
    },
    schema::{Component, ExtendedType},
};

use super::{
    Shown,
    applied::{self, SPECIFIED},
};
use crate::{Coordinate, Schema};

type Types = apollo_compiler::collections::IndexMap<Name, ExtendedType>;

/// A schema that has nothing else than is shown.
pub(super) struct Reduced<'a> {
    whole: &'a Schema,
    schema: apollo_compiler::Schema,
}

impl<'a> Reduced<'a> {
    pub(super) fn of(whole: &'a Schema, shown: &Shown) -> Self {
        let schema = whole.valid.as_ref().clone();
        let mut reduced = Self { whole, schema };
        reduced.keep(shown);
        let mut before = usize::MAX;
        while before != reduced.size() {
            before = reduced.size();
            reduced.take_what_lacks_something();
        }
        reduced.keep_what_is_reached();
        reduced.forget();
        applied::strip(&mut reduced.schema);
        reduced
    }

    /// The fields that are left.
    pub(super) fn shown(&self) -> Shown {
        let types = self.schema.types.iter().filter(|(_, definition)| !definition.is_built_in());
        Shown::of(types.flat_map(|(name, definition)| {
            let fields = fields(definition).into_iter();
            fields.map(|(field, _)| Coordinate::of_field(name.as_str(), field.as_str()))
        }))
    }

    pub(super) fn into_schema(self) -> apollo_compiler::Schema {
        self.schema
    }

    /// Takes out what is not shown, and what is inaccessible to everybody.
    fn keep(&mut self, shown: &Shown) {
        let mut types = std::mem::take(&mut self.schema.types);
        types.retain(|name, definition| {
            let mut on_type = definition.directives().iter();
            let hidden = on_type.any(|directive| self.whole.hides(&directive.name));
            definition.is_built_in() || !hidden && self.keep_members(name, definition, shown)
        });
        self.schema.types = types;
    }

    /// Whether anything of the type may stay.
    fn keep_members(&self, name: &Name, definition: &mut ExtendedType, shown: &Shown) -> bool {
        let whole = self.whole;
        let mut stays = true;
        let keep_field = |field: &Name, definition: &mut Component<FieldDefinition>| {
            let is_shown = shown.shows(&Coordinate::of_field(name.as_str(), field.as_str()));
            is_shown
                && !is_hidden(whole, &definition.directives)
                && retain_arguments(definition, |argument| !is_hidden(whole, &argument.directives))
        };
        match definition {
            ExtendedType::Object(object) => object.make_mut().fields.retain(keep_field),
            ExtendedType::Interface(interface) => interface.make_mut().fields.retain(keep_field),
            ExtendedType::Enum(values) => {
                values.make_mut().values.retain(|_, value| !is_hidden(whole, &value.directives));
            }
            ExtendedType::InputObject(input) => input.make_mut().fields.retain(|_, field| {
                let keeps = !is_hidden(whole, &field.directives);
                stays &= keeps || !field.is_required();
                keeps
            }),
            ExtendedType::Scalar(_) | ExtendedType::Union(_) => {}
        }
        stays
    }

    /// How much is there.
    fn size(&self) -> usize {
        self.schema.types.values().map(size).sum()
    }

    /// Takes out what is left without something that it needs.
    fn take_what_lacks_something(&mut self) {
        let there: HashSet<Name> = self.schema.types.keys().cloned().collect();
        let lacking = self.what_implementers_lack();
        let query = self.schema.schema_definition.query.as_ref().map(|root| root.name.clone());
        self.schema.types.retain(|name, definition| {
            let taking = Taking { there: &there, lacking: lacking.get(name) };
            let is_needed = |definition: &ExtendedType| !is_empty(definition) || query.as_ref() == Some(name);
            definition.is_built_in() || taking.from(definition) && is_needed(definition)
        });
    }

    /// The fields of each interface that a type does not have which is shown to implement it.
    fn what_implementers_lack(&self) -> HashMap<Name, HashSet<Name>> {
        let mut lacking: HashMap<Name, HashSet<Name>> = HashMap::new();
        for definition in self.schema.types.values() {
            let own: HashSet<&Name> = fields(definition).into_iter().map(|(name, _)| name).collect();
            for interface in interfaces(definition) {
                let Some(of) = self.schema.types.get(interface) else { continue };
                let lacks = fields(of).into_iter().map(|(name, _)| name).filter(|name| !own.contains(name));
                lacking.entry(interface.clone()).or_default().extend(lacks.cloned());
            }
        }
        lacking
    }

    /// Takes out what no root leads to.
    fn keep_what_is_reached(&mut self) {
        let query = self.schema.schema_definition.query.as_ref().map(|root| root.name.clone());
        let types = &self.schema.types;
        let is_there = |root: &apollo_compiler::schema::ComponentName| {
            let definition = types.get(&root.name);
            definition.is_some_and(|definition| !is_empty(definition)) || query.as_ref() == Some(&root.name)
        };
        let definition = self.schema.schema_definition.make_mut();
        for root in [&mut definition.query, &mut definition.mutation, &mut definition.subscription] {
            *root = root.take().filter(is_there);
        }
        let (whole, types) = (self.whole, &self.schema.types);
        self.schema.directive_definitions.retain(|_, definition| {
            let stays = |argument: &InputValueDefinition| {
                types.contains_key(type_of(argument)) && !is_hidden(whole, &argument.directives)
            };
            let arguments = || definition.arguments.iter();
            let can_do_without = arguments().all(|argument| stays(argument) || !argument.is_required());
            is_executable(definition) && can_do_without && {
                definition.make_mut().arguments.retain(|argument| stays(argument));
                true
            }
        });
        let reached = self.reached();
        self.schema.types.retain(|name, definition| definition.is_built_in() || reached.contains(name));
    }

    /// The types that the roots and the directives of operations lead to.
    fn reached(&self) -> HashSet<Name> {
        let implementers = self.schema.implementers_map();
        let definition = &self.schema.schema_definition;
        let roots = [&definition.query, &definition.mutation, &definition.subscription];
        let mut next: Vec<Name> = roots.into_iter().flatten().map(|root| root.name.clone()).collect();
        let directives = self.schema.directive_definitions.values();
        next.extend(
            directives.flat_map(|directive| &directive.arguments).map(|value| type_of(value).clone()),
        );
        let mut reached = HashSet::new();
        while let Some(name) = next.pop() {
            let Some(definition) = self.schema.types.get(&name) else { continue };
            if !reached.insert(name.clone()) {
                continue;
            }
            for (_, field) in fields(definition) {
                next.push(field.ty.inner_named_type().clone());
                next.extend(field.arguments.iter().map(|value| type_of(value).clone()));
            }
            next.extend(interfaces(definition).cloned());
            let of_interface = implementers.get(&name).into_iter();
            next.extend(of_interface.flat_map(|all| all.objects.iter().chain(&all.interfaces)).cloned());
            match definition {
                ExtendedType::Union(union) => {
                    next.extend(union.members.iter().map(|member| member.name.clone()))
                }
                ExtendedType::InputObject(input) => {
                    next.extend(input.fields.values().map(|field| type_of(field).clone()));
                }
                ExtendedType::Scalar(_)
                | ExtendedType::Object(_)
                | ExtendedType::Interface(_)
                | ExtendedType::Enum(_) => {}
            }
        }
        reached
    }

    /// A default that names what is not shown is not shown either.
    fn forget(&mut self) {
        let types = self.schema.types.clone();
        let forget = |value: &mut Node<InputValueDefinition>| {
            let says = |default: &Node<Value>| is_there(&types, type_of(value), default);
            if !value.default_value.as_ref().is_none_or(says) {
                value.make_mut().default_value = None;
            }
        };
        let in_field = |field: &mut Component<FieldDefinition>| {
            if field.arguments.iter().any(|argument| argument.default_value.is_some()) {
                field.make_mut().arguments.iter_mut().for_each(forget);
            }
        };
        for definition in self.schema.types.values_mut().filter(|definition| !definition.is_built_in()) {
            match definition {
                ExtendedType::Object(object) => object.make_mut().fields.values_mut().for_each(in_field),
                ExtendedType::Interface(interface) => {
                    interface.make_mut().fields.values_mut().for_each(in_field);
                }
                ExtendedType::InputObject(input) => {
                    input.make_mut().fields.values_mut().for_each(|field| forget(&mut field.node));
                }
                ExtendedType::Scalar(_) | ExtendedType::Union(_) | ExtendedType::Enum(_) => {}
            }
        }
        for definition in self.schema.directive_definitions.values_mut() {
            definition.make_mut().arguments.iter_mut().for_each(forget);
        }
    }
}

fn is_hidden(whole: &Schema, directives: &DirectiveList) -> bool {
    directives.iter().any(|directive| whole.hides(&directive.name))
}

/// What is taken from one type.
struct Taking<'a> {
    /// The types that are there.
    there: &'a HashSet<Name>,
    /// The fields that an implementer lacks, of an interface.
    lacking: Option<&'a HashSet<Name>>,
}

impl Taking<'_> {
    /// Takes from a type what cannot stay. Whether it can do without that.
    fn from(&self, definition: &mut ExtendedType) -> bool {
        let there = |name: &Name| self.there.contains(name);
        let mut can_do_without = true;
        match definition {
            ExtendedType::Object(object) => {
                let object = object.make_mut();
                object.fields.retain(|_, field| self.keeps(field));
                object.implements_interfaces.retain(|interface| there(&interface.name));
            }
            ExtendedType::Interface(interface) => {
                let interface = interface.make_mut();
                let lacking = |name: &Name| self.lacking.is_some_and(|lacking| lacking.contains(name));
                interface.fields.retain(|name, field| !lacking(name) && self.keeps(field));
                interface.implements_interfaces.retain(|interface| there(&interface.name));
            }
            ExtendedType::Union(union) => union.make_mut().members.retain(|member| there(&member.name)),
            ExtendedType::InputObject(input) => input.make_mut().fields.retain(|_, field| {
                let stays = there(type_of(field));
                can_do_without &= stays || !field.is_required();
                stays
            }),
            ExtendedType::Scalar(_) | ExtendedType::Enum(_) => {}
        }
        can_do_without
    }

    fn keeps(&self, field: &mut Component<FieldDefinition>) -> bool {
        self.there.contains(field.ty.inner_named_type())
            && retain_arguments(field, |argument| self.there.contains(type_of(argument)))
    }
}

/// Leaves the arguments that may stay. Whether the field can do without the others.
fn retain_arguments(
    field: &mut Component<FieldDefinition>,
    mut stays: impl FnMut(&InputValueDefinition) -> bool,
) -> bool {
    if field.arguments.iter().all(|argument| stays(argument)) {
        return true;
    }
    let mut can_do_without = true;
    field.make_mut().arguments.retain(|argument| {
        let stays = stays(argument);
        can_do_without &= stays || !argument.is_required();
        stays
    });
    can_do_without
}

/// How many members a type has, and arguments, and itself.
fn size(definition: &ExtendedType) -> usize {
    let members = match definition {
        ExtendedType::Scalar(_) => 0,
        ExtendedType::Object(_) | ExtendedType::Interface(_) => {
            fields(definition).into_iter().map(|(_, field)| 1 + field.arguments.len()).sum()
        }
        ExtendedType::Union(union) => union.members.len(),
        ExtendedType::Enum(values) => values.values.len(),
        ExtendedType::InputObject(input) => input.fields.len(),
    };
    1 + members + interfaces(definition).count()
}

fn fields(definition: &ExtendedType) -> Vec<(&Name, &FieldDefinition)> {
    match definition {
        ExtendedType::Object(object) => object.fields.iter().map(|(name, field)| (name, &***field)).collect(),
        ExtendedType::Interface(interface) => {
            interface.fields.iter().map(|(name, field)| (name, &***field)).collect()
        }
        ExtendedType::Scalar(_)
        | ExtendedType::Union(_)
        | ExtendedType::Enum(_)
        | ExtendedType::InputObject(_) => Vec::new(),
    }
}

fn interfaces(definition: &ExtendedType) -> impl Iterator<Item = &Name> {
    let interfaces = match definition {
        ExtendedType::Object(object) => Some(&object.implements_interfaces),
        ExtendedType::Interface(interface) => Some(&interface.implements_interfaces),
        ExtendedType::Scalar(_)
        | ExtendedType::Union(_)
        | ExtendedType::Enum(_)
        | ExtendedType::InputObject(_) => None,
    };
    interfaces.into_iter().flatten().map(|interface| &interface.name)
}

/// Whether nothing is left of a type that cannot be without something.
fn is_empty(definition: &ExtendedType) -> bool {
    match definition {
        ExtendedType::Scalar(_) => false,
        ExtendedType::Object(object) => object.fields.is_empty(),
        ExtendedType::Interface(interface) => interface.fields.is_empty(),
        ExtendedType::Union(union) => union.members.is_empty(),
        ExtendedType::Enum(values) => values.values.is_empty(),
        ExtendedType::InputObject(input) => input.fields.is_empty(),
    }
}

fn type_of(value: &InputValueDefinition) -> &Name {
    value.ty.inner_named_type()
}

/// Whether clients can write the directive, or it says something of what is shown.
fn is_executable(definition: &Node<DirectiveDefinition>) -> bool {
    SPECIFIED.contains(&definition.name.as_str())
        || definition.locations.iter().any(|location| match location {
            DirectiveLocation::Query
            | DirectiveLocation::Mutation
            | DirectiveLocation::Subscription
            | DirectiveLocation::Field
            | DirectiveLocation::FragmentDefinition
            | DirectiveLocation::FragmentSpread
            | DirectiveLocation::InlineFragment
            | DirectiveLocation::VariableDefinition => true,
            DirectiveLocation::Schema
            | DirectiveLocation::Scalar
            | DirectiveLocation::Object
            | DirectiveLocation::FieldDefinition
            | DirectiveLocation::ArgumentDefinition
            | DirectiveLocation::Interface
            | DirectiveLocation::Union
            | DirectiveLocation::Enum
            | DirectiveLocation::EnumValue
            | DirectiveLocation::InputObject
            | DirectiveLocation::InputFieldDefinition => false,
        })
}

/// Whether all that a value of a type names is there. What a scalar makes of a value is its own.
fn is_there(types: &Types, name: &Name, value: &Value) -> bool {
    let definition = types.get(name);
    match value {
        Value::List(items) => items.iter().all(|item| is_there(types, name, item)),
        Value::Enum(value) => match definition {
            Some(ExtendedType::Enum(values)) => values.values.contains_key(value),
            other => other.is_some_and(ExtendedType::is_scalar),
        },
        Value::Object(members) => match definition {
            Some(ExtendedType::InputObject(input)) => members.iter().all(|(name, value)| {
                let field = input.fields.get(name);
                field.is_some_and(|field| is_there(types, type_of(field), value))
            }),
            other => other.is_some_and(ExtendedType::is_scalar),
        },
        Value::Null
        | Value::Variable(_)
        | Value::String(_)
        | Value::Float(_)
        | Value::Int(_)
        | Value::Boolean(_) => true,
    }
}
