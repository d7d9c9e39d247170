//! What people have, as configuration and policies: Apollo MCP Server's `mcp.yaml`, agentgateway's configuration, Casbin's
//! model and policy; and GraphQL operations ([`operations`]), as policies of the tools that are made of them.
//!
//! The flow: an importer ([`apollo`], [`agentgateway`], [`casbin`]) reads a text, puts what has an exact meaning into a
//! `Draft`, and says in the [`Report`] what became of every key and rule. [`Import`] is the text of the files.
//!
//! It is pure: text in, text out; who calls it reads and writes files. It must not guess, drop anything in silence, or
//! give more than the source gives:
//!
//! - A permission is written only where it holds for no request that the source refuses.
//! - A refusal is written where it holds for every request that the source refuses by it. One that cannot be written
//!   takes the permissions it might have limited out of force: they are written as comments, and the report says so.
//! - What the source does not say (an identifier, an issuer) is a name below `.invalid`, which no token can come from.

pub mod agentgateway;
pub mod apollo;
pub mod casbin;
mod cedar;
mod config;
pub mod operations;
mod report;
mod source;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use palisade_model::{IssuerName, ResourceName};
use serde_json::{Value, json};
use thiserror::Error;

pub use report::{Finding, Outcome, Report};

use cedar::{Effect, Policy};
use config::{Config, Issuer, check_identifier, check_issuer, unknown_identifier, unknown_issuer};

/// What the user says beside the source.
#[derive(Debug, Clone)]
pub struct Options {
    /// The source's name, for the report and comments.
    pub file: String,
    /// The name of the resource; where the source has several, further ones are numbered.
    pub name: ResourceName,
    /// The RFC 8707 identifier, where the source has none.
    pub identifier: Option<String>,
    /// The issuer, where the source has none.
    pub issuer: Option<String>,
}

/// The files of an import, and what became of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// `palisade.yaml`.
    pub config: String,
    /// `policies/<name>.cedar`.
    pub policies: String,
    /// `policies/entities.json`, where there are any.
    pub entities: Option<String>,
    /// Line by line.
    pub report: Report,
}

/// Why nothing can be imported.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImportError {
    /// The source is no YAML.
    #[error("the source is no YAML: {0}")]
    Yaml(String),
    /// The root of the source is no mapping.
    #[error("the source is no mapping of keys")]
    NotAMapping,
    /// There is nothing that could be imported.
    #[error("{0}")]
    Nothing(&'static str),
    /// An option is not what it must be.
    #[error("`{value}`: {why}")]
    Option {
        /// The option's value.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The files cannot be written as text; this is a defect of the import.
    #[error("cannot be written: {0}")]
    Unwritable(String),
}

/// The files as they come together.
#[derive(Debug)]
struct Draft {
    file: String,
    config: Config,
    policies: Vec<Policy>,
    ids: BTreeSet<String>,
    entities: Vec<Value>,
    report: Report,
    /// Resources whose permissions are not in force, and why.
    suspended: BTreeMap<String, String>,
    options: Options,
}

impl Draft {
    fn new(options: &Options) -> Result<Self, ImportError> {
        let refused = |value: &str, why| ImportError::Option { value: value.to_owned(), why };
        if let Some(text) = &options.identifier {
            check_identifier(text).map_err(|why| refused(text, why))?;
        }
        if let Some(text) = &options.issuer {
            check_issuer(text).map_err(|why| refused(text, why))?;
        }
        Ok(Self {
            file: options.file.clone(),
            config: Config::new(),
            policies: Vec::new(),
            ids: BTreeSet::new(),
            entities: Vec::new(),
            report: Report::new(&options.file),
            suspended: BTreeMap::new(),
            options: options.clone(),
        })
    }

    /// The identifier for a resource whose source names none.
    fn missing_identifier(&mut self, line: u64, what: &str, name: &ResourceName) -> String {
        if let Some(given) = self.options.identifier.take() {
            self.report.hint(format!("the identifier `{given}` is the one you gave"));
            return given;
        }
        let unknown = unknown_identifier(name);
        self.report.left(
            line,
            what,
            format!(
                "the source has no identifier that can be used: give --identifier, or replace `{unknown}` in \
                 palisade.yaml by the URL that clients use"
            ),
        );
        unknown
    }

    /// The issuer for a resource whose source names none.
    fn missing_issuer(&mut self, line: u64, what: &str) -> Option<IssuerName> {
        let given = self.options.issuer.clone();
        if let Some(given) = &given {
            self.report.hint(format!("the issuer `{given}` is the one you gave"));
        } else {
            let unknown = unknown_issuer();
            self.report.left(
                line,
                what,
                format!(
                    "the source has no issuer that can be used: give --issuer, or replace `{unknown}` in \
                     palisade.yaml by who issues your tokens"
                ),
            );
        }
        let issuer = given.unwrap_or_else(unknown_issuer);
        let known = self.config.issuers.iter().find(|(_, known)| known.issuer == issuer);
        match known.map(|(name, _)| name.clone()) {
            Some(name) => Some(name),
            None => self.config.add_issuer(Issuer { issuer, ..Issuer::default() }),
        }
    }

    /// An id that no policy has yet: the one that is wanted, or a numbered one.
    fn id(&mut self, wanted: String) -> String {
        let mut id = wanted.clone();
        let mut number = 2;
        while !self.ids.insert(id.clone()) {
            id = format!("{wanted}-{number}");
            number += 1;
        }
        id
    }

    /// Takes the guarded permissions of a resource out of force. The first reason counts.
    fn suspend(&mut self, resource: &ResourceName, line: u64, what: &str) {
        let reason = format!("line {line}, {what}, could not be written and might refuse what this permits");
        self.suspended.entry(resource.to_string()).or_insert(reason);
    }

    /// The comment of a policy: the line it comes from.
    fn origin(&self, line: u64, what: &str) -> Vec<String> {
        vec![format!("{}:{line}: {what}", self.file)]
    }

    fn finish(mut self) -> Result<Import, ImportError> {
        for (resource, reason) in &self.suspended {
            self.report.suspend(resource, reason);
        }
        self.report.sort();
        let mut policies =
            format!("// Written by `palisade import` from {}.\n", report::printable(&self.file));
        for policy in &self.policies {
            let reason = self.suspended.get(&policy.of).filter(|_| policy.guarded);
            let permits = policy.effect == Effect::Permit;
            let in_force = !permits || (reason.is_none() && !policy.reserved);
            policies.push('\n');
            if let Some(reason) = reason.filter(|_| permits) {
                policies.push_str(&format!("// NOT IN FORCE: {}\n", report::printable(reason)));
            }
            policies.push_str(&policy.text(in_force));
        }
        let entities = match self.entities.is_empty() {
            true => None,
            false => {
                let text = serde_json::to_string_pretty(&self.entities)
                    .map_err(|error| ImportError::Unwritable(error.to_string()))?;
                Some(format!("{text}\n"))
            }
        };
        Ok(Import { config: self.config.text(&self.file)?, policies, entities, report: self.report })
    }

    /// Adds an entity of the Cedar entity format without attributes.
    fn entity(&mut self, kind: &str, id: &str, parents: &[(&str, String)]) {
        let uid = |kind: &str, id: &str| json!({"type": kind, "id": id});
        let parents: Vec<Value> = parents.iter().map(|(kind, id)| uid(kind, id)).collect();
        self.entities.push(json!({"uid": uid(kind, id), "attrs": {}, "parents": parents}));
    }
}
