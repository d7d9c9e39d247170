//! Token exchange: client, Envoy, Palisade, a provider that does RFC 8693, and an upstream that sees what reaches it.

use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use palisade_audit::{DecisionRecord, ExchangeSource};
use palisade_model::Reason;
use palisade_proto::v1::{ExchangeRequest, ExchangeResponse, Outcome, tokens_client::TokensClient};
use palisade_tests::components::{
    Envoy, EnvoyPorts, EnvoySample, McpServer, OidcProvider, eventually, header_values, with_key,
};
use palisade_tests::service::{Palisade, run};
use serde_json::{Value, json};
use tempfile::TempDir;

const FILES: &str = "https://mcp.example.com/files";
const LEDGER: &str = "https://ledger.example.com";
const ARCHIVE: &str = "https://archive.example.com";
const KEY: &str = "0123456789abcdef0123456789abcdef";
/// Of the proxy: whoever has no key is handed no tokens.
const EDGE: &str = "edge-0123456789abcdef0123456789abcdef";

/// Alice may have what she asks for; bob may read, and for at most a minute; carol nothing.
const POLICY: &str = r#"
@id("call") permit (principal is User, action in Mcp::Action::"tools/call", resource in Mcp::Server::"files");
@id("alice-exchanges")
permit (principal == User::"corp/alice", action == OAuth::Action::"exchange", resource == OAuth::Audience::"ledger")
when { context.requester == Client::"corp/gateway" && context.scopes.contains("files:read") };
@id("bob-reads")
permit (principal == User::"corp/bob", action == OAuth::Action::"exchange", resource == OAuth::Audience::"ledger")
when { ["ledger:read"].containsAll(context.requested_scopes) && context.requested_lifetime <= duration("1m") };
@id("further")
permit (principal is User, action == OAuth::Action::"exchange", resource == OAuth::Audience::"archive")
when { context.delegation_depth < 2 && context has actor && context.actor == Client::"corp/gateway" };
"#;

struct Chain {
    provider: OidcProvider,
    upstream: McpServer,
    palisade: Palisade,
    envoy: Envoy,
    _files: TempDir,
    /// The folder of the list of what is revoked: no file of a policy folder.
    lists: TempDir,
}

impl Chain {
    async fn start() -> Self {
        Self::start_with(json!({})).await
    }

    async fn start_with(exchange: Value) -> Self {
        let provider = OidcProvider::start().await.unwrap();
        let upstream = McpServer::start_with_sample_tools().await.unwrap();
        let (files, lists) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(lists.path().join("revoked.json"), "[]").unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(files.path().join(name), text).unwrap();
            files.path().join(name).display().to_string()
        };
        file("exchange.cedar", POLICY);
        let mut ledger = json!({
            "provider": "rfc8693",
            "client": {"id": "gateway", "secret": {"file": file("secret", "gateway-secret\n")}},
            "audience": LEDGER,
            "scopes": ["ledger:read", "ledger:write"],
            "timeout": "2s",
        });
        for (name, value) in exchange.as_object().unwrap() {
            ledger[name] = value.clone();
        }
        let configuration = json!({
            "policies": {"path": files.path()},
            "issuers": {"corp": {
                "issuer": provider.issuer(), "network": {"private": true},
                "revocations": {"file": lists.path().join("revoked.json")},
            }},
            "exchanges": {
                "ledger": ledger,
                "archive": {
                    "provider": "rfc8693", "audience": ARCHIVE, "scopes": ["archive:read"],
                    "client": {"id": "gateway", "secret": {"file": file("secret", "gateway-secret\n")}},
                },
            },
            "peps": {
                "adapter": {
                    "auth": {"key": {"file": file("key", KEY)}},
                    "surfaces": ["exchange"], "resources": "*", "exchange": ["ledger", "archive"],
                },
                "edge": {
                    "auth": {"key": {"file": file("edge", EDGE)}},
                    "surfaces": ["ext_authz"], "resources": ["files"],
                },
                "other": {
                    "auth": {"key": {"file": file("other", &KEY.replace('0', "1"))}},
                    "surfaces": ["exchange"], "resources": ["files"],
                },
            },
            "resources": {
                "files": {
                    "identifier": FILES, "kind": "mcp", "issuers": ["corp"],
                    "upstream_token": {"exchange": "ledger"},
                },
                "ledger": {"identifier": LEDGER, "kind": "mcp", "issuers": ["corp"]},
                "archive": {"identifier": ARCHIVE, "kind": "mcp", "issuers": ["corp"]},
            },
        });
        // JSON is YAML; what the harness puts before it are members of a mapping in block style.
        let members = configuration.as_object().unwrap().iter();
        let text: String = members.map(|(name, value)| format!("{name}: {value}\n")).collect();
        let palisade = Palisade::start(&text, "").await.unwrap();
        palisade.wait_for_readiness(200).await.unwrap();
        let ports =
            EnvoyPorts { decision: palisade.decision, public: palisade.public, upstream: upstream.port() };
        let sample = EnvoySample::ExtAuthz.fill("files", ports).unwrap();
        let patient = with_key(&sample, EDGE).unwrap().replace("timeout: 0.2s", "timeout: 2.5s");
        assert_ne!(sample, patient, "the sample has the timeout that the guide says to raise");
        let envoy = Envoy::start(&patient).await.unwrap();
        Self { provider, upstream, palisade, envoy, _files: files, lists }
    }

    /// Puts another list of what is revoked in its place, and waits until it is in force or refused.
    async fn revoke(&self, list: &str) -> Value {
        let reload =
            async || self.palisade.wait_for_readiness(200).await.map(|ready| ready["reload"].clone());
        let before = reload().await.unwrap();
        std::fs::write(self.lists.path().join("revoked.json"), list).unwrap();
        eventually("the list", async || Ok(Some(reload().await?).filter(|now| *now != before))).await.unwrap()
    }

    async fn token(&self, user: &str) -> String {
        self.provider.token(user, FILES, "files:read").await.unwrap()
    }

    async fn call(&self, token: &str) -> reqwest::Response {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {"message": "hi"}}});
        let request = reqwest::Client::new().post(self.envoy.url("/files")).bearer_auth(token);
        let request = request.header("accept", "application/json, text/event-stream");
        request.header("content-type", "application/json").body(call.to_string()).send().await.unwrap()
    }

    async fn exchange(&self, key: &str, asked: ExchangeRequest) -> ExchangeResponse {
        let address = format!("http://127.0.0.1:{}", self.palisade.decision);
        let mut tokens = TokensClient::connect(address).await.unwrap();
        let mut request = tonic::Request::new(asked);
        request.metadata_mut().insert("x-palisade-key", key.parse().unwrap());
        tokens.exchange(request).await.unwrap().into_inner()
    }

    /// The same so often at once, over some connections.
    async fn exchange_often(&self, asked: &ExchangeRequest, times: usize) -> Vec<ExchangeResponse> {
        let address = format!("http://127.0.0.1:{}", self.palisade.decision);
        let mut connections = Vec::new();
        for _ in 0..20 {
            connections.push(TokensClient::connect(address.clone()).await.unwrap());
        }
        let calls = (0..times).map(|number| {
            let mut tokens = connections[number % connections.len()].clone();
            let mut request = tonic::Request::new(asked.clone());
            request.metadata_mut().insert("x-palisade-key", KEY.parse().unwrap());
            async move { tokens.exchange(request).await.unwrap().into_inner() }
        });
        futures::future::join_all(calls).await
    }

    /// The claims of the token that reached the upstream last.
    async fn upstream_claims(&self) -> Value {
        let requests = self.upstream.requests().await.unwrap();
        let values = header_values(requests.last().unwrap(), "authorization");
        let [value] = &values[..] else { panic!("one credential: {values:?}") };
        claims(value.strip_prefix("Bearer ").unwrap())
    }

    fn last(&self) -> DecisionRecord {
        self.palisade.decisions().unwrap().pop().unwrap()
    }

    async fn token_requests(&self) -> u64 {
        self.provider.request_count("/token").await.unwrap()
    }
}

fn claims(token: &str) -> Value {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

fn asked(token: &str, scopes: &[&str]) -> ExchangeRequest {
    ExchangeRequest {
        resource: "files".to_owned(),
        token: token.to_owned(),
        exchange: "ledger".to_owned(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upstream_sees_a_token_of_its_own_for_the_same_subject() {
    let chain = Chain::start().await;
    let alice = chain.token("alice").await;
    assert_eq!(chain.call(&alice).await.status(), 200);
    let seen = chain.upstream_claims().await;
    assert_eq!((&seen["aud"], &seen["sub"]), (&json!(LEDGER), &json!("alice")));
    assert_eq!(seen["scope"], "ledger:read ledger:write");
    assert_eq!(seen["act"], json!({"sub": "gateway"}));

    let record = chain.last();
    assert_eq!(
        (record.reason, record.target.as_deref()),
        (Reason::Permitted, Some("Mcp::Tool::\"files/echo\""))
    );
    let exchange = record.exchange.unwrap();
    assert_eq!((exchange.reason, exchange.source), (Reason::Permitted, Some(ExchangeSource::Provider)));
    assert_eq!(exchange.token_id, Some(format!("jti:{}", seen["jti"].as_str().unwrap())));
    assert_eq!(exchange.actors, ["Client::\"corp/gateway\""]);
    assert_eq!(exchange.determining_policies[0].id, "alice-exchanges");

    // The same again is answered from what is in store, and asks nobody.
    let before = chain.token_requests().await;
    assert_eq!(chain.call(&alice).await.status(), 200);
    assert_eq!(chain.upstream_claims().await["jti"], seen["jti"]);
    assert_eq!(chain.token_requests().await, before);
    assert_eq!(chain.last().exchange.unwrap().source, Some(ExchangeSource::Cache));

    // Bob's is his own, and narrowed by the policies: to what he may, and for as long as he may.
    let bob = chain.token("bob").await;
    assert_eq!(chain.call(&bob).await.status(), 200);
    let seen = chain.upstream_claims().await;
    assert_eq!((&seen["sub"], &seen["scope"]), (&json!("bob"), &json!("ledger:read")));
    let exchange = chain.last().exchange.unwrap();
    assert_eq!(exchange.lifetime_s, Some(60));
    assert_eq!(
        exchange.requested_scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>(),
        ["ledger:read"]
    );

    // Carol may call and not exchange: nothing of hers reaches the upstream.
    chain.upstream.forget_requests().await.unwrap();
    let carol = chain.token("carol").await;
    let before = chain.token_requests().await;
    assert_eq!(chain.call(&carol).await.status(), 403);
    assert_eq!(chain.upstream.requests().await.unwrap().len(), 0);
    assert_eq!(chain.token_requests().await, before, "the policies come before the provider");
    assert_eq!(chain.last().reason, Reason::ExchangeRefused);

    // No text of a token is in the log, the metrics or what the service prints.
    let metrics = chain.palisade.admin("/metrics").await.unwrap();
    assert!(metrics.contains("mcp_obo_exchange_latency_ms") && metrics.contains("palisade_exchanges_total"));
    let log = serde_json::to_string(&chain.palisade.decisions().unwrap()).unwrap();
    for token in [&alice, &bob, &carol] {
        assert!(!log.contains(token.as_str()) && !metrics.contains(token.as_str()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_subject_is_served_nothing_that_is_in_store_and_is_served_again_once_nobody_revokes_her() {
    let chain = Chain::start().await;
    let (alice, bob) = (chain.token("alice").await, chain.token("bob").await);
    for token in [&alice, &bob] {
        assert_eq!(chain.call(token).await.status(), 200);
        assert_eq!(chain.call(token).await.status(), 200);
        assert_eq!(chain.last().exchange.unwrap().source, Some(ExchangeSource::Cache));
    }
    let first = chain.upstream_claims().await;
    let mut revision = chain.last().policy_revision;
    let session = claims(&alice)["jti"].as_str().unwrap().to_owned();
    for entry in [json!({"subject": "alice"}), json!({"token": session})] {
        chain.revoke(&json!([entry]).to_string()).await;
        chain.upstream.forget_requests().await.unwrap();
        let before = chain.token_requests().await;
        let refused = chain.call(&alice).await;
        assert_eq!(refused.status(), 401, "{entry}");
        let challenge = refused.headers()["www-authenticate"].to_str().unwrap().to_owned();
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        assert_eq!(chain.upstream.requests().await.unwrap().len(), 0, "{entry}");
        // What comes before a subject is known is counted, and one record a second.
        let newest = async || {
            let of_list = |record: &DecisionRecord| record.policy_revision == revision;
            Ok(chain.palisade.decisions()?.pop().filter(|record| !of_list(record)))
        };
        let record = eventually("the record", newest).await.unwrap();
        assert_eq!((record.reason, record.exchange), (Reason::TokenRevoked, None));
        assert!(record.detail.unwrap().contains("the list of issuer `corp`"), "{entry}");
        // By name, too; and nobody is asked.
        assert_eq!(chain.exchange(KEY, asked(&alice, &[])).await.reason, "token_revoked", "{entry}");
        assert_eq!(chain.token_requests().await, before, "{entry}");
        // What is in store of others is theirs all the same.
        assert_eq!(chain.call(&bob).await.status(), 200);
        revision = chain.last().policy_revision;
        assert_eq!(chain.last().exchange.unwrap().source, Some(ExchangeSource::Cache));
    }
    // What cannot be read is not taken: the list before it serves on, visibly.
    let refused = chain.revoke("[{\"subject\": \"alice\", \"befor\": 1}]").await;
    assert!(refused["error"].as_str().unwrap().contains("revoked.json: entry 1"), "{refused}");
    assert_eq!(chain.call(&alice).await.status(), 401);
    chain.revoke("[]").await;
    assert_eq!(chain.call(&alice).await.status(), 200);
    assert_eq!(chain.last().exchange.unwrap().source, Some(ExchangeSource::Cache));
    assert_eq!(chain.upstream_claims().await["aud"], first["aud"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn adapters_exchange_by_name_what_they_are_listed_for_and_no_more() {
    let chain = Chain::start().await;
    let alice = chain.token("alice").await;
    let answer = chain.exchange(KEY, asked(&alice, &["ledger:read"])).await;
    assert_eq!((answer.outcome(), answer.reason.as_str()), (Outcome::Permit, "permitted"));
    assert_eq!(answer.scopes, ["ledger:read"]);
    let issued = claims(answer.access_token.as_ref().unwrap());
    assert_eq!(
        (&issued["aud"], &issued["sub"], &issued["scope"]),
        (&json!(LEDGER), &json!("alice"), &json!("ledger:read"))
    );
    let record = chain.last();
    assert_eq!(record.action.as_deref(), Some("OAuth::Action::\"exchange\""));
    assert_eq!(record.target.as_deref(), Some("OAuth::Audience::\"ledger\""));
    assert_eq!(record.id.to_string(), answer.decision_id);

    // What was issued for another audience is no token of this resource: a deputy cannot have it exchanged once more.
    let other = chain.provider.token("alice", "https://other.example.com", "files:read").await.unwrap();
    let carol = chain.token("carol").await;
    let stranger = KEY.replace('0', "1");
    for (key, request, reason) in [
        (KEY, asked(&alice, &["ledger:admin"]), "exchange_refused"),
        (KEY, asked(&alice, &["a b"]), "request_malformed"),
        (KEY, asked(answer.access_token.as_ref().unwrap(), &[]), "token_audience_mismatch"),
        (KEY, asked(&other, &[]), "token_audience_mismatch"),
        (KEY, asked("", &[]), "token_malformed"),
        (KEY, asked(&carol, &[]), "no_permit"),
        (KEY, ExchangeRequest { exchange: "nothing".to_owned(), ..asked(&alice, &[]) }, "pep_not_allowed"),
        (&stranger, asked(&alice, &[]), "pep_not_allowed"),
        ("nobody", asked(&alice, &[]), "pep_unauthenticated"),
    ] {
        let told = chain.exchange(key, request).await;
        assert_eq!((told.outcome(), told.reason.as_str()), (Outcome::Deny, reason));
        assert_eq!(told.access_token, None);
    }
    let mut unnamed =
        TokensClient::connect(format!("http://127.0.0.1:{}", chain.palisade.decision)).await.unwrap();
    let told = unnamed.exchange(asked(&alice, &[])).await.unwrap().into_inner();
    assert_eq!(told.reason, "pep_not_allowed", "the unnamed caller exchanges nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_who_ask_the_same_at_once_cause_one_request_and_each_gets_its_token() {
    let chain = Chain::start_with(json!({"timeout": "20s"})).await;
    let audiences = json!({LEDGER: ["ledger:read", "ledger:write"]});
    chain.provider.set(&json!({"exchange": {"audiences": audiences, "delay_ms": 1500}})).await.unwrap();
    let alice = chain.token("alice").await;
    // Its signature is checked before, and by itself.
    let archive = ExchangeRequest { exchange: "archive".to_owned(), ..asked(&alice, &[]) };
    assert_eq!(chain.exchange(KEY, archive).await.reason, "no_permit");
    let before = chain.token_requests().await;
    let answers = chain.exchange_often(&asked(&alice, &[]), 1_000).await;
    let tokens: std::collections::BTreeSet<_> = answers
        .iter()
        .map(|answer| {
            assert_eq!(answer.reason, "permitted");
            answer.access_token.clone().unwrap()
        })
        .collect();
    assert_eq!((answers.len(), tokens.len(), chain.token_requests().await - before), (1_000, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_with_hundreds_of_calls_at_a_slow_provider_stops_nobody_else() {
    let chain = Chain::start_with(json!({"timeout": "20s"})).await;
    let users = ["alice", "bob"].map(|user| chain.token(user));
    let [alice, bob] = futures::future::join_all(users).await.try_into().unwrap();
    let first = chain.exchange(KEY, asked(&alice, &["ledger:read"])).await.access_token.unwrap();
    let mut others = Vec::new();
    for _ in 0..60 {
        let token = chain.token("alice").await;
        // Its signature is checked before, and by itself.
        let archive = ExchangeRequest { exchange: "archive".to_owned(), ..asked(&token, &[]) };
        assert_eq!(chain.exchange(KEY, archive).await.reason, "no_permit");
        others.push(asked(&token, &[]));
    }
    let exchange = json!({
        "audiences": {LEDGER: ["ledger:read", "ledger:write"], ARCHIVE: ["archive:read"]}, "delay_ms": 2500,
    });
    chain.provider.set(&json!({ "exchange": exchange })).await.unwrap();
    let of_alice = asked(&alice, &[]);
    let same = chain.exchange_often(&of_alice, 600);
    let different = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        futures::future::join_all(others.into_iter().map(|asked| chain.exchange(KEY, asked))).await
    };
    let everybody_else = async {
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        let archive = ExchangeRequest {
            resource: "ledger".to_owned(),
            exchange: "archive".to_owned(),
            ..asked(&first, &[])
        };
        let both = (chain.exchange(KEY, asked(&bob, &["ledger:read"])), chain.exchange(KEY, archive));
        tokio::join!(both.0, both.1)
    };
    let (same, different, (of_bob, of_archive)) = tokio::join!(same, different, everybody_else);
    assert_eq!((&*of_bob.reason, &*of_archive.reason), ("permitted", "permitted"));
    assert!(same.iter().all(|answer| answer.reason == "permitted"));
    let mut reasons: std::collections::BTreeMap<&str, usize> = Default::default();
    different.iter().for_each(|answer| *reasons.entry(&answer.reason).or_default() += 1);
    // 32 requests at once are made for one subject, and one of them is for all who ask the same.
    assert_eq!(reasons, [("exchange_pending", 29), ("permitted", 31)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_asked_before_what_is_in_store() {
    let chain = Chain::start().await;
    let alice = chain.token("alice").await;
    assert_eq!(chain.call(&alice).await.status(), 200);
    assert_eq!(chain.call(&alice).await.status(), 200);
    assert_eq!(chain.last().exchange.unwrap().source, Some(ExchangeSource::Cache));
    let without = POLICY.replace("User::\"corp/alice\"", "User::\"corp/nobody\"");
    std::fs::write(chain._files.path().join("exchange.cedar"), without).unwrap();
    let denied = async || Ok((chain.call(&alice).await.status() == 403).then_some(()));
    eventually("the policies", denied).await.unwrap();
    let record = chain.last();
    assert_eq!(record.reason, Reason::ExchangeRefused);
    let exchange = record.exchange.unwrap();
    assert_eq!((exchange.reason, exchange.source, exchange.token_id), (Reason::NoPermit, None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_keeps_its_subject_and_names_every_actor_until_the_policies_end_it() {
    let chain = Chain::start().await;
    let hop = async |resource: &str, exchange: &str, token: &str| {
        let asked = ExchangeRequest {
            resource: resource.to_owned(),
            token: token.to_owned(),
            exchange: exchange.to_owned(),
            scopes: Vec::new(),
        };
        chain.exchange(KEY, asked).await
    };
    let first = hop("files", "ledger", &chain.token("alice").await).await.access_token.unwrap();
    let second = hop("ledger", "archive", &first).await.access_token.unwrap();
    let seen = claims(&second);
    assert_eq!((&seen["sub"], &seen["aud"]), (&json!("alice"), &json!(ARCHIVE)));
    assert_eq!(seen["act"], json!({"sub": "gateway", "act": {"sub": "gateway"}}));
    assert_eq!(chain.last().actors, ["Client::\"corp/gateway\""]);
    assert_eq!(chain.last().exchange.unwrap().actors.len(), 2);
    let third = hop("archive", "archive", &second).await;
    assert_eq!((third.outcome(), third.reason.as_str()), (Outcome::Deny, "no_permit"));
    // A token that is for one resource is exchanged by nobody at another.
    assert_eq!(hop("files", "archive", &first).await.reason, "token_audience_mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_answers_something_else_than_was_asked_for_is_not_believed() {
    let chain = Chain::start().await;
    for (lax, says) in [
        (json!({"aud": "https://archive.example.com"}), "token_audience_mismatch"),
        (json!({"aud": [LEDGER, "https://archive.example.com"]}), "other audiences"),
        (json!({"sub": "bob"}), "another subject"),
        (json!({"scope": "ledger:read ledger:write ledger:admin"}), "more scopes"),
        (json!({"exp": 1}), "not accepted"),
        (json!({"iss": "https://evil.example.com"}), "token_issuer_unknown"),
    ] {
        let mut exchange = json!({"audiences": {LEDGER: ["ledger:read", "ledger:write"]}});
        exchange["lax"] = lax.clone();
        chain.provider.set(&json!({"exchange": exchange})).await.unwrap();
        chain.upstream.forget_requests().await.unwrap();
        // A token of her own each time: a refusal is remembered.
        let alice = chain.token("alice").await;
        assert_eq!(chain.call(&alice).await.status(), 403, "{lax}");
        assert_eq!(chain.upstream.requests().await.unwrap().len(), 0, "{lax}");
        let record = chain.last();
        assert_eq!(record.reason, Reason::ExchangeRefused, "{lax}");
        assert!(record.detail.as_ref().unwrap().contains(says), "{lax}: {:?}", record.detail);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_says_is_on_the_record_and_what_a_client_can_do_is_told() {
    let chain = Chain::start().await;
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    for (status, body, told, reason) in [
        (
            400,
            json!({"error": "interaction_required", "error_codes": [50076], "claims": claims}),
            401,
            Reason::ExchangeInteractionRequired,
        ),
        (
            400,
            json!({"error": "invalid_grant", "suberror": "consent_required", "error_codes": [65001]}),
            401,
            Reason::ExchangeConsentRequired,
        ),
        (
            400,
            json!({"error": "invalid_target", "error_description": "no such audience"}),
            403,
            Reason::ExchangeRefused,
        ),
        (401, json!({"error": "invalid_client"}), 403, Reason::ExchangeRefused),
        (500, json!("<html>"), 503, Reason::ExchangeUnavailable),
        // A redirect is not followed. It is an answer, after which the failures are counted from the beginning.
        (302, json!({"error": "x"}), 403, Reason::ExchangeRefused),
        (200, json!("{\"access_token\": "), 503, Reason::ExchangeUnavailable),
    ] {
        let answer = json!({"status": status, "body": body, "headers": {"location": "http://127.0.0.1:1/"}});
        chain.provider.set(&json!({"exchange": {"audiences": {}, "answer": answer}})).await.unwrap();
        let alice = chain.token("alice").await;
        let before = chain.token_requests().await;
        for time in 0..3 {
            let response = chain.call(&alice).await;
            assert_eq!(response.status(), told, "{body}");
            let challenge =
                response.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
            let record = chain.last();
            assert_eq!(record.reason, reason, "{body}");
            let said = record.exchange.unwrap().provider_error;
            assert_eq!(
                said.and_then(|said| said.error),
                body["error"].as_str().map(str::to_owned),
                "{body} {time}"
            );
            if reason == Reason::ExchangeInteractionRequired {
                let encoded = base64::engine::general_purpose::STANDARD.encode(claims);
                let challenge = challenge.unwrap();
                assert!(challenge.contains("error=\"insufficient_claims\""), "{challenge}");
                assert!(challenge.contains(&format!("claims=\"{encoded}\"")), "{challenge}");
            }
        }
        let asked = chain.token_requests().await - before;
        let expected = if status >= 500 { 3 } else { 1 };
        assert_eq!(asked, expected, "a refusal is remembered: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_slow_busy_or_gone_is_bounded() {
    let chain = Chain::start_with(json!({"timeout": "500ms"})).await;
    let audiences = json!({LEDGER: ["ledger:read", "ledger:write"]});
    chain.provider.set(&json!({"exchange": {"audiences": audiences, "delay_ms": 900}})).await.unwrap();
    let alice = chain.token("alice").await;
    let began = Instant::now();
    let pending = chain.call(&alice).await;
    let waited = began.elapsed();
    assert!(waited > Duration::from_millis(400) && waited < Duration::from_millis(800), "{waited:?}");
    assert_eq!((pending.status().as_u16(), &pending.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(chain.last().reason, Reason::ExchangePending);
    // What took too long for that call is there for the next one.
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(chain.call(&alice).await.status(), 200);
    assert_eq!(chain.last().exchange.unwrap().source, Some(ExchangeSource::Cache));

    let busy = json!({"status": 429, "body": {"error": "slow_down"}, "headers": {"retry-after": "7"}});
    chain.provider.set(&json!({"exchange": {"audiences": {}, "answer": busy}})).await.unwrap();
    let other = chain.token("alice").await;
    let first = chain.call(&other).await;
    assert_eq!((first.status().as_u16(), &first.headers()["retry-after"]), (503, &"7".parse().unwrap()));
    let before = chain.token_requests().await;
    assert_eq!(chain.call(&other).await.status(), 503);
    assert_eq!(chain.token_requests().await, before, "nobody asks before the time");
    assert_eq!(chain.last().exchange.unwrap().source, Some(ExchangeSource::Cache));
    // What is in store is good all the same.
    assert_eq!(chain.call(&alice).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_is_tried_from_the_command_line() {
    let chain = Chain::start().await;
    let token = chain._files.path().join("token");
    std::fs::write(&token, chain.token("alice").await).unwrap();
    let config = chain.palisade.configuration().display().to_string();
    let token = token.display().to_string();
    let tried = |exchange: &str| {
        run(&[
            "decide",
            "--config",
            &config,
            "--resource",
            "files",
            "--token",
            &token,
            "--exchange",
            exchange,
        ])
        .unwrap()
    };
    let output = tried("ledger");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("ledger for https://ledger.example.com (permitted)"), "{text}");
    assert!(text.contains("Client::\"corp/gateway\"") && !text.contains("eyJ"), "{text}");
    let output = tried("nothing");
    assert!(String::from_utf8(output.stderr).unwrap().contains("there is no exchange `nothing`"));
    let checked = run(&["config", "check", &config]).unwrap();
    let text = String::from_utf8([checked.stdout, checked.stderr].concat()).unwrap();
    assert!(text.contains("3.050s"), "the timeout that proxies need: {text}");
}
