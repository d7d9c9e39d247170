//! `envoy.service.ext_proc.v3.ExternalProcessor`: the lists of an MCP server behind Envoy, cut to their readers.
//!
//! Whether a call may be made is decided by `ext_authz`. Here are decided the entries of lists, each as its own call
//! would be, in answers as JSON and in event streams. One stream of messages is one request of a client and its answer
//! (`transaction`): what is asked is read by the decoder of all entries, what of the answer may be a list is found by
//! `lists`, and `reply` writes what Envoy is told.
//!
//! Envoy goes on without us where a stream ends cleanly before its time. So a stream ends cleanly only when Envoy has ended
//! it; whatever cannot be decided is an answer of ours, or the end of the stream with an error.

use std::{collections::VecDeque, pin::Pin, sync::Arc};

use envoy_types::pb::envoy::service::ext_proc::v3::{
    ProcessingRequest, ProcessingResponse,
    external_processor_server::{ExternalProcessor, ExternalProcessorServer},
};
use futures::{Stream, stream};
use palisade_pdp::{Caller, Pdp};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

mod lists;
mod reply;
mod transaction;

use transaction::Step;
pub(crate) use transaction::Transaction;

/// The entry of the call's metadata that names the resource.
const RESOURCE: &str = "palisade-resource";

/// The service, for a gRPC server.
#[must_use]
pub fn server(pdp: Arc<Pdp>) -> ExternalProcessorServer<Processor> {
    ExternalProcessorServer::new(Processor { pdp })
}

/// The service of a decision point.
#[derive(Debug)]
pub struct Processor {
    pdp: Arc<Pdp>,
}

type Replies = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;

#[tonic::async_trait]
impl ExternalProcessor for Processor {
    type ProcessStream = Replies;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Replies>, Status> {
        let metadata = request.metadata();
        // A page in a browser on this machine is not the caller `local`, whatever name it reached us by.
        let is_browser = metadata.contains_key("origin");
        let caller = request.extensions().get::<Caller>().filter(|_| !is_browser).cloned();
        let resource = only(metadata, RESOURCE).unwrap_or_default().to_owned();
        let transaction = Transaction::new(Arc::clone(&self.pdp), caller.unwrap_or_default(), resource);
        Ok(Response::new(Box::pin(replies(request.into_inner(), transaction))))
    }
}

/// The value of an entry that came once.
fn only<'m>(metadata: &'m MetadataMap, name: &str) -> Option<&'m str> {
    let mut values = metadata.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// What is left to be said, and what comes next.
struct Conversation<S> {
    messages: S,
    transaction: Transaction,
    said: VecDeque<ProcessingResponse>,
    /// How it ends when everything is said; nothing while it goes on.
    end: Option<Result<(), Status>>,
}

/// The replies to the messages of one transaction, each as soon as it can be given.
pub(crate) fn replies(
    messages: impl Stream<Item = Result<ProcessingRequest, Status>> + Send + Unpin,
    transaction: Transaction,
) -> impl Stream<Item = Result<ProcessingResponse, Status>> + Send {
    let conversation = Conversation { messages, transaction, said: VecDeque::new(), end: None };
    stream::unfold(conversation, |mut conversation| async move {
        loop {
            if let Some(reply) = conversation.said.pop_front() {
                return Some((Ok(reply), conversation));
            }
            match conversation.end.take() {
                None => conversation.listen().await,
                Some(Ok(())) => return None,
                Some(Err(status)) => {
                    conversation.end = Some(Ok(()));
                    return Some((Err(status), conversation));
                }
            }
        }
    })
}

impl<S: Stream<Item = Result<ProcessingRequest, Status>> + Unpin> Conversation<S> {
    async fn listen(&mut self) {
        match futures::StreamExt::next(&mut self.messages).await {
            None => self.end = Some(Ok(())),
            Some(Err(status)) => self.end = Some(Err(status)),
            Some(Ok(message)) => match self.transaction.take(message).await {
                Step::Say(replies) => self.said.extend(replies),
                Step::Answer(answer) => {
                    self.said.push_back(*answer);
                    // Envoy needs nothing after an answer of ours, and does not wait for it.
                    self.end = Some(Err(Status::aborted("the answer is given")));
                }
                Step::Break(why) => self.end = Some(Err(Status::aborted(why))),
            },
        }
    }
}
