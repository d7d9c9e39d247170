//! The servers that are compared: each a process of its own on the servers' processor.

use std::{process::Command, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

use super::{
    answer::Reading,
    calls::Form,
    cores::Cores,
    load::{self, Call},
    matrix::Matrix,
    peers::Peer,
    roles::Role,
    usage::{Memory, ProcessorTime},
    world::World,
};
use crate::{
    components::{Envoy, HiveGateway, Process},
    service::Palisade,
};

/// How long a reading of a server's processor time waits between two looks, and what counts as idle between them.
const PAUSE: Duration = Duration::from_millis(50);
const IDLE: Duration = Duration::from_millis(4);
/// How many looks it takes at most.
const LOOKS: usize = 200;

/// One running server.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) form: Form,
    /// It answers without having decided.
    is_null: bool,
    server: Server,
    /// Servers whose processor time is a part of this one's answers.
    beside: Vec<u32>,
}

#[derive(Debug)]
enum Server {
    Process(Process),
    Palisade(Palisade),
    Envoy(Envoy),
    Router(HiveGateway),
}

/// How Palisade records.
#[derive(Debug, Clone)]
pub(crate) enum Recording<'a> {
    /// Every decision is written before it is answered; records, traces and metrics go to this receiver.
    Full { otlp: &'a str },
    /// Every decision is written before it is answered, and nothing is exported.
    Written,
    /// Every decision is queued for writing, and nothing is exported: the least that can be configured.
    Least,
}

/// A server of this program as a process of its own, with what it is given, and its port.
pub(crate) async fn own(role: Role, given: Option<&str>) -> Result<(Process, u16)> {
    let name = role.name()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--role", &name]);
    if let Some(given) = given {
        command.args(["--given", given]);
    }
    let mut process = Process::start(&format!("bench-{name}"), command)?;
    let line = process.wait_for_line("ready ").await?;
    let port = line.split_whitespace().last().context("no port")?.parse()?;
    Ok((process, port))
}

impl Side {
    /// The floor.
    pub(crate) async fn null(cores: &Cores) -> Result<Self> {
        let _held = cores.for_server()?;
        let (process, port) = own(Role::Null, None).await?;
        Ok(Self::of("null", port, Form::ExtAuthz, Server::Process(process)).without_decision())
    }

    /// Palisade with these rules.
    pub(crate) async fn palisade(
        cores: &Cores,
        name: &str,
        world: &World,
        (matrix, entities): (&Matrix, usize),
        recording: Recording<'_>,
    ) -> Result<Self> {
        let policies = world.policies(matrix, entities)?;
        let (configuration, audit) = match recording {
            Recording::Full { otlp } => (
                world.configuration(&policies, Some(otlp)),
                format!("durability: written, otlp: {{endpoint: \"{otlp}\"}}"),
            ),
            Recording::Written => (world.configuration(&policies, None), "durability: written".to_owned()),
            Recording::Least => (world.configuration(&policies, None), "durability: queued".to_owned()),
        };
        let palisade = service(cores, &configuration, &audit).await?;
        Ok(Self::of(name, palisade.decision, Form::ExtAuthz, Server::Palisade(palisade)))
    }

    /// A service whose gateway listens there, in front of this server.
    pub(crate) async fn gateway(
        cores: &Cores,
        name: &str,
        configuration: &str,
        port: u16,
        upstream: &Self,
    ) -> Result<Self> {
        let palisade = service(cores, configuration, "").await?;
        Ok(Self::of(name, port, Form::Client, Server::Palisade(palisade)).with(upstream.pid()?))
    }

    /// A service of this configuration, which is asked as by Envoy.
    pub(crate) async fn configured(cores: &Cores, name: &str, configuration: &str) -> Result<Self> {
        let palisade = service(cores, configuration, "").await?;
        Ok(Self::of(name, palisade.decision, Form::ExtAuthz, Server::Palisade(palisade)))
    }

    /// A GraphQL router.
    pub(crate) fn router(name: &str, router: HiveGateway) -> Self {
        Self::of(name, router.port(), Form::Client, Server::Router(router))
    }

    /// An MCP server of this program: with what decides in front of it, or without.
    pub(crate) async fn mcp(cores: &Cores, name: &str, decides: Option<&str>) -> Result<Self> {
        let _held = cores.for_server()?;
        let (process, port) = own(Role::Mcp, decides).await?;
        let side = Self::of(name, port, Form::Client, Server::Process(process));
        Ok(if decides.is_some() { side } else { side.without_decision() })
    }

    /// A peer.
    pub(crate) fn peer(name: &str, form: Form, peer: Peer) -> Self {
        let Peer { process, port } = peer;
        Self::of(name, port, form, Server::Process(process))
    }

    /// An Envoy of this configuration.
    pub(crate) async fn envoy(cores: &Cores, name: &str, configuration: &str, decides: bool) -> Result<Self> {
        let _held = cores.for_server()?;
        let envoy = Envoy::start(configuration).await?;
        let side = Self::of(name, envoy.port(), Form::Proxy, Server::Envoy(envoy));
        Ok(if decides { side } else { side.without_decision() })
    }

    fn of(name: &str, port: u16, form: Form, server: Server) -> Self {
        Self { name: name.to_owned(), port, form, is_null: false, server, beside: Vec::new() }
    }

    fn without_decision(self) -> Self {
        Self { is_null: true, ..self }
    }

    /// The same, with a server whose processor time is a part of the answers.
    pub(crate) fn with(mut self, pid: u32) -> Self {
        self.beside.push(pid);
        self
    }

    pub(crate) fn reading(&self) -> Reading {
        match (self.form, &self.server) {
            (Form::ExtAuthz, _) => Reading::ExtAuthz,
            (Form::Cerbos, _) => Reading::Cerbos,
            (Form::Proxy, _) => Reading::Status,
            (Form::Client, Server::Router(_)) => Reading::Graphql,
            (Form::Client, Server::Process(_) | Server::Palisade(_) | Server::Envoy(_)) => Reading::Mcp,
        }
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        match &self.server {
            Server::Process(process) => Ok(process.pid()),
            Server::Palisade(palisade) => palisade.pid().context("it does not run"),
            Server::Envoy(envoy) => Ok(envoy.pid()),
            Server::Router(router) => Ok(router.pid()),
        }
    }

    pub(crate) fn processor_time(&self) -> Result<ProcessorTime> {
        let mut all = ProcessorTime::of(self.pid()?)?;
        for pid in &self.beside {
            all.add(&ProcessorTime::of(*pid)?);
        }
        Ok(all)
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        Memory::of(self.pid()?)
    }

    /// Waits until the server does nothing any more: what it still owes when the answers are there is a part of them.
    pub(crate) fn settled(&self) -> Result<ProcessorTime> {
        let mut before = self.processor_time()?;
        for _ in 0..LOOKS {
            std::thread::sleep(PAUSE);
            let now = self.processor_time()?;
            if now.since(&before).total() < IDLE {
                return Ok(now);
            }
            before = now;
        }
        Ok(before)
    }

    /// The right answers of this side to calls.
    pub(crate) fn expecting(&self, calls: Vec<Call>) -> Arc<[Call]> {
        let expect = |call: Call| if self.is_null { Call { permitted: Some(true), ..call } } else { call };
        calls.into_iter().map(expect).collect()
    }

    /// The answers to all of these: whether each permits, and its body.
    pub(crate) async fn answers(&self, calls: &[Call]) -> Result<Vec<(bool, Bytes)>> {
        load::answers(self.port, self.form.over(), calls, self.reading()).await
    }

    /// Asks everything, and holds every answer against the right one.
    pub(crate) async fn compare(&self, world: &World, matrix: &Matrix) -> Result<usize> {
        let questions = matrix.questions(0..COMPARED);
        let calls = self.form.warm(&world.issuer, matrix, &questions)?;
        let answers = self.answers(&calls).await?;
        for (question, (answer, _)) in questions.iter().zip(answers).filter(|_| !self.is_null) {
            ensure!(answer == question.permitted, "{} answers {answer} to {question:?}", self.name);
        }
        Ok(questions.len())
    }
}

/// A service on the servers' processor.
pub(crate) async fn service(cores: &Cores, configuration: &str, audit: &str) -> Result<Palisade> {
    let _held = cores.for_server()?;
    let palisade = Palisade::start(configuration, audit).await?;
    palisade.wait_for_readiness(200).await?;
    Ok(palisade)
}

/// How many subjects' questions are compared.
const COMPARED: usize = 60;
