//! Rate limits, as clients meet them: through a real Envoy, by the gateway, and two replicas that count together by a real Redis.

use std::fs;
use std::time::Duration;

use palisade_audit::{DecisionRecord, Outcome};
use palisade_proto::ext_mcp::{
    McpHeader, McpRequest, authorization_error::Code, ext_mcp_client::ExtMcpClient,
    mcp_request_result::Result as On,
};
use palisade_tests::components::{
    Envoy, EnvoyPorts, EnvoySample, McpServer, OidcProvider, Redis, eventually, free_port,
};
use palisade_tests::service::Palisade;
use serde_json::{Value, json};
use tempfile::TempDir;

const POLICY: &str = "@id(\"all\") permit (principal is User, action, resource in Mcp::Server::\"files\");\n";
const FILES: &str = "https://mcp.example.com/files";
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A service with one MCP server, and its files.
struct Limited {
    palisade: Palisade,
    provider: OidcProvider,
    folder: TempDir,
}

/// The least of a configuration, with these keys of the resource and these sections.
fn configuration(folder: &TempDir, issuer: &str, keys: &str, sections: &str) -> String {
    fs::create_dir_all(folder.path().join("policies")).unwrap();
    fs::write(folder.path().join("policies/p.cedar"), POLICY).unwrap();
    format!(
        "policies: {{path: \"{}\"}}\nissuers: {{corp: {{issuer: \"{issuer}\", leeway: 1s, network: {{private: true}}}}}}\nlimits: {{deadline: 2s}}\n\
         resources:\n  files: {{identifier: {FILES}, kind: mcp, issuers: [corp]{keys}}}\n{sections}",
        folder.path().join("policies").display(),
    )
}

impl Limited {
    async fn start(keys: &str) -> Self {
        let (provider, folder) = (OidcProvider::start().await.unwrap(), tempfile::tempdir().unwrap());
        let text = configuration(&folder, provider.issuer(), keys, "");
        let palisade = Palisade::start(&text, "").await.unwrap();
        palisade.wait_for_readiness(200).await.unwrap();
        Self { palisade, provider, folder }
    }

    async fn token(&self, user: &str) -> String {
        self.provider.token(user, FILES, "").await.unwrap()
    }
}

/// A request, of a call to a tool that says what it is told.
pub(super) fn message(method: &str) -> Value {
    numbered(method, 1)
}

/// The same with an id of its own, as the requests of a batch need.
pub(super) fn numbered(method: &str, id: u32) -> Value {
    let params = if method == "tools/call" {
        json!({"name": "echo", "arguments": {"message": "hi"}})
    } else {
        json!({})
    };
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

/// Sends a message, and gives back the status and `Retry-After`.
async fn send(url: &str, token: Option<&str>, body: &Value) -> (u16, Option<u64>) {
    let request = reqwest::Client::new().post(url).header("content-type", "application/json");
    let request = request.header("accept", "application/json, text/event-stream");
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let answer = request.body(body.to_string()).send().await.unwrap();
    let after = answer.headers().get("retry-after").map(|after| after.to_str().unwrap().parse().unwrap());
    (answer.status().as_u16(), after)
}

async fn behind_envoy(limited: &Limited, upstream: &McpServer) -> (Envoy, String) {
    let (decision, public) = (limited.palisade.decision, limited.palisade.public);
    let ports = EnvoyPorts { decision, public, upstream: upstream.port() };
    let envoy = Envoy::start(&EnvoySample::ExtAuthz.fill("files", ports).unwrap()).await.unwrap();
    let url = envoy.url("/files");
    (envoy, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hundred_and_first_call_of_a_minute_is_told_to_come_back() {
    let limited = Limited::start("").await;
    let upstream = McpServer::start_with_sample_tools().await.unwrap();
    let (_envoy, url) = behind_envoy(&limited, &upstream).await;
    let alice = limited.token("alice").await;
    let batch = Value::Array((0..50).map(|id| numbered("tools/call", id)).collect());
    let first = send(&url, Some(&alice), &batch).await;
    assert_ne!(first.0, 429);
    for call in 50..100 {
        assert_eq!(send(&url, Some(&alice), &message("tools/call")).await.0, 200, "call {call}");
    }
    let (status, after) = send(&url, Some(&alice), &message("tools/call")).await;
    assert_eq!(status, 429);
    assert!((1..=63).contains(&after.unwrap()), "{after:?}");
    // Reads have a budget of their own, and so has everybody else, by another client.
    assert_eq!(send(&url, Some(&alice), &message("tools/list")).await.0, 200);

    let records = limited.palisade.decisions().unwrap();
    let record = records.iter().find(|record| record.reason.as_str() == "rate_limited").unwrap();
    assert_eq!(record.principal.as_deref(), Some("User::\"corp/alice\""));
    assert_eq!(record.target.as_deref(), Some("Mcp::Tool::\"files/echo\""));
    let metrics = limited.palisade.admin("/metrics").await.unwrap();
    let hit = metrics.lines().find(|line| line.starts_with("mcp_rate_limit_hit_total")).unwrap();
    assert!(
        hit.contains("limit=\"subject\"") && hit.contains("resource=\"files\"") && hit.ends_with(" 1"),
        "{hit}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn five_bad_tokens_block_an_address_and_expired_or_absent_ones_do_not() {
    let limited = Limited::start(", rate_limits: {failed_authentication: {block: 4s}}").await;
    let upstream = McpServer::start_with_sample_tools().await.unwrap();
    let (_envoy, url) = behind_envoy(&limited, &upstream).await;
    let (list, alice) = (message("tools/list"), limited.token("alice").await);
    limited.provider.set(&json!({"token_ttl_s": 1})).await.unwrap();
    let expired = limited.token("alice").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    for _ in 0..8 {
        assert_eq!(send(&url, None, &list).await.0, 401);
        assert_eq!(send(&url, Some(&expired), &list).await.0, 401);
    }
    assert_eq!(send(&url, Some(&alice), &list).await.0, 200);
    let forged = format!("{}.AAAA", alice.rsplit_once('.').unwrap().0);
    for _ in 0..5 {
        assert_eq!(send(&url, Some(&forged), &list).await.0, 401);
    }
    for token in [Some(forged.as_str()), Some(alice.as_str()), None] {
        let (status, after) = send(&url, token, &list).await;
        assert_eq!(status, 429);
        assert!((1..=4).contains(&after.unwrap()), "{after:?}");
    }
    let back = async || Ok((send(&url, Some(&alice), &list).await.0 == 200).then_some(()));
    eventually("the end of the block", back).await.unwrap();
    let records = limited.palisade.decisions().unwrap();
    assert!(
        records.iter().any(|record| record.reason.as_str() == "rate_limited" && record.principal.is_none())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_http_check_tells_it_too_and_a_reload_forgets_nothing() {
    let limited = Limited::start(", rate_limits: {subject: {calls: 2}}").await;
    let url = format!("http://127.0.0.1:{}/authz/files/files", limited.palisade.decision);
    let alice = limited.token("alice").await;
    for status in [200, 200, 429] {
        assert_eq!(send(&url, Some(&alice), &message("tools/call")).await.0, status);
    }
    let revision = async || limited.palisade.wait_for_readiness(200).await.unwrap()["revision"].clone();
    let before = revision().await;
    fs::write(
        limited.folder.path().join("policies/q.cedar"),
        "@id(\"q\") permit (principal, action, resource);\n",
    )
    .unwrap();
    let reloaded = async || Ok((revision().await != before).then_some(()));
    eventually("the reload", reloaded).await.unwrap();
    let (status, after) = send(&url, Some(&alice), &message("tools/call")).await;
    assert!(status == 429 && after.is_some());
}

/// What AuthZEN, `ExtMcp` and the gateway say to a call: the status, and when to come back.
struct Entries {
    palisade: Palisade,
    gateway: String,
}

impl Entries {
    async fn start(provider: &OidcProvider, upstream: &McpServer, folder: &TempDir) -> Self {
        let key = folder.path().join("pep.key");
        fs::write(&key, KEY).unwrap();
        let port = free_port().unwrap();
        let gateway = format!("http://127.0.0.1:{port}/files");
        let keys = format!(
            ", match: [{{host: \"127.0.0.1:{port}\", path: /files}}, {{service: files}}], rate_limits: {{subject: {{calls: 2}}, client: off}}"
        );
        let sections = format!(
            "gateway: {{address: \"127.0.0.1:{port}\", upstreams: {{files: {{url: \"{}\"}}}}}}\npeps: {{app: {{auth: {{key: {{file: {}}}}}, \
             surfaces: [authzen, ext_mcp], resources: [files], assert: [User]}}}}\n",
            upstream.url(),
            key.display(),
        );
        let text = configuration(folder, provider.issuer(), &keys, &sections);
        let palisade = Palisade::start(&text, "").await.unwrap();
        palisade.wait_for_readiness(200).await.unwrap();
        Self { palisade, gateway }
    }

    async fn by_authzen(&self) -> (u16, Option<u64>) {
        let body = json!({ "subject": { "type": "User", "id": "corp/alice" }, "action": { "name": "tools/call",
            "properties": { "message": "hi" } }, "resource": { "type": "Mcp::Tool", "id": "files/echo" } });
        let url = format!("http://127.0.0.1:{}/access/v1/evaluation", self.palisade.decision);
        let request = reqwest::Client::new().post(url).header("content-type", "application/json");
        let request = request.header("x-palisade-key", KEY).body(body.to_string());
        let answer = request.send().await.unwrap();
        let after = answer.headers().get("retry-after").map(|after| after.to_str().unwrap().parse().unwrap());
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        // A limit is no decision: a caller cannot take it for a denial by the policies.
        let permits = status == 200 && serde_json::from_str::<Value>(&text).unwrap()["decision"] == true;
        assert!(permits || status == 429, "{status} {text}");
        (status, after)
    }

    async fn by_ext_mcp(&self, token: &str) -> (u16, Option<u64>) {
        let header =
            McpHeader { key: "authorization".to_owned(), value: format!("Bearer {token}").into_bytes() };
        let call = McpRequest {
            service_names: vec!["files".to_owned()],
            method: "tools/call".to_owned(),
            metadata_context: None,
            mcp_request: Some(message("tools/call")["params"].to_string().into_bytes()),
            headers: vec![header],
        };
        let mut request = tonic::Request::new(call);
        request.metadata_mut().insert("authorization", format!("Bearer {KEY}").parse().unwrap());
        let endpoint = format!("http://127.0.0.1:{}", self.palisade.decision);
        let mut client = ExtMcpClient::connect(endpoint).await.unwrap();
        match client.check_request(request).await.unwrap().into_inner().result {
            Some(On::Pass(_)) => (200, None),
            Some(On::Error(error)) => {
                assert_eq!(error.code(), Code::ResourceExhausted, "{error:?}");
                let error: Value = serde_json::from_slice(&error.mcp_error.unwrap()).unwrap();
                (
                    u16::try_from(error["code"].as_u64().unwrap()).unwrap(),
                    error["data"]["retry_after"].as_u64(),
                )
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_entry_tells_who_asks_too_much_when_to_come_back_and_records_it() {
    let (provider, folder) = (OidcProvider::start().await.unwrap(), tempfile::tempdir().unwrap());
    let upstream = McpServer::start_with_sample_tools().await.unwrap();
    let entries = Entries::start(&provider, &upstream, &folder).await;
    let alice = provider.token("alice", FILES, "").await.unwrap();
    for (surface, expected) in ["authzen", "ext_mcp", "gateway"].into_iter().flat_map(|surface| {
        // Each counts for itself.
        [200, 200, 429].map(|expected| (surface, expected))
    }) {
        let (status, after) = match surface {
            "authzen" => entries.by_authzen().await,
            "ext_mcp" => entries.by_ext_mcp(&alice).await,
            _ => send(&entries.gateway, Some(&alice), &message("tools/call")).await,
        };
        assert_eq!(status, expected, "{surface}");
        if expected == 429 {
            assert!((1..=63).contains(&after.unwrap()), "{surface}: {after:?}");
            let records = entries.palisade.decisions().unwrap();
            let limited = |record: &&DecisionRecord| {
                record.reason.as_str() == "rate_limited"
                    && record.surface.is_some_and(|entry| entry.as_str() == surface)
            };
            let record = records.iter().find(limited).expect(surface);
            assert_eq!(record.decision, Outcome::Deny);
            assert_eq!(record.principal.as_deref(), Some("User::\"corp/alice\""));
            assert_eq!(record.target.as_deref(), Some("Mcp::Tool::\"files/echo\""));
        }
    }
    // What was told to come back has not reached the server.
    assert_eq!(upstream.requests().await.unwrap().len(), 2);
}

/// Two replicas that count together, each with its files in a folder of its own.
struct Replicas {
    redis: Redis,
    provider: OidcProvider,
    all: Vec<(Palisade, TempDir)>,
}

impl Replicas {
    async fn start(keys: &str) -> Option<Self> {
        if let Some(why) = Redis::skipped().unwrap() {
            println!("skipped: {why}");
            return None;
        }
        let (provider, redis) = (OidcProvider::start().await.unwrap(), Redis::start().await.unwrap());
        let mut all = Vec::new();
        for _ in 0..2 {
            let folder = tempfile::tempdir().unwrap();
            let file = |name: &str, text: &str| {
                let path = folder.path().join(name);
                fs::write(&path, text).unwrap();
                format!("{{file: \"{}\"}}", path.display())
            };
            let (url, key) = (file("url", &redis.url()), file("key", &"07".repeat(32)));
            let pep = file("pep.key", &"k".repeat(32));
            let sections = format!(
                "rate_limit_store: {{redis: {{url: {url}, keys: [{key}]}}}}\npeps: {{proxy: {{auth: {{key: {pep}}}, surfaces: \
                 [http_authz], resources: '*', client_ip: {{x_forwarded_for: 1}}}}}}\n"
            );
            let text = configuration(&folder, provider.issuer(), keys, &sections);
            let palisade = Palisade::start(&text, "").await.unwrap();
            palisade.wait_for_readiness(200).await.unwrap();
            all.push((palisade, folder));
        }
        Some(Self { redis, provider, all })
    }

    /// What a replica says to a call.
    async fn ask(&self, replica: usize, token: &str, address: &str) -> u16 {
        let url = format!("http://127.0.0.1:{}/authz/files/files", self.all[replica].0.decision);
        let request = reqwest::Client::new().post(url).header("content-type", "application/json");
        let request = request.header("x-palisade-key", "k".repeat(32)).header("x-forwarded-for", address);
        let request = request.bearer_auth(token).body(message("tools/call").to_string());
        request.send().await.unwrap().status().as_u16()
    }

    async fn token(&self, user: &str) -> String {
        self.provider.token(user, FILES, "").await.unwrap()
    }

    /// Each replica lets the ten calls of the budget by, and no more, and takes its time for none.
    async fn each_counts_for_itself(&self, token: &str) {
        let began = tokio::time::Instant::now();
        for replica in 0..2 {
            let mut said = Vec::new();
            for _ in 0..12 {
                said.push(self.ask(replica, token, "192.0.2.1").await);
            }
            assert_eq!(said, [[200; 10].as_slice(), &[429; 2]].concat(), "replica {replica}");
        }
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_count_together_and_each_for_itself_while_redis_is_gone() {
    let Some(mut replicas) = Replicas::start(", rate_limits: {subject: {calls: 10}, client: off}").await
    else {
        return;
    };
    let alice = replicas.token("alice").await;
    let mut said = Vec::new();
    for call in 0..12 {
        said.push(replicas.ask(call % 2, &alice, "192.0.2.1").await);
    }
    assert_eq!(said, [[200; 10].as_slice(), &[429; 2]].concat());
    // What lies there says nobody's name, and ends by itself.
    for key in replicas.redis.ask(&[b"KEYS", b"*"]).await.unwrap() {
        let name = String::from_utf8(key.clone()).unwrap();
        assert!(name.starts_with("palisade:limits:") && !name.contains("alice"), "{name}");
        let lives = String::from_utf8(replicas.redis.ask(&[b"PTTL", &key]).await.unwrap().remove(0)).unwrap();
        let lives: u64 = lives.strip_prefix(':').unwrap().parse().unwrap();
        assert!(lives > 0 && lives <= 63_000, "{lives}");
    }

    // While it stands still nobody is unlimited, and only those wait who find that out.
    let (bob, carol) = (replicas.token("bob").await, replicas.token("carol").await);
    replicas.redis.process().signal("STOP").unwrap();
    replicas.each_counts_for_itself(&carol).await;
    replicas.redis.process().signal("CONT").unwrap();
    // Nor while it is gone.
    replicas.redis.kill().unwrap();
    replicas.each_counts_for_itself(&bob).await;
    let metrics = replicas.all[0].0.admin("/metrics").await.unwrap();
    assert!(
        metrics
            .lines()
            .any(|line| line.starts_with("palisade_rate_limit_store_total") && line.contains("failed"))
    );

    replicas.redis.restart().await.unwrap();
    let together = async || {
        let dave = replicas.token("carol").await;
        let keys = replicas.redis.ask(&[b"KEYS", b"*"]).await?.len();
        replicas.ask(1, &dave, "192.0.2.1").await;
        Ok((replicas.redis.ask(&[b"KEYS", b"*"]).await?.len() > keys).then_some(()))
    };
    eventually("the replicas to count together again", together).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_one_replica_blocks_is_blocked_by_the_other() {
    let Some(replicas) = Replicas::start("").await else { return };
    let alice = replicas.token("alice").await;
    let forged = format!("{}.AAAA", alice.rsplit_once('.').unwrap().0);
    for attempt in 0..5 {
        assert_eq!(replicas.ask(attempt % 2, &forged, "192.0.2.9").await, 401);
    }
    for replica in 0..2 {
        assert_eq!(replicas.ask(replica, &alice, "192.0.2.9").await, 429, "replica {replica}");
        assert_eq!(replicas.ask(replica, &alice, "192.0.2.8").await, 200, "replica {replica}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_write_there_makes_nobody_unlimited() {
    let Some(replicas) = Replicas::start(", rate_limits: {subject: {calls: 5}, client: off}").await else {
        return;
    };
    let alice = replicas.token("alice").await;
    assert_eq!(replicas.ask(0, &alice, "192.0.2.1").await, 200);
    let key = replicas.redis.ask(&[b"KEYS", b"*"]).await.unwrap().remove(0);
    for value in [&[b"SET".as_slice(), &key, b"x"][..], &[b"HSET", &key, b"a", b"b"]] {
        replicas.redis.ask(&[b"DEL", &key]).await.unwrap();
        replicas.redis.ask(value).await.unwrap();
        let mut said = Vec::new();
        for _ in 0..7 {
            said.push(replicas.ask(0, &alice, "192.0.2.1").await);
        }
        assert_eq!(said.last(), Some(&429), "{said:?}");
    }
}
