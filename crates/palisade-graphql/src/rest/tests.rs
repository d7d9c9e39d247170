use serde_json::json;

use super::*;
use crate::fixtures::{everything, schema, variables};

fn request(document: &str, name: Option<&str>, given: &str) -> Request {
    Request {
        document: document.to_owned(),
        operation_name: name.map(str::to_owned),
        variables: variables(given),
        by_get: false,
        by_hash: false,
        listed: None,
        exact: true,
    }
}

fn rest(request: &Request, decisions: &Decisions) -> Option<Rest> {
    let schema = schema();
    let analysis = schema.analyze_request(request).unwrap();
    schema.rest(request, &analysis, decisions, Dialect::Apollo)
}

fn left(rest: &Rest) -> Value {
    let mut body: Value = serde_json::from_slice(rest.body.as_ref().unwrap()).unwrap();
    let query = body["query"].as_str().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    body["query"] = query.into();
    body
}

#[test]
fn a_request_goes_on_with_the_name_and_the_variables_that_are_left() {
    let document =
        "query A($id: ID!, $n: Int) { user(id: $id) { id } users(first: $n) { id } } query B { open }";
    let asked = request(document, Some("A"), r#"{"id": "7", "n": 3, "unknown": true}"#);
    let rest = rest(&asked, &Decisions::none()).unwrap();
    let query = "query A($n: Int) { users(first: $n) { id } }";
    assert_eq!(left(&rest), json!({ "query": query, "operationName": "A", "variables": { "n": 3 } }));
    assert_eq!(rest.denied[0].coordinate.to_string(), "Query.user");
    assert_eq!(rest.errors[0].path.as_deref(), Some(["user".to_owned()].as_slice()));
    let asked = request("{ open secret { id } }", None, "{}");
    assert_eq!(left(&self::rest(&asked, &Decisions::none()).unwrap()), json!({ "query": "{ open }" }));
}

#[test]
fn the_questions_that_are_left_are_told_by_their_places() {
    let asked = request("{ me { email id } users { id } }", None, "{}");
    let analysis = schema().analyze_request(&asked).unwrap();
    let rest = rest(&asked, &Decisions::none()).unwrap();
    let left: Vec<String> =
        rest.asks.iter().map(|place| analysis.asks()[*place].coordinate.to_string()).collect();
    assert_eq!(left, ["Query.me", "User.id", "Query.users"]);
}

#[test]
fn nothing_is_left_of_what_is_granted_whole_and_nothing_goes_on_where_nothing_is_left() {
    let asked = request("{ open me { email } }", None, "{}");
    assert!(rest(&asked, &everything()).is_none());
    let nothing = rest(&request("{ secret { id } }", None, "{}"), &Decisions::none()).unwrap();
    assert_eq!((nothing.body, nothing.asks.len(), nothing.errors.len()), (None, 0, 1));
}

#[test]
fn a_request_with_a_number_that_would_be_written_otherwise_is_left_alone() {
    let asked = request("query($n: Int) { users(first: $n) { id } secret { id } }", None, r#"{"n": 3}"#);
    assert!(rest(&asked, &Decisions::none()).is_some());
    assert!(rest(&Request { exact: false, ..asked }, &Decisions::none()).is_none());
}
