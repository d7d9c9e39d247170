//! Static tokens as clients bring them: in the path and in a header, through a real Envoy, the gateway and the HTTP check.

use std::fs;
use std::path::Path;

use palisade_tests::components::{
    Envoy, EnvoyPorts, EnvoySample, McpServer, OidcProvider, eventually, free_port, header_values,
};
use palisade_tests::service::Palisade;
use serde_json::{Value, json};
use tempfile::TempDir;

const FILES: &str = "https://mcp.example.com/files";
const POLICY: &str = r#"
@id("ci") permit (principal == Client::"static/ci", action, resource in Mcp::Server::"files")
when { context.scopes.contains("files:read") && !(resource is Mcp::Tool && resource.name == "delete_file") };
@id("people") permit (principal is User, action, resource in Mcp::Server::"files");
"#;
const ONE: &str = "static-token-one-0123456789abcdef";
const KEY: &str = "0123456789abcdef0123456789abcdef";
const TWO: &str = "static-token-two-0123456789abcdef";

struct Files {
    palisade: Palisade,
    provider: OidcProvider,
    upstream: McpServer,
    folder: TempDir,
    gateway: u16,
}

impl Files {
    /// A service that takes static tokens in the path and in this header, with these keys of the resource and these sections.
    async fn start(header: &str, keys: &str, sections: &str) -> Self {
        let (provider, folder) = (OidcProvider::start().await.unwrap(), tempfile::tempdir().unwrap());
        let upstream = McpServer::start_with_sample_tools().await.unwrap();
        fs::create_dir(folder.path().join("policies")).unwrap();
        fs::write(folder.path().join("policies/p.cedar"), POLICY).unwrap();
        fs::write(folder.path().join("one"), ONE).unwrap();
        fs::write(folder.path().join("two"), TWO).unwrap();
        fs::write(folder.path().join("key"), KEY).unwrap();
        let gateway = free_port().unwrap();
        let file = |name: &str| format!("{{file: \"{}\"}}", folder.path().join(name).display());
        let text = format!(
            "policies: {{path: \"{policies}\"}}\nissuers: {{corp: {{issuer: \"{issuer}\", network: {{private: true}}}}}}\nlimits: {{deadline: \
             2s}}\ngateway: {{address: \"127.0.0.1:{gateway}\", upstreams: {{files: {{url: \"{url}\"}}}}}}\nresources:\n  files:\n    identifier: \
             {FILES}\n    match: [{{host: mcp.example.com, path: /files}}, {{host: \"127.0.0.1:{gateway}\", path: /files}}]\n    kind: mcp\n    \
             issuers: [corp]\n    rate_limits: {{failed_authentication: off}}\n    static_tokens:\n      header: {header}\n      path: true\n      \
             tokens: {{ci: {{secrets: [{one}, {two}], client: static/ci, scopes: [\"files:read\"]}}}}\n{keys}{sections}",
            policies = folder.path().join("policies").display(),
            issuer = provider.issuer(),
            url = upstream.url(),
            one = file("one"),
            two = file("two"),
            sections = sections.replace("KEY", &file("key")),
        );
        let palisade = Palisade::start(&text, "").await.unwrap();
        palisade.wait_for_readiness(200).await.unwrap();
        Self { palisade, provider, upstream, folder, gateway }
    }

    /// Envoy as the guide has it where tokens come in paths.
    async fn envoy(&self) -> Envoy {
        let (decision, public) = (self.palisade.decision, self.palisade.public);
        let ports = EnvoyPorts { decision, public, upstream: self.upstream.port() };
        let sample = EnvoySample::ExtAuthz.fill("files", ports).unwrap();
        let route = "match: {safe_regex: {regex: \"/files(/t-[A-Za-z0-9._~-]+)?\"}}";
        assert_eq!(sample.matches("match: {path: /files}").count(), 1);
        Envoy::start(&sample.replace("match: {path: /files}", route)).await.unwrap()
    }

    /// Nothing that is written down has a secret.
    async fn nothing_is_written(&self) {
        let (metrics, ready) =
            (self.palisade.admin("/metrics").await.unwrap(), self.palisade.admin("/readyz").await.unwrap());
        for text in [metrics, ready] {
            assert!(!text.contains("static-token"), "{text}");
        }
        self.palisade.decisions().unwrap();
        for entry in fs::read_dir(self.palisade.folder().join("audit")).unwrap() {
            let path = entry.unwrap().path();
            assert!(!holds(&path, b"static-token"), "{}", path.display());
        }
    }
}

fn holds(path: &Path, part: &[u8]) -> bool {
    fs::read(path).unwrap().windows(part.len()).any(|window| window == part)
}

fn call(tool: &str) -> String {
    let params = json!({"name": tool, "arguments": {"message": "hi", "path": "/a"}});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string()
}

/// The status of the answer to a message, with these headers.
async fn send(url: &str, headers: &[(&str, &str)], body: String) -> u16 {
    let mut request = reqwest::Client::new().post(url).header("content-type", "application/json");
    request = request.header("accept", "application/json, text/event-stream");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).send().await.unwrap().status().as_u16()
}

/// The one request that reached the server: its path, and what it has of a header.
async fn reached(upstream: &McpServer) -> Value {
    let mut requests = upstream.requests().await.unwrap();
    assert_eq!(requests.len(), 1, "{requests:?}");
    upstream.forget_requests().await.unwrap();
    requests.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn through_envoy_a_token_in_the_path_or_the_header_is_its_subject_and_goes_no_further() {
    let files = Files::start("x-api-key", "", "").await;
    let envoy = files.envoy().await;
    let (plain, in_path) = (envoy.url("/files"), envoy.url(&format!("/files/t-{ONE}")));
    for (url, headers) in [(&in_path, &[][..]), (&plain, &[("x-api-key", TWO)])] {
        assert_eq!(send(url, headers, call("echo")).await, 200, "{headers:?}");
        let request = reached(&files.upstream).await;
        assert!(!request.to_string().contains("static-token"), "{request}");
        assert_eq!(header_values(&request, "x-palisade-subject"), [r#"Client::"static/ci""#]);
        assert_eq!(header_values(&request, "x-api-key"), [""; 0]);
        assert_eq!(send(url, headers, call("delete_file")).await, 403);
    }
    // Nor does what an upstream would take for the same header.
    let spelt =
        [("x-api-key", ONE), ("x_api-key", TWO), ("x-api_key", TWO), ("X_Api_Key", TWO), ("x_api_key", TWO)];
    assert_eq!(send(&plain, &spelt, call("echo")).await, 200);
    let request = reached(&files.upstream).await;
    assert!(!request.to_string().contains("static-token"), "{request}");
    let record = files.palisade.decisions().unwrap().remove(0);
    assert_eq!(record.principal.as_deref(), Some("Client::\"static/ci\""));
    assert_eq!((record.token_id.as_deref(), record.asserted), (Some("static:ci"), false));
    assert_eq!(record.issuer.unwrap().as_str(), "static");

    // OAuth goes on beside it, and no two credentials are weighed against each other.
    let alice = format!("Bearer {}", files.provider.token("alice", FILES, "").await.unwrap());
    assert_eq!(send(&plain, &[("authorization", &alice)], call("delete_file")).await, 200);
    for (url, headers) in [
        (&in_path, &[("authorization", alice.as_str())][..]),
        (&in_path, &[("x-api-key", ONE)]),
        (&plain, &[("x-api-key", ONE), ("authorization", &alice)]),
        (&plain, &[("x-api-key", ONE), ("x-api-key", ONE)]),
        (&plain, &[("x-api-key", ONE), ("X-Api-Key", TWO)]),
    ] {
        assert_eq!(send(url, headers, call("echo")).await, 400, "{headers:?}");
    }
    for (url, headers) in [
        (envoy.url(&format!("/files/t-{ONE}x")), &[][..]),
        (plain.clone(), &[("x-api-key", "no")]),
        (plain.clone(), &[("x-api-key", "")]),
        // It is no bearer token here.
        (plain.clone(), &[("authorization", "Bearer static-token-one-0123456789abcdef")]),
        (plain, &[]),
    ] {
        assert_eq!(send(&url, headers, call("echo")).await, 401, "{headers:?}");
    }
    files.nothing_is_written().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn through_the_gateway_too() {
    let files = Files::start("x-api-key", "", "").await;
    let url = |rest: &str| format!("http://127.0.0.1:{}/files{rest}", files.gateway);
    assert_eq!(send(&url(&format!("/t-{ONE}?a=b")), &[], call("echo")).await, 200);
    let request = reached(&files.upstream).await;
    assert!(!request.to_string().contains("static-token"), "{request}");
    assert_eq!(send(&url(""), &[("x-api-key", ONE)], call("echo")).await, 200);
    assert!(!reached(&files.upstream).await.to_string().contains("static-token"));
    // However it is spelt, and as often as it comes, it goes no further: for servers that take `_` for `-`.
    let spelt = ["x_api_key", "x_api-key", "x-api_key", "X_API-key", "x_api_key"].map(|name| (name, TWO));
    let headers =
        [&[("x-api-key", ONE), ("mcp_session_id", "stolen"), ("Mcp-Name_", "x")], &spelt[..]].concat();
    assert_eq!(send(&url(""), &headers, call("echo")).await, 200);
    let request = reached(&files.upstream).await;
    assert!(!request.to_string().contains("static-token"), "{request}");
    for name in ["mcp_session_id", "mcp-name_", "x_api_key", "x_api-key", "x-api_key"] {
        assert_eq!(header_values(&request, name), [""; 0], "{name}");
    }
    assert_eq!(send(&url(""), &[("x-api-key", ONE), ("X-API-KEY", ONE)], call("echo")).await, 400);
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).to_string();
    assert_eq!(send(&url(&format!("/t-{TWO}")), &[], list).await, 200);
    assert_eq!(send(&url("/t-no"), &[], call("echo")).await, 401);
    let listed = files.palisade.decisions().unwrap();
    assert!(listed.iter().any(|record| record.found.is_some()), "the list was not cut");
    files.nothing_is_written().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_http_check_takes_them_in_the_header_and_refuses_what_it_cannot_take_out() {
    let files = Files::start("x-api-key", "", "").await;
    let check = |rest: &str| format!("http://127.0.0.1:{}/authz/files/files{rest}", files.palisade.decision);
    assert_eq!(send(&check(""), &[("x-api-key", ONE)], call("echo")).await, 200);
    assert_eq!(send(&check(&format!("/t-{ONE}")), &[], call("echo")).await, 400);
    files.nothing_is_written().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_are_good_at_a_time_and_a_changed_file_takes_effect() {
    let files = Files::start("authorization", "", "").await;
    let check = format!("http://127.0.0.1:{}/authz/files/files", files.palisade.decision);
    let status = async |token: &str| {
        send(&check, &[("authorization", &format!("Bearer {token}"))], call("echo")).await
    };
    assert_eq!((status(ONE).await, status(TWO).await), (200, 200));
    let alice = files.provider.token("alice", FILES, "").await.unwrap();
    assert_eq!(status(&alice).await, 200);
    let three = ONE.replace("one", "three");
    assert_eq!(status(&three).await, 401);
    fs::write(files.folder.path().join("one"), format!("{three}\n")).unwrap();
    let taken = async || Ok((status(&three).await == 200).then_some(()));
    eventually("the new token", taken).await.unwrap();
    assert_eq!((status(ONE).await, status(TWO).await), (401, 200));
    // One that is too short is not taken, and what was good stays so.
    fs::write(files.folder.path().join("two"), "short").unwrap();
    let refused = async || {
        let ready = files.palisade.wait_for_readiness(200).await?;
        Ok(ready["reload"]["error"].as_str().filter(|error| error.contains("a secret has 32")).map(|_| ()))
    };
    eventually("the refused reload", refused).await.unwrap();
    assert_eq!((status(&three).await, status(TWO).await), (200, 200));
    files.nothing_is_written().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_provider_is_ever_shown_one() {
    let secret = "exchanges: {ledger: {provider: rfc8693, audience: \"https://ledger.example.com\", scopes: [\"ledger:read\"], client: {id: \
                  gateway, secret: KEY}}}\npeps: {edge: {auth: {key: KEY}, surfaces: [ext_authz, http_authz], resources: '*'}}\n";
    let files = Files::start("authorization", "    upstream_token: {exchange: ledger}\n", secret).await;
    let check = format!("http://127.0.0.1:{}/authz/files/files", files.palisade.decision);
    let bearer = format!("Bearer {ONE}");
    let headers = [("x-palisade-key", KEY), ("authorization", bearer.as_str())];
    let before = files.provider.request_count("/token").await.unwrap();
    assert_eq!(send(&check, &headers, call("echo")).await, 403);
    assert_eq!(files.provider.request_count("/token").await.unwrap(), before);
    let record = files.palisade.decisions().unwrap().remove(0);
    assert_eq!(record.reason.as_str(), "exchange_refused");
    files.nothing_is_written().await;
}
