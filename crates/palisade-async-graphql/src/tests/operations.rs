//! Operations: what is asked about them, and what comes of the answer.

use async_graphql::BatchRequest;

use super::*;

const ORDERS: &str = "{ orders { id } }";

#[tokio::test]
async fn an_operation_is_executed_where_it_is_permitted_and_for_whom() {
    let server = Server::saying(Says::Yes, Says::Yes);
    let query = "query A($n: Int) { orders(most: $n) { id } caller }";
    let request = from(query, &[("authorization", "Bearer t"), ("dpop", "proof")])
        .variables(Variables::from_json(json!({ "n": 1 })));
    let response = server.schema.execute(request).await;
    assert_eq!(response.http_headers["x-palisade-decision-id"], "d");
    let caller = "User::\"corp/alice\" content-type dpop x-palisade-subject";
    let data = json!({ "orders": [{ "id": "alice" }], "caller": caller });
    assert_eq!(serde_json::to_value(&response).unwrap(), json!({ "data": data }));
    let check = server.point.checks.lock().unwrap()[0].clone();
    assert_eq!(
        (check.resource.as_str(), check.request.headers["dpop"].to_str().unwrap()),
        ("storefront", "proof")
    );
    assert_eq!(check.request.headers["authorization"], "Bearer t");
    assert_eq!(server.asked(), [json!({ "query": query, "variables": { "n": 1 } })]);
}

#[tokio::test]
async fn nothing_is_executed_of_what_is_not_permitted() {
    let cases = [
        (Says::No, 403, "FORBIDDEN", "no_permit", None),
        (Says::StepUp, 403, "FORBIDDEN", "insufficient_scope", Some("Bearer error=\"insufficient_scope\"")),
        (Says::Stranger, 401, "UNAUTHENTICATED", "no_credentials", Some("Bearer")),
        (Says::Nothing, 503, "SERVICE_UNAVAILABLE", "", None),
    ];
    for (says, status, code, reason, challenge) in cases {
        let server = Server::saying(says, Says::Yes);
        let response = server.schema.execute(from("mutation { cancel }", &[])).await;
        assert_eq!(response.data, Graph::Null);
        let error = serde_json::to_value(&response.errors).unwrap();
        assert_eq!(error[0]["extensions"]["code"], code);
        assert_eq!(error[0]["extensions"]["reason"].as_str().unwrap_or_default(), reason);
        assert_eq!(error[0]["extensions"]["decision"].is_string(), says != Says::Nothing);
        let answer = into_http(response);
        assert_eq!(answer.status(), status, "{says:?}");
        let told = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap());
        assert_eq!((told, server.reached.take()), (challenge, 0), "{says:?}");
    }
}

#[tokio::test]
async fn each_operation_of_a_batch_is_asked_about() {
    let server = Server::saying(Says::Yes, Says::Yes);
    let batch = BatchRequest::Batch(vec![from(ORDERS, &[]), from("mutation { cancel }", &[])]);
    assert!(server.schema.execute_batch(batch).await.is_ok());
    assert_eq!((server.asked().len(), server.reached.take()), (2, 2));
}

#[tokio::test]
async fn what_cannot_be_asked_about_is_denied_and_says_what_to_change() {
    let server = Server::saying(Says::Yes, Says::Yes);
    let response = server.schema.execute(ORDERS).await;
    assert!(response.errors[0].message.contains("palisade_async_graphql::incoming(&parts)"), "{response:?}");
    assert_eq!(into_http(response).status(), 500);
    let get = Request::new("mutation { cancel }").data(sender(Method::GET, &[]));
    assert_eq!(into_http(server.schema.execute(get).await).status(), 405);
    assert_eq!(into_http(server.schema.execute(from("", &[])).await).status(), 400);
    let response = server.schema.execute(from("{ orders {", &[])).await;
    assert!(response.is_err());
    assert_eq!((server.asked().len(), server.reached.take()), (0, 0));
    // What the schema does not have is asked about: who asks is not known yet, and learns nothing of it.
    assert!(server.schema.execute(from("{ unknown }", &[])).await.is_err());
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn the_request_of_a_session_is_that_of_its_operations() {
    let server = Server::saying(Says::Yes, Says::Yes);
    let mut session = async_graphql::Data::default();
    session.insert(sender(Method::GET, &[("authorization", "Bearer t"), ("upgrade", "websocket")]));
    let mut responses =
        server.schema.execute_stream_with_session_data("mutation { cancel }", Arc::new(session));
    let response = responses.next().await.unwrap();
    assert_eq!(response.data, async_graphql::value!({ "cancel": true }));
    let check = server.point.checks.lock().unwrap()[0].clone();
    assert!(check.request.method == Method::POST && !check.request.headers.contains_key("upgrade"));
}

#[tokio::test]
async fn what_is_skipped_by_default_is_asked_about_as_skipped_and_is_not_executed() {
    let server = Server::saying(Says::Yes, Says::Yes);
    for (query, orders) in [
        ("query($x: Boolean = true) { orders @skip(if: $x) { id } caller }", 0),
        ("query($x: Boolean! = false) { ... on Query @include(if: $x) { orders { id } } caller }", 0),
        ("query($x: Boolean = false) { ...F caller } fragment F on Query { orders @skip(if: $x) { id } }", 1),
    ] {
        let answer = server.execute(query).await;
        assert_eq!(
            (answer["errors"].clone(), server.reached.take()),
            (Value::Null, orders),
            "{query} {answer}"
        );
        assert!(server.asked()[0]["variables"]["x"].is_boolean(), "{query}");
    }
}

#[tokio::test]
async fn a_batch_has_so_many_operations_and_a_session_any_number() {
    let server = Server::saying(Says::Yes, Says::Yes);
    let batch = || {
        let operations = (0..12).map(|_| Request::new(ORDERS)).collect();
        BatchRequest::Batch(operations).data(sender(Method::POST, &[]))
    };
    let answer = into_http(server.schema.execute_batch(batch()).await);
    let told: Vec<Value> = serde_json::from_slice(answer.body()).unwrap();
    assert!(told[..10].iter().all(|one| one["data"].is_object()), "{told:?}");
    for denied in &told[10..] {
        assert_eq!(denied["errors"][0]["extensions"]["code"], "TOO_MANY_REQUESTS");
    }
    assert_eq!((server.asked().len(), server.reached.take()), (10, 10));
    // Another request has its own.
    server.schema.execute_batch(batch()).await;
    assert_eq!((server.asked().len(), server.reached.take()), (10, 10));
    let (gateway, decisions): (Arc<dyn GatewayPoint>, Arc<dyn DecisionPoint>) =
        (Arc::<Point>::clone(&server.point), Arc::<Point>::clone(&server.point));
    let palisade = Palisade::with(gateway, decisions, "storefront").taking_batches_of(1);
    let schema = Schema::build(Query, Mutation, EmptySubscription)
        .extension(palisade)
        .data(server.reached.clone())
        .finish();
    schema.execute_batch(batch()).await;
    assert_eq!((server.asked().len(), server.reached.take()), (1, 1));

    let mut session = async_graphql::Data::default();
    session.insert(sender(Method::GET, &[("upgrade", "websocket")]));
    let session = Arc::new(session);
    for _ in 0..12 {
        let mut responses = server.schema.execute_stream_with_session_data(ORDERS, Arc::clone(&session));
        assert!(responses.next().await.unwrap().is_ok());
    }
    assert_eq!((server.asked().len(), server.reached.take()), (12, 12));
}

#[tokio::test]
async fn what_a_page_of_anybody_can_have_a_browser_send_is_refused() {
    let server = Server::saying(Says::Yes, Says::Yes);
    let by = |method: Method, content_type: Option<&'static str>| {
        let mut headers = HeaderMap::new();
        if let Some(content_type) = content_type {
            headers.insert("content-type", content_type.parse().unwrap());
        }
        let request = sender(method, &[]).request().clone();
        Request::new("mutation { cancel }").data(Sender::from(Incoming { headers, ..request }))
    };
    for content_type in
        [None, Some("text/plain"), Some("multipart/form-data; boundary=x"), Some("application/jsonx")]
    {
        let answer = into_http(server.schema.execute(by(Method::POST, content_type)).await);
        assert_eq!(answer.status(), 415, "{content_type:?}");
    }
    let answer = server.schema.execute(by(Method::POST, Some("Application/JSON; charset=utf-8"))).await;
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!((server.asked().len(), server.reached.take()), (1, 1));
    let get = Request::new("subscription { ticks { id } }").data(sender(Method::GET, &[]));
    let responses: Vec<Response> = server.schema.execute_stream(get).collect().await;
    assert_eq!(responses[0].errors[0].message, "only queries come by GET");
    assert_eq!((server.asked().len(), server.reached.take()), (0, 0));
}

#[tokio::test]
async fn a_permit_for_another_text_than_is_executed_is_none() {
    let server = Server::saying(Says::Rewritten, Says::Yes);
    let answer = into_http(server.schema.execute(from(ORDERS, &[])).await);
    assert_eq!((answer.status().as_u16(), server.asked().len(), server.reached.take()), (503, 1, 0));
}

#[tokio::test]
async fn a_permit_of_a_document_that_has_no_operation_of_the_name_executes_nothing() {
    let server = Server::saying(Says::Yes, Says::Yes);
    for request in [
        from("query A { orders { id } } query B { orders { id } }", &[]),
        from("query A { orders { id } } query B { orders { id } }", &[]).operation_name("C"),
        from(ORDERS, &[]).operation_name("A"),
    ] {
        assert_eq!(into_http(server.schema.execute(request).await).status(), 400);
    }
    assert_eq!((server.asked().len(), server.reached.take()), (3, 0));
}

#[tokio::test]
async fn introspection_that_is_answered_is_not_executed() {
    let answer = r#"{"data":{"z":{"queryType":{"name":"Query"}},"a":null}}"#;
    let server = Server::saying(Says::Answers(answer), Says::Yes);
    // Whatever was asked for: nothing of it is executed, and the answer is in its own order.
    for query in ["query N($n: String = \"T\") { z: __type(name: $n) { name } }", "{ orders { id } }"] {
        let response = server.schema.execute(from(query, &[])).await;
        assert_eq!(response.http_headers["x-palisade-decision-id"], "d");
        assert!(!response.http_headers.contains_key("content-type"));
        assert_eq!(serde_json::to_string(&response).unwrap(), answer, "{query}");
        assert_eq!((server.asked().len(), server.reached.take()), (1, 0), "{query}");
    }
    for body in ["", "{}", "[]", r#"{"data":{},"errors":[]}"#] {
        let server = Server::saying(Says::Answers(body), Says::Yes);
        let response = server.schema.execute(from(ORDERS, &[])).await;
        assert_eq!(
            (into_http(response).status(), server.reached.take()),
            (503.try_into().unwrap(), 0),
            "{body}"
        );
    }
}

#[tokio::test]
async fn only_a_query_is_answered() {
    let server = Server::saying(Says::Answers(r#"{"data":{}}"#), Says::Yes);
    let answer = into_http(server.schema.execute(from("mutation { cancel }", &[])).await);
    assert_eq!((answer.status().as_u16(), server.reached.take()), (503, 0));
}
