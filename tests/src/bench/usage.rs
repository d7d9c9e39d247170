//! What a process takes: processor time by thread, and memory.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context, Result};

/// Processor time so far, by the names of the threads.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProcessorTime(BTreeMap<String, Duration>);

impl ProcessorTime {
    /// Of a process: threads of one name are one.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let mut times = BTreeMap::<String, Duration>::new();
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let folder = thread?.path();
            // A thread may end between two looks.
            let Ok(name) = fs::read_to_string(folder.join("comm")) else { continue };
            let Ok(schedule) = fs::read_to_string(folder.join("schedstat")) else { continue };
            let nanos = schedule.split_whitespace().next().and_then(|number| number.parse().ok());
            *times.entry(name.trim().to_owned()).or_default() +=
                Duration::from_nanos(nanos.context("no time in schedstat")?);
        }
        Ok(Self(times))
    }

    /// What has come since then.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let left = |(name, time): (&String, &Duration)| {
            let passed = time.saturating_sub(before.0.get(name).copied().unwrap_or_default());
            (name.clone(), passed)
        };
        Self(self.0.iter().map(left).collect())
    }

    pub(crate) fn total(&self) -> Duration {
        self.0.values().sum()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (name, time) in &other.0 {
            *self.0.entry(name.clone()).or_default() += *time;
        }
    }

    pub(crate) fn by_thread(&self) -> impl Iterator<Item = (&str, Duration)> {
        self.0.iter().map(|(name, time)| (name.as_str(), *time))
    }
}

/// What this thread has had of a processor.
pub(crate) fn own_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Resident memory in MiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) resident: f64,
    pub(crate) peak: f64,
}

impl Memory {
    /// Of a process, now and at its highest.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| -> Result<f64> {
            let line =
                text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| name.to_owned())?;
            let kib: u32 = line.split_whitespace().next().context("no number")?.parse()?;
            Ok(f64::from(kib) / 1024.0)
        };
        Ok(Self { resident: field("VmRSS:")?, peak: field("VmHWM:")? })
    }
}
