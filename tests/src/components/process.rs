//! A child process: started with its output in a file, awaited by what it prints, ended by its id.
//!
//! It must not outlive its value: dropping it kills and reaps the child. Children stay in the process
//! group of the tests, so that an interrupt on the terminal ends them too.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long a component may take to start, and a wait in a test to come true.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

static STARTED: AtomicU32 = AtomicU32::new(0);

/// A running child with its log.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// Asks again and again until the answer is `Some`, for at most 30 s.
///
/// # Errors
/// The first error of `ask`, or one that names `what` when the time is over.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("after {} s still waiting for {what}", PATIENCE.as_secs())
}

impl Process {
    /// Starts the command with both outputs in a new file `target/test-logs/<name>-<test pid>-<n>.log`.
    ///
    /// # Errors
    /// If the log cannot be made or the program cannot be started.
    pub fn start(name: &str, mut command: Command) -> Result<Self> {
        let directory = super::repository().join("target/test-logs");
        fs::create_dir_all(&directory)?;
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let log = directory.join(format!("{name}-{}-{number}.log", std::process::id()));
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file that holds what the child prints.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// What the child has printed so far.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn log(&self) -> Result<String> {
        let bytes = fs::read(&self.log)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until the child has printed a whole line with this text in it, and returns the line.
    ///
    /// # Errors
    /// If the child ends first, or after 30 s.
    pub async fn wait_for_line(&mut self, text: &str) -> Result<String> {
        self.wait_until(&format!("`{text}`"), async |log| {
            let whole = log.rsplit_once('\n').map_or("", |(lines, _)| lines);
            Ok(whole.lines().find(|line| line.contains(text)).map(str::to_owned))
        })
        .await
    }

    /// Waits until `ask`, which gets what the child has printed so far, answers `Some`.
    ///
    /// # Errors
    /// Those of `ask`; or, with the end of the log, if the child ends first or after 30 s.
    pub async fn wait_until<T>(
        &mut self,
        what: &str,
        mut ask: impl AsyncFnMut(&str) -> Result<Option<T>>,
    ) -> Result<T> {
        let start = Instant::now();
        loop {
            // Asked before the log is read: what an ended child printed last is not missed.
            let ended = self.child.try_wait()?;
            let log = self.log()?;
            if let Some(answer) = ask(&log).await? {
                return Ok(answer);
            }
            let last: Vec<_> = log.lines().skip(log.lines().count().saturating_sub(20)).collect();
            let last = last.join("\n");
            if let Some(status) = ended {
                bail!("{} ended with {status} while waited for {what}:\n{last}", self.name);
            }
            ensure!(start.elapsed() < PATIENCE, "{} is still waited for {what}:\n{last}", self.name);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Fails if the child has ended.
    ///
    /// # Errors
    /// If it has, with its exit status and where its log is.
    pub fn check_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}: see {}", self.name, self.log.display()),
        }
    }

    /// Ends the child at once (SIGKILL), as a crash would, and reaps it.
    ///
    /// # Errors
    /// If the system refuses; not if the child has ended already.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends the child a signal by name, such as `TERM`, `HUP`, `STOP` or `CONT`.
    ///
    /// # Errors
    /// If the child has ended, or the signal is unknown.
    pub fn signal(&mut self, name: &str) -> Result<()> {
        self.check_running()?;
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status()?;
        ensure!(status.success(), "cannot send {name} to {}", self.name);
        // A busy machine takes its time to stop every thread, and one that still runs still answers.
        let until = Instant::now() + Duration::from_secs(10);
        while name == "STOP" && !self.is_stopped()? {
            ensure!(Instant::now() < until, "{} does not stop", self.name);
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Whether every thread of the child is stopped.
    fn is_stopped(&self) -> Result<bool> {
        let mut all = true;
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            let stat = fs::read_to_string(thread?.path().join("stat"))?;
            // Behind the name, which may hold anything.
            all &= stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'));
        }
        Ok(all)
    }

    /// Asks the child to end (SIGTERM) and waits for it.
    ///
    /// # Errors
    /// If it has not ended after 30 s.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal("TERM")?;
        eventually(&format!("{} to end on SIGTERM", self.name), async || Ok(self.child.try_wait()?)).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing is left to do if this fails: the child is gone then.
        let _ = self.kill();
    }
}
