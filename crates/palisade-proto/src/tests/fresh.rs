//! The generator of what is checked in, run to compare; with `PALISADE_BLESS=1` it writes.

use std::fs;

use prost::Message;

use super::{compiled, folder};

/// What stands before the code generated from a folder.
fn header(folder: &str) -> String {
    format!("//! Generated from `proto/{folder}` by a test of this crate: never edited.\n")
}

fn assert_fresh(name: &str, generated: &[u8]) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name);
    if std::env::var_os("PALISADE_BLESS").is_some() {
        fs::write(&path, generated).unwrap();
    }
    let found = fs::read(&path).unwrap_or_default();
    assert!(found == generated, "{name} is stale: run the tests of palisade-proto with PALISADE_BLESS=1");
}

/// The house expects lints, with a reason, where a module is declared, and allows none: what the generator allows goes.
fn without_allowances(code: &str) -> String {
    let mut inside = false;
    let mut kept = String::new();
    for line in code.lines() {
        let begins = line.trim_start().trim_start_matches(['#', '!']).starts_with("[allow(");
        inside = inside || begins;
        if !inside {
            kept.push_str(line);
            kept.push('\n');
        }
        inside = inside && !line.ends_with(")]");
    }
    kept
}

#[test]
fn the_code_is_what_the_files_say() {
    let written = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .out_dir(written.path())
        // These may hold a token or the values of arguments; their `Debug` is ours.
        .skip_debug(
            [
                "Item",
                "DecideRequest",
                "DecideBatchRequest",
                "VerifyRequest",
                "ExchangeRequest",
                "ExchangeResponse",
                "Entity",
                "SearchRequest",
                "Header",
                "HttpRequest",
                "CheckRequest",
                "Passage",
                "Answer",
            ]
            .map(|name| format!("palisade.v1.{name}")),
        )
        .compile_fds(compiled(&folder(), "palisade/v1"))
        .unwrap();
    let code = fs::read_to_string(written.path().join("palisade.v1.rs")).unwrap();
    assert_fresh("v1.rs", format!("{}{}", header("palisade/v1"), without_allowances(&code)).as_bytes());
}

#[test]
fn the_code_of_agentgateways_protocol_is_what_its_file_says() {
    let written = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .out_dir(written.path())
        .skip_debug(
            [
                "McpRequest",
                "McpResponse",
                "McpRequestResult",
                "McpResponseResult",
                "HeaderMutation",
                "McpHeader",
            ]
            .map(|name| format!("agentgateway.dev.ext_mcp.{name}")),
        )
        // One variant holds the result of a server.
        .skip_debug([
            "agentgateway.dev.ext_mcp.McpRequestResult.result",
            "agentgateway.dev.ext_mcp.McpResponseResult.result",
        ])
        .compile_fds(compiled(&folder(), "agentgateway"))
        .unwrap();
    let code = fs::read_to_string(written.path().join("agentgateway.dev.ext_mcp.rs")).unwrap();
    assert_fresh("ext_mcp.rs", format!("{}{}", header("agentgateway"), without_allowances(&code)).as_bytes());
}

#[test]
fn the_descriptors_are_those_of_the_files() {
    for (package, name) in
        [("palisade/v1", "v1.descriptors.bin"), ("agentgateway", "ext_mcp.descriptors.bin")]
    {
        let mut set = compiled(&folder(), package);
        for file in &mut set.file {
            file.source_code_info = None;
        }
        assert_fresh(name, &set.encode_to_vec());
    }
}
