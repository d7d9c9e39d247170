//! Who runs where. Each server gets one processor and the load another, for every side alike, so that a server's peak
//! is that of one processor and the load never takes from it. Children inherit what their starter holds.

use std::fmt;

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The processors of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores(Option<Split>);

#[derive(Debug, Clone, Copy)]
struct Split {
    server: usize,
    generator: usize,
    all: CpuSet,
}

/// What starts while this is held runs elsewhere than the load.
#[derive(Debug)]
pub(crate) struct Elsewhere<'a>(&'a Cores);

impl Cores {
    /// The first two processors that this process may use.
    pub(crate) fn apart() -> Result<Self> {
        let own = sched_getaffinity(None)?;
        let mut usable = (0..CpuSet::MAX_CPU).filter(|cpu| own.is_set(*cpu));
        let (generator, server) = usable
            .next()
            .zip(usable.next())
            .context("one processor is not enough to keep servers and load apart: run with --unpinned")?;
        Ok(Self(Some(Split { server, generator, all: own })))
    }

    /// Everything runs where the system puts it.
    pub(crate) const fn shared() -> Self {
        Self(None)
    }

    /// Moves this thread to the generator's processor.
    pub(crate) fn take_generators(&self) -> Result<()> {
        self.take(|split| one(split.generator))
    }

    /// Moves this thread to the servers' processor for as long as what comes back is held.
    pub(crate) fn for_server(&self) -> Result<Elsewhere<'_>> {
        self.take(|split| one(split.server))?;
        Ok(Elsewhere(self))
    }

    /// Lets this thread run anywhere for as long as what comes back is held.
    pub(crate) fn lifted(&self) -> Result<Elsewhere<'_>> {
        self.take(|split| split.all)?;
        Ok(Elsewhere(self))
    }

    fn take(&self, which: impl Fn(&Split) -> CpuSet) -> Result<()> {
        let Some(split) = &self.0 else { return Ok(()) };
        sched_setaffinity(None, &which(split)).context("cannot choose a processor")
    }
}

fn one(processor: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(processor);
    set
}

impl Drop for Elsewhere<'_> {
    fn drop(&mut self) {
        // Fails only where taking the server's failed before.
        let _ = self.0.take_generators();
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(Split { server, generator, .. }) => write!(
                formatter,
                "pinned: every server alone on processor {server}, load and OTLP receiver on processor {generator}"
            ),
            None => write!(formatter, "not pinned: servers and load share all processors"),
        }
    }
}
