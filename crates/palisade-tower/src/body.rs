//! The one type of bodies on both sides.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a body fails with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request on its way to the server, and of its answer.
pub struct Body(UnsyncBoxBody<Bytes, BoxError>, Option<Box<dyn Send>>);

impl Body {
    /// The same, which holds something until it is over.
    #[must_use]
    pub fn holding(self, held: impl Send + 'static) -> Self {
        match self.1 {
            None => Self(self.0, Some(Box::new(held))),
            Some(before) => Self(self.0, Some(Box::new((before, held)))),
        }
    }

    /// Any body.
    pub fn new<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(body.map_err(|error| error.into()).boxed_unsync(), None)
    }

    /// A body that is whole.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::new(Full::new(bytes.into()))
    }

    /// All of it, where that is at most so many bytes.
    ///
    /// # Errors
    /// When it is larger, or fails.
    pub async fn whole(self, most: usize) -> Result<Bytes, BoxError> {
        let unbounded = |_| Ok(());
        self.take(most, unbounded).await.map_err(BoxError::from)
    }

    /// The same, where there is room for it among others, telling of each piece that comes. The room is held with what is returned.
    pub(crate) async fn whole_within(
        self,
        most: usize,
        room: &Arc<Semaphore>,
        progress: impl Fn(),
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), NotWhole> {
        let mut held: Option<OwnedSemaphorePermit> = None;
        let take_room = |bytes: usize| {
            if bytes > 0 {
                progress();
            }
            let bytes = u32::try_from(bytes).map_err(|_| NotWhole::NoRoom)?;
            let more = Arc::clone(room).try_acquire_many_owned(bytes).map_err(|_| NotWhole::NoRoom)?;
            match &mut held {
                Some(held) => held.merge(more),
                None => held = Some(more),
            }
            Ok(())
        };
        let bytes = self.take(most, take_room).await?;
        Ok((bytes, held))
    }

    async fn take(
        mut self,
        most: usize,
        mut room: impl FnMut(usize) -> Result<(), NotWhole>,
    ) -> Result<Bytes, NotWhole> {
        let mut taken = BytesMut::new();
        while let Some(frame) = self.0.frame().await {
            if let Ok(data) = frame.map_err(NotWhole::Failed)?.into_data() {
                if taken.len() + data.len() > most {
                    return Err(NotWhole::TooLarge(most));
                }
                room(data.len())?;
                taken.extend_from_slice(&data);
            }
        }
        Ok(taken.freeze())
    }
}

/// Why a body was not taken in whole.
#[derive(Debug, Error)]
pub(crate) enum NotWhole {
    /// It has more bytes than this.
    #[error("it is larger than {0} bytes")]
    TooLarge(usize),
    /// It takes too long.
    #[error("it takes too long")]
    TooSlow,
    /// Others take all the room.
    #[error("there is no room for it now")]
    NoRoom,
    /// It broke off.
    #[error(transparent)]
    Failed(BoxError),
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Body(..)")
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
