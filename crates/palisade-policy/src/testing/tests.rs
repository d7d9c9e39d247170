use std::path::PathBuf;

use super::*;

/// The ready-made sets are the test of what policies mean.
#[test]
fn the_ready_made_sets_pass_their_own_cases_and_leave_no_policy_undecided() {
    let report = run_tests(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../policies"));
    assert!(report.passed(), "{report}");
    assert_eq!(report.uncovered().count(), 0, "{report}");
}
