//! The vocabulary of an authorization decision.
//!
//! May *this actor*, on behalf of *this subject*, do *this action* on *this target* of *this resource*?
//! Every protocol decodes to an [`AccessRequest`]; every crate above speaks in the words defined here.
//! Nothing in this crate performs I/O, knows a runtime, a wire format or a policy language. The one exception
//! to "no clock" is [`SystemClock`], the only place of the project that reads the machine's time.

mod arguments;
mod handle;
mod names;
mod properties;
mod raw_token;
mod reason;
mod request;
mod subject;
mod time;
mod tools;

pub use arguments::{Arguments, ArgumentsError, as_decimal, canonical_json};
pub use handle::{Handle, HandleKind, SEAL};
pub use names::{
    Audience, ClientId, DecisionId, ExchangeName, Issuer, IssuerName, NameError, PepName, PolicyRevision,
    ResourceName, Scope, Scopes, StaticTokenName,
};
pub use properties::Properties;
pub use raw_token::RawToken;
pub use reason::Reason;
pub use request::{
    AccessRequest, Action, Asked, Circumstances, Credential, Item, Refusal, Surface, Target, TraceId,
};
pub use subject::{Authority, Subject, SubjectKind};
#[cfg(feature = "test-util")]
pub use time::ManualClock;
pub use time::{Clock, SystemClock, Timestamp, TimestampError};
pub use tools::{InnerCall, Mirrored, ToolForm, ToolForms};
