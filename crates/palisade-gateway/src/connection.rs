//! What a connection does: how long nothing is asked on it, and how long its client takes nothing of an answer.
//!
//! A client needs no credential to hold a connection, nor to leave an answer where it is. So both end: a connection on which
//! nothing is asked, whichever version of HTTP it would have been, and one with an answer that is not taken. An answer whose
//! server is silent is neither, however long that is.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use palisade_tower::{Body, BoxError};
use tokio::time::{Instant, sleep};

use crate::Bounds;

/// The largest part of an answer that is handed over at once: whether it is taken is known of each.
const PART: usize = 64 * 1024;
/// How often a connection is looked at in the shortest of its bounds.
const LOOKS: u32 = 4;

/// What is under way on one connection.
#[derive(Debug)]
pub(crate) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Whether anything has been asked yet.
    asked: bool,
    /// Since when nothing is under way.
    quiet_since: Instant,
    /// Each request under way, by number: since when a part of its answer waits for the client, if one does.
    answers: HashMap<u64, Option<Instant>>,
    /// When a part of an answer was last taken.
    taken: Instant,
    next: u64,
}

/// Why a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// Nothing is asked.
    Silent,
    /// An answer is not taken.
    NotTaken,
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct UnderWay {
    activity: Arc<Activity>,
    number: u64,
}

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        let (answers, now) = (HashMap::new(), Instant::now());
        Arc::new(Self(Mutex::new(State { asked: false, quiet_since: now, answers, taken: now, next: 0 })))
    }

    pub(crate) fn begin(self: &Arc<Self>) -> UnderWay {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.asked = true;
        state.answers.insert(number, None);
        UnderWay { activity: Arc::clone(self), number }
    }

    /// Waits until the connection is to be ended.
    pub(crate) async fn overdue(&self, bounds: Bounds) -> Overdue {
        let pause = bounds.head_time.min(bounds.idle).min(bounds.write_time) / LOOKS;
        loop {
            sleep(pause.max(Duration::from_millis(10))).await;
            if let Some(overdue) = self.state().overdue(bounds, Instant::now()) {
                return overdue;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn overdue(&self, bounds: Bounds, now: Instant) -> Option<Overdue> {
        let longest = if self.asked { bounds.idle } else { bounds.head_time };
        if self.answers.is_empty() && now.duration_since(self.quiet_since) > longest {
            return Some(Overdue::Silent);
        }
        let mut waiting = self.answers.values().flatten();
        let not_taken = waiting.any(|since| now.duration_since(*since) > bounds.write_time);
        // A proxy has many clients on one connection: as long as one of them takes something, it stays.
        let none_taken = now.duration_since(self.taken) > bounds.write_time;
        (not_taken && none_taken).then_some(Overdue::NotTaken)
    }
}

impl UnderWay {
    /// The answer's body, which tells when its client takes it. The request is under way until it is dropped.
    pub(crate) fn follow(self, body: Body) -> Body {
        // A client can leave no room for anything but the head: then nobody asks for the first part.
        self.waits_since(Some(Instant::now()));
        Body::new(Followed { body, left: Bytes::new(), under_way: self })
    }

    fn waits_since(&self, since: Option<Instant>) {
        self.activity.state().answers.insert(self.number, since);
    }

    /// What was handed over before is taken.
    fn is_taken(&self) {
        self.activity.state().taken = Instant::now();
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.answers.remove(&self.number);
        state.quiet_since = Instant::now();
    }
}

/// A body that is asked for its next part as soon as the client has room for it.
struct Followed {
    body: Body,
    /// What is left of a part that was too large to be handed over at once.
    left: Bytes,
    under_way: UnderWay,
}

impl HttpBody for Followed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.under_way.is_taken();
        let mut frame = if self.left.is_empty() {
            Pin::new(&mut self.body).poll_frame(context)
        } else {
            Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.left)))))
        };
        if let Poll::Ready(Some(Ok(part))) = &mut frame
            && let Some(data) = part.data_mut().filter(|data| data.len() > PART)
        {
            self.left = data.split_off(PART);
        }
        // Until the next part is asked for, this one waits for the client.
        let waits = matches!(frame, Poll::Ready(Some(Ok(_))));
        self.under_way.waits_since(waits.then(Instant::now));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let left = self.left.len() as u64;
        hint.set_lower(hint.lower() + left);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + left);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn bounds() -> Bounds {
        Bounds {
            head_time: Duration::from_secs(15),
            idle: Duration::from_secs(60),
            write_time: Duration::from_secs(30),
            ..Bounds::default()
        }
    }

    fn overdue(activity: &Activity, seconds: u64) -> Option<Overdue> {
        activity.state().overdue(bounds(), Instant::now() + Duration::from_secs(seconds))
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_is_asked_is_ended() {
        let activity = Activity::new();
        assert_eq!(overdue(&activity, 14), None);
        assert_eq!(overdue(&activity, 16), Some(Overdue::Silent), "not even a first request");
        let request = activity.begin();
        assert_eq!(overdue(&activity, 86_400), None, "an answer may take as long as it takes");
        drop(request);
        assert_eq!(overdue(&activity, 59), None);
        assert_eq!(overdue(&activity, 61), Some(Overdue::Silent));
        assert_eq!(activity.overdue(bounds()).await, Overdue::Silent);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_ends_its_connection() {
        let activity = Activity::new();
        let mut body = activity.begin().follow(Body::full("part"));
        assert_eq!(overdue(&activity, 31), Some(Overdue::NotTaken), "not even its first part");
        body.frame().await.unwrap().unwrap();
        assert_eq!(overdue(&activity, 29), None);
        assert_eq!(overdue(&activity, 31), Some(Overdue::NotTaken));
        assert!(body.frame().await.is_none());
        assert_eq!(overdue(&activity, 86_400), None, "all is taken");
        drop(body);
        assert_eq!(overdue(&activity, 61), Some(Overdue::Silent));
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_part_is_handed_over_in_small_ones_and_whole() {
        let activity = Activity::new();
        let sent = Bytes::from(vec![b'x'; 3 * PART + 1]);
        let mut body = activity.begin().follow(Body::full(sent.clone()));
        assert_eq!(body.size_hint().exact(), Some(sent.len() as u64));
        let mut taken = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= PART);
            taken.extend(data);
            assert_eq!(body.is_end_stream(), taken.len() == sent.len());
        }
        assert_eq!(taken, sent);
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_takes_nothing_ends_nothing_of_others_on_the_same_connection() {
        let activity = Activity::new();
        let mut idle = activity.begin().follow(Body::full("part"));
        idle.frame().await.unwrap().unwrap();
        tokio::time::advance(Duration::from_secs(25)).await;
        let mut other = activity.begin().follow(Body::full("part"));
        other.frame().await.unwrap().unwrap();
        drop(other);
        assert_eq!(overdue(&activity, 20), None);
        assert_eq!(overdue(&activity, 31), Some(Overdue::NotTaken));
    }
}
