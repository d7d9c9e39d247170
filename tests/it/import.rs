//! `palisade import`: what people have, as files that pass the checks and decide as the source does.
//!
//! A sample is a file in `cases/import/<format>/`; beside it lie what is written and reported (`<name>.expected/`), and, as
//! `<name>.test.yaml`, what the written policies must decide. With `PALISADE_BLESS=1` the expected files are written anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use palisade_import::{Import, Options, agentgateway, apollo, casbin};
use palisade_policy::{OnError, Policies, World, read_tree};
use palisade_server::config;
use palisade_tests::components::repository;
use palisade_tests::service::{binary, run};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

struct Sample {
    format: &'static str,
    file: &'static str,
    arguments: &'static [&'static str],
    exit: i32,
}

const SAMPLES: [Sample; 7] = [
    Sample { format: "apollo", file: "shop.yaml", arguments: &["--name", "shop"], exit: 1 },
    Sample { format: "apollo", file: "hard.yaml", arguments: &["--name", "shop"], exit: 1 },
    Sample { format: "agentgateway", file: "tools.yaml", arguments: &["--name", "tools"], exit: 1 },
    Sample { format: "agentgateway", file: "hard.yaml", arguments: &[], exit: 1 },
    Sample {
        format: "casbin",
        file: "policy.csv",
        arguments: &[
            "--name",
            "desk",
            "--identifier",
            "https://mcp.example.com/desk",
            "--issuer",
            "https://login.example.com",
        ],
        exit: 0,
    },
    Sample {
        format: "casbin",
        file: "deny.csv",
        arguments: &["--name", "data", "--kind", "http", "--model", "deny.conf"],
        exit: 1,
    },
    Sample {
        format: "casbin",
        file: "blocked.csv",
        arguments: &["--name", "data", "--kind", "http", "--model", "deny.conf"],
        exit: 1,
    },
];

/// Runs the command in the folder of the samples of its format.
fn import(format: &str, file: &str, arguments: &[&str], output: &Path) -> Output {
    Command::new(binary().unwrap())
        .current_dir(repository().join("tests/cases/import").join(format))
        .args(["import", format, file, "--output", output.to_str().unwrap()])
        .args(arguments)
        .output()
        .unwrap()
}

/// The files below a folder, relative to it.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found
}

fn passes(arguments: &[&str]) {
    let output = run(arguments).unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{arguments:?}\n{}{}", said(&output.stdout), said(&output.stderr));
}

#[test]
fn the_samples_become_what_is_expected_pass_the_checks_and_decide_as_their_source() {
    for Sample { format, file, arguments, exit } in SAMPLES {
        let name = file.split('.').next().unwrap();
        let cases = repository().join("tests/cases/import").join(format);
        let written = TempDir::new().unwrap();
        let output = import(format, file, arguments, written.path());
        assert_eq!(output.status.code(), Some(exit), "{format}/{file}");
        let told = String::from_utf8(output.stdout).unwrap();
        let report: Vec<&str> = told.lines().filter(|line| !line.starts_with("wrote ")).collect();
        fs::write(written.path().join("report.txt"), format!("{}\n", report.join("\n"))).unwrap();

        let expected = cases.join(format!("{name}.expected"));
        if std::env::var_os("PALISADE_BLESS").is_some() {
            let _ = fs::remove_dir_all(&expected);
            for path in files(written.path()) {
                let to = expected.join(&path);
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::copy(written.path().join(&path), to).unwrap();
            }
        }
        assert_eq!(files(&expected), files(written.path()), "{format}/{file}");
        for path in files(&expected) {
            let read = |folder: &Path| fs::read_to_string(folder.join(&path)).unwrap();
            assert_eq!(read(written.path()), read(&expected), "{format}/{name}.expected/{}", path.display());
        }

        let policies = written.path().join("policies");
        passes(&["policy", "check", policies.to_str().unwrap()]);
        passes(&["config", "check", written.path().join("palisade.yaml").to_str().unwrap()]);
        let tests = cases.join(format!("{name}.test.yaml"));
        if tests.exists() {
            fs::copy(tests, policies.join("policy.test.yaml")).unwrap();
            passes(&["policy", "test", policies.to_str().unwrap()]);
        }
    }
}

#[test]
fn files_that_are_there_are_overwritten_by_force_only() {
    let written = TempDir::new().unwrap();
    let config = written.path().join("palisade.yaml");
    assert_eq!(import("apollo", "shop.yaml", &[], written.path()).status.code(), Some(1));
    fs::write(&config, "mine").unwrap();
    let refused = import("apollo", "shop.yaml", &[], written.path());
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--force"));
    assert_eq!(fs::read_to_string(&config).unwrap(), "mine");
    assert_eq!(import("apollo", "shop.yaml", &["--force"], written.path()).status.code(), Some(1));
    assert_ne!(fs::read_to_string(&config).unwrap(), "mine");
}

#[test]
fn what_cannot_be_imported_is_misuse_and_writes_nothing() {
    let written = TempDir::new().unwrap();
    for (format, file, arguments) in [
        ("apollo", "missing.yaml", &[][..]),
        ("apollo", "../casbin/policy.csv", &[]),
        ("agentgateway", "../apollo/shop.yaml", &[]),
        ("apollo", "shop.yaml", &["--issuer", "http://login.example.com"]),
        ("casbin", "policy.csv", &["--identifier", "mcp"]),
        ("casbin", "policy.csv", &["--model", "missing.conf"]),
        ("casbin", "policy.csv", &["--name", "Desk"]),
    ] {
        let output = import(format, file, arguments, written.path());
        assert_eq!(output.status.code(), Some(2), "{format} {file} {arguments:?}");
        assert!(files(written.path()).is_empty());
    }
}

#[test]
fn the_report_is_there_for_machines() {
    let written = TempDir::new().unwrap();
    let output = import("agentgateway", "hard.yaml", &["--json"], written.path());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["complete"], json!(false));
    assert_eq!(report["files"].as_array().unwrap().len(), 2);
    let deny =
        report["lines"].as_array().unwrap().iter().find(|finding| finding["line"] == json!(15)).unwrap();
    assert_eq!((&deny["file"], &deny["outcome"]), (&json!("hard.yaml"), &json!("left")));
}

fn options() -> Options {
    Options {
        file: "source\n\"x".to_owned(),
        name: "mcp".parse().unwrap(),
        identifier: Some("https://mcp.example.com/".to_owned()),
        issuer: Some("https://login.example.com".to_owned()),
    }
}

/// The ids of the policies that are in force, and the configuration, as the service reads them.
fn read_back(import: &Import) -> (BTreeSet<String>, config::types::Config) {
    let folder = TempDir::new().unwrap();
    let policies = folder.path().join("policies");
    fs::create_dir(&policies).unwrap();
    fs::write(policies.join("mcp.cedar"), &import.policies).unwrap();
    if let Some(entities) = &import.entities {
        fs::write(policies.join("entities.json"), entities).unwrap();
    }
    let file = folder.path().join("palisade.yaml");
    fs::write(&file, &import.config).unwrap();
    let loaded = read_tree(&policies, &[], &[])
        .and_then(|sources| Policies::load(&sources, &World::assumed_by(&sources), OnError::default()))
        .unwrap_or_else(|diagnostics| panic!("{diagnostics:?}\n{}", import.policies));
    let config =
        config::load::read(&file).unwrap_or_else(|error| panic!("{error}\n{}", import.config)).config;
    (loaded.policy_ids().map(|info| info.policy.id.to_string()).collect(), config)
}

/// Names that would leave their quotes, if they were pasted.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{1,12}",
        prop::sample::select(vec![
            "\"); permit(principal, action, resource); //",
            "x\n@id(\"mine\")\npermit (principal, action, resource);",
            "\\",
            "\\\"",
            "*",
            "a: b\nresources: {}",
            "- x",
            "y",
            "null",
            "~",
            "0x1f",
            "1e3",
            "#",
            "&a",
            "*a",
            "!tag",
            "%",
            "'",
            "|",
            "\u{2028}",
            "\u{feff}",
            "\u{85}",
            "a # b",
            "{{ x }}",
            "<<",
        ])
        .prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_name_of_an_apollo_configuration_leaves_its_quotes(name in hostile()) {
        let source = json!({
            "transport": {"type": "streamable_http", "auth": {
                "servers": ["https://login.example.com"], "resource": "https://mcp.example.com/mcp",
                "audiences": [name], "scopes": [name], "resource_documentation": name,
            }},
            "overrides": {"required_scopes": {(name.as_str()): [name]}},
        });
        let import = apollo::import(&source.to_string(), &options()).unwrap();
        let (ids, config) = read_back(&import);
        prop_assert!(ids.iter().all(|id| ["mcp-signed-in", "mcp-line-1"].contains(&id.as_str())), "{:?}", ids);
        prop_assert_eq!(config.resources.len(), 1);
        let resource = config.resources.values().next().unwrap();
        if !name.contains('$') {
            prop_assert_eq!(resource.metadata.as_ref().unwrap().documentation.as_ref(), Some(&name));
            prop_assert_eq!(resource.audiences.as_ref(), Some(&vec![name.clone()]));
        }
    }

    #[test]
    fn no_name_of_an_agentgateway_configuration_leaves_its_quotes(name in hostile()) {
        let text = json!(name).to_string();
        let source = json!({"mcp": {"targets": [{"name": name}], "policies": {"mcpAuthorization": {"rules": [
            format!("mcp.tool.name == {text}"),
            {"deny": format!("jwt.a == {text} || mcp.tool.name.startsWith({text})")},
            {"require": format!("has(mcp.tool) || {text} in jwt[{text}]")},
        ]}}}});
        let import = agentgateway::import(&source.to_string(), &options()).unwrap();
        let (ids, config) = read_back(&import);
        let ours = |id: &String| id.starts_with("mcp-line-1") || ["mcp-session", "mcp-not-refused"].contains(&id.as_str());
        prop_assert!(ids.iter().all(ours), "{:?}", ids);
        prop_assert_eq!(config.issuers.len(), 1);
    }

    #[test]
    fn no_name_of_a_casbin_policy_leaves_its_quotes(name in hostile()) {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        let source = format!("p, {quoted}, {quoted}, call\ng, alice, {quoted}\n");
        let import = casbin::import(&source, None, casbin::Kind::Mcp, &options()).unwrap();
        let (ids, _) = read_back(&import);
        let ours = |id: &String| ["mcp-session", "mcp-line-1"].contains(&id.as_str());
        prop_assert!(ids.iter().all(ours), "{:?}", ids);
    }
}
