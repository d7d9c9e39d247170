//! Questions: what policies see of a request, and what of it is refused before they are asked.

use palisade_model::{Action, Arguments, ResourceName, Subject, Timestamp};
use serde_json::json;

use super::*;

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
    let cases: [(&str, Asking, Reason); 9] = [
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
            "nobody by another name",
            Asking::call("echo").with(|a| {
                a.subject = Subject { id: "somebody".to_owned(), ..Subject::anonymous() };
                a.authority = None;
            }),
            Reason::InternalError,
        ),
        (
            "a time no calendar has",
            Asking::call("echo").with(|a| a.auth_time = Some(Timestamp::from_unix_seconds(i64::MAX))),
            Reason::InternalError,
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

#[test]
fn an_action_whose_context_nobody_fills_reaches_no_policy() {
    let audience =
        r#"[{"uid": {"type": "OAuth::Audience", "id": "corp"}, "attrs": {"audience": "https://a"}}]"#;
    let policies = load_with("@id(\"p\") permit (principal, action, resource);", audience, OnError::Forbid);
    let exchange = Asking::call("").with(|asking| {
        asking.action = Action { namespace: "OAuth".to_owned(), name: "exchange".to_owned() };
        asking.target = Target { type_name: "OAuth::Audience".to_owned(), id: "corp".to_owned() };
    });
    assert_eq!(policies.evaluate(&exchange.query()).reason(), Reason::InternalError);
}

/// Alice asks for an exchange on terms of her own.
fn exchange(policies: &Policies, scopes: &[&str], lifetime: u64, target: &str) -> Verdict {
    let asking = Asking::call("").scopes(&["a"]).with(|asking| {
        asking.action = Action::exchange();
        asking.target = Target::audience(&target.parse().unwrap());
    });
    let query = asking.query();
    let subject = policies.prepare(query.subject, query.authority, query.strength);
    let scopes = scopes.iter().map(|scope| scope.parse().unwrap()).collect();
    let terms = Terms {
        scopes: &scopes,
        lifetime: std::time::Duration::from_secs(lifetime),
        requester: "corp/gateway",
    };
    policies.ask(&subject, query.circumstances).about_exchange(&query.about(), &terms)
}

#[test]
fn an_exchange_is_asked_about_with_its_terms() {
    let entities = r#"[{"uid": {"type": "Client", "id": "corp/gateway"}, "attrs": {}, "parents": [{"type": "Group", "id": "gateways"}]}]"#;
    let text = r#"@id("p") permit (principal is User, action == OAuth::Action::"exchange", resource == OAuth::Audience::"ledger")
        when {
            context.scopes.contains("a") && ["read", "write"].containsAll(context.requested_scopes) &&
            context.requested_lifetime <= duration("5m") && context.requester in Group::"gateways" &&
            resource.audience == "https://ledger.example.com"
        };"#;
    // The requester is what entity files say of it, too.
    assert_eq!(exchange(&load(text), &["read"], 300, "ledger").reason(), Reason::NoPermit);
    let policies = load_with(text, entities, OnError::Forbid);
    for (scopes, lifetime, target, reason) in [
        (&["read"][..], 300, "ledger", Reason::Permitted),
        (&["read", "write"], 1, "ledger", Reason::Permitted),
        (&[], 300, "ledger", Reason::Permitted),
        (&["read", "admin"], 300, "ledger", Reason::NoPermit),
        (&["read"], 301, "ledger", Reason::NoPermit),
        (&["read"], 300, "nothing", Reason::TargetUnknown),
    ] {
        let verdict = exchange(&policies, scopes, lifetime, target);
        assert_eq!(verdict.reason(), reason, "{scopes:?} {lifetime} {target}");
    }
    // Terms are for exchanges, and exchanges are asked about with terms.
    let call = Asking::call("echo");
    let query = call.query();
    let subject = policies.prepare(query.subject, query.authority, query.strength);
    let scopes = Scopes::new();
    let terms = Terms { scopes: &scopes, lifetime: std::time::Duration::ZERO, requester: "corp/gateway" };
    let verdict = policies.ask(&subject, query.circumstances).about_exchange(&query.about(), &terms);
    assert_eq!(verdict.reason(), Reason::InternalError);
}
