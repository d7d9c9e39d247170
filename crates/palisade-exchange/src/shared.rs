//! What replicas know of each other's exchanges: tokens in Redis or Valkey, sealed.
//!
//! It stands behind `store`: asked when nothing is in memory and before the provider is, written when the provider has
//! answered. Nothing in it is believed: a value is opened with a configured key for the place it lies in ([`seal`]), and
//! what comes out is held against the order (`check::restored`). Whoever can write there and has no key can at most take
//! tokens away. Refusals are not shared.
//!
//! INVARIANT: nothing that happens here keeps an order from the provider for longer than the timeout, or is an error to
//! anybody. After a failure it is left alone for a while.

use std::{fmt, sync::Arc, time::Duration};

use palisade_model::Timestamp;
use palisade_pdp::{Issued, Order};
use tokio::time::{Instant, timeout};

use crate::{
    ExchangeSettings, check,
    key::Key,
    metrics::{Metrics, Shared as Found},
    shared::{redis::Server, seal::Seal},
    store,
};

mod redis;
pub mod seal;

/// The longest value that is read: a token is at most as long as an answer of a provider.
const LONGEST: usize = 128 * 1024;
/// The longest that the timeout can be.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(1);

/// Where the tokens of several replicas are. Nothing prints its keys, nor the password in its URL.
pub struct SharedStore {
    server: Arc<Server>,
    seal: Seal,
    prefix: String,
}

impl SharedStore {
    /// A store that is reached when it is first needed. `keys` seal and open: the first does both, all open.
    ///
    /// # Errors
    /// What is wrong with the URL or the keys.
    pub fn new(url: &str, keys: &[[u8; 32]], prefix: String, timeout: Duration) -> Result<Self, String> {
        let seal = Seal::new(keys).ok_or("keys: one, or two while they are changed")?;
        let server = Arc::new(Server::new(url, timeout)?);
        Ok(Self { server, seal, prefix })
    }

    fn place(&self, key: &Key) -> String {
        format!("{}:{}", self.prefix, hex::encode(key.bytes()))
    }

    /// A token that another replica got for the same order, and until when it is handed out.
    pub(crate) async fn get(
        &self,
        (settings, metrics): (&ExchangeSettings, &Metrics),
        key: &Key,
        order: &Order,
    ) -> Option<(Issued, Timestamp)> {
        let began = Instant::now();
        // The provider is to have its time, too.
        let patience = order.until().saturating_duration_since(began) / 2;
        let found = match self.server.get(&self.place(key), LONGEST, patience).await {
            Ok(Some(sealed)) => {
                let now = order.now().plus(began.elapsed());
                // To verify a token may need its issuer's keys, and these may have to be fetched: not for longer, either.
                let left = patience.saturating_sub(began.elapsed());
                let opened = timeout(left, self.open(settings, key, &sealed, order, now)).await;
                opened.unwrap_or(None).ok_or(Found::Unreadable)
            }
            Ok(None) => Err(Found::Miss),
            Err(failed) => {
                tracing::debug!(%failed, "the shared exchange cache");
                Err(Found::Failed)
            }
        };
        metrics.shared(found.as_ref().map_or_else(|why| *why, |_| Found::Hit));
        found.ok()
    }

    async fn open(
        &self,
        settings: &ExchangeSettings,
        key: &Key,
        sealed: &[u8],
        order: &Order,
        now: Timestamp,
    ) -> Option<(Issued, Timestamp)> {
        let kept = self.seal.open(key.bytes(), sealed)?;
        let good_until = kept.good_until;
        let issued = check::restored(settings, order, kept, now).await.ok()?;
        let until = store::good_until(order, &issued, now)?.min(good_until);
        (now < until).then_some((issued, until))
    }

    /// Hands a token on to the other replicas, after this and without making anybody wait.
    pub(crate) fn put(
        &self,
        metrics: &Arc<Metrics>,
        key: &Key,
        issued: &Issued,
        now: Timestamp,
        until: Timestamp,
    ) {
        let left = until.since(now);
        let (Some(sealed), false) = (self.seal.seal(key.bytes(), issued, until), left.is_zero()) else {
            return;
        };
        if sealed.len() > LONGEST {
            return;
        }
        let (server, place, metrics) = (Arc::clone(&self.server), self.place(key), Arc::clone(metrics));
        tokio::spawn(async move {
            if let Err(failed) = server.put(&place, &sealed, left).await {
                tracing::debug!(%failed, "the shared exchange cache");
                metrics.shared(Found::Failed);
            }
        });
    }
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SharedStore({:?}, ..)", self.prefix)
    }
}
