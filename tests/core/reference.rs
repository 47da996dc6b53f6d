//! `docs/metrics.md` is what the shipped rules make. `UPDATE_GOLDEN=1 cargo test --test core reference` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use crate::support::package;
use crate::support::regions::fixture;
use hotspot_exporter::app;
use hotspot_exporter::config::{self, Overrides};
use hotspot_exporter::discovery::RefusalReason;
use hotspot_exporter::fact::Fact;
use hotspot_exporter::fact::Formula;
use hotspot_exporter::fact::catalogue::all;
use hotspot_exporter::metric::{Family, Kind, Value, label_name};
use hotspot_exporter::perfdata::Image;
use hotspot_exporter::rules::{Profile, SeriesLimits, WordIndex};
use regex::Regex;

/// The text above the tables.
const HEAD: &str = "\
# Metrics

Every metric of the shipped profiles, generated from their rules by `UPDATE_GOLDEN=1 cargo test`; edit the rules, not this
page. Every series also has the labels `app` and `slot`, and those of its root's path. A metric is absent where the JVM
does not publish its source. Counters are shown with `_total`, histograms and summaries without their suffixes.

The last column is the fact that a rule names as `source:`. `hotspot-exporter explain PID` shows which facts a running JVM
has, from which counters, and why others are absent.
";

/// One instance of every fact, with the labels' names as values.
fn facts() -> Vec<Fact> {
    let value = Formula::Constant(Value::Int(1));
    all()
        .map(|info| Fact {
            name: info.name,
            labels: info.labels.iter().map(|label| (*label, format!("<{label}>").into())).collect(),
            kind: info.kind,
            unit: info.unit,
            formula: value.clone(),
        })
        .collect()
}

/// The table row of one fact in a profile.
fn row(profile: &Profile, image: &Image, fact: &Fact) -> Option<(String, String)> {
    let limits = SeriesLimits::default();
    let plan = profile.plan(image, std::slice::from_ref(fact), &limits, &mut WordIndex::default());
    let (family, planned) = plan.series().next()?;
    let labels: Vec<String> = planned.labels.iter().map(|(name, _)| format!("`{}`", label_name(name))).collect();
    let (name, kind) = printed(family);
    let help = family.help.replace('|', "\\|");
    Some((name.clone(), format!("| `{name}` | {kind} | {} | {help} | `{}` |\n", labels.join(", "), fact.name)))
}

/// The name and type in Prometheus.
fn printed(family: &Family) -> (String, &'static str) {
    let name = family.prometheus();
    match family.kind {
        Kind::Counter => (name + "_total", "counter"),
        Kind::Histogram => (name, "histogram"),
        Kind::Summary => (name, "summary"),
        Kind::Gauge | Kind::UpDownCounter | Kind::Info => (name, "gauge"),
    }
}

fn table(profile: &Profile, image: &Image, out: &mut String) {
    writeln!(out, "\n## Profile `{}`\n\n{}\n", profile.name, profile.help).unwrap();
    out.push_str("| metric | type | labels | meaning | fact |\n|---|---|---|---|---|\n");
    let rows: BTreeMap<_, _> = facts().iter().filter_map(|fact| row(profile, image, fact)).collect();
    rows.values().for_each(|row| out.push_str(row));
}

/// The exporter's own metrics.
fn own(out: &mut String) {
    out.push_str(
        "\n## The exporter's own metrics\n\nThe first profile's page includes them. Where that is\n\
         `client_java` or `micrometer`, its `process_*` are those of the JVMs and not these.\n\n",
    );
    out.push_str("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for declaration in app::declarations() {
        let family = declaration.family();
        let labels: Vec<_> = declaration.labels.iter().map(|name| format!("`{name}`")).collect();
        let (name, kind) = printed(&family);
        writeln!(out, "| `{name}` | {kind} | {} | {} |", labels.join(", "), family.help).unwrap();
    }
}

/// The names of this exporter's metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\b(?:jvm|process|hotspot_exporter)_[a-z0-9_]*[a-z0-9]\b").unwrap();
    name.find_iter(text).map(|found| found.as_str().to_owned()).collect()
}

/// Whether the page lists the metric, or the metric of which this is a sample.
fn is_known(name: &str, page: &str) -> bool {
    let stem = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    [name, stem].iter().any(|name| page.contains(&format!("`{name}`")))
}

#[test]
fn documents_name_existing_metrics() {
    let read = |path: &str| fs::read_to_string(package().join(path)).unwrap();
    let page = read("docs/metrics.md");
    let migration = read("docs/migration.md");
    let mut texts: Vec<(&str, String)> = Vec::new();
    // The column of new names.
    let rows = migration.lines().filter(|line| line.starts_with("| `"));
    texts.push(("docs/migration.md", rows.filter_map(|row| row.split(" | ").nth(1)).collect::<Vec<_>>().join("\n")));
    for path in [
        "README.md",
        "docs/native-memory.md",
        "docs/sampling.md",
        "docs/limits.md",
        "docs/troubleshooting.md",
        "docs/dashboards.md",
    ] {
        texts.push((path, read(path)));
    }
    let runbooks = fs::read_dir(package().join("docs/runbooks")).unwrap();
    texts.extend(runbooks.map(|entry| ("docs/runbooks", fs::read_to_string(entry.unwrap().path()).unwrap())));
    for (path, text) in texts {
        let unknown: Vec<String> = names(&text).into_iter().filter(|name| !is_known(name, &page)).collect();
        // Process metrics are the exporter's own.
        assert!(unknown.iter().all(|name| name == "process_"), "{path} names {unknown:?}");
    }
}

#[test]
fn every_reason_is_documented() {
    let page = fs::read_to_string(package().join("docs/troubleshooting.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "));
    let remedies: BTreeMap<_, _> = rows
        .filter_map(|(reason, row)| Some((reason, row.split_once(" | ")?.1.replace('`', ""))))
        .filter(|(reason, _)| RefusalReason::ALL.iter().any(|known| known.as_str() == *reason))
        .collect();
    for reason in RefusalReason::ALL {
        let expected = reason.remedy().replace('`', "");
        assert_eq!(remedies.get(reason.as_str()), Some(&expected), "docs/troubleshooting.md: {reason}");
    }
}

#[test]
fn the_reference_is_up_to_date() {
    let bytes = fs::read(fixture("jdk25-G1")).unwrap();
    let image = Image::decode(bytes).unwrap();
    let mut page = HEAD.to_owned();
    let file = "profiles: [otel, client_java, micrometer]\n";
    let read = |_: &std::path::Path| Ok::<_, std::io::Error>(file.to_owned());
    let config = config::load(Some("reference.yaml".as_ref()), &Overrides::default(), &read).unwrap();
    for profile in &config.profiles {
        table(profile, &image, &mut page);
    }
    page.push_str("\nThe profile `raw` exports every counter as `hsperf_` and the counter's name.\n");
    own(&mut page);
    let path = package().join("docs/metrics.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &page).unwrap();
        return;
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let differs = page.lines().zip(kept.lines()).find(|(one, other)| one != other);
    assert!(
        page == kept,
        "docs/metrics.md is out of date: UPDATE_GOLDEN=1 cargo test --test core reference\n{differs:#?}"
    );
}
