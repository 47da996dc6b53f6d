//! Configurations as their users write them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

/// Loads `/etc/c.yaml` of these files.
fn load_files(files: &[(&str, &str)], overrides: &Overrides) -> Result<Config, Problems> {
    let files: BTreeMap<PathBuf, &str> = files.iter().map(|(path, text)| (PathBuf::from(path), *text)).collect();
    let read = |path: &Path| files.get(path).map(|text| (*text).to_owned()).ok_or(io::ErrorKind::NotFound.into());
    load(Some(Path::new("/etc/c.yaml")), overrides, &read)
}

fn load_text(text: &str) -> Result<Config, Problems> {
    load_files(&[("/etc/c.yaml", text)], &Overrides::default())
}

fn problems(text: &str) -> String {
    load_text(text).map_or_else(|problems| problems.to_string(), |_| "no problem".to_owned())
}

#[test]
fn the_embedded_file_has_the_defaults() {
    for config in [
        load(None, &Overrides::default(), &|_| panic!("no file is read")).unwrap(),
        load_text("").unwrap(),
        load_text("discovery:\nidentity:\nsampling: {}\nrules:\n").unwrap(),
    ] {
        assert_eq!(config.discovery, Discovery::default());
        assert_eq!(config.identity, Identity::default());
        assert_eq!(config.sampling, Sampling::default());
        assert_eq!(config.threads, Threads::default());
        assert_eq!(config.attach, AttachSettings::default());
        assert_eq!(config.otlp, Otlp::default());
        assert_eq!(config.limits, Limits::default());
        assert_eq!(profiles(&config), "otel");
    }
}

#[test]
fn shipped_profiles_load() {
    let config = load_text("profiles: [otel, client_java, raw]").unwrap();
    assert!(config.profiles.iter().all(|profile| profile.rules() > 0));
    assert_eq!(config.files, [Path::new("/etc/c.yaml")]);
}

/// What a configuration has in the place of one key.
type Show = fn(&Config) -> String;

/// Every key with a value that is not its default, and the field that has it.
const KEYS: [(&str, &str, Show, &str); 43] = [
    ("discovery.interval", "1m30s", |c| format!("{:?}", c.discovery.interval), "90s"),
    ("discovery.roots", "['/a/{b}', {path: /c}]", roots, "/a/{b} /c"),
    ("discovery.procfs.enabled", "off", |c| format!("{:?}", c.discovery.procfs.enabled), "Off"),
    ("discovery.procfs.path", "/host/proc", |c| format!("{:?}", c.discovery.procfs.path), "\"/host/proc\""),
    ("discovery.access", "pread", |c| format!("{:?}", c.discovery.access), "Pread"),
    ("discovery.processes", "off", |c| format!("{:?}", c.discovery.processes), "Off"),
    ("identity.properties", "[my.name, 7]", |c| c.identity.properties.join(" "), "my.name 7"),
    ("identity.kubernetes", "off", |c| format!("{:?}", c.identity.kubernetes), "Off"),
    ("identity.container_logs", "/a", |c| format!("{:?}", c.identity.container_logs), "\"/a\""),
    ("sampling.interval", "0", |c| format!("{:?}", c.sampling.interval), "0ns"),
    ("sampling.idle_interval", "1s", |c| format!("{:?}", c.sampling.idle_interval), "1s"),
    ("sampling.buckets", "[0.5, 2]", |c| format!("{:?}", c.sampling.buckets), "[0.5, 2.0]"),
    ("sampling.causes", "true", |c| c.sampling.causes.to_string(), "true"),
    ("threads.interval", "9s", |c| format!("{:?}", c.threads.interval), "9s"),
    ("threads.groups", "true", |c| c.threads.groups.to_string(), "true"),
    ("attach.mode", "active", |c| format!("{:?}", c.attach.mode), "Active"),
    ("attach.timeout", "8s", |c| format!("{:?}", c.attach.timeout), "8s"),
    ("nmt.interval", "24h", |c| format!("{:?}", c.attach.native_memory), "86400s"),
    ("nmt.mode", "off", |c| format!("{:?}", c.attach.mode), "Off"),
    ("nmt.timeout", "7s", |c| format!("{:?}", c.attach.timeout), "7s"),
    ("diagnostics.interval", "1h", |c| format!("{:?}", c.attach.diagnostics), "3600s"),
    ("introspection.mode", "force", |c| format!("{:?}", c.introspection.mode), "Force"),
    ("introspection.interval", "2s", |c| format!("{:?}", c.introspection.interval), "2s"),
    ("history", "off", |c| format!("{:?}", c.history), "None"),
    ("profiles", "[raw, client_java]", profiles, "raw client_java"),
    ("rules", "[{counter: a, action: drop}]", |c| (c.profiles[0].rules() - otel_rules()).to_string(), "1"),
    ("otlp.enabled", "true", |c| c.otlp.enabled.to_string(), "true"),
    ("otlp.endpoint", "'https://collector:4317'", |c| c.otlp.endpoint.to_string(), "https://collector:4317/"),
    ("otlp.protocol", "http/protobuf", |c| format!("{:?}", c.otlp.protocol), "HttpProtobuf"),
    ("otlp.interval", "1m", |c| format!("{:?}", c.otlp.interval), "60s"),
    ("otlp.timeout", "1ms", |c| format!("{:?}", c.otlp.timeout), "1ms"),
    ("otlp.compression", "gzip", |c| format!("{:?}", c.otlp.compression), "Gzip"),
    ("otlp.headers", "{a: 1, b: {file: text}}", headers, "a=1 b=secret"),
    ("otlp.certificate", "cert.pem", |c| c.otlp.tls.roots.is_some().to_string(), "true"),
    ("otlp.temporality", "delta", |c| format!("{:?}", c.otlp.temporality), "Delta"),
    ("otlp.histograms", "base2_exponential_bucket_histogram", |c| format!("{:?}", c.otlp.histograms), "Exponential"),
    ("otlp.resource_attributes", "{a: 1}", |c| format!("{:?}", c.otlp.resource_attributes), r#"[("a", "1")]"#),
    ("web.compression", "none", |c| format!("{:?}", c.web.compression), "None"),
    ("web.compression_level", "9", |c| c.web.compression_level.to_string(), "9"),
    ("state.directory", "/a", |c| format!("{:?}", c.state_directory), "Some(\"/a\")"),
    ("limits.max_jvms", "5", |c| c.limits.max_jvms.to_string(), "5"),
    ("limits.max_series_per_jvm", "10", |c| c.limits.series().max_series_per_jvm.to_string(), "10"),
    ("limits.max_label_value_length", "64", |c| c.limits.series().max_label_value_length.to_string(), "64"),
];

/// Keys that are of use only together; `otlp_tests` has them.
const PAIRED: [&str; 2] = ["otlp.client_certificate", "otlp.client_key"];

fn roots(config: &Config) -> String {
    config.discovery.roots.iter().map(RootPattern::as_str).collect::<Vec<_>>().join(" ")
}

fn profiles(config: &Config) -> String {
    config.profiles.iter().map(|profile| &*profile.name).collect::<Vec<_>>().join(" ")
}

fn headers(config: &Config) -> String {
    let pairs = config.otlp.headers.iter();
    pairs.map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect::<Vec<_>>().join(" ")
}

fn otel_rules() -> usize {
    load_text("").unwrap().profiles[0].rules()
}

/// The paths of all keys that hold no section.
fn leaves(schema: &serde_json::Value, path: &str, found: &mut Vec<String>) {
    for (key, property) in schema["properties"].as_object().unwrap() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if property["properties"].is_object() {
            leaves(property, &path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn every_key_reaches_its_field_and_no_other() {
    let mut declared = Vec::new();
    leaves(&schema(), "", &mut declared);
    declared.retain(|key| !PAIRED.contains(&&**key));
    assert_eq!(declared, KEYS.map(|(key, ..)| key));
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    let defaults = load_text("").unwrap();
    for (key, value, show, expected) in KEYS {
        let text = key.split('.').rev().fold(value.to_owned(), |inner, step| format!("{{{step}: {inner}}}"));
        let files = [("/etc/c.yaml", &*text), ("/etc/text", "secret"), ("/etc/cert.pem", &certificate)];
        let config = load_files(&files, &Overrides::default()).unwrap_or_else(|problems| panic!("{text}: {problems}"));
        assert_eq!(show(&config), expected, "{key}");
        for (other, _, show, _) in KEYS.iter().filter(|(other, ..)| *other != key) {
            // The endpoint and the profiles' rules follow from two keys, and some keys have an old name.
            let is_old_name = key.replace("nmt.", "attach.") == other.replace("nmt.", "attach.");
            if !is_old_name && !matches!((key, *other), ("otlp.protocol", "otlp.endpoint") | ("profiles", "rules")) {
                assert_eq!(show(&config), show(&defaults), "{key} changes {other}");
            }
        }
    }
}

/// Boards of others and alerts by `le` are written for these.
#[test]
fn default_buckets_contain_those_of_the_conventions() {
    let config = load_text("").unwrap();
    for bound in [0.01, 0.1, 1.0, 10.0] {
        assert!(config.sampling.buckets.contains(&bound), "{bound}");
    }
}

#[test]
fn default_roots_are_patterns() {
    assert_eq!(roots(&load_text("").unwrap()), "/tmp /hsperf/{container}");
}

#[test]
fn procfs_cannot_be_forced() {
    assert_snapshot!(problems("discovery: {procfs: {enabled: true}}"), @"/etc/c.yaml:1:31: discovery.procfs.enabled: expected one of auto, off, found `true`; write `auto` for where it works");
}

#[test]
fn the_timeout_is_at_most_the_interval() {
    for (text, seconds) in [("{interval: 3s}", 3), ("{interval: 5m}", 5), ("{interval: 3s, timeout: 2s}", 2)] {
        let attach = load_text(&format!("nmt: {text}")).unwrap().attach;
        assert_eq!(attach.timeout_within(attach.native_memory), Duration::from_secs(seconds), "{text}");
    }
    for text in ["{interval: 3s, timeout: 4s}", "{timeout: 1m}"] {
        assert!(problems(&format!("nmt: {text}")).contains("longer than the interval"), "{text}");
    }
}

#[test]
fn old_names_of_keys_mean_the_same() {
    for text in [
        "nmt: {mode: active, timeout: 9s}",
        "attach: {mode: active, timeout: 9s}",
        "attach: {mode: active}\nnmt: {mode: active, timeout: 9s}",
        "attach: {mode:, timeout: 9s}\nnmt: {mode: active, timeout:}",
    ] {
        let attach = load_text(text).unwrap().attach;
        assert_eq!((attach.mode, attach.timeout), (AttachMode::Active, Duration::from_secs(9)), "{text}");
    }
    let text = "attach: {mode: off, timeout: 1s}\nnmt: {mode: active, timeout: 9s}";
    assert_snapshot!(problems(text), @r##"
/etc/c.yaml:2:6: nmt.mode: `nmt.mode` and `attach.mode` are one key, and their values differ; keep `attach.mode`
/etc/c.yaml:2:6: nmt.timeout: `nmt.timeout` and `attach.timeout` are one key, and their values differ; keep `attach.timeout`
"##);
    let flags = |attach_mode, nmt_mode| Overrides { attach_mode, nmt_mode, ..Overrides::default() };
    let (off, active) = (Some(AttachMode::Off), Some(AttachMode::Active));
    for flags in [flags(off, None), flags(None, off), flags(off, off)] {
        let config = load_files(&[("/etc/c.yaml", "nmt: {mode: active}")], &flags).unwrap();
        assert_eq!(config.attach.mode, AttachMode::Off);
    }
    let found = load_files(&[("/etc/c.yaml", "")], &flags(off, active)).unwrap_err().to_string();
    assert_eq!(found, "command line: --attach.mode: is off, and --nmt.mode, its old name, is active");
}

#[test]
fn every_problem_is_found_at_its_place() {
    assert_snapshot!(problems(
        r#"
discovry: {}
discovery:
  intervall: 5s
  interval: 50ms
  roots:
    - {path: tmp}
    - {path: "/a/{app}"}
    - {path: "/a/{x"}
    - {path: "/a/{x}/{x}"}
    - {path: /b/../c}
    - {path: /tmp}
    - /tmp
    - {}
    - {path: "/a/{__x}"}
    - tmp
    - {path: /d, paths: /e}
    - [/f]
    -
  procfs: {enabled: maybe, path: proc}
  access: mmap
identity: {properties: [-Dfoo=bar, 7]}
sampling: {interval: 20s, idle_interval: soon}
nmt: {mode: loud, interval: 500ms, timeout: 1m}
profiles: [otel, otel, rwa, missing.yaml]
rules: {}
otlp: {enabled: true, endpoint: "localhost:4317", protocol: carrier, interval: [1s]}
limits: {max_jvms: 0, max_series_per_jvm: "5", max_label_value_length: 1e3}
"#
    ), @r##"
/etc/c.yaml:2:1: discovry: this key is not known; did you mean `discovery`?
/etc/c.yaml:4:3: discovery.intervall: this key is not known; did you mean `interval`?
/etc/c.yaml:5:13: discovery.interval: expected a duration from 100ms to 1h, found `50ms`
/etc/c.yaml:7:14: discovery.roots[0].path: a root is an absolute path, found `tmp`
/etc/c.yaml:8:14: discovery.roots[1].path: {app}: the label `app` has a meaning already
/etc/c.yaml:9:14: discovery.roots[2].path: `{` without `}`
/etc/c.yaml:10:14: discovery.roots[3].path: the label {x} is there twice
/etc/c.yaml:11:14: discovery.roots[4].path: a root has no `..`
/etc/c.yaml:13:7: discovery.roots[6]: this root is there twice
/etc/c.yaml:14:7: discovery.roots[7]: the root has no path; write `/tmp` or `{path: /tmp}`
/etc/c.yaml:15:14: discovery.roots[8].path: {__x}: names that start with `__` are Prometheus' own
/etc/c.yaml:16:7: discovery.roots[9]: a root is an absolute path, found `tmp`
/etc/c.yaml:17:18: discovery.roots[10].paths: this key is not known; did you mean `path`?
/etc/c.yaml:18:7: discovery.roots[11]: expected a text, found a list
/etc/c.yaml:19:6: discovery.roots[12]: expected a text, found nothing
/etc/c.yaml:20:21: discovery.procfs.enabled: expected one of auto, off, found `maybe`; write `auto` for where it works
/etc/c.yaml:20:34: discovery.procfs.path: expected an absolute path, found `proc`
/etc/c.yaml:21:11: discovery.access: expected one of mapped, pread, found `mmap`
/etc/c.yaml:22:25: identity.properties[0]: expected the name of a property; write it without -D and without its value
/etc/c.yaml:23:22: sampling.interval: expected 0 or a duration from 1ms to 10s, found `20s`
/etc/c.yaml:23:42: sampling.idle_interval: expected a duration, found `soon`; write it as 10ms, 5s or 1m30s
/etc/c.yaml:24:6: nmt: the timeout is longer than the interval; set both `interval` and `timeout`
/etc/c.yaml:24:13: nmt.mode: expected one of off, passive, active, found `loud`
/etc/c.yaml:24:29: nmt.interval: expected a duration from 1s to 24h, found `500ms`
/etc/c.yaml:25:18: profiles[1]: the profile otel is there twice; give one of them another name
/etc/c.yaml:25:24: profiles[2]: no profile `rwa` is shipped; did you mean `raw`?; or give the path of a file, with `/` or `.yaml`
/etc/c.yaml:25:29: profiles[3]: /etc/missing.yaml cannot be read: entity not found; relative paths start at the configuration's directory
/etc/c.yaml:26:8: rules: expected a list, found a mapping; write `[…]`, or lines that start with `-`
/etc/c.yaml:27:33: otlp.endpoint: expected an http:// or https:// address, found `localhost:4317`
/etc/c.yaml:27:61: otlp.protocol: expected one of grpc, http/protobuf, found `carrier`
/etc/c.yaml:27:80: otlp.interval: expected a duration, found a list; write it as 10ms, 5s or 1m30s
/etc/c.yaml:28:20: limits.max_jvms: expected a whole number from 1 to 100000, found `0`
/etc/c.yaml:28:43: limits.max_series_per_jvm: expected a whole number from 1 to 100000, found the text "5"
/etc/c.yaml:28:72: limits.max_label_value_length: expected a whole number from 16 to 4096, found `1e3`
"##);
}

#[test]
fn broken_files_name_their_first_fault() {
    for (text, expected) in [
        ("a: [", "/etc/c.yaml:2:1: not YAML: while parsing a node, did not find expected node content"),
        ("nmt: {mode: off, mode: off}", "/etc/c.yaml:1:18: the key `mode` is there twice"),
        ("- x", "/etc/c.yaml:1:1: expected a mapping, found a list"),
    ] {
        let found = problems(text);
        assert!(found.starts_with(expected.split(": while").next().unwrap()), "{text}: {found}");
    }
    let missing = load_files(&[], &Overrides::default()).unwrap_err().to_string();
    assert_eq!(missing, "/etc/c.yaml: cannot be read: entity not found");
}

#[test]
fn the_command_line_wins_and_is_checked() {
    let text = "discovery: {roots: [{path: /a}]}\nrules: [{counter: a, metric: a, labels: {zone: x}}]";
    let overrides = Overrides {
        roots: vec!["/b".into(), "/c".into()],
        procfs: Some(None),
        attach_mode: Some(AttachMode::Active),
        ..Overrides::default()
    };
    let config = load_files(&[("/etc/c.yaml", text)], &overrides).unwrap();
    assert_eq!(roots(&config), "/b /c");
    assert_eq!((config.discovery.procfs.enabled, config.attach.mode), (Toggle::Off, AttachMode::Active));

    let overrides = Overrides {
        roots: vec!["b".into(), "/{zone}".into(), "/{zone}".into()],
        procfs: Some(Some("proc".into())),
        attach_mode: Some(AttachMode::Active),
        active_refused: true,
        ..Overrides::default()
    };
    let found = load_files(&[("/etc/c.yaml", text)], &overrides).unwrap_err().to_string();
    assert_snapshot!(found, @r##"
command line: --discovery.root: a root is an absolute path, found `b`
command line: --discovery.root: `/{zone}` is there twice
command line: --path.procfs: expected an absolute path, found `proc`
command line: attach.mode: active mode sends signals, and root may signal every process; run as the JVMs' user, use `passive` with -XX:+StartAttachListener, or give --attach.allow-active-as-root
/etc/c.yaml:2:42: rules[0].labels.zone: the label `zone` has a meaning already; choose another name
"##);
}

#[test]
fn own_profiles_and_rules_come_in_order() {
    let own = "profile: own\nrules:\n  - {counter: a, metric: own, help: Own., labels: {x: y}}\n  - {counter: b, metric: b}\n";
    let text = "profiles: [own.yaml]\nrules:\n  - {counter: a, metric: own, help: Mine.}\n";
    let config = load_files(&[("/etc/c.yaml", text), ("/etc/own.yaml", own)], &Overrides::default()).unwrap();
    assert_eq!(config.profiles[0].rules(), 3, "a rule of the profile may be replaced with other labels and help");
    assert_eq!(config.files, [Path::new("/etc/c.yaml"), Path::new("/etc/own.yaml")]);

    let text = "profiles: [own.yaml, /own2.yaml]\nrules:\n  - {counter: c, metric: b, unit: By}\n  - {counter: d, metric: b, unit: s}\n";
    let files = [("/etc/c.yaml", text), ("/etc/own.yaml", own), ("/own2.yaml", own)];
    assert_snapshot!(load_files(&files, &Overrides::default()).unwrap_err().to_string(), @r##"
/etc/c.yaml:1:22: profiles[1]: the profile own is there twice; give one of them another name
/etc/c.yaml:4:5: rules[1]: the metric b has another unit at /etc/c.yaml:3; one metric has one type, unit, help and set of labels
"##);
}

#[test]
fn many_problems_are_cut() {
    let keys: String = (0..500).map(|number| format!("key{number}: 1\n")).collect();
    let found = problems(&keys);
    assert_eq!(found.lines().count(), 101);
    assert!(found.ends_with("and 400 more"));
}

proptest! {
    #[test]
    fn any_text_loads_or_has_problems(text in "\\PC{0,200}|[-a-z0-9*{}:., \"\n&<#\\[\\]]{0,300}") {
        let _ = load_text(&text);
        let _ = load_text(&format!("discovery:\n  roots: {text}\nprofiles: [{text}]"));
    }
}

/// As Helm writes a plain `off` of its values.
#[test]
fn false_is_off() {
    let text = "nmt: {mode: false}\ndiscovery: {processes: false, procfs: {enabled: false}}\nsampling: {causes: off}\n";
    let config = load_text(text).unwrap();
    assert_eq!(config.attach.mode, AttachMode::Off);
    assert_eq!((config.discovery.processes, config.discovery.procfs.enabled), (Toggle::Off, Toggle::Off));
}

#[test]
fn metrics_that_prometheus_makes_itself_are_refused() {
    for name in ["up", "scrape_duration_seconds", "scrape.samples.scraped", "scrape_series_added", "ALERTS"] {
        let found = problems(&format!("rules: [{{counter: a.b, metric: {name}, type: gauge}}]"));
        assert!(found.contains("is a metric that Prometheus makes of each scrape"), "{name}: {found}");
    }
    assert_eq!(problems("rules: [{counter: a.b, metric: upper, type: gauge}]"), "no problem");
}
