//! A request on its way to the policies.
//!
//! [`Policies::prepare`] makes a [`PreparedSubject`] of a verified token; [`Policies::ask`] joins it with what holds for
//! one request; [`Asking::about`] answers for one item. What an answer shares with others is there already: the
//! subject's entities, the stored ones, the context. What is left is to find the candidates, to put their few entities
//! together and to evaluate their conditions.
//!
//! INVARIANT: no policy sees a request that does not fit the schema. The context is built from the types of the
//! vocabulary alone, and an action is asked about only where loading has found that its context is such a one. Debug
//! builds validate every request.

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::{Arc, OnceLock},
};

use cedar_policy_core::{
    ast::{Context, Entity, EntityUID, EntityUIDEntry, Request, Value},
    entities::Entities,
};
use palisade_model::{Arguments, Circumstances, Properties, Target};
use smol_str::SmolStr;

use crate::{
    About, Policies, PreparedSubject, Strength, Terms, Verdict, WhatIf, arguments,
    engine::{Atom, Engine, Mentions, Truths},
    query::{RequestError, act, belongs, is_of_protocol},
    store::{Store, references},
    subject::Who,
    supplied,
    values::{self, Record},
    vocabulary::{Act, Carries, Vocabulary},
};

/// One request of one subject, with any number of items to ask about.
#[derive(Debug)]
pub struct Asking<'a> {
    policies: &'a Policies,
    subject: &'a PreparedSubject,
    circumstances: &'a Circumstances,
    /// The time, which either context has.
    now: OnceLock<Result<Value, RequestError>>,
    /// The context of actions without arguments.
    plain: OnceLock<Result<Arc<Record>, RequestError>>,
    /// The context of actions with arguments.
    call: OnceLock<Result<Arc<Record>, RequestError>>,
    /// What policies demand of either, and it fulfils.
    demands: OnceLock<Result<Arc<[Atom]>, RequestError>>,
    /// The entities of what the caller says of the circumstances.
    sent: OnceLock<Result<Vec<Arc<Entity>>, RequestError>>,
}

/// An item in the form in which it is evaluated.
pub(crate) struct Put<'a> {
    pub(crate) request: Request,
    /// What the conditions of the candidates can look into, and maybe more.
    pub(crate) entities: Cow<'a, Entities>,
    pub(crate) candidates: Vec<u32>,
}

/// What is known of an item beside its action and target.
#[derive(Debug, Clone, Copy)]
enum Known<'t> {
    /// The arguments that came, or that none came.
    Given,
    /// Nothing of the arguments. Their entities are not there.
    Nothing,
    /// The terms of an exchange.
    Terms(&'t Terms<'t>),
}

/// What an item adds to what is shared.
struct Own<'a, 't> {
    action: &'a EntityUID,
    context: Arc<Record>,
    /// What is there for other items, too.
    shared: &'a Entities,
    /// The arguments whose entities are not there yet.
    arguments: Option<&'t Arguments>,
    /// The same arguments as a typed tool has them.
    input: Option<Arc<Entity>>,
    /// What the context names and the subject's token does not.
    named: Option<EntityUID>,
}

impl<'a> Asking<'a> {
    pub(crate) fn new(
        policies: &'a Policies,
        subject: &'a PreparedSubject,
        circumstances: &'a Circumstances,
    ) -> Self {
        Self {
            policies,
            subject,
            circumstances,
            now: OnceLock::new(),
            plain: OnceLock::new(),
            call: OnceLock::new(),
            demands: OnceLock::new(),
            sent: OnceLock::new(),
        }
    }

    /// Answers for one item. Total: what cannot be put to the policies is denied.
    #[must_use]
    pub fn about(&self, about: &About<'_>) -> Verdict {
        match self.put(about) {
            Ok(put) => self.policies.decide(put),
            Err(error) => Verdict::refusal(error.reason(), error.to_string()),
        }
    }

    /// Answers for an exchange. Asked without its terms, an exchange is denied.
    #[must_use]
    pub fn about_exchange(&self, about: &About<'_>, terms: &Terms<'_>) -> Verdict {
        match self.put_with(about, Known::Terms(terms), Engine::candidates) {
            Ok(put) => self.policies.decide(put),
            Err(error) => Verdict::refusal(error.reason(), error.to_string()),
        }
    }

    /// Answers what the same subject would get with another token. Nothing can be let in by it.
    #[must_use]
    pub fn what_if(&self, strength: Strength<'_>, about: &About<'_>) -> WhatIf {
        let subject = self.subject.with(strength, self.policies.engine().index());
        WhatIf::new(Asking::new(self.policies, &subject, self.circumstances).about(about))
    }

    /// Whether there is anything to be asked for this subject at all.
    pub(crate) fn can_ask(&self) -> Result<(), RequestError> {
        if !self.policies.made(self.subject) {
            return Err(RequestError::Foreign);
        }
        self.subject.parts.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    pub(crate) fn policies(&self) -> &'a Policies {
        self.policies
    }

    pub(crate) fn subject(&self) -> &'a PreparedSubject {
        self.subject
    }

    pub(crate) fn circumstances(&self) -> &'a Circumstances {
        self.circumstances
    }

    pub(crate) fn put(&self, about: &About<'_>) -> Result<Put<'a>, RequestError> {
        self.put_with(about, Known::Given, Engine::candidates)
    }

    /// The item with at most this many permits that could be about it for somebody, and whether the principal of each is
    /// who asks.
    pub(crate) fn put_near(
        &self,
        about: &About<'_>,
        most: usize,
    ) -> Result<(Put<'a>, Vec<(u32, bool)>), RequestError> {
        let mut near = Vec::new();
        let put = self.put_with(about, Known::Given, |engine, truths| {
            near = engine.near(truths, most);
            near.iter().map(|(number, _)| *number).collect()
        })?;
        Ok((put, near))
    }

    /// The item with whatever arguments, and every policy that could be about it in a context that fulfils these
    /// demands; in any, where there are none.
    ///
    /// INVARIANT: the entities of arguments are not there, so only what mentions none may be evaluated.
    pub(crate) fn put_open(
        &self,
        about: &About<'_>,
        demands: Option<&[Atom]>,
    ) -> Result<Put<'a>, RequestError> {
        self.put_with(about, Known::Nothing, |engine, truths| {
            engine.candidates(&Truths { context: demands, ..*truths })
        })
    }

    fn put_with(
        &self,
        about: &About<'_>,
        arguments: Known<'_>,
        candidates: impl FnOnce(&Engine, &Truths<'_>) -> Vec<u32>,
    ) -> Result<Put<'a>, RequestError> {
        self.put_seeing(about, arguments, candidates, Engine::mentions)
    }

    /// With every entity that an item brings, whether a condition looks at it or not.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn put_whole(&self, about: &About<'_>) -> Result<Put<'a>, RequestError> {
        self.put_seeing(about, Known::Given, Engine::candidates, |_, _| Mentions::ALL)
    }

    fn put_seeing(
        &self,
        about: &About<'_>,
        arguments: Known<'_>,
        candidates: impl FnOnce(&Engine, &Truths<'_>) -> Vec<u32>,
        mentions: impl FnOnce(&Engine, &[u32]) -> Mentions,
    ) -> Result<Put<'a>, RequestError> {
        if !self.policies.made(self.subject) {
            return Err(RequestError::Foreign);
        }
        let (vocabulary, store) = (self.policies.vocabulary(), self.policies.store());
        let act = act(about, &self.subject.kind, vocabulary)?;
        let parts = self.subject.parts.as_ref().map_err(Clone::clone)?;
        let target = itself(target(about, vocabulary, store)?, about, &parts.who.entity)?;
        let own = self.own(about, arguments, act, &parts.who)?;

        let engine = self.policies.engine();
        let demands = self.demands()?;
        let truths = Truths {
            action: &engine.index().actions().truths(own.action, store.ancestors(own.action)),
            resource: &engine.index().resources().truths(target.uid(), target.ancestors()),
            principal: Some(&parts.who.truths),
            context: Some(&demands),
        };
        let candidates = candidates(engine, &truths);
        let request = Request::new_unchecked(
            parts.who.principal.clone(),
            EntityUIDEntry::from(own.action.clone()),
            EntityUIDEntry::from(target.uid().clone()),
            Some(Context::Value(Arc::clone(&own.context))),
        );
        debug_assert!(self.policies.is_valid(&request), "{request}");
        let mentions = mentions(engine, &candidates);
        let entities = self.entities(own, target, &parts.who, (&candidates, mentions))?;
        Ok(Put { request, entities, candidates })
    }

    /// What the conditions of the candidates can look into.
    ///
    /// INVARIANT: left out is only what no condition of theirs mentions, so that none of them comes to another value.
    fn entities(
        &self,
        own: Own<'a, '_>,
        target: Arc<Entity>,
        who: &Who,
        (candidates, mentions): (&[u32], Mentions),
    ) -> Result<Cow<'a, Entities>, RequestError> {
        let (engine, store) = (self.policies.engine(), self.policies.store());
        let mut entities = self.sent()?;
        if mentions.any_of(Mentions::ARGUMENTS) {
            let made = |arguments| {
                arguments::entities(arguments, arguments::OF_THE_CALL, self.policies.vocabulary())
            };
            entities.extend(own.arguments.map(made).transpose()?.into_iter().flatten());
            entities.extend(own.input);
        }
        let uid = target.uid().clone();
        let mut also: Vec<&EntityUID> = engine.looked_into(candidates).collect();
        if mentions.any_of(Mentions::ITEM) {
            also.extend([own.action, &uid]);
            also.extend(&own.named);
        }
        let server;
        let is_there = |known: &Arc<Entity>| Arc::ptr_eq(known, &target);
        if !is_there(&who.entity) && !store.get(&uid).is_some_and(is_there) {
            // INVARIANT: a target that is not as it is stored brings what its attributes name.
            server = references(&target).collect::<Vec<EntityUID>>();
            also.extend(&server);
            entities.push(target);
        }
        store.around(own.shared, &entities, also)
    }

    /// The action as policies see it, its context, and the entities of its arguments. A typed tool has an action of its
    /// own.
    fn own<'t>(
        &self,
        about: &About<'t>,
        arguments: Known<'_>,
        act: &'a Act,
        who: &'a Who,
    ) -> Result<Own<'a, 't>, RequestError> {
        let vocabulary = self.policies.vocabulary();
        let (action, shared_entities) = (act.uid.as_ref(), &who.entities);
        let plain = |context| Own {
            action,
            context,
            shared: shared_entities,
            arguments: None,
            input: None,
            named: None,
        };
        match (act.carries, arguments) {
            (Carries::Arguments, Known::Given | Known::Nothing) => {}
            (Carries::Circumstances, Known::Given | Known::Nothing) => {
                return Ok(plain(shared(&self.plain, || self.context(false))?));
            }
            (Carries::Terms, Known::Terms(terms)) => {
                let requester = EntityUID::from(vocabulary.uid("Client", terms.requester)?);
                let own = plain(self.context_with(terms, &requester)?);
                return Ok(Own { named: Some(requester), ..own });
            }
            (Carries::Terms, Known::Given | Known::Nothing)
            | (Carries::Arguments | Carries::Circumstances, Known::Terms(_))
            | (Carries::Other, _) => return Err(RequestError::Build("context")),
        }
        let own = plain(shared(&self.call, || self.context(true))?);
        let mut own = match (arguments, about.arguments) {
            (Known::Given, None) => Own { shared: &who.without_arguments, ..own },
            (Known::Given, Some(arguments)) => Own { arguments: Some(arguments), ..own },
            (Known::Nothing | Known::Terms(_), _) => own,
        };
        if let Some(typed) = vocabulary.typed_tool(about.action, about.target) {
            if matches!(arguments, Known::Given) {
                let input = typed.entity(about.arguments);
                let input = input.map_err(|unfit| RequestError::Arguments(unfit.to_string()))?;
                own.input = Some(Arc::new(input.as_ref().clone()));
            }
            let name = SmolStr::new_static("input");
            Arc::make_mut(&mut own.context).insert(name, values::reference(typed.input.as_ref()));
            own.action = typed.action.as_ref();
        }
        Ok(own)
    }

    /// What policies demand of the contexts of this request, and these fulfil. They demand nothing of arguments.
    pub(crate) fn demands(&self) -> Result<Arc<[Atom]>, RequestError> {
        let parts = self.subject.parts.as_ref().map_err(Clone::clone)?;
        let demands = self.policies.engine().index().demands();
        if demands.are_all_on(&parts.context) {
            return Ok(Arc::clone(&parts.demands));
        }
        let find = || {
            let known = self.call.get().or_else(|| self.plain.get());
            let whole = match known {
                Some(known) => known.clone()?,
                None => shared(&self.plain, || self.context(false))?,
            };
            let mut truths = parts.demands.to_vec();
            demands.add_rest(&parts.context, &whole, &mut truths);
            Ok(truths.into())
        };
        self.demands.get_or_init(find).clone()
    }

    /// The entities of what the caller says of the circumstances; none where it says nothing.
    fn sent(&self) -> Result<Vec<Arc<Entity>>, RequestError> {
        let Some(sent) = &self.circumstances.sent else { return Ok(Vec::new()) };
        let entities = || arguments::entities(sent, arguments::SENT, self.policies.vocabulary());
        self.sent.get_or_init(entities).clone()
    }

    /// The context of an exchange: what is in that of every action, and the terms. It is copied from the context that another
    /// item was asked about in, if there is one: to copy it whole takes a fraction of what it takes to put it together.
    fn context_with(&self, terms: &Terms<'_>, requester: &EntityUID) -> Result<Arc<Record>, RequestError> {
        let mut context = match self.plain.get().or_else(|| self.call.get()) {
            Some(known) => known.as_deref().map_err(Clone::clone)?.clone(),
            None => Arc::unwrap_or_clone(self.context(false)?),
        };
        context.remove("args");
        let mut put = |name: &'static str, value: Value| context.insert(SmolStr::new_static(name), value);
        put("requested_scopes", values::scopes(terms.scopes));
        put("requested_lifetime", values::duration(terms.lifetime)?);
        put("requester", values::reference(requester));
        Ok(Arc::new(context))
    }

    /// What the subject's token and the circumstances put into every context of this request.
    pub(crate) fn context(&self, with_arguments: bool) -> Result<Arc<Record>, RequestError> {
        let parts = self.subject.parts.as_ref().map_err(Clone::clone)?;
        let Circumstances { now, ip, host, path, surface, asserted, sent } = self.circumstances;
        let mut context = parts.context.clone();
        let mut put = |name: &'static str, value: Value| context.insert(SmolStr::new_static(name), value);
        put("now", self.now.get_or_init(|| values::time(*now)).clone()?);
        put("surface", values::text(surface.as_str()));
        put("asserted", (*asserted).into());
        ip.map(values::ip).transpose()?.map(|ip| put("ip", ip));
        host.as_deref().map(|host| put("host", values::text(host)));
        path.as_deref().map(|path| put("path", values::text(path)));
        if sent.is_some() {
            let uid = self.policies.vocabulary().uid(arguments::TYPE, arguments::SENT)?;
            put("sent", values::reference(uid.as_ref()));
        }
        let arguments = self.policies.no_arguments().first().filter(|_| with_arguments);
        arguments.map(|arguments| put("args", values::reference(arguments.uid())));
        Ok(Arc::new(context))
    }
}

/// What the items of a request share, put together for the first of them.
fn shared(
    place: &OnceLock<Result<Arc<Record>, RequestError>>,
    share: impl FnOnce() -> Result<Arc<Record>, RequestError>,
) -> Result<Arc<Record>, RequestError> {
    place.get_or_init(share).clone()
}

/// The target with what the caller supplies of it.
fn target(about: &About<'_>, vocabulary: &Vocabulary, store: &Store) -> Result<Arc<Entity>, RequestError> {
    let About { target, resource, supplied, .. } = about;
    // A target of another resource is a defect of the caller, not a question.
    if !belongs(&target.type_name, &target.id, resource) {
        return Err(unknown(about));
    }
    let uid = EntityUID::from(vocabulary.uid(&target.type_name, &target.id)?);
    let none = Properties::default();
    let supplied = supplied.filter(|supplied| !supplied.is_empty());
    let known = match store.get(&uid) {
        Some(stored) => Arc::clone(stored),
        None if !is_of_protocol(&target.type_name) => {
            return supplied::entity(uid, None, supplied.unwrap_or(&none), vocabulary);
        }
        None if target.type_name == OPERATION => {
            let bare = operation(about, uid, vocabulary, store)?;
            return supplied::entity(bare.uid().clone(), Some(&bare), supplied.unwrap_or(&none), vocabulary);
        }
        None => from_id(about, uid, vocabulary, store)?,
    };
    match supplied {
        None => Ok(known),
        Some(supplied) => supplied::entity(known.uid().clone(), Some(&known), supplied, vocabulary),
    }
}

/// The target, which for somebody who asks about themselves is the subject: with the parents that its token gives it, in
/// scopes as in conditions. What is supplied of it as a target has to be so of the subject, too.
fn itself(
    target: Arc<Entity>,
    about: &About<'_>,
    subject: &Arc<Entity>,
) -> Result<Arc<Entity>, RequestError> {
    if target.uid() != subject.uid() {
        return Ok(target);
    }
    let mut supplied = about.supplied.into_iter().flat_map(Properties::names);
    let agree = supplied.all(|name| target.get(name).is_none_or(|value| subject.get(name) == Some(value)));
    let twofold = || RequestError::Twofold(about.target.type_name.clone());
    agree.then(|| Arc::clone(subject)).ok_or_else(twofold)
}

/// A GraphQL operation, which is there for its request alone. What it comes to is supplied by who has read it.
const OPERATION: &str = "Graphql::Operation";

/// An operation in its graph, without what it comes to.
fn operation(
    about: &About<'_>,
    uid: EntityUID,
    vocabulary: &Vocabulary,
    store: &Store,
) -> Result<Arc<Entity>, RequestError> {
    let graph = parent("Graphql::Graph", about, vocabulary, store)?;
    let attributes = Record::from([(SmolStr::new_static("graph"), values::reference(graph.uid()))]);
    Ok(values::entity(uid, attributes, ancestors(graph), Record::new()))
}

/// A target that nothing lists, for kinds of things no configuration can list in full, made from its id.
fn from_id(
    about: &About<'_>,
    uid: EntityUID,
    vocabulary: &Vocabulary,
    store: &Store,
) -> Result<Arc<Entity>, RequestError> {
    let About { target, resource, .. } = about;
    let name = target.id.strip_prefix(resource.as_str()).and_then(|rest| rest.strip_prefix('/'));
    let name = name.filter(|name| !name.is_empty()).ok_or_else(|| unknown(about))?;
    let mut attributes = unlisted(target, name).ok_or_else(|| unknown(about))?;
    let server = parent("Mcp::Server", about, vocabulary, store)?;
    let tenant = values::tenant_of(server).map(|tenant| (SmolStr::new_static("tenant"), tenant.clone()));
    attributes.extend(tenant);
    attributes.insert(SmolStr::new_static("server"), values::reference(server.uid()));
    Ok(values::entity(uid, attributes, ancestors(server), Record::new()))
}

/// The server or graph that a target of the resource belongs to.
fn parent<'s>(
    type_name: &str,
    about: &About<'_>,
    vocabulary: &Vocabulary,
    store: &'s Store,
) -> Result<&'s Arc<Entity>, RequestError> {
    let uid = vocabulary.uid(type_name, about.resource.as_str())?;
    store.get(uid.as_ref()).ok_or_else(|| unknown(about))
}

/// Those of what is in this parent: the parent, and its own.
fn ancestors(parent: &Entity) -> HashSet<EntityUID> {
    parent.ancestors().chain([parent.uid()]).cloned().collect()
}

fn unknown(about: &About<'_>) -> RequestError {
    RequestError::Target { target: about.target.entity(), resource: about.resource.to_string() }
}

/// What is known of a tool, prompt or resource that nothing lists, beside its server.
fn unlisted(target: &Target, name: &str) -> Option<Record> {
    let attributes = match target.type_name.as_str() {
        "Mcp::Tool" => vec![
            ("name", values::text(name)),
            ("listed", false.into()),
            ("read_only", false.into()),
            ("destructive", true.into()),
            ("idempotent", false.into()),
            ("open_world", true.into()),
        ],
        "Mcp::Prompt" => vec![("name", values::text(name))],
        "Mcp::Resource" => vec![("uri", values::text(name))],
        _ => return None,
    };
    Some(attributes.into_iter().map(|(name, value)| (SmolStr::new_static(name), value)).collect())
}

#[cfg(test)]
mod tests;
