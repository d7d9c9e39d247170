//! The listener before clients that take places and give nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Empty, StreamBody};
use palisade_client::{
    Answering, Bind, Check, Checked, Describe, Description, GatewayPoint, List, Listed,
    wire::{Asked, Unreadable},
};
use palisade_model::{DecisionId, Timestamp};
use palisade_proto::v1;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::watch,
    time::{Instant, timeout},
};
use tower::service_fn;

use super::*;
use crate::{Route, Upstream};

/// A decision point that permits everything that came whole.
#[derive(Debug)]
struct Open;

impl GatewayPoint for Open {
    fn describe<'a>(&'a self, _describe: &'a Describe) -> Answering<'a, Option<Description>> {
        Box::pin(async { Ok(None) })
    }

    fn check<'a>(&'a self, check: &'a Check) -> Answering<'a, Checked> {
        let answer = Some(v1::Answer { status: 413, headers: Vec::new(), body: Vec::new() });
        let reply = if check.truncated {
            v1::CheckResponse {
                outcome: v1::Outcome::Deny.into(),
                reason: "mcp_malformed".to_owned(),
                answer,
                ..v1::CheckResponse::default()
            }
        } else {
            v1::CheckResponse {
                decision_id: DecisionId::new(Timestamp::from_unix_seconds(1_000)).to_string(),
                outcome: v1::Outcome::Permit.into(),
                subject: Some("User::\"corp/alice\"".to_owned()),
                passage: Some(v1::Passage::default()),
                ..v1::CheckResponse::default()
            }
        };
        let answer = check.read(reply).map_err(|unreadable: Unreadable| unreadable.of("test"));
        Box::pin(async move { answer })
    }

    fn list<'a>(&'a self, _list: &'a List) -> Answering<'a, Listed> {
        Box::pin(async { Ok(Listed::Shown(Vec::new())) })
    }

    fn bind<'a>(&'a self, _bind: &'a Bind) -> Answering<'a, Option<String>> {
        Box::pin(async { Ok(None) })
    }
}

/// A server whose answers have no end: at `/m/all` as fast as they are taken, elsewhere an event for each number sent.
#[derive(Clone)]
struct Endless {
    /// How many answers are open.
    open: Arc<AtomicUsize>,
    events: watch::Sender<u64>,
    /// Whose request came last.
    client: watch::Sender<Option<IpAddr>>,
}

struct Opened(Arc<AtomicUsize>);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Endless {
    fn new() -> Self {
        Self { open: Arc::default(), events: watch::Sender::new(0), client: watch::Sender::new(None) }
    }

    fn answer(&self, request: &Request<Body>) -> Response<Body> {
        self.client.send_replace(request.extensions().get::<ClientAddress>().map(|address| address.0));
        self.open.fetch_add(1, Ordering::SeqCst);
        let opened = Opened(Arc::clone(&self.open));
        let frame = |bytes: Bytes| Ok::<_, Infallible>(http_body::Frame::data(bytes));
        let body = if request.uri().path() == "/m/all" {
            let all = stream::repeat(Bytes::from(vec![b'x'; 16 * 1024]));
            Body::new(StreamBody::new(all.map(frame)))
        } else {
            let events = stream::unfold(self.events.subscribe(), |mut events| async move {
                events.changed().await.ok()?;
                let event = format!("data: {}\n\n", *events.borrow_and_update());
                Some((Bytes::from(event), events))
            });
            Body::new(StreamBody::new(events.map(frame)))
        };
        Response::new(body.holding(opened))
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    async fn until_open(&self, number: usize) {
        let reached = async {
            while self.open() != number {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let in_time = timeout(Duration::from_secs(20), reached).await;
        assert!(in_time.is_ok(), "{} answers are open, not {number}", self.open());
    }
}

fn short() -> Bounds {
    Bounds {
        head_time: Duration::from_millis(300),
        idle: Duration::from_millis(600),
        write_time: Duration::from_millis(400),
        ..Bounds::default()
    }
}

async fn gateway(server: &Endless, bounds: Bounds) -> (std::net::SocketAddr, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let server = server.clone();
    let upstream = Upstream::inside(service_fn(move |request: Request<Body>| {
        let answer = server.answer(&request);
        async move { Ok::<_, Infallible>(answer) }
    }));
    let route = Route { resource: "m".to_owned(), path: "/m".to_owned(), upstream };
    let point: Arc<dyn GatewayPoint> = Arc::new(Open);
    tokio::spawn(serve(listener, Routes::new(&point, [route]), bounds, stop.clone()));
    (address, stop)
}

async fn ends(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.is_ok()
}

/// Opens a stream of events, and reads the head of its answer.
async fn open_stream(address: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /m HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    stream
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_asked_is_ended_whatever_has_come_of_it() {
    let (address, _stop) = gateway(&Endless::new(), short()).await;
    for beginning in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /m HTTP/1.1\r\n"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        assert!(ends(&mut stream).await, "{beginning:?}");
    }
    // The same between requests.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /nothing HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(ends(&mut stream).await);
}

#[tokio::test]
async fn an_answer_that_its_client_leaves_where_it_is_ends() {
    let server = Endless::new();
    let (address, _stop) = gateway(&server, short()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /m/all HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    server.until_open(1).await;
    server.until_open(0).await;

    // By HTTP/2 the connection itself stays writable; its stream has no room.
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut client, connection) =
        builder.initial_stream_window_size(1_024).handshake::<_, Empty<Bytes>>(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://a/m/all").body(Empty::new()).unwrap();
    let answer = client.send_request(request).await.unwrap();
    server.until_open(1).await;
    server.until_open(0).await;
    assert!(answer.into_body().collect().await.is_err(), "an answer without its end is not whole");
    drop(connection);
}

#[tokio::test]
async fn a_thousand_streams_are_open_at_once_and_one_more_is_told_so() {
    const STREAMS: usize = 1_000;
    let server = Endless::new();
    let bounds = Bounds { requests: STREAMS, ..short() };
    let (address, _stop) = gateway(&server, bounds).await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(open_stream(address).await);
    }
    assert_eq!(server.open(), STREAMS);
    let mut one_more = TcpStream::connect(address).await.unwrap();
    one_more.write_all(b"GET /m HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut head = [0; 12];
    one_more.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 503");

    // A server that is silent for longer than any bound of the client's is nobody's fault.
    sleep(short().write_time + short().idle).await;
    server.events.send_replace(7);
    let began = Instant::now();
    for stream in &mut streams {
        let mut event = [0; 14];
        stream.read_exact(&mut event).await.unwrap();
        assert_eq!(&event, b"9\r\ndata: 7\n\n\r\n");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "an event waits for others");
    drop(streams);
    server.until_open(0).await;
    open_stream(address).await;
}

#[tokio::test]
async fn a_request_is_of_the_address_that_its_connection_comes_from() {
    let server = Endless::new();
    let (address, _stop) = gateway(&server, short()).await;
    for from in ["127.0.0.1", "127.0.0.2"] {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((from.parse::<IpAddr>().unwrap(), 0).into()).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        stream.write_all(b"GET /m HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 9.9.9.9\r\n\r\n").await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        assert_eq!(*server.client.borrow(), Some(from.parse().unwrap()));
    }
}

#[tokio::test]
async fn a_body_above_the_bound_is_refused_before_it_has_come() {
    let (address, _stop) = gateway(&Endless::new(), Bounds::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("POST /m HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", 1_u64 << 40);
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut answers, mut requests) = stream.into_split();
    let sending = tokio::spawn(async move {
        let (part, mut sent) = (vec![b'x'; 64 * 1024], 0);
        while sent < 64 * 1024 * 1024 && requests.write_all(&part).await.is_ok() {
            sent += part.len();
        }
        sent
    });
    let mut answer = [0; 12];
    timeout(Duration::from_secs(10), answers.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    drop(answers);
    assert!(sending.await.unwrap() < 64 * 1024 * 1024, "all is taken");
}
