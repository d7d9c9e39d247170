//! What of an HTTP request is asked about with its operation.

use http::Request;

use super::*;

fn of(method: &str, uri: &str, headers: &[(&str, &str)]) -> Incoming {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    incoming(&request.body(()).unwrap().into_parts().0).request().clone()
}

#[test]
fn an_operation_is_asked_about_without_what_it_was_wrapped_in() {
    let came = of(
        "GET",
        "/graphql?query=%7Bme%7D&variables=%7B%7D",
        &[
            ("host", "api.example.com"),
            ("authorization", "Bearer t"),
            ("dpop", "proof"),
            ("upgrade", "websocket"),
            ("connection", "upgrade"),
            ("sec-websocket-key", "k"),
            ("content-type", "text/plain"),
            ("content-length", "7"),
            ("content-encoding", "gzip"),
        ],
    );
    let asked = of_operation(&came);
    assert_eq!((asked.method.as_str(), &*asked.path, &*asked.host), ("POST", "/graphql", "api.example.com"));
    let mut names: Vec<&str> = asked.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["authorization", "content-type", "dpop", "host"]);
    assert_eq!(asked.headers["content-type"], "application/json");
}

#[test]
fn what_is_no_operation_stays_in_the_query_and_is_judged() {
    let path = |method, uri| of_operation(&of(method, uri, &[])).path;
    assert_eq!(path("GET", "/graphql?query=%7Bme%7D&access_token=t"), "/graphql?access_token=t");
    assert_eq!(path("GET", "/graphql?Query=x"), "/graphql?Query=x");
    assert_eq!(path("POST", "/graphql?query=%7Bme%7D"), "/graphql?query=%7Bme%7D");
}

#[test]
fn a_change_by_a_link_is_told_from_one_over_a_web_socket() {
    assert!(is_plain_get(&of("GET", "/graphql", &[])));
    assert!(is_plain_get(&of("HEAD", "/graphql", &[])));
    assert!(!is_plain_get(&of("GET", "/graphql", &[("upgrade", "websocket")])));
    assert!(!is_plain_get(&of("POST", "/graphql", &[])));
    // A WebSocket over HTTP/2 (RFC 8441).
    assert!(!is_plain_get(&of("CONNECT", "api.example.com:443", &[])));
}
