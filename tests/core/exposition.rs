//! Pages and families as Prometheus text and OpenMetrics.

use std::fs;
use std::sync::Arc;

use crate::support::exporter::Exporter;
use crate::support::package;
use crate::support::regions::Root;
use hotspot_exporter::app;
use hotspot_exporter::fact::{Formula, PublishedId, Scale, Since, Values};
use hotspot_exporter::metric::{Family, Histogram, Kind, Labels, Value};
use hotspot_exporter::output::prometheus::{
    ExpositionFormat, Page, PageBuffer, PageSeries, finish, write_families, write_page,
};
use hotspot_exporter::rules::PlannedSeries;
use yaml_serde::Value as Yaml;

fn family(name: &str, unit: &str, kind: Kind) -> Arc<Family> {
    Arc::new(Family { name: name.into(), unit: unit.into(), kind, help: "Says \"what\"\nit \\ is.".into() })
}

/// A JVM whose words are these, and whether it is up.
struct Words(Vec<i64>, bool);

impl Values for Words {
    fn word(&self, index: u32) -> Option<i64> {
        self.0.get(index as usize).copied()
    }

    fn published(&self, _: PublishedId) -> Option<Value> {
        None
    }

    fn is_up(&self) -> Option<bool> {
        Some(self.1)
    }

    fn created(&self, since: Since) -> Option<f64> {
        (since == Since::Start).then_some(1_795_339_828.5)
    }
}

fn print(page: &Page, format: ExpositionFormat, jvms: &[Words]) -> String {
    let mut out = PageBuffer::default();
    write_page(page, format, |target| &jvms[target as usize], &mut out);
    finish(format, &mut out.bytes);
    String::from_utf8(out.bytes).unwrap()
}

#[test]
fn series_are_grouped_by_family_and_absent_ones_are_omitted() {
    let (used, up) = (family("jvm.memory.used", "By", Kind::UpDownCounter), family("jvm.up", "", Kind::Gauge));
    let gone = family("jvm.gone", "", Kind::Gauge);
    let apps = ["a", "b"].map(|app| Labels::new([("app", app)]));
    let pool = Arc::new(Labels::new([("jvm.memory.pool.name", "G1 \"Old\"\\\nGen")]));
    let none = Arc::new(Labels::default());
    let (word, missing) = (Formula::Word(0, Scale::One), Formula::Word(9, Scale::One));
    let one = |labels: &Arc<Labels>, formula| -> Arc<[PlannedSeries]> {
        [PlannedSeries { labels: Arc::clone(labels), formula }].into()
    };
    let lists = [(&used, one(&pool, word)), (&gone, one(&none, missing)), (&up, one(&none, Formula::Up))];
    let series =
        (0..2).flat_map(|target| lists.iter().map(move |(family, series)| PageSeries { family, target, series }));
    let page = Page::new(apps.into(), series);
    let jvms = [Words(vec![9_007_199_254_740_993], true), Words(vec![], false)];
    let expected = r#"# HELP jvm_memory_used_bytes Says "what"\nit \\ is.
# TYPE jvm_memory_used_bytes gauge
jvm_memory_used_bytes{app="a",jvm_memory_pool_name="G1 \"Old\"\\\nGen"} 9007199254740993
# HELP jvm_up Says "what"\nit \\ is.
# TYPE jvm_up gauge
jvm_up{app="a"} 1
jvm_up{app="b"} 0
"#;
    assert_eq!(print(&page, ExpositionFormat::Text, &jvms), expected);
    let open = print(&page, ExpositionFormat::OpenMetrics, &jvms);
    assert!(open.starts_with("# HELP jvm_memory_used_bytes Says \\\"what\\\"\\nit \\\\ is.\n"), "{open}");
    assert!(open.contains("\n# UNIT jvm_memory_used_bytes bytes\n"), "{open}");
    assert!(open.ends_with("jvm_up{app=\"b\"} 0\n# EOF\n"), "{open}");
}

#[test]
fn counters_and_information_have_the_names_of_each_format() {
    let none = Labels::default();
    let version = Labels::new([("version", "25")]);
    let families = [
        (
            Family { help: "".into(), ..(*family("jvm.class.loaded", "{class}", Kind::Counter)).clone() },
            vec![(none.clone(), Value::Int(3))],
        ),
        ((*family("jvm.runtime", "", Kind::Info)).clone(), vec![(version, Value::Int(1))]),
    ];
    let print = |format| {
        let mut out = Vec::new();
        assert_eq!(write_families(&families, format, &mut out), 2);
        String::from_utf8(out).unwrap()
    };
    let text = print(ExpositionFormat::Text);
    assert!(text.contains("# TYPE jvm_class_loaded_total counter\njvm_class_loaded_total 3\n"), "{text}");
    assert!(text.contains("# TYPE jvm_runtime_info gauge\njvm_runtime_info{version=\"25\"} 1\n"), "{text}");
    let open = print(ExpositionFormat::OpenMetrics);
    assert!(open.contains("# TYPE jvm_class_loaded counter\njvm_class_loaded_total 3\n"), "{open}");
    assert!(open.contains("# TYPE jvm_runtime info\njvm_runtime_info{version=\"25\"} 1\n"), "{open}");
}

#[test]
fn openmetrics_has_created_lines_for_cumulative_series() {
    let (loaded, count) = (family("jvm.class.loaded", "", Kind::Counter), family("jvm.class.count", "", Kind::Gauge));
    let labels = Arc::new(Labels::default());
    let word = Formula::Word(0, Scale::One);
    let list: Arc<[PlannedSeries]> = [PlannedSeries { labels, formula: word }].into();
    let series = [&loaded, &count].map(|family| PageSeries { family, target: 0, series: &list });
    let page = Page::new(vec![Labels::new([("app", "a{b} ")])], series.into_iter());
    let open = print(&page, ExpositionFormat::OpenMetrics, &[Words(vec![7], true)]);
    let expected =
        "jvm_class_loaded_total{app=\"a{b} \"} 7\njvm_class_loaded_created{app=\"a{b} \"} 1795339828.5\n# EOF\n";
    assert!(open.ends_with(expected), "{open}");
    assert_eq!(open.matches("_created").count(), 1, "{open}");
    assert!(!print(&page, ExpositionFormat::Text, &[Words(vec![7], true)]).contains("_created"));
}

#[test]
fn a_page_in_chunks_is_the_page() {
    let families = [Kind::Counter, Kind::Gauge].map(|kind| family(&format!("jvm.{}", kind.as_str()), "", kind));
    let labels = Arc::new(Labels::default());
    let list: Arc<[PlannedSeries]> = [PlannedSeries { labels, formula: Formula::Word(0, Scale::One) }].into();
    let series = families.iter().flat_map(|family| (0..50).map(move |target| (family, target)));
    let series = series.map(|(family, target)| PageSeries { family, target, series: &list });
    let identities = (0..50).map(|number| Labels::new([("app", number.to_string())])).collect();
    let (page, jvms) = (Page::new(identities, series), [Words(vec![7], true)]);
    for format in [ExpositionFormat::Text, ExpositionFormat::OpenMetrics, ExpositionFormat::Protobuf] {
        let mut whole = PageBuffer::default();
        write_page(&page, format, |_| &jvms[0], &mut whole);
        for minimum in [1, 100, 2000, 1 << 20] {
            let mut chunks: Vec<Vec<u8>> = Vec::new();
            let mut take = |chunk: &mut Vec<u8>| chunks.push(std::mem::take(chunk));
            let mut buffer = PageBuffer::chunked(Vec::new(), minimum, &mut take);
            write_page(&page, format, |_| &jvms[0], &mut buffer);
            let rest = buffer.bytes;
            assert!(chunks.iter().all(|chunk| chunk.len() >= minimum), "{format:?} in chunks of {minimum}");
            assert_eq!(chunks.is_empty(), minimum == 1 << 20);
            chunks.push(rest);
            assert!(chunks.concat() == whole.bytes, "{format:?} in chunks of {minimum}");
        }
    }
}

#[test]
fn histograms_of_one_family_may_have_different_bounds() {
    let histogram = |bounds: &[f64]| {
        let counts = vec![1; bounds.len() + 1];
        Value::Histogram(Arc::new(Histogram { bounds: bounds.into(), counts, ..Histogram::default() }))
    };
    let series = [&[0.5][..], &[0.5, 2.0], &[], &[0.5, 2.0]];
    let series =
        series.iter().zip(["a", "b", "c", "d"]).map(|(bounds, app)| (Labels::new([("app", app)]), histogram(bounds)));
    let families = [((*family("x", "", Kind::Histogram)).clone(), series.collect())];
    let mut out = Vec::new();
    write_families(&families, ExpositionFormat::Text, &mut out);
    let text = String::from_utf8(out).unwrap();
    let bounds: Vec<_> = text.lines().filter_map(|line| line.split_once("x_bucket{app=")?.1.split_once('}')).collect();
    let bounds: Vec<_> = bounds.iter().map(|(labels, _)| labels.replace("\",le=", " ")).collect();
    let expected = [
        r#""a "0.5""#,
        r#""a "+Inf""#,
        r#""b "0.5""#,
        r#""b "2.0""#,
        r#""b "+Inf""#,
        r#""c "+Inf""#,
        r#""d "0.5""#,
        r#""d "2.0""#,
        r#""d "+Inf""#,
    ];
    assert_eq!(bounds, expected);
}

#[test]
fn distributions_are_cumulative_and_summaries_have_two_lines() {
    let histogram = Histogram { bounds: [0.01, 1.0].into(), counts: vec![2, 0, 1], sum: 3.5, ..Histogram::default() };
    let families = [
        (
            (*family("jvm.gc.duration", "s", Kind::Histogram)).clone(),
            vec![(Labels::new([("gc", "G1")]), Value::Histogram(Arc::new(histogram)))],
        ),
        (
            (*family("gc", "s", Kind::Summary)).clone(),
            vec![(Labels::default(), Value::Summary { count: 2, sum: 0.25 })],
        ),
    ];
    let mut out = Vec::new();
    assert_eq!(write_families(&families, ExpositionFormat::Text, &mut out), 7);
    let lines: Vec<_> = std::str::from_utf8(&out).unwrap().lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        lines,
        [
            r#"jvm_gc_duration_seconds_bucket{gc="G1",le="0.01"} 2"#,
            r#"jvm_gc_duration_seconds_bucket{gc="G1",le="1.0"} 2"#,
            r#"jvm_gc_duration_seconds_bucket{gc="G1",le="+Inf"} 3"#,
            r#"jvm_gc_duration_seconds_count{gc="G1"} 3"#,
            r#"jvm_gc_duration_seconds_sum{gc="G1"} 3.5"#,
            "gc_seconds_count 2",
            "gc_seconds_sum 0.25",
        ]
    );
}

#[test]
fn a_value_that_does_not_fit_its_family_is_left_out() {
    let families = [
        ((*family("a", "", Kind::Histogram)).clone(), vec![(Labels::default(), Value::Int(1))]),
        ((*family("b", "", Kind::Gauge)).clone(), vec![(Labels::default(), Value::Summary { count: 1, sum: 1.0 })]),
    ];
    let mut out = Vec::new();
    assert_eq!(write_families(&families, ExpositionFormat::Text, &mut out), 0);
    assert_eq!(String::from_utf8(out).unwrap(), "");
}

#[test]
fn numbers_are_the_shortest_that_read_back() {
    let values = [
        (1e21, "1e+21"),
        (0.1, "0.1"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "+Inf"),
        (f64::NEG_INFINITY, "-Inf"),
        (0.000_282_52, "0.00028252"),
    ];
    for (value, expected) in values {
        let families = [((*family("x", "", Kind::Gauge)).clone(), vec![(Labels::default(), Value::Float(value))])];
        let mut out = Vec::new();
        write_families(&families, ExpositionFormat::Text, &mut out);
        assert!(String::from_utf8(out).unwrap().ends_with(&format!("\nx {expected}\n")), "{value} as {expected}");
    }
}

/// Every value of a key in a YAML file.
fn values_of<'a>(yaml: &'a Yaml, key: &str, into: &mut Vec<&'a str>) {
    match yaml {
        Yaml::Mapping(mapping) => {
            for (name, value) in mapping {
                into.extend(value.as_str().filter(|_| name.as_str() == Some(key)));
                values_of(value, key, into);
            }
        }
        Yaml::Sequence(list) => list.iter().for_each(|value| values_of(value, key, into)),
        _ => {}
    }
}

#[test]
fn every_help_is_a_short_sentence() {
    let mut all: Vec<String> = app::declarations().map(|metric| metric.family().help.into()).collect();
    assert!(all.len() > 30, "{all:?}");
    for profile in fs::read_dir(package().join("config/profiles")).unwrap() {
        let text = fs::read_to_string(profile.unwrap().path()).unwrap();
        let (yaml, mut helps): (Yaml, _) = (yaml_serde::from_str(&text).unwrap(), Vec::new());
        values_of(&yaml, "help", &mut helps);
        assert!(!helps.is_empty(), "{text}");
        all.extend(helps.into_iter().map(str::to_owned));
    }
    for help in all {
        assert!(help.len() <= 119, "{} bytes: {help}", help.len());
        assert!(help.ends_with('.') && !help.contains('\n'), "not a sentence: {help:?}");
        assert!(!help.starts_with(|first: char| first.is_lowercase() || first.is_whitespace()), "{help:?}");
    }
}

#[test]
fn series_of_closed_sets_exist_at_the_first_scrape() {
    let root = Root::new();
    let config = root.path().join("exporter.yaml");
    fs::write(&config, "otlp: {enabled: true, endpoint: 'http://127.0.0.1:1', interval: 1h}\n").unwrap();
    let config = format!("--config.file={}", config.display());
    let page = Exporter::start(root.flags().into_iter().chain([config])).scrape();
    for (name, labels) in [
        ("hotspot_exporter_targets", &[("state", "stalled")][..]),
        ("hotspot_exporter_refused", &[("reason", "too_many")]),
        ("hotspot_exporter_read_failures_total", &[("reason", "deadline")]),
        ("hotspot_exporter_series_dropped", &[("reason", "conflict")]),
        ("hotspot_exporter_config_reloads_total", &[("outcome", "success")]),
        ("hotspot_exporter_config_reloads_total", &[("outcome", "failure")]),
        ("hotspot_exporter_requests_refused_total", &[("reason", "password_queue")]),
        ("hotspot_exporter_web_config_reloads_total", &[("outcome", "failure")]),
        ("hotspot_exporter_nmt_failures_total", &[("reason", "no_socket")]),
        ("hotspot_exporter_nmt_failures_total", &[("reason", "unknown_reply")]),
        ("hotspot_exporter_otlp_pushes_total", &[("outcome", "failure")]),
        ("hotspot_exporter_otlp_failures_total", &[("reason", "tls")]),
        ("hotspot_exporter_otlp_points_total", &[]),
        ("hotspot_exporter_otlp_queue_bytes", &[]),
        ("hotspot_exporter_otlp_push_duration_seconds_count", &[]),
        ("hotspot_exporter_sampler_overruns_total", &[]),
    ] {
        assert_eq!(page.value(name, labels), Some(0.0), "{name} {labels:?}");
    }
    assert_eq!(page.value("hotspot_exporter_config_last_reload_successful", &[]), Some(1.0));
    let loaded = page.value("hotspot_exporter_config_last_reload_success_timestamp_seconds", &[]);
    assert!(loaded.is_some_and(|time| time > 1.5e9), "{loaded:?}");
    // Without a web configuration there is nothing to have succeeded.
    assert_eq!(page.value("hotspot_exporter_web_config_last_reload_successful", &[]), None);
}

#[test]
fn all_own_metrics_are_declared() {
    let root = Root::new();
    let page = Exporter::start(root.flags()).scrape();
    let declared: Vec<String> = app::declarations()
        .map(|metric| {
            let family = metric.family();
            family.prometheus() + if family.kind == Kind::Counter { "_total" } else { "" }
        })
        .collect();
    for name in page.types.keys() {
        assert!(declared.contains(name), "{name} is not declared");
    }
}
