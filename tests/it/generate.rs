//! `palisade policy generate`: scopes of tools out of the directives of a schema, whose policies then hold, and what a
//! configuration and a schema disagree in.

use std::fs;
use std::path::Path;
use std::process::Command;

use palisade_tests::service::binary;
use serde_json::{Value, json};
use tempfile::TempDir;

const SDL: &str = r#"
type Query {
  me: User @authenticated
  order(id: ID!): Order @requiresScopes(scopes: [["order:read"]])
  stock: [Item!]! @requiresScopes(scopes: [["stock:read"], ["stock:write"]])
}
type User { id: ID!, email: String @requiresScopes(scopes: [["user:read:email"]]), card: String @policy(policies: [["own_card"]]) }
type Order { id: ID!, total: Int, buyer: User }
type Item { name: String }
"#;

const OPERATIONS: [(&str, &str); 4] = [
    (
        "order.graphql",
        "query GetOrder($id: ID!) { order(id: $id) { total buyer { ...Mail } } } fragment Mail on User { email }",
    ),
    ("stock/all.graphql", "query GetStock { stock { name } }"),
    ("stock/me.gql", "query GetMe { me { id card } }"),
    ("nothing.graphql", "query GetNothing { __typename }"),
];

const GENERATED: &str = r#"// Written by `palisade policy generate` from shop.graphql.
// operations/stock/me.gql: Query.me, User.card
// Beside the scopes the schema asks the policies own_card.
@id("shop-GetMe-requires")
forbid (
  principal,
  action in Mcp::Action::"tools/call",
  resource == Mcp::Tool::"shop/GetMe"
)
unless { !(principal is Anonymous) };

// operations/order.graphql: Query.order, User.email
@id("shop-GetOrder-requires")
forbid (
  principal,
  action in Mcp::Action::"tools/call",
  resource == Mcp::Tool::"shop/GetOrder"
)
unless { context.scopes.containsAll(["order:read", "user:read:email"]) };

// operations/stock/all.graphql: Query.stock
@id("shop-GetStock-requires")
forbid (
  principal,
  action in Mcp::Action::"tools/call",
  resource == Mcp::Tool::"shop/GetStock"
)
unless { context.scopes.contains("stock:read") || context.scopes.contains("stock:write") };
"#;

const CONFIGURATION: &str = r#"
version: 1
issuers: {corp: {issuer: 'https://idp.example.com'}}
resources:
  shop:
    identifier: https://mcp.example.com/shop
    kind: mcp
    issuers: [corp]
    tools: {catalog: tools.json}
    scopes: {step_up: [order:read, 'user:read:email', stock:read]}
  graph:
    identifier: https://api.example.com/graphql
    kind: graphql
    issuers: [corp]
    schema: {sdl: old.graphql}
    scopes: {supported: [order:read, 'user:read:email', stock:read, stock:write]}
policies: {path: policies}
"#;

const POLICY: &str = r#"@id("users")
permit (
  principal is User,
  action in Mcp::Action::"tools/call",
  resource in Mcp::Server::"shop"
);
"#;

const TESTS: &str = "
resources:
  shop: {kind: mcp, identifier: 'https://mcp.example.com/shop'}
matrix:
  personas:
    - {name: nobody, principal: {anonymous: true}}
    - {name: buyer, principal: {user: corp/ann}, token: {scopes: [order:read, 'user:read:email', stock:read]}}
    - {name: clerk, principal: {user: corp/bob}, token: {scopes: [order:read, stock:read]}}
cases: []
";

/// A folder with a schema, operations, a configuration and policies.
struct Shop(TempDir);

impl Shop {
    fn new() -> Self {
        let shop = Self(TempDir::new().unwrap());
        shop.write("shop.graphql", SDL);
        shop.write("old.graphql", &SDL.replace("total: Int", "total: Float"));
        for (file, text) in OPERATIONS {
            shop.write(&format!("operations/{file}"), text);
        }
        shop.write("palisade.yaml", CONFIGURATION);
        shop.write("policies/users.cedar", POLICY);
        shop.write("policies/users.test.yaml", TESTS);
        let tools = ["GetOrder", "GetStock", "GetMe"].map(|name| json!({ "name": name }));
        shop.write("tools.json", &json!(tools).to_string());
        shop
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.0.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.path().join(file)).unwrap()
    }

    /// Generates, with more arguments.
    fn generate(&self, arguments: &[&str]) -> (i32, String, String) {
        let common = ["policy", "generate", "--operations", "operations", "--sdl", "shop.graphql"];
        self.run(&[&common, arguments].concat())
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let folder: &Path = self.0.path();
        let output = Command::new(binary().unwrap()).args(arguments).current_dir(folder).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }
}

#[test]
fn what_operations_need_is_written_as_policies_that_hold() {
    let shop = Shop::new();
    let printed = shop.generate(&["--resource", "shop"]);
    assert_eq!(printed, (0, GENERATED.to_owned(), String::new()));
    let (code, printed, said) =
        shop.generate(&["--resource", "shop", "--output", "policies/generated.cedar"]);
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(
        printed,
        "GetMe (query, operations/stock/me.gql): a token; policies own_card\n\
         GetNothing (query, operations/nothing.graphql): nothing\n\
         GetOrder (query, operations/order.graphql): order:read and user:read:email\n\
         GetStock (query, operations/stock/all.graphql): (stock:read or stock:write)\n\
         wrote policies/generated.cedar\n"
    );
    assert_eq!(shop.read("policies/generated.cedar"), GENERATED);
    // What the clerk's token lacks is what a step-up asks for.
    let (code, matrix, said) = shop.run(&["policy", "matrix", "--config", "palisade.yaml"]);
    assert_eq!(code, 0, "{said}");
    let asked = |line: &str| line.starts_with("| clerk") && line.contains("step-up: user:read:email");
    assert!(matrix.lines().any(asked), "{matrix}");
    assert_eq!(shop.run(&["policy", "fmt", "--check", "policies"]).0, 0);
}

#[test]
fn a_written_file_is_compared_with_what_would_be_written() {
    let shop = Shop::new();
    shop.write("policies/generated.cedar", GENERATED);
    let check = ["--resource", "shop", "--check", "policies/generated.cedar"];
    assert_eq!(shop.generate(&check).0, 0);
    shop.write(
        "shop.graphql",
        &SDL.replace("total: Int", "total: Int @requiresScopes(scopes: [[\"total:read\"]])"),
    );
    let (code, _, said) = shop.generate(&check);
    assert!(code == 1 && said.starts_with("policies/generated.cedar is another"), "{code}: {said}");
    assert_eq!(shop.read("policies/generated.cedar"), GENERATED);
    let other = ["--resource", "shop", "--check", "policies/none.cedar"];
    assert_eq!(shop.generate(&other).0, 2);
}

#[test]
fn a_configuration_and_a_schema_that_disagree_are_told_apart() {
    let shop = Shop::new();
    let (code, _, said) = shop.generate(&["--config", "palisade.yaml"]);
    assert_eq!(code, 1);
    let told: Vec<&str> = said.lines().collect();
    assert_eq!(
        told,
        [
            "disagreement: the resource does not name the scope `stock:write`, so that no client is asked for it: GetStock",
            "disagreement: `GetNothing` is no tool of the catalogue",
            "disagreement: `clerk` is permitted `GetOrder` and gets only a part of its answer: the schema asks for order:read and user:read:email",
        ]
    );
    // With the policies in force, and the rest put right, they agree.
    shop.write("tools.json", &shop.read("tools.json").replace("[", r#"[{"name": "GetNothing"},"#));
    shop.write(
        "palisade.yaml",
        &CONFIGURATION.replace("stock:read]}\n  graph", "stock:read, stock:write]}\n  graph"),
    );
    let (code, _, said) =
        shop.generate(&["--config", "palisade.yaml", "--output", "policies/generated.cedar"]);
    assert_eq!((code, said.as_str()), (0, ""));
    let (_, printed, _) = shop.generate(&["--config", "palisade.yaml", "--json"]);
    let found: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&found["ok"], &found["resource"]), (&json!(true), &json!("shop")));
    let order = &found["operations"][2];
    assert_eq!(order["scopes"], json!({ "all": ["order:read", "user:read:email"], "each": [] }));
    assert_eq!(order["asked_by"], json!(["Query.order", "User.email"]));
    assert_eq!(found["policies"], shop.read("policies/generated.cedar"));
}

#[test]
fn a_graph_is_compared_and_gets_no_policies() {
    let shop = Shop::new();
    let (code, printed, said) = shop.generate(&["--config", "palisade.yaml", "--resource", "graph"]);
    assert_eq!((code, printed.lines().count()), (1, 4), "{printed}");
    assert!(said.ends_with("old.graphql, which the resource is read with, is another schema\n"), "{said}");
    let document = "{ gone }";
    let hash = "11a6ead36b7f9226665698f90b5629c8033c44658b31817e3d4a5b6ec13f9821";
    shop.write("documents.json", &json!({ hash: document }).to_string());
    let manifest =
        CONFIGURATION.replace("{sdl: old.graphql}", "{sdl: shop.graphql, manifest: documents.json}");
    shop.write("palisade.yaml", &manifest);
    let (code, _, said) = shop.generate(&["--config", "palisade.yaml", "--resource", "graph"]);
    let told = format!(
        "disagreement: of the manifest, `{hash}`: the document does not fit the schema (line 1, column 3)\n"
    );
    assert_eq!((code, said), (1, told));
    let output = ["--config", "palisade.yaml", "--resource", "graph", "--output", "x.cedar"];
    shop.write("palisade.yaml", CONFIGURATION);
    let (code, _, said) = shop.generate(&output);
    assert!(code == 2 && said.contains("there are no policies to write"), "{code}: {said}");
}

#[test]
fn what_cannot_be_read_writes_nothing() {
    let shop = Shop::new();
    shop.write("operations/bad.graphql", "query Bad { nothing }");
    shop.write("operations/none.graphql", "{ me { id } }");
    let (code, printed, said) = shop.generate(&["--resource", "shop", "--output", "x.cedar"]);
    assert_eq!((code, printed.as_str()), (1, ""));
    assert_eq!(
        said,
        "operations/bad.graphql: the document does not fit the schema (line 1, column 13)\n\
         operations/none.graphql: an operation has no name, so that no tool can have it\n"
    );
    assert!(!shop.0.path().join("x.cedar").exists());
    shop.write("shop.graphql", "type Query {");
    assert_eq!(shop.generate(&["--resource", "shop"]).0, 1);
    assert_eq!(shop.generate(&[]).0, 2);
    fs::remove_dir_all(shop.0.path().join("operations")).unwrap();
    assert_eq!(shop.generate(&["--resource", "shop"]).0, 2);
}
