//! Denials as what a client of GraphQL and of HTTP gets.

use async_graphql::PathSegment;

use super::*;

fn denied(status: StatusCode) -> Response {
    let told = Told {
        permitted: false,
        status,
        headers: HeaderMap::from_iter([
            (header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            (header::CONTENT_TYPE, HeaderValue::from_static("text/plain")),
        ]),
        body: Bytes::from_static(b"no"),
        reason: None,
        id: None,
    };
    let denial = Denial::told(&told);
    Response::from_errors(vec![denial.of_request()]).http_headers(denial.headers)
}

#[test]
fn a_denial_has_its_status_its_code_and_its_challenge() {
    for (status, code) in [
        (400, "BAD_REQUEST"),
        (401, "UNAUTHENTICATED"),
        (403, "FORBIDDEN"),
        (404, "NOT_FOUND"),
        (429, "TOO_MANY_REQUESTS"),
        (503, "SERVICE_UNAVAILABLE"),
    ] {
        let answer = into_http(denied(StatusCode::from_u16(status).unwrap()));
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        assert_eq!(answer.headers()["content-type"], "application/json");
        let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(body["errors"][0]["extensions"]["code"], code);
        assert_eq!(body["data"], serde_json::Value::Null);
    }
    // Nothing was executed, whatever status that is told with.
    assert_eq!(into_http(denied(StatusCode::OK)).status(), 503);
}

#[test]
fn a_batch_has_the_status_that_all_of_it_has_and_a_field_has_none() {
    let (no, yes) = (|| denied(StatusCode::FORBIDDEN), || Response::new(Value::Boolean(true)));
    assert_eq!(into_http(vec![no(), no()]).status(), 403);
    assert_eq!(into_http(vec![no(), yes()]).status(), 200);
    assert_eq!(into_http(vec![yes()]).status(), 200);
    let mut field = Denial::refused(StatusCode::FORBIDDEN, "no").of_request();
    field.path.push(PathSegment::Field("me".to_owned()));
    assert_eq!(into_http(Response::from_errors(vec![field])).status(), 200);
    let mut partly = no();
    partly.data = Value::Boolean(true);
    assert_eq!(into_http(partly).status(), 200);
}

#[test]
fn the_header_fields_of_one_answer_are_none_of_a_batch_that_has_others() {
    let with = |id: &'static str, denial: Denial| {
        let mut response = Response::from_errors(vec![denial.of_request()]).http_headers(denial.headers);
        response.http_headers.insert("x-palisade-decision-id", HeaderValue::from_static(id));
        response.http_headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        response
    };
    let outage = || with("a", Denial::outage());
    let names = |batch: Vec<Response>| {
        let answer = into_http(batch);
        let mut names: Vec<String> = answer.headers().keys().map(ToString::to_string).collect();
        names.sort();
        names.join(" ")
    };
    let all = "cache-control content-type retry-after www-authenticate x-palisade-decision-id";
    assert_eq!(names(vec![outage(), outage()]), all);
    assert_eq!(names(vec![outage()]), all);
    assert_eq!(names(vec![outage(), Response::new(Value::Boolean(true))]), "cache-control content-type");
    let other = with("b", Denial::refused(StatusCode::FORBIDDEN, "no"));
    assert_eq!(names(vec![outage(), other]), "cache-control content-type www-authenticate");
}
