//! What stands on definitions: nothing of it is shown but what introspection tells, such as that a field is deprecated.

use apollo_compiler::{
    Node,
    ast::{Directive, FieldDefinition, InputValueDefinition},
    schema::{Component, DirectiveList, ExtendedType},
};

/// The directives of the specification that say something of what is shown (GraphQL, section 3.13).
pub(super) const SPECIFIED: [&str; 5] = ["skip", "include", "deprecated", "specifiedBy", "oneOf"];

/// Takes every other directive from the definitions.
pub(super) fn strip(schema: &mut apollo_compiler::Schema) {
    of_type(&mut schema.schema_definition.make_mut().directives);
    for definition in schema.types.values_mut().filter(|definition| !definition.is_built_in()) {
        match definition {
            ExtendedType::Scalar(scalar) => of_type(&mut scalar.make_mut().directives),
            ExtendedType::Object(object) => {
                let object = object.make_mut();
                of_type(&mut object.directives);
                object.fields.values_mut().for_each(of_field);
            }
            ExtendedType::Interface(interface) => {
                let interface = interface.make_mut();
                of_type(&mut interface.directives);
                interface.fields.values_mut().for_each(of_field);
            }
            ExtendedType::Union(union) => of_type(&mut union.make_mut().directives),
            ExtendedType::Enum(values) => {
                let values = values.make_mut();
                of_type(&mut values.directives);
                for value in values.values.values_mut() {
                    value.make_mut().directives.0.retain(is_specified);
                }
            }
            ExtendedType::InputObject(input) => {
                let input = input.make_mut();
                of_type(&mut input.directives);
                for field in input.fields.values_mut() {
                    of_value(field.make_mut());
                }
            }
        }
    }
    for definition in schema.directive_definitions.values_mut() {
        for argument in &mut definition.make_mut().arguments {
            of_value(argument.make_mut());
        }
    }
}

fn of_type(directives: &mut DirectiveList) {
    directives.0.retain(|directive| is_specified(&directive.node));
}

fn of_field(field: &mut Component<FieldDefinition>) {
    let field = field.make_mut();
    field.directives.0.retain(is_specified);
    for argument in &mut field.arguments {
        of_value(argument.make_mut());
    }
}

fn of_value(value: &mut InputValueDefinition) {
    value.directives.0.retain(is_specified);
}

fn is_specified(directive: &Node<Directive>) -> bool {
    SPECIFIED.contains(&directive.name.as_str())
}
