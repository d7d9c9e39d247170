//! The files a policy set is made of, read once, so that loading them is a pure function of their contents.
//!
//! Reading follows symlinks, because Kubernetes swaps a mounted set by replacing the link `..data`; entries whose
//! name begins with a dot are not walked into, or every file of such a mount would be read twice. Nothing here looks
//! into a file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Diagnostic, sets::SetFiles};

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The path, as errors show it.
    pub path: String,
    /// The contents.
    pub text: String,
}

impl SourceFile {
    /// A file with its contents.
    #[must_use]
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, Diagnostic> {
        let shown = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => Ok(Self { path: shown, text }),
            Err(error) => Err(Diagnostic::error(shown, format!("cannot be read: {error}"))),
        }
    }
}

/// The files of a policy set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// Policies: `*.cedar`.
    pub policies: Vec<SourceFile>,
    /// Schema fragments: `*.cedarschema`.
    pub schema: Vec<SourceFile>,
    /// Entities in Cedar's JSON form.
    pub entities: Vec<SourceFile>,
    /// Which files are limited to which resources.
    pub sets: Vec<SetFiles>,
}

/// Reads a policy tree: every `*.cedar`, `*.cedarschema` and `entities.json` below `policies` in sorted order, and the
/// further schema and entity files that are named.
///
/// # Errors
/// For every file or folder that cannot be read.
pub fn read_tree(
    policies: &Path,
    schema: &[PathBuf],
    entities: &[PathBuf],
) -> Result<Sources, Vec<Diagnostic>> {
    let mut found = Found::default();
    found.walk(policies, 0);
    let mut sources = Sources {
        policies: found.read(|path| has_extension(path, "cedar")),
        schema: found.read(is_schema),
        entities: found.read(is_entities),
        sets: Vec::new(),
    };
    let known: Vec<PathBuf> =
        found.files.iter().filter(|path| is_schema(path) || is_entities(path)).cloned().collect();
    let not_yet = |path: &&PathBuf| !known.iter().any(|file| same_file(file, path));
    for path in schema.iter().filter(not_yet) {
        found.keep(SourceFile::read(path), &mut sources.schema);
    }
    for path in entities.iter().filter(not_yet) {
        found.keep(SourceFile::read(path), &mut sources.entities);
    }
    if found.errors.is_empty() { Ok(sources) } else { Err(found.errors) }
}

/// Links can form a circle; no policy tree is this deep.
const MAX_DEPTH: usize = 32;
/// Nor has one this many folders: with two links in a circle there are as many ways as levels allow.
const MOST_FOLDERS: usize = 10_000;

#[derive(Default)]
struct Found {
    files: Vec<PathBuf>,
    errors: Vec<Diagnostic>,
    folders: usize,
}

impl Found {
    fn walk(&mut self, folder: &Path, depth: usize) {
        self.folders += 1;
        if depth > MAX_DEPTH || self.folders == MOST_FOLDERS {
            let message = format!(
                "nests deeper than {MAX_DEPTH} folders, or has more than {MOST_FOLDERS}, or links form a circle"
            );
            return self.errors.push(Diagnostic::error(folder.display().to_string(), message));
        }
        if self.folders > MOST_FOLDERS {
            return;
        }
        let entries = fs::read_dir(folder).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<PathBuf>, _>>()
        });
        let mut paths = match entries {
            Ok(paths) => paths,
            Err(error) => {
                let message = format!("cannot be listed: {error}");
                return self.errors.push(Diagnostic::error(folder.display().to_string(), message));
            }
        };
        paths.sort();
        for path in paths.into_iter().filter(|path| !is_hidden(path)) {
            if path.is_dir() {
                self.walk(&path, depth + 1);
            } else if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
                // Reading a pipe or a device might never end.
                let message = "is neither a file nor a folder";
                self.errors.push(Diagnostic::error(path.display().to_string(), message));
            } else {
                self.files.push(path);
            }
        }
    }

    fn read(&mut self, wanted: impl Fn(&Path) -> bool) -> Vec<SourceFile> {
        let paths: Vec<PathBuf> = self.files.iter().filter(|path| wanted(path)).cloned().collect();
        let mut files = Vec::new();
        for path in paths {
            self.keep(SourceFile::read(&path), &mut files);
        }
        files
    }

    fn keep(&mut self, file: Result<SourceFile, Diagnostic>, files: &mut Vec<SourceFile>) {
        match file {
            Ok(file) => files.push(file),
            Err(error) => self.errors.push(error),
        }
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with('.'))
}

fn is_schema(path: &Path) -> bool {
    has_extension(path, "cedarschema")
}

fn is_entities(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "entities.json")
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn same_file(left: &Path, right: &Path) -> bool {
    match (left.canonicalize(), right.canonicalize()) {
        (Ok(left), Ok(right)) => left == right,
        (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_read_in_sorted_order_with_schema_and_entities_beside_the_policies() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("b/nested")).unwrap();
        for (name, text) in [
            ("b/nested/z.cedar", "z"),
            ("a.cedar", "a"),
            ("a.test.yaml", "cases: []"),
            ("entities.json", "[]"),
            ("tools.json", "[]"),
            ("own.cedarschema", "namespace Own {}"),
        ] {
            fs::write(root.join(name), text).unwrap();
        }
        let extra = root.join("tools.json");
        let sources = read_tree(root, &[root.join("own.cedarschema")], &[extra]).unwrap();
        let names = |files: &[SourceFile]| files.iter().map(|file| file.text.clone()).collect::<Vec<_>>();
        assert_eq!(names(&sources.policies), ["a", "z"]);
        assert_eq!(sources.schema.len(), 1, "a named file that was found is not read twice");
        assert_eq!(sources.entities.len(), 2);
    }

    #[test]
    fn a_missing_folder_and_a_missing_file_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let errors =
            read_tree(&folder.path().join("gone"), &[], &[folder.path().join("lost.json")]).unwrap_err();
        assert!(errors.iter().any(|error| error.file.ends_with("gone")));
        assert!(errors.iter().any(|error| error.file.ends_with("lost.json")));
    }

    #[cfg(unix)]
    #[test]
    fn a_kubernetes_mount_is_read_once_through_its_links() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("..2026_01_01")).unwrap();
        fs::write(root.join("..2026_01_01/a.cedar"), "a").unwrap();
        std::os::unix::fs::symlink("..2026_01_01", root.join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/a.cedar", root.join("a.cedar")).unwrap();
        assert_eq!(read_tree(root, &[], &[]).unwrap().policies.len(), 1);
    }
}
