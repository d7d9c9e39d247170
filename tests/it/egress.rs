//! The way to the provider in a closed network: an authority of one's own, and a proxy that alone knows the names.

use std::path::Path;

use palisade_tests::components::{OidcProvider, egress_proxy, eventually};
use palisade_tests::service::Palisade;
use serde_json::{Value, json};

use crate::stories;

/// A service whose issuer is reached by `network`.
async fn start(issuer: &str, network: &str) -> Palisade {
    let configuration = stories::configuration(issuer).replace("{private: true}", network);
    Palisade::start(&configuration, "").await.unwrap()
}

fn trusting(authority: &Path, more: &str) -> String {
    format!("{{ca: {{file: {}}}, {more}}}", authority.display())
}

/// Waits until the service has tried and failed to get the keys, and gives back why.
async fn why_not_ready(palisade: &Palisade) -> String {
    eventually("the error of the issuer", async || {
        let detail = palisade.wait_for_readiness(503).await?;
        Ok(detail["issuers"][0]["last_error"].as_str().map(str::to_owned))
    })
    .await
    .unwrap()
}

/// What a good token of this provider gets.
async fn status_of_a_good_token(palisade: &Palisade, provider: &OidcProvider) -> u16 {
    let token = provider.token("bob", &stories::identifier("demo"), "").await.unwrap();
    let request = reqwest::Client::new()
        .post(format!("http://127.0.0.1:{}/authz/demo", palisade.decision))
        .bearer_auth(token)
        .header("content-type", "application/json")
        .body(stories::call("echo", &json!({"message": "hi"})));
    request.send().await.unwrap().status().as_u16()
}

fn users() -> Value {
    json!({"users": {"bob": {}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_of_a_private_authority_is_believed_by_whoever_names_that_authority() {
    let provider = OidcProvider::start_with_tls(&users(), "127.0.0.1").await.unwrap();
    assert!(provider.issuer().starts_with("https://127.0.0.1:"));

    let stranger = start(provider.issuer(), "{private: true}").await;
    let why = why_not_ready(&stranger).await;
    assert!(why.contains("certificate"), "{why}");
    // A token that cannot be judged is no bad token.
    assert_eq!(status_of_a_good_token(&stranger, &provider).await, 503);

    let network = trusting(&provider.authority_file(), "private: true");
    let palisade = start(provider.issuer(), &network).await;
    palisade.wait_for_readiness(200).await.unwrap();
    assert_eq!(status_of_a_good_token(&palisade, &provider).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_behind_an_egress_proxy_is_reached_through_it_and_not_without() {
    let provider = OidcProvider::start_with_tls(&users(), "login.corp.test").await.unwrap();
    let proxy = egress_proxy(provider.port().unwrap()).await.unwrap();
    let authority = provider.authority_file();

    let direct = start(provider.issuer(), &trusting(&authority, "private: false")).await;
    let why = why_not_ready(&direct).await;
    assert!(why.contains("login.corp.test"), "{why}");

    let network = trusting(&authority, &format!("proxy: \"http://127.0.0.1:{}\"", proxy.port()));
    let palisade = start(provider.issuer(), &network).await;
    palisade.wait_for_readiness(200).await.unwrap();
    assert_eq!(status_of_a_good_token(&palisade, &provider).await, 200);
    drop(palisade);
    // The proxy logs a tunnel when it ends.
    let tunnels = eventually("the tunnel in the log of the proxy", async || {
        let lines = proxy.access_log()?;
        Ok((!lines.is_empty()).then_some(lines))
    });
    let authority = provider.issuer().trim_start_matches("https://");
    for line in tunnels.await.unwrap() {
        assert_eq!(line, json!({"method": "CONNECT", "authority": authority}));
    }
}
