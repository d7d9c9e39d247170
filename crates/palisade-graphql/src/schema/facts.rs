//! What the directives say, by type and field.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use apollo_compiler::Node;
use apollo_compiler::ast::{Directive, Value};
use apollo_compiler::schema::{ExtendedType, FieldDefinition};

use super::links::{Known, Names};
use super::{Element, SchemaError};
use crate::{Alternatives, Coordinate, Rule};

/// What is known of a type.
#[derive(Debug, Clone, Default)]
pub(crate) struct TypeFacts {
    pub(crate) rule: Rule,
    pub(crate) inaccessible: bool,
    labels: BTreeSet<String>,
    pub(crate) fields: BTreeMap<String, FieldFacts>,
    /// The object types that implement it; none where it is no interface.
    pub(crate) implementers: Vec<String>,
    pub(crate) is_interface: bool,
}

/// What is known of a field.
#[derive(Debug, Clone)]
pub(crate) struct FieldFacts {
    pub(crate) rule: Rule,
    pub(crate) inaccessible: bool,
    labels: BTreeSet<String>,
}

impl TypeFacts {
    pub(super) fn element(&self) -> Element<'_> {
        Element { rule: &self.rule, labels: &self.labels, inaccessible: self.inaccessible }
    }
}

impl FieldFacts {
    pub(super) fn element(&self) -> Element<'_> {
        Element { rule: &self.rule, labels: &self.labels, inaccessible: self.inaccessible }
    }
}

/// The facts of every type but those of introspection.
pub(super) fn read(
    schema: &apollo_compiler::Schema,
    names: &Names,
) -> Result<HashMap<String, TypeFacts>, SchemaError> {
    let reader = Reader { names };
    let implementers = schema.implementers_map();
    let mut types = HashMap::new();
    for (name, definition) in schema.types.iter().filter(|(_, definition)| !definition.is_built_in()) {
        let mut facts = reader.type_facts(name.as_str(), definition)?;
        facts.is_interface = matches!(definition, ExtendedType::Interface(_));
        if facts.is_interface {
            let objects = implementers.get(name).into_iter().flat_map(|implementers| &implementers.objects);
            facts.implementers = objects.map(|object| object.as_str().to_owned()).collect();
        }
        types.insert(name.as_str().to_owned(), facts);
    }
    Ok(types)
}

/// What stands on one type or field.
struct Reader<'a> {
    names: &'a Names,
}

impl Reader<'_> {
    fn type_facts(&self, name: &str, definition: &ExtendedType) -> Result<TypeFacts, SchemaError> {
        let coordinate = Coordinate::of_type(name);
        let on: Vec<&Node<Directive>> =
            definition.directives().iter().map(|component| &component.node).collect();
        let mut facts = TypeFacts {
            rule: self.rule(&coordinate, &on)?,
            inaccessible: self.single(Known::Inaccessible, &coordinate, &on)?.is_some(),
            labels: self.tags(&coordinate, &on)?,
            ..TypeFacts::default()
        };
        for (field, definition) in fields(definition) {
            facts.fields.insert(field.to_owned(), self.field_facts(name, field, definition)?);
        }
        Ok(facts)
    }

    fn field_facts(
        &self,
        type_name: &str,
        field: &str,
        definition: &FieldDefinition,
    ) -> Result<FieldFacts, SchemaError> {
        let coordinate = Coordinate::of_field(type_name, field);
        let on: Vec<&Node<Directive>> = definition.directives.iter().collect();
        Ok(FieldFacts {
            rule: self.rule(&coordinate, &on)?,
            inaccessible: self.single(Known::Inaccessible, &coordinate, &on)?.is_some(),
            labels: self.tags(&coordinate, &on)?,
        })
    }

    fn rule(&self, coordinate: &Coordinate, on: &[&Node<Directive>]) -> Result<Rule, SchemaError> {
        Ok(Rule {
            authenticated: self.single(Known::Authenticated, coordinate, on)?.is_some(),
            scopes: self.alternatives(Known::RequiresScopes, "scopes", coordinate, on)?,
            policies: self.alternatives(Known::Policy, "policies", coordinate, on)?,
        })
    }

    fn alternatives(
        &self,
        known: Known,
        argument: &str,
        coordinate: &Coordinate,
        on: &[&Node<Directive>],
    ) -> Result<Alternatives, SchemaError> {
        let Some(directive) = self.single(known, coordinate, on)? else { return Ok(Alternatives::default()) };
        let value = directive.specified_argument_by_name(argument);
        let sets =
            value.and_then(|value| listed(value, |set| listed(set, |name| name.as_str().map(str::to_owned))));
        let sets: Vec<Vec<String>> = sets.ok_or_else(|| unreadable(directive, coordinate))?;
        Ok(Alternatives::new(sets.into_iter().map(|set| set.into_iter().collect()).collect()))
    }

    fn tags(
        &self,
        coordinate: &Coordinate,
        on: &[&Node<Directive>],
    ) -> Result<BTreeSet<String>, SchemaError> {
        self.all(Known::Tag, on)
            .map(|directive| {
                let name = directive.specified_argument_by_name("name").and_then(|value| value.as_str());
                name.map(str::to_owned).ok_or_else(|| unreadable(directive, coordinate))
            })
            .collect()
    }

    /// The one directive of a kind.
    fn single<'d>(
        &self,
        known: Known,
        coordinate: &Coordinate,
        on: &[&'d Node<Directive>],
    ) -> Result<Option<&'d Directive>, SchemaError> {
        let mut all = self.all(known, on);
        let first = all.next();
        if all.next().is_some() {
            let directive = known.own_name().to_owned();
            return Err(SchemaError::Repeated { directive, coordinate: coordinate.clone() });
        }
        Ok(first)
    }

    fn all<'s, 'd: 's>(
        &'s self,
        known: Known,
        on: &'s [&'d Node<Directive>],
    ) -> impl Iterator<Item = &'d Directive> + 's {
        let is = move |directive: &&&Node<Directive>| self.names.of(known).any(|name| directive.name == name);
        on.iter().filter(is).map(|node| &***node)
    }
}

fn unreadable(directive: &Directive, coordinate: &Coordinate) -> SchemaError {
    SchemaError::Directive { directive: directive.name.as_str().to_owned(), coordinate: coordinate.clone() }
}

/// The elements of a list; what is no list is a list of one (GraphQL, section 3.11).
fn listed<T>(value: &Node<Value>, read: impl Fn(&Node<Value>) -> Option<T>) -> Option<Vec<T>> {
    value.as_list().unwrap_or(std::slice::from_ref(value)).iter().map(read).collect()
}

pub(super) fn fields(definition: &ExtendedType) -> Vec<(&str, &FieldDefinition)> {
    match definition {
        ExtendedType::Object(object) => {
            object.fields.iter().map(|(name, field)| (name.as_str(), &***field)).collect()
        }
        ExtendedType::Interface(interface) => {
            interface.fields.iter().map(|(name, field)| (name.as_str(), &***field)).collect()
        }
        ExtendedType::Scalar(_)
        | ExtendedType::Union(_)
        | ExtendedType::Enum(_)
        | ExtendedType::InputObject(_) => Vec::new(),
    }
}
