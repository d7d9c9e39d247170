//! The operations of documents, with what their schema's directives ask for.

use std::collections::{BTreeMap, BTreeSet};

use palisade_graphql::{Alternatives, Needs, Rule, Schema};
use palisade_import::operations::{Operation, Required};

/// Reads the documents, each under the name of its file. A tool is called by the name of its operation, so that each needs a
/// name of its own.
///
/// # Errors
/// Every document that cannot be read, and every operation without a name of its own.
pub(super) fn read(schema: &Schema, texts: &[(String, String)]) -> Result<Vec<Operation>, Vec<String>> {
    let mut problems = Vec::new();
    let mut operations: BTreeMap<String, Operation> = BTreeMap::new();
    for (file, text) in texts {
        let needs = schema.needs(text).unwrap_or_else(|error| {
            problems.push(format!("{file}: {error}"));
            Vec::new()
        });
        for needs in needs {
            match operation(file, &needs) {
                None => {
                    problems.push(format!("{file}: an operation has no name, so that no tool can have it"))
                }
                Some(operation) => {
                    let other = operations.insert(operation.name.clone(), operation);
                    problems.extend(other.map(|other| {
                        format!("{file}: `{}` is the name of an operation in {}, too", other.name, other.file)
                    }));
                }
            }
        }
    }
    if problems.is_empty() { Ok(operations.into_values().collect()) } else { Err(problems) }
}

fn operation(file: &str, needs: &Needs) -> Option<Operation> {
    let required = |of: fn(&Rule) -> &Alternatives| {
        Required::new(needs.rules.values().map(|rule| of(rule).sets().to_vec()))
    };
    Some(Operation {
        name: needs.name.clone()?,
        file: file.to_owned(),
        kind: needs.kind.as_str(),
        authenticated: needs.rules.values().any(|rule| rule.authenticated),
        scopes: required(|rule| &rule.scopes),
        policies: required(|rule| &rule.policies),
        asked_by: needs.rules.keys().map(ToString::to_string).collect::<BTreeSet<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDL: &str = r#"
        type Query { me: User @authenticated, order(id: ID!): Order @requiresScopes(scopes: [["order:read"], ["admin"]]) }
        type User { id: ID!, email: String @requiresScopes(scopes: [["user:read:email"]]), card: String @policy(policies: [["own_card"]]) }
        type Order @requiresScopes(scopes: [["order:read"]]) { total: Int, user: User }
    "#;

    fn texts(documents: &[&str]) -> Vec<(String, String)> {
        documents.iter().enumerate().map(|(at, text)| (format!("{at}.graphql"), (*text).to_owned())).collect()
    }

    #[test]
    fn every_operation_says_what_it_needs() {
        let schema = Schema::load(SDL).unwrap();
        let documents = [
            "query B($id: ID!) { order(id: $id) { total user { email } } }",
            "query A { me { id card } } query C { __typename }",
        ];
        let read = read(&schema, &texts(&documents)).unwrap();
        let told: Vec<_> = read
            .iter()
            .map(|it| {
                (it.name.as_str(), it.file.as_str(), it.authenticated, it.needs(), it.policies.to_string())
            })
            .collect();
        let text = str::to_owned;
        assert_eq!(
            told,
            [
                ("A", "1.graphql", true, text("a token"), text("own_card")),
                ("B", "0.graphql", false, text("order:read and user:read:email"), text("")),
                ("C", "1.graphql", false, text("nothing"), text("")),
            ]
        );
        assert_eq!(read[1].asked_by, ["Order", "Query.order", "User.email"].map(text).into());
    }

    #[test]
    fn what_cannot_be_a_tool_is_told_with_its_file() {
        let schema = Schema::load(SDL).unwrap();
        let documents =
            ["{ me { id } }", "query A { gone }", "query B { me { id } }", "query B { me { id } }"];
        let problems = read(&schema, &texts(&documents)).unwrap_err();
        assert_eq!(
            problems,
            [
                "0.graphql: an operation has no name, so that no tool can have it",
                "1.graphql: the document does not fit the schema (line 1, column 11)",
                "3.graphql: `B` is the name of an operation in 2.graphql, too",
            ]
        );
    }
}
