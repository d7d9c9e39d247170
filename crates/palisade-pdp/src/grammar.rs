//! What the requests to a resource are read with: a schema, a manifest of documents.
//!
//! It is part of the resource, so that a reader and the policies never know two of it. Nothing in this crate looks into
//! it: which protocol has which grammar is for those to know who read requests.

use std::{any::Any, fmt, sync::Arc};

/// Something of one type, or nothing.
#[derive(Clone, Default)]
pub struct Grammar {
    of: Option<Arc<dyn Any + Send + Sync>>,
    answers_introspection: bool,
}

impl Grammar {
    /// What a reader needs.
    #[must_use]
    pub fn new(of: impl Any + Send + Sync) -> Self {
        Self { of: Some(Arc::new(of)), answers_introspection: false }
    }

    /// The same of a reader that answers introspection with what its caller may see: nobody is told that all of it is permitted.
    #[must_use]
    pub fn answering_introspection(self) -> Self {
        Self { answers_introspection: true, ..self }
    }

    /// Whether its reader does.
    pub(crate) fn answers_introspection(&self) -> bool {
        self.answers_introspection
    }

    /// The same, for the reader that knows its type; nothing where it is another's.
    #[must_use]
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.of.clone()?.downcast().ok()
    }
}

impl fmt::Debug for Grammar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.of.is_some() { "Grammar(..)" } else { "Grammar" })
    }
}
