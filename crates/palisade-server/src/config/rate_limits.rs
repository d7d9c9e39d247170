//! `rate_limits` of resources as what they limit, and `rate_limit_store` as where replicas count together.

use std::{sync::Arc, time::Duration};

use palisade_model::{PepName, ResourceName, Surface};
use palisade_pdp::{Block, Budget, Kind, RateLimits, Rates, SharedCounts, Snapshot};

use super::{
    build::Builder,
    redis,
    resources::with_defaults,
    types::{self, Config},
    values::{OneOrAll, OrOff},
};

/// The most in a minute that is a limit.
const MOST: u32 = 1_000_000;
/// The longest time that is looked back on, and the longest block.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Builder<'_> {
    /// What a resource limits. An MCP server is limited unless it says otherwise, anything else where it says so.
    pub(super) fn rate_limits(
        &mut self,
        name: &ResourceName,
        own: Option<&OrOff<types::RateLimits>>,
        kind: Kind,
    ) -> RateLimits {
        let limits = match (own, kind) {
            (Some(OrOff::On(limits)), Kind::Mcp | Kind::Http | Kind::Graphql) => limits.clone(),
            (None, Kind::Mcp) => types::RateLimits::default(),
            (Some(OrOff::Off), Kind::Mcp | Kind::Http | Kind::Graphql)
            | (None, Kind::Http | Kind::Graphql) => return RateLimits::default(),
        };
        let at = |key: &str| format!("resources.{name}.rate_limits.{key}");
        let rates = |rates: types::Rates| Rates { calls: rates.calls, reads: rates.reads };
        for (key, rates) in [("subject", limits.subject.on()), ("client", limits.client.on())] {
            let wrong = |most: u32| most == 0 || most > MOST;
            if rates.is_some_and(|rates| wrong(rates.calls) || wrong(rates.reads)) {
                self.problem(format!("{}: from 1 to {MOST} calls and reads a minute, or `off`", at(key)));
            }
        }
        let failed = limits.failed_authentication.on().map(|block| {
            let sound = |time: Duration| time >= Duration::from_secs(1) && time <= LONGEST;
            if block.attempts == 0 || block.attempts > MOST || !sound(block.within.0) || !sound(block.block.0)
            {
                let at = at("failed_authentication");
                self.problem(format!(
                    "{at}: at least 1 attempt; `within` and `block` from 1s to 24h; or `off`"
                ));
            }
            let failures = Budget { most: block.attempts, within: block.within.0 };
            Block { failures, lasts: block.block.0 }
        });
        RateLimits {
            subject: limits.subject.on().map(rates),
            client: limits.client.on().map(rates),
            failed_authentication: failed,
        }
    }

    /// Where replicas count together. One that did not change is kept, with its connection.
    pub(super) fn shared_counts(&mut self, previous: Option<&Snapshot>) -> Option<Arc<SharedCounts>> {
        let own = self.config.rate_limit_store.redis.as_ref()?;
        // Else a server that stands still would be waited for by every decision, and never be left alone.
        if own.timeout.0 * 2 > self.config.limits.deadline.0 {
            self.problem("rate_limit_store.redis.timeout: at most half of `limits.deadline`");
        }
        let opened = redis::read(own).and_then(|connection| {
            let redis::Connection { url, keys, prefix, timeout, fingerprint } = connection;
            let before = previous.and_then(|previous| previous.shared_counts.as_ref());
            if let Some(before) = before.filter(|before| *before.fingerprint() == fingerprint) {
                return Ok(Arc::clone(before));
            }
            let key = keys.first().ok_or("keys: one, or two while they are changed")?;
            SharedCounts::new(&url, key, prefix, timeout, fingerprint).map(Arc::new)
        });
        opened.map_err(|why| self.problem(format!("rate_limit_store.redis.{why}"))).ok()
    }
}

/// What is weak about the limits.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.rate_limit_store.redis.as_ref().is_some_and(redis::is_in_the_clear) {
        warnings.push(
            "rate_limit_store.redis.url: the password crosses the network in plain text; use `rediss://`"
                .to_owned(),
        );
    }
    warnings.extend(of_the_addresses(config));
    warnings
}

/// Where nobody has said what a client's address is: it may be that of a balancer, and then one client can have all blocked.
fn of_the_addresses(config: &Config) -> Vec<String> {
    let blocks = |resource: &types::Resource| {
        let resource = with_defaults(resource, &config.defaults);
        match (resource.rate_limits, resource.kind) {
            (Some(OrOff::On(limits)), _) => limits.failed_authentication.on().is_some(),
            (Some(OrOff::Off), _) => false,
            (None, kind) => kind == Some(Kind::Mcp),
        }
    };
    let asks = |pep: &types::Pep| match &pep.resources {
        OneOrAll::All(_) => config.resources.values().any(blocks),
        OneOrAll::These(names) => names.iter().filter_map(|name| config.resources.get(name)).any(blocks),
    };
    let unsaid = config.peps.iter().filter(|(_, pep)| pep.client_ip.is_none());
    let told = unsaid.filter(|(_, pep)| pep.surfaces.contains(&Surface::ExtAuthz) && asks(pep));
    let warning = |(name, _): (&PepName, &types::Pep)| {
        format!(
            "peps.{name}.client_ip: not written, so it is `source`: behind a load balancer that is the balancer, and a few bad tokens of one \
             client block all; write `source` where clients come directly, else `{{x_forwarded_for: N}}`"
        )
    };
    told.map(warning).collect()
}
