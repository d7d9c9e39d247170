//! `palisade policy diff`: what a change of policies changes, over the matrix of both sides or over recorded decisions.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use clap::Args;
use palisade_audit::{
    DecisionRecord, Outcome as Decided, Record,
    query::{self, Filter},
};
use palisade_model::Reason;
use palisade_policy::{
    Decided as Answered, Difference, Inquiry, NotRebuilt, Recorded, Side, matrix_questions,
};
use serde::Serialize;

use super::set::{Around, Set, Surroundings};
use crate::{Outcome, commands::terminal::printable};

/// Print which policies and which decisions change between two sets. Exits with 0 if none do, 1 if some do, 2 if a set
/// cannot be used or no decision of the log can be compared.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  palisade policy diff main/policies policies\n  palisade policy diff old new --log audit --config palisade.yaml"
)]
pub(super) struct Diff {
    /// The set as it was.
    #[arg(value_name = "A")]
    before: PathBuf,
    /// The set as it is to be.
    #[arg(value_name = "B")]
    after: PathBuf,
    #[command(flatten)]
    around: Around,
    /// Compare over the decisions of this log, instead of over everybody and everything in the test files.
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// Print the differences as JSON.
    #[arg(long)]
    json: bool,
}

/// What was taken from a decision log, and what was not.
#[derive(Debug, Default, Serialize)]
struct Replay {
    /// The decisions in the log.
    decisions: u64,
    /// Those that were compared.
    compared: u64,
    /// Those that no policy came to: refused tokens, overload and the like.
    not_by_policy: u64,
    /// Those that hold too little to be asked again, and why.
    not_rebuilt: BTreeMap<String, u64>,
    /// Those that A answers differently than was recorded: A is not what they were made with, or more was asked than was
    /// recorded.
    not_reproduced: u64,
    /// The lines that are no records.
    unreadable_lines: u64,
}

impl Diff {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let around = match self.around.read() {
            Ok(around) => around,
            Err(error) => {
                eprintln!("palisade: {error:#}");
                return Ok(Outcome::Misuse);
            }
        };
        let (Some(before), Some(after)) = (load(&around, &self.before), load(&around, &self.after)) else {
            return Ok(Outcome::Misuse);
        };
        let sides = (side(&before), side(&after));
        let (difference, replay) = match &self.log {
            Some(log) => {
                let (asked, replay) = match recorded(log, sides) {
                    Ok(recorded) => recorded,
                    Err(error) => {
                        eprintln!("palisade: {error}");
                        return Ok(Outcome::Misuse);
                    }
                };
                (Difference::of(sides.0, sides.1, asked), Some(replay))
            }
            None => {
                if before.bed.personas.is_empty() && after.bed.personas.is_empty() {
                    eprintln!(
                        "palisade: nobody asks on either side: name personas under `matrix` in a `*.test.yaml`, or give --log"
                    );
                    return Ok(Outcome::Misuse);
                }
                let asked = matrix_questions((sides.0, &before.bed), (sides.1, &after.bed));
                (Difference::of(sides.0, sides.1, asked.into_iter().map(|inquiry| (inquiry, 1))), None)
            }
        };
        self.print(&difference, replay.as_ref())?;
        if replay.is_some_and(|replay| replay.compared == 0) {
            eprintln!(
                "palisade: no recorded decision could be compared, so nothing is known of what changes: give another \
                 --log, or leave it out and compare over the personas of the test files"
            );
            return Ok(Outcome::Misuse);
        }
        Ok(if difference.is_empty() { Outcome::Yes } else { Outcome::No })
    }

    fn print(&self, difference: &Difference, replay: Option<&Replay>) -> anyhow::Result<()> {
        if self.json {
            let mut value = serde_json::to_value(difference)?;
            if let (Some(object), Some(replay)) = (value.as_object_mut(), replay) {
                object.insert("replay".to_owned(), serde_json::to_value(replay)?);
            }
            println!("{value}");
            return Ok(());
        }
        for line in difference.to_string().lines() {
            println!("{}", printable(line));
        }
        replay.into_iter().for_each(print_replay);
        Ok(())
    }
}

fn print_replay(replay: &Replay) {
    println!("of {} recorded decisions, {} were asked again", replay.decisions, replay.compared);
    if replay.not_by_policy > 0 {
        println!("  {} were refused before any policy was asked", replay.not_by_policy);
    }
    for (why, count) in &replay.not_rebuilt {
        println!("  {count} could not be: {why}");
    }
    if replay.not_reproduced > 0 {
        println!(
            "  {} could not be: A does not give the recorded answer, so they were made with other policies, or more \
             was asked than is recorded",
            replay.not_reproduced
        );
    }
    if replay.unreadable_lines > 0 {
        println!("  {} lines of the log are no records", replay.unreadable_lines);
    }
}

fn load(around: &Surroundings, path: &Path) -> Option<Set> {
    match around.load(&around.place(path), None) {
        Ok(set) => {
            set.bed.notes.iter().for_each(|note| eprintln!("{note}"));
            Some(set)
        }
        Err(diagnostics) => {
            diagnostics.iter().for_each(|diagnostic| eprintln!("{diagnostic}"));
            None
        }
    }
}

fn side(set: &Set) -> Side<'_> {
    Side { policies: &set.policies, sources: &set.sources, deployment: &set.bed.deployment }
}

/// The questions of a log that `before` answers as recorded, each with the number of decisions it stands for.
fn recorded(
    log: &Path,
    sides: (Side<'_>, Side<'_>),
) -> Result<(Vec<(Inquiry, u64)>, Replay), palisade_audit::query::QueryError> {
    let mut questions =
        Questions { sides, looked: BTreeMap::new(), asked: BTreeMap::new(), replay: Replay::default() };
    let summary = query::run(log, &Filter::default(), |record| {
        if let Record::Decision(record) = record {
            questions.take(&record);
        }
        ControlFlow::Continue(())
    })?;
    let Questions { mut replay, asked: questions, .. } = questions;
    replay.unreadable_lines = summary.unreadable;
    let mut asked = Vec::new();
    for Question { inquiry, permitted, times } in questions.into_values() {
        if (sides.0.answer(&inquiry).decision == Answered::Permit) == permitted {
            replay.compared += times;
            asked.push((inquiry, times));
        } else {
            replay.not_reproduced += times;
        }
    }
    Ok((asked, replay))
}

/// What has been read of a log.
struct Questions<'a> {
    sides: (Side<'a>, Side<'a>),
    /// Whether the answer to a question hangs on its time, or why it is not to be asked.
    looked: BTreeMap<String, Result<bool, NotRebuilt>>,
    asked: BTreeMap<String, Question>,
    replay: Replay,
}

/// A question, and how many decisions it stands for.
struct Question {
    inquiry: Inquiry,
    permitted: bool,
    times: u64,
}

impl Questions<'_> {
    /// Takes the questions of a record: of a batch, each item's.
    fn take(&mut self, record: &DecisionRecord) {
        let own = (record.action.as_deref(), record.target.as_deref(), record.decision, record.reason);
        let items: Vec<_> = record
            .items
            .iter()
            .map(|item| (Some(item.action.as_str()), Some(item.target.as_str()), item.decision, item.reason))
            .collect();
        let all = if items.is_empty() { vec![own] } else { items };
        for (action, target, decision, reason) in all {
            self.replay.decisions += record.count;
            if !is_of_policy(reason) {
                self.replay.not_by_policy += record.count;
                continue;
            }
            let permitted = decision == Decided::Permit;
            if let Err(why) = self.add(&of_record(record, action, target), permitted) {
                self.leave_out(why, record.count);
                continue;
            }
            // Of a record that counts, all but the count is that of the first.
            if record.count > 1 {
                self.leave_out("only the first of several is recorded", record.count - 1);
            }
        }
    }

    fn add(&mut self, record: &Recorded<'_>, permitted: bool) -> Result<(), NotRebuilt> {
        let inquiry = Inquiry::recorded(record)?;
        let Inquiry { subject, authority, action, target, resource, circumstances, .. } = &inquiry;
        let from = (circumstances.ip, record.surface);
        let key = format!("{:?}", (subject, authority, action, target, resource, from));
        let looked = match self.looked.get(&key) {
            Some(looked) => *looked,
            None => {
                let looked = self.look(&inquiry, record);
                self.looked.insert(key.clone(), looked);
                looked
            }
        };
        let time = looked?.then_some(circumstances.now);
        let question = self.asked.entry(format!("{key}{:?}", (permitted, time)));
        question.or_insert(Question { inquiry, permitted, times: 0 }).times += 1;
        Ok(())
    }

    fn look(&self, inquiry: &Inquiry, record: &Recorded<'_>) -> Result<bool, NotRebuilt> {
        let (before, after) = self.sides;
        Ok(before.hangs_on_time(inquiry, record)? | after.hangs_on_time(inquiry, record)?)
    }

    fn leave_out(&mut self, why: impl ToString, times: u64) {
        *self.replay.not_rebuilt.entry(why.to_string()).or_default() += times;
    }
}

fn of_record<'a>(
    record: &'a DecisionRecord,
    action: Option<&'a str>,
    target: Option<&'a str>,
) -> Recorded<'a> {
    Recorded {
        principal: record.principal.as_deref(),
        principal_in: &record.principal_in,
        client: record.client.as_deref(),
        actors: &record.actors,
        issuer: record.issuer.as_ref(),
        scopes: &record.scopes,
        acr: record.acr.as_deref(),
        action,
        target,
        resource: record.resource.as_ref(),
        client_ip: record.client_ip.as_deref(),
        path: record.path.as_deref(),
        surface: record.surface,
        time: record.time,
        detail: record.detail.as_deref(),
    }
}

/// Whether policies came to this answer.
fn is_of_policy(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Permitted
            | Reason::Observed
            | Reason::NoPermit
            | Reason::Forbidden
            | Reason::PolicyError
            | Reason::InsufficientScope
            | Reason::InsufficientUserAuthentication
            | Reason::TargetUnknown
            | Reason::MethodUnknown
    )
}
