use super::*;

/// The ready-made sets are the test of what policies mean.
#[test]
fn the_ready_made_sets_pass_their_own_cases_and_leave_no_policy_undecided() {
    let report = run_tests(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../policies"));
    assert!(report.passed(), "{report}");
    assert_eq!(report.uncovered().count(), 0, "{report}");
}

const POLICY: &str = "@id(\"open\") permit (principal is User, action in Mcp::Action::\"tools/call\", resource)\n\
    when { context.scopes.contains(\"a\") };\n\
    @id(\"closed\") @deny_code(\"shut\") forbid (principal, action, resource == Mcp::Tool::\"demo/shut\");\n";

const RESOURCES: &str = "resources:\n  demo: {kind: mcp, identifier: 'https://h/demo', catalog: tools.json, scopes: {step_up: [a]}}\n";

fn run(tests: &str) -> TestReport {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.cedar"), POLICY).unwrap();
    fs::write(folder.path().join("tools.json"), r#"[{"name": "echo"}, {"name": "shut"}]"#).unwrap();
    fs::write(folder.path().join("a.test.yaml"), tests).unwrap();
    run_tests(folder.path())
}

fn case(lines: &str) -> String {
    format!(
        "{RESOURCES}cases:\n  - name: one\n    principal: {{user: corp/a}}\n    action: tools/call\n    target: echo\n{lines}"
    )
}

#[test]
fn a_failing_case_says_what_was_expected_and_what_came() {
    for (lines, says) in [
        ("    expect: permit\n", "- expect: permit\n+ expect: step-up\n  reason: insufficient_scope"),
        ("    expect: step-up\n    missing_scopes: [b]\n", "- missing_scopes: [b]\n+ missing_scopes: [a]"),
        (
            "    token: {scopes: [a]}\n    expect: permit\n    determining: [other]\n",
            "- determining: [other]\n+ determining: [open]\n",
        ),
        ("    token: {scopes: [a]}\n    expect: deny\n", "determined by"),
        ("    expect: deny\n    reason: forbidden\n", "- reason: forbidden\n+ reason: insufficient_scope"),
        ("    expect: step-up\n    policy_code: x\n", "- policy_code: x\n+ policy_code: none"),
        ("    expect: step-up\n    acr_values: [x]\n    max_age: 5m\n", "- max_age: 300s\n+ max_age: None"),
        ("    arguments: 3\n    expect: permit\n", "not a JSON object"),
        ("    resource: other\n    expect: permit\n", "`other` is not one of the resources"),
    ] {
        let report = run(&case(lines));
        assert!(!report.passed(), "{lines}");
        let failure = report.cases[0].failure.clone().unwrap_or_default();
        assert!(failure.contains(says), "{lines}\n{failure}");
        assert_eq!(report.cases[0].line, 4, "the line of the name");
    }
}

#[test]
fn what_is_no_test_file_is_refused_with_its_place_and_the_nearest_key() {
    for (tests, says) in [
        (
            case("    expct: permit\n"),
            "a.test.yaml:8:5: error: unknown key `expct`\n  help: did you mean `expect`?",
        ),
        (case("    expect: allow\n"), "a.test.yaml:8:"),
        (case("    at: soon\n    expect: permit\n"), "`soon` is not a time"),
        (case("    max_age: soon\n    expect: permit\n"), "`soon` is not a duration"),
        (format!("{RESOURCES}cases: []\nresorces: {{}}\n"), "did you mean `resources`?"),
        ("cases: []\n".to_owned(), "missing field `resources`"),
        ("resources: {Demo: {kind: mcp, identifier: x}}\ncases: []\n".to_owned(), "`Demo` is not a name"),
        (
            "resources: {demo: {kind: http, identifier: x, catalog: tools.json}}\ncases: []\n".to_owned(),
            "has no catalogue",
        ),
        (
            "resources: {demo: {kind: mcp, identifier: x, catalog: gone.json}}\ncases: []\n".to_owned(),
            "gone.json",
        ),
        (format!("policies: gone\n{RESOURCES}cases: []\n"), "cannot be listed"),
        ("[".to_owned(), "a.test.yaml"),
    ] {
        let report = run(&tests);
        assert!(!report.passed(), "{tests}");
        assert!(report.to_string().contains(says), "{tests}\n{report}");
    }
}

#[test]
fn principals_and_targets_that_mean_nothing_fail_their_case() {
    for (lines, says) in [
        ("    principal: {}\n    action: ping\n", "one of `user`, `client`, `anonymous: true` and `entity`"),
        ("    principal: {user: corp/a, client: corp/b}\n    action: ping\n", "one of"),
        ("    principal: {entity: User}\n    action: ping\n", "`User` is no entity"),
        ("    principal: {entity: 'User::\"corp/a\"'}\n    action: ping\n", "of a type of your own"),
        ("    principal: {user: corp/a, properties: {a: 1}}\n    action: ping\n", "of an `entity`"),
        ("    principal: {user: alice}\n    action: ping\n", "`alice` has no issuer"),
        ("    principal: {user: corp/a, roles: [admin]}\n    action: ping\n", "`admin` has no issuer"),
        (
            "    principal: {user: corp/a}\n    action: ping\n    target: x\n",
            "takes no target but the server",
        ),
        (
            "    principal: {user: corp/a}\n    action: completion/complete\n    target: x\n",
            "write the target like",
        ),
    ] {
        let report = run(&format!("{RESOURCES}cases:\n  - name: one\n{lines}    expect: deny\n"));
        let failure = report.cases[0].failure.clone().unwrap_or_default();
        assert!(failure.contains(says), "{lines}\n{report}");
    }
}

#[test]
fn arguments_that_the_catalogue_refuses_are_denied_before_policies() {
    let folder = tempfile::tempdir().unwrap();
    let tools = r#"[{"name": "echo", "inputSchema": {"type": "object", "required": ["message"]}}]"#;
    fs::write(folder.path().join("a.cedar"), POLICY).unwrap();
    fs::write(folder.path().join("tools.json"), tools).unwrap();
    let cases = case("    token: {scopes: [a]}\n    arguments: {message: x}\n    expect: permit\n")
        + "  - name: two\n    principal: {user: corp/a}\n    token: {scopes: [a]}\n    action: tools/call\n    target: echo\n    \
           arguments: {text: x}\n    expect: deny\n    reason: arguments_invalid\n";
    fs::write(folder.path().join("a.test.yaml"), cases).unwrap();
    let report = run_tests(folder.path());
    assert!(report.passed(), "{report}");
}

#[test]
fn whole_entities_name_actions_and_targets_too() {
    let report = run(&format!(
        "{RESOURCES}cases:\n  - name: one\n    principal: {{user: corp/a}}\n    token: {{scopes: [a]}}\n    \
         action: 'Mcp::Action::\"tools/call\"'\n    target: 'Mcp::Tool::\"demo/echo\"'\n    expect: permit\n"
    ));
    assert!(report.passed(), "{report}");
}

#[test]
fn coverage_names_the_policies_that_decided_nothing() {
    let report = run(&case("    token: {scopes: [a]}\n    expect: permit\n"));
    assert!(report.passed());
    let uncovered: Vec<&str> = report.uncovered().map(|info| info.policy.id.as_str()).collect();
    assert_eq!(uncovered, ["closed"]);
    assert!(report.to_string().contains("1 cases, 0 failed; 1 of 2 policies decided a case"), "{report}");
}

#[test]
fn one_file_can_be_run_alone() {
    let sets = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let report = run_tests(&sets.join("five-tools/policy.test.yaml"));
    assert!(report.passed() && report.cases.len() == 19, "{report}");
}

#[test]
fn no_tests_are_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let report = run_tests(folder.path());
    assert!(!report.passed());
    assert!(report.to_string().contains("holds no policy tests"), "{report}");
}

#[test]
fn junit_holds_every_case_and_nothing_that_breaks_the_form() {
    let failing = case("    expect: permit\n").replace("name: one", "name: \"<a> & \\\"b\\\" \\x07\"");
    let xml = run(&failing).junit();
    assert!(xml.starts_with(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"1\" failures=\"1\" errors=\"0\">"
    ));
    assert!(xml.contains("name=\"&lt;a&gt; &amp; &quot;b&quot; \u{fffd}\" line=\"4\""), "{xml}");
    assert!(xml.contains("<failure>- expect: permit&#10;+ expect: step-up"), "{xml}");
    let broken = run("[").junit();
    assert!(broken.contains("errors=\"1\"") && broken.contains("<error message="), "{broken}");
}

const GUIDE: &str = include_str!("../../../../policies/README.md");

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks = GUIDE.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    blocks.map(str::to_owned).collect()
}

#[test]
fn what_the_guide_shows_is_right() {
    let sources = crate::Sources {
        policies: vec![SourceFile::new("README.md", blocks("cedar").join("\n"))],
        entities: blocks("json").into_iter().map(|text| SourceFile::new("README.md", text)).collect(),
        ..crate::Sources::default()
    };
    let policies = Policies::load(&sources, &World::default(), crate::OnError::Forbid).unwrap();
    assert_eq!(policies.warnings(), []);
    assert_eq!(policies.policy_ids().count(), 4);
    // The samples of a test file are parts of one.
    let tests = TestFile::read(&SourceFile::new("README.md", blocks("yaml").join("\n"))).unwrap();
    assert!(!tests.cases.is_empty() && !tests.matrix.personas.is_empty());
    for lint in crate::Lint::ALL {
        assert!(GUIDE.contains(&format!("`{lint}`")), "{lint}");
    }
}

#[test]
fn the_ready_made_sets_are_laid_out_and_give_no_warning() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let sources = read_tree(&root, &[], &[]).unwrap();
    assert_eq!(sources.policies.len(), 8);
    for file in &sources.policies {
        assert!(crate::format(file).unwrap() == file.text, "`policy fmt` would change {}", file.path);
    }
    // All sets together, as a deployment would load them that copies the whole folder.
    let mut world = World::assumed_by(&sources);
    world.resources.extend(TestBed::read(&root.join("typed-tools")).unwrap().deployment.world.resources);
    let policies = Policies::load(&sources, &world, crate::OnError::Forbid).unwrap();
    assert_eq!(policies.warnings(), []);
}
