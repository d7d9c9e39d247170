//! The endpoints of a client, and which of them is asked.
//!
//! An endpoint is *in* or *out*. One that fails is out, and [`crate::health`] asks it until it is in again; so is one
//! that answers a question. Among those that are in, the one with the fewest questions under way is asked; one that hangs
//! collects them and is avoided before anything else is known of it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
};

use tokio::sync::Notify;
use tonic::transport::Channel;

/// One endpoint: a connection that is made when it is needed, and made anew when it breaks.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// As the settings name it.
    pub(crate) name: String,
    pub(crate) channel: Channel,
    under_way: AtomicUsize,
    out: AtomicBool,
    /// How often it failed since it last answered.
    failures: AtomicU32,
    failed: Notify,
}

impl Endpoint {
    pub(crate) fn new(name: String, channel: Channel) -> Self {
        Self {
            name,
            channel,
            under_way: AtomicUsize::new(0),
            out: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            failed: Notify::new(),
        }
    }

    /// It answered.
    pub(crate) fn works(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.let_in();
    }

    /// It failed: it is left out until it answers. Questions that were under way with the first one that failed say
    /// nothing new.
    pub(crate) fn fails(&self) {
        if !self.out.swap(true, Ordering::Relaxed) {
            self.failures.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(endpoint = self.name, "an endpoint of the decision service fails and is left out");
            self.failed.notify_one();
        }
    }

    /// It is asked again. What it failed before is only forgotten once it answers a question.
    pub(crate) fn let_in(&self) {
        if self.out.swap(false, Ordering::Relaxed) {
            tracing::info!(endpoint = self.name, "an endpoint of the decision service is back");
        }
    }

    pub(crate) fn is_out(&self) -> bool {
        self.out.load(Ordering::Relaxed)
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Waits until it has failed.
    pub(crate) async fn failure(&self) {
        self.failed.notified().await;
    }

    /// Counts a question as under way, as long as the value lives.
    pub(crate) fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }
}

/// A question under way at an endpoint.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Endpoint>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All endpoints of a client.
#[derive(Debug)]
pub(crate) struct Endpoints {
    all: Vec<Arc<Endpoint>>,
    turn: AtomicUsize,
}

impl Endpoints {
    pub(crate) fn new(all: Vec<Arc<Endpoint>>) -> Self {
        Self { all, turn: AtomicUsize::new(0) }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.all.iter()
    }

    /// Who to ask next: one that was not tried for this question, in rather than out, with few questions under way; of
    /// equals one after the other. None where all were tried.
    pub(crate) fn next(&self, tried: &[Arc<Endpoint>]) -> Option<&Arc<Endpoint>> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % self.all.len().max(1);
        let in_turn = self.all.iter().cycle().skip(first).take(self.all.len());
        let untried = in_turn.filter(|endpoint| !tried.iter().any(|tried| Arc::ptr_eq(tried, endpoint)));
        untried.min_by_key(|endpoint| (endpoint.is_out(), endpoint.under_way.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(count: usize) -> Endpoints {
        let channel = |at: usize| tonic::transport::Endpoint::from_shared(format!("http://127.0.0.1:{at}"));
        let one = |at: usize| Arc::new(Endpoint::new(at.to_string(), channel(at).unwrap().connect_lazy()));
        Endpoints::new((1..=count).map(one).collect())
    }

    fn next(endpoints: &Endpoints, tried: &[Arc<Endpoint>]) -> Option<String> {
        endpoints.next(tried).map(|endpoint| endpoint.name.clone())
    }

    #[tokio::test]
    async fn equals_take_turns_and_the_busy_wait() {
        let endpoints = endpoints(3);
        let mut asked: Vec<_> = (0..3).map(|_| next(&endpoints, &[]).unwrap()).collect();
        asked.sort();
        assert_eq!(asked, ["1", "2", "3"]);
        let _busy: Vec<_> = endpoints.all[..2].iter().map(Endpoint::begin).collect();
        for _ in 0..5 {
            assert_eq!(next(&endpoints, &[]).as_deref(), Some("3"));
        }
    }

    #[tokio::test]
    async fn what_is_out_is_asked_when_nothing_else_is_left() {
        let endpoints = endpoints(2);
        endpoints.all[0].fails();
        let _busy = endpoints.all[1].begin();
        for _ in 0..5 {
            assert_eq!(next(&endpoints, &[]).as_deref(), Some("2"));
        }
        let tried = [Arc::clone(&endpoints.all[1])];
        assert_eq!(next(&endpoints, &tried).as_deref(), Some("1"));
        assert_eq!(next(&endpoints, &endpoints.all), None);
        endpoints.all[0].works();
        assert!(!endpoints.all[0].is_out());
        assert_eq!(endpoints.all[0].failures(), 0);
    }

    #[tokio::test]
    async fn a_question_that_is_given_up_is_no_longer_under_way() {
        let endpoints = endpoints(1);
        drop(endpoints.all[0].begin());
        assert_eq!(endpoints.all[0].under_way.load(Ordering::Relaxed), 0);
    }
}
