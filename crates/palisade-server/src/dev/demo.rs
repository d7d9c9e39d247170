//! The demonstration server of `palisade dev`: the five tools of the first policy set, behind the gateway.
//!
//! It does nothing to this machine: it says what it was asked to do. Whether somebody may ask is not its business.

use std::sync::Arc;

use palisade_gateway::Upstream;
use palisade_tower::Caller;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
        ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde::Deserialize;

/// The catalogue, as far as a server needs it.
#[derive(Deserialize)]
struct Catalog {
    tools: Vec<Tool>,
}

/// The server.
#[derive(Debug, Clone)]
struct Demo {
    tools: Arc<[Tool]>,
}

/// The server, to be put behind a gateway; nothing if its own catalogue could not be read.
#[must_use]
pub fn server(catalog: &str) -> Option<Upstream> {
    let Catalog { tools } = serde_json::from_str(catalog).ok()?;
    let demo = Demo { tools: tools.into() };
    let settings = StreamableHttpServerConfig::default().with_json_response(true);
    let sessions = Arc::new(LocalSessionManager::default());
    let service = StreamableHttpService::new(move || Ok(demo.clone()), sessions, settings);
    Some(Upstream::inside(service))
}

impl ServerHandler for Demo {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        let own = Implementation::new("palisade-demo", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(capabilities).with_server_info(own)
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools.to_vec()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let argument = |name: &str| {
            let value = call.arguments.as_ref().and_then(|arguments| arguments.get(name));
            value.and_then(|value| value.as_str()).unwrap_or_default().to_owned()
        };
        let parts = context.extensions.get::<http::request::Parts>();
        let caller = parts.and_then(|parts| parts.extensions.get::<Caller>());
        let text = match call.name.as_ref() {
            "echo" => argument("message"),
            "get_user_info" => caller.map_or("nobody", |caller| &caller.subject).to_owned(),
            "list_files" => "notes.txt\nplan.md".to_owned(),
            "delete_file" => format!("{} would be deleted", argument("path")),
            "system_status" => "everything is fine".to_owned(),
            _ => return Err(ErrorData::invalid_params("Unknown tool", None)),
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }
}
