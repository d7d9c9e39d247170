//! Nothing that is published changes: what `buf breaking` calls `FILE`, against a list that is checked in.
//!
//! `proto/published.txt` has a line for each file, service, method, message, field, enum and value. What is new is written
//! there with `PALISADE_BLESS=1`; a line that no longer holds is a promise that is broken, and nothing writes it away.

use std::{collections::BTreeSet, fs};

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    ServiceDescriptorProto, field_descriptor_proto::Label,
};

use super::{compiled, folder};

const LIST: &str = "published.txt";
const HEADER: &str = "# What palisade.v1 has published. Lines are only added, by `PALISADE_BLESS=1 cargo test -p palisade-proto`.\n";

/// Everything that who generated code from the files depends on, a line each.
fn published(set: &FileDescriptorSet) -> BTreeSet<String> {
    let own = set.file.iter().filter(|file| !file.name().starts_with("google/protobuf/"));
    own.flat_map(of_file).collect()
}

fn of_file(file: &FileDescriptorProto) -> Vec<String> {
    let mut lines = vec![format!("file {} package {}", file.name(), file.package())];
    let place = format!("in {}", file.name());
    lines.extend(file.message_type.iter().flat_map(|message| of_message(message, &place)));
    lines.extend(file.enum_type.iter().flat_map(|kind| of_enum(kind, &place)));
    lines.extend(file.service.iter().flat_map(|service| of_service(service, &place)));
    lines
}

fn of_message(message: &DescriptorProto, place: &str) -> Vec<String> {
    let name = message.name();
    let mut lines = vec![format!("message {name} {place}")];
    lines.extend(message.field.iter().map(|field| of_field(field, message)));
    lines
}

fn of_field(field: &FieldDescriptorProto, message: &DescriptorProto) -> String {
    let presence = match (field.label(), field.proto3_optional(), field.oneof_index) {
        (Label::Repeated, _, _) => "repeated ".to_owned(),
        (Label::Optional | Label::Required, true, _) => "optional ".to_owned(),
        (Label::Optional | Label::Required, false, None) => String::new(),
        (Label::Optional | Label::Required, false, Some(at)) => {
            let one_of = usize::try_from(at).ok().and_then(|at| message.oneof_decl.get(at));
            format!("oneof {} ", one_of.unwrap().name())
        }
    };
    let kind = match field.type_name() {
        "" => field.r#type().as_str_name().trim_start_matches("TYPE_").to_lowercase(),
        named => named.trim_start_matches('.').to_owned(),
    };
    format!("field {}.{} = {} {presence}{kind}", message.name(), field.name(), field.number())
}

fn of_enum(kind: &EnumDescriptorProto, place: &str) -> Vec<String> {
    let mut lines = vec![format!("enum {} {place}", kind.name())];
    lines.extend(
        kind.value.iter().map(|value| format!("value {}.{} = {}", kind.name(), value.name(), value.number())),
    );
    lines
}

fn of_service(service: &ServiceDescriptorProto, place: &str) -> Vec<String> {
    let mut lines = vec![format!("service {} {place}", service.name())];
    lines.extend(service.method.iter().map(|method| {
        let stream = |is_stream| if is_stream { "stream " } else { "" };
        format!(
            "method {}.{} {}{} -> {}{}",
            service.name(),
            method.name(),
            stream(method.client_streaming()),
            method.input_type().trim_start_matches('.'),
            stream(method.server_streaming()),
            method.output_type().trim_start_matches('.')
        )
    }));
    lines
}

fn listed(text: &str) -> BTreeSet<String> {
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// What was published and is no longer so.
fn broken(before: &BTreeSet<String>, now: &BTreeSet<String>) -> Vec<String> {
    before.difference(now).cloned().collect()
}

#[test]
fn nothing_that_is_published_changes() {
    let path = folder().join(LIST);
    let before = listed(&fs::read_to_string(&path).unwrap_or_default());
    let now = published(&compiled(&folder(), "palisade/v1"));
    let broken = broken(&before, &now);
    assert!(broken.is_empty(), "these are promised, and no longer hold: {broken:#?}");
    if std::env::var_os("PALISADE_BLESS").is_some() {
        let lines: String = now.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&path, format!("{HEADER}{lines}")).unwrap();
        return;
    }
    let new: Vec<_> = now.difference(&before).collect();
    assert!(new.is_empty(), "new, and not in proto/{LIST}: run with PALISADE_BLESS=1: {new:#?}");
}

/// A package of one file with this text.
fn with(text: &str) -> BTreeSet<String> {
    let written = tempfile::tempdir().unwrap();
    fs::create_dir(written.path().join("a")).unwrap();
    fs::write(written.path().join("a/a.proto"), format!("syntax = \"proto3\";\npackage a;\n{text}")).unwrap();
    published(&compiled(written.path(), "a"))
}

#[test]
fn each_way_to_break_a_promise_is_found_and_additions_are_none() {
    let base = "service S {\n  rpc M(Q) returns (A);\n}\nmessage Q {\n  string one = 1;\n  optional string two = 2;\n  \
                oneof way {\n    string three = 3;\n  }\n}\nmessage A {}\nenum E {\n  E_UNSPECIFIED = 0;\n  E_ONE = 1;\n}\n";
    let before = with(base);
    let after = |from: &str, to: &str| {
        assert!(base.contains(from), "{from}");
        broken(&before, &with(&base.replace(from, to)))
    };
    for (from, to) in [
        ("string one = 1;", "string uno = 1;"),
        ("string one = 1;", "string one = 4;"),
        ("string one = 1;", "bytes one = 1;"),
        ("string one = 1;", "repeated string one = 1;"),
        ("string one = 1;", "A one = 1;"),
        ("string one = 1;", ""),
        ("string one = 1;", "int32 another = 1;"),
        ("optional string two", "string two"),
        ("oneof way", "oneof road"),
        ("rpc M(Q)", "rpc N(Q)"),
        ("rpc M(Q)", "rpc M(A)"),
        ("returns (A)", "returns (stream A)"),
        ("service S", "service T"),
        ("E_ONE = 1", "E_ONE = 2"),
        ("E_ONE = 1", "E_UN = 1"),
        ("enum E", "enum F"),
    ] {
        assert!(!after(from, to).is_empty(), "{from} -> {to}");
    }
    for (from, to) in [
        ("message A {}", "message A {\n  string new = 1;\n}"),
        ("rpc M(Q) returns (A);", "rpc M(Q) returns (A);\n  rpc N(A) returns (Q);"),
        ("E_ONE = 1;", "E_ONE = 1;\n  E_TWO = 2;"),
        ("message A {}", "message A {}\nmessage B {}"),
    ] {
        assert_eq!(after(from, to), Vec::<String>::new(), "{from} -> {to}");
    }
}
