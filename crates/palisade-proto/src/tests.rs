//! The generated code is fresh, and the files it comes from keep the rules.

use std::path::{Path, PathBuf};

use prost_types::FileDescriptorSet;

use crate::ext_mcp::{McpHeader, McpRequest};
use crate::v1::{DecideBatchRequest, DecideRequest, ExchangeRequest, ExchangeResponse, Item, VerifyRequest};

mod compatible;
mod fresh;
mod rules;

/// The folder that holds the `.proto` files.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../proto")
}

/// The files of a package below a folder, compiled, with comments.
fn compiled(folder: &Path, package: &str) -> FileDescriptorSet {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder.join(package)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "proto"));
    files.sort();
    let mut compiler = protox::Compiler::new([folder]).unwrap();
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(files).unwrap_or_else(|error| panic!("{error:?}"));
    compiler.file_descriptor_set()
}

#[test]
fn debug_prints_no_token_and_no_argument() {
    let item = Item {
        action: "tools/call".to_owned(),
        target: Some("echo".to_owned()),
        arguments: Some("s3cret".to_owned()),
    };
    let (resource, token) = ("demo".to_owned(), "s3cret".to_owned());
    let one = DecideRequest {
        resource: resource.clone(),
        token: Some(token.clone()),
        item: Some(item.clone()),
        explain: true,
    };
    let several = DecideBatchRequest {
        resource: resource.clone(),
        token: Some(token.clone()),
        items: vec![item],
        explain: true,
    };
    let exchange = ExchangeRequest {
        resource: resource.clone(),
        token: token.clone(),
        exchange: "orders".to_owned(),
        scopes: Vec::new(),
    };
    let exchanged = ExchangeResponse {
        access_token: Some(token.clone()),
        reason: "demo".to_owned(),
        ..ExchangeResponse::default()
    };
    for text in [
        format!("{one:?}"),
        format!("{several:?}"),
        format!("{exchange:?}"),
        format!("{exchanged:?}"),
        format!(
            "{:?}",
            McpRequest {
                service_names: vec![resource.clone()],
                headers: vec![McpHeader {
                    key: "authorization".to_owned(),
                    value: token.clone().into_bytes()
                }],
                mcp_request: Some(token.clone().into_bytes()),
                ..McpRequest::default()
            }
        ),
        format!("{:?}", VerifyRequest { resource, token }),
    ] {
        assert!(!text.contains("s3cret") && text.contains("demo"), "{text}");
    }
}
