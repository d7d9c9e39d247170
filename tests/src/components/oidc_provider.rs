//! The identity provider: `oidc-provider` on Node, issuing JWT access tokens.
//!
//! A user's token comes from the whole authorization code flow with PKCE, walked as a browser would; only
//! the login page is answered by the provider itself, for the user that `login_hint` names. Settings,
//! key rotation and what was asked for go through `/test/` (see `tests/components/oidc-provider`).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use reqwest::{Client, Url, header, redirect};
use serde_json::Value;
use tempfile::TempDir;

use super::certificates::Certificates;
use super::process::Process;
use super::{json_body, node_script};

const REDIRECT_URI: &str = "https://app.example.com/callback";
// The pair of RFC 7636, appendix B.
const CODE_VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CODE_CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

const AUTHORITY: &str = "authority.pem";
const SERVER: &str = "server.pem";
const HOST: &str = "host";

/// A running identity provider with users `alice`, `bob` and `carol` and the client `agent`.
#[derive(Debug)]
pub struct OidcProvider {
    process: Process,
    issuer: String,
    http: Client,
    files: TempDir,
}

impl OidcProvider {
    /// Starts the provider with the settings of `tests/components/oidc-provider/settings.json`.
    ///
    /// # Errors
    /// If the components are not installed or the provider does not start.
    pub async fn start() -> Result<Self> {
        Self::start_with(&Value::Object(serde_json::Map::new())).await
    }

    /// Starts the provider; members of `settings` replace those of the file.
    ///
    /// # Errors
    /// If the components are not installed or the provider does not start.
    pub async fn start_with(settings: &Value) -> Result<Self> {
        let files = TempDir::new()?;
        fs::write(files.path().join("settings.json"), settings.to_string())?;
        let (process, issuer) = launch(&files, "0").await?;
        // Redirects are walked by hand, since the last one leads to a page that does not exist.
        let http = Client::builder().redirect(redirect::Policy::none()).build()?;
        Ok(Self { process, issuer, http, files })
    }

    /// Starts the provider with TLS as `https://<host>:<port>`, on 127.0.0.1 whatever the host is called, with a
    /// certificate of an authority that nobody knows: see [`Self::authority_file`].
    ///
    /// # Errors
    /// As [`Self::start_with`].
    pub async fn start_with_tls(settings: &Value, host: &str) -> Result<Self> {
        let files = TempDir::new()?;
        fs::write(files.path().join("settings.json"), settings.to_string())?;
        let authority = write_certificates(files.path(), host)?;
        let (process, issuer) = launch(&files, "0").await?;
        let port = Url::parse(&issuer)?.port().context("no port in the issuer")?;
        let http = Client::builder()
            .redirect(redirect::Policy::none())
            .tls_certs_only([reqwest::Certificate::from_pem(authority.as_bytes())?])
            .resolve(host, ([127, 0, 0, 1], port).into())
            .build()?;
        Ok(Self { process, issuer, http, files })
    }

    /// The certificate (PEM) of the authority behind a provider with TLS.
    pub fn authority_file(&self) -> PathBuf {
        self.files.path().join(AUTHORITY)
    }

    /// The port on 127.0.0.1.
    ///
    /// # Errors
    /// If the issuer has none.
    pub fn port(&self) -> Result<u16> {
        Url::parse(&self.issuer)?.port().context("no port in the issuer")
    }

    /// The issuer identifier, `http://127.0.0.1:<port>` without TLS.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The URL of the key set.
    pub fn jwks_uri(&self) -> String {
        format!("{}/jwks", self.issuer)
    }

    /// An access token of this user for this resource (RFC 8707) with these scopes, apart by spaces.
    ///
    /// # Errors
    /// What the provider refuses: an unknown user, resource or scope syntax.
    pub async fn token(&self, user: &str, resource: &str, scopes: &str) -> Result<String> {
        let code = self.authorization_code(user, resource, scopes).await?;
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", "app"),
            ("redirect_uri", REDIRECT_URI),
            ("code", &code),
            ("code_verifier", CODE_VERIFIER),
            ("resource", resource),
        ];
        self.token_request(&form).await
    }

    /// An access token of the client `agent` for itself (client credentials).
    ///
    /// # Errors
    /// What the provider refuses: an unknown resource.
    pub async fn client_token(&self, resource: &str, scopes: &str) -> Result<String> {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "agent"),
            ("client_secret", "agent-secret"),
            ("resource", resource),
            ("scope", scopes),
        ];
        self.token_request(&form).await
    }

    /// Replaces settings from now on, such as `{"users": {"alice": {"roles": []}}}`, `{"alg": "RS256"}`
    /// or `{"token_ttl_s": 2}`. A member is replaced whole.
    ///
    /// # Errors
    /// If the provider does not answer.
    pub async fn set(&self, settings: &Value) -> Result<()> {
        self.test_request("settings", settings.to_string()).await.map(drop)
    }

    /// Signs with a new key from now on; the old keys stay in the key set.
    ///
    /// # Errors
    /// If the provider does not answer.
    pub async fn rotate(&self) -> Result<()> {
        self.test_request("rotate", String::new()).await.map(drop)
    }

    /// Takes all keys but the signing one out of the key set.
    ///
    /// # Errors
    /// If the provider does not answer.
    pub async fn retire(&self) -> Result<()> {
        self.test_request("retire", String::new()).await.map(drop)
    }

    /// How often this path, such as `/jwks`, has been asked for since the start.
    ///
    /// # Errors
    /// If the provider does not answer.
    pub async fn request_count(&self, path: &str) -> Result<u64> {
        let status = json_body(self.http.get(format!("{}/test/status", self.issuer)).send().await?).await?;
        Ok(status.get("requests").and_then(|counts| counts.get(path)).and_then(Value::as_u64).unwrap_or(0))
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends the provider as a crash would.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Ends it if it runs, and starts it again: same issuer, same keys, settings as at the first start.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill()?;
        let port = self.issuer.rsplit(':').next().unwrap_or_default().to_owned();
        (self.process, self.issuer) = launch(&self.files, &port).await?;
        Ok(())
    }

    async fn authorization_code(&self, user: &str, resource: &str, scopes: &str) -> Result<String> {
        let scope = format!("openid {scopes}").trim_end().to_owned();
        let query = [
            ("client_id", "app"),
            ("response_type", "code"),
            ("redirect_uri", REDIRECT_URI),
            ("scope", &scope),
            ("resource", resource),
            ("login_hint", user),
            ("code_challenge", CODE_CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        let mut url = Url::parse_with_params(&format!("{}/auth", self.issuer), query)?;
        let mut cookies: Vec<(String, String)> = Vec::new();
        while url.as_str().starts_with(&self.issuer) {
            let cookie: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let request = self.http.get(url.clone()).header(header::COOKIE, cookie.join("; "));
            let response = request.send().await?;
            for set in response.headers().get_all(header::SET_COOKIE) {
                let pair = set.to_str()?.split(';').next().unwrap_or_default();
                let (name, value) = pair.split_once('=').context("a cookie without a value")?;
                cookies.retain(|(known, _)| known != name);
                cookies.push((name.to_owned(), value.to_owned()));
            }
            let Some(location) = response.headers().get(header::LOCATION) else {
                bail!("{} instead of a redirect: {}", response.status(), response.text().await?);
            };
            url = url.join(location.to_str()?)?;
        }
        let code = url.query_pairs().find(|(name, _)| name == "code").map(|(_, code)| code.into_owned());
        code.with_context(|| format!("no code in {url}"))
    }

    async fn token_request(&self, form: &[(&str, &str)]) -> Result<String> {
        let form = Url::parse_with_params(&self.issuer, form)?.query().unwrap_or_default().to_owned();
        let request = self.http.post(format!("{}/token", self.issuer));
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let answer = json_body(request.send().await?).await?;
        let token =
            answer.get("access_token").and_then(Value::as_str).context("no access token in the answer")?;
        Ok(token.to_owned())
    }

    async fn test_request(&self, what: &str, body: String) -> Result<Value> {
        json_body(self.http.post(format!("{}/test/{what}", self.issuer)).body(body).send().await?).await
    }
}

/// Writes the certificate and key of the provider, and the certificate of the authority that signed it, which comes back.
fn write_certificates(folder: &Path, host: &str) -> Result<String> {
    let Certificates { authority, certificate, key } = Certificates::new(host)?;
    fs::write(folder.join(SERVER), format!("{certificate}{key}"))?;
    fs::write(folder.join(AUTHORITY), &authority)?;
    fs::write(folder.join(HOST), host)?;
    Ok(authority)
}

async fn launch(files: &TempDir, port: &str) -> Result<(Process, String)> {
    let mut command = node_script("oidc-provider/provider.mjs")?;
    command.args(["--port", port]);
    command.arg("--settings").arg(files.path().join("settings.json"));
    command.arg("--keys").arg(files.path().join("keys.json"));
    let tls = files.path().join(SERVER);
    if tls.exists() {
        let host = fs::read_to_string(files.path().join(HOST))?;
        command.arg("--tls").arg(tls).args(["--host", &host]);
    }
    let mut process = Process::start("oidc-provider", command)?;
    let ready = process.wait_for_line("ready ").await?;
    let issuer = ready.strip_prefix("ready ").context("no issuer in the ready line")?.to_owned();
    Ok((process, issuer))
}
