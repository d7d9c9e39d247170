use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fixtures;

/// SHA-256 of `{ open }`.
fn hash() -> String {
    hex::encode(Sha256::digest(b"{ open }"))
}

fn read(incoming: &Incoming<'_>) -> Result<Requests, RequestError> {
    let manifest = Manifest::of(["{ open }"]);
    read_request(incoming, &Reading { max_batch: 2, manifest: &manifest })
}

fn posted(body: &str) -> Result<Requests, RequestError> {
    let body = body.as_bytes();
    read(&Incoming { body, ..Incoming { method: "POST", content_type: Some("application/json"), ..GET } })
}

const GET: Incoming<'_> = Incoming {
    method: "GET",
    query: None,
    content_type: None,
    content_encoding: None,
    upgrade: false,
    body: b"",
};

#[test]
fn a_request_is_read_from_a_body_or_from_parameters() {
    let expected = Request {
        document: "query A($x: Int) { open }".to_owned(),
        operation_name: Some("A".to_owned()),
        variables: fixtures::variables(r#"{"x": 1}"#),
        by_get: false,
        by_hash: false,
        listed: None,
        exact: true,
    };
    let body = json!({"query": expected.document, "operationName": "A", "variables": {"x": 1}, "extensions": {"z": 1}});
    assert_eq!(posted(&body.to_string()), Ok(Requests { requests: vec![expected.clone()], batch: false }));
    let longer = posted(&body.to_string().replace("{\"x\":1}", "{\"x\":1.0000000000000000001}")).unwrap();
    assert!(!longer.requests[0].exact);
    let query = "query=query+A(%24x%3A%20Int)%20%7B%20open%20%7D&operationName=A&variables=%7B%22x%22%3A1%7D";
    let read = read(&Incoming { query: Some(query), ..GET }).unwrap();
    assert_eq!(read.requests, [Request { by_get: true, exact: false, ..expected }]);
}

#[test]
fn a_document_that_the_manifest_has_is_known_by_its_hash() {
    let hash = hash();
    for (body, document, (listed, by_hash)) in [
        (
            json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": hash}}}),
            "{ open }",
            (true, true),
        ),
        (
            json!({"query": "", "extensions": {"persistedQuery": {"version": 1, "sha256Hash": hash}}}),
            "{ open }",
            (true, true),
        ),
        (
            json!({"query": "{ open }", "extensions": {"persistedQuery": {"version": 1, "sha256Hash": hash}}}),
            "{ open }",
            (true, false),
        ),
        (json!({"query": "{ open }"}), "{ open }", (true, false)),
        (
            json!({"query": "{open}", "operationName": null, "variables": null, "extensions": null}),
            "{open}",
            (false, false),
        ),
    ] {
        let read = posted(&body.to_string()).unwrap();
        let read = &read.requests[0];
        let is = (&*read.document, (read.listed.is_some(), read.by_hash));
        assert_eq!(is, (document, (listed, by_hash)), "{body}");
    }
}

#[test]
fn each_request_that_cannot_be_decided_on_has_its_reason() {
    let other = "0".repeat(64);
    for (body, expected) in [
        (String::new(), RequestError::NoBody),
        ("{}".to_owned(), RequestError::NoDocument),
        (r#"{"query": ""}"#.to_owned(), RequestError::NoDocument),
        ("[]".to_owned(), RequestError::EmptyBatch),
        (r#"[{"query":"{a}"},{"query":"{a}"},{"query":"{a}"}]"#.to_owned(), RequestError::Batch(2)),
        (r#"[[{"query":"{a}"}]]"#.to_owned(), RequestError::Shape),
        (r#""{a}""#.to_owned(), RequestError::Shape),
        (r#"{"query": 1}"#.to_owned(), RequestError::Shape),
        (r#"{"query": "{a}", "variables": []}"#.to_owned(), RequestError::Shape),
        (r#"{"query": "{a}", "operationname": "A"}"#.to_owned(), RequestError::Shape),
        (r#"{"query": "{a}", "documentId": "1"}"#.to_owned(), RequestError::Shape),
        (
            r#"{"query": "{a}", "query": "{b}"}"#.to_owned(),
            RequestError::Json(palisade_json::JsonError::DuplicateMember),
        ),
        (
            json!({"query": "{a}", "extensions": {"persistedQuery": {"version": 1, "sha256Hash": other}}})
                .to_string(),
            RequestError::Hash,
        ),
        (
            json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": other}}}).to_string(),
            RequestError::UnknownHash,
        ),
        (
            json!({"extensions": {"persistedQuery": {"version": 2, "sha256Hash": hash()}}}).to_string(),
            RequestError::Persisted,
        ),
        (
            json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": hash().to_uppercase()}}})
                .to_string(),
            RequestError::Persisted,
        ),
        (json!({"extensions": {"persistedQuery": "x"}}).to_string(), RequestError::Persisted),
    ] {
        assert_eq!(posted(&body), Err(expected), "{body}");
    }
}

#[test]
fn other_forms_of_a_request_are_refused() {
    let body = br#"{"query":"{ open }"}"#;
    let post = Incoming { method: "POST", content_type: Some("application/json"), body, ..GET };
    assert!(read(&post).is_ok());
    assert!(read(&Incoming { content_type: Some("Application/JSON; Charset=UTF-8"), ..post }).is_ok());
    assert!(read(&Incoming { query: Some(""), ..post }).is_ok());
    for (incoming, expected) in [
        (Incoming { method: "PUT", ..post }, RequestError::Method),
        (Incoming { method: "get", ..GET }, RequestError::Method),
        (Incoming { upgrade: true, ..GET }, RequestError::Upgrade),
        (Incoming { content_type: Some("multipart/form-data; boundary=x"), ..post }, RequestError::Multipart),
        (Incoming { content_type: Some("application/graphql"), ..post }, RequestError::ContentType),
        (
            Incoming { content_type: Some("application/json; charset=utf-16"), ..post },
            RequestError::ContentType,
        ),
        (Incoming { content_type: None, ..post }, RequestError::ContentType),
        (Incoming { content_encoding: Some("gzip"), ..post }, RequestError::ContentType),
        (Incoming { query: Some("Query=%7Ba%7D"), ..post }, RequestError::Parameters),
        (Incoming { query: Some("query=%7Ba%7D&query=%7Bb%7D"), ..GET }, RequestError::Parameters),
        (Incoming { query: Some("query=%7Ba%7"), ..GET }, RequestError::Parameters),
        (Incoming { query: Some("query=%ff"), ..GET }, RequestError::Parameters),
        (Incoming { query: Some("query=%7Ba%7D&x=1"), ..GET }, RequestError::Shape),
        (Incoming { query: Some("query=%7Ba%7D&variables=1"), ..GET }, RequestError::Shape),
        (Incoming { body, ..GET }, RequestError::Shape),
        (GET, RequestError::NoDocument),
    ] {
        assert_eq!(read(&incoming), Err(expected), "{incoming:?}");
    }
}

#[test]
fn no_parameter_stands_beside_a_body() {
    let body = br#"{"query":"{ open }"}"#;
    let post = Incoming { method: "POST", content_type: Some("application/json"), body, ..GET };
    for query in [
        "variables[id]=2",
        "variables%5Bid%5D=2",
        "a=1;variables={}",
        "%20query=%7Ba%7D",
        "documentId=1",
        "doc_id=1",
        "id=1",
        "tenant=1",
        "&",
    ] {
        assert_eq!(read(&Incoming { query: Some(query), ..post }), Err(RequestError::Parameters), "{query}");
    }
}

#[test]
fn a_parameter_of_a_get_has_one_end_and_one_name() {
    for (query, expected) in [
        ("query={me{id}}%23;query={secret}", RequestError::Parameters),
        ("query=%7Bopen%7D;variables=%7B%7D", RequestError::Parameters),
        ("query=%7Bopen%7D#&query=%7Bsecret%7D", RequestError::Parameters),
        ("query=%7Bopen%7D&variables[id]=2", RequestError::Shape),
        ("query=%7Bopen%7D&variables%5Bid%5D=2", RequestError::Shape),
        ("query=%7Bopen%7D&%20query=%7Bsecret%7D", RequestError::Shape),
        ("query=%7Bopen%7D&+query=%7Bsecret%7D", RequestError::Shape),
        ("query=%7Bopen%7D&documentId=1", RequestError::Shape),
    ] {
        assert_eq!(read(&Incoming { query: Some(query), ..GET }), Err(expected), "{query}");
    }
    let escaped = read(&Incoming { query: Some("query=%7Bopen%7D%23%3B"), ..GET }).unwrap();
    assert_eq!(escaped.requests[0].document, "{open}#;");
}

#[test]
fn only_queries_may_come_by_get() {
    let schema = fixtures::schema();
    let request = |document: &str, by_get| Request {
        document: document.to_owned(),
        operation_name: None,
        variables: Map::new(),
        by_get,
        by_hash: false,
        listed: None,
        exact: true,
    };
    for (document, by_get, taken) in [
        ("{ open }", true, true),
        ("mutation { remove(id: 1) }", false, true),
        ("mutation { remove(id: 1) }", true, false),
        ("subscription { news { text } }", true, false),
    ] {
        assert_eq!(schema.analyze_request(&request(document, by_get)).is_ok(), taken, "{document}");
    }
    let several = schema.analyze_request(&request("query A { open } query B { open }", false));
    assert_eq!(several.err(), Some(RequestError::Operation(OperationError::SeveralOperations)));
}

#[test]
fn neither_a_request_nor_an_error_prints_a_value() {
    let read = posted(r#"{"query":"{ a(b: \"hunter2\") }","variables":{"p":"hunter2"}}"#).unwrap();
    assert!(!format!("{read:?}").contains("hunter2"));
    let refused = posted(r#"{"query":"hunter2","hunter2":1}"#).unwrap_err();
    assert!(!format!("{refused:?} {refused}").contains("hunter2"));
}

proptest! {
    #[test]
    fn no_request_panics(method in "GET|POST|X", query in ".{0,60}", content_type in "application/json|.{0,20}", body in ".{0,80}") {
        let _ = read(&Incoming {
            method: &method,
            query: Some(&query),
            content_type: Some(&content_type),
            body: body.as_bytes(),
            ..GET
        });
    }

    #[test]
    fn what_is_read_from_a_body_is_what_a_lenient_reader_reads(document in ".{1,40}", name in proptest::option::of("[a-zA-Z]{1,5}")) {
        let body = json!({"query": document, "operationName": name}).to_string();
        let read = posted(&body).unwrap();
        prop_assert_eq!(&read.requests[0].document, &document);
        prop_assert_eq!(&read.requests[0].operation_name, &name);
    }
}
