//! The listener of a gateway: connections that may last, of clients that nobody knows.

use std::{convert::Infallible, io, net::IpAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use palisade_tower::{Body, ClientAddress};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::{
    Routes, answer,
    connection::{Activity, UnderWay},
};

/// How often the system asks a silent connection whether its other end is there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How much clients may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The most connections at once. More wait in the system's queue, and cost no file.
    pub connections: usize,
    /// The most requests under way at once, streams among them; one more is answered with 503.
    pub requests: usize,
    /// How long the head of a request may take to come, also the first of a connection.
    pub head_time: Duration,
    /// How long a connection may stay on which nothing is under way.
    pub idle: Duration,
    /// How long a client may take nothing of an answer that waits for it.
    pub write_time: Duration,
    /// How long requests under way may take once the gateway stops.
    pub drain: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 8_192,
            requests: 8_192,
            head_time: Duration::from_secs(15),
            idle: Duration::from_secs(75),
            write_time: Duration::from_secs(60),
            drain: Duration::from_secs(8),
        }
    }
}

/// Serves the routes until the token is cancelled, then lets requests under way end.
///
/// # Errors
/// When the listener has no address any more.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    bounds: Bounds,
    stop: CancellationToken,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(bounds.connections));
    let under_way = Arc::new(Semaphore::new(bounds.requests));
    let graceful = GracefulShutdown::new();
    let server = builder(bounds);
    loop {
        let next = async {
            // The semaphore is never closed; were it, nobody new would be let in.
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((place, accept(&listener).await))
        };
        let next = tokio::select! {
            next = next => next,
            () = stop.cancelled() => None,
        };
        let Some((place, (stream, address))) = next else { break };
        let (routes, under_way) = (routes.clone(), Arc::clone(&under_way));
        let client = address.to_canonical();
        let activity = Activity::new();
        let followed = Arc::clone(&activity);
        let service = service_fn(move |request| {
            let (places, request_place) = (Arc::clone(&under_way), followed.begin());
            answer(routes.clone(), places, request_place, client, request)
        });
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(error, "a connection has ended");
                },
                why = activity.overdue(bounds) => tracing::debug!(?why, "a connection is ended"),
            }
            drop(place);
        });
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = sleep(bounds.drain) => tracing::warn!("streams were still open when the time to drain was over"),
    }
    Ok(())
}

fn builder(bounds: Bounds) -> Builder<TokioExecutor> {
    let mut server = Builder::new(TokioExecutor::new());
    // It is counted from the end of the request before, too; how long the first may take, `Activity` says.
    server.http1().timer(TokioTimer::new()).header_read_timeout(bounds.idle.max(bounds.head_time));
    server.http2().timer(TokioTimer::new()).keep_alive_interval(Some(Duration::from_secs(30)));
    server
}

/// The next connection. What fails is the connection's own, or passes: out of files, there are some again later.
async fn accept(listener: &TcpListener) -> (TcpStream, IpAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let keepalive = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE);
                let kept = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
                if let Err(error) = stream.set_nodelay(true).and(kept) {
                    tracing::debug!(%error, "a connection is as the system makes it");
                }
                return (stream, address.ip());
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be taken in");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(
    mut routes: Routes,
    places: Arc<Semaphore>,
    under_way: UnderWay,
    client: IpAddr,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let Ok(place) = places.try_acquire_owned() else { return Ok(answer::busy()) };
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ClientAddress(client));
    let response = routes.call(request).await?;
    // Held until the answer has gone out.
    Ok(response.map(|body| under_way.follow(body.holding(place))))
}

#[cfg(test)]
mod tests;
