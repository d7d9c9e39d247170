//! The engine against Cedar's own authorizer: the same decision, the same determining policies, the same errors with
//! the same messages, for random policies, entities and requests.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Authorizer, Decision, EntityUid, PolicySet, SlotId};

use super::*;

/// Small numbers from a seed, the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(sides).unwrap()).unwrap()
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }

    fn entity(&mut self) -> String {
        format!("{}::\"{}\"", self.pick(&["User", "Team", "Own::Doc"]), self.roll(8))
    }

    fn action(&mut self) -> String {
        format!("Own::Action::\"{}\"", self.roll(5))
    }
}

const CONDITIONS: [&str; 33] = [
    "true",
    "false",
    "1 + context.n == 3",
    "9223372036854775807 + context.n > 0",
    "principal.missing == 1",
    "context.missing && context.scopes.contains(\"s0\")",
    "context.n < \"a\"",
    "context.n",
    "ip(context.ip).isLoopback()",
    "context.scopes.contains(\"s0\")",
    "context.scopes.contains(\"s1\") && context.n > 1",
    "context.scopes.contains(\"s2\") && principal.missing == 1",
    "context.scopes.contains(\"s3\") || context.n > 2",
    "context.scopes.containsAny([\"s0\", \"s3\"])",
    "context.scopes.containsAny([]) || resource has level",
    "context.scopes.containsAny([])",
    "context.scopes.containsAll([\"s1\", \"s2\"]) && resource.level > 1",
    "context.scopes.containsAll([])",
    "context.scopes.contains(context.n)",
    "context.scopes == [\"s0\"]",
    "context.n == 2",
    "2 == context.n && principal.missing == 1",
    "context.n == \"a\"",
    "context.missing == 1",
    "context.missing.contains(1) && context.n == 2",
    "context.scopes == \"s0\"",
    "context.n.contains(1)",
    "context.ip == \"::1\" && resource.level > 1",
    "context.friend == User::\"2\"",
    "context.friends.contains(User::\"2\") || context.n == 1",
    "resource has level && resource.level > 2",
    "principal in Team::\"3\" || User::\"1\" in Team::\"2\"",
    "User::\"2\".level == resource.level",
];

fn scope(dice: &mut Dice, place: &str, slot: bool) -> String {
    let entity = if slot { format!("?{place}") } else { dice.entity() };
    let name = dice.pick(&["User", "Team", "Own::Doc"]);
    match dice.roll(5) + usize::from(slot) * 5 {
        0 => place.to_owned(),
        1 => format!("{place} is {name}"),
        2 | 5 | 6 => format!("{place} == {entity}"),
        3 | 7 => format!("{place} in {entity}"),
        _ => format!("{place} is {name} in {entity}"),
    }
}

/// A policy, and the slots it has.
fn policy(dice: &mut Dice, number: usize) -> (String, [bool; 2]) {
    let effect = if dice.one_in(4) { "forbid" } else { "permit" };
    let template = dice.one_in(4);
    let slots = [template && dice.one_in(2), template && dice.one_in(2)];
    let principal = scope(dice, "principal", slots[0]);
    let resource = scope(dice, "resource", slots[1]);
    let action = match dice.roll(5) {
        0 | 1 => "action".to_owned(),
        2 => format!("action == {}", dice.action()),
        3 => format!("action in {}", dice.action()),
        _ => format!("action in [{}, {}]", dice.action(), dice.action()),
    };
    let mut clauses = String::new();
    for _ in 0..dice.roll(3) {
        let clause = if dice.one_in(5) { "unless" } else { "when" };
        clauses.push_str(&format!("{clause} {{ {} }} ", dice.pick(&CONDITIONS)));
    }
    (format!("@id(\"p{number}\") {effect} ({principal}, {action}, {resource}) {clauses};"), slots)
}

fn uid(text: &str) -> EntityUid {
    text.parse().unwrap()
}

/// Up to 24 policies, a quarter of them links of templates.
fn policies(dice: &mut Dice) -> PolicySet {
    let mut set = PolicySet::new();
    for number in 0..dice.roll(24) + 1 {
        let (text, slots) = policy(dice, number);
        let id = cedar_policy::PolicyId::new(format!("p{number}"));
        if slots == [false, false] {
            set.add(cedar_policy::Policy::parse(Some(id), &text).unwrap()).unwrap();
            continue;
        }
        set.add_template(cedar_policy::Template::parse(Some(id.clone()), &text).unwrap()).unwrap();
        for link in 0..dice.roll(3) {
            let values = [SlotId::principal(), SlotId::resource()].into_iter().zip(slots);
            let values =
                values.filter(|(_, has)| *has).map(|(slot, _)| (slot, uid(&dice.entity()))).collect();
            let link = cedar_policy::PolicyId::new(format!("p{number}.{link}"));
            set.link(id.clone(), link, values).unwrap();
        }
    }
    set
}

/// Entities in a graph without circles, of which some are missing.
fn entities(dice: &mut Dice) -> cedar_policy::Entities {
    let mut all = Vec::new();
    let names: Vec<String> = ["User", "Team", "Own::Doc"]
        .iter()
        .flat_map(|name| (0..8).map(move |id| format!("{name}::\"{id}\"")))
        .collect();
    for (at, name) in names.iter().enumerate().filter(|_| !dice.one_in(5)).collect::<Vec<_>>() {
        let parents = names[at + 1..].iter().filter(|_| dice.one_in(6)).map(|name| uid(name)).collect();
        let level = i64::try_from(dice.roll(5)).unwrap();
        let level = cedar_policy::RestrictedExpression::new_long(level);
        let attributes = (!dice.one_in(3)).then(|| ("level".to_owned(), level)).into_iter().collect();
        all.push(cedar_policy::Entity::new(uid(name), attributes, parents).unwrap());
    }
    for at in 0..4 {
        let parents = (at + 1..5).filter(|_| dice.one_in(2)).map(|id| uid(&format!("Own::Action::\"{id}\"")));
        let parents = parents.collect();
        all.push(cedar_policy::Entity::new_no_attrs(uid(&format!("Own::Action::\"{at}\"")), parents));
    }
    cedar_policy::Entities::from_entities(all, None).unwrap()
}

fn request(dice: &mut Dice) -> cedar_policy::Request {
    let scopes: Vec<String> = (0..4).filter(|_| dice.one_in(2)).map(|n| format!("\"s{n}\"")).collect();
    let scopes = match dice.roll(8) {
        0 => String::new(),
        1 => "\"scopes\": 1,".to_owned(),
        2 => "\"scopes\": [1, \"s0\", [\"s1\"]],".to_owned(),
        _ => format!("\"scopes\": [{}],", scopes.join(",")),
    };
    let ip = dice.pick(&["127.0.0.1", "::1", "nonsense"]);
    let n = if dice.one_in(8) { "\"a\"".to_owned() } else { dice.roll(4).to_string() };
    let friend = format!("{{\"__entity\": {{\"type\": \"User\", \"id\": \"{}\"}}}}", dice.roll(4));
    let friends = if dice.one_in(3) { format!("[{friend}, 1]") } else { friend.clone() };
    let context =
        format!("{{{scopes} \"n\": {n}, \"ip\": \"{ip}\", \"friend\": {friend}, \"friends\": {friends}}}");
    let context = cedar_policy::Context::from_json_str(&context, None).unwrap();
    let (principal, resource) = (uid(&dice.entity()), uid(&dice.entity()));
    cedar_policy::Request::new(principal, uid(&dice.action()), resource, context, None).unwrap()
}

#[derive(Debug, PartialEq)]
struct Said {
    allowed: bool,
    determining: BTreeSet<String>,
    errors: BTreeMap<String, String>,
}

fn cedar(request: &cedar_policy::Request, set: &PolicySet, entities: &cedar_policy::Entities) -> Said {
    let response = Authorizer::new().is_authorized(request, set, entities);
    let error = |error: &cedar_policy::AuthorizationError| {
        let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
        (error.policy_id().to_string(), error.inner().to_string())
    };
    Said {
        allowed: response.decision() == Decision::Allow,
        determining: response.diagnostics().reason().map(ToString::to_string).collect(),
        errors: response.diagnostics().errors().map(error).collect(),
    }
}

/// What is found out on the way, so that the test cannot pass by asking about nothing.
#[derive(Debug, Default)]
struct Tally {
    requests: usize,
    allowed: usize,
    with_errors: usize,
    policies: usize,
    candidates: usize,
}

fn compare(seed: u64, requests: usize) -> Tally {
    let mut dice = Dice(seed);
    let mut tally = Tally::default();
    while tally.requests < requests {
        let (set, entities) = (policies(&mut dice), entities(&mut dice));
        let engine = Engine::new(set.policies());
        let ids: Vec<&str> = engine.ids().collect();
        let id = |number: &u32| ids[usize::try_from(*number).unwrap()].to_owned();
        let plain = plain(&entities);
        for _ in 0..20 {
            let request = request(&mut dice);
            let answer = engine.answer_alone(request.as_ref(), &plain);
            let ours = Said {
                allowed: answer.allowed,
                determining: answer.determining.iter().map(id).collect(),
                errors: answer.errors.iter().map(|(number, error)| (id(number), error.to_string())).collect(),
            };
            let theirs = cedar(&request, &set, &entities);
            assert_eq!(ours, theirs, "{request}\n{set}");
            tally.requests += 1;
            tally.allowed += usize::from(theirs.allowed);
            tally.with_errors += usize::from(!theirs.errors.is_empty());
            tally.policies += ids.len();
            tally.candidates += answer.candidates;
        }
    }
    tally
}

fn plain(entities: &cedar_policy::Entities) -> Entities {
    let entities = entities.iter().map(|entity| std::sync::Arc::new(entity.as_ref().clone()));
    let closed = cedar_policy_core::entities::TCComputation::AssumeAlreadyComputed;
    let none = None::<&cedar_policy_core::entities::NoEntitiesSchema>;
    Entities::new().add_entities(entities, none, closed, Extensions::all_available()).unwrap()
}

fn check(tally: &Tally) {
    std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{tally:?}\n")).unwrap();
    assert!(tally.allowed * 20 > tally.requests && tally.with_errors * 20 > tally.requests, "{tally:?}");
    assert!(tally.candidates * 2 < tally.policies, "{tally:?}");
}

#[test]
fn the_engine_says_what_cedar_says() {
    check(&compare(0, 5_000));
}

/// The nightly form.
#[test]
#[ignore = "takes minutes in a debug build"]
fn the_engine_says_what_cedar_says_of_a_hundred_thousand_requests() {
    check(&compare(1, 100_000));
}

#[test]
fn a_policy_is_found_by_what_its_scope_and_its_first_conjunct_say() {
    let entities = Entities::new();
    let found = |policy: &str, context: &str| {
        let set: PolicySet = policy.parse().unwrap();
        let context = cedar_policy::Context::from_json_str(context, None).unwrap();
        let (user, action, tool) = (uid("User::\"a\""), uid("Action::\"x\""), uid("Tool::\"t\""));
        let request = cedar_policy::Request::new(user, action, tool, context, None).unwrap();
        Engine::new(set.policies()).answer_alone(request.as_ref(), &entities).candidates
    };
    let holds_a = r#"{"scopes": ["a"], "surface": "decide", "amr": ["pwd"], "acr": "pwd"}"#;
    for (policy, candidates) in [
        ("permit (principal, action, resource);", 1),
        ("permit (principal == User::\"a\", action == Action::\"x\", resource is Tool);", 1),
        ("permit (principal == User::\"b\", action, resource);", 0),
        ("permit (principal, action in [Action::\"y\", Action::\"x\"], resource in Tool::\"t\");", 1),
        ("permit (principal, action in [], resource);", 0),
        ("permit (principal is Tool, action, resource);", 0),
        ("permit (principal, action, resource) when { context.scopes.contains(\"a\") };", 1),
        ("permit (principal, action, resource) when { context.scopes.contains(\"b\") };", 0),
        ("permit (principal, action, resource) when { context.scopes.containsAny([\"a\", \"b\"]) };", 1),
        ("permit (principal, action, resource) when { context.scopes.containsAll([\"b\", \"a\"]) };", 0),
        ("permit (principal, action, resource) when { context.n > 1 && context.scopes.contains(\"b\") };", 1),
        ("permit (principal, action, resource) unless { context.scopes.contains(\"b\") };", 1),
        ("permit (principal, action, resource) when { context.surface == \"decide\" && context.n > 1 };", 1),
        ("permit (principal, action, resource) when { \"decide\" == context.surface };", 1),
        ("permit (principal, action, resource) when { context.surface == \"authzen\" };", 0),
        ("permit (principal, action, resource) when { context.surface == 1 };", 0),
        ("permit (principal, action, resource) when { context.surface != \"authzen\" };", 1),
        ("permit (principal, action, resource) when { context.amr.contains(\"otp\") };", 0),
        // What a stronger token or a call may bring is no key.
        ("permit (principal, action, resource) when { context.acr == \"mfa\" };", 1),
        ("permit (principal, action, resource) when { context.args == User::\"a\" };", 1),
    ] {
        assert_eq!(found(policy, holds_a), candidates, "{policy}");
    }
    let asks = "permit (principal, action, resource) when { context.scopes.contains(\"b\") };";
    let compares = "permit (principal, action, resource) when { context.surface == \"b\" };";
    for (policy, context) in [(asks, "{}"), (asks, r#"{"scopes": 1}"#), (compares, "{}")] {
        assert_eq!(found(policy, context), 1, "{context}: an error has to be found");
    }
}

#[test]
fn the_engine_names_the_policies_that_are_evaluated_for_every_request() {
    let set: PolicySet = r#"
        permit (principal, action, resource);
        forbid (principal is User, action, resource is Tool) when { context.n > 1 };
        permit (principal in Team::"a", action, resource);
        permit (principal, action == Action::"x", resource);
        permit (principal, action, resource) when { context.scopes.contains("a") };
    "#
    .parse()
    .unwrap();
    let engine = Engine::new(set.policies());
    let wide: BTreeSet<&str> = engine.unnarrowed().collect();
    assert_eq!(wide, ["policy0", "policy1"].into());
}
