use super::*;
use crate::policies::tests::{Asking, NOW, load};

fn scopes(texts: &[&str]) -> Vec<Scope> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

const POLICIES: &str = r#"
@id("echo") permit (principal, action in Mcp::Action::"tools/call", resource == Mcp::Tool::"demo/echo")
when { context.scopes.containsAll(["c", "b"]) || context.scopes.contains("d") };
@id("delete") permit (principal in Role::"corp/admin", action in Mcp::Action::"tools/call", resource == Mcp::Tool::"demo/delete")
when { context.scopes.contains("a") };
@id("mfa") forbid (principal, action in Mcp::Action::"tools/call", resource == Mcp::Tool::"demo/delete")
unless { context has acr && context.acr == "mfa" };
@id("list") permit (principal, action in Mcp::Action::"list", resource)
when { context has auth_time && context.now.durationSince(context.auth_time) <= duration("10m") };
@id("four") permit (principal, action in Mcp::Action::"tools/call", resource == Mcp::Tool::"demo/delete")
when { context.scopes.containsAll(["e", "f", "g", "h"]) };
@id("not-both") permit (principal, action in Mcp::Action::"prompts/list", resource)
when { context.scopes.contains("a") && !context.scopes.contains("b") };
@id("two") permit (principal, action in Mcp::Action::"resources/list", resource)
when { context.scopes.containsAll(["a", "c"]) && !context.scopes.contains("b") };
@id("other") permit (principal, action in Mcp::Action::"tools/call", resource == Mcp::Tool::"demo/other")
when { context.scopes.contains("a") };
"#;

struct Check {
    asking: Asking,
    step_up: &'static [&'static str],
    implies: &'static [(&'static str, &'static str)],
    acr_values: &'static [&'static str],
    max_age: &'static [u64],
}

impl Check {
    fn new(asking: Asking) -> Self {
        Self { asking, step_up: &["a", "b", "c", "d"], implies: &[], acr_values: &[], max_age: &[] }
    }

    fn run(&self, budget: impl FnMut() -> bool) -> StepUp {
        let step_up_scopes = scopes(self.step_up);
        let implies = self.implies.iter().map(|(from, to)| (from.parse().unwrap(), scopes(&[to]))).collect();
        let acr_values: Vec<String> = self.acr_values.iter().map(|acr| (*acr).to_owned()).collect();
        let max_age: Vec<Duration> = self.max_age.iter().map(|age| Duration::from_secs(*age)).collect();
        let offer =
            Offer { step_up: &step_up_scopes, implies: &implies, acr_values: &acr_values, max_age: &max_age };
        step_up(&load(POLICIES), &self.asking.query(), &offer, budget)
    }
}

fn admin(asking: &mut Asking) {
    asking.subject.roles = ["corp/admin".to_owned()].into();
}

fn lists(asking: &mut Asking) {
    asking.action = palisade_model::Action::mcp("tools/list");
    asking.target = palisade_model::Target::mcp_server(&asking.resource);
}

#[test]
fn the_smallest_set_is_found_and_among_equals_the_weakest() {
    let found = Check::new(Asking::call("echo")).run(|| true);
    assert_eq!(found, StepUp::Scopes(scopes(&["d"])), "one scope before two");
    let check = Check { step_up: &["a", "b", "c"], ..Check::new(Asking::call("echo")) };
    assert_eq!(check.run(|| true), StepUp::Scopes(scopes(&["b", "c"])), "in configured order");
    let check = Check { step_up: &["a", "c", "b"], ..Check::new(Asking::call("echo").scopes(&["b"])) };
    assert_eq!(check.run(|| true), StepUp::Scopes(scopes(&["c"])), "only what is missing");
}

#[test]
fn what_a_scope_implies_counts() {
    let check =
        Check { step_up: &["x"], implies: &[("x", "y"), ("y", "d")], ..Check::new(Asking::call("echo")) };
    assert_eq!(check.run(|| true), StepUp::Scopes(scopes(&["x"])));
}

#[test]
fn a_forbid_that_stands_apart_is_not_stepped_over() {
    let check = Check::new(Asking::call("delete").with(admin));
    assert_eq!(check.run(|| true), StepUp::None, "no scope lifts the forbid");
    let check = Check { acr_values: &["pwd", "mfa"], ..Check::new(Asking::call("delete").scopes(&["a"])) };
    assert_eq!(check.run(|| true), StepUp::None, "no class makes an administrator");
}

#[test]
fn a_stronger_class_is_offered_where_it_alone_helps() {
    let asking =
        Asking::call("delete").with(admin).scopes(&["a"]).with(|asking| asking.acr = Some("pwd".to_owned()));
    let check = Check { acr_values: &["pwd", "otp", "mfa"], ..Check::new(asking) };
    let expected = StepUp::Authentication { acr_values: vec!["mfa".to_owned()], max_age: None };
    assert_eq!(check.run(|| true), expected);
}

#[test]
fn the_laxest_age_that_helps_is_offered() {
    let check = Check { max_age: &[3_600, 600, 60], ..Check::new(Asking::call("").with(lists)) };
    let expected = StepUp::Authentication { acr_values: Vec::new(), max_age: Some(Duration::from_secs(600)) };
    assert_eq!(check.run(|| true), expected);
    let fresh = Asking::call("delete").with(admin).scopes(&["a", "b", "c", "d"]).with(|asking| {
        asking.auth_time = Some(NOW);
    });
    let check = Check { max_age: &[60], ..Check::new(fresh) };
    assert_eq!(check.run(|| panic!("a login that is fresh enough is not asked for again")), StepUp::None);
}

#[test]
fn nothing_is_offered_for_unknown_targets_nor_without_a_token() {
    assert_eq!(Check::new(Asking::call("other")).run(|| true), StepUp::None);
    let nobody = Asking::call("echo").with(|asking| {
        asking.subject = palisade_model::Subject::anonymous();
        asking.authority = None;
    });
    assert_eq!(Check::new(nobody).run(|| true), StepUp::None);
}

#[test]
fn bounds_hold() {
    let long: &[&str] = &["i", "j", "k", "l", "m", "n", "o", "e", "f", "g", "h"];
    let with_mfa = |asking: &mut Asking| asking.acr = Some("mfa".to_owned());
    let mut asked = 0;
    let check =
        Check { step_up: long, acr_values: &["other"], ..Check::new(Asking::call("delete").with(with_mfa)) };
    let found = check.run(|| {
        asked += 1;
        true
    });
    assert_eq!(
        (found, asked),
        (StepUp::Exhausted, MAX_EVALUATIONS),
        "four scopes are more than a challenge names"
    );
    assert_eq!(Check::new(Asking::call("echo")).run(|| false), StepUp::Exhausted);
    let check = Check { step_up: &["b", "x", "y", "z", "c"], ..Check::new(Asking::call("echo")) };
    assert_eq!(check.run(|| true), StepUp::Scopes(scopes(&["b", "c"])));
}

#[test]
fn scopes_that_cannot_help_leave_the_search_to_the_login() {
    let long: &[&str] = &["e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "b"];
    let asking = Asking::call("delete").with(admin).scopes(&["a"]);
    let check = Check { step_up: long, acr_values: &["mfa"], ..Check::new(asking) };
    assert!(matches!(check.run(|| true), StepUp::Authentication { .. }));
    let mut asked = 0;
    let check = Check { step_up: long, ..Check::new(Asking::call("delete").with(admin).scopes(&["a"])) };
    let found = check.run(|| {
        asked += 1;
        true
    });
    assert_eq!((found, asked), (StepUp::Exhausted, MAX_EVALUATIONS), "past the bound the denial is plain");
}

#[test]
fn a_scope_that_is_held_against_a_token_does_not_hide_the_one_that_helps() {
    let prompts = |asking: &mut Asking| {
        lists(asking);
        asking.action = palisade_model::Action::mcp("prompts/list");
    };
    let check = Check { step_up: &["b", "a"], ..Check::new(Asking::call("echo").with(prompts)) };
    assert_eq!(check.run(|| true), StepUp::Scopes(scopes(&["a"])));
    let resources = |asking: &mut Asking| {
        lists(asking);
        asking.action = palisade_model::Action::mcp("resources/list");
    };
    let check = Check { step_up: &["a", "b", "c"], ..Check::new(Asking::call("echo").with(resources)) };
    assert_eq!(check.run(|| true), StepUp::Scopes(scopes(&["a", "c"])));
}

#[test]
fn implied_scopes_are_found_through_circles() {
    let implies = [("a", "b"), ("b", "c"), ("c", "a")]
        .map(|(from, to)| (from.parse().unwrap(), scopes(&[to])))
        .into_iter()
        .collect();
    let held: Scopes = scopes(&["b"]).into_iter().collect();
    assert_eq!(with_implied(&held, &implies), scopes(&["a", "b", "c"]).into_iter().collect());
}
