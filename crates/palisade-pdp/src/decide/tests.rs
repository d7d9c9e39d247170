//! Every way a decision can fail is a recorded denial. Tokens are tested where they are decoded and verified; here an
//! anonymous caller reaches the policies, so that what fails is the decision point itself.

use std::collections::BTreeSet;

use palisade_audit::{AuditSettings, Durability, Event, OnFull, Record, query};
use palisade_model::{
    Action, Arguments, Asked, Credential, InnerCall, ManualClock, PolicyRevision, RawToken, ResourceName,
    Surface, Target, ToolForm,
};
use palisade_policy::{OnError, Policies, SourceFile, Sources, Tool, World, WorldResource};
use palisade_token::{IssuerSettings, KeySource, Verifier};
use tempfile::TempDir;

use super::*;
use crate::{
    Askers, DenialForm, ItemOutcome, Kind, Limits, Metadata, Pep, PepAuth, Peps, Presented, RateLimits,
    Resources, Routes, ScopeSettings, StaticHeader, UpstreamToken,
};

mod limits;
mod operations;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_700_000_000);
const POLICIES: &str = r#"
@id("open") permit (principal, action in Mcp::Action::"tools/call", resource == Mcp::Tool::"files/open");
@id("any") permit (principal, action in Mcp::Action::"tools/call", resource == Mcp::Tool::"files/any");
@id("exchange") permit (principal, action == OAuth::Action::"exchange", resource);
@id("operate") permit (principal, action in Graphql::Action::"execute", resource in Graphql::Graph::"api")
when { resource.depth <= 3 };
@id("field") permit (principal, action in Graphql::Action::"field", resource == Graphql::Field::"api/Query.a");
@id("name") permit (principal, action in Graphql::Action::"policy", resource == Graphql::Policy::"api/yes");
@id("some") permit (principal is User, action in Graphql::Action::"policy", resource == Graphql::Policy::"api/no");
@id("never") forbid (principal, action in Mcp::Action::"tools/call", resource == Mcp::Tool::"files/shut");
"#;

struct Setup {
    folder: TempDir,
    limits: Limits,
    most_concurrent: usize,
    observe_until: Option<Timestamp>,
    rate_limits: RateLimits,
    clock: Arc<ManualClock>,
    shadow: Option<&'static str>,
    local: Pep,
    upstream_token: UpstreamToken,
    exchanges: crate::Exchanges,
}

impl Setup {
    fn new() -> Self {
        palisade_token::install_crypto_provider();
        Self {
            folder: tempfile::tempdir().unwrap(),
            limits: Limits { deadline: Duration::from_secs(5), ..Limits::default() },
            most_concurrent: 8,
            observe_until: None,
            rate_limits: RateLimits::default(),
            clock: Arc::new(ManualClock::at(NOW)),
            shadow: None,
            local: Pep::local("local".parse().unwrap()),
            upstream_token: UpstreamToken::Strip,
            exchanges: Default::default(),
        }
    }

    fn resource(&self) -> Resource {
        let (name_at, arguments) = ("/tool".to_owned(), Some("/with".to_owned()));
        let form = ToolForm { calls: Some(InnerCall { name: name_at, arguments }), ..ToolForm::default() };
        Resource {
            name: "files".parse().unwrap(),
            identifier: "https://files.example.com".to_owned(),
            kind: Kind::Mcp,
            issuers: vec!["corp".parse().unwrap()],
            audiences: BTreeSet::from(["https://files.example.com".into()]),
            any_audience: false,
            metadata: Metadata::default(),
            scopes: ScopeSettings::default(),
            acr_values: Vec::new(),
            max_age: Vec::new(),
            tools: std::collections::BTreeMap::from([("any".to_owned(), form)]),
            routes: Routes::default(),
            anonymous: BTreeSet::from(["tools/call".to_owned()]),
            step_up: true,
            list: Default::default(),
            denial_form: DenialForm::Http,
            cors_origins: BTreeSet::new(),
            upstream_token: self.upstream_token.clone(),
            observe_until: self.observe_until,
            rate_limits: self.rate_limits,
            static_tokens: Default::default(),
            grammar: Default::default(),
        }
    }

    fn pdp(&self) -> Pdp {
        let tool = |name: &str| Tool { name: name.to_owned(), ..Tool::default() };
        let world = WorldResource {
            name: "files".parse().unwrap(),
            kind: Kind::Mcp,
            identifier: "https://files.example.com".to_owned(),
            tools: vec![tool("open"), tool("shut"), tool("any")],
            routes: Vec::new(),
            graph: None,
        };
        let exchange = |exchange: &Arc<crate::Exchange>| palisade_policy::WorldExchange {
            name: exchange.name.clone(),
            audience: exchange.audience.clone(),
            resources: BTreeSet::new(),
        };
        let exchanges = self.exchanges.values().map(exchange).collect();
        let world = World { resources: vec![world, operations::in_world()], exchanges };
        let load = |text: &str| {
            let sources = Sources { policies: vec![SourceFile::new("p.cedar", text)], ..Sources::default() };
            Policies::load(&sources, &world, OnError::Forbid).unwrap()
        };
        let resource = self.resource();
        let mut issuer = IssuerSettings::new("corp".parse().unwrap(), "https://corp.example.com".into());
        issuer.keys = KeySource::Inline(include_str!("test-keys.json").to_owned());
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let settings = AuditSettings {
            path: self.folder.path().join("audit"),
            durability: Durability::Written,
            on_full: OnFull::Deny,
            quota: AuditSettings::MIN_QUOTA,
            otlp: None,
        };
        Pdp::new(PdpSettings {
            snapshot: Snapshot {
                revision: PolicyRevision::from("r1"),
                source: "test".to_owned(),
                policies: Arc::new(load(POLICIES)),
                shadow: self.shadow.map(|text| Arc::new(load(text))),
                resources: Resources::new([(resource, Vec::new()), (operations::resource(self), Vec::new())])
                    .unwrap(),
                peps: Peps::new([(self.local.clone(), PepAuth::Loopback)]),
                verifier: Arc::new(Verifier::new(vec![issuer], 16 * 1024, Arc::clone(&clock)).unwrap()),
                limits: self.limits,
                exchanges: self.exchanges.clone(),
                sts: None,
                askers: Askers::default(),
                handle_keys: Default::default(),
                shared_counts: None,
            },
            audit: AuditLog::open(settings, Arc::clone(&clock)).unwrap(),
            clock,
            most_concurrent: self.most_concurrent,
        })
    }

    /// The decisions on the record, each with its count.
    fn recorded(&self) -> Vec<(Reason, u64)> {
        let mut found = Vec::new();
        query::run(&self.folder.path().join("audit"), &query::Filter::default(), |record| {
            if let Record::Decision(decision) = record {
                found.push((decision.reason, decision.count));
            }
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        found
    }
}

fn request(tools: &[&str]) -> AccessRequest {
    let resource: ResourceName = "files".parse().unwrap();
    let item = |tool: &&str| Item {
        action: Action::mcp("tools/call"),
        target: Target::mcp_tool(&resource, tool),
        arguments: Some(Arc::default()),
        supplied: palisade_model::Properties::default(),
        known: Default::default(),
        reply_to: None,
    };
    AccessRequest {
        pep: "local".parse().ok(),
        surface: Surface::ExtAuthz,
        asked: Ok(Asked { items: tools.iter().map(item).collect(), batch: tools.len() != 1 }),
        resource: Some(resource),
        credential: Credential::Absent,
        sent: None,
        handles: Vec::new(),
        client_ip: None,
        host: None,
        path: None,
        request_id: None,
        trace: None,
    }
}

async fn decide(setup: &Setup, request: &AccessRequest) -> Decision {
    let pdp = setup.pdp();
    let decision = pdp.decide(&pdp.snapshot(), request).await;
    pdp.audit().shutdown().await;
    decision
}

/// What a request comes out as, having checked that the record says the same.
async fn reason(setup: &Setup, request: &AccessRequest) -> Reason {
    let decision = decide(setup, request).await;
    let reason = decision.reason();
    assert_eq!(matches!(decision, Decision::Permit(_)), reason == Reason::Permitted);
    assert_eq!(setup.recorded(), [(reason, 1)]);
    reason
}

mod exchanges;

#[tokio::test]
async fn a_batch_is_permitted_only_if_every_item_is() {
    assert_eq!(reason(&Setup::new(), &request(&["open"])).await, Reason::Permitted);
    assert_eq!(reason(&Setup::new(), &request(&["open", "open"])).await, Reason::Permitted);
    assert_eq!(reason(&Setup::new(), &request(&["open", "shut"])).await, Reason::Forbidden);
    assert_eq!(reason(&Setup::new(), &request(&["shut", "open"])).await, Reason::Forbidden);
    assert_eq!(reason(&Setup::new(), &request(&["open", "other"])).await, Reason::NoPermit);
}

#[tokio::test]
async fn nothing_asked_and_too_much_asked_are_denied() {
    let anonymous_needs_items = reason(&Setup::new(), &request(&[])).await;
    assert_eq!(anonymous_needs_items, Reason::NoCredentials);
    assert_eq!(reason(&Setup::new(), &request(&["open"; 51])).await, Reason::RequestMalformed);
}

#[tokio::test]
async fn callers_and_resources_that_nobody_knows_are_denied() {
    let stranger = AccessRequest { pep: None, ..request(&["open"]) };
    assert_eq!(reason(&Setup::new(), &stranger).await, Reason::PepUnauthenticated);
    let unconfigured = AccessRequest { pep: "edge".parse().ok(), ..request(&["open"]) };
    assert_eq!(reason(&Setup::new(), &unconfigured).await, Reason::PepUnauthenticated);
    let nowhere = AccessRequest { resource: None, ..request(&["open"]) };
    assert_eq!(reason(&Setup::new(), &nowhere).await, Reason::ResourceUnknown);
    let not_its_entry = AccessRequest { surface: Surface::Verify, ..request(&["open"]) };
    assert_eq!(reason(&Setup::new(), &not_its_entry).await, Reason::PepNotAllowed);
}

#[tokio::test]
async fn the_unnamed_caller_is_handed_no_credential() {
    let header = StaticHeader { name: "x-api-key".to_owned(), value: "secret".to_owned().into() };
    for upstream_token in
        [UpstreamToken::Static(Arc::new(header)), UpstreamToken::Exchange("orders".parse().unwrap())]
    {
        let token = AccessRequest { credential: Credential::Token(RawToken::new("x")), ..request(&["open"]) };
        for asked in [request(&["open"]), token] {
            let setup = Setup { upstream_token: upstream_token.clone(), ..Setup::new() };
            assert_eq!(reason(&setup, &asked).await, Reason::PepNotAllowed);
            // Asked for a decision alone, it is handed none.
            let setup = Setup { upstream_token: upstream_token.clone(), ..Setup::new() };
            let alone = AccessRequest { surface: Surface::Decide, ..asked };
            assert_ne!(reason(&setup, &alone).await, Reason::PepNotAllowed);
        }
    }
}

#[tokio::test]
async fn a_bad_credential_never_becomes_an_anonymous_caller() {
    let token = AccessRequest { credential: Credential::Token(RawToken::new("x")), ..request(&["open"]) };
    assert_eq!(reason(&Setup::new(), &token).await, Reason::TokenMalformed);
    let refusal = Refusal::new(Reason::RequestMalformed, "two credentials");
    let unusable = AccessRequest { credential: Credential::Unusable(refusal), ..request(&["open"]) };
    assert_eq!(reason(&Setup::new(), &unusable).await, Reason::RequestMalformed);
}

#[tokio::test]
async fn a_decision_past_its_deadline_is_a_recorded_denial() {
    let mut setup = Setup::new();
    setup.limits.deadline = Duration::ZERO;
    assert_eq!(reason(&setup, &request(&["open"])).await, Reason::DeadlineExceeded);
}

#[tokio::test]
async fn a_decision_beyond_what_may_run_at_once_is_shed() {
    let mut setup = Setup::new();
    setup.most_concurrent = 0;
    assert_eq!(reason(&setup, &request(&["open"])).await, Reason::Overloaded);
}

#[tokio::test]
async fn a_panic_an_endless_wait_and_a_late_permit_are_refusals() {
    let soon = || Instant::now() + Duration::from_millis(50);
    let reason = |result: Result<Outcome, Refusal>| result.map_err(|refusal| refusal.reason);
    assert_eq!(reason(within(soon(), async { panic!("a defect") }).await), Err(Reason::InternalError));
    assert_eq!(reason(within(soon(), std::future::pending()).await), Err(Reason::DeadlineExceeded));
    let late = async {
        std::thread::sleep(Duration::from_millis(60));
        Ok(Outcome::Permit)
    };
    assert_eq!(reason(within(soon(), late).await), Err(Reason::DeadlineExceeded));
    assert_eq!(reason(within(soon(), async { Ok(Outcome::Permit) }).await), Ok(Outcome::Permit));
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_permitted() {
    let setup = Setup::new();
    let pdp = setup.pdp();
    pdp.audit().shutdown().await;
    let decision = pdp.decide(&pdp.snapshot(), &request(&["open"])).await;
    assert!(matches!(decision, Decision::Deny(_)));
    assert_eq!(decision.reason(), Reason::AuditUnavailable);
    let denied = pdp.decide(&pdp.snapshot(), &request(&["shut"])).await;
    assert_eq!(denied.reason(), Reason::Forbidden);
}

#[tokio::test]
async fn an_observation_ends_on_its_date_and_is_no_permit() {
    let mut setup = Setup::new();
    setup.observe_until = Some(NOW.plus(Duration::from_secs(1)));
    let observed = decide(&setup, &request(&["shut"])).await;
    assert!(matches!(&observed, Decision::Observed(observed) if observed.would_be() == Reason::Forbidden));
    assert_eq!(setup.recorded(), [(Reason::Observed, 1)]);
    let mut over = Setup::new();
    over.observe_until = Some(NOW);
    assert_eq!(reason(&over, &request(&["shut"])).await, Reason::Forbidden);
    let stranger = AccessRequest { pep: None, ..request(&["shut"]) };
    assert_eq!(
        decide(&setup, &stranger).await.reason(),
        Reason::PepUnauthenticated,
        "only policy denials are observed"
    );
}

/// How the items of a request came out, where any may be let by; and the reason of the whole.
async fn items(pdp: &Pdp, request: &AccessRequest, patience: Duration) -> (Reason, Vec<ItemOutcome>) {
    let (decision, findings) = pdp.decide_and_explain(&pdp.snapshot(), request, patience).await;
    (decision.reason(), findings.items().map(|finding| finding.outcome).collect())
}

#[tokio::test]
async fn items_are_let_by_only_by_what_is_on_the_record() {
    let (setup, patience) = (Setup::new(), Duration::from_secs(5));
    let pdp = setup.pdp();
    let both = request(&["open", "open"]);
    let permitted = (Reason::Permitted, vec![ItemOutcome::Permit; 2]);
    assert_eq!(items(&pdp, &both, patience).await, permitted);
    // Denials of anonymous callers are counted, so nothing of them can be let by.
    let mixed = request(&["open", "shut"]);
    assert_eq!(items(&pdp, &mixed, patience).await, (Reason::Forbidden, Vec::new()));
    assert_eq!(items(&pdp, &both, Duration::ZERO).await, (Reason::DeadlineExceeded, Vec::new()));
    let stranger = AccessRequest { pep: None, ..both.clone() };
    assert_eq!(items(&pdp, &stranger, patience).await, (Reason::PepUnauthenticated, Vec::new()));
    pdp.audit().shutdown().await;
    assert_eq!(items(&pdp, &both, patience).await, (Reason::AuditUnavailable, Vec::new()));

    let mut watched = Setup::new();
    watched.observe_until = Some(NOW.plus(Duration::from_secs(1)));
    let observed = (Reason::Observed, vec![ItemOutcome::Permit, ItemOutcome::Observed]);
    assert_eq!(items(&watched.pdp(), &mixed, patience).await, observed);
}

#[tokio::test]
async fn a_caller_is_told_what_the_policies_said_of_the_item_that_decided() {
    let pdp = Setup::new().pdp();
    let patience = Duration::from_secs(5);
    let mixed = request(&["open", "shut", "other"]);
    let (_, findings) = pdp.decide_and_explain(&pdp.snapshot(), &mixed, patience).await;
    let deciding = findings.deciding().unwrap();
    assert_eq!(deciding.determining().iter().map(|policy| policy.id.as_str()).collect::<Vec<_>>(), ["never"]);
    assert_eq!(findings.detail(), None);
    let (_, findings) = pdp.decide_and_explain(&pdp.snapshot(), &request(&["open"; 51]), patience).await;
    assert_eq!(findings.detail(), Some("the batch is empty or has too many items"));
    assert!(findings.deciding().is_none());
}

#[tokio::test]
async fn who_may_not_verify_is_told_so_before_the_token_is_looked_at() {
    let (local, files) = ("local".parse().unwrap(), "files".parse().unwrap());
    let ask = async |setup: &Setup, pep, resource| {
        let pdp = setup.pdp();
        let presented = Presented { pep, resource, token: &RawToken::new("x") };
        let refusal = pdp.verify(&pdp.snapshot(), &presented, Duration::from_secs(5)).await.unwrap_err();
        pdp.audit().shutdown().await;
        assert_eq!(setup.recorded(), [], "it is no decision");
        refusal.reason
    };
    let setup = Setup::new();
    assert_eq!(ask(&setup, None, Some(&files)).await, Reason::PepUnauthenticated);
    assert_eq!(ask(&setup, Some(&local), None).await, Reason::PepNotAllowed);
    assert_eq!(ask(&setup, Some(&local), Some(&files)).await, Reason::PepNotAllowed);
    let mut verifies = Setup::new();
    verifies.local.surfaces.insert(Surface::Verify);
    assert_eq!(ask(&verifies, Some(&local), None).await, Reason::ResourceUnknown);
    assert_eq!(ask(&verifies, Some(&local), Some(&files)).await, Reason::TokenMalformed);
    verifies.most_concurrent = 0;
    assert_eq!(ask(&verifies, Some(&local), Some(&files)).await, Reason::Overloaded);
}

/// The events that say how the shadow would have answered, once the queue is through.
async fn shadow_events(
    setup: &Setup,
    pdp: &Pdp,
    asked: &[AccessRequest],
) -> Vec<(Reason, Reason, String, u64)> {
    for request in asked {
        pdp.decide(&pdp.snapshot(), request).await;
    }
    pdp.shadow.settled().await;
    pdp.audit().shutdown().await;
    let mut found = Vec::new();
    query::run(&setup.folder.path().join("audit"), &query::Filter::default(), |record| {
        if let Record::Event(event) = record
            && let Event::ShadowDiffers { reason, shadow_reason, target, shadow_policies, .. } = event.event
        {
            found.push((reason, shadow_reason, target, shadow_policies.count));
        }
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    found
}

#[tokio::test]
async fn a_shadow_changes_no_answer_and_its_differences_are_recorded() {
    let mut setup = Setup::new();
    setup.shadow = Some(
        "@id(\"open\") permit (principal, action in Mcp::Action::\"tools/call\", resource == Mcp::Tool::\"files/shut\");",
    );
    let asked = [request(&["open"]), request(&["shut"]), request(&["open", "shut"]), request(&["other"])];
    let reasons = [Reason::Permitted, Reason::Forbidden, Reason::Forbidden, Reason::NoPermit];
    let pdp = setup.pdp();
    for (request, expected) in asked.iter().zip(reasons) {
        assert_eq!(pdp.decide(&pdp.snapshot(), request).await.reason(), expected);
    }
    let mut events = shadow_events(&setup, &pdp, &[]).await;
    events.sort_by(|left, right| left.2.cmp(&right.2));
    let (open, shut) = ("Mcp::Tool::\"files/open\"".to_owned(), "Mcp::Tool::\"files/shut\"".to_owned());
    let opened = (Reason::Permitted, Reason::NoPermit, open, 0);
    let closed = (Reason::Forbidden, Reason::Permitted, shut, 1);
    assert_eq!(events, [opened.clone(), opened, closed.clone(), closed]);
}

#[tokio::test]
async fn what_the_policies_were_not_asked_the_shadow_is_not_asked_either() {
    let mut setup = Setup::new();
    setup.shadow = Some("@id(\"all\") permit (principal, action, resource);");
    let stranger = AccessRequest { pep: None, ..request(&["open"]) };
    let forged = AccessRequest { credential: Credential::Token(RawToken::new("x")), ..request(&["shut"]) };
    let pdp = setup.pdp();
    assert_eq!(shadow_events(&setup, &pdp, &[stranger, forged, request(&["open"; 51])]).await, []);
}

#[tokio::test]
async fn a_flood_of_differences_is_bounded() {
    let mut setup = Setup::new();
    setup.shadow = Some("@id(\"none\") forbid (principal, action, resource);");
    let pdp = setup.pdp();
    let asked: Vec<AccessRequest> = (0..200).map(|_| request(&["open"])).collect();
    // The clock stands still: all of this is one second.
    assert_eq!(shadow_events(&setup, &pdp, &asked).await.len(), 50);
}

fn asserted(subject: palisade_model::Subject, tools: &[&str]) -> AccessRequest {
    AccessRequest { credential: Credential::AssertedByPep(subject), ..request(tools) }
}

#[tokio::test]
async fn a_subject_is_asserted_only_by_who_may_assert_its_type() {
    let alice = || palisade_model::Subject::named("User", "corp/alice");
    let robot = || palisade_model::Subject::named("Client", "corp/robot");
    let nobody = || palisade_model::Subject::named("Spaceship", "x");
    assert_eq!(reason(&Setup::new(), &asserted(alice(), &["open"])).await, Reason::PepNotAllowed);
    let may = || {
        let mut setup = Setup::new();
        setup.local.asserts = BTreeSet::from(["User".to_owned()]);
        setup
    };
    assert_eq!(reason(&may(), &asserted(alice(), &["open"])).await, Reason::Permitted);
    assert_eq!(reason(&may(), &asserted(alice(), &["shut"])).await, Reason::Forbidden);
    assert_eq!(reason(&may(), &asserted(robot(), &["open"])).await, Reason::PepNotAllowed);
    assert_eq!(reason(&may(), &asserted(nobody(), &["open"])).await, Reason::SubjectUnknown);
}

#[tokio::test]
async fn nothing_of_an_asserted_subject_counts_but_its_name_and_what_may_be_supplied() {
    let mut setup = Setup::new();
    setup.local.asserts = BTreeSet::from(["User".to_owned()]);
    let alice = palisade_model::Subject {
        roles: BTreeSet::from(["corp/admin".to_owned()]),
        groups: BTreeSet::from(["corp/staff".to_owned()]),
        tenant: Some("corp/acme".to_owned()),
        ..palisade_model::Subject::named("User", "corp/alice")
    };
    let pdp = setup.pdp();
    let decision = pdp.decide(&pdp.snapshot(), &asserted(alice, &["open"])).await;
    let Decision::Permit(permit) = decision else { panic!("{decision:?}") };
    assert!(permit.subject().parents().is_empty(), "{:?}", permit.subject());
    assert!(permit.authority().is_none());
}

#[tokio::test]
async fn a_search_without_its_record_has_no_answer() {
    let mut setup = Setup::new();
    setup.local.surfaces.insert(Surface::Search);
    setup.local.asserts = BTreeSet::from(["User".to_owned()]);
    let search = |setup: &Setup| {
        let alice = palisade_model::Subject::named("User", "corp/alice");
        let pdp = setup.pdp();
        let request = crate::SearchRequest {
            access: AccessRequest { surface: Surface::Decide, ..asserted(alice, &["open"]) },
            sought: crate::Sought::Targets(None),
            any_arguments: true,
            limit: None,
            token: None,
        };
        (pdp, request)
    };
    let long = Duration::from_secs(5);
    let (pdp, request) = search(&setup);
    let found = pdp.search(&pdp.snapshot(), &request, long).await;
    let crate::Searched::Found(page) = found else { panic!("{found:?}") };
    let tool = |id: &str| Target { type_name: "Mcp::Tool".to_owned(), id: id.to_owned() };
    let both = vec![tool("files/any"), tool("files/open")];
    assert_eq!((page.results, page.next), (crate::Results::Targets(both), None));
    let refused = async |pdp: &Pdp, request: &crate::SearchRequest, patience| match pdp
        .search(&pdp.snapshot(), request, patience)
        .await
    {
        crate::Searched::Found(page) => panic!("{page:?}"),
        crate::Searched::Refused(_, reason) => reason,
    };
    assert_eq!(refused(&pdp, &request, Duration::ZERO).await, Reason::DeadlineExceeded);
    let local = Pep::local("local".parse().unwrap());
    let (unable, request_of_it) = search(&Setup { local, ..Setup::new() });
    assert_eq!(refused(&unable, &request_of_it, long).await, Reason::PepNotAllowed);
    pdp.audit().shutdown().await;
    assert_eq!(refused(&pdp, &request, long).await, Reason::AuditUnavailable);
}

#[tokio::test]
async fn a_tool_that_calls_another_is_decided_on_as_the_call_of_both() {
    let setup = Setup::new();
    let pdp = setup.pdp();
    let with = |arguments: serde_json::Value| {
        let mut request = request(&["any"]);
        let item = &mut request.asked.as_mut().unwrap().items[0];
        item.arguments = Some(Arc::new(Arguments::from_json(&arguments).unwrap()));
        request
    };
    let nested = |depth: usize| {
        let innermost = serde_json::json!({ "tool": "open" });
        (1..depth).fold(innermost, |inner, _| serde_json::json!({ "tool": "any", "with": inner }))
    };
    for (arguments, reason) in [
        (serde_json::json!({ "tool": "open" }), Reason::Permitted),
        (serde_json::json!({ "tool": "open", "with": { "a": 1 } }), Reason::Permitted),
        (serde_json::json!({ "tool": "ANY", "with": { "tool": "open" } }), Reason::ArgumentsInvalid),
        (serde_json::json!({ "tool": "shut" }), Reason::Forbidden),
        (serde_json::json!({ "tool": "other" }), Reason::NoPermit),
        (serde_json::json!({ "tool": "any", "with": { "tool": "shut" } }), Reason::Forbidden),
        (nested(4), Reason::Permitted),
        (nested(5), Reason::ArgumentsInvalid),
        (serde_json::json!({}), Reason::ArgumentsInvalid),
        (serde_json::json!({ "tool": 1 }), Reason::ArgumentsInvalid),
        (serde_json::json!({ "tool": "" }), Reason::ArgumentsInvalid),
        (serde_json::json!({ "tool": "open", "with": 1 }), Reason::ArgumentsInvalid),
        (serde_json::json!({ "tool": "open", "with": "{\"a\":1}" }), Reason::ArgumentsInvalid),
    ] {
        let (decision, findings) =
            pdp.decide_and_explain(&pdp.snapshot(), &with(arguments.clone()), Duration::MAX).await;
        let (permitted, told) = match &decision {
            Decision::Permit(_) => (true, Reason::Permitted),
            Decision::Observed(_) => panic!("{arguments}"),
            Decision::Deny(denial) => (false, denial.reason),
        };
        assert_eq!(told, reason, "{arguments}");
        let let_by = findings.items().any(|item| item.outcome == ItemOutcome::Permit);
        assert_eq!(let_by, permitted, "{arguments}");
    }
    // Arguments that nobody has read say nothing of the call inside.
    let Decision::Deny(denial) = pdp.decide(&pdp.snapshot(), &request(&["any"])).await else { panic!() };
    assert_eq!(denial.reason, Reason::ArgumentsInvalid);
}
