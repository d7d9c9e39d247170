//! Doing something again whenever a file changes.
//!
//! Notifications are a reason to look, and every two seconds are another, because notifications get lost on network
//! file systems and for files that are replaced. What counts is whether the files are others than before.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::mpsc,
    time::{Duration, SystemTime},
};

use notify::Watcher;

/// How often files are looked at without a notification.
const POLL: Duration = Duration::from_secs(2);
/// Between two readings that must be alike: an editor may write in several steps.
const SETTLE: Duration = Duration::from_millis(100);
/// No tree of policies is this deep; links can form a circle.
const MAX_DEPTH: usize = 32;

/// Size and time of every file.
type Reading = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

/// Does the work once and then after every change below the roots, until the process ends.
pub(super) fn run(roots: impl Fn() -> Vec<PathBuf>, work: impl Fn()) -> ! {
    loop {
        let watched = roots();
        let (changed, changes) = mpsc::channel();
        let watcher = watcher(&watched, changed);
        let before = reading(&watched);
        work();
        eprintln!("watching {} files; Ctrl-C ends", before.len());
        loop {
            // An error here is a watcher that could not be made: then time alone is a reason to look.
            if changes.recv_timeout(POLL).is_err() && watcher.is_none() {
                std::thread::sleep(POLL);
            }
            if reading(&watched) != before {
                settle(&watched);
                eprintln!("--- a file has changed");
                break;
            }
        }
    }
}

fn settle(roots: &[PathBuf]) {
    let mut last = reading(roots);
    loop {
        std::thread::sleep(SETTLE);
        let next = reading(roots);
        if next == last {
            return;
        }
        last = next;
    }
}

fn watcher(roots: &[PathBuf], changed: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
    let notify = move |event: notify::Result<notify::Event>| {
        // Looking at files is an event as well.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // Nobody listens between two rounds; the reading tells all the same.
            let _ = changed.send(());
        }
    };
    let mut watcher = notify::recommended_watcher(notify).ok()?;
    for root in roots {
        // What cannot be watched is looked at every few seconds.
        let _ = watcher.watch(root, notify::RecursiveMode::Recursive);
    }
    Some(watcher)
}

fn reading(roots: &[PathBuf]) -> Reading {
    let mut found = Reading::new();
    roots.iter().for_each(|root| add(root, 0, &mut found));
    found
}

fn add(path: &Path, depth: usize, found: &mut Reading) {
    let Ok(metadata) = std::fs::metadata(path) else { return };
    if !metadata.is_dir() {
        found.insert(path.to_owned(), (metadata.len(), metadata.modified().ok()));
    } else if depth < MAX_DEPTH {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            add(&entry.path(), depth + 1, found);
        }
    }
}
