//! The counts of several replicas together, in Redis or Valkey.
//!
//! A budget is a hash there, a field a slot, as in memory ([`mod@crate::window`]). Each question is a script, so that what is
//! read is what is written to, and takes the time of the server, so that the clocks of replicas need not agree. Keys are the
//! HMAC of a holder's name: who can read there and has no key learns nobody's name. Every key ends by itself.

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use aws_lc_rs::{
    hkdf::{HKDF_SHA256, Salt},
    hmac,
};
use palisade_redis::{Script, Server};
use zeroize::Zeroizing;

use crate::{Block, Draw, Exceeded, Holder, window::SLOTS};

/// What the key of names is derived for.
const PURPOSE: &[u8] = b"palisade limits names";

/// What all scripts begin with: the time in milliseconds; and what a key holds of the last while, the oldest slot first.
macro_rules! script {
    ($text:literal) => {
        LazyLock::new(|| {
            Script::new(concat!(
                "local time = redis.call('TIME')\n",
                "local now = time[1] * 1000 + math.floor(time[2] / 1000)\n",
                "local slots = tonumber(ARGV[1])\n",
                "local function held(key, length)\n",
                "  local slot, all = math.floor(now / length), redis.call('HGETALL', key)\n",
                "  local total, live = 0, {}\n",
                "  for i = 1, #all, 2 do\n",
                "    local at, count = tonumber(all[i]), tonumber(all[i + 1])\n",
                "    if at < slot - slots then redis.call('HDEL', key, all[i])\n",
                "    else total = total + count; live[#live + 1] = {at, count} end\n",
                "  end\n",
                "  table.sort(live, function(a, b) return a[1] < b[1] end)\n",
                "  return slot, total, live\n",
                "end\n",
                "local function put(key, slot, length, count)\n",
                "  redis.call('HINCRBY', key, string.format('%.0f', slot), count)\n",
                "  redis.call('PEXPIRE', key, length * (slots + 1))\n",
                "end\n",
                $text
            ))
        })
    };
}

/// Takes of every budget, or of none. Keys: the budgets. Arguments: slots; then of each budget the length of a slot, the most,
/// and how much. Answers with the place of the budget that does not hold as much, from 1, and how long to wait; or with 0.
static DRAW: LazyLock<Script> = script!(
    "local drawn = {}
for i, key in ipairs(KEYS) do
  local length, most, count = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  local slot, total, live = held(key, length)
  if total + count > most then
    local wait, left = length * slots, total
    for _, one in ipairs(live) do
      left = left - one[2]
      if left + count <= most then wait = (one[1] + slots + 1) * length - now; break end
    end
    return {i, wait}
  end
  drawn[i] = {slot, length, count}
end
for i, key in ipairs(KEYS) do put(key, drawn[i][1], drawn[i][2], drawn[i][3]) end
return {0, 0}"
);

/// Counts a failure. Keys: the failures, the block. Arguments: slots, the length of a slot, the failures that block, for how
/// long. Answers with how long the block still lasts, or with 0.
static FAIL: LazyLock<Script> = script!(
    "local left = redis.call('PTTL', KEYS[2])
if left > 0 then return {left} end
local length = tonumber(ARGV[2])
local slot, total = held(KEYS[1], length)
if total + 1 < tonumber(ARGV[3]) then put(KEYS[1], slot, length, 1); return {0} end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], '1', 'PX', ARGV[4])
return {tonumber(ARGV[4])}"
);

/// Where replicas count together. Nothing prints its key, nor the password in its URL.
pub struct SharedCounts {
    server: Arc<Server>,
    names: hmac::Key,
    prefix: String,
    /// A digest of what it is made of.
    fingerprint: [u8; 32],
}

impl fmt::Debug for SharedCounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SharedCounts({:?}, ..)", self.prefix)
    }
}

impl SharedCounts {
    /// A server that is reached when it is first needed. The key makes the names of its keys.
    ///
    /// # Errors
    /// What is wrong with the URL or the key.
    pub fn new(
        url: &str,
        key: &[u8; 32],
        prefix: String,
        timeout: Duration,
        fingerprint: [u8; 32],
    ) -> Result<Self, String> {
        let mut derived = Zeroizing::new([0; 32]);
        let made = Salt::new(HKDF_SHA256, &[]).extract(key);
        made.expand(&[PURPOSE], HKDF_SHA256)
            .and_then(|made| made.fill(derived.as_mut_slice()))
            .map_err(|_| "keys: no key can be made of this".to_owned())?;
        let names = hmac::Key::new(hmac::HMAC_SHA256, derived.as_slice());
        Ok(Self { server: Arc::new(Server::new(url, timeout)?), names, prefix, fingerprint })
    }

    /// A digest of what it is made of: one that did not change is kept over a reload, with its connection.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Takes of every budget, or of none.
    pub(crate) async fn draw(
        &self,
        draws: &[Draw],
        patience: Duration,
    ) -> Result<Result<(), Exceeded>, &'static str> {
        let keys: Vec<String> = draws.iter().map(|draw| self.name("draws", &draw.holder)).collect();
        let each = draws.iter().flat_map(|draw| {
            [slot_millis(draw.budget.within), u64::from(draw.budget.most), u64::from(draw.count)]
        });
        let arguments: Vec<u64> = std::iter::once(u64::from(SLOTS)).chain(each).collect();
        match self.server.run(&DRAW, &keys, &arguments, patience).await?.as_slice() {
            [0, _] => Ok(Ok(())),
            [place, wait] => {
                let which = usize::try_from(*place).ok().and_then(|place| place.checked_sub(1));
                let which = which.filter(|which| *which < draws.len()).ok_or(UNREADABLE)?;
                Ok(Err(Exceeded { which, wait: millis(*wait) }))
            }
            _ => Err(UNREADABLE),
        }
    }

    /// Counts a failure, and says how long the block lasts, if there is one now.
    pub(crate) async fn fail(
        &self,
        holder: &Holder,
        block: &Block,
        patience: Duration,
    ) -> Result<Option<Duration>, &'static str> {
        let keys = [self.name("failures", holder), self.name("block", holder)];
        let lasts = u64::try_from(block.lasts.as_millis()).unwrap_or(u64::MAX).max(1);
        let failures = block.failures;
        let arguments = [u64::from(SLOTS), slot_millis(failures.within), u64::from(failures.most), lasts];
        match self.server.run(&FAIL, &keys, &arguments, patience).await?.as_slice() {
            [0] => Ok(None),
            [left] => Ok(Some(millis(*left))),
            _ => Err(UNREADABLE),
        }
    }

    /// How long a block still lasts.
    pub(crate) async fn blocked(
        &self,
        holder: &Holder,
        patience: Duration,
    ) -> Result<Option<Duration>, &'static str> {
        self.server.lives(&self.name("block", holder), patience).await
    }

    fn name(&self, what: &str, holder: &Holder) -> String {
        let named = Holder::new(&[what, holder.text()]);
        let name = hex::encode(hmac::sign(&self.names, named.text().as_bytes()));
        format!("{}:limits:{name}", self.prefix)
    }
}

const UNREADABLE: &str = "its answer cannot be read";

/// How long a slot is, in milliseconds: so many of them are never shorter than the whole.
fn slot_millis(within: Duration) -> u64 {
    u64::try_from(within.as_millis().div_ceil(u128::from(SLOTS))).unwrap_or(u64::MAX).max(1)
}

fn millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
