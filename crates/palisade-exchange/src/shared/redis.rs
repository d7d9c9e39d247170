//! One connection to Redis or Valkey, made when it is needed and made anew after a failure.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, aio::MultiplexedConnection};
use tokio::time::{Instant, timeout};
use url::Url;

/// For how long the server is left alone after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a connection may take. Nobody waits for that longer than for an answer; it is there for the next one.
const CONNECTING: Duration = Duration::from_secs(2);

type Connecting = Shared<BoxFuture<'static, Option<MultiplexedConnection>>>;

/// A server.
pub(super) struct Server {
    client: Client,
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    connecting: Option<Connecting>,
    left_alone_until: Option<Instant>,
}

impl Server {
    pub(super) fn new(url: &str, timeout: Duration) -> Result<Self, String> {
        // What does not parse is not shown: it may hold a password.
        let parsed = Url::parse(url).map_err(|error| format!("url: no URL: {error}"))?;
        // A fragment is how the client is told not to verify a certificate.
        if !matches!(parsed.scheme(), "redis" | "rediss") || parsed.fragment().is_some() {
            return Err("url: `redis://host:port` or `rediss://host:port`, without a fragment".to_owned());
        }
        let client = Client::open(url).map_err(|error| format!("url: {}", error.category()))?;
        Ok(Self { client, timeout, state: Mutex::default() })
    }

    /// The value of a key, up to a length.
    pub(super) async fn get(
        self: &Arc<Self>,
        key: &str,
        longest: usize,
        patience: Duration,
    ) -> Result<Option<Vec<u8>>, &'static str> {
        // Somebody else's value could be of any length. One that is cut opens as little as one that is not ours.
        let mut command = redis::cmd("GETRANGE");
        command.arg(key).arg(0).arg(longest.saturating_sub(1));
        let value: Vec<u8> = self.ask(&command, patience.min(self.timeout)).await?;
        Ok((!value.is_empty()).then_some(value))
    }

    /// Sets a key, for no longer than so long.
    pub(super) async fn put(
        self: &Arc<Self>,
        key: &str,
        value: &[u8],
        lives: Duration,
    ) -> Result<(), &'static str> {
        let millis = u64::try_from(lives.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut command = redis::cmd("SET");
        command.arg(key).arg(value).arg("PX").arg(millis);
        self.ask(&command, self.timeout).await
    }

    async fn ask<T: FromRedisValue>(
        self: &Arc<Self>,
        command: &Cmd,
        patience: Duration,
    ) -> Result<T, &'static str> {
        let asked = timeout(patience, async {
            let mut connection = self.connection().await?;
            command.query_async(&mut connection).await.map_err(|error| {
                tracing::debug!(category = error.category(), code = error.code(), "redis refused");
                "it answers with an error, or not at all"
            })
        });
        match asked.await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(_)) => self.failed(),
            Err(_elapsed) if patience >= self.timeout => self.failed(),
            // Somebody had less time than the server has: that says nothing of it to others.
            Err(_elapsed) => {}
        }
        Err("it does not answer, or not in time")
    }

    /// The connection there is, or the one that is being made.
    async fn connection(self: &Arc<Self>) -> Result<MultiplexedConnection, &'static str> {
        let connecting = {
            let mut state = self.state();
            if state.left_alone_until.is_some_and(|until| Instant::now() < until) {
                return Err("it is left alone after a failure");
            }
            if let Some(connection) = &state.connection {
                return Ok(connection.clone());
            }
            state.connecting.get_or_insert_with(|| self.connect()).clone()
        };
        connecting.await.ok_or("it cannot be reached")
    }

    fn connect(self: &Arc<Self>) -> Connecting {
        let server = Arc::clone(self);
        // A task of its own: who waits for it can go away, and the connection is there for the next one.
        let task = tokio::spawn(async move {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(CONNECTING))
                .set_response_timeout(Some(server.timeout));
            let made =
                timeout(CONNECTING, server.client.get_multiplexed_async_connection_with_config(&config));
            let made = made.await.ok().and_then(Result::ok);
            let mut state = server.state();
            state.connecting = None;
            state.left_alone_until = made.is_none().then(|| Instant::now() + PAUSE);
            state.connection.clone_from(&made);
            made
        });
        task.map(|made| made.ok().flatten()).boxed().shared()
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
