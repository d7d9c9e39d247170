use std::{collections::BTreeMap, path::Path};

use super::*;
use crate::{
    Kind, OnError, ResourceSettings, SourceFile, TestBed, Tool, World, WorldGraph, WorldResource, read_tree,
};

/// A server `demo` with the tools `read` and `write`, the latter in the group `change`, and two scopes.
fn deployment() -> Deployment {
    let tool = |name: &str, groups: &[&str]| Tool {
        name: name.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..Tool::default()
    };
    let demo = WorldResource {
        name: "demo".parse().unwrap(),
        kind: Kind::Mcp,
        identifier: "https://mcp.example.com/demo".to_owned(),
        tools: vec![tool("read", &[]), tool("write", &["change"])],
        routes: Vec::new(),
        graph: None,
    };
    let orders = WorldResource {
        name: "orders".parse().unwrap(),
        kind: Kind::Http,
        identifier: "https://api.example.com/orders".to_owned(),
        tools: Vec::new(),
        routes: vec!["/v1/orders/{id}".to_owned()],
        graph: None,
    };
    let scopes = ["files:read", "files:write"].map(|scope| scope.parse().unwrap());
    let settings = ResourceSettings { scopes: scopes.into(), ..ResourceSettings::default() };
    Deployment {
        world: World { resources: vec![demo, orders], ..World::default() },
        settings: BTreeMap::from([("demo".parse().unwrap(), settings)]),
        on_error: OnError::Forbid,
        complete: true,
    }
}

const ROLES: &str = r#"[
    {"uid": {"type": "Role", "id": "corp/chief"}, "parents": [{"type": "Role", "id": "admin"}]},
    {"uid": {"type": "Role", "id": "admin"}, "parents": []}
]"#;

/// The lints of a set, each with its line and what it says.
fn found(policies: &str, deployment: &Deployment) -> Vec<Diagnostic> {
    let sources = Sources {
        policies: vec![SourceFile::new("a.cedar", policies)],
        entities: vec![SourceFile::new("entities.json", ROLES)],
        ..Sources::default()
    };
    let policies = Policies::load(&sources, &deployment.world, OnError::Forbid).unwrap();
    lint(&policies, &sources, deployment)
}

#[track_caller]
fn check(policies: &str, expected: &[(Lint, usize)]) {
    let found = found(policies, &deployment());
    let seen: Vec<(Option<Lint>, usize)> = found.iter().map(|one| (one.lint, one.line)).collect();
    let expected: Vec<(Option<Lint>, usize)> =
        expected.iter().map(|(lint, line)| (Some(*lint), *line)).collect();
    assert_eq!(seen, expected, "{policies}\n{found:#?}");
    assert!(found.iter().all(|one| one.help.is_some()), "every lint has a fix: {found:#?}");
}

/// A permit for `read` with this condition.
fn permit(condition: &str) -> String {
    format!(
        "@id(\"p\") permit (principal is User, action in Mcp::Action::\"tools/call\", resource == Mcp::Tool::\"demo/read\")\n\
         when {{ {condition} }};"
    )
}

fn forbid(condition: &str) -> String {
    permit(condition).replacen("permit", "forbid", 1)
}

#[test]
fn names_are_stable_and_read_back() {
    for lint in Lint::ALL {
        assert_eq!(lint.as_str().parse::<Lint>(), Ok(lint));
        assert_eq!(serde_json::to_value(lint).unwrap(), lint.as_str());
    }
    assert!("shadow".parse::<Lint>().unwrap_err().contains("shadowed"));
}

#[test]
fn a_head_that_no_request_has_and_a_condition_that_never_holds() {
    check(
        "@id(\"p\") permit (principal, action in Mcp::Action::\"tools/call\", resource == Mcp::Server::\"demo\");",
        &[(Lint::NoRequest, 1)],
    );
    check(&permit("principal is Client"), &[(Lint::NeverHolds, 1)]);
    for contradiction in [
        "resource.read_only && !resource.read_only",
        "context.issuer == \"corp\" && \"partner\" == context.issuer",
        "!(resource.listed || resource.read_only) && resource.listed",
    ] {
        check(&permit(contradiction), &[(Lint::NeverHolds, 1)]);
    }
    check(
        "@id(\"p\") permit (principal is User, action, resource == Mcp::Tool::\"demo/read\")\n\
         when { resource.read_only } unless { resource.read_only };",
        &[(Lint::NeverHolds, 1)],
    );
    check(&permit("context.issuer == \"corp\" || context.issuer == \"partner\""), &[]);
    check(&permit("resource.read_only && !resource.destructive"), &[]);
}

#[test]
fn arithmetic_that_overflows_unless_something_bounds_it() {
    let amount = "context.args.number.hasTag(\"/n\") && context.args.number.getTag(\"/n\")";
    for may_fail in [
        format!("{amount} + 1 > 3"),
        format!("{amount} * 2 > 3"),
        format!("-context.args.number.getTag(\"/n\") > 3 && {amount} > 3")
            .replace("-context", "context.args.number.hasTag(\"/n\") && -context"),
        format!("{amount} <= 1000 && context.args.number.getTag(\"/n\") - 5 > 0"),
        format!("resource.read_only || ({amount} - 1 > 3)"),
        "context.now.offset(duration(\"9223372036854775807ms\")) > context.now".to_owned(),
    ] {
        check(&permit(&may_fail), &[(Lint::PermitMayFail, 1)]);
    }
    for cannot in [
        format!("{amount} > 3"),
        format!("{amount} <= 1000 && context.args.number.getTag(\"/n\") + 5 > 0"),
        format!(
            "{amount} >= 0 && 1000 > context.args.number.getTag(\"/n\") && context.args.number.getTag(\"/n\") * 1000 > 7"
        ),
        format!("{amount} == 7 && context.args.number.getTag(\"/n\") * -3 < 0"),
        "context.delegation_depth + 1 < 4".to_owned(),
        "context has auth_time && context.auth_time.offset(duration(\"15m\")) >= context.now".to_owned(),
        "context has auth_time && context.now.durationSince(context.auth_time) < duration(\"1h\")".to_owned(),
        "context.now.toDate() > datetime(\"2026-01-01\") && context.now.toTime() < duration(\"8h\")"
            .to_owned(),
        "datetime(\"2026-01-01\").offset(duration(\"1d\")) < context.now && 1 + 2 * 3 == 7".to_owned(),
    ] {
        check(&permit(&cannot), &[]);
    }
}

/// What else could fail does not get as far as a lint.
#[test]
fn what_is_no_arithmetic_cannot_fail_in_a_set_that_loads() {
    for condition in [
        "ip(context.issuer).isLoopback()",
        "decimal(context.issuer).lessThan(decimal(\"1.0\"))",
        "context.now.offset(duration(context.issuer)) > context.now",
        "datetime(\"2026-13-01\") < context.now",
        "context.acr == \"high\"",
        "principal.getTag(\"teams\").contains(\"a\")",
        "context.args.text.getTag(\"/path\") == \"/etc\"",
    ] {
        let sources =
            Sources { policies: vec![SourceFile::new("a.cedar", permit(condition))], ..Sources::default() };
        assert!(Policies::load(&sources, &deployment().world, OnError::Forbid).is_err(), "{condition}");
    }
}

#[test]
fn an_action_that_others_are_in() {
    let own = "namespace Own { entity Thing; \
        action \"change\", \"see\" appliesTo { principal: [User], resource: [Thing], context: Palisade::Context }; \
        action \"rename\" in [\"change\"] appliesTo { principal: [User], resource: [Thing], context: Palisade::Context }; }";
    for (action, lints) in [
        ("== Own::Action::\"change\"", vec![Some(Lint::ActionEquals)]),
        ("in Own::Action::\"change\"", vec![]),
        ("== Own::Action::\"see\"", vec![]),
        ("== Mcp::Action::\"session\"", vec![Some(Lint::NoRequest)]),
        ("== Mcp::Action::\"tools/call\"", vec![Some(Lint::ActionEquals)]),
    ] {
        let policy = format!("@id(\"p\") permit (principal == User::\"corp/a\", action {action}, resource);");
        let sources = Sources {
            policies: vec![SourceFile::new("a.cedar", policy)],
            schema: vec![SourceFile::new("own.cedarschema", own)],
            ..Sources::default()
        };
        let policies = Policies::load(&sources, &World::default(), OnError::Forbid).unwrap();
        let found = lint(&policies, &sources, &Deployment::default());
        assert_eq!(found.iter().map(|one| one.lint).collect::<Vec<_>>(), lints, "{action}: {found:#?}");
    }
}

#[test]
fn a_forbid_that_may_fail_is_named_by_itself() {
    let policies = forbid(
        "resource.read_only || (context.args.number.hasTag(\"/n\") && context.args.number.getTag(\"/n\") + 1 > 3)",
    );
    check(&policies, &[(Lint::ForbidMayFail, 1)]);
    assert!(found(&policies, &deployment())[0].message.contains("getTag(\"/n\") + 1"));
}

#[test]
fn scopes_that_nobody_lists_or_that_are_spelt_wrong() {
    for (scope, lint) in [
        ("files:raed", Lint::MisspeltScope),
        ("file:read", Lint::MisspeltScope),
        ("filesread", Lint::MisspeltScope),
        ("mail:read", Lint::UnlistedScope),
        ("files:delete", Lint::UnlistedScope),
        ("files:read:all", Lint::UnlistedScope),
    ] {
        check(&permit(&format!("context.scopes.contains(\"{scope}\")")), &[(lint, 2)]);
        check(&permit(&format!("context.scopes.containsAny([\"files:read\", \"{scope}\"])")), &[(lint, 2)]);
    }
    check(&permit("context.scopes.containsAll([\"files:read\", \"files:write\"])"), &[]);
    // Other sets of texts hold no scopes.
    check(
        &permit("context.audience.contains(\"files:raed\") && context.scopes.contains(\"files:read\")"),
        &[],
    );
    let misspelt = permit("context.scopes.contains(\"files:raed\")");
    let help = found(&misspelt, &deployment())[0].help.clone();
    assert_eq!(help.as_deref(), Some("did you mean `files:read`?"));
}

#[test]
fn without_a_configuration_only_the_odd_one_out_is_named() {
    let unknown = Deployment { complete: false, settings: BTreeMap::new(), ..deployment() };
    let asks = |id: &str, scope: &str| {
        permit(&format!("context.scopes.contains(\"{scope}\")"))
            .replace("@id(\"p\")", &format!("@id(\"{id}\")"))
            .replace("demo/read", if id == "a" { "demo/read" } else { "demo/write" })
            .replace("is User", if id == "c" { "is Client" } else { "is User" })
    };
    let odd = [asks("a", "files:read"), asks("b", "files:read"), asks("c", "flies:read")].join("\n");
    let lints: Vec<_> = found(&odd, &unknown).iter().map(|one| (one.lint, one.line)).collect();
    assert_eq!(lints, [(Some(Lint::MisspeltScope), 6)]);
    for two in [
        ["files:read", "mail:read"],
        ["v1:read", "v2:read"],
        ["team1.read", "team2.read"],
        ["a:read", "b:read"],
    ] {
        let policies = [asks("a", two[0]), asks("b", two[0]), asks("c", two[1])].join("\n");
        assert_eq!(found(&policies, &unknown), [], "{two:?}");
    }
}

#[test]
fn permits_without_any_condition_and_policies_that_no_index_holds() {
    check(
        "@id(\"p\") permit (principal, action, resource);",
        &[(Lint::UnconditionalPermit, 1), (Lint::Unindexed, 1)],
    );
    check(
        "@id(\"p\") permit (principal, action in Mcp::Action::\"list\", resource);",
        &[(Lint::UnconditionalPermit, 1)],
    );
    check(
        "@id(\"p\") permit (principal is User, action, resource) when { context.asserted };",
        &[(Lint::Unindexed, 1)],
    );
    check(
        "@id(\"p\") permit (principal, action, resource) when { context.scopes.contains(\"files:read\") };",
        &[],
    );
    check("@id(\"p\") permit (principal in Role::\"admin\", action, resource);", &[]);
    check("@id(\"p\") permit (principal, action, resource in Mcp::Server::\"demo\");", &[]);
    check("@id(\"p\") forbid (principal, action in Mcp::Action::\"tools/call\", resource);", &[]);
}

#[test]
fn targets_that_are_not_there() {
    for (target, helps) in [
        ("resource == Mcp::Tool::\"demo/raed\"", "did you mean `Mcp::Tool::\"demo/read\"`?"),
        ("resource in Mcp::Server::\"dmeo\"", "did you mean `Mcp::Server::\"demo\"`?"),
        ("resource in Mcp::ToolGroup::\"demo/zzz\"", "remove the policy"),
        ("resource is Mcp::Tool in Mcp::Server::\"gone\"", "remove the policy"),
    ] {
        let policy = format!(
            "@id(\"p\") permit (principal is User, action in Mcp::Action::\"tools/call\", {target});"
        );
        check(&policy, &[(Lint::UnknownTarget, 1)]);
        let help = found(&policy, &deployment())[0].help.clone().unwrap_or_default();
        assert!(help.contains(helps), "{target}: {help}");
    }
    check(&permit("resource == Mcp::Tool::\"demo/gone\""), &[(Lint::UnknownTarget, 2)]);
    for target in ["Mcp::Tool::\"demo/write\"", "Mcp::ToolGroup::\"demo/change\"", "Mcp::Server::\"demo\""] {
        check(
            &format!(
                "@id(\"p\") permit (principal is User, action in Mcp::Action::\"tools/call\", resource in {target});"
            ),
            &[],
        );
    }
    check(
        "@id(\"p\") permit (principal is User, action in Http::Action::\"read\", resource == Http::Route::\"orders/v1/orders/{id}\");",
        &[],
    );
    let unknown = Deployment { complete: false, ..deployment() };
    let policy = permit("resource.read_only").replace("demo/read", "demo/gone");
    assert_eq!(found(&policy, &unknown), [], "what is not complete misses nothing");
    let mut bare = deployment();
    bare.world.resources[0].tools.clear();
    assert_eq!(found(&policy, &bare), [], "without a catalogue nobody knows the tools");
}

const CALL: &str = "action in Mcp::Action::\"tools/call\"";

#[test]
fn policies_that_another_one_covers() {
    let policy = |effect: &str, id: &str, principal: &str, resource: &str, rest: &str| {
        format!("@id(\"{id}\") {effect} ({principal}, {CALL}, {resource}) {rest};\n")
    };
    let narrow = policy(
        "permit",
        "n",
        "principal in Role::\"corp/chief\"",
        "resource == Mcp::Tool::\"demo/write\"",
        "when { resource.listed && context.asserted }",
    );
    for wide in [
        policy(
            "permit",
            "w",
            "principal in Role::\"admin\"",
            "resource in Mcp::ToolGroup::\"demo/change\"",
            "",
        ),
        policy(
            "permit",
            "w",
            "principal in Role::\"corp/chief\"",
            "resource in Mcp::Server::\"demo\"",
            "when { resource.listed }",
        ),
        policy(
            "permit",
            "w",
            "principal in Role::\"admin\"",
            "resource is Mcp::Tool",
            "when { context.asserted && resource.listed }",
        ),
        policy("forbid", "w", "principal", "resource in Mcp::Server::\"demo\"", "when { context.asserted }"),
    ] {
        check(&format!("{narrow}{wide}"), &[(Lint::Shadowed, 1)]);
        check(&format!("{wide}{narrow}"), &[(Lint::Shadowed, 2)]);
    }
    for other in [
        policy("permit", "w", "principal in Role::\"other\"", "resource in Mcp::Server::\"demo\"", ""),
        policy("permit", "w", "principal in Role::\"admin\"", "resource == Mcp::Tool::\"demo/read\"", ""),
        policy(
            "permit",
            "w",
            "principal in Role::\"admin\"",
            "resource in Mcp::Server::\"demo\"",
            "when { resource.read_only }",
        ),
        policy(
            "forbid",
            "w",
            "principal in Role::\"admin\"",
            "resource in Mcp::Server::\"demo\"",
            "when { resource.read_only }",
        ),
        policy("forbid", "w", "principal is Client", "resource in Mcp::Server::\"demo\"", ""),
    ] {
        check(&format!("{narrow}{other}"), &[]);
    }
    check(&format!("{narrow}{}", narrow.replace("\"n\"", "\"twin\"")), &[(Lint::Shadowed, 2)]);
    let coded = format!("@deny_code(\"x\") {}", narrow.replace("permit", "forbid"));
    let wide = policy("forbid", "w", "principal", "resource in Mcp::Server::\"demo\"", "");
    check(&format!("{coded}{wide}"), &[]);
    check(
        "@id(\"one\") permit (principal is User, action == Mcp::Action::\"ping\", resource == Mcp::Server::\"demo\");\n\
             @id(\"all\") permit (principal is User, action in Mcp::Action::\"session\", resource == Mcp::Server::\"demo\");",
        &[(Lint::Shadowed, 1)],
    );
}

/// `==` passes by what is in an action, which typed tools bring.
#[test]
fn an_action_that_is_equalled_does_not_cover_those_that_are_in_it() {
    let policy = |id: &str, action: &str| {
        format!(
            "@id(\"{id}\") permit (principal is User, action {action} Mcp::Action::\"tools/call\", resource == Mcp::Tool::\"demo/read\");\n"
        )
    };
    let shadowed = |policies: &str| -> Vec<usize> {
        let found = found(policies, &deployment());
        found.iter().filter(|one| one.lint == Some(Lint::Shadowed)).map(|one| one.line).collect()
    };
    assert_eq!(shadowed(&(policy("wide", "in") + &policy("narrow", "=="))), [2]);
    assert_eq!(shadowed(&(policy("narrow", "==") + &policy("wide", "in"))), [1]);
    assert_eq!(shadowed(&(policy("one", "==") + &policy("two", "=="))), [2]);
}

#[test]
fn a_tool_of_an_entity_file_is_in_what_the_file_says() {
    let policies = "@id(\"one\") permit (principal is User, action in Mcp::Action::\"tools/call\", resource == Mcp::Tool::\"demo/own\");\n\
        @id(\"all\") permit (principal is User, action in Mcp::Action::\"tools/call\", resource in Mcp::Server::\"demo\");";
    let shadowed = |entities: &str| {
        let sources = Sources {
            policies: vec![SourceFile::new("a.cedar", policies)],
            entities: vec![SourceFile::new("entities.json", entities)],
            ..Sources::default()
        };
        let deployment = Deployment { complete: false, ..deployment() };
        let policies = Policies::load(&sources, &deployment.world, OnError::Forbid).unwrap();
        lint(&policies, &sources, &deployment).iter().any(|one| one.lint == Some(Lint::Shadowed))
    };
    let tool = |parents: &str| {
        format!(
            r#"[{{"uid": {{"type": "Mcp::Tool", "id": "demo/own"}}, "parents": [{parents}], "attrs": {{"name": "own", "server":
            {{"__entity": {{"type": "Mcp::Server", "id": "demo"}}}}, "listed": true, "read_only": true, "destructive": false,
            "idempotent": false, "open_world": false}}}}]"#
        )
    };
    assert!(!shadowed(&tool("")), "it is in nothing");
    assert!(shadowed(&tool(r#"{"type": "Mcp::Server", "id": "demo"}"#)));
    assert!(shadowed("[]"), "what nothing lists is asked about as a tool of its server");
}

#[test]
fn a_forbid_that_an_absent_argument_gets_around() {
    let has = "context.args.text.hasTag(\"/path\")";
    let get = "context.args.text.getTag(\"/path\")";
    check(&forbid(&format!("{has} && {get} == \"/etc\"")), &[(Lint::AbsentArgument, 2)]);
    check(
        &forbid(&format!("({has} && {get} == \"/etc\") || ({has} && {get} == \"/bin\")")),
        &[(Lint::AbsentArgument, 2)],
    );
    check(&forbid(&format!("resource.destructive || ({has} && {get} == \"/etc\")")), &[]);
    check(&forbid(&format!("!({has} && {get} == \"/etc\")")), &[]);
    check(&forbid("context.args.paths.contains(\"/force\")"), &[]);
    check(&forbid("principal.hasTag(\"blocked\")"), &[]);
    check(&permit(&format!("{has} && {get} == \"/etc\"")), &[]);
}

#[test]
fn a_prefix_that_dots_lead_out_of() {
    let has = "context.args.text.hasTag(\"/path\")";
    let get = "context.args.text.getTag(\"/path\")";
    let prefix = format!("{has} && {get} like \"/workspace/*\"");
    check(&permit(&prefix), &[(Lint::UnguardedPrefix, 2)]);
    check(&forbid(&format!("!({prefix})")), &[(Lint::UnguardedPrefix, 2)]);
    check(&permit(&format!("{prefix} && !({get} like \"*..*\")")), &[]);
    check(&permit(&format!("{has} && {get} like \"report-*\"")), &[]);
    check(&permit(&format!("{has} && {get} like \"*/x\"")), &[]);
    check(&permit("resource.name like \"a/*\""), &[]);
    let everywhere = format!(
        "@id(\"dots\") forbid (principal, {CALL}, resource in Mcp::Server::\"demo\")\n\
         unless {{ {has} && !({get} like \"*..*\") }};\n{}",
        permit(&prefix)
    );
    check(&everywhere, &[]);
    let of_another =
        everywhere.replace("resource in Mcp::Server::\"demo\"", "resource == Mcp::Tool::\"demo/write\"");
    check(&of_another, &[(Lint::UnguardedPrefix, 4)]);
}

#[test]
fn the_ready_made_sets_give_no_lint() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let mut sets = 0;
    for folder in std::fs::read_dir(&root).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        let sources = read_tree(&folder.path(), &[], &[]).unwrap();
        let bed = TestBed::read(&folder.path()).unwrap();
        assert!(bed.deployment.complete && bed.notes.is_empty(), "{:?}", bed.notes);
        let policies = Policies::load(&sources, &bed.deployment.world, OnError::Forbid).unwrap();
        assert_eq!(lint(&policies, &sources, &bed.deployment), [], "{}", folder.path().display());
        sets += 1;
    }
    assert!(sets >= 4, "{sets}");
}

#[test]
fn a_type_of_a_schema_alone_is_never_asked_about() {
    let permit = |resource: &str, condition: &str| {
        format!(
            "@id(\"a\") permit (principal, action in Graphql::Action::\"field\", {resource}) {condition};"
        )
    };
    let one = "Graphql::Type::\"shop/Order\"";
    let mut deployment = deployment();
    deployment.complete = false;
    for (policy, expected) in [
        (permit(&format!("resource == {one}"), ""), true),
        (permit("resource is Graphql::Type", ""), true),
        (permit(&format!("resource is Graphql::Type in {one}"), ""), true),
        (permit("resource", &format!("when {{ resource == {one} && context.asserted }}")), true),
        (permit("resource", "when { resource is Graphql::Type }"), true),
        (permit("resource", &format!("when {{ resource == {one} || resource is Graphql::Type }}")), true),
        (permit(&format!("resource in {one}"), ""), false),
        (permit("resource", &format!("when {{ resource == {one} || context.asserted }}")), false),
        (permit("resource == Graphql::Field::\"shop/Order.id\"", ""), false),
    ] {
        let lints: Vec<Lint> = found(&policy, &deployment).into_iter().filter_map(|one| one.lint).collect();
        assert_eq!(lints.contains(&Lint::NeverAsked), expected, "{policy}: {lints:?}");
    }
}

/// What a forbid by a label leaves open is told, and a permit by one gives nothing that has to be.
#[test]
fn a_rule_on_a_label_that_does_not_reach_everything_says_so() {
    let policy = |effect: &str, resource: &str, condition: &str| {
        format!(
            "@id(\"a\") {effect} (principal is User, action in Graphql::Action::\"field\", {resource}) {condition};"
        )
    };
    let one = "resource in Graphql::Label::\"shop/pii\"";
    let lacking = BTreeMap::from([("Card".to_owned(), ["Query.card".to_owned()].into())]);
    let graph = WorldGraph {
        elements: BTreeMap::from([
            ("Card".to_owned(), ["pii".to_owned()].into()),
            ("Query.card".to_owned(), [].into()),
            ("Query.mail".to_owned(), ["other".to_owned()].into()),
        ]),
        unlabelled: BTreeMap::from([("pii".to_owned(), lacking)]),
        ..WorldGraph::default()
    };
    let mut deployment = deployment();
    deployment.complete = false;
    deployment.world.resources.push(WorldResource {
        name: "shop".parse().unwrap(),
        kind: Kind::Graphql,
        identifier: "https://shop.example.com".to_owned(),
        tools: Vec::new(),
        routes: Vec::new(),
        graph: Some(graph),
    });
    for (policy, expected) in [
        (policy("forbid", one, ""), true),
        (policy("forbid", one, "unless { context.asserted }"), true),
        (policy("forbid", "resource", &format!("when {{ {one} || context.asserted }}")), true),
        (policy("permit", "resource", &format!("unless {{ {one} }}")), true),
        (policy("permit", one, ""), false),
        (policy("permit", "resource", &format!("when {{ {one} }}")), false),
        (policy("forbid", &one.replace("pii", "other"), ""), false),
    ] {
        let found = found(&policy, &deployment);
        let told = found.iter().find(|one| one.lint == Some(Lint::PartlyLabelled));
        assert_eq!(told.is_some(), expected, "{policy}: {found:?}");
        if let Some(told) = told {
            assert_eq!(told.message, "the label `shop/pii` of `Card` does not reach `Query.card`");
        }
    }
}
