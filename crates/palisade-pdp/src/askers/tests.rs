use std::collections::{BTreeMap, BTreeSet};

use palisade_model::{Audience, Authority, Subject, SubjectKind, Timestamp};
use palisade_policy::{Kind, OnError, Sources, World};

use super::*;
use crate::{DenialForm, Metadata, Routes, ScopeSettings, UpstreamToken};

fn policies() -> Policies {
    Policies::load(&Sources::default(), &World::default(), OnError::Forbid).unwrap()
}

fn resource(implies: &[(&str, &str)]) -> Arc<Resource> {
    let scope = |text: &str| text.parse().unwrap();
    let implies: BTreeMap<_, _> =
        implies.iter().map(|(one, other)| (scope(one), vec![scope(other)])).collect();
    Arc::new(Resource {
        name: "files".parse().unwrap(),
        identifier: "https://files.example.com".to_owned(),
        kind: Kind::Mcp,
        issuers: Vec::new(),
        audiences: BTreeSet::new(),
        any_audience: false,
        metadata: Metadata::default(),
        scopes: ScopeSettings { implies, ..ScopeSettings::default() },
        acr_values: Vec::new(),
        max_age: Vec::new(),
        tools: Default::default(),
        routes: Routes::default(),
        anonymous: BTreeSet::new(),
        step_up: true,
        list: Default::default(),
        denial_form: DenialForm::Http,
        cors_origins: BTreeSet::new(),
        upstream_token: UpstreamToken::Strip,
        observe_until: None,
        rate_limits: Default::default(),
        static_tokens: Default::default(),
        grammar: Default::default(),
    })
}

fn principal(id: &str) -> Principal {
    let subject = Subject { kind: SubjectKind::User, id: id.to_owned(), ..Subject::anonymous() };
    let authority = Authority {
        issuer: "corp".parse().unwrap(),
        audience: [Audience::from("https://files.example.com")].into(),
        scopes: ["a".parse().unwrap()].into(),
        client: None,
        actors: Vec::new(),
        acr: None,
        amr: BTreeSet::new(),
        auth_time: None,
        groups_complete: true,
        token_id: "jti:1".to_owned(),
        expires_at: Timestamp::from_unix_seconds(1),
    };
    Principal::for_tests(subject, authority)
}

#[test]
fn a_token_at_a_resource_is_prepared_once() {
    let (askers, policies, resource) = (Askers::default(), policies(), resource(&[]));
    let alice = principal("corp/alice");
    let first = askers.get(&policies, &resource, &alice);
    assert!(Arc::ptr_eq(&first, &askers.get(&policies, &resource, &alice.clone())));
}

#[test]
fn no_other_token_and_no_other_resource_gets_it() {
    let (askers, policies, plain) = (Askers::default(), policies(), resource(&[]));
    let alice = principal("corp/alice");
    let first = askers.get(&policies, &plain, &alice);
    for other in [principal("corp/bob"), principal("corp/alice")] {
        assert!(!Arc::ptr_eq(&first, &askers.get(&policies, &plain, &other)));
    }
    let more = askers.get(&policies, &resource(&[("a", "b")]), &alice);
    assert_eq!((first.subject.scopes().len(), more.subject.scopes().len()), (1, 2));
}

#[test]
fn addresses_that_are_used_again_lead_nobody_to_a_stranger() {
    let (askers, policies, resource) = (Askers::default(), policies(), resource(&[]));
    for number in 0..500 {
        let id = format!("corp/user{number}");
        // The principal ends with the turn; its memory is free for the next.
        let asker = askers.get(&policies, &resource, &principal(&id));
        assert_eq!(asker.principal.subject().id, id);
        askers.0.invalidate_all();
    }
}
