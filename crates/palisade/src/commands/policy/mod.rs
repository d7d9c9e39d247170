//! `palisade policy`: what policy authors run before they ship a change, a module a subcommand.

mod check;
mod diff;
mod fmt;
mod generate;
mod matrix;
mod set;
mod test;
mod watch;

use clap::{Args, Subcommand};

use crate::Outcome;

/// Check, test, compare and format policies.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  palisade policy check policies")]
pub(crate) struct Policy {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Check),
    Test(test::Test),
    Fmt(fmt::Fmt),
    Matrix(matrix::Matrix),
    Diff(diff::Diff),
    Generate(generate::Generate),
}

impl Policy {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        match self.command {
            Command::Check(check) => check.run(),
            Command::Test(test) => test.run(),
            Command::Fmt(fmt) => fmt.run(),
            Command::Matrix(matrix) => matrix.run(),
            Command::Diff(diff) => diff.run(),
            Command::Generate(generate) => generate.run(),
        }
    }
}
