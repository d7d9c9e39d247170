//! GraphQL operations over one schema with everything in it, with whatever is granted of it.
//!
//! The first byte says what is granted, the first line is the variables, the rest the document. It is read as a body too, and as a manifest.
//! What is left of an operation fits the schema, is whole under the same decisions, and asks about nothing that was not
//! asked about before; and nothing that is told holds a value of the variables.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use palisade_graphql::{
    Analysis, Decisions, Dialect, Incoming, Manifest, Mode, OperationKind, Reading, Request, Schema, Shown, read_manifest,
    read_request,
};
use serde_json::{Map, Value};

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::load(SDL).expect("a schema"));

const SDL: &str = r#"
type Query {
  me: User
  users(first: Int = 10, filter: Filter, ids: [ID!]): [User!]
  grid: [[User!]]!
  user(id: ID!): User @requiresScopes(scopes: [["read"], ["admin", "audit"]])
  node(id: ID!): Node
  find: [Found]
  level: Level
}
type Mutation @authenticated { remove(id: ID!): Boolean }
type Subscription { news(topic: String): String }
interface Node { id: ID! name: String }
type User implements Node { id: ID! name: String email: String! @policy(policies: [["email"]]) friends: [User!]! }
type Secret implements Node @requiresScopes(scopes: [["secret"]]) { id: ID! name: String @authenticated }
union Found = User | Secret
enum Level @authenticated { LOW HIGH }
input Filter { tag: String = "all", owner: ID, deep: Filter }
"#;

fuzz_target!(|data: &[u8]| {
    let Some((granted, rest)) = data.split_first() else { return };
    let manifest = Manifest::default();
    let reading = Reading { max_batch: 3, manifest: &manifest };
    let body = Incoming {
        method: "POST",
        query: None,
        content_type: Some("application/json"),
        content_encoding: None,
        upgrade: false,
        body: rest,
    };
    if let Ok(read) = read_request(&body, &reading) {
        for request in read.requests {
            let _ = SCHEMA.analyze_request(&request);
        }
    }
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let parameters = Incoming { method: "GET", query: Some(text), content_type: None, body: b"", ..body };
    let _ = read_request(&parameters, &reading);
    let (variables, document) = text.split_once('\n').unwrap_or(("{}", text));
    let variables: Map<String, Value> = serde_json::from_str(variables).unwrap_or_default();
    let _ = read_manifest(rest);
    let request = Request {
        document: document.to_owned(),
        operation_name: None,
        variables,
        by_get: false,
        by_hash: false,
        listed: None,
        exact: true,
    };
    if let Ok(analysis) = SCHEMA.analyze_request(&request) {
        filtered(&analysis, *granted, &request);
    }
});

fn filtered(analysis: &Analysis, granted: u8, request: &Request) {
    let bit = |index: u8| granted >> index & 1 == 1;
    let some = |names: [&'static str; 2], from: u8| (from..).zip(names).filter(move |(index, _)| bit(*index));
    let mut decisions = Decisions::none()
        .authenticated(bit(0))
        .introspection(bit(1))
        .scopes(some(["read", "secret"], 2).map(|(_, name)| name))
        .policies(bit(4).then_some("email"));
    if bit(5) {
        let every_other = analysis.asks().iter().skip(usize::from(bit(6))).step_by(2);
        decisions = decisions.fields(every_other.cloned());
    }
    for dialect in [Dialect::Apollo, Dialect::Hive, Dialect::Cosmo] {
        let filtered = SCHEMA.filter(analysis, &decisions, dialect, Mode::Filter);
        let Some(left) = filtered.document else { continue };
        // Where nothing was taken, the document still has its other operations.
        let again = SCHEMA.analyze(&left, analysis.name.as_deref(), &request.variables).expect("what is left is valid");
        let twice = SCHEMA.filter(&again, &decisions, dialect, Mode::Reject);
        assert!(twice.errors.is_empty(), "{left}: {:?}", twice.denied);
        assert!(again.asks().iter().all(|ask| analysis.asks().contains(ask)), "{left}");
    }
    // What is told of the schema is what is granted, and told again it is the same.
    if SCHEMA.answers(analysis).is_ok() {
        let fields = SCHEMA.elements().map(|(coordinate, _)| coordinate);
        let permitted = Shown::of(fields.enumerate().filter(|(place, _)| bit(7) || place % 3 != 0).map(|(_, field)| field));
        let kinds = [OperationKind::Query, OperationKind::Mutation];
        let shown = SCHEMA.shown(&decisions, &permitted, &kinds, Dialect::Apollo);
        assert_eq!(SCHEMA.shown(&decisions, &shown, &kinds, Dialect::Apollo), shown);
        SCHEMA.introspect(analysis, &shown).expect("what can be answered is");
    }
    // What is left as a request is as much.
    let whole = SCHEMA.filter(analysis, &decisions, Dialect::Apollo, Mode::Filter);
    if let Some(rest) = SCHEMA.rest(request, analysis, &decisions, Dialect::Apollo) {
        assert_eq!((rest.body.is_none(), rest.denied.len()), (whole.emptied, whole.denied.len()));
    }
}
