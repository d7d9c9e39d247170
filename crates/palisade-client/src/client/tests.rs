//! The client and peers that misbehave in every way that a test can think of. Real services that die, hang and flap are
//! in the tests of the whole.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use palisade_model::RawToken;
use palisade_proto::v1::{
    DecideBatchRequest, DecideBatchResponse, DecideRequest, DecideResponse, Outcome as Said, SearchRequest,
    SearchResponse,
    decisions_server::{Decisions, DecisionsServer},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, UnixListener},
    time::Instant,
};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::{
    Request, Response, Status,
    metadata::MetadataMap,
    transport::{Identity, Server, ServerTlsConfig},
};

use super::Client;
use crate::{
    ClientSettings, DecisionPoint, Item, NoAnswer, Outcome, PepKey, Plaintext, Question, SetupError,
};

/// What a peer does with a question.
#[derive(Debug, Clone, Copy)]
enum Does {
    Permit,
    SayUnavailable,
    SayUnimplemented,
    SayNothing,
    AnswerNothing,
}

/// A decision service that does one thing, and remembers what came.
#[derive(Debug, Clone)]
struct Peer {
    does: Does,
    asked: Arc<AtomicUsize>,
    metadata: Arc<std::sync::Mutex<MetadataMap>>,
}

impl Peer {
    fn that(does: Does) -> Self {
        Self { does, asked: Arc::default(), metadata: Arc::default() }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let service = DecisionsServer::new(self.clone());
        let served = Server::builder().add_service(service);
        tokio::spawn(served.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }
}

#[tonic::async_trait]
impl Decisions for Peer {
    async fn decide(&self, request: Request<DecideRequest>) -> Result<Response<DecideResponse>, Status> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        *self.metadata.lock().unwrap() = request.metadata().clone();
        match self.does {
            Does::Permit => Ok(Response::new(DecideResponse {
                decision_id: "01a1fbe7-3682-7add-b91f-dde13657033e".to_owned(),
                outcome: Said::Permit.into(),
                reason: "permitted".to_owned(),
                subject: Some("User::\"corp/alice\"".to_owned()),
                ..DecideResponse::default()
            })),
            Does::SayUnavailable => Err(Status::unavailable("nobody is there")),
            Does::SayUnimplemented => Err(Status::unimplemented("what?")),
            Does::SayNothing => std::future::pending().await,
            Does::AnswerNothing => Ok(Response::new(DecideResponse::default())),
        }
    }

    async fn decide_batch(
        &self,
        _request: Request<DecideBatchRequest>,
    ) -> Result<Response<DecideBatchResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn search(&self, _request: Request<SearchRequest>) -> Result<Response<SearchResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }
}

fn client(endpoints: &[&str]) -> Client {
    let endpoints = endpoints.iter().map(ToString::to_string).collect();
    Client::new(&ClientSettings { endpoints, ..ClientSettings::default() }).unwrap()
}

fn question() -> Question {
    Question::new("demo", Item::new("ping")).token("t")
}

/// An address where nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// A peer that closes every connection once something came on it that looks like a question.
async fn hangs_up() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let (mut came, mut buffer) = (Vec::new(), [0; 4096]);
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                came.extend_from_slice(&buffer[..length]);
                if came.windows(4).any(|bytes| bytes == b"demo") {
                    break;
                }
            }
        }
    });
    (address, connections)
}

#[tokio::test]
async fn a_call_ends_with_its_deadline_whatever_the_peer_does() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let never_accepts = format!("http://{}", silent.local_addr().unwrap());
    let thinks = Peer::that(Does::SayNothing).serve().await;
    for endpoint in [never_accepts, thinks] {
        let client = client(&[&endpoint]);
        for deadline in [0, 1, 50, 200].map(Duration::from_millis) {
            let began = Instant::now();
            let no_answer = client.decide(&question().within(deadline)).await.unwrap_err();
            assert!(matches!(no_answer, NoAnswer::DeadlineExceeded { .. }), "{no_answer:?}");
            assert!(began.elapsed() < deadline + Duration::from_millis(100), "{:?}", began.elapsed());
        }
    }
}

#[tokio::test]
async fn a_deadline_without_measure_is_no_panic() {
    let client = client(&[&Peer::that(Does::Permit).serve().await]);
    let decision = client.decide(&question().within(Duration::MAX)).await.unwrap();
    assert!(decision.permit().is_some());
}

#[tokio::test]
async fn what_was_not_read_is_asked_elsewhere_and_what_was_is_not() {
    let (unavailable, odd) = (Peer::that(Does::SayUnavailable), Peer::that(Does::SayUnimplemented));
    let (unavailable_at, odd_at) = (unavailable.serve().await, odd.serve().await);
    let (hangs_up, hung_up) = hangs_up().await;
    for (bad, permits) in [(nobody().await, true), (unavailable_at, true), (odd_at, false), (hangs_up, false)]
    {
        let good = Peer::that(Does::Permit);
        let client = client(&[&bad, &good.serve().await]);
        let began = Instant::now();
        let answer = client.decide(&question()).await;
        assert_eq!(answer.is_ok(), permits, "{bad}: {answer:?}");
        assert_eq!(good.asked(), usize::from(permits), "{bad}");
        assert!(began.elapsed() < Duration::from_secs(1));
    }
    assert_eq!((unavailable.asked(), odd.asked(), hung_up.load(Ordering::SeqCst)), (1, 1, 1));
}

#[tokio::test]
async fn attempts_are_bounded() {
    let peers: Vec<_> = (0..5).map(|_| Peer::that(Does::SayUnavailable)).collect();
    let mut endpoints = Vec::new();
    for peer in &peers {
        endpoints.push(peer.serve().await);
    }
    let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
    let no_answer = client(&endpoints).decide(&question()).await.unwrap_err();
    assert!(matches!(no_answer, NoAnswer::Status { .. }), "{no_answer:?}");
    assert_eq!(peers.iter().map(Peer::asked).sum::<usize>(), super::MOST_ATTEMPTS);
}

#[tokio::test]
async fn an_endpoint_that_fails_is_left_out() {
    let (bad, good) = (Peer::that(Does::SayUnavailable), Peer::that(Does::Permit));
    let client = client(&[&nobody().await, &good.serve().await]);
    for _ in 0..20 {
        assert!(client.decide(&question()).await.unwrap().permit().is_some());
    }
    assert_eq!((client.left_out().len(), bad.asked()), (1, 0));
}

#[tokio::test]
async fn load_is_shared_and_a_peer_that_hangs_gets_little_of_it() {
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs_at = format!("http://{}", hangs.local_addr().unwrap());
    let (one, two) = (Peer::that(Does::Permit), Peer::that(Does::Permit));
    let client = client(&[&hangs_at, &one.serve().await, &two.serve().await]);
    let all = |count: usize| {
        futures::future::join_all((0..count).map(|_| async {
            let question = question().within(Duration::from_millis(300));
            client.decide(&question).await.is_ok()
        }))
    };
    let lost = all(60).await.into_iter().filter(|answered| !answered).count();
    assert!((1..=30).contains(&lost), "{lost}");
    assert!(all(40).await.into_iter().all(|answered| answered));
    assert_eq!(client.left_out(), [hangs_at.as_str()]);
    assert!(one.asked() > 10 && two.asked() > 10, "{} {}", one.asked(), two.asked());
}

#[tokio::test]
async fn no_status_and_no_strange_answer_is_a_permit() {
    for does in [Does::SayUnavailable, Does::SayUnimplemented, Does::AnswerNothing] {
        let client = client(&[&Peer::that(does).serve().await]);
        assert!(client.decide(&question()).await.is_err(), "{does:?}");
    }
}

#[tokio::test]
async fn a_call_says_who_calls_and_how_long_it_waits() {
    let peer = Peer::that(Does::Permit);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "s3cret-of-the-pep\n").unwrap();
    let settings = ClientSettings {
        endpoints: vec![peer.serve().await],
        key: PepKey::File(file),
        ..ClientSettings::default()
    };
    let client = Client::new(&settings).unwrap();
    let asked = question().within(Duration::from_millis(750)).request_id("r1").traceparent("00-x");
    let decision = client.decide(&asked).await.unwrap();
    assert!(
        matches!(&decision.outcome, Outcome::Permit(permit) if permit.subject() == "User::\"corp/alice\"")
    );
    let metadata = peer.metadata.lock().unwrap().clone();
    let sent = |name: &str| metadata.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(
        (sent("x-palisade-key"), sent("x-request-id")),
        ("s3cret-of-the-pep".to_owned(), "r1".to_owned())
    );
    assert_eq!(sent("traceparent"), "00-x");
    let timeout = sent("grpc-timeout");
    let micros: u64 = timeout.strip_suffix('u').unwrap().parse().unwrap();
    assert!(micros <= 750_000 && micros > 600_000, "{timeout}");
    assert!(!format!("{client:?}{settings:?}{asked:?}").contains("s3cret"));
    let unsendable = client.decide(&question().request_id("a\nb")).await.unwrap_err();
    assert!(matches!(unsendable, NoAnswer::Unsendable { .. }), "{unsendable:?}");
}

#[tokio::test]
async fn one_connection_is_used_again() {
    let peer = Peer::that(Does::Permit);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let incoming = tokio_stream::StreamExt::map(TcpListenerStream::new(listener), move |stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        stream
    });
    tokio::spawn(
        Server::builder().add_service(DecisionsServer::new(peer.clone())).serve_with_incoming(incoming),
    );
    let client = client(&[&address]);
    for _ in 0..5 {
        let clone = client.clone();
        assert!(clone.decide(&question()).await.is_ok());
    }
    assert_eq!((peer.asked(), connections.load(Ordering::SeqCst)), (5, 1));
}

#[tokio::test]
async fn a_unix_socket_is_an_endpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("palisade.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let service = DecisionsServer::new(Peer::that(Does::Permit));
    let served = Server::builder().add_service(service);
    tokio::spawn(served.serve_with_incoming(UnixListenerStream::new(listener)));
    let client = client(&[&format!("unix:{}", path.display())]);
    assert!(client.decide(&question()).await.unwrap().permit().is_some());
}

#[tokio::test]
async fn tls_is_verified_against_the_file_of_certificates() {
    let authority = |name: &str| {
        let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), rcgen::Issuer::new(params, key))
    };
    let (own, issuer) = authority("own");
    let (other, _) = authority("other");
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf =
        rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(leaf.pem(), key.serialize_pem()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = Peer::that(Does::Permit);
    let mut server = Server::builder().tls_config(tls).unwrap();
    let served = server.add_service(DecisionsServer::new(peer.clone()));
    tokio::spawn(served.serve_with_incoming(TcpListenerStream::new(listener)));

    let folder = tempfile::tempdir().unwrap();
    for (name, pem, host, reaches) in [
        ("own.pem", &own, "localhost", true),
        ("own.pem", &own, "127.0.0.1", false),
        ("other.pem", &other, "localhost", false),
    ] {
        let ca_file = folder.path().join(name);
        std::fs::write(&ca_file, pem).unwrap();
        let endpoints = vec![format!("https://{host}:{port}")];
        let settings = ClientSettings { endpoints, ca_file: Some(ca_file), ..ClientSettings::default() };
        let answer = Client::new(&settings).unwrap().decide(&question()).await;
        assert_eq!(answer.is_ok(), reaches, "{name}, {host}: {answer:?}");
        assert!(reaches || matches!(answer, Err(NoAnswer::Unreachable { .. })));
    }
    assert_eq!(peer.asked(), 1);
}

#[test]
fn without_a_runtime_there_is_no_client() {
    assert!(matches!(Client::to("http://127.0.0.1:1"), Err(SetupError::NoRuntime)));
}

#[tokio::test]
async fn tokens_do_not_go_over_a_network_in_the_clear_unless_it_is_said() {
    let to = |endpoint: &str, plaintext| {
        let endpoints = vec![endpoint.to_owned()];
        Client::new(&ClientSettings { endpoints, plaintext, ..ClientSettings::default() })
    };
    for local in
        ["http://127.0.0.1:7254", "http://[::1]:7254", "http://localhost:7254/", "http://127.8.8.8:1"]
    {
        assert!(to(local, Plaintext::Loopback).is_ok(), "{local}");
    }
    for remote in
        ["http://10.0.0.1:7254", "http://palisade:7254", "http://localhost.example.com", "http://[::2]:1"]
    {
        assert!(matches!(to(remote, Plaintext::Loopback), Err(SetupError::Plaintext { .. })), "{remote}");
        assert!(to(remote, Plaintext::Anywhere).is_ok(), "{remote}");
    }
}

#[tokio::test]
async fn what_is_no_endpoint_no_key_and_no_bound_is_said() {
    let none = ClientSettings::default();
    assert!(matches!(Client::new(&none), Err(SetupError::NoEndpoint)));
    for wrong in [
        "",
        "127.0.0.1:7254",
        "ftp://127.0.0.1",
        "http://127.0.0.1/x",
        "http://127.0.0.1/?a",
        "unix:relative",
        "http://",
    ] {
        let built = Client::to(wrong);
        assert!(matches!(built, Err(SetupError::Endpoint { .. })), "{wrong}: {built:?}");
    }
    let with = |key| ClientSettings { endpoints: vec!["http://127.0.0.1:1".to_owned()], key, ..none.clone() };
    for key in ["", "a\nb", "\u{7f}"] {
        let built = Client::new(&with(PepKey::Text(RawToken::new(key))));
        assert!(matches!(built, Err(SetupError::Key)), "{key:?}");
    }
    let missing = with(PepKey::File("/nowhere/key".into()));
    assert!(matches!(Client::new(&missing), Err(SetupError::File { .. })));
    let timeless = ClientSettings { deadline: Duration::ZERO, ..with(PepKey::None) };
    assert!(matches!(Client::new(&timeless), Err(SetupError::Bound { .. })));
}
