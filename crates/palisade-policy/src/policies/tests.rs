use std::collections::{BTreeMap, BTreeSet};

use palisade_model::{
    Action, Arguments, Audience, Authority, Circumstances, ResourceName, Scopes, Subject, SubjectKind,
    Surface, Timestamp,
};
use serde_json::{Value, json};

use super::*;
use crate::{Kind, Strength, Terms, Tool, WorldExchange, WorldResource};

mod findings;
mod properties;
mod questions;

/// A question with everything it borrows.
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    pub(crate) subject: Subject,
    pub(crate) authority: Option<Authority>,
    pub(crate) scopes: Scopes,
    pub(crate) acr: Option<String>,
    pub(crate) auth_time: Option<Timestamp>,
    pub(crate) action: Action,
    pub(crate) target: Target,
    pub(crate) resource: ResourceName,
    pub(crate) arguments: Option<Arguments>,
    pub(crate) circumstances: Circumstances,
}

pub(crate) const NOW: Timestamp = Timestamp::from_unix_seconds(1_767_225_600);

impl Asking {
    /// Alice calls a tool of the server `demo`.
    pub(crate) fn call(tool: &str) -> Self {
        let resource: ResourceName = "demo".parse().unwrap();
        Self {
            subject: Subject {
                kind: SubjectKind::User,
                id: "corp/alice".to_owned(),
                roles: BTreeSet::new(),
                groups: BTreeSet::new(),
                tenant: None,
                tags: BTreeMap::new(),
                supplied: palisade_model::Properties::default(),
            },
            authority: Some(Authority {
                issuer: "corp".parse().unwrap(),
                audience: [Audience::from("https://mcp.example.com/demo")].into(),
                scopes: Scopes::new(),
                client: Some("corp/app".to_owned()),
                actors: Vec::new(),
                acr: None,
                amr: BTreeSet::new(),
                auth_time: None,
                groups_complete: true,
                token_id: "jti:1".to_owned(),
                expires_at: NOW,
            }),
            scopes: Scopes::new(),
            acr: None,
            auth_time: None,
            action: Action::mcp("tools/call"),
            target: Target::mcp_tool(&resource, tool),
            resource,
            arguments: None,
            circumstances: Circumstances {
                now: NOW,
                ip: None,
                host: None,
                path: None,
                surface: Surface::Decide,
                asserted: false,
                sent: None,
            },
        }
    }

    pub(crate) fn scopes(mut self, scopes: &[&str]) -> Self {
        self.scopes = scopes.iter().map(|scope| scope.parse().unwrap()).collect();
        self
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn query(&self) -> Query<'_> {
        Query {
            subject: &self.subject,
            authority: self.authority.as_ref(),
            strength: Strength { scopes: &self.scopes, acr: self.acr.as_deref(), auth_time: self.auth_time },
            action: &self.action,
            target: &self.target,
            resource: &self.resource,
            arguments: self.arguments.as_ref(),
            supplied: None,
            circumstances: &self.circumstances,
        }
    }
}

/// A server `demo` with the tools `echo` and `delete`, and a service `orders` with one route.
pub(crate) fn world() -> World {
    let tool =
        |name: &str| Tool { name: name.to_owned(), groups: vec!["files".to_owned()], ..Tool::default() };
    World {
        resources: vec![
            WorldResource {
                name: "demo".parse().unwrap(),
                kind: Kind::Mcp,
                identifier: "https://mcp.example.com/demo".to_owned(),
                tools: vec![
                    Tool {
                        read_only: Some(true),
                        input_schema: Some(json!({"type": "object"})),
                        ..tool("echo")
                    },
                    tool("delete"),
                ],
                routes: Vec::new(),
                graph: None,
            },
            WorldResource {
                name: "orders".parse().unwrap(),
                kind: Kind::Http,
                identifier: "https://orders.example.com".to_owned(),
                tools: Vec::new(),
                routes: vec!["/v1/orders/{id}".to_owned()],
                graph: None,
            },
        ],
        exchanges: vec![WorldExchange {
            name: "ledger".parse().unwrap(),
            audience: "https://ledger.example.com".to_owned(),
            resources: ["demo".parse().unwrap()].into(),
        }],
    }
}

pub(crate) fn sources(policies: &str, entities: &str) -> Sources {
    Sources {
        policies: vec![SourceFile::new("set/a.cedar", policies)],
        entities: vec![SourceFile::new("set/entities.json", entities)],
        ..Sources::default()
    }
}

pub(crate) fn load(policies: &str) -> Policies {
    load_with(policies, "[]", OnError::Forbid)
}

fn load_with(policies: &str, entities: &str, on_error: OnError) -> Policies {
    Policies::load(&sources(policies, entities), &world(), on_error).unwrap_or_else(|errors| {
        panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

/// Whether one permit with this condition permits alice's call of `echo`.
fn holds(condition: &str, asking: &Asking) -> bool {
    let policies = load(&format!("@id(\"p\") permit (principal, action, resource) when {{ {condition} }};"));
    let verdict = policies.evaluate(&asking.query());
    assert_eq!(verdict.errors(), [], "{condition}");
    assert_ne!(verdict.reason(), Reason::PolicyError, "{condition}: {:?}", verdict.detail());
    verdict.permits()
}

fn call_policy(condition: &str) -> String {
    format!(
        "@id(\"p\") permit (principal is User, action in Mcp::Action::\"tools/call\", resource) when {{ {condition} }};"
    )
}

/// Integer overflow is the one error that strict validation lets by.
const OVERFLOW: &str = "9223372036854775807 + context.delegation_depth > 0";

#[test]
fn an_error_never_leaves_an_allow_that_it_should_not() {
    let permit = "@id(\"ok\") permit (principal, action, resource);";
    let bad_permit =
        format!("@id(\"bad-permit\") permit (principal, action, resource) when {{ {OVERFLOW} }};");
    let bad_forbid =
        format!("@id(\"bad-forbid\") forbid (principal, action, resource) when {{ {OVERFLOW} }};");
    let asking = Asking::call("echo").with(|asking| {
        asking.authority.as_mut().unwrap().actors = vec!["corp/agent".to_owned()];
    });
    for (set, forbid, any, skip) in [
        (permit.to_owned(), Reason::Permitted, Reason::Permitted, Reason::Permitted),
        (format!("{permit}{bad_permit}"), Reason::Permitted, Reason::PolicyError, Reason::Permitted),
        (format!("{permit}{bad_forbid}"), Reason::PolicyError, Reason::PolicyError, Reason::Permitted),
        (bad_permit.clone(), Reason::NoPermit, Reason::NoPermit, Reason::NoPermit),
    ] {
        for (on_error, reason) in [(OnError::Forbid, forbid), (OnError::Any, any), (OnError::Skip, skip)] {
            let verdict = load_with(&set, "[]", on_error).evaluate(&asking.query());
            assert_eq!(verdict.reason(), reason, "{set} {on_error:?}");
            assert_eq!(verdict.errors().len(), usize::from(set.contains("bad")), "{set}");
            for error in verdict.errors() {
                assert_eq!(error.message, "integer overflow", "no value of the request is told");
            }
        }
    }
}

#[test]
fn a_verdict_names_the_policies_with_their_place_code_and_duties() {
    let policies = load(
        "@id(\"b\") @obligation(\"log\") permit (principal, action, resource);\n\n\
         @id(\"f2\")\n@deny_code(\"late\")\n@advice(\"come earlier\")\n\
         forbid (principal, action, resource) when { context.scopes.contains(\"late\") };\n\
         permit (principal, action, resource);\n",
    );
    let permit = policies.evaluate(&Asking::call("echo").query());
    let ids: Vec<(&str, usize)> =
        permit.determining().iter().map(|policy| (policy.id.as_str(), policy.line)).collect();
    assert_eq!(ids, [("a#3", 7), ("b", 1)]);
    assert_eq!(permit.obligations(), ["log"]);
    assert_eq!(
        (permit.policy_code(), permit.candidates()),
        (None, 2),
        "a scope that nobody has finds no policy"
    );
    let forbid = policies.evaluate(&Asking::call("echo").scopes(&["late"]).query());
    assert_eq!(forbid.reason(), Reason::Forbidden);
    assert_eq!(forbid.policy_code(), Some("late"));
    assert_eq!(forbid.advice(), ["come earlier"]);
    assert_eq!(
        forbid.determining()[0],
        PolicyRef { id: "f2".to_owned(), file: "set/a.cedar".to_owned(), line: 3 }
    );
    let effects: Vec<Effect> = policies.policy_ids().map(|info| info.effect).collect();
    assert_eq!(effects, [Effect::Permit, Effect::Permit, Effect::Forbid]);
}

#[test]
fn the_revision_changes_with_everything_that_can_change_a_decision_and_with_nothing_else() {
    let base = || sources("@id(\"p\") permit (principal, action, resource);", "[]");
    let revision = |sources: &Sources, world: &World, on_error| {
        Policies::load(sources, world, on_error).unwrap().revision().as_str().to_owned()
    };
    let first = revision(&base(), &world(), OnError::Forbid);
    assert_eq!(first.len(), 16);
    let mut moved = base();
    moved.policies[0].path = "/elsewhere/a.cedar".to_owned();
    assert_eq!(revision(&moved, &world(), OnError::Forbid), first);
    let mut renamed = base();
    renamed.policies[0].path = "set/b.cedar".to_owned();
    let mut role = base();
    role.entities[0].text = r#"[{"uid": {"type": "Role", "id": "a"}}]"#.to_owned();
    let mut fragment = base();
    fragment.schema.push(SourceFile::new("own.cedarschema", "namespace Own { entity A; }"));
    let mut tools = world();
    tools.resources[0].tools[0].destructive = Some(false);
    let others = [
        revision(&renamed, &world(), OnError::Forbid),
        revision(&role, &world(), OnError::Forbid),
        revision(&fragment, &world(), OnError::Forbid),
        revision(&base(), &tools, OnError::Forbid),
        revision(&base(), &world(), OnError::Any),
    ];
    let distinct: BTreeSet<&String> = others.iter().chain([&first]).collect();
    assert_eq!(distinct.len(), others.len() + 1);
}

#[test]
fn targets_come_from_the_catalogue() {
    let policies = load("@id(\"p\") permit (principal, action, resource);");
    let demo: ResourceName = "demo".parse().unwrap();
    assert!(policies.knows_target(&Target::mcp_tool(&demo, "echo")));
    assert!(policies.knows_target(&Target::mcp_server(&demo)));
    assert!(!policies.knows_target(&Target::mcp_tool(&demo, "other")));
    assert!(!policies.knows_target(&Target { type_name: "No::Such".to_owned(), id: "x".to_owned() }));
    assert_eq!(policies.source(), "set");
}

#[test]
fn arguments_are_held_against_the_catalogue() {
    let schema = json!({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"], "additionalProperties": false});
    let with = |schema| {
        let tool = Tool { name: "read".to_owned(), input_schema: Some(schema), ..Tool::default() };
        let mut world = world();
        world.resources.iter_mut().for_each(|resource| resource.tools = vec![tool.clone()]);
        Policies::load(&Sources::default(), &world, OnError::Forbid)
    };
    let policies = with(schema).unwrap();
    let demo: ResourceName = "demo".parse().unwrap();
    let accepts = |tool: &str, arguments: &Value| {
        policies.accepts(&Target::mcp_tool(&demo, tool), &Arguments::from_json(arguments).unwrap())
    };
    assert!(accepts("read", &json!({"path": "/a"})));
    for bad in [json!({}), json!({"path": 1}), json!({"path": "/a", "more": 1})] {
        assert!(!accepts("read", &bad), "{bad}");
        assert!(accepts("other", &bad), "a tool without a schema");
    }
    let unread = Arguments { json: None, ..Arguments::from_json(&json!({})).unwrap() };
    assert!(policies.accepts(&Target::mcp_tool(&demo, "read"), &unread));
    let looks_around =
        json!({"properties": {"path": {"type": "string", "pattern": "^(?!\\.)(?!.*\\.\\.)[a-z.]+$"}}});
    let policies = with(looks_around).unwrap();
    let accepts = |path: &str| {
        let arguments = Arguments::from_json(&json!({"path": path})).unwrap();
        policies.accepts(&Target::mcp_tool(&demo, "read"), &arguments)
    };
    assert!(accepts("a.b") && !accepts("a..b") && !accepts(".a"));
    let circle =
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}});
    for (schema, says) in [
        (circle, "tool `read` refers to itself"),
        (json!({"type": "nonsense"}), "tool `read` is no JSON Schema"),
    ] {
        let error = with(schema).unwrap_err()[0].to_string();
        assert!(error.contains(says) && error.contains("help: ask whoever runs the server"), "{error}");
    }
}

/// The contract's table of actions, a row each.
#[test]
fn the_vocabulary_holds_every_row_of_the_contract() {
    let (vocabulary, warnings) = Vocabulary::load(&[], &World::default()).unwrap();
    assert_eq!(warnings, []);
    let server = &["Mcp::Server"][..];
    let rows: [(&str, &[&str], &[&str]); 16] = [
        ("Mcp", &["tools/call"], &["Mcp::Tool"]),
        ("Mcp", &["prompts/get"], &["Mcp::Prompt"]),
        ("Mcp", &["resources/read", "resources/subscribe", "resources/unsubscribe"], &["Mcp::Resource"]),
        ("Mcp", &["completion/complete"], &["Mcp::Prompt", "Mcp::Resource"]),
        (
            "Mcp",
            &["tasks/get", "tasks/list", "tasks/result", "tasks/update", "tasks/cancel"],
            &["Mcp::Server", "Mcp::Tool"],
        ),
        ("Mcp", &["initialize", "server/discover", "ping", "logging/setLevel"], server),
        ("Mcp", &["tools/list", "prompts/list", "resources/list"], server),
        (
            "Mcp",
            &["subscriptions/listen", "stream/open", "session/delete", "response", "notification"],
            server,
        ),
        ("Graphql", &["query", "mutation", "subscription"], &["Graphql::Operation"]),
        ("Graphql", &["field"], &["Graphql::Field", "Graphql::Type"]),
        ("Graphql", &["policy"], &["Graphql::Policy"]),
        ("Graphql", &["introspect"], &["Graphql::Graph"]),
        ("Http", &["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"], &["Http::Route"]),
        ("OAuth", &["exchange"], &["OAuth::Audience"]),
        ("Mcp", &["session", "list"], &[]),
        ("Http", &["read", "write"], &[]),
    ];
    for (namespace, names, resources) in rows {
        for name in names {
            let action = Action { namespace: namespace.to_owned(), name: (*name).to_owned() };
            let found: Vec<&str> = vocabulary
                .action(&action)
                .iter()
                .flat_map(|act| &act.resources)
                .map(String::as_str)
                .collect();
            assert_eq!(found, resources, "{}", action.entity());
        }
    }
}
