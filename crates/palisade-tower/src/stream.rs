//! Streams of a server on their way to a client: each event in its order and at its time, until the stream may go on no
//! longer.
//!
//! A stream ends with the token that opened it. And when other policies are in force, the request that opened it is asked about
//! again: where they deny it, the stream ends.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::StatusCode;
use http_body_util::BodyExt;
use palisade_client::{Check, Checked, Describe, GatewayPoint};
use palisade_mcp::sse::{self, Events};
use palisade_model::{Clock, PolicyRevision, SystemClock, Timestamp};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::{
    Body, BoxError,
    change::{Change, Event},
};

/// How often it is asked which policies are in force, while streams are open.
pub(crate) const RECHECK: Duration = Duration::from_secs(5);
/// After how many refusals for asking too much a stream ends that other policies might deny: in more than a minute, in which a
/// budget is whole again.
const MOST_TOO_MANY: u32 = 15;

/// Which policies are in force, as far as is known: asked for once for all streams.
#[derive(Debug, Default)]
pub(crate) struct InForce(Mutex<Option<(Instant, Option<PolicyRevision>)>>);

impl InForce {
    /// The revision in force, as of the last few seconds; nothing where nobody tells.
    async fn revision(&self, point: &dyn GatewayPoint, resource: &str) -> Option<PolicyRevision> {
        let now = Instant::now();
        {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, revision)) = known.as_ref().filter(|(asked, _)| now - *asked < RECHECK / 2) {
                return revision.clone();
            }
            // Who comes meanwhile takes what was known.
            let before = known.take().and_then(|(_, revision)| revision);
            *known = Some((now, before));
        }
        let described = point.describe(&Describe::new(resource)).await;
        let revision = match described {
            Ok(Some(description)) => description.policy_revision,
            // It is no resource of ours any more: what is open is asked about again.
            Ok(None) => Some(PolicyRevision::from("")),
            Err(_no_answer) => None,
        };
        if revision.is_some() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, revision.clone()));
        }
        revision
    }
}

/// Until when a stream may go on.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) point: Arc<dyn GatewayPoint>,
    pub(crate) in_force: Arc<InForce>,
    /// The request that opened it, as one of which all has to be permitted: a stream that is open is not cut.
    pub(crate) check: Check,
    /// The revision that permitted it.
    pub(crate) revision: Option<PolicyRevision>,
    pub(crate) expires_at: Option<Timestamp>,
    /// How often there was no answer because its subject or its client asks too much.
    pub(crate) too_many: u32,
}

impl Lease {
    /// Waits until the stream may go on no longer.
    async fn end(mut self) {
        let left = self.expires_at.map(|end| end.since(SystemClock.now()));
        let expiry = async {
            match left {
                Some(left) => sleep(left).await,
                None => std::future::pending().await,
            }
        };
        let denial = async {
            let mut ticks = interval_at(Instant::now() + RECHECK, RECHECK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if self.is_denied_now().await {
                    return;
                }
            }
        };
        tokio::select! { () = expiry => {} () = denial => {} }
    }

    /// Whether other policies are in force, and they deny what opened the stream. Where nobody answers, the stream goes on
    /// and is asked about again: it was permitted, and nothing says that it is no longer.
    async fn is_denied_now(&mut self) -> bool {
        let in_force = self.in_force.revision(&*self.point, &self.check.resource).await;
        if in_force.is_none() || in_force == self.revision {
            return false;
        }
        match self.point.check(&self.check).await {
            Ok(Checked::Pass(passage)) => {
                self.revision = passage.policy_revision().cloned();
                self.too_many = 0;
                false
            }
            // Too many requests are no word of the policies. But a client can see to it that there are too many.
            Ok(Checked::Answer(told)) if told.status == StatusCode::TOO_MANY_REQUESTS => {
                self.too_many += 1;
                self.too_many >= MOST_TOO_MANY
            }
            Ok(Checked::Answer(told)) => told.status != StatusCode::SERVICE_UNAVAILABLE,
            Err(_no_answer) => false,
        }
    }
}

/// The body of a stream, ended when it may go on no longer. With a `change`, each event is changed on its way.
pub(crate) fn body(upstream: Body, lease: Lease, change: Option<(Change, usize)>) -> Body {
    let frames = upstream.into_data_stream();
    let events: futures::stream::BoxStream<'static, Result<Bytes, BoxError>> = match change {
        None => frames.boxed(),
        Some((change, most)) => changed(frames, change, most).boxed(),
    };
    let events = events.take_until(lease.end());
    Body::new(http_body_util::StreamBody::new(events.map(|bytes| bytes.map(http_body::Frame::data))))
}

/// Each event, as it came or changed.
fn changed(
    frames: impl Stream<Item = Result<Bytes, BoxError>> + Send + Unpin + 'static,
    change: Change,
    most: usize,
) -> impl Stream<Item = Result<Bytes, BoxError>> + Send {
    let state = (frames, Events::new(most), Arc::new(change), false);
    stream::unfold(state, |(mut frames, mut events, change, mut ended)| async move {
        loop {
            if let Some(event) = events.take() {
                let changed = match sse::data(&event) {
                    Some(data) => change.change_event(&data).await,
                    None => Event::AsItCame,
                };
                let told = match changed {
                    Event::AsItCame => event,
                    Event::Changed(data) => sse::with_data(&event, &data),
                    Event::LeftOut => continue,
                    Event::Ends => return None,
                };
                return Some((Ok(told), (frames, events, change, ended)));
            }
            if ended {
                return None;
            }
            match frames.next().await {
                Some(Ok(bytes)) => {
                    if let Err(too_large) = events.push(&bytes) {
                        tracing::warn!(%too_large, "a stream of the server is ended");
                        return Some((Err(too_large.into()), (frames, Events::new(0), change, true)));
                    }
                }
                Some(Err(error)) => return Some((Err(error), (frames, Events::new(0), change, true))),
                // What has no end is no event, and is not told.
                None => {
                    ended = true;
                    drop(events.rest());
                }
            }
        }
    })
}
