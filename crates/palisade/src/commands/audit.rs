//! `palisade audit`: the decision log, queried without a service.

use std::{io::Write, ops::ControlFlow, path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use palisade_audit::{
    DecisionRecord, Outcome as Decided, Record,
    query::{self, CountBy, Filter},
};
use palisade_model::{Clock, DecisionId, Reason, SystemClock, Timestamp};
use palisade_server::{config, dev};

use crate::{Outcome, commands::terminal::printable};

/// Query the decision log.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  palisade audit query --config palisade.yaml --since 1h --decision deny")]
pub(crate) struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Query(Query),
}

/// Print the decisions that match, newest first; all conditions must hold.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  palisade audit query --config palisade.yaml --since 1h --decision deny\n  \
    palisade audit query --path audit --principal corp/alice --json\n  \
    palisade audit query --config palisade.yaml --count-by reason"
)]
struct Query {
    #[command(flatten)]
    log: Log,
    /// Not older than this: `15m`, `24h`, or a time such as 2026-11-21T08:00:00Z.
    #[arg(long, value_parser = point_in_time)]
    since: Option<Timestamp>,
    /// Whose authority was used: `corp/alice`, or `User::"corp/alice"`.
    #[arg(long)]
    principal: Option<String>,
    /// The resource.
    #[arg(long)]
    resource: Option<String>,
    /// The action: `tools/call`.
    #[arg(long)]
    action: Option<String>,
    /// How it came out.
    #[arg(long)]
    decision: Option<DecisionArgument>,
    /// The reason code.
    #[arg(long)]
    reason: Option<Reason>,
    /// The id of a policy that decided or failed.
    #[arg(long)]
    policy: Option<String>,
    /// The id of the decision.
    #[arg(long)]
    id: Option<DecisionId>,
    /// Events of this name instead of decisions: `reload_refused`, `shadow_differs`.
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Print counts instead of records.
    #[arg(long, value_name = "FIELD")]
    count_by: Option<CountArgument>,
    /// The most records to print.
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum DecisionArgument {
    Permit,
    Observed,
    Deny,
    StepUp,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum CountArgument {
    Decision,
    Reason,
    Principal,
    Resource,
    Action,
    Target,
    Pep,
    ClientIp,
    Policy,
}

impl Audit {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        match self.command {
            Command::Query(query) => query.run(),
        }
    }
}

/// Which decision log to read.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// The configuration whose decision log to read.
    #[arg(long, value_name = "FILE", conflicts_with = "path")]
    config: Option<PathBuf>,
    /// The folder of the decision log; default: the one of `palisade dev`.
    #[arg(long, value_name = "FOLDER")]
    path: Option<PathBuf>,
}

impl Log {
    pub(crate) fn path(&self) -> anyhow::Result<PathBuf> {
        Ok(match (&self.config, &self.path) {
            (Some(config), _) => config::load::read(config)?.config.audit.path,
            (None, Some(path)) => path.clone(),
            (None, None) => dev::state_folder().join("audit"),
        })
    }
}

impl Query {
    fn run(self) -> anyhow::Result<Outcome> {
        let path = self.log.path()?;
        let filter = self.filter();
        let found = match self.count_by {
            Some(by) => self.print_counts(&path, &filter, by)?,
            None => self.print_records(&path, &filter)?,
        };
        Ok(if found { Outcome::Yes } else { Outcome::No })
    }

    fn filter(&self) -> Filter {
        Filter {
            since: self.since,
            principal: self.principal.clone(),
            resource: self.resource.clone(),
            action: self.action.clone(),
            decision: self.decision.map(|decision| match decision {
                DecisionArgument::Permit => Decided::Permit,
                DecisionArgument::Observed => Decided::Observed,
                DecisionArgument::Deny => Decided::Deny,
                DecisionArgument::StepUp => Decided::StepUp,
            }),
            reason: self.reason,
            policy: self.policy.clone(),
            id: self.id,
            event: self.event.clone(),
            ..Filter::default()
        }
    }

    fn print_records(&self, path: &std::path::Path, filter: &Filter) -> anyhow::Result<bool> {
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        let (mut printed, mut failed) = (0, None);
        query::run(path, filter, |record| {
            let line = if self.json {
                serde_json::to_string(&record).map_err(Into::into)
            } else {
                Ok(human(&record))
            };
            let written = line.and_then(|line: String| writeln!(out, "{line}"));
            printed += 1;
            match written {
                Ok(()) if printed < self.limit => ControlFlow::Continue(()),
                Ok(()) => ControlFlow::Break(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        out.flush()?;
        match failed {
            // Whoever reads has had enough: `palisade audit query | head`.
            Some(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
            Some(_) | None => Ok(printed > 0),
        }
    }

    fn print_counts(
        &self,
        path: &std::path::Path,
        filter: &Filter,
        by: CountArgument,
    ) -> anyhow::Result<bool> {
        let by = match by {
            CountArgument::Decision => CountBy::Decision,
            CountArgument::Reason => CountBy::Reason,
            CountArgument::Principal => CountBy::Principal,
            CountArgument::Resource => CountBy::Resource,
            CountArgument::Action => CountBy::Action,
            CountArgument::Target => CountBy::Target,
            CountArgument::Pep => CountBy::Pep,
            CountArgument::ClientIp => CountBy::ClientIp,
            CountArgument::Policy => CountBy::Policy,
        };
        let (counts, summary) = query::count_by(path, filter, by)?;
        for (value, count) in counts.iter().take(self.limit) {
            if self.json {
                println!("{}", serde_json::json!({ "value": value, "count": count }));
            } else {
                println!("{count:>10}  {}", printable(value));
            }
        }
        Ok(summary.records > 0)
    }
}

/// A record for people: one line, and one more for why.
fn human(record: &Record) -> String {
    match record {
        Record::Decision(record) => human_decision(record),
        Record::Event(event) => {
            let what = serde_json::to_string(&event.event).unwrap_or_default();
            printable(&format!("{}  event    {}  {what}", event.time, event.event.name()))
        }
        Record::Segment(header) => format!("{}  segment  {} {}", header.time, header.series, header.sequence),
    }
}

fn human_decision(record: &DecisionRecord) -> String {
    let times = if record.count > 1 { format!(" ({} times)", record.count) } else { String::new() };
    let mut text = format!(
        "{}  {:<8} {}{times}  {}  {}  {}\n    {}",
        record.time,
        record.decision.as_str(),
        record.reason,
        record.principal.as_deref().unwrap_or("-"),
        record.action.as_deref().unwrap_or("-"),
        record.target.as_deref().or(record.resource.as_ref().map(|name| name.as_str())).unwrap_or("-"),
        record.id,
    );
    for policy in &record.determining_policies {
        text.push_str(&format!("  {} ({}:{})", policy.id, policy.file, policy.line));
    }
    if !record.missing_scopes.is_empty() {
        let scopes: Vec<&str> = record.missing_scopes.iter().map(|scope| scope.as_str()).collect();
        text.push_str(&format!("  missing: {}", scopes.join(" ")));
    }
    if let Some(detail) = &record.detail {
        text.push_str(&format!("  {detail}"));
    }
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

fn point_in_time(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return Ok(SystemClock.now().minus(ago));
    }
    let time = humantime::parse_rfc3339_weak(text).map_err(|_| {
        format!("`{text}` is neither a duration such as 15m nor a time such as 2026-11-21T08:00:00Z")
    })?;
    let since_epoch = time.duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Ok(Timestamp::from_unix_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)))
}
