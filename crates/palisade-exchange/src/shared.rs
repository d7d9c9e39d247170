//! What replicas know of each other's exchanges: tokens in Redis or Valkey, sealed.
//!
//! It stands behind `store`: asked when nothing is in memory and before the provider is, written when the provider has
//! answered. Nothing in it is believed: a value is opened with a configured key for the place it lies in ([`seal`]), and
//! what comes out is held against the order (`check::restored`). Whoever can write there and has no key can at most take
//! tokens away. Refusals are not shared.
//!
//! A token is handed out for no longer than the policies permit, also where the clocks of two replicas differ: one that was
//! sealed in what is the future here by more than `SKEW`, or for longer than the order's lifetime, is none.
//!
//! INVARIANT: nothing that happens here keeps an order from the provider for longer than the timeout, or is an error to
//! anybody. After a failure it is left alone for a while.

use std::{fmt, sync::Arc, time::Duration};

use futures::future::join_all;
use palisade_model::Timestamp;
use palisade_pdp::{Issued, Order};
use palisade_redis::Server;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use crate::{
    ExchangeSettings, check,
    key::Key,
    metrics::{Metrics, Shared as Found},
    shared::seal::{Kept, Seal, SharedKey},
    store,
};

pub mod seal;

/// The longest value that is read: a token is at most as long as an answer of a provider.
const LONGEST: usize = 128 * 1024;
/// By how much the clock of another replica may be ahead of ours.
const SKEW: Duration = Duration::from_secs(5);
/// The most tokens that are being handed on.
const MOST_WRITES: usize = 64;
/// The longest that the timeout can be.
pub const LONGEST_TIMEOUT: Duration = Server::LONGEST_TIMEOUT;

/// Where the tokens of several replicas are. Nothing prints its keys, nor the password in its URL.
pub struct SharedStore {
    server: Arc<Server>,
    seal: Seal,
    prefix: String,
    writing: Arc<Semaphore>,
}

impl SharedStore {
    /// A store that is reached when it is first needed. `keys` seal and open: the first does both, all open.
    ///
    /// # Errors
    /// What is wrong with the URL or the keys.
    pub fn new(url: &str, keys: &[SharedKey], prefix: String, timeout: Duration) -> Result<Self, String> {
        let seal = Seal::new(keys).ok_or("keys: one, or two while they are changed")?;
        let server = Arc::new(Server::new(url, timeout)?);
        Ok(Self { server, seal, prefix, writing: Arc::new(Semaphore::new(MOST_WRITES)) })
    }

    /// Where the token of an order can be: where it would be written, and where one is that still has the other key first.
    fn places(&self, key: &Key) -> Vec<String> {
        self.seal.names(key.bytes()).map(|name| format!("{}:{name}", self.prefix)).collect()
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
        let found = match self.read(key, patience).await {
            Ok(kept) => {
                let now = order.now().plus(began.elapsed());
                // To verify a token may need its issuer's keys, and these may have to be fetched: not for longer, either.
                let left = patience.saturating_sub(began.elapsed());
                let restored = timeout(left, restored(settings, kept, order, now)).await;
                restored.unwrap_or(None).ok_or(Found::Unreadable)
            }
            Err(why) => Err(why),
        };
        metrics.shared(found.as_ref().map_or_else(|why| *why, |_| Found::Hit));
        found.ok()
    }

    /// What lies in one of its places and opens.
    async fn read(&self, key: &Key, patience: Duration) -> Result<Kept, Found> {
        let places = self.places(key);
        let asked = places.iter().map(|place| self.server.get(place, LONGEST, patience));
        let mut why = Found::Miss;
        for answer in join_all(asked).await {
            match answer {
                Ok(Some(sealed)) => match self.seal.open(key.bytes(), &sealed) {
                    Some(kept) => return Ok(kept),
                    None => why = Found::Unreadable,
                },
                Ok(None) => {}
                Err(failed) => {
                    tracing::debug!(%failed, "the shared exchange cache");
                    why = Found::Failed;
                }
            }
        }
        Err(why)
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
        let sealed = self.seal.seal(key.bytes(), issued, (now, until));
        let (Some(sealed), Some(place)) = (sealed, self.places(key).into_iter().next()) else { return };
        let left = until.since(now);
        if sealed.len() > LONGEST || left.is_zero() {
            return;
        }
        // Those that are read are the ones that matter: a slow server is not sent ever more.
        let Ok(turn) = Arc::clone(&self.writing).try_acquire_owned() else {
            return metrics.shared(Found::Skipped);
        };
        let (server, metrics) = (Arc::clone(&self.server), Arc::clone(metrics));
        tokio::spawn(async move {
            let _turn = turn;
            let written = server.put(&place, &sealed, left).await;
            metrics.shared(written.map_or(Found::Failed, |()| Found::Written));
        });
    }
}

async fn restored(
    settings: &ExchangeSettings,
    kept: Kept,
    order: &Order,
    now: Timestamp,
) -> Option<(Issued, Timestamp)> {
    let good_until = kept.good_until;
    let lives = good_until.since(kept.written_at);
    if kept.written_at > now.plus(SKEW) || lives > order.lifetime() {
        return None;
    }
    let issued = check::restored(settings, order, kept, now).await.ok()?;
    let until = store::good_until(order, &issued, now)?.min(good_until);
    (now < until).then_some((issued, until))
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SharedStore({:?}, ..)", self.prefix)
    }
}
