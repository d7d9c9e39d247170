//! How far a label reaches.
//!
//! `@tag` labels what it stands on and nothing else, so that nobody is permitted more than the schema says. An operation is asked
//! about field by field, and a field is in its own labels and in those of its type. A label on a scalar is about no field, then, and one on
//! an interface not about the types that are one: a rule on the label is walked round there. Where that is so is told here.

use std::collections::{BTreeMap, BTreeSet};

use apollo_compiler::schema::ExtendedType;

use super::{Schema, facts};
use crate::Coordinate;

/// By label and by the place that it stands on: the fields and types that are this, or return it, and do not have the label.
pub type Unlabelled = BTreeMap<String, BTreeMap<Coordinate, BTreeSet<Coordinate>>>;

impl Schema {
    /// What does not have the label of the scalar or enum that it returns, of the interface or the interface's field that it implements,
    /// or of the union that it is a member of.
    #[must_use]
    pub fn unlabelled(&self) -> Unlabelled {
        let mut found = Found { schema: self, all: Unlabelled::new() };
        for (name, definition) in &self.valid.types {
            match definition {
                ExtendedType::Object(object) => {
                    for interface in &object.implements_interfaces {
                        found.is_a(name, interface);
                        found.fields_of(name, interface);
                    }
                    found.returned(name, definition);
                }
                ExtendedType::Interface(_) => found.returned(name, definition),
                ExtendedType::Union(union) => {
                    for member in &union.members {
                        found.is_a(member, name);
                    }
                }
                ExtendedType::Scalar(_) | ExtendedType::Enum(_) | ExtendedType::InputObject(_) => {}
            }
        }
        found.all
    }

    /// The labels that stand on a type.
    fn labels_of(&self, name: &str) -> Option<&BTreeSet<String>> {
        self.types.get(name).map(|facts| facts.element().labels)
    }

    /// Whether a rule on the label is about the field.
    fn has_label(&self, name: &str, field: &str, label: &str) -> bool {
        let own = self.field(name, field).map(|facts| facts.element().labels);
        own.into_iter().chain(self.labels_of(name)).any(|labels| labels.contains(label))
    }

    /// Whether a rule on the label is about every field of the type.
    fn is_labelled(&self, name: &str, label: &str) -> bool {
        let mut fields = self.types.get(name).into_iter().flat_map(|facts| facts.fields.keys());
        fields.all(|field| self.has_label(name, field, label))
    }
}

struct Found<'a> {
    schema: &'a Schema,
    all: Unlabelled,
}

impl Found<'_> {
    fn add(&mut self, label: &str, place: Coordinate, lacking: Coordinate) {
        self.all.entry(label.to_owned()).or_default().entry(place).or_default().insert(lacking);
    }

    /// An object type that is of an interface or a union.
    fn is_a(&mut self, name: &str, abstract_type: &str) {
        for label in self.schema.labels_of(abstract_type).into_iter().flatten() {
            if !self.schema.is_labelled(name, label) {
                self.add(label, Coordinate::of_type(abstract_type), Coordinate::of_type(name));
            }
        }
    }

    /// The fields of an object type that are those of an interface.
    fn fields_of(&mut self, name: &str, interface: &str) {
        let fields = self.schema.types.get(interface).into_iter().flat_map(|facts| &facts.fields);
        for (field, facts) in fields {
            for label in facts.element().labels {
                if !self.schema.has_label(name, field, label) {
                    let place = Coordinate::of_field(interface, field);
                    self.add(label, place, Coordinate::of_field(name, field));
                }
            }
        }
    }

    /// The fields that return a scalar or an enum. Of what returns an object, fields of that are asked about.
    fn returned(&mut self, name: &str, definition: &ExtendedType) {
        for (field, defined) in facts::fields(definition) {
            let returned = defined.ty.inner_named_type();
            let is_leaf = self.schema.valid.types.get(returned);
            if !is_leaf.is_some_and(|returned| returned.is_scalar() || returned.is_enum()) {
                continue;
            }
            for label in self.schema.labels_of(returned).into_iter().flatten() {
                if !self.schema.has_label(name, field, label) {
                    self.add(label, Coordinate::of_type(returned), Coordinate::of_field(name, field));
                }
            }
        }
    }
}
