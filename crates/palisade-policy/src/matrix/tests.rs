use std::{collections::BTreeMap, fs};

use super::*;
use crate::{SourceFile, Sources, read_tree};

const POLICY: &str = "@id(\"read\") permit (principal is User, action in Mcp::Action::\"tools/call\", resource == Mcp::Tool::\"demo/read\")\n\
    when { context.scopes.contains(\"files:read\") };\n\
    @id(\"send\") @deny_code(\"too_much\") forbid (principal, action in Mcp::Action::\"tools/call\", resource == Mcp::Tool::\"demo/send\")\n\
    unless { context.args.number.hasTag(\"/amount\") && context.args.number.getTag(\"/amount\") <= 10 };\n\
    @id(\"all\") permit (principal in Role::\"corp/admin\", action in Mcp::Action::\"tools/call\", resource);\n\
    @id(\"get\") permit (principal is User, action in Http::Action::\"GET\", resource in Http::Service::\"orders\");\n";

const TESTS: &str = "resources:
  demo: {kind: mcp, identifier: 'https://h/demo', catalog: tools.json, scopes: {step_up: [files:read]}}
  orders: {kind: http, identifier: 'https://h/orders', routes: ['/v1/orders/{id}']}
matrix:
  personas:
    - name: administrator
      principal: {user: corp/ann, roles: [corp/admin]}
    - name: \"<img src=x onerror='a'> & \\\"b\\\"|\\\\ *c* \\u202e\\x07\"
      principal: {user: corp/bob}
    - name: '=cmd|calc, or so'
      principal: {client: corp/agent}
  arguments:
    demo/send: {amount: 7}
cases: []
";

fn bed(tests: &str, policies: &str) -> (Policies, TestBed) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tools.json"), r#"[{"name": "send"}, {"name": "read"}]"#).unwrap();
    fs::write(folder.path().join("a.test.yaml"), tests).unwrap();
    let bed = TestBed::read(folder.path()).unwrap();
    let sources = Sources { policies: vec![SourceFile::new("a.cedar", policies)], ..Sources::default() };
    let policies = Policies::load(&sources, &bed.deployment.world, bed.deployment.on_error).unwrap();
    (policies, bed)
}

fn matrix(policies: &str) -> Matrix {
    let (policies, bed) = bed(TESTS, policies);
    Matrix::of(&policies, &bed)
}

#[test]
fn a_matrix_says_who_may_what_and_what_would_help() {
    let matrix = matrix(POLICY);
    let [demo, orders] = &matrix.tables[..] else { panic!("two tables") };
    let names = |table: &Table| table.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(demo), ["initialize", "tools/list", "send", "read"], "in the order of the catalogue");
    assert_eq!(names(orders)[..2], ["DELETE /v1/orders/{id}", "GET /v1/orders/{id}"]);
    let cells = |row: usize| demo.rows[row].cells.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(cells(0), ["deny", "deny", "permit", "permit"], "the amount of the test file is sent");
    assert_eq!(cells(1), ["deny", "deny", "deny", "step-up: files:read"]);
    assert_eq!(demo.rows[0].cells[3].determining[0].id, "all");
    assert_eq!(orders.rows[1].cells[1].to_string(), "permit");
    let without = TESTS.replace("demo/send: {amount: 7}", "demo/send: {amount: 17}");
    let (policies, bed) = bed(&without, POLICY);
    let denied = Matrix::of(&policies, &bed).tables[0].rows[0].cells[2].clone();
    assert_eq!((denied.to_string().as_str(), denied.policy_code.as_deref()), ("deny", Some("too_much")));
}

#[test]
fn text_and_csv_are_read_back_as_they_were_written_whatever_the_names() {
    let matrix = matrix(POLICY);
    for form in [Form::Text, Form::Csv] {
        let text = matrix.written(form);
        assert_eq!(matrix.differences(&text, form), Ok(Vec::new()), "{text}");
        assert_eq!(matrix.differences(&text.replace('\n', "\r\n"), form), Ok(Vec::new()), "{text}");
        assert!(!text.contains('\u{7}') || form == Form::Csv, "{text}");
    }
    let text = matrix.to_string();
    assert!(text.starts_with("| **demo** "), "{text}");
    assert!(
        text.lines().all(|line| line.is_empty() || (line.starts_with('|') && line.ends_with('|'))),
        "{text}"
    );
    let csv = matrix.written(Form::Csv);
    assert!(
        csv.starts_with("demo,initialize,tools/list,send,read\nadministrator,deny,deny,permit,permit\n"),
        "{csv}"
    );
    assert!(csv.contains("\n\"'=cmd|calc, or so\",deny"), "a formula is none any more: {csv}");
}

#[test]
fn every_cell_that_differs_is_named_with_what_it_was() {
    let golden = matrix(POLICY);
    let after = matrix(
        &POLICY
            .replace("files:read", "files:raed")
            .replace("Http::Action::\"GET\"", "Http::Action::\"read\""),
    );
    for form in [Form::Text, Form::Csv] {
        let found = after.differences(&golden.written(form), form).unwrap();
        let [cell] = &found[..] else { panic!("{found:?}") };
        assert_eq!((cell.resource.as_str(), cell.column.as_str()), ("demo", "read"));
        assert_eq!(
            (cell.before.as_deref(), cell.after.as_deref()),
            (Some("step-up: files:read"), Some("deny"))
        );
    }
    let fewer = golden
        .written(Form::Csv)
        .lines()
        .filter(|line| !line.starts_with("administrator"))
        .fold(String::new(), |text, line| text + line + "\n");
    let found = golden.differences(&fewer, Form::Csv).unwrap();
    assert!(found.iter().all(|cell| cell.persona == "administrator" && cell.before.is_none()), "{found:?}");
    assert_eq!(found.len(), 9);
    assert!(golden.differences(&golden.written(Form::Html), Form::Html).is_err());
}

#[test]
fn no_cell_hides_behind_another_of_the_same_name() {
    let policy = |action: &str| {
        format!(
            "@id(\"p\") permit (principal is User, action in Mcp::Action::\"{action}\", resource in Mcp::Server::\"demo\");"
        )
    };
    let matrix = |policies: &str| {
        let tools = r#"[{"name": "tools/list"}, {"name": "initialize"}, {"name": "tool initialize"}, {"name": "/read"}, {"name": "read"}]"#;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tools.json"), tools).unwrap();
        let tests = "resources: {demo: {kind: mcp, identifier: x, catalog: tools.json}}\nmatrix: {personas: [{name: bob, principal: {user: corp/bob}}]}\ncases: []\n";
        fs::write(folder.path().join("a.test.yaml"), tests).unwrap();
        let bed = TestBed::read(folder.path()).unwrap();
        let sources = Sources { policies: vec![SourceFile::new("a.cedar", policies)], ..Sources::default() };
        let policies = Policies::load(&sources, &bed.deployment.world, bed.deployment.on_error).unwrap();
        Matrix::of(&policies, &bed)
    };
    let (lists, calls) = (matrix(&policy("list")), matrix(&policy("tools/call")));
    let heads: Vec<&str> = lists.tables[0].columns.iter().map(|column| column.name.as_str()).collect();
    let tools = ["tool tools/list", "tool initialize", "tool tool initialize", "/read", "read"];
    assert_eq!(heads, [&["initialize", "tools/list"], &tools[..]].concat());
    for form in [Form::Text, Form::Csv] {
        let found = calls.differences(&lists.written(form), form).unwrap();
        let columns: Vec<&str> = found.iter().map(|cell| cell.column.as_str()).collect();
        assert_eq!(columns, [&["tools/list"], &tools[..]].concat(), "{found:?}");
    }
    // In a file that has a name twice, the second is held against the second.
    let twice = |second: &str| {
        let mut matrix = lists.clone();
        let table = matrix.tables.first_mut().unwrap();
        let mut row = table.rows[0].clone();
        row.cells.reverse();
        table.rows.push(row);
        table.columns[1].name = "initialize".to_owned();
        matrix.tables[0].rows[1].persona = second.to_owned();
        matrix
    };
    for form in [Form::Text, Form::Csv] {
        let same = twice("bob");
        assert_eq!(same.differences(&same.written(form), form), Ok(Vec::new()));
        let mut other = twice("bob");
        other.tables[0].rows[1].cells.reverse();
        assert_eq!(same.differences(&other.written(form), form).unwrap().len(), 2);
        assert_eq!(same.differences(&twice("eve").written(form), form).unwrap().len(), 14);
    }
}

#[test]
fn what_is_no_matrix_is_refused_with_its_line() {
    let matrix = matrix(POLICY);
    for (text, form, says) in [
        ("hello\n", Form::Text, "line 1: is no line of a table"),
        ("| a | b |\n", Form::Text, "line 1: comes before the head"),
        ("| **demo** | a |\n|---|---|\n| x |\n", Form::Text, "line 3: has not as many cells"),
        ("demo,a\nx\n", Form::Csv, "record 2: has not as many fields"),
        ("demo,\"a\n", Form::Csv, "has no end"),
    ] {
        let error = matrix.differences(text, form).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn a_page_holds_no_text_that_could_become_markup() {
    let page = matrix(POLICY).written(Form::Html);
    assert!(
        page.contains("&lt;img src=x onerror=&#39;a&#39;&gt; &amp; &quot;b&quot;|\\ *c* \\u{202e}\\u{7}"),
        "{page}"
    );
    assert!(!page.contains("<img") && !page.contains('\u{202e}'));
    assert!(page.contains("title=\"permit: permitted&#10;by all (a.cedar:5)\""), "{page}");
    assert!(
        page.contains("<td class=\"step-up\" title=\"step-up: insufficient_scope\">\u{2191} files:read</td>"),
        "{page}"
    );
    assert!(
        !page.contains("<script") && !page.contains("http://") && !page.contains("url("),
        "nothing is fetched"
    );
    for tag in ["table", "thead", "tbody", "tr", "th", "td", "div", "ul", "li", "h2"] {
        let count = |text: String| page.matches(&text).count();
        let opened = count(format!("<{tag}>")) + count(format!("<{tag} "));
        assert_eq!(opened, count(format!("</{tag}>")), "{tag}");
    }
}

#[test]
fn without_personas_those_of_the_cases_ask() {
    let tests = "resources:
  demo: {kind: mcp, identifier: 'https://h/demo', catalog: tools.json, scopes: {step_up: [files:read]}}
cases:
  - {name: a, principal: {user: corp/a}, token: {scopes: [files:read]}, action: tools/call, target: read, expect: permit}
  - {name: b, principal: {user: corp/a}, token: {scopes: [files:read]}, action: tools/call, target: send, expect: deny}
  - {name: c, principal: {anonymous: true}, action: ping, expect: deny}
";
    let (policies, bed) = bed(tests, POLICY);
    let rows: Vec<String> =
        Matrix::of(&policies, &bed).tables[0].rows.iter().map(|row| row.persona.clone()).collect();
    assert_eq!(rows, ["corp/a scopes=files:read", "anonymous"]);
}

#[test]
fn test_files_are_taken_together_and_what_contradicts_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tools.json"), "[]").unwrap();
    let file = |personas: &str, scope: &str| {
        format!(
            "resources:\n  demo: {{kind: mcp, identifier: x, catalog: tools.json, scopes: {{step_up: [{scope}]}}}}\nmatrix: {{personas: [{personas}]}}\ncases: []\n"
        )
    };
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
    write("a.test.yaml", file("{name: ann, principal: {user: corp/ann}}", "a"));
    write(
        "b.test.yaml",
        file("{name: ann, principal: {user: corp/ann}}, {name: bob, principal: {user: corp/bob}}", "a"),
    );
    let bed = TestBed::read(folder.path()).unwrap();
    assert_eq!(bed.personas.len(), 2, "{bed:?}");
    assert_eq!(bed.notes, []);
    write("c.test.yaml", file("", "b"));
    let noted = TestBed::read(folder.path()).unwrap().notes;
    assert!(
        noted[0].to_string().contains("c.test.yaml: warning: the resource `demo` is described differently"),
        "{noted:?}"
    );
    write("d.test.yaml", file("{name: x, principal: {user: nobody}}", "a"));
    let errors = TestBed::read(folder.path()).unwrap_err();
    assert!(
        errors[0].to_string().contains("d.test.yaml:3:1: error: principal: `nobody` has no issuer"),
        "{errors:?}"
    );
    write(
        "d.test.yaml",
        file("{name: x, principal: {user: corp/a}}, {name: x, principal: {user: corp/b}}", "a"),
    );
    assert!(TestBed::read(folder.path()).unwrap_err()[0].message.contains("given twice"));
    write("d.test.yaml", file("{name: ann, principal: {user: corp/eve}}", "a"));
    let errors = TestBed::read(folder.path()).unwrap_err();
    let said = errors[0].to_string();
    assert!(
        said.contains("d.test.yaml: error: the persona `ann` is somebody else in ")
            && said.contains("a.test.yaml"),
        "{said}"
    );
}

#[test]
fn personas_of_cases_that_would_have_one_name_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tools.json"), "[]").unwrap();
    let write = |name: &str, cases: &[(&str, &str)]| {
        let cases: String = cases
            .iter()
            .map(|(user, at)| {
                format!("  - {{name: '{user} {at}', principal: {{user: {user}}}, at: '{at}', action: ping, expect: deny}}\n")
            })
            .collect();
        let text = format!(
            "resources: {{demo: {{kind: mcp, identifier: x, catalog: tools.json}}}}\ncases:\n{cases}"
        );
        fs::write(folder.path().join(name), text).unwrap();
    };
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z");
    write("a.test.yaml", &[("corp/a", early), ("corp/a", late), ("corp/a", early)]);
    write("b.test.yaml", &[("corp/a", late), ("corp/b", late)]);
    let names: Vec<String> =
        TestBed::read(folder.path()).unwrap().personas.into_iter().map(|persona| persona.name).collect();
    assert_eq!(names, ["corp/a", "corp/a #2", "corp/b"]);
}

/// Written anew with `palisade policy matrix policies/SET --output policies/SET/matrix.txt`.
#[test]
fn the_matrices_of_the_ready_made_sets_are_fresh() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let mut sets = BTreeMap::new();
    for folder in
        fs::read_dir(&root).unwrap().flatten().map(|entry| entry.path()).filter(|path| path.is_dir())
    {
        let bed = TestBed::read(&folder).unwrap();
        let sources = read_tree(&folder, &[], &[]).unwrap();
        let policies = Policies::load(&sources, &bed.deployment.world, bed.deployment.on_error).unwrap();
        let golden = fs::read_to_string(folder.join("matrix.txt")).unwrap();
        let matrix = Matrix::of(&policies, &bed);
        assert_eq!(matrix.differences(&golden, Form::Text), Ok(Vec::new()), "{}", folder.display());
        sets.insert(folder, matrix.tables.len());
    }
    assert!(sets.len() >= 4, "{sets:?}");
}
