//! A gateway and what its clients do.

use std::{fs, process::Command, time::Duration};

use palisade_tests::components::{OidcProvider, free_port, node_script};
use palisade_tests::service::Palisade;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

const VERSION: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

/// A gateway in front of one server, the resource `tools`.
pub(super) struct Gateway {
    pub(super) palisade: Palisade,
    pub(super) folder: TempDir,
    port: u16,
}

/// An answer, with the last JSON-RPC message of its body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) result: Value,
    pub(super) error: Value,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

pub(super) fn request(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

pub(super) fn initialize() -> Value {
    let client = json!({ "name": "palisade-tests", "version": "1" });
    request("initialize", json!({ "protocolVersion": VERSION, "capabilities": {}, "clientInfo": client }))
}

impl Gateway {
    pub(super) async fn start(provider: &OidcProvider, policies: &str, upstream: &str, more: &str) -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("policies")).unwrap();
        fs::write(folder.path().join("policies/p.cedar"), policies).unwrap();
        let port = free_port().unwrap();
        let configuration = format!(
            "policies: {{path: {}}}\nissuers:\n  corp: {{issuer: \"{}\", network: {{private: true}}}}\ngateway:\n  address: \
             127.0.0.1:{port}\n  upstreams: {{tools: {upstream}}}\nresources:\n  tools:\n    identifier: \
             http://127.0.0.1:{port}/tools\n    kind: mcp\n    issuers: [corp]\n    tools: {{catalog: {}, meta: {{run_tool: {{name: /tool, arguments: /with}}}}}}\n    scopes: {{step_up: [\"files:delete\"]}}\n{more}",
            folder.path().join("policies").display(),
            provider.issuer(),
            folder.path().join("tools.json").display(),
        );
        // Steps up only to what somebody lists.
        let echo = json!({ "type": "object",
            "properties": { "message": { "type": "string", "x-mcp-header": "Said" } } });
        let weather = json!({ "type": "object",
            "properties": { "region_code": { "type": "string", "x-mcp-header": "Region" } } });
        let tools = json!({ "tools": [{ "name": "get-sum" }, { "name": "run_tool" }, { "name": "add" },
            { "name": "echo", "inputSchema": echo }, { "name": "weather", "inputSchema": weather }] });
        fs::write(folder.path().join("tools.json"), tools.to_string()).unwrap();
        let palisade = Palisade::start(&configuration, "").await.unwrap();
        palisade.wait_for_readiness(200).await.unwrap();
        Self { palisade, folder, port }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/tools", self.port)
    }

    fn post(&self, token: Option<&str>, session: Option<&str>) -> reqwest::RequestBuilder {
        let mut request = reqwest::Client::new()
            .post(self.url())
            .timeout(Duration::from_secs(30))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(session) = session {
            request = request.header("mcp-session-id", session).header("mcp-protocol-version", VERSION);
        }
        request
    }

    pub(super) async fn send(&self, token: Option<&str>, session: Option<&str>, body: &Value) -> Answer {
        read(self.post(token, session).body(body.to_string()).send().await.unwrap()).await
    }

    /// Begins a session (MCP 2025-11-25), and gives its id.
    pub(super) async fn begin(&self, token: &str) -> String {
        let answer = self.send(Some(token), None, &initialize()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let session = answer.header("mcp-session-id").to_owned();
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(self.send(Some(token), Some(&session), &initialized).await.status, 202);
        session
    }

    pub(super) async fn call(&self, token: &str, session: &str, tool: &str, arguments: Value) -> Answer {
        let call = request("tools/call", json!({ "name": tool, "arguments": arguments }));
        self.send(Some(token), Some(session), &call).await
    }

    /// A request without a session (MCP 2026-07-28), with these mirrors.
    pub(super) async fn mirrored(
        &self,
        method: &str,
        params: Value,
        token: &str,
        mirrors: (Option<&str>, Option<&str>),
    ) -> Answer {
        self.with_header(method, params, token, mirrors, None).await
    }

    /// The same with one header more.
    pub(super) async fn with_header(
        &self,
        method: &str,
        mut params: Value,
        token: &str,
        (mirror, name): (Option<&str>, Option<&str>),
        header: Option<(&str, &str)>,
    ) -> Answer {
        params["_meta"] = json!({ "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {} });
        let mut sent = self.post(Some(token), None).header("mcp-protocol-version", MODERN);
        if let Some(mirror) = mirror {
            sent = sent.header("mcp-method", mirror);
        }
        if let Some(name) = name {
            sent = sent.header("mcp-name", name);
        }
        if let Some((name, value)) = header {
            sent = sent.header(name, value);
        }
        read(sent.body(request(method, params).to_string()).send().await.unwrap()).await
    }

    /// The events of an answer, each with the moment it came.
    pub(super) async fn events(&self, token: &str, session: &str, body: &Value) -> Vec<(Instant, Value)> {
        let mut answer = self.post(Some(token), Some(session)).body(body.to_string()).send().await.unwrap();
        let (mut events, mut text) = (Vec::new(), String::new());
        while let Some(chunk) = answer.chunk().await.unwrap() {
            text.push_str(std::str::from_utf8(&chunk).unwrap());
            while let Some((event, rest)) = text.split_once("\n\n") {
                events.extend(data(event).map(|value| (Instant::now(), value)));
                text = rest.to_owned();
            }
        }
        events
    }

    pub(super) async fn listen(&self, token: &str, session: &str) -> reqwest::Response {
        let request = reqwest::Client::new().get(self.url()).bearer_auth(token);
        let request = request.header("accept", "text/event-stream").header("mcp-session-id", session);
        request.header("mcp-protocol-version", VERSION).send().await.unwrap()
    }

    pub(super) async fn delete(&self, token: &str, session: &str) -> reqwest::StatusCode {
        let request = reqwest::Client::new().delete(self.url()).bearer_auth(token);
        let request = request.header("mcp-session-id", session).header("mcp-protocol-version", VERSION);
        request.send().await.unwrap().status()
    }

    /// How many processes of this command are children of the service.
    pub(super) async fn processes(&self, command: &str) -> usize {
        let own = self.palisade.process_id().to_string();
        let listed = Command::new("ps").args(["--ppid", &own, "-o", "args="]).output().unwrap();
        let last = command.split(' ').next_back().unwrap();
        String::from_utf8(listed.stdout).unwrap().lines().filter(|line| line.ends_with(last)).count()
    }

    /// What the client on the official SDK sees.
    pub(super) fn official_client(&self, token: &str, calls: &[(&str, &str)]) -> anyhow::Result<Value> {
        let mut command = node_script("mcp-client/client.mjs")?;
        command.args(["--url", &self.url(), "--token", token]);
        for (tool, arguments) in calls {
            command.arg("--call").arg(format!("{tool}={arguments}"));
        }
        let output = command.output()?;
        let text = String::from_utf8(output.stdout)?;
        serde_json::from_str(&text)
            .map_err(|_| anyhow::anyhow!("{text}{}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// The data of an event.
fn data(event: &str) -> Option<Value> {
    let data: String = event.lines().filter_map(|line| line.strip_prefix("data:")).collect();
    serde_json::from_str(&data).ok()
}

async fn read(answer: reqwest::Response) -> Answer {
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let text = answer.text().await.unwrap();
    let message = serde_json::from_str(&text).ok().or_else(|| text.split("\n\n").filter_map(data).last());
    let message: Value = message.unwrap_or_default();
    let member = |name: &str| message.get(name).cloned().unwrap_or_default();
    Answer { status, headers, result: member("result"), error: member("error") }
}
