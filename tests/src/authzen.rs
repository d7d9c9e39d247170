//! Cases of the AuthZEN API, and what becomes of them at a decision point.
//!
//! A case is a request with what its answer must be: method, endpoint, content type, body, accepted statuses, expected
//! body and the rule by which the two are compared. Files are JSON or YAML, with a member `cases`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Client, Method, RequestBuilder, header};
use serde::Deserialize;
use serde_json::{Value, json};

/// The most pages of one search.
const MOST_PAGES: usize = 100;

/// One case.
#[derive(Debug, Clone, Deserialize)]
pub struct Case {
    /// Its name.
    pub id: String,
    /// The HTTP method.
    pub method: String,
    /// The path.
    pub endpoint: String,
    /// The content type of the body.
    #[serde(default)]
    pub content_type: Option<String>,
    /// The body.
    #[serde(default)]
    pub body: Option<Value>,
    /// A body that is no JSON.
    #[serde(default)]
    pub raw_body: Option<String>,
    /// The accepted statuses.
    pub expect_status_any_of: Vec<u16>,
    /// What the answer must say.
    #[serde(default)]
    pub expect_body: Option<Value>,
    /// How the two are compared.
    #[serde(default, rename = "match")]
    pub rule: String,
    /// How often it is asked; the answer must be the same each time.
    #[serde(default)]
    pub repeat: Option<usize>,
    /// `omit` or `corrupt`: without the caller's proof, or with a wrong one.
    #[serde(default)]
    pub auth: Option<String>,
    /// Whether pages are followed, and their results put together.
    #[serde(default)]
    pub follow_next_token: bool,
}

#[derive(Debug, Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

/// How an answer is compared with what is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    /// `decision` is the same boolean.
    Decision,
    /// The same, and there is no `evaluations`.
    Single,
    /// `evaluations` has the same decisions in the same order, and no more.
    Evaluations,
    /// `results` holds what is expected, and perhaps more.
    Subset,
    /// `results` is what is expected, in any order.
    Results,
    /// The body is what is expected, where that says anything.
    Contains,
}

impl Match {
    /// Reads a rule: one of our words, or a sentence that says the same.
    fn read(rule: &str) -> Result<Self> {
        Ok(match rule {
            "decision" => Self::Decision,
            "single" => Self::Single,
            "evaluations" => Self::Evaluations,
            "subset" => Self::Subset,
            "results" => Self::Results,
            "contains" => Self::Contains,
            _ if rule.contains("SUBSET") => Self::Subset,
            _ if rule.contains("array exact") => Self::Evaluations,
            _ if rule.contains("no evaluations array") => Self::Single,
            _ if rule.contains("decision equals") => Self::Decision,
            _ => bail!("`{rule}` is no rule"),
        })
    }

    fn check(self, expected: &Value, found: &Value) -> Result<()> {
        match self {
            Self::Decision | Self::Single => {
                ensure!(found.get("decision").is_some_and(Value::is_boolean), "no decision: {found}");
                ensure!(expected.get("decision") == found.get("decision"), "another decision: {found}");
                ensure!(self == Self::Decision || found.get("evaluations").is_none(), "a batch: {found}");
            }
            Self::Evaluations => {
                let decisions = |value: &Value| -> Option<Vec<Option<bool>>> {
                    let items = value.get("evaluations")?.as_array()?.iter();
                    Some(items.map(|item| item.get("decision").and_then(Value::as_bool)).collect())
                };
                ensure!(decisions(expected) == decisions(found), "other decisions: {found}");
            }
            Self::Subset | Self::Results => {
                let results = |value: &Value| value.get("results").and_then(Value::as_array).cloned();
                let found = results(found).with_context(|| format!("no results: {found}"))?;
                let expected = results(expected).unwrap_or_default();
                let missing = expected.iter().find(|wanted| !found.contains(wanted));
                ensure!(missing.is_none(), "{missing:?} is not found: {found:?}");
                let whole = self == Self::Subset || found.len() == expected.len();
                ensure!(whole, "more than expected: {found:?}");
            }
            Self::Contains => ensure!(contains(found, expected), "another body: {found}"),
        }
        Ok(())
    }
}

/// Whether a value says all that another says. Lists have as many elements.
fn contains(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            expected.iter().all(|(name, value)| found.get(name).is_some_and(|found| contains(found, value)))
        }
        (Value::Array(found), Value::Array(expected)) => {
            found.len() == expected.len()
                && found.iter().zip(expected).all(|(found, expected)| contains(found, expected))
        }
        (found, expected) => found == expected,
    }
}

/// Reads the cases of a file, or of every file of a folder in order.
///
/// # Errors
/// When one cannot be read, or has no cases.
pub fn read(path: &Path) -> Result<Vec<Case>> {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        files = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        files.sort();
    }
    let mut all = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file)?;
        let read: Cases = if file.extension().is_some_and(|extension| extension == "json") {
            serde_json::from_str(&text)?
        } else {
            serde_saphyr::from_str(&text).with_context(|| file.display().to_string())?
        };
        all.extend(read.cases);
    }
    ensure!(!all.is_empty(), "{} has no cases", path.display());
    Ok(all)
}

/// A decision point, and what proves its caller.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its URL, without a slash at its end.
    pub url: String,
    /// The header field that proves the caller.
    pub proof: (&'static str, String),
    /// How it is reached.
    pub client: Client,
}

impl Endpoint {
    /// A decision point that takes this key.
    #[must_use]
    pub fn with_key(url: &str, key: &str) -> Self {
        let client = Client::builder().timeout(Duration::from_secs(10)).build().unwrap_or_default();
        Self { url: url.to_owned(), proof: ("x-palisade-key", key.to_owned()), client }
    }

    /// Runs a case: nothing if it passes, else why not.
    ///
    /// # Errors
    /// When the answer is not as the case wants it.
    pub async fn run(&self, case: &Case) -> Result<()> {
        let rule = case.expect_body.as_ref().map(|_| Match::read(&case.rule)).transpose()?;
        let mut first: Option<Value> = None;
        for _ in 0..case.repeat.unwrap_or(1) {
            let body = self.answer(case).await?;
            if let (Some(rule), Some(expected)) = (rule, &case.expect_body) {
                rule.check(expected, &body)?;
            }
            let comparable = without_ids(&body);
            ensure!(
                first.as_ref().is_none_or(|first| *first == comparable),
                "another answer the next time: {body}"
            );
            first = Some(comparable);
        }
        Ok(())
    }

    /// The answer, with the results of all pages where these are followed.
    async fn answer(&self, case: &Case) -> Result<Value> {
        let mut case = case.clone();
        let mut all = Vec::new();
        let mut tokens = BTreeSet::new();
        for _ in 0..MOST_PAGES {
            let mut body = self.ask(&case).await?;
            if !case.follow_next_token {
                return Ok(body);
            }
            all.extend(body.get("results").and_then(Value::as_array).cloned().unwrap_or_default());
            let next =
                body.pointer("/page/next_token").and_then(Value::as_str).unwrap_or_default().to_owned();
            if next.is_empty() {
                if let Some(members) = body.as_object_mut() {
                    members.insert("results".to_owned(), Value::Array(all));
                }
                return Ok(body);
            }
            ensure!(tokens.insert(next.clone()), "the page `{next}` comes again");
            let page =
                case.body.as_mut().and_then(|body| body.get_mut("page")).and_then(Value::as_object_mut);
            page.context("pages are followed of a case without `page`")?
                .insert("token".to_owned(), json!(next));
        }
        bail!("more than {MOST_PAGES} pages")
    }

    /// One request and the checks that hold for every answer.
    async fn ask(&self, case: &Case) -> Result<Value> {
        let id = format!("case-{}", case.id);
        let response = self.request(case)?.header("x-request-id", &id).send().await?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await?;
        ensure!(case.expect_status_any_of.contains(&status), "status {status}: {text}");
        ensure!(
            headers.get("x-request-id").is_some_and(|echoed| *echoed == *id),
            "the request id is not echoed"
        );
        ensure!(status != 401 || headers.contains_key(header::WWW_AUTHENTICATE), "a 401 without a challenge");
        if status == 200 {
            let json = headers.get(header::CONTENT_TYPE).is_some_and(|found| *found == *"application/json");
            ensure!(json, "the answer is no JSON");
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    fn request(&self, case: &Case) -> Result<RequestBuilder> {
        let method: Method = case.method.parse()?;
        let mut request = self.client.request(method, format!("{}{}", self.url, case.endpoint));
        let (name, proof) = &self.proof;
        request = match case.auth.as_deref() {
            None => request.header(*name, proof),
            Some("omit") => request,
            Some("corrupt") => request.header(*name, format!("{proof}x")),
            Some(other) => bail!("`{other}` is no way to prove a caller"),
        };
        if let Some(content_type) = &case.content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let json = case.body.as_ref().map(Value::to_string);
        Ok(match case.raw_body.clone().or(json) {
            Some(body) => request.body(body),
            None => request,
        })
    }
}

/// A body without what differs from one decision to the next.
fn without_ids(body: &Value) -> Value {
    match body {
        Value::Object(members) => {
            let kept = members.iter().filter(|(name, _)| *name != "decision_id");
            Value::Object(kept.map(|(name, value)| (name.clone(), without_ids(value))).collect())
        }
        Value::Array(elements) => elements.iter().map(without_ids).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => body.clone(),
    }
}

/// The configuration that serves `policies/authzen` to a caller with the key in this file, without what the harness adds.
#[must_use]
pub fn configuration(policies: &Path, key: &Path, keys_of_nobody: &Path) -> String {
    format!(
        "policies: {{path: {}, reload: off}}\nissuers:\n  corp: {{issuer: \"https://corp.example.com\", jwks: {{file: {}}}}}\n\
         resources:\n  records: {{identifier: \"https://records.example.com\", kind: http, issuers: [corp]}}\n\
         peps:\n  app: {{auth: {{key: {{file: {}}}}}, surfaces: [authzen, search], resources: [records], assert: [user], properties: \
         [role, status]}}\n",
        policies.display(),
        keys_of_nobody.display(),
        key.display()
    )
}
