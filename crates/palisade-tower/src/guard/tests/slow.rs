//! Bodies that are not there with the head of their request.

use tokio::{sync::mpsc, task::yield_now};

use super::*;

#[tokio::test]
async fn who_sends_slowly_loses_its_place_to_who_sends_and_holds_up_nobody() {
    let point: Arc<dyn GatewayPoint> = Arc::new(Point::default());
    let settings = Settings { coming: 2, ..Settings::default() };
    let says = json_of(&json!({ "result": {} }));
    let first = PalisadeLayer::with(point, "files", settings);
    let (one, other) = (first.layer(server(says.clone(), Arc::default())), first.beside("more"));
    let other = other.layer(server(says, Arc::default()));
    let slow = |server: &Guarded<Server>| {
        let body = http_body_util::StreamBody::new(futures::stream::pending::<Result<_, BoxError>>());
        let request = Request::post("https://mcp.example.com/files").body(Body::new(body)).unwrap();
        tokio::spawn(server.clone().oneshot(request))
    };
    let (oldest, second) = (slow(&one), slow(&other));
    yield_now().await;
    // What is whole takes no place, for whichever resource it is.
    for server in [&one, &other] {
        let answer = server.clone().oneshot(post(&rpc(json!(1), "ping"))).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
    assert!(!oldest.is_finished() && !second.is_finished());
    let third = slow(&one);
    assert_eq!(oldest.await.unwrap().unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!second.is_finished() && !third.is_finished());
}

/// A body that comes in pieces.
fn in_pieces() -> (mpsc::UnboundedSender<&'static str>, Request<Body>) {
    let (pieces, coming) = mpsc::unbounded_channel::<&'static str>();
    let frames = futures::stream::unfold(coming, |mut coming| async move {
        let piece = coming.recv().await?;
        Some((Ok::<_, BoxError>(http_body::Frame::data(Bytes::from_static(piece.as_bytes()))), coming))
    });
    let body = Body::new(http_body_util::StreamBody::new(frames));
    (pieces, Request::post("https://mcp.example.com/files").body(body).unwrap())
}

fn from(address: &str, mut request: Request<Body>) -> Request<Body> {
    request.extensions_mut().insert(ClientAddress(address.parse().unwrap()));
    request
}

#[tokio::test]
async fn who_sends_in_pieces_outlasts_who_is_silent_and_who_sends_little_outlasts_who_sends_much() {
    let point: Arc<dyn GatewayPoint> = Arc::new(Point::default());
    let settings = Settings { coming: 3, ..Settings::default() };
    let server = PalisadeLayer::with(point, "files", settings)
        .layer(server(json_of(&json!({ "result": {} })), Arc::default()));
    let begin = |request: Request<Body>| tokio::spawn(server.clone().oneshot(request));
    let (steady_pieces, steady) = in_pieces();
    let (slow_pieces, slow) = in_pieces();
    let (steady, slow) = (begin(from("192.0.2.1", steady)), begin(from("192.0.2.2", slow)));
    let mut silent = Vec::new();
    for piece in ["{", "\"jsonrpc\"", ":", "\"2.0\"", ",", "\"method\":\"ping\"", "}"] {
        steady_pieces.send(piece).unwrap();
        let turns = || async {
            for _ in 0..8 {
                yield_now().await;
            }
        };
        turns().await;
        let (pieces, request) = in_pieces();
        // From the same address: a gateway behind a balancer sees no other.
        silent.push((pieces, begin(from("192.0.2.1", request))));
        turns().await;
    }
    assert!(!steady.is_finished() && !slow.is_finished());
    slow_pieces.send("{}").unwrap();
    drop((steady_pieces, slow_pieces));
    assert_eq!(steady.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(slow.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(silent.iter().filter(|(_, answer)| answer.is_finished()).count(), 6);
}
