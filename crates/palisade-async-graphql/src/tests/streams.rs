//! Subscriptions, until they may go on no longer.

use std::time::Duration;

use tokio::time::timeout;

use super::*;

const TICKS: &str = "subscription { ticks { id } }";

/// The messages of a subscription, until it ends.
async fn all(server: &Server, request: Request) -> Vec<Response> {
    let responses = server.schema.execute_stream(request);
    timeout(Duration::from_secs(30), responses.collect()).await.unwrap()
}

fn code(response: &Response) -> Value {
    let errors = serde_json::to_value(&response.errors).unwrap();
    errors[0]["extensions"]["code"].clone()
}

#[tokio::test]
async fn a_subscription_that_is_not_permitted_does_not_begin() {
    let server = Server::saying(Says::No, Says::Yes);
    let responses = all(&server, from(TICKS, &[])).await;
    assert_eq!((responses.len(), code(&responses[0])), (1, json!("FORBIDDEN")));
    assert_eq!(server.reached.take(), 0);
}

#[tokio::test]
async fn a_subscription_ends_with_its_token_and_says_so() {
    let server = Server::new(Point { expires_in: Some(2), ..Point::default() });
    let responses = all(&server, from(TICKS, &[])).await;
    let (last, others) = responses.split_last().unwrap();
    assert!(others.len() > 3 && others.iter().all(Response::is_ok), "{}", others.len());
    assert_eq!(code(last), "UNAUTHENTICATED");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_subscription_ends_when_it_is_denied() {
    let server = Server::asking_again_every(Point::default(), Duration::from_millis(100));
    let mut responses = server.schema.execute_stream(from(TICKS, &[]));
    // It goes on while it is permitted, and is asked about as it was.
    for _ in 0..30 {
        assert!(responses.next().await.unwrap().is_ok());
    }
    *server.point.operations.lock().unwrap() = Says::No;
    let rest: Vec<Response> = timeout(Duration::from_secs(30), responses.collect()).await.unwrap();
    assert_eq!(code(rest.last().unwrap()), "FORBIDDEN");
    let asked = server.asked();
    assert!(asked.len() > 2 && asked.iter().all(|asked| *asked == asked_about()), "{asked:?}");
}

#[tokio::test]
async fn whoever_reads_nothing_for_a_while_is_not_told_afterwards_what_is_denied_meanwhile() {
    let server = Server::asking_again_every(Point::default(), Duration::from_millis(100));
    let mut responses = server.schema.execute_stream(from(TICKS, &[]));
    assert!(responses.next().await.unwrap().is_ok());
    *server.point.operations.lock().unwrap() = Says::No;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(code(&responses.next().await.unwrap()), "FORBIDDEN");
    assert!(responses.next().await.is_none());
    // Of a stream that nobody has any more nothing is asked.
    *server.point.operations.lock().unwrap() = Says::Yes;
    let mut responses = server.schema.execute_stream(from(TICKS, &[]));
    assert!(responses.next().await.unwrap().is_ok());
    drop(responses);
    server.asked();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.asked().len(), 0);
}

#[tokio::test]
async fn two_subscriptions_of_a_session_are_asked_about_and_end_each() {
    let server = Server::asking_again_every(Point::default(), Duration::from_millis(100));
    let mut session = async_graphql::Data::default();
    session.insert(sender(Method::GET, &[("authorization", "Bearer t"), ("upgrade", "websocket")]));
    let session = Arc::new(session);
    let begin = || server.schema.execute_stream_with_session_data(TICKS, Arc::clone(&session));
    let (mut first, mut second) = (begin(), begin());
    assert!(first.next().await.unwrap().is_ok() && second.next().await.unwrap().is_ok());
    assert_eq!(server.asked(), [asked_about(), asked_about()]);
    drop(first);
    // The other goes on.
    for _ in 0..20 {
        assert!(second.next().await.unwrap().is_ok());
    }
    *server.point.operations.lock().unwrap() = Says::No;
    let rest: Vec<Response> = timeout(Duration::from_secs(30), second.collect()).await.unwrap();
    assert_eq!(code(rest.last().unwrap()), "FORBIDDEN");
}

fn asked_about() -> Value {
    json!({ "query": TICKS, "variables": {} })
}

#[tokio::test]
async fn what_was_said_of_a_field_is_asked_again_while_a_subscription_goes_on() {
    let server = Server::asking_again_every(Point::default(), Duration::from_millis(200));
    let mut responses = server.schema.execute_stream(from("subscription { ticks { total } }", &[]));
    assert!(responses.next().await.unwrap().is_ok());
    *server.point.fields.lock().unwrap() = Says::No;
    let denied = async {
        let mut permitted = 0;
        while responses.next().await.unwrap().is_ok() {
            permitted += 1;
        }
        permitted
    };
    // What was told is taken for a while, and no longer.
    assert!(timeout(Duration::from_secs(30), denied).await.unwrap() > 0);
    assert_eq!(server.questions().len(), 2);
}
