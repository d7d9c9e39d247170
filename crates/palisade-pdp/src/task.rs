//! A decision runs to its end.
//!
//! A proxy that gives up resets its stream, and the server then drops the future of the call. A decision that ended
//! there, between the policies and the record, would be one that nobody can find again. So the work is a task of its
//! own: the call waits for it and can go away, the task cannot.

use tracing::Instrument;

/// Runs the work of one call to its end. A panic in it, and the end of the runtime under it, are an outage.
pub async fn run_to_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
    outage: fn() -> T,
) -> T {
    match tokio::spawn(work.in_current_span()).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::error!(%error, "a decision did not come to its end");
            outage()
        }
    }
}
