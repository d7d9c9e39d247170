//! Envoy's messages in, replies out: lists are cut, the rest goes by, and what cannot be decided is not told.

use envoy_types::pb::{
    envoy::{
        config::core::v3::{HeaderMap, HeaderValue},
        extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode,
        service::ext_proc::v3::{
            HttpBody, HttpHeaders, HttpTrailers, ImmediateResponse, ProcessingRequest, ProcessingResponse,
            ProtocolConfiguration, body_mutation::Mutation, processing_request::Request,
            processing_response::Response,
        },
    },
    google::protobuf::{Struct, Value as ProtoValue, value::Kind as ProtoKind},
};
use futures::{StreamExt, stream};
use palisade_model::Surface;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::fixture::*;
use crate::ext_proc::{Transaction, replies};

const LIST: &str = r#"{"jsonrpc":"2.0","id":"a","method":"tools/list"}"#;

/// One transaction, as Envoy tells it.
#[derive(Clone)]
struct Told {
    by: &'static str,
    resource: &'static str,
    modes: Option<(BodySendMode, BodySendMode)>,
    method: &'static str,
    token: Option<String>,
    /// The request's body, where the filter sends it.
    asked: Option<String>,
    answer: Vec<(&'static str, String)>,
    chunks: Vec<Vec<u8>>,
    trailers: bool,
}

/// What came of it.
#[derive(Debug, Default)]
struct Came {
    request: Vec<(String, String)>,
    headers: Option<Vec<(String, String)>>,
    chunks: Vec<Vec<u8>>,
    ended: bool,
    trailers: bool,
    answer: Option<ImmediateResponse>,
    broken: Option<String>,
}

impl Came {
    fn body(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    fn text(&self) -> String {
        String::from_utf8(self.body()).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let headers = self.headers.as_ref().unwrap();
        headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The status of an answer in place of the server's.
    fn status(&self) -> Option<i32> {
        self.answer.as_ref().map(|answer| answer.status.unwrap().code)
    }
}

fn headers(all: &[(&str, String)], end_of_stream: bool) -> HttpHeaders {
    let header = |(name, value): &(&str, String)| HeaderValue {
        key: (*name).to_owned(),
        value: String::new(),
        raw_value: value.clone().into_bytes(),
    };
    let headers = HeaderMap { headers: all.iter().map(header).collect() };
    HttpHeaders { headers: Some(headers), end_of_stream, ..HttpHeaders::default() }
}

fn list_of(tools: &[&str]) -> Value {
    let tools: Vec<Value> = tools.iter().map(|name| json!({ "name": name, "inputSchema": {} })).collect();
    json!({ "jsonrpc": "2.0", "id": "a", "result": { "tools": tools, "ttlMs": 1, "cacheScope": "public" } })
}

fn event(message: &Value) -> String {
    format!("event: message\ndata: {message}\n\n")
}

impl Told {
    fn new(kind: &str, body: &str) -> Self {
        Self {
            by: "edge",
            resource: "files",
            modes: Some((BodySendMode::Buffered, BodySendMode::FullDuplexStreamed)),
            method: "POST",
            token: Some(bearer("files")),
            asked: Some(LIST.to_owned()),
            answer: vec![(":status", "200".to_owned()), ("content-type", kind.to_owned())],
            chunks: vec![body.as_bytes().to_vec()],
            trailers: false,
        }
    }

    fn json(message: &Value) -> Self {
        Self::new("application/json", &message.to_string())
    }

    fn events(stream: &str) -> Self {
        Self::new("text/event-stream; charset=utf-8", stream)
    }

    fn asked(self, body: &str) -> Self {
        Self { asked: Some(body.to_owned()), ..self }
    }

    fn in_pieces(self, size: usize) -> Self {
        let chunks = self.chunks.concat().chunks(size).map(<[u8]>::to_vec).collect();
        Self { chunks, ..self }
    }

    fn messages(&self) -> Vec<ProcessingRequest> {
        let mut request = vec![
            (":method", self.method.to_owned()),
            (":scheme", "https".to_owned()),
            (":authority", "files.example.com".to_owned()),
            (":path", "/mcp".to_owned()),
            ("content-type", "application/json".to_owned()),
            ("accept-encoding", "gzip".to_owned()),
        ];
        request.extend(self.token.clone().map(|token| ("authorization", token)));
        let mut messages = vec![Request::RequestHeaders(headers(&request, self.asked.is_none()))];
        messages.extend(self.asked.clone().map(|body| {
            let body = body.into_bytes();
            Request::RequestBody(HttpBody { body, end_of_stream: true, ..HttpBody::default() })
        }));
        messages.push(Request::ResponseHeaders(headers(&self.answer, self.chunks.is_empty())));
        let last = self.chunks.len();
        messages.extend((1..).zip(&self.chunks).map(|(number, chunk)| {
            let end_of_stream = number == last && !self.trailers;
            Request::ResponseBody(HttpBody { body: chunk.clone(), end_of_stream, ..HttpBody::default() })
        }));
        if self.trailers {
            messages.push(Request::ResponseTrailers(HttpTrailers::default()));
        }
        let message = |request| ProcessingRequest { request: Some(request), ..ProcessingRequest::default() };
        let mut messages: Vec<ProcessingRequest> = messages.into_iter().map(message).collect();
        let text = |text: &str| ProtoValue { kind: Some(ProtoKind::StringValue(text.to_owned())) };
        let attributes = Struct { fields: [("source.address".to_owned(), text("203.0.113.7:999"))].into() };
        messages[0].attributes.insert("envoy.filters.http.ext_proc".to_owned(), attributes);
        messages[0].protocol_config = self.modes.map(|(request, response)| ProtocolConfiguration {
            request_body_mode: request.into(),
            response_body_mode: response.into(),
            send_body_without_waiting_for_header_response: false,
        });
        messages
    }

    async fn at(&self, fixture: &Fixture) -> Came {
        let pdp = std::sync::Arc::clone(&fixture.pdp);
        let transaction = Transaction::new(pdp, caller(self.by), self.resource.to_owned());
        let messages = stream::iter(self.messages().into_iter().map(Ok));
        let mut came = Came::default();
        let mut said = std::pin::pin!(replies(messages, transaction));
        while let Some(reply) = said.next().await {
            match reply {
                Ok(reply) => take(&mut came, reply),
                Err(status) => came.broken = Some(status.message().to_owned()),
            }
        }
        came
    }
}

fn take(came: &mut Came, reply: ProcessingResponse) {
    let set = |response: Option<envoy_types::pb::envoy::service::ext_proc::v3::CommonResponse>| {
        let mutation = response.unwrap().header_mutation.unwrap();
        let option = |option: envoy_types::pb::envoy::config::core::v3::HeaderValueOption| {
            let header = option.header.unwrap();
            (header.key, String::from_utf8(header.raw_value).unwrap())
        };
        mutation.set_headers.into_iter().map(option).collect::<Vec<_>>()
    };
    assert!(came.answer.is_none() && !came.ended && !came.trailers, "nothing comes after the end");
    match reply.response.unwrap() {
        Response::RequestHeaders(headers) => came.request = set(headers.response),
        Response::ResponseHeaders(headers) => came.headers = Some(set(headers.response)),
        Response::RequestBody(_) => {}
        Response::ResponseBody(body) => {
            assert!(came.headers.is_some(), "headers come first");
            let mutation = body.response.unwrap().body_mutation.unwrap().mutation.unwrap();
            let Mutation::StreamedResponse(streamed) = mutation else { panic!("{mutation:?}") };
            assert!(streamed.body.len() <= 64 * 1024);
            came.chunks.push(streamed.body);
            came.ended = streamed.end_of_stream;
        }
        Response::ResponseTrailers(_) => came.trailers = true,
        Response::ImmediateResponse(answer) => came.answer = Some(answer),
        other @ (Response::RequestTrailers(_) | Response::StreamedImmediateResponse(_)) => {
            panic!("{other:?}")
        }
    }
}

#[tokio::test]
async fn a_list_as_json_is_cut_and_becomes_private_and_is_on_the_record() {
    let fixture = fixture();
    let told = Told::json(&list_of(&["secret", "list_files", "delete_file"])).in_pieces(7);
    let came = told.at(&fixture).await;
    assert_eq!(came.request, [("accept-encoding".to_owned(), "identity".to_owned())]);
    assert_eq!(came.header("cache-control"), Some("private, no-store"));
    assert_eq!(came.header("vary"), Some("Authorization"));
    let mut expected = list_of(&["list_files", "delete_file"]);
    expected["result"]["cacheScope"] = json!("private");
    assert_eq!(serde_json::from_slice::<Value>(&came.body()).unwrap(), expected);
    assert!(came.ended && came.broken.is_none());
    let record = fixture.recorded().await;
    assert_eq!((record.surface, record.found), (Some(Surface::ExtProc), Some(2)));
    assert_eq!(record.client_ip, "203.0.113.7".parse().ok());
    assert_eq!(record.principal.as_deref(), Some("User::\"corp/alice\""));
}

#[tokio::test]
async fn what_is_no_list_goes_by_as_it_came() {
    let fixture = fixture();
    let call = r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"list_files"}}"#;
    let looks_like_one = list_of(&["secret"]);
    for told in [
        Told::json(&looks_like_one).asked(call).in_pieces(5),
        Told::events(&event(&looks_like_one)).asked(call).in_pieces(5),
        Told::json(&json!({ "jsonrpc": "2.0", "id": "a", "error": { "code": 1, "message": "no result" } })),
        Told::events(": ping\n\nid: 1\ndata: \n\n"),
    ] {
        let came = told.at(&fixture).await;
        assert_eq!(came.body(), told.chunks.concat());
        assert!(came.ended && came.broken.is_none() && came.answer.is_none());
    }
    // Answers that nobody waits for are not held.
    let told = Told { trailers: true, ..Told::json(&looks_like_one).asked(call).in_pieces(5) };
    let came = told.at(&fixture).await;
    assert_eq!(came.chunks, told.chunks);
    assert!(came.trailers && !came.ended);
    let empty = Told { chunks: Vec::new(), ..Told::json(&json!({})) }.at(&fixture).await;
    assert!(empty.headers.is_some() && empty.chunks.is_empty());
}

#[tokio::test]
async fn without_the_request_whatever_looks_like_a_list_is_one() {
    let fixture = fixture();
    let blind = |told: Told| Told {
        asked: None,
        modes: Some((BodySendMode::None, BodySendMode::FullDuplexStreamed)),
        ..told
    };
    let list = list_of(&["secret", "list_files"]);
    for told in [
        blind(Told::json(&list)),
        blind(Told::json(&json!([list]))),
        blind(Told::events(&event(&list))),
        Told { method: "GET", ..blind(Told::events(&event(&list))) },
        // Read in two ways, and with an id that was not asked with.
        Told::json(&list).asked(r#"{"jsonrpc":"2.0","id":"a","method":"tools/list","method":"ping"}"#),
        Told::json(&list)
            .asked(r#"{"jsonrpc":"2.0","id":"b","method":"ping"}"#)
            .asked(&LIST.replace("\"a\"", "7")),
    ] {
        let text = told.at(&fixture).await.text();
        assert!(text.contains("list_files") && !text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn what_cannot_be_decided_or_read_is_an_answer_of_ours() {
    let fixture = fixture();
    let list = list_of(&["list_files"]);
    let json = Told::json(&list);
    let encoded = |told: &Told| {
        let mut told = told.clone();
        told.answer.push(("content-encoding", "gzip".to_owned()));
        told
    };
    let modes = |request, response| Told { modes: Some((request, response)), ..json.clone() };
    let duplex = BodySendMode::FullDuplexStreamed;
    for (told, expected) in [
        (Told { token: None, ..json.clone() }, 401),
        (Told { token: Some("Bearer x".to_owned()), ..json.clone() }, 401),
        (Told { resource: "nobodys", ..json.clone() }, 404),
        (Told { resource: "", ..json.clone() }, 404),
        (Told { by: "narrow", ..json.clone() }, 403),
        (encoded(&json), 502),
        (encoded(&Told::events(&event(&list))), 502),
        (Told::new("text/html", "<html>"), 502),
        (Told::new("application/json", "{\"result\":"), 502),
        (Told { chunks: vec![vec![b' '; 1 << 20]; 17], ..json.clone() }, 502),
        (Told { modes: None, ..json.clone() }, 503),
        (modes(BodySendMode::Buffered, BodySendMode::Streamed), 503),
        (modes(BodySendMode::Buffered, BodySendMode::None), 503),
        (modes(BodySendMode::BufferedPartial, duplex), 503),
        (modes(duplex, duplex), 503),
    ] {
        let came = told.at(&fixture).await;
        assert_eq!(came.status(), Some(expected), "{came:?}");
        assert!(came.headers.is_none() && came.chunks.is_empty(), "{came:?}");
        // Envoy would go on without us after a clean end.
        assert!(came.broken.is_some());
    }
    let challenge = Told { token: None, ..json.clone() }.at(&fixture).await.answer.unwrap();
    let names: Vec<String> =
        challenge.headers.unwrap().set_headers.into_iter().map(|option| option.header.unwrap().key).collect();
    assert!(names.contains(&"www-authenticate".to_owned()), "{names:?}");
    // No client takes the page of an error for a list.
    let mut page = Told::new("text/html", "<html>");
    page.answer[0].1 = "500".to_owned();
    assert_eq!(page.at(&fixture).await.text(), "<html>");
}

#[tokio::test]
async fn without_a_record_there_is_no_list() {
    let fixture = fixture();
    fixture.pdp.audit().shutdown().await;
    let list = list_of(&["list_files"]);
    assert_eq!(Told::json(&list).at(&fixture).await.status(), Some(503));
    let came =
        Told::events(&format!("{}{}", event(&json!({ "method": "m" })), event(&list))).at(&fixture).await;
    let text = came.text();
    assert!(text.starts_with("event: message\ndata: {\"method\":\"m\"}\n\n"), "{text}");
    assert!(
        text.contains("-32603") && text.contains("\"id\":\"a\"") && !text.contains("list_files"),
        "{text}"
    );
}

#[tokio::test]
async fn an_event_that_does_not_end_ends_the_stream() {
    let fixture = fixture();
    let mut told = Told::events(&event(&list_of(&["list_files", "secret"])));
    told.chunks.extend(vec![vec![b'x'; 1 << 20]; 17]);
    let came = told.at(&fixture).await;
    assert!(came.broken.is_some() && !came.ended && came.text().len() < 1_000);
    // An end in the midst of an event drops it.
    let told = Told { trailers: true, ..Told::events("data: {\"result\":{}}\n\ndata: half") };
    let came = told.at(&fixture).await;
    assert_eq!((came.text().as_str(), came.trailers), ("data: {\"result\":{}}\n\n", true));
}

#[tokio::test]
async fn messages_out_of_their_order_are_no_way_to_a_list() {
    let fixture = fixture();
    let told = Told::json(&list_of(&["secret"]));
    let messages = told.messages();
    for order in [vec![2, 3], vec![3], vec![0, 3], vec![0, 1, 3], vec![0, 1, 2, 2, 3], vec![0, 1, 2, 3, 3]] {
        let pdp = std::sync::Arc::clone(&fixture.pdp);
        let transaction = Transaction::new(pdp, caller("edge"), "files".to_owned());
        let mut told: Vec<ProcessingRequest> = order.iter().map(|at| messages[*at].clone()).collect();
        told[0].protocol_config = messages[0].protocol_config;
        let messages = stream::iter(told.into_iter().map(Ok));
        let said: Vec<_> = replies(messages, transaction).collect().await;
        assert!(said.last().unwrap().is_err(), "{order:?}");
        assert!(!format!("{said:?}").contains("secret"), "{order:?}");
    }
}

#[tokio::test]
async fn a_denial_in_jsonrpc_is_an_error_of_the_request() {
    // Users may list, and this is the token of a client.
    let token = format!("Bearer {}", token("chat", json!({ "sub": "app" })));
    let told = Told { resource: "chat", token: Some(token), ..Told::json(&list_of(&["list_files"])) };
    let came = told.at(&fixture()).await;
    assert_eq!(came.status(), Some(200));
    let body: Value = serde_json::from_slice(&came.answer.unwrap().body).unwrap();
    assert_eq!((&body["id"], body.get("result")), (&json!("a"), None), "{body}");
    assert!(body["error"]["code"].is_number());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn however_an_answer_is_cut_into_pieces_it_is_told_alike(
        names in proptest::collection::vec(prop_oneof![Just("list_files"), Just("secret"), Just("delete_file")], 0..6),
        piece in 1_usize..200,
        events in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let fixture = runtime.block_on(async { fixture() });
        let list = list_of(&names);
        let told = if events { Told::events(&event(&list)) } else { Told::json(&list) };
        let whole = runtime.block_on(told.at(&fixture));
        let pieces = runtime.block_on(told.clone().in_pieces(piece).at(&fixture));
        prop_assert_eq!(whole.text(), pieces.text());
        prop_assert!(!whole.text().contains("secret") && whole.ended && pieces.ended);
        let shown = names.iter().filter(|name| **name != "secret").count();
        prop_assert_eq!(whole.text().matches("inputSchema").count(), shown);
    }

    #[test]
    fn no_answer_of_a_server_and_no_question_breaks_it(
        asked in proptest::collection::vec(any::<u8>(), 0..60),
        chunks in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'"'), Just(b'{'), any::<u8>()], 0..40), 0..5),
        events in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let fixture = runtime.block_on(async { fixture() });
        let mut told = if events { Told::events("") } else { Told::json(&json!(null)) };
        told.chunks = chunks;
        told.asked = Some(String::from_utf8_lossy(&asked).into_owned());
        let came = runtime.block_on(told.at(&fixture));
        prop_assert!(came.answer.is_some() || came.headers.is_some());
    }
}
