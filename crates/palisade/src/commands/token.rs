//! `palisade token`: verify tokens as the service would, or make one of the development issuer.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use palisade_model::{Clock, RawToken, Scope, SystemClock, Timestamp};
use palisade_server::{
    config,
    dev::{self, Claims, DevIssuer},
};
use palisade_token::Expectation;
use serde_json::json;

use crate::{Outcome, commands::serve};

/// Verify tokens, or make one of the development issuer.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  palisade token verify --config palisade.yaml --resource files tokens.txt"
)]
pub(crate) struct Token {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Verify(Verify),
    Mint(Mint),
}

/// Verify tokens as a resource would: one token a line in, one JSON object a line out.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  palisade token verify --config palisade.yaml --resource files tokens.txt\n\n\
    Prints {\"accepted\":true,\"subject\":...} or {\"accepted\":false,\"reason\":\"<code>\"} and exits with 1 if any was refused."
)]
struct Verify {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The resource the tokens are for.
    #[arg(long, value_name = "NAME")]
    resource: String,
    /// The time to judge them at, in seconds since 1970; default: now.
    #[arg(long, value_name = "UNIX_SECONDS")]
    at: Option<i64>,
    /// A file with one token a line; `-` or none is standard input.
    #[arg(value_name = "FILE")]
    tokens: Option<PathBuf>,
}

/// Make a token of the development issuer; `palisade dev` has to be running.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  palisade token mint --user alice --scope files:read --role admin")]
struct Mint {
    /// The user.
    #[arg(long, default_value = "alice")]
    user: String,
    /// A scope; may be given several times.
    #[arg(long)]
    scope: Vec<Scope>,
    /// A role; may be given several times.
    #[arg(long)]
    role: Vec<String>,
    /// The audience.
    #[arg(long, default_value = dev::RESOURCE)]
    audience: String,
    /// How long it lives.
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: Duration,
}

impl Token {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        match self.command {
            Command::Verify(verify) => serve::runtime()?.block_on(verify.run()),
            Command::Mint(mint) => mint.run(),
        }
    }
}

/// How long to wait for the keys of the issuers.
const PATIENCE: Duration = Duration::from_secs(10);

impl Verify {
    async fn run(self) -> anyhow::Result<Outcome> {
        let loaded = config::load::read(&self.config)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (verifier, resources) = config::build::token_checks(&loaded, &clock)?;
        let Some(resource) = resources.by_name(&self.resource) else {
            let known: BTreeSet<&str> = resources.iter().map(|resource| resource.name.as_str()).collect();
            bail!("there is no resource `{}`; the configuration has {known:?}", self.resource);
        };
        let _refreshers = verifier.start();
        if !verifier.wait_ready(PATIENCE).await {
            eprintln!("palisade: not every issuer's keys could be had within {} s", PATIENCE.as_secs());
        }
        let now = self.at.map_or_else(|| clock.now(), Timestamp::from_unix_seconds);
        let expected = Expectation {
            audiences: &resource.audiences,
            any_audience: resource.any_audience,
            issuers: &resource.issuers,
        };
        let input = self.read()?;
        let mut out = std::io::stdout().lock();
        let mut outcome = Outcome::Yes;
        for line in input.strip_suffix(b"\n").unwrap_or(&input).split(|byte| *byte == b'\n') {
            let token = RawToken::new(String::from_utf8_lossy(line));
            let verdict = match verifier.verify(&token, &expected, now).await {
                Ok(token) => json!({ "accepted": true, "subject": token.subject().entity() }),
                Err(error) => {
                    outcome = Outcome::No;
                    json!({ "accepted": false, "reason": error.reason, "detail": error.detail })
                }
            };
            writeln!(out, "{verdict}")?;
        }
        Ok(outcome)
    }

    fn read(&self) -> anyhow::Result<Vec<u8>> {
        match self.tokens.as_deref().filter(|path| path.as_os_str() != "-") {
            Some(path) => std::fs::read(path).with_context(|| path.display().to_string()),
            None => {
                let mut input = Vec::new();
                std::io::stdin().read_to_end(&mut input).context("standard input")?;
                Ok(input)
            }
        }
    }
}

impl Mint {
    fn run(self) -> anyhow::Result<Outcome> {
        let issuer = DevIssuer::load(&dev::key_file(&dev::state_folder()))?;
        let claims = Claims {
            user: self.user,
            scopes: self.scope,
            roles: self.role,
            audience: self.audience,
            ttl: self.ttl,
        };
        println!("{}", issuer.mint(&claims, SystemClock.now())?);
        Ok(Outcome::Yes)
    }
}
