//! Operations: decided with their directives or not at all.

use palisade_model::{Properties, Subject};
use palisade_policy::WorldGraph;
use serde_json::json;

use super::*;
use crate::{Granted, Lack, Lacking, Left};

const EVERYTHING: &[&str] = &["Query.a", "Query.b"];

pub(super) fn in_world() -> WorldResource {
    let elements = EVERYTHING.iter().map(|field| ((*field).to_owned(), BTreeSet::new())).collect();
    let policies = ["yes", "no", "nobody"].map(str::to_owned).into();
    WorldResource {
        name: "api".parse().unwrap(),
        kind: Kind::Graphql,
        identifier: "https://api.example.com".to_owned(),
        tools: Vec::new(),
        routes: Vec::new(),
        graph: Some(WorldGraph { elements, policies, ..WorldGraph::default() }),
    }
}

pub(super) fn resource(setup: &Setup) -> Resource {
    Resource {
        name: "api".parse().unwrap(),
        identifier: "https://api.example.com".to_owned(),
        kind: Kind::Graphql,
        metadata: Metadata { url: "https://api.example.com/metadata".to_owned(), ..Metadata::default() },
        anonymous: BTreeSet::from(["query".to_owned()]),
        ..setup.resource()
    }
}

/// A query with these fields and names of policies.
pub(super) fn query(fields: &[&str], names: &[&str]) -> AccessRequest {
    let api: ResourceName = "api".parse().unwrap();
    let item = |action: &str, target: Target| Item {
        action: Action::graphql(action),
        target,
        arguments: None,
        supplied: Properties::default(),
        known: Properties::default(),
        reply_to: None,
    };
    let known = json!({ "allowlisted": false, "depth": 2, "fields": fields.len() });
    let operation = Item {
        known: Properties::new(known.as_object().unwrap().clone()),
        ..item("query", Target::graphql_operation(&api, "Q"))
    };
    let fields = fields.iter().map(|field| item("field", Target::graphql_element(&api, field)));
    let names = names.iter().map(|name| item("policy", Target::graphql_policy(&api, name)));
    let items = std::iter::once(operation).chain(fields).chain(names).collect();
    AccessRequest { resource: Some(api), asked: Ok(Asked { items, batch: false }), ..request(&["open"]) }
}

async fn decided(
    setup: &Setup,
    request: &AccessRequest,
    directives: Option<&Directives<'_>>,
) -> (Decision, Findings) {
    let pdp = setup.pdp();
    let decided = pdp.decide_whole(&pdp.snapshot(), request, directives, Duration::MAX).await;
    pdp.audit().shutdown().await;
    assert_eq!(setup.recorded(), [(decided.0.reason(), 1)]);
    decided
}

async fn reason_of(request: &AccessRequest, directives: Option<&Directives<'_>>) -> Reason {
    decided(&Setup::new(), request, directives).await.0.reason()
}

pub(super) fn nothing(_: &Granted<'_>) -> Vec<Lack> {
    Vec::new()
}

fn lack(why: Lacking) -> impl Fn(&Granted<'_>) -> Vec<Lack> + Send + Sync {
    let target = Target::graphql_element(&"api".parse().unwrap(), "Query.a");
    move |_| vec![Lack { target: target.clone(), why: why.clone() }]
}

#[tokio::test]
async fn no_operation_is_decided_without_its_directives_and_nothing_else_with_any() {
    assert_eq!(reason_of(&query(&["Query.a"], &[]), Some(&nothing)).await, Reason::Permitted);
    assert_eq!(reason_of(&query(&["Query.a"], &[]), None).await, Reason::MethodUnknown);
    assert_eq!(reason_of(&request(&["open"]), Some(&nothing)).await, Reason::InternalError);
}

#[tokio::test]
async fn everything_has_to_be_permitted_but_names_and_nothing_may_be_lacking() {
    assert_eq!(reason_of(&query(EVERYTHING, &[]), Some(&nothing)).await, Reason::NoPermit);
    assert_eq!(reason_of(&query(&["Query.c"], &[]), Some(&nothing)).await, Reason::TargetUnknown);
    let names = query(&["Query.a"], &["yes", "no"]);
    assert_eq!(reason_of(&names, Some(&nothing)).await, Reason::Permitted);
    let of = |name: &str| vec![Target::graphql_policy(&"api".parse().unwrap(), name)];
    for (why, expected) in [
        (Lacking::Authentication, Reason::NoCredentials),
        (Lacking::Scopes(vec![Scopes::new()]), Reason::NoCredentials),
        (Lacking::Names(of("no")), Reason::NoPermit),
        // What lacks something that was granted is a defect of its reader, and denied.
        (Lacking::Names(of("yes")), Reason::InternalError),
        (Lacking::Permit, Reason::InternalError),
    ] {
        assert_eq!(reason_of(&names, Some(&lack(why.clone()))).await, expected, "{why:?}");
    }
    let undecided = query(&["Query.a"], &["nobody"]);
    assert_eq!(reason_of(&undecided, Some(&lack(Lacking::Names(of("nobody"))))).await, Reason::PolicyError);
}

#[tokio::test]
async fn directives_are_told_what_was_decided_and_a_panic_of_theirs_is_a_denial() {
    let told = |granted: &Granted<'_>| {
        assert_eq!(granted.items, [true, true, true, false]);
        assert!(!granted.authenticated && granted.scopes.is_empty());
        Vec::new()
    };
    let names = query(&["Query.a"], &["yes", "no"]);
    assert_eq!(reason_of(&names, Some(&told)).await, Reason::Permitted);
    let panics = |_: &Granted<'_>| -> Vec<Lack> { panic!("a defect") };
    assert_eq!(reason_of(&names, Some(&panics)).await, Reason::InternalError);
}

/// Otherwise whoever asks could make an operation look smaller than it is.
#[tokio::test]
async fn no_caller_says_what_an_operation_comes_to() {
    let mut asked = query(&["Query.a"], &[]);
    let deep = json!({ "allowlisted": false, "depth": 9, "fields": 1 });
    let small = json!({ "allowlisted": true, "depth": 1, "fields": 1 });
    let properties = |value: &serde_json::Value| Properties::new(value.as_object().unwrap().clone());
    let local = Pep {
        supplies: ["allowlisted", "depth", "fields"].map(str::to_owned).into(),
        ..Pep::local("local".parse().unwrap())
    };
    let items = &mut asked.asked.as_mut().unwrap().items;
    items[0].supplied = properties(&small);
    items[0].known = properties(&deep);
    let setup = Setup { local: local.clone(), ..Setup::new() };
    assert_eq!(decided(&setup, &asked, Some(&nothing)).await.0.reason(), Reason::NoPermit);
    // And what no decoder has read is none at all.
    asked.asked.as_mut().unwrap().items[0].known = Properties::default();
    let setup = Setup { local, ..Setup::new() };
    assert_eq!(decided(&setup, &asked, Some(&nothing)).await.0.reason(), Reason::TargetUnknown);
}

#[tokio::test]
async fn observation_lets_by_what_policies_deny_and_not_what_needs_somebody() {
    let observed = || Setup { observe_until: Some(NOW.plus(Duration::from_secs(60))), ..Setup::new() };
    let (decision, _) = decided(&observed(), &query(EVERYTHING, &[]), Some(&nothing)).await;
    assert_eq!(decision.reason(), Reason::Observed);
    let somebody = lack(Lacking::Authentication);
    let (decision, _) = decided(&observed(), &query(&["Query.a"], &[]), Some(&somebody)).await;
    assert_eq!(decision.reason(), Reason::NoCredentials);
    let (decision, _) = decided(&observed(), &query(&["Query.c"], &[]), Some(&nothing)).await;
    assert_eq!(decision.reason(), Reason::TargetUnknown);
}

/// What is left of an operation: these items, and this as its body.
fn left(items: &[usize], body: Option<&str>) -> impl Fn(&Granted<'_>) -> Option<Left> + Send + Sync {
    let (items, body) = (items.to_vec(), body.map(|body| body.as_bytes().to_vec()));
    move |_| Some(Left { items: items.clone(), body: body.clone(), taken: 1, told: "[1]".to_owned() })
}

async fn parted(setup: &Setup, request: &AccessRequest, cutting: Option<&Cutting<'_>>) -> Parted {
    parted_within(setup, request, (&nothing, cutting), Duration::MAX).await
}

async fn parted_within(
    setup: &Setup,
    request: &AccessRequest,
    (directives, cutting): (&Directives<'_>, Option<&Cutting<'_>>),
    patience: Duration,
) -> Parted {
    let pdp = setup.pdp();
    let reader = (Some(directives), cutting);
    let decided = pdp.decide_in_part(&pdp.snapshot(), request, reader, patience).await;
    pdp.audit().shutdown().await;
    assert_eq!(setup.recorded(), [(decided.reason(), 1)]);
    decided
}

/// The text of the one record of a decision.
fn told_on_record(setup: &Setup) -> String {
    let mut detail = None;
    query::run(&setup.folder.path().join("audit"), &query::Filter::default(), |record| {
        if let Record::Decision(decision) = record {
            detail = decision.detail;
        }
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    detail.unwrap_or_default()
}

#[tokio::test]
async fn only_who_sends_on_what_is_left_is_permitted_a_part_and_only_what_is_granted_of_it() {
    let asked = || query(EVERYTHING, &["yes", "no"]);
    let (body, reason) = (Some("left"), Reason::NoPermit);
    let cut = left(&[0, 1, 3, 4], body);
    let Parted::InPart(part) = parted(&Setup::new(), &asked(), Some(&cut)).await else { panic!("in part") };
    assert_eq!((part.body(), part.told()), (&b"left"[..], "[1]"));
    let mut batch = asked();
    let one = batch.asked.clone().unwrap().items;
    batch.asked = Ok(Asked { items: [one.clone(), one].concat(), batch: true });
    let mut deep = asked();
    let known = json!({ "allowlisted": false, "depth": 9, "fields": 1 });
    deep.asked.as_mut().unwrap().items[0].known = Properties::new(known.as_object().unwrap().clone());
    for (request, cutting) in [
        (asked(), None),
        // What is left has something that is denied, or is without the operation, or is none of it.
        (asked(), Some(left(&[0, 1, 2], body))),
        (asked(), Some(left(&[1], body))),
        (asked(), Some(left(&[], body))),
        (asked(), Some(left(&[0, 1, 9], body))),
        // An operation that may not be done is not done in part, nor is one of several.
        (deep, Some(left(&[0, 1], body))),
        (batch, Some(left(&[0, 1], body))),
    ] {
        let cutting = cutting.as_ref().map(|cutting| cutting as &Cutting<'_>);
        let decided = parted(&Setup::new(), &request, cutting).await;
        let Parted::Whole(Decision::Deny(denial)) = decided else { panic!("{decided:?}") };
        assert_eq!((denial.reason, denial.told), (reason, None));
    }
    let nothing_left = parted(&Setup::new(), &asked(), Some(&left(&[0], None))).await;
    let Parted::Whole(Decision::Deny(denial)) = nothing_left else { panic!("{nothing_left:?}") };
    assert_eq!((denial.reason, denial.told.as_deref()), (reason, Some("[1]")));
}

#[tokio::test]
async fn nothing_is_cut_of_what_is_granted_or_observed_and_a_panic_is_a_denial() {
    let panics = |_: &Granted<'_>| -> Option<Left> { panic!("a defect") };
    let whole = parted(&Setup::new(), &query(&["Query.a"], &["yes"]), Some(&panics)).await;
    assert!(matches!(whole, Parted::Whole(Decision::Permit(_))), "{whole:?}");
    let broken = parted(&Setup::new(), &query(EVERYTHING, &[]), Some(&panics)).await;
    assert_eq!(broken.reason(), Reason::InternalError);
    let observed = Setup { observe_until: Some(NOW.plus(Duration::from_secs(60))), ..Setup::new() };
    let observed = parted(&observed, &query(EVERYTHING, &[]), Some(&panics)).await;
    assert!(matches!(observed, Parted::Whole(Decision::Observed(_))), "{observed:?}");
    let cannot = |_: &Granted<'_>| -> Option<Left> { None };
    assert_eq!(
        parted(&Setup::new(), &query(EVERYTHING, &[]), Some(&cannot)).await.reason(),
        Reason::NoPermit
    );
}

/// Who has read an operation.
type Reader<'a> = (&'a Directives<'a>, &'a Cutting<'a>);

/// What is no word about its parts is not told as an answer of which nothing is left.
/// What a reader has in store, the fields that are asked for, and what comes of it: the reason, and what is told.
type Case<'a> = (Reader<'a>, &'a [&'a str], (Reason, Option<&'a str>));

#[tokio::test]
async fn a_time_that_has_passed_and_a_defect_are_told_as_what_they_are_whatever_is_left() {
    let nothing_left = || Some(Left { items: vec![0], body: None, taken: 1, told: "[1]".to_owned() });
    let slow = |_: &Granted<'_>| {
        std::thread::sleep(Duration::from_millis(400));
        nothing_left()
    };
    let quick = |_: &Granted<'_>| nothing_left();
    let defect = lack(Lacking::Permit);
    let cases: [Case<'_>; 3] = [
        ((&nothing, &slow), EVERYTHING, (Reason::DeadlineExceeded, None)),
        ((&defect, &quick), &["Query.a"], (Reason::InternalError, None)),
        ((&nothing, &quick), EVERYTHING, (Reason::NoPermit, Some("[1]"))),
    ];
    for ((directives, cutting), fields, (reason, told)) in cases {
        let setup = Setup::new();
        // The defect denies a part that the record counts as none: the name beside it is one.
        let asked = query(fields, &["no"]);
        let is_slow = reason == Reason::DeadlineExceeded;
        let patience = if is_slow { Duration::from_millis(300) } else { Duration::MAX };
        let decided = parted_within(&setup, &asked, (directives, Some(cutting)), patience).await;
        let Parted::Whole(Decision::Deny(denial)) = decided else { panic!("{decided:?}") };
        assert_eq!((denial.reason, denial.told.as_deref()), (reason, told));
        let status = crate::answer::http(&denial, None).status;
        assert_eq!(status, if told.is_some() { 403 } else { 503 });
        assert!(!told_on_record(&setup).contains("taken out"));
    }
}

/// A name that is denied takes nothing out where another will do.
#[tokio::test]
async fn the_record_says_how_many_places_were_taken_out_of_what_goes_on() {
    let setup = Setup::new();
    let asked = query(EVERYTHING, &["yes", "no"]);
    let cut = left(&[0, 1, 3, 4], Some("left"));
    assert!(matches!(parted(&setup, &asked, Some(&cut)).await, Parted::InPart(_)));
    assert_eq!(told_on_record(&setup), "an operation: 5 parts, 1 denied and taken out");
}

/// To take out what is denied costs something: it is not begun where nothing of it could go on.
#[tokio::test]
async fn nothing_is_cut_of_an_operation_that_is_itself_denied() {
    let panics = |_: &Granted<'_>| -> Option<Left> { panic!("it was begun") };
    let mut deep = query(EVERYTHING, &[]);
    let known = json!({ "allowlisted": false, "depth": 9, "fields": 1 });
    deep.asked.as_mut().unwrap().items[0].known = Properties::new(known.as_object().unwrap().clone());
    let mut introspects = query(EVERYTHING, &[]);
    let introspection = Item {
        action: Action::graphql("introspect"),
        target: Target::graphql_graph(&"api".parse().unwrap()),
        known: Properties::default(),
        ..introspects.asked.as_ref().unwrap().items[0].clone()
    };
    introspects.asked.as_mut().unwrap().items.push(introspection);
    for asked in [deep, introspects] {
        let reason = parted(&Setup::new(), &asked, Some(&panics)).await.reason();
        assert!(matches!(reason, Reason::NoPermit | Reason::NoCredentials), "{reason}");
    }
}

/// However much is denied: a few hundred parts are named, and it is said how many there were.
#[tokio::test]
async fn a_record_names_some_parts_of_many_and_counts_them_all() {
    let unknown: Vec<String> = (0..700).map(|number| format!("Query.x{number}")).collect();
    let twice = unknown.iter().chain(&unknown).map(String::as_str);
    let fields: Vec<&str> = std::iter::once("Query.a").chain(twice).collect();
    let api: ResourceName = "api".parse().unwrap();
    let lacking = |field: &str| Lack {
        target: Target::graphql_element(&api, field),
        why: Lacking::Scopes(vec![Scopes::new()]),
    };
    // One that the policies permit, and one that they have denied already.
    let lacks = |_: &Granted<'_>| vec![lacking("Query.a"), lacking("Query.x1")];
    // Of somebody: what nobody asks for is counted, and its record has no parts.
    let local = Pep { asserts: BTreeSet::from(["User".to_owned()]), ..Pep::local("local".parse().unwrap()) };
    let setup = Setup { local, ..Setup::new() };
    let pdp = setup.pdp();
    let alice = Credential::AssertedByPep(Subject::named("User", "corp/alice"));
    let asked = AccessRequest { credential: alice, ..query(&fields, &[]) };
    let (decision, _) = pdp.decide_whole(&pdp.snapshot(), &asked, Some(&lacks), Duration::MAX).await;
    assert_eq!(decision.reason(), Reason::TargetUnknown);
    pdp.audit().shutdown().await;
    let mut recorded = None;
    query::run(&setup.folder.path().join("audit"), &query::Filter::default(), |record| {
        if let Record::Decision(decision) = record {
            recorded = Some(decision);
        }
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    let decision = recorded.unwrap();
    assert_eq!(decision.detail.unwrap().split(';').next(), Some("an operation: 1402 parts, 701 denied"));
    assert_eq!(decision.items.len(), 500);
    assert!(decision.items.iter().all(|item| item.reason == Reason::TargetUnknown));
}

/// Of each operation the first part that is tightened is told, and the first that is loosened: the one does not hide the other.
#[tokio::test]
async fn a_shadow_is_compared_by_the_parts_of_each_operation_that_it_permits_or_denies_otherwise() {
    let with_shadow = |shadow: &'static str| Setup { shadow: Some(shadow), ..Setup::new() };
    let opposite = r#"permit (principal, action in Graphql::Action::"field", resource);"#;
    let same = r#"
permit (principal, action in Graphql::Action::"execute", resource);
permit (principal, action in Graphql::Action::"field", resource == Graphql::Field::"api/Query.a");
permit (principal, action in Graphql::Action::"policy", resource == Graphql::Policy::"api/yes");
forbid (principal, action in Graphql::Action::"field", resource == Graphql::Field::"api/Query.b");"#;
    let tightened = (Reason::Permitted, "Graphql::Operation::\"api/Q\"");
    let loosened = (Reason::NoPermit, "Graphql::Field::\"api/Query.b\"");
    for (shadow, batch, expected) in [
        (opposite, 1, vec![tightened, loosened]),
        (opposite, 2, vec![tightened, loosened, tightened, loosened]),
        (same, 2, vec![]),
    ] {
        let setup = with_shadow(shadow);
        let pdp = setup.pdp();
        let mut asked = query(EVERYTHING, &["yes", "no"]);
        let one = asked.asked.clone().unwrap();
        asked.asked = Ok(Asked { items: vec![one.items; batch].concat(), batch: batch > 1 });
        pdp.decide_whole(&pdp.snapshot(), &asked, Some(&nothing), Duration::MAX).await;
        let mut events = shadow_events(&setup, &pdp, &[]).await;
        // As they were found, and not as the log is read.
        events.sort_by_key(|(reason, ..)| *reason != Reason::Permitted);
        let mut expected = expected;
        expected.sort_by_key(|(reason, _)| *reason != Reason::Permitted);
        let told: Vec<(Reason, &str)> =
            events.iter().map(|(reason, _, target, _)| (*reason, target.as_str())).collect();
        assert_eq!(told, expected);
        assert!(events.iter().all(|(reason, shadow, ..)| {
            (*reason == Reason::Permitted) != (*shadow == Reason::Permitted)
        }));
    }
}
