//! The benchmark asks every side the same and holds the answers against each other; what it measures is no test.

use std::process::Command;

#[test]
fn every_side_of_the_benchmark_answers_alike() {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"));
    // Under cargo it builds the service first; here that is the one that all tests use.
    let output = bench.args(["--check", "--unpinned"]).env_remove("CARGO").output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    let alike = printed.lines().find_map(|line| line.strip_prefix("the same answers: ")).unwrap();
    for side in ["null", "Palisade", "Palisade, 10,000 policies", "Palisade, queued, no OTLP"] {
        assert!(alike.split("; ").any(|name| name == side), "{side}: {printed}");
    }
    // The peers are not installed for tests; where they are not, that is said.
    for peer in ["Cerbos", "OPA"] {
        assert!(printed.contains(peer), "{peer}: {printed}");
    }
}
