use proptest::prelude::*;
use serde_json::json;

use super::*;

const T: i64 = 1_700_000_000;

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp::from_unix_seconds(T + seconds))
}

fn mark() -> Mark {
    let text = |text: &str| Some(text.to_owned());
    Mark {
        issuer: "corp".parse().unwrap(),
        subject: text("alice"),
        client: text("app"),
        session: text("s1"),
        token: text("j1"),
        issued: at(0),
    }
}

/// What of a token a list of this one entry names, where the issuer's clock may be off by 30 s.
fn check(entry: &Value, mark: &Mark) -> Option<&'static str> {
    let list = Revocations::read(json!([entry]).to_string().as_bytes()).unwrap();
    list.names(mark, Duration::from_secs(30))
}

fn before(member: &str, name: &str, seconds: i64) -> Value {
    json!({member: name, "before": at(seconds).unwrap().to_string()})
}

#[test]
fn an_entry_names_a_token_by_one_thing() {
    for (entry, what) in [
        (json!({"subject": "alice"}), Some("subject")),
        (json!({"client": "app"}), Some("client")),
        (json!({"session": "s1"}), Some("session")),
        (json!({"token": "j1"}), Some("token")),
        (json!({"subject": "app"}), None),
        (json!({"subject": "Alice"}), None),
        (json!({"client": "alice"}), None),
        (json!({"session": "j1"}), None),
        (json!({"token": "s1"}), None),
    ] {
        assert_eq!(check(&entry, &mark()), what, "{entry}");
    }
}

#[test]
fn what_was_issued_before_is_revoked_and_a_clock_that_is_off_saves_no_token() {
    for member in ["subject", "client"] {
        let name = if member == "subject" { "alice" } else { "app" };
        // The issuer's clock may be 30 s ahead: what it says to have issued then may have been issued before.
        for (seconds, revoked) in [(1, true), (0, true), (-29, true), (-30, false), (-31, false)] {
            let found = check(&before(member, name, seconds), &mark());
            assert_eq!(found.is_some(), revoked, "{member} {seconds}");
        }
        let undated = Mark { issued: None, ..mark() };
        assert_eq!(check(&before(member, name, -1_000_000), &undated), Some(member));
    }
}

#[test]
fn two_entries_about_one_name_both_hold() {
    let names = |entries: Value| {
        Revocations::read(entries.to_string().as_bytes()).unwrap().names(&mark(), Duration::ZERO).is_some()
    };
    let (late, early) = (before("subject", "alice", 10), before("subject", "alice", -10));
    assert!(names(json!([late, early])) && names(json!([early, late])));
    assert!(!names(json!([early])));
    assert!(names(json!([early, {"subject": "alice"}])) && names(json!([{"subject": "alice"}, early])));
}

#[test]
fn what_cannot_be_read_in_one_way_is_no_list() {
    for (text, says) in [
        ("", "not read"),
        ("{}", "no array"),
        ("null", "no array"),
        ("[1]", "entry 1: it is no object"),
        ("[{}]", "not exactly one"),
        (r#"[{"session": "s"}, {"before": "2026-11-21T01:02:03Z"}]"#, "entry 2: it names not exactly one"),
        (r#"[{"subject": "a", "client": "b"}]"#, "not exactly one"),
        (r#"[{"subject": "a", "subject": "b"}]"#, "same member twice"),
        (r#"[{"subjects": "a"}]"#, "a member other than"),
        (r#"[{"subject": "a", "reason": "left"}]"#, "a member other than"),
        (r#"[{"subject": ""}]"#, "is empty"),
        (r#"[{"subject": "a\nb"}]"#, "control characters"),
        (r#"[{"subject": null}]"#, "no text"),
        (r#"[{"subject": 5}]"#, "no text"),
        (r#"[{"subject": ["a"]}]"#, "deeper"),
        (r#"[{"subject": "a", "before": null}]"#, "no time"),
        (r#"[{"subject": "a", "before": 1700000000}]"#, "no time"),
        (r#"[{"subject": "a", "before": "2026-11-21"}]"#, "no time"),
        (r#"[{"subject": "a", "before": "2026-11-21T01:02:03+01:00"}]"#, "no time"),
        (r#"[{"session": "a", "before": "2026-11-21T01:02:03Z"}]"#, "alone"),
        (r#"[{"token": "a", "before": "2026-11-21T01:02:03Z"}]"#, "alone"),
        ("[] []", "not read"),
        ("\u{feff}[]", "not read"),
    ] {
        let error = Revocations::read(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    let entries = vec![json!({"session": "s"}); MOST + 1];
    assert_eq!(Revocations::read(json!(entries).to_string().as_bytes()), Err(RevocationsError::TooMany));
    assert_eq!(Revocations::read(&vec![b' '; LONGEST + 1]), Err(RevocationsError::TooLong));
    assert_eq!(Revocations::read(b"[]"), Ok(Revocations::default()));
}

#[test]
fn an_error_holds_nothing_of_the_list() {
    for text in
        [r#"[{"subject": "zzname", "x": 1}]"#, r#"[{"subject": "zzname", "before": "zzname"}]"#, "zzname"]
    {
        assert!(!Revocations::read(text.as_bytes()).unwrap_err().to_string().contains("zzname"));
    }
    let list = Revocations::read(br#"[{"subject": "zzname"}]"#).unwrap();
    assert!(!format!("{list:?}").contains("zzname"));
}

fn entry() -> impl Strategy<Value = Value> {
    let name = "[a-c]{1,2}";
    prop_oneof![
        (name, proptest::option::of(-40_i64..40)).prop_map(|(name, seconds)| match seconds {
            Some(seconds) => before("subject", &name, seconds),
            None => json!({"subject": name}),
        }),
        (name, proptest::option::of(-40_i64..40)).prop_map(|(name, seconds)| match seconds {
            Some(seconds) => before("client", &name, seconds),
            None => json!({"client": name}),
        }),
        name.prop_map(|name| json!({"session": name})),
        name.prop_map(|name| json!({"token": name})),
    ]
}

proptest! {
    /// A list names what one of its entries names, whatever stands before and after it.
    #[test]
    fn a_list_is_its_entries(
        entries in prop::collection::vec(entry(), 0..8),
        names in prop::collection::vec(prop::option::of("[a-c]{1,2}"), 4),
        issued in prop::option::of(-50_i64..50),
    ) {
        let mut names = names.into_iter();
        let mut next = || names.next().flatten();
        let mark = Mark {
            issuer: "corp".parse().unwrap(),
            subject: next(),
            client: next(),
            session: next(),
            token: next(),
            issued: issued.and_then(at),
        };
        let list = Revocations::read(json!(entries).to_string().as_bytes()).unwrap();
        let named = list.names(&mark, Duration::from_secs(30)).is_some();
        prop_assert_eq!(named, entries.iter().any(|entry| check(entry, &mark).is_some()));
    }

    #[test]
    fn whatever_comes_is_a_list_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Revocations::read(&bytes);
    }

    /// As JSON, since what is random is hardly ever that.
    #[test]
    fn an_entry_with_any_other_member_or_value_is_none(
        member in "[a-z]{1,8}",
        value in prop_oneof![Just(json!(null)), Just(json!(1)), Just(json!(true)), Just(json!("x"))],
        entry in entry(),
    ) {
        let mut changed = entry;
        let known = changed.get(&member).is_some_and(|old| old.is_string() && value.is_string());
        changed[member.as_str()] = value;
        let read = Revocations::read(json!([changed]).to_string().as_bytes());
        prop_assert_eq!(read.is_ok(), known && member != "before");
    }
}
