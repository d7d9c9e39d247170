//! The `palisade` command: one module a command, wiring only.
//!
//! Exit status: 0 on success, 1 on "no" (refused, invalid, failed), 2 on misuse (what a question needs is missing). What a command finds out goes to
//! standard output; everything else goes to standard error.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to its user")]

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use commands::terminal::complain;
use palisade_server::config::ConfigError;

/// After a load the C library's allocator goes through what the load has left free while requests wait: with 100,000
/// policies a decision then took up to four times as long.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Authorization for MCP servers and HTTP services behind a proxy.
#[derive(Debug, Parser)]
#[command(name = "palisade", version, propagate_version = true, after_help = "Example:\n  palisade dev")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(commands::dev::Dev),
    Serve(commands::serve::Serve),
    Mcp(commands::mcp::Mcp),
    Decide(commands::decide::Decide),
    Why(commands::why::Why),
    Config(commands::config::Config),
    Token(commands::token::Token),
    Policy(commands::policy::Policy),
    Tools(commands::tools::Tools),
    Import(commands::import::Import),
    Audit(commands::audit::Audit),
}

/// What a command came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done, and the answer is yes.
    Yes,
    /// Done, and the answer is no.
    No,
    /// Not done: what was given cannot be used, and that has been said.
    Misuse,
}

impl Outcome {
    /// What an error means where being refused or failing is the answer: "no", unless there is no such configuration.
    pub(crate) fn refused(error: anyhow::Error) -> anyhow::Result<Self> {
        if matches!(error.downcast_ref(), Some(ConfigError::Read { .. })) {
            return Err(error);
        }
        complain(&error);
        Ok(Self::No)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    palisade_token::install_crypto_provider();
    let outcome = match cli.command {
        Command::Dev(command) => command.run().or_else(Outcome::refused),
        Command::Serve(command) => command.run().or_else(Outcome::refused),
        Command::Mcp(command) => command.run().or_else(Outcome::refused),
        Command::Decide(command) => command.run(),
        Command::Why(command) => command.run().or_else(Outcome::refused),
        Command::Config(command) => command.run().or_else(Outcome::refused),
        Command::Token(command) => command.run(),
        Command::Policy(command) => command.run(),
        Command::Tools(command) => command.run(),
        Command::Import(command) => command.run(),
        Command::Audit(command) => command.run().or_else(Outcome::refused),
    };
    match outcome {
        Ok(Outcome::Yes) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(1),
        Ok(Outcome::Misuse) => ExitCode::from(2),
        // Nothing was found out: the question could not even be put.
        Err(error) => {
            complain(&error);
            ExitCode::from(2)
        }
    }
}
