use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::json;

use super::*;
use crate::fixtures::{analyzed, schema, variables};
use crate::{Dialect, Limit};

fn refused(document: &str) -> OperationError {
    schema().analyze(document, None, &Map::new()).err().unwrap_or_else(|| panic!("{document} was taken"))
}

/// `coordinate at response path`, for each occurrence.
fn places(analysis: &Analysis) -> BTreeSet<String> {
    let place = |of: &Coordinate, at: &Occurrence| {
        let path = analysis.response_path(at).join("/");
        format!("{of} {path} {}", at.list_depth)
    };
    let fields = analysis.fields().iter();
    fields.flat_map(|field| field.occurrences.iter().map(|at| place(&field.coordinate, at))).collect()
}

#[test]
fn each_field_is_told_with_its_places() {
    let analysis = analyzed(
        "query Q { mine: me { ...F } users { ...F } grid { id } } fragment F on User { id friends { id } __typename }",
    );
    let expected = [
        "Query.me mine 0",
        "Query.users users 1",
        "Query.grid grid 2",
        "User.id mine/id 0",
        "User.id users/id 1",
        "User.id grid/id 2",
        "User.friends mine/friends 1",
        "User.friends users/friends 2",
        "User.id mine/friends/id 1",
        "User.id users/friends/id 2",
    ];
    assert_eq!(places(&analysis), expected.map(str::to_owned).into());
    assert_eq!((analysis.kind, analysis.name.as_deref()), (OperationKind::Query, Some("Q")));
    assert_eq!((analysis.measure.depth, analysis.measure.aliases, analysis.measure.fields), (3, 1, 12));
    assert!(!analysis.introspects);
    let me = analysis.fields().iter().find(|field| field.coordinate.to_string() == "Query.me").unwrap();
    assert_eq!(analysis.field_path(&me.occurrences[0]), ["me"]);
}

#[test]
fn arguments_are_what_a_server_sees() {
    let given = variables(r#"{"id": 7, "filter": {"owner": 9}, "unused": [1]}"#);
    for (document, coordinate, expected) in [
        ("{ users { id } }", "Query.users", json!({"first": 10})),
        (
            "{ users(first: 3, filter: {owner: 1, deep: {}}) { id } }",
            "Query.users",
            json!({"first": 3, "filter": {"tag": "all", "owner": "1", "deep": {"tag": "all", "limit": 5}, "limit": 5}}),
        ),
        ("{ users(ids: 5) { id } }", "Query.users", json!({"first": 10, "ids": ["5"]})),
        ("{ users(first: null) { id } }", "Query.users", json!({"first": null})),
        ("query($id: ID!) { user(id: $id) { id } }", "Query.user", json!({"id": "7"})),
        (
            "query($id: ID!) { users(ids: [$id, 8]) { id } }",
            "Query.users",
            json!({"first": 10, "ids": ["7", "8"]}),
        ),
        ("query($x: ID! = \"d\") { user(id: $x) { id } }", "Query.user", json!({"id": "d"})),
        ("query($x: Int) { users(first: $x) { id } }", "Query.users", json!({"first": 10})),
        (
            "query($filter: Filter) { users(filter: $filter) { id } }",
            "Query.users",
            json!({"first": 10, "filter": {"tag": "all", "owner": "9", "limit": 5}}),
        ),
        ("{ me { email } }", "User.email", json!({"mask": true})),
    ] {
        let analysis =
            schema().analyze(document, None, &given).unwrap_or_else(|error| panic!("{document}: {error}"));
        let field =
            analysis.fields().iter().find(|field| field.coordinate.to_string() == coordinate).unwrap();
        assert_eq!(json!(*field.occurrences[0].arguments), expected, "{document}");
    }
}

#[test]
fn the_same_question_is_asked_once_and_another_argument_is_another_question() {
    let document = "{ a: user(id: 1) { name } b: user(id: \"1\") { name } c: user(id: 2) { name } }";
    let asks: Vec<String> = analyzed(document)
        .asks()
        .iter()
        .map(|ask| format!("{} {}", ask.coordinate, json!(*ask.arguments)))
        .collect();
    assert_eq!(asks, [r#"Query.user {"id":"1"}"#, "User.name {}", r#"Query.user {"id":"2"}"#]);
}

#[test]
fn a_field_of_an_interface_asks_about_every_implementer() {
    let analysis = analyzed("{ node(id: 1) { name ... on User { id } } }");
    let asked: BTreeSet<String> = analysis.asks().iter().map(|ask| ask.coordinate.to_string()).collect();
    let expected = ["Query.node", "Node.name", "User.name", "Secret.name", "Robot.name", "User.id"];
    assert_eq!(asked, expected.map(str::to_owned).into());
}

#[test]
fn what_the_directives_ask_for() {
    let given = variables(r#"{"no": false}"#);
    for (document, dialect, authenticated, scopes, policies) in [
        ("{ me { id } }", Dialect::Apollo, false, "", ""),
        ("{ user(id: 1) { card } }", Dialect::Apollo, false, "admin audit user:read", "admin read_card root"),
        ("{ user(id: 1) { id } }", Dialect::Hive, true, "admin audit user:read", ""),
        ("{ level }", Dialect::Apollo, true, "", ""),
        ("{ secret { id } }", Dialect::Cosmo, false, "secret:read", ""),
        ("mutation { remove(id: 1) }", Dialect::Apollo, true, "", ""),
        ("{ node(id: 1) { name } }", Dialect::Apollo, false, "secret:read", "robots"),
        ("{ node(id: 1) { name } }", Dialect::Hive, false, "", ""),
        ("{ node(id: 1) { __typename ... on Robot { name } } }", Dialect::Apollo, false, "", "robots"),
        ("{ find { ... on Secret { id } } }", Dialect::Hive, true, "secret:read", ""),
        ("query($no: Boolean!) { me { email @include(if: $no) } }", Dialect::Apollo, false, "", "read_email"),
        ("query($no: Boolean!) { me { email @include(if: $no) } }", Dialect::Hive, false, "", ""),
        ("{ me { ...F @skip(if: true) } } fragment F on User { email }", Dialect::Hive, false, "", ""),
        ("{ me { ...F } } fragment F on User { email }", Dialect::Hive, false, "", "read_email"),
    ] {
        let schema = schema();
        let analysis =
            schema.analyze(document, None, &given).unwrap_or_else(|error| panic!("{document}: {error}"));
        let found = schema.requirements(&analysis, dialect);
        let words = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(" ");
        let found = (found.authenticated, words(&found.scopes), words(&found.policies));
        assert_eq!(found, (authenticated, scopes.to_owned(), policies.to_owned()), "{document} {dialect:?}");
    }
}

#[test]
fn introspection_is_noticed_wherever_it_is_asked() {
    for document in [
        "{ __schema { types { name } } }",
        "{ ...F } fragment F on Query { a: __type(name: \"User\") { name } }",
    ] {
        assert!(analyzed(document).introspects, "{document}");
    }
    assert!(!analyzed("{ __typename me { __typename } }").introspects);
}

#[test]
fn the_operation_is_the_one_that_is_named() {
    let document = "query A { open } mutation B { remove(id: 1) }";
    let kind = |name| schema().analyze(document, name, &Map::new()).map(|analysis| analysis.kind);
    assert_eq!(kind(Some("B")), Ok(OperationKind::Mutation));
    assert_eq!(kind(None), Err(OperationError::SeveralOperations));
    assert_eq!(kind(Some("C")), Err(OperationError::NoOperation));
    assert_eq!(kind(Some("")), Err(OperationError::NoOperation));
}

#[test]
fn what_does_not_fit_is_refused_without_its_values() {
    let secret = "hunter2";
    for document in [
        "{ me { password(is: \"hunter2\") } }",
        "{ users(first: \"hunter2\") { id } }",
        "{ me { id(x: hunter2) } } ",
        "{ me { id } ",
        "\"hunter2\"",
        "{ me(a: \"hunter2) { id } }",
        "query($x: Int = \"hunter2\") { users(first: $x) { id } }",
        "{ me }",
        "{ open { x } }",
        "{ ...F } fragment F on Query { open } fragment G on Query { open }",
        "type A { a: Int }",
        "",
    ] {
        let told = refused(document).to_string();
        assert!(!told.contains(secret), "{told}");
    }
    let document =
        "query($x: Int!, $y: Int) { users(first: $x) { id } me { name } a: users(first: $y) { id } }";
    for given in [r#"{"x": "hunter2"}"#, "{}", r#"{"x": null}"#] {
        let error = schema().analyze(document, None, &variables(given)).unwrap_err();
        assert_eq!(error, OperationError::Variable("x".to_owned()), "{given}");
    }
    assert_eq!(refused("{\n  nothing }"), OperationError::Invalid(Place { line: 2, column: 3 }));
}

#[test]
fn a_field_that_no_client_may_see_is_refused() {
    let error = refused("{ open\n hidden }");
    assert_eq!(error.to_string(), "`Query.hidden` is not part of the schema for clients (line 2, column 2)");
}

/// Thirty fragments, each of which spreads the next one twice: a billion fields.
fn bomb(width: usize) -> String {
    let mut document = "{ me { ...F0 } }".to_owned();
    for index in 0..30 {
        let spreads = format!("...F{} ", index + 1).repeat(width);
        let _ = write!(document, " fragment F{index} on User {{ id {spreads} }}");
    }
    document + " fragment F30 on User { name }"
}

#[test]
fn a_bomb_is_measured_and_never_expanded() {
    let most = schema().limits.fields;
    for document in [bomb(2), bomb(50), bomb(2).replace("id ...", "id friends { name } ...")] {
        assert_eq!(refused(&document), OperationError::TooMuch { limit: Limit::Fields, most });
    }
    // One spread each is a chain, which is no bomb.
    assert_eq!(analyzed(&bomb(1)).fields().iter().map(|field| field.occurrences.len()).sum::<usize>(), 32);
}

#[test]
fn every_limit_holds() {
    let small = Limits { arguments: 1000, questions: 4, ..Limits::default() };
    let aliases = (0..10_000).fold(String::new(), |mut text, index| {
        let _ = write!(text, " a{index}: open");
        text
    });
    let few_aliases = (0..501).fold(String::new(), |mut text, index| {
        let _ = write!(text, " a{index}: open");
        text
    });
    let deep = format!("{{ me {}{{ id }}{} }}", "{ friends ".repeat(40), "}".repeat(40));
    let nested = format!("{{ {}open{} }}", "... { ".repeat(300), "}".repeat(300));
    let values = format!("{{ users(ids: {}1{}) {{ id }} }}", "[".repeat(300), "]".repeat(300));
    let fragments = (0..201).fold("{ open }".to_owned(), |mut text, index| {
        let _ = write!(text, " fragment F{index} on Query {{ open }}");
        text
    });
    let chain = (0..150).fold("{ ...F0 }".to_owned(), |mut text, index| {
        let _ = write!(text, " fragment F{index} on Query {{ ... {{ ... {{ ...F{} }} }} }}", index + 1);
        text
    }) + " fragment F150 on Query { open }";
    let long = format!(
        "{{ {} }}",
        (0..20).fold(String::new(), |mut text, index| {
            let _ = write!(text, " a{index}: user(id: \"{}\") {{ id }}", "x".repeat(100));
            text
        })
    );
    for (document, limits, limit) in [
        (format!("{{ {aliases} }}"), Limits::default(), Limit::Tokens),
        (format!("{{ {} }}", "open ".repeat(5_001)), Limits::default(), Limit::Fields),
        (format!("{{ {few_aliases} }}"), Limits::default(), Limit::Aliases),
        (deep, Limits::default(), Limit::Depth),
        (nested, Limits::default(), Limit::Nesting),
        (values, Limits::default(), Limit::Nesting),
        (chain, Limits::default(), Limit::Nesting),
        (fragments, Limits::default(), Limit::Fragments),
        (format!("{{ open {} }}", "@skip(if: false)".repeat(501)), Limits::default(), Limit::Directives),
        (long, small, Limit::Arguments),
        (
            "{ a: user(id: 1) { id name } b: user(id: 2) { id } c: user(id: 3) { id } }".to_owned(),
            small,
            Limit::Questions,
        ),
    ] {
        let error = schema().with_limits(limits).analyze(&document, None, &Map::new()).unwrap_err();
        assert!(
            matches!(error, OperationError::TooMuch { limit: is, .. } if is == limit),
            "{limit}: {error}"
        );
    }
}

#[test]
fn what_is_as_deep_as_allowed_is_read() {
    let nested = format!("{{ {}open{} }}", "... { ".repeat(90), "}".repeat(90));
    let chain = (0..45).fold("{ ...F0 }".to_owned(), |mut text, index| {
        let _ = write!(text, " fragment F{index} on Query {{ ... {{ ...F{} }} }}", index + 1);
        text
    }) + " fragment F45 on Query { open }";
    for document in [nested, chain] {
        let analysis = analyzed(&document);
        assert_eq!(analysis.fields().len(), 1, "{document}");
        let filtered =
            schema().filter(&analysis, &crate::Decisions::none(), Dialect::Apollo, crate::Mode::Filter);
        assert_eq!(filtered.document.as_deref(), Some(&*document));
    }
}

#[test]
fn a_fragment_that_spreads_itself_is_refused() {
    for document in [
        "{ me { ...A } } fragment A on User { friends { ...A } }",
        "{ me { ...A } } fragment A on User { friends { ...B } } fragment B on User { ...A }",
    ] {
        assert!(matches!(refused(document), OperationError::FragmentCycle(_)), "{document}");
    }
}

#[test]
fn a_large_variable_is_paid_for_at_every_use() {
    let text = "x".repeat(60_000);
    let given = variables(&json!({"f": {"tag": text}}).to_string());
    let uses = (0..100).fold(String::new(), |mut uses, index| {
        let _ = write!(uses, " a{index}: users(filter: $f) {{ id }}");
        uses
    });
    let error = schema().analyze(&format!("query($f: Filter) {{ {uses} }}"), None, &given).unwrap_err();
    assert!(matches!(error, OperationError::TooMuch { limit: Limit::Arguments, .. }), "{error}");
}

#[test]
fn a_name_that_could_be_a_hash_is_refused() {
    let hash = "a3".repeat(32);
    let error = refused(&format!("query {hash} {{ open }}"));
    assert_eq!(error, OperationError::Name(Place { line: 1, column: 7 }));
    analyzed(&format!("query {} {{ open }}", hash.to_uppercase()));
    analyzed(&format!("query a{hash} {{ open }}"));
}

#[test]
fn roots_count_by_what_is_executed_of_them() {
    for (document, expected) in [
        ("{ open }", 1),
        ("{ a: open b: open open }", 3),
        ("{ open open ...F } fragment F on Query { open c: me { id name } }", 2),
        ("{ open @skip(if: true) me @include(if: true) { id } }", 1),
        ("{ ... @include(if: false) { open } }", 0),
        ("{ __typename }", 0),
        ("mutation { a: remove(id: 1) b: remove(id: 1) }", 2),
    ] {
        assert_eq!(crate::fixtures::analyzed(document).executed_roots(), expected, "{document}");
    }
}
