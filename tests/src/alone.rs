//! Runs a test in a separate process.

use std::process::Command;

/// The variable that marks the separate process of a test.
const ALONE: &str = "TEST_IS_ALONE";

/// Returns whether this process runs only this test. Otherwise, runs the test to its end in a separate process.
///
/// `test` is the test's name with its module, as `--list` has it.
///
/// # Panics
/// Panics when the test fails in the separate process, or has another name.
pub fn alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().expect("a test is a program"));
    command.args([test, "--exact", "--nocapture"]).env(ALONE, "");
    let output = command.output().expect("it starts once more");
    let said = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{told}");
    false
}
