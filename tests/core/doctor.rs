//! What `doctor` checks is what the alerts say, and what `docs/doctor.md` says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use hotspot_exporter::report::findings::{CHECKS, Check, FULL_WITHIN, NO_TROUBLE, TROUBLE_ALONE, Threshold, WARMED_UP};
use regex::Regex;
use yaml_serde::Value;

use crate::support::package;

/// Alerts about what no moment shows, about what `doctor` says first, and about Prometheus.
const NOT_CHECKED: [&str; 3] = ["JvmTargetDown", "NoJvmFound", "ScrapeNearTimeout"];

/// What `docs/doctor.md` has between these lines is made of the checks.
const BEGIN: &str = "<!-- Made of the checks by UPDATE_GOLDEN=1 cargo test --test core doctor. -->\n";
const END: &str = "<!-- End of what is made. -->\n";

fn read(path: &str) -> String {
    fs::read_to_string(package().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Alerts by name.
fn alerts() -> BTreeMap<String, Value> {
    let file: Value = yaml_serde::from_str(&read("deploy/prometheus/alerts.yml")).unwrap();
    let rules = file["groups"][0]["rules"].as_sequence().unwrap().clone();
    rules.into_iter().map(|rule| (rule["alert"].as_str().unwrap().to_owned(), rule)).collect()
}

/// A span as PromQL writes it.
fn promql(seconds: f64) -> String {
    if seconds % 3600.0 == 0.0 { format!("{}h", seconds / 3600.0) } else { format!("{}m", seconds / 60.0) }
}

/// What an alert compares, in the order of its expression: operator and number, with products multiplied out.
fn comparisons(expression: &str) -> Vec<String> {
    let compares = Regex::new(r"(==|>|<)\s*((?:\d[\d.]*)(?:\s*\*\s*\d[\d.]*)*)").unwrap();
    let number =
        |product: &str| product.split('*').map(|factor| factor.trim().parse::<f64>().unwrap()).product::<f64>();
    compares.captures_iter(expression).map(|found| format!("{} {}", &found[1], number(&found[2]))).collect()
}

/// What the alert of a check has to compare, and the parts that its expression has to have.
fn expected(check: &Check) -> (Vec<String>, Vec<String>) {
    let above = match check.threshold {
        Threshold::Share(number) | Threshold::Bytes(number) => vec![format!("> {number}")],
        Threshold::Nonzero => vec!["> 0".to_owned()],
        Threshold::State => vec!["== 0".to_owned()],
    };
    let over = check.over.map(promql).unwrap_or_default();
    match check.name {
        // Of other collectors; of Serial and Parallel; their full collections.
        "HeapAfterGcHigh" => ([&above[..], &above[..], &["> 0".to_owned()]].concat(), vec![format!("[{over}]")]),
        "OldGenFillingUp" => {
            let hours = FULL_WITHIN / 3600.0;
            let runs = format!("> {}", check.over.unwrap());
            ([above, vec![runs]].concat(), vec![format!("[{over}], {hours} * 3600")])
        }
        "NmtGrowthOutsideHeap" => {
            let runs = format!("> {}", check.over.unwrap() + WARMED_UP);
            ([above, vec![runs]].concat(), vec![format!("offset {over}")])
        }
        // By code heaps, and by native memory.
        "CodeCacheFull" => ([&above[..], &above[..]].concat(), vec![]),
        "PerfDataUnreadable" => {
            let quiet = NO_TROUBLE.join("|");
            let parts = vec![format!("reason!~\"{quiet}\""), format!("reason=\"{TROUBLE_ALONE}\"")];
            ([&above[..], &above[..]].concat(), parts)
        }
        // Reads, requests and series.
        "ExporterErrors" => ([&above[..], &above[..], &above[..]].concat(), vec![format!("[{over}]")]),
        _ if over.is_empty() => (above, vec![]),
        _ => (above, vec![format!("[{over}]")]),
    }
}

#[test]
fn checks_have_the_numbers_of_the_alerts() {
    let alerts = alerts();
    for check in CHECKS.iter().filter(|check| check.has_alert) {
        let alert = alerts.get(check.name).unwrap_or_else(|| panic!("no alert {}", check.name));
        let expression = alert["expr"].as_str().unwrap();
        let (compares, parts) = expected(check);
        assert_eq!(comparisons(expression), compares, "{}: {expression}", check.name);
        for part in parts {
            assert!(expression.contains(&part), "{}: {part:?} is not in {expression}", check.name);
        }
        let severity: &str = check.severity.into();
        assert_eq!(alert["labels"]["severity"], severity, "{}", check.name);
        assert!(alert["annotations"]["runbook_url"].as_str().unwrap().ends_with(check.runbook.unwrap()));
    }
}

#[test]
fn every_alert_about_jvms_and_the_exporter_is_checked() {
    let checked: BTreeSet<&str> = CHECKS.iter().filter(|check| check.has_alert).map(|check| check.name).collect();
    let alerts: BTreeSet<String> = alerts().into_keys().collect();
    let alerts: BTreeSet<&str> = alerts.iter().map(String::as_str).collect();
    assert_eq!(checked, alerts.difference(&BTreeSet::from(NOT_CHECKED)).copied().collect());
    let others = CHECKS.iter().filter(|check| !check.has_alert).map(|check| check.name);
    assert_eq!(others.filter(|name| alerts.contains(name)).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn every_runbook_of_a_check_is_there() {
    for check in CHECKS {
        assert!(check.runbook.is_none_or(|page| package().join(page).is_file()), "{check:?}");
    }
}

#[test]
fn sources_are_metrics_that_exist() {
    let metrics = read("docs/metrics.md");
    let name = Regex::new(r"\b(?:jvm|hotspot_exporter)_[a-z0-9_]+\b").unwrap();
    for check in CHECKS {
        for found in name.find_iter(check.source) {
            assert!(metrics.contains(&format!("`{}`", found.as_str())), "{}: {}", check.name, found.as_str());
        }
    }
}

/// The table of checks.
fn table() -> String {
    let mut table = "| check | says, above the threshold | threshold | over | severity | source | page |\n".to_owned();
    table.push_str("|---|---|---|---|---|---|---|\n");
    for check in CHECKS {
        let threshold = match check.threshold {
            Threshold::Share(share) => format!("{} %", share * 100.0),
            Threshold::Bytes(bytes) => format!("{} MiB", bytes / 1024.0 / 1024.0),
            Threshold::Nonzero => "0".to_owned(),
            Threshold::State => "the state".to_owned(),
        };
        let over = check.over.map_or("now".to_owned(), |over| match over {
            over if over < 7200.0 => format!("{} min", over / 60.0),
            over => format!("{} h", over / 3600.0),
        });
        let page = check.runbook.map_or("-".to_owned(), |page| {
            let page = page.strip_prefix("docs/").unwrap();
            format!("[{}]({page})", page.strip_prefix("runbooks/").unwrap().strip_suffix(".md").unwrap())
        });
        let Check { name, what, source, .. } = check;
        let severity: &str = check.severity.into();
        let name = if check.has_alert { format!("`{name}`") } else { format!("`{name}`, no alert") };
        writeln!(table, "| {name} | {what} | {threshold} | {over} | {severity} | `{source}` | {page} |").unwrap();
    }
    table
}

#[test]
fn the_page_has_the_table_of_checks() {
    let page = read("docs/doctor.md");
    let (head, rest) = page.split_once(BEGIN).expect("where the table begins");
    let (found, tail) = rest.split_once(END).expect("where the table ends");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(package().join("docs/doctor.md"), [head, BEGIN, &table(), END, tail].concat()).unwrap();
        return;
    }
    assert_eq!(found, table(), "call `UPDATE_GOLDEN=1 cargo test --test core doctor`");
}
