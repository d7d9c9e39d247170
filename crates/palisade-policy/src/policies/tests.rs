use std::collections::{BTreeMap, BTreeSet};

use palisade_model::{
    Action, Arguments, Audience, Authority, Circumstances, ResourceName, Scopes, Subject, SubjectKind,
    Surface, Timestamp,
};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{Kind, Severity, Strength, Tool, WorldResource};

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
            },
            WorldResource {
                name: "orders".parse().unwrap(),
                kind: Kind::Http,
                identifier: "https://orders.example.com".to_owned(),
                tools: Vec::new(),
                routes: vec!["/v1/orders/{id}".to_owned()],
            },
        ],
    }
}

pub(crate) fn sources(policies: &str, entities: &str) -> Sources {
    Sources {
        policies: vec![SourceFile::new("set/a.cedar", policies)],
        schema: Vec::new(),
        entities: vec![SourceFile::new("set/entities.json", entities)],
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

#[test]
fn the_context_holds_what_the_token_and_the_request_say() {
    let asking = Asking::call("echo").scopes(&["a", "b"]).with(|asking| {
        asking.acr = Some("mfa".to_owned());
        asking.auth_time = Some(NOW.minus(std::time::Duration::from_secs(60)));
        asking.circumstances.ip = Some("10.1.2.3".parse().unwrap());
        asking.circumstances.host = Some("h".to_owned());
        asking.circumstances.path = Some("/p".to_owned());
        let authority = asking.authority.as_mut().unwrap();
        authority.actors = vec!["corp/agent".to_owned(), "corp/outer".to_owned()];
        authority.amr = ["otp".to_owned()].into();
    });
    for condition in [
        r#"context.scopes == ["a", "b"]"#,
        r#"context.issuer == "corp""#,
        r#"context.audience.contains("https://mcp.example.com/demo")"#,
        r#"context has client && context.client == Client::"corp/app""#,
        r#"context has actor && context.actor == Client::"corp/agent""#,
        r#"context.actors == [Client::"corp/agent", Client::"corp/outer"] && context.delegation_depth == 2"#,
        r#"context has acr && context.acr == "mfa" && context.amr.contains("otp")"#,
        r#"context has auth_time && context.now.durationSince(context.auth_time) == duration("1m")"#,
        r#"context.now == datetime("2026-01-01T00:00:00Z")"#,
        r#"context has ip && context.ip.isInRange(ip("10.0.0.0/8"))"#,
        r#"context has host && context.host == "h" && context has path && context.path == "/p""#,
        r#"context.surface == "decide" && context.groups_complete && !context.asserted"#,
    ] {
        assert!(holds(condition, &asking), "{condition}");
    }
}

#[test]
fn without_a_token_the_context_is_nobodys() {
    let asking = Asking::call("echo").with(|asking| {
        asking.subject = Subject::anonymous();
        asking.authority = None;
    });
    let condition = r#"principal == Anonymous::"anonymous" && context.issuer == "" && context.scopes.isEmpty()
        && !(context has client) && !(context has acr) && context.audience.isEmpty()"#;
    assert!(holds(condition, &asking));
}

#[test]
fn arguments_are_bags_by_pointer() {
    let asking = Asking::call("echo").with(|asking| {
        let value = json!({"path": "/w/a", "n": 5, "f": 1.5, "b": true, "l": ["x"], "o": null});
        asking.arguments = Some(Arguments::from_json(&value).unwrap());
    });
    let policies = |condition: &str| load(&call_policy(condition)).evaluate(&asking.query()).permits();
    for condition in [
        r#"context.args.text.hasTag("/path") && context.args.text.getTag("/path") like "/w/*""#,
        r#"context.args.number.hasTag("/n") && context.args.number.getTag("/n") == 5"#,
        r#"context.args.fraction.hasTag("/f") && context.args.fraction.getTag("/f").lessThan(decimal("1.6"))"#,
        r#"context.args.flag.hasTag("/b") && context.args.flag.getTag("/b")"#,
        r#"context.args.list.hasTag("/l") && context.args.list.getTag("/l").contains("x")"#,
        r#"context.args.paths.contains("/o") && context.args.unmapped == ["/o"]"#,
        r#"!context.args.text.hasTag("/n") && context.args.digest != """#,
    ] {
        assert!(policies(condition), "{condition}");
    }
}

#[test]
fn no_arguments_are_empty_arguments_with_the_digest_of_an_empty_object() {
    let digest = Arguments::from_json(&json!({})).unwrap().digest;
    let policies =
        load(&call_policy(&format!(r#"context.args.paths.isEmpty() && context.args.digest == "{digest}""#)));
    assert!(policies.evaluate(&Asking::call("echo").query()).permits());
}

#[test]
fn a_tool_that_no_catalogue_lists_is_judged_by_the_defaults() {
    let condition = r#"resource is Mcp::Tool && !resource.listed && resource.name == "x/y" && !resource.read_only
        && resource.destructive && !resource.idempotent && resource.open_world
        && resource in Mcp::Server::"demo" && resource.server.identifier == "https://mcp.example.com/demo""#;
    assert!(holds(condition, &Asking::call("x/y")));
    assert!(!holds(condition, &Asking::call("echo")));
    let listed = r#"resource is Mcp::Tool && resource.listed && resource.read_only && resource in Mcp::ToolGroup::"demo/files""#;
    assert!(holds(listed, &Asking::call("echo")));
}

#[test]
fn prompts_and_resources_need_no_catalogue() {
    let demo: ResourceName = "demo".parse().unwrap();
    let prompt = Asking::call("").with(|asking| {
        asking.action = Action::mcp("prompts/get");
        asking.target = Target::mcp_prompt(&demo, "greet");
    });
    assert!(holds(
        r#"resource is Mcp::Prompt && resource.name == "greet" && resource in Mcp::Server::"demo""#,
        &prompt
    ));
    let resource = Asking::call("").with(|asking| {
        asking.action = Action::mcp("resources/read");
        asking.target = Target::mcp_resource(&demo, "file:///a");
    });
    assert!(holds(r#"resource is Mcp::Resource && resource.uri == "file:///a""#, &resource));
}

#[test]
fn a_route_is_one_of_the_configuration_or_unknown() {
    let orders: ResourceName = "orders".parse().unwrap();
    let get = |template: &str| {
        Asking::call("").with(|asking| {
            asking.action = Action::http("GET");
            asking.target = Target::http_route(&orders, template);
            asking.resource = orders.clone();
        })
    };
    let condition = r#"resource is Http::Route && resource.template == "/v1/orders/{id}" && resource in Http::Service::"orders""#;
    assert!(holds(condition, &get("/v1/orders/{id}")));
    let policies = load("@id(\"p\") permit (principal, action in Http::Action::\"read\", resource);");
    assert!(policies.evaluate(&get("/v1/orders/{id}").query()).permits());
    let verdict = policies.evaluate(&get("/other").query());
    assert_eq!(verdict.reason(), Reason::TargetUnknown);
}

#[test]
fn what_does_not_fit_the_schema_is_denied_with_its_reason() {
    let policies = load("@id(\"p\") permit (principal, action, resource);");
    let demo: ResourceName = "demo".parse().unwrap();
    let cases: [(&str, Asking, Reason); 8] = [
        (
            "no such method",
            Asking::call("echo").with(|a| a.action = Action::mcp("tools/delete")),
            Reason::MethodUnknown,
        ),
        (
            "a group is no method",
            Asking::call("echo").with(|a| a.action = Action::mcp("session")),
            Reason::MethodUnknown,
        ),
        (
            "no such namespace",
            Asking::call("echo").with(|a| a.action.namespace = "X".to_owned()),
            Reason::MethodUnknown,
        ),
        (
            "wrong type",
            Asking::call("").with(|a| a.target = Target::mcp_server(&demo)),
            Reason::TargetUnknown,
        ),
        (
            "another resource's tool",
            Asking::call("").with(|a| a.target.id = "demo2/echo".to_owned()),
            Reason::TargetUnknown,
        ),
        ("no name", Asking::call(""), Reason::TargetUnknown),
        (
            "a server nobody configured",
            Asking::call("echo").with(|a| {
                a.resource = "gone".parse().unwrap();
                a.target = Target::mcp_tool(&a.resource, "echo");
            }),
            Reason::TargetUnknown,
        ),
        (
            "a time no calendar has",
            Asking::call("echo").with(|a| a.auth_time = Some(Timestamp::from_unix_seconds(i64::MAX))),
            Reason::PolicyError,
        ),
    ];
    for (name, asking, reason) in cases {
        let verdict = policies.evaluate(&asking.query());
        assert_eq!(verdict.reason(), reason, "{name}");
        assert!(!verdict.permits() && verdict.detail().is_some(), "{name}");
    }
}

#[test]
fn parents_are_those_of_token_and_entity_files_and_tags_those_of_the_token() {
    let entities = r#"[
        {"uid": {"type": "Role", "id": "corp/admin"}, "attrs": {}, "parents": [{"type": "Role", "id": "admin"}]},
        {"uid": {"type": "Role", "id": "admin"}, "attrs": {}, "parents": []},
        {"uid": {"type": "User", "id": "corp/alice"}, "attrs": {}, "tags": {"dept": ["board"]},
         "parents": [{"type": "Group", "id": "corp/founders"}]}
    ]"#;
    let asking = Asking::call("echo").with(|asking| {
        asking.subject.roles = ["corp/admin".to_owned()].into();
        asking.subject.tenant = Some("corp/acme".to_owned());
        asking.subject.tags.insert("dept".to_owned(), ["sales".to_owned()].into());
    });
    let condition = r#"principal in Role::"admin" && principal in Role::"corp/admin" && principal in Group::"corp/founders"
        && principal in Tenant::"corp/acme" && principal has tenant && principal.tenant == Tenant::"corp/acme"
        && principal.hasTag("dept") && principal.getTag("dept") == ["sales"]"#;
    let policies = load_with(&call_policy(condition), entities, OnError::Forbid);
    assert!(policies.evaluate(&asking.query()).permits());
    let [warning] = policies.warnings() else { panic!("{:?}", policies.warnings()) };
    assert!(warning.to_string().contains("tags of `User::\"corp/alice\"` are left out"), "{warning}");
    let stranger = asking.clone().with(|asking| asking.subject.roles = ["partner/admin".to_owned()].into());
    assert!(!policies.evaluate(&stranger.query()).permits());
}

#[test]
fn what_belongs_to_a_server_belongs_to_its_tenant() {
    let entities = r#"[
        {"uid": {"type": "Mcp::Server", "id": "demo"}, "attrs": {"tenant": {"type": "Tenant", "id": "corp/acme"}},
         "parents": [{"type": "Tenant", "id": "corp/acme"}], "tags": {"zone": ["eu"]}}
    ]"#;
    let condition = r#"resource has tenant && resource.tenant == Tenant::"corp/acme" && resource in Tenant::"corp/acme"
        && resource.server.hasTag("zone") && resource.server.getTag("zone").contains("eu")"#;
    let policies = load_with(&call_policy(condition), entities, OnError::Forbid);
    for tool in ["echo", "unlisted"] {
        assert!(policies.evaluate(&Asking::call(tool).query()).permits(), "{tool}");
    }
}

#[test]
fn entities_that_a_condition_names_can_be_looked_into() {
    let entities = r#"[
        {"uid": {"type": "Group", "id": "inner"}, "attrs": {}, "parents": [{"type": "Group", "id": "outer"}]}
    ]"#;
    for condition in [
        r#"Mcp::Server::"demo".identifier == "https://mcp.example.com/demo""#,
        r#"Group::"inner" in Group::"outer""#,
        r#"(if context.asserted then Group::"x" else Group::"inner") in Group::"outer""#,
    ] {
        let policies = load_with(&call_policy(condition), entities, OnError::Forbid);
        assert!(policies.evaluate(&Asking::call("echo").query()).permits(), "{condition}");
    }
}

#[test]
fn a_fragment_brings_entities_and_actions_of_its_own() {
    let mut sources = sources(
        "@id(\"p\") permit (principal is User, action == Own::Action::\"open\", resource is Own::Door) when { resource.room.floor == 2 };",
        r#"[
            {"uid": {"type": "Own::Room", "id": "r"}, "attrs": {"floor": 2}, "parents": []},
            {"uid": {"type": "Own::Door", "id": "d"}, "attrs": {"room": {"type": "Own::Room", "id": "r"}}, "parents": []}
        ]"#,
    );
    sources.schema.push(SourceFile::new(
        "own.cedarschema",
        "namespace Own { entity Room { floor: Long }; entity Door { room: Room };
         action \"open\" appliesTo { principal: [User], resource: [Door], context: Palisade::Context }; }",
    ));
    let policies = Policies::load(&sources, &world(), OnError::Forbid).unwrap();
    let open = |id: &str| {
        Asking::call("").with(|asking| {
            asking.action = Action { namespace: "Own".to_owned(), name: "open".to_owned() };
            asking.target = Target { type_name: "Own::Door".to_owned(), id: id.to_owned() };
        })
    };
    assert!(policies.evaluate(&open("d").query()).permits());
    assert_eq!(policies.evaluate(&open("e").query()).reason(), Reason::TargetUnknown);
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
    assert_eq!((permit.policy_code(), permit.candidates()), (None, 3));
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

/// The first error, or the first warning, of a set.
fn finding(sources: &Sources) -> Diagnostic {
    match Policies::load(sources, &world(), OnError::Forbid) {
        Ok(policies) => policies.warnings().first().cloned().expect("a finding"),
        Err(errors) => errors[0].clone(),
    }
}

#[test]
fn what_is_wrong_with_a_policy_is_said_with_place_and_fix() {
    for (text, place, severity, says, helps) in [
        (
            "permit (principal, action, resource",
            "set/a.cedar:1:",
            Severity::Error,
            "unexpected end of input",
            "",
        ),
        (
            "@id(\"p\")\npermit (principal is User, action, resource)\nwhen { context.scope.contains(\"a\") };",
            "set/a.cedar:3:",
            Severity::Error,
            "`scope`",
            "did you mean `scopes`?",
        ),
        (
            "@id(\"p\") permit (principal, action == Mcp::Action::\"tool/call\", resource);",
            "set/a.cedar:1:",
            Severity::Error,
            "tool/call",
            "tools/call",
        ),
        (
            "@id(\"p\") permit (principal is Users, action, resource);",
            "set/a.cedar:1:",
            Severity::Error,
            "Users",
            "User",
        ),
        (
            "@id(\"p\") permit (principal, action, resource);\n@id(\"p\") forbid (principal, action, resource);",
            "set/a.cedar:2:1",
            Severity::Error,
            "the policy id `p` is taken by set/a.cedar:1",
            "an `@id` of its own",
        ),
        (
            "\n permit (principal, action, resource);",
            "set/a.cedar:2:2",
            Severity::Warning,
            "no `@id`",
            "`a#1`",
        ),
        (
            "@id(\"p\") permit (principal, action == Mcp::Action::\"tools/call\", resource);",
            "set/a.cedar:1:1",
            Severity::Warning,
            "action of their own",
            "action in",
        ),
    ] {
        let finding = finding(&sources(text, "[]"));
        let shown = finding.to_string();
        assert!(shown.starts_with(place) && shown.contains(says), "{text}\n{shown}");
        assert!(finding.help.unwrap_or_default().contains(helps), "{text}\n{shown}");
        assert_eq!(finding.severity, severity, "{text}");
    }
}

#[test]
fn two_files_may_not_give_one_id() {
    let mut sources = sources("@id(\"p\") permit (principal, action, resource);", "[]");
    sources
        .policies
        .push(SourceFile::new("set/b.cedar", "\n@id(\"p\") permit (principal, action, resource);"));
    let shown = finding(&sources).to_string();
    assert!(
        shown.starts_with("set/b.cedar:2:1: error: the policy id `p` is taken by set/a.cedar:1"),
        "{shown}"
    );
}

#[test]
fn templates_stand_beside_policies_and_decide_nothing() {
    let policies = load(
        "@id(\"t\") permit (principal == ?principal, action, resource);\n@id(\"p\") forbid (principal, action, resource);",
    );
    let verdict = policies.evaluate(&Asking::call("echo").query());
    assert_eq!((verdict.reason(), verdict.determining()[0].line), (Reason::Forbidden, 2));
}

#[test]
fn what_is_wrong_with_an_entity_file_is_said_with_its_place() {
    for (entities, says) in [
        ("{}", "is no list of entities"),
        ("[", "not one JSON value"),
        (r#"[{"attrs": {}}]"#, "has no `uid`"),
        (r#"[{"uid": {"type": "Role", "id": "a"}, "atrs": {}}]"#, "did you mean `attrs`?"),
        (r#"[{"uid": {"type": "Role", "id": "a"}, "parents": {}}]"#, "`parents` is a list"),
        ("[{\"uid\": {\"type\": \"Role\", \"id\": \"a\"}, \"attrs\": {\"x\": 1}}]", "entities.json:1:"),
        (r#"[{"uid": {"type": "Roll", "id": "a"}}]"#, "Roll"),
        (r#"[{"uid": {"type": "Anonymous", "id": "anonymous"}}]"#, "made by the service"),
        (
            r#"[{"uid": {"type": "Palisade::Text", "id": "args"}, "tags": {"/path": "/w"}}]"#,
            "made by the service",
        ),
        (r#"[{"uid": {"type": "Mcp::Action", "id": "x"}}]"#, "made by the service"),
        (r#"[{"uid": {"type": "Role", "id": "a"}}, {"uid": {"type": "Role", "id": "a"}}]"#, "given twice"),
        (
            r#"[{"uid": {"type": "Role", "id": "a"}, "parents": [{"type": "Role", "id": "b"}]},
                {"uid": {"type": "Role", "id": "b"}, "parents": [{"type": "Role", "id": "a"}]}]"#,
            "cycle",
        ),
        (
            r#"[{"uid": {"type": "Role", "id": "a"}, "parents": [{"type": "User", "id": "b"}]}]"#,
            "not allowed to have",
        ),
        (
            r#"[{"uid": {"type": "Mcp::Tool", "id": "demo/echo"}, "attrs": {"read_only": "yes"}}]"#,
            "read_only",
        ),
    ] {
        let shown =
            finding(&sources("@id(\"p\") permit (principal, action, resource);", entities)).to_string();
        assert!(shown.starts_with("set/entities.json") && shown.contains(says), "{entities}\n{shown}");
    }
}

#[test]
fn a_fragment_may_not_touch_what_is_built_in() {
    for (fragment, says) in [
        ("namespace Own { entity User; }", "`Own` defines `User`, which stands in the empty namespace"),
        ("namespace Own { type Role = Long; }", "`Own` defines `Role`"),
        ("entity Device;", "in the empty namespace"),
        ("namespace Mcp { entity Extra; }", "`Mcp`, a namespace of the built-in vocabulary"),
        ("namespace Palisade { type X = Long; }", "`Palisade`"),
        ("namespace Own { entity A in [B]; }", "B"),
        ("namespace Own { entity A", "own.cedarschema:1:"),
        (
            "namespace Own { entity A;\n action \"go\" appliesTo { principal: [User], resource: [A], context: { x: Long } }; }",
            "own.cedarschema:2:",
        ),
    ] {
        let mut sources = sources("@id(\"p\") permit (principal, action, resource);", "[]");
        sources.schema.push(SourceFile::new("own.cedarschema", fragment));
        let shown = finding(&sources).to_string();
        assert!(shown.starts_with("own.cedarschema") && shown.contains(says), "{fragment}\n{shown}");
    }
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
fn targets_and_input_schemas_come_from_the_catalogue() {
    let policies = load("@id(\"p\") permit (principal, action, resource);");
    let demo: ResourceName = "demo".parse().unwrap();
    assert!(policies.knows_target(&Target::mcp_tool(&demo, "echo")));
    assert!(policies.knows_target(&Target::mcp_server(&demo)));
    assert!(!policies.knows_target(&Target::mcp_tool(&demo, "other")));
    assert!(!policies.knows_target(&Target { type_name: "No::Such".to_owned(), id: "x".to_owned() }));
    assert_eq!(policies.input_schema(&Target::mcp_tool(&demo, "echo")), Some(&json!({"type": "object"})));
    assert_eq!(policies.input_schema(&Target::mcp_tool(&demo, "delete")), None);
    assert_eq!(policies.source(), "set");
}

/// The contract's table of actions, a row each.
#[test]
fn the_vocabulary_holds_every_row_of_the_contract() {
    let (vocabulary, warnings) = Vocabulary::load(&[]).unwrap();
    assert_eq!(warnings, []);
    let server = &["Mcp::Server"][..];
    let rows: [(&str, &[&str], &[&str]); 16] = [
        ("Mcp", &["tools/call"], &["Mcp::Tool"]),
        ("Mcp", &["prompts/get"], &["Mcp::Prompt"]),
        ("Mcp", &["resources/read", "resources/subscribe", "resources/unsubscribe"], &["Mcp::Resource"]),
        ("Mcp", &["completion/complete"], &["Mcp::Prompt", "Mcp::Resource"]),
        ("Mcp", &["tasks/get", "tasks/update", "tasks/cancel"], &["Mcp::Server", "Mcp::Tool"]),
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

fn condition() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("true".to_owned()),
        Just(OVERFLOW.to_owned()),
        (0..3_u8).prop_map(|n| format!("context.scopes.contains(\"s{n}\")")),
        (0..3_u8).prop_map(|n| format!("principal in Role::\"r{n}\"")),
        Just("context has actor && context.actor in Group::\"g\"".to_owned()),
        Just("resource.listed".to_owned()),
        Just(
            "context.args.text.hasTag(\"/path\") && context.args.text.getTag(\"/path\") like \"/w/*\""
                .to_owned()
        ),
        Just("resource.server.hasTag(\"zone\")".to_owned()),
        Just("Group::\"inner\" in Group::\"g\"".to_owned()),
    ]
}

prop_compose! {
    fn policy()(
        forbid in prop::bool::weighted(0.3),
        principal in prop_oneof![
            Just("principal"), Just("principal is User"), Just("principal in Role::\"r0\""), Just("principal in Role::\"corp/x\"")
        ],
        resource in prop_oneof![
            Just("resource"), Just("resource == Mcp::Tool::\"demo/echo\""), Just("resource in Mcp::ToolGroup::\"demo/files\""),
            Just("resource in Mcp::Server::\"demo\"")
        ],
        condition in condition(),
        unless in prop::bool::ANY,
    ) -> String {
        let effect = if forbid { "forbid" } else { "permit" };
        let clause = if unless { "unless" } else { "when" };
        format!("{effect} ({principal}, action in Mcp::Action::\"tools/call\", {resource}) {clause} {{ {condition} }};")
    }
}

prop_compose! {
    fn asking()(
        tool in prop_oneof![Just("echo"), Just("delete"), Just("other")],
        scopes in prop::collection::btree_set(0..3_u8, 0..3),
        role in prop::option::of(0..3_u8),
        agent in prop::bool::ANY,
        path in prop::option::of(prop_oneof![Just("/w/a"), Just("/etc")]),
        nobody in prop::bool::weighted(0.1),
    ) -> Asking {
        let scopes: Vec<String> = scopes.into_iter().map(|n| format!("s{n}")).collect();
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        Asking::call(tool).scopes(&scopes).with(|asking| {
            asking.subject.roles = role.map(|n| format!("corp/r{n}")).into_iter().collect();
            asking.arguments = path.map(|path| Arguments::from_json(&json!({ "path": path })).unwrap());
            if agent {
                asking.authority.as_mut().unwrap().actors = vec!["corp/agent".to_owned()];
            }
            if nobody {
                asking.subject = Subject::anonymous();
                asking.authority = None;
            }
        })
    }
}

/// Every role of `corp` is the global role of the same number; the agent and an inner group are in `g`.
const ENTITIES: &str = r#"[
    {"uid": {"type": "Role", "id": "corp/r0"}, "parents": [{"type": "Role", "id": "r0"}, {"type": "Role", "id": "corp/x"}]},
    {"uid": {"type": "Role", "id": "corp/r1"}, "parents": [{"type": "Role", "id": "r1"}]},
    {"uid": {"type": "Client", "id": "corp/agent"}, "parents": [{"type": "Group", "id": "inner"}]},
    {"uid": {"type": "Group", "id": "inner"}, "parents": [{"type": "Group", "id": "g"}]},
    {"uid": {"type": "Mcp::Server", "id": "demo"}, "tags": {"zone": ["eu"]}}
]"#;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Against Cedar itself, asked with every entity there is instead of the few that were put together.
    #[test]
    fn a_verdict_is_what_cedar_says_and_an_erroring_forbid_never_leaves_a_permit(
        set in prop::collection::vec(policy(), 0..6),
        asking in asking(),
    ) {
        let text = set.join("\n");
        let files = sources(&text, ENTITIES);
        let load = |on_error| Policies::load(&files, &world(), on_error).unwrap();
        let skip = load(OnError::Skip);
        let query = asking.query();
        let verdict = skip.evaluate(&query);
        let question = skip.question(&query).unwrap();
        let everything = skip.store.slice(question.entities.iter().cloned().collect(), skip.store.uids()).unwrap();
        let plain: cedar_policy::PolicySet = text.parse().unwrap();
        let response = cedar_policy::Authorizer::new().is_authorized(&question.request, &plain, &everything);
        prop_assert_eq!(verdict.permits(), response.decision() == cedar_policy::Decision::Allow, "{}", text);
        prop_assert_eq!(verdict.errors().len(), response.diagnostics().errors().count());
        prop_assert_eq!(verdict.determining().len(), response.diagnostics().reason().count());

        let forbid = load(OnError::Forbid);
        let strict = forbid.evaluate(&query);
        let erroring_forbid = strict.errors().iter().any(|error| forbid.infos[&error.policy.id].effect == Effect::Forbid);
        prop_assert_eq!(strict.permits(), verdict.permits() && !erroring_forbid);
        let any = load(OnError::Any).evaluate(&query);
        prop_assert_eq!(any.permits(), verdict.permits() && verdict.errors().is_empty());
    }
}
