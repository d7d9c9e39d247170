//! What a token of ours says (RFC 9068, RFC 8693 section 4.1, RFC 9493).
//!
//! `sub` is the subject's id with the name of its issuer in front, because two issuers may each have an `alice`; `sub_id`
//! names the issuer by its identifier, and is what others should go by. Roles, groups and tenant keep the name of their
//! issuer, too. What the subject's token restricts is kept: `cnf`, `may_act`, and that groups are missing. `sub_token` says which
//! token of the subject's issuer the authority goes back to, and `via` through which others it went: the services' and the
//! actors'. So whoever revokes one of them revokes this one.

use palisade_model::{Authority, DecisionId, Scope, Scopes, Subject, SubjectKind};
use palisade_token::{FIRST_TOKEN, Party, Passed, Provenance, VIA};
use serde_json::{Map, Value, json};

use super::rules::Chain;

/// Everything that a token is made of.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) issuer: &'a str,
    pub(super) client: &'a str,
    pub(super) audience: &'a str,
    pub(super) subject: &'a Subject,
    pub(super) authority: &'a Authority,
    pub(super) provenance: &'a Provenance,
    /// The token that the actor has shown, and what it goes back to.
    pub(super) shown: &'a [Passed],
    pub(super) chain: &'a Chain,
    pub(super) scopes: &'a Scopes,
    pub(super) issued_at: i64,
    pub(super) expires_at: i64,
}

/// The claims, but for `jti`: that is the id of the decision.
pub(super) fn claims(draft: &Draft<'_>) -> Map<String, Value> {
    let Draft { subject, authority, provenance, .. } = draft;
    let mut claims = Map::new();
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    put("iss", draft.issuer.into());
    put("aud", draft.audience.into());
    put("sub", subject.id.as_str().into());
    put("client_id", draft.client.into());
    put("iat", draft.issued_at.into());
    put("exp", draft.expires_at.into());
    let origin = &provenance.subject;
    put("sub_id", json!({ "format": "iss_sub", "iss": origin.issuer, "sub": origin.id }));
    put(FIRST_TOKEN, provenance.first.to_claim());
    let via: Vec<Passed> = provenance.since_first().chain(draft.shown).cloned().collect();
    if !via.is_empty() {
        put(VIA, Passed::to_claim(&via));
    }
    put("sub_profile", if subject.kind == SubjectKind::Client { "service" } else { "user" }.into());
    if let Some(act) = act(&draft.chain.parties) {
        put("act", act);
    }
    if !draft.scopes.is_empty() {
        put("scope", draft.scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(" ").into());
    }
    for (name, values) in [("roles", &subject.roles), ("groups", &subject.groups)] {
        if !values.is_empty() {
            put(name, json!(values));
        }
    }
    subject.tenant.as_ref().map(|tenant| put("tenant", tenant.as_str().into()));
    authority.acr.as_ref().map(|acr| put("acr", acr.as_str().into()));
    if !authority.amr.is_empty() {
        put("amr", json!(authority.amr));
    }
    authority.auth_time.map(|time| put("auth_time", time.unix_seconds().into()));
    if !authority.groups_complete {
        put("hasgroups", true.into());
    }
    provenance.confirmation.as_ref().map(|confirmation| put("cnf", confirmation.clone()));
    provenance.may_act.as_ref().map(|named| put("may_act", explicit(named, &origin.issuer)));
    claims
}

/// Adds the id of the decision.
pub(super) fn with_id(mut claims: Map<String, Value>, id: DecisionId) -> Map<String, Value> {
    claims.insert("jti".to_owned(), id.to_string().into());
    claims
}

/// Nested, the current actor outermost, each with its issuer.
fn act(chain: &[Party]) -> Option<Value> {
    chain.iter().rev().fold(None, |inner, actor| {
        let mut members = json!({ "iss": actor.issuer, "sub": actor.id });
        if let (Some(members), Some(inner)) = (members.as_object_mut(), inner) {
            members.insert("act".to_owned(), inner);
        }
        Some(members)
    })
}

/// `may_act` with the issuer whose actor it names: without it, it would name one of ours.
fn explicit(named: &Value, issuer: &str) -> Value {
    let mut named = named.clone();
    if let Some(members) = named.as_object_mut() {
        members.entry("iss").or_insert_with(|| issuer.into());
    }
    named
}
