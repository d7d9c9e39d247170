use std::{collections::BTreeMap, time::Duration};

use palisade_model::{Action, Arguments, ResourceName, Scope, Target};
use serde_json::json;

use super::*;
use crate::{
    Policies, SourceFile, Sources, Tool, World,
    policies::tests::{Asking as Question, NOW, load, world},
    with_types,
};

mod properties;

/// What a configuration offers.
#[derive(Debug, Clone, Default)]
struct Offered {
    step_up: Vec<Scope>,
    implies: BTreeMap<Scope, Vec<Scope>>,
    acr_values: Vec<String>,
    max_age: Vec<Duration>,
}

impl Offered {
    fn scopes(scopes: &[&str]) -> Self {
        Self { step_up: scopes.iter().map(|scope| scope.parse().unwrap()).collect(), ..Self::default() }
    }

    fn as_offer(&self) -> Offer<'_> {
        Offer {
            step_up: &self.step_up,
            implies: &self.implies,
            acr_values: &self.acr_values,
            max_age: &self.max_age,
        }
    }
}

/// The tools of [`world`], and the typed tool `move` with the arguments `from` and, if need be, `depth`.
fn with_typed() -> World {
    let schema = json!({ "type": "object", "required": ["from"], "properties": {
        "from": { "type": "string" }, "depth": { "type": "integer" } } });
    let tool = Tool { name: "move".to_owned(), input_schema: Some(schema), ..Tool::default() };
    let typed =
        with_types(vec![tool], &["move".to_owned()], &SourceFile::new("tools.json", String::new())).unwrap();
    let mut world = world();
    world.resources[0].tools.extend(typed);
    world
}

fn load_typed(policies: &str, on_error: OnError) -> Result<Policies, Vec<crate::Diagnostic>> {
    let sources = Sources { policies: vec![SourceFile::new("p.cedar", policies)], ..Sources::default() };
    Policies::load(&sources, &with_typed(), on_error)
}

/// An item of which nothing is known beside.
fn plainly<'a>(action: &'a Action, target: &'a Target, resource: &'a ResourceName) -> About<'a> {
    About { action, target, resource, arguments: None, supplied: None }
}

/// What a list says of the item of a question; its arguments are not looked at.
fn listed(policies: &Policies, question: &Question, offered: Option<&Offered>) -> Reach {
    let query = question.query();
    let subject = policies.prepare(query.subject, query.authority, query.strength);
    let asking = policies.ask(&subject, query.circumstances);
    let offer = offered.map(Offered::as_offer);
    asking.list(offer.as_ref()).reach(&plainly(query.action, query.target, query.resource))
}

/// The condition of a permit for `echo`, held against a token without scopes to which `a` and `b` are offered.
fn reach(condition: &str) -> Reach {
    let policies = load(&format!("@id(\"p\") {}", permit(condition)));
    listed(&policies, &Question::call("echo"), Some(&Offered::scopes(&["a", "b"])))
}

fn permit(condition: &str) -> String {
    format!("permit (principal, action in Mcp::Action::\"tools/call\", resource) when {{ {condition} }};\n")
}

fn forbid(condition: &str) -> String {
    permit(condition).replacen("permit", "forbid", 1)
}

const IN_WORKSPACE: &str =
    "context.args.text.hasTag(\"/p\") && context.args.text.getTag(\"/p\") like \"/w/*\"";
const HAS_A: &str = "context.scopes.contains(\"a\")";

#[test]
fn a_rule_about_arguments_hides_nothing_and_what_stands_beside_it_still_does() {
    for (condition, expected) in [
        (IN_WORKSPACE.to_owned(), Reach::Permitted),
        (format!("!({IN_WORKSPACE})"), Reach::Permitted),
        (format!("{IN_WORKSPACE} && resource.read_only"), Reach::Permitted),
        (format!("{IN_WORKSPACE} && resource.destructive && !resource.destructive"), Reach::Never),
        (format!("{IN_WORKSPACE} && principal in Role::\"corp/admin\""), Reach::Never),
        (format!("{IN_WORKSPACE} || principal in Role::\"corp/admin\""), Reach::Permitted),
        (format!("{IN_WORKSPACE} && {HAS_A}"), Reach::StepUp),
        (format!("{HAS_A} && {IN_WORKSPACE}"), Reach::StepUp),
        (format!("{IN_WORKSPACE} && context.scopes.contains(\"c\")"), Reach::Never),
        (format!("{HAS_A} && !context.scopes.contains(\"b\") && {IN_WORKSPACE}"), Reach::StepUp),
        (format!("if {IN_WORKSPACE} then context.scopes.contains(\"c\") else {HAS_A}"), Reach::StepUp),
        (format!("if resource.read_only then {IN_WORKSPACE} else false"), Reach::Permitted),
        (format!("if resource.read_only then false else {IN_WORKSPACE}"), Reach::Never),
        ("context.args.number.getTag(\"/n\") > 5".to_owned(), Reach::Permitted),
    ] {
        // Strict validation asks for the guard that the last one lacks.
        let condition = condition.replace(
            "context.args.number.getTag",
            "context.args.number.hasTag(\"/n\") && context.args.number.getTag",
        );
        assert_eq!(reach(&condition), expected, "{condition}");
    }
}

#[test]
fn a_contradiction_is_not_seen_and_the_call_decides() {
    let text = |pattern: &str| IN_WORKSPACE.replace("/w/*", pattern);
    assert_eq!(reach(&format!("{} && {}", text("/w/*"), text("/x/*"))), Reach::Permitted);
    let policies = load(&format!("@id(\"p\") {}@id(\"f\") {}", permit(IN_WORKSPACE), forbid(IN_WORKSPACE)));
    assert_eq!(listed(&policies, &Question::call("echo"), None), Reach::Permitted);
}

#[test]
fn a_forbid_hides_what_it_forbids_whatever_the_arguments_are() {
    for (condition, expected) in [
        (IN_WORKSPACE.to_owned(), Reach::Permitted),
        (format!("{IN_WORKSPACE} || resource.read_only"), Reach::Never),
        (format!("!{HAS_A}"), Reach::StepUp),
        (format!("{IN_WORKSPACE} || !{HAS_A}"), Reach::StepUp),
        ("context.delegation_depth == 0".to_owned(), Reach::Never),
    ] {
        let policies = load(&format!("@id(\"p\") {}@id(\"f\") {}", permit("true"), forbid(&condition)));
        let found = listed(&policies, &Question::call("echo"), Some(&Offered::scopes(&["a"])));
        assert_eq!(found, expected, "{condition}");
    }
}

#[test]
fn a_typed_tool_is_shown_for_some_input_without_any() {
    let typed = |condition: &str| {
        format!(
            "@id(\"t\") permit (principal, action == Mcp::Action::\"tool:demo/move\", resource) when {{ {condition} }};"
        )
    };
    for (condition, expected) in [
        ("context.input.from like \"/w/*\"", Reach::Permitted),
        ("context.input has depth && context.input.depth < 3", Reach::Permitted),
        ("context.input.from like \"/w/*\" && context.scopes.contains(\"a\")", Reach::StepUp),
        ("context.input.from like \"/w/*\" && context.scopes.contains(\"c\")", Reach::Never),
        ("context.args.text.hasTag(\"/from\") && context.input.from == \"/a\"", Reach::Permitted),
    ] {
        let policies = load_typed(&typed(condition), OnError::Forbid).unwrap();
        let found = |tool: &str| listed(&policies, &Question::call(tool), Some(&Offered::scopes(&["a"])));
        assert_eq!((found("move"), found("echo")), (expected, Reach::Never), "{condition}");
    }
}

#[test]
fn a_step_up_is_offered_as_it_is_for_a_call() {
    let policies = load(&format!("@id(\"p\") {}", permit(HAS_A)));
    let offered = Offered::scopes(&["a"]);
    assert_eq!(listed(&policies, &Question::call("echo"), Some(&offered)), Reach::StepUp);
    assert_eq!(listed(&policies, &Question::call("echo"), None), Reach::Never, "`list: permitted`");
    assert_eq!(listed(&policies, &Question::call("unlisted"), Some(&offered)), Reach::Never);
    assert_eq!(
        listed(&policies, &Question::call("unlisted").scopes(&["a"]), Some(&offered)),
        Reach::Permitted
    );
    let nobody = Question::call("echo").with(|question| {
        question.subject = palisade_model::Subject::anonymous();
        question.authority = None;
    });
    assert_eq!(listed(&policies, &nobody, Some(&offered)), Reach::Never);
    let implies = Offered {
        implies: [("x".parse().unwrap(), vec!["a".parse().unwrap()])].into(),
        ..Offered::scopes(&["x"])
    };
    assert_eq!(listed(&policies, &Question::call("echo"), Some(&implies)), Reach::StepUp);
}

#[test]
fn what_has_no_arguments_is_listed_like_what_has() {
    let text = format!(
        "@id(\"p\") permit (principal, action in Mcp::Action::\"resources/read\", resource) when {{ {HAS_A} }};"
    );
    let policies = load(&text);
    let question = Question::call("").with(|question| {
        question.action = Action::mcp("resources/read");
        question.target = Target { type_name: "Mcp::Resource".to_owned(), id: "demo/file:///a".to_owned() };
    });
    assert_eq!(listed(&policies, &question, Some(&Offered::scopes(&["a"]))), Reach::Never, "unlisted");
    assert_eq!(listed(&policies, &question.clone().scopes(&["a"]), None), Reach::Permitted);
    let entities = r#"[{"uid": {"type": "Mcp::Resource", "id": "demo/file:///a"}, "attrs":
        {"uri": "file:///a", "server": {"type": "Mcp::Server", "id": "demo"}}, "parents": [{"type": "Mcp::Server", "id": "demo"}]}]"#;
    let policies =
        Policies::load(&crate::policies::tests::sources(&text, entities), &world(), OnError::Forbid).unwrap();
    assert_eq!(listed(&policies, &question, Some(&Offered::scopes(&["a"]))), Reach::StepUp);
}

#[test]
fn a_login_is_offered_as_it_is_for_a_call() {
    let fresh = "context has auth_time && context.now.durationSince(context.auth_time) <= duration(\"10m\")";
    let policies = load(&format!(
        "@id(\"p\") {}@id(\"f\") {}",
        permit(fresh),
        forbid("!(context has acr && context.acr == \"mfa\")")
    ));
    let offered = |acr: &[&str], ages: &[u64]| Offered {
        acr_values: acr.iter().map(|acr| (*acr).to_owned()).collect(),
        max_age: ages.iter().map(|age| Duration::from_secs(*age)).collect(),
        ..Offered::default()
    };
    let old = Question::call("echo")
        .with(|question| question.auth_time = Some(NOW.minus(Duration::from_secs(3_600))));
    for (offered, expected) in [
        (offered(&["pwd", "mfa"], &[900, 300]), Reach::StepUp),
        (offered(&["pwd"], &[900, 300]), Reach::Never),
        (offered(&["mfa"], &[900]), Reach::Never),
        (offered(&["mfa"], &[]), Reach::Never),
    ] {
        assert_eq!(listed(&policies, &old, Some(&offered)), expected, "{offered:?}");
    }
}

#[test]
fn a_bound_that_a_call_meets_is_met_by_the_list() {
    let long = Offered::scopes(&["c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "a", "b"]);
    let both = load(&format!("@id(\"p\") {}", permit("context.scopes.containsAll([\"a\", \"b\"])")));
    assert_eq!(listed(&both, &Question::call("echo"), Some(&long)), Reach::Exhausted);
    let short = Offered::scopes(&["a", "b", "c"]);
    assert_eq!(listed(&both, &Question::call("echo"), Some(&short)), Reach::StepUp);
}

#[test]
fn the_login_keeps_its_part_of_a_bound_where_scopes_help_some_arguments_alone() {
    let long = &["c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "a", "b"];
    let offered = Offered { acr_values: vec!["mfa".to_owned()], ..Offered::scopes(long) };
    let four = format!("{IN_WORKSPACE} && context.scopes.containsAll([\"a\", \"b\", \"c\", \"d\"])");
    let mfa = "context has acr && context.acr == \"mfa\"";
    let policies = load(&format!("@id(\"p\") {}@id(\"m\") {}", permit(&four), permit(mfa)));
    assert_eq!(listed(&policies, &Question::call("echo"), Some(&offered)), Reach::StepUp);
}

#[test]
fn what_is_no_question_is_never_shown() {
    let policies = load("@id(\"p\") permit (principal, action, resource);");
    assert_eq!(listed(&policies, &Question::call("echo"), None), Reach::Permitted);
    for question in [
        Question::call("echo").with(|question| question.action = Action::mcp("no/such")),
        Question::call("echo").with(|question| question.resource = "orders".parse().unwrap()),
        Question::call("").with(|_| {}),
    ] {
        assert_eq!(listed(&policies, &question, None), Reach::Never, "{question:?}");
    }
    let other = load("@id(\"p\") permit (principal, action, resource);");
    let question = Question::call("echo");
    let query = question.query();
    let foreign = other.prepare(query.subject, query.authority, query.strength);
    let asking = policies.ask(&foreign, query.circumstances);
    assert_eq!(asking.list(None).reach(&plainly(query.action, query.target, query.resource)), Reach::Never);
}

#[test]
fn no_entity_leads_to_arguments_that_a_condition_does_not_name() {
    let own = "namespace Own { entity Door { of: Palisade::Text }; action \"open\" appliesTo { principal: [User], resource: [Door], context: Palisade::Call }; }";
    let door = r#"[{"uid": {"type": "Own::Door", "id": "d"}, "attrs": {"of": {"type": "Palisade::Text", "id": "args"}}}]"#;
    let sources = Sources {
        policies: vec![SourceFile::new("p.cedar", "@id(\"p\") permit (principal, action, resource);")],
        schema: vec![SourceFile::new("own.cedarschema", own)],
        entities: vec![SourceFile::new("entities.json", door)],
        ..Sources::default()
    };
    let errors = Policies::load(&sources, &world(), OnError::Forbid).unwrap_err();
    let shown = errors[0].to_string();
    assert!(shown.contains("`Own::Door::\"d\"`: refers to `Palisade::Text::\"args\"`"), "{shown}");
}

#[test]
fn deep_conditions_and_long_ones_come_to_an_end() {
    let deep = format!("{}{IN_WORKSPACE}{}", "!(".repeat(90), ")".repeat(90));
    assert_eq!(reach(&deep), Reach::Permitted);
    let long = vec![IN_WORKSPACE; 120].join(" && ");
    assert_eq!(reach(&format!("({long}) && {HAS_A}")), Reach::StepUp);
}
