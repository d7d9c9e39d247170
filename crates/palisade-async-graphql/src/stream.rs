//! The messages of a subscription, until it may go on no longer.

use std::pin::Pin;

use async_graphql::Response;
use futures::{Future, StreamExt, stream, stream::BoxStream};
use http::StatusCode;
use palisade_tower::Ended;
use tokio::{sync::oneshot, task::JoinSet};

use crate::denial::Denial;

/// A lease that runs whether anybody reads the stream or not: a client that reads nothing for a while is not told afterwards what it may have no longer. It
/// ends with its stream.
pub(crate) type Running = JoinSet<Ended>;

type End = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// The responses of a stream, and at its end the reason, where it may go on no longer. Until when that is comes once it is permitted.
pub(crate) fn ending<'s>(
    responses: BoxStream<'s, Response>,
    lease: oneshot::Receiver<Running>,
) -> BoxStream<'s, Response> {
    let end: End = Box::pin(async {
        match lease.await {
            Ok(mut lease) => match lease.join_next().await {
                Some(Ok(why)) => why,
                Some(Err(_)) | None => Ended::Unanswered,
            },
            // It is not permitted, and ends by itself.
            Err(_) => std::future::pending().await,
        }
    });
    let open = Some((responses, end));
    stream::unfold(open, |open| async {
        let (mut responses, mut end) = open?;
        tokio::select! {
            biased;
            why = &mut end => Some((last(why), None)),
            response = responses.next() => response.map(|response| (response, Some((responses, end)))),
        }
    })
    .boxed()
}

/// The last message of a stream.
fn last(why: Ended) -> Response {
    let denial = match why {
        Ended::Expired => {
            Denial::refused(StatusCode::UNAUTHORIZED, "the token of this subscription is at its end")
        }
        Ended::Denied => {
            Denial::refused(StatusCode::FORBIDDEN, "this subscription is not permitted any more")
        }
        Ended::Unanswered => Denial::outage(),
    };
    Response::from_errors(vec![denial.of_request()])
}
