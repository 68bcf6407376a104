//! Programs in other languages that drive what runs here, as users do: `./dev test` says where their interpreters are.

use std::path::Path;
use std::process::{Command, Stdio};

/// A script below `tests/`, run to its end by Node.
pub fn run_node(script: &str, settings: &[(&str, &str)]) {
    run(Command::new(interpreter("AUTH_NODE")).arg("--test-reporter=tap"), script, settings);
}

/// The same by Python.
pub fn run_python(script: &str, settings: &[(&str, &str)]) {
    run(&mut Command::new(interpreter("AUTH_PYTHON")), script, settings);
}

fn interpreter(variable: &str) -> std::ffi::OsString {
    std::env::var_os(variable).unwrap_or_else(|| panic!("{variable} is set by `./dev test`"))
}

/// Panics with what it said unless it succeeded.
#[track_caller]
fn run(command: &mut Command, script: &str, settings: &[(&str, &str)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(script);
    let output = command.arg(path).envs(settings.iter().copied()).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{script} cannot be started: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {}\n{said}\n{complained}", output.status);
    assert!(said.contains("\nok ") || said.starts_with("ok "), "{script} has run nothing:\n{said}\n{complained}");
}
