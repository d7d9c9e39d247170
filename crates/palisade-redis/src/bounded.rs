//! A stream that brings no more than was asked for.
//!
//! What a server sends is gathered until it is whole, however long it says that it is. So there is an account: what is
//! asked for is added to it, what comes is taken off, and where nothing is left the stream ends with an error.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most that may be due: what is asked for beyond that is not added.
const MOST: usize = 4 * 1024 * 1024;

/// How many bytes may still come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Allowance(Arc<AtomicUsize>);

impl Allowance {
    /// Lets so many more come.
    pub(crate) fn add(&self, bytes: usize) {
        let more = |left: usize| Some(left.saturating_add(bytes).min(MOST));
        // It always has another value, so this cannot fail.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    fn take(&self, bytes: usize) -> io::Result<()> {
        let less = |left: usize| left.checked_sub(bytes);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken
            .map(drop)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "more came than was asked for"))
    }
}

/// The stream.
#[derive(Debug)]
pub(crate) struct Bounded<S> {
    stream: S,
    allowance: Allowance,
}

impl<S> Bounded<S> {
    pub(crate) fn new(stream: S, allowance: Allowance) -> Self {
        Self { stream, allowance }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let taken = self.allowance.take(buffer.filled().len().saturating_sub(before));
        if taken.is_err() {
            buffer.set_filled(before);
        }
        Poll::Ready(taken)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, BufReader};

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_sent_no_more_comes_than_was_asked_for(sent in 0..5_000_usize, asked in 0..5_000_usize, piece in 1..700_usize) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (allowance, source) = (Allowance::default(), vec![7; sent]);
            allowance.add(asked);
            let mut stream = BufReader::with_capacity(piece, Bounded::new(source.as_slice(), allowance));
            let mut came = Vec::new();
            let ended = runtime.block_on(stream.read_to_end(&mut came));
            prop_assert_eq!(ended.is_ok(), sent <= asked);
            prop_assert!(came.len() <= asked.min(sent));
        }
    }

    #[test]
    fn what_may_come_does_not_grow_without_end() {
        let allowance = Allowance::default();
        (0..10).for_each(|_| allowance.add(MOST / 2));
        assert!(allowance.take(MOST).is_ok() && allowance.take(1).is_err());
        allowance.add(usize::MAX);
        assert!(allowance.take(MOST + 1).is_err() && allowance.take(MOST).is_ok());
    }
}
