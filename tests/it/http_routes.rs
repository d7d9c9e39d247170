//! An HTTP API of `kind: http` behind a real Envoy: method and route template are what is decided on.

use palisade_tests::components::{Envoy, EnvoyPorts, EnvoySample, McpServer, OidcProvider, header_values};
use palisade_tests::service::Palisade;
use reqwest::Method;
use serde_json::json;

const POLICY: &str = r#"
@id("read-orders")
permit (principal is User, action in Http::Action::"read", resource in Http::Service::"orders")
when { context.scopes.contains("orders:read") };

@id("change-small-orders")
permit (
  principal is User,
  action == Http::Action::"PUT",
  resource == Http::Route::"orders/orders/{id}"
)
when { context.scopes.contains("orders:write") && context.args.text.hasTag("/id") && context.args.text.getTag("/id") like "small-*" };
"#;

struct Api {
    provider: OidcProvider,
    upstream: McpServer,
    palisade: Palisade,
    envoy: Envoy,
    _policies: tempfile::TempDir,
}

impl Api {
    async fn start() -> Self {
        let provider = OidcProvider::start_with(&json!({
            "users": {"bob": {}},
            "resources": {"*": ["orders:read", "orders:write"]},
        }))
        .await
        .unwrap();
        // Any server would do: this one keeps what reaches it, and answers 404 to what it does not know.
        let upstream = McpServer::start_with_sample_tools().await.unwrap();
        let policies = tempfile::tempdir().unwrap();
        std::fs::write(policies.path().join("orders.cedar"), POLICY).unwrap();
        let configuration = format!(
            "policies: {{path: {}}}\nissuers:\n  corp: {{issuer: \"{}\", network: {{private: true}}}}\nresources:\n  orders:\n    identifier: \
             https://api.example.com/orders\n    kind: http\n    issuers: [corp]\n    routes: [\"/orders\", \"/orders/{{id}}\", \
             \"/orders/{{id}}/items/{{*rest}}\"]\n    scopes: {{initial: [\"orders:read\"], step_up: [\"orders:read\", \"orders:write\"]}}\n",
            policies.path().display(),
            provider.issuer()
        );
        let palisade = Palisade::start(&configuration, "").await.unwrap();
        palisade.wait_for_readiness(200).await.unwrap();
        let ports =
            EnvoyPorts { decision: palisade.decision, public: palisade.public, upstream: upstream.port() };
        let envoy = Envoy::start(&EnvoySample::Http.fill("orders", ports).unwrap()).await.unwrap();
        Self { provider, upstream, palisade, envoy, _policies: policies }
    }

    async fn send(&self, method: Method, path: &str, token: Option<&str>, body: String) -> reqwest::Response {
        let request = reqwest::Client::new().request(method, self.envoy.url(path)).body(body);
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.unwrap()
    }
}

/// The upstream knows no such path and answers 404 by itself: whether a request reached it is what its log says.
const REACHED: u16 = 404;

#[tokio::test(flavor = "multi_thread")]
async fn method_and_template_are_decided_on() {
    let api = Api::start().await;
    let read = api.provider.token("bob", "https://api.example.com/orders", "orders:read").await.unwrap();
    let write = api
        .provider
        .token("bob", "https://api.example.com/orders", "orders:read orders:write")
        .await
        .unwrap();
    let large = "x".repeat(200_000);
    for (method, path, token, body, expected) in [
        (Method::GET, "/orders", None, "", 401),
        (Method::GET, "/orders", Some(&read), "", REACHED),
        (Method::GET, "/orders/small-7?expand=items", Some(&read), "", REACHED),
        (Method::GET, "/orders/7/items/a/b", Some(&read), "", REACHED),
        // No template: not a target of this resource.
        (Method::GET, "/orders/7/secrets", Some(&write), "", 403),
        (Method::PUT, "/orders/small-7", Some(&write), large.as_str(), REACHED),
        (Method::PUT, "/orders/large-7", Some(&write), "", 403),
        (Method::DELETE, "/orders/small-7", Some(&write), "", 403),
    ] {
        api.upstream.forget_requests().await.unwrap();
        let answer = api.send(method.clone(), path, token.map(String::as_str), body.to_owned()).await;
        assert_eq!(answer.status().as_u16(), expected, "{method} {path}");
        let reached = api.upstream.requests().await.unwrap();
        assert_eq!(reached.len(), usize::from(expected == REACHED), "{method} {path}");
        for request in &reached {
            assert_eq!(request["url"], path);
            assert_eq!(request["body"].as_str().map(str::len), Some(body.len()));
            assert_eq!(header_values(request, "authorization"), [""; 0]);
            assert_eq!(header_values(request, "x-palisade-subject"), ["User::\"corp/bob\""]);
        }
    }
    // A path that a filter of Envoy's has not made one of ours: an encoded slash is refused by either.
    assert_eq!(api.send(Method::GET, "/orders/a%2Fb", Some(&write), String::new()).await.status(), 400);

    let step_up = api.send(Method::PUT, "/orders/small-7", Some(&read), String::new()).await;
    assert_eq!(step_up.status(), 403);
    assert_eq!(
        step_up.headers()["www-authenticate"],
        "Bearer error=\"insufficient_scope\", error_description=\"the token lacks scopes for this\", scope=\"orders:read orders:write\", \
         resource_metadata=\"https://api.example.com/.well-known/oauth-protected-resource/orders\""
    );

    let recorded: Vec<(String, String)> = api
        .palisade
        .decisions()
        .unwrap()
        .into_iter()
        .filter(|record| record.principal.is_some())
        .filter_map(|record| Some((record.action?, record.target?)))
        .collect();
    let put = "Http::Action::\"PUT\"".to_owned();
    assert!(recorded.contains(&(put, "Http::Route::\"orders/orders/{id}\"".to_owned())), "{recorded:?}");
}
