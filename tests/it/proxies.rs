//! The same questions through nginx, HAProxy, Caddy and Envoy in both modes: the same answers, and the same record each
//! time. And what none of them does: believe its client's headers, or let anything by when Palisade does not answer.

use std::net::{IpAddr, Ipv4Addr};

use palisade_tests::components::{
    Envoy, EnvoyPorts, EnvoySample, McpServer, OidcProvider, Proxy, ProxyKind, eventually, header_values,
    with_key,
};
use palisade_tests::service::Palisade;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::stories;

const POLICY: &str = r#"
@id("read-orders")
permit (principal is User, action in Http::Action::"read", resource in Http::Service::"orders")
when { context.scopes.contains("orders:read") };

@id("change-orders")
permit (principal is User, action == Http::Action::"PUT", resource == Http::Route::"orders/orders/{id}")
when { context.scopes.contains("orders:write") };

@id("list-files")
permit (principal is User, action in Mcp::Action::"tools/call", resource == Mcp::Tool::"files/list_files");

@id("delete-files")
permit (principal is User, action in Mcp::Action::"tools/call", resource == Mcp::Tool::"files/delete_file")
when { context.scopes.contains("files:delete") };
"#;

/// The host that every client asks for.
const HOST: &str = "api.example.com";
/// Where every client comes from. The proxies call from 127.0.0.1.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// What a client has in place of a token.
const STATIC: &str = "static-token-of-bob-0123456789abcdef";
/// What two records of one question may differ in.
const OWN_FIELDS: [&str; 8] =
    ["id", "time", "duration_us", "surface", "pep", "request_id", "trace_id", "span_id"];

/// A proxy, or Envoy.
enum Front {
    Debian(&'static str, Proxy),
    Envoy(&'static str, Envoy),
}

impl Front {
    fn name(&self) -> &'static str {
        match self {
            Self::Debian(name, _) | Self::Envoy(name, _) => name,
        }
    }

    fn url(&self, path: &str) -> String {
        match self {
            Self::Debian(_, proxy) => proxy.url(path),
            Self::Envoy(_, envoy) => envoy.url(path),
        }
    }
}

struct Site {
    provider: OidcProvider,
    upstream: McpServer,
    palisade: Palisade,
    /// In front of the HTTP API `orders`.
    orders: Vec<Front>,
    /// In front of the MCP server `files`: those that can pass a body to Palisade.
    files: Vec<Front>,
    /// What upstreams get as `Authorization`.
    credential: &'static [&'static str],
    _files: TempDir,
}

impl Site {
    /// Everything; nothing where this machine has no proxies.
    async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    /// The same with a credential of the upstreams' own.
    async fn start_with(credential: &'static [&'static str]) -> Option<Self> {
        if let Some(why) = Proxy::skipped().unwrap() {
            println!("skipped: {why}");
            return None;
        }
        let provider = OidcProvider::start_with(&json!({
            "users": {"bob": {}},
            "resources": {"*": ["orders:read", "orders:write", "files:read", "files:delete"]},
        }))
        .await
        .unwrap();
        let upstream = McpServer::start_with_sample_tools().await.unwrap();
        let files = tempfile::tempdir().unwrap();
        let configuration = configuration(&files, provider.issuer(), credential);
        let palisade = Palisade::start(&configuration, "").await.unwrap();
        palisade.wait_for_readiness(200).await.unwrap();
        let ports =
            EnvoyPorts { decision: palisade.decision, public: palisade.public, upstream: upstream.port() };
        let debian = async |kind: ProxyKind| {
            Front::Debian(kind.name(), Proxy::start(kind, ports, &key(kind.name())).await.unwrap())
        };
        let envoy = async |name, sample: EnvoySample, resource| {
            let text = sample.fill(resource, ports).unwrap().replace("THE KEY OF peps.envoy", &key("envoy"));
            let text = with_key(&text, &key("edge")).unwrap_or(text);
            Front::Envoy(name, Envoy::start(&text).await.unwrap())
        };
        let orders = vec![
            envoy("envoy over gRPC", EnvoySample::Http, "orders").await,
            envoy("envoy over HTTP", EnvoySample::HttpOverHttp, "orders").await,
            debian(ProxyKind::Nginx).await,
            debian(ProxyKind::Caddy).await,
            debian(ProxyKind::Haproxy).await,
        ];
        let mcp = vec![
            envoy("envoy over gRPC", EnvoySample::ExtAuthz, "files").await,
            envoy("envoy over HTTP", EnvoySample::OverHttp, "files").await,
            debian(ProxyKind::Haproxy).await,
        ];
        Some(Self { provider, upstream, palisade, orders, files: mcp, credential, _files: files })
    }

    async fn token(&self, resource: &str, scopes: &str) -> String {
        self.provider.token("bob", &format!("https://{HOST}/{resource}"), scopes).await.unwrap()
    }

    /// Sends the same through each of these, and holds that each gave this answer, did or did not reach the upstream, and
    /// left the same record. Gives back that record, and the challenge.
    async fn ask(&self, fronts: &[Front], request: &Request<'_>) -> (Value, Option<String>) {
        let mut first: Option<(Value, Option<String>)> = None;
        for front in fronts {
            self.upstream.forget_requests().await.unwrap();
            let before = self.palisade.decisions().unwrap().len();
            let answer = request.send(front).await;
            let at = format!("{} {} through {}", request.method, request.path, front.name());
            assert_eq!(answer.status().as_u16(), request.expected, "{at}");
            let challenges: Vec<_> = answer.headers().get_all("www-authenticate").iter().collect();
            assert!(challenges.len() <= 1, "{at}: {challenges:?}");
            let challenge = challenges.first().map(|value| value.to_str().unwrap().to_owned());
            let id = answer.headers()["x-palisade-decision-id"].to_str().unwrap().to_owned();
            let reached = self.upstream.requests().await.unwrap();
            assert_eq!(reached.len(), usize::from(request.reaches), "{at}");
            reached.iter().for_each(|reached| is_as_palisade_says(reached, &id, &at));
            for reached in &reached {
                assert_eq!(header_values(reached, "authorization"), self.credential, "{at}");
            }
            let record = eventually("the record", async || {
                Ok(self
                    .palisade
                    .decisions()?
                    .into_iter()
                    .skip(before)
                    .find(|record| record.id.to_string() == id))
            })
            .await
            .unwrap();
            let mut record = serde_json::to_value(record).unwrap();
            OWN_FIELDS.iter().for_each(|own| drop(record.as_object_mut().unwrap().remove(*own)));
            match &first {
                Some(first) => assert_eq!(&(record, challenge), first, "{at}"),
                None => first = Some((record, challenge)),
            }
        }
        first.unwrap()
    }
}

/// What no upstream gets from a client.
const NOT_FOR_UPSTREAMS: [&str; 11] = [
    "x-api-key",
    "x-api_key",
    "x_api-key",
    "x_api_key",
    "x-palisade-key",
    "x-palisade-decision-id",
    "x_palisade_subject",
    "x-palisade_subject",
    "x_palisade_decision-id",
    "x-http-method-override",
    "upgrade",
];

/// What reached the upstream: who it is for is Palisade's word alone.
fn is_as_palisade_says(reached: &Value, decision: &str, at: &str) {
    assert_eq!(header_values(reached, "x-palisade-subject"), ["User::\"corp/bob\""], "{at}");
    assert_eq!(header_values(reached, "x-palisade-decision"), [decision], "{at}");
    for name in NOT_FOR_UPSTREAMS {
        assert_eq!(header_values(reached, name), [""; 0], "{at}: {name}");
    }
}

struct Request<'a> {
    method: Method,
    path: &'a str,
    token: Option<&'a str>,
    headers: &'a [(&'a str, &'a str)],
    body: String,
    expected: u16,
    reaches: bool,
}

impl Request<'_> {
    async fn send(&self, front: &Front) -> Response {
        self.send_to(front, HOST).await
    }

    async fn send_to(&self, front: &Front, host: &str) -> Response {
        let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(10));
        let client = client.local_address(CLIENT).build().unwrap();
        let mut request = client.request(self.method.clone(), front.url(self.path)).header("host", host);
        if let Some(token) = self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        request.body(self.body.clone()).send().await.unwrap()
    }
}

/// A request of the HTTP API. Its upstream knows no such path: 404 is the upstream's own answer.
fn order<'a>(method: Method, path: &'a str, token: &'a str, expected: u16) -> Request<'a> {
    let reaches = expected == 404;
    Request { method, path, token: Some(token), headers: &[], body: String::new(), expected, reaches }
}

/// A tool call.
fn call<'a>(tool: &str, token: &'a str, expected: u16) -> Request<'a> {
    let headers: &[_] =
        &[("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    let body = stories::call(tool, &json!({"path": "/a"}));
    let reaches = expected == 200;
    Request { method: Method::POST, path: "/files", token: Some(token), headers, body, expected, reaches }
}

fn key(pep: &str) -> String {
    format!("{pep}-0123456789abcdef0123456789abcdef")
}

fn configuration(files: &TempDir, issuer: &str, credential: &[&str]) -> String {
    let folder = files.path().display();
    let upstream_token = credential.first().map_or_else(String::new, |value| {
        std::fs::write(files.path().join("credential"), value).unwrap();
        format!(", upstream_token: {{static: {{header: Authorization, value: {{file: \"{folder}/credential\"}}}}}}")
    });
    std::fs::write(files.path().join("static"), STATIC).unwrap();
    let bob = |scope: &str| {
        format!(
            "static_tokens: {{header: x-api-key, tokens: {{bob: {{secrets: [{{file: \"{folder}/static\"}}], user: corp/bob, scopes: [\"{scope}\"]}}}}}}"
        )
    };
    let policies = files.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    std::fs::write(policies.join("p.cedar"), POLICY).unwrap();
    let mut peps = String::new();
    std::fs::write(files.path().join("edge"), key("edge")).unwrap();
    peps.push_str(&format!(
        "  edge: {{auth: {{key: {{file: \"{folder}/edge\"}}}}, surfaces: [ext_authz], resources: '*'}}\n"
    ));
    for (name, form) in
        [("nginx", "x_original"), ("haproxy", "x_original"), ("caddy", "x_forwarded"), ("envoy", "call")]
    {
        std::fs::write(files.path().join(name), key(name)).unwrap();
        peps.push_str(&format!(
            "  {name}: {{auth: {{key: {{file: \"{folder}/{name}\"}}}}, surfaces: [http_authz], resources: '*', request_from: {form}, \
             client_ip: {{x_forwarded_for: 1}}}}\n"
        ));
    }
    format!(
        "policies: {{path: \"{}\"}}\npeps:\n{peps}issuers:\n  corp: {{issuer: \"{issuer}\", network: {{private: true}}}}\ndefaults: \
         {{issuers: [corp], rate_limits: off{upstream_token}}}\nresources:\n  orders:\n    identifier: https://{HOST}/orders\n    kind: http\n    {}\n    routes: [\"/orders\", \
         \"/orders/{{id}}\"]\n    scopes: {{initial: [\"orders:read\"], step_up: [\"orders:read\", \"orders:write\"]}}\n  files:\n    \
         identifier: https://{HOST}/files\n    kind: mcp\n    {}\n    tools: {{catalog: \"{}\"}}\n    scopes: {{initial: [\"files:read\"], step_up: \
         [\"files:read\", \"files:delete\"]}}\n",
        policies.display(),
        bob("orders:read"),
        bob("files:read"),
        palisade_tests::components::repository().join("policies/five-tools/tools.json").display(),
    )
}

const ORDERS_STEP_UP: &str = "Bearer error=\"insufficient_scope\", error_description=\"the token lacks scopes for this\", \
     scope=\"orders:read orders:write\", \
     resource_metadata=\"https://api.example.com/.well-known/oauth-protected-resource/orders\"";

#[tokio::test(flavor = "multi_thread")]
async fn every_proxy_gives_the_same_answer_and_leaves_the_same_record() {
    let Some(site) = Site::start().await else { return };
    let read = site.token("orders", "orders:read").await;

    let permitted = order(Method::GET, "/orders/7?expand=items", &read, 404);
    let (record, challenge) = site.ask(&site.orders, &permitted).await;
    assert_eq!(record["decision"], "permit");
    assert_eq!(record["action"], "Http::Action::\"GET\"");
    assert_eq!(record["target"], "Http::Route::\"orders/orders/{id}\"");
    assert_eq!(record["client_ip"], CLIENT.to_string());
    assert_eq!(challenge, None);

    let (record, challenge) = site.ask(&site.orders, &order(Method::DELETE, "/orders/7", &read, 403)).await;
    assert_eq!((&record["decision"], &record["reason"]), (&json!("deny"), &json!("no_permit")));
    assert_eq!(challenge, None);

    let (record, challenge) = site.ask(&site.orders, &order(Method::PUT, "/orders/7", &read, 403)).await;
    assert_eq!(
        (&record["decision"], &record["missing_scopes"]),
        (&json!("step_up"), &json!(["orders:write"]))
    );
    assert_eq!(challenge.as_deref(), Some(ORDERS_STEP_UP));

    // A path that two readers could take differently is refused as it came; Envoy has given it one spelling before.
    let odd = order(Method::GET, "/orders/%61", &read, 400);
    for front in site.orders.iter().skip(2) {
        assert_eq!(odd.send(front).await.status(), odd.expected, "{}", front.name());
    }
    // Nobody has a token yet: all are told where to get one, once.
    for front in &site.orders {
        let answer = Request { token: None, ..order(Method::GET, "/orders/7", "", 401) }.send(front).await;
        assert_eq!(answer.status(), 401, "{}", front.name());
        let challenges: Vec<_> = answer.headers().get_all("www-authenticate").iter().collect();
        assert_eq!(challenges.len(), 1, "{}", front.name());
        assert!(challenges[0].to_str().unwrap().starts_with("Bearer scope=\"orders:read\""));
        let document = reqwest::get(front.url("/.well-known/oauth-protected-resource/orders")).await.unwrap();
        assert_eq!(document.status(), 200, "{}", front.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_of_the_upstreams_own_takes_the_place_of_the_clients_behind_every_proxy() {
    let Some(site) = Site::start_with(&["Bearer of-the-upstream"]).await else { return };
    let read = site.token("orders", "orders:read").await;
    site.ask(&site.orders, &order(Method::GET, "/orders/7", &read, 404)).await;
    let read = site.token("files", "files:read").await;
    site.ask(&site.files, &call("list_files", &read, 200)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_token_ends_at_every_proxy() {
    let Some(site) = Site::start().await else { return };
    for (fronts, request) in [
        (&site.orders, order(Method::GET, "/orders/7", "", 404)),
        (&site.orders, order(Method::DELETE, "/orders/7", "", 403)),
        (&site.files, call("list_files", "", 200)),
    ] {
        let headers = [request.headers, &[("x-api-key", STATIC)]].concat();
        let (record, _) = site.ask(fronts, &Request { token: None, headers: &headers, ..request }).await;
        assert_eq!(record["token_id"], "static:bob");
    }
    // Beside another credential it ends, too, however it is spelt and as often as it comes: for upstreams that take `_` for `-`.
    let (read, files) = (site.token("orders", "orders:read").await, site.token("files", "files:read").await);
    let spelt = ["x_api_key", "x_api-key", "x-api_key", "X_Api-Key", "x_API_key"].map(|name| (name, STATIC));
    for (fronts, request) in [
        (&site.orders, order(Method::GET, "/orders/7", &read, 404)),
        (&site.files, call("list_files", &files, 200)),
    ] {
        let headers = [request.headers, &spelt].concat();
        let (record, _) = site.ask(fronts, &Request { headers: &headers, ..request }).await;
        assert_ne!(record["token_id"], "static:bob");
    }
    // Twice under its own name it is two credentials, and gets nobody anywhere.
    let doubled = [("x-api-key", STATIC), ("X-API-Key", STATIC)];
    for front in &site.orders {
        site.upstream.forget_requests().await.unwrap();
        let request = Request { token: None, headers: &doubled, ..order(Method::GET, "/orders/7", "", 400) };
        // Some proxies make one field of both, which is nobody's token.
        let status = request.send(front).await.status().as_u16();
        assert!([400, 401].contains(&status), "{}: {status}", front.name());
        assert_eq!(site.upstream.requests().await.unwrap(), [Value::Null; 0], "{}", front.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_decided_on_where_the_proxy_passes_the_body() {
    let Some(site) = Site::start().await else { return };
    let read = site.token("files", "files:read").await;

    let (record, _) = site.ask(&site.files, &call("list_files", &read, 200)).await;
    assert_eq!((&record["decision"], &record["client_ip"]), (&json!("permit"), &json!(CLIENT.to_string())));
    assert_eq!(record["target"], "Mcp::Tool::\"files/list_files\"");
    let (record, _) = site.ask(&site.files, &call("system_status", &read, 403)).await;
    assert_eq!(record["reason"], "no_permit");
    let (record, challenge) = site.ask(&site.files, &call("delete_file", &read, 403)).await;
    assert_eq!(
        (&record["decision"], &record["missing_scopes"]),
        (&json!("step_up"), &json!(["files:delete"]))
    );
    assert!(challenge.unwrap().contains("scope=\"files:delete files:read\""));

    // What is larger than `limits.body` decides nothing, and does not get through.
    site.upstream.forget_requests().await.unwrap();
    let large = Request {
        body: format!("{}{}", call("list_files", &read, 0).body, " ".repeat(70_000)),
        ..call("list_files", &read, 413)
    };
    for front in &site.files {
        assert_eq!(large.send(front).await.status(), large.expected, "{}", front.name());
    }
    assert_eq!(site.upstream.requests().await.unwrap(), [Value::Null; 0]);
}

/// A client that says in headers what only a proxy may say.
const SPOOFED: [(&str, &str); 24] = [
    ("x-original-method", "GET"),
    ("x-original-proto", "https"),
    ("x-original-host", "other.example.com"),
    ("x-original-uri", "/orders"),
    ("x-original-url", "https://api.example.com/orders"),
    ("x-rewrite-url", "/orders"),
    ("x-forwarded-method", "GET"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "other.example.com"),
    ("x-forwarded-uri", "/orders"),
    ("x-forwarded-for", "203.0.113.9"),
    ("forwarded", "for=203.0.113.9;host=other.example.com"),
    ("x-real-ip", "203.0.113.9"),
    ("x-palisade-key", "the key of nobody, which is long enough"),
    ("x-palisade-subject", "User::\"corp/root\""),
    ("x_palisade_subject", "User::\"corp/root\""),
    ("x-palisade_subject", "User::\"corp/root\""),
    ("x-http-method-override", "DELETE"),
    ("x-envoy-auth-partial-body", "false"),
    ("x-palisade-decision-id", "1"),
    ("x_palisade_decision-id", "1"),
    // A proxy takes out what this names, and passes an upgrade on that it names.
    (
        "connection",
        "upgrade, http2-settings, x-palisade-subject, x-palisade-scopes, x-palisade-decision, x-palisade-key",
    ),
    ("upgrade", "h2c"),
    ("http2-settings", "AAMAAABkAAQAAP__"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_says_in_a_proxys_name_changes_nothing() {
    let Some(site) = Site::start().await else { return };
    let (read, files) = (site.token("orders", "orders:read").await, site.token("files", "files:read").await);
    for (fronts, honest) in [
        (&site.orders, order(Method::GET, "/orders/7", &read, 404)),
        (&site.orders, order(Method::DELETE, "/orders/7", &read, 403)),
        (&site.files, call("list_files", &files, 200)),
        (&site.files, call("system_status", &files, 403)),
    ] {
        let (expected, _) = site.ask(fronts, &honest).await;
        let headers = [honest.headers, &SPOOFED].concat();
        let (spoofed, _) = site.ask(fronts, &Request { headers: &headers, ..honest }).await;
        assert_eq!(spoofed, expected);
        assert_eq!(spoofed["client_ip"], CLIENT.to_string());
    }
    no_override_of_the_method_passes(&site, &read).await;
    caddy_writes_the_fields_of_a_websocket_anew(&site, &read).await;
    haproxy_refuses_a_list_of_hosts(&site, &read, &files).await;
    // Who comes without a proxy is `local`, which is believed in none of these.
    let direct = |headers: &[(&str, &str)]| {
        let url = format!("http://127.0.0.1:{}/authz/orders", site.palisade.decision);
        let request = reqwest::Client::new().get(url).bearer_auth(&read);
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    };
    for prefix in ["x-original", "x-forwarded"] {
        let [method, proto, host, uri] =
            ["method", "proto", "host", "uri"].map(|part| format!("{prefix}-{part}"));
        let told = [(method.as_str(), "GET"), (&proto, "https"), (&host, HOST), (&uri, "/orders/7")];
        assert_eq!(direct(&told).send().await.unwrap().status(), 400, "{prefix}");
    }
}

/// An upstream may take `_` for `-` where it takes the method from a header field.
async fn no_override_of_the_method_passes(site: &Site, read: &str) {
    let overrides =
        ["x_http_method_override", "x-http_method-override", "x_http-method", "x_method_override"];
    let headers = overrides.map(|name| (name, "DELETE"));
    for front in site.orders.iter().filter(|front| matches!(front, Front::Debian(..))) {
        site.upstream.forget_requests().await.unwrap();
        let request = Request { headers: &headers, ..order(Method::GET, "/orders/7", read, 404) };
        assert_eq!(request.send(front).await.status(), 404, "{}", front.name());
        let reached = site.upstream.requests().await.unwrap();
        assert_eq!(reached.len(), 1, "{}", front.name());
        for name in overrides {
            assert_eq!(header_values(&reached[0], name), [""; 0], "{}: {name}", front.name());
        }
    }
}

async fn caddy_writes_the_fields_of_a_websocket_anew(site: &Site, read: &str) {
    let websocket = [
        ("connection", "keep-alive, Upgrade, X-Palisade-Subject"),
        ("upgrade", "WebSocket"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
    ];
    for front in site.orders.iter().filter(|front| front.name() == "caddy") {
        site.upstream.forget_requests().await.unwrap();
        let request = Request { headers: &websocket, ..order(Method::GET, "/orders/7", read, 404) };
        assert_eq!(request.send(front).await.status(), 404);
        let reached = site.upstream.requests().await.unwrap();
        assert_eq!(header_values(&reached[0], "upgrade"), ["websocket"]);
        assert_eq!(header_values(&reached[0], "connection"), ["Upgrade"]);
        assert_eq!(header_values(&reached[0], "http2-settings"), [""; 0]);
        assert_eq!(header_values(&reached[0], "x-palisade-subject"), ["User::\"corp/bob\""]);
    }
}

/// It would ask about the last of them, and send the upstream all.
async fn haproxy_refuses_a_list_of_hosts(site: &Site, read: &str, files: &str) {
    site.upstream.forget_requests().await.unwrap();
    for request in [order(Method::GET, "/orders/7", read, 400), call("list_files", files, 400)] {
        let fronts = if request.path == "/files" { &site.files } else { &site.orders };
        for front in fronts.iter().filter(|front| front.name() == "haproxy") {
            let answer = request.send_to(front, "other.example.com, api.example.com").await;
            assert_eq!(answer.status(), request.expected, "{}", request.path);
        }
    }
    assert_eq!(site.upstream.requests().await.unwrap(), [Value::Null; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_proxy_refuses_while_palisade_does_not_answer() {
    let Some(mut site) = Site::start().await else { return };
    let (read, files) = (site.token("orders", "orders:read").await, site.token("files", "files:read").await);
    let (get, list) = (order(Method::GET, "/orders/7", &read, 404), call("list_files", &files, 200));
    site.ask(&site.orders, &get).await;
    site.ask(&site.files, &list).await;
    site.upstream.forget_requests().await.unwrap();
    for hangs in [true, false] {
        if hangs {
            site.palisade.process().unwrap().signal("STOP").unwrap();
        } else {
            site.palisade.kill().unwrap();
        }
        let all = site.orders.iter().map(|front| (front, &get));
        for (front, request) in all.chain(site.files.iter().map(|front| (front, &list))) {
            let started = std::time::Instant::now();
            let status = request.send(front).await.status();
            assert!(status.is_server_error(), "{}: {status}", front.name());
            assert!(started.elapsed().as_secs() < 5, "{} took {:?}", front.name(), started.elapsed());
        }
    }
    assert_eq!(site.upstream.requests().await.unwrap(), [Value::Null; 0]);
}
