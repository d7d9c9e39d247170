use std::fs;

use super::*;
use crate::{Policies, SourceFile};

const TESTS: &str = "resources:
  demo: {kind: mcp, identifier: 'https://h/demo', catalog: tools.json, scopes: {step_up: [files:read]}}
matrix:
  personas:
    - {name: ann, principal: {user: corp/ann, roles: [corp/admin]}}
    - {name: bob, principal: {user: corp/bob}}
cases: []
";

const BEFORE: &str = "@id(\"read\") permit (principal is User, action in Mcp::Action::\"tools/call\", resource == Mcp::Tool::\"demo/read\");\n\
    @id(\"all\") permit (principal in Role::\"corp/admin\", action in Mcp::Action::\"tools/call\", resource in Mcp::Server::\"demo\");\n\
    @id(\"old\") forbid (principal is Client, action, resource in Mcp::Server::\"demo\");\n";

struct Set {
    bed: TestBed,
    sources: Sources,
    policies: Policies,
}

impl Set {
    fn new(policies: &str, tools: &str, tests: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tools.json"), tools).unwrap();
        fs::write(folder.path().join("a.test.yaml"), tests).unwrap();
        let bed = TestBed::read(folder.path()).unwrap();
        let sources =
            Sources { policies: vec![SourceFile::new("set/a.cedar", policies)], ..Sources::default() };
        let policies = Policies::load(&sources, &bed.deployment.world, bed.deployment.on_error).unwrap();
        Self { bed, sources, policies }
    }

    fn side(&self) -> Side<'_> {
        Side { policies: &self.policies, sources: &self.sources, deployment: &self.bed.deployment }
    }

    fn against(&self, after: &Self) -> Difference {
        let asked = matrix_questions((self.side(), &self.bed), (after.side(), &after.bed));
        Difference::of(self.side(), after.side(), asked.into_iter().map(|inquiry| (inquiry, 1)))
    }
}

fn set(policies: &str) -> Set {
    Set::new(policies, r#"[{"name": "read"}, {"name": "write"}]"#, TESTS)
}

#[test]
fn a_set_against_itself_or_laid_out_anew_differs_in_nothing() {
    let before = set(BEFORE);
    let relaid = set(&BEFORE.replace("permit (", "// why\npermit\n  ("));
    let difference = before.against(&relaid);
    assert!(difference.is_empty(), "{difference}");
    assert!(difference.compared > 30, "every action of every target: {}", difference.compared);
    assert_eq!(difference.to_string(), format!("0 of {} decisions change\n", difference.compared));
}

#[test]
fn policies_that_came_went_and_changed_are_named_with_what_they_decide() {
    let after = BEFORE
        .replace("principal is User", "principal in Role::\"corp/admin\"")
        .replace("\"old\"", "\"new\"");
    let difference = set(BEFORE).against(&set(&after));
    let shown = difference.to_string();
    assert_eq!(
        shown.lines().take(3).collect::<Vec<_>>(),
        [
            "+ policy new (set/a.cedar:3)",
            "- policy old (set/a.cedar:3)",
            "~ policy read (set/a.cedar:1 -> set/a.cedar:1)"
        ],
    );
    assert!(
        shown.contains("bob: Mcp::Action::\"tools/call\" on Mcp::Tool::\"demo/read\": permit -> deny\n    before: read (set/a.cedar:1)\n"),
        "{shown}"
    );
    assert_eq!(difference.changed(), 1, "{shown}");
    assert!(!difference.is_empty());
}

#[test]
fn what_a_caller_is_asked_for_and_what_a_proxy_is_told_are_changes_too() {
    let scoped = BEFORE.replacen("\");", "\") when { context.scopes.contains(\"files:read\") };", 1);
    let shown = set(BEFORE).against(&set(&scoped)).to_string();
    assert!(shown.contains("permit -> step-up: files:read"), "{shown}");
    let obliged = BEFORE.replacen("permit", "@obligation(\"redact\") permit", 1);
    let shown = set(BEFORE).against(&set(&obliged)).to_string();
    assert!(shown.contains("permit -> permit") && shown.contains("after: obligation redact"), "{shown}");
    let forbidden = |annotation: &str| {
        format!(
            "{BEFORE}{annotation} @id(\"no\") forbid (principal, action in Mcp::Action::\"tools/call\", resource == Mcp::Tool::\"demo/read\");"
        )
    };
    for (annotation, shown) in
        [("@deny_code(\"closed\")", "after: code closed"), ("@advice(\"ask\")", "after: advice ask")]
    {
        let difference = set(&forbidden("")).against(&set(&forbidden(annotation)));
        assert_eq!(difference.changed(), 2, "{difference}");
        assert!(difference.to_string().contains(shown), "{difference}");
    }
    // The same answer by another policy is no change of a decision.
    let difference = set(BEFORE).against(&set(&BEFORE.replace("\"read\"", "\"reading\"")));
    assert_eq!((difference.decisions.len(), difference.policies.len()), (0, 2));
}

#[test]
fn what_a_record_lacks_is_looked_for_in_the_policies_that_could_be_about_it() {
    let (scopes, demo, corp) =
        (palisade_model::Scopes::new(), "demo".parse::<ResourceName>().unwrap(), "corp".parse().unwrap());
    let record = Recorded {
        principal: Some("User::\"corp/bob\""),
        principal_in: &[],
        client: None,
        actors: &[],
        issuer: Some(&corp),
        scopes: &scopes,
        acr: None,
        action: Some("Mcp::Action::\"tools/call\""),
        target: Some("Mcp::Tool::\"demo/read\""),
        resource: Some(&demo),
        client_ip: None,
        path: None,
        surface: Some(palisade_model::Surface::Decide),
        time: palisade_model::Timestamp::from_unix_seconds(1_767_225_600),
        detail: None,
    };
    let looked = |head: &str, condition: &str| {
        let set = set(&format!("{BEFORE}@id(\"new\") forbid ({head}) when {{ {condition} }};"));
        set.side().hangs_on_time(&Inquiry::recorded(&record).unwrap(), &record)
    };
    let head = "principal, action in Mcp::Action::\"tools/call\", resource == Mcp::Tool::\"demo/read\"";
    let arguments = "context.args.text.hasTag(\"/a\")";
    let lacking = Err(NotRebuilt::Unrecorded("the arguments"));
    assert_eq!(looked(head, "context.scopes.contains(\"files:read\")"), Ok(false));
    assert_eq!(looked(head, "context.now < datetime(\"2026-01-01\")"), Ok(true));
    assert_eq!(looked(head, arguments), lacking);
    // With a scope that the token lacks, it is still what a step-up is about.
    assert_eq!(looked(head, &format!("context.scopes.contains(\"files:read\") && {arguments}")), lacking);
    // What is about something else decides nothing here.
    assert_eq!(looked(&head.replace("demo/read", "demo/write"), arguments), Ok(false));
    assert_eq!(looked(&head.replace("principal,", "principal is Client,"), arguments), Ok(false));
}

#[test]
fn both_sides_are_asked_about_what_either_knows() {
    let (before, more_tools) =
        (set(BEFORE), Set::new(BEFORE, r#"[{"name": "read"}, {"name": "extra"}]"#, TESTS));
    let tools = |before: &Set, after: &Set| {
        let asked = matrix_questions((before.side(), &before.bed), (after.side(), &after.bed));
        asked.into_iter().map(|inquiry| inquiry.target.id).collect::<BTreeSet<_>>()
    };
    let all = BTreeSet::from(["demo", "demo/read", "demo/write", "demo/extra"].map(str::to_owned));
    assert_eq!(tools(&before, &more_tools), all);
    assert_eq!(tools(&more_tools, &before), all);
    let people = |tests: &str| Set::new(BEFORE, "[]", tests);
    let (old, new) = (people(TESTS), people(&TESTS.replace("bob", "eve")));
    let asked = matrix_questions((old.side(), &old.bed), (new.side(), &new.bed));
    let who: BTreeSet<_> = asked.into_iter().map(|inquiry| inquiry.who).collect();
    assert_eq!(who, BTreeSet::from(["ann", "bob", "eve"].map(str::to_owned)));
}
