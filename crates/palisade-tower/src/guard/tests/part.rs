//! Operations of which a part goes on.

use super::*;

fn graphql() -> Request<Body> {
    let request = Request::post("https://api.example.com/graphql").header("content-type", "application/json");
    let request = request.header("accept", "multipart/mixed").header("accept-encoding", "gzip");
    let request = request.header("content-digest", "sha-256=:x:").header("signature", "s=:x:");
    request.body(Body::full(r#"{"query":"{ a b }"}"#)).unwrap()
}

#[tokio::test]
async fn another_body_goes_on_without_what_was_said_of_the_one_before_and_in_a_form_that_can_be_told_in() {
    let point = Arc::new(Point { in_part: true, ..Point::default() });
    let (answer, seen) = ask(&point, json_of(&json!({ "data": { "a": 1 } })), graphql()).await;
    let told: Value = serde_json::from_str(answer.body()).unwrap();
    assert_eq!(told, json!({ "data": { "a": 1 }, "errors": [{ "message": "taken" }] }));
    let headers = seen[0].headers();
    assert_eq!(headers["accept"], "application/graphql-response+json, application/json");
    assert_eq!(
        (&headers["accept-encoding"], &headers["content-length"]),
        (&"identity".parse().unwrap(), &"4".parse().unwrap())
    );
    assert!(!headers.contains_key("content-digest") && !headers.contains_key("signature"));
    // A token in the path goes no further than the body that came.
    let mut in_path = graphql();
    *in_path.uri_mut() = "https://api.example.com/graphql/t-secret".parse().unwrap();
    let (answer, seen) = ask(&point, json_of(&json!({ "data": {} })), in_path).await;
    assert_eq!(
        (seen[0].uri().to_string().as_str(), &seen[0].headers()["content-length"]),
        ("https://api.example.com/mcp?x=1", &"4".parse().unwrap())
    );
    assert!(answer.body().contains("taken"));
    // What goes on as it came keeps what it came with.
    let (_, seen) = ask(&Arc::default(), json_of(&json!({ "data": {} })), graphql()).await;
    assert!(
        seen[0].headers().contains_key("content-digest") && seen[0].headers()["accept"] == "multipart/mixed"
    );
}

/// A stream that is open cannot be cut: what of its request is denied from now on denies it.
#[tokio::test]
async fn a_stream_is_asked_about_again_as_one_of_which_all_has_to_be_permitted() {
    let layer = PalisadeLayer::new(Point::default(), "files");
    let (parts, _) = graphql().into_parts();
    let check = Check::new("files", request::incoming(&parts), Bytes::new()).rewriting_path();
    let Ok(Checked::Pass(passage)) = layer.gate.point.check(&check).await else { panic!("it goes on") };
    let (in_force, point) = (Arc::clone(&layer.gate.in_force), Arc::clone(&layer.gate.point));
    let lease = Lease::with_policies(in_force, point, check.clone().cutting_operations(), &passage);
    assert_eq!(lease.check, check);
}
