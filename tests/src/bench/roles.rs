//! The servers that this program itself is, each as a process of its own: the null server, below which no ext_authz
//! server can go, a receiver of OTLP that takes everything and keeps nothing, and an MCP server.
//!
//! The null server is served as Palisade's decision listener is: the same router around the same tonic, the same
//! allocator, the same runtime, no delay on small writes. What it lacks is the decision.

use std::{convert::Infallible, io::Write as _};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE},
    serve::ListenerExt,
};
use bytes::Bytes;
use clap::ValueEnum;
use envoy_types::{
    ext_authz::v3::pb::{
        Authorization, AuthorizationServer, CheckRequest, CheckResponse, HttpResponse, OkHttpResponse,
    },
    pb::google::rpc,
};
use http_body_util::{BodyExt, Full};
use tokio::net::TcpListener;

/// A gRPC message of no bytes: not compressed, length 0.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    Null,
    Sink,
    /// Given what decides, it has the adapter in front of it.
    Mcp,
}

impl Role {
    /// What it is called on the command line.
    pub(crate) fn name(self) -> Result<String> {
        Ok(self.to_possible_value().context("a role without a name")?.get_name().to_owned())
    }

    /// Serves until the process is ended. Prints `ready` and the port.
    pub(crate) fn serve(self, given: Option<&str>) -> Result<()> {
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let port = listener.local_addr()?.port();
            let router = match self {
                Self::Null => {
                    tonic::service::Routes::new(AuthorizationServer::new(Null)).prepare().into_axum_router()
                }
                Self::Sink => Router::new().fallback(swallow),
                Self::Mcp => super::mcp::router(given).await?,
            };
            writeln!(std::io::stdout(), "ready {port}")?;
            let listener = listener.tap_io(|stream| {
                // A socket that keeps the delay still answers, and late enough to be seen.
                let _ = stream.set_nodelay(true);
            });
            axum::serve(listener, router.into_make_service()).await?;
            Ok(())
        })
    }
}

struct Null;

#[tonic::async_trait]
impl Authorization for Null {
    async fn check(
        &self,
        _request: tonic::Request<CheckRequest>,
    ) -> Result<tonic::Response<CheckResponse>, tonic::Status> {
        Ok(tonic::Response::new(CheckResponse {
            status: Some(rpc::Status::default()),
            dynamic_metadata: None,
            http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
        }))
    }
}

/// Takes an export, and acknowledges it with the empty message that every export's answer can be.
async fn swallow(request: Request) -> Response<Body> {
    let mut body = request.into_body();
    while let Some(Ok(_frame)) = body.frame().await {}
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let message = Full::new(Bytes::from_static(EMPTY_MESSAGE))
        .with_trailers(async { Some(Ok::<_, Infallible>(trailers)) });
    let mut response = Response::new(Body::new(message));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
