//! `palisade decide`: one decision, made as the service would make it.

use std::{io::Read, path::PathBuf, sync::Arc};

use anyhow::Context;
use clap::Args;
use palisade_audit::Outcome as Recorded;
use palisade_model::{Clock, ExchangeName, RawToken, SystemClock, Timestamp};
use palisade_server::{
    config,
    single::{self, SingleQuestion},
};
use serde_json::Value;

use super::{explanation, serve};
use crate::Outcome;

/// Decide one question as the service would, and explain the answer.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  palisade decide --config palisade.yaml --resource files --token token.txt --action tools/call \
    --target delete_file --input '{\"path\": \"/tmp/a\"}'\n  \
    palisade decide --config palisade.yaml --resource orders --token - --action GET --target /v1/orders/7\n  \
    palisade decide --config palisade.yaml --resource files --token - --exchange orders"
)]
pub(crate) struct Decide {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The resource.
    #[arg(long)]
    resource: String,
    /// A file with the token, or `-` for standard input; without it nobody asks.
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// The method of the protocol: `tools/call`, or `GET`.
    #[arg(long, required_unless_present = "exchange")]
    action: Option<String>,
    /// The tool, prompt, URI or path.
    #[arg(long)]
    target: Option<String>,
    /// The arguments, as a JSON object.
    #[arg(long, value_name = "JSON", value_parser = input)]
    input: Option<Value>,
    /// Instead of an action: exchange the token by this exchange, and say how it went. The issued token is not shown.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["action", "target", "input"], requires = "token")]
    exchange: Option<ExchangeName>,
    /// When it is asked, in seconds since 1970.
    #[arg(long, value_name = "UNIX_SECONDS")]
    at: Option<i64>,
    /// Print the record as JSON.
    #[arg(long)]
    json: bool,
}

impl Decide {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let loaded = config::load::read(&self.config)?;
        let question = SingleQuestion {
            resource: self.resource.clone(),
            token: self.read_token()?,
            action: self.action.unwrap_or_default(),
            exchange: self.exchange,
            target: self.target,
            input: self.input,
            at: self.at.map(Timestamp::from_unix_seconds),
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let record = serve::runtime()?.block_on(single::decide(&loaded, &clock, question))?;
        if self.json {
            println!("{}", serde_json::to_string(&record)?);
        } else {
            print!("{}", explanation::of(&record));
        }
        Ok(match record.decision {
            Recorded::Permit => Outcome::Yes,
            Recorded::Observed | Recorded::Deny | Recorded::StepUp => Outcome::No,
        })
    }

    fn read_token(&self) -> anyhow::Result<Option<RawToken>> {
        let text = match self.token.as_deref() {
            None => return Ok(None),
            Some(path) if path.as_os_str() == "-" => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).context("standard input")?;
                text
            }
            Some(path) => std::fs::read_to_string(path).with_context(|| path.display().to_string())?,
        };
        Ok(Some(RawToken::new(text.trim_end_matches(['\r', '\n']))))
    }
}

fn input(text: &str) -> Result<Value, String> {
    match palisade_json::read(text.as_bytes(), 32) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err("arguments are a JSON object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
