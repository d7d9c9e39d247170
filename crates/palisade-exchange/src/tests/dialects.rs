use std::collections::BTreeSet;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use palisade_model::SubjectKind;
use palisade_pdp::FailureKind;
use palisade_token::Profile;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::fixture::{
    AUDIENCE, Asked, CORP, Came, ENTRA, NOW, ORDERS_AS, StandIn, client, from_issuer, good, issued, once,
    private_key, signed, signed_as_it_is,
};
use crate::{
    Actor, AuthorizationServer, ClientAuth, ExchangeSettings, FromIssuer, Provider, ProviderExchanger,
    ResultCheck, SecretIn, SetupError, SigningKey, TokenType,
};

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

fn form(came: &Came) -> Value {
    let members = came.form.iter().map(|(name, value)| (name.clone(), json!(value)));
    Value::Object(members.collect())
}

#[tokio::test]
async fn a_token_exchange_is_as_rfc_8693_has_it() {
    let provider = StandIn::start(good).await;
    let mut settings = provider.settings(Provider::Rfc8693);
    settings.resources = vec!["https://orders.example.com/api".to_owned()];
    // The gateway's own token, for the provider.
    let actors_token = signed(CORP, &json!({"sub": "gw", "client_id": "gw", "aud": CORP}));
    settings.actor = Some(Actor { token: Zeroizing::new(actors_token.clone()), token_type: TokenType::Jwt });
    let token = once(settings, &Asked::default()).await.result.unwrap();
    assert_eq!(token.actors, ["corp/gw"]);
    let came = &provider.came()[0];
    assert_eq!(
        form(came),
        json!({
            "grant_type": TOKEN_EXCHANGE, "subject_token": "alices.token", "subject_token_type": ACCESS_TOKEN,
            "actor_token": actors_token, "actor_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "requested_token_type": ACCESS_TOKEN, "audience": AUDIENCE,
            "resource": "https://orders.example.com/api", "scope": "orders.read orders.write",
        })
    );
    // RFC 6749 section 2.3.1: both parts are encoded before they are put together.
    let basic = format!("Basic {}", STANDARD.encode("gw:s3cret%3A%25"));
    assert_eq!(came.authorization, Some(basic));
}

#[tokio::test]
async fn where_an_actors_token_was_sent_it_is_that_one_who_acts() {
    let gateway = signed(CORP, &json!({"sub": "gw", "client_id": "gw", "aud": CORP}));
    for (act, actor, says) in [
        (json!({"sub": "gw"}), &*gateway, None),
        (json!({"sub": "gw", "act": {"sub": "other"}}), &*gateway, None),
        (json!({"sub": "other"}), &*gateway, Some("another actor")),
        (json!({"sub": "other", "act": {"sub": "gw"}}), &*gateway, Some("another actor")),
        (json!({"sub": "gw"}), "opaque.actors.token", Some("the actor's own token is not accepted")),
    ] {
        let token = signed(CORP, &json!({"act": act.clone()}));
        let provider = StandIn::start(move |_| (200, issued(&token))).await;
        let mut settings = provider.settings(Provider::Rfc8693);
        let token = Zeroizing::new(actor.to_owned());
        settings.actor = Some(Actor { token, token_type: TokenType::AccessToken });
        let done = once(settings, &Asked::default()).await.result;
        match (&done, says) {
            (Ok(_), None) => {}
            (Err(failure), Some(says)) => assert!(failure.detail.contains(says), "{act}: {failure:?}"),
            (_, _) => panic!("{act}: {done:?}"),
        }
    }
    // A provider that says nothing of an actor has not understood that there is one.
    let claims = json!({
        "iss": CORP, "aud": AUDIENCE, "sub": "alice", "client_id": "gw", "jti": "j", "iat": NOW.unix_seconds(),
        "exp": NOW.unix_seconds() + 60, "scope": "orders.read",
    });
    let token = signed_as_it_is(&claims);
    let provider = StandIn::start(move |_| (200, issued(&token))).await;
    let mut settings = provider.settings(Provider::Rfc8693);
    settings.actor = Some(Actor { token: Zeroizing::new(gateway), token_type: TokenType::AccessToken });
    let failure = once(settings, &Asked::default()).await.result.unwrap_err();
    assert!(failure.detail.contains("another actor"), "{failure:?}");
}

#[tokio::test]
async fn a_client_that_acts_as_itself_is_exchanged_only_where_the_result_can_say_so() {
    let agent = Asked { subject: "agent", kind: SubjectKind::Client, ..Asked::default() };
    let token = signed(CORP, &json!({"sub": "agent"}));
    let provider = StandIn::start(move |_| (200, issued(&token))).await;
    // By RFC 9068 that would be the token of a user with the client's name: nobody is asked for it.
    let failure = once(provider.settings(Provider::Rfc8693), &agent).await.result.unwrap_err();
    assert_eq!((failure.kind, provider.came().len()), (FailureKind::Refused, 0), "{failure:?}");
    assert!(failure.detail.contains("cannot be told from a user's"), "{failure:?}");
    // Its own token for itself can be told, and what nobody reads here is the upstream's to judge.
    let own = Asked { subject: "gw", kind: SubjectKind::Client, ..Asked::default() };
    let token = signed(CORP, &json!({"sub": "gw", "client_id": "gw"}));
    provider.answer(move |_| (200, issued(&token)));
    assert!(once(provider.settings(Provider::Rfc8693), &own).await.result.is_ok());
    let opaque = ExchangeSettings { result: ResultCheck::Opaque, ..provider.settings(Provider::Rfc8693) };
    assert!(once(opaque, &agent).await.result.is_ok());
}

#[tokio::test]
async fn a_client_proves_itself_as_it_is_configured() {
    let secret = |place| ClientAuth::Secret(Zeroizing::new("s3cret".to_owned()), place);
    let key = SigningKey::from_pem(private_key().as_bytes(), Some("k1".to_owned()), Some("thumb".to_owned()))
        .unwrap();
    for (auth, expected) in [
        (secret(SecretIn::Body), &["client_id", "client_secret"][..]),
        (ClientAuth::Key(key), &["client_id", "client_assertion", "client_assertion_type"]),
        (ClientAuth::Certificate, &["client_id"]),
    ] {
        let provider = StandIn::start(good).await;
        let settings = ExchangeSettings { client: client(auth), ..provider.settings(Provider::Rfc8693) };
        assert!(once(settings, &Asked::default()).await.result.is_ok());
        let came = &provider.came()[0];
        assert_eq!(came.authorization, None);
        let sent: BTreeSet<&str> =
            came.names().into_iter().filter(|name| name.starts_with("client_")).collect();
        assert_eq!(sent, expected.iter().copied().collect());
        assert_eq!(came.get("client_id"), Some("gw"));
    }
    assert_eq!(SigningKey::from_pem(b"no key", None, None).unwrap_err(), SetupError::Key);
}

#[tokio::test]
async fn an_assertion_is_for_the_one_server_that_is_asked() {
    for (provider_kind, is_endpoint) in [
        (Provider::Rfc8693, false),
        (Provider::Keycloak, false),
        (Provider::Auth0, false),
        (Provider::Okta, true),
        (Provider::Entra, true),
    ] {
        let provider = StandIn::start(good).await;
        let key = SigningKey::from_pem(private_key().as_bytes(), Some("k1".to_owned()), None).unwrap();
        let settings =
            ExchangeSettings { client: client(ClientAuth::Key(key)), ..provider.settings(provider_kind) };
        drop(once(settings, &Asked::default()).await);
        let came = &provider.came()[0];
        let assertion = came.get("client_assertion").unwrap();
        let part = |at: usize| -> Value {
            let part = assertion.split('.').nth(at).unwrap();
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        assert_eq!((&part(0)["alg"], &part(0)["kid"]), (&json!("ES256"), &json!("k1")));
        let claims = part(1);
        let endpoint = format!("{}/token", provider.url);
        let audience = if is_endpoint { endpoint.as_str() } else { CORP };
        assert_eq!(
            (&claims["iss"], &claims["sub"], &claims["aud"]),
            (&json!("gw"), &json!("gw"), &json!(audience))
        );
        assert_eq!(claims["exp"].as_i64().unwrap() - NOW.unix_seconds(), 60);
        assert_eq!(claims["jti"].as_str().unwrap().len(), 32);
    }
}

/// Entra's on-behalf-of flow, as it is documented.
async fn entra(answer: (u16, Value)) -> (StandIn, ExchangeSettings) {
    let provider = StandIn::start(move |_| answer.clone()).await;
    let secret = ClientAuth::Secret(Zeroizing::new("s3cret".to_owned()), SecretIn::Body);
    let settings = ExchangeSettings {
        client: client(secret),
        audience: "api://orders".to_owned(),
        issuer: FromIssuer { profile: Profile::EntraV2, ..from_issuer("entra", ENTRA) },
        issued_by: "entra".parse().unwrap(),
        issued_profile: Profile::EntraV2,
        ..provider.settings(Provider::Entra)
    };
    (provider, settings)
}

/// What Entra issues for an application: `sub` is this user's in this application alone, `oid` is hers everywhere.
fn of_entra(oid: &str) -> String {
    signed_as_it_is(&json!({
        "iss": ENTRA, "aud": AUDIENCE, "tid": "6e74172b-be56-4843-9ff4-e66a39bb12e3", "ver": "2.0",
        "sub": format!("pairwise-{oid}-of-orders"), "oid": oid, "azp": "gw", "azpacr": "1",
        "scp": "orders.read orders.write", "iat": NOW.unix_seconds(), "nbf": NOW.unix_seconds(),
        "exp": NOW.unix_seconds() + 3_600, "uti": "u1",
    }))
}

fn alice_of_entra() -> Asked {
    Asked { issuer: "entra", ..Asked::default() }
}

#[tokio::test]
async fn entra_is_asked_on_behalf_of_the_user() {
    // No `issued_token_type`, and scopes with the target before them.
    let answer = json!({
        "token_type": "Bearer", "scope": "api://orders/orders.read api://orders/orders.write", "expires_in": 3_269,
        "ext_expires_in": 0, "access_token": of_entra("alice"), "refresh_token": "r",
    });
    let (provider, settings) = entra((200, answer.clone())).await;
    once(settings.clone(), &alice_of_entra()).await.result.unwrap();
    assert_eq!(
        form(&provider.came()[0]),
        json!({
            "grant_type": JWT_BEARER, "requested_token_use": "on_behalf_of", "assertion": "alices.token",
            "scope": "api://orders/orders.read api://orders/orders.write", "client_id": "gw", "client_secret": "s3cret",
        })
    );
    let app_only = Asked { kind: SubjectKind::Client, ..alice_of_entra() };
    let failure = once(settings.clone(), &app_only).await.result.unwrap_err();
    assert_eq!((failure.kind, provider.came().len()), (FailureKind::Refused, 1), "{failure:?}");
    let mut of_bob = answer;
    of_bob["access_token"] = json!(of_entra("bob"));
    provider.answer(move |_| (200, of_bob.clone()));
    let failure = once(settings, &alice_of_entra()).await.result.unwrap_err();
    assert!(failure.detail.contains("another subject"), "{failure:?}");
}

#[tokio::test]
async fn entra_says_by_numbers_what_is_wrong() {
    let claims =
        r#"{"access_token":{"polids":{"essential":true,"values":["9ab03e19-ed42-4168-b6b7-7001fb3e933a"]}}}"#;
    let error = |error: &str, code: u64, more: Value| {
        let mut body = json!({
            "error": error, "error_description": format!("AADSTS{code}: words."), "error_codes": [code],
            "timestamp": "2026-11-20 18:05:38Z", "trace_id": "0000", "correlation_id": "0000",
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (body, kind, passed_on) in [
        (
            error("interaction_required", 50_079, json!({"claims": claims})),
            FailureKind::InteractionRequired,
            true,
        ),
        (error("interaction_required", 50_076, json!({})), FailureKind::InteractionRequired, false),
        (
            error("invalid_grant", 50_076, json!({"claims": "no object"})),
            FailureKind::InteractionRequired,
            false,
        ),
        (
            error("invalid_grant", 65_001, json!({"suberror": "consent_required"})),
            FailureKind::ConsentRequired,
            false,
        ),
        (error("invalid_grant", 53_003, json!({"claims": claims})), FailureKind::InteractionRequired, true),
        (error("invalid_grant", 50_013, json!({})), FailureKind::Refused, false),
        (error("invalid_request", 500_131, json!({})), FailureKind::Refused, false),
        (error("invalid_client", 700_027, json!({})), FailureKind::Refused, false),
        (error("temporarily_unavailable", 90_033, json!({})), FailureKind::Unavailable, false),
    ] {
        let (_provider, settings) = entra((400, body.clone())).await;
        let failure = once(settings, &alice_of_entra()).await.result.unwrap_err();
        assert_eq!(failure.kind, kind, "{body}");
        assert_eq!(failure.claims.as_deref(), passed_on.then_some(claims), "{body}");
        let said = failure.said.unwrap();
        assert_eq!(said.error.as_deref(), body["error"].as_str());
        assert!(said.codes.contains(&body["error_codes"][0].to_string()), "{said:?}");
        assert!(said.description.unwrap().starts_with("AADSTS"));
    }
}

/// The user's provider and the authorization server of the upstream, on one port.
async fn id_jag(answers: impl Fn(&Came) -> (u16, Value) + Send + 'static) -> (StandIn, ExchangeSettings) {
    let provider = StandIn::start(answers).await;
    let secret = |text: &str| ClientAuth::Secret(Zeroizing::new(text.to_owned()), SecretIn::Body);
    let mut settings = provider.settings(Provider::IdJag);
    settings.client = client(secret("at-the-provider"));
    settings.issued_by = "orders-as".parse().unwrap();
    settings.subject_token_type = TokenType::IdToken;
    settings.resources = vec![AUDIENCE.to_owned()];
    settings.authorization_server = Some(AuthorizationServer {
        issuer: from_issuer("orders-as", ORDERS_AS),
        token_endpoint: Some(format!("{}/as/token", provider.url).parse().unwrap()),
        client: client(secret("at-the-server")),
    });
    (provider, settings)
}

fn assertion() -> Value {
    json!({"access_token": "id.jag.assertion", "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag",
        "token_type": "N_A", "expires_in": 300, "scope": "orders.read orders.write"})
}

#[tokio::test]
async fn an_identity_assertion_is_had_from_the_one_and_redeemed_at_the_other() {
    let (provider, settings) = id_jag(|came| match came.path.as_str() {
        "/token" => (200, assertion()),
        _ => (200, json!({"access_token": signed(ORDERS_AS, &json!({})), "token_type": "Bearer", "expires_in": 3_600})),
    })
    .await;
    let token = once(settings, &Asked::default()).await.result.unwrap();
    assert_eq!(token.actors, ["orders-as/gw"]);
    let came = provider.came();
    assert_eq!(
        form(&came[0]),
        json!({
            "grant_type": TOKEN_EXCHANGE, "subject_token": "alices.token",
            "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
            "requested_token_type": "urn:ietf:params:oauth:token-type:id-jag", "audience": ORDERS_AS,
            "resource": AUDIENCE, "scope": "orders.read orders.write",
            "client_id": "gw", "client_secret": "at-the-provider",
        })
    );
    assert_eq!(
        form(&came[1]),
        json!({
            "grant_type": JWT_BEARER, "assertion": "id.jag.assertion", "scope": "orders.read orders.write",
            "client_id": "gw", "client_secret": "at-the-server",
        })
    );
}

#[tokio::test]
async fn either_step_can_fail_and_nothing_else_is_tried() {
    for (at_provider, at_server, requests, kind) in [
        ((400, json!({"error": "invalid_request"})), (200, json!({})), 1, FailureKind::Refused),
        // An access token in place of the assertion is not sent on to another server.
        ((200, issued("a.b.c")), (200, json!({})), 1, FailureKind::Refused),
        ((200, assertion()), (400, json!({"error": "invalid_grant"})), 2, FailureKind::Refused),
        (
            (200, assertion()),
            (401, json!({"error": "insufficient_user_authentication"})),
            2,
            FailureKind::InteractionRequired,
        ),
        (
            (200, assertion()),
            (200, json!({"access_token": signed(CORP, &json!({})), "token_type": "Bearer"})),
            2,
            FailureKind::Refused,
        ),
    ] {
        let told = format!("{at_provider:?} {at_server:?}");
        let (provider, settings) = id_jag(move |came| match came.path.as_str() {
            "/token" => at_provider.clone(),
            _ => at_server.clone(),
        })
        .await;
        let failure = once(settings, &Asked::default()).await.result.unwrap_err();
        assert_eq!((failure.kind, provider.came().len()), (kind, requests), "{told}: {failure:?}");
    }
    let provider = StandIn::start(good).await;
    let without = ProviderExchanger::new(provider.settings(Provider::IdJag));
    assert!(matches!(without, Err(SetupError::Settings(_))));
}

#[tokio::test]
async fn the_endpoint_is_where_the_metadata_of_the_issuer_says() {
    let provider = StandIn::start(good).await;
    let (identifier, own) = (provider.url.clone(), provider.url.clone());
    provider.answer(move |came| match came.path.as_str() {
        "/.well-known/oauth-authorization-server" => {
            (200, json!({"issuer": own, "token_endpoint": format!("{own}/found")}))
        }
        _ => good(came),
    });
    let mut settings = provider.settings(Provider::Rfc8693);
    (settings.token_endpoint, settings.issuer.identifier) = (None, identifier);
    once(settings.clone(), &Asked::default()).await.result.unwrap();
    let paths: Vec<String> = provider.came().into_iter().map(|came| came.path).collect();
    assert_eq!(paths, ["/.well-known/oauth-authorization-server", "/found"]);
    // A token is not sent where the metadata of another, or another's site, would have it.
    for (issuer, endpoint) in [
        ("https://other.example.com", "/found"),
        (&*settings.issuer.identifier, "https://evil.example.com/token"),
    ] {
        let metadata = json!({"issuer": issuer, "token_endpoint": endpoint});
        provider.answer(move |_| (200, metadata.clone()));
        let before = provider.came().len();
        let failure = once(settings.clone(), &Asked::default()).await.result.unwrap_err();
        assert_eq!(
            (failure.kind, provider.came().len() - before),
            (FailureKind::Unavailable, 1),
            "{failure:?}"
        );
    }
}
