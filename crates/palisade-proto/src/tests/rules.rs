//! The rules that the files of the API keep: those of `buf lint`, categories `STANDARD` and `COMMENTS`.
//!
//! One is left out: `SERVICE_SUFFIX`, since the names `Decisions` and `Tokens` are those of the contract. Some are stricter
//! here: no type is inside another, no file has options or extensions, and a comment is a sentence.

use std::{collections::BTreeSet, fs};

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
};

use super::{compiled, folder};

/// The numbers of the fields of `google.protobuf.FileDescriptorProto` and its parts, of which the path of a comment is
/// made.
const MESSAGES: i32 = 4;
const ENUMS: i32 = 5;
const SERVICES: i32 = 6;
const PACKAGE: i32 = 2;
const PARTS: i32 = 2;

/// What is wrong with a package, a line each.
fn faults(set: &FileDescriptorSet, package: &str) -> Vec<String> {
    let mut faults = Faults::default();
    let mut in_use = BTreeSet::new();
    for file in set.file.iter().filter(|file| !file.name().starts_with("google/protobuf/")) {
        faults.file(file, package);
        for (at, message) in (0..).zip(&file.message_type) {
            faults.message(file, at, message);
        }
        for (at, kind) in (0..).zip(&file.enum_type) {
            faults.enumeration(file, at, kind);
        }
        for (at, service) in (0..).zip(&file.service) {
            faults.service(file, at, service, &mut in_use);
        }
    }
    faults.0
}

#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn unless(&mut self, holds: bool, what: impl Into<String>) {
        if !holds {
            self.0.push(what.into());
        }
    }

    fn commented(&mut self, file: &FileDescriptorProto, path: &[i32], name: &str) {
        let places = file.source_code_info.iter().flat_map(|info| &info.location);
        let comment = places.filter(|place| place.path == path).find_map(|place| {
            place.leading_comments.as_deref().filter(|comment| comment.trim().ends_with(['.', '?']))
        });
        self.unless(comment.is_some(), format!("`{name}` has no comment that is a sentence"));
    }

    fn file(&mut self, file: &FileDescriptorProto, package: &str) {
        let name = file.name();
        self.unless(file.syntax() == "proto3", format!("`{name}` is not proto3"));
        self.unless(file.package() == package, format!("`{name}` is of another package"));
        let version = file.package().rsplit_once(".v").map(|(_, version)| version);
        let versioned =
            version.is_some_and(|version| version.parse::<u32>().is_ok_and(|version| version > 0));
        self.unless(versioned, format!("`{name}` is of a package without a version"));
        let base = name.rsplit('/').next().and_then(|base| base.strip_suffix(".proto"));
        self.unless(base.is_some_and(is_snake), format!("`{name}` is not snake_case"));
        self.unless(
            file.public_dependency.is_empty() && file.weak_dependency.is_empty(),
            format!("`{name}` imports publicly or weakly"),
        );
        let folder = name.rsplit_once('/').map(|(folder, _)| folder.replace('/', "."));
        self.unless(folder.as_deref() == Some(file.package()), format!("`{name}` lies in another folder"));
        self.commented(file, &[PACKAGE], name);
        self.unless(
            file.extension.is_empty() && file.options.is_none(),
            format!("`{name}` has extensions or options"),
        );
    }

    fn message(&mut self, file: &FileDescriptorProto, at: i32, message: &DescriptorProto) {
        let name = message.name();
        self.unless(is_pascal(name), format!("`{name}` is not PascalCase"));
        self.commented(file, &[MESSAGES, at], name);
        self.unless(
            message.nested_type.is_empty() && message.enum_type.is_empty(),
            format!("`{name}` holds types"),
        );
        for one_of in message.oneof_decl.iter().filter(|one_of| !one_of.name().starts_with('_')) {
            self.unless(is_snake(one_of.name()), format!("`{name}.{}` is not snake_case", one_of.name()));
        }
        for (number, field) in (0..).zip(&message.field) {
            let name = format!("{name}.{}", field.name());
            self.unless(is_snake(field.name()), format!("`{name}` is not snake_case"));
            self.commented(file, &[MESSAGES, at, PARTS, number], &name);
        }
    }

    fn enumeration(&mut self, file: &FileDescriptorProto, at: i32, kind: &EnumDescriptorProto) {
        let name = kind.name();
        self.unless(is_pascal(name), format!("`{name}` is not PascalCase"));
        self.commented(file, &[ENUMS, at], name);
        let prefix = upper_snake(name);
        let zero = kind.value.first().map(|value| (value.name(), value.number()));
        self.unless(
            zero == Some((format!("{prefix}_UNSPECIFIED").as_str(), 0)),
            format!("`{name}` does not begin with `{prefix}_UNSPECIFIED`"),
        );
        let aliased = kind.options.as_ref().is_some_and(|options| options.allow_alias());
        self.unless(!aliased, format!("`{name}` has two names for one number"));
        for (number, value) in (0..).zip(&kind.value) {
            let value = value.name();
            let is_upper = value.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            self.unless(
                is_upper && value.starts_with(&format!("{prefix}_")),
                format!("`{value}` does not begin with `{prefix}_`"),
            );
            self.commented(file, &[ENUMS, at, PARTS, number], value);
        }
    }

    fn service(
        &mut self,
        file: &FileDescriptorProto,
        at: i32,
        service: &ServiceDescriptorProto,
        in_use: &mut BTreeSet<String>,
    ) {
        self.unless(is_pascal(service.name()), format!("`{}` is not PascalCase", service.name()));
        self.commented(file, &[SERVICES, at], service.name());
        for (number, method) in (0..).zip(&service.method) {
            let name = method.name();
            self.unless(is_pascal(name), format!("`{name}` is not PascalCase"));
            self.commented(file, &[SERVICES, at, PARTS, number], name);
            for (kind, end) in [(method.input_type(), "Request"), (method.output_type(), "Response")] {
                self.unless(
                    kind == format!(".{}.{name}{end}", file.package()),
                    format!("`{name}` takes or gives no `{name}{end}`"),
                );
                self.unless(in_use.insert(kind.to_owned()), format!("`{kind}` is of two methods"));
            }
        }
    }
}

fn is_pascal(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_snake(name: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    name.split('_').all(is_word)
}

fn upper_snake(name: &str) -> String {
    let mut upper = String::new();
    for (at, character) in name.char_indices() {
        if at > 0 && character.is_ascii_uppercase() {
            upper.push('_');
        }
        upper.push(character.to_ascii_uppercase());
    }
    upper
}

#[test]
fn the_api_keeps_the_rules() {
    assert_eq!(faults(&compiled(&folder(), "palisade/v1"), "palisade.v1"), Vec::<String>::new());
}

#[test]
fn the_rules_find_what_they_are_for() {
    let written = tempfile::tempdir().unwrap();
    fs::create_dir(written.path().join("bad")).unwrap();
    let bad = "syntax = \"proto3\";\npackage other;\nservice checks {\n  rpc check(Ask) returns (Ask);\n}\n\
               // An answer.\nenum BadOutcome {\n  PERMIT = 0;\n  DENY_IT = 1;\n}\nmessage Ask {\n  // a word\n  \
               string askedFor = 1;\n  // A sentence.\n  bool fine = 2;\n  oneof theWay {\n    // A way.\n    string a = 3;\n  }\n}\n";
    fs::write(written.path().join("bad/Bad.proto"), bad).unwrap();
    let found = faults(&compiled(written.path(), "bad"), "palisade.v1");
    for expected in [
        "`bad/Bad.proto` is of another package",
        "`bad/Bad.proto` lies in another folder",
        "`bad/Bad.proto` is of a package without a version",
        "`bad/Bad.proto` is not snake_case",
        "`Ask.theWay` is not snake_case",
        "`bad/Bad.proto` has no comment that is a sentence",
        "`Ask` has no comment that is a sentence",
        "`Ask.askedFor` is not snake_case",
        "`Ask.askedFor` has no comment that is a sentence",
        "`BadOutcome` does not begin with `BAD_OUTCOME_UNSPECIFIED`",
        "`PERMIT` does not begin with `BAD_OUTCOME_`",
        "`DENY_IT` does not begin with `BAD_OUTCOME_`",
        "`checks` is not PascalCase",
        "`check` is not PascalCase",
        "`check` takes or gives no `checkRequest`",
        "`.other.Ask` is of two methods",
    ] {
        assert!(found.iter().any(|fault| fault == expected), "{expected}: {found:#?}");
    }
    assert!(!found.iter().any(|fault| fault.contains("fine")), "{found:#?}");
}
