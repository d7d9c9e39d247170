//! `palisade why`: a decision explained from its record alone.

use std::{ops::ControlFlow, path::PathBuf};

use anyhow::bail;
use clap::Args;
use palisade_audit::{Outcome as Decided, Record, query};
use palisade_model::DecisionId;

use super::{audit, explanation};
use crate::Outcome;

/// Explain a recorded decision: what decided it, which permits came nearest, and what would help.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  palisade why 01a1fbe7-369a-7e09-8aaa-cbed1b0b92ef --config palisade.yaml\n  \
    palisade why"
)]
pub(crate) struct Why {
    /// The id of the decision, `x-palisade-decision-id` of the answer; default: the newest that was no permit.
    id: Option<DecisionId>,
    #[command(flatten)]
    log: audit::Log,
    /// Print the record as JSON.
    #[arg(long)]
    json: bool,
}

impl Why {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let path: PathBuf = self.log.path()?;
        let filter = query::Filter { id: self.id, ..query::Filter::default() };
        let mut found = None;
        query::run(&path, &filter, |record| match record {
            Record::Decision(record) if self.id.is_some() || record.decision != Decided::Permit => {
                found = Some(record);
                ControlFlow::Break(())
            }
            Record::Decision(_) | Record::Event(_) | Record::Segment(_) => ControlFlow::Continue(()),
        })?;
        let Some(record) = found else {
            let path = path.display();
            match self.id {
                Some(id) => bail!(
                    "{path} has no decision {id}: it is of another log, or its segment was exported and deleted; ask the collector \
                     for `palisade.id`"
                ),
                None => bail!("{path} has no decision that was not a permit"),
            }
        };
        if self.json {
            println!("{}", serde_json::to_string(&record)?);
        } else {
            print!("{}", explanation::of(&record));
        }
        Ok(Outcome::Yes)
    }
}
