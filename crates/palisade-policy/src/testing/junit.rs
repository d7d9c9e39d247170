//! The report in the form build servers read.

use std::fmt::Write as _;

use super::{CaseResult, TestReport};

pub(super) fn write(report: &TestReport) -> String {
    let failures = report.failures().count();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"{}\" failures=\"{failures}\" errors=\"{}\">\n",
        report.cases.len(),
        report.problems.len()
    );
    // The cases of a file follow one another.
    for cases in report.cases.chunk_by(|left, right| left.file == right.file) {
        suite(&mut xml, cases);
    }
    for problem in &report.problems {
        // Writing to a string does not fail.
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{0}\" tests=\"1\" errors=\"1\">\n    <testcase classname=\"{0}\" name=\"load\">\n      <error message=\"{1}\"/>\n    </testcase>\n  </testsuite>",
            escape(&problem.file),
            escape(&problem.to_string())
        );
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn suite(xml: &mut String, cases: &[CaseResult]) {
    let file = cases.first().map(|case| escape(&case.file)).unwrap_or_default();
    let failures = cases.iter().filter(|case| case.failure.is_some()).count();
    let _ = writeln!(xml, "  <testsuite name=\"{file}\" tests=\"{}\" failures=\"{failures}\">", cases.len());
    for case in cases {
        let name = escape(&case.name);
        let line = case.line;
        match &case.failure {
            None => {
                let _ = writeln!(xml, "    <testcase classname=\"{file}\" name=\"{name}\" line=\"{line}\"/>");
            }
            Some(failure) => {
                let _ = writeln!(
                    xml,
                    "    <testcase classname=\"{file}\" name=\"{name}\" line=\"{line}\">\n      <failure>{}</failure>\n    </testcase>",
                    escape(failure)
                );
            }
        }
    }
    xml.push_str("  </testsuite>\n");
}

/// Text for elements and attributes. Characters that XML 1.0 cannot hold become U+FFFD.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push(character),
            character if character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}') => {
                escaped.push('\u{fffd}');
            }
            character => escaped.push(character),
        }
    }
    escaped
}
