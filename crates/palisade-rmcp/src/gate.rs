//! One request of a client as a question, and the answer as what its handler or its client gets.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method, header, request::Parts};
use palisade_client::{Bind, Check, Checked, GatewayPoint, Incoming, List, Listed, Passage, Told};
use palisade_mcp::{Listing, Reply};
use palisade_model::Reason;
use palisade_tower::Caller;
use rmcp::{
    RoleServer,
    model::{ErrorCode, ErrorData, Extensions},
    service::RequestContext,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// The header of a session (MCP 2025-11-25, Streamable HTTP).
const SESSION: &str = "mcp-session-id";

/// Where a message says which task it belongs to (MCP 2025-11-25, tasks).
const RELATED_TASK: &str = "/_meta/io.modelcontextprotocol~1related-task/taskId";

/// Who is asked, about which resource.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) point: Arc<dyn GatewayPoint>,
    pub(crate) resource: String,
}

/// A request that was let by.
#[derive(Debug)]
pub(crate) struct Admitted {
    request: Incoming,
    passage: Passage,
    /// Its parameters, with the handler's own handles in place of those that its client has.
    params: Value,
}

impl Admitted {
    /// The parameters as the handler may have them.
    pub(crate) fn params<P: DeserializeOwned>(self) -> Result<P, ErrorData> {
        serde_json::from_value(self.params)
            .map_err(|_| ErrorData::internal_error("the request cannot be read", None))
    }
}

impl Gate {
    /// Asks about a request; where it is permitted, its handler learns whom it is for.
    pub(crate) async fn admit(
        &self,
        method: &str,
        params: &(impl Serialize + Sync),
        context: &mut RequestContext<RoleServer>,
    ) -> Result<Admitted, ErrorData> {
        let unreadable = |_| ErrorData::internal_error("the request cannot be read", None);
        let id = serde_json::to_value(&context.id).map_err(unreadable)?;
        let mut params = serde_json::to_value(params).map_err(unreadable)?;
        if params.is_null() {
            params = json!({});
        }
        let meta = serde_json::to_value(&context.meta).map_err(unreadable)?;
        if let (Some(members), false) =
            (params.as_object_mut(), meta.as_object().is_none_or(serde_json::Map::is_empty))
        {
            members.insert("_meta".to_owned(), meta);
        }
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.ask(method, Some(&id), &message, &mut context.extensions).await
    }

    /// Asks about a notification, which has no answer: one that is not permitted is not heard.
    pub(crate) async fn hears(
        &self,
        method: &str,
        params: &(impl Serialize + Sync),
        extensions: &mut Extensions,
    ) -> bool {
        let Ok(params) = serde_json::to_value(params) else { return false };
        let params = if params.is_null() { json!({}) } else { params };
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        self.ask(method, None, &message, extensions).await.is_ok()
    }

    async fn ask(
        &self,
        method: &str,
        id: Option<&Value>,
        message: &Value,
        extensions: &mut Extensions,
    ) -> Result<Admitted, ErrorData> {
        let parts = extensions.get::<Parts>().ok_or_else(|| {
            ErrorData::internal_error(
                "the request did not come over HTTP, and nobody is known to have sent it",
                None,
            )
        })?;
        let mut parts = parts.clone();
        let request = incoming(&parts);
        let check = Check::new(self.resource.clone(), request, Bytes::from(message.to_string()));
        match self.point.check(&check).await {
            Ok(Checked::Pass(passage)) => {
                let passage = *passage;
                let caller = Caller { subject: passage.subject().to_owned(), decision: passage.id() };
                passage.change(&mut parts.headers);
                parts.extensions.insert(caller.clone());
                extensions.insert(parts);
                extensions.insert(caller);
                let changed = passage.body().and_then(|body| serde_json::from_slice::<Value>(body).ok());
                let params = changed.as_ref().unwrap_or(message).get("params").cloned().unwrap_or_default();
                Ok(Admitted { request: check.request, passage, params })
            }
            Ok(Checked::Answer(told)) => Err(denied(method, id, &told)),
            Err(no_answer) => {
                tracing::warn!(%no_answer, "a request is refused");
                Err(no_decision())
            }
        }
    }

    /// A list of the handler, cut to what its reader may see.
    pub(crate) async fn cut<R: Serialize + DeserializeOwned>(
        &self,
        admitted: &Admitted,
        listing: Listing,
        result: R,
    ) -> Result<R, ErrorData> {
        let unreadable = |_| ErrorData::internal_error("the list cannot be read, and is withheld", None);
        let mut result = serde_json::to_value(result).map_err(unreadable)?;
        let names = listing.names(&result).unwrap_or_default();
        let entries = names.into_iter().map(str::to_owned).collect();
        let list = List::new(self.resource.clone(), admitted.request.clone(), listing.method(), entries);
        match self.point.list(&list).await {
            Ok(Listed::Shown(shown)) => listing.keep(&mut result, shown),
            Ok(Listed::Refused(told)) => return Err(denied(listing.method(), None, &told)),
            Err(no_answer) => {
                tracing::warn!(%no_answer, "a list is withheld");
                return Err(no_decision());
            }
        }
        serde_json::from_value(result).map_err(unreadable)
    }

    /// What a task that a tool has begun is called for its subject.
    pub(crate) async fn bind(
        &self,
        admitted: &Admitted,
        tool: &str,
        task: &str,
    ) -> Result<String, ErrorData> {
        let bind = Bind::task(self.resource.clone(), &admitted.passage, tool, task);
        self.point.bind(&bind).await.ok().flatten().ok_or_else(no_decision)
    }
}

/// The result of a request about a task, with the handle by which its client knows it.
pub(crate) fn called<R: Serialize + DeserializeOwned>(result: R, handle: &str) -> Result<R, ErrorData> {
    let unreadable = |_| ErrorData::internal_error("the task cannot be read, and is withheld", None);
    let mut result = serde_json::to_value(result).map_err(unreadable)?;
    if let Some(id) = result.get_mut("taskId") {
        *id = Value::from(handle);
    }
    serde_json::from_value(result).map_err(unreadable)
}

/// A task as its handler knows it, and as its client does; neither where a request is about none.
#[derive(Debug)]
pub(crate) struct Handles {
    own: Option<String>,
    client: Option<String>,
}

impl Handles {
    /// Those of a request, by its parameters as they came and as they go on.
    pub(crate) fn of(sent: Option<&Value>, changed: Option<&Value>) -> Self {
        let task = |params: Option<&Value>| params?.get("taskId")?.as_str().map(str::to_owned);
        Self { own: task(changed), client: task(sent) }
    }

    /// A result as the client may have it. Whose the tasks of a list are is not known: none is told. A result with a task that the
    /// request was not about is withheld.
    pub(crate) fn of_client(&self, mut result: Value) -> Result<Value, ErrorData> {
        let foreign = || ErrorData::internal_error("the result is of another task, and is withheld", None);
        if let Some(Value::Array(tasks)) = result.get_mut("tasks") {
            tasks.clear();
        }
        for place in ["/taskId", "/task/taskId", RELATED_TASK] {
            let Some(id) = result.pointer_mut(place) else { continue };
            let own = self.own.as_deref().filter(|own| id == own);
            *id = own.and(self.client.clone()).map(Value::from).ok_or_else(foreign)?;
        }
        Ok(result)
    }
}

/// The HTTP request as it came, but for the session: it is the service's own business, and bound to nobody here.
fn incoming(parts: &Parts) -> Incoming {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let mut headers: HeaderMap = parts.headers.clone();
    headers.remove(SESSION);
    headers.remove(header::CONTENT_LENGTH);
    Incoming {
        method: Method::POST,
        scheme: if parts.uri.scheme_str() == Some("http") { "http" } else { "https" },
        host: authority.or(host).unwrap_or_default().to_owned(),
        path: parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        headers,
        client: parts.extensions.get::<palisade_tower::ClientAddress>().map(|address| address.0),
    }
}

fn no_decision() -> ErrorData {
    ErrorData::internal_error("no decision can be made now", None)
}

/// What a client is told of a denial: the challenge where one helps, else that what it named is not known.
fn denied(method: &str, id: Option<&Value>, told: &Told) -> ErrorData {
    let text = |name: header::HeaderName| {
        told.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let decision = told.id.map(|id| id.to_string());
    let (challenge, later) = (text(header::WWW_AUTHENTICATE), text(header::RETRY_AFTER));
    let data = json!({ "reason": told.reason.as_ref().map(|reason| reason.as_str()), "decision": decision,
        "www_authenticate": challenge, "retry_after": later });
    if challenge.is_some() || later.is_some() {
        let message =
            if told.status == http::StatusCode::UNAUTHORIZED { "Not authenticated" } else { "Not permitted" };
        return ErrorData::new(ErrorCode(i32::from(told.status.as_u16())), message, Some(data));
    }
    let reason =
        told.reason.as_ref().and_then(|reason| reason.as_str().parse().ok()).unwrap_or(Reason::NoPermit);
    let id = id.map_or_else(|| "0".to_owned(), Value::to_string);
    let answer = palisade_mcp::denial(reason, &[Reply { action: method.to_owned(), id: Some(id) }], false);
    let error = answer.get("error").unwrap_or(&Value::Null);
    let code = error.get("code").and_then(Value::as_i64).and_then(|code| i32::try_from(code).ok());
    let message = error.get("message").and_then(Value::as_str).unwrap_or("Not permitted").to_owned();
    ErrorData::new(ErrorCode(code.unwrap_or(403)), Cow::Owned(message), None)
}
