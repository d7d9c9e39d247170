//! Sides measured side by side: short rounds in turns, A-B-A-B, so that what the machine does beside hits all alike.
//! Ratios are made within a round; what is told is the median over the rounds, and how far they lie apart.

use std::{cell::RefCell, collections::VecDeque, sync::Arc, time::Duration};

use anyhow::{Context, Result};

use super::{
    cores::Cores,
    latency::{Latencies, Rounds, float, micros},
    load::{CONNECTIONS, Call, IN_FLIGHT, Load, Pace, Sample},
    progress::Progress,
    sides::Side,
    usage::ProcessorTime,
};

/// A side with what it is asked.
#[derive(Debug)]
pub(crate) struct Contender<'a> {
    pub(crate) name: String,
    pub(crate) side: &'a Side,
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
    strict: bool,
    supply: RefCell<Supply>,
}

#[derive(Debug)]
enum Supply {
    /// The same calls again and again.
    Warm(Arc<[Call]>),
    /// Calls that nobody made before, for one round each.
    Cold(VecDeque<Arc<[Call]>>),
}

/// How long and how often is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) length: Duration,
}

/// What a contender did in the rounds of one kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runs {
    /// Answers in a second, the processor time counted that the server still owed when the answers were there.
    pub(crate) throughput: Vec<f64>,
    pub(crate) latencies: Vec<Latencies>,
    /// Microseconds of processor time in the server for each answer.
    pub(crate) cost: Vec<f64>,
    /// The part of its processor that the load took.
    pub(crate) generator: Vec<f64>,
    pub(crate) threads: ProcessorTime,
    pub(crate) answered: usize,
    /// Denials for want of time in place of permits.
    pub(crate) late: usize,
}

impl<'a> Contender<'a> {
    pub(crate) fn warm(name: &str, side: &'a Side, calls: Vec<Call>) -> Self {
        let supply = Supply::Warm(side.expecting(calls));
        let name = name.to_owned();
        Self::of(name, side, supply)
    }

    /// Each round takes a share of the calls.
    pub(crate) fn cold(name: &str, side: &'a Side, calls: Vec<Call>, rounds: usize) -> Self {
        let calls = side.expecting(calls);
        let share = calls.len().div_ceil(rounds.max(1)).max(1);
        let supply = Supply::Cold(calls.chunks(share).map(Arc::from).collect());
        let name = name.to_owned();
        Self::of(name, side, supply)
    }

    fn of(name: String, side: &'a Side, supply: Supply) -> Self {
        let supply = RefCell::new(supply);
        Self { name, side, connections: CONNECTIONS, in_flight: IN_FLIGHT, strict: false, supply }
    }

    pub(crate) fn is_cold(&self) -> bool {
        matches!(*self.supply.borrow(), Supply::Cold(_))
    }

    /// As many connections, with as many requests out on each.
    pub(crate) fn over(self, connections: usize, in_flight: usize) -> Self {
        Self { connections, in_flight, ..self }
    }

    /// The same where nothing but the right answer is one.
    pub(crate) fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    fn load(&self, pace: Pace, length: Duration) -> Result<Load> {
        let (calls, once) = match &mut *self.supply.borrow_mut() {
            Supply::Warm(calls) => (Arc::clone(calls), false),
            Supply::Cold(rounds) => (rounds.pop_front().context("no cold calls are left")?, true),
        };
        let (port, over, reading) = (self.side.port, self.side.form.over(), self.side.reading());
        let (connections, strict) = (self.connections, self.strict);
        Ok(Load { port, over, calls, reading, connections, pace, length, once, strict })
    }

    /// One round.
    fn round(&self, pace: Pace, length: Duration, cores: &Cores, runs: &mut Runs) -> Result<()> {
        let load = self.load(pace, length)?;
        let before = self.side.processor_time()?;
        let sample = load.run(cores).with_context(|| self.name.clone())?;
        let answered_by = self.side.processor_time()?;
        let after = self.side.settled()?;
        runs.take(&sample, &after.since(&before), after.since(&answered_by).total());
        Ok(())
    }
}

impl Runs {
    fn take(&mut self, sample: &Sample, used: &ProcessorTime, owed: Duration) {
        let answered = sample.latencies.len();
        self.throughput.push(float(answered) / (sample.elapsed + owed).as_secs_f64().max(1e-9));
        self.latencies.push(sample.latencies.clone());
        self.cost.push(micros(used.total()) / float(answered.max(1)));
        self.generator.push(sample.generator);
        self.threads.add(used);
        self.answered += answered;
        self.late += sample.late;
    }

    pub(crate) fn peak(&self) -> Rounds {
        Rounds::of(self.throughput.iter().copied())
    }

    /// The part of the answers that were denials for want of time, for a table.
    pub(crate) fn late(&self) -> String {
        format!("{:.2} %", 100.0 * float(self.late) / float(self.answered.max(1)))
    }

    /// The part of its processor that the load took, for a table.
    pub(crate) fn generator(&self) -> String {
        format!("{:.0} %", 100.0 * Rounds::of(self.generator.iter().copied()).median)
    }

    pub(crate) fn cost(&self) -> Rounds {
        Rounds::of(self.cost.iter().copied())
    }

    pub(crate) fn latency(&self, thousandths: usize) -> Rounds {
        Rounds::of(self.latencies.iter().map(|latencies| micros(latencies.at(thousandths))))
    }

    /// How much more this answers in a second than another did, round by round.
    pub(crate) fn throughput_ratio(&self, other: &Self) -> Rounds {
        ratios(&self.throughput, &other.throughput)
    }

    /// How much longer this takes than another did, round by round.
    pub(crate) fn latency_ratio(&self, other: &Self, thousandths: usize) -> Rounds {
        let at = |runs: &Self| -> Vec<f64> {
            runs.latencies.iter().map(|latencies| micros(latencies.at(thousandths))).collect()
        };
        ratios(&at(self), &at(other))
    }

    /// How many microseconds longer, round by round.
    pub(crate) fn latency_added(&self, other: &Self, thousandths: usize) -> Rounds {
        let pairs = self.latencies.iter().zip(&other.latencies);
        Rounds::of(pairs.map(|(one, other)| micros(one.at(thousandths)) - micros(other.at(thousandths))))
    }
}

fn ratios(one: &[f64], other: &[f64]) -> Rounds {
    Rounds::of(one.iter().zip(other).map(|(one, other)| one / other))
}

/// Everybody's rounds, in turns. Every second turn goes the other way round.
fn in_turns(
    contenders: &[Contender<'_>],
    effort: Effort,
    cores: &Cores,
    progress: &Progress,
    pace: impl Fn(usize, &Contender<'_>) -> Option<Pace>,
) -> Result<Vec<Runs>> {
    let mut all: Vec<Runs> = contenders.iter().map(|_| Runs::default()).collect();
    for round in 0..effort.rounds {
        let mut turns: Vec<_> = contenders.iter().zip(&mut all).enumerate().collect();
        if round % 2 == 1 {
            turns.reverse();
        }
        for (index, (contender, runs)) in turns {
            let Some(pace) = pace(index, contender) else { continue };
            progress.step(&contender.name);
            contender.round(pace, effort.length, cores, runs)?;
        }
    }
    Ok(all)
}

/// As fast as answers come. A short round of each goes before, so that what is measured is warm.
pub(crate) fn peaks(
    contenders: &[Contender<'_>],
    effort: Effort,
    cores: &Cores,
    progress: &Progress,
) -> Result<Vec<Runs>> {
    for contender in contenders {
        progress.step(&contender.name);
        let (pace, length) = (Pace::Closed(contender.in_flight), effort.length / 2);
        contender.round(pace, length, cores, &mut Runs::default())?;
    }
    in_turns(contenders, effort, cores, progress, |_, contender| Some(Pace::Closed(contender.in_flight)))
}

/// At this part of everybody's own peak. Who is asked with new tokens each time is left out: a round has so many only.
pub(crate) fn at_part(
    part: f64,
    peaks: &[Runs],
    contenders: &[Contender<'_>],
    effort: Effort,
    cores: &Cores,
    progress: &Progress,
) -> Result<Vec<Runs>> {
    in_turns(contenders, effort, cores, progress, |index, contender| {
        let peak = peaks.get(index).map(|runs| runs.peak().median)?;
        (!contender.is_cold()).then_some(Pace::Open(peak * part))
    })
}

/// At this many a second, the same for everybody.
pub(crate) fn at_rate(
    rate: f64,
    contenders: &[Contender<'_>],
    effort: Effort,
    cores: &Cores,
    progress: &Progress,
) -> Result<Vec<Runs>> {
    in_turns(contenders, effort, cores, progress, |_, _| Some(Pace::Open(rate)))
}

/// How many steps of progress that takes.
pub(crate) fn steps(contenders: usize, effort: Effort, kinds: usize) -> usize {
    contenders + contenders * effort.rounds * kinds
}
