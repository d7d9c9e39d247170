//! Random operations over one schema, with random decisions.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::{Incoming, Manifest, Reading, Request, read_request};

/// What picks the next part of an operation: one number after the other, then nothing more.
struct Picks<'a>(std::slice::Iter<'a, u8>);

impl Picks<'_> {
    fn next(&mut self, of: usize) -> usize {
        self.0.next().map_or(0, |byte| usize::from(*byte) % of)
    }
}

/// Fields: what is written, and the type below.
type Fields = &'static [(&'static str, Option<&'static str>)];

/// The fields of each type.
const FIELDS: [(&str, Fields); 8] = [
    (
        "Query",
        &[
            ("open", None),
            ("me", Some("User")),
            ("users(first: $first)", Some("User")),
            ("user(id: $id)", Some("User")),
            ("node(id: 1)", Some("Node")),
            ("find", Some("Found")),
            ("secret", Some("Secret")),
            ("level", None),
            ("needed", Some("Needed")),
            ("grid", Some("User")),
        ],
    ),
    (
        "User",
        &[
            ("id", None),
            ("name", None),
            ("email", None),
            ("card", None),
            ("strict", None),
            ("friends", Some("User")),
        ],
    ),
    ("Node", &[("id", None), ("name", None)]),
    ("Secret", &[("id", None), ("name", None)]),
    ("Robot", &[("id", None), ("name", None)]),
    ("Found", &[]),
    ("Needed", &[("plain", None), ("value", None), ("deep", Some("Needed"))]),
    ("", &[]),
];

const FRAGMENTS: [(&str, &str); 4] = [("A", "User"), ("B", "User"), ("C", "Node"), ("D", "Secret")];

/// The types that a fragment in a type may be on.
fn conditions(of: &str) -> &'static [&'static str] {
    match of {
        "Query" => &["Query"],
        "Node" => &["User", "Secret", "Robot", "Node"],
        "Found" => &["User", "Secret", "Robot"],
        "User" => &["User", "Node"],
        "Secret" => &["Secret", "Node"],
        "Robot" => &["Robot", "Node"],
        _ => &["Needed"],
    }
}

fn condition(picks: &mut Picks<'_>) -> &'static str {
    ["", "", "", " @skip(if: $flag)", " @include(if: $flag)", " @include(if: false)"][picks.next(6)]
}

/// A selection set of a type; `spreads` from this one on may be spread.
fn selections(picks: &mut Picks<'_>, of: &str, depth: usize, spreads: usize) -> String {
    let mut text = String::from("{ ");
    for index in 0..=picks.next(3) {
        let fields = FIELDS.iter().find(|(name, _)| *name == of).map_or(&[][..], |(_, fields)| fields);
        match picks.next(6) {
            0 => text.push_str("__typename "),
            1 if depth > 0 => {
                let on = conditions(of)[picks.next(conditions(of).len())];
                let directive = condition(picks);
                let below = selections(picks, on, depth - 1, spreads);
                let _ = write!(text, "... on {on}{directive} {below} ");
            }
            2 if depth > 0 => {
                let directive = condition(picks);
                let below = selections(picks, of, depth - 1, spreads);
                let _ = write!(text, "...{directive} {below} ");
            }
            3 => {
                let fitting = |on: &str| conditions(of).contains(&on);
                let found = FRAGMENTS.iter().skip(spreads).find(|(_, on)| fitting(on));
                let directive = condition(picks);
                match found {
                    Some((name, _)) => drop(write!(text, "...{name}{directive} ")),
                    None => text.push_str("__typename "),
                }
            }
            _ if fields.is_empty() => text.push_str("__typename "),
            _ => {
                let (field, below) = fields[picks.next(fields.len())];
                let directive = condition(picks);
                // An alias of its own for each place, so that nothing has to merge.
                let alias = format!("a{depth}_{index}_{}_{}", text.len(), field.split('(').next().unwrap());
                match below {
                    None => drop(write!(text, "{alias}: {field}{directive} ")),
                    Some(below) if depth > 0 => {
                        let below = selections(picks, below, depth - 1, spreads);
                        let _ = write!(text, "{alias}: {field}{directive} {below} ");
                    }
                    Some(_) => drop(write!(text, "{alias}: {field}{directive} {{ __typename }} ")),
                }
            }
        }
    }
    text + "}"
}

fn operation(picks: &[u8]) -> String {
    let picks = &mut Picks(picks.iter());
    let root = selections(picks, "Query", 4, 0);
    let fragments: Vec<String> = FRAGMENTS
        .iter()
        .enumerate()
        .map(|(index, (name, on))| format!("fragment {name} on {on} {}", selections(picks, on, 2, index + 1)))
        .collect();
    // Every fragment and variable is used, as validation wants.
    let spreads = "u: me { ...A ...B } s: secret { ...D } n: node(id: 2) { ...C }";
    let used =
        "z: open @include(if: $flag) y: users(first: $first) { __typename } x: user(id: $id) { __typename }";
    let root = root.trim_end_matches('}');
    format!(
        "query($first: Int, $id: ID!, $flag: Boolean!) {root} {spreads} {used} }} {}",
        fragments.join(" ")
    )
}

fn decisions(bits: u16, analysis: &Analysis) -> Decisions {
    let bit = |index: u16| bits >> index & 1 == 1;
    fn some<'a>(all: &[&'a str], from: u16, bit: &impl Fn(u16) -> bool) -> Vec<&'a str> {
        (from..).zip(all).filter(|(index, _)| bit(*index)).map(|(_, name)| *name).collect()
    }
    let decisions = Decisions::none()
        .authenticated(bit(0))
        .scopes(some(&["user:read", "admin", "audit", "secret:read"], 1, &bit))
        .policies(some(&["read_email", "read_card", "admin", "root", "robots"], 5, &bit));
    if bit(10) {
        let some_asks = analysis.asks().iter().enumerate();
        let permitted = some_asks
            .filter(|(index, _)| !(bits as usize).wrapping_mul(31).wrapping_add(index * 7).is_multiple_of(5));
        return decisions.fields(permitted.map(|(_, ask)| ask.clone()));
    }
    decisions
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_left_is_valid_and_asks_only_for_what_was_granted(
        picks in proptest::collection::vec(any::<u8>(), 0..120),
        bits in any::<u16>(),
        flag in any::<bool>(),
    ) {
        let schema = schema();
        let document = operation(&picks);
        let given = variables(&json!({"first": 3, "id": "x", "flag": flag}).to_string());
        let analysis = schema.analyze(&document, None, &given);
        prop_assert!(analysis.is_ok(), "{document}: {:?}", analysis.err());
        let analysis = analysis.unwrap();
        let decisions = decisions(bits, &analysis);
        for dialect in [Dialect::Apollo, Dialect::Hive, Dialect::Cosmo] {
            let filtered = schema.filter(&analysis, &decisions, dialect, Mode::Filter);
            let Some(left) = &filtered.document else {
                prop_assert!(filtered.emptied);
                continue;
            };
            let again = schema.analyze(left, None, &given);
            prop_assert!(again.is_ok(), "{left}: {:?}", again.err());
            let again = again.unwrap();
            // Judged once more, whatever would be executed, nothing is taken.
            let twice = schema.filter(&again, &decisions, dialect, Mode::Reject);
            prop_assert!(twice.errors.is_empty(), "{left}: {:?}", twice.denied);
            prop_assert_eq!(twice.document.as_ref(), Some(left));
            // And nothing is asked that was not asked before.
            for ask in again.asks() {
                prop_assert!(analysis.asks().contains(ask), "{:?}", ask);
            }
            prop_assert_eq!(filtered.errors.is_empty(), filtered.denied.is_empty());
        }
    }

    /// What goes on is read as any request is: whoever reads it finds what was granted and nothing else.
    #[test]
    fn what_is_left_of_a_request_is_a_request_for_what_was_granted(
        picks in proptest::collection::vec(any::<u8>(), 0..120),
        bits in any::<u16>(),
        flag in any::<bool>(),
    ) {
        let schema = schema();
        let request = Request {
            document: operation(&picks),
            operation_name: None,
            variables: variables(&json!({"first": 3, "id": "x", "flag": flag}).to_string()),
            by_get: false,
            by_hash: false,
            listed: None,
            exact: true,
        };
        let analysis = schema.analyze_request(&request).unwrap();
        let decisions = decisions(bits, &analysis);
        let whole = schema.filter(&analysis, &decisions, Dialect::Apollo, Mode::Filter);
        let Some(rest) = schema.rest(&request, &analysis, &decisions, Dialect::Apollo) else {
            prop_assert!(whole.denied.is_empty());
            return Ok(());
        };
        prop_assert_eq!(rest.denied.len(), whole.denied.len());
        prop_assert_eq!(rest.body.is_none(), whole.emptied);
        let Some(body) = rest.body else { return Ok(()) };
        let incoming = Incoming {
            method: "POST",
            query: None,
            content_type: Some("application/json"),
            content_encoding: None,
            upgrade: false,
            body: &body,
        };
        let manifest = Manifest::default();
        let read = read_request(&incoming, &Reading { max_batch: 0, manifest: &manifest }).unwrap();
        prop_assert_eq!(Some(&read.requests[0].document), whole.document.as_ref());
        let again = schema.analyze_request(&read.requests[0]).unwrap();
        let twice = schema.filter(&again, &decisions, Dialect::Apollo, Mode::Reject);
        prop_assert!(twice.denied.is_empty(), "{:?}", twice.denied);
        let asked: Vec<&crate::Ask> = rest.asks.iter().map(|place| &analysis.asks()[*place]).collect();
        prop_assert!(again.asks().iter().eq(asked.iter().copied()));
        prop_assert!(asked.iter().all(|ask| decisions.permits(ask)));
    }

    #[test]
    fn no_document_panics(document in "[{}()\\[\\]a-zA-Z:$!@.\" 0-9]{0,60}") {
        let schema = schema();
        if let Ok(analysis) = schema.analyze(&document, None, &Map::new()) {
            let _ = schema.filter(&analysis, &Decisions::none(), Dialect::Apollo, Mode::Filter);
        }
    }
}
