//! What the program is made of.

use std::process::Command;

use crate::support::{is_ci, package, program, skip};

/// `docs/licences.md` names every crate of `Cargo.lock` that is part of the program, and `deny.toml` allows each.
#[test]
fn licences_are_listed_and_allowed() {
    if program("python3").is_none() {
        assert!(!is_ci(), "CI needs python3");
        return skip("licences_are_listed_and_allowed", "no python3");
    }
    let output = Command::new(package().join("scripts/licences")).arg("--check").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
