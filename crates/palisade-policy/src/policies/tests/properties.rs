//! Properties: verdicts against Cedar itself, for random policies and requests.

use palisade_model::{Arguments, Subject};
use proptest::prelude::*;
use serde_json::json;

use super::*;

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
        Just("Palisade::Text::\"args\".hasTag(\"/path\")".to_owned()),
        Just("[context.args].contains(context.args) && context.args.paths.contains(\"/path\")".to_owned()),
        Just(
            "Mcp::Tool::\"demo/echo\".listed && Mcp::Tool::\"demo/echo\" in Mcp::ToolGroup::\"demo/files\""
                .to_owned()
        ),
        Just("action in Mcp::Action::\"tools/call\"".to_owned()),
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
        let subject = skip.prepare(query.subject, query.authority, query.strength);
        let put = skip.ask(&subject, query.circumstances).put_whole(&query.about()).unwrap();
        prop_assert!(skip.is_valid(&put.request), "{}", put.request);
        let there: BTreeSet<String> = put.entities.iter().map(|entity| entity.uid().to_string()).collect();
        let rest = skip.store.all().filter(|entity| !there.contains(&entity.uid().to_string()));
        let all = put.entities.iter().chain(rest.map(AsRef::as_ref)).cloned().map(cedar_policy::Entity::from);
        let everything = cedar_policy::Entities::from_entities(all, None).unwrap();
        let plain: cedar_policy::PolicySet = text.parse().unwrap();
        let request = put.request.into();
        let response = cedar_policy::Authorizer::new().is_authorized(&request, &plain, &everything);
        prop_assert_eq!(verdict.permits(), response.decision() == cedar_policy::Decision::Allow, "{}", text);
        prop_assert_eq!(verdict.errors().len(), response.diagnostics().errors().count());
        prop_assert_eq!(verdict.determining().len(), response.diagnostics().reason().count());

        let forbid = load(OnError::Forbid);
        let strict = forbid.evaluate(&query);
        let erroring_forbid = strict.errors().iter().any(|error| {
            forbid.policy_ids().any(|info| info.policy.id == error.policy.id && info.effect == Effect::Forbid)
        });
        prop_assert_eq!(strict.permits(), verdict.permits() && !erroring_forbid);
        let any = load(OnError::Any).evaluate(&query);
        prop_assert_eq!(any.permits(), verdict.permits() && verdict.errors().is_empty());
    }
}
