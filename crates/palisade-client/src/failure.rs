//! Why a call got no answer, and whether the service has read it.
//!
//! The status of a failed call is either what the other side said, and then it has no source, or what the transport made of
//! its own error, and then that is its source. The code alone does not tell the two apart.

use std::error::Error;

use tonic::{Code, ConnectError, Status, TimeoutExpired};

use crate::NoAnswer;

/// Why a call got no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no connection: nothing was sent.
    NoConnection(Status),
    /// The connection closed before the call was on it, or the other side says that it did not take the call.
    NotTaken(Status),
    /// Somebody in front says that there is no service to ask.
    Unavailable(Status),
    /// The connection broke while the call was under way: it may have been answered.
    Broken(Status),
    /// The time is over.
    Late,
    /// The other side answered something else than an answer.
    Status(Status),
}

impl Failure {
    pub(crate) fn of(status: Status) -> Self {
        if causes(&status).any(<dyn Error>::is::<TimeoutExpired>) {
            return Self::Late;
        }
        if causes(&status).any(<dyn Error>::is::<ConnectError>) {
            return Self::NoConnection(status);
        }
        if causes(&status).any(is_not_taken) {
            return Self::NotTaken(status);
        }
        match (status.source().is_some(), status.code()) {
            (true, _) => Self::Broken(status),
            (false, Code::Unavailable) => Self::Unavailable(status),
            (false, _) => Self::Status(status),
        }
    }

    /// Whether the service cannot have read the call, so that asking another one leaves no second record.
    pub(crate) const fn is_unread(&self) -> bool {
        match self {
            Self::NoConnection(_) | Self::NotTaken(_) | Self::Unavailable(_) => true,
            Self::Broken(_) | Self::Late | Self::Status(_) => false,
        }
    }

    /// Whether it says something against the endpoint, rather than against this call.
    pub(crate) const fn blames_endpoint(&self) -> bool {
        match self {
            Self::NoConnection(_) | Self::Unavailable(_) | Self::Broken(_) | Self::Late => true,
            Self::NotTaken(_) | Self::Status(_) => false,
        }
    }

    /// What to tell who asked.
    pub(crate) fn no_answer(self, endpoint: &str, deadline: std::time::Duration) -> NoAnswer {
        let endpoint = endpoint.to_owned();
        match self {
            Self::NoConnection(status) | Self::NotTaken(status) => {
                NoAnswer::Unreachable { endpoint, source: Box::new(status) }
            }
            Self::Broken(status) => NoAnswer::Lost { endpoint, source: Box::new(status) },
            Self::Late => NoAnswer::DeadlineExceeded { endpoint, deadline },
            Self::Unavailable(status) | Self::Status(status) => NoAnswer::Status {
                endpoint,
                code: format!("{:?}", status.code()),
                message: status.message().to_owned(),
            },
        }
    }
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(status.source(), |cause: &&(dyn Error + 'static)| (*cause).source())
}

/// hyper cancels what it has not sent when its connection closes, and HTTP/2 has a code for streams that were not looked
/// at (RFC 9113 section 8.7).
fn is_not_taken(cause: &(dyn Error + 'static)) -> bool {
    let unsent = cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled);
    let refused = cause.downcast_ref::<h2::Error>().and_then(h2::Error::reason);
    unsent || refused == Some(h2::Reason::REFUSED_STREAM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_other_side_says_is_no_failure_of_the_transport() {
        assert!(matches!(Failure::of(Status::unavailable("no upstream")), Failure::Unavailable(_)));
        assert!(matches!(Failure::of(Status::unimplemented("x")), Failure::Status(_)));
        // A code that the other side chooses does not make a call unsent.
        assert!(matches!(Failure::of(Status::cancelled("x")), Failure::Status(_)));
    }

    #[test]
    fn only_what_cannot_have_been_read_is_asked_again() {
        let connect = ConnectError("refused".into());
        assert!(Failure::of(Status::from_error(Box::new(connect))).is_unread());
        let refused = h2::Error::from(h2::Reason::REFUSED_STREAM);
        assert!(Failure::of(Status::from_error(Box::new(refused))).is_unread());
        for reason in [h2::Reason::INTERNAL_ERROR, h2::Reason::CANCEL, h2::Reason::NO_ERROR] {
            assert!(!Failure::of(Status::from_error(Box::new(h2::Error::from(reason)))).is_unread());
        }
        let late = Failure::of(Status::from_error(Box::new(TimeoutExpired(()))));
        assert!(!late.is_unread() && late.blames_endpoint());
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(!Failure::of(Status::from_error(Box::new(broken))).is_unread());
    }
}
