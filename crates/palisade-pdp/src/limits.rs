//! How much may be asked: of a subject, of a client, and of an address from which authentication failed too often.
//!
//! A block is looked at before a token is: whoever tries tokens learns nothing by going on. Budgets are drawn on after it is
//! known who asks and before the policies are asked, so that nobody can use up another's, and who has used up his own costs
//! no evaluation. Each item of a batch counts, and of an operation each field of the root type. Each entry counts for itself: a request that a proxy asks about at two of
//! them is not two.
//!
//! An address is the client's as its PEP vouches for it. Where none does nobody is blocked: a block that a claim could
//! bring about would be a way to keep others out.

use std::{net::IpAddr, time::Duration};

use palisade_limits::{Block, Budget, Crowd, Draw, Holder, Limiter, SharedCounts};
use palisade_model::{AccessRequest, Action, Credential, Item, Reason, Refusal, Surface, Timestamp};
use tokio::time::Instant;

use crate::{Resource, Snapshot, principal::Principal};

/// What the reader of an operation knows of it beside what policies see: how many fields of the root type are executed.
pub const EXECUTED_ROOTS: &str = "executedRoots";

/// In what time so many calls and reads may be done.
const MINUTE: Duration = Duration::from_secs(60);
/// How many bits of an IPv6 address are one holder's: whoever has one has all of the network (RFC 4291 section 2.5.4).
const NETWORK: u32 = 64;

/// What a resource limits. The default limits nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimits {
    /// Of each subject.
    pub subject: Option<Rates>,
    /// Of each client, whoever its subjects are.
    pub client: Option<Rates>,
    /// After how many failed authentications an address is blocked.
    pub failed_authentication: Option<Block>,
}

/// How much in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Calls: of tools, and of an HTTP service what is no read.
    pub calls: u32,
    /// Everything else.
    pub reads: u32,
}

/// What is limited, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Subject,
    Client,
    FailedAuthentication,
}

impl Limit {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Client => "client",
            Self::FailedAuthentication => "failed_authentication",
        }
    }
}

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) limit: Limit,
    /// When to come back.
    pub(crate) wait: Duration,
}

impl Reached {
    pub(crate) fn refusal(self) -> Refusal {
        let detail = match self.limit {
            Limit::Subject => "the subject has done as much as it may in a minute",
            Limit::Client => "the client has done as much as it may in a minute",
            Limit::FailedAuthentication => "authentication failed too often from this address",
        };
        Refusal::new(Reason::RateLimited, detail)
    }
}

/// The limits of one request.
#[derive(Clone, Copy)]
pub(crate) struct Gauge<'a> {
    pub(crate) limiter: &'a Limiter,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) resource: &'a Resource,
    pub(crate) request: &'a AccessRequest,
    pub(crate) now: Timestamp,
    pub(crate) deadline: Instant,
}

impl Gauge<'_> {
    /// Whether the address is blocked.
    pub(crate) async fn unblocked(&self) -> Result<(), Reached> {
        let Some((_, address)) = self.watched() else { return Ok(()) };
        match self.limiter.blocked(self.shared(), &address, self.now, self.patience()).await {
            Some(wait) => Err(Reached { limit: Limit::FailedAuthentication, wait }),
            None => Ok(()),
        }
    }

    /// Counts an authentication that failed, if it did: a token that is too old or too new was good, and no token is none
    /// that failed.
    pub(crate) async fn note(&self, refusal: &Refusal) {
        let Some((block, address)) =
            self.watched().filter(|_| is_failed_authentication(&self.request.credential, refusal.reason))
        else {
            return;
        };
        self.limiter.fail(self.shared(), &address, block, self.now, self.patience()).await;
    }

    /// Takes what is asked of the budgets of who asks.
    pub(crate) async fn draw(&self, principal: &Principal) -> Result<(), Reached> {
        if !counts(self.request.surface) {
            return Ok(());
        }
        let RateLimits { subject, client, failed_authentication: _ } = self.resource.rate_limits;
        if subject.is_none() && client.is_none() {
            return Ok(());
        }
        let (calls, reads) = self.asked();
        let (mut draws, mut limits) = (Vec::with_capacity(4), Vec::with_capacity(4));
        let mut add = |limit: Limit, rates: Option<Rates>, name: &str| {
            let Some(rates) = rates else { return };
            for (what, most, count) in [("calls", rates.calls, calls), ("reads", rates.reads, reads)] {
                if count > 0 {
                    let holder = self.holder(&[limit.as_str(), what, self.request.surface.as_str(), name]);
                    draws.push(Draw { holder, budget: Budget { most, within: MINUTE }, count });
                    limits.push(limit);
                }
            }
        };
        let crowd = match principal.is_known() {
            true => {
                add(Limit::Subject, subject, &principal.subject().entity());
                if let Some(id) = principal.authority().and_then(|authority| authority.client.as_ref()) {
                    add(Limit::Client, client, id);
                }
                Crowd::Known
            }
            // Nobody is many: told apart by their addresses, where these are known.
            false => {
                let address = self.address().map(|address| address.to_string()).unwrap_or_default();
                add(Limit::Subject, subject, &format!("anonymous at {address}"));
                Crowd::Strangers
            }
        };
        let drawn = self.limiter.draw(self.shared(), (crowd, &draws), self.now, self.patience()).await;
        drawn.map_err(|exceeded| {
            let limit = limits.get(exceeded.which).copied().unwrap_or(Limit::Subject);
            Reached { limit, wait: exceeded.wait }
        })
    }

    /// How many calls and how many reads are asked for. What cannot be read counts, too.
    fn asked(&self) -> (u32, u32) {
        let Ok(asked) = &self.request.asked else { return (0, 1) };
        let (mut calls, mut reads) = (0_u32, 0_u32);
        // The fields of an operation count with it.
        for item in asked.items.iter().filter(|item| !item.action.is_part_of_operation()) {
            let count = if is_call(&item.action) { &mut calls } else { &mut reads };
            *count = count.saturating_add(weight(item));
        }
        if calls == 0 { (0, reads.max(1)) } else { (calls, reads) }
    }

    /// The address that may be blocked here, and when it is.
    fn watched(&self) -> Option<(&Block, Holder)> {
        let block = self.resource.rate_limits.failed_authentication.as_ref()?;
        let address = self.address()?.to_string();
        Some((block, self.holder(&["address", &address])))
    }

    /// The client's address, of IPv6 the network, where the PEP is trusted to know it.
    fn address(&self) -> Option<IpAddr> {
        let pep = self.snapshot.peps.by_name(self.request.pep.as_ref()?)?;
        let address = self.request.client_ip.filter(|_| pep.vouches)?;
        Some(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> NETWORK << NETWORK).into()),
        })
    }

    fn holder(&self, parts: &[&str]) -> Holder {
        let mut all = vec![self.resource.name.as_str()];
        all.extend(parts);
        Holder::new(&all)
    }

    fn shared(&self) -> Option<&SharedCounts> {
        self.snapshot.shared_counts.as_deref()
    }

    /// For how long a server of limits may be waited for: the decision is to have its time, too. As long as nothing else took
    /// time that is more than the server's own timeout, after which it is left alone for a while.
    fn patience(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()) / 2
    }
}

/// Whether somebody has tried a token that is none: nobody was ever given it. One that is old, revoked or meant for others is
/// somebody's slip, and so is what is no token at all. Static tokens are not counted: they are too long to be guessed, and any web
/// page could have its visitors ask for a path that seems to hold one.
fn is_failed_authentication(credential: &Credential, reason: Reason) -> bool {
    let forged =
        matches!(reason, Reason::TokenMalformed | Reason::TokenSignatureInvalid | Reason::TokenIssuerUnknown);
    forged && matches!(credential, Credential::Token(_))
}

/// How many things an item asks for. A field of the root type is what a server is asked for as by a request of its own, so that a
/// hundred aliases of one mutation are no less than a hundred mutations. Of an operation of which that is not known every field counts.
fn weight(item: &Item) -> u32 {
    if !item.action.is_operation() {
        return 1;
    }
    let known = |what: &str| item.known.iter().find(|(name, _)| *name == what)?.1.as_u64();
    let count = known(EXECUTED_ROOTS).or_else(|| known("fields")).unwrap_or(1).max(1);
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Whether something is done, and not just looked at.
fn is_call(action: &Action) -> bool {
    match action.namespace.as_str() {
        "Mcp" => action.name == "tools/call",
        "Http" => !matches!(action.name.as_str(), "GET" | "HEAD" | "OPTIONS"),
        "Graphql" => matches!(action.name.as_str(), "mutation" | "subscription"),
        _ => true,
    }
}

/// Whether an entry asks about what is about to be done. A list, a search, a token and its exchange come with a request that
/// was counted, or do nothing.
const fn counts(surface: Surface) -> bool {
    match surface {
        Surface::ExtAuthz
        | Surface::ExtMcp
        | Surface::HttpAuthz
        | Surface::Gateway
        | Surface::Decide
        | Surface::Authzen
        | Surface::Toolhive
        | Surface::Contextforge
        | Surface::Coprocessor => true,
        Surface::ExtProc | Surface::Verify | Surface::Exchange | Surface::Search | Surface::Sts => false,
    }
}
