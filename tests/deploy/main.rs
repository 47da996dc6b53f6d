//! What users install, by the tools that install it: the charts through helm, schemas and a real API server, the image
//! through buildah, and pods with exactly what the rendered manifests say.
//!
//! Each test says which tool it misses; `scripts/kubernetes-tools` and `test.sh` bring them. `UPDATE_GOLDEN=1` accepts the
//! renders.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod agent;
mod api_server;
mod chart_readme;
mod charts;
mod cluster;
mod dashboards;
mod debian;
mod helm;
mod image;
mod manifest;
mod node;
mod pod;
mod project;
mod schemas;
mod shipped;
mod sidecar;
mod supply;
mod systemd;
mod units;

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::support::{is_ci, program, skip, target};

/// What needs nothing but Python, so that every build server has it.
const REQUIRED: [&str; 4] = ["helm", "kubectl", "kubernetes-validate", "hadolint"];

/// A tool that `test.sh` fetched, or one in `PATH`; without it the test is skipped, unless this is CI and it is required.
fn tool(name: &str, test: &str) -> Option<PathBuf> {
    let found = fetched_or_installed(name);
    if found.is_none() {
        assert!(!(is_ci() && REQUIRED.contains(&name)), "CI must have {name}; run ./test.sh");
        skip(test, format!("no {name}; run ./test.sh"));
    }
    found
}

fn fetched_or_installed(name: &str) -> Option<PathBuf> {
    let fetched = [target().join("tools").join(name), target().join("venv/bin").join(name)];
    fetched.into_iter().find(|file| file.is_file()).or_else(|| program(name))
}

/// Both streams of a finished command.
fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Standard output of a command that succeeds.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, text_of(&output));
    String::from_utf8(output.stdout).unwrap()
}
