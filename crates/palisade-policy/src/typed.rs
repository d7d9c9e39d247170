//! Typed tools: tools whose arguments policies see with their names and types.
//!
//! For a tool that the configuration lists as typed, [`with_types`] reads the catalogued JSON Schema as an
//! [`InputType`]; `fragment` turns these types into a part of the Cedar schema: an action
//! `Mcp::Action::"tool:<server>/<name>"` in `tools/call`, whose context has an `input` beside `args`; `value` turns the
//! arguments of a call into that input. What has no exact type is refused when it is read, and arguments that do not
//! convert are refused before policies: an input is never a guess.
//!
//! | JSON Schema | Cedar |
//! |---|---|
//! | `string`, and `enum` or `const` of strings | `String` |
//! | `integer` | `Long`; beyond 64 bits a call is refused |
//! | `number` | `decimal`; with more than four decimals or 14 digits before the point a call is refused |
//! | `boolean` | `Bool` |
//! | `array` with `items` | `Set`: neither order nor repetition is kept |
//! | `object` with `properties` | a record; what `required` does not list is optional |
//! | a member that may also be `null` | an optional attribute: `null` is as if it were absent |
//! | `$ref` within the schema; `anyOf`, `oneOf`, `allOf` whose parts have one type | that type |
//!
//! Members that a schema does not name have no type and are no part of the input, whatever `additionalProperties` says;
//! `context.args` has them. The input is an entity, as `context.args` is, because partial evaluation can leave an
//! entity unknown, but a context only whole.

mod fragment;
mod json_schema;
mod trap;
mod value;

use std::collections::BTreeMap;

use serde::Serialize;

pub(crate) use fragment::{TypedTool, TypedTools, fragment, is_used};
pub(crate) use trap::passes_by;

use crate::{Diagnostic, SourceFile, Tool, catalog::place_of_tool, diagnostic::nearest};

/// The exact type of a tool's arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputType(Record);

type Record = BTreeMap<String, Member>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Member {
    kind: Type,
    /// Whether arguments always have it.
    required: bool,
    /// Whether `null` may stand in its place.
    nullable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Type {
    Text,
    Long,
    Decimal,
    Flag,
    Set(Box<Type>),
    Record(Record),
}

/// Types the tools of a catalogue that `typed` names: `tools` as [`read_catalog`](crate::read_catalog) read them from
/// `catalog`.
///
/// # Errors
/// For every name that the catalogue does not list, and every tool whose input schema has no exact type.
pub fn with_types(
    mut tools: Vec<Tool>,
    typed: &[String],
    catalog: &SourceFile,
) -> Result<Vec<Tool>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    for name in typed {
        let Some(tool) = tools.iter_mut().find(|tool| tool.name == *name) else {
            let problem =
                Diagnostic::error(&catalog.path, format!("lists no tool `{name}`, which is to be typed"));
            problems.push(match nearest(name, tools.iter().map(|tool| tool.name.as_str())) {
                Some(known) => problem.help(format!("did you mean `{known}`?")),
                None => {
                    problem.help("name tools of the catalogue, or write it anew with `palisade tools fetch`")
                }
            });
            continue;
        };
        let place = place_of_tool(&catalog.text, name);
        let wrong = |why: String| Diagnostic::error(&catalog.path, why).at(place);
        match tool.input_schema.as_ref().map(json_schema::read) {
            Some(Ok(input)) => tool.input = Some(input),
            Some(Err(error)) => problems
                .push(wrong(format!("the tool `{name}` cannot be typed: {error}")).help(error.problem.fix())),
            None => problems.push(
                wrong(format!("the tool `{name}` cannot be typed: it has no input schema"))
                    .help("take it out of `typed`, or write the catalogue anew with `palisade tools fetch`"),
            ),
        }
    }
    if problems.is_empty() { Ok(tools) } else { Err(problems) }
}

#[cfg(test)]
mod tests;
