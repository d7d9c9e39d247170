//! Streams of a server on their way to a client: each event in its order and at its time, until the stream may go on no
//! longer ([`Lease`]).

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http_body_util::BodyExt;
use palisade_mcp::sse::{self, Events};

use crate::{
    Body, BoxError, Lease,
    change::{Change, Event},
};

/// The body of a stream, ended when it may go on no longer. With a `change`, each event is changed on its way.
pub(crate) fn body(upstream: Body, lease: Lease, change: Option<(Change, usize)>) -> Body {
    let frames = upstream.into_data_stream();
    let events: futures::stream::BoxStream<'static, Result<Bytes, BoxError>> = match change {
        None => frames.boxed(),
        Some((change, most)) => changed(frames, change, most).boxed(),
    };
    let events = events.take_until(lease.ended());
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
