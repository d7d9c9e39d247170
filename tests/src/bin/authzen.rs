//! Runs cases of the AuthZEN API against a decision point, and prints a table.
//!
//! ```text
//! cargo build -p palisade
//! cargo run -p palisade-tests --bin authzen                      # the project's own cases, at a service of its own
//! cargo run -p palisade-tests --bin authzen -- --cases FILE      # others
//! cargo run -p palisade-tests --bin authzen -- --cases FILE --endpoint http://127.0.0.1:7254 --key FILE
//! ```
//!
//! Without an endpoint it starts the service with `policies/authzen`. It exits with 1 if a case fails.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints what it finds")]

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use palisade_tests::{
    authzen::{self, Case, Endpoint},
    components::repository,
    service::Palisade,
};

/// The key of the caller at a service of its own.
const KEY: &str = "0123456789abcdef0123456789abcdef";

struct Settings {
    cases: PathBuf,
    endpoint: Option<String>,
    key: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("authzen: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<bool> {
    let settings = settings()?;
    let cases = authzen::read(&settings.cases)?;
    let (endpoint, _service) = match (&settings.endpoint, &settings.key) {
        (Some(url), Some(key)) => (Endpoint::with_key(url, fs::read_to_string(key)?.trim_end()), None),
        (None, None) => {
            let (endpoint, service) = start().await?;
            (endpoint, Some(service))
        }
        (Some(_), None) | (None, Some(_)) => bail!("`--endpoint` and `--key` come together"),
    };
    let width = cases.iter().map(|case| case.id.len()).max().unwrap_or_default();
    let mut passed = 0;
    for case in &cases {
        let outcome = endpoint.run(case).await;
        passed += usize::from(outcome.is_ok());
        println!("{}", row(case, width, outcome.err()));
    }
    println!("{passed} of {} passed", cases.len());
    Ok(passed == cases.len())
}

fn row(case: &Case, width: usize, failure: Option<anyhow::Error>) -> String {
    let Case { id, method, endpoint, .. } = case;
    let verdict = if failure.is_none() { "pass" } else { "FAIL" };
    let why = failure.map(|why| format!("  {why:#}")).unwrap_or_default();
    format!("{verdict}  {id:width$}  {method:4} {endpoint:26}{why}").trim_end().to_owned()
}

/// A service with the policy set of the fixture.
async fn start() -> Result<(Endpoint, (Palisade, tempfile::TempDir))> {
    let folder = tempfile::tempdir()?;
    let (key, keys) = (folder.path().join("app.key"), folder.path().join("jwks.json"));
    fs::write(&key, KEY)?;
    fs::write(&keys, r#"{"keys":[]}"#)?;
    let configuration = authzen::configuration(&repository().join("policies/authzen"), &key, &keys);
    let service = Palisade::start(&configuration, "").await?;
    let endpoint = Endpoint::with_key(&format!("http://127.0.0.1:{}", service.decision), KEY);
    Ok((endpoint, (service, folder)))
}

fn settings() -> Result<Settings> {
    let cases = repository().join("tests/cases/authzen");
    let mut settings = Settings { cases, endpoint: None, key: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("`{name}` needs a value"))?;
        match name.as_str() {
            "--cases" => settings.cases = value.into(),
            "--endpoint" => settings.endpoint = Some(value.trim_end_matches('/').to_owned()),
            "--key" => settings.key = Some(value.into()),
            _ => bail!("`{name}` is none of `--cases`, `--endpoint`, `--key`"),
        }
    }
    Ok(settings)
}
