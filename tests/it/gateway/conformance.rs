//! The official conformance suite, against a server and against the gateway before it: no check that the server passes fails
//! behind the gateway, and headers that do not mirror their body are refused also for a server that does not look.

use std::{collections::BTreeMap, fs, net::Ipv4Addr, path::Path};

use axum::{Json, Router, body::Body, extract::Request, response::Response, routing::post};
use http::{HeaderMap, header};
use palisade_tests::components::{McpServer, OidcProvider, conformance, python_skipped};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, process::Command};

use super::client::Gateway;

const POLICIES: &str = r#"@id("all") permit (principal is User, action, resource in Mcp::Server::"tools");"#;
/// The revisions whose requirements are run.
const REVISIONS: [&str; 2] = ["2025-11-25", "2026-07-28"];

/// How bad a check came out. One that comes several times counts as its worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    Skipped,
    Passed,
    Warned,
    Failed,
}

/// A scenario and a check of it.
type Check = (String, String);
type Checks = BTreeMap<Check, (Status, String)>;

/// Puts a token into every request to the gateway: the suite has none. Returns the port.
async fn injector(gateway: String, token: String) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let own = format!("127.0.0.1:{port}");
    let pass = move |request: Request| {
        let (http, own, gateway, token) = (http.clone(), own.clone(), gateway.clone(), token.clone());
        async move { passed_on(request, &http, &own, &gateway, &token).await }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(pass)).await });
    port
}

async fn passed_on(
    request: Request,
    http: &reqwest::Client,
    own: &str,
    gateway: &str,
    token: &str,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in &parts.headers {
        // What names this injector names the gateway behind it; any other host or origin goes on as it came.
        let value = match value.to_str() {
            Ok(text) if text.contains(own) => text.replace(own, gateway).parse().unwrap(),
            _ => value.clone(),
        };
        headers.append(name, value);
    }
    headers.remove(header::CONNECTION);
    headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    let path = parts.uri.path_and_query().unwrap();
    let request = http.request(parts.method, format!("http://{gateway}{path}")).headers(headers).body(body);
    let answer = request.send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if name != header::TRANSFER_ENCODING && name != header::CONNECTION {
            response = response.header(name, value);
        }
    }
    response.body(Body::from_stream(answer.bytes_stream())).unwrap()
}

/// Runs a part of the suite against a server, and reads what every check came to.
async fn run(url: &str, part: &[&str]) -> Checks {
    let results = TempDir::new().unwrap();
    let mut command = Command::from(conformance().unwrap());
    command.args(["server", "--url", url]).args(part).arg("-o").arg(results.path());
    // The exit code says whether all passed, which no server here does.
    let output = command.current_dir(results.path()).kill_on_drop(true).output().await.unwrap();
    let mut checks = Checks::new();
    for folder in fs::read_dir(results.path()).unwrap() {
        let folder = folder.unwrap().path();
        read(&folder, &mut checks);
    }
    assert!(!checks.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    checks
}

/// Reads `server-<scenario>-<time>/checks.json`.
fn read(folder: &Path, checks: &mut Checks) {
    let name = folder.file_name().unwrap().to_str().unwrap();
    let name = name.strip_prefix("server-").unwrap();
    let scenario = name.split_at(name.len() - "-2026-07-28T00-00-00-000Z".len()).0;
    let listed: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(folder.join("checks.json")).unwrap()).unwrap();
    for check in listed {
        let status = match check["status"].as_str().unwrap() {
            "SUCCESS" | "INFO" => Status::Passed,
            "WARNING" => Status::Warned,
            "FAILURE" => Status::Failed,
            "SKIPPED" => Status::Skipped,
            other => panic!("{other}"),
        };
        let why = format!("{} {}", check["errorMessage"], check["details"]);
        let key = (scenario.to_owned(), check["id"].as_str().unwrap().to_owned());
        let known = checks.entry(key).or_insert((status, why.clone()));
        if status > known.0 {
            *known = (status, why);
        }
    }
}

/// What the server does better than the gateway before it.
fn worse<'a>(bare: &'a Checks, behind: &'a Checks) -> Vec<String> {
    let worse = bare.iter().filter_map(|(check, (status, _))| match behind.get(check) {
        Some((same, _)) if same == status => None,
        Some((other, why)) if *status == Status::Passed || other > status => {
            Some(format!("{check:?}: {other:?} {why}"))
        }
        Some(_) => None,
        None => Some(format!("{check:?}: never came")),
    });
    worse.collect()
}

fn count(checks: &Checks, status: Status) -> usize {
    checks.values().filter(|(known, _)| *known == status).count()
}

/// A gateway before a server, and an injector before that.
async fn guarded(provider: &OidcProvider, server: &str) -> (Gateway, String) {
    // The suite asks much within a minute.
    let unlimited = "defaults: {rate_limits: off}\n";
    let gateway = Gateway::start(provider, POLICIES, &format!("{{url: \"{server}\"}}"), unlimited).await;
    let token = provider.token("alice", &gateway.url(), "").await.unwrap();
    let (authority, path) = gateway
        .url()
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .map(|(host, path)| (host.to_owned(), path.to_owned()))
        .unwrap();
    let port = injector(authority, token).await;
    (gateway, format!("http://127.0.0.1:{port}/{path}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_passes_it_passes_behind_the_gateway() {
    if let Some(why) = python_skipped().unwrap() {
        return println!("skipped: {why}");
    }
    let provider = OidcProvider::start().await.unwrap();
    let server = McpServer::start_fastmcp().await.unwrap();
    let (_gateway, url) = guarded(&provider, &server.url()).await;
    for revision in REVISIONS {
        let part = ["--requirements", revision];
        let bare_url = server.url();
        let (bare, behind) = tokio::join!(run(&bare_url, &part), run(&url, &part));
        println!(
            "{revision}: {} checks; the server alone passes {}, behind the gateway {}",
            bare.len(),
            count(&bare, Status::Passed),
            count(&behind, Status::Passed),
        );
        let worse = worse(&bare, &behind);
        assert!(worse.is_empty(), "{revision}: {worse:#?}");
        assert!(count(&bare, Status::Passed) > 60, "{bare:#?}");
    }
}

/// A server that knows the revision with mirrors, and looks at none of them. Returns its URL.
async fn careless() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(post(answer_carelessly))).await });
    url
}

async fn answer_carelessly(Json(request): Json<Value>) -> Json<Value> {
    let mirrored = json!({ "type": "string", "x-mcp-header": "Region" });
    let tool = json!({
        "name": "weather", "description": "Says how the weather is",
        "inputSchema": { "type": "object", "properties": { "region_code": mirrored } },
    });
    let mut result = match request["method"].as_str() {
        Some("tools/list") => json!({ "tools": [tool] }),
        Some("tools/call") => json!({ "content": [{ "type": "text", "text": "fine" }] }),
        _ => json!({ "resources": [], "prompts": [] }),
    };
    result["resultType"] = "complete".into();
    result["ttlMs"] = 0.into();
    result["cacheScope"] = "private".into();
    Json(json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }))
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_held_against_the_body_for_a_server_that_does_not() {
    let provider = OidcProvider::start().await.unwrap();
    let server = careless().await;
    let (_gateway, url) = guarded(&provider, &server).await;
    for scenario in ["http-header-validation", "http-custom-header-server-validation"] {
        let part = ["--scenario", scenario];
        let (bare, behind) = tokio::join!(run(&server, &part), run(&url, &part));
        println!(
            "{scenario}: of {} checks the server alone fails {}, behind the gateway {}",
            bare.len(),
            count(&bare, Status::Failed),
            count(&behind, Status::Failed),
        );
        assert!(count(&bare, Status::Failed) > 0, "{bare:#?}");
        assert_eq!(count(&behind, Status::Failed), 0, "{behind:#?}");
    }
}
