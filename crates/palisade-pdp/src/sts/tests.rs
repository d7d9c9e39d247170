//! The hard rules, and what a token says, whatever comes in.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use palisade_model::{Authority, Properties, Scope, Scopes, Subject, SubjectKind, Timestamp};
use palisade_policy::with_implied;
use palisade_token::{Names, Party, Passed, Provenance, SigningKey, SigningKeys};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Fault, MOST_ACTORS, Sts, StsClient, StsError, StsSettings, StsTarget,
    claims::{self, Draft},
    rules::{self, Actor, Chain},
};

fn party(id: &str) -> Party {
    Party { issuer: "https://corp.example.com".to_owned(), id: id.to_owned() }
}

fn actor(id: &str, by_token: bool) -> Actor {
    Actor { id: format!("corp/{id}"), party: party(id), by_token }
}

fn before(ids: &[String]) -> (Vec<String>, Vec<Party>) {
    (ids.iter().map(|id| format!("corp/{id}")).collect(), ids.iter().map(|id| party(id)).collect())
}

fn scopes(names: &BTreeSet<String>) -> Scopes {
    names.iter().map(|name| name.parse::<Scope>().unwrap()).collect()
}

fn names() -> impl Strategy<Value = BTreeSet<String>> {
    proptest::collection::btree_set("[a-e]", 0..5)
}

fn authority(actors: Vec<String>) -> Authority {
    Authority {
        issuer: "corp".parse().unwrap(),
        audience: BTreeSet::new(),
        scopes: Scopes::new(),
        client: None,
        actors,
        acr: None,
        amr: BTreeSet::new(),
        auth_time: None,
        groups_complete: true,
        token_id: "jti:1".to_owned(),
        expires_at: Timestamp::from_unix_seconds(2_000),
    }
}

#[test]
fn may_act_names_the_actor_and_nothing_that_cannot_be_compared() {
    let check = |named: Value, by_token| {
        rules::may_act(&named, &actor("agent", by_token), "https://corp.example.com").is_ok()
    };
    assert!(check(json!({"sub": "agent"}), true));
    assert!(check(json!({"sub": "agent", "iss": "https://corp.example.com"}), true));
    for (named, by_token) in [
        (json!({"sub": "agent"}), false),
        (json!({"sub": "other"}), true),
        (json!({"sub": "agent", "iss": "https://other.example.com"}), true),
        (json!({"sub": "agent", "iss": null}), true),
        (json!({"sub": "agent", "client_id": "agent"}), true),
        (json!({"iss": "https://corp.example.com"}), true),
        (json!({}), true),
        (json!(["agent"]), true),
        (json!("agent"), true),
        (Value::Null, true),
    ] {
        assert!(!check(named.clone(), by_token), "{named}");
    }
    let elsewhere =
        rules::may_act(&json!({"sub": "agent"}), &actor("agent", true), "https://other.example.com");
    assert!(elsewhere.is_err(), "without an issuer it names an actor of the subject's");
}

#[test]
fn a_client_is_known_by_its_own_secret_alone() {
    let client = |id: &str, secret: &str| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.as_bytes());
        StsClient {
            id: id.to_owned(),
            secret: digest.as_ref().try_into().unwrap(),
            audiences: BTreeSet::new(),
            targets: BTreeSet::new(),
        }
    };
    let target = |name: &str, audience: &str| StsTarget {
        name: name.parse().unwrap(),
        audience: audience.to_owned(),
        scopes: BTreeSet::new(),
        implies: BTreeMap::new(),
        lifetime: Duration::from_secs(60),
    };
    let settings = |clients, targets| StsSettings {
        name: "sts".parse().unwrap(),
        base_url: "https://sts.example.com".to_owned(),
        issuers: Vec::new(),
        clients,
        targets,
        keys: SigningKeys::new(vec![SigningKey::generate().unwrap()]).unwrap(),
    };
    let sts = Sts::new(settings(vec![client("a", "secret a"), client("b", "secret b")], Vec::new())).unwrap();
    assert_eq!(sts.authenticate("a", "secret a").unwrap().entity_id, "sts/a");
    for (id, secret) in [("a", "secret b"), ("a", ""), ("c", ""), ("", ""), ("A", "secret a")] {
        assert!(sts.authenticate(id, secret).is_none(), "{id}");
    }
    assert!(!format!("{sts:?}").contains(&hex_of(&client("a", "secret a").secret)));
    let twice = vec![target("x", "https://x.example.com"), target("y", "https://x.example.com")];
    assert!(matches!(Sts::new(settings(Vec::new(), twice)), Err(StsError::Twice(_))));
    let named = vec![target("x", "y"), target("y", "z")];
    assert!(
        matches!(Sts::new(settings(Vec::new(), named)), Err(StsError::Twice(_))),
        "a name is another's audience"
    );
}

/// What a scope implies is held, too, in one direction; and nothing is issued that the target does not offer.
#[test]
fn implied_scopes_are_held_and_imply_nothing_back() {
    let set = |names: &str| -> Scopes { names.split(' ').map(|name| name.parse().unwrap()).collect() };
    let scope = |name: &str| name.parse::<Scope>().unwrap();
    let implies = BTreeMap::from([
        (scope("admin"), vec![scope("read"), scope("secret")]),
        (scope("x"), vec![scope("y")]),
        (scope("y"), vec![scope("x")]),
    ]);
    let offered: BTreeSet<Scope> = ["admin", "read", "x", "y"].map(scope).into();
    for (held, asked, granted) in [
        ("admin", None, Some("admin read")),
        ("admin", Some("read"), Some("read")),
        ("admin", Some("secret"), None),
        ("read", None, Some("read")),
        ("read", Some("admin"), None),
        ("x", None, Some("x y")),
        ("y", Some("x"), Some("x")),
        ("secret", None, None),
    ] {
        let held = with_implied(&set(held), &implies);
        let wanted = rules::scopes(asked.map(set).as_ref(), &held, &offered).ok();
        assert_eq!(wanted, granted.map(set), "{held:?} {asked:?}");
    }
}

fn hex_of(bytes: &[u8]) -> String {
    format!("{bytes:?}")
}

proptest! {
    #[test]
    fn scopes_never_widen(asked in proptest::option::of(names()), held in names(), offered in names()) {
        let (held, offered) = (scopes(&held), scopes(&offered));
        let asked = asked.map(|asked| scopes(&asked));
        let offered_set: BTreeSet<Scope> = offered.iter().cloned().collect();
        match rules::scopes(asked.as_ref(), &held, &offered_set) {
            Ok(wanted) => {
                prop_assert!(wanted.is_subset(&held) && wanted.is_subset(&offered));
                prop_assert!(asked.is_none_or(|asked| asked == wanted));
            }
            Err(refused) => prop_assert_eq!(refused.fault, Fault::Scope),
        }
    }

    #[test]
    fn no_token_outlives_those_it_was_issued_for(
        target in 1_u64..5_000,
        now in 0_i64..4_000,
        ends in proptest::collection::vec(0_i64..8_000_000_000, 1..3),
    ) {
        let ends: Vec<Timestamp> = ends.into_iter().map(Timestamp::from_unix_micros).collect();
        match rules::lifetime(Duration::from_secs(target), now, ends.iter().copied()) {
            Ok(lifetime) => {
                let end = Timestamp::from_unix_seconds(now + i64::try_from(lifetime).unwrap());
                prop_assert!(lifetime >= 1 && lifetime <= target);
                prop_assert!(ends.iter().all(|limit| end <= *limit));
            }
            Err(_) => prop_assert!(ends.iter().any(|limit| limit.unix_seconds() <= now)),
        }
    }

    #[test]
    fn a_chain_has_at_most_four_actors_and_none_twice(
        ids in proptest::collection::vec("[a-f]", 0..6),
        next in "[a-f]",
        subject in "[a-f]",
    ) {
        let (known, parties) = before(&ids);
        let chain = rules::chain(&actor(&next, false), &party(&subject), (&known, &parties));
        match chain {
            Ok(chain) => {
                prop_assert!(chain.ids.len() <= MOST_ACTORS && chain.ids.len() == ids.len() + 1);
                prop_assert!(!ids.contains(&next) && next != subject);
                prop_assert_eq!(&chain.parties[0], &party(&next));
                prop_assert_eq!(&chain.parties[1..], &parties[..]);
            }
            Err(_) => prop_assert!(ids.len() >= MOST_ACTORS || ids.contains(&next) || next == subject),
        }
    }

    #[test]
    fn a_token_names_everybody_with_their_issuer(
        ids in proptest::collection::vec("[a-z]{1,8}", 1..5),
        roles in names(),
        bound in any::<bool>(),
        complete in any::<bool>(),
        other in any::<bool>(),
    ) {
        let corp = "https://corp.example.com";
        let passed = |issuer: &str, id: &str| Passed {
            issuer: issuer.to_owned(),
            names: Names { id: Some(id.to_owned()), ..Names::default() },
        };
        let (known, parties) = before(&ids);
        let roles: BTreeSet<String> = roles.into_iter().map(|role| format!("corp/{role}")).collect();
        let subject = Subject {
            kind: SubjectKind::User,
            id: "corp/alice".to_owned(),
            roles: roles.clone(),
            groups: BTreeSet::new(),
            tenant: None,
            tags: BTreeMap::new(),
            supplied: Properties::default(),
        };
        let authority = Authority { groups_complete: complete, ..authority(known.clone()) };
        let confirmation = bound.then(|| json!({"jkt": "x"}));
        let provenance = Provenance {
            subject: party("alice"),
            actors: Vec::new(),
            may_act: Some(json!({"sub": "agent"})),
            confirmation: confirmation.clone(),
            first: Names {
                issued: Some(Timestamp::from_unix_micros(900_999_999)),
                id: Some("j".to_owned()),
                session: Some("s".to_owned()),
                client: Some("app".to_owned()),
            },
            via: vec![passed(corp, "first actor's")],
            own: passed(if other { "https://sts.example.com" } else { corp }, "second"),
        };
        let shown = passed(corp, "second actor's");
        let chain = Chain { ids: known, parties: parties.clone() };
        let claims = Value::Object(claims::claims(&Draft {
            issuer: "https://sts.example.com",
            client: "c",
            audience: "https://api.example.com",
            subject: &subject,
            authority: &authority,
            provenance: &provenance,
            shown: std::slice::from_ref(&shown),
            chain: &chain,
            scopes: &Scopes::new(),
            issued_at: 1_000,
            expires_at: 1_100,
        }));
        let first = json!({"iat": 900, "jti": "j", "sid": "s", "client_id": "app"});
        prop_assert_eq!(&claims["sub_token"], &first);
        let via: Vec<&str> = claims["via"].as_array().unwrap().iter().map(|passed| passed["jti"].as_str().unwrap()).collect();
        let all = ["first actor's", "second", "second actor's"];
        // The subject's own token is named once.
        prop_assert_eq!(via, if other { all.to_vec() } else { vec![all[0], all[2]] });
        let mut at = &claims["act"];
        for expected in &parties {
            prop_assert_eq!(&at["iss"], &json!(expected.issuer));
            prop_assert_eq!(&at["sub"], &json!(expected.id));
            at = &at["act"];
        }
        prop_assert!(at.is_null());
        prop_assert_eq!(claims.get("cnf"), confirmation.as_ref());
        prop_assert_eq!(&claims["may_act"], &json!({"sub": "agent", "iss": "https://corp.example.com"}));
        prop_assert_eq!(claims.get("roles").cloned(), (!roles.is_empty()).then(|| json!(roles)));
        prop_assert_eq!(claims.get("hasgroups").is_some(), !complete);
        prop_assert!(claims.get("scope").is_none());
        prop_assert_eq!((&claims["sub"], &claims["sub_id"]["iss"]), (&json!("corp/alice"), &json!("https://corp.example.com")));
    }
}
