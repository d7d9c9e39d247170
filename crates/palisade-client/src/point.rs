//! Who is asked.

use std::fmt;

use futures::future::BoxFuture;

use crate::{
    Batch, BatchDecision, Decision, Exchange, Exchanged, NoAnswer, Presentation, Question, Search, Searched,
    Verification,
};

/// An answer under way. It can be dropped at any time; a decision that was begun is recorded all the same.
pub type Answering<'a, T> = BoxFuture<'a, Result<T, NoAnswer>>;

/// Who answers questions: a service, or a decision point in the same process. An adapter holds an
/// `Arc<dyn DecisionPoint>` and knows no more of it.
///
/// Each method answers or gives [`NoAnswer`] before the deadline of the question has passed.
pub trait DecisionPoint: fmt::Debug + Send + Sync {
    /// Decides one item.
    fn decide<'a>(&'a self, question: &'a Question) -> Answering<'a, Decision>;

    /// Decides several items of one resource for one token, in one decision with one record.
    fn decide_batch<'a>(&'a self, batch: &'a Batch) -> Answering<'a, BatchDecision>;

    /// Whether a resource accepts a token. That permits nothing and is not recorded.
    fn verify<'a>(&'a self, presentation: &'a Presentation) -> Answering<'a, Verification>;

    /// Finds who can do what, page by page. That lets nobody in.
    fn search<'a>(&'a self, search: &'a Search) -> Answering<'a, Searched>;

    /// Exchanges a token for one that an upstream accepts, for the same subject.
    fn exchange<'a>(&'a self, exchange: &'a Exchange) -> Answering<'a, Exchanged>;
}
