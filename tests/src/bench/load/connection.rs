//! How a question goes out and its answer comes in: over HTTP/2 as a proxy asks, or over HTTP/1.1 as most MCP clients do.

use std::{
    future::poll_fn,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, StatusCode, Uri, header, uri};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::net::TcpStream;

use super::{Call, Reading};

/// How much of a body a server may send before it is told that it was read.
const WINDOW: u32 = 1 << 22;

/// Over what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// HTTP/2 from the first byte: many requests are out on a connection.
    Http2,
    /// HTTP/1.1: one request after the other on a connection, which is kept, and as many connections as requests are out.
    Http1,
}

/// One connection, or those that are kept.
#[derive(Debug, Clone)]
pub(super) enum Connection {
    Http2(SendRequest<Bytes>),
    Http1 { client: Box<Client<HttpConnector, Full<Bytes>>>, server: uri::Authority },
}

/// An answer as it came.
struct Answer {
    status: StatusCode,
    /// Those behind the body, where there are any; else those before it.
    headers: HeaderMap,
    body: Bytes,
}

impl Connection {
    /// A connection on loopback.
    pub(super) async fn open(over: Over, port: u16) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match over {
            Over::Http2 => Ok(Self::Http2(http2(address).await?)),
            Over::Http1 => {
                let mut connector = HttpConnector::new();
                connector.set_nodelay(true);
                let client = Box::new(Client::builder(TokioExecutor::new()).build(connector));
                Ok(Self::Http1 { client, server: address.to_string().parse()? })
            }
        }
    }

    /// Asks one question. Gives the decision, and the body that it was read from.
    pub(super) async fn ask(&mut self, call: &Call, reading: Reading) -> Result<(bool, Bytes)> {
        let Answer { status, headers, body } = match self {
            Self::Http2(connection) => ask_http2(connection, call).await?,
            Self::Http1 { client, server } => ask_http1(client, server, call).await?,
        };
        let permitted = reading.permitted(status, &headers, &body)?;
        Ok((permitted, body))
    }
}

async fn http2(address: SocketAddr) -> Result<SendRequest<Bytes>> {
    let stream = TcpStream::connect(address).await.with_context(|| address.to_string())?;
    stream.set_nodelay(true)?;
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .enable_push(false)
        .handshake(stream)
        .await?;
    tokio::spawn(async move {
        // An error of the connection is one of every request on it.
        let _ended = connection.await;
    });
    Ok(sender)
}

async fn ask_http2(connection: &mut SendRequest<Bytes>, call: &Call) -> Result<Answer> {
    poll_fn(|context| connection.poll_ready(context)).await?;
    let (answer, mut body) = connection.send_request(call.request.clone(), false)?;
    body.send_data(call.body.clone(), true)?;
    let (head, mut body) = answer.await?.into_parts();
    let mut first = Bytes::new();
    let mut rest = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if !rest.is_empty() {
        first = [first.as_ref(), &rest].concat().into();
    }
    let headers = body.trailers().await?.unwrap_or(head.headers);
    Ok(Answer { status: head.status, headers, body: first })
}

/// The request goes to this server, and says the host that it is for.
async fn ask_http1(
    client: &Client<HttpConnector, Full<Bytes>>,
    server: &uri::Authority,
    call: &Call,
) -> Result<Answer> {
    let (mut head, ()) = call.request.clone().into_parts();
    let mut to = head.uri.into_parts();
    let named = to.authority.replace(server.clone()).context("the request names no host")?;
    head.uri = Uri::from_parts(to)?;
    head.headers.insert(header::HOST, named.as_str().parse()?);
    let answer = client.request(Request::from_parts(head, Full::new(call.body.clone()))).await?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await?;
    let headers = body.trailers().cloned().unwrap_or(head.headers);
    Ok(Answer { status: head.status, headers, body: body.to_bytes() })
}
