//! Headers that mirror the body (MCP 2026-07-28, Streamable HTTP): `Mcp-Method`, `Mcp-Name`, `Mcp-Param-*`.
//!
//! Something before us may have acted on the header and something behind us will act on the body, so a mirror that is
//! there must agree. Whether one must be there, the revision says (`are_there`), where every header of the request is known;
//! else it is for the server to say. Which argument a parameter's header mirrors, the tool's schema says by `x-mcp-header`;
//! where it is not known to, the header is compared with the top-level argument of its name, and
//! where there is none, since a schema may call it otherwise, some argument must have its value.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use palisade_model::{Mirrored, Reason, Refusal, ToolForms};
use serde_json::{Map, Number, Value};

use crate::method;

/// The mirrors of a request: every value of each header.
#[derive(Debug, Clone, Default)]
pub struct Mirrors<'a> {
    /// `Mcp-Method`.
    pub method: Vec<&'a str>,
    /// `Mcp-Name`.
    pub name: Vec<&'a str>,
    /// `Mcp-Param-<name>`: the name behind the prefix, and a value.
    pub params: Vec<(&'a str, &'a str)>,
    /// `MCP-Protocol-Version`.
    pub version: Vec<&'a str>,
    /// Whether what a revision demands must be there. Only who has every header of the request can say that one is not.
    pub required: bool,
    /// What is known of the resource's tools.
    pub tools: Option<&'a ToolForms>,
}

/// The revision that began to demand the mirrors.
const DEMANDING: &str = "2026-07-28";
/// Where a request says its revision.
const VERSION: &str = "io.modelcontextprotocol/protocolVersion";

impl<'a> Mirrors<'a> {
    /// The arguments that headers mirror of a call.
    fn declared(&self, method: Option<&str>, params: &Map<String, Value>) -> &'a [Mirrored] {
        let tool = params.get("name").and_then(Value::as_str).filter(|_| method == Some("tools/call"));
        let form = tool.and_then(|tool| self.tools?.get(tool));
        form.map(|form| form.mirrored.as_slice()).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.method.is_empty() && self.name.is_empty() && self.params.is_empty()
    }
}

/// Compares the mirrors with the messages of a body. They mirror one message, never a batch.
pub(crate) fn check(mirrors: &Mirrors<'_>, messages: &[Value], batch: bool) -> Result<(), Refusal> {
    if mirrors.required {
        messages.iter().try_for_each(|message| are_there(mirrors, message))?;
    }
    if mirrors.is_empty() {
        return Ok(());
    }
    let [message] = messages else { return Err(mismatch("headers for one message")) };
    if batch {
        return Err(mismatch("headers for one message"));
    }
    let empty = Map::new();
    let method = message.get("method").and_then(Value::as_str);
    let params = message.get("params").and_then(Value::as_object).unwrap_or(&empty);
    check_names(mirrors, method, params)?;
    let arguments = params.get("arguments").and_then(Value::as_object).unwrap_or(&empty);
    let declared = mirrors.declared(method, params);
    mirrors.params.iter().try_for_each(|(name, header)| {
        let once = mirrors.params.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).count() == 1;
        let same = once && is_mirrored(name, header, declared, arguments);
        if same { Ok(()) } else { Err(mismatch("`mcp-param`")) }
    })
}

/// Whether this names a revision without sessions: one that demands the mirrors, and has lost some methods.
#[must_use]
pub fn is_stateless(version: &str) -> bool {
    is_revision(version) && version >= DEMANDING
}

/// The method of a request that such a revision governs, and the revision that it says itself.
fn governed<'a>(mirrors: &Mirrors<'_>, message: &'a Value) -> Option<(&'a str, Option<&'a str>)> {
    let method = message.get("method").and_then(Value::as_str).filter(|_| message.get("id").is_some());
    // The handshake belongs to the revisions before.
    let method = method.filter(|method| *method != "initialize")?;
    let said = message.get("params").and_then(|params| params.get("_meta")?.get(VERSION)?.as_str());
    (said.is_some() || mirrors.version.iter().any(|version| is_stateless(version))).then_some((method, said))
}

/// A request's method is one of its revision. What it lacks besides is of no interest where it is not.
pub(crate) fn check_method(mirrors: &Mirrors<'_>, message: &Value) -> Result<(), Refusal> {
    match governed(mirrors, message) {
        Some((method, _)) if mirrors.required && !method::is_stateless_request(method) => {
            Err(method::unknown())
        }
        Some(_) | None => Ok(()),
    }
}

/// What a revision demands of a request is there: its version, which is the body's, its method, and what it names.
fn are_there(mirrors: &Mirrors<'_>, message: &Value) -> Result<(), Refusal> {
    let Some((method, said)) = governed(mirrors, message) else { return Ok(()) };
    let params = message.get("params").and_then(Value::as_object);
    let missing = |what: &str| Refusal::new(Reason::HeaderMismatch, format!("{what} is missing"));
    match (mirrors.version.as_slice(), said) {
        ([], _) => return Err(missing("`mcp-protocol-version`")),
        ([version], Some(said)) if *version != said => return Err(mismatch("`mcp-protocol-version`")),
        ([_], _) => {}
        (_, _) => return Err(mismatch("`mcp-protocol-version`")),
    }
    if mirrors.method.is_empty() {
        return Err(missing("`mcp-method`"));
    }
    let names = params.and_then(|params| method::mirrored_name(method, params)).is_some();
    if names && mirrors.name.is_empty() && method != "completion/complete" {
        return Err(missing("`mcp-name`"));
    }
    let empty = Map::new();
    let params = params.unwrap_or(&empty);
    let arguments = params.get("arguments").and_then(Value::as_object).unwrap_or(&empty);
    let sent = |header: &str| mirrors.params.iter().any(|(name, _)| name.eq_ignore_ascii_case(header));
    // What does not come, or is nothing, has no header.
    let has = |mirrored: &&Mirrored| argument(arguments, mirrored).is_some_and(|value| !value.is_null());
    match mirrors.declared(Some(method), params).iter().filter(has).find(|mirrored| !sent(&mirrored.header)) {
        Some(_) => Err(missing("`mcp-param`")),
        None => Ok(()),
    }
}

/// Whether a text is a date, as revisions are named.
fn is_revision(text: &str) -> bool {
    let bytes = text.bytes().enumerate();
    text.len() == DEMANDING.len()
        && bytes
            .into_iter()
            .all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() })
}

/// Compares the mirrors with what a proxy says of a body that did not come. The arguments are not known then, and a
/// mirror that cannot be compared is not taken on trust.
pub(crate) fn check_attributes(
    mirrors: &Mirrors<'_>,
    method: Option<&str>,
    params: &Map<String, Value>,
) -> Result<(), Refusal> {
    if !mirrors.params.is_empty() {
        return Err(Refusal::new(
            Reason::HeaderMismatch,
            "`mcp-param` came without the body that it mirrors",
        ));
    }
    check_names(mirrors, method, params)
}

fn check_names(
    mirrors: &Mirrors<'_>,
    method: Option<&str>,
    params: &Map<String, Value>,
) -> Result<(), Refusal> {
    agrees(&mirrors.method, method, "`mcp-method`")?;
    agrees(&mirrors.name, method.and_then(|method| method::mirrored_name(method, params)), "`mcp-name`")
}

fn mismatch(what: &str) -> Refusal {
    Refusal::new(Reason::HeaderMismatch, format!("{what} and the body differ"))
}

fn agrees(headers: &[&str], in_body: Option<&str>, what: &str) -> Result<(), Refusal> {
    match headers {
        [] => Ok(()),
        [header] if decoded(header).is_some_and(|header| Some(header.as_str()) == in_body) => Ok(()),
        _ => Err(mismatch(what)),
    }
}

/// Whether a parameter's header says what the arguments say: all those that it is declared for, or else the one of its name.
fn is_mirrored(name: &str, header: &str, declared: &[Mirrored], arguments: &Map<String, Value>) -> bool {
    let Some(header) = decoded(header) else { return false };
    let mut of_name =
        declared.iter().filter(|mirrored| mirrored.header.eq_ignore_ascii_case(name)).peekable();
    if of_name.peek().is_some() {
        return of_name
            .all(|mirrored| argument(arguments, mirrored).is_some_and(|value| is_same(&header, value)));
    }
    let mut named = arguments.iter().filter(|(argument, _)| argument.eq_ignore_ascii_case(name));
    match (named.next(), named.next()) {
        (Some((_, value)), None) => is_same(&header, value),
        // The tool is not known well enough to say which argument this mirrors.
        (None, _) if declared.is_empty() => is_any(&header, arguments),
        (Some(_) | None, _) => false,
    }
}

/// The argument that a header mirrors.
fn argument<'v>(arguments: &'v Map<String, Value>, mirrored: &Mirrored) -> Option<&'v Value> {
    let mut names =
        mirrored.pointer.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~"));
    let first = arguments.get(&names.next()?)?;
    names.try_fold(first, |value, name| value.as_object()?.get(&name))
}

/// The text that a mirror's value stands for: itself, or where it wears the sentinel what that wraps; nothing where it wraps no text.
#[must_use]
pub fn decoded(header: &str) -> Option<String> {
    let header = header.trim();
    match header.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(wrapped) => String::from_utf8(STANDARD.decode(wrapped).ok()?).ok(),
        None => Some(header.to_owned()),
    }
}

/// Whether some argument has this value: a schema can mirror what properties lead to, and no element of an array.
fn is_any(header: &str, arguments: &Map<String, Value>) -> bool {
    arguments.values().any(|value| match value {
        Value::Object(members) => is_any(header, members),
        Value::Null | Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            is_same(header, value)
        }
    })
}

fn is_same(header: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => text == header,
        Value::Bool(flag) => header == if *flag { "true" } else { "false" },
        Value::Number(number) => is_same_number(header, number),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// Numbers compare by value, so that `42` and `42.0` agree; integers to the last digit.
fn is_same_number(header: &str, number: &Number) -> bool {
    let whole = header.parse::<i128>().ok();
    match (whole, number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))) {
        (Some(header), Some(number)) => header == number,
        (Some(_) | None, _) => header.parse::<f64>().is_ok_and(|header| Some(header) == number.as_f64()),
    }
}
