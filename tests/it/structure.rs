//! The rules of the house, as tests: floors, lints, module docs, generated files, the documents' promises.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use palisade_tests::components::repository;
use palisade_tests::service::run;
use serde_json::Value;

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The manifests of the crates, by name.
fn manifests() -> BTreeMap<String, toml::Table> {
    fs::read_dir(repository().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| {
            let manifest: toml::Table = fs::read_to_string(path.join("Cargo.toml")).unwrap().parse().unwrap();
            (manifest["package"]["name"].as_str().unwrap().to_owned(), manifest)
        })
        .collect()
}

/// The floors, from the table in `crates/README.md`: rows of the form `| 1 | `palisade-token` | ... |`.
fn floors() -> BTreeMap<String, u8> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let floor = cells.get(1)?.parse().ok()?;
        Some((cells.get(2)?.trim_matches('`').to_owned(), floor))
    };
    read("crates/README.md").lines().filter_map(row).collect()
}

/// Every Rust file below the folders that hold code.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders =
        vec![repository().join("crates"), repository().join("tests/src"), repository().join("tests/it")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

fn is_unit_test(path: &Path) -> bool {
    path.components().any(|part| {
        part.as_os_str() == "tests" || part.as_os_str() == "tests.rs" || part.as_os_str() == "fixtures.rs"
    }) && path.starts_with(repository().join("crates"))
}

#[test]
fn a_crate_uses_only_crates_of_a_lower_floor() {
    let (floors, manifests) = (floors(), manifests());
    assert_eq!(
        floors.keys().collect::<Vec<_>>(),
        manifests.keys().collect::<Vec<_>>(),
        "the table and the crates"
    );
    for (name, manifest) in &manifests {
        for dependency in
            manifest["dependencies"].as_table().unwrap().keys().filter(|key| key.starts_with("palisade"))
        {
            assert!(
                floors[dependency] < floors[name],
                "{name} uses {dependency}, which is not on a lower floor"
            );
        }
    }
}

#[test]
fn every_crate_inherits_the_lints() {
    for (name, manifest) in &manifests() {
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{name}");
    }
    assert!(read("tests/Cargo.toml").contains("[lints]\nworkspace = true"));
}

#[test]
fn every_module_says_what_it_is() {
    for path in sources().iter().filter(|path| !is_unit_test(path)) {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.starts_with("//! "), "{} does not begin with `//! `", path.display());
    }
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let forbidden = ["#[", "#!["].map(|open| format!("{open}allow("));
        assert!(!forbidden.iter().any(|word| text.contains(word)), "{}", path.display());
    }
}

#[test]
fn each_library_that_decides_is_named_where_it_belongs() {
    let users = |library: &str| {
        let uses =
            |manifest: &toml::Table| manifest["dependencies"].as_table().unwrap().contains_key(library);
        manifests()
            .into_iter()
            .filter(|(_, manifest)| uses(manifest))
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    };
    assert_eq!(users("cedar-policy"), ["palisade-policy"]);
    assert_eq!(users("apollo-compiler"), ["palisade-graphql"]);
    // The server signs the tokens of the development issuer with it, and an exchange the assertions of its client.
    assert_eq!(users("jsonwebtoken"), ["palisade-exchange", "palisade-server", "palisade-token"]);
}

#[test]
fn functions_that_build_proofs_are_called_in_one_place() {
    let construct = |what: &str| {
        let names = sources()
            .into_iter()
            .filter(|path| !is_unit_test(path) && path.starts_with(repository().join("crates")));
        names.filter(|path| fs::read_to_string(path).unwrap().contains(what)).count()
    };
    assert_eq!(construct("Permit { grant"), 1, "a permit is built in one place");
    assert_eq!(construct("InPart { grant"), 1, "a permit in part is built in one place");
    assert_eq!(construct("VerifiedToken {\n"), 1, "a verified token is built in one place");
    assert_eq!(construct("Ok(Order {"), 1, "an order is built in one place");
    assert_eq!(construct("keys.sign("), 1, "our keys sign in one place");
    assert_eq!(construct("Ok(Issued {"), 1, "what is issued is taken in one place");
}

/// Compares a generated file with what is checked in, or writes it with `PALISADE_BLESS=1`.
fn assert_fresh(path: &str, generated: &Value) {
    let generated = format!("{generated:#}\n");
    if std::env::var_os("PALISADE_BLESS").is_some() {
        fs::write(repository().join(path), &generated).unwrap();
    }
    assert_eq!(read(path), generated, "{path} is stale: run the tests with PALISADE_BLESS=1");
}

#[test]
fn the_schema_of_the_configuration_is_fresh() {
    assert_fresh("schemas/config.schema.json", &palisade_server::config::schema());
}

#[test]
fn the_schema_of_the_decision_log_is_fresh() {
    assert_fresh("schemas/decision-record.schema.json", &palisade_audit::decision_record_schema());
}

#[test]
fn the_sample_configuration_is_valid() {
    let sample = repository().join("deploy/palisade.yaml");
    let output = run(&["config", "check", sample.to_str().unwrap()]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_policy_sets_are_valid_tested_and_formatted() {
    for folder in ["policies", "deploy/policies"] {
        let folder = repository().join(folder);
        let folder = folder.to_str().unwrap();
        for arguments in [
            vec!["policy", "check", folder, "--deny-warnings"],
            vec!["policy", "test", folder],
            vec!["policy", "fmt", "--check", folder],
        ] {
            let output = run(&arguments).unwrap();
            let printed = [output.stdout, output.stderr].concat();
            assert!(output.status.success(), "{arguments:?}\n{}", String::from_utf8_lossy(&printed));
        }
    }
}

#[test]
fn the_readme_shows_the_two_commands_and_its_shell_commands_run() {
    let readme = read("README.md");
    for command in ["cargo run --release -- dev", "tests/run"] {
        assert!(readme.contains(command), "{command}");
    }
    let blocks = readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let own = blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("cargo run --release -- "));
    let mut ran = 0;
    // What serves for ever is run by a test of its own.
    for command in own.filter(|command| !command.starts_with("dev") && !command.starts_with("serve")) {
        let arguments: Vec<&str> = command.split_whitespace().collect();
        let output = std::process::Command::new(palisade_tests::service::binary().unwrap())
            .args(&arguments)
            .current_dir(repository())
            .output()
            .unwrap();
        assert_ne!(output.status.code(), Some(2), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        ran += 1;
    }
    assert!(ran > 0, "the README shows no command that a test can run");
}

#[test]
fn no_help_text_lacks_an_example() {
    for arguments in [
        vec!["dev"],
        vec!["serve"],
        vec!["config", "check"],
        vec!["config", "schema"],
        vec!["token", "verify"],
        vec!["token", "mint"],
        vec!["policy", "check"],
        vec!["policy", "test"],
        vec!["policy", "fmt"],
        vec!["policy", "matrix"],
        vec!["policy", "diff"],
        vec!["decide"],
        vec!["why"],
        vec!["import", "apollo"],
        vec!["import", "agentgateway"],
        vec!["import", "casbin"],
        vec!["tools", "fetch"],
        vec!["audit", "query"],
    ] {
        let output = run(&[arguments.clone(), vec!["--help"]].concat()).unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains("Example"), "{arguments:?}: {help}");
    }
}
