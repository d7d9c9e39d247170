//! The OpenTelemetry Collector: takes OTLP, and writes what it took to files before it acknowledges.
//!
//! What it wrote is given back one record, span or metric at a time, with attributes as plain JSON objects
//! instead of the key-value arrays of OTLP.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::process::{Process, eventually};
use super::{components_dir, free_port, repository};

/// A running collector. It takes OTLP over gRPC and over HTTP.
#[derive(Debug)]
pub struct Collector {
    process: Process,
    grpc: u16,
    http: u16,
    files: TempDir,
}

impl Collector {
    /// Why there is no collector on this machine, if it was left out when the components were installed.
    ///
    /// # Errors
    /// If the components are not installed.
    pub fn skipped() -> Result<Option<String>> {
        Ok(fs::read_to_string(components_dir()?.join("collector.skipped")).ok())
    }

    /// Starts a collector with nothing in it.
    ///
    /// # Errors
    /// If it is not installed or does not start.
    pub async fn start() -> Result<Self> {
        if let Some(reason) = Self::skipped()? {
            bail!("no collector: {}", reason.trim());
        }
        let files = TempDir::new()?;
        let (grpc, http) = (free_port()?, free_port()?);
        let text = fs::read_to_string(repository().join("tests/components/collector/config.yaml"))?
            .replace("GRPC_PORT", &grpc.to_string())
            .replace("HTTP_PORT", &http.to_string())
            .replace("DIRECTORY", &files.path().display().to_string());
        fs::write(files.path().join("config.yaml"), text)?;
        let process = launch(&files).await?;
        Ok(Self { process, grpc, http, files })
    }

    /// The endpoint for OTLP over gRPC, `http://127.0.0.1:<port>`.
    pub fn grpc_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc)
    }

    /// The endpoint for OTLP over HTTP, without `/v1/logs` and its like.
    pub fn http_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// All log records so far, in the order of arrival, over restarts too. A record is that of OTLP/JSON
    /// with plain `attributes` and `body`, and with `resource`: the attributes of its resource.
    ///
    /// # Errors
    /// If a file cannot be read or holds something else.
    pub fn logs(&self) -> Result<Vec<Value>> {
        self.read("logs", "resourceLogs", "scopeLogs", "logRecords")
    }

    /// All spans so far, as [`Self::logs`].
    ///
    /// # Errors
    /// As [`Self::logs`].
    pub fn spans(&self) -> Result<Vec<Value>> {
        self.read("traces", "resourceSpans", "scopeSpans", "spans")
    }

    /// All metrics so far, as [`Self::logs`]; data points keep the form of OTLP.
    ///
    /// # Errors
    /// As [`Self::logs`].
    pub fn metrics(&self) -> Result<Vec<Value>> {
        self.read("metrics", "resourceMetrics", "scopeMetrics", "metrics")
    }

    /// Waits until there are log records of which this is true, and returns those.
    ///
    /// # Errors
    /// If there are none after 30 s.
    pub async fn wait_for_logs(&self, wanted: impl Fn(&Value) -> bool) -> Result<Vec<Value>> {
        eventually("log records in the collector", async || {
            let found: Vec<_> = self.logs()?.into_iter().filter(|record| wanted(record)).collect();
            Ok((!found.is_empty()).then_some(found))
        })
        .await
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends the collector as a crash would. What it has acknowledged stays.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Ends it if it runs, and starts it again on the same ports.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.process = launch(&self.files).await?;
        Ok(())
    }

    fn read(&self, file: &str, by_resource: &str, by_scope: &str, members: &str) -> Result<Vec<Value>> {
        let text =
            fs::read_to_string(self.files.path().join(file).with_extension("jsonl")).or_else(|error| {
                if error.kind() == std::io::ErrorKind::NotFound { Ok(String::new()) } else { Err(error) }
            })?;
        let mut all = Vec::new();
        // A line without its end is one that is being written.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let batch: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
            for group in array(batch.get(by_resource)) {
                let resource = plain_map(group.pointer("/resource/attributes"));
                let members = array(group.get(by_scope)).iter().flat_map(|scope| array(scope.get(members)));
                all.extend(members.map(|member| plain_member(member, &resource)));
            }
        }
        Ok(all)
    }
}

async fn launch(files: &TempDir) -> Result<Process> {
    let mut command = Command::new(components_dir()?.join("collector"));
    command.arg("--config").arg(files.path().join("config.yaml"));
    let mut process = Process::start("collector", command)?;
    process.wait_for_line("Everything is ready").await?;
    Ok(process)
}

fn array(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn plain_member(member: &Value, resource: &Value) -> Value {
    let mut plain = member.as_object().cloned().unwrap_or_default();
    plain.insert("attributes".to_owned(), plain_map(member.get("attributes")));
    plain.insert("resource".to_owned(), resource.clone());
    if let Some(body) = member.get("body") {
        plain.insert("body".to_owned(), plain_value(body));
    }
    Value::Object(plain)
}

fn plain_map(pairs: Option<&Value>) -> Value {
    let pairs = array(pairs).iter();
    let map: Map<_, _> = pairs
        .filter_map(|pair| Some((pair.get("key")?.as_str()?.to_owned(), plain_value(pair.get("value")?))))
        .collect();
    Value::Object(map)
}

/// An `AnyValue` of OTLP/JSON as plain JSON. Integers come as strings there (64 bits).
fn plain_value(value: &Value) -> Value {
    let Some((kind, inner)) = value.as_object().and_then(|one| one.iter().next()) else { return Value::Null };
    match kind.as_str() {
        "intValue" => {
            inner.as_str().and_then(|text| text.parse::<i64>().ok()).map_or(inner.clone(), |n| json!(n))
        }
        "arrayValue" => Value::Array(array(inner.get("values")).iter().map(plain_value).collect()),
        "kvlistValue" => plain_map(inner.get("values")),
        _ => inner.clone(),
    }
}
