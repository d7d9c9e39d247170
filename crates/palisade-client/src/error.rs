//! Why there is no client, and why there is no answer.

use std::{error::Error, path::PathBuf, time::Duration};

use thiserror::Error;

/// What an error is caused by.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// Why a client cannot be built.
#[derive(Debug, Error)]
pub enum SetupError {
    /// There is nobody to ask.
    #[error(
        "no endpoint is given: name the decision listener, as in `http://127.0.0.1:7254` or `unix:/run/palisade.sock`"
    )]
    NoEndpoint,
    /// An endpoint is none.
    #[error("`{endpoint}` is no endpoint: {why}")]
    Endpoint {
        /// As it is given.
        endpoint: String,
        /// What is wrong and what would be right.
        why: &'static str,
    },
    /// Tokens and keys would cross a network in the clear.
    #[error(
        "`{endpoint}` is not on this machine, and tokens would go there unencrypted: use `https://`, or set \
         `plaintext: Plaintext::Anywhere` where something else encrypts the way"
    )]
    Plaintext {
        /// As it is given.
        endpoint: String,
    },
    /// A file cannot be read.
    #[error("`{}` cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The certificates or the key are of no use.
    #[error("TLS to `{endpoint}` cannot be set up: check the file of certificates")]
    Tls {
        /// As it is given.
        endpoint: String,
        /// Why.
        source: Cause,
    },
    /// The key cannot be sent.
    #[error("the key of the PEP is empty or no visible ASCII text: it is what `peps.<name>.auth.key` holds")]
    Key,
    /// A bound is of no use.
    #[error("`{what}` is out of bounds: {bounds}")]
    Bound {
        /// The setting.
        what: &'static str,
        /// What it may be.
        bounds: &'static str,
    },
    /// There is no runtime to run on.
    #[error("a client is made inside a tokio runtime, whose tasks watch over its endpoints")]
    NoRuntime,
}

/// Why there is no answer. Nothing here is a permit: what was asked may not be done.
#[derive(Debug, Error)]
pub enum NoAnswer {
    /// The time is over.
    #[error(
        "no answer of {endpoint} within {} ms: it hangs, is overloaded, or is too far away for this deadline",
        deadline.as_millis()
    )]
    DeadlineExceeded {
        /// Who was asked last.
        endpoint: String,
        /// How long the call was allowed to take.
        deadline: Duration,
    },
    /// No connection can be had, so nobody was asked.
    #[error(
        "{endpoint} cannot be reached: check that palisade listens there, and the certificates where it is TLS"
    )]
    Unreachable {
        /// Who was tried last.
        endpoint: String,
        /// Why.
        source: Cause,
    },
    /// The question went out, and the connection broke. The decision may stand on the record.
    #[error("the connection to {endpoint} broke before the answer: ask again")]
    Lost {
        /// Who was asked.
        endpoint: String,
        /// Why.
        source: Cause,
    },
    /// The other side is no decision service, or not a ready one.
    #[error(
        "{endpoint} answers `{code}: {message}` instead of a decision: check that it is palisade's decision listener"
    )]
    Status {
        /// Who was asked.
        endpoint: String,
        /// The gRPC status code.
        code: String,
        /// What it says.
        message: String,
    },
    /// The answer says what this crate cannot read.
    #[error("the answer of {endpoint} cannot be read, {what}: use a client that is as new as the service")]
    Unreadable {
        /// Who was asked.
        endpoint: String,
        /// What.
        what: &'static str,
    },
    /// The question cannot be sent.
    #[error("{what} cannot be sent: it is no visible ASCII text")]
    Unsendable {
        /// Which part of it.
        what: &'static str,
    },
}
