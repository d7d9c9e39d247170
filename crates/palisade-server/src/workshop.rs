//! The one thread on which snapshots are built and on which they end.
//!
//! A snapshot of many policies is some hundred megabytes in millions of pieces. An allocator gives memory back when the
//! thread that took it frees it; pieces that another thread frees wait until the first has to do with the allocator
//! again. So whoever replaces a snapshot hands the old one to the thread that built it. It is let go of when nobody
//! uses it any more, so that no request pays for its end.

use std::{
    io,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use palisade_pdp::Snapshot;
use tokio::sync::oneshot;

/// How often old snapshots are looked after.
const LOOK: Duration = Duration::from_millis(500);

/// The way to the thread. It ends with the last of these.
#[derive(Debug, Clone)]
pub(crate) struct Workshop(Sender<Work>);

enum Work {
    Build(Box<dyn FnOnce() + Send>),
    LetGo(Arc<Snapshot>),
}

impl Workshop {
    /// Starts the thread.
    pub(crate) fn open() -> io::Result<Self> {
        let (sender, work) = mpsc::channel();
        thread::Builder::new().name("palisade-snapshots".to_owned()).spawn(move || run(&work))?;
        Ok(Self(sender))
    }

    /// Builds something there. None where building it panicked.
    pub(crate) async fn build<T: Send + 'static>(
        &self,
        build: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, built) = oneshot::channel();
        let build = move || {
            if let Ok(built) = std::panic::catch_unwind(AssertUnwindSafe(build)) {
                // Nobody waits any more: then what was built ends here, too.
                drop(sender.send(built));
            }
        };
        self.0.send(Work::Build(Box::new(build))).ok()?;
        built.await.ok()
    }

    /// Has a snapshot end there that was replaced, once no request uses it.
    pub(crate) fn let_go(&self, snapshot: Arc<Snapshot>) {
        // Without the thread it ends here.
        drop(self.0.send(Work::LetGo(snapshot)));
    }
}

fn run(work: &Receiver<Work>) {
    let mut old: Vec<Arc<Snapshot>> = Vec::new();
    loop {
        let next = if old.is_empty() {
            work.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            work.recv_timeout(LOOK)
        };
        match next {
            Ok(Work::Build(build)) => build(),
            Ok(Work::LetGo(snapshot)) => old.push(snapshot),
            Err(RecvTimeoutError::Timeout) => old.retain(|snapshot| Arc::strong_count(snapshot) > 1),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_is_built_on_one_thread_and_a_panic_does_not_end_it() {
        let workshop = Workshop::open().unwrap();
        let first = workshop.build(|| thread::current().id()).await;
        assert_eq!(workshop.build(|| panic!("a defect")).await, None::<()>);
        assert_eq!(workshop.build(|| thread::current().id()).await, first);
        assert_ne!(first, Some(thread::current().id()));
    }
}
