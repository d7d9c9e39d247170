//! The load: requests at a fixed rate, or as fast as answers come.
//!
//! At a fixed rate requests go out whether or not earlier ones have been answered, and a latency counts from the moment
//! a request was meant to go out: a server that stalls is charged with every request that came meanwhile. Requests are
//! made ahead. Every answer is read as far as its decision. A denial in place of a permit can be one for want of time, and
//! is counted and told; if most are, or a permit comes in place of a denial, the measurement fails.
//!
//! One thread with one runtime drives the load, so that it never takes more than the processor it is given.

mod connection;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail, ensure};
use bytes::Bytes;
use http::Request;
use tokio::{
    task::{JoinSet, yield_now},
    time::timeout,
};

use super::{
    answer::Reading,
    cores::Cores,
    latency::{Latencies, float},
};
use connection::Connection;
pub(crate) use connection::Over;

/// How long the answers may take that are still out when the last request was sent.
const LAST_ANSWERS: Duration = Duration::from_secs(20);
/// A wait that the timer of the runtime is good enough for.
const LONG: Duration = Duration::from_millis(5);
/// How many answers in a thousand may be denials for want of time: where most are, something else is wrong.
const LATE_IN_A_THOUSAND: usize = 500;
/// How many requests are out on a connection in a closed loop.
pub(crate) const IN_FLIGHT: usize = 16;
/// How many connections a proxy of a few workers has.
pub(crate) const CONNECTIONS: usize = 4;

/// A request as it goes out, and the right answer; none where every answer will do.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) request: Request<()>,
    pub(crate) body: Bytes,
    pub(crate) permitted: Option<bool>,
}

/// When requests go out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// As answers come: this many are out on every connection.
    Closed(usize),
    /// This many in a second, in equal distances.
    Open(f64),
}

/// What is asked, of whom, how and for how long.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) port: u16,
    pub(crate) over: Over,
    pub(crate) calls: Arc<[Call]>,
    pub(crate) reading: Reading,
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
    pub(crate) length: Duration,
    /// Each call goes out once, and the load ends early when there are no more.
    pub(crate) once: bool,
    /// A denial in place of a permit makes the measurement fail, however few there are.
    pub(crate) strict: bool,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) latencies: Latencies,
    /// Denials in place of permits. Their latencies count.
    pub(crate) late: usize,
    pub(crate) elapsed: Duration,
    /// The part of its processor that the load itself took.
    pub(crate) generator: f64,
}

/// What the tasks of a load share.
#[derive(Debug, Default)]
struct Shared {
    sent: usize,
    latencies: Vec<Duration>,
    late: usize,
    /// What one of the late denials says.
    denial: Bytes,
    wrong: Option<anyhow::Error>,
}

impl Load {
    /// Runs on a thread of its own, on the generator's processor.
    pub(crate) fn run(&self, cores: &Cores) -> Result<Sample> {
        thread::scope(|scope| {
            let driven = scope.spawn(|| {
                cores.take_generators()?;
                let runtime =
                    tokio::runtime::Builder::new_current_thread().event_interval(16).enable_all().build()?;
                runtime.block_on(self.drive())
            });
            driven.join().map_err(|_| anyhow!("the load panicked"))?
        })
    }

    async fn drive(&self) -> Result<Sample> {
        ensure!(!self.calls.is_empty() && self.connections > 0, "there is nothing to ask");
        let mut connections = Vec::new();
        for _ in 0..self.connections {
            connections.push(Connection::open(self.over, self.port).await?);
        }
        let shared = Arc::new(Mutex::new(Shared::default()));
        let busy = super::usage::own_time();
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        match self.pace {
            Pace::Closed(in_flight) => {
                for connection in &connections {
                    for _ in 0..in_flight {
                        tasks.spawn(self.clone().repeat(connection.clone(), Arc::clone(&shared), began));
                    }
                }
            }
            Pace::Open(rate) => self.pace(&connections, rate, &shared, &mut tasks).await,
        }
        let limit = self.length + LAST_ANSWERS;
        timeout(limit, async { while tasks.join_next().await.is_some() {} })
            .await
            .map_err(|_| anyhow!("answers are still missing after {} s", limit.as_secs()))?;
        let elapsed = began.elapsed();
        let busy = super::usage::own_time().saturating_sub(busy);
        let Shared { latencies, late, denial, wrong, .. } = std::mem::take(&mut *lock(&shared));
        if let Some(error) = wrong {
            return Err(error);
        }
        ensure!(
            late * 1_000 <= latencies.len() * LATE_IN_A_THOUSAND,
            "{late} of {} were denied in place of permits, one with {}",
            latencies.len(),
            String::from_utf8_lossy(&denial)
        );
        let generator = busy.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
        Ok(Sample { latencies: Latencies::new(latencies), late, elapsed, generator })
    }

    /// The call of this number; none where each goes out once and all have.
    fn call(&self, number: usize) -> Option<&Call> {
        if self.once { self.calls.get(number) } else { self.calls.get(number % self.calls.len()) }
    }

    /// An answer, if it is one: where the load is strict, only the right one is.
    fn judged(&self, call: &Call, answered: Result<(bool, Bytes)>) -> Result<(bool, Bytes)> {
        let (permitted, body) = answered?;
        let is_right = call.permitted.is_none_or(|expected| expected == permitted);
        ensure!(is_right || !self.strict, "not what is to be answered: {}", String::from_utf8_lossy(&body));
        Ok((permitted, body))
    }

    /// One request after the other on a connection.
    async fn repeat(self, mut connection: Connection, shared: Arc<Mutex<Shared>>, began: Instant) {
        while began.elapsed() < self.length {
            let number = {
                let mut shared = lock(&shared);
                shared.sent += 1;
                shared.sent - 1
            };
            let Some(call) = self.call(number) else { return };
            let sent = Instant::now();
            let answered = connection.ask(call, self.reading).await;
            if !note(&shared, call, self.judged(call, answered), sent) {
                return;
            }
        }
    }

    /// Sends at a rate. It never waits for an answer; between two requests it lets the answers be read.
    async fn pace(
        &self,
        connections: &[Connection],
        rate: f64,
        shared: &Arc<Mutex<Shared>>,
        tasks: &mut JoinSet<()>,
    ) {
        let began = Instant::now() + Duration::from_millis(1);
        for number in 0.. {
            let meant = began + Duration::from_secs_f64(float(number) / rate);
            if meant.duration_since(began) >= self.length {
                return;
            }
            wait_until(meant, || while tasks.try_join_next().is_some() {}).await;
            let (load, shared) = (self.clone(), Arc::clone(shared));
            let Some(mut connection) = connections.get(number % connections.len()).cloned() else { return };
            if self.call(number).is_none() {
                return;
            }
            tasks.spawn(async move {
                let Some(call) = load.call(number) else { return };
                let answered = connection.ask(call, load.reading).await;
                note(&shared, call, load.judged(call, answered), meant);
            });
        }
    }
}

/// Until then, with the runtime at work meanwhile. The timer's milliseconds are too coarse for what is measured, so
/// it sleeps only through long waits.
async fn wait_until(meant: Instant, mut between: impl FnMut()) {
    loop {
        let left = meant.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        between();
        if left > LONG {
            tokio::time::sleep(left - LONG).await;
        } else {
            yield_now().await;
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes an answer down. False where it was none, or lets by what it must not.
fn note(shared: &Mutex<Shared>, call: &Call, answered: Result<(bool, Bytes)>, since: Instant) -> bool {
    let latency = since.elapsed();
    let mut shared = lock(shared);
    let wrong = match answered {
        Ok((true, _)) if call.permitted == Some(false) => anyhow!("permitted what is to be denied"),
        Ok((permitted, body)) => {
            if !permitted && call.permitted == Some(true) {
                shared.late += 1;
                shared.denial = body;
            }
            shared.latencies.push(latency);
            return true;
        }
        Err(error) => error,
    };
    shared.wrong.get_or_insert(wrong);
    false
}

/// The answers to all of these, one after the other.
pub(crate) async fn answers(
    port: u16,
    over: Over,
    calls: &[Call],
    reading: Reading,
) -> Result<Vec<(bool, Bytes)>> {
    let mut connection = Connection::open(over, port).await?;
    let mut answers = Vec::with_capacity(calls.len());
    for call in calls {
        match timeout(LAST_ANSWERS, connection.ask(call, reading)).await {
            Ok(answer) => answers.push(answer?),
            Err(_) => bail!("no answer on port {port}"),
        }
    }
    Ok(answers)
}

#[cfg(test)]
mod tests;
