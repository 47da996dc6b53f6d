//! Every query of every panel, variable and rule, put to a real Prometheus that scrapes two real JVMs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use regex::Regex;
use rustix::process::{Pid, Signal, kill_process};

use super::group::Group;
use super::{Provider, expressions, is_merged, metrics};
use crate::support::exporter::Exporter;
use crate::support::jdk::{self, Collector};
use crate::support::jvm::Jvm;
use crate::support::prometheus::Prometheus;
use crate::support::{ensure, package, program, skip, wait_for};

/// What there is only where a control group has a memory limit.
const LIMIT: &str = "jvm_hotspot_cgroup_memory_limit_bytes";

/// What only the JVM's memory tells.
const MEMORY: [&str; 7] = [
    "jvm_hotspot_thread_states",
    "jvm_hotspot_thread_deadlocked",
    "jvm_hotspot_thread_virtual_mounted",
    "jvm_hotspot_g1_humongous_bytes",
    "jvm_hotspot_class_loaders",
    "jvm_buffer_memory_",
    "jvm_buffer_count",
];

/// A busy G1 JVM that tells its native memory, a busy ZGC one whose attach socket is missing, and what watches them.
struct Stage {
    prometheus: Prometheus,
    apps: [String; 2],
    exporter: Exporter,
    /// Whether the first JVM has a memory limit.
    limited: bool,
    /// The release of the JVMs.
    feature: u32,
    // Dropped in this order: a group can be removed when its process is gone.
    _jvms: [Jvm; 2],
    _group: Option<Group>,
    _directory: tempfile::TempDir,
}

impl Stage {
    fn set(program: &std::path::Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let apps = ["shop", "bank"].map(|app| format!("providers-{app}-{}", std::process::id()));
        let name = |app: &str| format!("-Dotel.service.name={app}");
        let tracking = "-XX:NativeMemoryTracking=summary".to_owned();
        let jdk = jdk::any();
        let listening =
            ["-XX:+UseG1GC".to_owned(), name(&apps[0]), tracking.clone(), "-XX:+StartAttachListener".to_owned()];
        let silent = [Collector::Z.options(), vec![name(&apps[1]), tracking]].concat();
        let group = Group::with_limit(&apps[0], 1 << 30);
        let mut jvms = [
            group.as_ref().map_or_else(|| Jvm::start(&jdk, &listening), |group| group.start(&jdk, &listening)),
            Jvm::start(&jdk, silent),
        ];
        for jvm in &mut jvms {
            jvm.obey("run 50");
        }
        let config = directory.path().join("exporter.yaml");
        fs::write(&config, "discovery: {interval: 1s}\nnmt: {interval: 1s}\n").unwrap();
        let exporter =
            Exporter::start([format!("--config.file={}", config.display()), "--discovery.root=/tmp".to_owned()]);
        let rules = ["alerts.yml", "rules.yml"].map(|file| package().join("deploy/prometheus").join(file));
        let prometheus = Prometheus::start(
            program,
            directory.path(),
            exporter.address(),
            &rules,
            &["--enable-feature=extra-scrape-metrics"],
        );
        Self {
            prometheus,
            apps,
            exporter,
            limited: group.is_some(),
            feature: jdk.feature,
            _jvms: jvms,
            _group: group,
            _directory: directory,
        }
    }

    /// Some series exist from the first reload on.
    fn reload(&self) {
        let pid = Pid::from_raw(self.exporter.pid().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
    }

    /// What each variable of a provider can be set to, as Grafana finds it: one query after the other.
    fn settings(&self, provider: &Provider) -> Vec<BTreeMap<String, String>> {
        let query = Regex::new(r"^label_values\((.+), (\w+)\)$").unwrap();
        let mut settings = vec![BTreeMap::new()];
        for variable in provider.variables().iter().filter(|variable| variable["type"] == "query") {
            let name = variable["name"].as_str().unwrap();
            let definition = variable["definition"].as_str().unwrap();
            let parts = query.captures(definition).unwrap_or_else(|| panic!("{}: {definition}", provider.file));
            let mut next = Vec::new();
            for setting in settings {
                let selector = filled(&parts[1], &setting);
                let values = wait_for(&format!("{}: {definition}", provider.file), || {
                    let mut values = self.prometheus.label_values(&selector, &parts[2])?;
                    // Other JVMs of the host are none of our business.
                    values.retain(|value| name != "app" || self.apps.contains(value));
                    let enough = if name == "app" { self.apps.len() } else { 1 };
                    ensure(values.len() >= enough, format!("{selector} has {values:?}")).map(|()| values)
                });
                let choices = match variable["multi"].as_bool() {
                    Some(true) => vec![values.iter().map(|value| regex::escape(value)).collect::<Vec<_>>().join("|")],
                    _ => values,
                };
                let set = |choice| setting.clone().into_iter().chain([(name.to_owned(), choice)]).collect();
                next.extend(choices.into_iter().map(set));
            }
            settings = next;
        }
        settings
    }

    /// The same for what is read from the JVMs' memory, if it is.
    fn memory_answers(&self, asked: &[(String, Vec<String>)]) {
        let states = format!("jvm_hotspot_thread_states{{app=~\"{}\"}}", self.apps.join("|"));
        if self.prometheus.query(&states).unwrap().is_empty() {
            println!("{} queries not tried, the memory of JVMs cannot be read here", asked.len());
            return;
        }
        for (what, expressions) in asked {
            // JDK 21 and later have virtual threads.
            if self.feature < 21 && expressions.iter().any(|expression| expression.contains("virtual_mounted")) {
                continue;
            }
            wait_for(what, || self.answers(expressions));
        }
    }

    /// Grafana merges what agrees in all columns of the same name, `__name__` among them. What a panel of a JVM shows of a
    /// process is that JVM's.
    fn shows_each_jvm_once(&self, provider: &Provider, setting: &BTreeMap<String, String>) {
        let labels = |expression: &str| self.prometheus.labels(&filled(expression, setting)).unwrap();
        for panel in provider.panels().iter().filter(|panel| is_merged(panel)) {
            let mut found = expressions(panel).into_iter().map(labels);
            let rows = found.next().unwrap();
            for one in found.flatten() {
                let fits = |row: &BTreeMap<String, String>| {
                    one.iter().all(|(name, value)| row.get(name).is_none_or(|found| found == value))
                };
                let fitting = rows.iter().filter(|row| fits(row)).count();
                assert_eq!(fitting, 1, "{}: {}: rows of {one:?}", provider.file, panel["title"]);
            }
        }
        let of_processes = |expression: &&str| provider.is_of_jvms() && expression.contains("process_");
        for expression in provider.queries().into_iter().map(|(_, expression)| expression).filter(of_processes) {
            let anonymous = labels(expression)
                .into_iter()
                .filter(|labels| expression.starts_with("process_") && !labels.contains_key("app"));
            assert_eq!(anonymous.count(), 0, "{}: {expression}", provider.file);
        }
    }

    /// `Ok` if one of the expressions has a number; each must be legal.
    fn answers(&self, expressions: &[String]) -> Result<(), String> {
        let mut found = 0;
        for expression in expressions {
            let values = self.prometheus.query(expression)?;
            found += values.iter().filter(|value| !value.is_nan()).count();
        }
        ensure(found > 0, format!("no data: {expressions:#?}"))
    }
}

fn filled(expression: &str, setting: &BTreeMap<String, String>) -> String {
    let mut text = expression.replace("$__rate_interval", "15s");
    for (name, value) in setting {
        text = text.replace(&format!("${name}"), &value.replace('\\', "\\\\"));
    }
    assert!(!text.contains('$'), "a variable without a value: {text}");
    text
}

#[test]
fn every_query_has_data() {
    let Some(program) = program("prometheus") else {
        return skip("every_query_has_data", "no prometheus; install Debian's prometheus");
    };
    let stage = Stage::set(&program);
    stage.reload();
    let mut asked = 0;
    let mut of_memory = Vec::new();
    for provider in Provider::all() {
        let settings = stage.settings(&provider);
        for (panel, expression) in provider.queries() {
            let expressions: Vec<String> = settings.iter().map(|setting| filled(expression, setting)).collect();
            if expression.contains(LIMIT) && !stage.limited {
                expressions.iter().for_each(|expression| drop(stage.prometheus.query(expression).unwrap()));
                println!("{}: {}: not tried, no control group can be made here", provider.file, panel["title"]);
                continue;
            }
            if MEMORY.iter().any(|name| expression.contains(name)) {
                of_memory.push((format!("{}: {}", provider.file, panel["title"]), expressions));
                continue;
            }
            wait_for(&format!("{}: {}", provider.file, panel["title"]), || stage.answers(&expressions));
            asked += 1;
        }
        settings.iter().for_each(|setting| stage.shows_each_jvm_once(&provider, setting));
    }
    assert!(asked > 150, "only {asked} queries");
    stage.memory_answers(&of_memory);
    names_of_the_conventions_have_data(&stage);
    recording_rules_have_data(&stage);
    names_of_rules_are_known(&stage);
}

/// What Grafana's own JVM provider (jvm-observ-lib, source `otel_with_suffixes`) asks for, of what HotSpot's counters have.
fn names_of_the_conventions_have_data(stage: &Stage) {
    for selector in [
        r#"jvm_memory_used_bytes{jvm_memory_type="heap"}"#,
        r#"jvm_memory_used_bytes{jvm_memory_type="non_heap"}"#,
        r#"jvm_memory_committed_bytes{jvm_memory_type="heap"}"#,
        r#"jvm_memory_limit_bytes{jvm_memory_type="heap"}"#,
        r#"jvm_memory_limit_bytes{jvm_memory_type="non_heap"}"#,
        r#"jvm_memory_used_bytes{jvm_memory_pool_name=~"(G1 |PS )?Eden Space"}"#,
        r#"jvm_memory_used_bytes{jvm_memory_pool_name=~"(G1 |PS )?Survivor Space"}"#,
        r#"jvm_memory_used_bytes{jvm_memory_pool_name=~"(G1 |PS )?(Old|Tenured) Gen"}"#,
        "jvm_gc_duration_seconds_count",
        "jvm_gc_duration_seconds_sum",
        r#"jvm_thread_count{jvm_thread_daemon="true"}"#,
        r#"jvm_thread_count{jvm_thread_daemon="false"}"#,
        "jvm_class_count",
        "jvm_cpu_recent_utilization_ratio",
        "jvm_cpu_count",
    ] {
        wait_for(selector, || stage.answers(&[selector.to_owned()]));
    }
}

fn recording_rules_have_data(stage: &Stage) {
    let rules = fs::read_to_string(package().join("deploy/prometheus/rules.yml")).unwrap();
    let records: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect();
    assert!(!records.is_empty());
    for record in records {
        wait_for(record, || stage.answers(&[record.to_owned()]));
    }
    let health = stage.prometheus.api("/api/v1/rules").unwrap();
    for rule in health["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}

/// An alert on a name that nobody serves would be silent for ever.
fn names_of_rules_are_known(stage: &Stage) {
    let names = stage.prometheus.api("/api/v1/label/__name__/values").unwrap();
    let known: BTreeSet<&str> = names.as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
    let rules = stage.prometheus.api("/api/v1/rules").unwrap();
    for rule in rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        for name in metrics(rule["query"].as_str().unwrap()) {
            let absent = name == LIMIT && !stage.limited;
            assert!(absent || known.contains(name), "{}: {name} is unknown", rule["name"]);
        }
    }
}
