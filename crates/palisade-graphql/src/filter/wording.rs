//! What a client reads, in the form of its router.
//!
//! Apollo names fields without aliases, one `@` for a list, and the type condition of each fragment; Hive writes the
//! aliases with dots between; Cosmo writes a sentence with the reason, and which scopes are missing.

use serde_json::{Map, Value, json};

use super::cut::Denial;
use super::paths::Part;
use super::{Dialect, GraphqlError};
use crate::rule::Why;
use crate::{Alternatives, Analysis, Coordinate, Decisions};

const CODE: &str = "UNAUTHORIZED_FIELD_OR_TYPE";
const MESSAGE: &str = "Unauthorized field or type";

pub(super) fn error(
    denial: &Denial,
    analysis: &Analysis,
    decisions: &Decisions,
    dialect: Dialect,
) -> GraphqlError {
    match dialect {
        Dialect::Apollo => apollo(denial),
        Dialect::Hive => hive(denial),
        Dialect::Cosmo => cosmo(denial, analysis, decisions),
    }
}

fn apollo(denial: &Denial) -> GraphqlError {
    let mut path = Vec::new();
    for part in &denial.path {
        match part {
            Part::Field { name, ty, .. } => {
                path.push(name.as_str().to_owned());
                path.extend(ty.is_list().then(|| "@".to_owned()));
            }
            Part::On(condition) => path.push(format!("... on {condition}")),
        }
    }
    let extensions = Map::from_iter([("code".to_owned(), CODE.into())]);
    GraphqlError { message: MESSAGE.to_owned(), path: Some(path), extensions }
}

fn hive(denial: &Denial) -> GraphqlError {
    let affected = keys(denial).join(".");
    let extensions =
        Map::from_iter([("code".to_owned(), CODE.into()), ("affectedPath".to_owned(), affected.into())]);
    GraphqlError { message: MESSAGE.to_owned(), path: None, extensions }
}

fn cosmo(denial: &Denial, analysis: &Analysis, decisions: &Decisions) -> GraphqlError {
    let reason = match &denial.why {
        Why::Unauthenticated => "not authenticated",
        Why::Scopes(_) => "missing required scopes",
        Why::Policies(_) | Why::Undecided | Why::Introspection => "not permitted",
    };
    let names = denial.path.iter().filter_map(|part| match part {
        Part::Field { name, .. } => Some(name.as_str()),
        Part::On(_) => None,
    });
    let root = analysis.operation.object_type().as_str();
    let field: Vec<&str> = std::iter::once(root).chain(names).collect();
    let message = format!("Unauthorized to load field '{}', Reason: {reason}.", field.join("."));
    let mut extensions = Map::from_iter([("code".to_owned(), CODE.into())]);
    if let Why::Scopes(scopes) = &denial.why {
        let held: Vec<&String> = decisions.held_scopes().iter().collect();
        let missing = missing_scopes(&denial.because, scopes);
        extensions
            .insert("authorization".to_owned(), json!({"missingScopes": [missing], "actualScopes": held}));
    }
    GraphqlError { message, path: Some(keys(denial)), extensions }
}

fn missing_scopes(because: &Coordinate, scopes: &Alternatives) -> Value {
    let coordinate = match because.field_name() {
        Some(field) => json!({"typeName": because.type_name(), "fieldName": field}),
        None => json!({"typeName": because.type_name()}),
    };
    json!({"coordinate": coordinate, "required": scopes.sets()})
}

fn keys(denial: &Denial) -> Vec<String> {
    let key = |part: &Part| match part {
        Part::Field { key, .. } => Some(key.as_str().to_owned()),
        Part::On(_) => None,
    };
    denial.path.iter().filter_map(key).collect()
}
