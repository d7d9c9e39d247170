//! Properties: what a list shows against the calls it stands for, for random policies, tokens, offers and arguments.

use proptest::{prelude::*, sample::subsequence};
use serde_json::Value;

use super::*;
use crate::StepUp;

const KNOWN: [&str; 17] = [
    "context.scopes.contains(\"s0\")",
    "context.scopes.contains(\"s1\")",
    "context.scopes.contains(\"s2\")",
    "context.scopes.containsAny([\"s3\", \"s4\"])",
    "context.scopes.containsAll([\"s5\", \"s1\", \"s2\"])",
    "context.scopes.containsAll([\"s2\", \"s5\", \"s1\", \"s8\"])",
    "context.surface == \"decide\"",
    "context.surface == \"ext_authz\"",
    "[\"s0\", \"s6\"].containsAll(context.scopes)",
    "context.scopes == [\"s0\"]",
    "context has acr && context.acr == \"mfa\"",
    "context has auth_time && context.now.durationSince(context.auth_time) <= duration(\"10m\")",
    "resource.listed",
    "resource.read_only",
    "principal in Role::\"corp/admin\"",
    "9223372036854775807 + context.delegation_depth > 0",
    "context.groups_complete",
];

const OPEN: [&str; 10] = [
    "context.args.text.hasTag(\"/from\") && context.args.text.getTag(\"/from\") like \"/w/*\"",
    "context.args.text.hasTag(\"/from\")",
    "context.args.number.hasTag(\"/n\") && context.args.number.getTag(\"/n\") <= 5",
    "context.args.number.hasTag(\"/n\") && 9223372036854775804 + context.args.number.getTag(\"/n\") > 0",
    "context.args.flag.hasTag(\"/f\") && context.args.flag.getTag(\"/f\")",
    "context.args.unmapped.isEmpty()",
    "context.args.list.hasTag(\"/l\") && context.scopes.containsAll(context.args.list.getTag(\"/l\"))",
    "(if context.args.paths.contains(\"/f\") then context.scopes else [\"s0\"]).contains(\"s0\")",
    "resource.listed == context.args.paths.contains(\"/n\")",
    "Palisade::Text::\"args\".hasTag(\"/from\")",
];

const INPUT: [&str; 2] = [
    "context.input.from like \"/w/*\"",
    "context.input has depth && 9223372036854775804 + context.input.depth > 0",
];

fn condition(of: Vec<&'static str>) -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(of).prop_map(|leaf| format!("({leaf})"));
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            4 => (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} && {right})")),
            2 => (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} || {right})")),
            2 => inner.clone().prop_map(|inner| format!("!{inner}")),
            1 => (inner.clone(), inner.clone(), inner)
                .prop_map(|(test, then, other)| format!("(if {test} then {then} else {other})")),
        ]
    })
}

fn policy(arguments: bool) -> impl Strategy<Value = String> {
    let of = |more: &[&'static str]| {
        let more = more.iter().copied().filter(move |_| arguments);
        KNOWN.into_iter().chain(more).collect::<Vec<_>>()
    };
    let any = (Just("action in Mcp::Action::\"tools/call\""), condition(of(&OPEN)));
    let typed_parts: Vec<&str> = OPEN.into_iter().chain(INPUT).collect();
    let typed = (Just("action == Mcp::Action::\"tool:demo/move\""), condition(of(&typed_parts)));
    let resource = prop::sample::select(vec![
        "resource",
        "resource == Mcp::Tool::\"demo/echo\"",
        "resource in Mcp::Server::\"demo\"",
    ]);
    (prop::bool::weighted(0.3), prop_oneof![3 => any.boxed(), 1 => typed.boxed()], resource).prop_map(
        |(forbid, (action, condition), resource)| {
            let effect = if forbid { "forbid" } else { "permit" };
            format!("{effect} (principal, {action}, {resource}) when {{ {condition} }};")
        },
    )
}

prop_compose! {
    fn question()(
        scopes in subsequence(vec!["s0", "s1", "s2", "s3", "s7"], 0..3),
        admin in prop::bool::ANY,
        depth in 0..2_usize,
        acr in prop::option::of(prop::sample::select(vec!["pwd", "mfa"])),
        age in prop::option::of(0..3_u64),
    ) -> Question {
        Question::call("echo").scopes(&scopes).with(|question| {
            question.subject.roles = admin.then(|| "corp/admin".to_owned()).into_iter().collect();
            question.authority.as_mut().unwrap().actors = vec!["corp/agent".to_owned(); depth];
            question.acr = acr.map(str::to_owned);
            question.auth_time = age.map(|age| NOW.minus(Duration::from_secs(age * 500)));
        })
    }
}

prop_compose! {
    fn offered()(
        scopes in subsequence(vec!["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s8", "s9"], 0..9),
        acr in subsequence(vec!["pwd", "otp", "mfa"], 0..3),
        ages in subsequence(vec![900_u64, 300], 0..2),
        implied in prop::option::of(prop::sample::select(vec!["s1", "s2", "s7"])),
    ) -> Offered {
        Offered {
            implies: implied.map(|scope| ("s0".parse().unwrap(), vec![scope.parse().unwrap()])).into_iter().collect(),
            acr_values: acr.into_iter().map(str::to_owned).collect(),
            max_age: ages.into_iter().map(Duration::from_secs).collect(),
            ..Offered::scopes(&scopes)
        }
    }
}

fn arguments() -> impl Strategy<Value = Option<Value>> {
    let members = (
        prop::sample::select(vec!["/w/a", "/etc"]),
        prop::option::of(0..9_i64),
        prop::option::of(prop::bool::ANY),
        prop::option::of(subsequence(vec!["s0", "s5"], 0..3)),
        prop::option::of(Just(Value::Null)),
        prop::option::of(0..9_i64),
    );
    let json = members.prop_map(|(from, n, f, l, z, depth)| {
        let mut json = json!({ "from": from, "n": n, "f": f, "l": l, "depth": depth });
        json.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        if let Some(null) = z {
            json["z"] = null;
        }
        json
    });
    prop::option::weighted(0.8, json)
}

fn on_error() -> impl Strategy<Value = OnError> {
    prop::sample::select(vec![OnError::Forbid, OnError::Any, OnError::Skip])
}

/// What the call comes to.
fn called(policies: &Policies, question: &Question, offered: &Offered) -> Reach {
    let query = question.query();
    let subject = policies.prepare(query.subject, query.authority, query.strength);
    let asking = policies.ask(&subject, query.circumstances);
    if asking.about(&query.about()).permits() {
        return Reach::Permitted;
    }
    match asking.step_up(&query.about(), &offered.as_offer(), || true) {
        StepUp::Scopes(_) | StepUp::Authentication { .. } => Reach::StepUp,
        StepUp::None => Reach::Never,
        StepUp::Exhausted => Reach::Exhausted,
    }
}

/// One list of all tools, in this order, so that what they share is shared.
fn all_listed(
    policies: &Policies,
    question: &Question,
    offered: Option<&Offered>,
) -> Vec<(&'static str, Reach)> {
    let query = question.query();
    let subject = policies.prepare(query.subject, query.authority, query.strength);
    let asking = policies.ask(&subject, query.circumstances);
    let offer = offered.map(Offered::as_offer);
    let mut list = asking.list(offer.as_ref());
    ["echo", "delete", "move", "unlisted", "echo"]
        .into_iter()
        .map(|tool| {
            let target = Target::mcp_tool(query.resource, tool);
            (tool, list.reach(&plainly(query.action, &target, query.resource)))
        })
        .collect()
}

fn call(tool: &str, question: &Question, arguments: Option<&Value>) -> Question {
    question.clone().with(|question| {
        question.target = Target::mcp_tool(&question.resource, tool);
        question.arguments = arguments.map(|json| Arguments::from_json(json).unwrap());
    })
}

fn set(policies: &[String]) -> String {
    policies.iter().enumerate().map(|(at, policy)| format!("@id(\"p{at}\") {policy}\n")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn what_some_arguments_reach_is_shown(
        policies in prop::collection::vec(policy(true), 1..5),
        question in question(),
        offered in offered(),
        arguments in prop::collection::vec(arguments(), 6),
        on_error in on_error(),
    ) {
        let text = set(&policies);
        let policies = load_typed(&text, on_error).unwrap();
        let reachable = all_listed(&policies, &question, Some(&offered));
        let permitted = all_listed(&policies, &question, None);
        for ((tool, reach), (_, now)) in reachable.into_iter().zip(permitted) {
            prop_assert_eq!(now == Reach::Permitted, reach == Reach::Permitted);
            for arguments in &arguments {
                let call = called(&policies, &call(tool, &question, arguments.as_ref()), &offered);
                let message = format!("{tool} {arguments:?}: {call:?}, listed {reach:?}\n{text}");
                prop_assert!(call != Reach::Permitted || reach == Reach::Permitted, "{message}");
                prop_assert!(call != Reach::StepUp || reach.is_reachable(), "{message}");
            }
        }
    }

    #[test]
    fn without_rules_about_arguments_a_list_says_what_the_call_says(
        policies in prop::collection::vec(policy(false), 1..5),
        question in question(),
        offered in offered(),
        on_error in on_error(),
    ) {
        let text = set(&policies);
        let policies = load_typed(&text, on_error).unwrap();
        for (tool, reach) in all_listed(&policies, &question, Some(&offered)) {
            let arguments = json!({ "from": "/w/a" });
            let call = called(&policies, &call(tool, &question, Some(&arguments)), &offered);
            let same = match (call, reach) {
                // A list may see that no choice can help where a search has to break off.
                (Reach::Exhausted, Reach::Never) => true,
                (call, reach) => call == reach,
            };
            prop_assert!(same, "{tool}: {call:?}, listed {reach:?}\n{text}");
        }
    }
}
