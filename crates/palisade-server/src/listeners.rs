//! Sockets: where callers reach the service, and what their connection proves of them.

use std::{
    io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use crate::config::values::ListenAddress;

/// A bound socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Why a listener cannot listen.
#[derive(Debug, Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error(
        "{listener}: {address} is taken by another program: stop that one, or set `{listener}.address` to another address"
    )]
    Taken {
        /// Its key in the configuration.
        listener: &'static str,
        /// The address.
        address: ListenAddress,
    },
    /// Anything else.
    #[error("{listener}: cannot listen on {address}")]
    Other {
        /// Its key in the configuration.
        listener: &'static str,
        /// The address.
        address: ListenAddress,
        /// Why.
        source: io::Error,
    },
}

impl Socket {
    pub(crate) async fn bind(listener: &'static str, address: &ListenAddress) -> Result<Self, BindError> {
        let bound = match address {
            ListenAddress::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            ListenAddress::Unix(path) => bind_unix(path).await.map(Self::Unix),
        };
        bound.map_err(|source| {
            let address = address.clone();
            if source.kind() == io::ErrorKind::AddrInUse {
                BindError::Taken { listener, address }
            } else {
                BindError::Other { listener, address, source }
            }
        })
    }

    /// Where it listens; differs from what was asked for where that was port 0.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => {
                listener.local_addr().map(|address| address.to_string()).unwrap_or_default()
            }
            Self::Unix(listener) => {
                let path = listener
                    .local_addr()
                    .ok()
                    .and_then(|address| address.as_pathname().map(ToOwned::to_owned));
                format!("unix:{}", path.unwrap_or_default().display())
            }
        }
    }

    /// Serves a router to callers that nobody knows, so that they can take only so much: at most 256 connections at once,
    /// each closed when nothing comes for half a minute, and after two minutes whatever comes. More wait in the system's queue, and cost no file.
    pub(crate) fn serve_strangers(
        self,
        router: Router,
        stop: CancellationToken,
    ) -> JoinHandle<io::Result<()>> {
        match self {
            Self::Tcp(listener) => {
                let guarded = Guarded { listener, places: Arc::new(Semaphore::new(MOST_STRANGERS)) };
                let service = router.into_make_service();
                tokio::spawn(
                    axum::serve(guarded, service)
                        .with_graceful_shutdown(stop.cancelled_owned())
                        .into_future(),
                )
            }
            Self::Unix(_) => self.serve(router, stop),
        }
    }

    /// Serves a router until the token is cancelled, then lets the requests under way end.
    pub(crate) fn serve(self, router: Router, stop: CancellationToken) -> JoinHandle<io::Result<()>> {
        let service = router.into_make_service_with_connect_info::<Peer>();
        match self {
            Self::Tcp(listener) => tokio::spawn(
                axum::serve(NoDelay(listener), service)
                    .with_graceful_shutdown(stop.cancelled_owned())
                    .into_future(),
            ),
            Self::Unix(listener) => tokio::spawn(
                axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned()).into_future(),
            ),
        }
    }
}

/// Binds a Unix socket that its owner and group may use. A socket file that nobody listens on any more is replaced.
async fn bind_unix(path: &std::path::Path) -> io::Result<UnixListener> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && tokio::net::UnixStream::connect(path).await.is_err_and(|error| refused(&error)) {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// What a connection proves of its other end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// It is on this machine.
    pub(crate) local: bool,
    /// The user id of its process, on a Unix socket.
    pub(crate) uid: Option<u32>,
}

const MOST_STRANGERS: usize = 256;
const STRANGERS_PATIENCE: Duration = Duration::from_secs(30);
const STRANGERS_STAY: Duration = Duration::from_secs(120);

/// TCP with a bound on connections and on their silence.
struct Guarded {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Listener for Guarded {
    type Io = GuardedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (GuardedStream, SocketAddr) {
        let place = loop {
            // The semaphore is never closed; were it, nobody new would be let in.
            match Arc::clone(&self.places).acquire_owned().await {
                Ok(place) => break place,
                Err(_closed) => std::future::pending().await,
            }
        };
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let mut stream = TimeoutStream::new(stream);
        stream.set_read_timeout(Some(STRANGERS_PATIENCE));
        stream.set_write_timeout(Some(STRANGERS_PATIENCE));
        let stay = Box::pin(tokio::time::sleep(STRANGERS_STAY));
        (GuardedStream { stream: Box::pin(stream), stay, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that holds its place until it is closed.
struct GuardedStream {
    stream: Pin<Box<TimeoutStream<TcpStream>>>,
    /// Who sends a byte now and then is never silent, and holds a place all the same.
    stay: Pin<Box<tokio::time::Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.stay.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.stream.as_mut().poll_read(context, buffer)
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(context)
    }
}

/// TCP without Nagle's delay: an answer is one small write.
struct NoDelay(TcpListener);

impl Listener for NoDelay {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error = %error, "a connection keeps Nagle's delay");
        }
        (stream, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, NoDelay>> for Peer {
    fn connect_info(stream: IncomingStream<'_, NoDelay>) -> Self {
        Self { local: stream.remote_addr().ip().to_canonical().is_loopback(), uid: None }
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self { local: true, uid: stream.io().peer_cred().ok().map(|credentials| credentials.uid()) }
    }
}
