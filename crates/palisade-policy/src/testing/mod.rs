//! Policy tests: what a set of policies means, written as cases beside it.
//!
//! [`run_tests`] finds every `*.test.yaml` below a folder. A file of cases is run against the policies in its own
//! folder, each case through the same evaluation and the same step-up search as a decision of the service. The
//! [`TestReport`] says what failed and which policies no case was decided by. No network, no clock: a case names its
//! time.

mod bed;
mod case;
mod file;
mod junit;
mod principal;
pub(crate) mod time;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

pub use self::bed::{Deployment, Persona, TestBed};
use self::file::{TestFile, TestResource};
use crate::{Diagnostic, Policies, PolicyInfo, PolicyRef, SourceFile, World, read_tree};

/// What a run of policy tests found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TestReport {
    /// Every case, in the order of the files.
    pub cases: Vec<CaseResult>,
    /// Files that could not be read or loaded. With any of these, the run has failed.
    pub problems: Vec<Diagnostic>,
    /// Every policy of the tested sets, and whether a case was decided by it.
    pub coverage: Vec<Coverage>,
}

/// How one case came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaseResult {
    /// The path of the file.
    pub file: String,
    /// The line of the case's name, from 1.
    pub line: usize,
    /// The name.
    pub name: String,
    /// What was expected and what came, a line each; nothing for a case that passed.
    pub failure: Option<String>,
}

/// Whether a policy decided a case: permitted or forbade one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// The policy.
    pub policy: PolicyInfo,
    /// Whether it decided a case.
    pub covered: bool,
}

/// Runs every `*.test.yaml` below a folder, in sorted order; or the one file that is named.
#[must_use]
pub fn run_tests(folder: &Path) -> TestReport {
    let mut report = TestReport::default();
    let mut files = Vec::new();
    if folder.is_file() {
        files.push(folder.to_owned());
    } else {
        find(folder, &mut files, &mut report.problems);
    }
    if files.is_empty() && report.problems.is_empty() {
        let problem = Diagnostic::error(folder.display().to_string(), "holds no policy tests");
        report.problems.push(problem.help("write cases into a file whose name ends in `.test.yaml`"));
    }
    let mut decided = BTreeMap::new();
    for path in files {
        if let Err(problems) = run_file(&path, &mut report.cases, &mut decided) {
            report.problems.extend(problems);
        }
    }
    report.coverage = decided.into_values().collect();
    report
}

impl TestReport {
    /// Whether every file could be run and every case passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.problems.is_empty() && self.failures().next().is_none()
    }

    /// The cases that failed.
    pub fn failures(&self) -> impl Iterator<Item = &CaseResult> {
        self.cases.iter().filter(|case| case.failure.is_some())
    }

    /// The policies that decided no case.
    pub fn uncovered(&self) -> impl Iterator<Item = &PolicyInfo> {
        self.coverage.iter().filter(|coverage| !coverage.covered).map(|coverage| &coverage.policy)
    }

    /// The report in the JUnit form that build servers read.
    #[must_use]
    pub fn junit(&self) -> String {
        junit::write(self)
    }
}

/// The failures and problems, then one line of counts, then the policies that decided no case.
impl fmt::Display for TestReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(formatter, "{problem}")?;
        }
        for case in self.failures() {
            writeln!(formatter, "{}:{}: FAILED {}", case.file, case.line, case.name)?;
            for line in case.failure.iter().flat_map(|failure| failure.lines()) {
                writeln!(formatter, "    {line}")?;
            }
        }
        let failed = self.failures().count();
        let covered = self.coverage.iter().filter(|coverage| coverage.covered).count();
        writeln!(
            formatter,
            "{} cases, {failed} failed; {covered} of {} policies decided a case",
            self.cases.len(),
            self.coverage.len()
        )?;
        for policy in self.uncovered() {
            writeln!(
                formatter,
                "{}:{}: no case is decided by `{}`",
                policy.policy.file, policy.policy.line, policy.policy.id
            )?;
        }
        Ok(())
    }
}

fn run_file(
    path: &Path,
    cases: &mut Vec<CaseResult>,
    decided: &mut BTreeMap<PolicyRef, Coverage>,
) -> Result<(), Vec<Diagnostic>> {
    let source = SourceFile::read(path).map_err(|problem| vec![problem])?;
    let tests = TestFile::read(&source).map_err(|problem| vec![problem])?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let world = tests.world(folder, &source)?;
    let policies = load(folder, &world, &tests)?;
    let mut determined = BTreeSet::new();
    for case in &tests.cases {
        let failure = match case.check(&tests, &policies) {
            Ok(checked) => {
                determined.extend(checked.determined);
                checked.failure
            }
            Err(problem) => Some(problem),
        };
        cases.push(CaseResult {
            file: source.path.clone(),
            line: usize::try_from(case.name.referenced.line()).unwrap_or_default(),
            name: case.name.value.clone(),
            failure,
        });
    }
    for info in policies.policy_ids() {
        let coverage = decided
            .entry(info.policy.clone())
            .or_insert_with(|| Coverage { policy: info.clone(), covered: false });
        coverage.covered |= determined.contains(&info.policy.id);
    }
    Ok(())
}

fn load(folder: &Path, world: &World, tests: &TestFile) -> Result<Policies, Vec<Diagnostic>> {
    // Taken apart and put together again, a path has no `.` in its middle.
    let policies: PathBuf = folder.join(&tests.policies).components().collect();
    let sources = read_tree(&policies, &[], &[])?;
    Policies::load(&sources, world, tests.on_error)
}

fn find(folder: &Path, files: &mut Vec<PathBuf>, problems: &mut Vec<Diagnostic>) {
    let entries = fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<PathBuf>, _>>()
    });
    let mut paths = match entries {
        Ok(paths) => paths,
        Err(error) => {
            let path = folder.display().to_string();
            return problems.push(Diagnostic::error(path, format!("cannot be listed: {error}")));
        }
    };
    paths.sort();
    for path in paths {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // A link to a folder is not followed here: a circle of links has no tests of its own.
        if path.is_dir() && !path.is_symlink() && !name.starts_with('.') {
            find(&path, files, problems);
        } else if name.ends_with(".test.yaml") {
            files.push(path);
        }
    }
}

#[cfg(test)]
mod tests;
