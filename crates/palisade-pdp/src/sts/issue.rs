//! From a request for a token to one that is on the record.
//!
//! The order is the order of what a client may learn: who it is, what it may ask for, whether the tokens that it shows are
//! good, whether the rules and the policies let it have another. The record comes last and before the signature. Nothing
//! here returns an error: a refusal, a passed deadline and a panic are refusals with a reason, and are recorded.

use std::{collections::BTreeSet, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use palisade_audit::AuditReceipt;
use palisade_model::{
    AccessRequest, Action, Audience, Authority, DecisionId, RawToken, Reason, Scopes, SubjectKind, Target,
    Timestamp,
};
use palisade_policy::{About, Strength, Terms, with_implied};
use palisade_token::{Expectation, Passed, TokenError, VerifiedToken};
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use super::{
    AskedToken, Fault, Issuance, IssuedToken, Refused, Requester, Sts, StsTarget, TokenRequest,
    account::{access_request, begun, note},
    claims::{self, Draft},
    rules::{self, Actor},
};
use crate::{
    Pdp, Snapshot, decide::Judgement, exchange::terms, principal::Principal, question::circumstances, record,
};

/// What is permitted, and not signed yet.
#[derive(Debug)]
pub(super) struct Permitted {
    claims: Map<String, Value>,
    pub(super) scopes: Scopes,
    pub(super) expires_in: u64,
    needs_proof: bool,
}

impl Pdp {
    /// Decides whether a client gets a token for the one that it shows, and issues it. Always answers, within the deadline and
    /// what a last record takes.
    pub async fn issue(&self, snapshot: &Arc<Snapshot>, request: &TokenRequest) -> Issuance {
        let span =
            tracing::info_span!("pdp.decide", otel.kind = "server", decision.reason = tracing::field::Empty);
        let access = access_request(snapshot.sts.as_deref(), request);
        record::continue_trace(&span, &access);
        let issuance = self.issue_in_time(snapshot, request, &access).instrument(span.clone()).await;
        let reason = match &issuance {
            Issuance::Issued(_) => Reason::Permitted,
            Issuance::Refused(_, refused) => refused.refusal.reason,
        };
        span.record("decision.reason", reason.as_str());
        issuance
    }

    async fn issue_in_time(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &TokenRequest,
        access: &AccessRequest,
    ) -> Issuance {
        let started = self.now();
        let deadline = Instant::now() + snapshot.limits.deadline;
        let mut judgement = Judgement::denied(Reason::InternalError);
        let of_service = |reason, detail: &str| Err(Refused::new(Fault::Service, reason, detail));
        // Held until the record is written, as for a decision. Places of their own: strangers come here, and take none of those
        // of decisions.
        let admitted = self.admit_issue();
        let permitted = if admitted.is_some() {
            let steps = steps(snapshot, request, access, (started, deadline), &mut judgement);
            match timeout_at(deadline, AssertUnwindSafe(steps).catch_unwind()).await {
                // Policies on the processor alone cannot be interrupted; what comes too late is no permit.
                Ok(Ok(Ok(_))) if Instant::now() >= deadline => {
                    of_service(Reason::DeadlineExceeded, "the deadline passed")
                }
                Ok(Ok(permitted)) => permitted,
                Ok(Err(_panic)) => of_service(Reason::InternalError, "the decision panicked"),
                Err(_elapsed) => of_service(Reason::DeadlineExceeded, "the deadline passed"),
            }
        } else {
            of_service(Reason::Overloaded, "too much is under way")
        };
        self.conclude_issue(snapshot, access, judgement, permitted, started, deadline).await
    }

    /// Records what came of it, and signs what is permitted and recorded.
    async fn conclude_issue(
        &self,
        snapshot: &Arc<Snapshot>,
        access: &AccessRequest,
        mut judgement: Judgement,
        permitted: Result<Permitted, Refused>,
        started: Timestamp,
        deadline: Instant,
    ) -> Issuance {
        let id = DecisionId::new(started);
        note(&mut judgement, id, &permitted, started);
        let duration = self.now().since(started);
        let record = record::of(id, snapshot, access, &mut judgement, self.audit(), started, duration);
        let receipt = self.record_by(record, deadline).await;
        // A refusal that is counted stands in the record of the first of its kind: that is the id to tell.
        let told = receipt.as_ref().map_or(id, AuditReceipt::id);
        let unrecorded =
            || Refused::new(Fault::Service, Reason::AuditUnavailable, "the decision cannot be recorded");
        let signed = permitted.and_then(|permitted| match (&receipt, snapshot.sts.as_deref()) {
            (Some(receipt), Some(sts)) if !receipt.dropped() => sign(sts, id, receipt, permitted),
            (Some(_) | None, _) => Err(unrecorded()),
        });
        let reason = signed.as_ref().err().map_or(Reason::Permitted, |refused| refused.refusal.reason);
        self.metrics().issued(reason, duration);
        match signed {
            Ok(token) => Issuance::Issued(token),
            Err(refused) => Issuance::Refused(told, refused),
        }
    }
}

/// The one place where our keys sign.
///
/// INVARIANT: what is signed was permitted by a verdict, and the receipt is of the record that says so.
fn sign(
    sts: &Sts,
    id: DecisionId,
    _receipt: &AuditReceipt,
    permitted: Permitted,
) -> Result<IssuedToken, Refused> {
    let Permitted { claims, scopes, expires_in, needs_proof } = permitted;
    let signed = sts.keys.sign(&claims::with_id(claims, id));
    let token =
        signed.map_err(|error| Refused::new(Fault::Service, Reason::InternalError, error.to_string()))?;
    Ok(IssuedToken { id, token, scopes, expires_in, needs_proof })
}

/// Everything up to the record.
async fn steps(
    snapshot: &Arc<Snapshot>,
    request: &TokenRequest,
    access: &AccessRequest,
    (now, deadline): (Timestamp, Instant),
    judgement: &mut Judgement,
) -> Result<Permitted, Refused> {
    let requester = request.client.as_ref().map_err(Clone::clone)?;
    let asked = request.asked.as_ref().map_err(Clone::clone)?;
    let sts = snapshot
        .sts
        .as_deref()
        .ok_or_else(|| Refused::new(Fault::Service, Reason::InternalError, "there is no token service"))?;
    if requester.client.targets.is_empty() {
        let detail = "the client may not exchange tokens";
        return Err(Refused::new(Fault::ClientMayNot, Reason::ExchangeRefused, detail));
    }
    let target = sts.target(requester, asked)?;
    judgement.exchange_record = Some(Box::new(begun(target, requester)));
    let step = Step { snapshot, sts, requester, asked, target, now, deadline };
    let subject = step.subject().await?;
    let principal = Principal::of_token(&subject);
    judgement.scopes.clone_from(&subject.authority().scopes);
    judgement.principal = Some(principal);
    let actor = step.actor().await?;
    step.settle(&subject, &actor, access, judgement)
}

/// One request whose client and target are known.
struct Step<'a> {
    snapshot: &'a Snapshot,
    sts: &'a Sts,
    requester: &'a Requester,
    asked: &'a AskedToken,
    target: &'a StsTarget,
    now: Timestamp,
    deadline: Instant,
}

/// The actor, and the token that it has shown, if it has: which that is and goes back to, and when it ends.
struct Acting {
    actor: Actor,
    shown: Vec<Passed>,
    ends: Option<Timestamp>,
}

impl Step<'_> {
    /// The subject's token, which must be for the client that shows it.
    async fn subject(&self) -> Result<VerifiedToken, Refused> {
        let audiences = &self.requester.client.audiences;
        let expected = Expectation { audiences, any_audience: false, issuers: &self.sts.issuers };
        let verified =
            self.snapshot.verifier.verify_to_reissue(&self.asked.subject_token, &expected, self.now).await;
        verified.map_err(|error| of_token(Fault::Subject, error))
    }

    /// Who acts: the one whose token the client shows, else the client itself.
    async fn actor(&self) -> Result<Acting, Refused> {
        let Some(raw) = &self.asked.actor_token else {
            let Requester { entity_id, party, .. } = self.requester;
            let actor = Actor { id: entity_id.clone(), party: party.clone(), by_token: false };
            return Ok(Acting { actor, shown: Vec::new(), ends: None });
        };
        let verified = self.verified_actor(raw).await?;
        let refused = |detail: &str| Err(Refused::new(Fault::Actor, Reason::ExchangeRefused, detail));
        let (subject, authority) = (verified.subject(), verified.authority());
        if subject.kind != SubjectKind::Client {
            return refused("the actor token is not a client's own");
        }
        if !authority.actors.is_empty() {
            return refused("others act in the name of the actor token's subject");
        }
        let provenance = verified.provenance();
        let actor = Actor { id: subject.id.clone(), party: provenance.subject.clone(), by_token: true };
        Ok(Acting { actor, shown: provenance.all(), ends: Some(authority.expires_at) })
    }

    /// The actor's token is for this service: one that an agent has sent to a server to call it does not let the server act as
    /// the agent.
    async fn verified_actor(&self, raw: &RawToken) -> Result<VerifiedToken, Refused> {
        let audiences = BTreeSet::from([Audience::from(self.sts.base_url.as_str())]);
        let expected = Expectation { audiences: &audiences, any_audience: false, issuers: &self.sts.issuers };
        let verified = self.snapshot.verifier.verify(raw, &expected, self.now).await;
        verified.map_err(|error| of_token(Fault::Actor, error))
    }

    /// The hard rules, then the policies.
    fn settle(
        &self,
        token: &VerifiedToken,
        acting: &Acting,
        access: &AccessRequest,
        judgement: &mut Judgement,
    ) -> Result<Permitted, Refused> {
        let (subject, authority, provenance) = (token.subject(), token.authority(), token.provenance());
        if let Some(named) = &provenance.may_act {
            rules::may_act(named, &acting.actor, &provenance.subject.issuer)?;
        }
        let before = (authority.actors.as_slice(), provenance.actors.as_slice());
        rules::takes_no_part("client", &self.requester.party, &provenance.subject, before.1)?;
        let chain = rules::chain(&acting.actor, &provenance.subject, before)?;
        rules::few_enough(provenance.since_first().count() + acting.shown.len())?;
        // What the subject holds, with what that implies at the target. Nothing else is asked about, whatever policies would say.
        let held = with_implied(&authority.scopes, &self.target.implies);
        judgement.scopes.clone_from(&held);
        let wanted = rules::scopes(self.asked.scopes.as_ref(), &held, &self.target.scopes)?;
        let issued_at = self.now.unix_seconds();
        let ends = [Some(authority.expires_at), acting.ends];
        let longest = rules::lifetime(self.target.lifetime, issued_at, ends.into_iter().flatten())?;

        // The policies see the chain as the token will have it.
        let acts = Authority { actors: chain.ids.clone(), ..(**authority).clone() };
        let strength =
            Strength { scopes: &held, acr: authority.acr.as_deref(), auth_time: authority.auth_time };
        let settled = self.ask(subject, (&acts, strength), access, (wanted, longest), judgement)?;
        let expires_in = settled.lifetime.as_secs();
        let expires_at = issued_at.saturating_add(i64::try_from(expires_in).unwrap_or_default());
        if let Some(record) = judgement.exchange_record.as_mut() {
            record.requested_scopes = settled.scopes.as_ref().clone();
            record.lifetime_s = Some(expires_in);
            record.actors = chain.ids.iter().map(|id| format!("Client::{id:?}")).collect();
        }
        let claims = claims::claims(&Draft {
            issuer: &self.sts.base_url,
            client: &self.requester.client.id,
            audience: &self.target.audience,
            subject,
            authority,
            provenance,
            shown: &acting.shown,
            chain: &chain,
            scopes: &settled.scopes,
            issued_at,
            expires_at,
        });
        let bound_to = provenance.confirmation.as_ref();
        let needs_proof = bound_to.is_some_and(|confirmation| confirmation.get("jkt").is_some());
        Ok(Permitted { claims, scopes: Arc::unwrap_or_clone(settled.scopes), expires_in, needs_proof })
    }

    /// What the policies permit of it, if anything.
    fn ask(
        &self,
        subject: &Arc<palisade_model::Subject>,
        (authority, strength): (&Authority, Strength<'_>),
        access: &AccessRequest,
        (wanted, longest): (Scopes, u64),
        judgement: &mut Judgement,
    ) -> Result<terms::Settled, Refused> {
        let policies = &self.snapshot.policies;
        let prepared = policies.prepare(subject, Some(authority), strength);
        let circumstances = circumstances(access, self.now);
        let asking = policies.ask(&prepared, &circumstances);
        let (action, target) = (Action::exchange(), Target::audience(&self.target.name));
        let about = About {
            action: &action,
            target: &target,
            resource: &self.sts.place,
            arguments: None,
            supplied: None,
        };
        let ask = |scopes: &Scopes, lifetime: Duration| {
            let asked = Terms { scopes, lifetime, requester: &self.requester.entity_id };
            terms::permitting(asking.about_exchange(&about, &asked))
        };
        let in_time = || Instant::now() < self.deadline;
        let narrowed = terms::narrow(ask, &Arc::new(wanted), Duration::from_secs(longest), in_time);
        let (settled, verdict) = narrowed
            .ok_or_else(|| Refused::new(Fault::Service, Reason::DeadlineExceeded, "the deadline passed"))?;
        let permits = verdict.permits();
        let denied_for = verdict.reason();
        if let Some(record) = judgement.exchange_record.as_mut() {
            record::add_exchange_policies(record, &verdict);
        }
        judgement.verdicts.push(verdict);
        settled
            .filter(|_| permits)
            .ok_or_else(|| Refused::new(Fault::Policy, denied_for, "the policies do not permit the exchange"))
    }
}

impl Sts {
    /// The one target that is asked for, if the client may ask for it. To a client, what it may not ask for is not there.
    pub(super) fn target(&self, requester: &Requester, asked: &AskedToken) -> Result<&StsTarget, Refused> {
        let refused = |detail: &str| Refused::new(Fault::Target, Reason::ExchangeRefused, detail);
        let Some(first) = asked.targets.first() else {
            return Err(refused("neither `audience` nor `resource` names a target"));
        };
        let names = |target: &StsTarget, text: &String| {
            target.name.as_str() == text.as_str() || target.audience == *text
        };
        let known = |target: &&StsTarget| requester.client.targets.contains(&target.name);
        let found = self.targets.iter().filter(known).find(|target| names(target, first));
        let found = found.ok_or_else(|| refused("the target is unknown"))?;
        if asked.targets.iter().all(|text| names(found, text)) {
            Ok(found)
        } else {
            Err(refused("a token is for one target"))
        }
    }
}

/// A token that is not accepted. An outage says nothing about it.
fn of_token(fault: Fault, error: TokenError) -> Refused {
    let outage = matches!(
        error.reason,
        Reason::IssuerKeysUnavailable | Reason::Overloaded | Reason::DeadlineExceeded | Reason::InternalError
    );
    let fault = if outage { Fault::Service } else { fault };
    Refused::new(fault, error.reason, error.detail)
}
