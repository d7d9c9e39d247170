//! The AuthZEN API on the real service: the cases of `cases/authzen`, who may call, pages, the MCP profile, obligations,
//! the discovery document, and the record of each. And the search of our own API, which answers the same.

use std::path::Path;

use palisade_proto::v1::{Entity, Outcome, SearchRequest, Sought, decisions_client::DecisionsClient};
use palisade_tests::authzen::{self, Endpoint};
use palisade_tests::components::{OidcProvider, eventually, repository};
use palisade_tests::service::Palisade;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A service, and the files that its configuration names.
struct Served {
    palisade: Palisade,
    files: TempDir,
}

impl Served {
    /// The policy set of the fixture, for the PEP `app`; with more of a configuration.
    async fn records(more: &str) -> Self {
        let files = files();
        let (key, keys) = (files.path().join("app.key"), files.path().join("jwks.json"));
        let configuration = authzen::configuration(&repository().join("policies/authzen"), &key, &keys);
        Self { palisade: Palisade::start(&format!("{configuration}{more}"), "").await.unwrap(), files }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.palisade.decision)
    }

    /// What the caller with this header field is answered.
    async fn post_as(&self, proof: Option<(&str, &str)>, path: &str, body: &Value) -> Response {
        let mut request = Client::new().post(self.url(path)).header("content-type", "application/json");
        if let Some((name, value)) = proof {
            request = request.header(name, value);
        }
        request.body(body.to_string()).send().await.unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let response = self.post_as(Some(("x-palisade-key", KEY)), path, body).await;
        (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }
}

fn files() -> TempDir {
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("app.key"), KEY).unwrap();
    std::fs::write(files.path().join("jwks.json"), r#"{"keys":[]}"#).unwrap();
    files
}

fn read(user: &str, record: &str) -> Value {
    json!({
        "subject": { "type": "user", "id": user },
        "action": { "name": "read" },
        "resource": { "type": "record", "id": record },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_is_answered_as_the_specification_says() {
    let served = Served::records("").await;
    let endpoint = Endpoint::with_key(&served.url(""), KEY);
    let mut failed = Vec::new();
    for case in authzen::read(&repository().join("tests/cases/authzen")).unwrap() {
        if let Err(why) = endpoint.run(&case).await {
            failed.push(format!("{}: {why:#}", case.id));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_evaluation_and_every_search_is_on_the_record() {
    let served = Served::records("").await;
    let batch = json!({
        "action": { "name": "write" },
        "resource": { "type": "record", "id": "record-1", "properties": { "status": "draft", "owner": "bob" } },
        "evaluations": [
            { "subject": { "type": "user", "id": "alice", "properties": { "department": "sales" } } },
            { "subject": { "type": "user", "id": "bob", "properties": { "role": "guest" } } },
            {},
        ],
    });
    let (status, answer) = served.post("/access/v1/evaluations", &batch).await;
    assert_eq!((status, answer["evaluations"].as_array().unwrap().len()), (200, 3));
    let search = json!({ "subject": { "type": "user" }, "action": { "name": "read" },
        "resource": { "type": "record", "id": "record-1" } });
    assert_eq!(served.post("/access/v1/search/subject", &search).await.0, 200);
    let all = async || Ok(Some(served.palisade.decisions()?).filter(|decisions| decisions.len() == 4));
    let decisions = eventually("four records", all).await.unwrap();

    let alice = decisions.iter().find(|one| one.principal.as_deref() == Some("user::\"alice\"")).unwrap();
    assert!(alice.asserted && alice.token_id.is_none());
    assert_eq!(alice.reason.as_str(), "permitted");
    assert_eq!(alice.surface.unwrap().as_str(), "authzen");
    assert_eq!(alice.pep.as_ref().unwrap().as_str(), "app");
    assert_eq!(alice.ignored, ["subject.department", "resource.owner"]);
    let bob = decisions.iter().find(|one| one.principal.as_deref() == Some("user::\"bob\"")).unwrap();
    assert_eq!(bob.reason.as_str(), "no_permit");
    assert_eq!(bob.ignored, ["subject.role", "resource.owner"], "the stored role wins");
    assert_eq!(answer["evaluations"][1]["context"]["decision_id"], json!(bob.id.to_string()));
    assert!(decisions.iter().any(|one| one.reason.as_str() == "request_malformed"));

    let search = decisions.iter().find(|one| one.surface.unwrap().as_str() == "search").unwrap();
    assert_eq!((search.reason.as_str(), search.found), ("permitted", Some(2)));
    let found: Vec<&str> = search.items.iter().filter_map(|item| item.principal.as_deref()).collect();
    assert_eq!(found, ["user::\"alice\"", "user::\"bob\""]);
    assert_eq!(search.target.as_deref(), Some("record::\"record-1\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_proves_itself_by_key_secret_or_token_and_by_nothing_else() {
    let provider = OidcProvider::start().await.unwrap();
    let secret = "a secret that is long enough to be one";
    let files = files();
    std::fs::write(files.path().join("app.secret"), secret).unwrap();
    let file = |name: &str| files.path().join(name).display().to_string();
    let may = "surfaces: [authzen], resources: [records], assert: [user]";
    let configuration = format!(
        "policies: {{path: {}, reload: off}}\nissuers:\n  corp: {{issuer: \"{}\", network: {{private: true}}}}\nresources:\n  records: \
         {{identifier: \"https://records.example.com\", kind: http, issuers: [corp]}}\npeps:\n  keyed: {{auth: {{key: {{file: {}}}}}, {may}}}\n  \
         secretive: {{auth: {{client: shop, secret: {{file: {}}}}}, {may}}}\n  agent: {{auth: {{issuer: corp, client: agent, audience: \
         \"https://pdp.example.com\"}}, {may}}}\n",
        repository().join("policies/authzen").display(),
        provider.issuer(),
        file("app.key"),
        file("app.secret"),
    );
    let served = Served { palisade: Palisade::start(&configuration, "").await.unwrap(), files };
    served.palisade.wait_for_readiness(200).await.unwrap();
    let client = provider.client_token("https://pdp.example.com", "").await.unwrap();
    let elsewhere = provider.client_token("https://records.example.com", "").await.unwrap();
    let user = provider.token("alice", "https://pdp.example.com", "").await.unwrap();
    let basic = |id: &str, secret: &str| {
        use base64::{Engine, engine::general_purpose::STANDARD};
        format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
    };
    for (why, proof, expected) in [
        ("a key", Some(("x-palisade-key", KEY.to_owned())), 200),
        ("a key as a bearer token", Some(("authorization", format!("Bearer {KEY}"))), 200),
        ("a client's secret", Some(("authorization", basic("shop", secret))), 200),
        ("the secret of another client", Some(("authorization", basic("shop2", secret))), 401),
        ("a wrong secret", Some(("authorization", basic("shop", KEY))), 401),
        ("a client's token", Some(("authorization", format!("Bearer {client}"))), 200),
        ("a client's token for somebody else", Some(("authorization", format!("Bearer {elsewhere}"))), 401),
        ("a user's token", Some(("authorization", format!("Bearer {user}"))), 401),
        ("no token", Some(("authorization", "Bearer x".to_owned())), 401),
        ("nothing, on loopback", None, 401),
    ] {
        let proof = proof.as_ref().map(|(name, value)| (*name, value.as_str()));
        let answer = served.post_as(proof, "/access/v1/evaluation", &read("alice", "record-1")).await;
        assert_eq!(answer.status().as_u16(), expected, "{why}");
        assert_eq!(answer.headers().contains_key("www-authenticate"), expected == 401, "{why}");
    }
    // None of them has the surface `search`, and a browser is nobody.
    let body = json!({ "subject": { "type": "user", "id": "alice" }, "resource": { "type": "record", "id": "record-1" } });
    assert_eq!(served.post("/access/v1/search/action", &body).await.0, 403);
    let page = Client::new().post(served.url("/access/v1/evaluation")).header("x-palisade-key", KEY);
    let page = page.header("origin", "https://evil.example.com").body("{}").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::UNAUTHORIZED);
}

/// A page of a search for records, and its token.
async fn page(served: &Served, user: &str, page: Value) -> (u16, String) {
    let body = json!({ "subject": { "type": "user", "id": user }, "action": { "name": "read" },
        "resource": { "type": "record" }, "page": page });
    let (status, answer) = served.post("/access/v1/search/resource", &body).await;
    (status, answer.pointer("/page/next_token").and_then(Value::as_str).unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_is_good_for_its_own_search_and_no_other() {
    let mut served = Served::records("").await;
    let (status, token) = page(&served, "alice", json!({ "limit": 1 })).await;
    assert!(status == 200 && !token.is_empty());
    assert_eq!(
        page(&served, "alice", json!({ "token": token })).await.0,
        200,
        "the limit need not be repeated"
    );
    assert_eq!(page(&served, "alice", json!({ "token": token, "limit": 1 })).await, (200, String::new()));
    assert_eq!(page(&served, "alice", json!({ "token": token, "limit": 2 })).await.0, 400);
    assert_eq!(page(&served, "bob", json!({ "token": token, "limit": 1 })).await.0, 400);
    let forged = token.replacen('1', "0", 1);
    assert_eq!(page(&served, "alice", json!({ "token": forged, "limit": 1 })).await.0, 400);
    // The key is the installation's: a restart does not end a search, other policies do.
    served.palisade.restart().await.unwrap();
    assert_eq!(page(&served, "alice", json!({ "token": token, "limit": 1 })).await.0, 200);
    let configuration = std::fs::read_to_string(served.palisade.configuration()).unwrap();
    std::fs::write(served.palisade.configuration(), format!("{configuration}# another revision\n")).unwrap();
    served.palisade.restart().await.unwrap();
    assert_eq!(page(&served, "alice", json!({ "token": token, "limit": 1 })).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_discovery_document_comes_from_the_configuration_alone() {
    let served = Served::records("").await;
    let document = async || {
        let request = Client::new().get(served.url("/.well-known/authzen-configuration"));
        request.header("host", "evil.example.com").header("x-request-id", "r1").send().await.unwrap()
    };
    assert_eq!(document().await.status(), StatusCode::NOT_FOUND);
    let configuration = std::fs::read_to_string(served.palisade.configuration()).unwrap();
    let named =
        configuration.replacen("decision: {", "decision: {base_url: \"https://pdp.example.com\", ", 1);
    assert_ne!(named, configuration);
    std::fs::write(served.palisade.configuration(), named).unwrap();
    let mut served = served;
    served.palisade.restart().await.unwrap();
    let request = Client::new().get(served.url("/.well-known/authzen-configuration"));
    let answer =
        request.header("host", "evil.example.com").header("x-request-id", "r1").send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "r1");
    assert_eq!(answer.headers()["cache-control"], "max-age=300");
    let document: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(
        document,
        json!({
            "policy_decision_point": "https://pdp.example.com",
            "access_evaluation_endpoint": "https://pdp.example.com/access/v1/evaluation",
            "access_evaluations_endpoint": "https://pdp.example.com/access/v1/evaluations",
            "search_subject_endpoint": "https://pdp.example.com/access/v1/search/subject",
            "search_resource_endpoint": "https://pdp.example.com/access/v1/search/resource",
            "search_action_endpoint": "https://pdp.example.com/access/v1/search/action",
        })
    );
}

const MCP_POLICIES: &str = r#"
@id("echo") permit (principal is User, action in Mcp::Action::"tools/call", resource == Mcp::Tool::"files/echo");
@id("staff") @obligation("step-up urn:example:mfa otp") @advice("ask for less")
permit (principal in Group::"staff", action in Mcp::Action::"tools/call", resource == Mcp::Tool::"files/delete");
@id("on-server") permit (principal is User, action in [Mcp::Action::"list", Mcp::Action::"initialize", Mcp::Action::"tasks/get"], resource is Mcp::Server);
@id("agent") permit (principal is User, action in Mcp::Action::"resources/read", resource is Mcp::Resource)
when { context has sent && context.sent.text.hasTag("/agent") && context.sent.text.getTag("/agent") == "app" };
@id("prompt") permit (principal is User, action in Mcp::Action::"prompts/get", resource == Mcp::Prompt::"files/sum");
@id("move") permit (principal is User, action in Mcp::Action::"tools/call", resource == Mcp::Tool::"files/move")
when { context.args.unmapped.isEmpty() && !context.args.text.hasTag("/to") };
"#;

const STAFF: &str =
    r#"[{"uid": {"type": "User", "id": "corp/alice"}, "parents": [{"type": "Group", "id": "staff"}]}]"#;

/// An MCP server and a PEP that may assert users of it.
async fn mcp() -> Served {
    let files = files();
    let policies = files.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
    write(&policies.join("p.cedar"), MCP_POLICIES);
    write(&policies.join("entities.json"), STAFF);
    write(&files.path().join("tools.json"), r#"[{"name": "echo"}, {"name": "delete"}, {"name": "move"}]"#);
    let file = |name: &str| files.path().join(name).display().to_string();
    let configuration = format!(
        "policies: {{path: {}, reload: off}}\nissuers:\n  corp: {{issuer: \"https://corp.example.com\", jwks: {{file: {}}}}}\nresources:\n  \
         files: {{identifier: \"https://mcp.example.com/files\", kind: mcp, issuers: [corp], tools: {{catalog: {}}}}}\npeps:\n  gateway: \
         {{auth: {{key: {{file: {}}}}}, surfaces: [authzen, search], resources: [files], assert: [User]}}\n",
        policies.display(),
        file("jwks.json"),
        file("tools.json"),
        file("app.key"),
    );
    Served { palisade: Palisade::start(&configuration, "").await.unwrap(), files }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_types_of_the_mcp_profile_can_be_asked() {
    let served = mcp().await;
    for (subject, action, resource, expected) in [
        (("identity", "bob"), "tools/call", ("tool", "echo"), true),
        (("User", "corp/bob"), "tools/call", ("Mcp::Tool", "files/echo"), true),
        (("identity", "bob"), "tools/call", ("tool", "delete"), false),
        (("identity", "bob"), "tools/call", ("tool", "nothing"), false),
        (("identity", "bob"), "tools/list", ("mcp_server", "https://mcp.example.com/files"), true),
        (("identity", "bob"), "tools/list", ("mcp_server", "https://mcp.example.com/other"), false),
        (("identity", "bob"), "resources/read", ("resource", "file:///a"), true),
        (("identity", "bob"), "prompts/get", ("prompt", "sum"), true),
        (("identity", "bob"), "prompts/get", ("prompt", "other"), false),
        (("identity", "bob"), "tasks/get", ("task", "t1"), true),
        (("identity", "bob"), "tasks/explode", ("task", "t1"), false),
    ] {
        let body = json!({
            "subject": { "type": subject.0, "id": subject.1 },
            "action": { "name": action },
            "resource": { "type": resource.0, "id": resource.1 },
            "context": { "agent": "app" },
        });
        let (status, answer) = served.post("/access/v1/evaluation", &body).await;
        assert_eq!((status, answer["decision"].as_bool()), (200, Some(expected)), "{body}: {answer}");
    }
    let tools = json!({ "subject": { "type": "identity", "id": "alice" }, "action": { "name": "tools/call" },
        "resource": { "type": "tool" } });
    let (_, found) = served.post("/access/v1/search/resource", &tools).await;
    assert_eq!(
        found["results"],
        json!([{ "type": "tool", "id": "delete" }, { "type": "tool", "id": "echo" }])
    );
    let users = json!({ "subject": { "type": "identity" }, "action": { "name": "tools/call" },
        "resource": { "type": "tool", "id": "delete" } });
    let (_, found) = served.post("/access/v1/search/subject", &users).await;
    assert_eq!(found["results"], json!([{ "type": "identity", "id": "alice" }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_a_gateway_does_not_tell_are_not_taken_for_none() {
    let served = mcp().await;
    for (told, expected) in [(None, false), (Some(json!({})), true), (Some(json!({ "to": "/etc" })), false)] {
        let mut action = json!({ "name": "tools/call" });
        if let Some(told) = told {
            action["properties"] = told;
        }
        let body = json!({ "subject": { "type": "identity", "id": "bob" }, "action": action,
            "resource": { "type": "tool", "id": "move" } });
        let (status, answer) = served.post("/access/v1/evaluation", &body).await;
        assert_eq!((status, answer["decision"].as_bool()), (200, Some(expected)), "{body}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_obligation_of_a_permit_is_in_its_context() {
    let served = mcp().await;
    let ask = |id: &str| {
        json!({ "subject": { "type": "identity", "id": id }, "action": { "name": "tools/call" },
            "resource": { "type": "tool", "id": "delete" } })
    };
    let (_, answer) = served.post("/access/v1/evaluation", &ask("alice")).await;
    let step_up = json!({ "id": "obligation-1", "type": "step-up",
        "properties": { "acr_value": "urn:example:mfa", "amr_values": ["otp"] } });
    assert_eq!(
        answer,
        json!({ "decision": true, "context": { "obligations": [step_up], "advice": ["ask for less"] } })
    );
    let (_, denied) = served.post("/access/v1/evaluation", &ask("bob")).await;
    assert!(denied["decision"] == json!(false) && denied["context"].get("obligations").is_none(), "{denied}");
    assert!(served.files.path().is_dir());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_search_of_our_own_api_finds_the_same() {
    let served = Served::records("").await;
    let channel = tonic::transport::Channel::from_shared(served.url("")).unwrap().connect().await.unwrap();
    let mut decisions = DecisionsClient::new(channel);
    let mut ask = async |request: SearchRequest, key: Option<&str>| {
        let mut request = tonic::Request::new(request);
        if let Some(key) = key {
            request.metadata_mut().insert("x-palisade-key", key.parse().unwrap());
        }
        decisions.search(request).await.unwrap().into_inner()
    };
    let entity = |type_name: &str, id: &str, properties: Option<&str>| Entity {
        r#type: type_name.to_owned(),
        id: id.to_owned(),
        properties: properties.map(str::to_owned),
    };
    let ids = |all: &[Entity]| all.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
    let subjects = SearchRequest {
        sought: Sought::Subjects.into(),
        subject: Some(entity("user", "", None)),
        action: "write".to_owned(),
        target: Some(entity("record", "record-2", None)),
        ..SearchRequest::default()
    };
    let found = ask(subjects.clone(), Some(KEY)).await;
    assert_eq!((found.outcome(), ids(&found.subjects)), (Outcome::Permit, vec!["bob".to_owned()]));
    for key in [None, Some("a key that is wrong and long enough to be one")] {
        let refused = ask(subjects.clone(), key).await;
        assert!(refused.outcome() == Outcome::Deny && refused.subjects.is_empty(), "{refused:?}");
    }

    let admin = entity("user", "mallory", Some(r#"{"role": "admin"}"#));
    let targets = SearchRequest {
        sought: Sought::Targets.into(),
        subject: Some(admin.clone()),
        action: "Records::Action::\"write\"".to_owned(),
        page_size: 1,
        ..SearchRequest::default()
    };
    let found = ask(targets, Some(KEY)).await;
    assert_eq!(ids(&found.targets), ["record-2"]);
    let readable = |token: &str| SearchRequest {
        sought: Sought::Targets.into(),
        subject: Some(entity("user", "alice", None)),
        action: "Records::Action::\"read\"".to_owned(),
        page_size: 1,
        page_token: token.to_owned(),
        ..SearchRequest::default()
    };
    let first = ask(readable(""), Some(KEY)).await;
    let second = ask(readable(&first.next_page_token), Some(KEY)).await;
    assert_eq!([ids(&first.targets), ids(&second.targets)].concat(), ["record-1", "record-2"]);
    assert!(second.next_page_token.is_empty());
    let actions = SearchRequest {
        sought: Sought::Actions.into(),
        subject: Some(admin),
        target: Some(entity("record", "record-2", None)),
        arguments: Some("{}".to_owned()),
        ..SearchRequest::default()
    };
    assert_eq!(ask(actions, Some(KEY)).await.actions, ["Records::Action::\"write\""]);
    let unsaid = SearchRequest { subject: Some(entity("user", "alice", None)), ..SearchRequest::default() };
    let nothing = ask(unsaid, Some(KEY)).await;
    assert_eq!(nothing.reason, "request_malformed");
}
