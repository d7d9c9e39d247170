use palisade_model::{
    Action, Authority, Circumstances, Reason, ResourceName, Scopes, Subject, Surface, Target,
};
use serde_json::{Value, json};

use super::*;
use crate::{About, OnError, Policies, SourceFile, Sources, Strength, World};

const SCHEMA: &str = r#"
entity team;
entity user in [team] { role?: String, level?: Long, since?: datetime, boss?: user };
entity door { state?: String, floor: Long };
namespace House {
  action "open" appliesTo { principal: [user], resource: [door], context: Palisade::Call };
  action "see" appliesTo { principal: [user], resource: [user], context: Palisade::Call };
}
"#;

const POLICIES: &str = r#"
@id("admins") permit (principal is user, action, resource is door) when { principal has role && principal.role == "admin" };
@id("team") permit (principal in team::"a", action, resource is door) when { resource.floor == 1 };
@id("since") permit (principal is user, action, resource is door) when { principal has since && principal.since < context.now };
@id("boss") permit (principal is user, action, resource is door)
when { principal has boss && principal.boss has role && principal.boss.role == "admin" };
@id("sent") permit (principal is user, action, resource is door)
when { context has sent && context.sent.text.hasTag("/shift") && context.sent.text.getTag("/shift") == "night" };
@id("see") permit (principal is user, action == House::Action::"see", resource is user)
when { principal has role && resource has role && principal.role == resource.role };
@id("hidden") forbid (principal, action == House::Action::"see", resource in team::"a");
@id("shut") forbid (principal, action, resource is door) when { resource has state && resource.state == "shut" };
"#;

const ENTITIES: &str = r#"[
    {"uid": {"type": "user", "id": "ann"}, "attrs": {"role": "admin"}},
    {"uid": {"type": "user", "id": "bo"}, "parents": [{"type": "team", "id": "a"}]},
    {"uid": {"type": "door", "id": "front"}, "attrs": {"floor": 1}},
    {"uid": {"type": "door", "id": "vault"}, "attrs": {"floor": 0, "state": "shut"}}
]"#;

fn policies() -> Policies {
    let sources = Sources {
        policies: vec![SourceFile::new("p.cedar", POLICIES)],
        schema: vec![SourceFile::new("s.cedarschema", SCHEMA)],
        entities: vec![SourceFile::new("e.json", ENTITIES)],
        ..Sources::default()
    };
    Policies::load(&sources, &World::default(), OnError::Forbid).unwrap()
}

fn supplied(value: &Value) -> Properties {
    Properties::new(value.as_object().unwrap().clone())
}

/// Why somebody may or may not open a door.
fn open(user: &str, of_user: &Value, door: &str, of_door: &Value) -> Reason {
    open_with(user, of_user, door, of_door, None)
}

fn open_with(user: &str, of_user: &Value, door: &str, of_door: &Value, sent: Option<&Value>) -> Reason {
    asked("open", (user, of_user), ("door", door, of_door), sent)
}

/// Why somebody may or may not see somebody, with what is supplied of both.
fn see(user: &str, of_user: &Value, other: &str, of_other: &Value) -> Reason {
    asked("see", (user, of_user), ("user", other, of_other), None)
}

fn asked(
    action: &str,
    (user, of_user): (&str, &Value),
    (type_name, id, of_target): (&str, &str, &Value),
    sent: Option<&Value>,
) -> Reason {
    let policies = policies();
    let subject = Subject { supplied: supplied(of_user), ..Subject::named("user", user) };
    let strength = Strength { scopes: &Scopes::new(), acr: None, auth_time: None };
    let prepared = policies.prepare(&subject, None::<&Authority>, strength);
    let circumstances = Circumstances {
        now: palisade_model::Timestamp::from_unix_seconds(1_800_000_000),
        ip: None,
        host: None,
        path: None,
        surface: Surface::Authzen,
        asserted: true,
        sent: sent.map(|sent| palisade_model::Arguments::from_json(sent).unwrap()),
    };
    let resource: ResourceName = "house".parse().unwrap();
    let target = Target { type_name: type_name.to_owned(), id: id.to_owned() };
    let named = policies.action_named(action, type_name).unwrap();
    assert_eq!(named, Action { namespace: "House".to_owned(), name: action.to_owned() });
    let of_target = supplied(of_target);
    let about = About {
        action: &named,
        target: &target,
        resource: &resource,
        arguments: None,
        supplied: Some(&of_target),
    };
    policies.ask(&prepared, &circumstances).about(&about).reason()
}

#[test]
fn what_is_supplied_fills_what_is_absent_and_nothing_else() {
    let none = json!({});
    for (user, of_user, door, of_door, expected) in [
        ("ann", none.clone(), "front", none.clone(), Reason::Permitted),
        ("bo", none.clone(), "front", none.clone(), Reason::Permitted),
        ("cy", none.clone(), "front", none.clone(), Reason::NoPermit),
        ("cy", json!({ "role": "admin" }), "front", none.clone(), Reason::Permitted),
        // Stored values win.
        ("ann", json!({ "role": "guest" }), "front", none.clone(), Reason::Permitted),
        ("ann", none.clone(), "vault", json!({ "state": "open" }), Reason::Forbidden),
        ("bo", none.clone(), "vault", json!({ "floor": 1, "state": "open" }), Reason::Forbidden),
        ("ann", none.clone(), "front", json!({ "state": "shut" }), Reason::Forbidden),
        // Parents, tags and what the schema does not declare are not filled.
        (
            "cy",
            json!({ "team": "a", "parents": [{ "type": "team", "id": "a" }] }),
            "front",
            none.clone(),
            Reason::NoPermit,
        ),
        // A door that nobody knows needs what the schema requires.
        ("bo", none.clone(), "back", none.clone(), Reason::TargetUnknown),
        ("bo", none.clone(), "back", json!({ "floor": 1 }), Reason::Permitted),
        // Another type than the declared one is refused, not left aside.
        ("ann", none.clone(), "front", json!({ "state": ["shut"] }), Reason::ArgumentsInvalid),
        ("cy", json!({ "role": 1 }), "front", none.clone(), Reason::ArgumentsInvalid),
        ("cy", json!({ "level": 1.5 }), "front", none.clone(), Reason::ArgumentsInvalid),
        ("cy", json!({ "since": "2020-01-01" }), "front", none.clone(), Reason::Permitted),
        ("cy", json!({ "since": "2099-01-01" }), "front", none.clone(), Reason::NoPermit),
        ("cy", json!({ "since": "soon" }), "front", none.clone(), Reason::ArgumentsInvalid),
        // An entity that is named is the stored one.
        ("cy", json!({ "boss": { "type": "user", "id": "ann" } }), "front", none.clone(), Reason::Permitted),
        ("cy", json!({ "boss": { "type": "user", "id": "bo" } }), "front", none.clone(), Reason::NoPermit),
        (
            "cy",
            json!({ "role": { "__extn": { "fn": "unknown", "arg": "x" } } }),
            "front",
            none,
            Reason::ArgumentsInvalid,
        ),
    ] {
        assert_eq!(open(user, &of_user, door, &of_door), expected, "{user} {of_user} {door} {of_door}");
    }
}

#[test]
fn who_asks_about_themselves_is_one_entity() {
    let (none, admin, guest) = (json!({}), json!({ "role": "admin" }), json!({ "role": "guest" }));
    for (user, of_user, other, of_other, expected) in [
        ("cy", &none, "cy", &none, Reason::NoPermit),
        ("cy", &admin, "cy", &none, Reason::Permitted),
        ("cy", &admin, "cy", &admin, Reason::Permitted),
        ("ann", &none, "ann", &none, Reason::Permitted),
        ("ann", &none, "ann", &guest, Reason::Permitted),
        // What is said of one and not of the other leaves open what is so.
        ("cy", &admin, "cy", &guest, Reason::ArgumentsInvalid),
        ("cy", &none, "cy", &admin, Reason::ArgumentsInvalid),
        ("cy", &admin, "dan", &admin, Reason::Permitted),
        ("cy", &admin, "dan", &guest, Reason::NoPermit),
        ("bo", &admin, "bo", &admin, Reason::Forbidden),
    ] {
        assert_eq!(see(user, of_user, other, of_other), expected, "{user} {of_user} {other} {of_other}");
    }
}

#[test]
fn what_a_caller_sends_beside_stands_apart_from_what_the_service_knows() {
    let none = json!({});
    let sent = |sent: Value| open_with("cy", &none, "front", &none, Some(&sent));
    assert_eq!(sent(json!({ "shift": "night" })), Reason::Permitted);
    assert_eq!(sent(json!({ "shift": "day", "scopes": ["all"], "asserted": false })), Reason::NoPermit);
}

#[test]
fn what_takes_no_part_is_named() {
    let policies = policies();
    let properties = supplied(&json!({ "role": "x", "level": 1, "height": 2 }));
    assert_eq!(policies.left_aside("user", "ann", &properties), ["height", "role"]);
    assert_eq!(policies.left_aside("user", "cy", &properties), ["height"]);
    assert_eq!(policies.left_aside("ship", "x", &properties).len(), 3);
}

#[test]
fn types_of_the_empty_namespace_begin_with_a_small_letter_and_are_no_type_of_cedar() {
    let load = |schema: &str| {
        let sources =
            Sources { schema: vec![SourceFile::new("s.cedarschema", schema)], ..Sources::default() };
        Policies::load(&sources, &World::default(), OnError::Forbid)
            .map(drop)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    };
    assert_eq!(load("entity user, record;"), Ok(()));
    for schema in [
        "entity Person;",
        "entity User;",
        "entity decimal;",
        "entity ipaddr;",
        "entity datetime;",
        "type small = String;",
        "entity user; action see appliesTo { principal: [user], resource: [user] };",
    ] {
        assert!(load(schema).unwrap_err().contains("in the empty namespace"), "{schema}");
    }
}

#[test]
fn an_action_is_found_by_its_name_and_what_it_is_done_to() {
    let schema = r#"
entity file, note;
namespace A { entity Box; action "read", "see" appliesTo { principal: [file], resource: [file, Box], context: Palisade::Call }; }
namespace B { action "read" appliesTo { principal: [file], resource: [file, A::Box], context: Palisade::Call }; }
"#;
    let sources = Sources { schema: vec![SourceFile::new("s.cedarschema", schema)], ..Sources::default() };
    let policies = Policies::load(&sources, &World::default(), OnError::Forbid).unwrap();
    let named =
        |name: &str, type_name: &str| policies.action_named(name, type_name).map(|found| found.entity());
    assert_eq!(named("see", "file").as_deref(), Some("A::Action::\"see\""));
    assert_eq!(named("read", "file"), None, "two have the name, and neither is of the type's namespace");
    assert_eq!(named("read", "A::Box").as_deref(), Some("A::Action::\"read\""));
    assert_eq!(named("B::Action::\"read\"", "file").as_deref(), Some("B::Action::\"read\""));
    assert_eq!(named("see", "note"), None);
    assert_eq!(named("tools/call", "Mcp::Tool").as_deref(), Some("Mcp::Action::\"tools/call\""));
}
