//! The load counts what a stalling server makes wait, and lets nothing wrong by.

use super::*;

/// A server that answers each request after the first one at once, and the first one after a stall in which nothing is read.
async fn stalling_server(stall: Duration) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut stalled = false;
        while let Some(request) = connection.accept().await {
            let (_request, mut respond) = request.unwrap();
            if !std::mem::replace(&mut stalled, true) {
                // The whole server stands still, not one request.
                std::thread::sleep(stall);
            }
            respond.send_response(http::Response::new(()), true).unwrap();
        }
    });
    port
}

fn load(port: u16, pace: Pace) -> Load {
    let request = Request::post("http://127.0.0.1/").body(()).unwrap();
    let call = Call { request, body: Bytes::from_static(b"x"), permitted: None };
    Load {
        port,
        over: Over::Http2,
        calls: vec![call].into(),
        reading: Reading::Status,
        connections: 1,
        pace,
        length: Duration::from_millis(400),
        once: false,
        strict: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latencies_count_from_the_intended_start() {
    let stall = Duration::from_millis(200);
    let load = load(stalling_server(stall).await, Pace::Open(500.0));
    let sample = tokio::task::spawn_blocking(move || load.run(&Cores::shared())).await.unwrap().unwrap();
    assert_eq!(sample.latencies.len(), 200, "every request that was meant to go out did");
    // Those that were meant to go out during the stall waited for its end: on average for half of it. Were they counted
    // from when they went out, one request alone would be late.
    let late = (0..=1_000).filter(|part| sample.latencies.at(*part) > stall / 4).count();
    assert!(late > 300, "{late} in a thousand");
    assert!(sample.latencies.at(1_000) >= stall);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_loop_waits_and_each_call_may_go_out_once() {
    let port = stalling_server(Duration::ZERO).await;
    let closed = load(port, Pace::Closed(2));
    let sample = tokio::task::spawn_blocking(move || closed.run(&Cores::shared())).await.unwrap().unwrap();
    assert!(sample.latencies.len() > 10);

    let mut once = load(stalling_server(Duration::ZERO).await, Pace::Closed(2));
    once.calls = vec![once.calls.first().unwrap().clone(); 3].into();
    once.once = true;
    let sample = tokio::task::spawn_blocking(move || once.run(&Cores::shared())).await.unwrap().unwrap();
    assert_eq!(sample.latencies.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_permit_makes_the_measurement_fail() {
    let mut wrong = load(stalling_server(Duration::ZERO).await, Pace::Closed(1));
    let mut call = wrong.calls.first().unwrap().clone();
    call.permitted = Some(false);
    wrong.calls = vec![call].into();
    let failed = tokio::task::spawn_blocking(move || wrong.run(&Cores::shared())).await.unwrap();
    assert_eq!(failed.unwrap_err().to_string(), "permitted what is to be denied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_load_takes_no_denial_for_an_answer() {
    let port = stalling_server(Duration::ZERO).await;
    let mut strict = load(port, Pace::Closed(1));
    strict.strict = true;
    strict.reading = Reading::Mcp;
    let mut call = strict.calls.first().unwrap().clone();
    call.permitted = Some(true);
    strict.calls = vec![call].into();
    let failed = tokio::task::spawn_blocking(move || strict.run(&Cores::shared())).await.unwrap();
    assert!(failed.unwrap_err().to_string().starts_with("not what is to be answered"));
}

#[test]
fn denials_for_want_of_time_are_counted() {
    let shared = Mutex::new(Shared::default());
    let request = Request::post("http://127.0.0.1/").body(()).unwrap();
    let call = Call { request, body: Bytes::new(), permitted: Some(true) };
    assert!(note(&shared, &call, Ok((false, Bytes::from_static(b"late"))), Instant::now()));
    assert!(!note(&shared, &call, Err(anyhow!("no answer")), Instant::now()));
    let shared = lock(&shared);
    assert_eq!((shared.late, shared.latencies.len(), shared.wrong.is_some()), (1, 1, true));
}
