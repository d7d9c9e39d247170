//! What is asked about an operation is what is executed.

use async_graphql::UploadValue;
use http::{HeaderMap, Method};
use serde_json::json;

use super::*;

fn by(method: Method) -> Incoming {
    Incoming {
        method,
        scheme: "https",
        host: "api.example.com".to_owned(),
        path: "/graphql".to_owned(),
        headers: HeaderMap::new(),
        client: None,
    }
}

fn request(value: serde_json::Value) -> Request {
    serde_json::from_value(value).unwrap()
}

fn body(request: &mut Request) -> serde_json::Value {
    let check = question("storefront", request, &by(Method::POST)).unwrap();
    assert_eq!((check.resource.as_str(), check.request.method.as_str()), ("storefront", "POST"));
    serde_json::from_slice(&check.body).unwrap()
}

fn denied(request: &mut Request, method: Method) -> u16 {
    match question("storefront", request, &by(method)) {
        Err(Unasked::Denied(denial)) => denial.status.as_u16(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_text_the_name_and_the_variables_are_asked_about() {
    let query = "query A($n: Int = 3) { orders(first: $n) { id } } query B { me { name } }";
    let sent = json!({ "query": query, "operationName": "A", "variables": { "n": 7, "list": [1, null] },
        "extensions": { "a": 1 } });
    let asked = json!({ "query": query, "operationName": "A", "variables": { "n": 7, "list": [1, null] } });
    assert_eq!(body(&mut request(sent)), asked);
    assert_eq!(
        body(&mut Request::new("{ me { name } }")),
        json!({ "query": "{ me { name } }", "variables": {} })
    );
}

#[test]
fn what_async_graphql_takes_for_null_is_asked_about_as_null() {
    let query = "query A($a: Int, $b: Int = 3, $c: Int!, $d: [Int!]) { f(a: $a, b: $b, c: $c, d: $d) } \
                 query B($e: Int) { g(e: $e) }";
    let mut sent = request(json!({ "query": query, "operationName": "A", "variables": { "d": [1] } }));
    assert_eq!(body(&mut sent)["variables"], json!({ "a": null, "d": [1] }));
    // It is executed with what was asked about.
    assert_eq!(serde_json::to_value(&sent.variables).unwrap(), json!({ "a": null, "d": [1] }));
}

#[test]
fn a_document_that_somebody_else_has_read_gives_way_to_the_text() {
    let mut sent = Request::new("{ me { name } }");
    sent.set_parsed_query(parse_query("mutation { cancelOrder(id: 1) { id } }").unwrap());
    body(&mut sent);
    let read = sent.parsed_query().unwrap();
    assert!(!changes_something(read));
}

#[test]
fn what_cannot_be_asked_about_is_denied() {
    assert_eq!(denied(&mut Request::new(" "), Method::POST), 400);
    let mut upload =
        request(json!({ "query": "mutation($f: Upload!) { put(file: $f) }", "variables": { "f": null } }));

    let value = UploadValue { filename: "f".to_owned(), content_type: None, content: Bytes::new() };
    upload.set_upload("variables.f", value);
    assert_eq!(denied(&mut upload, Method::POST), 400);
    let mutation = "query Q { me { name } } mutation M { cancelOrder(id: 1) { id } }";
    assert_eq!(denied(&mut Request::new(mutation).operation_name("Q"), Method::GET), 405);
    body(&mut Request::new(mutation).operation_name("M"));
    let broken = question("storefront", &mut Request::new("{ me {"), &by(Method::POST));
    assert!(matches!(broken, Err(Unasked::Syntax(_))), "{broken:?}");
}
