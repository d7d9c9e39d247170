//! What is left of an operation, as the request that goes on.

use palisade_graphql::{GraphqlError, OperationKind, Requests};
use palisade_pdp::{Granted, Left};
use serde_json::Value;

use super::{Operation, Operations, STRICTEST};

/// The most bytes that are told of what was taken out: of more the operation is denied whole.
const MOST_TOLD: usize = 32 * 1024;

/// Whether another request can go on in place of one: a POST of one operation with its document. What has an answer of its own form
/// is whole or nothing, and so is what goes on as a URL or a hash. So is a document of the manifest: what the policies say of it they say
/// of that document, and what is left of it is another.
pub(super) fn can_be_cut(requests: &Requests) -> bool {
    let [request] = requests.requests.as_slice() else { return false };
    !requests.batch && !request.by_get && !request.by_hash && request.listed.is_none()
}

impl Operations {
    /// Whether what is left of the request can go on in its place. Who changes something means all of it.
    pub(crate) fn can_be_cut(&self) -> bool {
        let is_query = |operation: &Operation| match operation.analysis.kind {
            OperationKind::Query => true,
            OperationKind::Mutation | OperationKind::Subscription => false,
        };
        self.can_be_cut && self.read.iter().all(is_query)
    }

    /// What is left of the operation without what is not granted; nothing where it is granted whole, or cannot be cut.
    #[must_use]
    pub fn left(&self, granted: &Granted<'_>) -> Option<Left> {
        let [operation] = self.read.as_slice() else { return None };
        if !self.can_be_cut() {
            return None;
        }
        let Operation { request, analysis, introspection, names: _, fields } = operation;
        // INVARIANT: what is left is read again, and asks for nothing that was not granted.
        let rest = self.graph.schema.rest(request, analysis, &operation.decisions(granted), STRICTEST)?;
        if rest.introspects != analysis.introspects && rest.body.is_some() {
            return None;
        }
        // An operation's own item is the first: there is one.
        let own = std::iter::once(0).chain(*introspection);
        let asks = rest.asks.iter().map(|place| fields.start.saturating_add(*place));
        let errors: Vec<Value> = rest.errors.iter().map(GraphqlError::to_json).collect();
        let told = Value::Array(errors).to_string();
        let left = Left { body: rest.body, items: own.chain(asks).collect(), taken: rest.denied.len(), told };
        (left.told.len() <= MOST_TOLD).then_some(left)
    }
}
