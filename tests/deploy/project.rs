//! What stands around the code: workflows, commands, versions and addresses. No test here runs a workflow;
//! `scripts/check-workflows` reads them with actionlint.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use yaml_serde::Value;

use crate::support::package;
use crate::{run, text_of};

const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn read(path: impl AsRef<Path>) -> String {
    let path = package().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files of a directory of the package with one of these extensions, by their path in the package.
fn files(directory: &str, extensions: &[&str]) -> Vec<PathBuf> {
    let entries = fs::read_dir(package().join(directory)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| Path::new(directory).join(entry.unwrap().file_name())).collect();
    files.retain(|file| file.extension().is_some_and(|end| extensions.iter().any(|wanted| end == *wanted)));
    files.sort();
    assert!(!files.is_empty(), "{directory}");
    files
}

fn documents() -> Vec<PathBuf> {
    ["", "docs", "docs/runbooks"].into_iter().flat_map(|directory| files(directory, &["md"])).collect()
}

/// Workflows by their path, as text and parsed.
fn workflows() -> Vec<(PathBuf, String, Value)> {
    let parsed = |file: PathBuf| {
        let text = read(&file);
        let value = yaml_serde::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        (file, text, value)
    };
    files(".github/workflows", &["yml"]).into_iter().map(parsed).collect()
}

/// The jobs of a workflow, by name.
fn jobs(workflow: &Value) -> impl Iterator<Item = (&str, &Value)> {
    workflow["jobs"].as_mapping().unwrap().iter().map(|(name, job)| (name.as_str().unwrap(), job))
}

fn steps(workflow: &Value) -> impl Iterator<Item = &Value> {
    jobs(workflow).flat_map(|(_, job)| job["steps"].as_sequence().unwrap())
}

/// A file of the package that may be executed.
fn is_script(path: &str) -> bool {
    fs::metadata(package().join(path)).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[test]
fn the_repository_has_one_address() {
    let address = Regex::new(r"https://github\.com/[\w.-]+/hotspot-exporter\b").unwrap();
    let forms = files(".github/ISSUE_TEMPLATE", &["yml"]);
    let others = [
        "Cargo.toml",
        "deploy/prometheus/alerts.yml",
        "helm/hotspot-exporter/README.md",
        "helm/hotspot-sidecar/README.md",
    ]
    .map(PathBuf::from);
    for file in documents().into_iter().chain(forms).chain(others) {
        for found in address.find_iter(&read(&file)) {
            assert_eq!(found.as_str(), REPOSITORY, "{}", file.display());
        }
    }
    assert!(env!("CARGO_PKG_HOMEPAGE").starts_with(REPOSITORY));
    let documentation = format!("documentation = \"{REPOSITORY}/tree/main/docs\"");
    assert!(read("Cargo.toml").lines().any(|line| line == documentation), "Cargo.toml has no {documentation}");
}

#[test]
fn runbooks_are_in_the_repository() {
    let alerts = read("deploy/prometheus/alerts.yml");
    let pages: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("runbook_url: ")).collect();
    assert!(!pages.is_empty());
    for page in pages {
        let path = page.strip_prefix(REPOSITORY).and_then(|path| path.strip_prefix("/blob/main/"));
        assert!(path.is_some_and(|path| package().join(path).is_file()), "{page}");
    }
}

#[test]
fn links_of_documents_lead_to_files() {
    let link = Regex::new(r"\]\(([^):#\s]+)(?:#[^)]*)?\)").unwrap();
    let mut broken = Vec::new();
    for document in documents() {
        let directory = package().join(&document);
        let directory = directory.parent().unwrap();
        for found in link.captures_iter(&read(&document)) {
            if !directory.join(&found[1]).exists() {
                broken.push(format!("{}: {}", document.display(), &found[1]));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn workflows_call_scripts_that_exist() {
    for (file, _, workflow) in workflows() {
        for step in steps(&workflow) {
            let Some(command) = step["run"].as_str() else { continue };
            let program = command.split_whitespace().next().unwrap();
            assert!(!command.contains('\n') && !command.contains("${{"), "{}: {command}", file.display());
            assert!(program == "cargo" || is_script(program), "{}: {command}", file.display());
        }
    }
}

/// A tag can be moved to other code, a commit cannot.
#[test]
fn workflows_use_actions_by_commit() {
    let pinned = Regex::new(r"^[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$").unwrap();
    for (file, text, _) in workflows() {
        for line in text.lines() {
            let Some(action) = line.trim().trim_start_matches("- ").strip_prefix("uses: ") else { continue };
            assert!(pinned.is_match(action), "{}: {action}", file.display());
        }
    }
}

#[test]
fn jobs_have_the_rights_that_they_name_and_end() {
    for (file, _, workflow) in workflows() {
        let rights = workflow["permissions"].as_mapping();
        assert!(rights.is_some_and(|rights| rights.is_empty()), "{}: permissions", file.display());
        for (name, job) in jobs(&workflow) {
            assert!(job["permissions"].is_mapping(), "{}: {name}: permissions", file.display());
            assert!(job["timeout-minutes"].is_u64(), "{}: {name}: timeout-minutes", file.display());
        }
        for step in steps(&workflow) {
            let checks_out = step["uses"].as_str().is_some_and(|action| action.starts_with("actions/checkout@"));
            let keeps_token = step["with"]["persist-credentials"] != Value::Bool(false);
            assert!(!(checks_out && keeps_token), "{}: persist-credentials", file.display());
        }
    }
}

#[test]
fn every_fuzz_target_is_fuzzed() {
    let workflow: Value = yaml_serde::from_str(&read(".github/workflows/fuzz.yml")).unwrap();
    let fuzzed = workflow["jobs"]["fuzz"]["strategy"]["matrix"]["target"].as_sequence().unwrap();
    let fuzzed: Vec<&str> = fuzzed.iter().map(|target| target.as_str().unwrap()).collect();
    let targets = files("fuzz/fuzz_targets", &["rs"]);
    let targets: Vec<&str> = targets.iter().map(|file| file.file_stem().unwrap().to_str().unwrap()).collect();
    assert_eq!(fuzzed, targets);
}

#[test]
fn recipes_call_scripts_that_exist() {
    let justfile = read("justfile");
    let commands = justfile.lines().filter_map(|line| line.strip_prefix("    ")).map(str::trim_start);
    for command in commands {
        let program = command.split_whitespace().find(|word| !word.contains('=')).unwrap().trim_start_matches('@');
        assert!(["cargo", "just"].contains(&program) || is_script(program), "{command}");
    }
}

#[test]
fn issue_forms_are_whole() {
    for file in files(".github/ISSUE_TEMPLATE", &["yml"]) {
        let form: Value = yaml_serde::from_str(&read(&file)).unwrap();
        if file.ends_with("config.yml") {
            assert!(form["contact_links"].is_sequence());
            continue;
        }
        for key in ["name", "description"] {
            assert!(form[key].is_string(), "{}: {key}", file.display());
        }
        for field in form["body"].as_sequence().unwrap() {
            let has_text = field["attributes"]["label"].is_string() || field["attributes"]["value"].is_string();
            assert!(has_text, "{}: {field:?}", file.display());
        }
    }
}

/// Renovate raises the versions that stand below a comment for it.
#[test]
fn renovate_finds_every_version() {
    let settings: serde_json::Value = serde_json::from_str(&read("renovate.json")).unwrap();
    let pattern = settings["customManagers"][0]["matchStrings"][0].as_str().unwrap();
    let pattern = Regex::new(pattern).unwrap();
    let scripts = fs::read_dir(package().join("scripts")).unwrap().map(|entry| entry.unwrap().path());
    for script in scripts.chain([package().join("test.sh")]) {
        let text = read(&script);
        let comments = text.lines().filter(|line| line.starts_with("# renovate:")).count();
        assert_eq!(pattern.find_iter(&text).count(), comments, "{}", script.display());
    }
}

#[test]
fn a_release_has_one_version() {
    let release = || Command::new(package().join("scripts/release"));
    run(release().args(["check", &format!("v{VERSION}")]));
    let other = release().args(["check", "v999.0.0"]).output().unwrap();
    assert!(!other.status.success() && text_of(&other).contains("v999.0.0"), "{}", text_of(&other));
}

#[test]
fn notes_of_a_release_are_its_part_of_the_changelog() {
    let notes = run(Command::new(package().join("scripts/release")).arg("notes"));
    assert!(notes.contains("### Added"), "{notes}");
    assert!(!notes.lines().any(|line| line.starts_with("## ") || line.starts_with("[Unreleased]")), "{notes}");
    let changelog = read("CHANGELOG.md");
    let first = changelog.lines().find(|line| line.starts_with("## "));
    assert_eq!(first, Some("## [Unreleased]"));
}
