//! From claims to a subject and its authority: the ids of the policy vocabulary.
//!
//! Every id begins with the name of the issuer, so that two issuers can never speak of one entity; for an issuer with
//! several tenants the tenant follows, because `sub` is unique within a tenant only. A user's id is the subject claim; the
//! id of a client that acts as itself is its client id, the same that names it as client and actor elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use palisade_model::{Authority, IssuerName, Properties, Reason, Subject, SubjectKind, Timestamp};
use serde_json::{Map, Value};

use crate::{
    ClaimPath, GroupsOverage, IssuerSettings, Profile, TokenError,
    claims::{self, Claims},
    origin::{Names, Origins, Party, Passed, Provenance, Source},
    revocations::{Mark, Marks},
    scopes,
};

/// Who a token speaks for, and with what authority.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) subject: Arc<Subject>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) provenance: Arc<Provenance>,
    /// What it may be revoked by.
    pub(crate) marks: Marks,
}

/// Reads the identity. `origins` knows the token's issuer and those that it may speak for; `digest` is the token's SHA-256.
pub(crate) fn identity(
    origins: &Origins<'_>,
    members: &Map<String, Value>,
    claims: &Claims,
    digest: &[u8; 32],
) -> Result<Identity, TokenError> {
    let (identifier, Source { issuer: settings, tenant }) = origins.own;
    let own = Ids { issuer: settings.name.as_str(), tenant, carried: false };
    let profile = settings.profile;
    check_tenant(settings, tenant, members)?;
    let kind = profile.subject_kind(members, &claims.subject, claims.client.as_deref())?;
    let (subject, of) = match (profile, &kind, &claims.client) {
        (Profile::Palisade, _, _) => origins.subject(members)?,
        (_, SubjectKind::Client, Some(client)) => origins.of_own(client.clone()),
        (_, SubjectKind::Client | SubjectKind::User | SubjectKind::Anonymous | SubjectKind::Own(_), _) => {
            origins.of_own(user_id(settings, members, claims)?)
        }
    };
    let ids =
        Ids { issuer: of.issuer.name.as_str(), tenant: of.tenant, carried: profile == Profile::Palisade };
    let actors = claims.actors.iter().map(|actor| origins.actor(actor));
    let actors: Vec<(Party, Source<'_>)> = actors.collect::<Result<_, _>>()?;
    let actor_id = |(party, of): &(Party, Source<'_>)| {
        Ids { issuer: of.issuer.name.as_str(), tenant: of.tenant, carried: false }.within_tenant(&party.id)
    };
    let map = &settings.claims;
    let tenant_path = map.tenant.clone().or_else(|| profile.tenant().and_then(|name| name.parse().ok()));
    let id = ids.within_tenant(&subject.id);
    let token_id = token_id(claims, digest);
    let names = names(claims, &token_id);
    let (first, via) = if profile == Profile::Palisade {
        // Where it is not said, nothing is known of it, and every entry with a time holds.
        (Names::of_claim(members)?.unwrap_or_default(), Passed::of_claim(members)?)
    } else {
        (names.clone(), Vec::new())
    };
    let itself = Passed { issuer: identifier.to_owned(), names };
    let marks = marks(origins, &itself, (&subject, of, &first), &via, &actors);
    let provenance = Provenance {
        subject,
        actors: actors.iter().map(|(party, _)| party.clone()).collect(),
        may_act: claims.may_act.clone(),
        confirmation: claims.confirmation.clone(),
        first,
        via,
        own: itself,
    };
    let subject = Subject {
        kind,
        id,
        roles: values(members, &map.roles, profile.roles(), &ids)?,
        groups: values(members, &map.groups, "groups", &ids)?,
        tenant: tenant_path.map_or(Ok(None), |path| one(members, &path, &ids))?,
        tags: tags(members, &map.tags)?,
        supplied: Properties::default(),
    };
    let authority = Authority {
        issuer: settings.name.clone(),
        audience: claims.audience.clone(),
        scopes: scopes::scopes(members)?,
        client: claims.client.as_deref().map(|client| own.within_tenant(client)),
        actors: actors.iter().map(actor_id).collect(),
        acr: claims.acr.clone(),
        amr: claims.amr.clone(),
        auth_time: claims.auth_time,
        groups_complete: groups_complete(settings.groups_overage, members)?,
        token_id,
        expires_at: claims.times.expires,
    };
    Ok(Identity {
        subject: Arc::new(subject),
        authority: Arc::new(authority),
        provenance: Arc::new(provenance),
        marks,
    })
}

fn token_id(claims: &Claims, digest: &[u8; 32]) -> String {
    claims.id.as_deref().map_or_else(|| format!("sha256:{}", hex::encode(digest)), |id| format!("jti:{id}"))
}

/// What the list of its own issuer may name a token by.
fn names(claims: &Claims, token_id: &str) -> Names {
    Names {
        issued: claims.times.issued,
        id: Some(claims.id.clone().unwrap_or_else(|| token_id.to_owned())),
        session: claims.session.clone(),
        client: claims.client.clone(),
    }
}

/// What the lists of its own issuer, of those that it speaks for and of those whose tokens it goes back to may name it by.
fn marks(
    origins: &Origins<'_>,
    own: &Passed,
    (subject, of, first): (&Party, Source<'_>, &Names),
    via: &[Passed],
    actors: &[(Party, Source<'_>)],
) -> Marks {
    let mark = |subject: Option<String>, of: Source<'_>, names: &Names| Mark {
        issuer: of.issuer.name.clone(),
        subject,
        client: names.client.as_deref().map(|client| of.local(client)),
        session: names.session.clone(),
        token: names.id.clone(),
        issued: names.issued,
    };
    let (_, itself) = origins.own;
    let of_subject = mark(Some(of.local(&subject.id)), of, first);
    let passed = via.iter().filter_map(|passed| Some(mark(None, origins.passed(passed)?, &passed.names)));
    let of_actors = actors.iter().map(|(actor, of)| {
        let id = Some(of.local(&actor.id));
        let issued = acting_since(own, actor, via);
        Mark {
            issuer: of.issuer.name.clone(),
            subject: id.clone(),
            client: id,
            session: None,
            token: None,
            issued,
        }
    });
    Marks::new(
        [mark(None, itself, &own.names), of_subject].into_iter().chain(passed).chain(of_actors).collect(),
    )
}

/// When the token was issued by which an actor acts: its own, where it has shown one, or this one. Where neither its issuer
/// has issued, nothing says.
fn acting_since(own: &Passed, actor: &Party, via: &[Passed]) -> Option<Timestamp> {
    let shown = via.iter().filter(|passed| {
        passed.issuer == actor.issuer && passed.names.client.as_deref() == Some(actor.id.as_str())
    });
    let earliest = shown.map(|passed| passed.names.issued).min();
    earliest.unwrap_or_else(|| own.names.issued.filter(|_| own.issuer == actor.issuer))
}

struct Ids<'a> {
    issuer: &'a str,
    tenant: Option<&'a str>,
    /// Whether roles, groups and tenant come with the name that their issuer has elsewhere, in front of a slash. Whose they
    /// are is known by the issuer's identifier; the name in front takes no part.
    carried: bool,
}

impl Ids<'_> {
    fn of_issuer(&self, value: &str) -> String {
        format!("{}/{value}", self.issuer)
    }

    /// A role, a group or the tenant.
    fn parent(&self, claim: &str, value: &str) -> Result<String, TokenError> {
        if !self.carried {
            return Ok(self.of_issuer(value));
        }
        let (name, own) = value.split_once('/').filter(|(_, own)| !own.is_empty()).unwrap_or_default();
        if name.parse::<IssuerName>().is_err() {
            return Err(TokenError::claims(format!("a value of `{claim}` does not begin with its issuer")));
        }
        Ok(self.of_issuer(own))
    }

    fn within_tenant(&self, value: &str) -> String {
        match self.tenant {
            Some(tenant) => format!("{}/{tenant}/{value}", self.issuer),
            None => self.of_issuer(value),
        }
    }
}

fn user_id(
    settings: &IssuerSettings,
    members: &Map<String, Value>,
    claims: &Claims,
) -> Result<String, TokenError> {
    match settings.subject_claim.as_deref() {
        None => Ok(claims.subject.clone()),
        Some(claim) => claims::name(members, claim)?
            .ok_or_else(|| TokenError::claims("the claim that is configured as the subject is missing")),
    }
}

/// Entra says the tenant twice, in `iss` and in `tid`; they must agree wherever both speak.
fn check_tenant(
    settings: &IssuerSettings,
    tenant: Option<&str>,
    members: &Map<String, Value>,
) -> Result<(), TokenError> {
    if !settings.profile.is_entra() {
        return Ok(());
    }
    let claimed = claims::name(members, "tid")?;
    if claimed.as_deref().is_some_and(|claimed| !is_guid(claimed)) {
        return Err(TokenError::claims("`tid` is not a GUID"));
    }
    let issued_by = tenant.or_else(|| settings.issuer.as_str().split('/').find(|segment| is_guid(segment)));
    match (issued_by, claimed.as_deref()) {
        (Some(issuer), Some(claimed)) if issuer != claimed => {
            Err(TokenError::claims("`tid` and `iss` disagree"))
        }
        (Some(_), None) if tenant.is_some() => Err(TokenError::claims("`tid` is missing")),
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

/// A GUID as Entra writes it: lower case, with hyphens.
pub(crate) fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

fn values(
    members: &Map<String, Value>,
    configured: &[ClaimPath],
    preset: &str,
    ids: &Ids<'_>,
) -> Result<BTreeSet<String>, TokenError> {
    let preset: Option<ClaimPath> = if configured.is_empty() { preset.parse().ok() } else { None };
    let mut all = BTreeSet::new();
    for path in configured.iter().chain(preset.as_ref()) {
        if let Some(value) = path.find(members) {
            for value in claims::list(path.as_str(), value)? {
                all.insert(ids.parent(path.as_str(), &value)?);
            }
        }
    }
    Ok(all)
}

fn one(members: &Map<String, Value>, path: &ClaimPath, ids: &Ids<'_>) -> Result<Option<String>, TokenError> {
    let Some(value) = path.find(members) else { return Ok(None) };
    let mut values = claims::list(path.as_str(), value)?.into_iter();
    match (values.next(), values.next()) {
        (Some(only), None) => ids.parent(path.as_str(), &only).map(Some),
        (None | Some(_), _) => Err(TokenError::claims("the tenant claim does not hold exactly one tenant")),
    }
}

/// Tags keep the text of their path as name, so that a policy names what the configuration names.
fn tags(
    members: &Map<String, Value>,
    paths: &[ClaimPath],
) -> Result<BTreeMap<String, BTreeSet<String>>, TokenError> {
    paths
        .iter()
        .filter_map(|path| path.find(members).map(|value| (path.as_str(), value)))
        .map(|(path, value)| Ok((path.to_owned(), claims::list(path, value)?)))
        .collect()
}

/// A provider that has more groups than fit says so in one of two ways: a distributed claim, or `hasgroups`.
fn groups_complete(overage: GroupsOverage, members: &Map<String, Value>) -> Result<bool, TokenError> {
    let distributed = match members.get("_claim_names") {
        None => false,
        Some(Value::Object(names)) => names.contains_key("groups"),
        Some(_) => return Err(TokenError::claims("`_claim_names` is not an object")),
    };
    let elsewhere = members.get("hasgroups").is_some_and(|value| value != &Value::Bool(false));
    match overage {
        GroupsOverage::Refuse if distributed || elsewhere => {
            Err(TokenError::new(Reason::TokenGroupsOverage, "the token says that its groups are elsewhere"))
        }
        GroupsOverage::Refuse | GroupsOverage::Ignore => Ok(!(distributed || elsewhere)),
    }
}
