//! GraphQL behind ext_authz: what is denied however it is written, what the schema's directives and the policies make of an
//! operation, and what is on the record.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use palisade_audit::{DecisionRecord, Outcome};
use palisade_call::{Graph, Introspection, WholeOrPart};
use palisade_graphql::{Manifest, Schema};
use palisade_model::{AccessRequest, Action, Asked, Item, Reason, Scope, Scopes, Target};
use palisade_pdp::{
    Decision, Grammar, Granted, Kind, Parted, Place, RateLimits, Rates, Resource, Resources, Upstream,
};
use palisade_policy::{WorldGraph, WorldResource};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::fixture::*;

pub(super) const POLICIES: &str = include_str!("../../../../policies/graphql-fields/policy.cedar");
/// Nothing is permitted there but the operation itself; and all of it where it is only counted, or outlined.
pub(super) const TRIAL: &str = r#"
@id("trial") permit (principal, action in Graphql::Action::"execute", resource in Graphql::Graph::"trial");
@id("counted") permit (principal, action in [Graphql::Action::"execute", Graphql::Action::"field"], resource in Graphql::Graph::"counted");
@id("billed") permit (principal, action in [Graphql::Action::"execute", Graphql::Action::"field"], resource in Graphql::Graph::"billed");
@id("outlined") permit (principal, action, resource in Graphql::Graph::"outlined");
@id("outlined-named") forbid (principal, action in Graphql::Action::"execute", resource in Graphql::Graph::"outlined")
unless { resource has name && resource.depth <= 3 };
@id("outlined-pages") forbid (principal, action == Graphql::Action::"field", resource == Graphql::Field::"outlined/Query.orders")
unless { context.args.number.hasTag("/first") };
@id("outlined-me") forbid (principal, action == Graphql::Action::"field", resource == Graphql::Field::"outlined/Query.me")
unless { context.args.number.hasTag("/first") };
"#;
const SDL: &str = include_str!("../../../../policies/graphql-fields/schema.graphql");
/// Beside what the set's schema has.
const MORE: &str = r#"
extend type Query { node: Node, found: [Found], odd: String @policy(policies: [["nobody_knows"]]) }
interface Node { id: ID!, owner(of: String): String }
interface Gate @requiresScopes(scopes: [["gate"]]) { products: [Product!]! }
extend type Query implements Gate
type Vault implements Node { id: ID! @tag(name: "pii"), owner(of: String): String }
extend type Customer implements Node { orders: [Order!], owner(of: String): String }
union Found = Customer | Product
extend type Mutation { ping: Boolean }
type Subscription { orders: Order }
"#;
/// Four levels, which are for documents of the manifest.
const LISTED: &str = "query Listed { orders { customer { orders { id } email } } }";

fn schema() -> Schema {
    Schema::load(&format!("{SDL}{MORE}")).unwrap()
}

fn hash(document: &str) -> String {
    hex::encode(Sha256::digest(document.as_bytes()))
}

pub(super) fn in_world(name: &str) -> WorldResource {
    let schema = schema();
    let elements = schema.elements().map(|(at, element)| (at.to_string(), element.labels.clone())).collect();
    let policies = schema.policies().into_keys().collect();
    WorldResource {
        name: name.parse().unwrap(),
        kind: Kind::Graphql,
        identifier: format!("https://{name}.example.com/graphql"),
        tools: Vec::new(),
        routes: Vec::new(),
        graph: Some(WorldGraph { elements, policies, ..WorldGraph::default() }),
    }
}

pub(super) fn resource(name: &str) -> Resource {
    showing(name, Introspection::Whole)
}

/// One whose introspection is answered with what its caller may see, where it can be.
pub(super) fn outlined() -> Resource {
    let anonymous = ["query", "introspect"].map(str::to_owned).into();
    let plain = showing("outlined", Introspection::Permitted);
    Resource { anonymous, grammar: plain.grammar.clone().answering_introspection(), ..plain }
}

fn showing(name: &str, introspection: Introspection) -> Resource {
    // Who cannot send on what is left denies whole, whatever is configured.
    let operations = WholeOrPart::Part;
    let documents = Manifest::of([LISTED]);
    let graph = Graph { schema: schema(), documents, operations, introspection };
    let plain = super::fixture::resource(name, Kind::Graphql);
    let scope = |text: &str| text.parse::<Scope>().unwrap();
    let mut scopes = plain.scopes.clone();
    scopes.step_up = vec![scope("profile:pii:read")];
    scopes.implies = BTreeMap::from([(scope("customers:admin"), vec![scope("customers:read")])]);
    Resource {
        scopes,
        anonymous: BTreeSet::from(["query".to_owned()]),
        grammar: Grammar::new(graph),
        ..plain
    }
}

/// One of which a subject may have three calls a minute.
pub(super) fn counted() -> Resource {
    let subject = Some(Rates { calls: 3, reads: 5 });
    let rate_limits = RateLimits { subject, ..RateLimits::default() };
    Resource { rate_limits, ..resource("counted") }
}

#[test]
fn an_api_answers_at_its_own_path_and_nowhere_below_it() {
    let api = resource("shop");
    let at = Place::At { host: "shop.example.com".to_owned(), path: "/graphql".to_owned() };
    let resources = Resources::new([(api, vec![at])]).unwrap();
    for (path, found) in [
        ("/graphql", true),
        ("/graphql/", true),
        ("/graphql/admin/reset", false),
        ("/graphqlx", false),
        ("/", false),
    ] {
        assert_eq!(resources.at("shop.example.com", path).is_some(), found, "{path}");
    }
}

fn post(body: &Value) -> Check {
    Check::new("storefront", "POST", "/graphql")
        .header("content-type", "application/json")
        .body(&body.to_string())
}

fn query(document: &str) -> Check {
    post(&json!({ "query": document }))
}

fn with(check: Check, scopes: &str) -> Check {
    check.header("authorization", &format!("Bearer {}", token("storefront", json!({ "scope": scopes }))))
}

fn get(parameters: &str) -> Check {
    Check::new("storefront", "GET", &format!("/graphql?{parameters}"))
}

/// The reason of the answer, which the record must have, too.
async fn decided(check: Check) -> (String, DecisionRecord) {
    let fixture = fixture();
    let response = check.answer(&fixture).await;
    let reason = reason(&response);
    assert_eq!(code(&response) == 0, matches!(&*reason, "permitted"), "{}", show(&response));
    let recorded = fixture.recorded().await;
    assert_eq!(recorded.reason.as_str(), reason);
    (reason, recorded)
}

async fn outcome(check: Check) -> String {
    decided(check).await.0
}

#[tokio::test]
async fn an_operation_that_is_granted_whole_is_let_by() {
    for check in [
        query("{ products { name price } }"),
        query("mutation { ping }"),
        query("subscription { orders { id } }"),
        post(
            &json!({ "query": "query A { products { name } } query B { me { email } }", "operationName": "A" }),
        ),
        post(&json!({ "query": "query($n: Int!) { orders(first: $n) { id } }", "variables": { "n": 100 } })),
        post(&json!([{ "query": "{ products { name } }" }, { "query": "{ orders { id } }" }])),
        get("query=%7B%20products%20%7B%20name%20%7D%20%7D"),
    ] {
        assert_eq!(outcome(with(check, "")).await, "permitted");
    }
    let pii = "{ me { id email } }";
    assert_eq!(outcome(with(query(pii), "profile:pii:read")).await, "permitted");
}

/// What nobody decides on is let by in no form.
#[test]
fn what_cannot_be_read_in_one_way_is_refused() {
    let document = "{ products { name } }";
    let persisted = |hash: &str| json!({ "persistedQuery": { "version": 1, "sha256Hash": hash } });
    let unknown = persisted(&hash("{ me { id } }"));
    let encoded = "query=mutation%7Bping%7D";
    let four: Vec<Value> = (0..4).map(|_| json!({ "query": document })).collect();
    let multipart = Check::new("storefront", "POST", "/graphql")
        .header("content-type", "multipart/form-data; boundary=x")
        .body("--x\r\n\r\n--x--");
    let form = Check::new("storefront", "POST", "/graphql")
        .header("content-type", "application/x-www-form-urlencoded")
        .body("query=%7Bproducts%7Bname%7D%7D");
    let twice = Check::new("storefront", "POST", "/graphql")
        .header("content-type", "application/json")
        .body(r#"{"query": "{ products { name } }", "query": "{ me { email } }"}"#);
    let upgrade = get("query=%7Bproducts%7Bname%7D%7D").header("upgrade", "websocket");
    for (check, reason) in [
        (post(&json!({ "extensions": unknown })), Reason::TargetUnknown),
        (post(&json!({ "query": document, "extensions": unknown })), Reason::RequestMalformed),
        (query("query A { products { name } } query B { me { email } }"), Reason::RequestMalformed),
        (
            post(&json!({ "query": "query A { orders { id } }", "operationName": "B" })),
            Reason::RequestMalformed,
        ),
        (post(&json!(four)), Reason::RequestMalformed),
        (post(&json!([])), Reason::RequestMalformed),
        (multipart, Reason::RequestMalformed),
        (form, Reason::RequestMalformed),
        (twice, Reason::RequestMalformed),
        (upgrade, Reason::MethodUnknown),
        (get(encoded), Reason::MethodUnknown),
        (get("query=subscription%7Borders%7Bid%7D%7D"), Reason::MethodUnknown),
        (Check::new("storefront", "CONNECT", "/graphql"), Reason::MethodUnknown),
        (Check::new("storefront", "PUT", "/graphql").body("{}"), Reason::MethodUnknown),
        (query(document).path("/graphql?query=%7Bme%7Bemail%7D%7D"), Reason::RequestMalformed),
        (get("query=%7Bproducts%7Bname%7D%7D").body("{}"), Reason::RequestMalformed),
        (get("query=%7Bproducts%7Bname%7D%7D&query=%7Bme%7Bid%7D%7D"), Reason::RequestMalformed),
        (query(document).header("content-encoding", "gzip"), Reason::RequestMalformed),
        (query(document).raw_header("content-type", b"application/json"), Reason::RequestMalformed),
        (query(document).header("x-envoy-auth-partial-body", "true"), Reason::RequestTruncated),
        (Check::new("storefront", "POST", "/graphql"), Reason::RequestMalformed),
        (query("{ products { nothing } }"), Reason::TargetUnknown),
        (query("{ products { name }"), Reason::RequestMalformed),
        (query("query($n: Int!) { orders(first: $n) { id } }"), Reason::ArgumentsInvalid),
    ] {
        let shown = format!("{:?} {}", check.http.path, check.http.body);
        assert_eq!(check.refusal(), Some(reason), "{shown}");
    }
    let large = format!("{{ products {{ name }} }} # {}", "x".repeat(64 * 1024));
    assert_eq!(query(&large).refusal(), Some(Reason::RequestTruncated));
    let no_body = Check::new("storefront", "POST", "/graphql").header("content-type", "application/json");
    assert_eq!(no_body.refusal(), Some(Reason::RequestBodyMissing));
}

/// A bomb of fragments is refused before it is expanded.
#[test]
fn a_bomb_costs_nothing() {
    let mut bomb = "{ products { ...F0 } }".to_owned();
    for index in 0..30 {
        bomb.push_str(&format!(" fragment F{index} on Product {{ ...F{0} ...F{0} }}", index + 1));
    }
    bomb.push_str(" fragment F30 on Product { name }");
    let started = std::time::Instant::now();
    assert_eq!(query(&bomb).refusal(), Some(Reason::RequestMalformed));
    assert!(started.elapsed().as_millis() < 500, "{:?}", started.elapsed());
}

/// Nobody is known yet when a batch is read: all of it may come to as much as one operation.
#[test]
fn a_batch_comes_to_no_more_than_one_operation_may() {
    let many = format!("{{ products {{ {} }} }} fragment A on Product {{ name price }}", "...A ".repeat(900));
    assert_eq!(query(&many).refusal(), None);
    let batch = post(&json!([{ "query": many }, { "query": many }]));
    assert_eq!(batch.refusal(), Some(Reason::RequestMalformed));
    // What the arguments of all questions come to, and how many items: no operation of these comes to too much alone.
    let ids = |aliases: usize| -> String {
        (0..aliases).map(|number| format!("a{number}: customer(id: $id) {{ id }} ")).collect()
    };
    let of = |operation: &str| json!({ "query": operation, "variables": { "id": "x".repeat(15_000) } });
    let large = |aliases: usize| of(&format!("query($id: ID!) {{ {} }}", ids(aliases)));
    assert_eq!(post(&large(60)).refusal(), None);
    assert_eq!(post(&large(80)).refusal(), Some(Reason::RequestMalformed));
    assert_eq!(post(&json!([large(30), large(30)])).refusal(), None);
    assert_eq!(post(&json!([large(40), large(40)])).refusal(), Some(Reason::RequestMalformed));
}

/// Whatever an operation repeats is read once.
#[test]
fn the_fields_of_implementers_share_the_arguments_of_their_interface() {
    let asked = query("{ found { ... on Node { as: owner(of: \"x\") } } node { owner(of: \"y\") } }")
        .asked()
        .asked
        .unwrap();
    let of = |argument: &str| -> Vec<_> {
        let arguments = asked.items.iter().filter_map(|item| item.arguments.as_ref());
        arguments.filter(|arguments| arguments.text.get("/of").is_some_and(|is| is == argument)).collect()
    };
    for argument in ["x", "y"] {
        let shared = of(argument);
        assert_eq!(shared.len(), 3, "the interface and the two that implement it");
        assert!(shared.iter().all(|arguments| Arc::ptr_eq(arguments, shared[0])));
    }
}

#[tokio::test]
async fn no_way_of_writing_it_gets_at_a_field_that_is_denied() {
    for document in [
        "{ me { email } }",
        "{ me { id: email } }",
        "{ me { ... on Customer { name: email } } }",
        "{ me { ...F } } fragment F on Customer { x: email }",
        "{ me { name email @include(if: false) } }",
        "{ orders { customer { email } } }",
        "{ found { ... on Customer { email } } }",
        // Of the interface the field is open, and of one that implements it, it is not.
        "{ node { id } }",
    ] {
        let (reason, record) = decided(with(query(document), "")).await;
        assert_eq!(reason, "insufficient_scope", "{document}");
        let target = record.target.unwrap();
        assert!(
            target.ends_with("Customer.email\"") || target.ends_with("Vault.id\""),
            "{document}: {target}"
        );
        assert_eq!(record.action.as_deref(), Some("Graphql::Action::\"field\""));
    }
    // Any of a batch denies all of it.
    let batch = post(&json!([{ "query": "{ products { name } }" }, { "query": "{ me { email } }" }]));
    assert_eq!(outcome(with(batch, "")).await, "insufficient_scope");
}

#[tokio::test]
async fn policies_see_the_arguments_of_fields_and_what_an_operation_comes_to() {
    let page = |most: u32| {
        post(
            &json!({ "query": "query($n: Int!) { o: orders(first: $n) { id } }", "variables": { "n": most } }),
        )
    };
    assert_eq!(outcome(with(page(100), "")).await, "permitted");
    assert_eq!(outcome(with(page(101), "")).await, "forbidden");
    // Three levels are for everyone, four for what is in the manifest.
    let three = "query Three { orders { customer { name } } node { id } found { ... on Customer { name } } }";
    let four = "query Four { orders { customer { ...F } } } fragment F on Customer { orders { id } }";
    assert_eq!(outcome(with(query(three), "profile:pii:read")).await, "permitted");
    assert_eq!(outcome(with(query(LISTED), "profile:pii:read")).await, "permitted");
    let (reason, record) = decided(with(query(four), "profile:pii:read")).await;
    assert_eq!((reason.as_str(), record.policy_code.as_deref()), ("forbidden", Some("operation_too_deep")));
    assert_eq!(record.target.as_deref(), Some("Graphql::Operation::\"storefront/Four\""));
}

/// Each field of the root that is executed is drawn from the budget, however it is written.
#[tokio::test]
async fn aliases_of_a_mutation_are_as_many_calls() {
    let one = |document: &str| json!({ "query": document });
    let fragment = |fields: &str| {
        one(&format!("mutation {{ ...Pings }} fragment Pings on Mutation {{ ... {{ {fields} }} }}"))
    };
    for (body, expected) in [
        (one("mutation { a: ping b: ping c: ping }"), "permitted"),
        (one("mutation { a: ping b: ping c: ping d: ping }"), "rate_limited"),
        (one("mutation { ping ping ping ping }"), "permitted"),
        (fragment("a: ping b: ping c: ping"), "permitted"),
        (fragment("a: ping b: ping c: ping d: ping"), "rate_limited"),
        (json!([one("mutation { a: ping b: ping }"), one("mutation { c: ping }")]), "permitted"),
        (json!([one("mutation { a: ping b: ping }"), one("mutation { a: ping b: ping }")]), "rate_limited"),
    ] {
        let check = Check::new("counted", "POST", "/graphql")
            .header("content-type", "application/json")
            .header("authorization", &bearer("counted"))
            .body(&body.to_string());
        assert_eq!(outcome(check).await, expected, "{body}");
    }
}

#[tokio::test]
async fn a_document_of_the_manifest_is_known_by_its_hash() {
    let persisted = json!({ "persistedQuery": { "version": 1, "sha256Hash": hash(LISTED) } });
    let by_hash = || post(&json!({ "extensions": persisted }));
    assert_eq!(outcome(with(by_hash(), "profile:pii:read")).await, "permitted");
    // What it asks for is decided on all the same.
    assert_eq!(outcome(with(by_hash(), "")).await, "insufficient_scope");
    let item = |check: Check| check.asked().asked.unwrap().items[0].clone();
    let allowlisted = |check: Check| {
        let known = item(check).known;
        known.iter().find(|(name, _)| *name == "allowlisted").unwrap().1.clone()
    };
    assert_eq!(allowlisted(by_hash()), json!(true));
    assert_eq!(allowlisted(query(LISTED)), json!(true));
    assert_eq!(allowlisted(query("query Listed { products { name } }")), json!(false));
    assert!(item(by_hash()).supplied.is_empty());
}

#[tokio::test]
async fn introspection_is_an_action_of_its_own() {
    for document in
        ["{ __schema { types { name } } }", "{ products { name } x: __type(name: \"Query\") { name } }"]
    {
        let (reason, record) = decided(with(query(document), "")).await;
        assert_eq!(reason, "no_permit");
        assert_eq!(record.action.as_deref(), Some("Graphql::Action::\"introspect\""));
        assert_eq!(record.target.as_deref(), Some("Graphql::Graph::\"storefront\""));
    }
    assert_eq!(outcome(with(query("{ products { __typename name } }"), "")).await, "permitted");
}

#[tokio::test]
async fn introspection_that_is_answered_elsewhere_gets_past_no_proxy() {
    for document in [
        "query N { __schema { types { name } } }",
        "query N { products { name } x: __type(name: \"Query\") { name } }",
        "query N($skip: Boolean = true) { products { name } __schema @skip(if: $skip) { types { name } } }",
        "query N { ... { ...F } } fragment F on Query { __schema { types { name } } }",
    ] {
        let check = || at("outlined", document, Some(json!({})));
        assert_eq!(outcome(check()).await, "method_unknown", "{document}");
        let parted = check().parted(&fixture()).await;
        assert_eq!(parted.reason(), Reason::MethodUnknown, "{document}");
    }
    assert_eq!(
        outcome(at("outlined", "query N { products { __typename name } }", Some(json!({})))).await,
        "permitted"
    );
}

const ROOTS: &str = "query R { __schema { queryType { fields { name } } mutationType { fields { name } } subscriptionType { name } } }";

#[tokio::test]
async fn introspection_shows_what_an_operation_would_be_granted() {
    let shown =
        async |claims: Option<Value>| at("outlined", ROOTS, claims).introspected(&fixture()).await.unwrap();
    let names = |fields: &Value| -> Vec<String> {
        let fields = fields["fields"].as_array().into_iter().flatten();
        fields.map(|field| field["name"].as_str().unwrap().to_owned()).collect()
    };
    // Nobody: no mutation reaches the policies without a token, whatever they say of it.
    let schema = shown(None).await;
    let schema = &schema["__schema"];
    assert_eq!((&schema["mutationType"], &schema["subscriptionType"]), (&Value::Null, &Value::Null));
    // A field with arguments may be asked for with those that it takes; one without has none.
    assert_eq!(names(&schema["queryType"]), ["orders", "products", "node", "found", "odd"]);
    // Somebody, with what a scope of the directives grants beside.
    let schema = shown(Some(json!({ "scope": "orders:write" }))).await;
    let schema = &schema["__schema"];
    assert_eq!(names(&schema["mutationType"]), ["cancelOrder", "ping"]);
    assert_eq!(names(&shown(Some(json!({}))).await["__schema"]["mutationType"]), ["ping"]);
    assert_eq!(schema["subscriptionType"], json!({ "name": "Subscription" }));
    // What denies the operation denies the answer.
    let unnamed = at("outlined", "{ __schema { queryType { name } } }", None).introspected(&fixture()).await;
    assert_eq!(unnamed.unwrap_err(), Reason::Forbidden);
}

#[tokio::test]
async fn introspection_that_is_answered_is_no_question_of_its_own() {
    let fixture = fixture();
    let ask = async |resource: &str, action: &str| {
        let check = at(resource, "query N { products { name } }", Some(json!({})));
        let plain = check.asked();
        let graph = Target::graphql_graph(&resource.parse().unwrap());
        let item = Item::plain(Action::graphql(action), graph);
        let request = AccessRequest { asked: Ok(Asked::one(item)), ..plain };
        fixture.pdp.decide(&fixture.pdp.snapshot(), &request).await.reason()
    };
    assert_eq!(ask("outlined", "introspect").await, Reason::MethodUnknown);
    assert_eq!(ask("counted", "introspect").await, Reason::NoPermit);
}

#[tokio::test]
async fn introspection_that_is_answered_goes_on_neither_whole_nor_in_part() {
    // Of this one a fragment is taken out.
    let document = "query P { __schema { queryType { name } } ... on Gate { __typename } }";
    let answer =
        |claims| async move { at("outlined", document, Some(claims)).introspected(&fixture()).await };
    assert_eq!(answer(json!({})).await.unwrap_err(), Reason::InsufficientScope);
    let whole = json!({ "__schema": { "queryType": { "name": "Query" } }, "__typename": "Query" });
    assert_eq!(answer(json!({ "scope": "gate" })).await.unwrap(), whole);
    for document in [
        "query P { __schema { queryType { name } } products { name } }",
        "query P { a: __schema { queryType { name } } }",
    ] {
        let check = at("outlined", document, Some(json!({})));
        assert_eq!(check.introspected(&fixture()).await.unwrap_err(), Reason::RequestMalformed, "{document}");
    }
}

#[tokio::test]
async fn scopes_of_the_schema_are_judged_with_those_that_others_imply() {
    let document = "query($id: ID!) { customer(id: $id) { name } }";
    let check = || post(&json!({ "query": document, "variables": { "id": "7" } }));
    for scopes in ["customers:read", "support customers:search", "customers:admin"] {
        assert_eq!(outcome(with(check(), scopes)).await, "permitted", "{scopes}");
    }
    for (scopes, missing) in
        [("", "customers:read"), ("support", "customers:read"), ("customers:search", "customers:read")]
    {
        let (reason, record) = decided(with(check(), scopes)).await;
        assert_eq!(reason, "insufficient_scope", "{scopes}");
        assert_eq!(record.decision, Outcome::StepUp);
        assert_eq!(record.missing_scopes.iter().map(Scope::as_str).collect::<Vec<_>>(), [missing]);
        assert_eq!(record.target.as_deref(), Some("Graphql::Field::\"storefront/Query.customer\""));
        assert!(record.determining_policies.is_empty(), "no policy has decided it");
    }
    let fixture = fixture();
    let shown = show(&with(check(), "").answer(&fixture).await);
    assert!(
        shown.contains("error=\"insufficient_scope\"") && shown.contains("scope=\"customers:read\""),
        "{shown}"
    );
}

#[tokio::test]
async fn names_of_policies_are_decided_each_and_any_set_of_them_will_do() {
    let document = "{ me { card } }";
    let as_whom = |claims: Value| {
        let mut all = json!({ "scope": "profile:pii:read" });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        query(document).header("authorization", &format!("Bearer {}", token("storefront", all)))
    };
    // own_card is enough, though audit_cards and four_eyes are denied.
    let (reason, record) = decided(as_whom(json!({ "amr": ["pwd", "mfa"] }))).await;
    assert_eq!(reason, "permitted");
    assert!(
        record
            .items
            .iter()
            .any(|item| item.target.ends_with("/four_eyes\"") && item.decision == Outcome::Deny)
    );
    let (reason, record) = decided(as_whom(json!({ "amr": ["pwd"] }))).await;
    assert_eq!(reason, "no_permit");
    assert_eq!(record.action.as_deref(), Some("Graphql::Action::\"policy\""));
    assert!(record.items.iter().any(|item| {
        item.target == "Graphql::Field::\"storefront/Customer.card\"" && item.decision == Outcome::Deny
    }));
}

/// A typing error in a schema denies everybody: the record says that nobody has decided it.
#[tokio::test]
async fn a_name_that_no_policy_is_about_is_no_silent_denial() {
    let (reason, record) = decided(with(query("{ odd }"), "")).await;
    assert_eq!(reason, "policy_error");
    assert_eq!(record.target.as_deref(), Some("Graphql::Policy::\"storefront/nobody_knows\""));
    assert!(record.detail.unwrap().contains("no policy could ever permit"));
}

#[tokio::test]
async fn nobody_gets_what_is_for_somebody() {
    // Operations are for users: what the policies say holds for nobody, too.
    assert_eq!(outcome(query("{ products { name } }")).await, "no_permit");
    // `mutation` is not listed under `anonymous`.
    assert_eq!(outcome(query("mutation { ping }")).await, "no_credentials");
    assert_eq!(outcome(query("{ __schema { types { name } } }")).await, "no_credentials");
}

#[tokio::test]
async fn directives_hold_for_nobody_and_are_not_observed_away() {
    let trial = |document: &str| {
        Check::new("trial", "POST", "/graphql")
            .header("content-type", "application/json")
            .body(&json!({ "query": document }).to_string())
    };
    let fixture = fixture();
    // No field is permitted there, and the resource is under observation.
    let observed = trial("{ products { name } }").answer(&fixture).await;
    assert_eq!((code(&observed), reason(&observed)), (0, "no_permit".to_owned()));
    let record = fixture.recorded().await;
    assert_eq!((record.decision, record.reason), (Outcome::Observed, Reason::Observed));
    // What needs somebody is denied to nobody all the same.
    assert_ne!(code(&trial("{ me { id } }").answer(&fixture).await), 0);
    // So is what cannot be read.
    assert_ne!(code(&trial("{ me { nothing } }").answer(&fixture).await), 0);
}

#[tokio::test]
async fn the_record_names_what_is_denied_first_and_no_alias_or_value() {
    let document =
        "query Mine($n: Int!) { secret: orders(first: $n) { id total } me { hidden: name other: email } }";
    let body = json!({ "query": document, "variables": { "n": 31337 } });
    let (_, record) = decided(with(post(&body), "")).await;
    let denied: Vec<&str> = record
        .items
        .iter()
        .take_while(|item| item.decision == Outcome::Deny)
        .map(|item| item.target.as_str())
        .collect();
    assert_eq!(
        denied,
        ["Graphql::Field::\"storefront/Query.orders\"", "Graphql::Field::\"storefront/Customer.email\""]
    );
    assert!(record.items[2..].iter().all(|item| item.decision == Outcome::Permit));
    assert_eq!(record.items[2].target, "Graphql::Operation::\"storefront/Mine\"");
    assert!(
        record.detail.as_deref().unwrap().starts_with("an operation: 7 parts, 2 denied"),
        "{:?}",
        record.detail
    );
    let text = serde_json::to_string(&record).unwrap();
    for word in ["secret", "hidden", "other", "31337"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
}

#[tokio::test]
async fn a_record_names_a_field_once_and_says_how_much_there_was() {
    let fields: String = (1..=600).map(|page| format!("a{page}: orders(first: {page}) {{ id }} ")).collect();
    // As many aliases as an operation may have: pages that differ are questions that differ.
    let fields: String = fields.split_inclusive("} ").take(490).collect();
    let batch: Vec<Value> = (0..3).map(|_| json!({ "query": format!("{{ {fields} }}") })).collect();
    let (reason, record) = decided(with(post(&json!(batch)), "")).await;
    assert_eq!(reason, "forbidden");
    let detail = record.detail.unwrap();
    assert!(detail.contains("an operation: 1476 parts"), "{detail}");
    let orders = |item: &&palisade_audit::ItemRecord| item.target.ends_with("Query.orders\"");
    assert_eq!(record.items.iter().filter(orders).count(), 1);
    assert_eq!(record.items[0].decision, Outcome::Deny);
}

/// The body that goes on of what somebody sends who may read no personal data, at an entry that sends on what is left.
async fn left_of(check: Check) -> Result<String, Option<String>> {
    match with(check, "").parted(&fixture()).await {
        Parted::InPart(part) => Ok(String::from_utf8(part.body().to_vec()).unwrap()),
        Parted::Whole(Decision::Deny(denial)) => Err(denial.told),
        Parted::Whole(decision @ (Decision::Permit(_) | Decision::Observed(_))) => panic!("{decision:?}"),
    }
}

#[tokio::test]
async fn what_has_its_answer_in_another_form_is_whole_or_nothing() {
    let part = "{ me { id email } }";
    let left: Value = serde_json::from_str(&left_of(query(part)).await.unwrap()).unwrap();
    assert_eq!(left["query"].as_str().unwrap().split_whitespace().collect::<String>(), "{me{id}}");
    assert!(left_of(query("{ me { email } }")).await.unwrap_err().unwrap().contains("\"email\""));
    let by_hash = json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": hash(LISTED) } } });
    for check in [
        get("query=%7Bme%7Bid%20email%7D%7D"),
        post(&json!([{ "query": part }])),
        post(&json!([{ "query": part }, { "query": part }])),
        post(&by_hash),
        query("subscription { orders { id customer { email } } }"),
        query("{ me { id email } __schema { queryType { name } } }"),
        query("query Four { orders { customer { orders { id } email } } }"),
        // What is listed is listed as what it is, however it comes.
        query(LISTED),
        // Who changes something means all of it, also where nothing of it is granted.
        query("mutation { ping cancelOrder(id: 1) { id } }"),
        query("mutation { cancelOrder(id: 1) { id } }"),
        // A server would get other numbers than those that have come.
        query(part).body(r#"{"query": "{ me { id email } }", "variables": {"n": 0.10000000000000000555}}"#),
    ] {
        let shown = format!("{:?} {}", check.http.path, check.http.body);
        assert_eq!(left_of(check).await, Err(None), "{shown}");
    }
    // All of them are permitted where all of it is granted.
    for check in [query(LISTED), query("mutation { ping cancelOrder(id: 1) { id } }")] {
        let parted = with(check, "profile:pii:read orders:write").parted(&fixture()).await;
        assert!(matches!(parted, Parted::Whole(Decision::Permit(_))), "{parted:?}");
    }
}

/// A POST of this document to a resource of which every field is permitted that the schema does not keep, with these claims.
fn at(resource: &str, document: &str, claims: Option<Value>) -> Check {
    let check = Check::new(resource, "POST", "/graphql").header("content-type", "application/json");
    let check = check.body(&json!({ "query": document }).to_string());
    match claims {
        Some(claims) => check.header("authorization", &format!("Bearer {}", token(resource, claims))),
        None => check,
    }
}

#[tokio::test]
async fn nobody_is_asked_to_be_somebody_whatever_is_left_for_nobody() {
    let told = async |document: &str, claims: Option<Value>| {
        at("counted", document, claims).parted_and_told(&fixture()).await.1.unwrap()
    };
    let (status, body) = told("{ me { id } }", None).await;
    assert_eq!((status, body.contains("errors")), (401, false), "{body}");
    let (status, body) = told("{ me { card } }", Some(json!({}))).await;
    assert_eq!(status, 200);
    assert!(body.starts_with(r#"{"data":null,"errors":[{"#), "{body}");
    // What can be left for nobody, is.
    let open = at("counted", "{ me { id } products { name } }", None).parted(&fixture()).await;
    assert!(matches!(open, Parted::InPart(_)), "{open:?}");
}

#[tokio::test]
async fn what_is_left_leaves_with_the_exchanged_token_or_not_at_all() {
    let document = "{ me { id card } }";
    let fixture_of = fixture();
    let parted = at("billed", document, Some(json!({}))).parted(&fixture_of).await;
    let Parted::InPart(part) = parted else { panic!("{parted:?}") };
    let Upstream::Exchanged(issued) = part.upstream() else { panic!("{:?}", part.upstream()) };
    assert_eq!(issued.token.as_str(), "issued.corp.alice");
    let record = fixture_of.recorded().await;
    assert_eq!((record.decision, record.exchange.unwrap().reason), (Outcome::Permit, Reason::Permitted));
    // A failure is told as one, with nothing of what was taken out.
    for (document, claims, reason, status) in [
        (document, json!({ "acr": "weak" }), Reason::ExchangeInteractionRequired, 401),
        (document, json!({ "sub": "bob" }), Reason::ExchangeRefused, 403),
        // Where nothing is left, nothing is exchanged. No policy is about the card here.
        ("{ me { card } }", json!({ "acr": "weak" }), Reason::PolicyError, 200),
    ] {
        let fixture = fixture();
        let (parted, told) = at("billed", document, Some(claims)).parted_and_told(&fixture).await;
        let Parted::Whole(Decision::Deny(denial)) = parted else { panic!("{parted:?}") };
        assert_eq!((denial.reason, denial.told.is_some()), (reason, status == 200));
        assert_eq!(told.unwrap().0, status);
        let record = fixture.recorded().await;
        assert!(!record.detail.unwrap().contains("taken out"));
        assert_eq!(record.exchange.is_some(), status != 200);
    }
}

#[tokio::test]
async fn what_would_be_told_at_great_length_is_denied_whole() {
    let denied = |number: usize| {
        let emails: String = (0..number).map(|number| format!("e{number}: email ")).collect();
        query(&format!("{{ me {{ id {emails} }} }}"))
    };
    assert!(left_of(denied(100)).await.is_ok());
    assert_eq!(left_of(denied(450)).await, Err(None));
}

/// What the fields of a random operation are taken from: everything that a directive or a tag stands on is among them.
const SELECTIONS: [&str; 9] = [
    "me { id name }",
    "mine: me { email }",
    "me { other: card }",
    "customer(id: 7) { name }",
    "orders(first: 3) { id customer { birthday } }",
    "node { id }",
    "found { ... on Customer { email } ... on Product { supplier } }",
    "odd",
    "__schema { types { name } }",
];

/// What is granted whole or not at all.
const WHOLE: [&str; 3] = [
    LISTED,
    "mutation { ping cancelOrder(id: 1) { id customer { email } } }",
    "subscription { orders { id customer { email } } }",
];

fn operation() -> impl Strategy<Value = String> {
    let some = proptest::sample::subsequence(SELECTIONS.to_vec(), 1..=SELECTIONS.len());
    // Names beside each other must not mean two things.
    some.prop_map(|fields| {
        let field = |(at, field): (usize, &str)| format!("f{at}: {}", field.trim_start_matches("mine: "));
        format!("{{ {} }}", fields.into_iter().enumerate().map(field).collect::<Vec<_>>().join(" "))
    })
}

proptest! {
    /// Whatever is granted of an operation's items: it lacks nothing only if all that the policies were asked about is granted but
    /// names, and the directives of every field hold.
    #[test]
    fn nothing_is_let_by_that_is_not_granted(
        document in operation(),
        bits in proptest::collection::vec(proptest::bool::weighted(0.9), 64),
        authenticated: bool,
        scopes in proptest::sample::subsequence(vec!["customers:read", "support", "customers:search"], 0..=3),
    ) {
        let decoded = query(&document).decoded();
        let items = decoded.request.asked.as_ref().unwrap().items.clone();
        let granted: Vec<bool> = items.iter().zip(bits.iter().cycle()).map(|(_, bit)| *bit).collect();
        let scopes: Scopes = scopes.into_iter().map(|scope| scope.parse().unwrap()).collect();
        let lacks = decoded.directives().unwrap()(&Granted { authenticated, scopes: &scopes, items: &granted });
        let is = |target: &str| {
            items.iter().zip(&granted).any(|(item, granted)| item.target.id == format!("storefront/{target}") && *granted)
        };
        let has = |scope: &str| scopes.iter().any(|held| held.as_str() == scope);
        let others = items.iter().zip(&granted).skip(1).filter(|(item, _)| item.action.name != "policy");
        let expected = others.into_iter().all(|(_, granted)| *granted)
            && (!document.contains("me {") || authenticated)
            && (!document.contains("customer(id") || has("customers:read") || has("support") && has("customers:search"))
            && (!document.contains("card") || is("own_card") || is("audit_cards") && is("four_eyes"))
            && (!document.contains("odd") || is("nobody_knows"));
        prop_assert_eq!(lacks.is_empty(), expected, "{}: {:?}", document, lacks);
    }

    /// Whatever comes is an operation that is decided on, or a refusal.
    #[test]
    fn what_is_read_begins_with_an_operation(
        method in proptest::sample::select(vec!["GET", "POST", "PUT", "get"]),
        target in ".{0,60}",
        content_type in proptest::sample::select(vec!["application/json", "text/plain", "multipart/form-data"]),
        body in proptest::option::of(".{0,80}"),
        wrapped: bool,
    ) {
        let body = body.map(|body| if wrapped { json!({ "query": body }).to_string() } else { body });
        let check = Check::new("storefront", method, &format!("/graphql?query={target}"));
        let check = check.header("content-type", content_type).body(&body.unwrap_or_default());
        let decoded = check.decoded();
        match &decoded.request.asked {
            Ok(asked) => {
                prop_assert!(decoded.directives().is_some());
                prop_assert!(asked.items[0].action.is_operation());
            }
            Err(_) => prop_assert!(decoded.request.asked.is_err()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What goes on of an operation would be permitted whole if it had come as it goes on, and whoever cannot send it on gets nothing.
    #[test]
    fn what_is_left_of_an_operation_is_permitted_as_what_it_is(
        document in prop_oneof![4 => operation(), 1 => proptest::sample::select(WHOLE.to_vec()).prop_map(str::to_owned)],
        scopes in proptest::sample::subsequence(vec!["customers:read", "support", "profile:pii:read"], 0..=3),
        mfa: bool,
    ) {
        let claims = json!({ "scope": scopes.join(" "), "amr": if mfa { vec!["mfa"] } else { vec!["pwd"] } });
        let bearer = format!("Bearer {}", token("storefront", claims));
        let as_before = |body: &str| {
            let check = Check::new("storefront", "POST", "/graphql").header("content-type", "application/json");
            check.header("authorization", &bearer).body(body)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let came = json!({ "query": document }).to_string();
        let (parted, whole, again) = runtime.block_on(async {
            let fixture = fixture();
            let parted = as_before(&came).parted(&fixture).await;
            let whole = code(&as_before(&came).answer(&fixture).await);
            let again = match &parted {
                Parted::InPart(part) => {
                    let body = std::str::from_utf8(part.body()).unwrap();
                    Some(code(&as_before(body).answer(&fixture).await))
                }
                Parted::Whole(_) => None,
            };
            (parted, whole, again)
        });
        match parted {
            Parted::InPart(part) => {
                prop_assert!(whole != 0 && again == Some(0), "{document}: {whole} {again:?}");
                prop_assert!(!WHOLE.contains(&&*document), "{document}");
                let told: Vec<Value> = serde_json::from_str(part.told()).unwrap();
                prop_assert!(!told.is_empty());
            }
            Parted::Whole(Decision::Permit(_)) => prop_assert_eq!(whole, 0),
            Parted::Whole(Decision::Observed(_)) => prop_assert!(false, "nothing is observed here"),
            // Introspection is denied, and nothing else denies all that can be cut.
            Parted::Whole(Decision::Deny(denial)) => {
                prop_assert_ne!(whole, 0);
                let is_whole = document.contains("__schema") || WHOLE.contains(&&*document);
                prop_assert_eq!(denial.told.is_none(), is_whole, "{}", document);
            }
        }
    }
}
