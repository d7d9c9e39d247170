//! What operators fear: the provider, the collector or the service itself dies in the middle of traffic. Nothing is
//! let in that should not be, and no record is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use palisade_tests::components::{Collector, Envoy, EnvoyPorts, EnvoySample, McpServer, eventually};
use palisade_tests::service::Palisade;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::envoy::Gateway;
use crate::stories;

/// Requests straight to the HTTP check.
async fn check(palisade: &Palisade, client: &reqwest::Client, token: &str) -> Option<u16> {
    let request = client
        .post(format!("http://127.0.0.1:{}/authz/demo", palisade.decision))
        .bearer_auth(token)
        .header("content-type", "application/json")
        .body(stories::call("echo", &json!({"message": "hi"})));
    request.send().await.ok().map(|answer| answer.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_good_tokens_get_503_and_never_401() {
    let mut provider = stories::provider().await;
    let token = provider.token("bob", &stories::identifier("demo"), "").await.unwrap();
    let configuration = stories::configuration(provider.issuer());
    provider.kill().unwrap();
    let palisade = Palisade::start(&configuration, "").await.unwrap();
    let detail = palisade.wait_for_readiness(503).await.unwrap();
    assert_eq!(detail["issuers"][0]["ready"], false, "{detail}");
    let upstream = McpServer::start_with_sample_tools().await.unwrap();
    let ports =
        EnvoyPorts { decision: palisade.decision, public: palisade.public, upstream: upstream.port() };
    let envoy = Envoy::start(&EnvoySample::ExtAuthz.fill("demo", ports).unwrap()).await.unwrap();
    let request = reqwest::Client::new().post(envoy.url("/demo")).bearer_auth(&token);
    let request = request
        .header("content-type", "application/json")
        .body(stories::call("echo", &json!({"message": "hi"})));
    let answer = request.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    assert!(!answer.headers().contains_key("www-authenticate"));
    assert!(upstream.requests().await.unwrap().is_empty());

    // The provider comes back, and so does the service, by itself.
    provider.restart().await.unwrap();
    palisade.wait_for_readiness(200).await.unwrap();
    assert_eq!(check(&palisade, &reqwest::Client::new(), &token).await, Some(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_provider_does_not_hurt_while_its_keys_are_known() {
    let mut gateway = Gateway::start("demo", "", "").await;
    let token = gateway.token("bob", "").await;
    gateway.provider.kill().unwrap();
    for _ in 0..5 {
        let answer = gateway
            .post(Some(&token), stories::call("echo", &json!({"message": "hi"})))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
    }
    let forged = format!("{}AAAA", token.rsplit_once('.').unwrap().0.to_owned() + ".");
    let answer =
        gateway.post(Some(&forged), stories::call("echo", &json!({"message": "hi"}))).send().await.unwrap();
    assert_eq!(answer.status(), 401);
}

/// The provider dies and comes back, with a new key, in the middle of traffic through Envoy.
#[tokio::test(flavor = "multi_thread")]
async fn killing_and_restarting_the_provider_under_traffic_fails_no_good_token_and_lets_no_bad_one_in() {
    let mut gateway = Gateway::start("demo", "", "").await;
    let good = gateway.token("bob", "").await;
    let (header, rest) = good.split_once('.').unwrap();
    let forged = format!("{header}.{}AAAA", rest.trim_end_matches(|sign| sign != '.'));
    let other_audience = gateway.provider.token("bob", "https://elsewhere.example.com/", "").await.unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut traffic = Vec::new();
    for (token, expected) in [(&good, 200), (&good, 200), (&forged, 401), (&other_audience, 401)] {
        let (token, stop) = (token.clone(), Arc::clone(&stop));
        let url = gateway.envoy.url("/demo");
        traffic.push(tokio::spawn(async move {
            let client = reqwest::Client::new();
            let mut sent = 0_u64;
            while !stop.load(Ordering::SeqCst) {
                let request = client
                    .post(&url)
                    .bearer_auth(&token)
                    .header("content-type", "application/json")
                    .header("accept", "application/json, text/event-stream")
                    .body(stories::call("echo", &json!({"message": "hi"})));
                let answer = request.send().await.unwrap();
                assert_eq!(
                    answer.status().as_u16(),
                    expected,
                    "after {sent}: {}",
                    answer.text().await.unwrap()
                );
                sent += 1;
            }
            sent
        }));
    }
    let pause = async || tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    pause().await;
    gateway.provider.kill().unwrap();
    pause().await;
    gateway.provider.restart().await.unwrap();
    gateway.provider.rotate().await.unwrap();
    let of_the_new_key = gateway.token("bob", "").await;
    let echo = stories::call("echo", &json!({"message": "hi"}));
    let taken = async || {
        let answer = gateway.post(Some(&of_the_new_key), echo.clone()).send().await?;
        Ok((answer.status() == 200).then_some(()))
    };
    eventually("the new key to be known", taken).await.unwrap();
    pause().await;
    stop.store(true, Ordering::SeqCst);
    let mut sent = Vec::new();
    for task in traffic {
        sent.push(task.await.unwrap());
    }
    assert!(sent.iter().all(|sent| *sent > 20), "{sent:?}");
    let through = gateway.upstream.requests().await.unwrap().len() as u64;
    let good: u64 = sent.iter().take(2).sum();
    assert_eq!(through, good + 1, "what reached the upstream is what was permitted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_is_answered_when_the_service_stops_and_health_says_so() {
    let mut gateway = Gateway::start("demo", "", "").await;
    let token = gateway.token("bob", "").await;
    let port = gateway.palisade.decision;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    let mut health = HealthClient::new(channel.connect().await.unwrap());
    let service = "envoy.service.auth.v3.Authorization".to_owned();
    let mut watch = health.watch(HealthCheckRequest { service }).await.unwrap().into_inner();
    let serving = |answer: Option<HealthCheckResponse>| answer.map(|answer| answer.status());
    assert_eq!(serving(watch.message().await.unwrap()), Some(ServingStatus::Serving));

    // Half a request: the service has read the head and waits for the rest of the body.
    let body = stories::call("echo", &json!({"message": "hi"}));
    let (first, second) = body.split_at(body.len() / 2);
    let head = format!(
        "POST /authz/demo HTTP/1.1\r\nhost: palisade\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{first}",
        body.len()
    );
    let mut under_way = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    under_way.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;

    let began = std::time::Instant::now();
    gateway.palisade.process().unwrap().signal("TERM").unwrap();
    assert_eq!(serving(watch.message().await.unwrap()), Some(ServingStatus::NotServing));
    let refused =
        async || Ok(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err().then_some(()));
    eventually("new connections to be refused", refused).await.unwrap();
    assert_eq!(gateway.palisade.wait_for_readiness(503).await.unwrap()["stopping"], true);

    under_way.write_all(second.as_bytes()).await.unwrap();
    let mut answer = String::new();
    under_way.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(serving(watch.message().await.unwrap()).is_none(), "the stream ends");
    let process = gateway.palisade.process().unwrap();
    eventually("the end of the service", async || Ok(process.check_running().is_err().then_some(())))
        .await
        .unwrap();
    assert!(began.elapsed() < std::time::Duration::from_secs(8), "nothing is waited for in vain");
    let decisions = gateway.palisade.decisions().unwrap();
    assert_eq!(decisions.len(), 1);
    assert!(answer.contains(&decisions[0].id.to_string()), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_collector_loses_nothing_and_gets_everything_later() {
    if let Some(why) = Collector::skipped().unwrap() {
        println!("skipped: {why}");
        return;
    }
    let mut collector = Collector::start().await.unwrap();
    let audit = format!("otlp: {{endpoint: \"{}\"}}", collector.grpc_endpoint());
    let gateway = Gateway::start("demo", &audit, "").await;
    let token = gateway.token("bob", "").await;
    let client = reqwest::Client::new();
    for round in 0..60 {
        if round == 20 {
            collector.kill().unwrap();
        }
        if round == 40 {
            collector.restart().await.unwrap();
        }
        assert_eq!(check(&gateway.palisade, &client, &token).await, Some(200), "round {round}");
    }
    let written = gateway.palisade.decisions().unwrap();
    assert_eq!(written.len(), 60);
    let all_exported = async || {
        let exported: std::collections::BTreeSet<String> = collector
            .logs()?
            .iter()
            .filter_map(|record| record["attributes"]["palisade.id"].as_str().map(str::to_owned))
            .collect();
        Ok(written.iter().all(|record| exported.contains(&record.id.to_string())).then_some(()))
    };
    eventually("every record in the collector", all_exported).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_service_under_traffic_loses_no_record_and_lets_nothing_in() {
    let mut gateway = Gateway::start("demo", "durability: written", "").await;
    let good = gateway.token("bob", "").await;
    let (answered, permitted) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    for _ in 0..3 {
        let mut traffic = Vec::new();
        for number in 0..4 {
            let url = format!("http://127.0.0.1:{}/authz/demo", gateway.palisade.decision);
            let token = if number == 0 { "not.a.token".to_owned() } else { good.clone() };
            let (answered, permitted) = (Arc::clone(&answered), Arc::clone(&permitted));
            traffic.push(tokio::spawn(async move {
                let client = reqwest::Client::new();
                for _ in 0..10_000 {
                    let request =
                        client.post(&url).bearer_auth(&token).header("content-type", "application/json");
                    let request = request.body(stories::call("echo", &json!({"message": "hi"})));
                    let Ok(answer) = request.send().await else { return };
                    answered.fetch_add(1, Ordering::SeqCst);
                    if answer.status() == 200 {
                        assert_ne!(token, "not.a.token");
                        permitted.fetch_add(1, Ordering::SeqCst);
                    } else {
                        assert_eq!(token, "not.a.token", "{}", answer.status());
                    }
                }
            }));
        }
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        gateway.palisade.kill().unwrap();
        let refused =
            gateway.post(Some(&good), stories::call("echo", &json!({"message": "hi"}))).send().await.unwrap();
        assert_eq!(refused.status(), 503, "Envoy fails closed");
        for task in traffic {
            task.await.unwrap();
        }
        gateway.palisade.restart().await.unwrap();
        gateway.palisade.wait_for_readiness(200).await.unwrap();
    }
    gateway.palisade.terminate().await.unwrap();
    let decisions = gateway.palisade.decisions().unwrap();
    let counted: u64 = decisions.iter().map(|record| record.count).sum();
    let permits = decisions.iter().filter(|record| record.reason.as_str() == "permitted").count() as u64;
    let (answered, permitted) = (answered.load(Ordering::SeqCst), permitted.load(Ordering::SeqCst));
    assert!(answered > 100 && permitted > 50, "{answered} {permitted}");
    // Every answer has its record. A kill can come between a record and its answer, once a connection and kill.
    assert!(counted >= answered && counted <= answered + 12, "{counted} records for {answered} answers");
    assert!(permits >= permitted && permits <= permitted + 12, "{permits} permits for {permitted} answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_bad_tokens_takes_bounded_disk_and_good_callers_are_served() {
    let gateway = Gateway::start("demo", "", "").await;
    let good = gateway.token("bob", "").await;
    let url = format!("http://127.0.0.1:{}/authz/demo", gateway.palisade.decision);
    let mut flood = Vec::new();
    for number in 0..4 {
        let url = url.clone();
        flood.push(tokio::spawn(async move {
            let client = reqwest::Client::new();
            for at in 0..1_500 {
                let request = client.post(&url).bearer_auth(format!("bad-{number}-{at}")).body("{}");
                assert_eq!(request.send().await.unwrap().status(), 401);
            }
        }));
    }
    let client = reqwest::Client::new();
    for _ in 0..50 {
        assert_eq!(check(&gateway.palisade, &client, &good).await, Some(200));
    }
    for task in flood {
        task.await.unwrap();
    }
    let refused = async || {
        let records = gateway.palisade.decisions()?;
        let counted: u64 =
            records.iter().filter(|record| record.principal.is_none()).map(|record| record.count).sum();
        Ok((counted == 6_000).then_some(records.len()))
    };
    let records = eventually("all refusals on the record", refused).await.unwrap();
    assert!(records < 50 + 200, "{records} records for 6,050 decisions");
}
