//! Which tool made which task, as far as its beginning was seen here.
//!
//! A task's handle names its tool, so that policies decide about the one as about the other. Where a server tells of a task on
//! a stream, nothing beside its id comes: what is not known here is not told there, and its client asks for it.

use std::time::Duration;

use moka::sync::Cache;

/// How many are remembered.
const MOST: u64 = 10_000;
/// For how long after it was last told of.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// The tools of tasks, by subject and by the server's own id.
#[derive(Debug, Clone)]
pub(crate) struct Tools(Cache<(String, String), String>);

impl Default for Tools {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MOST).time_to_idle(KEPT).build())
    }
}

impl Tools {
    pub(crate) fn note(&self, subject: &str, task: &str, tool: &str) {
        self.0.insert((subject.to_owned(), task.to_owned()), tool.to_owned());
    }

    pub(crate) fn of(&self, subject: &str, task: &str) -> Option<String> {
        self.0.get(&(subject.to_owned(), task.to_owned()))
    }
}
