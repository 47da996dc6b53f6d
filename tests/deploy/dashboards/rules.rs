//! Alerts and recording rules: promtool's checks and tests, and that each alert has what people need at night.

use std::fs;
use std::process::Command;

use regex::Regex;

use crate::support::{package, program, skip};

fn read(file: &str) -> String {
    fs::read_to_string(package().join("deploy/prometheus").join(file)).unwrap()
}

/// The name and the text of every alert.
fn alerts() -> Vec<(String, String)> {
    let text = read("alerts.yml");
    let parts = text.split("      - alert: ").skip(1);
    parts.map(|part| (part.lines().next().unwrap().to_owned(), part.to_owned())).collect()
}

#[test]
fn promtool_is_pleased_with_rules_and_their_tests() {
    let Some(promtool) = program("promtool") else {
        return skip("promtool_is_pleased_with_rules_and_their_tests", "no promtool; install Debian's prometheus");
    };
    let directory = package().join("deploy/prometheus");
    for arguments in
        [["check", "rules", "alerts.yml"], ["check", "rules", "rules.yml"], ["test", "rules", "tests/alerts.yml"]]
    {
        let output = Command::new(&promtool).args(arguments).current_dir(&directory).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "promtool {arguments:?}:\n{said}");
    }
}

#[test]
fn every_alert_is_complete() {
    let tests = read("tests/alerts.yml");
    let alerts = alerts();
    assert_eq!(alerts.len(), 17);
    let runbook = Regex::new(r"runbook_url: \S+/(docs/runbooks/\w+\.md)").unwrap();
    for (name, text) in alerts {
        for part in ["severity: ", "summary: ", "description: ", "for: "] {
            assert!(text.contains(part), "{name} has no {part}");
        }
        let page = runbook.captures(&text).unwrap_or_else(|| panic!("{name} has no runbook_url"))[1].to_owned();
        assert_eq!(page, format!("docs/runbooks/{name}.md"));
        let page = fs::read_to_string(package().join(&page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(page.starts_with(&format!("# {name}\n")), "the title of {name}'s page");
        let cases = tests.split("- eval_time").filter(|case| case.contains(&format!("alertname: {name}\n")));
        let (quiet, firing): (Vec<&str>, Vec<&str>) = cases.partition(|case| case.contains("exp_alerts: []"));
        assert!(!quiet.is_empty() && !firing.is_empty(), "{name} wants a case that fires and one that does not");
    }
}

#[test]
fn every_runbook_belongs_to_an_alert() {
    let alerts = alerts();
    for entry in fs::read_dir(package().join("docs/runbooks")).unwrap() {
        let file = entry.unwrap().file_name().to_string_lossy().into_owned();
        let name = file.strip_suffix(".md").unwrap_or(&file);
        assert!(name == "README" || alerts.iter().any(|(alert, _)| alert == name), "{file}");
    }
}
