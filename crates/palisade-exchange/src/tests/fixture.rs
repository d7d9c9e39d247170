//! A provider, its keys, and orders.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::any,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use palisade_model::{Authority, ManualClock, RawToken, Scopes, Subject, SubjectKind, Timestamp};
use palisade_pdp::{Exchanged, Exchanger, Fingerprint, Order};
use palisade_token::{IssuerSettings, KeySource, Profile, Revocations, Verifier, network::Route};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    ClientAuth, ClientSettings, ExchangeSettings, FromIssuer, Provider, ProviderExchanger, ResultCheck,
    SecretIn, TokenType,
};

pub(super) const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
pub(super) const CORP: &str = "https://login.example.com";
/// One tenant of Entra. A user has another `sub` there in every application, and the same `oid`.
pub(super) const ENTRA: &str = "https://login.microsoftonline.com/6e74172b-be56-4843-9ff4-e66a39bb12e3/v2.0";
pub(super) const ORDERS_AS: &str = "https://as.orders.example.com";
pub(super) const AUDIENCE: &str = "https://orders.example.com";

static KEY: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Came {
    pub(super) path: String,
    pub(super) authorization: Option<String>,
    pub(super) form: Vec<(String, String)>,
}

impl Came {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.form.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "`{name}` came twice");
        value
    }

    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.form.iter().map(|(name, _)| name.as_str()).collect()
    }
}

type Answers = Box<dyn Fn(&Came) -> (u16, Value) + Send>;

/// A token endpoint.
#[derive(Clone)]
pub(super) struct StandIn {
    pub(super) url: String,
    came: Arc<Mutex<Vec<Came>>>,
    answers: Arc<Mutex<Answers>>,
    delay: Arc<Mutex<Duration>>,
    retry_after: Arc<Mutex<Option<&'static str>>>,
}

impl StandIn {
    pub(super) async fn start(answers: impl Fn(&Came) -> (u16, Value) + Send + 'static) -> Self {
        palisade_token::install_crypto_provider();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stand_in = Self {
            url,
            came: Arc::default(),
            answers: Arc::new(Mutex::new(Box::new(answers))),
            delay: Arc::default(),
            retry_after: Arc::default(),
        };
        let router = Router::new().route("/{*path}", any(serve)).with_state(stand_in.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        stand_in
    }

    pub(super) fn answer(&self, answers: impl Fn(&Came) -> (u16, Value) + Send + 'static) {
        *self.answers.lock().unwrap() = Box::new(answers);
    }

    pub(super) fn delay(&self, delay: Duration) {
        *self.delay.lock().unwrap() = delay;
    }

    pub(super) fn retry_after(&self, text: &'static str) {
        *self.retry_after.lock().unwrap() = Some(text);
    }

    pub(super) fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    pub(super) fn settings(&self, provider: Provider) -> ExchangeSettings {
        ExchangeSettings {
            name: "orders".parse().unwrap(),
            provider,
            issuer: from_issuer("corp", CORP),
            issued_by: "corp".parse().unwrap(),
            issued_profile: Profile::Rfc9068,
            token_endpoint: Some(format!("{}/token", self.url).parse().unwrap()),
            client: client(ClientAuth::Secret(Zeroizing::new("s3cret:%".to_owned()), SecretIn::Header)),
            audience: AUDIENCE.to_owned(),
            token_audience: AUDIENCE.to_owned(),
            resources: Vec::new(),
            subject_token_type: TokenType::AccessToken,
            actor: None,
            result: ResultCheck::Verified,
            authorization_server: None,
            route: Route {
                private: true,
                authorities: None,
                proxy: None,
                timeout: Duration::from_secs(5),
                identity: None,
            },
            fingerprint: Fingerprint([7; 32]),
            shared: None,
        }
    }
}

async fn serve(State(stand_in): State<StandIn>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let authorization = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let form = url::form_urlencoded::parse(&body).into_owned().collect();
    let came = Came { path: uri.path().to_owned(), authorization, form };
    let (status, body) = (stand_in.answers.lock().unwrap())(&came);
    stand_in.came.lock().unwrap().push(came);
    let delay = *stand_in.delay.lock().unwrap();
    tokio::time::sleep(delay).await;
    let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
    let status = StatusCode::from_u16(status).unwrap();
    let mut response = (status, [("content-type", "application/json")], body).into_response();
    if let Some(text) = *stand_in.retry_after.lock().unwrap() {
        response.headers_mut().insert("retry-after", text.parse().unwrap());
    }
    response
}

pub(super) fn from_issuer(name: &str, identifier: &str) -> FromIssuer {
    FromIssuer { name: name.parse().unwrap(), identifier: identifier.to_owned(), profile: Profile::Rfc9068 }
}

pub(super) fn client(auth: ClientAuth) -> ClientSettings {
    ClientSettings { id: "gw".to_owned(), auth }
}

/// A private key as PEM, made for this run.
pub(super) fn private_key() -> String {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let der = base64::engine::general_purpose::STANDARD.encode(pair.to_pkcs8v1().unwrap());
    format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n")
}

/// What the provider signs, with these claims in place of the good ones.
pub(super) fn signed(issuer: &str, changes: &Value) -> String {
    let mut claims = json!({
        "iss": issuer, "aud": AUDIENCE, "sub": "alice", "client_id": "gw", "jti": "j1",
        "iat": NOW.unix_seconds(), "exp": NOW.unix_seconds() + 3_600, "scope": "orders.read orders.write",
        "act": {"sub": "gw"},
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    signed_as_it_is(&claims)
}

/// These claims and no others.
pub(super) fn signed_as_it_is(claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message =
        format!("{}.{}", encode(&json!({"alg": "ES256", "kid": "k", "typ": "at+jwt"})), encode(claims));
    let signature = KEY.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A response to a token exchange with this token.
pub(super) fn issued(token: &str) -> Value {
    json!({
        "access_token": token, "token_type": "Bearer", "expires_in": 3_600,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    })
}

/// A good answer for whoever asks.
pub(super) fn good(_: &Came) -> (u16, Value) {
    (200, issued(&signed(CORP, &json!({}))))
}

fn verifier(revoked: &Value) -> Arc<Verifier> {
    let point = &KEY.public_key().as_ref()[1..];
    let (x, y) = point.split_at(32);
    let jwk = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k",
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)});
    let keys = json!({"keys": [jwk]}).to_string();
    let issuer = |name: &str, identifier: &str| IssuerSettings {
        keys: KeySource::Inline(keys.clone()),
        ..IssuerSettings::new(name.parse().unwrap(), identifier.into())
    };
    let list = Revocations::read(revoked.to_string().as_bytes()).unwrap();
    let corp = IssuerSettings { revocations: Some(Arc::new(list)), ..issuer("corp", CORP) };
    let entra = IssuerSettings {
        profile: Profile::EntraV2,
        subject_claim: Some("oid".to_owned()),
        ..issuer("entra", ENTRA)
    };
    let issuers = vec![corp, entra, issuer("orders-as", ORDERS_AS)];
    Arc::new(Verifier::new(issuers, 16 * 1024, Arc::new(ManualClock::at(NOW))).unwrap())
}

static VERIFIER: LazyLock<Arc<Verifier>> = LazyLock::new(|| verifier(&json!([])));

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) issuer: &'static str,
    pub(super) subject: &'static str,
    pub(super) kind: SubjectKind,
    pub(super) token: String,
    pub(super) scopes: &'static [&'static str],
    pub(super) lifetime: Duration,
    pub(super) now: Timestamp,
    pub(super) patience: Duration,
    /// For how long the subject's token is good.
    pub(super) lives: Duration,
    /// What the list of `corp` revokes, where it is not the one of all others.
    pub(super) revoked: Option<Value>,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            issuer: "corp",
            subject: "alice",
            kind: SubjectKind::User,
            token: "alices.token".to_owned(),
            scopes: &["orders.read", "orders.write"],
            lifetime: Duration::from_secs(300),
            now: NOW,
            patience: Duration::from_secs(5),
            lives: Duration::from_secs(600),
            revoked: None,
        }
    }
}

impl Asked {
    pub(super) fn order(&self) -> Order {
        let id = format!("{}/{}", self.issuer, self.subject);
        let subject = Subject { kind: self.kind.clone(), id, ..Subject::anonymous() };
        let authority = Authority {
            issuer: self.issuer.parse().unwrap(),
            audience: BTreeSet::new(),
            scopes: Scopes::new(),
            client: None,
            actors: Vec::new(),
            acr: None,
            amr: BTreeSet::new(),
            auth_time: None,
            groups_complete: true,
            token_id: "jti:s".to_owned(),
            expires_at: NOW.plus(self.lives),
        };
        let scopes = self.scopes.iter().map(|scope| scope.parse().unwrap()).collect();
        let who = (Arc::new(subject), Arc::new(authority));
        let terms = (scopes, self.lifetime);
        let verifier = self.revoked.as_ref().map_or_else(|| Arc::clone(&VERIFIER), verifier);
        Order::for_tests(RawToken::new(&*self.token), who, verifier, terms, self.now, self.patience)
    }
}

/// One exchange by settings of its own, with nothing in store.
pub(super) async fn once(settings: ExchangeSettings, asked: &Asked) -> Exchanged {
    ProviderExchanger::new(settings).unwrap().exchange(asked.order()).done().await
}
