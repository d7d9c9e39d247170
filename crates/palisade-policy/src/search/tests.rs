use serde_json::json;

use super::*;
use crate::{
    OnError,
    policies::tests::{Asking as Question, load, sources, world},
};

const POLICIES: &str = r#"
@id("read") permit (principal, action in Mcp::Action::"tools/call", resource in Mcp::Server::"demo")
when { resource.read_only && context.scopes.contains("read") };
@id("delete") permit (principal in Group::"staff", action in Mcp::Action::"tools/call", resource == Mcp::Tool::"demo/delete")
when { context.args.text.hasTag("/path") && context.args.text.getTag("/path") like "/w/*" };
@id("list") permit (principal is User, action in [Mcp::Action::"tools/list", Mcp::Action::"ping"], resource);
@id("orders") permit (principal in Group::"staff", action in Http::Action::"read", resource in Http::Service::"orders");
"#;

const PEOPLE: &str = r#"[
    {"uid": {"type": "User", "id": "corp/alice"}, "parents": [{"type": "Group", "id": "staff"}]},
    {"uid": {"type": "User", "id": "corp/bob"}},
    {"uid": {"type": "Client", "id": "corp/robot"}, "parents": [{"type": "Group", "id": "staff"}]},
    {"uid": {"type": "Mcp::Prompt", "id": "demo/summary"}, "attrs":
      {"name": "summary", "server": {"type": "Mcp::Server", "id": "demo"}}, "parents": [{"type": "Mcp::Server", "id": "demo"}]}
]"#;

fn policies() -> Policies {
    Policies::load(&sources(POLICIES, PEOPLE), &world(), OnError::Forbid).unwrap()
}

fn search<'a>(policies: &'a Policies, question: &'a Question) -> Search<'a> {
    let circumstances = &question.circumstances;
    Search {
        policies,
        circumstances,
        inputs: Inputs::Any,
        supplied: None,
        from: 0,
        page: 100,
        most: 1_000,
        has_time: &|| true,
    }
}

/// Alice, who is staff and may read.
fn alice() -> Question {
    Question::call("echo").scopes(&["read"])
}

fn prepare(policies: &Policies, question: &Question) -> PreparedSubject {
    let query = question.query();
    policies.prepare(query.subject, query.authority, query.strength)
}

fn entities(found: Vec<Target>) -> Vec<String> {
    found.iter().map(Target::entity).collect()
}

#[test]
fn the_targets_of_a_resource_are_found_in_order() {
    let (policies, question) = (policies(), alice());
    let (search, subject) = (search(&policies, &question), prepare(&policies, &question));
    let found = |action: &Action, resource: &str| {
        let found = search.targets(&subject, action, None, &resource.parse().unwrap()).unwrap();
        assert_eq!(found.next, None);
        entities(found.items)
    };
    let call = Action::mcp("tools/call");
    assert_eq!(found(&call, "demo"), ["Mcp::Tool::\"demo/delete\"", "Mcp::Tool::\"demo/echo\""]);
    assert_eq!(found(&call, "orders"), <[&str; 0]>::default());
    assert_eq!(found(&Action::mcp("tools/list"), "demo"), ["Mcp::Server::\"demo\""]);
    let get = Action { namespace: "Http".to_owned(), name: "GET".to_owned() };
    assert_eq!(found(&get, "orders"), ["Http::Route::\"orders/v1/orders/{id}\""]);
    assert_eq!(found(&Action::mcp("prompts/get"), "demo"), <[&str; 0]>::default());
}

#[test]
fn given_arguments_are_held_against_the_rules() {
    let (policies, question) = (policies(), alice());
    let subject = prepare(&policies, &question);
    let found = |inputs| {
        let search = Search { inputs, ..search(&policies, &question) };
        let found = search.targets(&subject, &Action::mcp("tools/call"), None, &question.resource).unwrap();
        found.items.iter().map(|target| target.id.clone()).collect::<Vec<_>>()
    };
    let within = Arguments::from_json(&json!({ "path": "/w/a" })).unwrap();
    let outside = Arguments::from_json(&json!({ "path": "/etc" })).unwrap();
    assert_eq!(found(Inputs::Given(Some(&within))), ["demo/delete", "demo/echo"]);
    assert_eq!(found(Inputs::Given(Some(&outside))), ["demo/echo"]);
    assert_eq!(found(Inputs::Given(None)), ["demo/echo"]);
}

#[test]
fn the_actions_on_a_target_are_found_in_order() {
    let (policies, question) = (policies(), alice());
    let (search, subject) = (search(&policies, &question), prepare(&policies, &question));
    let found = |target: Target| {
        let found = search.actions(&subject, &target, &question.resource).unwrap();
        found.items.into_iter().map(|action| action.name).collect::<Vec<_>>()
    };
    assert_eq!(found(Target::mcp_server(&question.resource)), ["ping", "tools/list"]);
    assert_eq!(found(Target::mcp_tool(&question.resource, "delete")), ["tools/call"]);
    let nowhere = Target { type_name: "No::Such".to_owned(), id: "demo".to_owned() };
    assert_eq!(found(nowhere), <[&str; 0]>::default());
}

#[test]
fn the_subjects_are_those_that_entity_files_know() {
    let (policies, question) = (policies(), alice());
    let strength = question.query().strength;
    let search = search(&policies, &question);
    let who = |kind: SubjectKind, action: &str, target: Target| {
        let prepare = |subject: &Subject| policies.prepare(subject, None, strength);
        let found =
            search.subjects(&kind, prepare, &Action::mcp(action), &target, &question.resource).unwrap();
        assert_eq!(found.next, None);
        found.items.iter().map(Subject::entity).collect::<Vec<_>>()
    };
    let tool = |name: &str| Target::mcp_tool(&question.resource, name);
    let (user, client) = (SubjectKind::User, SubjectKind::Client);
    assert_eq!(who(client.clone(), "tools/call", tool("delete")), ["Client::\"corp/robot\""]);
    assert_eq!(who(user.clone(), "tools/call", tool("delete")), ["User::\"corp/alice\""]);
    assert_eq!(who(user.clone(), "tools/call", tool("echo")), ["User::\"corp/alice\"", "User::\"corp/bob\""]);
    assert_eq!(who(user, "tools/list", Target::mcp_server(&question.resource)).len(), 2);
    assert_eq!(who(client, "tools/list", Target::mcp_server(&question.resource)), <[&str; 0]>::default());
    let nobody = SubjectKind::Own("spaceship".to_owned());
    assert_eq!(who(nobody, "tools/call", tool("echo")), <[&str; 0]>::default());
}

#[test]
fn pages_follow_one_another_and_together_are_the_whole() {
    let tools = (0..25).map(|tool| crate::Tool { name: format!("t{tool}"), ..crate::Tool::default() });
    let mut world = world();
    world.resources[0].tools = tools.collect();
    let odd = r#"@id("p") permit (principal, action in Mcp::Action::"tools/call", resource) when { resource.name like "*1*" };"#;
    let policies = Policies::load(&sources(odd, "[]"), &world, OnError::Forbid).unwrap();
    let question = alice();
    let subject = prepare(&policies, &question);
    let call = Action::mcp("tools/call");
    let pages = |size: usize| {
        let (mut all, mut from, mut pages): (Vec<Target>, usize, usize) = (Vec::new(), 0, 0);
        loop {
            let search = Search { page: size, from, ..search(&policies, &question) };
            let found = search.targets(&subject, &call, None, &question.resource).unwrap();
            assert!(found.items.len() <= size.max(1));
            all.extend(found.items);
            pages += 1;
            match found.next {
                Some(next) => from = next,
                None => return (entities(all), pages),
            }
        }
    };
    let (whole, once) = pages(100);
    assert_eq!((whole.len(), once), (12, 1));
    assert!(whole.is_sorted());
    for size in [0, 1, 5, 11] {
        assert_eq!(pages(size).0, whole, "pages of {size}");
    }
}

#[test]
fn a_search_is_never_cut_in_silence() {
    let (policies, question) = (policies(), alice());
    let subject = prepare(&policies, &question);
    let call = Action::mcp("tools/call");
    let most = |most| {
        let search = Search { most, ..search(&policies, &question) };
        search.targets(&subject, &call, None, &question.resource).map(|found| (found.items.len(), found.next))
    };
    assert_eq!(most(2), Ok((2, None)));
    assert_eq!(most(1), Ok((1, Some(1))));
    assert_eq!(most(0), Ok((1, Some(1))), "every page comes on");
    let late = Search { has_time: &|| false, ..search(&policies, &question) };
    assert_eq!(late.targets(&subject, &call, None, &question.resource).unwrap().next, None, "they are few");
    assert_eq!(late.page(0..100, |_| false).next, Some(32), "and these are not");
    let behind = Search { from: usize::MAX, ..search(&policies, &question) };
    assert_eq!(behind.targets(&subject, &call, None, &question.resource), Ok(Found::nothing()));
    let search = search(&policies, &question);
    let unknown = search.targets(&subject, &Action::mcp("no/such"), None, &question.resource);
    assert_eq!(unknown, Err(SearchError::Action("Mcp::Action::\"no/such\"".to_owned())));
    let other = load("@id(\"p\") permit (principal, action, resource);");
    let foreign = prepare(&other, &question);
    assert!(matches!(
        search.targets(&foreign, &call, None, &question.resource),
        Err(SearchError::Subject(_))
    ));
}
