//! Our own token service against the running binary: chains of exchanges, what is refused whatever policies say, keys that
//! rotate, and tokens that a resource takes for the subject whom they are about.

use std::path::Path;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use palisade_audit::{DecisionRecord, Outcome};
use palisade_model::{Clock, Reason, SystemClock};
use palisade_tests::{
    components::{OidcProvider, eventually, verify_with_jose},
    service::{Palisade, run},
};
use palisade_token::{SigningKey, SigningKeys};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Alice may have what she asks for, bob may read for a minute, carol nothing. Nobody goes through more than four.
const POLICY: &str = r#"
@id("alice-exchanges")
permit (principal == User::"corp/alice", action == OAuth::Action::"exchange", resource)
when { context.delegation_depth <= 5 && context has actor };
@id("agents-exchange")
permit (principal is Client, action == OAuth::Action::"exchange", resource);
@id("bob-reads")
permit (principal == User::"corp/bob", action == OAuth::Action::"exchange", resource == OAuth::Audience::"a2")
when { ["read"].containsAll(context.requested_scopes) && context.requested_lifetime <= duration("1m")
  && context.requester == Client::"sts/c1" };
@id("alice-by-c2")
permit (principal == User::"corp/alice", action in Http::Action::"read", resource in Http::Service::"third")
when { context has actor && context.actor == Client::"sts/c2" && context.actors.contains(Client::"sts/c1") && principal in Role::"corp/admin" };
"#;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The audience of the client of this number.
fn audience(number: usize) -> String {
    format!("https://a{number}.example.com")
}

fn secret(number: usize) -> String {
    format!("secret-of-c{number}-0123456789abcdef0123456789")
}

/// A key of the service, in a file.
fn write_key(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    path.display().to_string()
}

struct Service {
    palisade: Palisade,
    /// The issuer `corp`: its tokens are made here, with whatever claims.
    corp: SigningKeys,
    provider: OidcProvider,
    files: TempDir,
}

impl Service {
    /// Six clients in a row, each the audience of the one before.
    async fn start() -> Self {
        let provider = OidcProvider::start_with(&json!({
            "users": {"alice": {}},
            "resources": {"*": ["read", "write"]},
        }))
        .await
        .unwrap();
        let corp = SigningKeys::new(vec![SigningKey::generate().unwrap()]).unwrap();
        let files = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(files.path().join(name), text).unwrap();
            files.path().join(name).display().to_string()
        };
        file("policy.cedar", POLICY);
        let numbers = 1..=6;
        let all: Vec<String> = numbers.clone().map(|number| format!("a{number}")).collect();
        let client = |number: usize| {
            let secret = file(&format!("c{number}"), &secret(number));
            let exchange = if number == 6 { Vec::new() } else { all.clone() };
            let own =
                json!({"secret": {"file": secret}, "audiences": [audience(number)], "exchange": exchange});
            (format!("c{number}"), own)
        };
        let target = |number: usize| {
            let own = json!({"audience": audience(number), "scopes": ["read", "write"], "lifetime": "10m"});
            (format!("a{number}"), own)
        };
        let members = json!({
            "policies": {"path": files.path()},
            "issuers": {
                "corp": {
                    "issuer": "https://corp.example.com", "jwks": {"file": file("corp.json", corp.document())},
                    "revocations": {"file": file("revoked", "[]")},
                },
                "idp": {"issuer": provider.issuer(), "network": {"private": true}},
                "partner": {"issuer": "https://partner.example.com", "jwks": {"file": file("partner.json", corp.document())}},
            },
            "sts": {
                "name": "sts",
                "revocations": {"file": file("own-revoked", "[]")},
                "keys": [{"file": write_key(files.path(), "old.pem")}],
                "issuers": ["corp", "idp"],
                "clients": numbers.clone().map(client).collect::<serde_json::Map<_, _>>(),
                "audiences": numbers.map(target).collect::<serde_json::Map<_, _>>(),
            },
            "resources": {
                "third": {"identifier": audience(3), "kind": "http", "issuers": ["sts"], "routes": ["/x"]},
            },
        });
        let members = members.as_object().unwrap().iter();
        let text: String = members.map(|(name, value)| format!("{name}: {value}\n")).collect();
        let palisade = Palisade::start(&text, "").await.unwrap();
        palisade.wait_for_readiness(200).await.unwrap();
        Self { palisade, corp, provider, files }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.palisade.public)
    }

    /// A token of the issuer `corp` for the first client, with these claims beside or instead.
    fn token(&self, claims: &Value) -> String {
        let now = SystemClock.now().unix_seconds();
        let mut all = json!({
            "iss": "https://corp.example.com", "aud": audience(1), "sub": "alice", "client_id": "app", "jti": "1",
            "iat": now, "exp": now + 3600, "scope": "read write", "roles": ["admin"],
        });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        self.corp.sign(&all).unwrap().to_string()
    }

    async fn post(&self, client: usize, fields: &[(&str, &str)]) -> reqwest::Response {
        let id = format!("c{client}");
        let request = reqwest::Client::new().post(self.url("/oauth2/token"));
        request
            .basic_auth(id, Some(secret(client)))
            .header("content-type", FORM)
            .body(form(fields))
            .send()
            .await
            .unwrap()
    }

    /// Asks for a token for the client `to`, in the name of the client `from`.
    async fn ask(&self, from: usize, token: &str, to: usize, more: &[(&str, &str)]) -> (u16, Value) {
        let target = audience(to);
        let mut fields = vec![
            ("grant_type", EXCHANGE),
            ("subject_token", token),
            ("subject_token_type", ACCESS_TOKEN),
            ("resource", &target),
        ];
        fields.extend_from_slice(more);
        let answer = self.post(from, &fields).await;
        assert_eq!(answer.headers()["cache-control"], "no-store");
        (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
    }

    async fn granted(&self, from: usize, token: &str, to: usize, more: &[(&str, &str)]) -> Value {
        let (status, answer) = self.ask(from, token, to, more).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn refused(&self, from: usize, token: &str, to: usize, more: &[(&str, &str)]) -> String {
        let (status, answer) = self.ask(from, token, to, more).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer.get("access_token").is_none());
        answer["error"].as_str().unwrap().to_owned()
    }

    fn last(&self) -> DecisionRecord {
        self.palisade.decisions().unwrap().pop().unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let answer = reqwest::get(self.url(path)).await.unwrap();
        assert_eq!(answer.status(), 200);
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    /// Whether a call to the resource `third` is let by with this token.
    async fn third_lets_by(&self, token: &str) -> bool {
        let url = format!("http://127.0.0.1:{}/authz/third/x", self.palisade.decision);
        reqwest::Client::new().get(url).bearer_auth(token).send().await.unwrap().status() == 200
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

fn form(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    pairs.join("&")
}

fn token_of(answer: &Value) -> String {
    answer["access_token"].as_str().unwrap().to_owned()
}

fn part(token: &str, place: usize) -> Value {
    let part = token.split('.').nth(place).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn claims(token: &str) -> Value {
    part(token, 1)
}

#[tokio::test]
async fn a_chain_of_three_names_everybody_and_the_last_resource_sees_the_subject_of_the_first_issuer() {
    let service = Service::start().await;
    let first = service.granted(1, &service.token(&json!({"acr": "gold"})), 2, &[("scope", "read")]).await;
    assert_eq!(
        (&first["issued_token_type"], &first["token_type"], &first["expires_in"], &first["scope"]),
        (&json!(ACCESS_TOKEN), &json!("Bearer"), &json!(600), &json!("read"))
    );
    let record = service.last();
    let exchange = record.exchange.as_deref().unwrap();
    assert_eq!(
        (record.decision, record.principal.as_deref()),
        (Outcome::Permit, Some("User::\"corp/alice\""))
    );
    assert_eq!(exchange.requester.as_deref(), Some("Client::\"sts/c1\""));
    assert_eq!(exchange.determining_policies[0].id, "alice-exchanges");

    let token = token_of(&first);
    let base = service.url("");
    let said = claims(&token);
    assert_eq!(part(&token, 0)["typ"], "at+jwt");
    assert_eq!(said["jti"], record.id.to_string());
    assert_eq!(exchange.token_id.as_deref(), Some(format!("jti:{}", record.id).as_str()));
    let subject = json!({"format": "iss_sub", "iss": "https://corp.example.com", "sub": "alice"});
    for (name, expected) in [
        ("iss", json!(base)),
        ("aud", json!(audience(2))),
        ("sub", json!("corp/alice")),
        ("client_id", json!("c1")),
        ("scope", json!("read")),
        ("sub_id", subject.clone()),
        ("sub_profile", json!("user")),
        ("roles", json!(["corp/admin"])),
        ("acr", json!("gold")),
        ("act", json!({"iss": base, "sub": "c1"})),
    ] {
        assert_eq!(said[name], expected, "{name}");
    }
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 600);

    let second = token_of(&service.granted(2, &token, 3, &[]).await);
    let said = claims(&second);
    assert_eq!(said["act"], json!({"iss": base, "sub": "c2", "act": {"iss": base, "sub": "c1"}}));
    assert_eq!(
        (&said["sub_id"], &said["sub"], &said["scope"]),
        (&subject, &json!("corp/alice"), &json!("read"))
    );
    // Who has nothing of ours finds the keys and takes the token, too.
    assert_eq!(verify_with_jose(&base, &audience(3), &second).unwrap(), said);
    assert!(verify_with_jose(&base, &audience(2), &second).is_err());
    // The resource trusts the service alone, and decides on alice of corp.
    assert!(service.third_lets_by(&second).await);
    let record = service.last();
    assert_eq!(record.principal.as_deref(), Some("User::\"corp/alice\""));
    assert_eq!(record.actors, ["Client::\"sts/c2\"", "Client::\"sts/c1\""]);
    assert!(!service.third_lets_by(&token).await, "it is for another");
    assert!(
        !service.third_lets_by(&service.token(&json!({"aud": audience(3)}))).await,
        "it is of corp itself"
    );
}

#[tokio::test]
async fn who_revokes_a_subjects_token_revokes_what_was_issued_for_it() {
    let service = Service::start().await;
    let now = SystemClock.now().unix_seconds();
    let of = |jti: &str| service.token(&json!({"jti": jti, "sid": "s1", "iat": now - 600}));
    let first = token_of(&service.granted(1, &of("one"), 2, &[]).await);
    let second = token_of(&service.granted(2, &first, 3, &[]).await);
    let other = token_of(&service.granted(1, &of("other"), 2, &[]).await);
    let other = token_of(&service.granted(2, &other, 3, &[]).await);
    assert!(service.third_lets_by(&second).await && service.third_lets_by(&other).await);
    std::fs::write(service.files.path().join("revoked"), r#"[{"token": "one"}]"#).unwrap();
    let refused = async || Ok((!service.third_lets_by(&second).await).then_some(()));
    eventually("the list", refused).await.unwrap();
    assert!(service.third_lets_by(&other).await, "the same subject's other token stands");
    for (client, token) in [(1, &of("one")), (2, &first)] {
        assert_eq!(service.refused(client, token, client + 1, &[]).await, "invalid_request");
    }
    // Nor does an actor prove anything by a token that is revoked.
    let agent =
        service.token(&json!({"sub": "agent", "client_id": "agent", "aud": service.url(""), "jti": "one"}));
    let actor = [("actor_token", &*agent), ("actor_token_type", ACCESS_TOKEN)];
    assert_eq!(service.refused(1, &of("other"), 2, &actor).await, "invalid_request");
    let recorded = async || {
        let revoked =
            service.palisade.decisions()?.into_iter().filter(|record| record.reason == Reason::TokenRevoked);
        let said: std::collections::BTreeSet<String> =
            revoked.filter_map(|record| record.surface).map(|surface| format!("{surface:?}")).collect();
        Ok((said.len() == 2).then_some(()))
    };
    eventually("a record of each entry", recorded).await.unwrap();
}

#[tokio::test]
async fn who_revokes_a_token_between_revokes_what_came_of_it() {
    let service = Service::start().await;
    let agent =
        json!({"sub": "agent", "client_id": "agent", "aud": service.url(""), "jti": "agents", "sid": "a1"});
    let agent = service.token(&agent);
    let actor = [("actor_token", &*agent), ("actor_token_type", ACCESS_TOKEN)];
    let subject = service.token(&json!({"jti": "one"}));
    let first = token_of(&service.granted(1, &subject, 2, &[]).await);
    let second = token_of(&service.granted(2, &first, 3, &[]).await);
    let by_agent = token_of(&service.granted(1, &subject, 1, &actor).await);
    let by_agent = token_of(&service.granted(1, &by_agent, 2, &[]).await);
    let by_agent = token_of(&service.granted(2, &by_agent, 3, &[]).await);
    let via = claims(&by_agent)["via"].clone();
    assert_eq!((&via[0]["iss"], &via[0]["jti"]), (&json!("https://corp.example.com"), &json!("agents")));
    assert_eq!((&via[1]["iss"], &via[1]["client_id"]), (&json!(service.url("")), &json!("c1")));
    assert!(service.third_lets_by(&second).await && service.third_lets_by(&by_agent).await);
    let between = json!([{"token": claims(&first)["jti"]}]).to_string();
    for (list, entries, token, stands) in [
        ("own-revoked", &*between, &second, &by_agent),
        ("revoked", r#"[{"session": "a1"}]"#, &by_agent, &second),
    ] {
        std::fs::write(service.files.path().join(list), entries).unwrap();
        let refused = async || Ok((!service.third_lets_by(token).await).then_some(()));
        eventually("the list", refused).await.unwrap();
        assert!(service.third_lets_by(stands).await, "{list}");
        std::fs::write(service.files.path().join(list), "[]").unwrap();
        let again = async || Ok(service.third_lets_by(token).await.then_some(()));
        eventually("no list", again).await.unwrap();
    }
}

#[tokio::test]
async fn a_token_of_a_real_provider_is_exchanged() {
    let service = Service::start().await;
    let token = service.provider.token("alice", &audience(1), "read").await.unwrap();
    // The policies know nobody of this issuer: its alice is another.
    assert_eq!(service.refused(1, &token, 2, &[]).await, "invalid_target");
    let record = service.last();
    assert_eq!((record.reason, record.principal.as_deref()), (Reason::NoPermit, Some("User::\"idp/alice\"")));
}

#[tokio::test]
async fn the_hard_rules_stand_whatever_policies_say() {
    let service = Service::start().await;
    let good = service.token(&json!({}));
    // The confused deputy: the token is for another.
    assert_eq!(service.refused(2, &good, 3, &[]).await, "invalid_request");
    assert_eq!(service.refused(1, &service.token(&json!({"aud": "c1"})), 2, &[]).await, "invalid_request");
    // Scopes never widen, nor does the lifetime.
    let reader =
        service.token(&json!({"scope": "read", "exp": claims(&good)["iat"].as_i64().unwrap() + 100}));
    assert_eq!(service.refused(1, &reader, 2, &[("scope", "read write")]).await, "invalid_scope");
    assert_eq!(service.refused(1, &reader, 2, &[("scope", "admin")]).await, "invalid_scope");
    assert_eq!(service.refused(1, &service.token(&json!({"scope": "other"})), 2, &[]).await, "invalid_scope");
    let answer = service.granted(1, &reader, 2, &[]).await;
    assert!(answer["expires_in"].as_u64().unwrap() <= 100 && answer["scope"] == "read");
    assert_eq!(claims(&token_of(&answer))["exp"], claims(&reader)["exp"]);
    // One more actor than four, and one twice.
    let mut token = good.clone();
    for client in 1..=4 {
        token = token_of(&service.granted(client, &token, client + 1, &[]).await);
    }
    assert_eq!(service.refused(5, &token, 6, &[]).await, "invalid_request");
    let away = token_of(&service.granted(1, &good, 2, &[]).await);
    let back = token_of(&service.granted(2, &away, 1, &[]).await);
    assert_eq!(service.refused(1, &back, 2, &[]).await, "invalid_request");
    assert!(service.last().detail.unwrap().contains("among the actors"));
    // A token of an issuer that is not taken, and one that is no good.
    let foreign = service.token(&json!({"iss": "https://partner.example.com"}));
    assert_eq!(service.refused(1, &foreign, 2, &[]).await, "invalid_request");
    assert_eq!(service.refused(1, "nonsense", 2, &[]).await, "invalid_request");
    // A binding is kept.
    let bound = service.token(&json!({"cnf": {"jkt": "thumbprint"}}));
    let answer = service.granted(1, &bound, 2, &[]).await;
    assert_eq!(answer["token_type"], "DPoP");
    assert_eq!(claims(&token_of(&answer))["cnf"], json!({"jkt": "thumbprint"}));
}

#[tokio::test]
async fn who_may_act_is_proven_by_a_token() {
    let service = Service::start().await;
    let limited = service.token(&json!({"may_act": {"sub": "agent"}}));
    let kind = ("actor_token_type", ACCESS_TOKEN);
    let base = service.url("");
    let of = |name: &str| service.token(&json!({"sub": name, "client_id": name, "aud": base}));
    assert_eq!(service.refused(1, &limited, 2, &[]).await, "invalid_request");
    assert_eq!(
        service.refused(1, &limited, 2, &[("actor_token", &of("other")), kind]).await,
        "invalid_request"
    );
    let user = service.token(&json!({"sub": "agent", "aud": base}));
    assert_eq!(service.refused(1, &limited, 2, &[("actor_token", &user), kind]).await, "invalid_request");
    // What the agent has sent to the client to call it is no proof that the client is the agent.
    let received = service.token(&json!({"sub": "agent", "client_id": "agent"}));
    assert_eq!(service.refused(1, &limited, 2, &[("actor_token", &received), kind]).await, "invalid_request");
    let stolen = {
        let other = SigningKeys::new(vec![SigningKey::generate().unwrap()]).unwrap();
        other.sign(&claims(&of("agent"))).unwrap().to_string()
    };
    assert_eq!(service.refused(1, &limited, 2, &[("actor_token", &stolen), kind]).await, "invalid_request");
    for impossible in [
        json!({"sub": "agent", "iss": "https://partner.example.com"}),
        json!({"sub": "agent", "x": 1}),
        json!("agent"),
    ] {
        let token = service.token(&json!({"may_act": impossible}));
        assert_eq!(
            service.refused(1, &token, 2, &[("actor_token", &of("agent")), kind]).await,
            "invalid_request"
        );
    }
    let answer = service.granted(1, &limited, 2, &[("actor_token", &of("agent")), kind]).await;
    let said = claims(&token_of(&answer));
    assert_eq!(said["act"], json!({"iss": "https://corp.example.com", "sub": "agent"}));
    assert_eq!(said["client_id"], "c1");
    // The restriction goes on: the next one is not who may act.
    assert_eq!(said["may_act"], json!({"sub": "agent", "iss": "https://corp.example.com"}));
    assert_eq!(service.refused(2, &token_of(&answer), 3, &[]).await, "invalid_request");
}

#[tokio::test]
async fn policies_narrow_and_refuse_and_every_answer_is_a_record() {
    let service = Service::start().await;
    let answer = service.granted(1, &service.token(&json!({"sub": "bob"})), 2, &[]).await;
    assert_eq!((&answer["scope"], &answer["expires_in"]), (&json!("read"), &json!(60)));
    let carol = service.token(&json!({"sub": "carol"}));
    let target = audience(2);
    let answer = service
        .post(
            1,
            &[
                ("grant_type", EXCHANGE),
                ("subject_token", &carol),
                ("subject_token_type", ACCESS_TOKEN),
                ("audience", "a2"),
                ("audience", &target),
            ],
        )
        .await;
    let id = answer.headers()["x-palisade-decision-id"].to_str().unwrap().to_owned();
    let body = answer.text().await.unwrap();
    assert!(body.contains("invalid_target") && !body.contains("no_permit"), "{body}");
    let record = service.last();
    assert_eq!((record.id.to_string(), record.reason), (id, Reason::NoPermit));
    assert_eq!(record.target.as_deref(), Some("OAuth::Audience::\"a2\""));
    assert!(record.exchange.unwrap().token_id.is_none());
    let (config, id) = (service.palisade.configuration().display().to_string(), record.id.to_string());
    let explained = run(&["why", &id, "--config", &config]).unwrap();
    let explained = String::from_utf8(explained.stdout).unwrap();
    assert!(
        explained.contains("a2") && explained.contains("no_permit") && explained.contains("sts/c1"),
        "{explained}"
    );
    // An actor of the first issuer stays one of the first issuer.
    let portal = service.token(&json!({"act": {"sub": "portal"}}));
    let first = token_of(&service.granted(1, &portal, 2, &[]).await);
    let (base, corp) = (service.url(""), "https://corp.example.com");
    let acts = json!({"iss": base, "sub": "c1", "act": {"iss": corp, "sub": "portal"}});
    assert_eq!(claims(&first)["act"], acts);
    service.granted(2, &first, 3, &[]).await;
    assert_eq!(service.last().actors, ["Client::\"sts/c1\"", "Client::\"corp/portal\""]);
    // A client acts as itself: what is issued says so, and its resource is told.
    let agent = service.token(&json!({"sub": "agent", "client_id": "agent"}));
    let answer = service.granted(1, &agent, 2, &[]).await;
    assert_eq!(claims(&token_of(&answer))["sub_profile"], "service");
    service.granted(2, &token_of(&answer), 3, &[]).await;
    assert_eq!(service.last().principal.as_deref(), Some("Client::\"corp/agent\""));
}

#[tokio::test]
async fn each_mistake_has_the_error_of_the_rfc() {
    let service = Service::start().await;
    let good = service.token(&json!({}));
    let fields = [
        ("grant_type", EXCHANGE),
        ("subject_token", good.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
        ("audience", "a2"),
    ];
    let client = reqwest::Client::new();
    let post = || client.post(service.url("/oauth2/token")).header("content-type", FORM);
    let error = async |request: reqwest::RequestBuilder| {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        assert_eq!(headers["cache-control"], "no-store");
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        (status, body["error"].as_str().unwrap().to_owned(), headers)
    };
    for (id, password) in [("c1", "wrong"), ("c9", "wrong"), ("c1", "")] {
        let (status, error, headers) = error(post().basic_auth(id, Some(password)).body(form(&fields))).await;
        assert_eq!((status, error.as_str()), (401, "invalid_client"), "{id}");
        assert!(headers["www-authenticate"].to_str().unwrap().starts_with("Basic "));
    }
    let (status, code, _) = error(post().body(form(&fields))).await;
    assert_eq!((status, code.as_str()), (401, "invalid_client"));
    let (status, code, _) = error(post().bearer_auth(&good).body(form(&fields))).await;
    assert_eq!((status, code.as_str()), (401, "invalid_client"));

    let proven = || post().basic_auth("c1", Some(secret(1)));
    let own = secret(1);
    let twice = [&fields[..], &[("client_id", "c1"), ("client_secret", own.as_str())]].concat();
    let other = [&fields[..], &[("client_id", "c2")]].concat();
    for (request, expected) in [
        (proven().body(form(&twice)), "invalid_request"),
        (proven().body(form(&other)), "invalid_request"),
        (
            proven().body(form(&[&fields[..], &[("scope", "read"), ("scope", "read")]].concat())),
            "invalid_request",
        ),
        (proven().body(form(&fields[..1])), "invalid_request"),
        (proven().body(form(&fields[1..])), "invalid_request"),
        (proven().body("grant_type=client_credentials"), "unsupported_grant_type"),
        (proven().body(form(&fields[..3])), "invalid_target"),
        (
            proven().body(form(&[&fields[..], &[("resource", "https://unknown.example.com")]].concat())),
            "invalid_target",
        ),
        (proven().body(form(&[&fields[..], &[("audience", "a3")]].concat())), "invalid_target"),
        (proven().body(form(&[&fields[..], &[("actor_token", "x")]].concat())), "invalid_request"),
        (post().basic_auth("c6", Some(secret(6))).body(form(&fields)), "unauthorized_client"),
        (
            client
                .post(service.url("/oauth2/token?x=1"))
                .header("content-type", FORM)
                .basic_auth("c1", Some(secret(1)))
                .body(form(&fields)),
            "invalid_request",
        ),
        (
            client.post(service.url("/oauth2/token")).header("content-type", "application/json").body("{}"),
            "invalid_request",
        ),
        (proven().body("a=".to_owned() + &"x".repeat(70_000)), "invalid_request"),
    ] {
        let (status, code, headers) = error(request).await;
        assert_eq!((status, code.as_str()), (400, expected));
        assert!(headers.contains_key("x-palisade-decision-id"));
    }
}

#[tokio::test]
async fn a_secret_in_the_body_is_as_good_and_the_log_has_neither_it_nor_a_token() {
    let service = Service::start().await;
    let (good, own, client) = (service.token(&json!({})), secret(1), reqwest::Client::new());
    let fields = [
        ("grant_type", EXCHANGE),
        ("subject_token", good.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
        ("audience", "a2"),
        ("client_id", "c1"),
        ("client_secret", own.as_str()),
    ];
    let post = client.post(service.url("/oauth2/token")).header("content-type", FORM).body(form(&fields));
    assert_eq!(post.send().await.unwrap().status(), 200);
    assert_eq!(client.get(service.url("/oauth2/token")).send().await.unwrap().status(), 405);
    // Neither a token nor a secret is in the log.
    let log: String =
        service.palisade.decisions().unwrap().iter().map(|record| format!("{record:?}")).collect();
    assert!(!log.contains(&good) && !log.contains(&own));
}

#[tokio::test]
async fn keys_rotate_with_an_overlap_and_the_metadata_is_the_configuration_s() {
    let service = Service::start().await;
    let client = reqwest::Client::new();
    let document =
        client.get(service.url("/.well-known/oauth-authorization-server")).header("host", "evil.example.com");
    let document: Value =
        serde_json::from_str(&document.send().await.unwrap().text().await.unwrap()).unwrap();
    let base = service.url("");
    assert_eq!(document["issuer"], base);
    assert_eq!(document["token_endpoint"], format!("{base}/oauth2/token"));
    assert_eq!(document["jwks_uri"], format!("{base}/.well-known/jwks.json"));
    assert_eq!(document["grant_types_supported"], json!([EXCHANGE]));
    let keys = async || {
        let document = service.get("/.well-known/jwks.json").await;
        document["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let before = keys().await;
    let token = async || {
        let first = token_of(&service.granted(1, &service.token(&json!({})), 2, &[]).await);
        token_of(&service.granted(2, &first, 3, &[]).await)
    };
    let old = token().await;
    assert_eq!([part(&old, 0)["kid"].as_str().unwrap()], before[..]);
    assert!(service.third_lets_by(&old).await);

    // The new key is put first, the old one stays published.
    let (new_key, old_key) =
        (write_key(service.files.path(), "new.pem"), service.files.path().join("old.pem"));
    let path = service.palisade.configuration();
    let text = std::fs::read_to_string(&path).unwrap();
    let one = format!("\"keys\":[{{\"file\":\"{}\"}}]", old_key.display());
    let both = format!("\"keys\":[{{\"file\":\"{new_key}\"}},{{\"file\":\"{}\"}}]", old_key.display());
    let only_new = format!("\"keys\":[{{\"file\":\"{new_key}\"}}]");
    assert!(text.contains(&one), "{text}");
    std::fs::write(&path, text.replace(&one, &both)).unwrap();
    eventually("two keys", async || Ok((keys().await.len() == 2).then_some(()))).await.unwrap();
    let new = token().await;
    assert_ne!(part(&new, 0)["kid"], part(&old, 0)["kid"]);
    assert!(service.third_lets_by(&new).await && service.third_lets_by(&old).await);
    // The old one goes.
    std::fs::write(&path, text.replace(&one, &only_new)).unwrap();
    eventually("one key", async || Ok((keys().await.len() == 1).then_some(()))).await.unwrap();
    assert!(service.third_lets_by(&new).await && !service.third_lets_by(&old).await);
}

#[tokio::test]
async fn what_another_service_may_speak_for_is_configured() {
    // A token service elsewhere, whose keys are here: it may speak for corp, and for nobody else.
    let elsewhere = SigningKeys::new(vec![SigningKey::generate().unwrap()]).unwrap();
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("jwks.json"), elsewhere.document()).unwrap();
    let configuration = |origins: &str| {
        format!(
            "version: 1\nissuers:\n  corp: {{issuer: \"https://corp.example.com\", jwks: {{file: jwks.json}}}}\n  partner: {{issuer: \"https://partner.example.com\", jwks: {{file: jwks.json}}}}\n  \
             remote: {{issuer: \"https://sts.example.com\", profile: palisade, {origins} jwks: {{file: jwks.json}}}}\nresources:\n  \
             third: {{identifier: \"https://third.example.com\", kind: http, issuers: [remote]}}\n"
        )
    };
    let path = files.path().join("palisade.yaml");
    let verify = |claims: Value| {
        std::fs::write(files.path().join("token"), elsewhere.sign(&claims).unwrap().as_bytes()).unwrap();
        let (config, token) = (path.display().to_string(), files.path().join("token").display().to_string());
        let output = run(&["token", "verify", "--config", &config, "--resource", "third", &token]).unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let now = SystemClock.now().unix_seconds();
    let claims = |sub_id: Value, act: Value, roles: Value| {
        json!({
            "iss": "https://sts.example.com", "aud": "https://third.example.com", "sub": "corp/alice", "client_id": "c",
            "jti": "1", "iat": now, "exp": now + 60, "sub_profile": "user", "sub_id": sub_id, "act": act, "roles": roles,
        })
    };
    std::fs::write(&path, configuration("")).unwrap();
    assert!(
        verify(claims(json!({}), json!({}), json!([]))).is_empty(),
        "a configuration without origins is refused"
    );
    std::fs::write(&path, configuration("origins: [corp],")).unwrap();
    let alice = || json!({"format": "iss_sub", "iss": "https://corp.example.com", "sub": "alice"});
    let actor = || json!({"sub": "agent"});
    let answer = verify(claims(alice(), actor(), json!(["elsewhere-corp/admin"])));
    assert!(answer.contains("\"accepted\":true") && answer.contains("corp/alice"), "{answer}");
    let of = |issuer: &str| json!({"format": "iss_sub", "iss": issuer, "sub": "alice"});
    for (sub_id, act, roles) in [
        (of("https://partner.example.com"), actor(), json!([])),
        (of("https://unknown.example.com"), actor(), json!([])),
        (of("https://sts.example.com"), actor(), json!([])),
        (json!({"format": "opaque", "id": "alice"}), actor(), json!([])),
        (json!("alice"), actor(), json!([])),
        (alice(), json!({"sub": "agent", "iss": "https://partner.example.com"}), json!([])),
        (alice(), json!({"sub": "agent", "iss": 5}), json!([])),
        (alice(), actor(), json!(["admin"])),
        (alice(), actor(), json!(["/admin"])),
    ] {
        let answer = verify(claims(sub_id.clone(), act, roles));
        assert!(answer.contains("token_claims_invalid"), "{sub_id} {answer}");
    }
}
