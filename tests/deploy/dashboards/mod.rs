//! The dashboards, alerts and recording rules of `deploy/`: their form, and what a real Prometheus makes of them.

mod group;
mod lint;
mod looks;
mod queries;
mod rules;

use std::fs;
use std::path::PathBuf;

use crate::support::package;
use serde_json::Value;

/// A dashboard as Grafana stores it.
struct Provider {
    /// Name of the file.
    file: String,
    json: Value,
}

impl Provider {
    fn all() -> Vec<Self> {
        let files = fs::read_dir(package().join("deploy/grafana")).unwrap().map(|entry| entry.unwrap().path());
        let mut providers: Vec<Self> =
            files.filter(|file| file.extension().is_some_and(|it| it == "json")).map(Self::read).collect();
        providers.sort_by(|one, other| one.file.cmp(&other.file));
        assert_eq!(providers.len(), 4, "the providers of deploy/grafana");
        providers
    }

    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { file: path.file_name().unwrap().to_string_lossy().into_owned(), json }
    }

    fn variables(&self) -> &[Value] {
        self.json["templating"]["list"].as_array().unwrap()
    }

    /// Every panel, rows among them; no row is collapsed, so none holds panels.
    fn panels(&self) -> &[Value] {
        self.json["panels"].as_array().unwrap()
    }

    /// Whether it shows JVMs, and not the exporter.
    fn is_of_jvms(&self) -> bool {
        self.variables().iter().any(|variable| variable["name"] == "app")
    }

    /// Every query, with its panel.
    fn queries(&self) -> Vec<(&Value, &str)> {
        let each = |panel| expressions(panel).into_iter().map(move |expression| (panel, expression));
        self.panels().iter().flat_map(each).collect()
    }
}

/// The expressions of a panel.
fn expressions(panel: &Value) -> Vec<&str> {
    let targets = panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
    targets.iter().map(|target| target["expr"].as_str().unwrap()).collect()
}

/// Whether a table makes one row of what several queries find.
fn is_merged(panel: &Value) -> bool {
    let steps = panel["transformations"].as_array().map(Vec::as_slice).unwrap_or_default();
    steps.iter().any(|step| step["id"] == "merge")
}

/// The names of metrics in an expression of PromQL: our names have a prefix that no function and no label value has.
fn metrics(expression: &str) -> Vec<&str> {
    let names = regex::Regex::new(r#"\b(?:jvm|process|hotspot_exporter|scrape)_[a-z0-9_]+\b"#).unwrap();
    let labels = regex::Regex::new(r#"\{[^}]*\}|(?:by|without|on|ignoring) *\([^)]*\)"#).unwrap();
    let hidden: Vec<_> = labels.find_iter(expression).map(|found| found.range()).collect();
    names
        .find_iter(expression)
        .filter(|name| !hidden.iter().any(|range| range.contains(&name.start())))
        .map(|name| name.as_str())
        .collect()
}
