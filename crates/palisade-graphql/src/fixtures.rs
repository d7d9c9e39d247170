//! One schema with everything in it, for the tests.

use serde_json::{Map, Value};

use crate::{Analysis, Decisions, Schema};

pub(crate) const SDL: &str = r#"
type Query {
  me: User
  users(first: Int = 10, filter: Filter, ids: [ID!]): [User!]
  grid: [[User!]]!
  user(id: ID!): User @requiresScopes(scopes: [["user:read"], ["admin", "audit"]])
  node(id: ID!): Node
  find: [Found]
  secret: Secret
  open: String
  level: Level
  needed: Needed!
  hidden: String @inaccessible
}
type Mutation @authenticated { remove(id: ID!): Boolean }
type Subscription { news(topic: String): News }
type News { title: String @authenticated, text: String }
interface Node { id: ID! name: String }
type User implements Node {
  id: ID!
  name: String
  email(mask: Boolean! = true): String @policy(policies: [["read_email"]]) @tag(name: "pii")
  card: String @policy(policies: [["read_card", "admin"], ["root"]])
  strict: String! @authenticated
  friends: [User!]!
}
type Secret implements Node @requiresScopes(scopes: [["secret:read"]]) { id: ID! name: String }
type Robot implements Node { id: ID! name: String @policy(policies: [["robots"]]) }
type Needed { deep: Needed!, value: String! @authenticated, plain: String }
union Found = User | Secret | Robot
enum Level @authenticated { LOW HIGH }
input Filter { tag: String = "all", owner: ID, deep: Filter, limit: Int! = 5 }
"#;

pub(crate) fn schema() -> Schema {
    Schema::load(SDL).unwrap()
}

pub(crate) fn variables(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap()
}

pub(crate) fn analyzed(document: &str) -> Analysis {
    schema().analyze(document, None, &Map::new()).unwrap_or_else(|error| panic!("{document}: {error}"))
}

/// Everything is granted.
pub(crate) fn everything() -> Decisions {
    Decisions::none()
        .authenticated(true)
        .scopes(["user:read", "admin", "audit", "secret:read"])
        .policies(["read_email", "read_card", "admin", "root", "robots"])
        .introspection(true)
}
