//! An MCP server that does as little as one can: it reads which method is asked, and answers with what it has ready. With
//! something that decides it has the adapter in front of it, as a server of one's own would.

use std::sync::Arc;

use anyhow::Result;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use palisade_client::{Client, GatewayPoint};
use palisade_model::SystemClock;
use palisade_server::{Service, StartSettings, config, telemetry::Telemetry};
use palisade_tower::{PalisadeLayer, Settings};
use serde::Deserialize;
use serde_json::{Value, json};

use super::matrix::{TOOLS, tool_name};

/// What the adapter asks about.
const RESOURCE: &str = "demo";

/// The server. It is given the URL of a decision service, the configuration file of a decision point in its own process, or
/// nothing.
pub(crate) async fn router(decides: Option<&str>) -> Result<Router> {
    let tools: Arc<str> = json!({ "tools": (0..TOOLS).map(tool).collect::<Vec<_>>() }).to_string().into();
    let server = Router::new().fallback(answer).with_state(tools);
    Ok(match decides {
        None => server,
        Some(given) => {
            let point: Arc<dyn GatewayPoint> = if given.starts_with("http:") {
                Arc::new(Client::to(given)?)
            } else {
                in_this_process(given).await?
            };
            server.layer(PalisadeLayer::with(point, RESOURCE, Settings::default()))
        }
    })
}

/// A decision point of this configuration, which lives as long as the process.
async fn in_this_process(file: &str) -> Result<Arc<dyn GatewayPoint>> {
    let loaded = config::load::read(file.as_ref())?;
    let telemetry = Arc::new(Telemetry::install(&loaded.config.telemetry)?);
    let (embedded, clock) = (config::build::Embedded::default(), Arc::new(SystemClock));
    let service = Service::start(StartSettings { loaded, embedded, clock, telemetry }).await?;
    let point = service.decision_point("local".parse()?);
    std::mem::forget(service);
    Ok(Arc::new(point))
}

/// An entry of the list, as long as they are.
fn tool(number: usize) -> Value {
    json!({
        "name": tool_name(number),
        "title": format!("Tool {number}"),
        "description": "Looks up a report by its path, and gives the part of it that was asked for as text, with where it begins.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "path": { "type": "string", "description": "Where the report is" },
                "offset": { "type": "integer", "description": "Where to begin" },
            },
            "required": ["path"],
        },
        "annotations": { "readOnlyHint": true, "openWorldHint": false },
    })
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    id: Value,
    method: String,
}

async fn answer(State(tools): State<Arc<str>>, body: Bytes) -> Response {
    let Ok(Asked { id, method }) = serde_json::from_slice(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let result = match method.as_str() {
        "tools/list" => &*tools,
        "tools/call" => r#"{"content":[{"type":"text","text":"Revenue grew by four percent."}]}"#,
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let message = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
    ([(header::CONTENT_TYPE, "application/json")], message).into_response()
}
