mod random;

use serde_json::json;

use super::*;
use crate::fixtures::{analyzed, everything, schema, variables};
use crate::{Ask, OperationError};

fn compact(document: &str) -> String {
    document.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What is left, and the errors' paths as `a/b`.
fn filtered(document: &str, decisions: &Decisions, dialect: Dialect) -> (String, Vec<String>) {
    let filtered = schema().filter(&analyzed(document), decisions, dialect, Mode::Filter);
    let path = |error: &GraphqlError| match &error.path {
        Some(path) => path.join("/"),
        None => error.extensions["affectedPath"].as_str().unwrap().to_owned(),
    };
    let left = filtered.document.map(|document| compact(&document)).unwrap_or_default();
    (left, filtered.errors.iter().map(path).collect())
}

#[test]
fn a_field_needs_its_own_rule_that_of_what_it_returns_and_that_of_the_root() {
    let signed_in = || Decisions::none().authenticated(true);
    for (document, decisions, left, errors) in [
        ("{ open me { id } }", Decisions::none(), "{ open me { id } }", vec![]),
        ("{ me { id email } }", Decisions::none(), "{ me { id } }", vec!["me/email"]),
        ("{ me { mine: email } open }", Decisions::none(), "{ open }", vec!["me/email"]),
        ("{ me { email } }", Decisions::none().policies(["read_email"]), "{ me { email } }", vec![]),
        ("{ me { card } }", Decisions::none().policies(["read_card"]), "", vec!["me/card"]),
        ("{ me { card } }", Decisions::none().policies(["read_card", "admin"]), "{ me { card } }", vec![]),
        ("{ me { card } }", Decisions::none().policies(["root"]), "{ me { card } }", vec![]),
        ("{ user(id: 1) { id } open }", Decisions::none().scopes(["admin"]), "{ open }", vec!["user"]),
        (
            "{ user(id: 1) { id } }",
            Decisions::none().scopes(["audit", "admin"]),
            "{ user(id: 1) { id } }",
            vec![],
        ),
        ("{ secret { id } open }", Decisions::none(), "{ open }", vec!["secret"]),
        ("{ level open }", Decisions::none(), "{ open }", vec!["level"]),
        ("{ level open }", signed_in(), "{ level open }", vec![]),
        ("mutation { remove(id: 1) }", Decisions::none(), "", vec![""]),
        ("mutation { remove(id: 1) }", signed_in(), "mutation { remove(id: 1) }", vec![]),
        ("subscription { news { title } }", Decisions::none(), "", vec!["news/title"]),
        ("{ users { email id } }", Decisions::none(), "{ users { id } }", vec!["users/@/email"]),
        (
            "{ users { id friends { card } } }",
            Decisions::none(),
            "{ users { id } }",
            vec!["users/@/friends/@/card"],
        ),
        ("{ me { __typename email } }", Decisions::none(), "{ me { __typename } }", vec!["me/email"]),
    ] {
        let (is, told) = filtered(document, &decisions, Dialect::Apollo);
        assert_eq!((&*is, told), (left, errors.into_iter().map(str::to_owned).collect()), "{document}");
    }
}

#[test]
fn a_field_of_an_interface_needs_every_implementer_and_a_fragment_only_its_own() {
    let secrets = || Decisions::none().scopes(["secret:read"]);
    for (document, decisions, left, errors) in [
        ("{ node(id: 1) { id } open }", Decisions::none(), "{ open }", vec!["node"]),
        ("{ node(id: 1) { id } open }", secrets(), "{ node(id: 1) { id } open }", vec![]),
        ("{ node(id: 1) { id name } }", secrets(), "{ node(id: 1) { id } }", vec!["node/name"]),
        (
            "{ node(id: 1) { id name } }",
            secrets().policies(["robots"]),
            "{ node(id: 1) { id name } }",
            vec![],
        ),
        ("{ node(id: 1) { __typename } }", Decisions::none(), "{ node(id: 1) { __typename } }", vec![]),
        (
            "{ node(id: 1) { ... on User { id } ... on Secret { id } } }",
            Decisions::none(),
            "{ node(id: 1) { ... on User { id } } }",
            vec!["node/... on Secret"],
        ),
        (
            "{ node(id: 1) { ... on User { id email } ... on Robot { name id } } }",
            Decisions::none(),
            "{ node(id: 1) { ... on User { id } ... on Robot { id } } }",
            vec!["node/... on User/email", "node/... on Robot/name"],
        ),
        // Neither a fragment without a condition nor one on the interface is a way round the rule.
        ("{ node(id: 1) { ... { id } } open }", Decisions::none(), "{ open }", vec!["node"]),
        (
            "{ node(id: 1) { ... on Node { id } } open }",
            Decisions::none(),
            "{ open }",
            vec!["node/... on Node"],
        ),
        (
            "{ node(id: 1) { ...N } open } fragment N on Node { id }",
            Decisions::none(),
            "{ open }",
            vec!["node/... on Node"],
        ),
    ] {
        let (is, told) = filtered(document, &decisions, Dialect::Apollo);
        assert_eq!((&*is, told), (left, errors.into_iter().map(str::to_owned).collect()), "{document}");
    }
    // The others judge the interface itself.
    let document = "{ node(id: 1) { id name } }";
    assert_eq!(filtered(document, &Decisions::none(), Dialect::Hive), (document.to_owned(), vec![]));
}

#[test]
fn members_of_a_union_are_judged_alone() {
    let document =
        "{ find { __typename ... on User { id } ... on Secret { name } ...R } } fragment R on Robot { name }";
    let (left, errors) = filtered(document, &Decisions::none(), Dialect::Apollo);
    assert_eq!(left, "{ find { __typename ... on User { id } } }");
    assert_eq!(errors, ["find/@/... on Secret", "find/@/... on Robot/name"]);
}

#[test]
fn what_is_no_longer_used_goes_too() {
    let document = "query Q($id: ID!, $mask: Boolean!, $no: Boolean!, $ids: [ID!]) {
            user(id: $id) { id } me { id ...E @skip(if: $no) } users(ids: $ids) { id }
        } fragment E on User { ...M } fragment M on User { email(mask: $mask) }";
    let schema = schema();
    let given = variables(r#"{"id": 1, "mask": true, "no": false}"#);
    let analysis = schema.analyze(document, Some("Q"), &given).unwrap();
    let filtered = schema.filter(&analysis, &Decisions::none(), Dialect::Apollo, Mode::Filter);
    let left = "query Q($ids: [ID!]) { me { id } users(ids: $ids) { id } }";
    assert_eq!(compact(&filtered.document.unwrap()), left);
    assert_eq!(filtered.variables, BTreeSet::from(["ids".to_owned()]));
    let whole = schema.filter(&analysis, &everything(), Dialect::Apollo, Mode::Filter);
    assert_eq!((whole.document.as_deref(), whole.errors.len()), (Some(document), 0));
    assert_eq!(whole.variables.len(), 4);
}

#[test]
fn a_fragment_is_cut_once_and_told_at_each_of_its_places() {
    let document = "{ a: me { ...F } users { ...F ...F } } fragment F on User { id email }";
    let (left, errors) = filtered(document, &Decisions::none(), Dialect::Apollo);
    assert_eq!(left, "{ a: me { ...F } users { ...F ...F } } fragment F on User { id }");
    assert_eq!(errors, ["me/... on User/email", "users/@/... on User/email"]);
}

#[test]
fn what_is_selected_many_times_is_told_once() {
    let deep = |selected: &str| {
        format!("{{ me {{ id {} {selected} {} }} }}", "... on User { ".repeat(80), "}".repeat(80))
    };
    for selected in [
        "email ".repeat(4_000),
        "... on User { email } ".repeat(1_000),
        "...F ".repeat(1_500),
        "email ...F ".repeat(1_000),
    ] {
        let fragment = if selected.contains("...F") { " fragment F on User { email }" } else { "" };
        let document = deep(&selected) + fragment;
        let filtered =
            schema().filter(&analyzed(&document), &Decisions::none(), Dialect::Apollo, Mode::Filter);
        assert_eq!(compact(&filtered.document.unwrap()), "{ me { id } }");
        assert!(filtered.errors.len() <= 2 && filtered.nulled.len() <= 2, "{:?}", filtered.errors.len());
    }
    // A place that is told again after it went with what held it.
    let filtered = schema().filter(
        &analyzed("{ open me { email } me { email id } }"),
        &Decisions::none(),
        Dialect::Hive,
        Mode::Filter,
    );
    assert_eq!((filtered.errors.len(), filtered.nulled.len()), (1, 2));
}

#[test]
fn decisions_on_coordinates_hold_in_every_dialect() {
    let asked = |document: &str, denied: &[&str]| {
        let analysis = analyzed(document);
        let permitted: Vec<Ask> = analysis.asks().to_vec();
        let permitted = permitted.into_iter().filter(|ask| !denied.contains(&&*ask.coordinate.to_string()));
        everything().fields(permitted)
    };
    for dialect in [Dialect::Apollo, Dialect::Hive, Dialect::Cosmo] {
        for (document, denied, left) in [
            ("{ open me { id name } }", &["User.name"][..], "{ open me { id } }"),
            ("{ node(id: 1) { id name } }", &["Robot.name"], "{ node(id: 1) { id } }"),
            ("{ node(id: 1) { id } }", &["Query.node"], ""),
        ] {
            let (is, errors) = filtered(document, &asked(document, denied), dialect);
            assert_eq!((&*is, errors.len()), (left, 1), "{document} {dialect:?}");
        }
    }
    // What was not asked about is not permitted.
    assert_eq!(filtered("{ open }", &everything().fields([]), Dialect::Apollo).0, "");
}

#[test]
fn a_decision_is_one_on_the_arguments() {
    let document = "{ a: user(id: 1) { id } b: user(id: 2) { id } }";
    let asks = analyzed(document).asks().to_vec();
    let permitted = asks.into_iter().filter(|ask| ask.arguments.get("id") != Some(&json!("2")));
    let (left, errors) = filtered(document, &everything().fields(permitted), Dialect::Hive);
    assert_eq!((&*left, errors), ("{ a: user(id: 1) { id } }", vec!["b".to_owned()]));
}

#[test]
fn introspection_is_granted_apart() {
    let document = "{ open __schema { types { name } } }";
    let without = everything().introspection(false);
    assert_eq!(
        filtered(document, &without, Dialect::Apollo),
        ("{ open }".to_owned(), vec!["__schema".to_owned()])
    );
    assert_eq!(filtered(document, &everything(), Dialect::Apollo).0, document);
}

#[test]
fn each_router_reads_its_own_errors() {
    let document = "{ all: users { mine: email } s: user(id: 1) { id } }";
    let decisions = Decisions::none().authenticated(true).scopes(["other"]);
    let errors = |dialect| {
        let filtered = schema().filter(&analyzed(document), &decisions, dialect, Mode::Filter);
        Value::Array(filtered.errors.iter().map(GraphqlError::to_json).collect())
    };
    let code = "UNAUTHORIZED_FIELD_OR_TYPE";
    let message = "Unauthorized field or type";
    assert_eq!(
        errors(Dialect::Apollo),
        json!([
            {"message": message, "path": ["users", "@", "email"], "extensions": {"code": code}},
            {"message": message, "path": ["user"], "extensions": {"code": code}},
        ])
    );
    assert_eq!(
        errors(Dialect::Hive),
        json!([
            {"message": message, "extensions": {"code": code, "affectedPath": "all.mine"}},
            {"message": message, "extensions": {"code": code, "affectedPath": "s"}},
        ])
    );
    let missing = json!({
        "coordinate": {"typeName": "Query", "fieldName": "user"},
        "required": [["user:read"], ["admin", "audit"]],
    });
    assert_eq!(
        errors(Dialect::Cosmo),
        json!([
            {
                "message": "Unauthorized to load field 'Query.users.email', Reason: not permitted.",
                "path": ["all", "mine"],
                "extensions": {"code": code},
            },
            {
                "message": "Unauthorized to load field 'Query.user', Reason: missing required scopes.",
                "path": ["s"],
                "extensions": {"code": code, "authorization": {"missingScopes": [missing], "actualScopes": ["other"]}},
            },
        ])
    );
}

#[test]
fn hive_evaluates_conditions_and_wants_scopes_to_be_somebodys() {
    let scope = Decisions::none().scopes(["user:read"]);
    assert_eq!(filtered("{ open user(id: 1) { id } }", &scope, Dialect::Hive).0, "{ open }");
    assert_eq!(
        filtered("{ open user(id: 1) { id } }", &scope, Dialect::Apollo).0,
        "{ open user(id: 1) { id } }"
    );
    // What is not executed is taken, and nobody is told.
    let document = "{ me { id email @skip(if: true) } }";
    assert_eq!(filtered(document, &Decisions::none(), Dialect::Hive), ("{ me { id } }".to_owned(), vec![]));
    assert_eq!(filtered(document, &Decisions::none(), Dialect::Apollo).1, ["me/email"]);
    // An object of which nothing would have been executed is still an object.
    let (left, errors) = filtered("{ me { email @include(if: false) } }", &Decisions::none(), Dialect::Hive);
    assert_eq!((&*left, errors.len()), ("{ me { __typename @skip(if: true) } }", 0));
}

#[test]
fn the_places_that_become_null_are_those_that_may() {
    let segments = |path: &[Segment]| {
        let text = |segment: &Segment| match segment {
            Segment::Key(key) => key.clone(),
            Segment::Item => "@".to_owned(),
            Segment::On(name) => format!("on {name}"),
        };
        path.iter().map(text).collect::<Vec<_>>().join("/")
    };
    for (document, nulled) in [
        ("{ me { id mine: email } }", vec!["me/mine"]),
        // `strict` may not be null, `me` may.
        ("{ mine: me { id strict } }", vec!["mine"]),
        // Items of `users` may not be null, the list may.
        ("{ users { id strict } open }", vec!["users"]),
        ("{ me { id friends { id strict } } }", vec!["me"]),
        ("{ me { id friends { id email } } }", vec!["me/friends/@/email"]),
        // Of `grid`, only the inner lists may be null.
        ("{ open grid { id strict } }", vec!["grid/@"]),
        // Nothing on the way may be null.
        ("{ open needed { deep { value plain } } }", vec![""]),
        ("{ find { ... on User { id strict } } open }", vec!["find/@"]),
        ("{ find { ... on User { id email } } open }", vec!["find/@/on User/email"]),
        // What has nothing left goes whole.
        ("{ open me { email card } }", vec!["me"]),
        ("{ me { email } }", vec![""]),
    ] {
        let filtered =
            schema().filter(&analyzed(document), &Decisions::none(), Dialect::Apollo, Mode::Filter);
        let is: Vec<String> = filtered.nulled.iter().map(|path| segments(path)).collect();
        assert_eq!(is, nulled, "{document}");
    }
}

#[test]
fn an_operation_goes_on_whole_in_part_or_not() {
    let document = "{ me { id email } }";
    let (schema, analysis) = (schema(), analyzed(document));
    let run = |mode| schema.filter(&analysis, &Decisions::none(), Dialect::Apollo, mode);
    let (filter, reject, dry) = (run(Mode::Filter), run(Mode::Reject), run(Mode::DryRun));
    assert_eq!(filter.document.as_deref().map(compact).as_deref(), Some("{ me { id } }"));
    assert_eq!(reject.document, None);
    assert_eq!(dry.document.as_deref(), Some(document));
    for filtered in [&filter, &reject, &dry] {
        assert_eq!((filtered.errors.len(), filtered.emptied), (1, false));
        assert_eq!(filtered.denied[0].coordinate, Coordinate::of_field("User", "email"));
    }
    let granted = schema.filter(&analysis, &everything(), Dialect::Apollo, Mode::Reject);
    assert_eq!(granted.document.as_deref(), Some(document));
    let emptied = schema.filter(&analyzed("{ level }"), &Decisions::none(), Dialect::Apollo, Mode::Filter);
    assert_eq!((emptied.document, emptied.emptied, emptied.nulled), (None, true, vec![vec![]]));
}

#[test]
fn the_record_says_whose_rule_it_was() {
    let filtered = schema().filter(
        &analyzed("{ n: node(id: 1) { id } }"),
        &Decisions::none(),
        Dialect::Apollo,
        Mode::Filter,
    );
    let denied = &filtered.denied[0];
    assert_eq!(denied.coordinate, Coordinate::of_field("Query", "node"));
    assert_eq!(denied.because, Coordinate::of_type("Secret"));
    assert!(matches!(&denied.why, Why::Scopes(scopes) if scopes.names().eq(["secret:read"])));
    assert_eq!(denied.path, [Segment::Key("n".to_owned())]);
}

#[test]
fn no_error_holds_a_value() {
    let document = "{ user(id: \"hunter2\") { id } }";
    for dialect in [Dialect::Apollo, Dialect::Hive, Dialect::Cosmo] {
        let filtered = schema().filter(&analyzed(document), &Decisions::none(), dialect, Mode::Reject);
        assert!(!format!("{:?} {:?}", filtered.errors, filtered.denied).contains("hunter2"));
    }
    let unfit: Result<_, OperationError> = schema().analyze("{ user(id: 1.5) { id } }", None, &Map::new());
    assert!(unfit.is_err());
}
