//! The service itself as a child process: the real binary with a configuration of the test's own.
//!
//! Ports and the folder of the decision log are the harness's; the rest of the configuration is the test's.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result};
use palisade_audit::{DecisionRecord, Record, query};
use tempfile::TempDir;

use crate::components::{Process, eventually, free_port};

/// A running `palisade serve`.
#[derive(Debug)]
pub struct Palisade {
    folder: TempDir,
    process: Option<Process>,
    /// The authorities that it trusts in place of the system's.
    authorities: Option<PathBuf>,
    /// The port of the decision listener.
    pub decision: u16,
    /// The port of the public listener.
    pub public: u16,
    /// The port of the admin listener.
    pub admin: u16,
}

/// The binary, as the build of the tests has made it.
///
/// # Errors
/// When it is not there; the message says how to make it.
pub fn binary() -> Result<PathBuf> {
    // A test lies in `deps` of the profile's folder, a benchmark in the folder itself.
    let own = std::env::current_exe()?;
    let mut beside = own.ancestors().skip(1).take(2).map(|folder| folder.join("palisade"));
    let found = beside.find(|path| path.is_file());
    found.context("`palisade` is not built beside this: run tests/run, or `cargo build -p palisade`")
}

/// Runs a command of the binary to its end.
///
/// # Errors
/// When it cannot be started.
pub fn run(arguments: &[&str]) -> Result<Output> {
    Command::new(binary()?).args(arguments).output().context("palisade cannot be started")
}

impl Palisade {
    /// Starts the service with this configuration, without its `version`, `listen` and `audit.path`, and waits until
    /// it answers. `audit` is the inside of the section `audit`.
    ///
    /// # Errors
    /// When it ends, or does not answer within 30 s.
    pub async fn start(configuration: &str, audit: &str) -> Result<Self> {
        Self::start_trusting(configuration, audit, None).await
    }

    /// The same with other certificate authorities than the system's.
    ///
    /// # Errors
    /// When it ends, or does not answer within 30 s.
    pub async fn start_trusting(
        configuration: &str,
        audit: &str,
        authorities: Option<PathBuf>,
    ) -> Result<Self> {
        let folder = TempDir::new()?;
        let (decision, public, admin) = (free_port()?, free_port()?, free_port()?);
        let text = format!(
            "version: 1\nlisten:\n  decision: {{address: 127.0.0.1:{decision}}}\n  public: {{address: 127.0.0.1:{public}, base_url: \"http://127.0.0.1:{public}\"}}\n  \
             admin: {{address: 127.0.0.1:{admin}}}\naudit: {{path: audit, {audit}}}\n{configuration}\n"
        );
        fs::write(folder.path().join("palisade.yaml"), text)?;
        let mut palisade = Self { folder, process: None, authorities, decision, public, admin };
        palisade.restart().await?;
        Ok(palisade)
    }

    /// The folder with `palisade.yaml` and the decision log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration file.
    pub fn configuration(&self) -> PathBuf {
        self.folder().join("palisade.yaml")
    }

    /// Ends it as a crash would, if it runs, and starts it again on the same ports and files.
    ///
    /// # Errors
    /// When it does not answer within 30 s.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill()?;
        let mut command = Command::new(binary()?);
        command.arg("serve").arg("--config").arg(self.configuration()).env("RUST_LOG", "info");
        // Metrics go out every second: a test does not wait a minute for them.
        command.env("OTEL_METRIC_EXPORT_INTERVAL", "1000");
        if let Some(authorities) = &self.authorities {
            command.env("SSL_CERT_FILE", authorities);
        }
        let mut process = Process::start("palisade", command)?;
        let health = format!("http://127.0.0.1:{}/healthz", self.admin);
        let answers = async |_: &str| Ok(reqwest::get(&health).await.is_ok().then_some(()));
        process.wait_until("an answer of /healthz", answers).await?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it as a crash would (SIGKILL).
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Ends it as an operator would (SIGTERM), and waits for its end.
    ///
    /// # Errors
    /// When it does not end within 30 s.
    pub async fn terminate(&mut self) -> Result<()> {
        let process = self.process.as_mut().context("it does not run")?;
        process.signal("TERM")?;
        let ended = async || Ok(process.check_running().is_err().then_some(()));
        eventually("the end of the service", ended).await?;
        self.process = None;
        Ok(())
    }

    /// The id of the process; 0 where it does not run.
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().map_or(0, Process::pid)
    }

    /// The process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("it does not run")
    }

    /// The id of the process, where it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Waits until `/readyz` answers with this status.
    ///
    /// # Errors
    /// When it does not within 30 s.
    pub async fn wait_for_readiness(&self, status: u16) -> Result<serde_json::Value> {
        let url = format!("http://127.0.0.1:{}/readyz", self.admin);
        eventually("readiness", async || {
            let Ok(answer) = reqwest::get(&url).await else { return Ok(None) };
            if answer.status().as_u16() != status {
                return Ok(None);
            }
            Ok(Some(serde_json::from_str(&answer.text().await?)?))
        })
        .await
    }

    /// What an admin path answers.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn admin(&self, path: &str) -> Result<String> {
        Ok(reqwest::get(format!("http://127.0.0.1:{}{path}", self.admin)).await?.text().await?)
    }

    /// Every record of the decision log, oldest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn records(&self) -> Result<Vec<Record>> {
        let filter = query::Filter { order: query::Order::OldestFirst, ..query::Filter::default() };
        let mut records = Vec::new();
        query::run(&self.folder().join("audit"), &filter, |record| {
            records.push(record);
            ControlFlow::Continue(())
        })?;
        Ok(records)
    }

    /// Every decision of the decision log, oldest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn decisions(&self) -> Result<Vec<DecisionRecord>> {
        let decision = |record| match record {
            Record::Decision(decision) => Some(*decision),
            Record::Event(_) | Record::Segment(_) => None,
        };
        Ok(self.records()?.into_iter().filter_map(decision).collect())
    }
}

impl Drop for Palisade {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
