//! Which server a request is for: by its path.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use palisade_client::GatewayPoint;
use palisade_tower::{Body, Guarded, PalisadeLayer, Settings};
use tower::{Layer, Service};

use crate::{Upstream, answer};

/// What paths of metadata documents begin with (RFC 9728 section 3).
const METADATA: &str = "/.well-known/oauth-protected-resource";

/// A resource and its server.
#[derive(Debug)]
pub struct Route {
    /// The resource's name in the configuration.
    pub resource: String,
    /// The path of its identifier, without a slash at its end: a prefix of whole segments of the paths that it serves.
    pub path: String,
    /// Its server.
    pub upstream: Upstream,
}

/// The servers behind a gateway, each behind the adapter.
#[derive(Debug, Clone)]
pub struct Routes(Arc<[(String, Guarded<Upstream>)]>);

impl Routes {
    /// Puts the decision point in front of each server. The longest path is looked at first.
    #[must_use]
    pub fn new(point: &Arc<dyn GatewayPoint>, routes: impl IntoIterator<Item = Route>) -> Self {
        // Strangers' bodies are bounded for all together.
        let first = PalisadeLayer::with(Arc::clone(point), "", Settings::default());
        let guard = |Route { resource, path, upstream }: Route| {
            let guarded = first.beside(resource).layer(upstream.below(&path));
            (path, guarded)
        };
        let mut all: Vec<(String, Guarded<Upstream>)> = routes.into_iter().map(guard).collect();
        all.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Self(all.into())
    }

    fn find(&self, path: &str) -> Option<&Guarded<Upstream>> {
        // A resource's metadata document has its path behind the well-known one.
        let of_metadata = path.strip_prefix(METADATA).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let path = of_metadata.unwrap_or(path);
        let serves = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.0.iter().find(|(prefix, _)| serves(prefix)).map(|(_, guarded)| guarded)
    }
}

impl Service<Request<Body>> for Routes {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.find(request.uri().path()).cloned() {
            // An upstream is always ready.
            Some(mut guarded) => guarded.call(request),
            None => Box::pin(async { Ok(answer::not_found()) }),
        }
    }
}
