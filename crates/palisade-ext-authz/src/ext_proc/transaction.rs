//! One request of a client and its answer, message by message.
//!
//! The request's headers and body are kept as far as a decision needs them. The answer's headers wait for its body where that
//! is JSON that may hold a list: so what cannot be told is still answered with a status of its own. Event streams go on
//! event by event. What can hold no list goes by as it comes.

use std::sync::Arc;

use envoy_types::pb::{
    envoy::{
        config::core::v3::HeaderMap,
        extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode,
        service::ext_proc::v3::{
            HttpBody, HttpHeaders, ProcessingRequest, ProcessingResponse, ProtocolConfiguration,
            processing_request::Request,
        },
    },
    google::protobuf::{Struct, value::Kind as ProtoKind},
};
use palisade_call::{Body, Headers, HttpCall, Named, outage};
use palisade_mcp::sse::{self, Events};
use palisade_model::Surface;
use palisade_pdp::{Caller, Pdp, answer::Answer};

use super::{
    lists::{Cutter, Withheld},
    reply,
};

/// The largest answer, or event of a stream, that is taken in.
const MOST_ANSWER: usize = 16 * 1024 * 1024;
/// Where Envoy puts the attributes that its filter is told to send.
const ATTRIBUTES: &str = "envoy.filters.http.ext_proc";
/// The attribute with the address of the client's connection.
const SOURCE: &str = "source.address";

/// What is said to a message.
#[derive(Debug)]
pub(crate) enum Step {
    /// These replies.
    Say(Vec<ProcessingResponse>),
    /// An answer in place of the server's, and nothing after it.
    Answer(Box<ProcessingResponse>),
    /// Nothing: what has begun is broken off.
    Break(&'static str),
}

/// How far it has come.
#[derive(Debug)]
enum Phase {
    /// Nothing came.
    New,
    /// The request comes.
    Request(Box<HttpCall>, Taken),
    /// The answer comes, and goes by as it is.
    Passing,
    /// The answer comes, and is held until it is whole.
    Holding(Box<Cutter>, Held),
    /// The answer is a stream of events.
    Streaming(Box<Cutter>, Events),
    /// The answer has ended.
    Ended,
}

/// The body of the request, as far as it came.
#[derive(Debug, Default)]
struct Taken {
    body: Vec<u8>,
    too_large: bool,
}

/// The body of the answer, as far as it came.
#[derive(Debug)]
struct Held {
    body: Vec<u8>,
    /// Whether the status is a success.
    success: bool,
}

/// One request and its answer.
#[derive(Debug)]
pub(crate) struct Transaction {
    pdp: Arc<Pdp>,
    caller: Caller,
    resource: String,
    phase: Phase,
}

impl Transaction {
    /// For requests to this resource.
    pub(crate) fn new(pdp: Arc<Pdp>, caller: Caller, resource: String) -> Self {
        Self { pdp, caller, resource, phase: Phase::New }
    }

    /// Takes in a message.
    pub(crate) async fn take(&mut self, message: ProcessingRequest) -> Step {
        let ProcessingRequest { request, protocol_config, attributes, .. } = message;
        if matches!(self.phase, Phase::New) && !is_usable(protocol_config.as_ref()) {
            return refused(&outage(), "ext_proc needs response_body_mode FULL_DUPLEX_STREAMED");
        }
        match request {
            Some(Request::RequestHeaders(headers)) => {
                self.begin(headers, attributes.get(ATTRIBUTES));
                Step::Say(vec![reply::request_headers()])
            }
            Some(Request::RequestBody(body)) => {
                self.take_body(&body.body);
                Step::Say(vec![reply::request_body()])
            }
            Some(Request::RequestTrailers(_)) => Step::Say(vec![reply::request_trailers()]),
            Some(Request::ResponseHeaders(headers)) => self.answer_begins(headers),
            Some(Request::ResponseBody(body)) => self.answer_goes_on(body).await,
            Some(Request::ResponseTrailers(_)) => self.answer_ends().await,
            None => Step::Say(Vec::new()),
        }
    }

    fn begin(&mut self, came: HttpHeaders, attributes: Option<&Struct>) {
        let headers = came.headers.unwrap_or_default();
        let pseudo = |name: &str| pseudo(&headers, name).unwrap_or_default();
        let call = HttpCall {
            surface: Surface::ExtProc,
            named: Named::Segment(self.resource.clone()),
            method: pseudo(":method"),
            scheme: pseudo(":scheme"),
            host: pseudo(":authority"),
            target: pseudo(":path"),
            headers: fields(&headers),
            body: Body::Absent,
            declared_size: None,
            source: attributes.and_then(source),
            request_id: None,
            mcp: None,
            // Only ext_authz lets it go on, and only without what was in its path.
            rewrites_path: true,
            cuts: false,
            answers: false,
            unusable: None,
        };
        self.phase = Phase::Request(Box::new(call), Taken::default());
    }

    fn take_body(&mut self, bytes: &[u8]) {
        let most = self.pdp.snapshot().limits.body;
        if let Phase::Request(_, taken) = &mut self.phase {
            taken.too_large |= taken.body.len() + bytes.len() > most;
            if !taken.too_large {
                taken.body.extend_from_slice(bytes);
            }
        }
    }

    fn answer_begins(&mut self, came: HttpHeaders) -> Step {
        let Phase::Request(call, taken) = std::mem::replace(&mut self.phase, Phase::Passing) else {
            self.phase = Phase::Ended;
            return refused(&outage(), "ext_proc needs request_header_mode SEND");
        };
        let declared_size = call.headers.only("content-length").and_then(|length| length.parse().ok());
        let body = Body::new(taken.body, declared_size, taken.too_large);
        let call = HttpCall { body, declared_size, ..*call };
        let cutter = Cutter::new(Arc::clone(&self.pdp), self.caller.clone(), call);
        let headers = came.headers.unwrap_or_default();
        let success = pseudo(&headers, ":status").is_some_and(|status| status.starts_with('2'));
        let headers = fields(&headers);
        let expects_list = cutter.plan.expects_list();
        match form(&headers) {
            _ if came.end_of_stream => self.phase = Phase::Ended,
            _ if !cutter.plan.concerns_answers() => {}
            Form::Json | Form::Events if is_encoded(&headers) => return unreadable(),
            Form::Json => {
                self.phase = Phase::Holding(Box::new(cutter), Held { body: Vec::new(), success });
                return Step::Say(Vec::new());
            }
            Form::Events => {
                self.phase = Phase::Streaming(Box::new(cutter), Events::new(MOST_ANSWER));
                return Step::Say(vec![reply::response_headers(expects_list)]);
            }
            Form::Other if expects_list && success => return unreadable(),
            Form::Other => {}
        }
        Step::Say(vec![reply::response_headers(false)])
    }

    async fn answer_goes_on(&mut self, came: HttpBody) -> Step {
        let HttpBody { body, end_of_stream, .. } = came;
        match &mut self.phase {
            Phase::Passing => Step::Say(reply::response_body(&body, end_of_stream)),
            Phase::Holding(_, held) => {
                if held.body.len() + body.len() > MOST_ANSWER {
                    return unreadable();
                }
                held.body.extend_from_slice(&body);
                if end_of_stream { self.release(true).await } else { Step::Say(Vec::new()) }
            }
            Phase::Streaming(cutter, events) => match cut_events(cutter, events, &body).await {
                Some(cut) => Step::Say(reply::response_body(&cut, end_of_stream)),
                None => Step::Break("an event of the server is too large"),
            },
            Phase::New | Phase::Request(..) => refused(&outage(), "ext_proc needs response_header_mode SEND"),
            Phase::Ended => Step::Break("a body came after its end"),
        }
    }

    /// The answer ends with trailers.
    async fn answer_ends(&mut self) -> Step {
        let step = match &self.phase {
            Phase::Holding(..) => self.release(false).await,
            // An event that has no end is none, and is not told.
            Phase::Passing | Phase::Streaming(..) | Phase::Ended => Step::Say(Vec::new()),
            Phase::New | Phase::Request(..) => refused(&outage(), "ext_proc needs response_header_mode SEND"),
        };
        self.phase = Phase::Ended;
        match step {
            Step::Say(mut replies) => {
                replies.push(reply::response_trailers());
                Step::Say(replies)
            }
            Step::Answer(_) | Step::Break(_) => step,
        }
    }

    /// Lets go of an answer that was held.
    async fn release(&mut self, end: bool) -> Step {
        let Phase::Holding(cutter, held) = std::mem::replace(&mut self.phase, Phase::Ended) else {
            return Step::Break("there is no answer");
        };
        let (private, body) = match cutter.cut(&held.body).await {
            Ok(Some(cut)) => (true, cut),
            Ok(None) => (cutter.plan.expects_list(), held.body),
            // No client takes this for a result.
            Err(Withheld::Unreadable) if !held.success => (false, held.body),
            Err(Withheld::Unreadable) => return unreadable(),
            Err(Withheld::Denied(answer)) => return refused(&answer, "palisade does not show the list"),
        };
        let mut replies = vec![reply::response_headers(private)];
        replies.extend(reply::response_body(&body, end));
        Step::Say(replies)
    }
}

/// What of the events that came may be told; nothing where one is too large.
async fn cut_events(cutter: &Cutter, events: &mut Events, bytes: &[u8]) -> Option<Vec<u8>> {
    events.push(bytes).ok()?;
    let mut told = Vec::new();
    while let Some(event) = events.take() {
        match sse::data(&event) {
            None => told.extend_from_slice(&event),
            Some(data) => match cutter.cut_event(&data).await {
                Some(None) => told.extend_from_slice(&event),
                Some(Some(cut)) => told.extend_from_slice(&sse::with_data(&event, &cut)),
                None => {}
            },
        }
    }
    Some(told)
}

/// Whether the filter sends what is needed and waits for what is said.
fn is_usable(configuration: Option<&ProtocolConfiguration>) -> bool {
    let Some(configuration) = configuration else { return false };
    let request = [BodySendMode::None, BodySendMode::Streamed, BodySendMode::Buffered];
    let is = |mode: BodySendMode, number: i32| mode as i32 == number;
    is(BodySendMode::FullDuplexStreamed, configuration.response_body_mode)
        && request.into_iter().any(|mode| is(mode, configuration.request_body_mode))
}

/// The media types that messages of the protocol come in.
enum Form {
    Json,
    Events,
    Other,
}

fn form(headers: &Headers) -> Form {
    let value = headers.only("content-type").and_then(|value| value.split(';').next()).unwrap_or_default();
    match value.trim().to_ascii_lowercase().as_str() {
        "application/json" => Form::Json,
        "text/event-stream" => Form::Events,
        _ => Form::Other,
    }
}

fn is_encoded(headers: &Headers) -> bool {
    headers.all("content-encoding").iter().any(|coding| !coding.eq_ignore_ascii_case("identity"))
}

fn refused(answer: &Answer, why: &str) -> Step {
    tracing::warn!(why, status = answer.status, "an answer is withheld");
    Step::Answer(Box::new(reply::answer(answer, why)))
}

/// The server's answer cannot be read, so it is withheld.
fn unreadable() -> Step {
    let headers = [("content-type", "application/json"), ("cache-control", "no-store")];
    let body = r#"{"error":"bad_gateway","error_description":"the server's answer cannot be read, and is withheld"}"#;
    let headers = headers.map(|(name, value)| (name, value.to_owned())).to_vec();
    refused(&Answer { status: 502, headers, body: body.to_owned() }, "palisade cannot read the answer")
}

/// The address in `source.address`, which has a port.
fn source(attributes: &Struct) -> Option<std::net::IpAddr> {
    match attributes.fields.get(SOURCE)?.kind.as_ref()? {
        ProtoKind::StringValue(text) => {
            let address: std::net::SocketAddr = text.parse().ok()?;
            Some(address.ip())
        }
        ProtoKind::NullValue(_)
        | ProtoKind::NumberValue(_)
        | ProtoKind::BoolValue(_)
        | ProtoKind::StructValue(_)
        | ProtoKind::ListValue(_) => None,
    }
}

fn text(header: &envoy_types::pb::envoy::config::core::v3::HeaderValue) -> String {
    let raw = if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value };
    String::from_utf8_lossy(raw).into_owned()
}

fn pseudo(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.headers.iter().find(|header| header.key == name).map(text)
}

/// The header fields, without those that HTTP/2 makes of the request line.
fn fields(headers: &HeaderMap) -> Headers {
    let mut fields = Headers::default();
    for header in headers.headers.iter().filter(|header| !header.key.starts_with(':')) {
        fields.push(&header.key, text(header));
    }
    fields
}
