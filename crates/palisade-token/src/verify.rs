//! The verifier: the only constructor of [`VerifiedToken`].
//!
//! A token is either known (its facts are in the cache and its key is still published) or verified from scratch; then the
//! same last step, `admit`, checks what depends on the request and on the time. The order of the first part is cheap
//! before dear: reading, issuer, `typ`, key, signature. Claims are typed after the signature held.
//!
//! Two steps of the first part may wait, and both have bounds: the signature check (`cold`), and the search for a key that
//! nobody knows yet (`keyset`). A known token passes through neither, so a flood of bad tokens does not hold it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use palisade_model::{Audience, Authority, Clock, IssuerName, RawToken, Reason, Subject, Timestamp};
use tokio::sync::broadcast;

use crate::{
    IssuerSettings, IssuerStatus, KeyChange, Marks, Refreshers, TokenError,
    cache::{CacheKey, Facts, TokenCache},
    claims, identity,
    keys::Key,
    keyset::{KeyStore, Live},
    origin::{Origins, Provenance, Source},
    parse::{self, Parsed},
};

mod cold;
mod setup;

use cold::ColdChecks;

/// What one resource accepts.
#[derive(Debug, Clone, Copy)]
pub struct Expectation<'a> {
    /// The audiences, one of which the token must have.
    pub audiences: &'a BTreeSet<Audience>,
    /// Whether a token for any audience is accepted.
    pub any_audience: bool,
    /// The issuers, one of which the token must be from. Nothing is accepted from an empty list.
    pub issuers: &'a [IssuerName],
}

/// A token whose signature, claims, times and audience hold: the proof that a subject is authenticated.
#[derive(Debug, Clone)]
pub struct VerifiedToken {
    // INVARIANT: built by `Verifier::verify` only, after `Verifier::admit`.
    subject: Arc<Subject>,
    authority: Arc<Authority>,
    provenance: Arc<Provenance>,
    marks: Marks,
}

impl VerifiedToken {
    /// Who the token speaks for.
    #[must_use]
    pub fn subject(&self) -> &Arc<Subject> {
        &self.subject
    }

    /// What else the token says.
    #[must_use]
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// Where those it names come from: what a token service says of them in the token that it issues for this one.
    #[must_use]
    pub fn provenance(&self) -> &Arc<Provenance> {
        &self.provenance
    }

    /// What it may be revoked by: for who keeps it, and hands it out again.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        &self.marks
    }
}

/// Verifies access tokens of the configured issuers. Clones share everything.
#[derive(Debug, Clone)]
pub struct Verifier {
    issuers: Arc<[Issuer]>,
    /// Every `iss` that is accepted, with the issuer it belongs to.
    routes: Arc<HashMap<String, Route>>,
    max_token_bytes: usize,
    /// Counts the configurations: what the cache holds is of one of them.
    epoch: u64,
    shared: Arc<Shared>,
}

/// What outlives a change of the configuration.
#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    cache: TokenCache,
    epochs: AtomicU64,
    cold: ColdChecks,
    key_changes: broadcast::Sender<KeyChange>,
}

#[derive(Debug)]
struct Issuer {
    settings: IssuerSettings,
    keys: Arc<KeyStore>,
}

/// What is known of the key that a token may be bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Binding {
    /// Nobody has proven to have it.
    Unproven,
    /// Nobody has to: what is issued for the token is bound to it, too.
    Kept,
}

/// Where the `iss` of a token leads.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    issuer: usize,
    /// The tenant in the `iss`, for an issuer of several tenants.
    tenant: Option<String>,
}

impl Verifier {
    /// Verifies one token for one resource at one time.
    ///
    /// Must be called within a tokio runtime. May be dropped at any point: nothing is left half done.
    ///
    /// # Errors
    /// When the token is not accepted, with the reason. [`Reason::IssuerKeysUnavailable`] and [`Reason::Overloaded`] say
    /// nothing about the token: it could not be verified now.
    pub async fn verify(
        &self,
        raw: &RawToken,
        expected: &Expectation<'_>,
        now: Timestamp,
    ) -> Result<VerifiedToken, TokenError> {
        self.verify_for(raw, expected, now, Binding::Unproven).await
    }

    /// The same for a token service, which may be shown a token that is bound to another's key: the token that it issues
    /// for it is bound to the same key (RFC 7800), and is of no more use without it.
    ///
    /// # Errors
    /// As [`Verifier::verify`], but for the binding.
    pub async fn verify_to_reissue(
        &self,
        raw: &RawToken,
        expected: &Expectation<'_>,
        now: Timestamp,
    ) -> Result<VerifiedToken, TokenError> {
        self.verify_for(raw, expected, now, Binding::Kept).await
    }

    async fn verify_for(
        &self,
        raw: &RawToken,
        expected: &Expectation<'_>,
        now: Timestamp,
        binding: Binding,
    ) -> Result<VerifiedToken, TokenError> {
        parse::check_length(raw.expose(), self.max_token_bytes)?;
        let key = CacheKey { digest: *raw.digest(), epoch: self.epoch };
        if let Some(facts) = self.known(&key)? {
            return self.admit(&facts, expected, now, binding);
        }
        let facts = Arc::new(self.verify_cold(raw, expected, &key).await?);
        let verified = self.admit(&facts, expected, now, binding)?;
        self.shared.cache.insert(key, facts);
        Ok(verified)
    }

    /// The facts of a token that was accepted before, if its key is still in force.
    fn known(&self, key: &CacheKey) -> Result<Option<Arc<Facts>>, TokenError> {
        let Some(facts) = self.shared.cache.get(key) else { return Ok(None) };
        let live = self.live_keys(self.issuer(facts.issuer)?)?;
        if live.epoch == facts.key_epoch || live.keys.contains(&facts.key) {
            return Ok(Some(facts));
        }
        self.shared.cache.remove(key);
        Ok(None)
    }

    /// Checks what depends on the request and on the time; everything that is not in [`Facts`] for that reason.
    fn admit(
        &self,
        facts: &Facts,
        expected: &Expectation<'_>,
        now: Timestamp,
        binding: Binding,
    ) -> Result<VerifiedToken, TokenError> {
        let settings = &self.issuer(facts.issuer)?.settings;
        check_allowed(settings, expected)?;
        facts.times.check(now, settings.leeway, settings.max_lifetime)?;
        let audience = &facts.identity.authority.audience;
        if !expected.any_audience && audience.is_disjoint(expected.audiences) {
            return Err(TokenError::new(
                Reason::TokenAudienceMismatch,
                "no audience of the token is one of this resource",
            ));
        }
        if let Some(revoked) = self.revoked(&facts.identity.marks) {
            return Err(revoked);
        }
        if facts.identity.provenance.confirmation.is_some() && binding == Binding::Unproven {
            // No surface brings the evidence yet, and a binding that is not checked is no binding (RFC 7800).
            return Err(TokenError::new(
                Reason::TokenBinding,
                "the token is bound to a key, and the request proves none",
            ));
        }
        Ok(VerifiedToken {
            subject: Arc::clone(&facts.identity.subject),
            authority: Arc::clone(&facts.identity.authority),
            provenance: Arc::clone(&facts.identity.provenance),
            marks: facts.identity.marks.clone(),
        })
    }

    /// Whether a token that was verified once is revoked by a list that is in force now.
    #[must_use]
    pub fn has_revoked(&self, marks: &Marks) -> bool {
        self.revoked(marks).is_some()
    }

    fn revoked(&self, marks: &Marks) -> Option<TokenError> {
        let list_of = |name: &IssuerName| {
            let mut settings = self.issuers.iter().map(|issuer| &issuer.settings);
            let of_issuer = settings.find(|settings| settings.name == *name)?;
            Some((of_issuer.revocations.as_deref()?, of_issuer.leeway))
        };
        let (issuer, what) = marks.revoked(list_of)?;
        let detail = format!("the list of issuer `{issuer}` revokes its {what}");
        Some(TokenError::new(Reason::TokenRevoked, detail))
    }

    /// Verifies a token from scratch, up to what no request can change.
    async fn verify_cold(
        &self,
        raw: &RawToken,
        expected: &Expectation<'_>,
        cache_key: &CacheKey,
    ) -> Result<Facts, TokenError> {
        let parsed = parse::parse_strict(raw.expose())?;
        // The `iss` is not verified yet: it only picks which issuer's keys the signature must hold against.
        let iss = claims::issuer(&parsed.claims)?;
        let route = self.routes.get(iss).ok_or_else(|| {
            TokenError::new(Reason::TokenIssuerUnknown, "no configured issuer has the `iss` of the token")
        })?;
        let issuer = self.issuer(route.issuer)?;
        check_allowed(&issuer.settings, expected)?;
        issuer.settings.profile.check_media_type(parsed.header.media_type.as_deref())?;
        let (key, key_epoch) = self.key(issuer, &parsed).await?;
        check_key(&key, &parsed, iss, route.tenant.as_deref())?;
        self.shared.cold.check(&key, &parsed).await?;
        issuer.settings.profile.check_kind_of_token(&parsed.claims)?;
        let claims = claims::claims(&parsed.claims, issuer.settings.profile, iss)?;
        let origins = Origins {
            own: (iss, Source { issuer: &issuer.settings, tenant: route.tenant.as_deref() }),
            others: &|identifier| self.source(identifier),
        };
        let identity = identity::identity(&origins, &parsed.claims, &claims, &cache_key.digest)?;
        Ok(Facts {
            issuer: route.issuer,
            identity,
            times: claims.times,
            key,
            key_epoch,
            weight: u32::try_from(raw.expose().len()).unwrap_or(u32::MAX),
        })
    }

    /// The key that the token names. Only a `kid` that no key has may cause a refresh, and only where the issuer was
    /// asked for it is the token to blame.
    async fn key(&self, issuer: &Issuer, parsed: &Parsed<'_>) -> Result<(Arc<Key>, u64), TokenError> {
        let id = parsed.header.key_id.as_deref();
        let find = |live: &Live| {
            live.keys.find(id, parsed.header.algorithm).map(|key| (Arc::clone(key), live.epoch))
        };
        if let Some(found) = find(&*self.live_keys(issuer)?) {
            return Ok(found);
        }
        let asked = match id {
            Some(id) => issuer.keys.look_for(id).await,
            None => Ok(()),
        };
        if let Some(found) = find(&*self.live_keys(issuer)?) {
            return Ok(found);
        }
        Err(match asked {
            Ok(()) => TokenError::new(
                Reason::TokenKeyUnknown,
                "the issuer has no key that fits the `kid` and `alg` of the token",
            ),
            Err(why) => TokenError::new(
                Reason::IssuerKeysUnavailable,
                format!(
                    "issuer `{}` could not be asked for the key of the token: {why}",
                    issuer.settings.name
                ),
            ),
        })
    }

    /// The configured issuer of this identifier, with the tenant that the identifier stands for.
    fn source(&self, identifier: &str) -> Option<Source<'_>> {
        let route = self.routes.get(identifier)?;
        let issuer = self.issuers.get(route.issuer)?;
        Some(Source { issuer: &issuer.settings, tenant: route.tenant.as_deref() })
    }

    fn live_keys(&self, issuer: &Issuer) -> Result<Arc<Live>, TokenError> {
        issuer.keys.live().ok_or_else(|| {
            TokenError::new(
                Reason::IssuerKeysUnavailable,
                format!("there are no keys of issuer `{}`", issuer.settings.name),
            )
        })
    }

    fn issuer(&self, place: usize) -> Result<&Issuer, TokenError> {
        self.issuers
            .get(place)
            .ok_or_else(|| TokenError::new(Reason::InternalError, "an issuer is not configured"))
    }

    /// Starts the tasks that keep the keys fresh, one an issuer; they end when the answer is dropped. Must be called
    /// within a tokio runtime.
    pub fn start(&self) -> Refreshers {
        Refreshers::start(self.stores().map(Arc::clone))
    }

    pub(crate) fn stores(&self) -> impl Iterator<Item = &Arc<KeyStore>> {
        self.issuers.iter().map(|issuer| &issuer.keys)
    }

    /// Waits until every issuer has had keys, at most `limit`. Says whether they have.
    pub async fn wait_ready(&self, limit: Duration) -> bool {
        let all = async {
            for keys in self.stores() {
                keys.until_keys().await;
            }
        };
        tokio::time::timeout(limit, all).await.is_ok()
    }

    /// Whether every issuer has had keys since the start.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.stores().all(|keys| keys.had_keys())
    }

    /// How every issuer stands.
    #[must_use]
    pub fn status(&self) -> Vec<IssuerStatus> {
        self.stores().map(|keys| keys.status()).collect()
    }

    /// The changes of key sets from now on, of this verifier and of those it is reconfigured to.
    #[must_use]
    pub fn subscribe_key_changes(&self) -> broadcast::Receiver<KeyChange> {
        self.shared.key_changes.subscribe()
    }

    fn next_epoch(shared: &Shared) -> u64 {
        shared.epochs.fetch_add(1, Ordering::Relaxed)
    }
}

fn check_allowed(settings: &IssuerSettings, expected: &Expectation<'_>) -> Result<(), TokenError> {
    if expected.issuers.contains(&settings.name) {
        Ok(())
    } else {
        Err(TokenError::new(
            Reason::TokenIssuerNotAllowed,
            "the resource does not accept tokens of this issuer",
        ))
    }
}

/// The algorithm was fixed when the key was imported; the header can only agree with it (RFC 8725 section 3.1).
fn check_key(key: &Key, parsed: &Parsed<'_>, iss: &str, tenant: Option<&str>) -> Result<(), TokenError> {
    let wrong = |detail: &str| Err(TokenError::new(Reason::TokenSignatureInvalid, detail));
    if parsed.header.algorithm != key.algorithm {
        return wrong("the header's `alg` is not the algorithm of the key");
    }
    if key.issuer.as_deref().is_some_and(|limit| limit != iss && !is_template_of(limit, iss, tenant)) {
        return wrong("the key is limited to another issuer");
    }
    Ok(())
}

/// Whether a key's `issuer` member with `{tenantid}` stands for this `iss`.
fn is_template_of(limit: &str, iss: &str, tenant: Option<&str>) -> bool {
    tenant
        .or_else(|| iss.split('/').find(|segment| identity::is_guid(segment)))
        .is_some_and(|tenant| limit.replace(setup::TENANT, tenant) == iss)
}

#[cfg(test)]
mod tests;
