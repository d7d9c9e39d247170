//! An MCP server on `rmcp` that asks a decision service before it answers.
//!
//!     cargo run -p palisade-tower --example server -- http://127.0.0.1:7254 files
//!
//! The configuration of the service has the resource `files` with the identifier `http://127.0.0.1:3001/mcp`.

use std::{error::Error, sync::Arc};

use palisade_client::Client;
use palisade_tower::{Caller, PalisadeLayer};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::json;

/// A server with one tool.
#[derive(Debug, Clone)]
struct Files;

impl ServerHandler for Files {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = json!({ "type": "object" }).as_object().cloned().unwrap_or_default();
        Ok(ListToolsResult::with_all_items(vec![Tool::new("list_files", "Lists files", Arc::new(schema))]))
    }

    async fn call_tool(
        &self,
        _call: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let request = context.extensions.get::<http::request::Parts>();
        let caller = request.and_then(|request| request.extensions.get::<Caller>());
        let text = format!("the files of {}", caller.map_or("nobody", |caller| &caller.subject));
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let service = arguments.next().unwrap_or_else(|| "http://127.0.0.1:7254".to_owned());
    let resource = arguments.next().unwrap_or_else(|| "files".to_owned());
    let settings = StreamableHttpServerConfig::default();
    let server = StreamableHttpService::new(|| Ok(Files), Arc::new(LocalSessionManager::default()), settings);
    // These two lines put the decision service in front of it.
    let palisade = PalisadeLayer::new(Client::to(service)?, resource);
    let router = axum::Router::new().fallback_service(server).layer(palisade);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3001").await?;
    axum::serve(listener, router).await?;
    Ok(())
}
