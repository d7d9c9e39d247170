//! A subject with what its token says, in the form in which policies see it: prepared once for a verified token, and
//! shared by all its requests.

use std::{collections::HashSet, sync::Arc};

use cedar_policy_core::{
    ast::{Entity, EntityUID, EntityUIDEntry, Value},
    entities::Entities,
};
use palisade_model::{Authority, Scope, Scopes, Subject, SubjectKind, Timestamp};
use smol_str::SmolStr;

use crate::{
    Strength,
    engine::{Atom, Index},
    query::RequestError,
    store::{Store, references},
    supplied,
    values::{self, Record},
    vocabulary::Vocabulary,
};

/// What [`Policies::prepare`](crate::Policies::prepare) makes of a subject. It is good for the policy set that made
/// it; another denies whatever is asked with it.
#[derive(Debug, Clone)]
pub struct PreparedSubject {
    pub(crate) kind: SubjectKind,
    /// Whether it comes from a token.
    pub(crate) proven: bool,
    /// Which policy set made it.
    pub(crate) made_by: Arc<()>,
    pub(crate) parts: Result<Parts, RequestError>,
    scopes: Scopes,
    acr: Option<String>,
    auth_time: Option<Timestamp>,
}

#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) who: Arc<Who>,
    /// What the token puts into a context, strength included.
    pub(crate) context: Record,
    /// What policies demand of a context and this fulfils.
    pub(crate) demands: Arc<[Atom]>,
}

/// What stays the same however strong a token is.
#[derive(Debug)]
pub(crate) struct Who {
    pub(crate) principal: EntityUIDEntry,
    /// The principal itself.
    pub(crate) entity: Arc<Entity>,
    /// What policies say of the principal in their scopes.
    pub(crate) truths: Vec<Atom>,
    /// The principal, its client and actors, and what their attributes name.
    pub(crate) entities: Entities,
    /// The same, with the entities of a call without arguments.
    pub(crate) without_arguments: Entities,
}

/// What a subject is prepared with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workshop<'a> {
    pub(crate) vocabulary: &'a Vocabulary,
    pub(crate) store: &'a Store,
    pub(crate) index: &'a Index,
    pub(crate) no_arguments: &'a [Arc<Entity>],
    pub(crate) mark: &'a Arc<()>,
}

impl PreparedSubject {
    pub(crate) fn new(
        workshop: Workshop<'_>,
        subject: &Subject,
        authority: Option<&Authority>,
        strength: Strength<'_>,
    ) -> Self {
        let who = Who::new(workshop, subject, authority).map(Arc::new);
        let said = who.and_then(|who| Ok((who, said(workshop.vocabulary, authority)?)));
        let said = said.map_err(|error| RequestError::Subject(Box::new(error)));
        let proven = authority.is_some();
        Self::assemble(
            subject.kind.clone(),
            proven,
            Arc::clone(workshop.mark),
            said,
            strength,
            workshop.index,
        )
    }

    /// The same subject with a stronger or weaker token.
    pub(crate) fn with(&self, strength: Strength<'_>, index: &Index) -> Self {
        let said = self.parts.as_ref().map(|parts| (Arc::clone(&parts.who), parts.context.clone()));
        let said = said.map_err(Clone::clone);
        Self::assemble(self.kind.clone(), self.proven, Arc::clone(&self.made_by), said, strength, index)
    }

    fn assemble(
        kind: SubjectKind,
        proven: bool,
        made_by: Arc<()>,
        said: Result<(Arc<Who>, Record), RequestError>,
        strength: Strength<'_>,
        index: &Index,
    ) -> Self {
        let parts = said.and_then(|(who, mut context)| {
            set_strength(&mut context, strength)?;
            let demands = index.demands().of_token(&context).into();
            Ok(Parts { who, context, demands })
        });
        let Strength { scopes, acr, auth_time } = strength;
        Self { kind, proven, made_by, parts, scopes: scopes.clone(), acr: acr.map(str::to_owned), auth_time }
    }

    /// How strong its token is.
    pub(crate) fn strength(&self) -> Strength<'_> {
        Strength { scopes: &self.scopes, acr: self.acr.as_deref(), auth_time: self.auth_time }
    }

    /// The scopes that its token counts as having.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// Roughly how many bytes it takes, for whoever keeps it.
    #[must_use]
    pub fn size(&self) -> usize {
        const OF_A_NAME: usize = 200;
        let names = self.parts.as_ref().map_or(0, |parts| {
            let entities = parts.who.entities.iter();
            entities
                .map(|entity| 1 + entity.ancestors().count() + entity.attrs_len() + entity.tags_len())
                .sum()
        });
        (20 + names + 2 * self.scopes.len()) * OF_A_NAME
    }
}

/// INVARIANT: nothing of the strength that the context had before is left in it.
fn set_strength(context: &mut Record, strength: Strength<'_>) -> Result<(), RequestError> {
    let Strength { scopes, acr, auth_time } = strength;
    let mut set = |name, value: Option<Value>| match value {
        Some(value) => context.insert(SmolStr::new_static(name), value),
        None => context.remove(name),
    };
    set("scopes", Some(values::texts(scopes.iter().map(Scope::as_str))));
    set("acr", acr.map(values::text));
    set("auth_time", auth_time.map(values::time).transpose()?);
    Ok(())
}

impl Who {
    fn new(
        workshop: Workshop<'_>,
        subject: &Subject,
        authority: Option<&Authority>,
    ) -> Result<Self, RequestError> {
        let principal = principal(workshop, subject)?;
        let uid = principal.uid().clone();
        let truths = workshop.index.principals().truths(&uid, principal.ancestors());
        let named: Vec<EntityUID> = references(&principal).collect();
        let also = clients(workshop.vocabulary, &uid, authority)?;
        let also = also.iter().chain(&named);
        let none = Entities::new();
        let entities = workshop.store.around(&none, &[Arc::clone(&principal)], also)?.into_owned();
        Ok(Self {
            truths,
            without_arguments: workshop.store.around(&entities, workshop.no_arguments, [])?.into_owned(),
            entities,
            principal: uid.into(),
            entity: principal,
        })
    }
}

/// The subject: parents of token and entity files together, tags of the token alone. A subject of a deployment's own type
/// has no token: it is what entity files know of it. Either way a PEP may supply attributes that are still absent.
fn principal(workshop: Workshop<'_>, subject: &Subject) -> Result<Arc<Entity>, RequestError> {
    let Workshop { vocabulary, store, .. } = workshop;
    let uid = EntityUID::from(vocabulary.uid(subject.kind.type_name(), &subject.id)?);
    if subject.kind == SubjectKind::Anonymous {
        // The schema knows one of these, and requests are not held against it.
        let known = subject.id == Subject::anonymous().id;
        return known.then(|| Arc::new(Entity::with_uid(uid))).ok_or(RequestError::Build("principal"));
    }
    let mut ancestors: HashSet<EntityUID> = store.ancestors(&uid).cloned().collect();
    let named = (subject.roles.iter().map(|id| ("Role", id)))
        .chain(subject.groups.iter().map(|id| ("Group", id)))
        .chain(subject.tenant.iter().map(|id| ("Tenant", id)));
    for (type_name, id) in named {
        let parent = EntityUID::from(vocabulary.uid(type_name, id)?);
        ancestors.extend(store.ancestors(&parent).cloned());
        ancestors.insert(parent);
    }
    let stored = store.get(&uid);
    if matches!(subject.kind, SubjectKind::Own(_)) {
        return supplied::entity(uid, stored.map(AsRef::as_ref), &subject.supplied, vocabulary);
    }
    let tenant = match &subject.tenant {
        Some(tenant) => Some(values::reference(vocabulary.uid("Tenant", tenant)?.as_ref())),
        None => stored.and_then(|stored| values::tenant_of(stored).cloned()),
    };
    let mut attributes: Record =
        tenant.into_iter().map(|tenant| (SmolStr::new_static("tenant"), tenant)).collect();
    if !subject.supplied.is_empty() {
        attributes = supplied::filled(&uid, attributes, &subject.supplied, vocabulary)?;
    }
    let tags = subject.tags.iter().map(|(name, texts)| (SmolStr::from(name.as_str()), values::texts(texts)));
    Ok(values::entity(uid, attributes, ancestors, tags.collect()))
}

/// The client and the actors: entity files may know more of them than their ids.
fn clients(
    vocabulary: &Vocabulary,
    subject: &EntityUID,
    authority: Option<&Authority>,
) -> Result<Vec<EntityUID>, RequestError> {
    let named = authority.into_iter().flat_map(|authority| authority.client.iter().chain(&authority.actors));
    let clients = named.map(|id| Ok(EntityUID::from(vocabulary.uid("Client", id)?)));
    clients.filter(|client| client.as_ref().ok() != Some(subject)).collect()
}

/// What the token says beside its subject, its scopes and its login.
fn said(vocabulary: &Vocabulary, authority: Option<&Authority>) -> Result<Record, RequestError> {
    let client = |id: &String| Ok(EntityUID::from(vocabulary.uid("Client", id)?));
    let actors = authority.map(|authority| authority.actors.as_slice()).unwrap_or_default();
    let actors = actors.iter().map(client).collect::<Result<Vec<EntityUID>, RequestError>>()?;
    let depth = i64::try_from(actors.len()).unwrap_or(i64::MAX);
    let audience = authority.iter().flat_map(|authority| &authority.audience);
    let mut said = vec![
        ("issuer", values::text(authority.map_or("", |authority| authority.issuer.as_str()))),
        ("audience", values::texts(audience.map(palisade_model::Audience::as_str))),
        ("delegation_depth", depth.into()),
        ("amr", values::texts(authority.iter().flat_map(|authority| &authority.amr))),
        ("groups_complete", authority.is_none_or(|authority| authority.groups_complete).into()),
    ];
    if let Some(id) = authority.and_then(|authority| authority.client.as_ref()) {
        said.push(("client", values::reference(&client(id)?)));
    }
    if let Some(current) = actors.first() {
        said.push(("actor", values::reference(current)));
    }
    said.push(("actors", values::references(&actors)));
    Ok(said.into_iter().map(|(name, value)| (SmolStr::new_static(name), value)).collect())
}
