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
        headers: HeaderMap::from_iter([(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        )]),
        client: None,
    }
}

fn request(value: serde_json::Value) -> Request {
    serde_json::from_value(value).unwrap()
}

fn body(request: &mut Request) -> serde_json::Value {
    let Asked { check, .. } = question("storefront", request, &by(Method::POST)).unwrap();
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
fn what_is_left_out_is_asked_about_with_the_value_that_it_will_have() {
    let query = "query A($a: Int, $b: Int = 3, $c: Int!, $d: [Int!]) { f(a: $a, b: $b, c: $c, d: $d) } \
                 query B($e: Int) { g(e: $e) }";
    let mut sent = request(json!({ "query": query, "operationName": "A", "variables": { "d": [1] } }));
    assert_eq!(body(&mut sent)["variables"], json!({ "a": null, "b": 3, "d": [1] }));
    // It is executed with what was asked about.
    assert_eq!(serde_json::to_value(&sent.variables).unwrap(), json!({ "a": null, "b": 3, "d": [1] }));
}

#[test]
fn a_document_that_somebody_else_has_read_gives_way_to_the_text() {
    let mut sent = Request::new("{ me { name } }");
    sent.set_parsed_query(parse_query("mutation { cancelOrder(id: 1) { id } }").unwrap());
    body(&mut sent);
    let read = sent.parsed_query().unwrap();
    assert!(!does_more_than_query(read));
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

#[test]
fn of_several_operations_the_named_one_is_left_with_its_fragments() {
    let text = "query A { ...F } mutation B { ...G } fragment F on Query { me { ...H } } fragment G on Mutation { m } \
                fragment H on User { ... on User { ...H name } } subscription C { s }";
    let of = |name: Option<&str>| {
        let mut sent = Request::new(text);
        sent.operation_name = name.map(str::to_owned);
        let asked = question("storefront", &mut sent, &by(Method::POST)).unwrap();
        let read = sent.parsed_query().unwrap();
        assert_eq!(told(read).as_ref(), Some(&asked.document));
        let mut fragments: Vec<String> = read.fragments.keys().map(ToString::to_string).collect();
        fragments.sort();
        (read.operations.iter().count(), fragments.join(" "), asked.kind)
    };
    assert_eq!(of(Some("A")), (1, "F H".to_owned(), Some(OperationType::Query)));
    assert_eq!(of(Some("B")), (1, "G".to_owned(), Some(OperationType::Mutation)));
    assert_eq!(of(Some("C")), (1, String::new(), Some(OperationType::Subscription)));
    assert_eq!(of(Some("D")), (3, "F G H".to_owned(), None));
    assert_eq!(of(None), (3, "F G H".to_owned(), None));
}

#[test]
fn what_has_another_reading_elsewhere_is_denied() {
    for query in [
        "{ put(file: \"#__graphql_file__:0\") }",
        "{ put(file: {of: [\"\\u0023__graphql_file__:0\"]}) }",
        "query($f: String = \"#__graphql_file__:0\") { put(file: $f) }",
        "{ say(text: \"\"\"\n  a\"\"\") }",
    ] {
        assert_eq!(denied(&mut Request::new(query), Method::POST), 400, "{query}");
    }
    let deep = format!("{{ f(a: {}) }}", "[".repeat(100_000));
    assert_eq!(denied(&mut Request::new(deep), Method::POST), 400);
    let query = "query($f: [In!]) { put(files: $f) }";
    let sent = json!({ "query": query, "variables": { "f": [{ "of": "#__graphql_file__:0" }] } });
    assert_eq!(denied(&mut request(sent), Method::POST), 400);
    body(&mut request(json!({ "query": query, "variables": { "f": [{ "of": "a #__graphql_file__:0" }] } })));
}
