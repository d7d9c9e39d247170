//! Definitions of the directives that a plain SDL uses without defining them.
//!
//! A supergraph defines all that it uses. A subgraph, or an SDL written by hand, leaves out what every tool knows.

use std::collections::BTreeSet;

use apollo_compiler::ast::{Definition, Document};

use super::links::{Known, Names};

/// What stands after the name, for each directive that is understood.
fn form(known: Known) -> &'static str {
    match known {
        Known::Authenticated => "on FIELD_DEFINITION | OBJECT | INTERFACE | SCALAR | ENUM",
        Known::RequiresScopes => {
            "(scopes: [[String!]!]!) on FIELD_DEFINITION | OBJECT | INTERFACE | SCALAR | ENUM"
        }
        Known::Policy => "(policies: [[String!]!]!) on FIELD_DEFINITION | OBJECT | INTERFACE | SCALAR | ENUM",
        Known::Tag => {
            "(name: String!) repeatable on FIELD_DEFINITION | INTERFACE | OBJECT | UNION | ARGUMENT_DEFINITION \
             | SCALAR | ENUM | ENUM_VALUE | INPUT_OBJECT | INPUT_FIELD_DEFINITION | SCHEMA"
        }
        Known::Inaccessible => {
            "on FIELD_DEFINITION | OBJECT | INTERFACE | UNION | ARGUMENT_DEFINITION | SCALAR | ENUM | ENUM_VALUE \
             | INPUT_OBJECT | INPUT_FIELD_DEFINITION"
        }
    }
}

/// The rest of the federation specification, which says nothing about authorization.
const FEDERATION: [(&str, &str); 12] = [
    ("link", "(url: String!, as: String, for: link__Purpose, import: [link__Import]) repeatable on SCHEMA"),
    ("key", "(fields: String!, resolvable: Boolean = true) repeatable on OBJECT | INTERFACE"),
    ("requires", "(fields: String!) on FIELD_DEFINITION"),
    ("provides", "(fields: String!) on FIELD_DEFINITION"),
    ("external", "(reason: String) on OBJECT | FIELD_DEFINITION"),
    ("shareable", "repeatable on FIELD_DEFINITION | OBJECT"),
    ("override", "(from: String!, label: String) on FIELD_DEFINITION"),
    ("extends", "on OBJECT | INTERFACE"),
    ("interfaceObject", "on OBJECT"),
    ("composeDirective", "(name: String!) repeatable on SCHEMA"),
    (
        "cost",
        "(weight: Int!) on ARGUMENT_DEFINITION | ENUM | FIELD_DEFINITION | INPUT_FIELD_DEFINITION | OBJECT | SCALAR",
    ),
    (
        "listSize",
        "(assumedSize: Int, slicingArguments: [String!], sizedFields: [String!], \
         requireOneSlicingArgument: Boolean = true) on FIELD_DEFINITION",
    ),
];

/// Types that the definition of `@link` names.
const LINK_TYPES: [(&str, &str); 2] = [
    ("link__Import", "scalar link__Import\n"),
    ("link__Purpose", "enum link__Purpose { SECURITY EXECUTION }\n"),
];

/// An SDL with what is missing.
pub(super) fn missing(document: &Document, names: &Names) -> String {
    let defined: BTreeSet<&str> = document.definitions.iter().filter_map(directive).collect();
    let types: BTreeSet<&str> = document
        .definitions
        .iter()
        .filter(|definition| definition.as_directive_definition().is_none())
        .filter_map(|definition| definition.name().map(apollo_compiler::Name::as_str))
        .collect();
    let ours = Known::ALL.into_iter().flat_map(|known| names.of(known).map(move |name| (name, form(known))));
    let mut text: String = ours
        .chain(FEDERATION)
        .filter(|(name, _)| !defined.contains(name))
        .map(|(name, form)| format!("directive @{name} {form}\n"))
        .collect();
    if !defined.contains("link") {
        text.extend(LINK_TYPES.iter().filter(|(name, _)| !types.contains(name)).map(|(_, text)| *text));
    }
    text
}

fn directive(definition: &Definition) -> Option<&str> {
    definition.as_directive_definition().map(|definition| definition.name.as_str())
}
