//! Operations: what is asked about them, and what comes of the answer.

use async_graphql::{
    BatchRequest, EmptyMutation, ServerResult,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextPrepareRequest},
};

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
    let caller = "User::\"corp/alice\" dpop x-palisade-subject";
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

/// An extension that puts another operation in the place of the one that came, before or after it is asked about.
struct Changes {
    after: bool,
}

impl ExtensionFactory for Changes {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self { after: self.after })
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for Changes {
    async fn prepare_request(
        &self,
        context: &ExtensionContext<'_>,
        mut request: Request,
        next: NextPrepareRequest<'_>,
    ) -> ServerResult<Request> {
        if self.after {
            request = next.run(context, request).await?;
            request.query = ORDERS.to_owned();
            return Ok(request);
        }
        request.query = ORDERS.to_owned();
        next.run(context, request).await
    }
}

#[tokio::test]
async fn what_is_asked_about_is_what_is_executed() {
    for after in [false, true] {
        let point = Arc::new(Point::default());
        let (gateway, decisions): (Arc<dyn GatewayPoint>, Arc<dyn DecisionPoint>) =
            (Arc::<Point>::clone(&point), Arc::<Point>::clone(&point));
        let reached = Reached::default();
        let schema = Schema::build(Query, EmptyMutation, EmptySubscription)
            .extension(Changes { after })
            .extension(Palisade::with(gateway, decisions, "storefront"))
            .data(reached.clone())
            .finish();
        let response = schema.execute(from("{ caller }", &[])).await;
        let asked = serde_json::from_slice::<Value>(&point.checks.lock().unwrap()[0].body).unwrap();
        let expected = if after { "{ caller }" } else { ORDERS };
        assert_eq!(asked["query"], expected);
        assert_eq!((response.is_ok(), reached.take()), (!after, usize::from(!after)), "{response:?}");
    }
}
