//! A server behind the gateway.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::Body as HttpBody;
use palisade_tower::{Body, BoxError};
use thiserror::Error;
use tower::{Service, ServiceExt, util::BoxCloneSyncService};

use crate::{
    http_server::HttpServer,
    stdio::{StdioServer, StdioSettings},
};

/// A server behind the gateway. Clones share its connections and its processes.
#[derive(Debug, Clone)]
pub struct Upstream(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Http(HttpServer),
    Stdio(StdioServer),
    Inside(BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>),
}

/// Why a server cannot be one.
#[derive(Debug, Error)]
pub enum UpstreamError {
    /// The URL is none that can be asked.
    #[error("`{0}` is no URL of a server: write `http://host:port/path`")]
    Url(String),
    /// There is no command.
    #[error("the command is empty: write the program and its arguments, as in a shell")]
    Command,
    /// The client cannot be built.
    #[error("no client can be built")]
    Client(#[source] reqwest::Error),
}

impl Upstream {
    /// A server that is asked over HTTP, at this URL.
    ///
    /// # Errors
    /// When the URL is not one of HTTP or has a query.
    pub fn http(url: &str) -> Result<Self, UpstreamError> {
        HttpServer::new(url).map(Kind::Http).map(Self)
    }

    /// A server that is a child process for each session, and speaks over its standard input and output.
    ///
    /// # Errors
    /// When there is no command.
    pub fn stdio(settings: StdioSettings) -> Result<Self, UpstreamError> {
        StdioServer::new(settings).map(Kind::Stdio).map(Self)
    }

    /// A server in this process.
    pub fn inside<S, B>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let service = service.map_response(|response: Response<B>| response.map(Body::new));
        Self(Kind::Inside(BoxCloneSyncService::new(service)))
    }

    /// The same for requests whose paths begin so.
    pub(crate) fn below(self, path: &str) -> Self {
        match self.0 {
            Kind::Http(server) => Self(Kind::Http(server.below(path))),
            Kind::Stdio(_) | Kind::Inside(_) => self,
        }
    }
}

impl Service<Request<Body>> for Upstream {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match &self.0 {
            Kind::Http(server) => {
                let server = server.clone();
                Box::pin(async move { Ok(server.ask(request).await) })
            }
            Kind::Stdio(server) => {
                let server = server.clone();
                Box::pin(async move { Ok(server.ask(request).await) })
            }
            Kind::Inside(service) => Box::pin(service.clone().oneshot(request)),
        }
    }
}
