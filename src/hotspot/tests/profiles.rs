//! The shipped profiles, compared with the catalogue.

use super::*;
use crate::fact::catalogue::find;

const PROFILES: [(&str, &str); 4] = [
    ("otel", include_str!("../../../config/profiles/otel.yaml")),
    ("client_java", include_str!("../../../config/profiles/client_java.yaml")),
    ("micrometer", include_str!("../../../config/profiles/micrometer.yaml")),
    ("raw", include_str!("../../../config/profiles/raw.yaml")),
];

/// The text of each rule of a shipped profile. All have the same style, so no YAML parser is needed.
fn rules(profile: &str) -> Vec<String> {
    let rules = profile.split("rules:\n").nth(1).unwrap();
    let lines = rules.lines().filter(|line| !line.trim_start().starts_with('#'));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    format!("\n{text}").split("\n  - ").skip(1).map(str::to_owned).collect()
}

fn key<'a>(rule: &'a str, key: &str) -> Option<&'a str> {
    rule.lines().find_map(|line| line.trim_start().strip_prefix(key)?.strip_prefix(": "))
}

#[test]
fn profiles_name_existing_facts_and_labels() {
    for (profile, text) in PROFILES {
        assert!(text.contains(&format!("\nprofile: {profile}\nhelp: ")), "{profile}");
        let mut metrics = BTreeSet::new();
        for rule in rules(text) {
            if rule.starts_with("{counter: ") {
                continue;
            }
            let info = key(&rule, "source").and_then(find).unwrap_or_else(|| panic!("{profile}: {rule}"));
            assert!(key(&rule, "help").is_some_and(|help| help.trim_matches('"').ends_with('.')), "{profile}: {rule}");
            assert!(metrics.insert(key(&rule, "metric").unwrap().to_owned()), "{profile}: {rule}");
            let used: BTreeSet<&str> =
                rule.split('$').skip(1).map(|rest| rest.split([',', '}', '\n']).next().unwrap()).collect();
            assert!(used.iter().all(|label| info.labels.contains(label)), "{profile}: {rule}");
            // Omitting a label would merge series, except for `type`, which follows from the pool.
            let omitted = info.labels.iter().filter(|label| !used.contains(*label));
            assert!(omitted.into_iter().all(|label| *label == "type"), "{profile}: {rule}");
        }
    }
}

#[test]
fn names_that_dashboards_know() {
    let table = [
        ("otel", "target.up", "jvm_up"),
        ("otel", "target.info", "jvm_process_info"),
        ("otel", "target.start_time", "jvm_start_time_seconds"),
        ("otel", "pool.used", "jvm_memory_used_bytes"),
        ("otel", "pool.limit", "jvm_memory_limit_bytes"),
        ("otel", "thread.count", "jvm_thread_count"),
        ("otel", "class.loaded", "jvm_class_loaded_total"),
        ("otel", "safepoint.count", "jvm_hotspot_safepoints_total"),
        ("otel", "safepoint.sync_time", "jvm_hotspot_safepoint_sync_seconds_total"),
        ("otel", "safepoint.stopped_time", "jvm_hotspot_safepoint_stopped_seconds_total"),
        ("otel", "gc.time", "jvm_hotspot_gc_time_seconds_total"),
        ("client_java", "target.up", "jvm_up"),
        ("client_java", "target.info", "jvm_process_info"),
        ("client_java", "target.runtime", "jvm_runtime_info"),
        ("client_java", "area.used", "jvm_memory_used_bytes"),
        ("client_java", "area.limit", "jvm_memory_max_bytes"),
        ("client_java", "pool.init", "jvm_memory_pool_init_bytes"),
        ("client_java", "gc.total", "jvm_gc_collection_seconds"),
        ("client_java", "thread.live", "jvm_threads_current"),
        ("client_java", "thread.started", "jvm_threads_started_total"),
        ("client_java", "class.count", "jvm_classes_currently_loaded"),
        ("client_java", "class.loaded", "jvm_classes_loaded_total"),
        ("client_java", "jit.time", "jvm_compilation_time_seconds_total"),
    ];
    for (profile, name, expected) in table {
        let text = PROFILES.iter().find(|(other, _)| *other == profile).unwrap().1;
        let rules = rules(text);
        let rule = rules.iter().find(|rule| key(rule, "source") == Some(name)).unwrap();
        let info = find(name).unwrap();
        let kind = if key(rule, "type") == Some("gauge") { Kind::Gauge } else { info.kind };
        let metric = key(rule, "metric").unwrap();
        let family = crate::metric::Family { name: metric.into(), unit: info.unit.into(), kind, help: "".into() };
        let total = if kind == Kind::Counter { "_total" } else { "" };
        assert_eq!(format!("{}{total}", family.prometheus()), expected, "{profile} {name}");
    }
}

/// The series of one JVM's region in the default profile.
#[test]
fn the_default_profile_stays_small() {
    let sources: BTreeSet<String> =
        rules(PROFILES[0].1).iter().filter_map(|rule| key(rule, "source").map(str::to_owned)).collect();
    for [region, ..] in expected_pools() {
        let image = fixture(region);
        let series = facts(&image).iter().filter(|fact| sources.contains(fact.name)).count();
        assert!((25..=60).contains(&series), "{region}: {series}");
    }
}
