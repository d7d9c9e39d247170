//! What is asked.

use std::time::Duration;

use palisade_model::RawToken;

/// One action on one target, in the words of the resource's protocol.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    /// The method: `tools/call` of an MCP server, `GET` of an HTTP service.
    pub action: String,
    /// The name of the tool or prompt, the URI of an MCP resource, the path. None for what is done to a server as a
    /// whole, such as `tools/list`.
    pub target: Option<String>,
    /// The arguments of a tool or prompt: the text of one JSON object, as it came.
    pub arguments: Option<String>,
}

impl Item {
    /// An action without a target.
    #[must_use]
    pub fn new(action: impl Into<String>) -> Self {
        Self { action: action.into(), target: None, arguments: None }
    }

    /// The same on a target.
    #[must_use]
    pub fn on(self, target: impl Into<String>) -> Self {
        Self { target: Some(target.into()), ..self }
    }

    /// The same with arguments.
    #[must_use]
    pub fn with(self, arguments: impl Into<String>) -> Self {
        Self { arguments: Some(arguments.into()), ..self }
    }
}

/// The values of arguments are nobody's business.
impl std::fmt::Debug for Item {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { action, target, arguments: _ } = self;
        write!(formatter, "Item({action:?}, {target:?}, ..)")
    }
}

/// What comes beside a question.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Beside {
    pub(crate) deadline: Option<Duration>,
    pub(crate) request_id: Option<String>,
    pub(crate) traceparent: Option<String>,
}

/// What every question can have beside it.
macro_rules! beside {
    ($name:ident) => {
        impl $name {
            /// How long the answer may take in all; else as long as the decision point is set to.
            #[must_use]
            pub fn within(mut self, deadline: ::std::time::Duration) -> Self {
                self.beside.deadline = Some(deadline);
                self
            }

            /// The caller's own id of the request, for the record: up to 256 visible ASCII characters.
            #[must_use]
            pub fn request_id(mut self, id: impl Into<String>) -> Self {
                self.beside.request_id = Some(id.into());
                self
            }

            /// The W3C `traceparent` of the span that asks: the decision becomes its child.
            #[must_use]
            pub fn traceparent(mut self, header: impl Into<String>) -> Self {
                self.beside.traceparent = Some(header.into());
                self
            }
        }
    };
}

/// May the holder of a token do this?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The resource's name in the configuration. Empty: the only resource that the caller may ask about.
    pub resource: String,
    /// The access token that came, without `Bearer`; none where none came.
    pub token: Option<RawToken>,
    /// What is to be done.
    pub item: Item,
    /// Whether the answer is to tell what the policies said.
    pub explain: bool,
    pub(crate) beside: Beside,
}
pub(crate) use beside;
beside!(Question);

impl Question {
    /// A question about an item of a resource, for nobody.
    #[must_use]
    pub fn new(resource: impl Into<String>, item: Item) -> Self {
        Self { resource: resource.into(), token: None, item, explain: false, beside: Beside::default() }
    }

    /// The same for the holder of a token.
    #[must_use]
    pub fn token(self, token: impl Into<String>) -> Self {
        Self { token: Some(RawToken::new(token)), ..self }
    }

    /// The same, with what the policies said.
    #[must_use]
    pub fn explained(self) -> Self {
        Self { explain: true, ..self }
    }
}

/// May the holder of a token do all of this?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The resource's name in the configuration. Empty: the only resource that the caller may ask about.
    pub resource: String,
    /// The access token that came, without `Bearer`; none where none came.
    pub token: Option<RawToken>,
    /// What is to be done: at least one item and at most `limits.batch` of the service.
    pub items: Vec<Item>,
    /// Whether the answer is to tell what the policies said.
    pub explain: bool,
    pub(crate) beside: Beside,
}
beside!(Batch);

impl Batch {
    /// A question about items of a resource, for nobody.
    #[must_use]
    pub fn new(resource: impl Into<String>, items: Vec<Item>) -> Self {
        Self { resource: resource.into(), token: None, items, explain: false, beside: Beside::default() }
    }

    /// The same for the holder of a token.
    #[must_use]
    pub fn token(self, token: impl Into<String>) -> Self {
        Self { token: Some(RawToken::new(token)), ..self }
    }

    /// The same, with what the policies said.
    #[must_use]
    pub fn explained(self) -> Self {
        Self { explain: true, ..self }
    }
}

/// Does a resource accept this token?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presentation {
    /// The resource's name in the configuration. Empty: the only resource that the caller may ask about.
    pub resource: String,
    /// The access token, without `Bearer`.
    pub token: RawToken,
    pub(crate) beside: Beside,
}
beside!(Presentation);

impl Presentation {
    /// A token that is presented to a resource.
    #[must_use]
    pub fn new(resource: impl Into<String>, token: impl Into<String>) -> Self {
        Self { resource: resource.into(), token: RawToken::new(token), beside: Beside::default() }
    }
}
