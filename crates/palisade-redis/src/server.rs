//! The server, as who shares something by it sees it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue,
    IntoConnectionInfo, RedisError, ServerErrorKind, aio::MultiplexedConnection,
};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;
use url::Url;

use crate::{
    Script,
    bounded::{Allowance, Bounded},
};

/// For how long the server is left alone after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest that a server may take to answer.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a connection may take. Nobody waits for that longer than for an answer; it is there for the next one.
const CONNECTING: Duration = Duration::from_secs(2);
/// How much may come that is no value: greetings, the frame of an answer, an error.
const AROUND: usize = 16 * 1024;

type Connecting = Shared<BoxFuture<'static, Option<Connection>>>;

/// A connection, and what may still come on it.
#[derive(Clone)]
struct Connection {
    redis: MultiplexedConnection,
    allowance: Allowance,
}

/// Why there is no answer of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// It refuses this one command, which says nothing of others.
    Refused,
    /// It has never run the script of this name.
    UnknownScript,
    /// It does not answer, or not so that it could be read.
    Lost,
}

/// A server. It is held by an `Arc`, for what it does goes on while nobody waits.
pub struct Server {
    place: ConnectionInfo,
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    connecting: Option<Connecting>,
    left_alone_until: Option<Instant>,
}

/// A URL may hold a password.
impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Server(..)")
    }
}

impl Server {
    /// The longest that the timeout can be.
    pub const LONGEST_TIMEOUT: Duration = LONGEST_TIMEOUT;

    /// A server that is reached when it is first needed.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(url: &str, timeout: Duration) -> Result<Self, String> {
        // What does not parse is not shown: it may hold a password.
        let parsed = Url::parse(url).map_err(|error| format!("url: no URL: {error}"))?;
        // A fragment is how the client is told not to verify a certificate.
        if !matches!(parsed.scheme(), "redis" | "rediss") || parsed.fragment().is_some() {
            return Err("url: `redis://host:port` or `rediss://host:port`, without a fragment".to_owned());
        }
        let place = url.into_connection_info().map_err(|error| format!("url: {}", error.category()))?;
        Ok(Self { place, timeout, state: Mutex::default() })
    }

    /// The value of a key, up to a length.
    ///
    /// # Errors
    /// When it gives no answer of use in time.
    pub async fn get(
        self: &Arc<Self>,
        key: &str,
        longest: usize,
        patience: Duration,
    ) -> Result<Option<Vec<u8>>, &'static str> {
        // Somebody else's value could be of any length. One that is cut opens as little as one that is not ours.
        let mut command = redis::cmd("GETRANGE");
        command.arg(key).arg(0).arg(longest.saturating_sub(1));
        let value: Vec<u8> = self.ask(&command, longest, patience.min(self.timeout)).await?;
        Ok((!value.is_empty()).then_some(value))
    }

    /// Sets a key, for no longer than so long.
    ///
    /// # Errors
    /// When it gives no answer of use in time.
    pub async fn put(self: &Arc<Self>, key: &str, value: &[u8], lives: Duration) -> Result<(), &'static str> {
        let millis = u64::try_from(lives.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut command = redis::cmd("SET");
        command.arg(key).arg(value).arg("PX").arg(millis);
        self.ask(&command, 0, self.timeout).await
    }

    /// How long a key still lives; nothing where there is none, or it lives for ever.
    ///
    /// # Errors
    /// When it gives no answer of use in time.
    pub async fn lives(
        self: &Arc<Self>,
        key: &str,
        patience: Duration,
    ) -> Result<Option<Duration>, &'static str> {
        let mut command = redis::cmd("PTTL");
        command.arg(key);
        let millis: i64 = self.ask(&command, 0, patience.min(self.timeout)).await?;
        Ok(u64::try_from(millis).ok().map(Duration::from_millis))
    }

    /// Runs a script, which answers with numbers: all of it as one step.
    ///
    /// # Errors
    /// When it gives no answer of use in time. Then it is not known whether the script has run.
    pub async fn run(
        self: &Arc<Self>,
        script: &Script,
        keys: &[String],
        arguments: &[u64],
        patience: Duration,
    ) -> Result<Vec<i64>, &'static str> {
        let command = |name: &str, script: &str| {
            let mut command = redis::cmd(name);
            command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
            command
        };
        let patience = patience.min(self.timeout);
        let began = Instant::now();
        let by_name = command("EVALSHA", script.name());
        match self.asked(&by_name, 0, patience).await {
            Err(Trouble::UnknownScript) => {}
            answered => return answered.map_err(Trouble::words),
        }
        let left = patience.saturating_sub(began.elapsed());
        self.ask(&command("EVAL", script.text()), 0, left).await
    }

    async fn ask<T: FromRedisValue>(
        self: &Arc<Self>,
        command: &Cmd,
        longest: usize,
        patience: Duration,
    ) -> Result<T, &'static str> {
        self.asked(command, longest, patience).await.map_err(Trouble::words)
    }

    async fn asked<T: FromRedisValue>(
        self: &Arc<Self>,
        command: &Cmd,
        longest: usize,
        patience: Duration,
    ) -> Result<T, Trouble> {
        let asked = timeout(patience, async {
            let mut connection = self.connection().await?;
            connection.allowance.add(longest.saturating_add(AROUND));
            command.query_async(&mut connection.redis).await.map_err(|error| {
                tracing::debug!(category = error.category(), code = error.code(), "redis refused");
                trouble(&error)
            })
        });
        match asked.await {
            Ok(Ok(answer)) => return Ok(answer),
            // A full server takes no value, and still has those that it took.
            Ok(Err(trouble @ (Trouble::Refused | Trouble::UnknownScript))) => return Err(trouble),
            Ok(Err(Trouble::Lost)) => self.failed(),
            Err(_elapsed) if patience >= self.timeout => self.failed(),
            // Somebody had less time than the server has: that says nothing of it to others.
            Err(_elapsed) => {}
        }
        Err(Trouble::Lost)
    }

    /// The connection there is, or the one that is being made.
    async fn connection(self: &Arc<Self>) -> Result<Connection, Trouble> {
        let connecting = {
            let mut state = self.state();
            if state.left_alone_until.is_some_and(|until| Instant::now() < until) {
                return Err(Trouble::Lost);
            }
            if let Some(connection) = &state.connection {
                return Ok(connection.clone());
            }
            state.connecting.get_or_insert_with(|| self.connect()).clone()
        };
        connecting.await.ok_or(Trouble::Lost)
    }

    fn connect(self: &Arc<Self>) -> Connecting {
        let server = Arc::clone(self);
        // A task of its own: who waits for it can go away, and the connection is there for the next one.
        let task = tokio::spawn(async move {
            let made = timeout(CONNECTING, server.made()).await.ok().flatten();
            let mut state = server.state();
            state.connecting = None;
            state.left_alone_until = made.is_none().then(|| Instant::now() + PAUSE);
            state.connection.clone_from(&made);
            made
        });
        task.map(|made| made.ok().flatten()).boxed().shared()
    }

    /// A connection that is ready to be asked, with a task of its own that ends with it.
    async fn made(&self) -> Option<Connection> {
        let (host, port, encrypted) = match self.place.addr() {
            ConnectionAddr::Tcp(host, port) => (host, port, false),
            ConnectionAddr::TcpTls { host, port, .. } => (host, port, true),
            // What a URL of `Server::new` is not.
            ConnectionAddr::Unix(_) | _ => return None,
        };
        let stream = TcpStream::connect((host.as_str(), *port)).await.ok()?;
        stream.set_nodelay(true).ok()?;
        if !encrypted {
            return self.greeted(stream).await;
        }
        let name = ServerName::try_from(host.clone()).ok()?;
        let connector = TlsConnector::from(Arc::new(verifying().await?));
        let connected = connector.connect(name, stream).await;
        let connected = connected.inspect_err(|error| tracing::debug!(%error, "the shared server"));
        self.greeted(connected.ok()?).await
    }

    async fn greeted(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Option<Connection> {
        let allowance = Allowance::default();
        allowance.add(AROUND);
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(self.timeout));
        let stream = Bounded::new(stream, allowance.clone());
        let made = MultiplexedConnection::new_with_config(self.place.redis_settings(), stream, config);
        let (redis, driver) = made.await.ok()?;
        tokio::spawn(driver);
        Some(Connection { redis, allowance })
    }

    /// Leaves the server alone for a while, and its connection for good.
    fn failed(&self) {
        let mut state = self.state();
        let now = Instant::now();
        if state.left_alone_until.is_none_or(|until| until <= now) {
            state.left_alone_until = Some(now + PAUSE);
            state.connection = None;
        }
        // One that has ended and is still here was not made: its task panicked.
        if state.connecting.as_ref().is_some_and(|connecting| connecting.peek().is_some()) {
            state.connecting = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trouble {
    const fn words(self) -> &'static str {
        match self {
            Self::Refused | Self::UnknownScript => "it answers with an error",
            Self::Lost => "it does not answer, or not in time",
        }
    }
}

fn trouble(error: &RedisError) -> Trouble {
    if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) {
        return Trouble::UnknownScript;
    }
    let answered =
        matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType);
    if answered { Trouble::Refused } else { Trouble::Lost }
}

/// What verifies a server's certificate: the system's authorities, which lie in files.
async fn verifying() -> Option<ClientConfig> {
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await.ok()?;
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(found.certs);
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config =
        ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
    Some(config.ok()?.with_root_certificates(authorities).with_no_client_auth())
}
