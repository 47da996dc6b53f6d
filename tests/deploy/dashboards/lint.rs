//! The rules of grafana/dashboard-linter, under the names that it gives them, and what makes providers fit together.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;

use super::Provider;

/// Units of Grafana that our providers use.
const UNITS: [&str; 11] =
    ["none", "string", "short", "percentunit", "bytes", "Bps", "s", "dtdurations", "cps", "reqps", "bool_yes_no"];

/// Types of panels whose values have a unit.
const WITH_UNITS: [&str; 4] = ["stat", "table", "timeseries", "gauge"];

/// Whatever is wrong, each with the provider, the rule and the place.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn expect(&mut self, holds: bool, provider: &Provider, rule: &str, place: &Value) {
        if !holds {
            self.0.push(format!("{}: {rule}: {place}", provider.file));
        }
    }
}

#[test]
fn boards_pass_the_rules_of_the_dashboard_linter() {
    let mut findings = Findings::default();
    for provider in Provider::all() {
        findings.expect(
            provider.json["editable"] == false,
            &provider,
            "uneditable-dashboard-rule",
            &provider.json["editable"],
        );
        check_variables(&provider, &mut findings);
        for panel in provider.panels().iter().filter(|panel| panel["type"] != "row") {
            check_panel(&provider, panel, &mut findings);
        }
        for (panel, expression) in provider.queries() {
            check_query(&provider, panel, expression, &mut findings);
        }
    }
    assert!(findings.0.is_empty(), "{:#?}", findings.0);
}

fn check_variables(provider: &Provider, findings: &mut Findings) {
    let named =
        |name: &str| provider.variables().iter().find(|variable| variable["name"] == name).unwrap_or(&Value::Null);
    let source = named("datasource");
    let good = source["type"] == "datasource" && source["query"] == "prometheus" && source["label"] == "Data source";
    findings.expect(good, provider, "template-datasource-rule", source);
    for (name, label, rule) in [("job", "Job", "template-job-rule"), ("instance", "Instance", "template-instance-rule")]
    {
        let variable = named(name);
        let query = variable["definition"].as_str().unwrap_or_default();
        let good = variable["type"] == "query"
            && variable["label"] == label
            && variable["datasource"]["uid"] == "${datasource}"
            && variable["multi"] == true
            && variable["allValue"] == ".+"
            && query.starts_with("label_values(")
            && query.ends_with(&format!(", {name})"));
        findings.expect(good, provider, rule, variable);
    }
    for variable in provider.variables().iter().filter(|variable| variable["type"] == "query") {
        findings.expect(variable["refresh"] == 2, provider, "template-on-time-change-reload-rule", variable);
        // That the queries are legal PromQL is found by asking Prometheus, in `queries`.
        let same = variable["query"]["query"] == variable["definition"];
        findings.expect(same, provider, "template-label-promql-rule", variable);
    }
}

fn check_panel(provider: &Provider, panel: &Value, findings: &mut Findings) {
    let text = |field: &str| panel[field].as_str().is_some_and(|text| !text.trim().is_empty());
    findings.expect(text("title") && text("description"), provider, "panel-title-description-rule", panel);
    let targets = panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
    findings.expect(!targets.is_empty(), provider, "panel-no-targets-rule", panel);
    let sources = targets.iter().chain([panel]).map(|holder| &holder["datasource"]);
    for source in sources {
        let good = source["uid"] == "${datasource}" && source["type"] == "prometheus";
        findings.expect(good, provider, "panel-datasource-rule", panel);
    }
    if WITH_UNITS.iter().any(|kind| panel["type"] == *kind) {
        let unit = &panel["fieldConfig"]["defaults"]["unit"];
        findings.expect(UNITS.iter().any(|known| unit == known), provider, "panel-units-rule", panel);
    }
    for one in
        panel["fieldConfig"]["overrides"].as_array().unwrap().iter().flat_map(|it| it["properties"].as_array().unwrap())
    {
        let good = one["id"] != "unit" || UNITS.iter().any(|known| one["value"] == *known);
        findings.expect(good, provider, "panel-units-rule", one);
    }
}

/// Selectors, ranges and counters. Legal PromQL and no LogQL it is when Prometheus has answered it, in `queries`.
fn check_query(provider: &Provider, panel: &Value, expression: &str, findings: &mut Findings) {
    let place = Value::from(format!("{}: {expression}", panel["title"]));
    let selector = Regex::new(r"(\w+)(\{[^}]*\})?(\[[^\]]+\])?").unwrap();
    let names: BTreeSet<&str> = super::metrics(expression).into_iter().collect();
    let mut seen = 0;
    for found in selector.captures_iter(expression).filter(|found| names.contains(&found[1])) {
        seen += 1;
        let matchers = found.get(2).map_or("", |matchers| matchers.as_str());
        findings.expect(matchers.contains(r#"job=~"$job""#), provider, "target-job-rule", &place);
        findings.expect(matchers.contains(r#"instance=~"$instance""#), provider, "target-instance-rule", &place);
        let range = found.get(3).map(|range| range.as_str());
        findings.expect(
            range.is_none_or(|range| range == "[$__rate_interval]"),
            provider,
            "target-rate-interval-rule",
            &place,
        );
        let call = &expression[..found.get(0).unwrap().start()];
        let is_aggregated = ["rate(", "irate(", "increase("].iter().any(|function| call.ends_with(function));
        let is_counter = ["_total", "_bucket", "_sum", "_count"].iter().any(|suffix| found[1].ends_with(suffix));
        let is_gauge = ["jvm_thread_count", "jvm_class_count", "jvm_cpu_count", "jvm_buffer_count"]
            .contains(&&found[1])
            || found[1].ends_with("_descriptor_count");
        let good = !is_counter || is_gauge || (range.is_some() && is_aggregated);
        findings.expect(good, provider, "target-counter-agg-rule", &place);
    }
    findings.expect(seen > 0, provider, "target-promql-rule", &place);
}

#[test]
fn boards_fit_together() {
    let providers = Provider::all();
    let uids: BTreeSet<&str> = providers.iter().map(|provider| provider.json["uid"].as_str().unwrap()).collect();
    assert_eq!(uids.len(), providers.len(), "every provider has a uid of its own");
    let link = Regex::new(r"/d/([\w-]+)").unwrap();
    for provider in &providers {
        let text = provider.json.to_string();
        for linked in link.captures_iter(&text) {
            assert!(uids.contains(&linked[1]), "{}: no provider {}", provider.file, &linked[1]);
        }
        let ids: BTreeSet<u64> = provider.panels().iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), provider.panels().len(), "{}: panel ids", provider.file);
        check_grid(provider);
    }
}

/// A row has a name of its own and panels below it, and no two panels of a row have the same name.
#[test]
fn rows_have_panels_of_different_names() {
    for provider in Provider::all() {
        let mut seen = BTreeSet::new();
        for row in provider.panels().chunk_by(|_, next| next["type"] != "row") {
            let titles = row.iter().map(|panel| (panel["title"].as_str().unwrap(), panel["type"].as_str().unwrap()));
            let different: BTreeSet<_> = titles.collect();
            assert_eq!(different.len(), row.len(), "{}: {different:?}", provider.file);
            if row[0]["type"] == "row" {
                assert!(row.len() > 1, "{}: {} has no panels", provider.file, row[0]["title"]);
                assert!(seen.insert(row[0]["title"].to_string()), "{}: {}", provider.file, row[0]["title"]);
            }
        }
    }
}

/// No panel lies on another or beside the grid's 24 columns.
fn check_grid(provider: &Provider) {
    let mut taken = BTreeSet::new();
    for panel in provider.panels() {
        let at = |field: &str| panel["gridPos"][field].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{}: {}", provider.file, panel["title"]);
        for cell in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{}: {} lies on another panel", provider.file, panel["title"]);
        }
    }
}
